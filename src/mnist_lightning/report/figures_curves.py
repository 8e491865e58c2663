"""Learning curves: how accuracy and error moved from epoch to epoch, for the runs that tell most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mnist_lightning.report.stored import Curve
from mnist_lightning.report.style import FAINT, mark_chance, new_figure, short
from mnist_lightning.report.verdicts import COLLAPSED, NOT_YET

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def learning_curves(curves: Sequence[Curve], names: dict[str, dict[str, Any]]) -> Figure:
    """Left accuracy, right mean squared error (the same measure for every loss): solid validation, dotted training."""
    from matplotlib.ticker import MaxNLocator

    figure, (left, right) = new_figure(4.2, 1, 2)
    sized = len({c.run.architecture for c in curves}) > 1
    for curve in curves:
        run = curve.run
        colour = names[run.optimizer]["color"] if curve.why not in (COLLAPSED, "diverged") else FAINT
        label = f"{curve.why}: {short(f'{run.optimizer} {run.loss_func} {run.learning_rate:g}', 34)}"
        label += f" {run.architecture}" if sized else ""
        dashes = {"diverged": "-.", NOT_YET: "--"}.get(curve.why, "-")
        _draw(left, curve, "accuracy", colour, dashes, label)
        _draw(right, curve, "mse", colour, dashes, None)
    left.set(xlabel="epoch", ylabel="accuracy (top-1, share of images)", ylim=(0, 1.02), title="Accuracy")
    right.set(xlabel="epoch", ylabel="mean squared error of the outputs", yscale="log", title="Error")
    mark_chance(left)
    last = max((e for c in curves for e in c.columns["epoch"] if math.isfinite(e)), default=1.0)
    for axes in (left, right):
        axes.set_xlim(1 - 0.04 * last, last * 1.04)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.plot([], [], color=FAINT, linestyle=":", label="dotted: on the training images")
    figure.legend(loc="outside lower left", ncols=2, fontsize=8.5)
    return figure


def _draw(axes: Axes, curve: Curve, metric: str, colour: str, dashes: str, label: str | None) -> None:
    epochs = curve.columns["epoch"]
    marker = "o" if len(epochs) <= 30 else ""
    for name, style, width, alpha in ((f"val_{metric}", dashes, 1.8, 1.0), (f"train_{metric}", ":", 1.4, 0.8)):
        values = [v if math.isfinite(v) else math.nan for v in curve.columns.get(name, [])]
        if len(values) == len(epochs):
            axes.plot(
                epochs, values, style, color=colour, linewidth=width, alpha=alpha, markersize=3.5,
                marker=marker if name.startswith("val") else "", label=label if name.startswith("val") else None,
            )  # fmt: skip
