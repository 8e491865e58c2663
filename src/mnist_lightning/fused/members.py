"""One member of a group: its own loggers and best epoch while it trains, and the run directory it leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from mnist_lightning.config import RunConfig, Shape
from mnist_lightning.data.datasets import Dataset
from mnist_lightning.numerics.metrics import METRICS
from mnist_lightning.records.results import RunResult
from mnist_lightning.records.run_directory import BEST, LAST
from mnist_lightning.training.checkpoints import DurableCheckpoints
from mnist_lightning.training.lightning_modules import MNISTClassifier
from mnist_lightning.training.record import Trained, store
from mnist_lightning.training.run_log import RunLog
from mnist_lightning.training.trainer import loggers, names_of


@dataclass
class Member:
    """A configuration in a group, the directory of its run, and how it is doing."""

    config: RunConfig
    path: Path
    best_loss: float = math.inf
    best_epoch: int | None = None
    result: RunResult | None = None
    run_log: RunLog = field(init=False)

    @property
    def keeps_checkpoints(self) -> bool:
        """Whether the configuration asks for checkpoints."""
        return self.config.trainer.enable_checkpointing is not False

    def open_loggers(self) -> RunLog:
        """Opens the loggers of the configuration in the run's directory; a context around the training."""
        names = names_of(self.path, self.config.run_name)
        self.run_log = RunLog(self.config, loggers(self.config.logger, names, build=True))
        return self.run_log

    def log(self, epoch: int, step: int, train: Sequence[float], val: Sequence[float] | None) -> None:
        """Gives the loggers the METRICS of an epoch, from 1, which has ended with the update `step`, from 0."""
        values = {f"val_{k}": v for k, v in zip(METRICS, val, strict=True)} if val is not None else {}
        values |= {f"train_{k}": v for k, v in zip(METRICS, train, strict=True)}
        for logger in self.run_log.loggers:
            logger.log_metrics({"epoch": epoch - 1, **values}, step)
            logger.save()

    def finish(
        self, trained: Trained, dataset: Dataset, weights: Mapping[str, Tensor], best: Mapping[str, Tensor], steps: int
    ) -> None:
        """Leaves what a single run leaves: checkpoints (of weights only), predictions, and last the record.

        `weights` and `best` are the member's own parameters, each without the leading dimension [G].
        """
        if self.keeps_checkpoints:
            described = _describe(self.config, dataset.shape)
            _save_weights(self, described, LAST, weights, trained.epochs - 1, steps)
            _save_weights(self, described, BEST, best, (trained.best_epoch or trained.epochs) - 1, steps)
        self.run_log.finish(trained, steps)
        self.result = store(self.config, trained, dataset, self.path)


def _describe(config: RunConfig, shape: Shape) -> dict[str, Any]:
    """The arguments of a member's classifier."""
    with torch.device("meta"):
        return dict(MNISTClassifier.from_config(config, shape).hparams)


def _save_weights(
    member: Member, described: dict[str, Any], name: str, weights: Mapping[str, Tensor], epoch: int, steps: int
) -> None:
    """Saves a Lightning checkpoint of weights, which `MNISTClassifier.load_from_checkpoint` and `predict` load."""
    content: dict[str, Any] = {
        "epoch": epoch,
        "global_step": steps,
        "pytorch-lightning_version": L.__version__,
        # a copy: a view would take the whole stack into the file
        "state_dict": {f"net.{key}": value.cpu().clone() for key, value in weights.items()},
        "hparams_name": "kwargs",
        "hyper_parameters": described,
    }
    DurableCheckpoints().save_checkpoint(content, member.path / name)
