"""Says in a run's directory, about once a second, how far its training is."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from mnist_lightning.records.heartbeat import Heartbeat, beat
from mnist_lightning.records.run_directory import home_of

_EVERY = 0.9  # seconds


class Heartbeats(Callback):
    """Writes the heartbeat of a training, of the runs of these names, into the directory of the first."""

    def __init__(self, place: Path, runs: Sequence[str]) -> None:
        self.run_dir, self.runs = home_of(place), list(runs)
        self._began, self._before, self._beaten = 0.0, 0.0, -math.inf

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._began = time.time()
        self._before = self._state(trainer, pl_module, trainer.current_epoch + 1, 0).fraction
        self._beat(trainer, pl_module, trainer.current_epoch + 1, 0)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if time.monotonic() - self._beaten >= _EVERY:
            self._beat(trainer, pl_module, trainer.current_epoch + 1, batch_idx + 1)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if time.monotonic() - self._beaten >= _EVERY:
            self._beat(trainer, pl_module, trainer.current_epoch + 1, _batches(trainer))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._beat(trainer, pl_module, max(trainer.current_epoch, 1), _batches(trainer))

    def _beat(self, trainer: L.Trainer, module: L.LightningModule, epoch: int, batch: int) -> None:
        beat(self.run_dir, self._state(trainer, module, epoch, batch))
        self._beaten = time.monotonic()

    def _state(self, trainer: L.Trainer, module: L.LightningModule, epoch: int, batch: int) -> Heartbeat:
        batches, epochs = _batches(trainer), trainer.max_epochs or 0
        if trainer.max_steps > 0 and batches:
            most = math.ceil(trainer.max_steps / batches)
            epochs = min(epochs, most) if epochs > 0 else most
        accuracy = getattr(module, "val_accuracy", trainer.callback_metrics.get("val_accuracy"))  # a group's best
        return Heartbeat(
            epoch,
            max(epochs, 0),
            batch,
            batches,
            self.runs,
            self._began,
            self._before,
            None if accuracy is None else float(accuracy),
        )


def _batches(trainer: L.Trainer) -> int:
    """Batches of an epoch; 0 where the trainer does not know."""
    number = trainer.num_training_batches
    return int(number) if math.isfinite(number) else 0
