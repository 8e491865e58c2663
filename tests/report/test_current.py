"""report/current.py: derived files that are those of what lies there are not written again."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mnist_lightning import RunResult, load_results, write_report
from mnist_lightning.records.results import save
from mnist_lightning.report import write_tables
from mnist_lightning.report.__main__ import main
from mnist_lightning.report.current import derived_files, inputs_of, mark
from mnist_lightning.report.seal import SEAL


def recorded(root: Path, name: str) -> RunResult:
    result = RunResult("Adam", "mse", 0.1, status="completed", run_name=name, fingerprint=name * 16, accuracy_test=0.5)
    (root / name).mkdir(parents=True)
    save(result, root / name)
    return result


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "sweep"
    recorded(root, "a")
    inputs = inputs_of(root)
    write_tables(load_results(root), root)
    mark(root, inputs)
    return root


def names(root: Path) -> list[str]:
    return sorted(path.name for path in derived_files(root, inputs_of(root)))


def test_unchanged_they_are_current(root: Path) -> None:
    assert names(root) == ["results.csv", "results.xlsx"]
    assert names(root) == ["results.csv", "results.xlsx"], "looking changes nothing"


@pytest.mark.parametrize("name", ["results.csv", "results.xlsx"])
def test_a_derived_file_that_is_gone_or_changed_makes_them_stale(name: str, root: Path) -> None:
    content = (root / name).read_bytes()
    (root / name).write_bytes(content + b" ")
    assert names(root) == []
    (root / name).write_bytes(content)
    assert names(root) != []
    (root / name).unlink()
    assert names(root) == []


@pytest.mark.parametrize("name", ["a/result.json", "a/metrics.csv", "plan.json", "multirun.yaml", ".hydra/hydra.yaml"])
def test_whatever_a_report_reads_makes_them_stale_when_it_changes(name: str, root: Path) -> None:
    path = root / name
    path.parent.mkdir(exist_ok=True)
    if path.exists():
        os.utime(path, ns=(1, 1))
    else:
        path.write_text("new")
    assert names(root) == []


def test_a_new_record_or_another_report_makes_them_stale(root: Path) -> None:
    write_report(load_results(root)[:0], root)
    assert names(root) == [], "of some of the records"
    recorded(root, "b")
    assert names(root) == []


def test_what_is_noted_is_a_comment_to_sha256sum(root: Path) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum here")
    checked = subprocess.run(["sha256sum", "-c", "--strict", SEAL], cwd=root, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout) == (0, "results.csv: OK\nresults.xlsx: OK\n"), checked.stderr


def test_a_report_by_hand_is_current_too(root: Path) -> None:
    assert main([str(root)]) == 0
    assert "report.html" in names(root)
