"""Which key of the configuration mattered, and by how much: the spread of accuracy between its values."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from mnist_lightning.records.results import RunResult

# column -> what people call it; the keys a grid is usually made of
FACTORS = {
    "optimizer": "optimizer",
    "learning_rate": "learning rate",
    "loss_func": "loss",
    "num_channels": "channels",
    "num_conv": "convolutions",
    "num_dense": "dense layers",
    "batch_size": "batch size",
    "dataset": "data set",
    "train_size": "training images",
    "precision": "precision",
}
MOST_VALUES = 20  # a key with more values was drawn at random, and its means are of single runs


@dataclass(frozen=True)
class Level:
    """One value of a key: its runs' number, mean and best test accuracy."""

    value: str
    n: int
    mean: float
    best: float


@dataclass(frozen=True)
class Effect:
    """One key that varies: its values from best to worst mean, and how far apart they are, in accuracy 0 to 1."""

    factor: str
    levels: list[Level]
    share: float  # of the variance of test accuracy that lies between the values, 0 to 1 (eta squared)

    @property
    def spread(self) -> float:
        """Between the means of the best and the worst value."""
        return self.levels[0].mean - self.levels[-1].mean

    @property
    def spread_of_best(self) -> float:
        """The same between the best runs of each value: what is left once everything else is well chosen."""
        best = [level.best for level in self.levels]
        return max(best) - min(best)


def effects(results: Sequence[RunResult]) -> list[Effect]:
    """The keys that take several values among the completed runs, the one that moves the mean most first."""
    done = [r for r in results if r.status == "completed" and math.isfinite(r.accuracy_test)]
    found = [effect for column in FACTORS if (effect := _effect(done, column)) is not None]
    return sorted(found, key=lambda e: (-e.spread, e.factor))


def _effect(done: Sequence[RunResult], column: str) -> Effect | None:
    by_value: dict[str, list[float]] = {}
    for r in done:
        value = getattr(r, column)
        by_value.setdefault(f"{value:g}" if isinstance(value, float) else str(value), []).append(r.accuracy_test)
    if not 2 <= len(by_value) <= MOST_VALUES:
        return None
    levels = [Level(value, len(a), statistics.fmean(a), max(a)) for value, a in by_value.items()]
    everything = [a for values in by_value.values() for a in values]
    mean = statistics.fmean(everything)
    total = sum((a - mean) ** 2 for a in everything)
    between = sum(level.n * (level.mean - mean) ** 2 for level in levels)
    return Effect(FACTORS[column], sorted(levels, key=lambda x: (-x.mean, x.value)), between / total if total else 0.0)
