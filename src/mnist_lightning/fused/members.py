"""One member of a group: what it has of its own while it trains, and the run directory it leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import Logger
from torch import Tensor

from mnist_lightning.config import RunConfig
from mnist_lightning.data.datasets import Dataset
from mnist_lightning.numerics.metrics import METRICS
from mnist_lightning.records.results import RunResult, save
from mnist_lightning.training.checkpoints import BEST, LAST, DurableCheckpoints
from mnist_lightning.training.lightning_modules import MNISTClassifier
from mnist_lightning.training.record import describe_trained, device_name
from mnist_lightning.training.trainer import loggers


@dataclass
class Member:
    """A configuration in a group, the directory of its run, and how it is doing."""

    config: RunConfig
    path: Path
    best_loss: float = math.inf
    best_epoch: int | None = None
    result: RunResult | None = None
    loggers: list[Logger] = field(default_factory=list)

    @property
    def keeps_checkpoints(self) -> bool:
        return self.config.trainer.enable_checkpointing is not False

    def open_loggers(self) -> None:
        names = {"directory": str(self.path), "run_name": self.config.run_name}
        self.loggers = loggers(self.config.logger, names, build=True)

    def log(self, epoch: int, train: Sequence[float], val: Sequence[float] | None) -> None:
        """Feed the loggers with an epoch's METRICS, counted from 1."""
        values = {f"val_{k}": v for k, v in zip(METRICS, val, strict=True)} if val is not None else {}
        values |= {f"train_{k}": v for k, v in zip(METRICS, train, strict=True)}
        for logger in self.loggers:
            logger.log_metrics({"epoch": epoch - 1, **values}, step=epoch)


def finish(
    member: Member,
    dataset: Dataset,
    metrics: dict[str, dict[str, float]],
    logits: Tensor,
    weights: Mapping[str, Tensor],
    best: Mapping[str, Tensor],
    *,
    epochs: int,
    steps: int,
    diverged: bool,
    trainer: L.Trainer,
    seconds: float,
    samples_per_second: float,
    group_size: int,
) -> None:
    """Leave what a single run leaves: checkpoints (of weights only), predictions, and last the record."""
    if member.keeps_checkpoints:
        _save_weights(member, LAST, weights, epochs - 1, steps)
        _save_weights(member, BEST, best, (member.best_epoch or epochs) - 1, steps)
    path, config = member.path, member.config
    result = describe_trained(config, path, dataset, metrics, logits, epochs=epochs, diverged=diverged)
    result.engine, result.group_size = "fused", group_size
    result.num_parameters = sum(p.numel() for p in weights.values())
    result.best_epoch = member.best_epoch
    result.precision, result.device = str(trainer.precision), device_name(trainer.strategy.root_device)
    result.duration_seconds, result.samples_per_second = seconds, samples_per_second
    for logger in member.loggers:
        logger.finalize("success")
    save(result, path)
    member.result = result


def _save_weights(member: Member, name: str, weights: Mapping[str, Tensor], epoch: int, steps: int) -> None:
    """A Lightning checkpoint of weights, which `MNISTClassifier.load_from_checkpoint` and `predict` load."""
    with torch.device("meta"):
        described = MNISTClassifier.from_config(member.config)
    content: dict[str, Any] = {
        "epoch": epoch,
        "global_step": steps,
        "pytorch-lightning_version": L.__version__,
        # a copy: a view would take the whole stack into the file
        "state_dict": {f"net.{key}": value.cpu().clone() for key, value in weights.items()},
        "hparams_name": "kwargs",
        "hyper_parameters": dict(described.hparams),
    }
    DurableCheckpoints().save_checkpoint(content, member.path / name)
