"""Jobs given to submitit: the records say what is done, the queue says what can still come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from mnist_lightning.errors import EXIT_RUNS_MISSING, UserError
from mnist_lightning.records.results import RECORD, load
from mnist_lightning.sweep.attempts import has_ended
from mnist_lightning.sweep.local_jobs import LocalJobs
from mnist_lightning.sweep.slurm import CANCELLED, SlurmQueue, count_jobs, is_over

_FIRST = 1.0  # seconds until the second look at a queue; a tenth longer each time


class LostJobsError(UserError):
    """Jobs that have ended, or were cancelled, and left no record."""

    exit_code = EXIT_RUNS_MISSING

    def __init__(self, launcher: str, logs: str, states: dict[str, str], started: set[str]) -> None:
        self.states, self.started = states, started
        lost = f"{count_jobs(states)} left no record ({', '.join(sorted(set(states.values())))})"
        super().__init__(f"hydra/launcher={launcher}: {lost}; see {logs}, repeat the command")

    @property
    def cancelled(self) -> set[str]:
        """The runs whose jobs somebody has cancelled: they are not to be submitted again."""
        return {run for run, state in self.states.items() if state == CANCELLED}


class SubmittedJobs(Launcher):
    """Submits by hydra-submitit-launcher and waits for records. The plugin waits for submitit's own files, and `sacct`.

    A job that is in the queue no more, and has left no record, is lost.
    """

    def __init__(self, plugin: Any, name: str, run_name: Callable[[Sequence[str]], str], sweep_dir: Path) -> None:
        self.plugin, self.name, self.run_name, self.sweep_dir = plugin, name, run_name, sweep_dir
        self.queue = SlurmQueue(sweep_dir) if type(plugin).__name__ == "SlurmLauncher" else LocalJobs(sweep_dir)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Passes Hydra's set-up on."""
        self.plugin.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submits what is not in the queue already, waits for all records. Raises LostJobsError if some cannot come."""
        jobs = {self.run_name(job): job for job in job_overrides}
        waiting = self.queue.adopted(list(jobs))
        if waiting:
            print(f"waiting for {count_jobs(waiting)} in the queue: {' '.join(waiting.values())}", flush=True)
        new = [run for run in jobs if run not in waiting]
        at_once = self.queue.at_once or max(len(new), 1)
        lost: dict[str, str] = {}
        started: set[str] = set()
        try:
            for start in range(0, max(len(new), 1), at_once):
                if runs := new[start : start + at_once]:
                    with self.queue.submitting(runs, waiting):
                        self.plugin.launch([jobs[run] for run in runs], initial_job_idx + start)
                self._wait(waiting, lost, started)
        except BaseException as error:
            self.queue.leave(error)
            raise
        if lost:
            raise LostJobsError(self.name, self.plugin.params["submitit_folder"].partition("%")[0], lost, started)
        return []

    def _wait(self, waiting: dict[str, str], lost: dict[str, str], started: set[str]) -> None:
        """Waits until every run has its record or its job is `lost`, by its state; `started` are those seen at work."""
        from mnist_lightning.sweep.sweep import called

        suspected: dict[str, float] = {}
        pause = _FIRST
        while waiting:
            states = self.queue.states()  # before the records: a job that has ended has written its own
            now = time.monotonic()
            for run, job in list(waiting.items()):
                state = "" if states is None else states.get(job, self.queue.gone)
                ended = state == self.queue.gone or is_over(state)
                if state == "RUNNING":
                    started.add(run)
                if self._announced(run):
                    del waiting[run]
                elif state == CANCELLED or (ended and now - suspected.get(run, now) > self.queue.grace):
                    print(f"{called(run)}: its job {job} left no record: {state}", flush=True)
                    lost[run] = state
                    del waiting[run]
                elif ended:
                    suspected.setdefault(run, now)
                else:
                    suspected.pop(run, None)
            if waiting:
                time.sleep(pause)
                pause = min(self.queue.slowest, pause * 1.1)

    def _announced(self, run: str) -> bool:
        """Whether the run has got its record; its line is printed then."""
        from mnist_lightning.sweep.sweep import current

        run_dir = self.sweep_dir / run
        with suppress(OSError):
            list(run_dir.iterdir())  # a network file system looks again
        if not has_ended(run_dir):
            return False
        if (sweep := current()) and sweep.progress:
            with suppress(UserError):
                sweep.progress.finished(load(run_dir / RECORD), run_dir)
        return True
