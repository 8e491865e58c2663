"""Sweeps that are killed, interrupted, doubled: every record is there in the end, and none is done twice.

MNIST_TEST_LONG=1 runs them as often as the promise says (docs/reliability.md); otherwise a few times.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mnist_lightning.results import load_results

LONG = os.environ.get("MNIST_TEST_LONG") == "1"
pytestmark = pytest.mark.faults
TESTS = Path(__file__).parent
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path, tiny_arguments: list[str]) -> Iterator[Start]:
    """`start("-m", "lr=0.1,0.2")`: the command in a process group of its own, below tmp_path."""
    running: list[subprocess.Popen[str]] = []

    def call(*arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(TESTS), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        environment |= {"RAY_AUTH_MODE": "disabled"}
        process = subprocess.Popen(
            [sys.executable, "-m", "mnist_lightning", *tiny_arguments, *arguments],
            cwd=tmp_path,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        running.append(process)
        return process

    yield call
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def finish(process: subprocess.Popen[str], timeout: float = 180) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def metrics(directory: Path) -> dict[str, Any]:
    """What a run computed, by name: everything that a second training would have to give again."""
    return {r.run_name: (r.status, r.loss, r.loss_test, r.mae, r.best_epoch) for r in load_results(directory)}


def kill_and_resume(start: Start, root: Path, kills: int, *arguments: str) -> None:
    """Kill the sweep's whole process group `kills` times at random instants; then let it end."""
    instants = random.Random(0)
    seen: dict[Path, bytes] = {}
    for _ in range(kills):
        process = start(*arguments)
        time.sleep(instants.uniform(3, 12))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        for path, content in seen.items():
            assert path.read_bytes() == content, "a finished run was done again"
        seen = {path: path.read_bytes() for path in root.glob("*/result.json")}
    code, out, err = finish(start(*arguments), 400)
    assert code == 0, out + err
    assert all(path.read_bytes() == content for path, content in seen.items())
    assert not list(root.rglob(".*.tmp"))


GRID = ["-m", "optimizer=adam,sgd", "lr=0.001,0.01", "trainer.max_epochs=3"]
GRID += ["callbacks=[{_target_:fault_callbacks.Slow,seconds:0.15}]"]
LONG_GRID = [*GRID[:1], "optimizer=adam,sgd,rmsprop", "loss=mse,mae", "lr=0.001,0.01,0.02,0.1", *GRID[3:]]


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_sweep_killed_again_and_again_ends_as_an_undisturbed_one(launcher: str, start: Start, tmp_path: Path) -> None:
    grid = [*(LONG_GRID if LONG else GRID), f"hydra/launcher={launcher}"]
    kill_and_resume(start, tmp_path / "killed", 25 if LONG else 3, *grid, "hydra.sweep.dir=killed")
    assert finish(start(*grid, "hydra.sweep.dir=whole"), 400)[0] == 0
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "whole")
    assert len(metrics(tmp_path / "whole")) == (24 if LONG else 4)


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"), (signal.SIGHUP, 129, "terminal closed")],
)
@pytest.mark.parametrize("attempt", range(10 if LONG else 1))
def test_a_signal_in_the_middle_of_a_fit_gives_its_code_a_last_line_and_the_table(
    attempt: int, number: signal.Signals, code: int, word: str, start: Start, tmp_path: Path
) -> None:
    slow = "callbacks=[],[{_target_:fault_callbacks.Slow,seconds:9}]"
    process = start("-m", slow, "hydra.sweep.dir=here")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("1 of 2  ")
    time.sleep(1 + attempt / 4)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err.splitlines()[-1].startswith(
        f"{word}: 1 of 2 done (1 missing): here; resume: python -m mnist_lightning -m "
    )
    assert len(pd.read_excel(tmp_path / "here" / "results.xlsx")) == 1


