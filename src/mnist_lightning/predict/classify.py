"""Image files made into images as MNIST's are, and what a trained network says they are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_lightning.config import MNIST
from mnist_lightning.errors import DataError, RefusedError

if TYPE_CHECKING:
    from numpy import ndarray

    from mnist_lightning.numerics.networks import Given

_BATCH = 64  # files that are answered together


@dataclass(frozen=True)
class Prediction:
    """What a network says of an image file: the digit and its probability, both None where no digit is in it.

    `top` is each digit with its probability, the most probable first, empty without a digit. `image` is what the
    network saw, uint8 [28, 28], white on black, or None.
    """

    path: str
    digit: int | None = None
    probability: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    image: ndarray | None = field(default=None, compare=False, repr=False)


def predict(
    checkpoint: str | Path,
    images: str | Path | Iterable[str | Path],
    *,
    unreadable: list[DataError] | None = None,
    net: Given | str | None = None,
) -> list[Prediction]:
    """What a trained network says of image files, in their order: a Prediction each.

    `checkpoint` is a file, a run's directory (its best.ckpt) or a sweep's (its best run, by the rule of its report).
    Among `images` may be folders: the image files in them and below, by name. Raises RefusedError for a file that is no
    plain-weights checkpoint of ours, DataError for one that is no image; with `unreadable` those errors are put
    there instead, and the other files are answered. Of a network of the user's `net` is given: itself, its class, what
    makes it, or its dotted name; ConfigError where it is none. Of a network for other classes than digits `digit` is
    the class.

    >>> from PIL import Image
    >>> digits = MNISTDataModule("synthetic", test_size=10).dataset.test.images
    >>> Image.fromarray(digits[0, 0].numpy()).save("digit.png")
    >>> (prediction,) = predict("outputs/small", "digit.png")  # by the best run of the example of `sweep`
    >>> prediction.digit in range(10), 0 <= prediction.probability <= 1, prediction.image.shape
    (True, True, (28, 28))
    """
    from mnist_lightning.report.chosen import chosen

    problems: list[DataError] = [] if unreadable is None else unreadable
    found = list(predictions(chosen(checkpoint).checkpoint, images, problems, net))
    if problems and unreadable is None:
        raise problems[0]
    return found


def predictions(
    checkpoint: Path,
    images: str | Path | Iterable[str | Path],
    unreadable: list[DataError],
    net: Given | str | None = None,
) -> Iterator[Prediction]:
    """Yields what `predict` gives, as soon as it is known; the checkpoint is loaded first. Raises RefusedError."""
    import torch

    from mnist_lightning.numerics.losses import probabilities
    from mnist_lightning.training.checkpoints import load_classifier

    classifier = load_classifier(checkpoint, net)
    if classifier.shape[:3] != MNIST[:3]:
        what = f"its network takes images {classifier.shape}, and pictures are made into MNIST's, {MNIST}"
        raise RefusedError(f"{checkpoint}: {what}; use MNISTClassifier.load_from_checkpoint")
    seen = _seen([images] if isinstance(images, (str, Path)) else images, unreadable)
    while some := list(islice(seen, _BATCH)):
        digits = [image for _, image in some if image is not None]
        said: Iterator[list[float]] = iter(())
        if digits:
            with torch.inference_mode():
                said = iter(
                    probabilities(classifier(torch.stack([torch.from_numpy(d) for d in digits])[:, None])).tolist()
                )
        yield from (Prediction(path) if image is None else _answer(path, image, next(said)) for path, image in some)


def _answer(path: str, image: ndarray, said: list[float]) -> Prediction:
    top = tuple(sorted(enumerate(said), key=lambda one: -one[1]))
    return Prediction(path, *top[0], top, image)


def _seen(images: Iterable[str | Path], unreadable: list[DataError]) -> Iterator[tuple[str, ndarray | None]]:
    """Each readable file's path and the image in it, None without a digit; the other files' errors in `unreadable`."""
    from mnist_lightning.data.digit_images import digit_image
    from mnist_lightning.data.image_files import read_picture

    for path in chain.from_iterable(_files(os.fspath(path), unreadable) for path in images):
        try:
            picture = read_picture(path)
        except DataError as error:
            unreadable.append(error)
        else:
            yield path, digit_image(picture)


def _files(path: str, unreadable: list[DataError]) -> list[str]:
    """A file's own path; of a folder those of the image files in it and below, by name, hidden ones left out."""
    if not os.path.isdir(path):
        return [path]
    from PIL import Image

    kinds, before = Image.registered_extensions(), len(unreadable)
    found: list[Path] = []
    for folder, below, names in os.walk(path, onerror=lambda error: unreadable.append(_closed(error))):
        below[:] = sorted(name for name in below if not name.startswith("."))
        files = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        found += [file for file in files if file.suffix.lower() in kinds]
    if not found and len(unreadable) == before:
        unreadable.append(DataError(f"{path}: no image files in this folder; give a PNG or JPEG file"))
    return [str(file) for file in found]


def _closed(error: OSError) -> DataError:
    return DataError(f"{error.filename}: cannot be read ({error.strerror}); give the right to read it")
