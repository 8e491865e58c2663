"""Trains one configuration in an ordinary `lightning.Trainer` and leaves its files in a directory."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

import lightning as L
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import OmegaConf
from torch import Tensor

from mnist_lightning.config import RunConfig, fresh_directory
from mnist_lightning.config.changes import changed, required
from mnist_lightning.config.keys import RunKeys
from mnist_lightning.config.labels import label_of
from mnist_lightning.data.augmentation import check_augmentation
from mnist_lightning.data.datasets import Batches, Dataset, Split, load_dataset, shape_of
from mnist_lightning.errors import ConfigError, Problem, RefusedError, one_line
from mnist_lightning.numerics.model import count_parameters
from mnist_lightning.numerics.networks import check_network
from mnist_lightning.numerics.optimizers import build_optimizer
from mnist_lightning.numerics.own_loss import check_loss
from mnist_lightning.numerics.schedules import check_schedule
from mnist_lightning.progress.watch import watched
from mnist_lightning.records.durable import put_aside, write_durably
from mnist_lightning.records.heartbeat import forget_heartbeat
from mnist_lightning.records.results import RunResult
from mnist_lightning.records.run_directory import (
    CONFIG,
    QUARANTINE,
    REPLACED,
    finished_result,
    forget_retraining,
    is_there,
    place_of,
)
from mnist_lightning.training.checkpoints import read_checkpoint
from mnist_lightning.training.data_module import EVALUATION_BATCH, MNISTDataModule
from mnist_lightning.training.fast_updates import how_updated
from mnist_lightning.training.heartbeats import Heartbeats
from mnist_lightning.training.interrupted import check_continuation, interrupted_checkpoint, own_network, was_begun
from mnist_lightning.training.lightning_modules import MNISTClassifier
from mnist_lightning.training.pruning import Judge, Pruning
from mnist_lightning.training.record import Trained, store
from mnist_lightning.training.run_log import RunLog, TakesLoggers
from mnist_lightning.training.runtime import (
    flushed_denormals,
    interrupts_raised,
    is_out_of_memory,
    keep_memory,
    keep_to_share,
    quiet_lightning,
    termination_passed_on,
)
from mnist_lightning.training.trainer import FitWatch, build_trainer, check_trainer


def check(config: RunConfig, base: Path | None = None) -> Dataset:
    """Finds whatever can be known to be wrong before training; returns the data.

    Builds the optimizer on a dummy, resolves logger, callbacks and transform, reads (or fetches) the data. A relative
    `ckpt_path` is looked for in `base`, by default in the working directory. Raises ConfigError, DataError or
    RefusedError.
    """
    config.check()  # its values may have been changed since it was made
    optimizer = build_optimizer(config.optimizer, [torch.zeros(1, requires_grad=True)], config.lr)
    check_schedule(config.scheduler, optimizer, config.trainer.max_epochs)
    check_trainer(config)
    shape = shape_of(config.data)
    check_network(config.model, shape)
    check_loss(config.loss, config.loss_options, shape.num_classes)
    check_augmentation(config.transform, shape)
    if (given := _given_checkpoint(config, base)) is not None:
        if given.is_dir():
            way_out = "give the path of the last.ckpt in its checkpoints/"
            raise ConfigError([Problem("ckpt_path", config.ckpt_path, "a directory", way_out)])
        if not given.is_file():
            raise ConfigError([Problem("ckpt_path", config.ckpt_path, "no such file", "give a checkpoint's path")])
        check_continuation(config, read_checkpoint(given, net=own_network(config)), shape)
    return load_dataset(config.data)


def train(
    config: RunConfig | Mapping[str, Any] | None = None,
    directory: str | os.PathLike[str] | None = None,
    *,
    continue_interrupted: bool = False,
    retrain: bool = False,
    **keys: Unpack[RunKeys],
) -> RunResult:
    """Trains one configuration, stores its record and returns it; a run that is finished already is not trained again.

    The configuration is a RunConfig or any mapping of its keys, changed by further `keys`, or these alone.
    `directory` (default: a fresh one under `outputs/`) receives config.yaml, metrics.csv, checkpoints/last.ckpt
    and best.ckpt, and, last, result.json. The metrics are those of the final weights on the whole training and
    test set. A run whose loss became NaN or infinite stops and has the status `diverged`.
    Where the finished record of this very configuration is there, it is returned; with `retrain` the run is trained
    anew beside it, and takes its place when it is whole. With `continue_interrupted` a run that was cut off in this
    directory, or failed, goes on after its last whole epoch, to the same end as if it had not been.
    Raises TypeError, ConfigError, DataError, RefusedError, UnreadableError or OutputError; whatever else training
    raises is passed on, Ctrl-C as KeyboardInterrupt, SIGTERM as SystemExit(143).

    >>> small = {"num_channels": 2, "num_conv": 1, "num_dense": 0}
    >>> data = {"name": "synthetic", "train_size": 320, "test_size": 100}
    >>> result = train(optimizer="adam", lr=0.01, model=small, data=data, trainer={"max_epochs": 2}, directory="mine")
    >>> result.status, result.epochs, 0 <= result.accuracy_test <= 1
    ('completed', 2, True)
    >>> load_results("mine") == [result]
    True
    """
    if keys or isinstance(config, Mapping):
        config = changed(config, keys)
    config = required(config)
    path = Path(directory) if directory is not None else Path(fresh_directory()) / config.run_name
    stored = finished_result(path, config.fingerprint)
    if stored is not None and not (retrain or config.retrain):
        return stored
    check(config)
    shown = watched({path: config}, {path: label_of(config.identity())}, config.progress)
    with termination_passed_on(), shown:
        return train_checked(config, path, continue_interrupted=continue_interrupted)


def train_checked(
    config: RunConfig,
    path: Path,
    *,
    continue_interrupted: bool = False,
    base: Path | None = None,
    judge: Judge | None = None,
) -> RunResult:
    """Trains a configuration that `check` has passed, beside a finished record of it if there is one; see `train`.

    A run that the `judge` of a search prunes stops, and has the status `pruned`.
    """
    started = time.perf_counter()
    place = place_of(path, config.fingerprint)
    interrupted = interrupted_checkpoint(config, place) if continue_interrupted else None
    if interrupted is None:
        forget_retraining(place)
    given = _given_checkpoint(config, base)
    try:
        with prepared([(config, place)]) as moved, RunLog(config) as log:
            given = moved.get(given.absolute(), given) if given else None
            trained, dataset = _trained(config, place, interrupted, given, started, log, judge)
        return store(config, trained, dataset, place)
    finally:
        forget_heartbeat(path)


def _given_checkpoint(config: RunConfig, base: Path | None) -> Path | None:
    return (base or Path()) / config.ckpt_path if config.ckpt_path is not None else None


@contextmanager
def prepared(runs: Sequence[tuple[RunConfig, Path]]) -> Iterator[dict[Path, Path]]:
    """Prepares places and process for training these runs, and collects the garbage when they are trained.

    Writes each run's config.yaml; what stood in the way of its files is put aside, and given as {old path: new path}.
    Ctrl-C in the block is a KeyboardInterrupt. Raises OutputError, or UnreadableError.
    """
    moved: dict[Path, Path] = {}
    for config, place in runs:
        moved |= _make_room(place)
        write_durably(place / CONFIG, OmegaConf.to_yaml(config.written()).encode())
    keep_memory()
    keep_to_share()
    with quiet_lightning(), flushed_denormals(), interrupts_raised():
        yield moved
    gc.collect()  # Lightning's trainer and module refer to each other: up to 300 MB a run


def _make_room(place: Path) -> dict[Path, Path]:
    """Puts aside what is in the way of a run's files: directories, and files if none of our runs was begun there."""
    moved: dict[Path, Path] = {}
    there = [path for name in REPLACED if is_there(path := place / name)]
    begun = bool(there) and was_begun(place)
    for path in there:
        if path.is_dir() or not begun:
            what = "a directory, not a file" if path.is_dir() else "not known to be ours"
            aside = moved[path.absolute()] = put_aside(path, place / QUARANTINE)
            print(f"{path}: {what}; moved to {aside.parent.name}/", flush=True)
    return moved


