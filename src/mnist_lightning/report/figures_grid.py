"""Figures of the whole grid: accuracy by learning rate and optimizer, by network size, by time; the heat map."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mnist_lightning.records.results import RunResult
from mnist_lightning.report.groups import architecture
from mnist_lightning.report.ranking import Ranking, collapse
from mnist_lightning.report.style import FAINT, INK, looks, mark_chance, new_figure, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 4
MOST_NAMED = 8  # optimizers in a legend
MANY_POINTS = 1500  # beyond, points become pixels also in the SVG, which would be megabytes
_HEAT_ROWS, _HEAT_COLUMNS = 48, 24


def _points(results: Sequence[RunResult]) -> list[RunResult]:
    return [r for r in results if r.status == "completed" and math.isfinite(r.accuracy_test)]


def by_learning_rate(ranking: Ranking) -> Figure:
    """A panel per loss: each run a point, a line through the means of an optimizer."""
    done = _points(ranking.results)
    losses = sorted({r.loss_func for r in done})[:MOST_PANELS]
    figure, panels = new_figure(3.6 if len(losses) < 3 else 6.6, -(-len(losses) // 2), min(2, len(losses)), sharey=True)
    names = looks(done)
    rates = sorted({r.learning_rate for r in done if r.learning_rate > 0})
    step = min((b / a for a, b in pairwise(rates)), default=10.0)
    for axes, loss in zip(panels, losses, strict=False):
        for i, (name, look) in enumerate(names.items()):
            runs = [r for r in done if (r.loss_func, r.optimizer) == (loss, name) and r.learning_rate > 0]
            aside = min(step, 10.0) ** (0.09 * (i - (len(names) - 1) / 2))  # beside each other, not on top
            _line_of_means(axes, runs, aside, look, short(name, 16) if i < MOST_NAMED else None)
        axes.set(title=f"loss: {short(loss)}", xlabel="learning rate", xscale="log", ylim=(0, 1.02))
        _rate_ticks(axes, rates)
        mark_chance(axes)
    for axes in panels[len(losses) :]:
        axes.remove()
    panels[0].set_ylabel("test accuracy (top-1, share of images)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=min(len(labels), 6))
    return figure


def _line_of_means(axes: Axes, runs: Sequence[RunResult], aside: float, look: dict[str, Any], name: str | None) -> None:
    by_rate: dict[float, list[float]] = {}
    for r in runs:
        by_rate.setdefault(r.learning_rate, []).append(r.accuracy_test)
    rates = sorted(by_rate)
    if len(rates) <= 20:
        axes.plot(
            [r * aside for r in rates],
            [statistics.fmean(by_rate[r]) for r in rates],
            color=look["color"],
            linewidth=1.6,
        )
    x, y = [r.learning_rate * aside for r in runs], [r.accuracy_test for r in runs]
    axes.scatter(
        x,
        y,
        s=34,
        alpha=0.85,
        label=name,
        linewidths=0,
        zorder=3,
        rasterized=len(runs) > MANY_POINTS,
        **look,
    )


def _rate_ticks(axes: Axes, rates: Sequence[float]) -> None:
    if 0 < len(rates) <= 7:
        axes.set_xticks(rates, [f"{r:g}" for r in rates])
        axes.minorticks_off()
        axes.set_xlim(rates[0] / 2, rates[-1] * 2)


def by_network_size(ranking: Ranking) -> Figure:
    """Accuracy against the number of parameters: the best run of each optimizer and size joined, the others as dots."""
    done = [r for r in _points(ranking.results) if r.num_parameters]
    learned = [r for r in done if not collapse(r)] or done
    figure, (axes,) = new_figure(4.2)
    lowest = 1.0
    for name, look in list(looks(ranking.results).items())[:MOST_NAMED]:
        runs = [r for r in learned if r.optimizer == name]
        best: dict[int, float] = {}
        for r in runs:
            best[r.num_parameters or 0] = max(best.get(r.num_parameters or 0, 0.0), r.accuracy_test)
        if runs:
            x, y = [r.num_parameters or 0 for r in runs], [r.accuracy_test for r in runs]
            axes.scatter(x, y, s=9, alpha=0.45, linewidths=0, rasterized=len(runs) > MANY_POINTS, **look)
            axes.plot(sorted(best), [best[s] for s in sorted(best)], label=short(name, 16), linewidth=1.5, **look)
            lowest = min(lowest, *best.values())
    axes.set(xscale="log", xlabel="trainable parameters (logarithmic)", ylabel="test accuracy (top-1, share of images)")
    highest = max(r.accuracy_test for r in learned)
    pad = max(0.12 * (highest - lowest), 0.002)
    axes.set_ylim(lowest - pad, min(highest + pad, 1.0 + pad / 2))  # what fell far behind would press the rest flat
    _plain_numbers(axes)
    _name_sizes(axes, learned)
    figure.legend(loc="outside lower right", ncols=6)
    return figure


def _name_sizes(axes: Axes, runs: Sequence[RunResult]) -> None:
    """The architectures over the plot, in two rows: some have nearly the same number of parameters."""
    sizes = sorted({(r.num_parameters or 0, architecture(r)) for r in runs})
    for i, (parameters, name) in enumerate(sizes if len(sizes) <= 14 else []):
        axes.axvline(parameters, color=FAINT, linewidth=0.5, alpha=0.5, zorder=0)
        at = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom", "rotation": 90}
        axes.text(parameters, 1.01 + 0.13 * (i % 2), name, fontsize=7.5, color=FAINT, **at)


def _plain_numbers(axes: Axes) -> None:
    """Parameters as 3M or 800k, not as powers of ten."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    def words(value: float, _: int) -> str:
        return f"{value / 1e6:.3g}M" if value >= 1e6 else f"{value / 1e3:.3g}k" if value >= 1e3 else f"{value:.3g}"

    low, high = axes.get_xlim()
    if high / max(low, 1) < 30:
        axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(words))
    axes.minorticks_off()


