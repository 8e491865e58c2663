"""The study's tables from our runs: best runs, optimizer and learning rate, network size; and seeds, failures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from mnist_lightning.records.results import COLUMNS
from mnist_lightning.report.frame import COLLAPSED_MEANS, SIZES
from mnist_lightning.report.ranking import BY_VALIDATION, Ranking
from mnist_lightning.report.state import WHY, State, Unfinished
from mnist_lightning.report.table import Column, Table, record_column, table_of

BEST_ROWS = 18  # as many as the study's first table has

_SETTING = [
    record_column("optimizer", "Optimizer"),
    record_column("loss_func", "Loss function"),
    record_column("learning_rate", "Learning rate"),
]
_METRICS = [
    *(record_column(name, f"Train {name}") for name in ("loss", "mse", "mae")),
    record_column("accuracy", "Train accuracy (top-1)"),
    *(record_column(f"{name}_test", f"Test {name}") for name in ("loss", "mse", "mae")),
    record_column("accuracy_test", "Test accuracy (top-1)"),
]
_SIZE = [
    record_column("num_channels", "Channels"),
    record_column("num_conv", "Conv2D layers"),
    record_column("num_dense", "Dense layers"),
    record_column("num_parameters", "Parameters"),
]
_SEED = record_column("seed", "Seed")
_RUNS = Column("Runs", "0", "completed runs of this setting, usually one per seed", "runs")
_COLLAPSED = Column("Collapsed", "0%", "share of the completed runs that collapsed", "collapsed")


def _accuracy(header: str, about: str, key: str) -> Column:
    return record_column("accuracy_test", header, about, key)


def results_table(ranking: Ranking) -> Table:
    """Every run with every field of its record, in the records' order."""
    best = ranking.frame.index.isin(ranking.ranked.index[:1])
    marks = ranking.frame["verdict"].mask(best, "best").tolist()
    return table_of("Results", [record_column(c.name) for c in COLUMNS], ranking.frame, marks=marks)


def best_table(ranking: Ranking) -> Table:
    """The study's first table: its columns, our 18 best runs."""
    columns = [Column("Rank", "0", key="rank"), *_SETTING, *_METRICS, *_SIZE]
    if ranking.rule is BY_VALIDATION:
        columns.append(record_column("accuracy_val", "Validation accuracy (top-1)"))
    if ranking.num_seeds > 1:
        columns.append(_SEED)
    best = ranking.ranked.head(BEST_ROWS)
    note = f"{ranking.rule.sentence} Accuracy is top-1; the study's is binary accuracy, see Versus report."
    return table_of("Best", columns, best.assign(rank=range(1, len(best) + 1)), note, ["best"])


def optimizer_lr_table(ranking: Ranking) -> Table:
    """The study's second table, for every architecture and loss; means where a setting has several runs."""
    settings = ranking.settings
    marks = np.select([settings["runs"] == 0, settings["collapsed"] >= 0.5], ["diverged", "collapsed"], "")
    note = "One row per setting: architecture by architecture, loss by loss. Several runs of a setting are averaged."
    columns = [*_SETTING, *_METRICS, *_SIZE, _RUNS, _COLLAPSED]
    return table_of("Optimizer x lr", columns, settings, note, _with_best(marks, settings["accuracy_test"]))


def _with_best(marks: np.ndarray, values: pd.Series) -> list[str]:
    """The marks, and `best` at the first of the largest values."""
    best = values.reset_index(drop=True).dropna().idxmax() if values.notna().any() else None
    return ["best" if i == best else str(mark) for i, mark in enumerate(marks)]


