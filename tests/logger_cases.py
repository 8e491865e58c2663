"""A logger and a callback of somebody's, and readers of what external loggers have stored: by their own libraries."""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

from mnist_lightning import RunResult
from mnist_lightning.config.files import conf_dir
from mnist_lightning.numerics.metrics import METRICS


def shipped(name: str, **changes: Any) -> dict[str, Any]:
    """The configuration group `logger=NAME` as it is shipped."""
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(OmegaConf.load(conf_dir() / "logger" / f"{name}.yaml"))
    assert isinstance(plain, dict)
    return {str(k): v for k, v in plain.items()} | changes


class Notes(Logger):
    """Somebody's logger: keeps every call."""

    calls: list[tuple[Any, ...]] = []

    @property
    def name(self) -> str:
        return "notes"

    @property
    def version(self) -> int:
        return 0

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.calls.append(("hyperparameters", params))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.calls.append(("metrics", dict(metrics), step))

    def finalize(self, status: str) -> None:
        self.calls.append(("end", status))


NOTES = {"_target_": f"{__name__}.Notes"}


def metrics_of(result: RunResult, split: str) -> dict[str, float]:
    """What the record says of the final weights on a whole set, by the loggers' names."""
    suffix = {"final_train": "", "test": "_test"}[split]
    return {f"{split}_{name}": getattr(result, name + suffix) for name in METRICS}


class Fails(Callback):
    """Raises in the second epoch, or in the final evaluation."""

    error: BaseException = RuntimeError("on purpose")
    in_evaluation = False

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch == 1 and not self.in_evaluation:
            raise self.error

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.in_evaluation:
            raise self.error


FAILS = {"_target_": f"{__name__}.Fails"}


def tensorboard(directory: Path) -> tuple[dict[str, list[tuple[int, float]]], dict[str, Any], str]:
    """Its scalars {name: [(step, value)]}, hyperparameters, and the status of its session, by TensorBoard's reader."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import api_pb2, metadata

    reader = EventAccumulator(str(directory), size_guidance={"scalars": 0})
    reader.Reload()
    scalars = {tag: [(e.step, e.value) for e in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}
    content = {tag: reader.SummaryMetadata(tag).plugin_data.content for tag in reader.PluginTagToContent("hparams")}
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    told = {name: getattr(v, v.WhichOneof("kind")) for name, v in start.hparams.items()}
    if metadata.SESSION_END_INFO_TAG not in content:
        return scalars, told, ""
    end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
    return scalars, told, api_pb2.Status.Name(end.status)  # pyright: ignore - made at run time


def mlflow_runs() -> tuple[Any, list[Any]]:
    """MLflow's client on the database of tmp_path, and the runs in it, first one first."""
    client = pytest.importorskip("mlflow").MlflowClient("sqlite:///outputs/mlflow.db")
    experiment = client.get_experiment_by_name("mnist_lightning")
    assert experiment is not None
    return client, sorted(client.search_runs([experiment.experiment_id]), key=lambda run: run.info.start_time)


def wandb_records(file: Path) -> Iterator[Any]:
    """The records in a .wandb file: wandb's own protocol buffers, in the blocks of LevelDB's log format."""
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore - made at run time

    data, position, record = file.read_bytes(), 7, b""
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:  # no header fits into the rest of the block
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(record)
            record = b""


def wandb_group(directory: Path) -> str:
    """The group in which the one run in a directory is."""
    [file] = (directory / "wandb").glob("offline-run-*/run-*.wandb")
    return next(record.run.run_group for record in wandb_records(file) if record.HasField("run"))


def wandb_run(directory: Path) -> tuple[dict[str, Any], dict[str, list[tuple[int, float]]], int | None]:
    """The configuration, the history {name: [(step, value)]} and the exit code of the one run in a directory."""
    [file] = (directory / "wandb").glob("offline-run-*/run-*.wandb")
    told, history, code = {}, defaultdict(list), None
    for record in wandb_records(file):
        for item in [*record.run.config.update, *record.config.update]:
            told[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
        values = {i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in record.history.item}
        for name, value in values.items():
            history[name].append((values.get("trainer/global_step"), value))
        if record.HasField("exit"):
            code = record.exit.exit_code
    return told, history, code
