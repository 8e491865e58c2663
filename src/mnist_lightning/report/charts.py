"""Native Excel charts, and the small blocks of numbers they draw from."""

from __future__ import annotations

from typing import Any

import pandas as pd
from openpyxl.chart import BarChart, LineChart, Reference, ScatterChart
from openpyxl.chart.series_factory import SeriesFactory
from openpyxl.chart.shapes import GraphicalProperties
from openpyxl.drawing.line import LineProperties
from openpyxl.utils import get_column_letter

from mnist_lightning.report.search import Searched
from mnist_lightning.report.sheets import Cells, cell_of, header_of
from mnist_lightning.report.style import COLOURS
from mnist_lightning.report.table import Column

MOST_CHARTS, MOST_SERIES, MOST_CATEGORIES = 4, 8, 20
_SYMBOLS = ("circle", "square", "triangle", "diamond")


def optimizer_charts(sheet: Any, finished: pd.DataFrame, column: int) -> Cells:
    """Adds charts to the right of the table, from `column`; returns what they draw: for each loss a block of means."""
    row, cells = 1, Cells()
    groups = list(finished.groupby("loss_func"))
    for loss, runs in groups[:MOST_CHARTS]:
        whole = runs.pivot_table(index="learning_rate", columns="optimizer", values="accuracy_test")
        means = whole.iloc[:MOST_CATEGORIES, :MOST_SERIES]
        cells |= _means(sheet, row, column, means)
        chart = line_chart(sheet, row, column, *means.shape, ("Learning rate", "Test accuracy (top-1)"))
        chart.y_axis.scaling.min, chart.y_axis.scaling.max = 0, 1
        chart.title = f"Mean test accuracy, loss {''.join(c for c in str(loss) if c.isprintable())[:40]}"
        sheet.add_chart(chart, f"{get_column_letter(column + len(means.columns) + 2)}{row}")
        cells[row + len(means) + 1, column] = cell_of(sheet, _shown(means.shape, whole.shape))
        row += max(len(means) + 3, 17)
    if len(groups) > MOST_CHARTS:
        cells[row, column] = cell_of(sheet, f"The first {MOST_CHARTS} of {len(groups):,} losses.")
    for i in range(MOST_SERIES + 1):
        sheet.column_dimensions[get_column_letter(column + i)].width = 13
    return cells


def _shown(shown: tuple[int, int], whole: tuple[int, int]) -> str:
    """A sentence on how many learning rates and optimizers a chart leaves out; empty where it shows all."""
    names = ("learning rates", "optimizers")
    parts = [f"{n:,} of {of:,} {name}" for n, of, name in zip(shown, whole, names, strict=True) if n < of]
    return f"The first {', '.join(parts)}." if parts else ""


def _means(sheet: Any, row: int, column: int, means: pd.DataFrame) -> Cells:
    """The cells of a block: learning rates down, optimizers across."""
    head = Column("Learning rate", about="mean test accuracy (top-1) of all completed runs with this loss")
    header = header_of(sheet, [head, *(Column(str(name)) for name in means.columns)])
    cells = {(row, column + j): cell for j, cell in enumerate(header)}
    for i, (rate, *values) in enumerate(means.itertuples(), start=row + 1):
        cells[i, column] = cell_of(sheet, rate)
        for j, value in enumerate(values, start=column + 1):
            cells[i, j] = cell_of(sheet, None if pd.isna(value) else value, "0.0000")
    return cells


def line_chart(sheet: Any, row: int, column: int, down: int, across: int, titles: tuple[str, str]) -> LineChart:
    """A chart of a block whose header begins at that cell: a line per column but the first; `titles` of the axes."""
    chart = LineChart()
    chart.height, chart.width = 8, 15  # cm
    values = Reference(sheet, min_col=column + 1, max_col=column + across, min_row=row, max_row=row + down)
    chart.add_data(values, titles_from_data=True)
    chart.set_categories(Reference(sheet, min_col=column, min_row=row + 1, max_row=row + down))
    _axes(chart, *titles)
    for i, series in enumerate(chart.series):
        _paint(series, i, line=True)
    return chart


