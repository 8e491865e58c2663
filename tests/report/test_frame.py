"""The frame: the records exactly, one dtype a column, nothing lost from hostile texts and large numbers."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest

import mnist_lightning
from mnist_lightning import load_frame
from mnist_lightning.errors import RefusedError
from mnist_lightning.records.results import COLUMNS, RECORD, RunResult
from mnist_lightning.report.frame import distinct, frame_of, plain_rows, runs, texts
from report_cases import HOSTILE, failed, judged, quickstart, record, store

DTYPES = {"float": "float64", "int | None": "Int64"}
DERIVED = {
    "architecture": "object",
    "setting": "object",
    "further": "object",
    "planned": "Int64",
    "finished": "bool",
    "verdict": "object",
    "collapsed": "bool",
    "why": "object",
    "place_on_disk": "object",
}
WRITABLE = [text for text in HOSTILE if "\ud800" not in text]


@pytest.mark.parametrize("results", [[], [record()], [failed(), record(seed=1)], quickstart()], ids=len)
def test_columns_are_the_records_then_the_derived_ones_each_of_its_dtype(results: list[RunResult]) -> None:
    dtypes = {c.name: DTYPES.get(str(c.type), "object") for c in COLUMNS} | DERIVED
    assert {name: str(dtype) for name, dtype in frame_of(results).dtypes.items()} == dtypes
    assert list(frame_of(results)) == list(dtypes)


def test_a_row_holds_the_records_values_exactly_as_python_has_them() -> None:
    odd = replace(record(), loss=math.inf, mse=-math.inf, mae=5e-324, accuracy=0.1 + 0.2, seed=None, epochs=2**53 + 1)
    results = [odd, failed(seed=2**63 - 1), *(replace(record(), optimizer=text, error=text) for text in WRITABLE)]
    for result, run in zip(results, runs(frame_of(results)), strict=True):
        row = {name: getattr(run, name) for name in asdict(result)}
        assert repr(row) == repr(asdict(result))


def test_half_a_surrogate_pair_which_no_file_can_hold_is_escaped() -> None:
    assert frame_of([record(optimizer="\ud800")])["optimizer"].tolist() == ["\\ud800"]


def test_a_number_of_more_than_64_bits_is_kept() -> None:
    frame = frame_of([record(seed=10**30), replace(record(), seed=None)])
    assert [run.seed for run in runs(frame)] == [10**30, None]


def test_finished_collapsed_and_verdict_are_judged_once_in_the_frame() -> None:
    diverged = replace(record(seed=3), status="diverged", accuracy_test=0.1)
    results = [record(), record(accuracy=0.1, seed=1), record(accuracy=math.nan, seed=2), diverged, failed(seed=4)]
    frame = judged(results)
    assert frame["finished"].tolist() == [True, True, False, False, False]
    assert frame["collapsed"].tolist() == [False, True, False, False, False]
    assert frame["verdict"].tolist() == ["learned", "collapsed", "no accuracy", "diverged", "failed"]
    assert frame["setting"].tolist() == ["Adam mse 0.001 32/2/1"] * 5


def test_load_frame_reads_a_sweep_or_a_run_ordered_by_name(tmp_path: Path) -> None:
    store(quickstart()[::-1], tmp_path)
    frame = mnist_lightning.load_frame(tmp_path)
    pd.testing.assert_frame_equal(frame, frame_of(sorted(quickstart(), key=lambda r: r.run_name), tmp_path))
    assert load_frame(tmp_path / frame["run_name"].iloc[3])["run_name"].tolist() == [frame["run_name"].iloc[3]]


def test_of_the_verdicts_collapsed_is_told_as_such(tmp_path: Path) -> None:
    results = [failed(seed=1), record(), record("SGD", accuracy=0.1), replace(record(seed=2), accuracy_test=math.nan)]
    frame = frame_of(results, store(results, tmp_path))
    assert frame["verdict"].tolist() == ["failed", "learned", "collapsed", "no accuracy"]
    assert frame["collapsed"].tolist() == [False, False, True, False]


def test_a_record_in_memory_with_a_word_of_its_own_is_neither_finished_nor_collapsed() -> None:
    frame = frame_of([replace(record(), status="aborted"), replace(record(), status="zapped")])
    assert frame["finished"].tolist() == frame["collapsed"].tolist() == [False, False]


def test_load_frame_refuses_a_damaged_record_and_a_missing_directory(tmp_path: Path) -> None:
    store([record()], tmp_path)
    with pytest.raises(FileNotFoundError, match="no such directory"):
        load_frame(tmp_path / "nowhere")
    (tmp_path / record().run_name / RECORD).write_text("{}")
    with pytest.raises(RefusedError, match="no whole record"):
        load_frame(tmp_path)


def test_a_frame_needs_no_torch_and_the_package_no_pandas_before_it() -> None:
    code = """import sys, mnist_lightning.report
assert "pandas" not in sys.modules
from mnist_lightning import load_frame
print(sorted(set(sys.modules) & {"torch", "lightning", "hydra", "matplotlib", "openpyxl"}))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_values_are_told_as_a_reader_sees_them_and_counted_together() -> None:
    frame = frame_of([record(lr=0.001), record("SGD", lr=0.1), replace(record(lr=0.1), epochs=None)])
    assert texts(frame["learning_rate"]) == ["0.001", "0.1", "0.1"]
    assert texts(frame["epochs"]) == [str(record().epochs)] * 2 + ["None"]
    assert texts(frame["optimizer"]) == ["Adam", "SGD", "Adam"]
    assert [distinct(frame, columns) for columns in (["optimizer"], ["optimizer", "learning_rate"])] == [2, 3]
    assert plain_rows(frame, ["optimizer", "epochs"])[1:] == [["SGD", record().epochs], ["Adam", None]]
