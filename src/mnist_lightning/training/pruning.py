"""Ends a run before its last epoch where a search sees that nothing will come of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import lightning as L
from lightning.pytorch.callbacks import Callback

from mnist_lightning.errors import RefusedError


class Judge(Protocol):
    """Says after each epoch whether a run is to be pruned; `name` is what the record calls it."""

    name: str

    def is_hopeless(self, epoch: int, val_loss: float) -> bool:
        """Whether a run is to end after this epoch (from 1), given its validation loss."""
        ...


@dataclass
class Pruning(Callback):
    """Asks a judge after each epoch but the last. Checkpoints keep the answer, so that a killed run ends the same."""

    judge: Judge
    pruned_at: int | None = None  # the epoch, from 1, after which the run was ended

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.pruned_at is not None:  # it was killed before its record was written
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        loss = float(trainer.callback_metrics.get("val_loss", math.nan))
        if trainer.should_stop or not math.isfinite(loss):
            return
        if self.judge.is_hopeless(epoch, loss) and epoch != trainer.max_epochs:
            self.pruned_at, trainer.should_stop = epoch, True

    def state_dict(self) -> dict[str, Any]:
        return {"pruned_at": self.pruned_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        epoch = state_dict.get("pruned_at")
        if epoch is not None and not (isinstance(epoch, int) and epoch > 0):
            raise RefusedError("its state of pruning is not ours; train the run again")
        self.pruned_at = epoch
