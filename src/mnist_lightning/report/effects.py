"""Which key of the configuration mattered, and by how much: the spread of accuracy between its values."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from mnist_lightning.report.frame import texts

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


@dataclass(frozen=True, eq=False)
class Effect:
    """A key that takes several values.

    `levels`, a row per value from best to worst mean: its `value` as a text, the number of runs `n`, `mean` and `best`
    of their test accuracy, how many `collapsed`.
    """

    factor: str
    levels: pd.DataFrame

    @property
    def spread(self) -> float:
        """Accuracy between the means of the best and the worst value, 0 to 1."""
        return float(self.levels["mean"].iloc[0] - self.levels["mean"].iloc[-1])


def effects(finished: pd.DataFrame) -> list[Effect]:
    """The keys that take several values among runs that finished, the one that moves the mean most first."""
    several = [Effect(name, _levels(finished, column)) for column, name in FACTORS.items()]
    return sorted((e for e in several if 2 <= len(e.levels) <= MOST_VALUES), key=lambda e: (-e.spread, e.factor))


def _levels(finished: pd.DataFrame, column: str) -> pd.DataFrame:
    by_value = finished.assign(value=pd.Series(texts(finished[column]), finished.index, dtype="object"))
    levels = by_value.groupby("value", as_index=False).agg(
        n=("accuracy_test", "size"),
        mean=("accuracy_test", "mean"),
        best=("accuracy_test", "max"),
        collapsed=("collapsed", "sum"),
    )
    return levels.sort_values(["mean", "value"], ascending=[False, True])
