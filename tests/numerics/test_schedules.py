"""Learning-rate schedules against their formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from mnist_lightning.config import SchedulerConfig
from mnist_lightning.errors import ConfigError
from mnist_lightning.numerics.schedules import build_schedule, check_schedule, warmed_up

LR, LENGTH = 0.5, 9
FORMULAS: dict[str, Callable[[int], float]] = {
    "cosine": lambda t: LR * (1 + math.cos(math.pi * t / LENGTH)) / 2,
    "step": lambda t: LR * 0.1 ** (t // 3),
    "exponential": lambda t: LR * 0.95**t,
    "linear": lambda t: LR * (1 - 0.99 * t / LENGTH),
}


def sgd() -> torch.optim.Optimizer:
    w = torch.ones(1, dtype=torch.float64, requires_grad=True)
    w.grad = torch.zeros_like(w)
    return torch.optim.SGD([w], lr=LR)


def walked(config: SchedulerConfig, *metrics: Any) -> list[float]:
    optimizer = sgd()
    scheduler = build_schedule(config, optimizer, LENGTH)
    assert scheduler is not None
    seen = []
    for t in range(LENGTH + 1):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*metrics[t : t + 1])
    return seen


@pytest.mark.parametrize("name", FORMULAS)
def test_a_schedule_follows_its_formula(name: str) -> None:
    wanted = [FORMULAS[name](t) for t in range(LENGTH + 1)]
    assert walked(SchedulerConfig(name)) == pytest.approx(wanted, rel=1e-12, abs=1e-15)


def test_arguments_arrive_and_a_plateau_waits() -> None:
    assert walked(SchedulerConfig("step", {"step_size": 2, "gamma": 0.5}))[:5] == [LR, LR, LR / 2, LR / 2, LR / 4]
    found = walked(SchedulerConfig("plateau", {"patience": 1}), *[1.0] * 10)
    assert found[:6] == pytest.approx([LR, LR, LR, LR / 10, LR / 10, LR / 100])


def test_one_of_torchs_or_the_users_by_its_name() -> None:
    config = SchedulerConfig("torch.optim.lr_scheduler.MultiStepLR", {"milestones": [2, 4], "gamma": 0.5})
    assert walked(config)[:5] == [LR, LR, LR / 2, LR / 2, LR / 4]
    assert walked(SchedulerConfig("own_components.make_schedule"))[:3] == [LR, LR / 4, LR / 16]


def test_without_a_schedule_there_is_none() -> None:
    assert build_schedule(SchedulerConfig(), sgd(), LENGTH) is None
    assert SchedulerConfig().identity() == SchedulerConfig(warmup_epochs=0).identity() == {}
    assert not SchedulerConfig().is_used
    assert SchedulerConfig(warmup_steps=3).identity() == {"warmup_steps": 3}


def test_a_warm_up_grows_in_equal_steps_and_leaves_the_schedule_alone() -> None:
    optimizer, seen = sgd(), []
    for step in range(5):
        with warmed_up(optimizer, step, 4):
            seen.append(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[0]["lr"] == LR
    assert seen == [LR / 4, LR / 2, 3 * LR / 4, LR, LR]


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ({"name": "cosin"}, "scheduler.name=cosin: unknown; did you mean cosine?"),
        ({"options": {"gamma": 1}}, "scheduler.options={'gamma': 1}: scheduler=none has none; leave it out"),
        ({"name": "plateau", "interval": "step"}, "scheduler.interval=step: plateau waits for a validation; use epoch"),
        (
            {"warmup_epochs": 1, "warmup_steps": 1},
            "scheduler.warmup_steps=1: there is scheduler.warmup_epochs too",
        ),
        (
            {"name": "step", "options": {"gama": 1}},
            "scheduler.options.gama=1: StepLR has no such argument; did you",
        ),
        (
            {"name": "torch.optim.SGD"},
            "scheduler=torch.optim.SGD: not a torch LRScheduler; give a name such as torch",
        ),
    ],
)
def test_what_is_no_schedule_is_refused(keys: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_schedule(SchedulerConfig(**keys), sgd(), LENGTH)
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("cosine", {"T_max": "ten"}, "TypeError: unsupported operand"),
        ("cosine", {"T_max": 0}, "ZeroDivisionError"),
        ("step", {"step_size": "3"}, "TypeError"),
        ("plateau", {"patience": "few"}, "TypeError"),
    ],
)
def test_a_schedule_that_cannot_be_stepped_is_refused(name: str, options: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError, match=rf"^scheduler={name}: cannot be stepped \({error}.*\); see its arguments"):
        check_schedule(SchedulerConfig(name=name, options=options), sgd(), LENGTH)


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        (
            {"name": "cosine", "monitor": "val_loss"},
            "scheduler.monitor=val_loss: scheduler=cosine watches nothing, as plateau does; leave it out",
        ),
        ({"monitor": "val_loss"}, "scheduler.monitor=val_loss: scheduler=none watches nothing, as plateau does;"),
        (
            {"name": "torch.optim.lr_scheduler.ExponentialLR", "options": {"gamma": 0.9}, "monitor": "val_loss"},
            "scheduler.monitor=val_loss: scheduler=torch.optim.lr_scheduler.ExponentialLR watches nothing",
        ),
        ({"interval": "step"}, "scheduler.interval=step: scheduler=none has none; leave it out"),
        (
            {"name": "torch.optim.lr_scheduler.ReduceLROnPlateau", "interval": "step"},
            "scheduler.interval=step: torch.optim.lr_scheduler.ReduceLROnPlateau waits for a validation; use epoch",
        ),
    ],
)
def test_a_key_that_the_schedule_does_not_use_is_refused_before_training(keys: dict[str, Any], what: str) -> None:
    config = SchedulerConfig(**keys)  # what was stored with it is read
    with pytest.raises(ConfigError) as caught:
        check_schedule(config, sgd(), LENGTH)
    assert what in str(caught.value)


def test_plateau_takes_another_metric() -> None:
    check_schedule(SchedulerConfig("plateau", monitor="val_accuracy", interval="epoch"), sgd(), LENGTH)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["none", "cosine", "step", "plateau", "exponential", "linear"])
def test_each_schedule_of_ours_passes_the_check_without_a_warning(name: str) -> None:
    optimizer = sgd()
    check_schedule(SchedulerConfig(name=name), optimizer, 1)
    assert 0 <= optimizer.param_groups[0]["lr"] <= LR
