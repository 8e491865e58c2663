"""Slurm's queue: which jobs of a sweep are in it, and how they are ended. Accounting, which many lack, is not needed.

What will be submitted is noted in the sweep's directory before it is: so the next command finds the jobs of one that
was killed, at whatever instant.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from mnist_lightning.errors import EXIT_TERMINATED, ConfigError, RefusedError
from mnist_lightning.records.durable import write_durably
from mnist_lightning.sweep.hydra_internals import submissions_by

LEDGER = ".jobs.json"  # in the sweep's directory: what was submitted
CANCELLED = "CANCELLED"
_ENDED = {CANCELLED, "BOOT_FAIL", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"}
_ENDED |= {"REVOKED", "TIMEOUT"}
_SQUEUE = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%k"]
_PATIENCE = 30  # seconds for one of Slurm's commands


class InQueue(NamedTuple):
    """A job as `squeue` tells it; for some minutes also one that has ended."""

    number: str  # 12, or 12_3 in an array
    state: str
    comment: str


@dataclass(frozen=True)
class Submission:
    """One `sbatch`: a token that stands in its jobs' comment, their runs in the array's order, the array's number."""

    token: str
    runs: list[str]
    number: str | None = None  # unknown when the command was killed while it submitted
    cancelled: bool = False  # by us: nobody waits for these jobs

    def run_of(self, job: InQueue) -> str | None:
        """The run that a job trains, or None for a job of something else."""
        number, _, index = job.number.partition("_")
        ours = number == self.number or self.token in job.comment
        return self.runs[int(index or 0)] if ours and int(index or 0) < len(self.runs) else None


class SlurmQueue:
    """The jobs of one sweep in Slurm's queue."""

    at_once: int | None = None  # Slurm's business
    gone = "gone from the queue"  # the state of a job of which nothing is known
    slowest, grace = 30.0, 5.0  # seconds between two looks; until a record must be seen over a network file system

    def __init__(self, sweep_dir: Path) -> None:
        self.ledger = sweep_dir / LEDGER
        self.silent = False

    def submitting(self, runs: Sequence[str], jobs: dict[str, str]) -> AbstractContextManager[None]:
        """Within the block the plugin submits one job per run; their numbers come into `jobs`, by run."""

        def submit(executor: Any, send: Callable[[], list[Any]]) -> None:
            submission = Submission(f"mnist-lightning-{secrets.token_hex(6)}", list(runs))
            others = self._read()
            self._write([*others, submission])
            comment = executor._executor.parameters.get("comment")
            executor.update_parameters(slurm_comment=" ".join(filter(None, [comment, submission.token])))
            numbers = [job.job_id for job in send()]
            self._write([*others, replace(submission, number=numbers[0].partition("_")[0])])
            jobs.update(zip(runs, numbers, strict=True))

        return submissions_by(submit)

    def adopted(self, runs: Sequence[str]) -> dict[str, str]:
        """The jobs of these runs that an earlier command has left in the queue. Ends those that it wanted ended.

        Raises ConfigError if there may be some and `squeue` does not answer.
        """
        submissions = self._read()
        if not submissions:
            return {}
        queue = self._squeue()
        if queue is None:
            raise ConfigError("hydra/launcher=submitit_slurm: squeue does not answer; repeat the command when it does")
        alive = [
            (s, run, job) for s in submissions for job in queue if (run := s.run_of(job)) and not is_over(job.state)
        ]
        self._write([s for s in submissions if any(s is other for other, _, _ in alive)])
        _scancel([job.number for s, _, job in alive if s.cancelled])
        return {run: job.number for s, run, job in alive if not s.cancelled and run in runs}

    def states(self) -> dict[str, str] | None:
        """The state of each job in the queue, by its number; None, and a line once, while Slurm does not answer."""
        queue = self._squeue()
        if queue is None and not self.silent:
            print("squeue does not answer; waiting", flush=True)
        self.silent = queue is None
        return None if queue is None else {job.number: job.state for job in queue}

    def leave(self, reason: BaseException) -> None:
        """Ends the jobs after Ctrl-C or SIGTERM; otherwise they stay, and it is said how to end them."""
        submissions = self._read()
        queue = self._squeue()
        if queue is None:
            numbers = [submission.number for submission in submissions if submission.number]
        else:
            numbers = [j.number for j in queue if any(s.run_of(j) for s in submissions) and not is_over(j.state)]
        if not numbers:
            return
        arrays = " ".join(sorted({number.partition("_")[0] for number in numbers}))
        if isinstance(reason, Exception) or getattr(reason, "number", None) == getattr(signal, "SIGHUP", 0):
            print(f"left in the queue: {count_jobs(numbers)}; repeat the command to wait, or scancel {arrays}")
            return
        print(f"ending {count_jobs(numbers)}: scancel {arrays}", flush=True)
        self._write([replace(submission, cancelled=True) for submission in submissions])
        _scancel(numbers)

    def _read(self) -> list[Submission]:
        try:
            return [Submission(**entry) for entry in json.loads(self.ledger.read_text(encoding="utf-8"))]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            way_out = "see `squeue --me` for jobs of this sweep, delete the file and run again"
            raise RefusedError(f"{self.ledger}: no list of jobs ({error!s:.40}); {way_out}") from error

    def _write(self, submissions: list[Submission]) -> None:
        write_durably(self.ledger, (json.dumps([asdict(s) for s in submissions], indent=1) + "\n").encode())

    def _squeue(self) -> list[InQueue] | None:
        try:
            of_mine = [*_SQUEUE, f"--user={os.getuid()}"]
            done = subprocess.run(of_mine, capture_output=True, text=True, check=True, timeout=_PATIENCE)
        except (OSError, subprocess.SubprocessError):
            return None
        rows = (line.split("|", 2) for line in done.stdout.splitlines() if line.count("|") >= 2)
        return [InQueue(*row) for row in rows]


def requeued_on_sigterm() -> None:
    """Makes this process, a job of submitit's in Slurm, queue itself again when Slurm announces its end by SIGTERM.

    A job that is preempted has some time, and if it ended by itself within it Slurm would take it for done; one that
    somebody cancels must not come back. submitit ignores SIGTERM; Lightning would end the run.
    """
    from submitit import JobEnvironment

    number = JobEnvironment().job_id
    requeue: Any = signal.getsignal(JobEnvironment._usr_sig())  # submitit's handler for the end of the job's time

    def handle(signum: int, frame: Any) -> None:
        asked = ["squeue", "--noheader", "--jobs", number, "--format=%T"]
        state = subprocess.run(asked, capture_output=True, text=True, timeout=_PATIENCE, check=False).stdout.strip()
        if state == "RUNNING":
            requeue(signum, frame)
        sys.exit(EXIT_TERMINATED)

    signal.signal(signal.SIGTERM, handle)


def count_jobs(jobs: Collection[object]) -> str:
    """`1 job`, `2 jobs`."""
    return "1 job" if len(jobs) == 1 else f"{len(jobs)} jobs"


def is_over(state: str) -> bool:
    """Whether a job of this state runs no more, and will not again."""
    return state in _ENDED


def _scancel(numbers: Sequence[str]) -> None:
    if numbers:
        try:
            subprocess.run(["scancel", *numbers], capture_output=True, check=True, timeout=_PATIENCE)
        except (OSError, subprocess.SubprocessError):
            print(f"scancel does not answer; end these jobs yourself: scancel {' '.join(numbers)}", flush=True)
