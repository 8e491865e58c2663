"""Decides which configurations are trained together: a pure function of the configurations, without torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

from mnist_lightning.config import LOSSES, RunConfig, TrainerConfig
from mnist_lightning.config.components import TARGET
from mnist_lightning.numerics.update_rules import RULES

# Trainer arguments that mean the same for a group and for a single run; a run with any other one is trained alone
_SHARED = {"max_epochs", "precision", "accelerator", "devices", "check_val_every_n_epoch"}
_WITHOUT_EFFECT = {"enable_progress_bar", "enable_model_summary", "enable_checkpointing", "num_sanity_val_steps"}
PRECISIONS = ("auto", "32-true", "64-true", "bf16-mixed")
# Loggers without state of the process: the members of a group have one each, at the same time
_LOGGERS = ("csv", "none", "lightning.pytorch.loggers.TensorBoardLogger")


def reason_to_train_alone(config: RunConfig) -> str:
    """Says why a configuration cannot be a member of a group; an empty string if it can."""
    name = config.optimizer.name
    if config.model.component is not None:
        return f"model.{TARGET}={config.model.component.target} cannot be stacked"
    if config.loss not in LOSSES:
        return f"loss={config.loss} has no stacked form"
    if name not in RULES:
        return f"optimizer={name} has no stacked rule"
    if unknown := sorted(config.optimizer.options.keys() - RULES[name].options.keys()):
        return f"optimizer.options.{unknown[0]} is not in the stacked rule"
    if config.transform is not None:
        return "transform changes the images of one run"
    if config.scheduler.is_used:
        return f"scheduler={config.scheduler.name} belongs to one run"
    if config.callbacks or config.callback:
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
    """Returns what the members of a group share: all of the configuration but optimizer, lr, loss and seed."""
    trainer = {f.name: getattr(config.trainer, f.name) for f in fields(TrainerConfig)}
    parts = {"model": vars(config.model), "data": vars(config.data), "trainer": trainer}
    return json.dumps(parts, sort_keys=True, default=str)


@dataclass(frozen=True)
class Group:
    """Configurations, by their indices, that are trained together; or one alone, where `why_alone` says why."""

    indices: list[int]
    why_alone: str = ""


def plan_groups(
    configs: Sequence[RunConfig], largest: Callable[[RunConfig], int], interrupted: Iterable[set[str]] = ()
) -> list[Group]:
    """Splits `configs` into groups that can be trained together, in the order of their first member.

    `largest(config)` is the most members that a group of such configurations may have. Parts of a split group
    differ by one member at most. The groups of `interrupted`, given as fingerprints, come first and stay as they are.
    """
    first: list[Group] = []
    left = dict(enumerate(configs))
    for fingerprints in interrupted:
        if begun := [i for i, config in left.items() if config.fingerprint in fingerprints]:
            first.append(Group(begun))
            left = {i: config for i, config in left.items() if i not in begun}
    groups: list[Group] = []
    together: dict[str, list[int]] = {}
    for index, config in left.items():
        if reason := reason_to_train_alone(config):
            groups.append(Group([index], reason))
        else:
            together.setdefault(shared_key(config), []).append(index)
    for members in together.values():
        most = max(1, largest(configs[members[0]]))
        parts = -(-len(members) // most)
        bounds = [len(members) * i // parts for i in range(parts + 1)]
        groups += [Group(members[a:b]) for a, b in pairwise(bounds)]
    return first + sorted(groups, key=lambda group: group.indices)
