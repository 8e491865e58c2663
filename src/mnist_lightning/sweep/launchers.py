"""The launchers of a sweep from Python: in this process, group by group, or by joblib's processes; without Hydra.

A job is a run's name in a list of its own, as `PersistentLauncher` hands it about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from hydra.core.utils import JobReturn

from mnist_lightning.config import RunConfig
from mnist_lightning.errors import ConfigError, PassedOn, UserError
from mnist_lightning.sweep.fused_launcher import in_groups
from mnist_lightning.sweep.job import run_in_sweep, tell
from mnist_lightning.sweep.launcher import check_processes
from mnist_lightning.sweep.sweep import current

LAUNCHERS = ("basic", "fused", "joblib")


@dataclass(frozen=True)
class BasicLauncher:
    """Trains one run after another in this process."""

    name: ClassVar[str] = "basic"
    root: Path
    configs: Mapping[str, RunConfig]

    def configuration(self, job: Sequence[str]) -> RunConfig:
        """The configuration of a job."""
        return self.configs[job[0]]

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Trains the jobs' runs; their records say how they ended."""
        for job in job_overrides:
            self.train(self.configuration(job))
        return []

    def train(self, config: RunConfig) -> None:
        """Trains one run here, unless its record is there."""
        if sweep := current():
            sweep.began = True
        run_dir = self.root / config.run_name
        try:
            result = run_in_sweep(config, run_dir, Path())
        except UserError as error:  # for the whole sweep; an Exception would be taken for a worker's death
            raise PassedOn(error) from error
        tell(result, run_dir)


class FusedLauncher(BasicLauncher):
    """Trains the runs of one architecture as one stacked network, and the others one after another."""

    name = "fused"

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Trains the jobs' runs."""
        configs = [self.configuration(job) for job in job_overrides]
        in_groups(configs, self.root, lambda index: self.train(configs[index]))
        return []


@dataclass(frozen=True)
class JoblibLauncher(BasicLauncher):
    """Trains `n_jobs` runs at a time in processes of this machine; -1 is one per core."""

    name = "joblib"
    n_jobs: int = -1

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Trains the jobs' runs; raises what joblib raises when a process has died."""
        from joblib import Parallel, delayed

        here = Path.cwd()
        work = (delayed(_train_in_worker)(self.configuration(job), self.root, here) for job in job_overrides)
        parallel = Parallel(self.n_jobs, backend="loky", pre_dispatch="n_jobs", batch_size=1)  # pyright: ignore[reportArgumentType] - its annotation is wrong
        for error in parallel(work):
            if error is not None:
                raise PassedOn(error) from error
        return []


def _train_in_worker(config: RunConfig, root: Path, started_in: Path) -> UserError | None:
    """Trains a run; the error, if one ends the sweep: its cause would not survive the way between processes."""
    config.data.root = str(started_in / config.data.root)
    try:
        run_in_sweep(config, root / config.run_name, started_in)
    except UserError as error:
        return error
    return None


def launcher_of(name: str, n_jobs: int | None, root: Path, configs: Sequence[RunConfig]) -> BasicLauncher:
    """The launcher of a name. Raises ConfigError for an unknown one, or one that needs what is not installed."""
    runs = {config.run_name: config for config in configs}
    if name not in LAUNCHERS:
        known = (
            f"use {', '.join(LAUNCHERS)}, or another one by the command: python -m mnist_lightning -m hydra/launcher=X"
        )
        raise ConfigError(f"launcher={name}: not from Python; {known}")
    if n_jobs is not None and name == "fused":
        raise ConfigError(f"n_jobs={n_jobs}: fused trains in this process; leave it out, or use launcher='joblib'")
    if name == "fused":
        return FusedLauncher(root, runs)
    if name == "basic" and n_jobs is None:
        return BasicLauncher(root, runs)
    check_processes("n_jobs", -1 if n_jobs is None else n_jobs)
    try:
        import joblib  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise ConfigError('launcher=joblib: not installed; pip install "mnist-lightning[joblib]"') from error
    return JoblibLauncher(root, runs, -1 if n_jobs is None else n_jobs)
