"""What a run tells external loggers, read back by their own readers; and what a stopped run leaves in them."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from logger_cases import (
    FAILS,
    NOTES,
    Fails,
    Notes,
    metrics_of,
    mlflow_runs,
    shipped,
    tensorboard,
    wandb_group,
    wandb_run,
)
from mnist_lightning import RunConfig, train, train_many
from mnist_lightning.command.signals import Interrupted
from mnist_lightning.errors import LONGEST_LINE, ConfigError
from mnist_lightning.numerics.metrics import METRICS
from mnist_lightning.training import trainer
from mnist_lightning.training.run import check
from mnist_lightning.training.run_log import hyperparameters

Tiny = Callable[..., RunConfig]
Patch = pytest.MonkeyPatch
STEPS = 3  # of an epoch of 192 images, 64 a step


@pytest.fixture(autouse=True)
def local(monkeypatch: Patch, tmp_path: Path) -> None:
    """Nothing reaches for the network; what has no directory of its own lands in tmp_path."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()


@pytest.fixture
def notes(monkeypatch: Patch) -> list[tuple[Any, ...]]:
    monkeypatch.setattr(Notes, "calls", [])
    return Notes.calls


# --- the law, for any logger


@pytest.mark.parametrize("held_out", [0, 42])
def test_each_split_is_told_once_under_its_own_name(
    held_out: int, tiny: Tiny, tmp_path: Path, notes: list[tuple[Any, ...]]
) -> None:
    result = train(tiny(logger=NOTES, **{"data.val_size": held_out}), tmp_path / "run")
    told = [call[1:] for call in notes if call[0] == "metrics"]
    final, step = told[-1]
    per_epoch = [name for metrics, _ in told[:-1] for name in metrics if name != "epoch"]
    assert sorted(set(per_epoch)) == sorted(f"{split}_{name}" for split in ("train", "val") for name in METRICS)
    assert not final.keys() & set(per_epoch)
    assert step == math.ceil((192 - held_out) / 64) * 2
    expected = metrics_of(result, "test") | metrics_of(result, "final_train")
    assert final.items() >= expected.items()
    rest = {name: final[name] for name in final.keys() - expected.keys()}
    if held_out:
        assert rest.keys() == {f"final_val_{name}" for name in METRICS}
        assert (rest["final_val_loss"], rest["final_val_accuracy"]) == (result.loss_val, result.accuracy_val)
    else:
        assert rest == {}  # the validation set is the test set


def test_every_key_that_decides_the_result_is_told_once_and_flat(
    tiny: Tiny, tmp_path: Path, notes: list[tuple[Any, ...]]
) -> None:
    stop = {"_target_": "lightning.pytorch.callbacks.Timer", "duration": "00:01:00:00"}
    config = tiny(logger=NOTES, callbacks=[stop], **{"optimizer.options": {"rho": 0.8, "eps": 1e-6}})
    train(config, tmp_path / "run")
    [told] = [call[1] for call in notes if call[0] == "hyperparameters"]
    assert told == {
        "optimizer.name": "rmsprop",
        "optimizer.options.rho": 0.8,
        "optimizer.options.eps": 1e-6,
        "lr": 0.001,
        "loss": "mse",
        "seed": 0,
        "model.num_channels": 2,
        "model.num_conv": 1,
        "model.num_dense": 0,
        "data.name": "mnist",
        "data.batch_size": 64,
        "data.val_size": 0,
        "trainer.max_epochs": 2,
        "trainer.precision": "32-true",
        "callbacks": json.dumps([stop]),
    }


def test_hyperparameters_differ_wherever_fingerprints_do(tiny: Tiny) -> None:
    changes = [{}, {"lr": 0.2}, {"trainer.max_steps": 5}, {"data.train_size": 100}, {"optimizer.options": {"rho": 0.1}}]
    configs = [tiny(**change) for change in changes]
    assert len({c.fingerprint for c in configs}) == len({str(hyperparameters(c)) for c in configs}) == len(changes)


