"""What version 0.1.0 has left on disks goes on working: it is resumed, reported and loaded as before.

`fixtures/v0_1_0/` was made by commit 09e7c51 on the 96 + 48 images beside it: `sweep`, killed by SIGKILL after the
second of three epochs of its last run, then reported; `fused`, killed likewise; `run`, a finished single run; and
`expected`, the records of the same four runs left undisturbed.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from mnist_lightning import MNISTClassifier, RunResult, load_results

STORED = Path(__file__).parents[1] / "fixtures" / "v0_1_0"
GRID = ["-m", "optimizer=adam,rmsprop", "lr=0.1,0.001"]
ARGUMENTS = ["model.num_channels=2", "model.num_conv=1", "model.num_dense=0", "trainer.max_epochs=3"]
ARGUMENTS += ["data.root=data", "trainer.accelerator=cpu", "trainer.precision=32-true"]


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    shutil.copytree(STORED, tmp_path, dirs_exist_ok=True)
    return tmp_path


def metrics(result: RunResult) -> dict[str, Any]:
    names = ("loss", "mse", "mae", "accuracy", "binary_accuracy")
    return {n: getattr(result, n) for name in names for n in (name, f"{name}_test")}


@pytest.mark.parametrize(("directory", "launcher", "done"), [("sweep", "basic", 3), ("fused", "fused", 0)])
def test_an_interrupted_sweep_goes_on_to_the_records_of_an_undisturbed_one(
    directory: str, launcher: str, done: int, stored: Path, run: Callable[..., Any]
) -> None:
    before = {p: p.read_bytes() for p in (stored / directory).glob("*/result.json")}
    outcome = run(*GRID, *ARGUMENTS, f"hydra.sweep.dir={directory}", f"hydra/launcher={launcher}")
    assert (outcome.code, outcome.err) == (0, "")
    assert (f"resuming: {done} of 4 done" in outcome.out) == (done > 0)
    assert {p: p.read_bytes() for p in before} == before
    for ours, expected in zip(load_results(directory), load_results("expected"), strict=True):
        assert (ours.run_name, ours.fingerprint, ours.status) == (expected.run_name, expected.fingerprint, "completed")
        assert (ours.epochs, ours.best_epoch, ours.data_sha256) == (3, expected.best_epoch, expected.data_sha256)
        assert metrics(ours) == pytest.approx(metrics(expected), rel=1e-4)
    rows = [len(p.read_text().splitlines()) for p in Path(directory).glob("*/metrics.csv")]
    assert rows == [4] * 4  # the epochs before the kill are kept
    assert not list(Path(directory).glob("results.bak*"))  # its workbook is ours, also after the version changed


def test_its_records_give_the_same_table(stored: Path, run: Callable[..., Any]) -> None:
    from mnist_lightning import write_report

    before, sheet = Path("sweep/results.csv").read_bytes(), pd.read_excel("sweep/results.xlsx")
    write_report(load_results("sweep"), "sweep")
    after, new_sheet = Path("sweep/results.csv").read_bytes(), pd.read_excel("sweep/results.xlsx")
    old, new = (list(csv.reader(text.decode().splitlines())) for text in (before, after))
    assert [row[: len(old[0])] for row in new] == old  # a later version may have more columns, behind these
    assert after == before or len(new[0]) > len(old[0])
    pd.testing.assert_frame_equal(new_sheet.iloc[:, : sheet.shape[1]], sheet)


def test_its_checkpoints_load(stored: Path) -> None:
    for path in sorted(stored.glob("run/checkpoints/*.ckpt")):
        module = MNISTClassifier.load_from_checkpoint(path, weights_only=True)
        assert module(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_a_run_goes_on_from_its_checkpoint(stored: Path, run: Callable[..., Any]) -> None:
    more = ["optimizer=sgd", "lr=0.01", "trainer.max_epochs=4", "ckpt_path=run/checkpoints/last.ckpt"]
    outcome = run(*ARGUMENTS, *more, "hydra.run.dir=longer")
    assert (outcome.code, outcome.err) == (0, "")
    assert load_results("longer")[0].epochs == 4


def test_another_grid_in_its_directory_is_refused_by_its_plan(stored: Path, run: Callable[..., Any]) -> None:
    outcome = run("-m", "optimizer=adam", "lr=0.1,0.001", *ARGUMENTS, "hydra.sweep.dir=sweep")
    assert outcome.code == 2
    assert "hydra.sweep.dir=sweep: holds another sweep (" in outcome.err
