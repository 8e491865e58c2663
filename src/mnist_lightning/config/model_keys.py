"""The keys under `model.`: the size of the study's network, or a network of the user's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mnist_lightning.config.own_code import OwnCode
from mnist_lightning.config.section import documented, key


@documented
@dataclass
class ModelConfig(OwnCode):
    """The network's size; or a network of the user's, `_target_`, with its `arguments`.

    >>> model = ModelConfig(num_channels=4)
    >>> model.num_channels, model.num_conv, model.num_dense
    (4, 2, 1)
    """

    prefix = "model."
    replaced: ClassVar[tuple[str, ...]] = ("num_channels", "num_conv", "num_dense")

    num_channels: int = key(
        32,
        "filters of the first convolution; each later one has twice as many",
        low=1,
        high=4096,
        also="channels filters num_filters",
    )
    num_conv: int = key(
        2,
        "convolutions after the first, each followed by 2x2 max pooling",
        low=0,
        also="conv convolutions num_convolutions",
    )
    num_dense: int = key(
        1, "hidden dense layers between the convolutions and the output", low=0, high=100, also="dense num_hidden"
    )
    _target_: str | None = key(
        None, "a network of your own, such as my_project.nets.Net; its arguments stand beside it: +model.width=8"
    )
    arguments: dict[str, Any] = key(about="the arguments of _target_", factory=dict, hidden=True)
