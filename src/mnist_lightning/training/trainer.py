"""The `lightning.Trainer` of one run: its arguments, checkpoints and loggers, from the configuration."""

from __future__ import annotations

import json
import math
import os
import random
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from lightning.fabric.plugins import CheckpointIO, ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.plugins import LayerSync, Precision
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import SingleDeviceStrategy

from mnist_lightning.config import RunConfig
from mnist_lightning.config.components import TARGET, Kind, code_of
from mnist_lightning.errors import ConfigError, Problem, RefusedError, one_line
from mnist_lightning.records.run_directory import LAST
from mnist_lightning.training.checkpoints import DurableCheckpoints
from mnist_lightning.training.epoch_csv import EpochCSVLogger
from mnist_lightning.training.fast_updates import FastUpdates
from mnist_lightning.training.lightning_modules import MNISTClassifier
from mnist_lightning.training.precision import precision_of
from mnist_lightning.training.runtime import keep_to_share, leave_ignored, quiet_lightning


def _kind(*bases: type) -> Kind:
    words = "a " + " or ".join(f"lightning {base.__name__}" for base in bases)
    return Kind(words, tuple(f"{base.__module__}.{base.__qualname__}" for base in bases), any_name=True)


CALLBACK, LOGGER = _kind(Callback), _kind(Logger)
# Trainer arguments that may be given as {_target_: class, ...}, and the base classes they may have
_BUILT = {
    "strategy": _kind(SingleDeviceStrategy),
    "accelerator": _kind(Accelerator),
    "profiler": _kind(Profiler),
    "plugins": _kind(Precision, ClusterEnvironment, CheckpointIO, LayerSync),
}
_STOPPED = "mnist_lightning_stopped"
_WANDB_SECONDS = 10  # that Weights & Biases' server may take to answer


def build_trainer(config: RunConfig, path: Path, *callbacks: Callback, last: Callback | None = None) -> L.Trainer:
    """Builds the Trainer of one run: every argument of the configuration, checkpoints `last` and `best`, loggers.

    `callbacks` are called before those of the configuration, `last` after them. Compiling
    comes first of all, before any clock starts. It logs no hyperparameters, see RunLog.
    """
    arguments = _trainer_arguments(config, path)
    arguments["enable_autolog_hparams"] = False
    arguments["callbacks"] = [FastUpdates(), *callbacks, *arguments["callbacks"], *([last] if last else [])]
    if arguments.get("enable_checkpointing") is not False and not arguments.get("fast_dev_run"):
        arguments["callbacks"] += _checkpoints(path, validates=arguments.get("limit_val_batches") != 0)
    plugins = arguments.get("plugins", [])
    plugins = plugins if isinstance(plugins, list) else [plugins]
    if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        plugins = [*plugins, DurableCheckpoints()]
    if not any(isinstance(plugin, ClusterEnvironment) for plugin in plugins):
        plugins = [*plugins, LightningEnvironment()]  # one device; Lightning would take a Slurm job's tasks for its own
    arguments["plugins"] = plugins
    return leave_ignored(L.Trainer(**arguments))


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
    """Returns `lightning.Trainer`'s arguments. With `build=False` classes are resolved and checked, but not called."""
    arguments = plain_arguments(config, path)
    names = names_of(path, config.run_name)
    for key, kind in _BUILT.items():
        values = arguments.get(key)
        built = [
            _instance(f"trainer.{key}", v, kind, names, build) if isinstance(v, dict) else v
            for v in (values if isinstance(values, list) else [values])
        ]
        if values is not None:
            arguments[key] = built if isinstance(values, list) else built[0]
    given = [("callbacks", c) for c in config.callbacks] + [(f"callback.{k}", c) for k, c in config.callback.items()]
    arguments["callbacks"] = [_instance(key, c, CALLBACK, names, build) for key, c in given]
    arguments["logger"] = loggers(config.logger, names, build)
    return arguments


def plain_arguments(config: RunConfig, path: Path) -> dict[str, Any]:
    """Returns the configuration's own `lightning.Trainer` arguments over our defaults; decides precision and device."""
    arguments = {"num_sanity_val_steps": 0, "enable_model_summary": False, "default_root_dir": str(path)}
    arguments |= config.trainer.arguments()
    if config.trainer.precision == "auto":
        arguments["precision"] = precision_of(config)
    arguments["devices"] = one_device(config.trainer.devices)
    arguments.setdefault("enable_progress_bar", False)  # we show progress ourselves
    return arguments


