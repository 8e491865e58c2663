"""The key `transform`: what changes the training images at random, by a name of ours or as code of somebody's."""

from __future__ import annotations

from typing import Any

from mnist_lightning.config.components import Component
from mnist_lightning.config.plain import plain
from mnist_lightning.config.section import near_miss
from mnist_lightning.errors import ConfigError, Problem

KEY = "transform"
LIGHT = "light"
NAMES = ("none", LIGHT)


def written(given: object) -> Any:
    """One way to write what changes the images: None, `light`, `{_target_: class, **arguments}`, or a list of them.

    `given` may also be a dotted name, a class, or a `functools.partial` of one. Imports nothing. Raises ConfigError.
    """
    given = plain(given)
    steps = [_step(one) for one in (given if isinstance(given, list) else [given])]
    steps = [step for step in steps if step is not None]
    return steps[0] if len(steps) == 1 else steps or None


def _step(given: object) -> Any:
    if given is None or given == "none":
        return None
    if isinstance(given, str) and "." not in given:
        if given == LIGHT:
            return LIGHT
        way_out = near_miss(given, NAMES) or f"use {', '.join(NAMES)} or a name such as torchvision.transforms.v2.X"
        raise ConfigError([Problem(KEY, given, "unknown", way_out)])
    return Component.of(given, KEY).identity()
