"""How a table becomes a sheet: header, formats, widths, filters, tints; and every value safely into its cell."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from copy import copy
from typing import Any

from openpyxl.comments import Comment
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.properties import PageSetupProperties
from openpyxl.worksheet.worksheet import Worksheet

from mnist_lightning.report.table import Column, Table, shown

LONGEST_CELL = 32_767  # Excel's limit, characters
LARGEST_EXACT = 2**53  # Excel keeps numbers as float64; beyond, an integer is kept as text
WIDEST = 60  # characters
_MEASURED_ROWS = 500  # enough to know how wide a column is
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # not in any XML 1.0 document
_HEADER = PatternFill("solid", fgColor="DDE6F0")
FILLS = {
    "best": PatternFill("solid", fgColor="C9EBD6"),
    "collapsed": PatternFill("solid", fgColor="E4E7EB"),
    "diverged": PatternFill("solid", fgColor="FBE3B5"),
    "no accuracy": PatternFill("solid", fgColor="FBE3B5"),
    "failed": PatternFill("solid", fgColor="F6C7C2"),
}
READ_AS_FORMULA = ("=", "+", "-", "@")  # by Excel, when such a text is edited; a hidden quote prevents it
BOLD = Font(bold=True)
LINK = "link"  # in place of a number format: the looks of a link


def plain(value: Any) -> Any:
    """What a cell can hold: nan and inf, which Excel lacks, and numbers it would round, as texts; clean texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and abs(value) > LARGEST_EXACT:
        return str(value) if abs(value) < 10**300 else "too large"
    return _ILLEGAL.sub("?", value)[:LONGEST_CELL] if isinstance(value, str) else value


def set_value(cell: Any, value: Any) -> None:
    """Numbers as numbers; texts as texts, never as formulas."""
    value = plain(value)
    if isinstance(value, str):
        cell.value = value
        cell.data_type = "s"  # openpyxl makes a formula of what begins with =
        if value[:1] in READ_AS_FORMULA and value:
            cell.quotePrefix = True
    elif value is not None:
        cell.value = value


def put_header(sheet: Worksheet, row: int, column: int, columns: Sequence[Column]) -> None:
    for i, c in enumerate(columns, start=column):
        cell = sheet.cell(row, i)
        set_value(cell, c.name)
        cell.font, cell.fill, cell.alignment = BOLD, _HEADER, Alignment(vertical="top", wrap_text=True)
        if c.about:
            cell.comment = Comment(c.about, "mnist-lightning", height=70, width=220)


def put_table(sheet: Worksheet, table: Table) -> None:
    """Fill a sheet from its first cell."""
    put_header(sheet, 1, 1, table.columns)
    formats = [c.number_format for c in table.columns]
    styles: dict[tuple[str, str], Any] = {}
    for i, row in enumerate(table.rows):
        mark = table.marks.get(i, "")
        for j, value in enumerate(row):
            if value is None and mark not in FILLS:
                continue
            cell: Any = sheet.cell(i + 2, j + 1)
            key = (formats[j], mark)
            if key not in styles:  # to look a style up takes longer than all the rest
                style(cell, *key)
                styles[key] = copy(cell._style)
            cell._style = copy(styles[key])
            set_value(cell, value)
    arrange(sheet, table)


def style(cell: Any, number_format: str, mark: str) -> None:
    """Give a cell its looks."""
    cell.number_format = "General" if number_format == LINK else number_format
    if mark in FILLS:
        cell.fill = FILLS[mark]
    if number_format == LINK:
        cell.font = Font(bold=mark == "best", color="0B5CAD", underline="single")
    elif mark == "best":
        cell.font = BOLD


def arrange(sheet: Worksheet, table: Table) -> None:
    """Widths, frozen header, filters, paper."""
    for j, column in enumerate(table.columns):
        longest = max((len(shown(row[j], column.number_format)) for row in table.rows[:_MEASURED_ROWS]), default=0)
        # a long header wraps, at its words and underscores' cost; the arrow of the filter needs room too
        header = max(len(word) for word in column.name.split()) + 3
        sheet.column_dimensions[get_column_letter(j + 1)].width = min(max(header, longest + 2, 9), WIDEST)
    sheet.row_dimensions[1].height = 45  # points: three lines
    sheet.freeze_panes = "A2"
    if table.rows:
        sheet.auto_filter.ref = f"A1:{get_column_letter(len(table.columns))}{len(table.rows) + 1}"
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
    sheet.print_title_rows = "1:1"