def device_words(config: RunConfig) -> str:
    """The device that Lightning will choose here: `NVIDIA H100`, `2 CPU threads`."""
    asked = str(config.trainer.accelerator)
    if asked in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    if asked in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return "mps"
    keep_to_share()
    threads = torch.get_num_threads()
    return f"{threads} CPU thread{'s' * (threads != 1)}"


def names_of(path: Path, run_name: str) -> dict[str, str]:
    """What loggers and callbacks may be told of a run: its directory, its name, and that of its sweep's directory."""
    return {"directory": str(path), "run_name": run_name, "sweep": path.absolute().parent.name}


def loggers(group: dict[str, Any], names: dict[str, str], build: bool) -> list[Any]:
    """Returns the logger of the group, and before it that of metrics.csv; none at all for `_target_: none`."""
    target = group.get("_target_", "csv")
    if target in ("csv", "none") and len(group) > 1:
        name = next(k for k in group if k != "_target_")
        raise ConfigError([Problem(f"logger.{name}", group[name], f"logger={target} has no arguments", "leave it out")])
    if target == "none":
        return []
    csv_logger = [EpochCSVLogger(names["directory"])] if build else []
    if target == "csv":
        return csv_logger
    logger = _instance("logger", group, LOGGER, names, build)
    if not build:
        _check_logger(logger, group)
    return [*csv_logger, logger]


def _check_logger(kind: type, group: dict[str, Any]) -> None:
    """Raises ConfigError where a logger's package is missing, or Weights & Biases would ask or wait."""
    packages = {TensorBoardLogger: "tensorboard", MLFlowLogger: "mlflow", WandbLogger: "wandb"}
    for its, package in packages.items():
        if issubclass(kind, its) and find_spec(package) is None:
            way_out = f'pip install "mnist-lightning[{package}]"'
            raise ConfigError([Problem("logger", group["_target_"], f"needs {package}", way_out)])
    online = issubclass(kind, WandbLogger) and not group.get("offline") and group.get("mode", "online") == "online"
    if online and (refusal := _wandbs_refusal()):
        way_out = "set WANDB_MODE=offline, and wandb sync later"
        raise ConfigError([Problem("logger", "wandb", refusal, way_out)])


@cache
def _wandbs_refusal() -> str:
    """Says why a run of Weights & Biases could not start now, or an empty string; a whole grid asks once.

    Its own start would ask in a terminal for a key, and wait two minutes for a server, in every run.
    """
    import wandb

    if wandb.setup().settings.mode != "online":
        return ""
    try:
        if not wandb.login(prompt=False, verify=False):
            return "no API key (WANDB_API_KEY, or wandb login)"
        wandb.Api(timeout=_WANDB_SECONDS).viewer  # noqa: B018 - asks the server
    except Exception as error:  # wandb has no one type for a server that cannot be asked
        return f"its server was not reached ({one_line(str(error)):.70})"
    return ""


def _instance(key: str, spec: Any, kind: Kind, names: dict[str, str], build: bool) -> Any:
    """Makes what `{_target_: class, **arguments}` describes; names in braces in its texts are those of `names_of`."""
    if not isinstance(spec, dict) or not isinstance(spec.get(TARGET), str):
        raise ConfigError([Problem(key, spec, "no _target_", "give {_target_: package.Class, argument: value}")])
    arguments = {str(k): _filled(v, names) for k, v in spec.items() if k != TARGET}
    try:
        code = code_of(spec[TARGET], kind)
        return code(**arguments) if build else code
    except (TypeError, ValueError) as error:
        way_out = getattr(error, "way_out", "") or "see its arguments"
        raise ConfigError([Problem(f"{key}.{TARGET}", spec[TARGET], str(error), way_out)]) from error
    except ModuleNotFoundError as error:  # Lightning's loggers import their package when they are made
        extra = spec[TARGET].rpartition(".")[2].removesuffix("Logger").lower()
        way_out = f'pip install "mnist-lightning[{extra}]"'
        raise ConfigError([Problem(key, spec[TARGET], f"needs {error.name or extra}", way_out)]) from error


def _filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {k: _filled(v, names) for k, v in value.items()}
    if isinstance(value, str):
        for name, told in names.items():
            value = value.replace(f"{{{name}}}", told)
    return value


