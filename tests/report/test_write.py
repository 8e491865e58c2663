"""A report is a function of what is stored: same bytes twice, no clock, no torch, and nobody's work is overwritten."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from mnist_lightning.errors import EXIT_OUTPUT, OutputError
from mnist_lightning.records import results as records
from mnist_lightning.records.predictions import PREDICTIONS
from mnist_lightning.records.results import load_results
from mnist_lightning.report import figures, write_report, write_tables
from mnist_lightning.report.__main__ import main
from mnist_lightning.report.figures import Figures
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.seal import SEAL
from mnist_lightning.report.stored import Stored
from mnist_lightning.report.style import Picture
from report_cases import failed, many, quickstart, record, reported, store

ALL = {
    "accuracy_by_learning_rate", "heat_map", "learning_curves", "confusion_matrix", "misclassified",
    "time_and_accuracy", "training_images",
}  # fmt: skip


def digests(directory: Path) -> dict[str, str]:
    files = [p for p in directory.rglob("*") if p.is_file() and p.name != SEAL]  # which knows their times
    return {str(p.relative_to(directory)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture
def small_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three pictures in place of all, which take seconds to draw, and none of a single run."""

    def draw(ranking: Ranking, stored: Stored) -> Figures:
        names = ("heat_map", "misclassified", "learning_curves") if len(ranking.frame) > 1 else ()
        svg = f"<svg>{len(ranking.frame)} runs</svg>".encode()
        return Figures([Picture(name, name, "", b"png " + svg, svg) for name in names], {})

    monkeypatch.setattr(figures, "draw_figures", draw)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With its report. Read only."""
    return reported(tmp_path_factory.getbasetemp())


def test_a_report_is_two_tables_a_page_and_each_figure_twice(sweep: Path) -> None:
    assert {"results.csv", "results.xlsx", "report.html"} <= {p.name for p in sweep.iterdir()}
    assert {p.name for p in (sweep / "figures").iterdir()} == {f"{n}.{kind}" for n in ALL for kind in ("png", "svg")}


def test_another_process_at_another_time_gives_the_same_bytes_without_torch_hydra_or_pyplot(
    sweep: Path, tmp_path: Path
) -> None:
    store(quickstart(), tmp_path)
    code = f"""import sys