def test_hyperparameters_are_not_told_where_they_are_not_wanted(
    tiny: Tiny, tmp_path: Path, notes: list[tuple[Any, ...]]
) -> None:
    train(tiny(logger=NOTES, **{"trainer.enable_autolog_hparams": False}), tmp_path / "run")
    assert "hyperparameters" not in {call[0] for call in notes}


@pytest.fixture
def fails(monkeypatch: Patch) -> Callable[..., None]:
    """`fails(error, in_evaluation)`: what the callback FAILS raises, and where."""

    def set_(error: BaseException, in_evaluation: bool) -> None:
        monkeypatch.setattr(Fails, "error", error)
        monkeypatch.setattr(Fails, "in_evaluation", in_evaluation)

    return set_


ENDS = [(RuntimeError("on purpose"), "failed"), (Interrupted("SIGTERM"), "aborted")]


@pytest.mark.parametrize("in_evaluation", [False, True], ids=["fit", "evaluation"])
@pytest.mark.parametrize(("error", "status"), ENDS, ids=["failed", "interrupted"])
def test_a_logger_is_told_once_how_the_run_ended(
    error: BaseException,
    status: str,
    in_evaluation: bool,
    tiny: Tiny,
    tmp_path: Path,
    notes: list[tuple[Any, ...]],
    fails: Callable[..., None],
) -> None:
    fails(error, in_evaluation)
    with pytest.raises(type(error)):
        train(tiny(logger=NOTES, callbacks=[FAILS]), tmp_path / "run")
    assert [call for call in notes if call[0] == "end"] == [("end", status)]


def test_a_completed_run_ends_with_success_and_a_diverged_one_does_not(
    tiny: Tiny, tmp_path: Path, notes: list[tuple[Any, ...]]
) -> None:
    train(tiny(logger=NOTES), tmp_path / "run")
    diverging = tiny(logger=NOTES, loss="cross_entropy", optimizer="sgd", lr=1e30)
    assert train(diverging, tmp_path / "diverged").status == "diverged"
    assert [call for call in notes if call[0] == "end"] == [("end", "success"), ("end", "failed")]
    assert notes[-1] == ("end", "failed")  # after all metrics


# --- TensorBoard


@pytest.fixture
def with_tensorboard() -> dict[str, Any]:
    pytest.importorskip("tensorboard", reason='needs pip install "mnist-lightning[tensorboard]"')
    return shipped("tensorboard")


def next_second() -> None:
    """Waits: TensorBoard reads the files of a directory in the order of the seconds in which they were begun."""
    time.sleep(1.01 - time.time() % 1)


@pytest.mark.parametrize("held_out", [0, 42])
def test_tensorboard_reads_scores_hyperparameters_and_curves(
    held_out: int, tiny: Tiny, tmp_path: Path, with_tensorboard: dict[str, Any]
) -> None:
    config = tiny(logger=with_tensorboard, **{"data.val_size": held_out})
    result = train(config, tmp_path / "run")
    scalars, told, status = tensorboard(tmp_path / "run" / "tensorboard")
    assert told == pytest.approx(hyperparameters(config))
    assert status == "STATUS_SUCCESS"
    for name, value in (metrics_of(result, "test") | metrics_of(result, "final_train")).items():
        assert scalars[name] == [(2 * STEPS, pytest.approx(value, rel=1e-6))], name
    ranked_by = result.accuracy_val if held_out else result.accuracy_test
    assert scalars["hp_metric"] == [(2 * STEPS, pytest.approx(ranked_by))]
    for name in ("train_loss", "val_accuracy"):
        assert [step for step, _ in scalars[name]] == [STEPS - 1, 2 * STEPS - 1], name