def one_device(devices: Any) -> Any:
    """Returns Lightning's `devices` for one device: a run this small is never split over several."""
    chosen = [d for d in devices.split(",") if d.strip()] if isinstance(devices, str) else devices
    if devices == "auto" or str(devices) == "1":
        return 1
    if isinstance(chosen, list) and len(chosen) == 1 and ("," in devices or isinstance(devices, list)):
        return [int(chosen[0])]
    way_out = "use 1, or [2] for the third one, and run configurations side by side"
    raise ConfigError([Problem("trainer.devices", devices, "one run trains on one device", way_out)])


def check_trainer(config: RunConfig) -> None:
    """Raises ConfigError for arguments that Lightning refuses and for classes of the wrong kind."""
    arguments = _trainer_arguments(config, Path(os.devnull), build=False)
    own = {k for k, v in arguments.items() if any(isinstance(x, type) for x in (v if isinstance(v, list) else [v]))}
    plain = {k: v for k, v in arguments.items() if k not in own | {"callbacks", "logger"}}
    if refusal := _lightnings_refusal(json.dumps(plain, sort_keys=True)):
        if not _lightnings_refusal(json.dumps({**plain, "accelerator": "auto"}, sort_keys=True)):
            name = config.trainer.accelerator
            raise ConfigError([Problem("trainer.accelerator", name, "no such device here", "use cpu or auto")])
        raise ConfigError(f"trainer: {refusal}; see the arguments of lightning.Trainer")


@cache
def _lightnings_refusal(arguments: str) -> str:
    """What Lightning says against these arguments (JSON), or an empty string; a whole grid asks once."""
    try:
        with quiet_lightning():
            L.Trainer(**{"plugins": LightningEnvironment(), **json.loads(arguments), "logger": False})
    except Exception as error:  # Lightning has no one type for a refused argument
        return str(error).strip().splitlines()[0]
    return ""


def _log_ended_epoch(trainer: L.Trainer) -> None:
    """Gives the loggers the metrics of an epoch that has ended, once: Lightning would after its checkpoint is saved.

    Then a run that was killed between the two would go on without the epoch, or be over without its last one.
    """
    progress = trainer.fit_loop.epoch_progress.current
    if progress.processed == progress.completed:  # pyright: ignore - it has both; in the midst of an epoch
        return
    trainer._logger_connector.on_epoch_end()
    trainer.fit_loop.epoch_loop._batches_that_stepped -= 1  # as Lightning does, for the step that the loggers are told
    trainer._logger_connector.update_train_epoch_metrics()
    trainer.fit_loop.epoch_loop._batches_that_stepped += 1


class FitWatch(Callback):
    """Records the best epoch and the training time and stops a run that diverged. Checkpoints keep its state.

    With a seed what is drawn in an epoch, by dropout for one, is a function of seed and epoch: a run that goes on after
    an interrupt draws what it would have drawn.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        self.best_epoch: int | None = None
        self.best_loss = math.inf
        self.diverged = False
        self.stopped = False  # as the checkpoint that was restored says
        self.began = False  # a checkpoint, if there was one, has been restored
        self.epochs, self.train_seconds, self._started = 0, 0.0, 0.0

    def samples_per_second(self, num_images: int) -> float:
        """The training speed, of epochs with that many images; NaN where nothing was trained."""
        return self.epochs * num_images / self.train_seconds if self.train_seconds else math.nan

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.began = True
        trainer.should_stop = trainer.should_stop or self.stopped

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        _log_ended_epoch(trainer)
        if trainer.should_stop:  # by early stopping, for one: Lightning forgets it, and would train another epoch
            checkpoint[_STOPPED] = True

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self.stopped = checkpoint.get(_STOPPED) is True

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.seed is not None:
            torch.manual_seed(random.Random(f"epoch {self.seed}/{trainer.current_epoch}").getrandbits(63))
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
        if not torch.isfinite(loss):  # nothing can come of it; the study's Keras trained on
            self.diverged = True
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        kept = ("best_epoch", "best_loss", "diverged", "epochs", "train_seconds")
        return {name: getattr(self, name) for name in kept}  # not vars(self): Lightning adds attributes of its own

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict.keys() != self.state_dict().keys():
            raise RefusedError("its training state is not ours; train the run again")
        for name, kind in (("best_loss", float), ("train_seconds", float), ("epochs", int), ("diverged", bool)):
            setattr(self, name, kind(state_dict[name]))
        self.best_epoch = None if state_dict["best_epoch"] is None else int(state_dict["best_epoch"])