def network_size_table(ranking: Ranking) -> Table:
    """The study's section 8.3: accuracy against the number of parameters, a row for each architecture."""
    columns = [
        *_SIZE,
        _RUNS,
        _accuracy("Best test accuracy (top-1)", "of the architecture's best run", "best"),
        _accuracy("Mean of runs that learned", "test accuracy, without collapsed runs", "learned"),
        _COLLAPSED,
        Column("Best setting", about="optimizer, loss, learning rate and architecture of the best run", key="setting"),
    ]
    ranked = ranking.ranked.dropna(subset="num_parameters")
    ranked = ranked.assign(learned=ranked["accuracy_test"].where(~ranked["collapsed"]))
    sizes = ranked.groupby("architecture", sort=False).agg(
        **{name: (name, "first") for name in (*SIZES, "num_parameters", "setting")},
        runs=("setting", "size"),
        best=("accuracy_test", "first"),
        learned=("learned", "mean"),
        collapsed=("collapsed", "mean"),
    )  # pyright: ignore[reportCallIssue] - names of results are free
    sizes = sizes.sort_values(["num_parameters", "num_channels"], kind="stable")
    marks = _with_best(np.full(len(sizes), ""), sizes["best"])
    return table_of("Network size", columns, sizes, "Sorted by the number of trainable parameters.", marks)


def seeds_table(ranking: Ranking) -> Table:
    """Mean, standard deviation, n and the share of collapsed runs of each setting; empty for a single seed."""
    columns = [
        *_SETTING,
        *_SIZE,
        _RUNS,
        Column("Diverged", "0", "runs whose loss became NaN or infinite; not in the mean", "diverged"),
        _accuracy("Mean test accuracy (top-1)", "over the completed runs, collapsed ones too", "accuracy_test"),
        Column(
            "Standard deviation", "0.0000", "of the test accuracy between runs, n - 1 in the denominator", "deviation"
        ),
        _accuracy("Lowest", "test accuracy", "lowest"),
        _accuracy("Highest", "test accuracy", "highest"),
        record_column("binary_accuracy_test", "Mean binary accuracy", "test accuracy as the study counts it"),
        _COLLAPSED,
    ]
    if ranking.num_seeds < 2:
        note = "This sweep has a single seed. Spread over seeds: add seed=0,1,2 to the command."
        return Table("Seeds", columns, [], note)
    settings = ranking.settings.sort_values("accuracy_test", ascending=False, kind="stable")
    return table_of("Seeds", columns, settings, "Runs that differ in the seed only, best mean first.", ["best"])


def failures_table(ranking: Ranking, state: State | None = None) -> Table:
    """Every run that has no result to rank, every collapsed one, every missing one: what happened, and where."""
    columns = [
        Column(
            "What", "General", "failed: an error; diverged: NaN or infinity; collapsed: no better than guessing", "what"
        ),
        *_SETTING,
        *_SIZE[:3],
        _SEED,
        record_column("accuracy_test", "Test accuracy (top-1)"),
        record_column("binary_accuracy_test", "Binary accuracy"),
        Column("Why", about="the error, or how it collapsed", key="why"),
        record_column("run_name", "Run"),
    ]
    wrong = pd.concat([ranking.unranked, ranking.ranked[ranking.ranked["collapsed"]]])
    what = wrong["verdict"].replace("ok", "no accuracy")
    nameless = (what == "no accuracy") & (wrong["error"] == "")
    why = wrong["error"].mask(nameless, "accuracy is not a number").mask(wrong["collapsed"], wrong["how_collapsed"])
    order = what.map({"failed": 0, "diverged": 1, "no accuracy": 2, "collapsed": 3})
    wrong = wrong.assign(what=what, why=why, order=order).sort_values(["order", "run_name"])
    table = table_of("Failures", columns, wrong, COLLAPSED_MEANS, wrong["what"].tolist())
    missing = [_missing(run) for run in (state or State()).unfinished if run.what != "running"]
    return replace(table, rows=[*table.rows, *([row.get(c.key) for c in columns] for row in missing)])


def _missing(run: Unfinished) -> dict[str, Any]:
    """A planned run without a record as a row of the failures: by key, what the plan says of it."""
    known = {"loss_func": run.value("loss"), "learning_rate": run.value("lr"), "seed": run.value("seed")}
    known |= {name: run.value("model", name) for name in SIZES}
    return known | {
        "what": "missing", "why": WHY[run.what], "run_name": run.run_name, "optimizer": run.optimizer
    }  # fmt: skip
