"""The page's table of all runs: which columns, rows and filters it has. The page's script sorts and filters it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mnist_lightning.errors import one_line
from mnist_lightning.records.results import RunResult
from mnist_lightning.report.ranking import Ranking, verdict
from mnist_lightning.report.stored import link
from mnist_lightning.report.table import record_column, shown

# column of the record -> header; in the page's order
_HEADERS = {
    "optimizer": "optimizer",
    "loss_func": "loss",
    "learning_rate": "learning rate",
    "num_channels": "channels",
    "num_conv": "conv",
    "num_dense": "dense",
    "dataset": "data",
    "train_size": "training images",
    "batch_size": "batch",
    "epochs": "epochs",
    "seed": "seed",
    "accuracy_val": "validation accuracy",
    "accuracy_test": "test accuracy",
    "binary_accuracy_test": "binary accuracy",
    "accuracy": "training accuracy",
    "num_parameters": "parameters",
    "best_epoch": "best epoch",
    "duration_seconds": "time (s)",
}
_KEYS = ("optimizer", "loss_func", "learning_rate")  # what people filter by
_ALWAYS = {*_KEYS, "accuracy_test", "binary_accuracy_test", "accuracy", "duration_seconds"}  # also if all are alike
_TEXTS = {"optimizer", "loss_func", "dataset"}
# left out on a phone
_MINOR = {
    "binary_accuracy_test",
    "accuracy",
    "num_parameters",
    "best_epoch",
    "duration_seconds",
    "train_size",
    "batch_size",
    "epochs",
}
_MOST_CHOICES = 30
_LONGEST_CELL = 300  # characters


@dataclass(frozen=True)
class Head:
    """A column: its header, its classes, how the rows are sorted at first, and by which order a click begins."""

    name: str
    about: str
    number_format: str = "General"
    classes: str = ""
    sort: str = "none"
    first: str = ""


@dataclass(frozen=True)
class Filter:
    """A list to choose from: rows stay whose cell in the column of that number is the choice."""

    name: str
    column: int
    choices: list[str]


@dataclass(frozen=True)
class Row:
    """A run: its state (`best` for the best), its cells' values, and the address of its files."""

    mark: str
    cells: list[Any]
    link: str


@dataclass(frozen=True)
class RunsTable:
    """What the page shows of all runs; `same` says once what every run has in common."""

    same: str
    filters: list[Filter]
    columns: list[Head]
    rows: list[Row]


def runs_table(ranking: Ranking, linked: bool) -> RunsTable:
    """Returns the table of all runs: the ranked ones, best first, then the others."""
    results, names = ranking.results, _columns(ranking.results)
    ranks = {id(r): rank for rank, r in enumerate(ranking.ranked, start=1)}
    rows = []
    for r in [*ranking.ranked, *(r for r in results if id(r) not in ranks)]:
        rank, state = ranks.get(id(r)), verdict(r)
        cells = [rank, *(getattr(r, name) for name in names), state]
        rows.append(Row("best" if rank == 1 else state, cells, link(r) if linked else ""))
    return RunsTable(_same(results, names), _filters(results, names), _heads(names, ranking.rule.column), rows)


def cell_text(value: Any, number_format: str) -> str:
    """Returns a value as a cell shows it, not too long to read."""
    return one_line(shown(value, number_format), _LONGEST_CELL)


def _value(r: RunResult, name: str) -> Any:
    """Returns a field of the record; None in place of NaN, which no two fields would have in common."""
    value = getattr(r, name)
    return None if isinstance(value, float) and math.isnan(value) else value


def _columns(results: Sequence[RunResult]) -> list[str]:
    """Returns the columns of the record that are shown: those that differ, and what everybody looks for."""
    held_out = any(math.isfinite(r.accuracy_val) and r.val_size for r in results)
    return [
        name
        for name in _HEADERS
        if (name in _ALWAYS or len({_value(r, name) for r in results}) > 1) and (name != "accuracy_val" or held_out)
    ]


def _same(results: Sequence[RunResult], names: list[str]) -> str:
    """Returns the keys that are not shown as columns, with their common values."""
    if len(results) < 2:
        return ""
    values = {name: _value(results[0], name) for name in _HEADERS if name not in (*names, "accuracy_val")}
    return ", ".join(
        f"{_HEADERS[name]} {cell_text(value, record_column(name).number_format)}"
        for name, value in values.items()
        if value not in (None, "")
    )


def _filters(results: Sequence[RunResult], names: list[str]) -> list[Filter]:
    """Returns a filter for each key that differs, and one for the state of the runs."""
    filters = []
    for name in _KEYS:
        number_format = record_column(name).number_format
        texts = sorted({(_sortable(r, name), cell_text(getattr(r, name), number_format)) for r in results})
        if 1 < len(texts) <= _MOST_CHOICES:
            filters.append(Filter(_HEADERS[name], names.index(name) + 1, [text for _, text in texts]))
    states = {verdict(r) for r in results}
    if len(states) > 1:
        ordered = [state for state in ("ok", "collapsed", "diverged", "failed") if state in states]
        filters.append(Filter("state", len(names) + 1, ordered))
    return filters


def _sortable(r: RunResult, name: str) -> tuple[float, str]:
    """Returns a key that sorts numbers by value, then texts, then what is not a number."""
    value = getattr(r, name)
    return (value, "") if isinstance(value, float) and not math.isnan(value) else (math.inf, str(value))


def _heads(names: list[str], ranked_by: str) -> list[Head]:
    """Returns the columns of the table: rank, the record's, state. A click on an accuracy begins with the highest."""
    heads = [Head("#", "rank", sort="ascending")]
    for name in names:
        column = record_column(name, _HEADERS[name])
        classes = " ".join(["t"] * (name in _TEXTS) + ["m"] * (name in _MINOR))
        sort = "descending" if name == ranked_by else "none"
        first = "descending" if "accuracy" in name else ""
        heads.append(Head(column.name, column.about, column.number_format, classes, sort, first))
    return [*heads, Head("state", "ok, collapsed, diverged or failed", classes="t")]
