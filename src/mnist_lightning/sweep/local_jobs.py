"""submitit's jobs on this machine: a process each, in a session of its own, all of which end with the command."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mnist_lightning.sweep.hydra_internals import processes_started_by, submissions_by


class LocalJobs:
    """The jobs of one sweep as processes of this machine."""

    at_once = os.cpu_count() or 1  # submitit would start all of them
    gone = "its process has ended"  # the state of a job of which nothing is known
    slowest, grace = 1.0, 0.0  # seconds between two looks; a record is seen at once

    def __init__(self, sweep_dir: Path) -> None:
        self.processes: list[subprocess.Popen[Any]] = []

    @contextmanager
    def submitting(self, runs: Sequence[str], jobs: dict[str, str]) -> Iterator[None]:
        """Within the block the plugin submits one job per run; their numbers come into `jobs`, by run."""

        def submit(executor: Any, send: Callable[[], list[Any]]) -> None:
            jobs.update(zip(runs, [job.job_id for job in send()], strict=True))

        with submissions_by(submit), processes_started_by(self._start):
            yield

    def _start(self, *arguments: Any, **more: Any) -> subprocess.Popen[Any]:
        self.processes.append(subprocess.Popen(*arguments, start_new_session=True, **more))
        return self.processes[-1]

    def adopted(self, runs: Sequence[str]) -> dict[str, str]:
        """None: a process that outlived its command is waited for by its lock."""
        return {}

    def states(self) -> dict[str, str]:
        """`RUNNING` for each process that has not ended, by its number; of the others nothing is known."""
        return {str(p.pid): "RUNNING" for p in self.processes if p.poll() is None}

    def leave(self, reason: BaseException) -> None:
        """Ends all processes, with whatever they have started. They write durably: nothing has to be said to them."""
        for process in self.processes:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
