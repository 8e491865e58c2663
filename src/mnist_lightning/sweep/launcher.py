"""A launcher around any of Hydra's that starts the rest again when a worker has died."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from mnist_lightning.config import RunConfig
from mnist_lightning.errors import ConfigError, Problem, UserError
from mnist_lightning.records import locks
from mnist_lightning.sweep.attempts import attempts, has_ended
from mnist_lightning.sweep.job import record_killed
from mnist_lightning.sweep.progress import TELLING
from mnist_lightning.sweep.ray_tasks import RayTasks
from mnist_lightning.sweep.submitted import LostJobsError, SubmittedJobs

_KILLED = "killed, often by the system for want of memory"
_SLURM = ("srun", "sbatch", "squeue", "scancel")


class Launches(Protocol):
    """What starts jobs and waits until they have ended; it raises when one of its workers has died."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Launches the jobs."""
        ...


class Configurations(Protocol):
    """What knows the configuration of each job."""

    def configuration(self, job: Sequence[str]) -> RunConfig:
        """The checked configuration of a job."""
        ...


def check_processes(key: str, n_jobs: object) -> None:
    """Raises ConfigError for what is no number of processes that joblib could start."""
    if not isinstance(n_jobs, int) or isinstance(n_jobs, bool) or n_jobs == 0:
        way_out = "use 1 or more, or -1 for one per core"
        raise ConfigError([Problem(key, n_jobs, "no number of processes", way_out)])


