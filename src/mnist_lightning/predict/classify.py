"""Image files read as MNIST's images, and what a trained network says they are."""

from __future__ import annotations

import io
from pathlib import Path

from mnist_lightning.config import IMAGE_SIZE
from mnist_lightning.errors import DataError
from mnist_lightning.records.reading import read_regular

_LARGEST_FILE = 2**28  # bytes


def predict(checkpoint: str | Path, images: list[str]) -> list[tuple[str, int, float]]:
    """(path, digit, probability) of each image file.

    An image is made grey, fitted into 28 x 28 pixels, and inverted if it is dark on light: MNIST's digits are
    light on dark. Raises RefusedError for a file that is no plain-weights checkpoint of ours, DataError for one
    that is no image.
    """
    import torch

    from mnist_lightning.numerics.losses import probabilities
    from mnist_lightning.training.checkpoints import load_classifier

    net = load_classifier(checkpoint)
    pixels = torch.stack([read_image(path) for path in images])  # [N,1,H,W]
    with torch.inference_mode():
        best = probabilities(net(pixels)).max(-1)
    return list(zip(images, best.indices.tolist(), best.values.tolist(), strict=True))


def read_image(path: str):
    """An image file as uint8 [1, 28, 28], light on dark."""
    import torch
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(read_regular(Path(path), _LARGEST_FILE))) as image:
            grey = ImageOps.pad(image.convert("L"), (IMAGE_SIZE, IMAGE_SIZE))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; give a PNG or JPEG file") from error
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        what = str(error).partition(" <")[0]  # Pillow names an object of ours
        raise DataError(f"{path}: not a readable image ({what:.60}); give a PNG or JPEG file") from error
    pixels = torch.frombuffer(bytearray(grey.tobytes()), dtype=torch.uint8).view(1, IMAGE_SIZE, IMAGE_SIZE)
    edge = torch.cat([pixels[0, 0], pixels[0, -1], pixels[0, :, 0], pixels[0, :, -1]])
    return 255 - pixels if edge.float().median() > 127 else pixels
