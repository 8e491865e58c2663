"""The record of a run: what is known without training, and what training gave, whichever engine trained it."""

from __future__ import annotations

import importlib.metadata
import math
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mnist_lightning.config import RunConfig, conf_dir
from mnist_lightning.data.datasets import Dataset
from mnist_lightning.numerics.losses import probabilities
from mnist_lightning.records.predictions import make_predictions, save_predictions
from mnist_lightning.records.results import RunResult
from mnist_lightning.training.checkpoints import BEST, LAST, sha256


def describe(config: RunConfig) -> RunResult:
    """The columns that are known without training; status `failed` until something says otherwise."""
    columns: dict[str, Any] = versions()
    return RunResult(
        optimizer=config.optimizer.label,
        loss_func=config.loss,
        learning_rate=config.lr,
        num_channels=config.model.num_channels,
        num_conv=config.model.num_conv,
        num_dense=config.model.num_dense,
        dataset=config.data.name,
        train_size=config.data.train_size,
        test_size=config.data.test_size,
        val_size=config.data.val_size,
        batch_size=config.data.batch_size,
        seed=config.seed,
        engine="lightning",
        group_size=1,
        fingerprint=config.fingerprint,
        run_name=config.run_name,
        **columns,
    )


def describe_trained(
    config: RunConfig,
    path: Path,
    dataset: Dataset,
    metrics: dict[str, dict[str, float]],
    logits: Tensor,
    *,
    epochs: int,
    diverged: bool,
) -> RunResult:
    """The record of a run that has been trained in the directory `path`, where its checkpoints lie.

    `metrics` has {train, test, val}, each {METRICS: value}, and `logits` [N, 10] are the final weights' on the first
    N test images; they are kept in the directory as predictions, for the report's figures.
    """
    result = describe(config)
    for name, value in metrics["train"].items():
        setattr(result, name, value)
        setattr(result, f"{name}_test", metrics["test"][name])
    result.loss_val, result.accuracy_val = metrics["val"]["loss"], metrics["val"]["accuracy"]
    result.train_size, result.test_size = len(dataset.train), len(dataset.test)
    result.checkpoint_sha256, result.best_checkpoint_sha256 = sha256(path / LAST), sha256(path / BEST)
    result.model_path = f"{path.name}/{LAST}" if result.checkpoint_sha256 else ""
    result.data_sha256 = dataset.sha256
    result.epochs = epochs
    diverged = diverged or not math.isfinite(result.loss) or not math.isfinite(result.loss_test)
    result.status = "diverged" if diverged else "completed"
    result.error = f"loss is not finite in epoch {epochs}" if diverged else ""
    p, train = probabilities(logits), dataset.train
    tested = dataset.test.part(0, len(p))  # fewer than all with limit_test_batches
    made = make_predictions(p, tested.images, tested.labels, train.images, train.labels, config.seed)
    save_predictions(made, path)
    return result


@cache
def versions() -> dict[str, str]:
    """The columns of `RunResult` that name versions, and the commit."""
    packages = {"version": "mnist-lightning", "torch_version": "torch", "torchvision_version": "torchvision"}
    packages["lightning_version"] = "lightning"
    found = {"python_version": platform.python_version(), "commit": _commit()}
    for column, package in packages.items():
        try:
            found[column] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # run from the source tree, not installed
            found[column] = ""
    return found


def _commit() -> str:
    root = conf_dir().parent
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


@cache
def device_name(device: torch.device) -> str:
    """The hardware: `cuda (NVIDIA H200)`, `cpu (AMD EPYC, 2 threads)`."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    if device.type != "cpu":
        return device.type
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"cpu ({model or platform.processor() or platform.machine()}, {torch.get_num_threads()} threads)"
