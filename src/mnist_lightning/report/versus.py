"""Each published row beside our runs of the same configuration, judged by the spread and by what learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mnist_lightning.report.frame import runs
from mnist_lightning.report.groups import SETTING
from mnist_lightning.report.published import CONDITIONS, PublishedRow, published_rows
from mnist_lightning.report.statistics import prediction_interval
from mnist_lightning.report.table import Column, Table, record_column
from mnist_lightning.report.verdicts import LEARNED

_COLUMNS = [
    Column("Where", about="table of the study"),
    record_column("optimizer", "Optimizer"),
    record_column("loss_func", "Loss function"),
    record_column("learning_rate", "Learning rate"),
    record_column("num_channels", "Channels"),
    record_column("num_conv", "Conv2D layers"),
    record_column("num_dense", "Dense layers"),
    record_column("num_parameters", "Parameters"),
    Column("Study's accuracy", "0.0000", "as printed: binary accuracy on the test set"),
    Column("Our binary accuracy", "0.0000", "mean over our completed runs of this configuration"),
    Column("Difference", "0.0000", "ours minus the study's"),
    Column("Our runs", "0", "completed runs, one per seed"),
    Column("Our spread", "0.0000", "standard deviation between our runs that learned"),
    Column("Lowest", "0.0000", "binary accuracy of our lowest run"),
    Column("Highest", "0.0000", "binary accuracy of our highest run"),
    Column("Collapsed", "0%", "share of our completed runs that collapsed"),
    Column("Our top-1 accuracy", "0.0000", "mean; what is called accuracy everywhere else"),
    Column("Verdict"),
]

NOT_RUN = "no run of it here"


def versus_table(frame: pd.DataFrame) -> Table:
    """All 27 published rows beside our runs; where we have no such run, the verdict says so."""
    places = frame.dropna(subset=SETTING).reset_index(drop=True)
    by_setting = places.groupby(list(SETTING)).indices
    rows = [_row(p, places.iloc[by_setting.get(p.key, [])]) for p in published_rows()]
    matched = sum(row[-1] != NOT_RUN for row in rows)
    note = f"{matched} of {len(rows)} published rows have runs of ours."
    return Table("Versus report", _COLUMNS, rows, note)


def _row(p: PublishedRow, ours: pd.DataFrame) -> list[Any]:
    if ours.empty:  # of most rows in most sweeps, and the page of one at work is made every minute
        return [p.table, *p.key, p.num_parameters, p.binary_accuracy_test, None, None, 0, *[None] * 5, NOT_RUN]
    same = _comparable(ours)
    done = same[same["finished"]]
    binary = done["binary_accuracy_test"]
    mean, spread = binary.mean(), binary[done["verdict"] == LEARNED].std()
    numbers = [mean, mean - p.binary_accuracy_test, len(done), spread, binary.min(), binary.max()]
    numbers += [done["collapsed"].mean(), done["accuracy_test"].mean()]
    told = [None if pd.isna(number) else number if isinstance(number, int) else float(number) for number in numbers]
    return [p.table, *p.key, p.num_parameters, p.binary_accuracy_test, *told, judge(p, same)]


def _comparable(ours: pd.DataFrame) -> pd.DataFrame:
    """The runs under the study's conditions; all of them where none is. A run that did not end has fewer epochs."""
    completed = ours["status"] == "completed"
    alike = completed & np.array([not unlike(run) for run in runs(ours[list(CONDITIONS)])], dtype=bool)
    return ours[alike | ~completed] if alike.any() else ours[completed] if completed.any() else ours


def unlike(run: Any) -> str:
    """In what a run was trained under other conditions than the study's, or an empty string."""
    return ", ".join(
        f"{name} {getattr(run, name)} instead of {wanted}"
        for name, wanted in CONDITIONS.items()
        if getattr(run, name) != wanted
    )


def judge(p: PublishedRow, ours: pd.DataFrame) -> str:
    """What our runs of the same configuration say about a published value.

    A value hardly better than guessing is compared with our share of such runs, any other with those that learned:
    whether it lies in the range where one more run of ours would fall with a chance of 95 %.
    """
    if ours.empty:
        return NOT_RUN
    done = ours[ours["finished"]]
    if done.empty:
        return f"no result: {len(ours)} of {len(ours)} runs failed or diverged"
    if difference := unlike(runs(done)[0]):
        return f"not comparable: {difference}"
    low, n = done[done["verdict"] != LEARNED], len(done)
    how = ", ".join(f"{count} {verdict}" for verdict, count in low["verdict"].value_counts().sort_index().items())
    if p.collapsed:
        return _both_low(len(low), n, how)
    if len(low) == n:
        lost = f"ours did not ({how}); one seed says little" if n == 1 else f"none of our {n} did ({how})"
        return f"the study's run learned, {lost}"
    learned = done["binary_accuracy_test"][done["verdict"] == LEARNED].tolist()
    among = f"; of our {n} runs {how}" if how else ""
    if len(learned) == 1:
        return f"both learned, {learned[0] - p.binary_accuracy_test:+.4f}; one run gives no spread to judge by{among}"
    return _inside(p, learned) + among


def _both_low(low: int, n: int, how: str) -> str:
    """What to say of a published row that is hardly better than guessing; why it is not is not published."""
    theirs = "the study's run was hardly better than guessing"
    if n == 1:
        both = f"both hardly better than guessing (ours: {how})"
        return both if low else f"{theirs}, ours learned; one seed says little"
    return f"{theirs}, as {low} of our {n} were{f' ({how})' if how else ''}"


def _inside(p: PublishedRow, learned: Sequence[float]) -> str:
    low, high = prediction_interval(learned)
    rounding = 0.5 * 10**-p.decimals
    inside = low - rounding <= p.binary_accuracy_test <= high + rounding
    caution = ", but two runs say little" if len(learned) == 2 and inside else ""
    return (
        f"{'within' if inside else 'outside'} our spread, {low:.4f} "
        f"to {min(high, 1.0):.4f} (n = {len(learned)}){caution}"
    )
