"""The optimizers' arithmetic: one pure in-place update per rule, for one network and for a stack of them.

Every rule treats each number by itself. So a parameter w, its gradient g and their state may be [...] of one network,
a piece of it that fits into the cache, or [k, ...] of k networks with learning rates [k, 1, ...]. The state is named as
in torch's optimizers. Sources: keras.io, optimizers, Keras 3; torch.optim's documentation for torch's own.
"""

from __future__ import annotations

import inspect
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-7  # Keras' default
BETAS = (0.9, 0.999)
# Numbers of a parameter handled at a time on a CPU: three such pieces of float32 are 1.5 MB. Of 8 Ki to 128 Ki the
# fastest for RMSprop's 6.4 million parameters (AMD EPYC, 12 against 15 ms for whole parameters, n = 12)
PIECE = 131_072
Betas = tuple[float, float]
Scalar = float | Tensor  # a Python number, or a tensor that broadcasts: a captured GPU step cannot change numbers


def _same_rate(lr: float, t: float, **options: Any) -> float:
    """The learning rate at step t: lr, whatever the step is."""
    return lr


@dataclass(frozen=True)
class Rule:
    """An update rule: `update(p, grad, *state, lr=, t=, **options)` changes p and its state in place; t is from 1.

    What it does at step t it does at step infinity with the learning rate `rate(lr, t, **options)`, weight decay apart.
    """

    update: Callable[..., None]
    state: dict[str, float]  # {name: start value}
    rate: Callable[..., float] | None = _same_rate  # None: t changes more than the rate

    @cached_property
    def options(self) -> dict[str, Any]:
        """The options it takes, with their defaults."""
        parameters = inspect.signature(self.update).parameters.values()
        return {p.name: p.default for p in parameters if p.default is not p.empty}


def float32(x: float) -> float:
    """Rounds `x` to float32, as Keras rounds the betas before it raises them to the power of the step."""
    return struct.unpack("f", struct.pack("f", x))[0]


def _descend(p: Tensor, rate: Scalar, a: Tensor, b: Tensor) -> None:
    """p -= rate a b; b is overwritten."""
    if isinstance(rate, Tensor):
        p.sub_(b.mul_(a).mul_(rate.to(p.dtype)))
    else:
        p.addcmul_(a, b, value=-rate)


def _moments(m: Tensor, v: Tensor, grad: Tensor, betas: Betas) -> None:
    """m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2."""
    m.lerp_(grad, 1 - betas[0])
    v.mul_(betas[1]).addcmul_(grad, grad, value=1 - betas[1])


def decay(p: Tensor, lr: Scalar, weight_decay: float) -> None:
    """w -= lr d w, for w [...], before the update and apart from it: `BaseOptimizer._apply_weight_decay` of Keras 3."""
    if weight_decay:
        kept = 1 - lr * weight_decay
        p.mul_(kept.to(p.dtype) if isinstance(kept, Tensor) else kept)


def sgd(p: Tensor, grad: Tensor, *, lr: Scalar, t: Scalar, weight_decay: float = 0.0) -> None:
    """w -= lr g, for w and g [...]; with `weight_decay` d first w -= lr d w, as in each of Keras' rules here."""
    decay(p, lr, weight_decay)
    torch_sgd(p, grad, lr=lr, t=t)


def torch_sgd(p: Tensor, grad: Tensor, *, lr: Scalar, t: Scalar) -> None:
    """w -= lr g, for w and g [...]."""
    if isinstance(lr, Tensor):
        p.sub_(grad * lr.to(p.dtype))
    else:
        p.add_(grad, alpha=-lr)


