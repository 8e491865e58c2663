"""How fast this machine trains a configuration: a second of it, timed, to foretell how long a sweep will take."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback

from mnist_lightning.config import RunConfig
from mnist_lightning.progress.work import work_of_steps
from mnist_lightning.training.data_module import MNISTDataModule
from mnist_lightning.training.fast_updates import FastUpdates
from mnist_lightning.training.lightning_modules import MNISTClassifier
from mnist_lightning.training.runtime import (
    flushed_denormals,
    interrupts_raised,
    keep_memory,
    keep_to_share,
    leave_ignored,
    quiet_lightning,
)
from mnist_lightning.training.trainer import plain_arguments

_WARM_UP, _SECONDS = 2, 1.0  # steps that are not timed; of the steps that are
_KEPT = ("accelerator", "devices", "precision")  # of the Trainer's arguments: a profiler's files are not for a trial


class _Stopwatch(Callback):
    """Times training steps after the first few, and ends the training when it has timed long enough."""

    steps, seconds, _started = 0, 0.0, 0.0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == _WARM_UP:
            self._started = time.perf_counter()
        elif self._started:
            self.steps, self.seconds = trainer.global_step - _WARM_UP, time.perf_counter() - self._started
            trainer.should_stop = self.seconds >= _SECONDS


def seconds_per_work(config: RunConfig) -> float | None:
    """Trains a throw-away network of this configuration for about a second; the time a unit of `Work` takes.

    The update of a long training is compiled before, as it would be in the sweep, which then finds it done.
    None where nothing could be timed. The data must have been read; nothing is written.
    """
    watch = _Stopwatch()
    wanted = {key: value for key, value in plain_arguments(config, Path()).items() if key in _KEPT}
    keep_memory()
    keep_to_share()
    with quiet_lightning(), flushed_denormals(), interrupts_raised():
        trainer = leave_ignored(
            L.Trainer(
                **wanted,
                max_epochs=config.trainer.max_epochs,  # the watch ends it; but a long training is compiled for
                limit_val_batches=0,
                callbacks=[FastUpdates(), watch],
                plugins=[LightningEnvironment()],
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
        )
        data = MNISTDataModule.from_config(config)
        trainer.fit(MNISTClassifier.from_config(config, data.dataset.shape), data)
        del trainer
    gc.collect()  # or the throw-away network lies in memory beside the first run's
    return watch.seconds / work_of_steps(config, watch.steps) if watch.steps else None
