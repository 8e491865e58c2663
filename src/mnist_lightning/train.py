"""Train one configuration in an ordinary `lightning.Trainer`; its record, checkpoints and metrics in a directory."""

from __future__ import annotations

import importlib.metadata
import logging
import math
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import CheckpointIO, ClusterEnvironment, LayerSync, Precision
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy
from omegaconf import OmegaConf

from mnist_lightning.config import RunConfig, conf_dir, fresh_directory
from mnist_lightning.data import Batches, Split, load_dataset
from mnist_lightning.errors import ConfigError, Problem
from mnist_lightning.lightning_modules import EVALUATION_BATCH, EpochCSVLogger, MNISTClassifier, MNISTDataModule
from mnist_lightning.model import count_parameters
from mnist_lightning.optimizers import build_optimizer, load_class
from mnist_lightning.results import RunResult, save, write_durably

LAST, BEST = "checkpoints/last.ckpt", "checkpoints/best.ckpt"
# Trainer arguments that may be given as {_target_: class, ...}, and what the class must be
_BUILT = {
    "strategy": (Strategy,),
    "accelerator": (Accelerator,),
    "profiler": (Profiler,),
    "plugins": (Precision, ClusterEnvironment, CheckpointIO, LayerSync),
}


def check(config: RunConfig) -> None:
    """Everything that can be known to be wrong before training, beyond the ranges: raises ConfigError or DataError.

    Builds the optimizer on a dummy, resolves logger and callbacks, and reads (or fetches) the data.
    """
    build_optimizer(config.optimizer, [torch.zeros(1, requires_grad=True)], config.lr)
    _check_trainer(config)
    if config.ckpt_path is not None and not Path(config.ckpt_path).is_file():
        raise ConfigError([Problem("ckpt_path", config.ckpt_path, "no such file", "give a checkpoint's path")])
    load_dataset(config.data)


def _check_trainer(config: RunConfig) -> None:
    arguments = _trainer_arguments(config, Path(os.devnull), build=False)
    own = {k for k, v in arguments.items() if any(isinstance(x, type) for x in (v if isinstance(v, list) else [v]))}
    plain = {k: v for k, v in arguments.items() if k not in own | {"callbacks", "logger"}}
    refusal = _trainer_refusal(repr(sorted(plain.items(), key=str)), plain)
    if refusal:
        raise ConfigError(f"trainer: {refusal}; see the arguments of lightning.Trainer")


_refusals: dict[str, str] = {}


def _trainer_refusal(key: str, arguments: dict[str, Any]) -> str:
    """What Lightning says against these arguments, or an empty string; asked once for a whole grid."""
    if key not in _refusals:
        try:
            with _quiet_lightning():
                L.Trainer(**arguments, logger=False)
            _refusals[key] = ""
        except Exception as error:
            _refusals[key] = str(error).strip().splitlines()[0]
    return _refusals[key]


def train(config: RunConfig, directory: str | os.PathLike[str] | None = None) -> RunResult:
    """Train one configuration and commit its record; returns the record.

    `directory` (default: a fresh one under `outputs/`) receives config.yaml, metrics.csv, checkpoints/last.ckpt
    and best.ckpt, and, last, result.json. The metrics are those of the final weights on the whole training and
    test set. A run whose loss became NaN or infinite stops and has the status `diverged`.
    Raises ConfigError, DataError or OutputError; whatever else training raises is passed on.
    """
    path = Path(directory) if directory is not None else Path(fresh_directory()) / config.run_name
    check(config)
    write_durably(path / "config.yaml", OmegaConf.to_yaml(asdict(config)).encode())
    started = time.perf_counter()
    with _quiet_lightning():
        result = _fit_and_evaluate(config, path)
    result.duration_seconds = time.perf_counter() - started
    save(result, path)
    return result


