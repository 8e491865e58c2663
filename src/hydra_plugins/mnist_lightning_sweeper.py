"""Hydra's basic sweeper, except that the whole grid is judged, and its plan written, before the first run.

Hydra takes sweepers only from this namespace, and every Hydra program scans it: imports stay light here. Hydra
runs this file outside `sys.modules`, where no dataclass can be made.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from mnist_lightning.sweep.compositions import ReusedCompositions


class GridSweeper(BasicSweeper):
    """What `hydra/sweeper=basic` is in mnist_lightning's configuration."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from mnist_lightning.sweep.compositions import ReusedCompositions

        loader = ReusedCompositions(hydra_context.config_loader)
        hydra_context = HydraContext(config_loader=loader, callbacks=hydra_context.callbacks)  # pyright: ignore[reportArgumentType] - it passes all else on
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        assert self.launcher is not None
        self.launcher = PersistentLauncher(self.launcher, loader, config)

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose every job, as Hydra does; then refuse, plan and skip through `sweep.prepare`."""
        assert self.overrides is not None
        assert isinstance(self.launcher, PersistentLauncher)
        if self.batch_index > 1:  # with a max_batch_size: all batches were judged with the first
            return
        from mnist_lightning.config import parse
        from mnist_lightning.sweep import sweep

        batches: list[list[list[str]]] = self.overrides  # pyright: ignore[reportAssignmentType] - of batches, whatever Hydra's stub says
        directory = self.launcher.config.hydra.sweep.dir
        try:
            sweep.require_named_directories(self.launcher.config)
            configs = [[parse(self.launcher.compose(job)) for job in jobs] for jobs in batches]
            todo = sweep.prepare(directory, configs)
        except Exception:
            sweep.remove_refused(Path(directory))
            raise
        for jobs, flags, wanted in zip(batches, configs, todo, strict=True):
            for job, config in zip(jobs, flags, strict=True):
                self.launcher.run_names[tuple(job)] = config.run_name
            jobs[:] = [job for job, is_wanted in zip(jobs, wanted, strict=True) if is_wanted]
        self.launcher.loader.keep_only(job for jobs in batches for job in jobs)


class PersistentLauncher(Launcher):
    """Any launcher, which after a worker's death starts the rest again.

    joblib, Ray and submitit give up the whole sweep when one worker dies. What has a record on disk is done. What
    was never begun is started again together; what was begun and left no record is started again alone, so that
    only the run that kills its worker is blamed, at most `sweep.max_retries` times, and then recorded as failed.
    """

    def __init__(self, inner: Launcher, loader: ReusedCompositions, config: DictConfig) -> None:
        self.inner, self.loader, self.config = inner, loader, config
        self.run_names: dict[tuple[str, ...], str] = {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.inner.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def compose(self, job: Sequence[str]) -> DictConfig:
        from mnist_lightning.sweep.sweep import without_hydra

        return without_hydra(self.loader.compose(self.config, job))

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        returns, death = self._try(job_overrides, initial_job_idx)
        while death is not None:
            rest = [job for job in job_overrides if not self._is_recorded(job)]
            suspects = [job for job in rest if self._attempts(job)]
            fresh = [job for job in rest if not self._attempts(job)]
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
        from mnist_lightning.sweep import sweep

        for job in suspects:
            composed = self.compose(job)
            run_dir = Path(self.config.hydra.sweep.dir) / self.run_names[tuple(job)]
            while not self._is_recorded(job):
                if sweep.attempts(run_dir) > composed.sweep.max_retries:
                    sweep.record_killed(composed, run_dir)
                    break
                print(f"{run_dir.name}: its worker died; tried again", flush=True)
                self._try([job], index)

    def _is_recorded(self, job: Sequence[str]) -> bool:
        return (Path(self.config.hydra.sweep.dir) / self.run_names[tuple(job)] / "result.json").is_file()

    def _attempts(self, job: Sequence[str]) -> int:
        from mnist_lightning.sweep import sweep

        return sweep.attempts(Path(self.config.hydra.sweep.dir) / self.run_names[tuple(job)])
