"""A launcher around any of Hydra's that starts the rest again when a worker has died."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from mnist_lightning.config import RunConfig
from mnist_lightning.sweep.attempts import attempts, has_ended
from mnist_lightning.sweep.compositions import ReusedCompositions
from mnist_lightning.sweep.job import record_killed


class PersistentLauncher(Launcher):
    """Launches by another launcher, and after a worker's death starts the rest again.

    joblib, Ray and submitit give up the whole sweep when one worker dies. What has a record on disk is done. What
    was never begun is started again together; what was begun and left no record is started again alone, so that
    only the run that kills its worker is blamed, at most `sweep.max_retries` times, and then recorded as failed.
    """

    def __init__(self, inner: Launcher, loader: ReusedCompositions, config: DictConfig) -> None:
        self.inner, self.loader, self.config = inner, loader, config
        self.sweep_dir: str = config.hydra.sweep.dir
        self.run_names: dict[tuple[str, ...], str] = {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Passes Hydra's set-up on."""
        self.inner.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def compose(self, job: Sequence[str]) -> RunConfig:
        """The checked configuration of a job."""
        config = self.loader.configuration(self.config, job)
        self.run_names[tuple(job)] = config.run_name
        return config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Launches the jobs until each has a record, however many workers die."""
        returns, death = self._try(job_overrides, initial_job_idx)
        while death is not None:
            rest = [job for job in job_overrides if not self._is_recorded(job)]
            suspects = [job for job in rest if attempts(self._run_dir(job))]
            fresh = [job for job in rest if job not in suspects]
            if not suspects:  # nothing was begun: the launcher itself does not work
                raise death
            self._isolate(suspects, initial_job_idx)
            _, death = self._try(fresh, initial_job_idx) if fresh else ([], None)
        return returns

    def _try(self, jobs: Sequence[Sequence[str]], index: int) -> tuple[Sequence[JobReturn], Exception | None]:
        returns: list[JobReturn] = []
        at_once = len(jobs)
        if type(self.inner).__name__ == "LocalLauncher":  # submitit has no limit of its own
            at_once = os.cpu_count() or 1
        try:
            for start in range(0, len(jobs), max(at_once, 1)):
                returns += self.inner.launch(jobs[start : start + at_once], initial_job_idx=index + start)
        except Exception as error:
            return returns, error
        return returns, None

    def _isolate(self, suspects: Sequence[Sequence[str]], index: int) -> None:
        """Starts each of these jobs alone, until it has a record or has died too often."""
        for job in suspects:
            config, run_dir = self.compose(job), self._run_dir(job)
            while not self._is_recorded(job):
                if attempts(run_dir) > config.sweep.max_retries:
                    record_killed(config, run_dir)
                    break
                print(f"{run_dir.name}: its worker died; tried again", flush=True)
                self._try([job], index)

    def _is_recorded(self, job: Sequence[str]) -> bool:
        return has_ended(self._run_dir(job))

    def _run_dir(self, job: Sequence[str]) -> Path:
        return Path(self.sweep_dir) / self.run_names[tuple(job)]
