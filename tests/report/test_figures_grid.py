"""The figure of network sizes: every run is seen or counted, its lines are means."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from mnist_lightning.records.results import RunResult
from mnist_lightning.report.figures_grid import by_network_size
from mnist_lightning.report.ranking import Ranking
from report_cases import full_grid, judged, record


def points(axes: Any) -> list[float]:
    dots = [each for each in axes.collections if isinstance(each, PathCollection)]
    return sorted(float(y) for each in dots for _, y in np.asarray(each.get_offsets()))


def seen(axes: Any) -> int:
    low, high = axes.get_ylim()
    return sum(low <= y <= high for y in points(axes))


def panels(results: Iterable[RunResult]) -> list[Any]:
    return by_network_size(Ranking(judged(list(results)))).axes


def sizes(**accuracies: tuple[float, ...]) -> list[RunResult]:
    """Runs of networks of one channel number each, that differ in the learning rate."""
    return [
        record(lr=10.0**-i, accuracy=a, size=f"{name[1:]}/2/1") for name, all_of in accuracies.items()
        for i, a in enumerate(all_of)
    ]  # fmt: skip


def test_all_runs_are_seen_where_all_learned_and_the_line_is_the_mean() -> None:
    (axes,) = panels(sizes(c32=(0.90, 0.92, 0.97), c64=(0.93, 0.94, 0.98)))
    assert points(axes) == [0.90, 0.92, 0.93, 0.94, 0.97, 0.98]
    assert seen(axes) == 6
    assert axes.get_title("left") == "all 6 completed runs"
    means = axes.lines[0].get_ydata()
    assert list(means) == pytest.approx([0.93, 0.95])


def test_runs_that_did_not_learn_are_in_a_panel_of_all_runs_and_not_in_the_means_of_those_that_learned() -> None:
    closer, whole = panels(sizes(c32=(0.96, 0.98, 0.1), c64=(0.97, 0.12, 0.11)))
    assert (seen(closer), closer.get_title("left")) == (3, "the 3 of 6 runs that learned")
    assert (seen(whole), whole.get_title("left")) == (6, "all 6 completed runs")
    assert list(closer.lines[0].get_ydata()) == pytest.approx([0.97, 0.97])
    assert list(whole.lines[0].get_ydata()) == pytest.approx([0.68, 0.4])


def test_what_an_axis_leaves_out_is_counted_above_it() -> None:
    many = [
        record(lr=0.001 * (i + 1), accuracy=0.97 + 0.001 * i, size=s) for i in range(12) for s in ("32/2/1", "64/2/1")
    ]
    closer, whole = panels([*many, record("SGD", lr=9.0, accuracy=0.1), record(lr=8.0, accuracy=0.25)])
    assert seen(closer) == 24
    assert closer.get_title("left") == "the 25 of 26 runs that learned; 1 below this axis"
    assert seen(whole) == 26


def test_the_whole_grid_is_seen() -> None:
    closer, whole = panels(full_grid())
    assert seen(closer) == len(points(closer)) < 216
    assert seen(whole) == 216
