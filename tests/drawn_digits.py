"""Pictures of digits as people make them: printed in several fonts or drawn by pen, on paper of many kinds.

Everything is made here from a seed: glyphs of the fonts that ship with matplotlib, and strokes of our own. No
network is asked what it can read, so that the share that it reads says something.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

FONTS = (
    *("DejaVuSans", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-Italic"),
    *("STIXGeneral", "STIXGeneralItalic", "cmr10", "cmss10", "cmtt10"),
)
BOLD = ("DejaVuSans-Bold", "DejaVuSerif-Bold", "STIXGeneralBol", "cmb10")
# The digits as a pen goes, in a box of width 0 to 1 and height 0 to 1.5; "oval" closes one around its middle
_STROKES: dict[int, list[list[tuple[float, float]]]] = {
    1: [[(0.2, 0.4), (0.55, 0.0), (0.55, 1.5)]],
    2: [
        [
            (0.05, 0.4),
            (0.2, 0.1),
            (0.5, 0.0),
            (0.8, 0.1),
            (0.9, 0.4),
            (0.75, 0.75),
            (0.35, 1.15),
            (0.0, 1.5),
            (1.0, 1.5),
        ]
    ],
    3: [
        [(0.1, 0.1), (0.5, 0.0), (0.85, 0.2), (0.85, 0.5), (0.4, 0.7), (0.9, 0.9), (0.95, 1.2), (0.6, 1.5), (0.05, 1.4)]
    ],
    4: [[(0.6, 0.0), (0.05, 0.95), (1.0, 0.95)], [(0.75, 0.5), (0.75, 1.5)]],
    5: [[(0.9, 0.0), (0.2, 0.0), (0.12, 0.65), (0.5, 0.55), (0.9, 0.75), (0.95, 1.15), (0.6, 1.5), (0.05, 1.4)]],
    6: [
        [
            (0.75, 0.0),
            (0.35, 0.35),
            (0.1, 0.85),
            (0.1, 1.25),
            (0.45, 1.5),
            (0.85, 1.35),
            (0.9, 1.0),
            (0.55, 0.8),
            (0.15, 1.0),
        ]
    ],
    7: [[(0.05, 0.0), (0.95, 0.0), (0.6, 0.7), (0.4, 1.5)]],
    9: [[(0.9, 0.45), (0.5, 0.7), (0.1, 0.45), (0.25, 0.1), (0.6, 0.0), (0.9, 0.2), (0.9, 0.45), (0.8, 1.5)]],
}
_OVALS = {0: [(0.5, 0.75, 0.42, 0.75)], 8: [(0.5, 0.36, 0.34, 0.36), (0.5, 1.1, 0.42, 0.4)]}


class Drawn(NamedTuple):
    """A picture of a digit: what kind of picture, the digit, the picture."""

    kind: str
    digit: int
    picture: Image.Image


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"), size)


def printed(digit: int, font: str, size: int, bold: int = 0) -> Image.Image:
    """The ink of a glyph (L, 255 is ink), as tall as the font has it, cropped to itself."""
    made = _font(font, size)
    left, top, right, bottom = map(int, made.getbbox(str(digit), stroke_width=bold))
    ink = Image.new("L", (right - left + 4, bottom - top + 4))
    ImageDraw.Draw(ink).text((2 - left, 2 - top), str(digit), 255, made, stroke_width=bold, stroke_fill=255)
    return ink.crop(ink.getbbox())


def penned(digit: int, height: int, width: float, random: np.random.Generator) -> Image.Image:
    """The ink of a digit drawn by a pen of that width, a little differently each time, cropped to itself."""
    scale = 4
    unit, pen = scale * height / 1.5, max(1, round(scale * width))
    lean, narrow = random.uniform(-0.15, 0.25), random.uniform(0.75, 1.0)
    ink = Image.new("L", (int(unit * 2.2) + 2 * pen, int(unit * 1.7) + 2 * pen))
    draw = ImageDraw.Draw(ink)
    for line in (*_STROKES.get(digit, []), *(_oval(*o) for o in _OVALS.get(digit, []))):
        wobbled = [(x + random.normal(0, 0.02), y + random.normal(0, 0.02)) for x, y in line]
        points = [
            (pen + unit * (0.4 + narrow * x + lean * (0.75 - y)), pen + unit * (0.05 + y))
            for x, y in _smooth(wobbled, digit)
        ]
        draw.line(points, 255, pen)
        for x, y in points:
            draw.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), 255)
    box = ink.getbbox()
    assert box
    ink = ink.crop(box)
    return ink.resize((max(1, ink.width // scale), max(1, ink.height // scale)), Image.Resampling.BOX)


def _oval(x: float, y: float, a: float, b: float) -> list[tuple[float, float]]:
    turns = np.linspace(0, 2 * math.pi, 13)
    return [(x + a * math.sin(t), y - b * math.cos(t)) for t in turns]


def _smooth(line: list[tuple[float, float]], digit: int) -> list[tuple[float, float]]:
    """The line with its corners cut, three times (Chaikin); the straight digits keep theirs."""
    for _ in range(0 if digit in (1, 4, 7) else 3):
        inner = [(a * (1 - t) + b * t, c * (1 - t) + d * t) for (a, c), (b, d) in pairwise(line) for t in (0.25, 0.75)]
        line = [line[0], *inner, line[-1]]
    return line


def page(ink: Image.Image, size: tuple[int, int], at: tuple[float, float] = (0.5, 0.5)) -> Image.Image:
    """The ink on an empty page of that size, at a place in it (0 to 1 across and down)."""
    width, height = max(size[0], ink.width), max(size[1], ink.height)
    result = Image.new("L", (width, height))
    result.paste(ink, (int(at[0] * (width - ink.width)), int(at[1] * (height - ink.height))))
    return result


def on_paper(ink: Image.Image, paper: float = 255, pen: float = 0) -> np.ndarray:
    """Ink (L) as float64 [H, W] of grey: `pen` where there is ink, `paper` elsewhere."""
    share = np.asarray(ink, np.float64) / 255
    return paper + (pen - paper) * share


def picture_of(grey: np.ndarray) -> Image.Image:
    """Float [H, W] of grey as a picture."""
    return Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8))


def gradient(grey: np.ndarray, darkest: float, angle: float) -> np.ndarray:
    """The paper lit from one side: at the other it is `darkest` as bright."""
    h, w = grey.shape
    y, x = np.mgrid[0 : 1 : h * 1j, 0 : 1 : w * 1j] - 0.5
    along = x * math.cos(angle) + y * math.sin(angle)
    along = (along - along.min()) / (along.max() - along.min())
    return grey * (1 - (1 - darkest) * along)


def shadow(grey: np.ndarray, dark: float, angle: float, soft: float) -> np.ndarray:
    """A shadow with a soft edge over half of the paper, in which it is `dark` as bright."""
    h, w = grey.shape
    y, x = np.mgrid[0 : 1 : h * 1j, 0 : 1 : w * 1j] - 0.5
    along = (x * math.cos(angle) + y * math.sin(angle)) / soft
    return grey * (dark + (1 - dark) / (1 + np.exp(-4 * along)))


def vignette(grey: np.ndarray, darkest: float) -> np.ndarray:
    """The paper darker towards its corners, as lenses make it."""
    h, w = grey.shape
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    return grey * (1 - (1 - darkest) * (x**2 + y**2) / 2)


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    """The picture as a JPEG file of that quality gives it back."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue()))


