"""A data set that somebody has in memory, checked: images and labels as tensors or arrays."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor

from mnist_lightning.config import Shape
from mnist_lightning.data.splits import Split, Whole
from mnist_lightning.errors import DataError

_WHOLE_NUMBERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def whole_of(train: tuple[Any, Any], test: tuple[Any, Any], num_classes: int | None = None) -> Whole:
    """Checks the images and labels for training and those for testing, each a tensor or an array.

    Images uint8, or floats that the network gets as they are, [N, H, W] or [N, C, H, W]; labels whole numbers [N] from
    0 to `num_classes` - 1, by default the largest that occurs. Nothing is copied that need not be. Raises DataError
    naming `train_images`, `train_labels`, `test_images` or `test_labels`.
    """
    splits = [_split(part, *pair) for part, pair in (("train", train), ("test", test))]
    (a, b), (a_labels, b_labels) = ([s.images for s in splits], [s.labels for s in splits])
    if a.shape[1:] != b.shape[1:] or a.dtype != b.dtype:
        raise DataError(f"test_images: {_described(b)}, and train_images {_described(a)}; give both alike")
    found = int(max(a_labels.max(), b_labels.max())) + 1
    wanted = max(found, 2) if num_classes is None else num_classes
    if found > wanted:
        part = "train" if int(a_labels.max()) + 1 == found else "test"
        raise DataError(f"{part}_labels: hold {found - 1} of {wanted} classes from 0; give more num_classes")
    channels, height, width = a.shape[1:]
    shape = Shape.of(channels, (height, width), wanted)
    return Whole(splits[0], splits[1], _digest(splits), shape)


def _split(part: str, images: Any, labels: Any) -> Split:
    pixels, classes = _images(f"{part}_images", images), _labels(f"{part}_labels", labels)
    if len(pixels) != len(classes):
        raise DataError(f"{part}_labels: {len(classes):,} for {len(pixels):,} images; give one for each")
    return Split(pixels, classes)


def _images(name: str, given: Any) -> Tensor:
    """Images [N, C, H, W], uint8 or floats."""
    images = _tensor(name, given)
    if images.dtype != torch.uint8 and not images.dtype.is_floating_point:
        raise DataError(f"{name}: {_type(images)}; give uint8 from 0 to 255, or floats")
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise DataError(f"{name}: {_described(images)}; give [N, H, W] or [N, C, H, W] with a pixel at least")
    if images.dtype.is_floating_point:
        if not bool(images.isfinite().all()):
            raise DataError(f"{name}: hold a number that is not finite; give finite ones")
        low, high = images.aminmax()
        if low >= 0 and high > 1 and bool((images == images.round()).all()):
            raise DataError(f"{name}: whole numbers to {high:g} as floats; give uint8, or divide them by {high:g}")
    return images.unsqueeze(1) if images.ndim == 3 else images


def _labels(name: str, given: Any) -> Tensor:
    """Labels int64 [N]."""
    labels = _tensor(name, given)
    if labels.dtype not in _WHOLE_NUMBERS or labels.ndim != 1:
        raise DataError(f"{name}: {_described(labels)}; give whole numbers [N], the class of each image")
    if len(labels) and int(labels.min()) < 0:
        raise DataError(f"{name}: hold {int(labels.min())}; classes are numbered from 0")
    return labels.long()


def _tensor(name: str, given: Any) -> Tensor:
    """The tensor of a tensor, an array or nested lists, on the CPU."""
    try:
        return torch.as_tensor(given).detach().cpu().contiguous()
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name}: a {type(given).__name__}, no tensor of numbers ({error}); give a tensor") from error


def _type(images: Tensor) -> str:
    return str(images.dtype).removeprefix("torch.")


def _described(images: Tensor) -> str:
    return f"{_type(images)} {list(images.shape)}"


def _digest(splits: list[Split]) -> str:
    """SHA-256 of all pixels and labels with their types and shapes."""
    together = hashlib.sha256()
    for tensor in (t for split in splits for t in (split.images, split.labels)):
        together.update(_described(tensor).encode())
        together.update(tensor.flatten().view(torch.uint8).numpy().data)
    return together.hexdigest()
