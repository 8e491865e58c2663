"""The directory of a command: what was there before stays, what is not of its making too, what is whole counts."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnist_lightning import MNISTClassifier
from mnist_lightning.records import results
from mnist_lightning.records.results import load, load_results
from mnist_lightning.sweep.attempts import attempts, begin, end, expect, has_ended

Run = Callable[..., Any]


def stamps(root: Path) -> dict[Path, tuple[bytes, int]]:
    """The files of the runs below a directory; what Hydra, the lock and the tables write each time is left out."""
    each_time = {".hydra", ".lock", "multirun.yaml", "results.csv", "results.xlsx", ".report.sha256"}
    found = [path for path in root.rglob("*") if path.is_file() and not each_time & set(path.parts)]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


# 1. A single run that is finished


def test_a_finished_run_is_kept_and_said_to_be_and_retrain_trains_it_anew(
    run: Run, tiny_arguments: list[str], break_off: list[object]
) -> None:
    code, first, _ = run(*tiny_arguments, "hydra.run.dir=here")
    assert (code, "stored already" in first) == (0, False)
    before = stamps(Path("here"))
    code, out, err = run(*tiny_arguments, "hydra.run.dir=here", "data.root=nowhere", "data.download=false")
    assert (code, err) == (0, "")
    assert out.splitlines()[:2] == [
        "stored already, nothing was trained; retrain=true trains it anew",
        first.splitlines()[1],
    ]
    assert out.splitlines()[-1] == "1 of 1 done: here"
    assert stamps(Path("here")) == before
    assert len(break_off) == 2
    code, out, _ = run(*tiny_arguments, "hydra.run.dir=here", "retrain=true")
    assert (code, "stored already" in out, len(break_off)) == (0, False, 3)
    assert stamps(Path("here")).keys() == before.keys()


def test_a_retraining_that_fails_is_told_and_the_record_of_before_stays(
    run: Run, tiny_arguments: list[str], break_off: list[object]
) -> None:
    arguments = [*tiny_arguments, "hydra.run.dir=here", "trainer.max_epochs=2"]
    assert run(*arguments)[0] == 0
    before, break_off[0] = stamps(Path("here")), RuntimeError("the disk was full of ants")
    code, out, err = run(*arguments, "retrain=true")
    assert code == 3
    line = r"mnist-lightning: error: here: not trained anew \(RuntimeError: the disk was full of ants\); "
    assert re.fullmatch(line + r"its record of before stays, see \.retrain/error\.txt\n", err)
    assert out.splitlines()[-1] == "1 of 1 done (not trained anew): here"
    assert before.items() <= stamps(Path("here")).items()
    assert "ants" in Path("here/.retrain/error.txt").read_text()
    break_off[:] = [None]
    assert run(*arguments, "retrain=true")[0] == 0
    assert break_off == [None, 1], "the first epoch is not repeated"
    assert not Path("here/.retrain").exists()
    assert not Path("here/error.txt").exists()


def test_a_retraining_that_is_interrupted_says_how_to_go_on(
    run: Run, tiny_arguments: list[str], break_off: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    arguments = [*tiny_arguments, "hydra.run.dir=here", "trainer.max_epochs=2"]
    assert run(*arguments)[0] == 0
    before = stamps(Path("here"))
    forward = MNISTClassifier.training_step

    def interrupted(module: MNISTClassifier, *batch: Any) -> Any:
        if module.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return forward(module, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(MNISTClassifier, "training_step", interrupted)
        code, _, err = run(*arguments, "retrain=true")
    assert code == 143
    assert err.splitlines()[-1].startswith("terminated: 1 of 1 done (not trained anew): here; resume: python -m ")
    assert before.items() <= stamps(Path("here")).items()
    break_off[:] = [None]
    assert run(*arguments, "retrain=true")[0] == 0
    assert break_off == [None, 1]


@pytest.mark.parametrize("retrain", ["retrain=true", "retrain=false,true"])
def test_a_grid_is_not_retrained(retrain: str, run: Run, tiny_arguments: list[str]) -> None:
    code, out, err = run("-m", *tiny_arguments, "lr=0.1,0.2", retrain, "hydra.sweep.dir=here")
    assert (code, out, Path("here").exists()) == (2, "", False)
    way_out = "choose another hydra.sweep.dir, or retrain one run by hydra.run.dir"
    assert err == f"mnist-lightning: error: retrain=true: a sweep keeps its finished runs; {way_out}\n"


def test_one_run_of_a_grid_is_retrained_by_its_directory(run: Run, tiny_arguments: list[str]) -> None:
    assert run("-m", *tiny_arguments, "lr=0.1,0.2", "hydra.sweep.dir=here")[0] == 0
    first, second = load_results("here")
    before = stamps(Path("here") / second.run_name)
    code, _, _ = run(*tiny_arguments, "lr=0.1", f"hydra.run.dir=here/{first.run_name}", "retrain=true")
    assert code == 0
    assert [r.fingerprint for r in load_results("here")] == [first.fingerprint, second.fingerprint]
    assert load_results("here")[0].duration_seconds != first.duration_seconds
    assert stamps(Path("here") / second.run_name) == before
    assert "resuming: 2 of 2 done" in run("-m", *tiny_arguments, "lr=0.1,0.2", "hydra.sweep.dir=here").out


def test_a_single_run_that_was_cut_off_goes_on_when_its_command_is_repeated(
    run: Run, tiny_arguments: list[str], break_off: list[object]
) -> None:
    arguments = [*tiny_arguments, "hydra.run.dir=here", "trainer.max_epochs=3"]
    break_off[0] = RuntimeError("no more ants")
    assert run(*arguments)[0] == 3
    assert load_results("here")[0].status == "failed"
    break_off[:] = [None]
    assert run(*arguments)[0] == 0
    assert break_off == [None, 1, 2]


# 2. Records of a sweep


def test_a_record_that_cannot_be_read_now_ends_a_sweep_before_anything_is_trained(
    run: Run, tiny_arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = ["-m", *tiny_arguments, "lr=0.1,0.2", "hydra.sweep.dir=here"]
    assert run(*grid)[0] == 0
    before, read = stamps(Path("here")), results.read_regular
    runs = {path: stamp for path, stamp in before.items() if len(path.parts) > 2 and "figures" not in path.parts}

    def failing(path: Path, most: int) -> bytes:
        if "lr1e-01" in str(path):
            raise OSError(5, "Input/output error")
        return read(path, most)

    with monkeypatch.context() as patch:
        patch.setattr(results, "read_regular", failing)
        code, _, err = run(*grid)
        assert code == 6
        assert re.fullmatch(
            r"mnist-lightning: error: here/\S+lr1e-01\S+/result.json: cannot be read \(Input/output error\); "
            r"repeat when it can be\n",
            err,
        )
        from mnist_lightning.report.__main__ import main

        assert stamps(Path("here")) == before
        patch.setattr(sys, "argv", ["report", "here"])
        assert main() == 6
    assert runs.items() <= stamps(Path("here")).items()
    assert not Path("here/quarantine").exists()
    assert run(*grid)[0] == 0


def test_another_runs_record_in_a_runs_directory_is_refused_and_stays(run: Run, tiny_arguments: list[str]) -> None:
    grid = ["-m", *tiny_arguments, "lr=0.1,0.2", "hydra.sweep.dir=here"]
    assert run(*grid)[0] == 0
    first, second = (Path("here") / result.run_name for result in load_results("here"))
    (first / "result.json").write_bytes((second / "result.json").read_bytes())
    before = stamps(Path("here"))
    code, _, err = run(*grid)
    assert code == 2
    told = f"holds the record of another run, {second.name[-8:]}; choose another directory"
    assert err == f"mnist-lightning: error: {first}: {told}\n"
    assert stamps(Path("here")) == before


def test_a_failed_run_of_a_sweep_keeps_its_record_until_it_has_another(
    run: Run, tiny_arguments: list[str], break_off: list[object]
) -> None:
    grid = ["-m", *tiny_arguments, "trainer.max_epochs=3", "hydra.sweep.dir=here"]
    break_off[0] = RuntimeError("no more ants")
    assert run(*grid)[0] == 3
    (failed,) = Path("here").glob("*/result.json")
    before = failed.read_bytes()
    break_off[0] = KeyboardInterrupt()
    assert run(*grid)[0] != 0
    assert failed.read_bytes() == before
    break_off[:] = [None]
    assert run(*grid)[0] == 0
    assert break_off == [None, 1, 2], "the first epoch is not repeated"
    assert load(failed).status == "completed"
    assert not (failed.parent / ".attempts").exists()


def test_a_record_of_a_failed_command_before_is_not_taken_for_the_end_of_a_run(tmp_path: Path) -> None:
    """Launchers start a run again whose worker died; its old record must not hide that."""
    assert not has_ended(tmp_path)
    begin(tmp_path)
    assert attempts(tmp_path) == 1
    (tmp_path / "result.json").touch()
    assert not has_ended(tmp_path)
    end(tmp_path)
    assert has_ended(tmp_path)
    expect(tmp_path)
    assert (has_ended(tmp_path), attempts(tmp_path)) == (False, 0)
    begin(tmp_path)
    begin(tmp_path, "17")
    begin(tmp_path, "17")  # preempted, and started again under its number
    assert attempts(tmp_path) == 2
    begin(tmp_path, "18")
    assert attempts(tmp_path) == 3


# 3. Where relative paths start, and data that cannot be read


@pytest.mark.parametrize("flags", [[], ["-m"]])
def test_relative_paths_start_where_the_command_did_wherever_its_jobs_work(
    flags: list[str], run: Run, tiny_arguments: list[str], mini_mnist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("data").symlink_to(mini_mnist)
    plain = [a for a in tiny_arguments if not a.startswith("data.root")]
    monkeypatch.setenv("MNIST_LIGHTNING_DATA", "data")
    assert run(*plain, "hydra.run.dir=first")[0] == 0
    more = [*flags, *plain, "trainer.max_epochs=2", "ckpt_path=first/checkpoints/last.ckpt"]
    for where, chdir in (("there", "false"), ("here", "true")):
        directory = f"hydra.sweep.dir={where}" if flags else f"hydra.run.dir={where}"
        code, out, err = run(*more, directory, f"hydra.job.chdir={chdir}", "data.download=false")
        assert (code, err) == (0, "")
        assert out.splitlines()[-1] == f"1 of 1 done: {where}"
    (here,), (there,) = load_results("here"), load_results("there")
    assert (here.fingerprint, here.loss) == (there.fingerprint, there.loss)
    assert not list(Path("here").rglob("data"))


@pytest.mark.parametrize("flags", [[], ["-m"]])
def test_a_data_directory_that_may_not_be_read_gives_4_and_leaves_no_record(
    flags: list[str], run: Run, tiny_arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = Path.stat

    def refusing(path: Path, **how: Any) -> os.stat_result:
        if "private" in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", refusing)
    code, out, err = run(*flags, *tiny_arguments, "data.root=private")
    assert (code, out) == (4, "")
    assert re.fullmatch(
        r"mnist-lightning: error: \S*private/MNIST/raw/train-images-idx3-ubyte: cannot be read \(Permission denied\); "
        r"check the path and it.*\n",  # a long path shortens the line
        err,
    )
    assert not list(Path().rglob("result.json"))
