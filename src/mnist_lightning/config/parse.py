"""From what Hydra composed, or was given on the command line, to a checked `RunConfig`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mnist_lightning.config.keys import RunConfig, all_keys, section_from, unknown_key
from mnist_lightning.config.own_code import ARGUMENTS
from mnist_lightning.config.plain import refused
from mnist_lightning.config.section import remedy, type_problem
from mnist_lightning.errors import Problem


def schema() -> DictConfig:
    """The dataclasses as the schema Hydra composes against.

    Further options of optimizer, loss, scheduler and logger need no `+`: their dictionaries are open. So are
    sections that may name code of the user's, whose arguments stand in them; `parse` refuses what is none.
    """
    node = OmegaConf.structured(RunConfig)
    OmegaConf.set_struct(node.optimizer.options, False)
    for inner in (node.loss_options, node.scheduler.options, node.callback):
        OmegaConf.set_struct(inner, False)
    OmegaConf.set_struct(node.logger, False)
    for section in (node.model, node.data):
        OmegaConf.set_struct(section, False)
        del section[ARGUMENTS]
    return node


def parse(composed: DictConfig | Mapping[str, Any]) -> RunConfig:
    """A checked `RunConfig` from what Hydra composed, or from nested plain dictionaries.

    Raises ConfigError with all problems: unknown keys, wrong types, values out of range.
    """
    try:
        config = OmegaConf.create(composed)  # pyright: ignore - OmegaConf's types know no Mapping
    except OmegaConfBaseException as error:
        raise refused(error) from error
    return section_from(RunConfig, config)


def too_large(key: str, value: str) -> Problem:
    """What to say when `key`, written on the command line, has a number that is larger than any float."""
    legal = (remedy(value, field, hint) for name, field, hint in all_keys() if name == key)
    return Problem(key, value, "too large", next(legal, "use a smaller number"))


def wrong_type(key: str, value: str) -> Problem:
    """What to say when `key`, written on the command line, has a value of another type than its field's."""
    for name, field, hint in all_keys():
        if name == key:
            return Problem(key, value, type_problem(object(), hint), remedy(value, field, hint))
    return unknown_key(key, value)
