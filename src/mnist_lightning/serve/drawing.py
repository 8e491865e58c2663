"""What comes from the canvas, made into MNIST's image; nothing of it is believed before it is checked."""

from __future__ import annotations

import base64
import io
import warnings
from typing import TYPE_CHECKING

from mnist_lightning.errors import DataError

if TYPE_CHECKING:
    from numpy import ndarray

LARGEST = 2**20  # bytes of a drawing
_MOST_PIXELS = 2**21  # of one: 1,448 x 1,448; a picture of a single colour that size has a few kB


def image_of(png: bytes) -> ndarray | None:
    """The drawing in a PNG file as MNIST's image, uint8 [28, 28], white on black; None if no digit is in it.

    Raises DataError for what is no PNG file, damaged or too large.
    """
    from PIL import Image

    from mnist_lightning.data.digit_images import digit_image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of sizes that are judged here
            with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
                if picture.width * picture.height > _MOST_PIXELS:  # before a byte of them is unpacked
                    raise Image.DecompressionBombError
                picture.load()
                return digit_image(picture)
    except Image.DecompressionBombError:
        raise DataError(f"the drawing: more than {_MOST_PIXELS:,} pixels; send a smaller PNG") from None
    except Exception as error:  # Pillow has no one type for a damaged file
        raise DataError("the drawing: no readable PNG; draw it anew") from error


def as_address(image: ndarray) -> str:
    """An image, uint8 [28, 28], as the `data:` address of a PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
