"""The keys under `scheduler.`: how the learning rate changes while a run is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mnist_lightning.config.components import Component
from mnist_lightning.config.section import Section, documented, key
from mnist_lightning.errors import Problem

SCHEDULERS = ("none", "cosine", "step", "plateau", "exponential", "linear")


@documented
@dataclass
class SchedulerConfig(Section):
    """How the learning rate changes; `lr` is where it starts, after the warm-up.

    >>> SchedulerConfig("step", {"gamma": 0.5}).options
    {'gamma': 0.5}
    """

    prefix = "scheduler."

    name: str = key(
        "none",
        "written scheduler=X: a choice, or a class of torch's or your own by its dotted name",
        choices=SCHEDULERS,
        dotted=True,
    )
    options: dict[str, Any] = key(about="its arguments, such as scheduler.options.gamma=0.5", factory=dict)
    interval: str | None = key(None, "after what it is stepped; null is epoch", choices=("epoch", "step"))
    monitor: str | None = key(None, "what plateau watches; null is val_loss")
    warmup_epochs: int | None = key(
        None, "of the first n epochs each update's learning rate is a greater part of the schedule's", low=0
    )
    warmup_steps: int | None = key(None, "the same of the first n updates", low=0)

    def problems(self) -> list[Problem]:
        """All problems of the values; a class, function or partial becomes its name and options."""
        if callable(self.name):
            own = Component.of(self.name, "scheduler")
            self.name, self.options = own.target, {**own.arguments, **self.options}
        return super().problems()

    @classmethod
    def problems_of(cls, values: Mapping[str, Any]) -> list[Problem]:
        """The problems of each value, then of those that have no effect together."""
        problems = super().problems_of(values)
        if not problems and values["name"] == "none" and values.get("options"):
            problems.append(Problem("scheduler.options", values["options"], "scheduler=none has none", "leave it out"))
        if not problems and values["name"] == "plateau" and values["interval"] == "step":
            problems.append(Problem("scheduler.interval", "step", "plateau waits for a validation", "use epoch"))
        if not problems and values["warmup_epochs"] and values["warmup_steps"]:
            what, way_out = "there is scheduler.warmup_epochs too", "give one of them"
            problems.append(Problem("scheduler.warmup_steps", values["warmup_steps"], what, way_out))
        return problems

    @property
    def is_used(self) -> bool:
        """Whether the learning rate changes at all."""
        return bool(self.identity())

    def identity(self) -> dict[str, Any]:
        """What it computes with; empty where the learning rate stays what it is."""
        own = {k: v for k, v in super().identity().items() if v not in (0, {})}
        return own if self.name != "none" else {k: v for k, v in own.items() if k.startswith("warmup")}
