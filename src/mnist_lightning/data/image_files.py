"""Files of pictures, of whatever kind Pillow reads, as grey or coloured pictures of a bearable size on a ground."""

from __future__ import annotations

import io
import math
import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mnist_lightning.errors import DataError, cut
from mnist_lightning.records.reading import read_regular

_LARGEST_FILE = 2**28  # bytes
_MOST_PIXELS = 2**26  # of a file: 64 million
_ENOUGH_PIXELS = 2**18  # to see a digit in: 512 x 512
_LARGE_SIDE = 1024  # a JPEG file is read at an eighth, a quarter or half its size if it stays this large
_VISIBLE = 25  # grey levels
_WAY_OUT = "give a PNG or JPEG file"


def read_picture(path: str | os.PathLike[str]) -> Image.Image:
    """Reads an image file as a picture in mode L or RGB: its first frame, upright, see `flat`.

    Raises DataError for what is no image, damaged, no regular file or too large.
    """
    try:
        content = read_regular(Path(path), _LARGEST_FILE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of sizes that are judged here
            with Image.open(io.BytesIO(content)) as picture:
                picture.draft(None, (_LARGE_SIDE, _LARGE_SIDE))
                if picture.width * picture.height > _MOST_PIXELS:
                    raise ValueError(f"{picture.width:,} x {picture.height:,} pixels, too large")
                picture.load()
                return flat(_upright(picture))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; {_WAY_OUT}") from error
    except (Exception, Image.DecompressionBombError) as error:  # Pillow has no one type for a damaged file
        known = isinstance(error, (OSError, ValueError, Image.DecompressionBombError))
        what = (error.strerror if isinstance(error, OSError) else None) or str(error)
        what = what.partition(" <")[0] if known and what else "damaged"  # Pillow names an object of ours
        raise DataError(f"{path}: not a readable image ({cut(what, 60)}); {_WAY_OUT}") from error


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # damaged metadata, of as many types as there are fields
        return picture


def flat(picture: Image.Image) -> Image.Image:
    """A picture of any mode as L or RGB, what is transparent on white, of at most 2^18 pixels by averaging.

    Where nothing could be seen on white, such as white ink, it lies on black. 16 bits become 8. One that is L or RGB
    and small is returned as it is.
    """
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return _reduced(_of_8_bits(picture))
    if picture.has_transparency_data:
        return _on_ground(_reduced(picture.convert("RGBA")))
    return _reduced(picture if picture.mode in ("L", "RGB") else picture.convert("L" if picture.mode == "1" else "RGB"))


def _reduced(picture: Image.Image) -> Image.Image:
    factor = math.ceil(math.sqrt(picture.width * picture.height / _ENOUGH_PIXELS))
    return picture.reduce(factor) if factor > 1 else picture


def _of_8_bits(picture: Image.Image) -> Image.Image:
    """Grey of 16 bits divided by 257; of 32 bits or of floats, whose white nobody knows, from the darkest on."""
    grey = np.nan_to_num(np.asarray(picture, np.float64), posinf=0, neginf=0)
    low, high = (
        (0.0, 65535.0) if picture.mode != "F" and grey.max() < 2**16 and grey.min() >= 0 else (grey.min(), grey.max())
    )
    return Image.fromarray(np.rint((grey - low) * (255 / max(high - low, 1e-9))).astype(np.uint8))


def _on_ground(picture: Image.Image) -> Image.Image:
    made = [_composed(picture, ground) for ground in ("white", "black")]
    contrasts = [max(high - low for low, high in one.getextrema()) for one in made]  # pyright: ignore[reportGeneralTypeIssues] - RGB: a pair for each band
    return made[contrasts[0] < _VISIBLE <= contrasts[1]]


def _composed(picture: Image.Image, ground: str) -> Image.Image:
    result = Image.new("RGBA", picture.size, ground)
    result.alpha_composite(picture)
    return result.convert("RGB")
