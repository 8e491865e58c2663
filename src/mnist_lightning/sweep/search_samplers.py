"""Samplers and pruners of a search, by name or as a class of Optuna's with its arguments."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, GridSampler

from mnist_lightning.config.components import Component, ComponentError, Kind, code_of
from mnist_lightning.config.section import near_miss
from mnist_lightning.errors import ConfigError, one_line
from mnist_lightning.sweep.search_names import PRUNERS, SAMPLERS
from mnist_lightning.sweep.search_space import Space, values_of

_SAMPLER, _PRUNER = "hydra.sweeper.sampler", "hydra.sweeper.pruner"
_NEEDS = {"CmaEsSampler": ("cmaes",), "GPSampler": ("scipy", "torch"), "QMCSampler": ("scipy",)}
_OF_SAMPLERS = Kind(
    "an optuna sampler", ("optuna.samplers.BaseSampler",), example="optuna.samplers.TPESampler", any_name=True
)
_OF_PRUNERS = Kind(
    "an optuna pruner", ("optuna.pruners.BasePruner",), example="optuna.pruners.MedianPruner", any_name=True
)
# these count their own points by the seed, so that it has to be the same for each trial
_ONE_SEED = ("QMCSampler", "GridSampler")


class Samplers:
    """Makes the sampler of each trial.

    With a seed each trial, and each key in it, has a sampler of its own, whose seed is made of the given one, the
    trial's number and the key: so what is drawn depends on the trials before alone, and a search that was cut off draws
    on as if it had not been.
    """

    def __init__(self, given: Any, space: Space) -> None:
        arguments = _arguments(_SAMPLER, given, SAMPLERS)
        self._kind = _class(_SAMPLER, arguments, _OF_SAMPLERS)
        self._seed = arguments.pop("seed", None)
        if self._seed is not None and not (isinstance(self._seed, int) and 0 <= self._seed < 2**32):
            raise ConfigError(f"{_SAMPLER}.seed={self._seed}: not a whole number of 32 bits; use 0 or more")
        self._arguments, self._space = arguments, space
        self.name = _name(self._kind, SAMPLERS)
        self.is_grid = issubclass(self._kind, GridSampler)
        if missing := [n for n in _NEEDS.get(self._kind.__name__, ()) if find_spec(n) is None]:
            raise ConfigError(f"{_SAMPLER}={self.name}: needs {missing[0]}; pip install {missing[0]}")
        if self.is_grid and space.size is None:
            endless = next(key for key, d in space.drawn.items() if values_of(d) is None)
            way_out = "give it a range(start,stop,step) or choices, or use another sampler"
            raise ConfigError(f"{_SAMPLER}=grid: {endless} may be any number of an interval; {way_out}")
        self.of_trial(0)

    @property
    def described(self) -> str:
        """The sampler with its arguments, for a later command to compare."""
        arguments = {"seed": self._seed, **self._arguments}
        return " ".join([self.name, *(f"{k}={v}" for k, v in arguments.items() if v is not None)])

    def of_trial(self, number: int, key: str = "") -> BaseSampler:
        """The sampler of the trial with this number, and of a key that is drawn alone.

        Raises ConfigError for arguments that it does not take.
        """
        arguments = dict(self._arguments)
        if self.is_grid:
            arguments["search_space"] = {key: values_of(d) for key, d in self._space.drawn.items()}
        seed = self._seed
        if seed is not None and self._kind.__name__ not in _ONE_SEED:
            seed = int.from_bytes(hashlib.sha256(f"{seed} {number} {key}".encode()).digest()[:4], "big")
        return _made(_SAMPLER, self._kind, arguments | ({} if seed is None else {"seed": seed}))

    def to_tell(self) -> BaseSampler:
        """A sampler that is told how a trial ended: of a grid another one, which would end `Study.optimize`."""
        return optuna.samplers.RandomSampler() if self.is_grid else self.of_trial(0)


def pruner_of(given: Any) -> BasePruner | None:
    """The pruner; None for `none`. Raises ConfigError for one that Optuna has not, or its arguments."""
    if given in (None, "none"):
        return None
    arguments = _arguments(_PRUNER, given, PRUNERS)
    return _made(_PRUNER, _class(_PRUNER, arguments, _OF_PRUNERS), arguments)


def pruner_name(given: Any) -> str:
    """What a pruner is called: its name, or that of its class, with its arguments."""
    if given in (None, "none"):
        return "none"
    arguments = _arguments(_PRUNER, given, PRUNERS)
    kind = _class(_PRUNER, arguments, _OF_PRUNERS)
    return " ".join([_name(kind, PRUNERS), *(f"{k}={v}" for k, v in arguments.items())])


def _name(kind: type, known: Mapping[str, str]) -> str:
    return next((name for name, dotted in known.items() if dotted.endswith(f".{kind.__name__}")), kind.__name__)


def _arguments(key: str, given: Any, known: Mapping[str, str]) -> dict[str, Any]:
    """A name or a mapping with `_target_` as a mapping, in which that is a dotted name."""
    if isinstance(given, str):
        given = {"_target_": given}
    if not isinstance(given, Mapping) or not isinstance(given.get("_target_"), str):
        raise ConfigError(f"{key}={given}: no name; use one of {', '.join(known)}")
    target = given["_target_"]
    if target not in known and "." not in target:
        way_out = near_miss(target, known) or f"use one of {', '.join(known)}"
        raise ConfigError(f"{key}={target}: unknown; {way_out}")
    return {**given, "_target_": known.get(target, target)}


def _class(key: str, arguments: dict[str, Any], kind: Kind) -> type:
    """Takes the class out of arguments that name it. Raises ConfigError for another kind, or arguments it has not."""
    dotted = arguments.pop("_target_")
    try:
        found = code_of(dotted, kind)
    except ComponentError as error:
        raise ConfigError(
            f"{key}={dotted}: {error}; {error.way_out or f'give a class such as {kind.example}'}"
        ) from error
    assert isinstance(found, type)  # of a kind without functions
    given = {name: value for name, value in arguments.items() if (name, value) != ("seed", None)}
    ours = {"search_space": {}} if issubclass(found, GridSampler) else {}
    Component(dotted, given).check(key, kind, prefix=f"{key}.", **ours)
    return found


def _made(key: str, kind: type, arguments: Mapping[str, Any]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that an argument is experimental
            return kind(**arguments)
    except (TypeError, ValueError, AttributeError, ImportError) as error:
        what = one_line(str(error)).replace(f"{kind.__name__}.__init__() ", "").rstrip(".")
        raise ConfigError(f"{key}={kind.__name__}: {what:.120}; see its arguments") from error
