"""A table of a report, before it becomes a sheet of the workbook or a part of the page."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from mnist_lightning.records.results import COLUMNS


@dataclass(frozen=True)
class Column:
    """A column's header, its number format (Excel's language) and one sentence about it."""

    name: str
    number_format: str = "General"
    about: str = ""


@dataclass(frozen=True)
class Table:
    """`rows` in the order of `columns`; `marks` names rows to be tinted: best, collapsed, diverged, failed."""

    title: str
    columns: list[Column]
    rows: list[list[Any]]
    note: str = ""
    marks: dict[int, str] = field(default_factory=dict)


_BY_NAME = {c.name: c for c in COLUMNS}


def record_column(name: str, header: str = "", about: str = "") -> Column:
    """A column of the record, with the format and the sentence that `RunResult` gives it."""
    metadata = _BY_NAME[name].metadata
    return Column(header or name, metadata["number_format"], about or metadata["about"])


def accuracy_column(header: str, about: str) -> Column:
    return record_column("accuracy_test", header, about)


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
    if number_format == "0.0E+00":
        return f"{value:g}"
    if number_format.endswith("%"):
        return f"{value:.{_decimals(number_format)}%}"
    return f"{value:{',' if ',' in number_format else ''}.{_decimals(number_format)}f}"


def _decimals(number_format: str) -> int:
    return number_format.rstrip("%").partition(".")[2].count("0")
