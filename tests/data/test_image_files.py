"""Files of every kind give the picture that is in them, or one line that says what is wrong."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawn_digits import on_paper, page, picture_of, printed
from mnist_lightning.data.digit_images import digit_image
from mnist_lightning.data.image_files import flat, read_picture
from mnist_lightning.errors import DataError

GREY = picture_of(on_paper(page(printed(4, "DejaVuSans", 120), (160, 180)), 235, 30))


def image_of(path: Path) -> np.ndarray:
    image = digit_image(read_picture(path))
    assert image is not None, "no digit found"
    return image.astype(float)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).sum() / one.sum())


def wide(dtype: type, factor: float) -> Image.Image:
    return Image.fromarray((np.asarray(GREY, np.float64) * factor).astype(dtype))


Saver = Callable[[Path], None]
FILES: dict[str, Saver] = {
    "grey.png": lambda p: GREY.save(p),
    "rgb.png": lambda p: GREY.convert("RGB").save(p),
    "palette.png": lambda p: GREY.convert("P").save(p),
    "palette.gif": lambda p: GREY.save(p),
    "bits.png": lambda p: GREY.convert("1", dither=Image.Dither.NONE).save(p),
    "16bits.png": lambda p: wide(np.uint16, 257).save(p),
    "32bits.tif": lambda p: wide(np.int32, 257).save(p),
    "large.tif": lambda p: wide(np.int32, 2.0**20).save(p),
    "float.tif": lambda p: wide(np.float32, 1 / 255).save(p),
    "jpeg.jpg": lambda p: GREY.save(p, quality=95),
    "cmyk.jpg": lambda p: GREY.convert("CMYK").save(p, quality=95),
    "cmyk.tif": lambda p: GREY.convert("CMYK").save(p),
    "ycbcr.tif": lambda p: GREY.convert("YCbCr").save(p),
    "alpha.webp": lambda p: GREY.convert("RGBA").save(p, lossless=True),
    "bitmap.bmp": lambda p: GREY.save(p),
    "animated.gif": lambda p: GREY.save(p, save_all=True, append_images=[Image.new("L", GREY.size, 255)]),
    "without an ending": lambda p: GREY.save(p, "PNG"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_any_kind_gives_the_same_image(name: str, tmp_path: Path) -> None:
    FILES["grey.png"](tmp_path / "grey.png")
    FILES[name](tmp_path / name)
    assert difference(image_of(tmp_path / "grey.png"), image_of(tmp_path / name)) < 0.12


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_photograph_that_was_turned_is_read_upright(orientation: int, tmp_path: Path) -> None:
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    GREY.transpose(turns[orientation]).save(tmp_path / "a.jpg", quality=95, exif=exif)
    GREY.save(tmp_path / "upright.png")
    assert difference(image_of(tmp_path / "upright.png"), image_of(tmp_path / "a.jpg")) < 0.12


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_that_claims(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def png(path: Path) -> bytes:
    GREY.save(path, "PNG")
    return path.read_bytes()


BAD: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "a text": (lambda p: b"no picture", r"cannot identify image file"),
    "nothing": (lambda p: b"", r"cannot identify image file"),
    "cut off": (lambda p: png(p)[:600], r"(image file is truncated|.*)"),
    "a bomb": (lambda p: png_that_claims(60_000, 60_000), r"Image size \(3600000000 pixels\) exceeds limit.*"),
    "too large": (lambda p: png_that_claims(12_000, 8_000), r"12,000 x 8,000 pixels, too large"),
    "of no size": (lambda p: png_that_claims(0, 10), r".+"),
    "shorter than it says": (lambda p: png_that_claims(500, 500), r".+"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_whole_image_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    content, said = BAD[name]
    path = tmp_path / "a.png"
    path.write_bytes(content(path))
    with pytest.raises(
        DataError, match=rf"a\.png: not a readable image \({said}\); give a PNG or JPEG file$"
    ) as refused:
        read_picture(path)
    assert str(refused.value).isprintable()


def test_a_missing_file_is_called_missing_and_a_folder_not_regular(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.png: no such file; give a PNG or JPEG file$"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(DataError, match=r"not a readable image \(not a regular file\)"):
        read_picture(tmp_path)


def test_damage_anywhere_in_a_file_gives_a_picture_or_one_line(tmp_path: Path) -> None:
    """Any other exception fails this."""
    random, path = np.random.default_rng(0), tmp_path / "a"
    for name in ("grey.png", "jpeg.jpg", "palette.gif", "cmyk.tif", "16bits.png", "alpha.webp", "bitmap.bmp"):
        FILES[name](tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        refused = 0
        for _ in range(40):
            damaged = bytearray(whole)
            for at in random.integers(0, min(len(whole), 400), 4):
                damaged[at] = random.integers(256)
            path.write_bytes(bytes(damaged[: random.integers(1, len(damaged) + 1)]))
            try:
                digit_image(read_picture(path))
            except DataError as error:
                refused += str(error).startswith(f"{path}: not a readable image (")
        assert refused > 0


def test_wide_tall_and_large_pictures_are_made_smaller_by_averaging() -> None:
    for size in ((20_000, 40), (40, 20_000), (3_000, 2_500)):
        made = flat(Image.new("RGB", size, (10, 20, 30)))
        assert made.width * made.height <= 2**18 * 1.1
        assert made.getextrema() == ((10, 10), (20, 20), (30, 30))


def test_what_is_half_transparent_lies_on_white_and_white_ink_on_black() -> None:
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert flat(half).getpixel((0, 0)) == (127, 127, 127)
    half.paste((255, 255, 255, 255), (0, 0, 2, 2))
    assert flat(half).getpixel((0, 0)) == (255, 255, 255)
    white = Image.new("RGBA", (4, 4), (255, 255, 255, 0))
    white.paste((255, 255, 255, 255), (0, 0, 2, 2))
    assert flat(white).getpixel((3, 3)) == (0, 0, 0)