def test_ten_runs_survive_the_death_of_a_joblib_worker(start: Start, tmp_path: Path) -> None:
    killer = f"callbacks=[],[{{_target_:fault_callbacks.KillWorker,marker:{tmp_path}/once}}]"
    seeds = "seed=" + ",".join(map(str, range(5)))
    arguments = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", seeds, killer, "hydra.sweep.dir=here"]
    code, out, err = finish(start(*arguments))
    assert code == 0, out + err
    assert "its worker died; tried again" in out
    assert [r.status for r in load_results(tmp_path / "here")] == ["completed"] * 10


def test_a_run_that_kills_every_worker_is_recorded_as_failed_and_the_others_complete(
    start: Start, tmp_path: Path
) -> None:
    poison = "callbacks=[],[{_target_:fault_callbacks.KillWorker}]"
    code, out, err = finish(
        start("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", poison, "hydra.sweep.dir=here")
    )
    assert code == 3, out + err
    by_status = {s: [r for r in load_results(tmp_path / "here") if r.status == s] for s in ("completed", "failed")}
    assert {s: len(rs) for s, rs in by_status.items()} == {"completed": 1, "failed": 1}
    assert all("its worker died 2 times" in r.error for r in by_status["failed"])
    assert out.splitlines()[-1] == "1 of 2 done (1 failed): here"


CLUSTER = """
import sys, time
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


def test_six_runs_survive_the_death_of_a_worker_on_a_ray_cluster_of_two_nodes(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray runs the cluster: pip install 'mnist-lightning[ray]'")
    cluster = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS), "RAY_AUTH_MODE": "disabled"},
    )
    assert cluster.stdout is not None
    try:
        address = next(line.strip() for line in cluster.stdout if ":" in line)
        killer = f"callbacks=[],[{{_target_:fault_callbacks.KillWorker,marker:{tmp_path}/once}}]"
        ray = ["hydra/launcher=ray", f"hydra.launcher.ray.init.address='{address}'"]
        ray += ["+hydra.launcher.ray.init.runtime_env.env_vars.PYTHONPATH=" + str(TESTS)]
        code, out, err = finish(start("-m", *ray, "seed=0,1,2", killer, "hydra.sweep.dir=" + str(tmp_path / "here")))
    finally:
        cluster.communicate("", timeout=60)
    assert code == 0, out + err
    assert [r.status for r in load_results(tmp_path / "here")] == ["completed"] * 6


def test_a_run_that_leaves_quietly_is_not_taken_for_done(start: Start, tmp_path: Path) -> None:
    code, _, err = finish(start("-m", "callbacks=[{_target_:fault_callbacks.ExitQuietly}],[]", "hydra.sweep.dir=here"))
    assert code == 3, err
    assert sorted(r.status for r in load_results(tmp_path / "here")) == ["completed", "failed"]


@pytest.mark.parametrize("attempt", range(20 if LONG else 1))
def test_four_sweeps_started_in_the_same_second_keep_all_their_records(
    attempt: int, start: Start, tmp_path: Path
) -> None:
    for process in [start("-m", "seed=0,1") for _ in range(4)]:
        code, out, err = finish(process)
        assert code == 0, out + err
    roots = list((tmp_path / "outputs").iterdir())
    assert [len(load_results(root)) for root in roots] == [2] * 4


def test_a_second_sweep_in_the_same_directory_is_told_who_holds_it_and_a_killed_holder_blocks_nobody(
    start: Start, tmp_path: Path
) -> None:
    slow = "callbacks=[{_target_:fault_callbacks.Slow,seconds:1}]"
    first = start("-m", "seed=0,1", slow, "trainer.max_epochs=50", "hydra.sweep.dir=here")
    for _ in range(300):
        if (tmp_path / "here" / "plan.json").exists():
            break
        time.sleep(0.1)
    before = json.loads((tmp_path / "here" / "plan.json").read_text())
    code, out, err = finish(start("-m", "seed=2", "hydra.sweep.dir=here"))
    assert (code, out) == (7, "")
    assert err.startswith(f"mnist-lightning: error: here: in use by process {first.pid} on ")
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert json.loads((tmp_path / "here" / "plan.json").read_text()) == before
    code, _, err = finish(start("-m", "seed=2", "hydra.sweep.dir=here"))
    assert code == 2
    assert "holds another sweep (" in err
