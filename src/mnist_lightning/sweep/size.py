"""How many runs a sweep's overrides ask for: counted before any of them is written out, which would fill the memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep

from mnist_lightning.errors import ConfigError

MOST_RUNS = 100_000  # composing as many takes hours


def check_size(overrides: Iterable[Override]) -> None:
    """Raises ConfigError for more runs than a sweep can have, with their number."""
    counts = [(override.get_key_element(), _count(override)) for override in overrides]
    refuse_more_runs(dict(counts), *counts)


def refuse_more_runs(counts: Mapping[str, int | float], *more: tuple[str, int | float]) -> None:
    """Raises ConfigError for more runs than a sweep can have by the number of values of each key.

    `more` are keys that are given again: each is written out for itself.
    """
    key, most = max((*counts.items(), *more), key=lambda pair: pair[1], default=("", 1))
    total = max(math.prod(counts.values()), most)
    if total > MOST_RUNS:
        runs, values = (f"{n:,}" if math.isfinite(n) else "endlessly many" for n in (total, most))
        raise ConfigError(f"sweep: {runs} runs, more than {MOST_RUNS:,} ({values} values of {key}); give fewer values")


def _count(override: Override) -> int | float:
    """The number of values; infinite for a range without an end."""
    values = override.value()
    if not override.is_sweep_override() or not override.is_discrete_sweep():
        return 1
    if isinstance(values, ChoiceSweep):
        return len(values.list)
    if isinstance(values, RangeSweep):
        start, stop, step = values.start, values.stop, values.step
        if start is None or stop is None or not step:
            return 1  # Hydra says what is wrong
        steps = (stop - start) / step
        return max(0, math.ceil(steps)) if math.isfinite(steps) else math.inf
    return sum(1 for _ in override.sweep_string_iterator())
