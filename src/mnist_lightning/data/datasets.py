"""Data sets as splits in memory, and their batches in an order set by the seed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from mnist_lightning.config import MNIST, DataConfig, Shape
from mnist_lightning.data import own_data
from mnist_lightning.data.files import check_sizes, read_files
from mnist_lightning.data.own_data import read_own
from mnist_lightning.data.splits import Dataset as Dataset
from mnist_lightning.data.splits import Split as Split
from mnist_lightning.data.splits import Whole

SYNTHETIC_TRAIN, SYNTHETIC_TEST = 10_000, 2_000


def load_dataset(config: DataConfig) -> Dataset:
    """Returns the configured data, in memory; fetches them first if they are missing and may be fetched.

    Raises DataError for missing or damaged files, ConfigError when more images are asked for than there are.
    """
    return cut(_load_whole(config), config)


def cut(whole: Whole, config: DataConfig) -> Dataset:
    """Cuts a data set as its configuration says. Raises ConfigError when more images are asked for than there are."""
    train, test, digest, shape = whole
    check_sizes(config, len(train), len(test))
    num_train = config.train_size or len(train)
    test = test.part(0, config.test_size or len(test))
    held_out = train.part(num_train - config.val_size, num_train) if config.val_size else test
    return Dataset(train.part(0, num_train - config.val_size), held_out, test, digest, shape)


def shape_of(config: DataConfig) -> Shape:
    """What the images of the configured data are: MNIST's; those of the user's are read, once. Raises as above."""
    return MNIST if config.component is None else load_dataset(config).shape


def forget_data() -> None:
    """Makes the next `load_dataset` look at the files again; until then the runs of a sweep share one copy."""
    read_files.cache_clear()
    own_data.forget()


def _load_whole(config: DataConfig) -> Whole:
    """Returns the whole data set in the memory in which it was read."""
    root = str(Path(config.root).absolute())
    if (component := config.component) is not None:
        return read_own(component, root, config.download)
    if config.name == "synthetic":
        return _synthetic()
    arrays = read_files(config.name, root, config.download)
    train, test = (Split(*map(torch.from_numpy, split)) for split in (arrays.train, arrays.test))
    return Whole(train, test, arrays.sha256)


@cache
def _synthetic() -> Whole:
    from mnist_lightning.data.synthetic import synthetic_digits

    train, test = Split(*synthetic_digits(SYNTHETIC_TRAIN, 0)), Split(*synthetic_digits(SYNTHETIC_TEST, 1))
    pixels = train.images.numpy().tobytes() + test.images.numpy().tobytes()
    return Whole(train, test, hashlib.sha256(pixels).hexdigest())


def scale(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Scales uint8 images [..., C, H, W] to floats 0 to 1, computed in at least float32; only casts float images."""
    if images.is_floating_point():
        return images.to(dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    return images.to(wide).div_(255).to(dtype)


def batch_order(num_images: int, seed: int, epoch: int) -> Tensor:
    """Returns the permutation int64 [num_images] of one epoch: a function of its arguments and nothing else."""
    generator = torch.Generator().manual_seed(random.Random(f"batch order {seed}/{epoch}").getrandbits(63))
    return torch.randperm(num_images, generator=generator)


class Batches:
    """Iterates over a split in batches of (images [N, C, H, W], labels int64 [N]); the last may be small.

    With a seed each pass is shuffled, by `set_epoch`'s epoch; without one the order is that of the files.
    Of `num_replicas` processes that train together, the one of `rank` r takes the images r, r + num_replicas, ... of
    that order, in batches of `batch_size` each, and all have as many batches. Shuffled, for training, all have as
    many images, the first few of the order twice, as in torch's DistributedSampler; unshuffled, for evaluation, no
    image is taken twice.
    Lightning asks any loader for its `sampler` and `batch_sampler`, and calls their `set_epoch`.
    """

    def __init__(
        self, split: Split, batch_size: int, seed: int | None = None, *, num_replicas: int = 1, rank: int = 0
    ) -> None:
        self.split, self.batch_size, self.seed, self.epoch = split, batch_size, seed, 0
        self.num_replicas, self.rank = num_replicas, rank
        self.sampler = self.batch_sampler = self

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch, from 0, whose order the next pass takes."""
        self.epoch = epoch

    def __len__(self) -> int:
        most = -(-len(self.split) // self.num_replicas)
        return -(-most // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        images, labels = self.split.images, self.split.labels
        if self.seed is not None:
            order = batch_order(len(self.split), self.seed, self.epoch)
            for rows in self._part(order).split(self.batch_size):
                yield images.index_select(0, rows), labels.index_select(0, rows)
        elif self.num_replicas == 1:
            yield from zip(images.split(self.batch_size), labels.split(self.batch_size), strict=True)
        else:  # as many batches everywhere: a process with one more would wait for the others
            part = slice(self.rank, None, self.num_replicas)
            yield from zip(images[part].tensor_split(len(self)), labels[part].tensor_split(len(self)), strict=True)

    def _part(self, order: Tensor) -> Tensor:
        """This process's rows of an epoch's order int64 [N], which is repeated until it can be dealt out evenly."""
        positions = torch.arange(self.rank, -(-len(order) // self.num_replicas) * self.num_replicas, self.num_replicas)
        return order[positions % len(order)]
