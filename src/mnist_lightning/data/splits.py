"""What a data set is once it is in memory: its splits, what shape its images have, and their digest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from mnist_lightning.config import MNIST, Shape


@dataclass(frozen=True, repr=False)
class Split:
    """Images [N, C, H, W], of MNIST uint8 [N, 1, 28, 28], labels int64 [N]. Shared: do not write into them."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return self.images.shape[0]

    def __repr__(self) -> str:
        """`Split(60,000 images uint8 1x28x28, labels 0 to 9)`: never the pixels."""
        kind, shape = str(self.images.dtype).removeprefix("torch."), "x".join(map(str, self.images.shape[1:]))
        labels = f", labels {int(self.labels.min())} to {int(self.labels.max())}" if len(self) else ""
        return f"Split({len(self):,} images {kind} {shape}{labels})"

    def part(self, start: int, stop: int) -> Split:
        """The images from `start` to before `stop`."""
        return Split(self.images[start:stop], self.labels[start:stop])


class Whole(NamedTuple):
    """All training and all test images of a data set, its digest, and what its images are."""

    train: Split
    test: Split
    sha256: str
    shape: Shape = MNIST


@dataclass(frozen=True)
class Dataset:
    """The splits of a configuration. `val` is the held-out part, or `test` itself when nothing is held out.

    `sha256` is the digest of the whole data set the splits were cut from.
    """

    train: Split
    val: Split
    test: Split
    sha256: str
    shape: Shape = MNIST
