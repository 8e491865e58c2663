"""The keys under `data.`: one of our data sets, or one of the user's, and how much of it is used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mnist_lightning.config.own_code import OwnCode
from mnist_lightning.config.section import documented, key
from mnist_lightning.errors import Problem

DATASETS = ("mnist", "fashion_mnist", "kmnist", "qmnist", "synthetic")


@documented
@dataclass
class DataConfig(OwnCode):
    """The data set, where it lies and how much of it is used; or the user's own, `_target_`, with `arguments`.

    >>> data = DataConfig("synthetic", train_size=320)
    >>> data.train_size, data.batch_size, data.val_size
    (320, 64, 0)
    >>> DataConfig(_target_="torchvision.datasets.EMNIST", arguments={"split": "letters"}).label
    'torchvision.datasets.EMNIST(split="letters")'
    """

    prefix = "data."
    replaced: ClassVar[tuple[str, ...]] = ("name",)

    name: str = key("mnist", "written data=X; synthetic needs no files", choices=DATASETS)
    root: str = key(
        about="directory of the data files; by default $MNIST_LIGHTNING_DATA, else data",
        factory=lambda: os.environ.get("MNIST_LIGHTNING_DATA") or "data",
        identity=False,
    )
    download: bool = key(True, "fetch missing data files", identity=False)
    batch_size: int = key(64, "images per update of the weights", low=1, high=1_000_000, also="bs batch batchsize")
    train_size: int | None = key(None, "first n training images; null is all", low=1)
    test_size: int | None = key(None, "first n test images; null is all", low=1)
    val_size: int = key(
        0, "hold out the last n training images for validation; 0 is to validate on the test set", low=0
    )
    _target_: str | None = key(
        None, "another data set, such as torchvision.datasets.EMNIST; its arguments stand beside it: data.split=letters"
    )
    arguments: dict[str, Any] = key(about="the arguments of _target_", factory=dict, hidden=True)

    @property
    def label(self) -> str:
        """What it is called in records and tables: its name, or that of the user's code with its arguments."""
        return self.name if self.component is None else str(self.component)

    @classmethod
    def problems_of(cls, values: Mapping[str, Any]) -> list[Problem]:
        """The problems of each value, then a validation set that takes all training images."""
        problems = super().problems_of(values)
        train_size, val_size = values["train_size"], values["val_size"]
        if not problems and train_size is not None and val_size >= train_size:
            remedy = f"use less than data.train_size={train_size}"
            problems.append(Problem("data.val_size", val_size, "leaves nothing to train on", remedy))
        return problems