def test_members_of_a_group_tell_tensorboard_what_single_runs_do(
    tiny: Tiny, tmp_path: Path, with_tensorboard: dict[str, Any]
) -> None:
    configs = [tiny(logger=with_tensorboard, lr=lr) for lr in (0.001, 0.01)]
    directories = [tmp_path / "group" / name for name in ("a", "b")]
    results = train_many(configs, directories)
    assert {r.engine for r in results} == {"fused"}
    train(configs[1], tmp_path / "alone")
    alone, told_alone, status_alone = tensorboard(tmp_path / "alone" / "tensorboard")
    del alone["epoch"]  # alone once more, with the validation
    steps = {name: [step for step, _ in values] for name, values in alone.items()}
    for config, directory, result in zip(configs, directories, results, strict=True):
        scalars, told, status = tensorboard(directory / "tensorboard")
        del scalars["epoch"]
        assert {name: [step for step, _ in values] for name, values in scalars.items()} == steps
        assert scalars["hp_metric"] == [(2 * STEPS, pytest.approx(result.accuracy_test))]
        assert (told, status) == (pytest.approx(hyperparameters(config)), status_alone)
    assert told_alone == pytest.approx(hyperparameters(configs[1]))


def test_a_run_that_was_cut_off_has_each_epoch_once_in_tensorboard(
    tiny: Tiny, tmp_path: Path, with_tensorboard: dict[str, Any], fails: Callable[..., None]
) -> None:
    config = tiny(logger=with_tensorboard, callbacks=[FAILS], **{"trainer.max_epochs": 3})
    fails(Interrupted("SIGTERM"), False)
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run")
    scalars, told, status = tensorboard(tmp_path / "run" / "tensorboard")
    assert (len(scalars["train_loss"]), told, status) == (1, pytest.approx(hyperparameters(config)), "")
    assert "hp_metric" not in scalars
    next_second()
    fails(Interrupted("SIGTERM"), True)  # now only the final evaluation fails
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", continue_interrupted=True)
    next_second()
    fails(RuntimeError("on purpose"), True)
    with pytest.raises(RuntimeError, match="on purpose"):  # anew, in the same directory
        train(config, tmp_path / "run")
    scalars, _, _ = tensorboard(tmp_path / "run" / "tensorboard")
    assert [step for step, _ in scalars["train_loss"]] == [STEPS - 1, 2 * STEPS - 1, 3 * STEPS - 1]


def test_a_group_that_was_cut_off_has_each_epoch_once_in_tensorboard(
    tiny: Tiny, tmp_path: Path, with_tensorboard: dict[str, Any], monkeypatch: Patch
) -> None:
    from mnist_lightning.fused.engine import FusedClassifier

    configs = [tiny(logger=with_tensorboard, lr=lr, **{"trainer.max_epochs": 3}) for lr in (0.001, 0.01)]
    directories = [tmp_path / "group" / name for name in ("a", "b")]
    begin = FusedClassifier.on_train_epoch_start

    def cut_off(self: FusedClassifier) -> None:
        if self.current_epoch == 2:
            raise Interrupted("SIGTERM")
        begin(self)

    with monkeypatch.context() as patch:
        patch.setattr(FusedClassifier, "on_train_epoch_start", cut_off)
        with pytest.raises(Interrupted):
            train_many(configs, directories)
    assert len(tensorboard(directories[0] / "tensorboard")[0]["train_loss"]) == 2
    next_second()
    results = train_many(configs, directories, continue_interrupted=True)
    for directory, result in zip(directories, results, strict=True):
        scalars, _, status = tensorboard(directory / "tensorboard")
        assert [step for step, _ in scalars["train_loss"]] == [STEPS - 1, 2 * STEPS - 1, 3 * STEPS - 1]
        assert scalars["test_accuracy"] == [(3 * STEPS, pytest.approx(result.accuracy_test))]
        assert status == "STATUS_SUCCESS"


# --- MLflow


@pytest.fixture
def with_mlflow() -> dict[str, Any]:
    pytest.importorskip("mlflow", reason='needs pip install "mnist-lightning[mlflow]"')
    return shipped("mlflow")