class PersistentLauncher(Launcher):
    """Launches by another launcher, and after a worker's death starts the rest again.

    joblib, Ray and submitit give up the whole sweep when one worker dies. What has got a record is done. What
    was never begun is started again together; what was begun and left no record is started again alone, so that
    only the run that kills its worker is blamed, at most `sweep.max_retries` times, and then recorded as failed.
    A job that somebody has cancelled is not started again.
    """

    def __init__(self, plugin: Launches, configurations: Configurations, name: str, sweep_dir: str) -> None:
        self.plugin, self._configurations, self.name, self.sweep_dir = plugin, configurations, name, sweep_dir
        self.run_names: dict[tuple[str, ...], str] = {}
        kind = type(plugin).__name__
        self.inner: Any = plugin
        if kind == "RayLauncher":
            self.inner = RayTasks(cast(Launcher, plugin))
        elif kind in ("LocalLauncher", "SlurmLauncher"):
            self.inner = SubmittedJobs(cast(Launcher, plugin), self.name, self._run_name, Path(self.sweep_dir))

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Passes Hydra's set-up on."""
        self.inner.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def check(self) -> None:
        """Raises ConfigError for settings with which nothing could be launched, before anything is planned."""
        kind = type(self.plugin).__name__
        if kind == "SlurmLauncher" and (missing := [name for name in _SLURM if shutil.which(name) is None]):
            way_out = "run it on a machine of the cluster, or use hydra/launcher=submitit_local"
            raise ConfigError(f"hydra/launcher={self.name}: no {', '.join(missing)} here; {way_out}")
        if kind == "JoblibLauncher":
            check_processes("hydra.launcher.n_jobs", getattr(self.plugin, "joblib")["n_jobs"])  # noqa: B009

    def compose(self, job: Sequence[str]) -> RunConfig:
        """The checked configuration of a job."""
        config = self._configurations.configuration(job)
        self.run_names[tuple(job)] = config.run_name
        return config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Launches the jobs until each has a record, however many workers die, or was cancelled."""
        self._show()
        others = [] if self._adopts else [job for job in job_overrides if self._holder(job)]
        returns = self._launch([job for job in job_overrides if job not in others], initial_job_idx)
        for job in others:
            self._wait_for_holder(job)
        return [*returns, *self._launch([job for job in others if not self._is_recorded(job)], initial_job_idx)]

    def _show(self) -> None:
        """Shows from now on which runs are at work."""
        from mnist_lightning.sweep.sweep import current

        if (sweep := current()) and sweep.progress and sweep.to_do:
            runs = {Path(self.sweep_dir) / config.run_name: config for config in sweep.to_do}
            others = type(self.plugin).__name__ not in TELLING
            sweep.progress.begin(runs, sweep.to_do[0].progress, others_train=others)

    def _launch(self, jobs: Sequence[Sequence[str]], index: int) -> Sequence[JobReturn]:
        returns, death = self._try(jobs, index) if jobs else ([], None)
        cancelled: set[str] = set()
        while death is not None:
            started: set[str] = set()
            if isinstance(death, LostJobsError):
                cancelled |= death.cancelled
                started = death.started
            rest = [job for job in jobs if not self._is_recorded(job) and self._run_name(job) not in cancelled]
            suspects = [job for job in rest if attempts(self._run_dir(job)) or self._run_name(job) in started]
            fresh = [job for job in rest if job not in suspects]
            if rest and not suspects:  # nothing was begun: the launcher itself does not work
                raise self._explained(death) from death
            for job in suspects:
                cancelled |= self._isolate(job, index)
            _, death = self._try(fresh, index) if fresh else ([], None)
        return returns

    def _try(self, jobs: Sequence[Sequence[str]], index: int) -> tuple[Sequence[JobReturn], Exception | None]:
        try:
            return self.inner.launch(jobs, initial_job_idx=index), None
        except Exception as error:
            return [], error

    def _isolate(self, job: Sequence[str], index: int) -> set[str]:
        """Starts a job alone until it has a record or has died too often; the name of its run if it was cancelled."""
        config, run_dir = self.compose(job), self._run_dir(job)
        why = _KILLED
        while not self._is_recorded(job):
            begun = attempts(run_dir)
            if begun > config.sweep.max_retries:
                record_killed(config, run_dir, why)
                break
            print(f"{self._called(job)}: its worker died; tried again", flush=True)
            _, death = self._try([job], index)
            if isinstance(death, LostJobsError):
                why = f"its last job: {death.states[run_dir.name]}"
                if death.cancelled:
                    return death.cancelled
            if death is not None and attempts(run_dir) == begun and not self._is_recorded(job):
                raise self._explained(death) from death
        return set()

    def _explained(self, death: Exception) -> Exception:
        """The error of a plugin that has launched nothing, as one about its settings; ours and the system's stay."""
        ours = isinstance(death, (UserError, OSError)) or type(death).__module__.startswith("submitit.")
        if ours or not type(self.plugin).__module__.startswith("hydra_plugins.hydra_"):
            return death
        said = " ".join(f"{type(death).__name__}: {death}".split())
        return ConfigError(f"hydra/launcher={self.name}: {said[:100]}; see the settings hydra.launcher.*")

    @property
    def _adopts(self) -> bool:
        """Whether the launcher itself knows what an earlier command has left at work."""
        return type(self.plugin).__name__ == "SlurmLauncher"

    def _wait_for_holder(self, job: Sequence[str]) -> None:
        """Waits, and says for whom, while a process that an earlier command has left is at work on a run."""
        told = ""
        while (holder := self._holder(job)) and not self._is_recorded(job):
            if holder != told:
                print(f"{self._called(job)}: {holder} is still at work on it; waiting for that to end", flush=True)
            told = holder
            time.sleep(0.5)

    def _holder(self, job: Sequence[str]) -> str:
        return locks.holder_of(self._run_dir(job) / locks.LOCK)

    def _is_recorded(self, job: Sequence[str]) -> bool:
        return has_ended(self._run_dir(job))

    def _run_name(self, job: Sequence[str]) -> str:
        return self.run_names[tuple(job)]

    def _called(self, job: Sequence[str]) -> str:
        from mnist_lightning.sweep.sweep import called

        return called(self._run_name(job))

    def _run_dir(self, job: Sequence[str]) -> Path:
        return Path(self.sweep_dir) / self._run_name(job)
