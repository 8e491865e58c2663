"""Sweeps that are killed, interrupted, doubled: every record is there in the end, and none is done twice.

MNIST_TEST_LONG=1 runs them as often as the promise says (docs/reliability.md); otherwise a few times.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from commands import Command, wait_for
from mnist_lightning.records.results import load, load_results
from mnist_lightning.training.checkpoints import read_checkpoint

LONG = os.environ.get("MNIST_TEST_LONG") == "1"
KILLS = {"basic": 25, "joblib": 25} if LONG else {"basic": 5, "joblib": 1}  # joblib's workers import everything anew
SIGNALS = 20 if LONG else 3
ROUNDS = 20 if LONG else 2
pytestmark = pytest.mark.faults
Start = Callable[..., Command]


def metrics(directory: Path) -> dict[str, Any]:
    """What a run computed, by name: everything that a second training would have to give again."""
    return {r.run_name: (r.status, r.loss, r.loss_test, r.mae, r.best_epoch) for r in load_results(directory)}


def records(root: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.glob("*/result.json")}


def kill_and_resume(start: Start, root: Path, kills: int, *arguments: str) -> None:
    """Kill the sweep's whole process group `kills` times at random instants; then let it end, with nobody reading."""
    chance = random.Random(0)
    for _ in range(kills):
        before = records(root)
        command = start(*arguments)
        if chance.random() < 0.7:  # otherwise a slow machine would be killed again and again while it starts
            wait_for(lambda c=command, b=before: c.poll() is not None or len(records(root)) > len(b), 120)
        time.sleep(chance.uniform(0, 2))
        command.kill()
        assert before.items() <= records(root).items(), "a finished run was done again"
    before = records(root)
    code, _, err = start(*arguments, MNIST_TEST_CLOSED_PIPE="1").wait(300)
    assert code == 0, err
    assert before.items() <= records(root).items()
    assert not list(root.rglob(".*.tmp"))


RUNS = 24 if LONG else 12
GRID = ["-m", "optimizer=adam,sgd,rmsprop", "lr=0.001,0.01,0.02,0.1", "trainer.max_epochs=3"]
GRID += ["loss=mse,mae"] if LONG else []
GRID += ["callbacks=[{_target_:fault_callbacks.Slow,seconds:0.02}]"]


