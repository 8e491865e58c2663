"""Sweeps on a real Slurm, a real Ray and through submitit's local processes: interrupted, cancelled, preempted, killed.

Each is skipped where it is not installed, or not to be started. Slurm: tests/slurm_cluster.py.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from commands import TESTS, Command, wait_for
from mnist_lightning.records import locks
from mnist_lightning.records.results import load_results
from ray_cluster import joining, nodes_alive, ray_alone, ray_cluster
from slurm_cluster import ask, empty_queue, slurm

pytestmark = pytest.mark.faults
Start = Callable[..., Command]
SLOW = "callbacks=[{_target_:fault_callbacks.Slow,seconds:0.3}]"
LONG_RUNS = ["-m", "seed=0,1", SLOW, "trainer.max_epochs=500", "hydra.sweep.dir=here"]
RAY = ["hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2"]
LOCAL = ["hydra/launcher=submitit_local"]
SLURM = ["hydra/launcher=submitit_slurm", "hydra.launcher.mem_gb=1", "hydra.launcher.cpus_per_task=1"]
LONG = os.environ.get("MNIST_TEST_LONG") == "1"
SIGNALS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]


def workers(directory: Path) -> list[int]:
    """The processes that work in the directory, or have a file in it open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [str(link.readlink()) for link in (process / "cwd", *(process / "fd").iterdir())]
        except OSError:
            continue
        if int(process.name) != os.getpid() and any(link.startswith(str(directory)) for link in links):
            found.append(int(process.name))
    return found


@pytest.fixture(autouse=True)
def _nobody_left(tmp_path: Path) -> Iterator[None]:
    """Ends what a test that has failed has left at work."""
    yield
    for pid in workers(tmp_path):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def begun(root: Path) -> list[Path]:
    return list(root.glob("*/checkpoints/last.ckpt"))


def wait_until_begun(root: Path, runs: int, command: Command) -> None:
    """Until so many runs have an epoch behind them."""
    wait_for(lambda: len(begun(root)) >= runs or command.poll() is not None, 240, command)
    assert command.poll() is None, command.printed() + command.printed("err")


def assert_ends_in_time(command: Command, code: int, word: str, again: signal.Signals | None = None) -> None:
    """Its last line comes within ten seconds. Then Python tidies up, which takes longer on a busy machine."""
    if again is None:
        wait_for(lambda: f"{word}: " in command.printed("err") or command.poll() is not None, 10, command)
    else:
        time.sleep(0.5)
        if command.poll() is None:
            command.send(again)
    ended = command.wait(30)
    assert ended.code in ({code} if again is None else {code, 128 + again}), ended.out + ended.err
    assert "Traceback" not in ended.err
    assert "core dumped" not in ended.err.lower()
    if again is None:
        last = ended.err.splitlines()[-1]
        assert f"{word}: 0 of 2 done (2 missing): " in last, ended.err
        assert "; resume: python -m mnist_lightning " in last


@pytest.mark.parametrize("again", [None, signal.SIGINT] if LONG else [None], ids=["once", "twice"][: 1 + LONG])
@pytest.mark.parametrize(("number", "code", "word"), SIGNALS if LONG else SIGNALS[:1])  # SIGTERM: the next test
def test_a_signal_ends_a_sweep_on_ray_with_its_workers_within_ten_seconds(
    number: signal.Signals, code: int, word: str, again: signal.Signals | None, start: Start, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="Ray runs the workers: pip install 'mnist-lightning[ray]'")
    with ray_alone():
        command = start(*LONG_RUNS, *RAY, real=True)
        wait_until_begun(tmp_path / "here", 2, command)
        command.send(number)
        assert_ends_in_time(command, code, word, again)
        wait_for(lambda: not workers(tmp_path), 10)


def test_on_somebody_elses_ray_cluster_a_workers_death_costs_no_run_and_a_signal_ends_the_tasks_and_not_the_cluster(
    start: Start, tmp_path: Path
) -> None:
    """One cluster of two nodes for both: it takes longest to start."""
    pytest.importorskip("ray", reason="Ray runs the cluster: pip install 'mnist-lightning[ray]'")
    root = tmp_path / "here"
    with ray_cluster() as address:
        killer = f"callbacks=[],[{{_target_:fault_callbacks.KillWorker,marker:{tmp_path}/once}}]"
        arguments = ["-m", *joining(address), killer, f"hydra.sweep.dir={tmp_path / 'two'}"]
        code, out, err = start(*arguments, real=True).wait(500)
        assert code == 0, out + err
        assert [r.status for r in load_results(tmp_path / "two")] == ["completed"] * 2
        command = start(*LONG_RUNS, *joining(address), f"hydra.sweep.dir={root}", real=True)
        wait_until_begun(root, 2, command)
        command.send(signal.SIGTERM)
        assert_ends_in_time(command, 143, "terminated")
        wait_for(lambda: not any(locks.holder_of(lock) for lock in root.glob("*_*/.lock")), 10)
        assert nodes_alive(address) == 2


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS)
def test_a_signal_ends_the_processes_of_submitit_local(
    number: signal.Signals, code: int, word: str, start: Start, tmp_path: Path
) -> None:
    pytest.importorskip("submitit", reason="submitit starts the processes: pip install 'mnist-lightning[submitit]'")
    command = start(*LONG_RUNS, *LOCAL)
    wait_until_begun(tmp_path / "here", 2, command)
    command.send(number)
    assert_ends_in_time(command, code, word)
    wait_for(lambda: not workers(tmp_path), 2)


