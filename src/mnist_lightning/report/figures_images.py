"""Figures of images: nine training images, the confusion matrix and the mistakes of the best run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_lightning.records.predictions import Predictions
from mnist_lightning.report.stored import confusions
from mnist_lightning.report.style import FAINT, WIDTH, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_CELLS = 16  # classes whose counts are written into a cell for each pair
_RIGHT = "#c9d6e2"


def training_images(predictions: Predictions) -> Figure:
    """A 3 x 3 grid of training images with their labels."""
    titles = [f"label {label}" for label in predictions.sample_labels]
    return _grid(predictions.sample_images, titles, columns=3, head=0.16, width=4.8, fontsize=10)


def _grid(
    images: np.ndarray, titles: Sequence[str], columns: int, head: float, width: float, fontsize: float
) -> Figure:
    """Images [K, H, W] or [K, H, W, 3] row by row, a title over each; `head`: its height in images' sides.

    All in one pair of axes: a pair for each image would take seconds.
    """
    rows = -(-len(images) // columns)
    gap, step = 0.08, 1 + head + 0.06
    across, down = columns + gap * (columns - 1), rows * step
    figure, (axes,) = new_figure(width * down / across)
    figure.set_figwidth(width)
    for i, (image, title) in enumerate(zip(_squares(images), titles, strict=True)):
        left, top = (i % columns) * (1 + gap), (i // columns) * step + head
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="none", extent=(left, left + 1, top + 1, top))
        axes.text(left + 0.5, top - 0.02, title, ha="center", va="bottom", fontsize=fontsize, linespacing=1.1)
    axes.set(xlim=(0, across), ylim=(down, 0), xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return figure


def _squares(images: np.ndarray) -> np.ndarray:
    """The images [K, H, W, ...] with black at both sides of the shorter one."""
    gaps = [max(images.shape[1:3]) - side for side in images.shape[1:3]]
    sides = [(gap // 2, gap - gap // 2) for gap in gaps]
    return np.pad(images, [(0, 0), *sides, *[(0, 0)] * (images.ndim - 3)])


def confusion_matrix(predictions: Predictions, thing: str = "digit") -> Figure:
    """Counts of test images: true class down, predicted across. Colour shows the mistakes only.

    A `thing` is what a class is called. Of many classes the counts are left out, which nobody could read.
    """
    counts = confusions(predictions)
    classes = predictions.num_classes
    figure, (axes,) = new_figure(5.5)
    (_cells if classes <= _MOST_CELLS else _shades)(axes, counts)
    told = " (number of test images in each cell)" if classes <= _MOST_CELLS else ""
    axes.set(xlim=(0, classes), ylim=(classes, 0), xlabel=f"predicted {thing}", ylabel=f"true {thing}{told}")
    marks = range(0, classes, -(-classes // _MOST_CELLS))
    axes.set_xticks([i + 0.5 for i in marks], [str(i) for i in marks])
    axes.set_yticks([i + 0.5 for i in marks], [str(i) for i in marks])
    axes.set_aspect("equal")
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _cells(axes: Axes, counts: np.ndarray) -> None:
    """A cell for each pair of classes, with its count."""
    from matplotlib import colormaps

    most = max(int((counts - np.diag(counts.diagonal())).max()), 1)
    colours = colormaps["Oranges"]
    size = min(9, 90 / len(counts))
    for true in range(len(counts)):
        for predicted in range(len(counts)):
            count, right = int(counts[true, predicted]), true == predicted
            share = 0.0 if right else count / most
            face = _RIGHT if right else colours(0.15 + 0.75 * share) if count else "none"
            across, down = [predicted, predicted + 1, predicted + 1, predicted], [true, true, true + 1, true + 1]
            axes.fill(across, down, facecolor=face, edgecolor=FAINT, linewidth=0.4)
            if count:
                look: dict[str, Any] = {"color": "white" if share > 0.75 else "black", "ha": "center", "va": "center"}
                weight = "bold" if right else "normal"
                axes.text(predicted + 0.5, true + 0.5, f"{count:,}", fontsize=size, weight=weight, **look)


def _shades(axes: Axes, counts: np.ndarray) -> None:
    """The counts as colours alone, in one picture."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgba

    wrong = counts - np.diag(counts.diagonal())
    shades = colormaps["Oranges"](0.15 + 0.75 * wrong / max(int(wrong.max()), 1))
    shades[wrong == 0] = (0, 0, 0, 0)
    shades[np.eye(len(counts), dtype=bool)] = to_rgba(_RIGHT)
    axes.imshow(shades, interpolation="none", extent=(0, len(counts), len(counts), 0))


def mistakes(predictions: Predictions) -> Figure:
    """The stored mistakes, the most confident first: true class, predicted class, confidence."""
    told = zip(predictions.mistake_labels, predictions.mistake_predicted, predictions.mistake_confidence, strict=True)
    titles = [f"is {true}, said {said}\n{_percent(float(sure))} sure" for true, said, sure in told]
    return _grid(predictions.mistake_images, titles, columns=6, head=0.36, width=WIDTH, fontsize=8.5)


def _percent(share: float) -> str:
    """99.96 % must not read as 100 %."""
    return f"{min(int(share * 1000) / 10, 99.9):.1f} %" if share < 1 else "100 %"
