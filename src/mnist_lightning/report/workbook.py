"""The Excel workbook, made to be worked in: every run, the study's tables made from our runs, charts, provenance."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from textwrap import wrap
from typing import Any

from openpyxl import Workbook
from openpyxl.styles import Alignment
from openpyxl.writer.excel import ExcelWriter

from mnist_lightning.report import tables
from mnist_lightning.report.about import about_table
from mnist_lightning.report.charts import add_size_chart, optimizer_charts, search_charts
from mnist_lightning.report.curve_sheet import add_curves
from mnist_lightning.report.curves import link
from mnist_lightning.report.findings import RULE, findings_table
from mnist_lightning.report.published import MISPRINTS, WHAT_ACCURACY_IS
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.search import trials_table
from mnist_lightning.report.sheets import BOLD, Cells, arrange, cell_of, header_of, put_table
from mnist_lightning.report.stored import Stored
from mnist_lightning.report.table import Table
from mnist_lightning.report.versus import versus_table

_EPOCH = datetime(1980, 1, 1)  # the earliest a zip file knows; a report has no clock
_NOTE_WIDTH = 160  # characters of a line of them: a longer one makes a printed page tiny
_NOTE_ROWS = 2  # between a table and the sentences under it


def workbook_bytes(ranking: Ranking, stored: Stored) -> bytes:
    """Returns the workbook as the bytes of an .xlsx file. A run's name leads to its directory."""
    book = Workbook(write_only=True)  # rows go to the disk as they are made: 20,000 runs are a million cells
    _results(book, ranking, stored.linked)
    _with_note(book, tables.best_table(ranking))
    pairs = tables.optimizer_lr_table(ranking)
    _with_note(book, pairs, charts=lambda sheet: optimizer_charts(sheet, ranking.finished, len(pairs.columns) + 2))
    sizes = tables.network_size_table(ranking)
    _with_note(book, sizes)
    if len(sizes.rows) > 1:
        add_size_chart(book["Network size"], len(sizes.rows), len(sizes.columns) + 2)
    _with_note(book, versus_table(ranking.frame), WHAT_ACCURACY_IS, *MISPRINTS)
    _with_note(book, tables.seeds_table(ranking))
    _with_note(book, tables.failures_table(ranking, stored.state))
    _about(book, about_table(ranking, stored))
    if stored.best:
        add_curves(book, stored.best)
    if (findings := findings_table(ranking.frame)).rows:  # last: the others keep their places
        _with_note(book, findings, RULE)
    if stored.searched:
        trials, beside = trials_table(stored.searched), len(trials_table(stored.searched).columns) + 2
        _with_note(book, trials, charts=lambda sheet: search_charts(sheet, stored.searched, beside))
    book.active = 0
    book.properties.creator, book.properties.created = "mnist-lightning", _EPOCH
    out = io.BytesIO()
    ExcelWriter(book, _Timeless(out, "w")).save()
    return out.getvalue()


def _results(book: Workbook, ranking: Ranking, linked: bool) -> None:
    """Adds every run with every field of its record, in the records' order."""
    table = tables.results_table(ranking)
    sheet: Any = book.create_sheet(table.title)
    sheet.freeze_panes = "D2"  # optimizer, loss and learning rate stay in sight
    sheet.page_setup.fitToWidth = 4  # pages; on one nobody could read so many columns
    places = ranking.frame["place_on_disk"] if linked else []
    put_table(sheet, table, links={i: address for i, place in enumerate(places) if (address := link(place))})


def _with_note(
    book: Workbook, table: Table, *notes: str, charts: Callable[[Any], Cells] = lambda sheet: Cells()
) -> None:
    """Adds a table as a sheet, with its note and the others in lines below it, and charts beside it."""
    sheet: Any = book.create_sheet(table.title)
    below = len(table.rows) + 1 + _NOTE_ROWS
    sentences = [line for note in (table.note, *notes) for line in wrap(note, _NOTE_WIDTH, break_long_words=False)]
    lines = {(below + i, 1): cell_of(sheet, line) for i, line in enumerate(sentences)}
    put_table(sheet, table, charts(sheet) | lines)


def _about(book: Workbook, table: Table) -> None:
    """Adds the sheet of provenance: a wide column of sentences that wrap."""
    sheet: Any = book.create_sheet(table.title)
    arrange(sheet, table)
    sheet.auto_filter.ref = None
    sheet.row_dimensions[1].height = 18
    for column, width in (("A", 42), ("B", 110)):
        sheet.column_dimensions[column].width = width
    for number, row in enumerate(table.rows, start=2):
        lines = -(-len(str(row[1])) // 100)
        sheet.row_dimensions[number].height = 15 * max(lines, 1)  # LibreOffice fits it by itself, Excel does not
    sheet.append(header_of(sheet, table.columns))
    for row in table.rows:
        name, value = (cell_of(sheet, text) for text in row)
        name.font, name.alignment = BOLD, Alignment(vertical="top")
        value.alignment = Alignment(wrap_text=True, vertical="top", horizontal="left")
        sheet.append([name, value])


class _Timeless(zipfile.ZipFile):
    """A zip file without times, so that the same cells give the same bytes; openpyxl writes the time of day.

    It could not be removed afterwards: a zip file refuses to begin with a clock that says 1970.
    """

    def write(self, filename: Any, arcname: Any = None, *arguments: Any, **more: Any) -> None:
        self.writestr(arcname, Path(filename).read_bytes())

    def writestr(self, zinfo_or_arcname: Any, data: str | bytes, *arguments: Any, **more: Any) -> None:
        content = data.encode() if isinstance(data, str) else data
        if zinfo_or_arcname == "docProps/core.xml":
            content = re.sub(rb"(<dcterms:modified[^>]*>)[^<]*", rb"\g<1>1980-01-01T00:00:00Z", content)
        super().writestr(zipfile.ZipInfo(zinfo_or_arcname), content, zipfile.ZIP_DEFLATED)
