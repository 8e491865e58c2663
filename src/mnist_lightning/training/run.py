"""Trains one configuration in an ordinary `lightning.Trainer` and leaves its files in a directory."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
import torch
from omegaconf import OmegaConf
from torch import Tensor
from yaml import YAMLError

from mnist_lightning.config import RunConfig, fresh_directory, parse
from mnist_lightning.data.datasets import Batches, Dataset, Split, load_dataset
from mnist_lightning.errors import ConfigError, Problem, RefusedError, UserError
from mnist_lightning.numerics.model import count_parameters
from mnist_lightning.numerics.optimizers import build_optimizer
from mnist_lightning.records.durable import write_durably
from mnist_lightning.records.results import RECORD, RunResult, load
from mnist_lightning.training.checkpoints import LAST, read_checkpoint
from mnist_lightning.training.lightning_modules import EVALUATION_BATCH, MNISTClassifier, MNISTDataModule
from mnist_lightning.training.record import Trained, store
from mnist_lightning.training.run_log import RunLog, TakesLoggers
from mnist_lightning.training.runtime import flushed_denormals, keep_memory, quiet_lightning
from mnist_lightning.training.trainer import FitWatch, build_trainer, check_trainer


def check(config: RunConfig) -> Dataset:
    """Finds whatever can be known to be wrong before training; returns the data.

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
    """Trains one configuration, stores its record and returns it.

    `directory` (default: a fresh one under `outputs/`) receives config.yaml, metrics.csv, checkpoints/last.ckpt
    and best.ckpt, and, last, result.json. The metrics are those of the final weights on the whole training and
    test set. A run whose loss became NaN or infinite stops and has the status `diverged`.
    With `continue_interrupted` a run that was cut off in this directory goes on after its last whole epoch, to the
    same end as if it had not been. Raises ConfigError, DataError, RefusedError or OutputError; whatever else
    training raises is passed on.
    """
    path = Path(directory) if directory is not None else Path(fresh_directory()) / config.run_name
    check(config)
    return train_checked(config, path, continue_interrupted=continue_interrupted)


def train_checked(config: RunConfig, path: Path, *, continue_interrupted: bool = False) -> RunResult:
    """Does what `train` does, for a configuration that `check` has passed."""
    started = time.perf_counter()
    checkpoint = _interrupted_checkpoint(config, path) if continue_interrupted else config.ckpt_path
    with prepared([(config, path)]), RunLog(config) as log:
        trained, dataset = _fit_and_evaluate(config, path, checkpoint, started, log)
    return store(config, trained, dataset, path)


@contextmanager
def prepared(runs: Sequence[tuple[RunConfig, Path]]) -> Iterator[None]:
    """Prepares directories and process for training these runs, and collects the garbage when they are trained.

    Writes each run's config.yaml. Raises ConfigError for a directory with another run's record, OutputError.
    """
    for config, path in runs:
        _refuse_another_runs_directory(config, path)
        (path / RECORD).unlink(missing_ok=True)  # from here on the directory is not that of the record any more
        write_durably(path / "config.yaml", OmegaConf.to_yaml(asdict(config)).encode())
    keep_memory()
    with quiet_lightning(), flushed_denormals():
        yield
    gc.collect()  # Lightning's trainer and module refer to each other: up to 300 MB a run


def _check_continuation(config: RunConfig, checkpoint: dict[str, Any]) -> None:
    """Raises ConfigError unless the checkpoint is of this configuration, unfinished, and has its optimizer's state.

    Its state, the learning rate among it, would silently override the configuration.
    """
    wanted, stored = dict(MNISTClassifier.from_config(config).hparams), checkpoint["hyper_parameters"]
    differing = [k for k in wanted if k != "seed" and stored.get(k) != wanted[k]]
    if differing:
        told = ", ".join(f"{k} {stored.get(k)}" for k in differing)
        raise ConfigError([Problem("ckpt_path", config.ckpt_path, f"was trained with {told}", "configure the same")])
    if not checkpoint.get("optimizer_states"):
        raise ConfigError([Problem("ckpt_path", config.ckpt_path, "holds weights only", "give the run's last.ckpt")])
    if checkpoint.get("epoch", 0) + 1 >= config.trainer.max_epochs:
        done = checkpoint.get("epoch", 0) + 1
        raise ConfigError(
            [Problem("ckpt_path", config.ckpt_path, f"has its {done} epochs", "raise trainer.max_epochs")]
        )


def _refuse_another_runs_directory(config: RunConfig, path: Path) -> None:
    try:
        stored = load(path / RECORD)
    except UserError:  # none, or a damaged one
        return
    if stored.fingerprint != config.fingerprint:
        raise ConfigError(f"{path}: holds the record of another run, {stored.run_name}; choose another directory")


def _interrupted_checkpoint(config: RunConfig, path: Path) -> str | None:
    """Returns last.ckpt if it is whole and of this very configuration; otherwise what a new run starts from."""
    try:
        before = parse(OmegaConf.load(path / "config.yaml"))  # pyright: ignore[reportArgumentType] - a list would be refused by parse
        read_checkpoint(path / LAST, finite=False)  # cut off while it diverged, it goes on to say so
    except (OSError, UserError, YAMLError):
        return config.ckpt_path
    return str(path / LAST) if before.fingerprint == config.fingerprint else config.ckpt_path


def _fit_and_evaluate(
    config: RunConfig, path: Path, checkpoint: str | None, started: float, log: RunLog
) -> tuple[Trained, Dataset]:
    torch.manual_seed(config.seed)  # for callbacks of the user's; weights and batches have their own generators
    module, data = MNISTClassifier.from_config(config), MNISTDataModule.from_config(config)
    watch = FitWatch()
    trainer = build_trainer(config, path, watch, last=TakesLoggers(log))
    try:
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    except RefusedError as error:
        raise RefusedError(f"{checkpoint}: {error}") from error
    if trainer.global_step == 0:
        raise ConfigError("trainer: not a single step was trained; see max_epochs, max_steps and limit_train_batches")
    dataset = data.dataset
    train, _ = evaluate(trainer, module, dataset.train)
    test, logits = evaluate(trainer, module, dataset.test)
    trained = Trained(
        train=train,
        val=test if dataset.val is dataset.test else evaluate(trainer, module, dataset.val)[0],
        test=test,
        test_logits=logits,
        epochs=trainer.current_epoch,
        best_epoch=watch.best_epoch,
        diverged=watch.diverged,
        num_parameters=count_parameters(module),
        seconds=time.perf_counter() - started,
        samples_per_second=watch.samples_per_second(len(dataset.train)),
        precision=str(trainer.precision),
        device=trainer.strategy.root_device,
    )
    log.finish(trained, trainer.global_step)
    return trained, dataset


def evaluate(trainer: L.Trainer, module: MNISTClassifier, split: Split) -> tuple[dict[str, float], Tensor]:
    """Returns the metrics of the module's weights on a split, and their logits, float32 [N, 10] on the CPU.

    In the trainer's precision and on its device. Nothing is logged: after the fit the trainer has no loggers.
    """
    logits: list[Tensor] = []
    hook = module.net.register_forward_hook(lambda net, images, outputs: logits.append(outputs.float().cpu()))
    try:
        # Lightning warns that a loop's loader is not its own; ours needs no workers and no sampler
        trainer.test(module, dataloaders=Batches(split, EVALUATION_BATCH), verbose=False)
    finally:
        hook.remove()
    return {name: value.item() for name, value in module.test_metrics.compute().items()}, torch.cat(logits)
