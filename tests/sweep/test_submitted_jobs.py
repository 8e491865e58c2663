"""Jobs that are submitted: to a queue, and to processes of this machine. With real ones: test_clusters.py."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from commands import wait_for
from mnist_lightning.records.results import RunResult, save
from mnist_lightning.sweep.job import tell
from mnist_lightning.sweep.local_jobs import LocalJobs
from mnist_lightning.sweep.progress import Progress
from mnist_lightning.sweep.slurm import LEDGER, SlurmQueue, requeued_on_sigterm
from mnist_lightning.sweep.submitted import LostJobsError, SubmittedJobs
from mnist_lightning.sweep.sweep import Sweep

RESULT = RunResult(run_name="a", fingerprint="ab12", status="completed", accuracy_test=0.5, duration_seconds=2)


class Queue:
    """A queue in which each job ends at once and leaves a record, but those of `lost` runs."""

    gone, slowest, grace = "gone", 0.0, 0.0

    def __init__(self, root: Path, at_once: int | None = None, there: Sequence[str] = (), lost: Sequence[str] = ()):
        self.root, self.at_once, self.there, self.lost = root, at_once, there, lost
        self.submitted: list[list[str]] = []
        self.left: list[BaseException] = []

    def adopted(self, runs: Sequence[str]) -> dict[str, str]:
        for run in self.there:
            self._end(run)
        return {run: f"job of {run}" for run in self.there}

    @contextmanager
    def submitting(self, runs: Sequence[str], jobs: dict[str, str]) -> Iterator[None]:
        self.submitted.append(list(runs))
        yield
        jobs.update({run: f"job of {run}" for run in runs})
        for run in runs:
            self._end(run)

    def _end(self, run: str) -> None:
        if run not in self.lost:
            save(RESULT, self.root / run)

    def states(self) -> dict[str, str]:
        return {f"job of {run}": "CANCELLED" for run in self.lost}

    def leave(self, reason: BaseException) -> None:
        self.left.append(reason)


class Plugin:
    """Notes the jobs that it was to launch, and the number of the first."""

    params = {"submitit_folder": "logs/%j"}

    def __init__(self) -> None:
        self.launched: list[tuple[list[str], int]] = []

    def launch(self, jobs: Sequence[Sequence[str]], first: int) -> None:
        self.launched.append(([job[0] for job in jobs], first))


def submitted(queue: Queue, *runs: str, plugin: Any = None) -> Plugin:
    jobs = SubmittedJobs(plugin or Plugin(), "submitit_slurm", lambda job: job[0], queue.root)
    jobs.queue = queue  # pyright: ignore[reportAttributeAccessIssue] - it does what a queue does
    assert jobs.launch([[run] for run in runs], 10) == []
    return jobs.plugin


def test_as_many_jobs_are_submitted_at_a_time_as_may_run_at_once(tmp_path: Path) -> None:
    queue = Queue(tmp_path, at_once=2)
    assert submitted(queue, *"abcde").launched == [(["a", "b"], 10), (["c", "d"], 12), (["e"], 14)]
    assert queue.submitted == [["a", "b"], ["c", "d"], ["e"]]


def test_a_run_whose_job_is_in_the_queue_is_waited_for_and_not_submitted_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submitted(Queue(tmp_path, there="ac"), *"abc").launched == [(["b"], 10)]
    assert capsys.readouterr().out == "waiting for 2 jobs in the queue: job of a job of c\n"
    assert submitted(Queue(tmp_path, there="abc"), *"abc").launched == []


def test_jobs_that_are_lost_are_told_when_the_others_have_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = Queue(tmp_path, lost="b")
    line = r"^hydra/launcher=submitit_slurm: 1 job left no record \(CANCELLED\); see logs/, repeat the command$"
    with pytest.raises(LostJobsError, match=line) as caught:
        submitted(queue, *"abc")
    assert (caught.value.states, caught.value.cancelled) == ({"b": "CANCELLED"}, {"b"})
    assert capsys.readouterr().out == "b: its job job of b left no record: CANCELLED\n"
    assert queue.left == [], "it ended by itself"


def test_what_ends_the_waiting_is_told_to_the_queue(tmp_path: Path) -> None:
    class Interrupted(Plugin):
        def launch(self, jobs: Sequence[Sequence[str]], first: int) -> None:
            raise KeyboardInterrupt

    queue = Queue(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        submitted(queue, "a", plugin=Interrupted())
    assert [type(reason) for reason in queue.left] == [KeyboardInterrupt]


def test_the_line_of_a_run_is_printed_when_its_record_is_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Sweep() as sweep:
        sweep.progress = Progress(3, 1)
        submitted(Queue(tmp_path), "a")
    assert capsys.readouterr().out == "2 of 3  a  accuracy 0.5000  2.0 s\n"


@pytest.mark.parametrize(("executor", "said"), [("slurm", "2  a  accuracy 0.5000  2.0 s\n"), (None, "")])
def test_a_worker_prints_the_line_of_a_run_only_where_submitit_keeps_a_log(
    executor: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SUBMITIT_EXECUTOR", raising=False)
    if executor:
        monkeypatch.setenv("SUBMITIT_EXECUTOR", executor)
    save(RESULT, tmp_path / "other")
    save(RESULT, tmp_path / "a")
    tell(RESULT, tmp_path / "a")
    assert capsys.readouterr().out.endswith(said)
    assert bool(said) == (executor is not None)


# Processes of this machine


def started(script: str) -> tuple[LocalJobs, subprocess.Popen[Any]]:
    jobs = LocalJobs(Path())
    return jobs, jobs._start(["sh", "-c", script])


def test_a_process_is_running_until_it_has_ended_and_of_others_nothing_is_known() -> None:
    jobs, process = started("sleep 60")
    assert jobs.adopted(["a"]) == {}
    assert jobs.states() == {str(process.pid): "RUNNING"}
    process.kill()
    process.wait()
    assert jobs.states() == {}
    jobs.leave(KeyboardInterrupt())  # nothing is left to be ended
    assert process.returncode == -signal.SIGKILL


def test_leaving_ends_the_processes_with_what_they_have_started(tmp_path: Path) -> None:
    told = tmp_path / "child"
    jobs, process = started(f"sleep 60 & echo $! > {told}; wait")
    wait_for(lambda: told.exists() and told.read_text().endswith("\n"))
    child = int(told.read_text())
    jobs.leave(KeyboardInterrupt())
    assert process.returncode == -signal.SIGKILL
    wait_for(lambda: not alive(child), 5)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# Slurm's queue


def script(directory: Path, name: str, text: str) -> None:
    (directory / name).write_text(f"#!/bin/sh\n{text}\n")
    (directory / name).chmod(0o755)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], SlurmQueue]:
    """`cluster("exit 1")`: a sweep's queue, whose array 12 has runs a and b, where `squeue` is this script."""

    def make(squeue: str) -> SlurmQueue:
        script(tmp_path, "squeue", squeue)
        script(tmp_path, "scancel", f"echo $@ >> {tmp_path}/cancelled")
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        (tmp_path / LEDGER).write_text('[{"token": "token-1", "runs": ["a", "b"], "number": "12"}]')
        return SlurmQueue(tmp_path)

    return make


