"""Where a run's files are looked for, and its learning curve: read as far as it is one, and never in the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mnist_lightning.records.results import RECORD, save, to_json
from mnist_lightning.report.curves import place_of, read_curve, run_directory, small_text
from report_cases import record

LIMIT = 4 * 2**20


def test_a_runs_place_is_where_its_record_was_found_or_its_name_if_that_is_one_of_ours() -> None:
    run, odd = record(), record(run_name="../elsewhere")
    assert [place_of(run), place_of(odd)] == [run.run_name, ""]
    places = {to_json(run): "mine", to_json(odd): "odd"}
    assert [place_of(run, places), place_of(odd, places)] == ["mine", "odd"]
    assert place_of(replace(run, seed=5), places) == run.run_name


def test_a_run_alone_has_its_files_beside_its_record_and_one_of_a_sweep_in_its_place(tmp_path: Path) -> None:
    assert (run_directory(tmp_path, "r1"), run_directory(tmp_path, "")) == (tmp_path / "r1", None)
    save(record(), tmp_path)
    assert run_directory(tmp_path, "r1") == run_directory(tmp_path, "") == tmp_path


def curve(directory: Path, text: str) -> dict[str, str]:
    """What is read of such a metrics.csv, as text, in which NaN is equal to itself."""
    (directory / "r1").mkdir(exist_ok=True)
    (directory / "r1" / "metrics.csv").write_text(text)
    return {name: str(values) for name, values in read_curve(directory, "r1").items()}


def test_a_curve_has_a_number_for_every_epoch_and_nan_where_none_is_told(tmp_path: Path) -> None:
    text = "epoch,train_loss,val_loss\n1,0.5,\n2,odd,1e-3\n3,0.25\n4,inf,0.5,0.75\n"
    told = {
        "epoch": "[1.0, 2.0, 3.0, 4.0]",
        "train_loss": "[0.5, nan, 0.25, inf]",
        "val_loss": "[nan, 0.001, nan, 0.5]",
    }
    assert curve(tmp_path, text) == told


@pytest.mark.parametrize("text", ["", "\n", "epoch,train_loss\n", "train_loss\n0.5\n", "\0\1", ",\n1,2\n"])
def test_what_has_no_epochs_is_no_curve(text: str, tmp_path: Path) -> None:
    assert curve(tmp_path, text) == {}


def test_where_there_is_no_file_there_is_no_curve_and_nothing_to_complain_of(tmp_path: Path) -> None:
    problems: list[str] = []
    (tmp_path / "plain").touch()
    assert [read_curve(tmp_path, place, problems) for place in ("", "r1", "plain")] == [{}, {}, {}]
    assert problems == []


def test_of_a_curve_without_an_end_the_first_ten_thousand_epochs_are_read(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("epoch\n" + "".join(f"{i}\n" for i in range(1, 10_003)))
    (tmp_path / RECORD).touch()
    assert read_curve(tmp_path, "")["epoch"] == [float(i) for i in range(1, 10_001)]


@pytest.mark.parametrize(("size", "why"), [(LIMIT, ""), (LIMIT + 1, "4,194,305 bytes, too large")])
def test_a_text_of_more_than_four_mebibytes_is_left_out_and_said(size: int, why: str, tmp_path: Path) -> None:
    (tmp_path / "r1").mkdir()
    path = tmp_path / "r1" / "metrics.csv"
    path.write_bytes(b"x" * (size - 1) + b"\xff")
    problems: list[str] = []
    text = small_text(tmp_path, path, problems)
    assert text == small_text(tmp_path, path)
    assert text == ("" if why else "x" * (size - 1) + "\ufffd")
    assert problems == ([f"r1/metrics.csv: {why}; delete it, the report works without"] if why else [])


def test_what_the_system_cannot_read_is_named_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, most: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("mnist_lightning.report.curves.read_regular", fail)
    problems: list[str] = []
    assert read_curve(tmp_path, "r1", problems) == {}
    assert problems == ["r1/metrics.csv: Input/output error; delete it, the report works without"]
