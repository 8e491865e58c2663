"""Data sets that a user of the library would write, named in tests' configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset


class Colours(Dataset[tuple[Tensor, int]]):
    """Images [3, 8, 12], in which one channel of three is bright; 60 to train on, 30 to test."""

    def __init__(self, train: bool, brightness: float = 0.9, classes: int = 3) -> None:
        self.labels = [i % classes for i in range(60 if train else 30)]
        self.noise = torch.rand(len(self.labels), 3, 8, 12, generator=torch.Generator().manual_seed(int(train)))
        self.brightness = brightness

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index >= len(self):
            raise IndexError(index)
        image = self.noise[index] * 0.3
        image[self.labels[index] % 3] += self.brightness - 0.3
        return image, self.labels[index]


def parts(split: str, root: str) -> Dataset[Any]:
    """What lies in a file of the user's: a function that says what it returns."""
    content = torch.load(Path(root) / "mine.pt")
    return TensorDataset(*content[split])


def pictures(train: bool, mode: str = "L") -> Dataset[Any]:
    """PIL images."""
    pixels = np.random.default_rng(int(train)).integers(0, 256, (12, 9, 9), dtype=np.uint8)
    return Items([(Image.fromarray(image).convert(mode), i % 2) for i, image in enumerate(pixels)])


class Items(Dataset[Any]):
    """Whatever pairs are given."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def odd(train: bool, what: str) -> Dataset[Any]:
    """No images with classes, in several ways."""
    grey = torch.zeros(4, 4)
    items: dict[str, list[Any]] = {
        "empty": [],
        "no pair": [grey, grey],
        "fraction": [(grey, 0.5)],
        "several labels": [(grey, [1, 2])],
        "negative": [(grey, -1)],
        "sizes": [(grey, 0), (torch.zeros(4, 5), 1)],
        "text": [("a.png", 0)],
        "the same": [(grey, 0), (grey, 1)],
        "unscaled": [(grey + 255.0, 0), (grey, 1)],
    }
    return Items(items[what])


def no_part(root: str) -> Dataset[Any]:
    """Nobody can ask it for the part to test on."""
    return Items([])


def gone(train: bool, root: str, download: bool = False) -> Dataset[Any]:
    """Its files are not there, and it cannot fetch them."""
    raise RuntimeError("Dataset not found" if not download else "no network")