def test_a_process_that_outlived_its_command_is_named_and_waited_for(start: Start, tmp_path: Path) -> None:
    """submitit's processes do when the command is killed."""
    pytest.importorskip("submitit", reason="submitit starts the processes: pip install 'mnist-lightning[submitit]'")
    arguments = ["-m", SLOW, "trainer.max_epochs=40", "hydra.sweep.dir=here"]
    first = start(*arguments, *LOCAL)
    wait_until_begun(tmp_path / "here", 1, first)
    first.kill()
    (lock,) = (tmp_path / "here").glob("*_*/.lock")
    second = start(*arguments)
    second.wait_for_output(f": {lock.read_text().strip()} is still at work on it; waiting", 60)
    code, out, err = second.wait(120)
    assert code == 0, out + err
    assert out.splitlines()[-1] == "1 of 1 done: here"
    assert not [line for line in out.splitlines() if line.startswith("1 of 1  ")], "trained twice"


def test_a_failed_run_that_is_tried_again_is_waited_for_though_a_record_is_there(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="submitit starts the processes: pip install 'mnist-lightning[submitit]'")
    failing = f"callbacks=[],[{{_target_:fault_callbacks.Shell,command:'test -e {tmp_path}/healed'}}]"
    assert start("-m", failing, "hydra.sweep.dir=here").wait().code == 3
    (tmp_path / "healed").touch()
    code, out, err = start("-m", failing, *LOCAL, "hydra.sweep.dir=here").wait()
    assert (code, err, out.splitlines()[-1]) == (0, "", "2 of 2 done: here"), out


def assert_a_dead_worker_costs_no_run(start: Start, directory: Path, *launcher: str, **environment: str) -> None:
    killer = f"callbacks=[],[{{_target_:fault_callbacks.KillWorker,marker:{directory}/once}}]"
    code, out, err = start("-m", killer, *launcher, "hydra.sweep.dir=here", **environment).wait(240)
    assert (code, err) == (0, ""), out
    assert "its worker died; tried again" in out
    assert [r.status for r in load_results(directory / "here")] == ["completed"] * 2


def test_the_death_of_a_process_of_submitit_local_costs_no_run(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="submitit starts the processes: pip install 'mnist-lightning[submitit]'")
    assert_a_dead_worker_costs_no_run(start, tmp_path, *LOCAL)