def _see_through(ink: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    picture = Image.new("RGBA", ink.size, (*colour, 0))
    picture.putalpha(ink)
    return picture


def _coloured(ink: Image.Image, paper: tuple[int, int, int], pen: tuple[int, int, int]) -> Image.Image:
    return Image.composite(Image.new("RGB", ink.size, pen), Image.new("RGB", ink.size, paper), ink)


Maker = Callable[[int, np.random.Generator], Image.Image]


def _some_ink(digit: int, random: np.random.Generator) -> Image.Image:
    """A digit of any of our makings, from 40 to 160 pixels high."""
    size = int(random.integers(40, 160))
    if random.random() < 0.5:
        return penned(digit, size, size * random.uniform(0.07, 0.15), random)
    return printed(digit, str(random.choice(FONTS)), int(size * 1.4))


def _some_page(digit: int, random: np.random.Generator) -> Image.Image:
    """Such a digit somewhere on a page around twice its size."""
    ink = _some_ink(digit, random)
    across, down = random.uniform(1.3, 2.6, 2)
    side = max(ink.size)
    return page(ink, (int(side * across), int(side * down)), tuple(random.uniform(0.15, 0.85, 2)))


def _noisy(grey: np.ndarray, deviation: float, random: np.random.Generator) -> Image.Image:
    return picture_of(grey + random.normal(0, deviation, grey.shape))


def _peppered(grey: np.ndarray, share: float, random: np.random.Generator) -> Image.Image:
    hit = random.random(grey.shape) < share
    return picture_of(np.where(hit, random.choice([0.0, 255.0], grey.shape), grey))


def _of_16_bits(grey: np.ndarray) -> Image.Image:
    return Image.fromarray((grey * 257).astype(np.uint16))


KINDS: dict[str, Maker] = {
    "printed, black on white": lambda d, r: picture_of(
        on_paper(page(printed(d, str(r.choice(FONTS)), 120), (180, 180), tuple(r.uniform(0.2, 0.8, 2))))
    ),
    "printed, white on black": lambda d, r: page(printed(d, str(r.choice(FONTS)), 120), (180, 180)),
    "printed, bold": lambda d, r: picture_of(on_paper(page(printed(d, str(r.choice(BOLD)), 120), (180, 180)))),
    "pen": lambda d, r: picture_of(on_paper(page(penned(d, 120, r.uniform(8, 16), r), (200, 200)))),
    "thin pen": lambda d, r: picture_of(on_paper(page(penned(d, 150, r.uniform(1.0, 3.0), r), (260, 260)))),
    "thick pen": lambda d, r: picture_of(on_paper(page(penned(d, 120, r.uniform(20, 27), r), (200, 200)))),
    "small on a large page": lambda d, r: picture_of(
        on_paper(page(_some_ink(d, r), (900, 1200), tuple(r.uniform(0.05, 0.95, 2))))
    ),
    "tiny": lambda d, r: picture_of(on_paper(page(printed(d, str(r.choice(FONTS)), 22), (40, 40)))),
    "to the edge": lambda d, r: picture_of(on_paper(page(_some_ink(d, r), (1, 1)))),
    "wide": lambda d, r: picture_of(on_paper(page(_some_ink(d, r), (1200, 170), (r.uniform(0.05, 0.95), 0.5)))),
    "tall": lambda d, r: picture_of(on_paper(page(_some_ink(d, r), (150, 1100), (0.5, r.uniform(0.05, 0.95))))),
    "lit from one side": lambda d, r: picture_of(
        gradient(on_paper(_some_page(d, r), 240, 50), r.uniform(0.35, 0.7), r.uniform(0, 6.28))
    ),
    "shadow": lambda d, r: picture_of(
        shadow(on_paper(_some_page(d, r), 235, 40), r.uniform(0.6, 0.8), r.uniform(0, 6.28), r.uniform(0.1, 0.5))
    ),
    "vignette": lambda d, r: picture_of(vignette(on_paper(_some_page(d, r), 240, 50), r.uniform(0.5, 0.8))),
    "noise": lambda d, r: _noisy(on_paper(_some_page(d, r), 220, 60), r.uniform(10, 35), r),
    "shadow and noise, inverted": lambda d, r: _noisy(
        255 - gradient(on_paper(_some_page(d, r), 235, 40), r.uniform(0.5, 0.8), r.uniform(0, 6.28)),
        r.uniform(5, 18),
        r,
    ),
    "salt and pepper": lambda d, r: _peppered(on_paper(_some_page(d, r), 230, 40), r.uniform(0.01, 0.06), r),
    "faint": lambda d, r: _noisy(on_paper(_some_page(d, r), 225, 190), 2.0, r),
    "black on transparent": lambda d, r: _see_through(_some_page(d, r), (0, 0, 0)),
    "white on transparent": lambda d, r: _see_through(_some_page(d, r), (255, 255, 255)),
    "colours": lambda d, r: _coloured(
        _some_page(d, r),
        *[((250, 240, 200), (30, 40, 160)), ((60, 110, 70), (240, 240, 230)), ((255, 255, 255), (230, 60, 50))][
            r.integers(3)
        ],
    ),
    "blurred": lambda d, r: picture_of(on_paper(_some_page(d, r))).filter(ImageFilter.GaussianBlur(3)),
    "JPEG": lambda d, r: jpeg(picture_of(on_paper(_some_page(d, r), 235, 45)), int(r.integers(10, 40))),
    "16 bits": lambda d, r: _of_16_bits(on_paper(_some_page(d, r), 230, 40)),
    "palette": lambda d, r: picture_of(on_paper(_some_page(d, r), 230, 40)).convert(
        "P", palette=Image.Palette.ADAPTIVE
    ),
    "turned by a few degrees": lambda d, r: picture_of(
        on_paper(_some_page(d, r).rotate(r.uniform(-10, 10), Image.Resampling.BICUBIC))
    ),
}


def drawn_digits(each: int = 2, seed: int = 0) -> Iterator[Drawn]:
    """`each` pictures of every digit in every kind of `KINDS`: 10 * each * len(KINDS); the same for the same seed."""
    for number, (kind, make) in enumerate(KINDS.items()):
        for digit in range(10):
            random = np.random.default_rng([seed, number, digit])
            for _ in range(each):
                yield Drawn(kind, digit, make(digit, random))
