"""Learning curves: how accuracy and error moved from epoch to epoch, for the runs that tell most."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mnist_lightning.report.running import Running
from mnist_lightning.report.stored import Curve
from mnist_lightning.report.style import COLOURS, FAINT, MARKERS, mark_chance, new_figure, short
from mnist_lightning.report.verdicts import COLLAPSED, DIGITS, NOT_YET, UNCLEAR, classes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_DOTTED = 3  # runs at work beside whose validation their training is drawn


def learning_curves(curves: Sequence[Curve], names: dict[str, dict[str, Any]]) -> Figure:
    """Left accuracy, right mean squared error (the same measure for every loss): solid validation, dotted training."""
    from matplotlib.ticker import MaxNLocator

    figure, (left, right) = new_figure(4.2, 1, 2)
    sized = len({c.run.architecture for c in curves}) > 1
    keys = Counter(_keys(c.run) for c in curves)
    for curve in curves:
        run = curve.run
        colour = FAINT if curve.why in (COLLAPSED, UNCLEAR, "diverged") else names[run.optimizer]["color"]
        label = f"{curve.why}: {short(_keys(run), 34)}"
        label += f" {run.architecture}" if sized else ""
        if keys[_keys(run)] > 1:
            label += short(f"{', ' * bool(run.further)}{run.further}, seed {run.seed}", 34)
        dashes = {"diverged": "-.", NOT_YET: "--", UNCLEAR: "--"}.get(curve.why, "-")
        _draw(left, curve, "accuracy", colour, dashes, label)
        _draw(right, curve, "mse", colour, dashes, None)
    left.set(xlabel="epoch", ylabel="accuracy (top-1, share of images)", ylim=(0, 1.02), title="Accuracy")
    right.set(xlabel="epoch", ylabel="mean squared error of the outputs", yscale="log", title="Error")
    mark_chance(left, (classes_of(c.run) for c in curves))
    last = max((e for c in curves for e in c.columns["epoch"] if math.isfinite(e)), default=1.0)
    for axes in (left, right):
        axes.set_xlim(1 - max(0.04 * last, 0.5 * (last < 2)), last + max(0.04 * last, 0.5 * (last < 2)))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    style, name = ("x", "cross") if last < 2 else (":", "dotted")
    left.plot([], [], style, color=FAINT, label=f"{name}: on the training images")
    figure.legend(loc="outside lower left", ncols=2, fontsize=8.5)
    return figure


def running_curves(running: Sequence[Running]) -> Figure:
    """The accuracy of runs at work so far, up to the epochs that they will have: solid validation, dotted training."""
    from matplotlib.ticker import MaxNLocator

    figure, (axes,) = new_figure(3.0 + 0.17 * len(running))  # the legend's lines have their own room
    lines = {"val_accuracy": "-", "train_accuracy": ":"}
    if len(running) > MOST_DOTTED and any(run.curve("val_accuracy") for run in running):
        del lines["train_accuracy"]
    for i, run in enumerate(running):
        look = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "markersize": 3.5}
        labels = iter((f"{short(run.label, 60)}: {run.how_far}",))
        for column, line in lines.items():
            if points := run.curve(column):
                axes.plot(*zip(*points, strict=True), line, label=next(labels, None), linewidth=1.6, **look)
    last = max(max(run.epochs or 1, *run.epochs_done) for run in running)
    axes.set(xlabel="epoch", ylabel="accuracy (top-1)", ylim=(0, 1.02))
    axes.set_xlim(1 - max(0.02 * last, 0.25), last + max(0.02 * last, 0.25))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    mark_chance(axes, [DIGITS])
    figure.legend(loc="outside lower left", fontsize=8.5)
    return figure


def _keys(run: Any) -> str:
    return f"{run.optimizer} {run.loss_func} {run.learning_rate:g}"


def _draw(axes: Axes, curve: Curve, metric: str, colour: str, dashes: str, label: str | None) -> None:
    epochs = curve.columns["epoch"]
    solid = {"linestyle": dashes, "linewidth": 1.8, "marker": "o" if len(epochs) <= 30 else "", "label": label}
    dotted = {"linestyle": ":", "linewidth": 1.4, "marker": "x" if len(epochs) == 1 else "", "alpha": 0.8}
    for name, look in ((f"val_{metric}", solid), (f"train_{metric}", dotted)):
        values = [v if math.isfinite(v) else math.nan for v in curve.columns.get(name, [])]
        if len(values) == len(epochs):
            axes.plot(epochs, values, color=colour, markersize=3.5, **look)
