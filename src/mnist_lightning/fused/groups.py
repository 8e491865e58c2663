"""Which configurations are trained together: a pure planner, no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import pairwise

from mnist_lightning.config import RunConfig, TrainerConfig
from mnist_lightning.numerics.update_rules import RULES

# Trainer arguments that mean for a group what they mean for a run alone; any other, once set, makes a run single
_SHARED = {"max_epochs", "precision", "accelerator", "devices", "check_val_every_n_epoch"}
_WITHOUT_EFFECT = {"enable_progress_bar", "enable_model_summary", "enable_checkpointing", "num_sanity_val_steps"}
PRECISIONS = ("auto", "32-true", "64-true", "bf16-mixed")
# Loggers that keep no state of the process: the members of a group have one each, at the same time
_LOGGERS = ("csv", "none", "lightning.pytorch.loggers.TensorBoardLogger")


def reason_to_train_alone(config: RunConfig) -> str:
    """Why a configuration cannot be a member of a group; an empty string if it can."""
    name = config.optimizer.name
    if name not in RULES:
        return f"optimizer={name} has no stacked rule"
    if unknown := sorted(set(config.optimizer.options) - RULES[name].options):
        return f"optimizer.options.{unknown[0]} is not in the stacked rule"
    if config.callbacks:
        return "callbacks belong to one run"
    if config.ckpt_path is not None:
        return "ckpt_path belongs to one run"
    if config.logger.get("_target_", "csv") not in _LOGGERS:
        return f"logger={config.logger['_target_']} cannot follow several runs"
    if config.trainer.precision not in PRECISIONS:
        return f"trainer.precision={config.trainer.precision} would be shared by the members"
    known = _SHARED | _WITHOUT_EFFECT
    if other := sorted(k for k, v in config.trainer.arguments().items() if k not in known and v is not None):
        return f"trainer.{other[0]} belongs to one run"
    return ""


def shared_key(config: RunConfig) -> str:
    """What the members of a group have in common: all of the configuration but optimizer, lr, loss and seed."""
    trainer = {f.name: getattr(config.trainer, f.name) for f in fields(TrainerConfig)}
    parts = {"model": vars(config.model), "data": vars(config.data), "trainer": trainer}
    return json.dumps(parts, sort_keys=True, default=str)


def plan_groups(configs: Sequence[RunConfig], largest: Callable[[RunConfig], int]) -> list[list[int]]:
    """The indices of `configs` split into groups that can be trained together, in the order of their first member.

    `largest(config)` is the most members that a group of such configurations may have. Parts of a split group
    differ by one member at most. What cannot be fused is a group of its own.
    """
    together: dict[str, list[int]] = {}
    for index, config in enumerate(configs):
        alone = f"{index}" if reason_to_train_alone(config) else ""
        together.setdefault(alone or shared_key(config), []).append(index)
    groups = []
    for members in together.values():
        most = max(1, largest(configs[members[0]]))
        parts = -(-len(members) // most)
        bounds = [len(members) * i // parts for i in range(parts + 1)]
        groups += [members[a:b] for a, b in pairwise(bounds)]
    return sorted(groups)
