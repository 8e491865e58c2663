"""One run: its record, its files, its determinism."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from mnist_lightning import MNISTClassifier, MNISTDataModule, RunConfig, RunResult, train
from mnist_lightning.config import DataConfig, ModelConfig, Shape, TrainerConfig, parse
from mnist_lightning.errors import ConfigError
from mnist_lightning.records.results import from_json
from mnist_lightning.training.precision import fastest_precision
from mnist_lightning.training.record import device_name
from mnist_lightning.training.runtime import flushed_denormals

Tiny = Callable[..., RunConfig]
Patch = pytest.MonkeyPatch


def table(directory: Path) -> list[dict[str, str]]:
    with open(directory / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_its_record_and_its_files(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny()
    result = train(config, tmp_path / "run")
    files = {str(p.relative_to(tmp_path / "run")) for p in (tmp_path / "run").rglob("*") if p.is_file()}
    assert {"result.json", "config.yaml", "metrics.csv", "checkpoints/last.ckpt", "checkpoints/best.ckpt"} <= files
    assert from_json((tmp_path / "run" / "result.json").read_text()) == result
    assert parse(OmegaConf.load(tmp_path / "run" / "config.yaml")) == config  # pyright: ignore[reportArgumentType] - a dictionary was saved
    assert [row["epoch"] for row in table(tmp_path / "run")] == ["1", "2"]


def test_the_record_holds_every_field_finite(tiny: Tiny, tmp_path: Path) -> None:
    result = train(tiny(), tmp_path / "run")
    assert result.status == "completed"
    for name, value in asdict(result).items():
        if name not in ("error", "commit", "version", "network", "update"):  # empty in a source tree, ...
            assert value not in (None, ""), name
            assert not isinstance(value, float) or math.isfinite(value), name
    assert (result.train_size, result.test_size, result.epochs, result.num_parameters) == (192, 64, 2, 7946)
    assert result.model_path == "run/checkpoints/last.ckpt"
    assert 1 <= (result.best_epoch or 0) <= 2


@pytest.mark.parametrize("which", ["last", "best"])
def test_a_checkpoint_loads_outside_the_project_and_gives_the_recorded_accuracy(
    which: str, tiny: Tiny, tmp_path: Path, mini_mnist: Path
) -> None:
    result = train(tiny(**{"trainer.max_epochs": 3}, lr=0.003), tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / f"{which}.ckpt"
    module = MNISTClassifier.load_from_checkpoint(path, weights_only=True)
    test = MNISTDataModule(root=str(mini_mnist)).dataset.test
    accuracy = (module(test.images).argmax(-1) == test.labels).double().mean().item()
    row = table(tmp_path / "run")[-1 if which == "last" else (result.best_epoch or 0) - 1]
    assert accuracy == pytest.approx(float(row["val_accuracy"]), abs=1e-7)
    if which == "last" or result.best_epoch == result.epochs:
        assert accuracy == result.accuracy_test


def test_best_is_the_epoch_of_the_lowest_validation_loss(tiny: Tiny, tmp_path: Path) -> None:
    result = train(tiny(**{"trainer.max_epochs": 4}, optimizer="adam", lr=0.02), tmp_path / "run")
    losses = [float(row["val_loss"]) for row in table(tmp_path / "run")]
    assert result.best_epoch == losses.index(min(losses)) + 1
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert checkpoint["epoch"] + 1 == result.best_epoch


def losses_in_a_process(config: RunConfig, directory: Path) -> list[str]:
    code = (
        "import sys, json; from mnist_lightning.config import parse; from mnist_lightning.training.run import train; "
    )
    code += "train(parse(json.loads(sys.argv[1])), sys.argv[2])"
    subprocess.run([sys.executable, "-c", code, json.dumps(asdict(config)), str(directory)], check=True)
    return [value for row in table(directory) for value in row.values()]


def test_the_same_seed_gives_the_same_losses_bit_for_bit_in_any_process(tiny: Tiny, tmp_path: Path) -> None:
    first, again = (train(tiny(), tmp_path / name) for name in ("a", "b"))
    assert (first.loss, first.loss_test, first.mae) == (again.loss, again.loss_test, again.mae)
    assert (tmp_path / "a" / "metrics.csv").read_bytes() == (tmp_path / "b" / "metrics.csv").read_bytes()
    assert losses_in_a_process(tiny(), tmp_path / "c") == [v for row in table(tmp_path / "a") for v in row.values()]


def test_another_seed_gives_other_losses_and_seed_0_is_a_seed(tiny: Tiny, tmp_path: Path) -> None:
    torch.manual_seed(1234)  # must not matter
    results = {seed: train(tiny(seed=seed), tmp_path / str(seed)).loss for seed in (0, 1, 2)}
    assert len(set(results.values())) == 3
    torch.manual_seed(4321)
    assert train(tiny(seed=0), tmp_path / "again").loss == results[0]


def test_a_run_continued_from_its_last_epoch_ends_where_an_undisturbed_one_does(tiny: Tiny, tmp_path: Path) -> None:
    whole = train(tiny(**{"trainer.max_epochs": 3}), tmp_path / "whole")
    train(tiny(**{"trainer.max_epochs": 2}), tmp_path / "part")
    last = str(tmp_path / "part" / "checkpoints" / "last.ckpt")
    (tmp_path / "part" / "result.json").unlink()
    rest = train(tiny(**{"trainer.max_epochs": 3}, ckpt_path=last), tmp_path / "part")
    assert (rest.loss, rest.loss_test, rest.best_epoch) == (whole.loss, whole.loss_test, whole.best_epoch)
    assert table(tmp_path / "part") == table(tmp_path / "whole")


def test_an_interrupted_run_goes_on_after_its_last_whole_epoch(tiny: Tiny, tmp_path: Path, monkeypatch: Patch) -> None:
    config, begun = tiny(**{"trainer.max_epochs": 3}), []
    whole = train(config, tmp_path / "whole")
    begin = MNISTClassifier.on_train_epoch_start

    def noted(self: MNISTClassifier) -> None:
        begun.append(self.current_epoch)
        if len(begun) == 3:
            raise RuntimeError("cut off")
        begin(self)

    monkeypatch.setattr(MNISTClassifier, "on_train_epoch_start", noted)
    with pytest.raises(RuntimeError, match="cut off"):
        train(config, tmp_path / "cut")
    rest = train(config, tmp_path / "cut", continue_interrupted=True)
    assert begun == [0, 1, 2, 2]
    assert (rest.loss, rest.loss_test, rest.best_epoch) == (whole.loss, whole.loss_test, whole.best_epoch)
    assert table(tmp_path / "cut") == table(tmp_path / "whole")


def test_metrics_are_those_of_the_final_weights_on_the_whole_sets(tiny: Tiny, tmp_path: Path, mini_mnist: Path) -> None:
    result = train(tiny(), tmp_path / "run")
    module = MNISTClassifier.load_from_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    train_set = MNISTDataModule(root=str(mini_mnist)).dataset.train
    with torch.inference_mode():
        p = module(train_set.images).softmax(-1)
    y = torch.nn.functional.one_hot(train_set.labels, 10)
    assert result.mse == pytest.approx((p - y).square().mean().item(), rel=1e-5)
    assert result.mae == pytest.approx((p - y).abs().mean().item(), rel=1e-5)
    assert result.binary_accuracy == pytest.approx(((p > 0.5) == (y > 0.5)).double().mean().item(), abs=1e-9)


def test_held_out_images_are_validated_on_and_not_trained_on(tiny: Tiny, tmp_path: Path) -> None:
    result = train(tiny(**{"data.val_size": 42}), tmp_path / "run")
    assert (result.train_size, result.val_size, result.test_size) == (150, 42, 64)
    assert result.loss_val == pytest.approx(float(table(tmp_path / "run")[-1]["val_loss"]), rel=1e-6)
    assert result.loss_val != result.loss_test


def test_a_run_whose_loss_becomes_nan_is_marked_and_stops(tiny: Tiny, tmp_path: Path) -> None:
    diverging = tiny(**{"trainer.max_epochs": 5}, loss="cross_entropy", optimizer="sgd", lr=1e30)
    result = train(diverging, tmp_path / "run")
    assert (result.status, result.best_epoch) == ("diverged", None)
    assert result.error == "loss is not finite in epoch 1"
    assert result.epochs == 1


def test_in_float64_the_project_trains_in_float64(tiny: Tiny, tmp_path: Path) -> None:
    result = train(tiny(**{"trainer.precision": "64-true"}), tmp_path / "run")
    assert result.precision == "64-true"
    weights = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert {w.dtype for w in weights.values()} == {torch.float64}


def test_the_record_says_which_precision_ran(tiny: Tiny, tmp_path: Path) -> None:
    """Not what was asked for: here `auto`."""
    result = train(tiny(**{"trainer.precision": "auto"}), tmp_path / "run")
    assert result.precision == fastest_precision("cpu")
    assert result.precision != "auto"


def test_trainer_arguments_callbacks_and_loggers_arrive(tiny: Tiny, tmp_path: Path) -> None:
    stop = {
        "_target_": "lightning.pytorch.callbacks.EarlyStopping",
        "monitor": "val_loss",
        "patience": 0,
        "min_delta": 9,
    }
    logger = {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": "{directory}/csv", "name": "{run_name}"}
    config = tiny(**{"trainer.max_epochs": 5, "trainer.limit_train_batches": 1}, callbacks=[stop], logger=logger)
    result = train(config, tmp_path / "run")
    assert result.epochs == 2
    assert (tmp_path / "run" / "csv" / config.run_name / "version_0" / "metrics.csv").is_file()


def test_logger_none_writes_no_table(tiny: Tiny, tmp_path: Path) -> None:
    train(tiny(logger={"_target_": "none"}), tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_without_checkpoints_the_record_names_none(tiny: Tiny, tmp_path: Path) -> None:
    result = train(tiny(**{"trainer.enable_checkpointing": False}), tmp_path / "run")
    assert result.model_path == ""
    assert not (tmp_path / "run" / "checkpoints").exists()


BAD = [
    ({"trainer.devices": 2}, "trainer.devices=2: one run trains on one device"),
    (
        {"trainer.strategy": {"_target_": "lightning.pytorch.strategies.DDPStrategy"}},
        "not a lightning SingleDeviceStra",
    ),
    ({"trainer.max_time": "soon"}, "trainer.max_time=soon: not DD:HH:MM:SS; use 00:01:30:00 for 90 minutes"),
    ({"trainer.max_time": {"soon": 1}}, "trainer: .*see the arguments of lightning.Trainer"),
    ({"trainer.limit_train_batches": 0}, "trainer.limit_train_batches=0: too small"),
    ({"trainer.max_steps": 0}, "not a single step was trained"),
    ({"trainer.gradient_clip_val": -1.0}, "trainer.gradient_clip_val=-1.0: too small; use 0 or more"),
    ({"trainer.enable_progress_bar": "maybe"}, "trainer.enable_progress_bar=maybe: not true or false"),
    ({"trainer.accumulate_grad_batches": 0}, "trainer.accumulate_grad_batches=0: too small"),
    ({"logger": {"_target_": "csv", "foo": 5}}, "logger.foo=5: logger=csv has no arguments"),
    ({"callbacks": [{"_target_": "os.system"}]}, "callbacks._target_=os.system: not a lightning Callback"),
    ({"callbacks": ["EarlyStopping"]}, "callbacks=EarlyStopping: no _target_"),
    ({"logger": {"_target_": "subprocess.Popen"}}, "logger._target_=subprocess.Popen: not a lightning Logger"),
    ({"ckpt_path": "nope.ckpt"}, "ckpt_path=nope.ckpt: no such file"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[str(changes) for changes, _ in BAD])
def test_what_cannot_run_is_refused_in_a_sentence(changes: dict, message: str, tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        train(tiny(**changes), tmp_path / "run")
    assert not (tmp_path / "run" / "result.json").exists()


def test_without_a_directory_a_run_finds_a_fresh_one(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {train(tiny(**{"trainer.max_epochs": 1})).run_name for _ in range(2)}
    assert len(names) == 1
    assert len(list((tmp_path / "outputs").glob(f"*/{names.pop()}/result.json"))) == 2


def test_the_device_is_named() -> None:
    assert device_name(torch.device("cpu")).startswith("cpu (")


def test_real_mnist_is_learned(real_mnist: Path, tmp_path: Path) -> None:
    """A small network on a tenth of the data; the README's full run reaches more than 98 %."""
    config = RunConfig(
        model=ModelConfig(8, 2, 1),
        data=DataConfig(root=str(real_mnist), train_size=6000, test_size=2000),
        trainer=TrainerConfig(max_epochs=2, accelerator="cpu"),
    )
    result: RunResult = train(config, tmp_path / "run")
    assert result.accuracy_test > 0.9
    assert result.dataset == "mnist"


