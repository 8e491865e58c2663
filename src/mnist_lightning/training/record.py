"""The record of a run, made from its configuration and from what either engine returned of the training."""

from __future__ import annotations

import math
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mnist_lightning.config import ModelConfig, RunConfig
from mnist_lightning.config.keys import loss_label
from mnist_lightning.data.datasets import Dataset
from mnist_lightning.errors import one_line
from mnist_lightning.numerics.losses import probabilities
from mnist_lightning.records.predictions import make_predictions, save_predictions
from mnist_lightning.records.results import RunResult, Status, save
from mnist_lightning.records.run_directory import BEST, LAST, TRACEBACK, finish_retraining, home_of
from mnist_lightning.records.versions import versions
from mnist_lightning.training.checkpoints import sha256
from mnist_lightning.training.runtime import is_out_of_memory


@dataclass(frozen=True)
class Trained:
    """What an engine returns when it has trained a run. Metrics are the final weights', {METRICS name: value}."""

    train: dict[str, float]
    val: dict[str, float]
    test: dict[str, float]
    test_logits: Tensor  # float32 [N, 10], on the CPU: of all N test images
    epochs: int
    best_epoch: int | None
    diverged: bool
    num_parameters: int
    seconds: float
    samples_per_second: float
    precision: str
    device: torch.device
    engine: str = "lightning"
    group_size: int = 1
    update: str = ""  # as in the record
    pruned_by: str = ""  # the pruner of a search that has ended it before its last epoch

    @property
    def is_diverged(self) -> bool:
        """Whether the loss became NaN or infinite, in training or on a whole set afterwards."""
        return self.diverged or not all(math.isfinite(split["loss"]) for split in (self.train, self.test))


def store(config: RunConfig, trained: Trained, dataset: Dataset, path: Path) -> RunResult:
    """Stores a trained run in its place, beside its checkpoints: predictions for the figures, then the record.

    If the place is beside a finished run, this one takes over the directory.
    """
    p, train, test = probabilities(trained.test_logits), dataset.train, dataset.test
    save_predictions(make_predictions(p, test.images, test.labels, train.images, train.labels, config.seed), path)
    record = trained_record(config, trained, dataset, path)
    (path / TRACEBACK).unlink(missing_ok=True)  # of a failed run before
    save(record, path)
    finish_retraining(home_of(path))
    return record


def trained_record(config: RunConfig, trained: Trained, dataset: Dataset, path: Path) -> RunResult:
    """Builds the record of a run that was trained in the place `path`, where its checkpoints are."""
    last = sha256(path / LAST)
    columns: dict[str, Any] = _columns_of(config) | trained.train
    columns |= {f"{name}_test": value for name, value in trained.test.items()}
    columns |= {"train_size": len(dataset.train), "test_size": len(dataset.test), "data_sha256": dataset.sha256}
    status, error = _ended(config, trained)
    columns["num_classes"] = dataset.shape.num_classes
    shared = (
        "epochs",
        "best_epoch",
        "num_parameters",
        "samples_per_second",
        "precision",
        "engine",
        "group_size",
        "update",
    )
    columns |= {name: getattr(trained, name) for name in shared}
    return RunResult(
        **columns,
        status=status,
        error=error,
        loss_val=trained.val["loss"],
        accuracy_val=trained.val["accuracy"],
        device=device_name(trained.device),
        duration_seconds=trained.seconds,
        model_path=f"{home_of(path).name}/{LAST}" if last else "",
        checkpoint_sha256=last,
        best_checkpoint_sha256=sha256(path / BEST),
    )


def _ended(config: RunConfig, trained: Trained) -> tuple[Status, str]:
    """How a trained run ended, and why so."""
    if trained.is_diverged:
        return "diverged", f"loss is not finite in epoch {trained.epochs}"
    if trained.pruned_by:
        of = f"{trained.epochs} of {config.trainer.max_epochs}"
        return "pruned", one_line(f"pruned after epoch {of} ({trained.pruned_by})")
    return "completed", ""


def failed_record(config: RunConfig, error: BaseException) -> RunResult:
    """Builds the record of a run that `error` ended, before or while it was trained."""
    what = "out of memory; try a smaller data.batch_size or network" if is_out_of_memory(error) else str(error)
    text = one_line(f"{type(error).__name__}: {what}")
    return RunResult(**_columns_of(config), engine="lightning", group_size=1, status="failed", error=text)


def _columns_of(config: RunConfig) -> dict[str, Any]:
    """The columns that are known without training."""
    network = config.model.component
    sizes = {name: getattr(config.model, name) if network is None else None for name in ModelConfig.replaced}
    return {
        "optimizer": config.optimizer.label,
        "loss_func": loss_label(config.loss),
        "learning_rate": config.lr,
        **sizes,
        "network": "" if network is None else str(network),
        "dataset": config.data.label,
        "train_size": config.data.train_size,
        "test_size": config.data.test_size,
        "val_size": config.data.val_size,
        "batch_size": config.data.batch_size,
        "seed": config.seed,
        "fingerprint": config.fingerprint,
        "run_name": config.run_name,
        **versions(),
    }


@cache
def device_name(device: torch.device) -> str:
    """Names the hardware: `cuda (NVIDIA H200)`, `cpu (AMD EPYC, 2 threads)`."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    if device.type != "cpu":
        return device.type
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    threads = torch.get_num_threads()
    chip = model or platform.processor() or platform.machine()
    return f"cpu ({chip}, {threads} thread{'s' * (threads != 1)})"