@pytest.fixture(scope="module")
def undisturbed(start_in: Callable[[Path], Start], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grid by a sweep that nobody killed, in `whole` of this directory."""
    directory = tmp_path_factory.mktemp("undisturbed")
    assert start_in(directory)(*GRID, "hydra.sweep.dir=whole").wait(300).code == 0
    return directory


def test_a_finished_sweep_trains_nothing_again_and_touches_no_file_of_its_runs(
    start_in: Callable[[Path], Start], undisturbed: Path
) -> None:
    """How long that takes for 216 runs: benchmarks/resume.py."""

    def state() -> dict[Path, tuple[bytes, int]]:
        files = [path for path in (undisturbed / "whole").glob("*_*/**/*") if path.is_file()]
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    before = state()
    assert len([path for path in before if path.name == "result.json"]) == RUNS
    code, out, err = start_in(undisturbed)(*GRID, "hydra.sweep.dir=whole").wait(300)
    assert (code, out.splitlines()[0]) == (0, f"resuming: {RUNS} of {RUNS} done"), err
    assert state() == before


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_sweep_killed_again_and_again_ends_as_an_undisturbed_one(
    launcher: str, start: Start, tmp_path: Path, undisturbed: Path
) -> None:
    grid = [*GRID, f"hydra/launcher={launcher}", "hydra.sweep.dir=killed"]
    kill_and_resume(start, tmp_path / "killed", KILLS[launcher], *grid)
    assert metrics(tmp_path / "killed") == metrics(undisturbed / "whole")
    assert len(metrics(tmp_path / "killed")) == RUNS


def test_a_single_run_that_is_retrained_and_killed_again_and_again_is_always_there(
    start: Start, tmp_path: Path
) -> None:
    """The command of a finished run, repeated and killed, destroyed its record in version 0.1.0."""
    arguments = ["hydra.run.dir=here", "trainer.max_epochs=3", GRID[-1]]
    assert start(*arguments).wait(120).code == 0
    chance, record = random.Random(0), tmp_path / "here" / "result.json"
    first, retrained = load(record), 0
    for _ in range(KILLS["basic"]):
        before = record.read_bytes()
        command = start(*arguments, "retrain=true")
        if chance.random() < 0.7:
            wait_for(lambda c=command: c.poll() is not None or list(tmp_path.glob("here/.retrain*/config.yaml")), 120)
        time.sleep(chance.uniform(0, 2))
        command.kill()
        found = load(record)
        assert (found.loss, found.loss_test, found.best_epoch) == (first.loss, first.loss_test, first.best_epoch)
        read_checkpoint(tmp_path / "here" / found.model_path.partition("/")[2])
        retrained += record.read_bytes() != before
    assert start(*arguments, "retrain=true").wait(120).code == 0
    assert not list(tmp_path.glob("here/.retrain*"))
    before = record.read_bytes()
    code, out, err = start(*arguments).wait(120)
    assert (code, out.splitlines()[0].startswith("stored already")) == (0, True), err
    assert record.read_bytes() == before
    assert retrained < KILLS["basic"], "no kill hit a training"


SLEEPY = "callbacks=[],[{_target_:fault_callbacks.Slow,seconds:0.1}]"
SIGNALLED = "callbacks=[],[{_target_:fault_callbacks.Slow,seconds:9}]"
LAST_LINE = "{}: 1 of 2 done (1 missing): here; resume: python -m mnist_lightning -m "


def interrupted(start: Start, root: Path, number: signal.Signals, delay: float, **how: Any) -> tuple[int, str]:
    """Exit code and last line of a sweep whose second run gets the signal `delay` seconds after it was begun."""
    for path in root.glob("*/.attempts"):
        path.unlink()
    command = start("-m", SIGNALLED, "hydra.sweep.dir=here", **how)
    wait_for(lambda: list(root.glob("*/result.json")) and len(list(root.glob("*/.attempts"))) > 0, 90, command)
    wait_for(lambda: any(not (p.parent / "result.json").exists() for p in root.glob("*/.attempts")), 90, command)
    time.sleep(delay)
    command.send(number)
    code, _, err = command.wait(60)
    return code, err.splitlines()[-1]


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_in_the_middle_of_a_fit_gives_its_code_a_last_line_and_the_table(
    number: signal.Signals, code: int, word: str, start: Start, tmp_path: Path
) -> None:
    """In one sweep, interrupted again and again: its first run is done once, its second one never."""
    chance, root = random.Random(number), tmp_path / "here"
    for attempt in range(SIGNALS):
        found, last = interrupted(start, root, number, chance.uniform(0, 1.5))
        assert (found, last.startswith(LAST_LINE.format(word))) == (code, True), f"attempt {attempt}: {found} {last}"
        assert len(pd.read_excel(root / "results.xlsx")) == len(load_results(root)) == 1


def test_a_second_ctrl_c_ends_at_once_and_leaves_whole_files(start: Start, tmp_path: Path) -> None:
    chance, root = random.Random(0), tmp_path / "here"
    for _ in range(SIGNALS):
        command = start("-m", SIGNALLED, "hydra.sweep.dir=here", MNIST_TEST_FIGURES="1")
        wait_for(lambda: list(root.glob("*/result.json")) and list(root.glob("*/.attempts")), 90, command)
        command.send(signal.SIGINT)
        time.sleep(chance.uniform(0, 1))
        if command.poll() is None:
            command.send(signal.SIGINT)
        assert command.wait(10).code == 130
        assert len(load_results(root)) == 1
        for workbook in root.glob("results.xlsx"):
            assert len(pd.read_excel(workbook)) == 1
        for path in root.glob("*/.attempts"):
            path.unlink()


def test_a_machine_that_sleeps_goes_on_and_its_sweep_is_in_use_meanwhile(start: Start, tmp_path: Path) -> None:
    sweep = start("-m", SLEEPY, "trainer.max_epochs=5", "hydra.sweep.dir=here")
    wait_for((tmp_path / "here" / "plan.json").exists, 60, sweep)
    sweep.send(signal.SIGSTOP)
    assert start("-m", SLEEPY, "trainer.max_epochs=5", "hydra.sweep.dir=here").wait().code == 7
    sweep.send(signal.SIGCONT)
    assert sweep.wait().code == 0
    assert [r.status for r in load_results(tmp_path / "here")] == ["completed"] * 2


def test_a_run_without_enough_memory_is_a_failed_row_and_the_others_complete(start: Start, tmp_path: Path) -> None:
    code, out, _ = start("-m", "callbacks=[{_target_:fault_callbacks.Hungry}],[]", "hydra.sweep.dir=here").wait()
    assert code == 3
    by_status = {r.status: r for r in load_results(tmp_path / "here")}
    assert set(by_status) == {"completed", "failed"}
    assert by_status["failed"].error.endswith("out of memory; try a smaller data.batch_size or network"), out


def test_a_lost_terminal_gives_its_code_a_last_line_and_the_table_of_a_real_interpreter(
    start: Start, tmp_path: Path
) -> None:
    """SIGINT and SIGTERM to one are in test_cli.py."""
    code, last = interrupted(start, tmp_path / "here", signal.SIGHUP, 1, real=True)
    assert (code, last.startswith(LAST_LINE.format("terminal closed"))) == (129, True), last
    assert len(pd.read_excel(tmp_path / "here" / "results.xlsx")) == 1


def test_a_sweep_whose_output_nobody_reads_any_more_goes_on(start: Start, tmp_path: Path) -> None:
    """joblib's workers: in the test of those that are killed again and again."""
    ended = start("-m", "seed=0,1", "hydra.sweep.dir=here", MNIST_TEST_CLOSED_PIPE="1").wait()
    assert (ended.code, ended.err) == (0, "")
    assert [r.status for r in load_results(tmp_path / "here")] == ["completed"] * 2
    assert (tmp_path / "here" / "results.xlsx").exists()


def test_ten_runs_survive_the_death_of_a_joblib_worker(start: Start, tmp_path: Path) -> None:
    killer = f"callbacks=[],[{{_target_:fault_callbacks.KillWorker,marker:{tmp_path}/once}}]"
    seeds = "seed=" + ",".join(map(str, range(5)))
    arguments = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", seeds, killer, "hydra.sweep.dir=here"]
    code, out, err = start(*arguments).wait(240)
    assert code == 0, out + err
    assert "its worker died; tried again" in out
    assert [r.status for r in load_results(tmp_path / "here")] == ["completed"] * 10


def test_a_run_that_kills_every_worker_is_recorded_as_failed_and_the_others_complete(
    start: Start, tmp_path: Path
) -> None:
    poison = "callbacks=[],[{_target_:fault_callbacks.KillWorker}]"
    joblib = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    code, out, err = start("-m", *joblib, poison, "hydra.sweep.dir=here").wait(240)
    assert code == 3, out + err
    by_status = {s: [r for r in load_results(tmp_path / "here") if r.status == s] for s in ("completed", "failed")}
    assert {s: len(rs) for s, rs in by_status.items()} == {"completed": 1, "failed": 1}
    assert all("its worker died 2 times" in r.error for r in by_status["failed"])
    assert out.splitlines()[-1] == "1 of 2 done (1 failed): here"


def test_a_run_that_leaves_quietly_is_not_taken_for_done(start: Start, tmp_path: Path) -> None:
    quiet = "callbacks=[{_target_:fault_callbacks.ExitQuietly}],[]"
    code, _, err = start("-m", quiet, "hydra.sweep.dir=here").wait()
    assert code == 3, err
    assert sorted(r.status for r in load_results(tmp_path / "here")) == ["completed", "failed"]


def test_four_sweeps_started_in_the_same_second_keep_all_their_records(start: Start, tmp_path: Path) -> None:
    for attempt in range(1, ROUNDS + 1):
        for command in [start("-m", "seed=0,1") for _ in range(4)]:
            code, out, err = command.wait()
            assert code == 0, out + err
        roots = list((tmp_path / "outputs").iterdir())
        assert [len(load_results(root)) for root in roots] == [2] * 4 * attempt


def test_a_second_sweep_in_the_same_directory_is_told_who_holds_it_and_a_killed_holder_blocks_nobody(
    start: Start, tmp_path: Path
) -> None:
    slow = "callbacks=[{_target_:fault_callbacks.Slow,seconds:1}]"
    first = start("-m", "seed=0,1", slow, "trainer.max_epochs=50", "hydra.sweep.dir=here")
    wait_for((tmp_path / "here" / "plan.json").exists, 60, first)
    before = json.loads((tmp_path / "here" / "plan.json").read_text())
    code, out, err = start("-m", "seed=2", "hydra.sweep.dir=here").wait()
    assert (code, out) == (7, "")
    assert err.startswith(f"mnist-lightning: error: here: in use by process {first.pid} on ")
    first.kill()
    assert json.loads((tmp_path / "here" / "plan.json").read_text()) == before
    code, _, err = start("-m", "seed=2", "hydra.sweep.dir=here").wait()
    assert code == 2
    assert "holds another sweep (" in err
