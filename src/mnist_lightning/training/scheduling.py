"""What a LightningModule does about its learning-rate schedule; a run that was cut off goes on as it would have."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import lightning as L
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from mnist_lightning.config import SCHEDULERS, RunConfig, SchedulerConfig
from mnist_lightning.config.keys import section_from
from mnist_lightning.errors import ConfigError, Problem
from mnist_lightning.numerics.schedules import NEED_LENGTH, build_schedule, warmed_up


def stored_schedule(config: RunConfig) -> dict[str, Any] | None:
    """The schedule of a configuration as a checkpoint keeps it: where its length decides it, with that."""
    if not config.scheduler.is_used:
        return None
    own = config.scheduler.identity()
    return {**own, "epochs": config.trainer.max_epochs} if config.scheduler.name in NEED_LENGTH else own


class Scheduled(L.LightningModule):
    """Follows `schedule`: after each epoch or update as Lightning does, by a metric before the checkpoint is saved."""

    schedule: SchedulerConfig
    schedule_is_stored = False  # a checkpoint's, and not given again

    def __init__(self) -> None:
        super().__init__()
        self.used_lr = 0.0  # of the last update
        self.validated = False  # in this epoch

    def follow(self, given: Any, stored: Mapping[str, Any] | None = None) -> None:
        """Takes the schedule that is given, as `RunConfig` takes it, or else the one that a checkpoint has stored."""
        named = {k: v for k, v in (stored or {}).items() if k != "epochs"}
        self.schedule_is_stored = stored is not None and given == "none"
        self.schedule = section_from(SchedulerConfig, named if self.schedule_is_stored else given)

    def scheduled(self, optimizer: Optimizer) -> OptimizerLRScheduler:
        """What `configure_optimizers` returns of an optimizer."""
        if self.schedule.name == "none":
            return optimizer
        if self.schedule_is_stored and self.schedule.name not in SCHEDULERS:
            what, way_out = "is named by a checkpoint, not by you", "give it again as scheduler"
            raise ConfigError([Problem("scheduler", self.schedule.name, what, way_out)])
        by_step = self.schedule.interval == "step"
        length = self.trainer.estimated_stepping_batches if by_step else self.trainer.max_epochs or 1
        scheduler = build_schedule(self.schedule, optimizer, int(length))
        assert scheduler is not None
        # Lightning would step one that waits for a metric after the checkpoint is saved: we do it before
        waits = isinstance(scheduler, ReduceLROnPlateau)
        stepped = {"interval": "step" if by_step else "epoch", "frequency": sys.maxsize if waits else 1}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": self._monitor, **stepped}}  # pyright: ignore - Lightning's types know no such dictionary

    @property
    def _monitor(self) -> str:
        return self.schedule.monitor or "val_loss"

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        if not self.schedule.is_used:
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
            return
        steps = self.schedule.warmup_steps or 0
        if self.schedule.warmup_epochs:
            batches = int(self.trainer.num_training_batches)
            steps = self.schedule.warmup_epochs * -(-batches // self.trainer.accumulate_grad_batches)
        with warmed_up(optimizer, self.trainer.global_step, steps):
            self.used_lr = float(optimizer.param_groups[0]["lr"])
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def end_scheduled_epoch(self, metrics: Mapping[str, Tensor]) -> None:
        """Logs the learning rate of the epoch's last update, then steps a schedule that waits for a metric."""
        self.log("lr", self.used_lr)
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau):
            known = {**self.trainer.callback_metrics, **metrics} if self.validated else metrics
            if self._monitor in known:
                scheduler.step(float(known[self._monitor]))
        self.validated = False
