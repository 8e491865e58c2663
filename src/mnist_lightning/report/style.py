"""How every figure looks, and its bytes as PNG and SVG: the same ones for the same records."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

import pandas as pd

from mnist_lightning.report.verdicts import GUESSING, above_chance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by nearly everybody (jfly.uni-koeln.de/color); markers say the same again
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6d00", "#777777")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
INK = "#1f2a36"  # text and axes; the page replaces it by its own text colour, also in the dark
FAINT = "#8a94a0"  # grid lines and what is beside the point; legible on white and on black
_LAST_LETTER = "\u0250"  # Latin letters; of others the font has some and matplotlib warns of the rest
WIDTH = 6.2  # inches: half of a wide page, so that letters keep their size
DPI = 160

_INKED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "legend.labelcolor")


@dataclass(frozen=True)
class Picture:
    """A finished figure: the name of its files, its heading, what it shows in a sentence, its bytes."""

    name: str
    title: str
    caption: str
    png: bytes
    svg: bytes


@contextmanager
def house_style() -> Iterator[None]:
    """Our settings over matplotlib's defaults, whatever the user's are; the user's are back afterwards."""
    from matplotlib import style

    colours = {**dict.fromkeys(_INKED, INK), "grid.color": FAINT}
    with (
        as_file(files("mnist_lightning.report") / "figures.mplstyle") as sheet,
        style.context(["default", str(sheet), colours]),  # pyright: ignore[reportArgumentType] - settings are allowed
    ):
        yield


def picture(name: str, title: str, caption: str, draw: Callable[[], Figure]) -> Picture:
    """Draw and save in both formats; without a clock, a version or any global figure."""
    with house_style():
        figure = draw()
        png, svg = io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
        figure.set_layout_engine("none")  # keeps what was laid out, which took half of the time
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return Picture(name, title, caption, _smaller(png.getvalue()), svg.getvalue())


def _smaller(png: bytes) -> bytes:
    """The same pixels without the opaque alpha channel, packed as tightly as PNG allows."""
    from PIL import Image

    out = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(out, "PNG", optimize=True)
    return out.getvalue()


def new_figure(
    height: float, rows: int = 1, columns: int = 1, sharey: bool = False, sharex: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure of the page's width and its axes, row by row; known to no pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=sharey, sharex=sharex)
    return figure, list(axes.flat)


def looks(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """{optimizer: its colour and marker}, the same in every figure of a sweep."""
    n = len(COLOURS)
    return {
        name: {"color": COLOURS[i % n], "marker": MARKERS[i % n]}
        for i, name in enumerate(sorted(frame["optimizer"].unique()))
    }


def short(text: str, limit: int = 28) -> str:
    """A record's text as one short line that matplotlib takes literally."""
    flat = "".join(c if c.isprintable() and c < _LAST_LETTER else "?" for c in text)
    return (flat if len(flat) <= limit else flat[: limit - 1] + "…").replace("$", r"\$")


def mark_chance(axes: Axes, classes: Iterable[int]) -> None:
    """The band in which a run is hardly better than guessing, with the largest of these numbers of classes.

    None where no number is known.
    """
    if not (known := set(classes)):
        return
    axes.axhspan(-1, above_chance(GUESSING, max(known)), color=FAINT, alpha=0.18, linewidth=0)
    at = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "bottom"}
    axes.text(0.995, 0.02, "guessing", color=FAINT, fontsize=8, **at)