@pytest.fixture(scope="module")
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a real Slurm, without accounting, for this module's tests."""
    pytest.importorskip("submitit", reason="submitit submits: pip install 'mnist-lightning[submitit]'")
    with slurm(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment | {"PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture
def cluster(_cluster: dict[str, str]) -> Iterator[dict[str, str]]:
    """The same with an empty queue, also after a test that has failed."""
    yield _cluster
    empty_queue(_cluster)


def jobs(cluster: dict[str, str]) -> list[str]:
    """The numbers of the jobs that are in the queue."""
    return sorted(ask(cluster, "squeue", "--me", "--noheader", "--array", "--format=%i").split())


def test_a_job_that_is_cancelled_is_missing_and_not_submitted_again(
    cluster: dict[str, str], start: Start, tmp_path: Path
) -> None:
    slow = "callbacks=[],[{_target_:fault_callbacks.Slow,seconds:2}]"
    command = start("-m", slow, "trainer.max_epochs=3", "hydra.sweep.dir=here", *SLURM, **cluster)
    wait_until_begun(tmp_path / "here", 2, command)
    number = next(job for job in jobs(cluster) if job.endswith("_1"))
    ask(cluster, "scancel", number)
    code, out, err = command.wait(60)
    assert code == 3, out + err
    assert f"its job {number} left no record: CANCELLED" in out
    assert out.splitlines()[-1] == "1 of 2 done (1 missing): here"
    assert err == ""
    assert jobs(cluster) == []
    assert start("-m", slow, "trainer.max_epochs=3", "hydra.sweep.dir=here").wait().code == 0


def test_the_death_of_a_job_on_slurm_costs_no_run(cluster: dict[str, str], start: Start, tmp_path: Path) -> None:
    assert_a_dead_worker_costs_no_run(start, tmp_path, *SLURM, **cluster)


def test_a_signal_ends_the_jobs_in_the_queue_and_a_closed_terminal_leaves_them_to_the_next_command(
    cluster: dict[str, str], start: Start, tmp_path: Path
) -> None:
    arguments = ["-m", "seed=0,1,2", SLOW, "trainer.max_epochs=500", "hydra.sweep.dir=here", *SLURM]
    first = start(*arguments, **cluster)
    wait_for(lambda: len(jobs(cluster)) == 3 or first.poll() is not None, 60, first)
    submitted = jobs(cluster)
    first.send(signal.SIGHUP)
    ended = first.wait(10)
    number = submitted[0].partition("_")[0]
    assert ended.code == 129, ended.out + ended.err
    assert f"left in the queue: 3 jobs; repeat the command to wait, or scancel {number}\n" in ended.out
    assert jobs(cluster) == submitted
    second = start(*arguments, **cluster)
    second.wait_for_output(f"waiting for 3 jobs in the queue: {number}_", 60)
    wait_until_begun(tmp_path / "here", 1, second)
    second.send(signal.SIGTERM)
    code, out, err = second.wait(10)
    assert code == 143, out + err
    assert err.splitlines()[-1].startswith("terminated: 0 of 3 done (3 missing): here; resume: ")
    assert f"ending 3 jobs: scancel {number}\n" in out
    wait_for(lambda: not jobs(cluster), 15)


def test_a_command_that_was_killed_finds_its_jobs_and_submits_none_twice(
    cluster: dict[str, str], start: Start, tmp_path: Path
) -> None:
    arguments = ["-m", "seed=0,1,2", SLOW, "trainer.max_epochs=10", "hydra.sweep.dir=here", *SLURM]
    first = start(*arguments, **cluster)
    wait_for(lambda: len(jobs(cluster)) == 3 or first.poll() is not None, 60, first)
    submitted = jobs(cluster)
    known = tmp_path / "here" / ".jobs.json"
    wait_for(lambda: known.exists() and '"number": "' in known.read_text(), 30, first)
    first.kill()
    second = start(*arguments, **cluster)
    second.wait_for_output("waiting for 3 jobs in the queue: ", 60)
    code, out, err = second.wait(240)
    assert (code, err) == (0, ""), out
    assert [r.status for r in load_results(tmp_path / "here")] == ["completed"] * 3
    everything = ask(cluster, "squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i").split()
    number = submitted[0].partition("_")[0]
    assert max(int(job.partition("_")[0]) for job in everything) == int(number)


@pytest.mark.parametrize("how", ["requeue", "TERM", "USR2"][: 1 + 2 * LONG])
def test_a_preempted_job_goes_on_after_its_last_whole_epoch_to_the_same_end(
    how: str, cluster: dict[str, str], start: Start, tmp_path: Path
) -> None:
    """Requeued by the cluster; by SIGTERM, which gives it some time; by the signal that comes before its time is up."""
    diary = tmp_path / "diary"
    noting = (
        f"callbacks=[{{_target_:fault_callbacks.Diary,path:{diary}}},{{_target_:fault_callbacks.Slow,seconds:0.3}}]"
    )
    arguments = ["-m", noting, "trainer.max_epochs=8"]
    command = start(*arguments, "hydra.sweep.dir=here", *SLURM, "hydra.launcher.max_num_timeout=3", **cluster)
    wait_for(
        lambda: (diary.exists() and diary.read_text().count("\n") >= 4) or command.poll() is not None, 240, command
    )
    (job,) = jobs(cluster)
    if how == "requeue":
        ask(cluster, "scontrol", "requeue", job)
    else:
        ask(cluster, "scancel", f"--signal={how}", job)
    wait_for(lambda: ask(cluster, "squeue", "-h", "-j", job, "--format=%T").strip() == "PENDING", 30, command)
    ask(cluster, "scontrol", "update", f"jobid={job}", "StartTime=now")  # Slurm lets two minutes pass
    code, out, err = command.wait(120)
    assert (code, err) == (0, ""), out
    epochs = [int(line) for line in diary.read_text().split()]
    assert epochs == sorted(epochs), "went back behind its last whole epoch"
    assert sorted(set(epochs)) == list(range(8))
    assert len(epochs) in (8, 9), epochs
    assert "left no record" not in out
    diary.unlink()
    assert start(*arguments, "hydra.sweep.dir=undisturbed").wait().code == 0
    ours, theirs = load_results(tmp_path / "here")[0], load_results(tmp_path / "undisturbed")[0]
    assert (ours.loss, ours.loss_test, ours.mae, ours.best_epoch) == (
        theirs.loss,
        theirs.loss_test,
        theirs.mae,
        theirs.best_epoch,
    )
