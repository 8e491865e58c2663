"""The tables of the report, from ours: best runs, optimizer and learning rate, network size, seeds, failures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mnist_lightning.records.results import RunResult
from mnist_lightning.report.groups import Group, architecture, group, setting
from mnist_lightning.report.ranking import COLLAPSED_MEANS, Ranking, collapse, verdict
from mnist_lightning.report.table import Column, Table, accuracy_column, record_column

BEST_ROWS = 18  # as many as the report's first table has

_SETTING = [
    record_column("optimizer", "Optimizer"),
    record_column("loss_func", "Loss function"),
    record_column("learning_rate", "Learning rate"),
]
_TRAIN = [record_column(name, f"Train {name}") for name in ("loss", "mse", "mae")]
_TRAIN += [record_column("accuracy", "Train accuracy (top-1)")]
_TEST = [record_column(f"{name}_test", f"Test {name}") for name in ("loss", "mse", "mae")]
_TEST += [record_column("accuracy_test", "Test accuracy (top-1)")]
_SIZE = [
    record_column("num_channels", "Channels"),
    record_column("num_conv", "Conv2D layers"),
    record_column("num_dense", "Dense layers"),
    record_column("num_parameters", "Parameters"),
]
_MEASURED = ("loss", "mse", "mae", "accuracy", "loss_test", "mse_test", "mae_test", "accuracy_test")
_RUNS = Column("Runs", "0", "completed runs of this setting, usually one per seed")
_COLLAPSED = Column("Collapsed", "0%", "share of the completed runs that collapsed")


def _setting_values(r: RunResult) -> list[Any]:
    return [r.optimizer, r.loss_func, r.learning_rate]


def _size_values(r: RunResult) -> list[Any]:
    return [r.num_channels, r.num_conv, r.num_dense, r.num_parameters]


def best_table(ranking: Ranking) -> Table:
    """The report's first table: its columns, our 18 best runs."""
    columns = [Column("Rank", "0"), *_SETTING, *_TRAIN, *_TEST, *_SIZE]
    by_validation = ranking.rule.column == "accuracy_val"
    if by_validation:
        columns.append(record_column("accuracy_val", "Validation accuracy (top-1)"))
    several_seeds = ranking.num_seeds > 1
    if several_seeds:
        columns.append(record_column("seed", "Seed"))
    rows = []
    for rank, r in enumerate(ranking.ranked[:BEST_ROWS], start=1):
        row = [rank, *_setting_values(r), *(getattr(r, m) for m in _MEASURED), *_size_values(r)]
        rows.append(row + [r.accuracy_val] * by_validation + [r.seed] * several_seeds)
    note = f"{ranking.rule.sentence} Accuracy is top-1; the report's is binary accuracy, see Versus report."
    return Table("Best", columns, rows, note, {0: "best"} if rows else {})


def optimizer_lr_table(results: Sequence[RunResult]) -> Table:
    """The report's second table, for every architecture and loss; means where a setting has several runs."""
    groups = group(results)
    columns = [*_SETTING, *_TRAIN, *_TEST, *_SIZE, _RUNS, _COLLAPSED]
    rows = [
        [
            *_setting_values(g.first),
            *(g.mean(m) for m in _MEASURED),
            *_size_values(g.first),
            len(g.completed),
            g.collapsed_share,
        ]
        for g in groups
    ]
    note = "One row per setting: architecture by architecture, loss by loss. Several runs of a setting are averaged."
    return Table("Optimizer x lr", columns, rows, note, _group_marks(groups))


def _group_marks(groups: Sequence[Group]) -> dict[int, str]:
    marks = {}
    for i, g in enumerate(groups):
        if not g.completed:
            marks[i] = "diverged"
        elif g.collapsed_share >= 0.5:
            marks[i] = "collapsed"
    finite = [(g.mean("accuracy_test"), -i) for i, g in enumerate(groups) if g.completed]
    return marks | ({-max(finite)[1]: "best"} if finite else {})


