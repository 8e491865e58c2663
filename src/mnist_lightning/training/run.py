"""Train one configuration in an ordinary `lightning.Trainer`; its record, checkpoints and metrics in a directory."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
import torch
from omegaconf import OmegaConf
from yaml import YAMLError

from mnist_lightning.config import RunConfig, fresh_directory, parse
from mnist_lightning.data.datasets import Batches, Dataset, Split, load_dataset
from mnist_lightning.errors import ConfigError, Problem, RefusedError, UserError
from mnist_lightning.numerics.model import count_parameters
from mnist_lightning.numerics.optimizers import build_optimizer
from mnist_lightning.records.durable import write_durably
from mnist_lightning.records.results import RECORD, RunResult, load, save
from mnist_lightning.training.checkpoints import LAST, read_checkpoint
from mnist_lightning.training.lightning_modules import EVALUATION_BATCH, MNISTClassifier, MNISTDataModule
from mnist_lightning.training.record import describe_trained, device_name
from mnist_lightning.training.trainer import (
    FitWatch,
    build_trainer,
    check_trainer,
    flushed_denormals,
    keep_memory,
    quiet_lightning,
)


def check(config: RunConfig) -> Dataset:
    """Everything that can be known to be wrong before training, beyond the ranges; returns the data.

    Builds the optimizer on a dummy, resolves logger and callbacks, reads (or fetches) the data.
    Raises ConfigError, DataError or RefusedError.
    """
    config.check()  # its values may have been changed since it was made
    build_optimizer(config.optimizer, [torch.zeros(1, requires_grad=True)], config.lr)
    check_trainer(config)
    if config.ckpt_path is not None:
        if not Path(config.ckpt_path).is_file():
            raise ConfigError([Problem("ckpt_path", config.ckpt_path, "no such file", "give a checkpoint's path")])
        _check_continuation(config, read_checkpoint(Path(config.ckpt_path)))
    return load_dataset(config.data)


def train(
    config: RunConfig, directory: str | os.PathLike[str] | None = None, *, continue_interrupted: bool = False
) -> RunResult:
    """Train one configuration and commit its record; returns the record.

    `directory` (default: a fresh one under `outputs/`) receives config.yaml, metrics.csv, checkpoints/last.ckpt
    and best.ckpt, and, last, result.json. The metrics are those of the final weights on the whole training and
    test set. A run whose loss became NaN or infinite stops and has the status `diverged`.
    With `continue_interrupted` a run that was cut off in this directory goes on after its last whole epoch, to the
    same end as if it had not been. Raises ConfigError, DataError, RefusedError or OutputError; whatever else
    training raises is passed on.
    """
    path = Path(directory) if directory is not None else Path(fresh_directory()) / config.run_name
    check(config)
    refuse_another_runs_directory(config, path)
    checkpoint = _interrupted_checkpoint(config, path) if continue_interrupted else config.ckpt_path
    (path / RECORD).unlink(missing_ok=True)  # from here on the directory is not that of the record any more
    write_durably(path / "config.yaml", OmegaConf.to_yaml(asdict(config)).encode())
    started = time.perf_counter()
    keep_memory()
    with quiet_lightning(), flushed_denormals():
        result = _fit_and_evaluate(config, path, checkpoint)
    gc.collect()  # Lightning's trainer and module hold each other: up to 300 MB a run
    result.duration_seconds = time.perf_counter() - started
    save(result, path)
    return result


def _check_continuation(config: RunConfig, checkpoint: dict[str, Any]) -> None:
    """Raises ConfigError unless the checkpoint is of this configuration, unfinished, and has its optimizer's state.

    Its state would silently win over the configuration: the learning rate stands in it too.
    """
    wanted, found = dict(MNISTClassifier.from_config(config).hparams), checkpoint["hyper_parameters"]
    differing = [k for k in wanted if k != "seed" and found.get(k) != wanted[k]]
    if differing:
        told = ", ".join(f"{k} {found.get(k)}" for k in differing)
        raise ConfigError([Problem("ckpt_path", config.ckpt_path, f"was trained with {told}", "configure the same")])
    if not checkpoint.get("optimizer_states"):
        raise ConfigError([Problem("ckpt_path", config.ckpt_path, "holds weights only", "give the run's last.ckpt")])
    if checkpoint.get("epoch", 0) + 1 >= config.trainer.max_epochs:
        done = checkpoint.get("epoch", 0) + 1
        raise ConfigError(
            [Problem("ckpt_path", config.ckpt_path, f"has its {done} epochs", "raise trainer.max_epochs")]
        )


def refuse_another_runs_directory(config: RunConfig, path: Path) -> None:
    try:
        stored = load(path / RECORD)
    except UserError:  # none, or a damaged one
        return
    if stored.fingerprint != config.fingerprint:
        raise ConfigError(f"{path}: holds the record of another run, {stored.run_name}; choose another directory")


def _interrupted_checkpoint(config: RunConfig, path: Path) -> str | None:
    """last.ckpt of this very configuration where it is whole; otherwise what a new run starts from."""
    try:
        before = parse(OmegaConf.load(path / "config.yaml"))  # pyright: ignore[reportArgumentType] - a list would be refused by parse
        read_checkpoint(path / LAST, finite=False)  # cut off while it diverged, it goes on to say so
    except (OSError, UserError, YAMLError):
        return config.ckpt_path
    return str(path / LAST) if before.fingerprint == config.fingerprint else config.ckpt_path


def _fit_and_evaluate(config: RunConfig, path: Path, checkpoint: str | None) -> RunResult:
    torch.manual_seed(config.seed)  # for callbacks of the user's; weights and batches have their own generators
    module, data = MNISTClassifier.from_config(config), MNISTDataModule.from_config(config)
    watch = FitWatch()
    trainer = build_trainer(config, path, watch)
    try:
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    except RefusedError as error:
        raise RefusedError(f"{checkpoint}: {error}") from error
    if trainer.global_step == 0:
        raise ConfigError("trainer: not a single step was trained; see max_epochs, max_steps and limit_train_batches")
    dataset = data.dataset
    metrics = {"train": evaluate(trainer, module, dataset.train)}
    with _outputs_kept(module) as outputs:
        metrics["test"] = evaluate(trainer, module, dataset.test)
    same = dataset.val is dataset.test
    metrics["val"] = metrics["test"] if same else evaluate(trainer, module, dataset.val)
    epochs, logits = trainer.current_epoch, torch.cat(outputs)
    result = describe_trained(config, path, dataset, metrics, logits, epochs=epochs, diverged=watch.diverged)
    result.num_parameters, result.best_epoch = count_parameters(module), watch.best_epoch
    result.samples_per_second = watch.samples_per_second(len(dataset.train))
    result.precision, result.device = str(trainer.precision), device_name(trainer.strategy.root_device)
    return result


@contextmanager
def _outputs_kept(module: MNISTClassifier) -> Iterator[list[torch.Tensor]]:
    """The logits [N, 10] of each batch that the network sees meanwhile, on the CPU in float32."""
    kept: list[torch.Tensor] = []
    handle = module.net.register_forward_hook(lambda net, images, logits: kept.append(logits.float().cpu()))
    try:
        yield kept
    finally:
        handle.remove()


def evaluate(trainer: L.Trainer, module: MNISTClassifier, split: Split) -> dict[str, float]:
    """The metrics of the module's weights on a split, in the trainer's precision and on its device."""
    # Lightning warns that a loop's loader is not its own; ours needs no workers and no sampler
    trainer.test(module, dataloaders=Batches(split, EVALUATION_BATCH), verbose=False)
    return {name: value.item() for name, value in module.test_metrics.compute().items()}