def test_a_run_prints_nothing(tiny: Tiny, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train(tiny(), tmp_path / "run")
    assert capfd.readouterr() == ("", "")


def test_nothing_of_a_run_is_kept_alive_when_it_has_ended(tiny: Tiny, tmp_path: Path, monkeypatch: Patch) -> None:
    made: list[weakref.ref[MNISTClassifier]] = []
    remember = MNISTClassifier.from_config

    def remembered(config: RunConfig, shape: Shape) -> MNISTClassifier:
        module = remember(config, shape)
        made.append(weakref.ref(module))
        return module

    monkeypatch.setattr(MNISTClassifier, "from_config", remembered)
    train(tiny(), tmp_path / "run")
    assert [ref() for ref in made] == [None]


def test_denormal_numbers_are_zero_while_training_and_only_then() -> None:
    tiny_number = torch.tensor([1.2e-38])
    assert (tiny_number / 2).item() > 0
    with flushed_denormals():
        assert (tiny_number / 2).item() == 0
        with flushed_denormals():
            pass
        assert (tiny_number / 2).item() == 0
    assert (tiny_number / 2).item() > 0


def test_a_run_that_takes_too_long_is_ended_by_max_time_and_recorded(tiny: Tiny, tmp_path: Path) -> None:
    """Lightning looks at the clock between batches: a batch that never ends is not ended by this."""
    slow = {"_target_": "fault_callbacks.Slow", "seconds": 0.3}
    limits = {"trainer.max_time": {"seconds": 1}, "trainer.max_epochs": 1000}
    result = train(tiny(**limits, callbacks=[slow]), tmp_path / "run")
    assert result.status == "completed"
    assert 1 <= (result.epochs or 0) < 5
    assert result.duration_seconds < 30
