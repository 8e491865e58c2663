"""How a table becomes a sheet: header, formats, widths, filters, colours; every value safely put into its cell."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from openpyxl.cell import Cell, WriteOnlyCell
from openpyxl.comments import Comment
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.properties import PageSetupProperties

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
    "not yet learned": PatternFill("solid", fgColor="D6E8F9"),
    "unclear": PatternFill("solid", fgColor="E8DFF5"),
    "diverged": PatternFill("solid", fgColor="FBE3B5"),
    "no accuracy": PatternFill("solid", fgColor="FBE3B5"),
    "failed": PatternFill("solid", fgColor="F6C7C2"),
}
_READ_AS_FORMULA = ("=", "+", "-", "@")  # by Excel, when such a text is edited; a hidden quote prevents it
_CHECKSUMS = ("_sha256", "fingerprint")  # columns for machines: there, but hidden
_TEXT = "_W@"  # a text, after a gap as wide as a W: the column before it may end in numbers
BOLD = Font(bold=True)
Cells = dict[tuple[int, int], Cell]  # by row and column, from 1


def set_value(cell: Any, value: Any) -> None:
    """Puts numbers into a cell as they are, and texts as texts, never as formulas."""
    value = _plain(value)
    if isinstance(value, str):
        cell.value = value or None
        cell.data_type = "s" if value else "n"  # openpyxl makes a formula of what begins with =
        cell.quotePrefix = value.startswith(_READ_AS_FORMULA)
    elif isinstance(value, float):
        cell.value, cell.data_type = repr(value), "n"  # all 17 digits; openpyxl itself writes 16
    else:
        cell.value = value


def _plain(value: Any) -> Any:
    """Returns what a cell can hold: nan, inf and numbers that Excel would round become texts, texts become clean."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and abs(value) > LARGEST_EXACT:
        return str(value) if abs(value) < 10**300 else "too large"
    return _ILLEGAL.sub("?", value)[:LONGEST_CELL] if isinstance(value, str) else value


def cell_of(sheet: Any, value: Any, number_format: str = "General") -> Cell:
    """Makes a cell for a row that is still to be written; a sheet of thousands of rows is never whole in memory."""
    cell = WriteOnlyCell(sheet)
    set_value(cell, value)
    cell.number_format = number_format
    return cell


def header_of(sheet: Any, columns: Sequence[Column]) -> list[Cell]:
    """Makes the cells of a header: names of columns, each with its sentence as a comment."""
    cells = [cell_of(sheet, c.name) for c in columns]
    for cell, c in zip(cells, columns, strict=True):
        cell.font, cell.fill, cell.alignment = BOLD, _HEADER, Alignment(vertical="top", wrap_text=True)
        if c.about:
            cell.comment = Comment(c.about, "mnist-lightning", height=70, width=220)
    return cells


def put_table(sheet: Any, table: Table, beside: Cells | None = None, links: Mapping[int, str] | None = None) -> None:
    """Writes a sheet: the table from its first cell, and what stands beside or below it.

    `links` has addresses by row of the table, for its last column named `run_name`.
    """
    beside = beside or {}
    arrange(sheet, table)
    last = max([len(table.rows) + 1, *(row for row, _ in beside)])
    extra: dict[int, dict[int, Cell]] = {}
    for (row, column), cell in beside.items():
        extra.setdefault(row, {})[column] = cell
    linked = [c.key for c in table.columns].index("run_name") if links else -1
    for number in range(1, last + 1):
        i = number - 2
        cells: list[Cell | None] = list(header_of(sheet, table.columns)) if number == 1 else []
        if 0 <= i < len(table.rows):
            cells = list(_row(sheet, table, i))
            if links and i in links:
                put_link(cells[linked], links[i])
        for column, cell in extra.get(number, {}).items():
            cells += [None] * (column - len(cells))
            cells[column - 1] = cell
        sheet.append(cells)


def _row(sheet: Any, table: Table, i: int) -> list[Cell]:
    mark = table.marks.get(i, "")
    formats = (
        _TEXT if isinstance(v, str) else c.number_format for v, c in zip(table.rows[i], table.columns, strict=True)
    )
    cells = [cell_of(sheet, value, form) for value, form in zip(table.rows[i], formats, strict=True)]
    for cell in cells:
        if mark in FILLS:
            cell.fill = FILLS[mark]
        if mark == "best":
            cell.font = BOLD
    return cells


def put_link(cell: Any, address: str) -> None:
    """Makes a cell lead to an address, and look like it."""
    cell.hyperlink = address
    cell.font = Font(bold=cell.font.bold, color="0B5CAD", underline="single")


def arrange(sheet: Any, table: Table) -> None:
    """Sets widths, frozen header, filters, and how the sheet is printed; before any row is written."""
    for j, column in enumerate(table.columns):
        longest = max((len(shown(row[j], column.number_format)) for row in table.rows[:_MEASURED_ROWS]), default=0)
        # a long header wraps between its words; the arrow of the filter needs room too
        header = max(len(word) for word in column.name.split()) + 3
        dimension = sheet.column_dimensions[get_column_letter(j + 1)]
        dimension.width = min(max(header, longest + 3, 9), WIDEST)
        dimension.hidden = column.key.endswith(_CHECKSUMS)
    sheet.row_dimensions[1].height = 45  # points: three lines
    sheet.freeze_panes = sheet.freeze_panes or "A2"
    if table.rows:
        sheet.auto_filter.ref = f"A1:{get_column_letter(len(table.columns))}{len(table.rows) + 1}"
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = sheet.page_setup.fitToWidth or 1, 0
    sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
    sheet.print_title_rows = "1:1"