def _fit_and_evaluate(config: RunConfig, path: Path) -> RunResult:
    torch.manual_seed(config.seed)  # for callbacks of the user's; weights and batches have their own generators
    module, data = MNISTClassifier.from_config(config), MNISTDataModule.from_config(config)
    watch = FitWatch()
    trainer = build_trainer(config, path, watch)
    trainer.fit(module, data, ckpt_path=config.ckpt_path, weights_only=True)
    if trainer.global_step == 0:
        raise ConfigError("trainer: not a single step was trained; see max_epochs, max_steps and limit_train_batches")
    result = describe(config)
    dataset = data.dataset
    train_metrics = evaluate(trainer, module, dataset.train)
    test_metrics = evaluate(trainer, module, dataset.test)
    val_metrics = evaluate(trainer, module, dataset.val) if dataset.val is not dataset.test else test_metrics
    for name, value in train_metrics.items():
        setattr(result, name, value)
        setattr(result, f"{name}_test", test_metrics[name])
    result.loss_val, result.accuracy_val = val_metrics["loss"], val_metrics["accuracy"]
    result.train_size, result.test_size = len(dataset.train), len(dataset.test)
    result.num_parameters = count_parameters(module)
    result.model_path = f"{path.name}/{LAST}" if (path / LAST).is_file() else ""
    result.best_epoch, result.epochs = watch.best_epoch, trainer.current_epoch
    result.samples_per_second = watch.samples_per_second(len(dataset.train))
    result.precision, result.device = str(trainer.precision), device_name(trainer.strategy.root_device)
    diverged = watch.diverged or not math.isfinite(result.loss) or not math.isfinite(result.loss_test)
    result.status = "diverged" if diverged else "completed"
    result.error = f"loss is not finite in epoch {trainer.current_epoch}" if diverged else ""
    return result


def evaluate(trainer: L.Trainer, module: MNISTClassifier, split: Split) -> dict[str, float]:
    """The metrics of the module's weights on a split, in the trainer's precision and on its device."""
    # Lightning warns that a loop's loader is not its own; ours needs no workers and no sampler
    trainer.test(module, dataloaders=Batches(split, EVALUATION_BATCH), verbose=False)
    return {name: value.item() for name, value in module.test_metrics.compute().items()}


class FitWatch(Callback):
    """Keeps the best epoch and the training time, stops a run that has diverged. Its state is in the checkpoints."""

    def __init__(self) -> None:
        self.best_epoch: int | None = None
        self.best_loss = math.inf
        self.diverged = False
        self.epochs, self.train_seconds, self._started = 0, 0.0, 0.0

    def samples_per_second(self, num_images: int) -> float:
        return self.epochs * num_images / self.train_seconds if self.train_seconds else math.nan

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._started = time.perf_counter()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._pause()

    def _pause(self) -> None:
        if self._started:
            self.train_seconds += time.perf_counter() - self._started
            self._started = 0.0

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        loss = float(trainer.callback_metrics.get("val_loss", math.nan))
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, trainer.current_epoch + 1
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._pause()
        self.epochs += 1
        loss = cast(MNISTClassifier, pl_module).train_metrics.compute()["loss"]
        if not torch.isfinite(loss):  # nothing can come of it; the report's Keras trained on
            self.diverged = True
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        kept = ("best_epoch", "best_loss", "diverged", "epochs", "train_seconds")
        return {name: getattr(self, name) for name in kept}  # Lightning has hung methods of its own on us too

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        vars(self).update(state_dict)


def build_trainer(config: RunConfig, path: Path, *callbacks: Callback) -> L.Trainer:
    """The Trainer of one run: every argument of the configuration, checkpoints `last` and `best`, loggers."""
    arguments = _trainer_arguments(config, path)
    arguments["callbacks"] = [*callbacks, *arguments["callbacks"]]
    if arguments.get("enable_checkpointing") is not False and not arguments.get("fast_dev_run"):
        arguments["callbacks"] += _checkpoints(path, validates=arguments.get("limit_val_batches") != 0)
    return L.Trainer(**arguments)


def _checkpoints(path: Path, validates: bool) -> list[Callback]:
    common: dict[str, Any] = {
        "dirpath": path / "checkpoints",
        "auto_insert_metric_name": False,
        "enable_version_counter": False,
        "save_on_train_epoch_end": True,
    }
    last = ModelCheckpoint(filename="last", **common)
    best = ModelCheckpoint(filename="best", monitor="val_loss", save_weights_only=True, **common)
    return [last, best] if validates else [last]


