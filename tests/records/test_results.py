"""The record: what is written comes back; the columns of the report come first."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest

from mnist_lightning.errors import OutputError, RefusedError
from mnist_lightning.records.durable import write_durably
from mnist_lightning.records.results import COLUMNS, RunResult, from_json, load, load_results, save, to_csv, to_json

REPORT = """optimizer loss_func learning_rate loss mse mae accuracy loss_test mse_test mae_test accuracy_test
    model_path best_epoch num_parameters""".split()  # noqa: SIM905 - to be read against the contract
CONTRACT = """num_channels num_conv num_dense binary_accuracy binary_accuracy_test status error dataset train_size
    test_size batch_size epochs seed precision engine group_size device duration_seconds samples_per_second fingerprint
    run_name""".split()  # noqa: SIM905 - to be read against the contract

RESULT = RunResult(
    optimizer="Adam",
    learning_rate=1e-3,
    accuracy_test=0.1 + 0.2,
    best_epoch=3,
    fingerprint="ab12",
    run_name="Adam_ab12",
)


def sealed(plain: dict[str, object]) -> str:
    """`plain` with the checksum that makes a record of it, whatever it says."""
    plain.pop("sha256", None)
    body = json.dumps({"schema": 1, **plain}, indent=2).removesuffix("\n}") + ',\n  "sha256": "'
    return f'{body}{hashlib.sha256(body.encode()).hexdigest()}"\n}}\n'


def same(a: RunResult, b: RunResult) -> bool:
    return repr(a) == repr(b)  # nan is not equal to itself


def test_the_reports_columns_come_first_in_its_order_and_then_ours() -> None:
    assert [c.name for c in COLUMNS][: len(REPORT) + len(CONTRACT)] == REPORT + CONTRACT


def test_every_column_says_what_it_is() -> None:
    assert all(column.metadata["about"] for column in COLUMNS)


@pytest.mark.parametrize("value", [0.1 + 0.2, 1e-300, -0.0, math.nan, math.inf, -math.inf, 5e-324])
def test_a_record_comes_back_with_every_digit_as_strict_json(value: float) -> None:
    text = to_json(replace(RESULT, loss=value, error='="cmd"\n\x1b[31m é'))
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert same(from_json(text), replace(RESULT, loss=value, error='="cmd"\n\x1b[31m é'))


def test_a_record_is_plain_json_of_one_layout_in_utf_8() -> None:
    text = to_json(replace(RESULT, error="Größe"))
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
    assert json.loads(text)["schema"] == 1


def test_a_record_of_the_first_version_is_read() -> None:
    stored = Path(__file__).parents[1] / "fixtures" / "v0_1_0" / "expected"
    assert {result.status for result in load_results(stored)} == {"completed"}


@pytest.mark.parametrize("schema", [0, 2, 1.5, "1", None])
def test_a_record_whose_columns_mean_something_else_is_refused(schema: object) -> None:
    with pytest.raises(ValueError, match=f"of another version, schema {schema!r}"):
        from_json(sealed({**json.loads(to_json(RESULT)), "schema": schema}))


@pytest.mark.parametrize(("size", "whole"), [(2**20, True), (2**20 + 1, False)])
def test_a_record_of_more_than_a_mebibyte_is_not_read(size: int, whole: bool, tmp_path: Path) -> None:
    path = save(RESULT, tmp_path)
    save(replace(RESULT, error="x" * (size - path.stat().st_size)), tmp_path)
    assert path.stat().st_size == size
    if whole:
        assert len(load(path).error) > 2**19
    else:
        with pytest.raises(RefusedError, match="too large"):
            load(path)


NO_RECORDS = [
    "{}",
    '{"fingerprint": 3}',
    '{"fingerprint": "a", "loss": "x"}',
    '{"fingerprint": "a", "best_epoch": 1.5}',
    '{"fingerprint": "a", "status": "nearly"}',
]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", *NO_RECORDS, *[sealed(json.loads(text)) for text in NO_RECORDS]]
)
def test_what_is_no_record_is_refused_with_the_files_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(RefusedError, match="result.json: no whole record"):
        load(tmp_path / "result.json")


def test_a_record_of_a_later_version_with_more_fields_is_read() -> None:
    plain = {**json.loads(to_json(RESULT)), "new_field": 1}
    assert same(from_json(sealed(plain)), RESULT)


def test_all_records_of_a_sweep_are_loaded_by_name_and_one_of_a_run(tmp_path: Path) -> None:
    for name in "cab":
        save(replace(RESULT, run_name=name), tmp_path / name)
    (tmp_path / "unfinished").mkdir()
    assert [r.run_name for r in load_results(tmp_path)] == ["a", "b", "c"]
    assert [r.run_name for r in load_results(tmp_path / "b")] == ["b"]


def test_a_damaged_record_among_a_sweeps_is_refused_by_name(tmp_path: Path) -> None:
    for name in "ab":
        save(replace(RESULT, run_name=name), tmp_path / name)
    (tmp_path / "b" / "result.json").write_text("{")
    with pytest.raises(RefusedError, match=r"b/result.json: no whole record \("):
        load_results(tmp_path)


def test_a_file_is_not_called_no_directory_at_all(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(FileNotFoundError, match="x: a file, not a directory"):
        load_results(tmp_path / "x")


def test_no_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such directory"):
        load_results(tmp_path / "nope")


def test_the_table_has_a_line_per_run_and_all_digits() -> None:
    lines = list(csv.DictReader(to_csv([RESULT, RESULT]).splitlines()))
    assert len(lines) == 2
    assert float(lines[0]["accuracy_test"]) == 0.1 + 0.2
    assert lines[0]["num_parameters"] == ""


def test_a_write_replaces_the_whole_file_and_leaves_no_other(tmp_path: Path) -> None:
    for content in (b"long content", b"short"):
        write_durably(tmp_path / "a" / "f", content)
    assert [(p.name, p.read_bytes()) for p in (tmp_path / "a").iterdir()] == [("f", b"short")]


def test_a_failed_write_keeps_the_old_file_and_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    write_durably(path, b"old")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"f: cannot be written \(No space left on device\)"):
        write_durably(path, b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("f", b"old")]


def test_a_path_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        save(RESULT, tmp_path / "plain" / "run")


def test_the_records_directory_is_synced_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(os, "replace", lambda a, b, real=os.replace: (calls.append("rename"), real(a, b)))
    monkeypatch.setattr(
        os, "fsync", lambda fd: calls.append("directory" if os.path.isdir(f"/proc/self/fd/{fd}") else "file")
    )
    write_durably(tmp_path / "f", b"x")
    assert calls == ["file", "rename", "directory"]


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_text_that_a_spreadsheet_would_compute_is_quoted_in_the_csv_and_numbers_are_not(text: str) -> None:
    row = next(csv.DictReader(io.StringIO(to_csv([replace(RESULT, error=text, loss=-0.5, mse=-math.inf)]), newline="")))
    assert row["error"] == f"'{text}"
    assert (row["loss"], row["mse"]) == ("-0.5", "-inf")


@pytest.mark.parametrize(("text", "cell"), [("a=-1 +@", "a=-1 +@"), ("\r=1", "\\r=1"), ("a\r\nb", "a\\r\nb")])
def test_other_text_is_one_cell_as_it_was_and_a_carriage_return_ends_no_row(text: str, cell: str) -> None:
    (row,) = csv.DictReader(io.StringIO(to_csv([replace(RESULT, error=text)]), newline=""))
    assert row["error"] == cell


def test_a_temporary_file_of_somebody_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda n: "0" * n)
    other = tmp_path / f".result.json.{os.getpid()}.0000.tmp"
    other.write_text("not ours")
    with pytest.raises(OutputError, match=r"result.json: cannot be written \(File exists\)"):
        save(RESULT, tmp_path)
    assert other.read_text() == "not ours"
