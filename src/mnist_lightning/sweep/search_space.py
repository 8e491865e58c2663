"""What a search draws from: Hydra's sweep grammar as distributions of Optuna's."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from mnist_lightning.config.keys import all_keys
from mnist_lightning.config.labels import short_keys
from mnist_lightning.errors import ConfigError
from mnist_lightning.sweep.size import check_size

_MOST_SHOWN = 6  # choices


@dataclass(frozen=True)
class Space:
    """The keys that a search draws, with their distributions, and the overrides that all trials share."""

    drawn: dict[str, BaseDistribution]
    fixed: list[str]

    def job(self, params: Mapping[str, Any]) -> list[str]:
        """The overrides of a trial that drew these values: of a choice the text that stands on the command line."""
        return [*self.fixed, *(f"{key}={params[key]}" for key in self.drawn)]

    def corners(self) -> list[list[str]]:
        """Jobs that together have each choice and both ends of each range, every other key at its first value."""
        ends = {key: _ends(distribution) for key, distribution in self.drawn.items()}
        first = {key: values[0] for key, values in ends.items()}
        others = [{**first, key: value} for key, values in ends.items() for value in values[1:]]
        return [self.job(params) for params in (first, *others)]

    @property
    def size(self) -> int | None:
        """How many combinations there are; None where a key may have any number of a range."""
        counts = [count_of(distribution) for distribution in self.drawn.values()]
        return None if None in counts else math.prod(n for n in counts if n is not None)

    def as_json(self) -> dict[str, dict[str, Any]]:
        """Optuna's own JSON of each distribution, by key."""
        to_json = optuna.distributions.distribution_to_json
        return {key: json.loads(to_json(distribution)) for key, distribution in self.drawn.items()}

    def text(self) -> str:
        """`lr (0.0001 to 0.1, log), optimizer (adam, sgd)`."""
        names = short_keys(self.drawn)
        return ", ".join(f"{names[key]} ({text_of(d)})" for key, d in self.drawn.items())


def space_of(arguments: Sequence[str], parser: OverridesParser) -> Space:
    """The space of a search's overrides. Raises ConfigError for what cannot be drawn from, in one line."""
    drawn: dict[str, BaseDistribution] = {}
    fixed = []
    for override in parser.parse_overrides(list(arguments)):
        if override.is_sweep_override():
            drawn[override.get_key_element()] = _distribution(override)
        else:
            fixed.append(str(override.input_line))
    if not drawn:
        way_out = "give a key a range or several values, such as 'lr=interval(0.001,0.1)'"
        raise ConfigError(f"hydra/sweeper=optuna: draws nothing; {way_out}")
    return Space(drawn, fixed)


def _distribution(override: Override) -> BaseDistribution:
    value = override.value()
    if isinstance(value, IntervalSweep):
        return _of_interval(override, value)
    if isinstance(value, RangeSweep):
        return _of_range(override, value)
    check_size([override])
    choices = list(dict.fromkeys(override.sweep_string_iterator()))
    if not choices:
        raise _refusal(override, "has no value", "give at least one")
    if "log" in getattr(value, "tags", ()):
        raise _refusal(override, "choices have no logarithm", "use tag(log,interval(low,high)), or leave log out")
    return CategoricalDistribution(choices)


def _of_interval(override: Override, value: IntervalSweep) -> BaseDistribution:
    low, high, log = value.start, value.end, _is_log(override, value.tags)
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        raise _refusal(override, "has no ends", "use interval(low,high)")
    if low > high:
        raise _refusal(override, "its ends are the wrong way round", f"use interval({high:g},{low:g})")
    if _is_whole(override) or (isinstance(low, int) and isinstance(high, int)):
        if low != int(low) or high != int(high):
            ends = f"{math.ceil(low)},{math.floor(high)}"
            raise _refusal(override, "its ends are no whole numbers", f"use interval({ends})")
        return _made(override, lambda: IntDistribution(int(low), int(high), log=log))
    return _made(override, lambda: FloatDistribution(float(low), float(high), log=log))


def _of_range(override: Override, value: RangeSweep) -> BaseDistribution:
    """The same values as in a grid: the end is not one of them."""
    start, stop, step = value.start, value.stop, value.step
    if start is None or stop is None or not all(math.isfinite(x) for x in (start, stop, step)) or not step:
        raise _refusal(override, "is not finite", "use range(start,stop,step)")
    log = _is_log(override, value.tags)
    if log and step != 1:
        raise _refusal(override, "a logarithmic range has no steps", "use tag(log,interval(low,high))")
    check_size([override])
    values = list(value.range())
    if not values:
        raise _refusal(override, "has no value", "the end is not one of them, so that range(1,4) is 1, 2, 3")
    if all(isinstance(x, int) for x in (start, stop, step)):
        low, high = int(min(values)), int(max(values))
        return _made(override, lambda: IntDistribution(low, high, step=1 if log else abs(int(step)), log=log))
    if log:
        raise _refusal(override, "a logarithmic range of fractions", "use tag(log,interval(low,high))")
    low, high = float(min(values)), float(max(values))
    return _made(override, lambda: FloatDistribution(low, high, step=abs(float(step)) if low < high else None))


def _is_log(override: Override, tags: set[str]) -> bool:
    if unknown := sorted(tags - {"log", "int", "float"}):
        raise _refusal(override, f"unknown tag {unknown[0]}", "use tag(log,...)")
    return "log" in tags


def _is_whole(override: Override) -> bool:
    """Whether a key takes whole numbers alone."""
    hint = next((known.hint for known in all_keys() if known.name == override.key_or_group), Any)
    return hint in (int, int | None)


def _made(override: Override, make: Callable[[], BaseDistribution]) -> BaseDistribution:
    try:
        return make()
    except ValueError as error:
        text = str(error)
        what = "a logarithmic scale begins above 0" if "log" in text or "low" in text else text.rstrip(".")
        raise _refusal(override, what, "use other ends") from error


def _refusal(override: Override, what: str, way_out: str) -> ConfigError:
    return ConfigError(f"{override.input_line}: {what}; {way_out}")


def _ends(distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    return list(dict.fromkeys([distribution.low, distribution.high]))


def values_of(distribution: BaseDistribution) -> list[Any] | None:
    """All values of a distribution, in order; None where it may give any number of a range."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return list(range(distribution.low, distribution.high + 1, distribution.step))
    assert isinstance(distribution, FloatDistribution)
    if distribution.low == distribution.high:
        return [distribution.low]
    if distribution.step is None:
        return None
    steps = round((distribution.high - distribution.low) / distribution.step)
    return [distribution.low + i * distribution.step for i in range(steps)] + [distribution.high]


def count_of(distribution: BaseDistribution) -> int | None:
    """How many values a distribution has; None where it may give any number of a range."""
    if isinstance(distribution, IntDistribution):
        return (distribution.high - distribution.low) // distribution.step + 1
    values = values_of(distribution)
    return None if values is None else len(values)


def text_of(distribution: BaseDistribution) -> str:
    """`0.0001 to 0.1, log`, `2 to 8 in steps of 2`, `adam, sgd`."""
    if isinstance(distribution, CategoricalDistribution):
        choices = [str(choice) for choice in distribution.choices]
        more = len(choices) - _MOST_SHOWN
        return ", ".join(choices[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    if distribution.low == distribution.high:
        return f"{distribution.low:g}"
    step = distribution.step
    steps = f" in steps of {step:g}" if step and not (isinstance(distribution, IntDistribution) and step == 1) else ""
    return f"{distribution.low:g} to {distribution.high:g}{steps}" + (", log" if distribution.log else "")