def rmsprop(
    p: Tensor,
    grad: Tensor,
    v: Tensor,
    *,
    lr: Scalar,
    t: Scalar,
    rho: float = 0.9,
    eps: float = EPSILON,
    weight_decay: float = 0.0,
) -> None:
    """v = rho v + (1 - rho) g^2;  w -= lr g / sqrt(v + eps), for w, g and v [...]: epsilon inside the root."""
    decay(p, lr, weight_decay)
    v.mul_(rho).addcmul_(grad, grad, value=1 - rho)
    _descend(p, lr, grad, (v + eps).rsqrt_())


def _adam_rate(lr: Any, t: Any, betas: Betas = BETAS, **options: Any) -> Any:
    """lr sqrt(1 - b2^t) / (1 - b1^t)."""
    return lr * ((1 - float32(betas[1]) ** t) ** 0.5 / (1 - float32(betas[0]) ** t))


def _adamax_rate(lr: Any, t: Any, betas: Betas = BETAS, **options: Any) -> Any:
    """lr / (1 - b1^t)."""
    return lr / (1 - float32(betas[0]) ** t)


def adam(
    p: Tensor,
    grad: Tensor,
    m: Tensor,
    v: Tensor,
    *,
    lr: Scalar,
    t: Scalar,
    betas: Betas = BETAS,
    eps: float = EPSILON,
    weight_decay: float = 0.0,
) -> None:
    """w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps), all [...]: the "epsilon hat" of Kingma and Ba."""
    decay(p, lr, weight_decay)
    _moments(m, v, grad, betas)
    _descend(p, _adam_rate(lr, t, betas), m, v.sqrt().add_(eps).reciprocal_())


def adamax(
    p: Tensor,
    grad: Tensor,
    m: Tensor,
    u: Tensor,
    *,
    lr: Scalar,
    t: Scalar,
    betas: Betas = BETAS,
    eps: float = EPSILON,
    weight_decay: float = 0.0,
) -> None:
    """m = b1 m + (1 - b1) g;  u = max(b2 u, |g|);  w -= lr / (1 - b1^t) m / (u + eps), all [...]."""
    decay(p, lr, weight_decay)
    m.lerp_(grad, 1 - betas[0])
    u.mul_(betas[1]).clamp_min_(grad.abs())
    _descend(p, _adamax_rate(lr, t, betas), m, (u + eps).reciprocal_())


def adadelta(
    p: Tensor,
    grad: Tensor,
    v: Tensor,
    d: Tensor,
    *,
    lr: Scalar,
    t: Scalar,
    rho: float = 0.95,
    eps: float = EPSILON,
    weight_decay: float = 0.0,
) -> None:
    """v = rho v + (1 - rho) g^2;  x = sqrt((d + eps) / (v + eps)) g;  d = rho d + (1 - rho) x^2;  w -= lr x.

    All are [...].
    """
    decay(p, lr, weight_decay)
    v.mul_(rho).addcmul_(grad, grad, value=1 - rho)
    x = (d + eps).div_(v + eps).sqrt_().mul_(grad)
    d.mul_(rho).addcmul_(x, x, value=1 - rho)
    torch_sgd(p, x, lr=lr, t=t)


def adagrad(p: Tensor, grad: Tensor, a: Tensor, *, lr: Scalar, t: Scalar, weight_decay: float = 0.0) -> None:
    """a = a + g^2;  w -= lr g / sqrt(a), all [...]: Keras' epsilon is part of a's start value."""
    decay(p, lr, weight_decay)
    a.addcmul_(grad, grad)
    _descend(p, lr, grad, a.rsqrt())


def torch_rmsprop(
    p: Tensor, grad: Tensor, v: Tensor, *, lr: Scalar, t: Scalar, alpha: float = 0.99, eps: float = 1e-8
) -> None:
    """v = alpha v + (1 - alpha) g^2;  w -= lr g / (sqrt(v) + eps), all [...]: epsilon outside the root."""
    v.mul_(alpha).addcmul_(grad, grad, value=1 - alpha)
    _descend(p, lr, grad, v.sqrt().add_(eps).reciprocal_())