def add_size_chart(sheet: Any, rows: int, column: int) -> None:
    """Best and mean accuracy against parameters, from the table's own columns 4, 6 and 7."""
    chart = ScatterChart()
    chart.style, chart.height, chart.width = 13, 9, 18
    sizes = Reference(sheet, min_col=4, min_row=2, max_row=rows + 1)
    for i, (source, title) in enumerate(((6, "best setting"), (7, "mean of runs that learned"))):
        series = SeriesFactory(Reference(sheet, min_col=source, min_row=2, max_row=rows + 1), sizes, title=title)
        _paint(series, i, line=False)
        chart.series.append(series)
    chart.title = "Test accuracy by number of parameters"
    _axes(chart, "Trainable parameters", "Test accuracy (top-1)")
    chart.x_axis.number_format = "#,##0"
    sheet.add_chart(chart, f"{get_column_letter(column)}{2}")


def search_charts(sheet: Any, searched: Searched | None, column: int) -> Cells:
    """Adds, to the right of the trials' table, how the search went; returns the importances, which have a chart."""
    if searched is None or not searched.trials:
        return Cells()
    rows, place = len(searched.trials), get_column_letter(column + 3)
    history = ScatterChart()
    history.style, history.height, history.width = 13, 9, 18
    trials = Reference(sheet, min_col=1, min_row=2, max_row=rows + 1)
    for i, (source, title) in enumerate(((3, "trial"), (4, "best so far"))):
        series = SeriesFactory(Reference(sheet, min_col=source, min_row=2, max_row=rows + 1), trials, title=title)
        _paint(series, i, line=source == 4)
        history.series.append(series)
    history.title = "The search, trial by trial"
    _axes(history, "Trial", searched.objective.capitalize())
    history.x_axis.number_format = "0"
    sheet.add_chart(history, f"{place}1")
    shares = list(searched.importances.items())
    if not shares:
        return {(1, column): cell_of(sheet, f"Which parameters mattered: {searched.why_not}")}
    head = [Column("Parameter"), Column("Importance", about="share of 1, by PED-ANOVA of the completed trials")]
    cells = {(1, column + j): cell for j, cell in enumerate(header_of(sheet, head))}
    for i, (name, share) in enumerate(shares, start=2):
        cells[i, column], cells[i, column + 1] = cell_of(sheet, name), cell_of(sheet, share, "0.00")
    chart = BarChart()
    chart.type, chart.height, chart.width = "bar", 7, 18  # cm
    chart.add_data(Reference(sheet, min_col=column + 1, min_row=1, max_row=len(shares) + 1), titles_from_data=True)
    chart.set_categories(Reference(sheet, min_col=column, min_row=2, max_row=len(shares) + 1))
    chart.title = "Which parameters mattered"
    _axes(chart, "", "Importance")
    sheet.add_chart(chart, f"{place}20")
    return cells


def _axes(chart: Any, x: str, y: str) -> None:
    chart.x_axis.title, chart.y_axis.title = x, y
    chart.x_axis.delete = chart.y_axis.delete = False  # openpyxl's default hides the axes from new Excels
    chart.y_axis.number_format = "0.00"
    chart.y_axis.majorGridlines.spPr = GraphicalProperties(ln=LineProperties(solidFill="DDDDDD"))
    chart.legend.position = "b"


def _paint(series: Any, i: int, line: bool) -> None:
    colour = COLOURS[i % len(COLOURS)].removeprefix("#")
    series.marker.symbol, series.marker.size = _SYMBOLS[i % len(_SYMBOLS)], 7
    series.marker.graphicalProperties = GraphicalProperties(solidFill=colour)
    series.graphicalProperties = GraphicalProperties(
        ln=LineProperties(solidFill=colour, w=22_000) if line else LineProperties(noFill=True)
    )
    series.smooth = False