class Closed(BaseException):
    """As the signal of a closed terminal is raised."""

    number = signal.SIGHUP


QUEUED = "printf '12_0|COMPLETED|token-1\\n12_1|RUNNING|token-1\\n13|RUNNING|other\\n'"


@pytest.mark.parametrize("reason", [Closed(), RuntimeError("the disk is full")], ids=["a closed terminal", "an error"])
def test_jobs_stay_in_the_queue_unless_somebody_has_ended_the_command(
    reason: BaseException, cluster: Callable[[str], SlurmQueue], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster(QUEUED).leave(reason)
    assert capsys.readouterr().out == "left in the queue: 1 job; repeat the command to wait, or scancel 12\n"
    assert not (tmp_path / "cancelled").exists()


def test_ctrl_c_ends_the_jobs_that_are_known_also_where_squeue_does_not_answer(
    cluster: Callable[[str], SlurmQueue], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster("exit 1").leave(KeyboardInterrupt())
    assert capsys.readouterr().out == "ending 1 job: scancel 12\n"
    assert (tmp_path / "cancelled").read_text() == "12\n"


def test_where_no_job_is_left_nothing_is_ended_or_said(
    cluster: Callable[[str], SlurmQueue], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster("true").leave(KeyboardInterrupt())
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "cancelled").exists()


def test_a_sweep_that_has_submitted_nothing_has_no_jobs(tmp_path: Path) -> None:
    assert SlurmQueue(tmp_path).adopted(["a"]) == {}


@pytest.mark.parametrize(("state", "again"), [("RUNNING", True), ("COMPLETING", False)])
def test_a_job_queues_itself_again_when_it_is_preempted_and_not_when_somebody_cancels_it(
    state: str, again: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit", reason="submitit starts the job: pip install 'mnist-lightning[submitit]'")
    script(tmp_path, "squeue", f"echo $@ > {tmp_path}/asked; echo {state}")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    requeued: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2)}
    try:
        signal.signal(signal.SIGUSR2, lambda number, frame: requeued.append(number))
        requeued_on_sigterm()
        with pytest.raises(SystemExit) as ended:
            signal.raise_signal(signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert ended.value.code == 143
    assert bool(requeued) is again
    assert (tmp_path / "asked").read_text() == "--noheader --jobs 12 --format=%T\n"
