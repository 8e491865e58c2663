"""Figures of a search: how it went, trial by trial, and which parameters mattered."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mnist_lightning.report.search import Searched, best_so_far
from mnist_lightning.report.style import COLOURS, FAINT, new_figure, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MANY_POINTS = 1500  # beyond, points become pixels also in the SVG
MOST_BARS = 20


def optimization_history(searched: Searched) -> Figure:
    """What each trial reached, and the best so far as a line; pruned, diverged and failed ones along the lower edge."""
    from matplotlib.ticker import MaxNLocator

    figure, (axes,) = new_figure(3.4)
    done, best = searched.completed, searched.best
    many = len(searched.trials) > MANY_POINTS
    numbers = [told.count for told in done]
    axes.scatter(
        numbers, [told.value for told in done], s=18, color=COLOURS[0], linewidths=0, alpha=0.8, rasterized=many,
        label="completed",
    )  # fmt: skip
    axes.step(
        [told.count for told in searched.trials], best_so_far(searched), where="post", color=COLOURS[1],
        linewidth=1.6, label="best so far",
    )  # fmt: skip
    if best:
        axes.scatter([best.count], [best.value], s=90, facecolors="none", edgecolors=COLOURS[1], label="best")
    at_edge = {"transform": axes.get_xaxis_transform(), "clip_on": False, "rasterized": many}
    for state, marker in (("pruned", "|"), ("diverged", "x"), ("failed", "X")):
        if there := [told.count for told in searched.trials if told.state == state]:
            axes.scatter(there, [0.015] * len(there), s=26, color=FAINT, marker=marker, label=state, **at_edge)
    last = max((told.count for told in searched.trials), default=1)
    axes.set_xlim(1 - max(0.5, 0.02 * last), last + max(0.5, 0.02 * last))
    values = [told.value for told in done] or [0.0, 1.0]
    margin = max(0.08 * (max(values) - min(values)), 0.005)
    axes.set_ylim(min(values) - 1.6 * margin, max(values) + margin)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="trial", ylabel=searched.objective)
    figure.legend(loc="outside lower left", ncols=6, fontsize=8.5)
    return figure


def parameter_importance(searched: Searched) -> Figure:
    """A bar for each parameter, the most important on top; the shares add up to 1."""
    shown = list(searched.importances.items())[:MOST_BARS]
    figure, (axes,) = new_figure(1.1 + 0.34 * len(shown))
    names, shares = [short(name) for name, _ in shown], [share for _, share in shown]
    places = range(len(shown))
    axes.barh(places, shares, color=COLOURS[0], height=0.62)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    for place, share in zip(places, shares, strict=True):
        if math.isfinite(share):
            axes.annotate(f"{share:.2f}", (share, place), (4, 0), textcoords="offset points", va="center", fontsize=8.5)
    axes.set(xlabel="importance, share of 1", xlim=(0, max(shares) * 1.14))
    axes.grid(visible=False, axis="y")
    return figure
