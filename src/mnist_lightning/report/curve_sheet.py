"""The workbook's sheet of learning curves: a column for each of the best runs, and native charts of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from openpyxl import Workbook
from openpyxl.utils import get_column_letter

from mnist_lightning.report.charts import line_chart
from mnist_lightning.report.sheets import Cells, cell_of, header_of, put_table
from mnist_lightning.report.stored import Curve
from mnist_lightning.report.table import Column, Table

_MEASURES = {"val_accuracy": "Validation accuracy (top-1)", "val_mse": "Validation mean squared error"}
_CHART_ROWS = 20  # of the sheet, as high as a chart


def add_curves(book: Workbook, curves: Sequence[Curve]) -> None:
    """Adds the sheet: for each measure a block, epochs down and runs across, with its chart to the right."""
    sheet: Any = book.create_sheet("Curves")
    names = _names(curves)
    epochs = max(len(curve.columns["epoch"]) for curve in curves)
    row, beside, tables = 1, Cells(), []
    for measure, title in _MEASURES.items():
        columns = [Column("Epoch"), *(Column(name, "0.0000", f"{title} of {name}") for name in names)]
        tables.append(
            Table("Curves", columns, [[i + 1, *(_value(c, measure, i) for c in curves)] for i in range(epochs)])
        )
        chart = line_chart(sheet, row, 1, epochs, len(curves), ("Epoch", title))
        chart.title, chart.height, chart.width = title, 9.5, 20
        sheet.add_chart(chart, f"{get_column_letter(len(curves) + 3)}{row}")
        chart.y_axis.scaling.min = 0
        if row == 1:
            chart.y_axis.scaling.max = 1
        else:
            sheet.row_dimensions[row].height = 45  # points: a header of three lines
            beside |= _block(sheet, row, tables[-1])
        row += max(epochs + 3, _CHART_ROWS)
    put_table(sheet, tables[0], beside)


def _block(sheet: Any, row: int, table: Table) -> Cells:
    """The cells of a table whose header stands in that row."""
    cells = {(row, j): cell for j, cell in enumerate(header_of(sheet, table.columns), start=1)}
    for i, values in enumerate(table.rows, start=row + 1):
        for j, (value, column) in enumerate(zip(values, table.columns, strict=True), start=1):
            cells[i, j] = cell_of(sheet, value, column.number_format)
    return cells


def _value(curve: Curve, measure: str, i: int) -> float | None:
    """A curve's value of an epoch; None where there is none, which a chart leaves out."""
    values = curve.columns.get(measure, [])
    return values[i] if i < len(values) and math.isfinite(values[i]) else None


def _names(curves: Sequence[Curve]) -> list[str]:
    """What each run is called in a legend: its keys, and what it needs to be told from the others."""

    def short(run: Any) -> str:
        return f"{run.optimizer} {run.loss_func} {run.learning_rate:g}"

    several = len({curve.run.architecture for curve in curves}) > 1
    names = [
        " ".join([short(c.run), *[c.run.architecture] * several, *[c.run.further] * bool(c.run.further)])
        for c in curves
    ]
    counts = Counter(names)
    names = [name if counts[name] == 1 else f"{name} seed {c.run.seed}" for name, c in zip(names, curves, strict=True)]
    return ["".join(c for c in f"{i}. {name}" if c.isprintable())[:60] for i, name in enumerate(names, start=1)]
