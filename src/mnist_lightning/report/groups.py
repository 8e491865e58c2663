"""Runs that differ in nothing but the seed, and what their accuracies have in common."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mnist_lightning.records.results import RunResult
from mnist_lightning.report.ranking import collapse

# What makes a setting, in the order in which tables name it. A failed run knows its sizes only as far as they
# were given, so sizes and epochs are compared among runs that ended.
SETTING = ("optimizer", "loss_func", "learning_rate", "num_channels", "num_conv", "num_dense")
CONDITIONS = ("dataset", "train_size", "test_size", "val_size", "batch_size", "epochs", "precision")


def architecture(result: RunResult) -> str:
    """`32/2/1`: channels, convolutions after the first, hidden dense layers."""
    return "/".join("?" if n is None else str(n) for n in (result.num_channels, result.num_conv, result.num_dense))


def setting(result: RunResult) -> str:
    """`RMSprop mse 0.001 32/2/1`."""
    return f"{result.optimizer} {result.loss_func} {result.learning_rate:g} {architecture(result)}"


@dataclass(frozen=True)
class Group:
    """The runs of one setting that ended, completed or diverged: usually one per seed."""

    runs: Sequence[RunResult]

    @property
    def first(self) -> RunResult:
        return self.runs[0]

    @cached_property
    def completed(self) -> list[RunResult]:
        return [r for r in self.runs if r.status == "completed" and math.isfinite(r.accuracy_test)]

    def values(self, column: str, learned_only: bool = False) -> list[float]:
        chosen = [r for r in self.completed if not (learned_only and collapse(r))]
        return [v for r in chosen if math.isfinite(v := float(getattr(r, column)))]

    def mean(self, column: str) -> float:
        """Over the completed runs; NaN without any."""
        values = self.values(column)
        return statistics.fmean(values) if values else math.nan

    def deviation(self, column: str) -> float:
        """Sample standard deviation; NaN for fewer than two runs."""
        values = self.values(column)
        return statistics.stdev(values) if len(values) > 1 else math.nan

    @property
    def collapsed_share(self) -> float:
        """Of the completed runs, 0 to 1; NaN without any."""
        return sum(bool(collapse(r)) for r in self.completed) / len(self.completed) if self.completed else math.nan


def group(results: Sequence[RunResult]) -> list[Group]:
    """Runs that ended, grouped by everything but the seed, in the order of SETTING.

    Epochs divide runs only where one seed was trained twice: early stopping makes them differ between seeds.
    """
    ended = [r for r in results if r.status != "failed"]
    names = [*SETTING, *(c for c in CONDITIONS if c != "epochs")]
    seen: dict[tuple[str, ...], RunResult] = {}
    for r in ended:
        key = tuple(repr(getattr(r, n)) for n in [*names, "seed"])
        if key in seen and seen[key].epochs != r.epochs:
            names = [*SETTING, *CONDITIONS]
            break
        seen[key] = r
    groups: dict[tuple[str, ...], list[RunResult]] = {}
    for r in ended:
        groups.setdefault(tuple(repr(getattr(r, n)) for n in names), []).append(r)
    return [Group(runs) for runs in sorted(groups.values(), key=lambda runs: _order(runs[0]))]


def _order(r: RunResult) -> tuple[object, ...]:
    sizes = tuple(-1 if n is None else n for n in (r.num_channels, r.num_conv, r.num_dense))
    rate = math.inf if math.isnan(r.learning_rate) else r.learning_rate
    return (*sizes, r.loss_func, r.optimizer, rate, r.run_name)
