"""Learning-rate schedules: torch's, by our names, and those of the user's.

`cosine` is lr (1 + cos(pi t / T)) / 2 (Loshchilov and Hutter 2017, without restarts), `step` a tenth after each third
of T, `exponential` lr 0.95^t, `linear` falls to a hundredth at T, `plateau` is a tenth where the validation loss has
not fallen for 10 epochs. t counts epochs, or updates, and T is how many there will be. Source of the formulas:
torch.optim.lr_scheduler's documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from warnings import catch_warnings, simplefilter

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from mnist_lightning.config import SchedulerConfig
from mnist_lightning.config.components import SCHEDULER, Component
from mnist_lightning.errors import ConfigError, Problem, cut

_HOME = "torch.optim.lr_scheduler."
NEED_LENGTH = {"cosine": "T_max", "step": "step_size", "linear": "total_iters"}  # and the argument that it decides
_NAMED: dict[str, tuple[str, dict[str, Any]]] = {
    "cosine": ("CosineAnnealingLR", {}),
    "step": ("StepLR", {}),
    "plateau": ("ReduceLROnPlateau", {}),
    "exponential": ("ExponentialLR", {"gamma": 0.95}),
    "linear": ("LinearLR", {"start_factor": 1.0, "end_factor": 0.01}),
}


def build_schedule(config: SchedulerConfig, optimizer: Optimizer, length: int) -> LRScheduler | None:
    """Builds the schedule of an optimizer for `length` epochs, or updates; None where there is none.

    Raises ConfigError for a name that is no schedule, or arguments that do not fit.
    """
    if config.name == "none":
        return None
    if config.name in _NAMED:
        name, ours = _NAMED[config.name]
        if config.name in NEED_LENGTH:
            ours = {**ours, NEED_LENGTH[config.name]: max(1, length // 3 if config.name == "step" else length)}
        own = Component(_HOME + name, {**ours, **config.options})
    else:
        own = Component(config.name, config.options)
    return own.build("scheduler", SCHEDULER, optimizer, prefix="scheduler.options.")


def check_schedule(config: SchedulerConfig, optimizer: Optimizer, length: int) -> None:
    """Raises ConfigError unless `build_schedule` makes a schedule that can be stepped; changes the learning rates.

    An argument of a wrong type is often noticed in the first step. Keys that the schedule does not use are refused.
    """
    schedule = build_schedule(config, optimizer, length)
    waits = isinstance(schedule, ReduceLROnPlateau)
    _refuse_unused(config, waits)
    if schedule is None:
        return
    try:
        with catch_warnings():
            simplefilter("ignore")  # torch's, that nothing was trained before the step
            schedule.step(1.0) if waits else schedule.step()
    except Exception as error:  # whatever somebody's schedule raises
        what = f"cannot be stepped ({type(error).__name__}: {cut(str(error), 80)})"
        raise ConfigError([Problem("scheduler", config.name, what, "see its arguments")]) from error


def _refuse_unused(config: SchedulerConfig, waits: bool) -> None:
    """Raises ConfigError for keys that change nothing, given whether the schedule waits for a metric.

    Not when the configuration is made: what was stored with them must be read.
    """
    if config.monitor is not None and not waits:
        what = f"scheduler={config.name} watches nothing, as plateau does"
        raise ConfigError([Problem("scheduler.monitor", config.monitor, what, "leave it out")])
    if config.interval is not None and config.name == "none":
        raise ConfigError([Problem("scheduler.interval", config.interval, "scheduler=none has none", "leave it out")])
    if config.interval == "step" and waits:
        raise ConfigError([Problem("scheduler.interval", "step", f"{config.name} waits for a validation", "use epoch")])


@contextmanager
def warmed_up(optimizer: Optimizer, step: int, steps: int) -> Iterator[None]:
    """Within the block the learning rates are those of the update `step`, from 0, of a warm-up of `steps`.

    lr (step + 1) / steps of what the schedule has. It has no state: a run that goes on is where it would have been.
    """
    asked = [group["lr"] for group in optimizer.param_groups]
    if step < steps:
        for group in optimizer.param_groups:
            group["lr"] *= (step + 1) / steps
    try:
        yield
    finally:
        for group, lr in zip(optimizer.param_groups, asked, strict=True):
            group["lr"] = lr
