"""A report of very many settings is made in seconds, and what it leaves out is said beside it."""

from __future__ import annotations

import io
import time
import tracemalloc

import openpyxl
import pytest

from mnist_lightning.records.results import RunResult
from mnist_lightning.report.answers import WHAT_MATTERED, answers
from mnist_lightning.report.figures import draw_figures
from mnist_lightning.report.frame import frame_of
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.stored import Stored
from mnist_lightning.report.workbook import workbook_bytes
from report_cases import full_grid, quickstart, record

CUT = {"accuracy_by_learning_rate", "time_and_accuracy"}


def strange(n: int) -> list[RunResult]:
    """Each run has an optimizer and a loss of its own; the later the better."""
    return [record(f"Opt{i:04}", f"loss{i % 6}", 0.001 * (1 + i // 6 % 30), i / n, seed=0) for i in range(n)]


def test_figures_of_two_thousand_optimizers_take_seconds_and_say_which_they_show() -> None:
    started = time.process_time()
    figures = draw_figures(Ranking(frame_of(strange(2000))), Stored())
    assert time.process_time() - started < 30  # 90 to 240 before, with a line of the legend for each
    captions = {f.name: f.caption for f in figures.pictures}
    told = "Coloured: the 8 optimizers with the best runs; grey: the 1,992 others."
    assert told in captions["time_and_accuracy"]
    assert f"{told} Of 6 losses the first 4 by name." in captions["accuracy_by_learning_rate"]


def test_figures_that_show_all_say_nothing_of_it() -> None:
    figures = draw_figures(Ranking(frame_of(quickstart())), Stored())
    cut = [f.caption for f in figures.pictures if f.name in CUT]
    assert len(cut) == 2
    assert not any("others" in caption or " Of " in caption for caption in cut)


@pytest.mark.parametrize(("runs", "told"), [
    (strange(198), ["The first 20 of 30 learning rates, 8 of 33 optimizers.", "The first 4 of 6 losses."]),
    (quickstart(), []),
], ids=["many", "few"])  # fmt: skip
def test_charts_of_the_workbook_say_how_many_they_leave_out(runs: list[RunResult], told: list[str]) -> None:
    book = openpyxl.load_workbook(io.BytesIO(workbook_bytes(Ranking(frame_of(runs)), Stored())))
    cells = [str(c.value) for row in book["Optimizer x lr"].iter_rows() for c in row]
    assert [c for c in dict.fromkeys(cells) if c.startswith("The first")] == told


def test_a_key_of_very_many_values_is_not_said_to_have_taken_one() -> None:
    runs = [record(lr=0.001 * (i + 1), seed=0) for i in range(30)]
    told = answers(Ranking(frame_of(runs)), Stored())[WHAT_MATTERED]
    assert told.sentences == ["No key of the configuration took 2 to 20 values among the completed runs."]


def test_a_workbook_is_never_whole_in_memory() -> None:
    ranking = Ranking(frame_of(full_grid()))
    workbook_bytes(Ranking(frame_of(quickstart())), Stored())  # what is imported and compiled once
    tracemalloc.start()
    try:
        workbook_bytes(ranking, Stored())
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 4 * 2**20  # 216 runs: 2 MiB, and 6 with all cells in memory