def torch_adam(
    p: Tensor, grad: Tensor, m: Tensor, v: Tensor, *, lr: Scalar, t: Scalar, betas: Betas = BETAS, eps: float = 1e-8
) -> None:
    """w -= lr m' / (sqrt(v') + eps), m' = m / (1 - b1^t), v' = v / (1 - b2^t), all [...]."""
    _moments(m, v, grad, betas)
    root = (1 - betas[1] ** t) ** 0.5
    root = root.to(p.dtype) if isinstance(root, Tensor) else root
    _descend(p, lr / (1 - betas[0] ** t), m, v.sqrt().div_(root).add_(eps).reciprocal_())


def adamw(
    p: Tensor,
    grad: Tensor,
    m: Tensor,
    v: Tensor,
    *,
    lr: Scalar,
    t: Scalar,
    betas: Betas = BETAS,
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
) -> None:
    """w -= lr decay w, then `torch_adam`, all [...]."""
    decay(p, lr, weight_decay)
    torch_adam(p, grad, m, v, lr=lr, t=t, betas=betas, eps=eps)


_MOMENTS = {"exp_avg": 0.0, "exp_avg_sq": 0.0}
# By the names of the optimizer group. torch's NAdam multiplies up a number of its own each step: no rule here
RULES: dict[str, Rule] = {
    "adam": Rule(adam, _MOMENTS, _adam_rate),
    "sgd": Rule(sgd, {}),
    "rmsprop": Rule(rmsprop, {"square_avg": 0.0}),
    "adamax": Rule(adamax, {"exp_avg": 0.0, "exp_inf": 0.0}, _adamax_rate),
    "adadelta": Rule(adadelta, {"square_avg": 0.0, "acc_delta": 0.0}),
    "adagrad": Rule(adagrad, {"sum": 0.1 + EPSILON}),
    "adamw": Rule(adamw, _MOMENTS, None),
    "torch_adam": Rule(torch_adam, _MOMENTS, None),
    "torch_sgd": Rule(torch_sgd, {}),
    "torch_rmsprop": Rule(torch_rmsprop, {"square_avg": 0.0}),
}


class Together:
    """Several tensors [...] that a rule treats as if they were one: each of its operations is one call for all."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self.tensors = list(tensors)

    def __getattr__(self, operation: str) -> Callable[..., Together]:
        """An operation of torch's Tensor, by torch's functions for lists of them, which have no public name."""
        function = getattr(torch, f"_foreach_{operation}")

        def call(*operands: Any, **options: Any) -> Together:
            plain = [x.tensors if isinstance(x, Together) else x for x in operands]
            changed = function(self.tensors, *plain, **options)
            return self if operation.endswith("_") else Together(changed)

        return call

    def __add__(self, other: Together | float) -> Together:
        return self.add(other)


def update_together(
    rule: Rule,
    ps: Sequence[Tensor],
    grads: Sequence[Tensor],
    states: Sequence[Sequence[Tensor]],
    *,
    lr: float,
    t: float,
    **options: Any,
) -> None:
    """Applies `rule.update` to many parameters [...] at once, each with its gradient and its state, bit for bit."""
    update: Callable[..., None] = rule.update
    update(Together(ps), Together(grads), *map(Together, zip(*states, strict=True)), lr=lr, t=t, **options)


def update_in_pieces(
    rule: Rule, p: Tensor, grad: Tensor, state: Sequence[Tensor], *, lr: float, t: float, **options: Any
) -> None:
    """Applies `rule.update` to one network's contiguous parameter [...] by pieces: each number is fetched once."""
    if p.numel() <= PIECE or not all(x.is_contiguous() for x in (p, grad, *state)):
        rule.update(p, grad, *state, lr=lr, t=t, **options)
        return
    for pieces in zip(*(x.view(-1).split(PIECE) for x in (p, grad, *state)), strict=True):
        rule.update(*pieces, lr=lr, t=t, **options)
