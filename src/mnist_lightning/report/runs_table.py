"""The page's table of all runs: which columns, rows and filters it has. The page's script sorts and filters it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mnist_lightning.errors import one_line
from mnist_lightning.report.curves import link
from mnist_lightning.report.frame import distinct, plain_rows
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.table import FURTHER, record_column, shown
from mnist_lightning.report.verdicts import VERDICTS

# column of the record -> header; in the page's order, which a phone shows the beginning of
_HEADERS = {
    "accuracy_val": "validation accuracy",
    "accuracy_test": "test accuracy",
    "optimizer": "optimizer",
    "loss_func": "loss",
    "learning_rate": "learning rate",
    "network": "network",
    "num_channels": "channels",
    "num_conv": "conv",
    "num_dense": "dense",
    "dataset": "data",
    "train_size": "training images",
    "batch_size": "batch",
    "further": "further keys",
    "epochs": "epochs",
    "seed": "seed",
    "binary_accuracy_test": "binary accuracy",
    "accuracy": "training accuracy",
    "num_parameters": "parameters",
    "best_epoch": "best epoch",
    "duration_seconds": "time (s)",
}
_ALWAYS = {
    "optimizer",
    "loss_func",
    "learning_rate",
    "accuracy_test",
    "binary_accuracy_test",
    "accuracy",
    "duration_seconds",
}  # also if all are alike
_RESULTS = {
    "accuracy_val",
    "accuracy_test",
    "binary_accuracy_test",
    "accuracy",
    "num_parameters",
    "best_epoch",
    "duration_seconds",
}
_TEXTS = {"optimizer", "loss_func", "network", "dataset", "further"}
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
    """A column: its header, its classes, how the rows are sorted at first, and by which order a click begins.

    `kind` is `key` of the configuration, or `result`.
    """

    name: str
    about: str
    number_format: str = "General"
    classes: str = ""
    sort: str = "none"
    first: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Filter:
    """A list to choose from: rows stay whose cell in the column of that number is the choice."""

    name: str
    column: int
    choices: list[str]


@dataclass(frozen=True)
class Row:
    """A run: its state (`best` for one of the best setting), its cells' values, the address and place of its files."""

    mark: str
    cells: list[Any]
    link: str
    place: str = ""


@dataclass(frozen=True)
class RunsTable:
    """What the page shows of all runs; `same` says once what every run has in common."""

    same: str
    filters: list[Filter]
    columns: list[Head]
    rows: list[Row]


def runs_table(ranking: Ranking, linked: bool) -> RunsTable:
    """Returns the table of all runs: those of ranked settings, best first, with the setting's rank; then the others."""
    frame, columns = ranking.frame, _columns(ranking.frame)
    ordered = pd.concat([ranking.ranked.astype({"place": "Int64"}), ranking.unranked])
    marks = ordered["verdict"].mask(ordered.index.isin(ranking.best_rows), "best")
    rows = [
        Row(mark, values, link(where) if linked else "", where)
        for mark, where, values in zip(
            marks, ordered["place_on_disk"], plain_rows(ordered, ["place", *columns, "verdict"]), strict=True
        )
    ]
    ranked_by = "" if ranking.several_seeds else ranking.rule.column
    return RunsTable(_same(frame, columns), _filters(ranking, columns), _heads(columns, ranked_by), rows)


def cell_text(value: Any, number_format: str) -> str:
    """Returns a value as a cell shows it, not too long to read."""
    return one_line(shown(value, number_format), _LONGEST_CELL)


def _columns(frame: pd.DataFrame) -> list[str]:
    """Returns the columns of the frame that are shown: those that differ, and what everybody looks for."""
    held_out = (np.isfinite(frame["accuracy_val"]) & (frame["val_size"] > 0)).any()
    vary = {name for name in _HEADERS if name in _ALWAYS or frame[name].nunique(dropna=False) > 1}
    keys = sorted(vary - _RESULTS - {"further"})
    hidden = set() if held_out else {"accuracy_val"}
    if distinct(frame, keys) == distinct(frame, [*keys, "setting"]):  # the other columns tell the settings apart
        hidden.add("further")
    return [name for name in _HEADERS if name in vary - hidden]


def _same(frame: pd.DataFrame, shown_columns: list[str]) -> str:
    """Returns the keys that are not shown as columns, with their common values."""
    if len(frame) < 2:
        return ""
    names = [name for name in _HEADERS if name not in (*shown_columns, "accuracy_val", "further")]
    return ", ".join(
        f"{_HEADERS[name]} {cell_text(value, record_column(name).number_format)}"
        for name, value in zip(names, plain_rows(frame, names)[0], strict=True)
        if not (pd.isna(value) or value == "")
    )


def _filters(ranking: Ranking, columns: list[str]) -> list[Filter]:
    """Returns a filter for each key that differs, the seed too, and one for the state of the runs."""
    filters = []
    for name in (name for name in columns if name not in _RESULTS | {FURTHER.key}):
        values = ranking.frame[name].drop_duplicates().sort_values().tolist()
        if 1 < len(values) <= _MOST_CHOICES:
            choices = [cell_text(value, record_column(name).number_format) for value in values]
            filters.append(Filter(_HEADERS[name], columns.index(name) + 1, choices))
    states = [state for state, n in ranking.verdicts.items() if n]
    return filters + ([Filter("state", len(columns) + 1, states)] if len(states) > 1 else [])


def _heads(names: list[str], ranked_by: str) -> list[Head]:
    """Returns the columns of the table: rank, the record's, state. A click on an accuracy begins with the highest."""
    heads = [Head("#", "rank of the setting", sort="ascending")]
    for name in names:
        column = FURTHER if name == FURTHER.key else record_column(name, _HEADERS[name])
        classes = " ".join(["t"] * (name in _TEXTS) + ["m"] * (name in _MINOR))
        sort = "descending" if name == ranked_by else "none"
        first = "descending" if "accuracy" in name else ""
        kind = "result" if name in _RESULTS else "key"
        heads.append(Head(_HEADERS[name], column.about, column.number_format, classes, sort, first, kind))
    return [*heads, Head("state", ", ".join(VERDICTS), classes="t")]
