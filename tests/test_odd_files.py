"""A pipe in the place of any file that we read is refused, or left out and said: no command waits for it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mnist_lightning.data.image_files import read_picture
from mnist_lightning.errors import DataError
from mnist_lightning.records.plan import PLAN
from mnist_lightning.records.predictions import PREDICTIONS
from mnist_lightning.records.results import RECORD, load_results
from mnist_lightning.report.__main__ import main as rebuild
from mnist_lightning.sweep.attempts import ATTEMPTS

pytestmark = pytest.mark.usefixtures("no_waiting")
Run = Callable[..., tuple[int, str, str]]


def pipe(path: Path) -> None:
    """Puts a pipe that nobody writes to in the place of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def an_image_file(root: Path) -> Path:
    return root / "MNIST" / "raw" / "t10k-images-idx3-ubyte"


@pytest.mark.parametrize("flag", [[], ["-m"]], ids=["a run", "a sweep"])
def test_in_the_place_of_a_data_file(flag: list[str], run: Run, tiny_arguments: list[str], mini_mnist: Path) -> None:
    shutil.copytree(mini_mnist, "own")
    pipe(an_image_file(Path("own")))
    code, out, err = run(*flag, *tiny_arguments, "data.root=own")
    assert (code, out) == (4, "")
    assert re.fullmatch(
        r"mnist-lightning: error: \S+/own/\S+: cannot be read \(not a regular file\); check the path.*\n", err
    )


def test_in_the_place_of_what_is_stored_of_a_sweep(run: Run, tiny_arguments: list[str]) -> None:
    """A plan is refused; a record is put aside, its run done again; the count of attempts begins anew."""
    grid = ["-m", *tiny_arguments, "hydra.sweep.dir=here", "seed=0,1"]
    assert run(*grid)[0] == 0
    first, second = (record.parent for record in sorted(Path("here").glob(f"*/{RECORD}")))
    pipe(first / RECORD)
    pipe(first / ATTEMPTS)
    (second / RECORD).unlink()
    pipe(second / ATTEMPTS)
    code, out, err = run(*grid)
    assert (code, err) == (0, "")
    assert f"{first}/{RECORD}: no whole record (not a" in out
    assert [r.status for r in load_results("here")] == ["completed"] * 2
    pipe(Path("here") / PLAN)
    code, _, err = run(*grid)
    assert code == 6
    assert err == f"mnist-lightning: error: here/{PLAN}: no plan of a sweep (not a file); move it away and run again\n"


def test_in_the_place_of_what_hydra_writes(run: Run, tiny_arguments: list[str]) -> None:
    pipe(Path("here/multirun.yaml"))
    code, out, err = run("-m", *tiny_arguments, "hydra.sweep.dir=here")
    assert (code, out) == (5, "")
    way_out = "delete it, or choose another directory"
    assert err == f"mnist-lightning: error: here/multirun.yaml: not a regular file; {way_out}\n"


def test_in_the_place_of_a_lock(run: Run, tiny_arguments: list[str]) -> None:
    pipe(Path("here/.lock"))
    code, out, err = run("-m", *tiny_arguments, "hydra.sweep.dir=here")
    assert (code, out) == (5, "")
    said = "hydra.sweep.dir=here: .lock is not a regular file; choose another directory"
    assert err == f"mnist-lightning: error: {said}\n"


@pytest.mark.parametrize("name", [PREDICTIONS, "metrics.csv", "../multirun.yaml"])
def test_in_the_place_of_what_a_report_reads(name: str, run: Run, tiny_arguments: list[str]) -> None:
    assert run("-m", *tiny_arguments, "hydra.sweep.dir=here")[0] == 0
    (record,) = Path("here").glob(f"*/{RECORD}")
    pipe(record.parent / name)
    assert rebuild(["here"]) == 0
    page = Path("here/report.html").read_text()
    said = {PREDICTIONS: "not whole predictions (not a regular file)"}.get(
        name, f"{Path(name).name}: not a regular file"
    )
    assert said in page


@pytest.mark.parametrize("primary", [False, True], ids=["an experiment", "the configuration"])
def test_in_the_place_of_the_users_yaml(primary: bool, run: Run) -> None:
    pipe(Path("conf/mine.yaml" if primary else "conf/experiment/mine.yaml"))
    code, out, err = run("--config-dir", "conf", *(["-cn", "mine"] if primary else ["experiment=mine"]))
    assert (code, out) == (2, "")
    said = "Cannot find primary config 'mine'" if primary else "experiment=mine: unknown; use one of "
    assert err.startswith(f"mnist-lightning: error: {said}")


def test_in_the_place_of_an_image_to_classify(tmp_path: Path) -> None:
    pipe(tmp_path / "digit.png")
    with pytest.raises(DataError, match=r"digit.png: not a readable image \(not a regular file\); give a PNG or JPEG"):
        read_picture(tmp_path / "digit.png")
