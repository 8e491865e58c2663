"""Hydra's basic sweeper, except that the whole grid is judged, and its plan written, before the first run.

Hydra takes sweepers only from this namespace, and every Hydra program scans it: imports stay light here. Hydra
runs this file outside `sys.modules`, where no dataclass can be made.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.types import HydraContext
from omegaconf import DictConfig


class GridSweeper(BasicSweeper):
    """What `hydra/sweeper=basic` is in mnist_lightning's configuration."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose every job, as Hydra does; then refuse, plan and skip through `sweep.prepare`."""
        assert self.overrides is not None
        assert isinstance(self.config, DictConfig)
        assert isinstance(self.hydra_context, HydraContext)
        if self.batch_index > 1:  # with a max_batch_size: all batches were judged with the first
            return
        from mnist_lightning import sweep
        from mnist_lightning.config import parse

        loader = self.hydra_context.config_loader
        batches: list[list[list[str]]] = self.overrides  # pyright: ignore[reportAssignmentType]
        configs = [
            [parse(sweep.without_hydra(loader.load_sweep_config(self.config, list(job)))) for job in jobs]
            for jobs in batches
        ]
        todo = sweep.prepare(self.config.hydra.sweep.dir, configs)
        for jobs, wanted in zip(batches, todo, strict=True):
            jobs[:] = [job for job, is_wanted in zip(jobs, wanted, strict=True) if is_wanted]
