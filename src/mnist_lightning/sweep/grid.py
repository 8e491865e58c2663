"""A grid from Python: every combination of the values that are given for some keys, as configurations."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from mnist_lightning.config import RunConfig
from mnist_lightning.config.changes import changed
from mnist_lightning.errors import ConfigError, Problem
from mnist_lightning.sweep.size import MOST_RUNS, refuse_more_runs


def configurations(base: RunConfig | Mapping[str, Any] | None, grid: Mapping[str, Iterable[Any]]) -> list[RunConfig]:
    """The checked configurations of a grid, in Hydra's order: the values of the last key change first.

    Keys and values mean what they do on the command line, see `changed`. Raises ConfigError with all problems of all
    of them, each once, and for more runs than a sweep can have.
    """
    values = {key: _values(key, given) for key, given in grid.items()}
    refuse_more_runs({key: len(some) for key, some in values.items()})
    configs: list[RunConfig] = []
    problems: dict[str, Problem] = {}
    for combination in itertools.product(*values.values()):
        try:
            configs.append(changed(base, dict(zip(values, combination, strict=True))))
        except ConfigError as error:
            if not error.problems:
                raise
            problems |= {str(problem): problem for problem in error.problems}
    if problems:
        raise ConfigError(list(problems.values()))
    return configs


def _values(key: str, given: Any) -> list[Any]:
    """The values of a key, no more than a sweep can have runs and one. Raises ConfigError for a single value."""
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise ConfigError([Problem(key, given, "not a list of values", f"give {{{key!r}: [a, b]}}")])
    values = list(itertools.islice(given, MOST_RUNS + 1))
    if not values:
        raise ConfigError([Problem(key, "[]", "has no values", "give at least one, or leave the key out")])
    return values