def _trainer_arguments(config: RunConfig, path: Path, build: bool = True) -> dict[str, Any]:
    """`lightning.Trainer`'s arguments. With `build=False` classes are resolved and checked, but not called."""
    arguments = {"num_sanity_val_steps": 0, "enable_model_summary": False, "default_root_dir": str(path)}
    arguments |= config.trainer.arguments()
    arguments["precision"] = "32-true" if config.trainer.precision == "auto" else config.trainer.precision
    arguments["devices"] = _one_device(config.trainer.devices)
    arguments.setdefault("enable_progress_bar", sys.stderr.isatty())
    names = {"directory": str(path), "run_name": config.run_name}
    for key, bases in _BUILT.items():
        values = arguments.get(key)
        built = [
            _instance(f"trainer.{key}", v, bases, names, build) if isinstance(v, dict) else v
            for v in (values if isinstance(values, list) else [values])
        ]
        if values is not None:
            arguments[key] = built if isinstance(values, list) else built[0]
    arguments["callbacks"] = [_instance("callbacks", c, (Callback,), names, build) for c in config.callbacks]
    arguments["logger"] = _loggers(config.logger, names, build)
    return arguments


def _loggers(group: dict[str, Any], names: dict[str, str], build: bool) -> list[Any]:
    """metrics.csv always, unless the group's content is `_target_: none`, and the logger of the group."""
    target = group.get("_target_", "csv")
    if target == "none":
        return []
    csv_logger = [EpochCSVLogger(names["directory"])] if build else []
    return csv_logger if target == "csv" else [*csv_logger, _instance("logger", group, (Logger,), names, build)]


def _instance(key: str, spec: Any, bases: tuple[type, ...], names: dict[str, str], build: bool) -> Any:
    """What `{_target_: class, **arguments}` describes. `{directory}` and `{run_name}` in texts are filled in."""
    if not isinstance(spec, dict) or not isinstance(spec.get("_target_"), str):
        raise ConfigError([Problem(key, spec, "no _target_", "give {_target_: package.Class, argument: value}")])
    arguments = {
        str(k): v.replace("{directory}", names["directory"]).replace("{run_name}", names["run_name"])
        if isinstance(v, str)
        else v
        for k, v in spec.items()
        if k != "_target_"
    }
    try:
        kind = load_class(spec["_target_"], bases)
        return kind(**arguments) if build else kind
    except (TypeError, ValueError) as error:
        raise ConfigError([Problem(f"{key}._target_", spec["_target_"], str(error), "see its arguments")]) from error
    except ModuleNotFoundError as error:  # Lightning's loggers import their package when they are made
        extra = spec["_target_"].rpartition(".")[2].removesuffix("Logger").lower()
        way_out = f'pip install "mnist-lightning[{extra}]"'
        raise ConfigError([Problem(key, spec["_target_"], f"needs {error.name or extra}", way_out)]) from error


def _one_device(devices: Any) -> Any:
    """Lightning's `devices` for one device: a run this small is never split, the grid's runs are."""
    chosen = [d for d in devices.split(",") if d.strip()] if isinstance(devices, str) else devices
    if devices == "auto" or str(devices) == "1":
        return 1
    if isinstance(chosen, list) and len(chosen) == 1 and ("," in devices or isinstance(devices, list)):
        return [int(chosen[0])]
    way_out = "use 1, or [2] for the third one, and run configurations side by side"
    raise ConfigError([Problem("trainer.devices", devices, "one run trains on one device", way_out)])


def describe(config: RunConfig) -> RunResult:
    """The columns that are known without training; status `failed` until something says otherwise."""
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
        **_versions(),
    )


@cache
def _versions() -> dict[str, str]:
    packages = {"version": "mnist-lightning", "torch_version": "torch", "torchvision_version": "torchvision"}
    packages["lightning_version"] = "lightning"
    versions = {"python_version": platform.python_version(), "commit": _commit()}
    for column, package in packages.items():
        try:
            versions[column] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # run from the source tree, not installed
            versions[column] = ""
    return versions


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


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Without Lightning's banners and tips, which would stand in the terminal once per run; warnings stay."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")  # torch 2.15, lightning 2.6.6
            warnings.filterwarnings("ignore", message=".*does not have many workers")
            # nothing is logged per step
            warnings.filterwarnings("ignore", message=".*smaller than the logging interval")
            warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