@pytest.mark.filterwarnings("ignore:.*noload.*", "ignore::ResourceWarning")  # MLflow's own use of SQLAlchemy
def test_mlflow_reads_scores_hyperparameters_curves_and_how_runs_ended(
    tiny: Tiny, tmp_path: Path, with_mlflow: dict[str, Any], fails: Callable[..., None]
) -> None:
    config = tiny(logger=with_mlflow, **{"data.val_size": 42})
    result = train(config, tmp_path / "run")
    for error, _ in ENDS:
        fails(error, True)
        with pytest.raises(type(error)):
            train(tiny(logger=with_mlflow, callbacks=[FAILS]), tmp_path / type(error).__name__)
    client, runs = mlflow_runs()
    assert [run.info.status for run in runs] == ["FINISHED", "FAILED", "KILLED"]
    done = runs[0]
    assert done.info.run_name == config.run_name
    assert {run.data.tags["sweep"] for run in runs} == {tmp_path.name}
    assert done.data.params == {name: str(value) for name, value in hyperparameters(config).items()}
    expected = metrics_of(result, "test") | metrics_of(result, "final_train")
    expected |= {"final_val_accuracy": result.accuracy_val}
    for name, value in expected.items():
        assert [(m.step, m.value) for m in client.get_metric_history(done.info.run_id, name)] == [(2 * STEPS, value)]
    assert len(client.get_metric_history(done.info.run_id, "train_loss")) == 2
    assert not {name for name in runs[1].data.metrics if name.startswith(("test_", "final_"))}


# --- Weights & Biases


@pytest.fixture
def with_wandb(monkeypatch: Patch) -> Iterator[dict[str, Any]]:
    wandb = pytest.importorskip("wandb", reason='needs pip install "mnist-lightning[wandb]"')
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield shipped("wandb")
    wandb.teardown()  # its process, and what it read of the environment


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning:wandb.*")
def test_wandb_reads_scores_hyperparameters_and_curves_of_each_run_of_a_process(
    tiny: Tiny, tmp_path: Path, with_wandb: dict[str, Any], fails: Callable[..., None]
) -> None:
    config = tiny(logger=with_wandb)
    result = train(config, tmp_path / "run")
    fails(RuntimeError("on purpose"), True)
    with pytest.raises(RuntimeError, match="on purpose"):
        train(tiny(logger=with_wandb, callbacks=[FAILS]), tmp_path / "failed")
    sys.modules["wandb"].teardown()  # its process writes what it still has
    told, history, code = wandb_run(tmp_path / "run")
    assert {k: v for k, v in told.items() if k != "_wandb"} == hyperparameters(config)
    assert code == 0
    assert wandb_group(tmp_path / "run") == wandb_group(tmp_path / "failed") == tmp_path.name
    for name, value in (metrics_of(result, "test") | metrics_of(result, "final_train")).items():
        assert history[name] == [(2 * STEPS, pytest.approx(value, rel=1e-6))], name
    assert len(history["train_loss"]) == 2
    _, history, code = wandb_run(tmp_path / "failed")
    assert code == 1
    assert not {name for name in history if name.startswith(("test_", "final_"))}


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning:wandb.*")
@pytest.mark.parametrize(
    ("key", "refusal"), [("", "logger=wandb: no API key"), ("0" * 40, "logger=wandb: its server was not reached")]
)
def test_wandb_without_key_or_server_is_refused_at_once_and_told_what_to_set(
    key: str, refusal: str, tiny: Tiny, tmp_path: Path, with_wandb: dict[str, Any], monkeypatch: Patch
) -> None:
    trainer._wandbs_refusal.cache_clear()
    monkeypatch.setattr(trainer, "_WANDB_SECONDS", 1)
    monkeypatch.delenv("WANDB_MODE")
    for name, value in {"HOME": tmp_path, "NETRC": tmp_path / "none", "WANDB_BASE_URL": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("WANDB_API_KEY", key)
    if not key:
        monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(ConfigError, match=f"{refusal}.*; set WANDB_MODE=offline, and wandb sync later$") as refused:
        check(tiny(logger=with_wandb))
    assert len(str(refused.value)) < LONGEST_LINE - 30  # whole in the command's line, too
    trainer._wandbs_refusal.cache_clear()


def test_a_missing_package_is_found_before_the_first_run(tiny: Tiny, monkeypatch: Patch) -> None:
    monkeypatch.setattr(trainer, "find_spec", lambda package: None)
    for name in ("tensorboard", "mlflow", "wandb"):
        with pytest.raises(ConfigError, match=rf"needs {name}; pip install \"mnist-lightning\[{name}\]\""):
            check(tiny(logger=shipped(name)))
