"""The images of a group: the order in which its members see them, and the splits on the device that trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mnist_lightning.data.datasets import Dataset, Split, batch_order


class Rows:
    """Iterates over an epoch's batches as rows of the training set, int64 [S, N]: one order for each of S seeds."""

    def __init__(self, num_images: int, batch_size: int, seeds: Sequence[int]) -> None:
        self.num_images, self.batch_size, self.seeds, self.epoch = num_images, batch_size, seeds, 0
        self.device = torch.device("cpu")
        self.sampler = self.batch_sampler = self  # Lightning calls their `set_epoch`

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch, from 0, whose orders the next pass takes."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.num_images // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        orders = torch.stack([batch_order(self.num_images, seed, self.epoch) for seed in self.seeds])
        yield from orders.to(self.device).split(self.batch_size, dim=1)


class Resident:
    """The splits of a data set on a device, each brought there once."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        self._there: dict[int, tuple[Tensor, Tensor]] = {}
        self.device = device
        self.splits = [dataset.train, dataset.val, dataset.test]  # kept: their identities are the keys

    def __call__(self, split: Split) -> tuple[Tensor, Tensor]:
        """Returns a split's images uint8 [N, 1, 28, 28] and labels int64 [N] on the device."""
        if id(split) not in self._there:
            self._there[id(split)] = split.images.to(self.device), split.labels.to(self.device)
        return self._there[id(split)]
