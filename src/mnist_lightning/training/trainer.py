"""The `lightning.Trainer` of one run: its arguments, checkpoints and loggers, from the configuration."""

from __future__ import annotations

import ctypes
import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from lightning.fabric.plugins import CheckpointIO, ClusterEnvironment
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import LayerSync, Precision
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy

from mnist_lightning.config import RunConfig
from mnist_lightning.config.dotted_names import load_class
from mnist_lightning.errors import ConfigError, Problem, RefusedError
from mnist_lightning.training.checkpoints import LAST, DurableCheckpoints
from mnist_lightning.training.lightning_modules import EpochCSVLogger, MNISTClassifier

# Trainer arguments that may be given as {_target_: class, ...}, and what the class must be
_BUILT = {
    "strategy": (Strategy,),
    "accelerator": (Accelerator,),
    "profiler": (Profiler,),
    "plugins": (Precision, ClusterEnvironment, CheckpointIO, LayerSync),
}


def build_trainer(config: RunConfig, path: Path, *callbacks: Callback) -> L.Trainer:
    """The Trainer of one run: every argument of the configuration, checkpoints `last` and `best`, loggers."""
    arguments = _trainer_arguments(config, path)
    arguments["callbacks"] = [*callbacks, *arguments["callbacks"]]
    if arguments.get("enable_checkpointing") is not False and not arguments.get("fast_dev_run"):
        arguments["callbacks"] += _checkpoints(path, validates=arguments.get("limit_val_batches") != 0)
    plugins = arguments.get("plugins", [])
    plugins = plugins if isinstance(plugins, list) else [plugins]
    if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        plugins = [*plugins, DurableCheckpoints()]
    arguments["plugins"] = plugins
    return L.Trainer(**arguments)


def _checkpoints(path: Path, validates: bool) -> list[Callback]:
    common: dict[str, Any] = {
        "dirpath": (path / LAST).parent,
        "auto_insert_metric_name": False,
        "enable_version_counter": False,
        "save_on_train_epoch_end": True,
    }
    last = ModelCheckpoint(filename="last", **common)
    best = ModelCheckpoint(filename="best", monitor="val_loss", save_weights_only=True, **common)
    return [last, best] if validates else [last]


def _trainer_arguments(config: RunConfig, path: Path, build: bool = True) -> dict[str, Any]:
    """`lightning.Trainer`'s arguments. With `build=False` classes are resolved and checked, but not called."""
    arguments = plain_arguments(config, path)
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
    arguments["logger"] = loggers(config.logger, names, build)
    return arguments


def plain_arguments(config: RunConfig, path: Path) -> dict[str, Any]:
    """The configuration's `lightning.Trainer` arguments with our defaults; precision and device are decided here."""
    arguments = {"num_sanity_val_steps": 0, "enable_model_summary": False, "default_root_dir": str(path)}
    arguments |= config.trainer.arguments()
    if config.trainer.precision == "auto":
        arguments["precision"] = fastest_precision(str(config.trainer.accelerator))
    arguments["devices"] = _one_device(config.trainer.devices)
    arguments.setdefault("enable_progress_bar", sys.stderr is not None and sys.stderr.isatty())
    return arguments


def fastest_precision(accelerator: str) -> str:
    """bf16-mixed where the hardware multiplies bf16 matrices faster than float32 ones, otherwise 32-true.

    That both learn the same is measured by benchmarks/precision.py.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    elif accelerator in ("auto", "cpu"):
        # private, and not in every version: without them there is no telling, and float32 is right everywhere
        asked = [getattr(torch.cpu, f"_is_{unit}_supported", None) for unit in ("amx_tile", "avx512_bf16")]
        supported = any(ask() for ask in asked if ask is not None)
    else:
        supported = False
    return "bf16-mixed" if supported else "32-true"


def loggers(group: dict[str, Any], names: dict[str, str], build: bool) -> list[Any]:
    """metrics.csv always, unless the group's content is `_target_: none`, and the logger of the group."""
    target = group.get("_target_", "csv")
    if target in ("csv", "none") and len(group) > 1:
        name = next(k for k in group if k != "_target_")
        raise ConfigError([Problem(f"logger.{name}", group[name], f"logger={target} has no arguments", "leave it out")])
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


def check_trainer(config: RunConfig) -> None:
    """Raises ConfigError for arguments that Lightning refuses, and for classes that are none of the right kind."""
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
            with quiet_lightning():
                L.Trainer(**arguments, logger=False)
            _refusals[key] = ""
        except Exception as error:
            _refusals[key] = str(error).strip().splitlines()[0]
    return _refusals[key]


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
        if state_dict.keys() != self.state_dict().keys():
            raise RefusedError("its training state is not ours; train the run again")
        for name, kind in (("best_loss", float), ("train_seconds", float), ("epochs", int), ("diverged", bool)):
            setattr(self, name, kind(state_dict[name]))
        self.best_epoch = None if state_dict["best_epoch"] is None else int(state_dict["best_epoch"])


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it is torch's, of any device, or Python's error for too little memory."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


@cache
def keep_memory() -> None:
    """Let glibc keep freed memory for the next step, in this process from now on.

    It gives blocks above 32 MB, such as a large layer's gradient, back to the system at once, and takes them again page
    by page: 26,000 page faults a step of 64/3/3, a tenth of its time. Other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Numbers below the normal range count as zero: the moments of weights without gradient decay into that range
    after some hundred steps, and arithmetic there takes a hundred times as long.

    The setting is the thread's, and that of threads begun meanwhile.
    """
    smallest = torch.tensor(torch.finfo(torch.float32).smallest_normal)
    before = (smallest / 2).item() == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Without Lightning's banners and tips, which would stand in the terminal once per run; warnings stay."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")  # torch 2.15, lightning 2.6.6
            warnings.filterwarnings("ignore", message=".*does not have many workers")  # data in memory
            warnings.filterwarnings("ignore", message=".*smaller than the logging interval")  # we log per epoch
            warnings.filterwarnings("ignore", message=".*could not find the monitored key")  # epochs not validated
            warnings.filterwarnings("ignore", message="The dirpath has changed")  # ckpt_path of another run
            warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty")  # resumed
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
