"""The Excel workbook: a sheet `Results` with every run as a row, made to be worked in."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE, Cell
from openpyxl.comments import Comment
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from mnist_lightning.results import COLUMNS, RunResult

LONGEST_CELL = 32_767  # Excel's limit, characters
_HEADER = PatternFill("solid", fgColor="DDE6F0")
_STATUS = {"failed": PatternFill("solid", fgColor="F6C7C2"), "diverged": PatternFill("solid", fgColor="FBE3B5")}


def workbook_bytes(results: Sequence[RunResult]) -> bytes:
    """The workbook as the bytes of an .xlsx file."""
    book = Workbook()
    sheet = book.active
    assert isinstance(sheet, Worksheet)
    sheet.title = "Results"
    _fill_results(sheet, results)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _fill_results(sheet: Worksheet, results: Sequence[RunResult]) -> None:
    widths = []
    for number, column in enumerate(COLUMNS, start=1):
        cell = sheet.cell(1, number, column.name)
        cell.font, cell.fill, cell.alignment = Font(bold=True), _HEADER, Alignment(vertical="top")
        cell.comment = Comment(column.metadata["about"], "mnist-lightning")
        longest = max([len(_shown(getattr(r, column.name))) for r in results[:1000]], default=0)
        widths.append(min(max(len(column.name) + 3, longest + 2), 60))
    for row, result in enumerate(results, start=2):
        for number, column in enumerate(COLUMNS, start=1):
            cell = sheet.cell(row, number)
            set_value(cell, getattr(result, column.name))
            cell.number_format = column.metadata["number_format"]
            if result.status in _STATUS:
                cell.fill = _STATUS[result.status]
    for number, width in enumerate(widths, start=1):
        sheet.column_dimensions[get_column_letter(number)].width = width
    sheet.freeze_panes = "B2"
    sheet.auto_filter.ref = f"A1:{get_column_letter(len(COLUMNS))}{len(results) + 1}"


def _shown(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def set_value(cell: Cell, value: Any) -> None:
    """Numbers as numbers; texts as texts, never as formulas; nan and inf, which Excel lacks, as those words."""
    if isinstance(value, float) and not math.isfinite(value):
        value = str(value)
    if isinstance(value, str):
        cell.value = ILLEGAL_CHARACTERS_RE.sub("?", value)[:LONGEST_CELL]
        cell.data_type = "s"  # openpyxl makes a formula of what begins with =
        cell.quotePrefix = value[:1] in "=+-@"  # pyright: ignore[reportAttributeAccessIssue]
    else:
        cell.value = value
