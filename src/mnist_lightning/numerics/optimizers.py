"""Keras' update rules and torch's own optimizers, in one registry.

Keras and torch differ in the place of epsilon and in defaults; for gradients of 1e-6, common behind a softmax
with squared error, that decides what is learned. Rules: keras.io, optimizers, Keras 3. All are ordinary
`torch.optim.Optimizer`s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mnist_lightning.config import OptimizerConfig
from mnist_lightning.config.components import OPTIMIZER, Component
from mnist_lightning.errors import ConfigError, Problem
from mnist_lightning.numerics.copies import Copies
from mnist_lightning.numerics.one_pass import Given, update_network, updates_in_one_pass
from mnist_lightning.numerics.update_rules import EPSILON, RULES, Rule, float32

Parameters = Iterable[Tensor]


class FollowsRule(Optimizer):
    """An optimizer whose update one of `RULES` says in full, so that it may be done in one pass, see `in_one_pass`."""

    rule_name: str
    is_fused = True  # in one pass without us, by torch's kernel
    one_pass = False
    copies: Copies | None = None  # of the weights: they have the gradients, and follow the weights

    @property
    def rule(self) -> Rule:
        return RULES[self.rule_name]

    def in_one_pass(self, copies: Copies | None = None) -> bool:
        """Updates in one pass from now on, if this machine can compile it for all parameters; returns whether.

        With `copies` the gradients are theirs, and they follow the weights. An option that the rule does not have, as
        Adam's amsgrad, forbids it.
        """
        known = {"params", "lr", "initial_lr", "fused", "foreach", "differentiable", "capturable", *self.rule.options}
        if any(value for group in self.param_groups for key, value in group.items() if key not in known):
            return False
        self.one_pass = all(
            updates_in_one_pass(self.rule_name, dtype, low=copies is not None, **self._options(group))
            for group in self.param_groups
            for dtype in {p.dtype for p in group["params"]}
        )
        self.copies = copies if self.one_pass else None
        return self.one_pass

    def by_operations(self) -> None:
        """Updates by torch's operations again."""
        self.one_pass, self.copies = False, None

    @torch.no_grad()
    def update(self) -> None:
        """Updates every parameter that has a gradient, or whose copy has one."""
        rule, copies = self.rule, self.copies
        for group in self.param_groups:
            lr, options = group["lr"], self._options(group)
            given: dict[float, list[Given]] = {}  # by the number of the step
            for p in group["params"]:
                low = None if copies is None else copies.of(p)
                grad = p.grad if low is None else low.grad
                if grad is None:
                    continue
                t, slots = 1.0, []
                if rule.state:
                    state: dict[str, Any] = self.state[p]
                    if not state:
                        state["step"] = self._no_steps()
                        state |= {name: torch.full_like(p, start) for name, start in rule.state.items()}
                    state["step"] += 1
                    t, slots = float(state["step"]), [state[name] for name in rule.state]
                given.setdefault(t, []).append((p, grad, slots, low))
            for t, parameters in given.items():
                update_network(self.rule_name, parameters, lr=lr, t=t, one_pass=self.one_pass, **options)
        if copies is not None:
            copies.are_current()

    def _options(self, group: dict[str, Any]) -> dict[str, Any]:
        return {name: group.get(name, default) for name, default in self.rule.options.items()}

    @staticmethod
    def _no_steps() -> Any:
        """Where the steps of a parameter are counted from: as torch does, which counts in tensors."""
        return torch.zeros(())


class _RuleOptimizer(FollowsRule):
    """Applies one of `RULES` to each parameter by itself; a subclass names the rule, which has the defaults."""

    is_fused = False

    def __init__(self, params: Parameters, lr: float = 1e-3, **options: Any) -> None:
        if unknown := sorted(options.keys() - self.rule.options.keys()):
            raise TypeError(f"{type(self).__name__}.__init__() got an unexpected keyword argument {unknown[0]!r}")
        if not 0 < lr < math.inf:
            raise ValueError(f"lr is {lr}, but must be a positive number")
        super().__init__(params, {"lr": lr, **self.rule.options, **options})

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride] - torch overloads it
        """Updates every parameter that has a gradient; returns the loss of the closure, if one is given."""
        loss = _loss_of(closure)
        self.update()
        return loss

    @staticmethod
    def _no_steps() -> int:
        return 0