def by_time(ranking: Ranking) -> Figure:
    """Test accuracy against how long a run took."""
    done = [r for r in _points(ranking.results) if r.duration_seconds > 0]
    figure, (axes,) = new_figure(3.7)
    for name, look in looks(ranking.results).items():
        runs = [r for r in done if r.optimizer == name]
        if runs:
            x, y = [r.duration_seconds for r in runs], [r.accuracy_test for r in runs]
            axes.scatter(
                x, y, s=34, alpha=0.8, linewidths=0, label=short(name, 16), rasterized=len(runs) > MANY_POINTS, **look
            )
    seconds = [r.duration_seconds for r in done]
    if max(seconds) / min(seconds) > 30:
        axes.set_xscale("log")
    else:
        axes.set_xlim(0, max(seconds) * 1.08)
    axes.set(
        xlabel="training and evaluation of a run (s)", ylabel="test accuracy (top-1, share of images)", ylim=(0, 1.05)
    )
    mark_chance(axes)
    best = ranking.best
    if best is not None and best.duration_seconds > 0:
        at = (best.duration_seconds, best.accuracy_test)
        axes.scatter(*at, s=110, facecolors="none", edgecolors=INK, linewidths=1.2, zorder=4)
        right = best.duration_seconds < 0.6 * max(seconds)
        axes.annotate(
            "best",
            at,
            (9 if right else -9, -3),
            textcoords="offset points",
            ha="left" if right else "right",
            fontsize=9,
        )
    figure.legend(loc="outside upper right", ncols=6)
    return figure


def heat_map(ranking: Ranking) -> Figure:
    """Every setting a cell: architectures and losses down, optimizers and learning rates across; means over seeds."""
    rows, columns, cells, lost = heat_cells(ranking.results)
    figure, (axes,) = new_figure(min(max(1.7 + 0.27 * len(rows), 3.1), 9.5))
    from matplotlib import colormaps

    colours = colormaps["cividis"]
    values = [[cells.get((row, column), math.nan) for column in columns] for row in rows]
    mesh = axes.pcolormesh(values, cmap=colours, vmin=0, vmax=1, edgecolors="white", linewidth=0.8)
    mesh.set_clip_on(False)
    size = 8 if len(columns) <= 12 else 6
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            value = cells.get((row, column))
            text = "" if value is None else f"{value:.3f}"[(0 if value >= 1 else 1) :]
            if value is None and (row, column) in lost:
                text = lost[row, column]
            colour = FAINT if value is None else "white" if value < 0.55 else "black"
            axes.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=size, color=colour)
    axes.set_xticks([j + 0.5 for j in range(len(columns))], _column_labels(columns), fontsize=size)
    axes.set_yticks(
        [i + 0.5 for i in range(len(rows))], [f"{short(loss, 13)}  {size_}" for size_, loss in rows], fontsize=8
    )
    axes.invert_yaxis()
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set(xlabel="learning rate, and under it the optimizer", ylabel="loss and network size")
    figure.colorbar(mesh, ax=axes, label="test accuracy (top-1)", fraction=0.03, pad=0.01)
    return figure


def _column_labels(columns: Sequence[tuple[str, float]]) -> list[str]:
    """The learning rates, and under the middle one of each optimizer its name: side by side names would overlap."""
    labels = [f"{rate:g}\n " for _, rate in columns]
    names = [name for name, _ in columns]
    for name in set(names):
        middle = names.index(name) + (names.count(name) - 1) // 2
        labels[middle] = f"{columns[middle][1]:g}\n{short(name, 12)}"
    return labels


Cell = tuple[tuple[str, str], tuple[str, float]]


def heat_cells(
    results: Sequence[RunResult],
) -> tuple[list[tuple[str, str]], list[tuple[str, float]], dict[Cell, float], dict[Cell, str]]:
    """Row keys, column keys, mean accuracy by cell, and what cells without any accuracy are: failed or diverged."""
    found: dict[Cell, list[float]] = {}
    lost: dict[Cell, str] = {}
    sizes: dict[tuple[str, str], tuple[object, ...]] = {}
    for r in results:
        row, column = (architecture(r), r.loss_func), (r.optimizer, r.learning_rate)
        sizes[row] = (r.loss_func, r.num_channels or 0, r.num_conv or 0, r.num_dense or 0)
        if r.status == "completed" and math.isfinite(r.accuracy_test):
            found.setdefault((row, column), []).append(r.accuracy_test)
        else:
            lost[row, column] = r.status
    rows = sorted(sizes, key=lambda row: (sizes[row], row))
    columns = sorted({(r.optimizer, r.learning_rate) for r in results})
    return rows, columns, {cell: statistics.fmean(a) for cell, a in found.items()}, lost


def fits_heat_map(results: Sequence[RunResult]) -> bool:
    """Whether the runs are a grid that can be read on a page, and more than one cell of it."""
    rows = {(architecture(r), r.loss_func) for r in results}
    columns = {(r.optimizer, r.learning_rate) for r in results}
    return len(rows) * len(columns) > 1 and len(rows) <= _HEAT_ROWS and len(columns) <= _HEAT_COLUMNS
