"""The workbook: the records exactly, numbers as numbers, no formula, links, charts, and the contract's sheets."""

from __future__ import annotations

import io
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest

from mnist_lightning.records.results import COLUMNS, RunResult
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.stored import Stored, read_stored
from mnist_lightning.report.workbook import workbook_bytes
from report_cases import HOSTILE, failed, full_grid, judged, quickstart, record, store

SHEETS = ["Results", "Best", "Optimizer x lr", "Network size", "Versus report", "Seeds", "Failures", "About"]
NUMBERS = [c.name for c in COLUMNS if c.type in ("float", "int | None")]


def opened(results: list[RunResult]) -> openpyxl.Workbook:
    return openpyxl.load_workbook(io.BytesIO(workbook_bytes(Ranking(judged(results)), Stored())))


def column(sheet: Any, name: str) -> list[Any]:
    cells = list(sheet.iter_cols())
    return next(list(c[1:]) for c in cells if c[0].value == name)


@pytest.mark.parametrize("results", [[], [record()], [failed(), failed(seed=1)], quickstart(), full_grid(3)], ids=len)
def test_the_workbook_has_the_contracts_sheets_whatever_was_run(results: list[RunResult]) -> None:
    book = opened(results)
    assert book.sheetnames[: len(SHEETS)] == SHEETS
    assert book.sheetnames[len(SHEETS) :] == ["Findings"] * (len(results) > 216)
    assert [c.value for c in book["Results"][1]] == [c.name for c in COLUMNS]
    assert book["Results"].max_row == len(results) + 1


def test_pandas_reads_the_records_back_exactly() -> None:
    odd = replace(
        record(seed=9), loss=math.inf, mse=-math.inf, mae=math.nan, accuracy=0.1 + 0.2, loss_test=5e-324, error="NA"
    )
    results = [*quickstart(), odd, failed(seed=11)]
    content = workbook_bytes(Ranking(judged(results)), Stored())
    frame = pd.read_excel(io.BytesIO(content), keep_default_na=False, na_values={name: ["nan", ""] for name in NUMBERS})
    for result, row in zip(results, frame.to_dict("records"), strict=True):
        for name, value in asdict(result).items():
            got = row[name]
            same = got == value or (pd.isna(got) and (value is None or value != value))
            assert same, (name, value, got)


def test_every_number_is_a_number_cell_with_the_records_format() -> None:
    sheet = opened(full_grid())["Results"]
    for c in COLUMNS:
        if c.name in NUMBERS:
            cells = column(sheet, c.name)
            assert all(cell.data_type == "n" for cell in cells), c.name
            assert {cell.number_format for cell in cells} == {c.metadata["number_format"]}


def test_no_cell_is_a_formula_and_every_hostile_text_is_kept_as_text() -> None:
    results = [replace(record(seed=i), optimizer=text, error=text, run_name=text) for i, text in enumerate(HOSTILE)]
    results += [replace(r, status="failed") for r in results]
    book = opened(results)
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert not [cell.coordinate for cell in cells if cell.data_type == "f"]
    kept = {cell.value for cell in column(book["Results"], "error")}
    assert {'=cmd|" /C calc"!A0', "@SUM(1)", "<script>alert(1)</script>", "x" * 32_767} <= kept
    quoted = [c for c in column(book["Results"], "error") if c.value == "@SUM(1)"]
    assert quoted
    assert all(c.quotePrefix for c in quoted)
    assert not [cell.hyperlink for cell in cells if cell.hyperlink]


def test_an_integer_that_excel_would_round_is_kept_as_text() -> None:
    sheet = opened([record(seed=0), replace(record(), seed=2**53 + 1)])["Results"]
    assert [c.value for c in column(sheet, "seed")] == [0, str(2**53 + 1)]


def test_each_run_links_to_its_directory_and_the_best_is_marked() -> None:
    results = sorted(quickstart(), key=lambda r: r.run_name)
    sheet = opened(results)["Results"]
    names = column(sheet, "run_name")
    assert all(c.hyperlink and c.hyperlink.target == f"{c.value}/" for c in names)
    best = Ranking(judged(results)).best
    assert best is not None
    assert [c.value for c in names if c.font.b] == [best.run_name]


def test_failed_diverged_and_collapsed_rows_have_colours_of_their_own() -> None:
    runs = [
        record(seed=0),
        record("RMSprop", accuracy=0.8, seed=1),
        record("SGD", accuracy=0.1, seed=2),
        replace(record("SGD", seed=3), status="diverged"),
        failed(optimizer="SGD", seed=4),
    ]
    cells = column(opened(runs)["Results"], "optimizer")
    assert len({c.fill.fgColor.rgb for c in cells}) == 5


def test_header_is_frozen_filtered_and_explained() -> None:
    sheet = opened(quickstart())["Results"]
    assert sheet.freeze_panes == "D2"
    assert sheet.auto_filter.ref == sheet.dimensions
    assert all(cell.comment for cell in sheet[1])


def test_charts_are_native_for_optimizers_and_for_sizes() -> None:
    book: Any = opened(full_grid())
    assert len(book["Optimizer x lr"]._charts) == 2  # one per loss
    assert len(book["Network size"]._charts) == 1


def test_the_curves_of_the_best_runs_are_native_charts_of_their_own_numbers(tmp_path: Path) -> None:
    results = quickstart()
    ranking = Ranking(judged(results))
    stored = read_stored(ranking, store(results, tmp_path))
    sheet: Any = openpyxl.load_workbook(io.BytesIO(workbook_bytes(ranking, stored)))["Curves"]
    best = ranking.best
    assert sheet["B1"].value == f"1. {best.optimizer} {best.loss_func} {best.learning_rate:g}"
    assert [cell.value for cell in sheet["A"][:5]] == ["Epoch", 1, 2, 3, 4]
    assert [cell.value for cell in sheet["B"][1:5]] == pytest.approx([0.9 - 0.4 / e for e in range(1, 5)])
    titles = ["Validation accuracy (top-1)", "Validation mean squared error"]
    assert [chart.y_axis.title.tx.rich.p[0].r[0].t for chart in sheet._charts] == titles
    assert [len(chart.series) for chart in sheet._charts] == [8, 8]
    second = sheet._charts[1].series[0].val.numRef.f
    assert [row[0].value for row in sheet[second.split("!")[1].replace("$", "")]] == pytest.approx(
        [0.12 / e for e in range(1, 5)]
    )


def test_checksums_are_there_but_hidden() -> None:
    sheet = opened([record()])["Results"]
    hidden = {name for name in (c.name for c in COLUMNS) if _is_hidden(sheet, name)}
    assert hidden == {"fingerprint", "data_sha256", "checkpoint_sha256", "best_checkpoint_sha256"}
    assert column(sheet, "fingerprint")[0].value


def _is_hidden(sheet: Any, name: str) -> bool:
    at = next(cell.column for cell in sheet[1] if cell.value == name)
    return any(d.hidden and d.min <= at <= d.max for d in sheet.column_dimensions.values())


def test_rates_are_written_as_people_write_them_and_texts_do_not_touch_numbers() -> None:
    sheet = opened(quickstart())["Results"]
    assert {cell.number_format for cell in column(sheet, "learning_rate")} == {"General"}
    assert {cell.number_format for cell in column(sheet, "optimizer")} == {"_W@"}, "a gap before the text"


def test_the_same_records_give_the_same_bytes() -> None:
    assert workbook_bytes(Ranking(judged(quickstart())), Stored()) == workbook_bytes(
        Ranking(judged(quickstart())), Stored()
    )
