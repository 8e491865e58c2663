"""The rows that the report published, and what has to be known to read them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from mnist_lightning.records.results import RunResult

COLLAPSED_BINARY = 0.9005  # binary accuracy of a network no output of which exceeds 0.5 is 0.9000
CONDITIONS = {"dataset": "mnist", "train_size": 60_000, "test_size": 10_000, "batch_size": 64, "epochs": 20}

WHAT_ACCURACY_IS = (
    "The report's accuracy is binary accuracy: of the 10 outputs per image, the share on the right side of 0.5. "
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
    """One line of the report's tables. Accuracy is binary accuracy on the test set, 0 to 1."""

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
        """What it has in common with a run of ours."""
        return self.optimizer, self.loss_func, self.learning_rate, self.num_channels, self.num_conv, self.num_dense

    @property
    def collapsed(self) -> bool:
        return self.binary_accuracy_test <= COLLAPSED_BINARY


def key_of(result: RunResult) -> tuple[str, str, float, int | None, int | None, int | None]:
    r = result
    return r.optimizer, r.loss_func, r.learning_rate, r.num_channels, r.num_conv, r.num_dense


@cache
def published_rows() -> tuple[PublishedRow, ...]:
    """The 27 rows of the report's two tables, in its order."""
    text = (files("mnist_lightning.report") / "published_rows.csv").read_text(encoding="utf-8")
    return tuple(_row(line) for line in csv.DictReader(text.splitlines()))


def _row(line: dict[str, str]) -> PublishedRow:
    return PublishedRow(
        table=TABLE_NAMES[line["table"]],
        optimizer=line["optimizer"],
        loss_func=line["loss_func"],
        learning_rate=float(line["learning_rate"]),
        num_channels=int(line["num_channels"]),
        num_conv=int(line["num_conv"]),
        num_dense=int(line["num_dense"]),
        num_parameters=int(line["num_parameters"]),
        loss_test=float(line["loss_test"]),
        binary_accuracy_test=float(line["binary_accuracy_test"]),
        decimals=len(line["binary_accuracy_test"].partition(".")[2]),
    )
