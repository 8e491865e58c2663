"""Figures of the whole grid: accuracy by learning rate and optimizer, by network size, by time; the heat map."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pandas as pd

from mnist_lightning.report.frame import SIZES, distinct
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.style import FAINT, INK, looks, mark_chance, new_figure, short
from mnist_lightning.report.verdicts import DIGITS, LEARNED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 4
MOST_NAMED = 8  # optimizers in a legend
_HEADROOM = 42  # points above a panel, for the names of sizes
MANY_POINTS = 1500  # beyond, points become pixels also in the SVG, which would be megabytes
_ROW, _COLUMN = ["architecture", "loss_func"], ["optimizer", "learning_rate"]  # of the heat map
_MOST_ROWS, _MOST_COLUMNS = 48, 24


def _scatter(axes: Axes, x: pd.Series, y: pd.Series, **look: Any) -> None:
    axes.scatter(x.tolist(), y.tolist(), linewidths=0, rasterized=len(x) > MANY_POINTS, **look)


def named_optimizers(done: pd.DataFrame) -> list[str]:
    """The optimizers that a figure tells apart, by name: all, or those with the best runs where there are too many."""
    best = done.groupby("optimizer")["accuracy_test"].max().sort_values(ascending=False, kind="stable")
    return sorted(best.index[:MOST_NAMED])


def what_is_shown(done: pd.DataFrame, panels: bool = False) -> str:
    """A sentence on what a figure leaves out, or does not tell apart; empty where it shows all."""
    optimizers, losses = done["optimizer"].nunique(), done["loss_func"].nunique()
    told = ""
    if optimizers > MOST_NAMED:
        told += (
            f" Coloured: the {MOST_NAMED} optimizers with the best runs; grey: the {optimizers - MOST_NAMED:,} others."
        )
    if panels and losses > MOST_PANELS:
        told += f" Of {losses:,} losses the first {MOST_PANELS} by name."
    if panels and (hidden := int((done["learning_rate"] <= 0).sum())):
        told += f" Left out: {hidden:,} without a learning rate above 0."
    return told


def _looks_shown(frame: pd.DataFrame, done: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The looks of the optimizers that a figure tells apart."""
    named, all_looks = named_optimizers(done), looks(frame)
    return {name: all_looks[name] for name in named}


def _other_points(axes: Axes, runs: pd.DataFrame, names: dict[str, Any], x: str) -> None:
    """In grey, under the others, the runs of the optimizers that are not told apart."""
    others = runs[~runs["optimizer"].isin(list(names))]
    if len(others):
        label = f"{others['optimizer'].nunique():,} others"
        _scatter(axes, others[x], others["accuracy_test"], s=12, alpha=0.4, color=FAINT, marker="o", label=label)


def classes_in(done: pd.DataFrame) -> list[int]:
    """The numbers of classes that the networks of these runs tell apart."""
    return [int(n) for n in done["num_classes"].fillna(DIGITS).unique()]


