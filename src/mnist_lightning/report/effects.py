"""Which key of the configuration mattered, and by how much: the spread of accuracy between its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from mnist_lightning.report.frame import texts

# column -> what people call it; the keys a grid is usually made of
FACTORS = {
    "optimizer": "optimizer",
    "learning_rate": "learning rate",
    "loss_func": "loss",
    "network": "network",
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

    `levels`, a row per value from best to worst mean: its `value` as a text, the number of runs `n`, the `mean` of
    their test accuracy, how many `collapsed`, the test accuracy of the `best` setting, NaN if none of them is ranked.
    """

    factor: str
    levels: pd.DataFrame

    @property
    def of_single_runs(self) -> bool:
        """Whether each value was taken by one run alone, as of a number that a search draws."""
        return int(self.levels["n"].max()) == 1

    @property
    def spread(self) -> float:
        """Accuracy between the means of the best and the worst value, 0 to 1."""
        return float(self.levels["mean"].iloc[0] - self.levels["mean"].iloc[-1])


def effects(finished: pd.DataFrame, ranked_settings: pd.DataFrame) -> list[Effect]:
    """The keys that take several values among runs that finished, the one that moves the mean most first.

    `ranked_settings`, best first, tell the best setting of each value.
    """
    several = [Effect(name, _levels(finished, ranked_settings, column)) for column, name in FACTORS.items()]
    return sorted((e for e in several if 2 <= len(e.levels) <= MOST_VALUES), key=lambda e: (-e.spread, e.factor))


class LostValue(NamedTuple):
    """A value of a key of which `n` runs have a record, and none finished."""

    factor: str
    value: str
    n: int


def lost_values(frame: pd.DataFrame) -> list[LostValue]:
    """The values of keys of which no run finished while runs of other values of that key did, by key and value."""
    lost = []
    for column, name in FACTORS.items():
        values = _with_value(frame, column).groupby("value").agg(n=("finished", "size"), finished=("finished", "sum"))
        if values["finished"].any():
            of_key = values.loc[values["finished"] == 0, "n"].sort_index()
            lost += [LostValue(name, str(value), int(n)) for value, n in of_key.items()]
    return lost


def _levels(finished: pd.DataFrame, ranked_settings: pd.DataFrame, column: str) -> pd.DataFrame:
    levels = (
        _with_value(finished, column)
        .groupby("value", as_index=False)
        .agg(n=("accuracy_test", "size"), mean=("accuracy_test", "mean"), collapsed=("collapsed", "sum"))
    )
    best = _with_value(ranked_settings, column).drop_duplicates("value").set_index("value")["accuracy_test"]
    return levels.assign(best=levels["value"].map(best)).sort_values(["mean", "value"], ascending=[False, True])


def _with_value(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    return frame.assign(value=pd.Series(texts(frame[column]), frame.index, dtype="object"))
