"""Schedules, early stopping and the ready callbacks in whole runs, cut off and not."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mnist_lightning import MNISTClassifier, RunConfig, train
from mnist_lightning.config import SchedulerConfig, conf_dir
from mnist_lightning.errors import ConfigError
from mnist_lightning.fused.groups import reason_to_train_alone
from mnist_lightning.records.run_directory import CONFIG, LAST
from mnist_lightning.training.checkpoints import read_checkpoint

Tiny = Callable[..., RunConfig]
STOP = {"_target_": "own_components.StopAfter", "epochs": 2}


def rates(run: Path) -> list[float]:
    with open(run / "metrics.csv") as file:
        return [float(line["lr"]) for line in csv.DictReader(file)]


def scheduled(tiny: Tiny, scheduler: SchedulerConfig, **changes: Any) -> RunConfig:
    config = tiny(**{"trainer.max_epochs": 4}, **changes)
    config.scheduler = scheduler
    config.check()
    return config


def test_metrics_csv_has_the_learning_rate_of_each_epoch(tiny: Tiny, tmp_path: Path) -> None:
    train(scheduled(tiny, SchedulerConfig("cosine")), tmp_path / "run")
    assert rates(tmp_path / "run") == pytest.approx([0.001 * (1 + math.cos(math.pi * t / 4)) / 2 for t in range(4)])
    train(tiny(), tmp_path / "none")
    assert "lr" not in (tmp_path / "none" / "metrics.csv").read_text().splitlines()[0].split(",")


def test_by_update_a_schedule_ends_where_the_run_does(tiny: Tiny, tmp_path: Path) -> None:
    train(scheduled(tiny, SchedulerConfig("linear", {"end_factor": 0.5}, interval="step")), tmp_path / "run")
    assert rates(tmp_path / "run") == pytest.approx([0.001 * (1 - 0.5 * (3 * n - 1) / 12) for n in range(1, 5)])


def test_a_warm_up_of_epochs_is_one_of_updates(tiny: Tiny, tmp_path: Path) -> None:
    runs = [SchedulerConfig(warmup_epochs=2), SchedulerConfig(warmup_steps=6)]  # three updates an epoch
    results = [train(scheduled(tiny, s), tmp_path / str(i)) for i, s in enumerate(runs)]
    assert results[0].loss == results[1].loss
    assert rates(tmp_path / "0") == pytest.approx([0.0005, 0.001, 0.001, 0.001])


@pytest.mark.parametrize(
    ("optimizer", "scheduler"),
    [
        ("rmsprop", SchedulerConfig("cosine", warmup_steps=8)),
        ("adam", SchedulerConfig("plateau", {"patience": 0, "threshold": 10.0, "factor": 0.5})),
        ("sgd", SchedulerConfig("torch.optim.lr_scheduler.OneCycleLR", {"max_lr": 0.1, "total_steps": 12}, "step")),
        ("torch.optim.RAdam", SchedulerConfig("own_components.make_schedule")),
    ],
    ids=["cosine", "plateau", "one cycle", "own"],
)
def test_a_run_that_was_cut_off_goes_on_bit_for_bit(
    tiny: Tiny, tmp_path: Path, optimizer: str, scheduler: SchedulerConfig
) -> None:
    config = scheduled(tiny, scheduler, **{"optimizer.name": optimizer})
    whole = train(config, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="stopped"):
        train(scheduled(tiny, scheduler, **{"optimizer.name": optimizer}, callbacks=[STOP]), tmp_path / "cut")
    (tmp_path / "cut" / CONFIG).write_text((tmp_path / "whole" / CONFIG).read_text())
    resumed = train(config, tmp_path / "cut", continue_interrupted=True)
    assert (resumed.loss, resumed.loss_test) == (whole.loss, whole.loss_test)
    assert rates(tmp_path / "cut") == rates(tmp_path / "whole")
    assert len(set(rates(tmp_path / "whole"))) > 1
    ends = [read_checkpoint(tmp_path / name / LAST)["state_dict"] for name in ("whole", "cut")]
    assert all(torch.equal(ends[0][k], ends[1][k]) for k in ends[0])


def test_a_checkpoint_names_a_schedule_and_never_imports_it(tiny: Tiny, tmp_path: Path) -> None:
    train(scheduled(tiny, SchedulerConfig("own_components.make_schedule")), tmp_path / "run")
    last = tmp_path / "run" / LAST
    with pytest.raises(
        ConfigError, match="scheduler=own_components.make_schedule: is named by a checkpoint, not by yo"
    ):
        MNISTClassifier.load_from_checkpoint(last).configure_optimizers()
    given = MNISTClassifier.load_from_checkpoint(last, scheduler="own_components.make_schedule")
    assert not given.schedule_is_stored


def test_a_longer_schedule_is_not_gone_on_with(tiny: Tiny, tmp_path: Path) -> None:
    train(scheduled(tiny, SchedulerConfig("cosine")), tmp_path / "run")
    longer = scheduled(tiny, SchedulerConfig("cosine"), ckpt_path=str(tmp_path / "run" / LAST))
    longer.trainer.max_epochs = 8
    with pytest.raises(ConfigError, match=r"was trained with schedule .*'epochs': 4"):
        train(longer, tmp_path / "longer")


def ready(*names: str) -> dict[str, Any]:
    """The ready callbacks as Hydra merges them."""
    files = [yaml.safe_load((conf_dir() / f"callback/{name}.yaml").read_text()) for name in names]
    return {k: v for content in files for k, v in content.items()}


def test_early_stopping_ends_a_run_and_the_record_says_after_how_many_epochs(tiny: Tiny, tmp_path: Path) -> None:
    stops = ready("early_stopping", "model_checkpoint")
    stops["early_stopping"] |= {"patience": 1, "min_delta": 10.0}
    config = tiny(**{"trainer.max_epochs": 9}, callback=stops)
    result = train(config, tmp_path / "run")
    assert (result.status, result.epochs) == ("completed", 2)
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 3
    assert {f"epoch{n}.ckpt" for n in range(2)} <= {p.name for p in (tmp_path / "run" / "checkpoints").iterdir()}
    assert reason_to_train_alone(config) == "callbacks belong to one run"


def test_a_run_that_was_cut_off_after_early_stopping_trains_no_further_epoch(tiny: Tiny, tmp_path: Path) -> None:
    stops = ready("early_stopping")
    stops["early_stopping"] |= {"patience": 1, "min_delta": 10.0}
    config = tiny(**{"trainer.max_epochs": 9}, callback=stops)
    whole = train(config, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    again = train(config, tmp_path / "run", continue_interrupted=True)
    assert (again.epochs, again.loss) == (whole.epochs, whole.loss) == (2, whole.loss)


def test_what_is_trained_alone_is_said(tiny: Tiny) -> None:
    assert reason_to_train_alone(scheduled(tiny, SchedulerConfig("cosine"))) == "scheduler=cosine belongs to one run"


def test_a_configuration_without_them_has_the_fingerprint_of_before(tiny: Tiny) -> None:
    assert not {"scheduler", "callback", "loss_options"} & tiny().identity().keys()
    cosine = scheduled(tiny, SchedulerConfig("cosine"))
    assert cosine.identity()["scheduler"] == {"name": "cosine"}
    for given in ("cosine", {"name": "cosine"}):
        assert RunConfig(scheduler=given).fingerprint == RunConfig(scheduler=SchedulerConfig("cosine")).fingerprint
    by_class = RunConfig(scheduler=torch.optim.lr_scheduler.ExponentialLR)
    assert by_class.scheduler.name == "torch.optim.lr_scheduler.ExponentialLR"
