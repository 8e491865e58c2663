"""A table of a report, before it becomes a sheet of the workbook or a part of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from mnist_lightning.records.results import COLUMNS
from mnist_lightning.report.frame import plain_rows


@dataclass(frozen=True)
class Column:
    """A column's header, its number format (Excel's language), one sentence about it, the frame's column it shows."""

    name: str
    number_format: str = "General"
    about: str = ""
    key: str = ""


@dataclass(frozen=True)
class Table:
    """`rows` in the order of `columns`; `marks` names rows to be tinted: best, or a verdict.

    `places` are, for a table of runs, the names of each row's directory, empty where there is none to look into.
    """

    title: str
    columns: list[Column]
    rows: list[list[Any]]
    note: str = ""
    marks: dict[int, str] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)


def table_of(
    title: str, columns: list[Column], frame: pd.DataFrame, note: str = "", marks: Sequence[str] = ()
) -> Table:
    """A table of a frame's rows; `marks` has one for each row, or an empty text."""
    rows = plain_rows(frame, [c.key for c in columns])
    return Table(title, columns, rows, note, {i: mark for i, mark in enumerate(marks[: len(rows)]) if mark})


_BY_NAME = {c.name: c for c in COLUMNS}


def record_column(name: str, header: str = "", about: str = "", key: str = "") -> Column:
    """A column with the format and the sentence that `RunResult` gives it; shows that field unless `key` says else."""
    metadata = _BY_NAME[name].metadata
    return Column(header or name, metadata["number_format"], about or metadata["about"], key or name)


FURTHER = Column("Further keys", about="those of the setting's other keys that vary in the sweep", key="further")


def shown(value: Any, number_format: str = "General") -> str:
    """A value as a person reads it: `0.9810`, `796,514`, `1e-03`, `nan`; None is an empty text."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if number_format == "General":
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    decimals = number_format.rstrip("%").partition(".")[2].count("0")
    if number_format.endswith("%"):
        return f"{value:.{decimals}%}"
    return f"{value:{',' if ',' in number_format else ''}.{decimals}f}"
