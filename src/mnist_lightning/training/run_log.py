"""What the loggers of a run are told besides its epochs: the configuration, the final metrics, and how it ended."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from mnist_lightning.config import RunConfig
from mnist_lightning.training.record import Trained


def hyperparameters(config: RunConfig) -> dict[str, Any]:
    """Lists what the run computes with, as {dotted key: number, truth value or text}; lists as JSON."""
    return _flat(config.identity())


def _flat(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in section.items():
        if isinstance(value, Mapping):
            values |= _flat(value, f"{prefix}{name}.")
        else:
            values[f"{prefix}{name}"] = value if isinstance(value, (bool, int, float, str)) else json.dumps(value)
    return values


def final_metrics(config: RunConfig, trained: Trained) -> dict[str, float]:
    """Names the final weights' metrics on whole sets: test_*, final_train_* and, of images held out, final_val_*.

    The names train_* and val_* are those of the epochs: train_* is a mean while the weights changed.
    """
    splits = {"final_train": trained.train, "test": trained.test}
    if config.data.val_size:
        splits["final_val"] = trained.val
    return {f"{split}_{name}": value for split, metrics in splits.items() for name, value in metrics.items()}


def score(config: RunConfig, trained: Trained) -> float:
    """Returns the accuracy by which runs are ranked: on the images held out, without any on the test set."""
    return (trained.val if config.data.val_size else trained.test)["accuracy"]


class RunLog:
    """Tells the loggers of one run its hyperparameters, at the end its final metrics and how it ended, each once.

    A context around the run. Lightning closes the loggers after each fit and test, with success although the final
    metrics are still to come, and calls an interrupt a failure: so they are taken from its Trainer when the fit ends.
    """

    def __init__(self, config: RunConfig, loggers: Sequence[Logger] = ()) -> None:
        self.config, self.loggers, self.closed = config, list(loggers), False
        self.others_wandb_run = _wandb_run()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not self.closed:
            with suppress(Exception):  # the run's own error is the one to be seen
                self._close("failed" if isinstance(error, Exception) else "aborted")

    def begin(self, step: int) -> None:
        """Tells the hyperparameters of a run that is about to take its update `step`, from 0."""
        told = {} if self.config.trainer.enable_autolog_hparams is False else hyperparameters(self.config)
        for logger in self.loggers:
            if isinstance(logger, TensorBoardLogger):
                _begin_tensorboard(logger, told, step)
            elif told:
                logger.log_hyperparams(told)
            logger.save()

    def finish(self, trained: Trained, step: int) -> None:
        """Tells the final metrics of a run that was trained for `step` updates, and closes the loggers."""
        metrics = final_metrics(self.config, trained)
        for logger in self.loggers:
            own = {"hp_metric": score(self.config, trained)} if isinstance(logger, TensorBoardLogger) else {}
            logger.log_metrics(metrics | own, step)
        self._close("failed" if trained.is_diverged else "success")

    def _close(self, status: str) -> None:
        self.closed = True
        for logger in self.loggers:
            if isinstance(logger, TensorBoardLogger) and status == "success":
                logger.experiment.file_writer.add_summary(_tensorboard_session({})[1])
            known = {"aborted": "KILLED"} if isinstance(logger, MLFlowLogger) else {}
            logger.finalize(known.get(status, status))
            if isinstance(logger, WandbLogger) and logger.experiment is not self.others_wandb_run:
                logger.experiment.finish(exit_code=int(status != "success"))  # or the next run would go on in it


class TakesLoggers(Callback):
    """Gives a Trainer's loggers to a RunLog, and takes them from the Trainer before it closes them.

    No part of the RunLog, since Lightning ties callbacks to the module, which must not outlive its run.
    """

    def __init__(self, log: RunLog) -> None:
        self.run_log = log

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if trainer.loggers:
            self.run_log.loggers = list(trainer.loggers)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.run_log.begin(trainer.global_step)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        trainer.loggers = []

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        trainer.loggers = []


def _wandb_run() -> Any:
    """Returns the run of Weights & Biases that is going on in this process; None if there is none."""
    return getattr(sys.modules.get("wandb"), "run", None)


def _begin_tensorboard(logger: TensorBoardLogger, told: dict[str, Any], step: int) -> None:
    """Begins a session: what an earlier one of the directory logged at `step` or later counts no more.

    Lightning would log a score of -1 with the hyperparameters, and that the session ended well.
    """
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore - made at run time

    writer = logger.experiment.file_writer
    writer.add_event(Event(session_log=SessionLog(status=SessionLog.START)), step)
    if told:
        logger.log_hyperparams(told, {})  # for its hparams.yaml
        writer.add_summary(_tensorboard_session(told)[0])


def _tensorboard_session(told: dict[str, Any]) -> tuple[Any, Any]:
    """Returns the summaries of TensorBoard's HParams that begin a session with these values, and end it well."""
    from torch.utils.tensorboard.summary import hparams

    _, start, end = hparams(told, {})
    return start, end