def by_learning_rate(ranking: Ranking) -> Figure:
    """A panel per loss: each run a point, a line through the means of an optimizer."""
    done = ranking.finished
    losses = sorted(done["loss_func"].unique())[:MOST_PANELS]
    figure, panels = new_figure(3.6 if len(losses) < 3 else 6.6, -(-len(losses) // 2), min(2, len(losses)), sharey=True)
    names = _looks_shown(done, done)
    done = done[done["learning_rate"] > 0]
    rates = sorted(done["learning_rate"].unique().tolist())
    step = min((b / a for a, b in pairwise(rates)), default=10.0)
    for axes, loss in zip(panels, losses, strict=False):
        _other_points(axes, done[done["loss_func"] == loss], names, "learning_rate")
        for i, (name, look) in enumerate(names.items()):
            runs = done[(done["loss_func"] == loss) & (done["optimizer"] == name)]
            aside = min(step, 10.0) ** (0.09 * (i - (len(names) - 1) / 2))  # beside each other, not on top
            means = runs.groupby("learning_rate")["accuracy_test"].mean()
            if len(means) <= 20:
                axes.plot((means.index * aside).tolist(), means.tolist(), color=look["color"], linewidth=1.6)
            x, y = runs["learning_rate"] * aside, runs["accuracy_test"]
            _scatter(axes, x, y, s=34, alpha=0.85, zorder=3, label=short(name, 16), **look)
        axes.set(title=f"loss: {short(loss)}", xlabel="learning rate", xscale="log", ylim=(0, 1.02))
        _rate_ticks(axes, rates)
        mark_chance(axes, classes_in(done))
    for axes in panels[len(losses) :]:
        axes.remove()
    panels[0].set_ylabel("test accuracy (top-1, share of images)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=min(len(labels), 6))
    return figure


def _rate_ticks(axes: Axes, rates: Sequence[float]) -> None:
    if 0 < len(rates) <= 7:
        axes.set_xticks(rates, [f"{r:g}" for r in rates])
        axes.minorticks_off()
        axes.set_xlim(rates[0] / 2, rates[-1] * 2)


def by_network_size(ranking: Ranking) -> Figure:
    """Accuracy against the number of parameters, each run a point, lines through the means of an optimizer's runs.

    All runs on an axis that holds them; over them, where that presses those that learned flat, these on their own.
    """
    done = ranking.finished[ranking.finished["num_parameters"] > 0]
    learned = done[done["verdict"] == LEARNED]
    names = _looks_shown(ranking.frame, done)
    closer = len(learned) > 0 and learned["accuracy_test"].min() > 2 * done["accuracy_test"].min()
    figure, panels = new_figure(6.8 if closer else 4.2, 1 + closer, sharex=True)
    if closer:
        what = f"the {len(learned):,} of {len(done):,} runs that learned"
        _size_panel(panels[0], learned, names, _floor(learned), what, pad=_HEADROOM)
        mark_chance(panels[1], classes_in(done))
    lowest = done["accuracy_test"].min()
    bottom = 0.0 if closer else max(lowest - min(0.02, 1 - lowest), 0.0)
    known = "" if len(done) == len(ranking.finished) else " of known size"
    _size_panel(panels[-1], done, names, bottom, f"all {len(done):,} completed runs{known}", 6 if closer else _HEADROOM)
    panels[-1].set(xscale="log", xlabel="trainable parameters (logarithmic)")
    _plain_numbers(panels[-1])
    _name_sizes(panels[0], done)
    handles, labels = panels[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=6)
    return figure


def _floor(runs: pd.DataFrame) -> float:
    """Where the axis begins: below all runs, or where a few are far behind below the lowest mean of a size."""
    lowest, highest = runs["accuracy_test"].min(), runs["accuracy_test"].max()
    means = runs.groupby(["optimizer", "num_parameters"])["accuracy_test"].mean()
    if highest - lowest > 4 * (highest - means.min()):
        lowest = means.min()
    return max(lowest - max(0.1 * (highest - lowest), 0.002), 0.0)


def _size_panel(axes: Axes, runs: pd.DataFrame, names: dict[str, Any], bottom: float, what: str, pad: float) -> None:
    """Points, and for each optimizer and size the mean; a bar spans the middle half of its runs.

    The title says `what` is shown, and how many of them lie below the axis.
    """
    _other_points(axes, runs, names, "num_parameters")
    for i, (name, look) in enumerate(names.items()):
        own = runs[runs["optimizer"] == name]
        aside = 1.03 ** (i - (len(names) - 1) / 2)  # beside each other, not on top
        by_size = own.groupby("num_parameters")["accuracy_test"]
        means, low, high = by_size.mean(), by_size.quantile(0.25), by_size.quantile(0.75)
        x = pd.Series(means.index.astype("float64") * aside)
        _scatter(axes, own["num_parameters"].astype("float64") * aside, own["accuracy_test"], s=12, alpha=0.4, **look)
        axes.vlines(x.tolist(), low.tolist(), high.tolist(), color=look["color"], linewidth=2.5, alpha=0.5)
        axes.plot(x.tolist(), means.tolist(), label=short(name, 16), linewidth=1.5, markersize=5, **look)
    room = 1 - bottom
    axes.set(ylim=(bottom, min(runs["accuracy_test"].max() + 0.05 * room, 1 + 0.02 * room)))
    axes.set_ylabel("test accuracy (top-1)")
    below = int((runs["accuracy_test"] < bottom).sum())
    axes.set_title(f"{what}; {below:,} below this axis" if below else what, fontsize=9.5, loc="left", pad=pad)


def _name_sizes(axes: Axes, runs: pd.DataFrame) -> None:
    """The architectures over the plot, in two rows: some have nearly the same number of parameters."""
    names = ["num_parameters", "architecture"]
    sizes = runs[names].drop_duplicates().sort_values(names)
    for i, (parameters, name) in enumerate(sizes.itertuples(index=False) if len(sizes) <= 14 else []):
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
    done = ranking.finished[ranking.finished["duration_seconds"] > 0]
    figure, (axes,) = new_figure(3.7)
    names = _looks_shown(ranking.frame, done)
    _other_points(axes, done, names, "duration_seconds")
    for name, look in names.items():
        runs = done[done["optimizer"] == name]
        if len(runs):
            label = short(name, 16)
            _scatter(axes, runs["duration_seconds"], runs["accuracy_test"], s=34, alpha=0.8, label=label, **look)
    shortest, longest = done["duration_seconds"].min(), done["duration_seconds"].max()
    if longest / shortest > 30:
        axes.set_xscale("log")
    else:
        axes.set_xlim(0, longest * 1.08)
    axes.set(
        xlabel="training and evaluation of a run (s)", ylabel="test accuracy (top-1, share of images)", ylim=(0, 1.05)
    )
    mark_chance(axes, classes_in(done))
    best, label = ranking.best, "best setting" if ranking.several_seeds else "best"
    if best is not None and best.duration_seconds > 0:
        at = (best.duration_seconds, best.accuracy_test)
        axes.scatter(*at, s=110, facecolors="none", edgecolors=INK, linewidths=1.2, zorder=4)
        aside, ha = ((9, -3), "left") if best.duration_seconds < 0.6 * longest else ((-9, -3), "right")
        axes.annotate(label, at, aside, textcoords="offset points", ha=ha, fontsize=9)
    figure.legend(loc="outside upper right", ncols=6)
    return figure


def heat_map(ranking: Ranking) -> Figure:
    """Every setting a cell: architectures and losses down, optimizers and learning rates across; means over seeds."""
    from matplotlib import colormaps

    means, lost = heat_cells(ranking.frame)
    rows, columns = list(means.index), list(means.columns)
    figure, (axes,) = new_figure(min(max(1.7 + 0.27 * len(rows), 3.1), 9.5))
    mesh = axes.pcolormesh(
        means.to_numpy(), cmap=colormaps["cividis"], vmin=0, vmax=1, edgecolors="white", linewidth=0.8
    )
    mesh.set_clip_on(False)
    size = 8 if len(columns) <= 12 else 6
    for i, values in enumerate(means.to_numpy()):
        for j, value in enumerate(values):
            missing = pd.isna(value)
            text = str(lost.iloc[i, j]) if missing else f"{value:.3f}"[(0 if value >= 1 else 1) :]
            colour = FAINT if missing else "white" if value < 0.55 else "black"
            axes.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=size, color=colour)
    axes.set_xticks([j + 0.5 for j in range(len(columns))], _column_labels(columns), fontsize=size)
    axes.set_yticks(
        [i + 0.5 for i in range(len(rows))], [f"{short(loss, 13)}  {network}" for network, loss in rows], fontsize=8
    )
    axes.invert_yaxis()
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set(xlabel="learning rate, and under it the optimizer", ylabel="loss and network size")
    figure.colorbar(mesh, ax=axes, label="test accuracy (top-1)", fraction=0.03, pad=0.01)
    return figure


def _column_labels(columns: Sequence[Any]) -> list[str]:
    """The learning rates, and under the middle one of each optimizer its name: side by side names would overlap."""
    labels = [f"{rate:g}\n " for _, rate in columns]
    names = [name for name, _ in columns]
    for name in set(names):
        middle = names.index(name) + (names.count(name) - 1) // 2
        labels[middle] = f"{columns[middle][1]:g}\n{short(name, 12)}"
    return labels


def heat_cells(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mean accuracy by architecture and loss (rows), optimizer and learning rate (columns); NaN for none.

    The second frame has what cells without any accuracy are, failed or diverged, or an empty text.
    """
    order = ["loss_func", *SIZES]
    rows = pd.MultiIndex.from_frame(frame.sort_values(order, na_position="first")[_ROW].drop_duplicates())
    columns = pd.MultiIndex.from_frame(frame[_COLUMN].drop_duplicates().sort_values(_COLUMN))
    cells = [*_ROW, *_COLUMN]
    means = frame[frame["finished"]].groupby(cells)["accuracy_test"].mean().unstack(_COLUMN)
    lost = frame[~frame["finished"]].drop_duplicates(cells, keep="last").set_index(cells)["status"].unstack(_COLUMN)
    return means.reindex(index=rows, columns=columns), lost.reindex(index=rows, columns=columns).astype(
        "object"
    ).fillna("")


def fits_heat_map(frame: pd.DataFrame) -> bool:
    """Whether the runs are a grid that can be read on a page, and more than one cell of it."""
    rows, columns = distinct(frame, _ROW), distinct(frame, _COLUMN)
    return rows * columns > 1 and rows <= _MOST_ROWS and columns <= _MOST_COLUMNS
