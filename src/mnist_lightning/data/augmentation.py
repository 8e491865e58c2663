"""Training images changed at random, on their device and batch by batch, by numbers that are set by the seed."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mnist_lightning.config import Shape
from mnist_lightning.config.components import TRANSFORM, Component
from mnist_lightning.config.transforms import KEY, LIGHT, written
from mnist_lightning.errors import ConfigError, Problem, cut

_TRIED = 2  # images of the batch on which a transform is tried


class Light(nn.Module):
    """Turns, shifts and scales each image on its own, a little: what `transform=light` means.

    By up to 10 degrees, 7 % of the sides (2 of 28 pixels) and 10 %. What comes in at the borders is as dark as the
    darkest pixel of the batch. Always the same, so that a fingerprint means the same for ever.
    """

    degrees, shift, scale = 10.0, 0.07, 0.1

    def forward(self, images: Tensor) -> Tensor:
        """Changes float images [N, C, H, W]; the numbers are drawn on the CPU, so that all devices have the same."""
        angle, across, down, size = (torch.rand(4, len(images), dtype=torch.float64) * 2 - 1).unbind()
        angle, size = angle * math.radians(self.degrees), 1 + size * self.scale
        height, width = images.shape[-2:]
        # where each pixel comes from, in units of half a side
        rows = [
            [angle.cos() / size, -angle.sin() / size * height / width, 2 * self.shift * across],
            [angle.sin() / size * width / height, angle.cos() / size, 2 * self.shift * down],
        ]
        theta = torch.stack([torch.stack(row, -1) for row in rows], 1).to(images)  # [N,2,3]
        grid = nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
        darkest = images.amin()
        return nn.functional.grid_sample(images - darkest, grid, align_corners=False) + darkest


class Augmentation:
    """Changes a batch of training images by torch Modules, one after another, at random.

    The numbers are a function of the seed, the epoch, the batch and the process alone: the same seed gives the same
    images, also in a run that goes on after an interrupt, and the numbers of others are left as they are.
    """

    def __init__(self, modules: list[nn.Module], seed: int) -> None:
        self.modules, self.seed = modules, seed

    def __call__(self, images: Tensor, epoch: int, batch: int, rank: int = 0) -> Tensor:
        """Changes float images [N, C, H, W] of a batch, epoch and batch from 0, of the process `rank`."""
        with _drawn_from(f"augmentation {self.seed}/{epoch}/{batch}/{rank}", images.device):
            for module in self.modules:
                images = module(images)
        return images


@contextmanager
def _drawn_from(text: str, device: torch.device) -> Iterator[None]:
    """Within the block torch's global generators, which torchvision draws from, start from a text; then as before."""
    seed = random.Random(text).getrandbits(63)
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            torch.cuda.manual_seed(seed)
        yield


def build_augmentation(transform: object, seed: int) -> Augmentation | None:
    """Makes what `transform` says, see `config.transforms`, or takes torch Modules as they are; None for nothing.

    Raises ConfigError for code that is none, or whose arguments do not fit.
    """
    given = transform if isinstance(transform, (list, tuple)) else [transform]
    modules = [one if isinstance(one, nn.Module) else _module(one) for one in given]
    kept = [module for module in modules if module is not None]
    return Augmentation(kept, seed) if kept else None


def _module(given: object) -> nn.Module | None:
    step: Any = written(given)
    if step is None:
        return None
    return Light() if step == LIGHT else Component.of(step, KEY).build(KEY, TRANSFORM, prefix=f"{KEY}.")


def check_augmentation(transform: object, shape: Shape) -> None:
    """Raises ConfigError unless the transform can be made, and makes such images of such images."""
    augmentation = build_augmentation(transform, 0)
    if augmentation is None:
        return
    images = torch.linspace(0, 1, _TRIED * math.prod(shape[:3])).reshape(_TRIED, *shape[:3])
    try:
        changed = augmentation(images.clone(), 0, 0)
    except Exception as error:  # whatever somebody's transform raises
        what = f"cannot take float images {list(images.shape)} ({cut(f'{type(error).__name__}: {error}', 80)})"
        raise ConfigError([Problem(KEY, _told(transform), what, "give another, or other arguments")]) from error
    if not isinstance(changed, Tensor) or changed.shape != images.shape or not changed.is_floating_point():
        is_tensor = isinstance(changed, Tensor)
        found = f"{str(changed.dtype)[6:]} {list(changed.shape)}" if is_tensor else type(changed).__name__
        what = f"makes {found} of float images {list(images.shape)}"
        raise ConfigError([Problem(KEY, _told(transform), what, "it must keep their shape and type")])


def _told(transform: Any) -> str:
    """A transform as a line: `torchvision.transforms.v2.RandomErasing(p=0.5)`."""
    steps = transform if isinstance(transform, (list, tuple)) else [transform]
    return ", ".join(f"{Component.of(step, KEY)}" if isinstance(step, dict) else str(step) for step in steps)
