"""A loss of the user's: a function of (logits [N, K], labels int64 [N]) -> [], the mean over the N images."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache, cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from mnist_lightning.config.components import LOSS, TARGET, Component
from mnist_lightning.errors import ConfigError, Problem, cut
from mnist_lightning.numerics.losses import LOSSES, Loss

_OPTIONS = "loss_options."
Given = str | nn.Module | Callable[..., Any]  # a name, a loss, or the class, function or partial of one


class OwnLoss:
    """A loss by its name and arguments, or itself; imported and made when it is first called, and never before.

    So a checkpoint that names one loads without it. A Module of it lies outside of the network: its tensors follow the
    logits to their device, and are no part of a checkpoint.
    """

    def __init__(self, described: Mapping[str, Any], given: Callable[..., Any] | None = None) -> None:
        self.described, self.given = dict(described), given

    @classmethod
    def of(cls, given: Given, options: Mapping[str, Any] | None = None) -> OwnLoss:
        """The loss that a caller gave, with further arguments."""
        if isinstance(given, nn.Module):
            return cls({TARGET: f"{type(given).__module__}.{type(given).__qualname__}"}, given)
        try:
            own = Component.of(given, "loss")
        except ConfigError:  # a lambda or a local function has no name by which it could be found, and needs none here
            code = given.func if isinstance(given, partial) else given
            return cls({TARGET: getattr(code, "__qualname__", "?")}, partial(given, **(options or {})))  # pyright: ignore - no text
        return cls({**own.identity(), **(options or {})})

    @cached_property
    def function(self) -> Loss:
        """What is called. Raises ConfigError for what is no loss."""
        if self.given is not None:
            return self.given
        target, arguments = self.described[TARGET], {k: v for k, v in self.described.items() if k != TARGET}
        own = Component(target, arguments)
        if not isinstance(code := own.code("loss", LOSS), type):
            own.check("loss", LOSS, None, None, prefix=_OPTIONS)
            return partial(code, **arguments)
        module = own.build("loss", LOSS, prefix=_OPTIONS)
        if any(True for _ in module.parameters()):
            what = "has weights of its own, and no optimizer would train them"
            raise ConfigError([Problem("loss", target, what, "make them buffers or arguments")])
        return module

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of logits [N, K] and labels [N]: []."""
        function = self.function
        if isinstance(function, nn.Module) and (held := next(function.buffers(), None)) is not None:
            wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
            if (held.device, held.dtype) != (logits.device, wide):
                function.to(logits.device, wide)
        return function(logits, labels)


class UnknownLoss(OwnLoss):
    """The loss of a checkpoint, of which only the name is known: it refuses to be called."""

    @cached_property
    def function(self) -> Loss:
        """Raises ConfigError: what a file names is not imported."""
        way_out = "give the loss, its class or its dotted name again as loss"
        raise ConfigError([Problem("loss", self.described[TARGET], "is named by a checkpoint, not by you", way_out)])


def check_loss(name: str, options: Mapping[str, Any], num_classes: int) -> None:
    """Raises ConfigError unless a loss of the user's gives one number, with a gradient, for logits [N, K]."""
    if name not in LOSSES:
        _check(name, json.dumps(options, sort_keys=True), num_classes)


@cache
def _check(name: str, options: str, num_classes: int) -> None:
    """A whole grid asks once for each loss."""
    loss = OwnLoss({TARGET: name, **json.loads(options)})
    loss.function  # noqa: B018 - raises what is wrong with the name
    logits = torch.linspace(-1, 1, 3 * num_classes).view(3, num_classes).requires_grad_()
    labels = torch.arange(3) % num_classes
    try:
        value = loss(logits, labels)
    except Exception as error:  # whatever somebody's loss raises
        what = f"cannot take logits {[*logits.shape]} and labels [3] ({type(error).__name__}: {cut(str(error), 80)})"
        raise ConfigError([Problem("loss", name, what, "mend the loss")]) from error
    by_torch = "compute it from the logits, by torch alone"
    if not isinstance(value, Tensor):
        raise ConfigError([Problem("loss", name, f"gives a {type(value).__name__}, no tensor", by_torch)])
    if value.ndim:
        raise ConfigError([Problem("loss", name, f"gives {[*value.shape]}, not one number", "end it with .mean()")])
    if not value.requires_grad:
        raise ConfigError([Problem("loss", name, "has no gradient", by_torch)])