def network_size_table(ranking: Ranking) -> Table:
    """The report's section 8.3: accuracy against the number of parameters, a row for each architecture."""
    by_size: dict[str, list[RunResult]] = {}
    for r in ranking.ranked:
        if r.num_parameters is not None:
            by_size.setdefault(architecture(r), []).append(r)
    columns = [
        *_SIZE,
        _RUNS,
        accuracy_column("Best test accuracy (top-1)", "of the architecture's best run"),
        accuracy_column("Mean of runs that learned", "test accuracy, without collapsed runs"),
        _COLLAPSED,
        Column("Best setting", about="optimizer, loss, learning rate and architecture of the best run"),
    ]
    rows = []
    for runs in by_size.values():
        learned = [r.accuracy_test for r in runs if not collapse(r)]
        mean = sum(learned) / len(learned) if learned else math.nan
        share = 1 - len(learned) / len(runs)
        rows.append([*_size_values(runs[0]), len(runs), runs[0].accuracy_test, mean, share, setting(runs[0])])
    rows.sort(key=lambda row: (row[3], row[0]))
    return Table("Network size", columns, rows, "Sorted by the number of trainable parameters.", _best_row(rows, 5))


def _best_row(rows: Sequence[Sequence[Any]], column: int) -> dict[int, str]:
    return {max(range(len(rows)), key=lambda i: (rows[i][column], -i)): "best"} if rows else {}


def seeds_table(ranking: Ranking) -> Table:
    """Mean, standard deviation, n and the share of collapsed runs of each setting; empty for a single seed."""
    columns = [
        *_SETTING,
        *_SIZE,
        _RUNS,
        Column("Diverged", "0", "runs whose loss became NaN or infinite; not in the mean"),
        accuracy_column("Mean test accuracy (top-1)", "over the completed runs, collapsed ones too"),
        Column("Standard deviation", "0.0000", "of the test accuracy between runs, n - 1 in the denominator"),
        accuracy_column("Lowest", "test accuracy"),
        accuracy_column("Highest", "test accuracy"),
        record_column("binary_accuracy_test", "Mean binary accuracy", "test accuracy as the report counts it"),
        _COLLAPSED,
    ]
    if ranking.num_seeds < 2:
        return Table(
            "Seeds", columns, [], "This sweep has a single seed. Spread over seeds: add seed=0,1,2 to the command."
        )
    rows = []
    for g in group(ranking.results):
        values = g.values("accuracy_test") or [math.nan]
        diverged = sum(r.status == "diverged" for r in g.runs)
        mean, deviation = g.mean("accuracy_test"), g.deviation("accuracy_test")
        spread = [mean, deviation, min(values), max(values), g.mean("binary_accuracy_test"), g.collapsed_share]
        rows.append([*_setting_values(g.first), *_size_values(g.first), len(g.completed), diverged, *spread])
    rows.sort(key=lambda row: (math.isnan(row[9]), -row[9]))
    return Table(
        "Seeds", columns, rows, "Runs that differ in the seed only, best mean first.", {0: "best"} if rows else {}
    )


def failures_table(ranking: Ranking) -> Table:
    """Every run that has no result to rank, and every collapsed one: what happened, and where."""
    columns = [
        Column("What", about="failed: an error; diverged: NaN or infinity; collapsed: no better than guessing"),
        *_SETTING,
        *_SIZE[:3],
        record_column("seed", "Seed"),
        record_column("accuracy_test", "Test accuracy (top-1)"),
        record_column("binary_accuracy_test", "Binary accuracy"),
        Column("Why", about="the error, or how it collapsed"),
        record_column("run_name", "Run"),
    ]
    rows, marks = [], {}
    wrong = [r for r in ranking.results if verdict(r) != "ok"] + [r for r in ranking.unranked if verdict(r) == "ok"]
    order = {"failed": 0, "diverged": 1, "ok": 2, "collapsed": 3}
    for i, r in enumerate(sorted(wrong, key=lambda r: (order[verdict(r)], r.run_name))):
        what = verdict(r) if verdict(r) != "ok" else "no accuracy"
        marks[i] = what
        why = collapse(r) or r.error or ("accuracy is not a number" if what == "no accuracy" else "")
        rows.append(
            [
                what,
                *_setting_values(r),
                *_size_values(r)[:3],
                r.seed,
                r.accuracy_test,
                r.binary_accuracy_test,
                why,
                r.run_name,
            ]
        )
    return Table("Failures", columns, rows, COLLAPSED_MEANS, marks)
