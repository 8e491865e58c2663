"""The rows that the study published, and what has to be known to read them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import get_type_hints

COLLAPSED_BINARY = 0.9005  # binary accuracy of a network no output of which exceeds 0.5 is 0.9000
CONDITIONS = {"dataset": "mnist", "train_size": 60_000, "test_size": 10_000, "batch_size": 64, "epochs": 20}

WHAT_ACCURACY_IS = (
    "The study's accuracy is binary accuracy: of the 10 outputs per image, the share on the right side of 0.5. "
    "A network that says the same digit for every image scores 0.82, one that outputs 0.1 everywhere 0.90; "
    "0.9989 is 54 of 10,000 images wrong, a top-1 accuracy of 0.9946. So it is compared with our binary accuracy."
)
MISPRINTS = (
    "Misprint 1: the first table's column of training accuracy holds the number of parameters instead; "
    "the training accuracy of those 18 runs is unknown.",
    "Misprint 2: one row (RMSprop, mse, 0.001, test accuracy 0.9986, loss 0.00121) says 32 channels, but its "
    "13,676,646 parameters are those of 64 channels, 3 convolutions, 5 dense layers; it is compared as that.",
)
TABLE_NAMES = {"best": "first table", "optimizer_lr": "second table"}


@dataclass(frozen=True)
class PublishedRow:
    """One line of the study's tables. Accuracy is binary accuracy on the test set, 0 to 1."""

    table: str
    optimizer: str
    loss_func: str
    learning_rate: float
    num_channels: int
    num_conv: int
    num_dense: int
    num_parameters: int
    loss_test: float
    binary_accuracy_test: float
    decimals: int  # printed digits of the accuracy

    @property
    def key(self) -> tuple[str, str, float, int, int, int]:
        """What it has in common with a run of ours, in the order of `groups.SETTING`."""
        return self.optimizer, self.loss_func, self.learning_rate, self.num_channels, self.num_conv, self.num_dense

    @property
    def collapsed(self) -> bool:
        """Whether the network was no better than one that always outputs the same."""
        return self.binary_accuracy_test <= COLLAPSED_BINARY


@cache
def published_rows() -> tuple[PublishedRow, ...]:
    """The 27 rows of the study's two tables, in its order."""
    text = (files("mnist_lightning.report") / "published_rows.csv").read_text(encoding="utf-8")
    return tuple(_row(line) for line in csv.DictReader(text.splitlines()))


def _row(line: dict[str, str]) -> PublishedRow:
    values = {name: kind(line[name]) for name, kind in get_type_hints(PublishedRow).items() if name in line}
    decimals = len(line["binary_accuracy_test"].partition(".")[2])
    return PublishedRow(**values | {"table": TABLE_NAMES[line["table"]], "decimals": decimals})
