"""The images on which a file is compared with the network: those it was tested on, where they are at hand."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mnist_lightning.config import MNIST, DataConfig, RunConfig, Shape
from mnist_lightning.data.datasets import load_dataset
from mnist_lightning.errors import UserError
from mnist_lightning.records.run_directory import CONFIG
from mnist_lightning.training.interrupted import stored_config

COMPARED = 1000


class Images(NamedTuple):
    """Test images uint8 [N, C, H, W], and the name of the data set they are of; empty for random pixels."""

    pixels: Tensor
    dataset: str

    def batches(self) -> list[Tensor]:
        """Splits them: batches of 1 and 7 images, then of 250, the last of what is left."""
        sizes, left = [1, 7, 1, 7], len(self.pixels)
        sizes += [250] * (left // 250 + 1)
        ends = torch.tensor(sizes).cumsum(0)
        return [batch for batch in self.pixels.tensor_split(ends[ends < left].tolist()) if len(batch)]


def images_of(run: Path | None, shape: Shape = MNIST) -> Images:
    """Up to 1,000 test images from all over a run's data set, if its files are at hand; else of the synthetic digits.

    They are looked for where the run had them, then where this process would have them; nothing is fetched, and no
    code is run that a file of the run names. For a network of other images than MNIST's they are of random pixels.
    """
    if shape[:3] != MNIST[:3]:
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(256, (COMPARED, *shape[:3]), generator=generator, dtype=torch.uint8)
        return Images(pixels, "")
    config = _config(run)
    here = DataConfig(config.data.name, download=False)
    for data in (DataConfig(config.data.name, config.data.root, download=False), here, DataConfig("synthetic")):
        try:
            pixels = load_dataset(data).test.images
        except UserError:
            continue
        chosen = torch.linspace(0, len(pixels) - 1, min(COMPARED, len(pixels))).round().long()
        return Images(pixels[chosen], data.name)
    raise AssertionError("the synthetic digits are always there")


def _config(run: Path | None) -> RunConfig:
    """The configuration of a run's directory, or the default one."""
    try:
        return stored_config(run / CONFIG) if run else RunConfig()
    except UserError:
        return RunConfig()