def _trained(
    config: RunConfig,
    place: Path,
    interrupted: Path | None,
    given: Path | None,
    started: float,
    log: RunLog,
    judge: Judge | None,
) -> tuple[Trained, Dataset]:
    """Trains from the interrupted run's checkpoint; if its state is none that can be gone on from, anew."""
    if interrupted is not None:
        watch = FitWatch(config.seed)
        try:
            return _fit_and_evaluate(config, place, interrupted, watch, started, log, judge)
        except Exception as error:
            if watch.began or is_out_of_memory(error):
                raise
            print(one_line(f"{interrupted}: cannot be gone on from, the run starts anew ({error})"), flush=True)
    return _fit_and_evaluate(config, place, given, FitWatch(config.seed), started, log, judge)


def _fit_and_evaluate(
    config: RunConfig,
    path: Path,
    checkpoint: Path | None,
    watch: FitWatch,
    started: float,
    log: RunLog,
    judge: Judge | None,
) -> tuple[Trained, Dataset]:
    torch.manual_seed(config.seed)  # for callbacks of the user's; weights and batches have their own generators
    data = MNISTDataModule.from_config(config)
    module = MNISTClassifier.from_config(config, data.dataset.shape)
    beats = Heartbeats(path, [config.run_name])
    pruning = [Pruning(judge)] if judge else []
    trainer = build_trainer(config, path, watch, beats, *pruning, last=TakesLoggers(log))
    try:
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    except RefusedError as error:
        raise RefusedError(f"{checkpoint}: {error}") from error
    watch.began = True  # also where all epochs were done before
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
        pruned_by=judge.name if judge and pruning[0].pruned_at else "",
        num_parameters=count_parameters(module),
        seconds=time.perf_counter() - started,
        samples_per_second=watch.samples_per_second(len(dataset.train)),
        precision=str(trainer.precision),
        update=how_updated(trainer),
        device=trainer.strategy.root_device,
    )
    log.finish(trained, trainer.global_step)
    return trained, dataset


def evaluate(trainer: L.Trainer, module: MNISTClassifier, split: Split) -> tuple[dict[str, float], Tensor]:
    """Returns the metrics of the module's weights on a split, and their logits, float32 [N, 10] on the CPU.

    In the trainer's precision and on its device. Nothing is logged: after the fit the trainer has no loggers.
    """
    logits: list[Tensor] = []
    trainer.limit_test_batches = 1.0  # whole sets, whatever limit or trial run there was for the training
    hook = module.net.register_forward_hook(lambda net, images, outputs: logits.append(outputs.float().cpu()))
    try:
        # Lightning warns that a loop's loader is not its own; ours needs no workers and no sampler
        trainer.test(module, dataloaders=Batches(split, EVALUATION_BATCH), verbose=False)
    finally:
        hook.remove()
    if trainer.received_sigterm:  # which Lightning heeds in a training alone
        raise SIGTERMException
    return {name: value.item() for name, value in module.test_metrics.compute().items()}, torch.cat(logits)