@contextmanager
def _decayed(optimizer: Optimizer) -> Iterator[None]:
    """Shrinks the weights as Keras does, w -= lr d w, and hides `weight_decay` from torch, which would add it to g."""
    asked = [group["weight_decay"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        if group["weight_decay"]:
            for p in group["params"]:
                if p.grad is not None:
                    p.data.mul_(1 - group["lr"] * group["weight_decay"])
            group["weight_decay"] = 0
    try:
        yield
    finally:
        for group, weight_decay in zip(optimizer.param_groups, asked, strict=True):
            group["weight_decay"] = weight_decay


def _loss_of(closure: Callable[[], float] | None) -> float | None:
    with torch.enable_grad():
        return None if closure is None else closure()


class KerasRMSprop(_RuleOptimizer):
    """`update_rules.rmsprop`: epsilon inside the root."""

    rule_name = "rmsprop"


class KerasAdamax(_RuleOptimizer):
    """`update_rules.adamax`."""

    rule_name = "adamax"


class KerasAdadelta(_RuleOptimizer):
    """`update_rules.adadelta`: epsilon inside both roots, as in torch, with Keras' rho and epsilon."""

    rule_name = "adadelta"


class KerasAdam(torch.optim.Adam, FollowsRule):
    """w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps): torch's kernels with Keras' "epsilon hat".

    torch divides sqrt(v) by sqrt(1 - b2^t) before it adds its eps, so Keras' eps is torch's multiplied by that
    root: another value each step. Keras also rounds the betas to float32 in the two corrections; the learning
    rate of the step carries that difference.
    """

    rule_name = "adam"

    def __init__(self, params: Parameters, lr: float = 1e-3, *, eps: float = EPSILON, **options: Any) -> None:
        super().__init__(params, lr=lr, eps=eps, **options)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride] - torch overloads it
        loss = _loss_of(closure)  # before the groups are changed: the closure may read them
        if self.one_pass:
            self.update()
            return loss
        with _decayed(self):
            asked = [(group["lr"], group["eps"]) for group in self.param_groups]
            for group in self.param_groups:
                beta1, beta2 = group["betas"]
                t = self._steps_done(group) + 1
                root = math.sqrt(1 - beta2**t)
                keras = math.sqrt(1 - float32(beta2) ** t) / (1 - float32(beta1) ** t)
                group["lr"] *= keras * (1 - beta1**t) / root
                group["eps"] /= root
            try:
                super().step()
            finally:
                for group, (lr, eps) in zip(self.param_groups, asked, strict=True):
                    group["lr"], group["eps"] = lr, eps
        return loss

    def _steps_done(self, group: dict[str, Any]) -> int:
        return next((int(self.state[p]["step"]) for p in group["params"] if self.state.get(p)), 0)


class KerasSGD(torch.optim.SGD, FollowsRule):
    """torch's kernels, without momentum unless asked for: as in Keras, and so is `weight_decay`."""

    rule_name = "sgd"

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride] - torch overloads it
        loss = _loss_of(closure)
        if self.one_pass:
            self.update()
            return loss
        with _decayed(self):
            super().step()
        return loss


class KerasAdagrad(torch.optim.Adagrad):
    """a = a + g^2 from 0.1;  w -= lr g / sqrt(a + eps): torch's rule with eps moved into the start value."""

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        initial_accumulator_value: float = 0.1,
        eps: float = EPSILON,
        **options: Any,
    ) -> None:
        super().__init__(params, lr=lr, initial_accumulator_value=initial_accumulator_value + eps, eps=0, **options)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride] - torch overloads it
        loss = _loss_of(closure)
        with _decayed(self):
            super().step()
        return loss


REGISTRY: dict[str, type[Optimizer]] = {
    "adam": KerasAdam,
    "sgd": KerasSGD,
    "rmsprop": KerasRMSprop,
    "adamax": KerasAdamax,
    "adadelta": KerasAdadelta,
    "adagrad": KerasAdagrad,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "torch_adam": torch.optim.Adam,
    "torch_sgd": torch.optim.SGD,
    "torch_rmsprop": torch.optim.RMSprop,
}


# One pass over the memory instead of five. Not by what an arbitrary class's signature says: it may refuse a device
_FUSED = {"adam", "adagrad", "adamw", "sgd", "torch_adam", "torch_sgd"}


def build_optimizer(config: OptimizerConfig, params: Parameters, lr: float, *, fused: bool = True) -> Optimizer:
    """Builds the configured optimizer over `params`, with torch's fused kernels where the registry's have them.

    Raises ConfigError for an unknown name or a refused option.
    """
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in config.options.items()}
    if config.name not in REGISTRY:
        return Component(config.name, options).build("optimizer", OPTIMIZER, params, prefix="optimizer.options.", lr=lr)
    if fused and config.name in _FUSED and "foreach" not in options:
        options.setdefault("fused", True)
    try:
        return REGISTRY[config.name](params, lr=lr, **options)  # pyright: ignore[reportCallIssue] - every one of them takes lr
    except (TypeError, ValueError) as error:
        what = f"refused by {config.label} ({error})"
        raise ConfigError(
            [Problem("optimizer.options", config.options, what, "see the optimizer's arguments")]
        ) from error