from mnist_lightning.report.__main__ import main
assert not set(sys.modules) & {{"pandas", "openpyxl", "matplotlib"}}, "heavy imports before they are needed"
assert main([{str(tmp_path)!r}]) == 0
print(sorted(set(sys.modules) & {{"torch", "lightning", "hydra", "matplotlib.pyplot", "torchvision"}}))"""
    command = [sys.executable, "-W", "error", "-c", code]
    environment = os.environ | {"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "[]"
    assert digests(tmp_path) == digests(sweep)


def test_the_report_of_a_single_run_lies_beside_its_record(tmp_path: Path) -> None:
    run = record()
    store([run], tmp_path)
    paths = write_report([run], tmp_path / run.run_name)
    assert {"learning_curves.png", "misclassified.png", "results.xlsx"} <= {p.name for p in paths}
    assert f'href="{run.run_name}/"' not in (tmp_path / run.run_name / "report.html").read_text()


def test_a_sweep_of_an_earlier_version_shows_less_and_says_so(tmp_path: Path) -> None:
    for path in store(quickstart()[:3], tmp_path).rglob(PREDICTIONS):
        path.unlink()
    names = {p.stem for p in write_report(load_results(tmp_path), tmp_path)}
    assert {"learning_curves", "heat_map"} <= names
    assert not {"confusion_matrix", "misclassified", "training_images"} & names
    assert "no predictions.npz" in (tmp_path / "report.html").read_text()


def test_damaged_predictions_are_left_out_and_named(tmp_path: Path) -> None:
    for path in store(quickstart()[:2], tmp_path).rglob(PREDICTIONS):
        path.write_bytes(b"PK nonsense")
    write_report(load_results(tmp_path), tmp_path)
    assert "not whole predictions" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("results", [[], [record()], [failed(), failed(seed=1)]], ids=["none", "one", "only failures"])
def test_a_report_needs_no_run_that_went_well(results: list[records.RunResult], tmp_path: Path) -> None:
    assert {p.name for p in write_report(results, tmp_path)} == {"results.csv", "report.html", "results.xlsx"}


@pytest.mark.usefixtures("small_figures")
def test_figures_that_no_longer_apply_are_removed_and_somebodys_are_not(tmp_path: Path) -> None:
    store(quickstart(), tmp_path)
    write_report(load_results(tmp_path), tmp_path)
    assert (tmp_path / "figures/heat_map.png").exists()
    for name in ("mine.png", "misclassified.png"):
        (tmp_path / "figures" / name).write_bytes(b"mine")
    write_report([record(run_name="elsewhere")], tmp_path)
    left = {p.name: p.read_bytes() for p in (tmp_path / "figures").iterdir()}
    assert left == {"mine.png": b"mine", "misclassified.png": b"mine"}


DERIVED = ("results.csv", "results.xlsx", "report.html", "figures/learning_curves.png", "figures/learning_curves.svg")


def kept(directory: Path) -> dict[str, bytes]:
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*.bak*")}


def aside(name: str, number: str = "") -> str:
    return f".bak{number}.".join(name.split("."))


@pytest.mark.usefixtures("small_figures")
def test_files_of_the_users_under_our_names_are_kept_and_so_is_what_is_changed_later(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    for name in DERIVED:
        (tmp_path / name).write_text("mine")
    results = quickstart()
    store(results, tmp_path)
    paths = write_report(results, tmp_path)
    mine = {aside(name): b"mine" for name in DERIVED}
    assert kept(tmp_path) == mine
    assert {tmp_path / name for name in mine} <= set(paths)
    for name in DERIVED:
        (tmp_path / name).write_text("edited")
    write_report(results, tmp_path)
    write_report(results[:-1], tmp_path)
    assert kept(tmp_path) == mine | {aside(name, "2"): b"edited" for name in DERIVED}


@pytest.mark.usefixtures("small_figures")
def test_a_report_of_the_first_version_is_replaced_without_a_copy_unless_its_workbook_was_changed(
    tmp_path: Path,
) -> None:
    store(quickstart(), tmp_path)
    (tmp_path / "figures").mkdir()
    for name in DERIVED:
        (tmp_path / name).write_text("as 0.1.0 wrote it")
    workbook = hashlib.sha256(b"as 0.1.0 wrote it").hexdigest()
    (tmp_path / ".results.xlsx.sha256").write_text(workbook)
    write_report(quickstart(), tmp_path)
    assert kept(tmp_path) == {}
    assert not (tmp_path / ".results.xlsx.sha256").exists()
    (tmp_path / ".report.sha256").unlink()
    (tmp_path / ".results.xlsx.sha256").write_text(workbook)
    write_report(quickstart()[:-1], tmp_path)
    assert set(kept(tmp_path)) == {"results.bak.xlsx"}


@pytest.mark.usefixtures("small_figures")
def test_a_copy_without_its_seal_is_rebuilt_to_the_same_bytes_and_nothing_is_kept(tmp_path: Path) -> None:
    store(quickstart(), tmp_path)
    write_report(quickstart(), tmp_path)
    before = digests(tmp_path)
    (tmp_path / ".report.sha256").unlink()
    write_report(quickstart(), tmp_path)
    assert digests(tmp_path) == before


@pytest.mark.usefixtures("small_figures")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        (".report.sha256", r"\.report\.sha256: cannot be read \(Input/output error\); move it away"),
        (".results.xlsx.sha256", r"\.results\.xlsx\.sha256: cannot be read \(Input/output error\); move it away"),
        ("results.csv", r"results\.csv: changed, but cannot be put aside \(Input/output error\); move it away"),
    ],
)
def test_what_cannot_be_looked_at_is_named_and_nothing_is_written(
    name: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (name, "results.csv", "results.xlsx"):
        (tmp_path / path).write_text("mine")
    read_bytes, read_text = Path.read_bytes, Path.read_text

    def failing(read: Callable[..., Any]) -> Callable[..., Any]:
        def fails(path: Path, *arguments: Any, **more: Any) -> Any:
            if path.name == name:
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
            return read(path, *arguments, **more)

        return fails

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", failing(read_bytes))
        patch.setattr(Path, "read_text", failing(read_text))
        with pytest.raises(OutputError, match=told):
            write_tables([record()], tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        (name, "results.csv", "results.xlsx"), "mine"
    )


def test_a_workbook_that_somebody_changed_is_kept(tmp_path: Path) -> None:
    write_report([record()], tmp_path)
    book = openpyxl.load_workbook(tmp_path / "results.xlsx")
    book["Results"]["A2"] = "my note"
    book.save(tmp_path / "results.xlsx")
    write_report([record()], tmp_path)
    write_report([record()], tmp_path)
    assert openpyxl.load_workbook(tmp_path / "results.bak.xlsx")["Results"]["A2"].value == "my note"
    assert openpyxl.load_workbook(tmp_path / "results.xlsx")["Results"]["A2"].value == "Adam"
    assert not (tmp_path / "results.bak2.xlsx").exists()


@pytest.mark.usefixtures("small_figures")
def test_a_workbook_open_elsewhere_is_left_and_a_second_one_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def locked(source: str, target: str) -> None:
        if Path(target).name == "results.xlsx":
            raise PermissionError(13, "in use")
        replace(source, target)

    monkeypatch.setattr(os, "replace", locked)
    assert write_report([record()], tmp_path)[-1].name == "results-2.xlsx"


@pytest.mark.usefixtures("small_figures")
def test_a_directory_in_the_reports_place_is_one_line_with_the_exit_code_for_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records.save(record(), tmp_path / record().run_name)
    (tmp_path / "results.xlsx").mkdir()
    assert main([str(tmp_path)]) == EXIT_OUTPUT
    assert len(capsys.readouterr().err.splitlines()) == 1
    with pytest.raises(OutputError, match=r"results\.xlsx"):
        write_report([record()], tmp_path)


@pytest.mark.usefixtures("small_figures")
@pytest.mark.parametrize("last", ["results.csv", "heat_map.png", "report.html", "results.xlsx"])
def test_killed_after_any_file_nothing_of_ours_counts_as_somebodys(
    last: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mnist_lightning.report import write

    class Killed(BaseException):
        pass

    def killed_after(path: Path, content: bytes) -> None:
        records.write_durably(path, content)
        if path.name == last:
            raise Killed

    store(quickstart(), tmp_path)
    write_report(quickstart(), tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(write, "write_durably", killed_after)
        with pytest.raises(Killed):
            write_report(quickstart()[:-2], tmp_path)
    write_report(quickstart()[:-1], tmp_path)
    assert kept(tmp_path) == {}


def test_ten_thousand_records_take_less_than_thirty_seconds_and_the_page_with_its_charts_below_5_5_mb(
    tmp_path: Path,
) -> None:
    started = time.process_time()
    write_report(many(10_000), tmp_path)
    assert time.process_time() - started < 30
    assert (tmp_path / "report.html").stat().st_size < 5_500_000
    assert all(p.stat().st_size < 600_000 for p in (tmp_path / "figures").iterdir())


def test_no_figure_is_written_through_a_link_of_the_users(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "figures").symlink_to(tmp_path / "theirs")
    with pytest.raises(OutputError, match="figures: a link, and figures would be written through it; move it away"):
        write_report([records.RunResult(run_name="a")], tmp_path / "sweep")
    assert not list((tmp_path / "theirs").iterdir())
