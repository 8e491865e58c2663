"""The update rules as one Triton kernel that reads and writes each number once, on a GPU.

`update_rules.py` has the formulas and is what the kernel is compared with. Here the parameter, its gradient and state
are k members' n numbers each, side by side; what depends on the step alone, of float64, is made beforehand, one number
a member, in float32: `Rates`.
"""

# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportAssignmentType=false, reportCallIssue=false
# (what stands in a kernel is not Python's but Triton's)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import triton  # pyright: ignore[reportMissingTypeStubs] - it has none
import triton.language as tl  # pyright: ignore[reportMissingTypeStubs] - it has none
from torch import Tensor
from torch.cuda import device_of

from mnist_lightning.numerics.update_rules import RULES, float32

BLOCK = 1024  # numbers of a program: two vectors of 16 bytes for each of 128 threads


@triton.jit
def _update(
    p: tl.tensor, g: tl.tensor, first: tl.tensor, second: tl.tensor, low: tl.tensor, rate: tl.tensor,
    kept: tl.tensor, scale: tl.tensor, n: tl.tensor, rule: tl.constexpr, b1: tl.constexpr, b2: tl.constexpr,
    eps: tl.constexpr, slots: tl.constexpr, decays: tl.constexpr, scaled: tl.constexpr, with_low: tl.constexpr,
    block: tl.constexpr,
) -> None:  # fmt: skip
    """w = kept w - rate d, with the rule's direction d of the gradient and the state, which the rule changes."""
    member, i = tl.program_id(1), tl.program_id(0) * block + tl.arange(0, block)
    there, at = i < n, member.to(tl.int64) * n + i
    x = tl.load(g + at, there).to(tl.float32)
    w = tl.load(p + at, there)
    a, b, e = x, x, eps
    if slots > 0:
        a = tl.load(first + at, there)
    if slots > 1:
        b = tl.load(second + at, there)
    if scaled:
        e = eps * tl.load(scale + member)
    d, a, b = rule(x, a, b, e, b1, b2)
    if slots > 0:
        tl.store(first + at, a, there)
    if slots > 1:
        tl.store(second + at, b, there)
    if decays:
        w *= tl.load(kept + member)
    w -= tl.load(rate + member) * d
    tl.store(p + at, w, there)
    if with_low:
        tl.store(low + at, w.to(tl.bfloat16), there)


@triton.jit
def _sgd(g: tl.tensor, a: tl.tensor, b: tl.tensor, eps: tl.tensor, b1: tl.constexpr, b2: tl.constexpr) -> Any:
    """d = g."""
    return g, a, b


@triton.jit
def _rmsprop(g: tl.tensor, v: tl.tensor, b: tl.tensor, eps: tl.tensor, b1: tl.constexpr, b2: tl.constexpr) -> Any:
    """v = b1 v + (1 - b1) g^2;  d = g / sqrt(v + eps)."""
    v = b1 * v + (1 - b1) * g * g
    return g * tl.rsqrt(v + eps), v, b


@triton.jit
def _torch_rmsprop(g: tl.tensor, v: tl.tensor, b: tl.tensor, eps: tl.tensor, b1: tl.constexpr, b2: tl.constexpr) -> Any:
    """v = b1 v + (1 - b1) g^2;  d = g / (sqrt(v) + eps)."""
    v = b1 * v + (1 - b1) * g * g
    return g / (tl.sqrt(v) + eps), v, b


@triton.jit
def _adam(g: tl.tensor, m: tl.tensor, v: tl.tensor, eps: tl.tensor, b1: tl.constexpr, b2: tl.constexpr) -> Any:
    """m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  d = m / (sqrt(v) + eps)."""
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    return m / (tl.sqrt(v) + eps), m, v


@triton.jit
def _adamax(g: tl.tensor, m: tl.tensor, u: tl.tensor, eps: tl.tensor, b1: tl.constexpr, b2: tl.constexpr) -> Any:
    """m = b1 m + (1 - b1) g;  u = max(b2 u, |g|);  d = m / (u + eps)."""
    m = b1 * m + (1 - b1) * g
    u = tl.maximum(b2 * u, tl.abs(g), propagate_nan=tl.PropagateNan.ALL)
    return m / (u + eps), m, u


@triton.jit
def _adadelta(g: tl.tensor, v: tl.tensor, x: tl.tensor, eps: tl.tensor, b1: tl.constexpr, b2: tl.constexpr) -> Any:
    """v = b1 v + (1 - b1) g^2;  d = sqrt((x + eps) / (v + eps)) g;  x = b1 x + (1 - b1) d^2."""
    v = b1 * v + (1 - b1) * g * g
    d = tl.sqrt((x + eps) / (v + eps)) * g
    return d, v, b1 * x + (1 - b1) * d * d


@triton.jit
def _adagrad(g: tl.tensor, a: tl.tensor, b: tl.tensor, eps: tl.tensor, b1: tl.constexpr, b2: tl.constexpr) -> Any:
    """a = a + g^2;  d = g / sqrt(a)."""
    a = a + g * g
    return g * tl.rsqrt(a), a, b


# By the names of `update_rules.RULES`. With root = sqrt(1 - b2^t) the bias' correction of torch's Adam, lr / (1 - b1^t)
# m / (sqrt(v) / root + eps), is lr root / (1 - b1^t) m / (sqrt(v) + root eps): Adam's with another epsilon
KERNELS: dict[str, Any] = {
    "sgd": _sgd,
    "torch_sgd": _sgd,
    "rmsprop": _rmsprop,
    "torch_rmsprop": _torch_rmsprop,
    "adam": _adam,
    "torch_adam": _adam,
    "adamw": _adam,
    "adamax": _adamax,
    "adadelta": _adadelta,
    "adagrad": _adagrad,
}


class Rates(NamedTuple):
    """What a step's updates need of each member, float32 [k]; None where the rule has no such thing."""

    rate: Tensor
    kept: Tensor | None  # of the weights, after their decay
    scale: Tensor | None  # of epsilon


def rates(name: str, lr: Tensor, t: Tensor, **options: Any) -> Rates:
    """Makes the rates of step t [] of float64 from learning rates float64 [k]; once for all parameters."""
    given = {**RULES[name].options, **options}
    decay, rate, scale = given.get("weight_decay"), lr, None
    if "betas" in given:
        own = name in ("torch_adam", "adamw")
        b1, b2 = given["betas"] if own else map(float32, given["betas"])  # Keras rounds them first
        root = (1 - b2**t).sqrt()
        rate = lr / (1 - b1**t) if name == "adamax" else lr * (root / (1 - b1**t))
        scale = root.float().expand(len(lr)).contiguous() if own else None
    return Rates(rate.float(), (1 - lr * decay).float() if decay else None, scale)


def step(
    name: str, p: Tensor, g: Tensor, state: Sequence[Tensor], made: Rates, low: Tensor | None, **options: Any
) -> None:
    """Updates k members' numbers [k, n] in place: float32, gradients float32 or bfloat16, `made` by `rates`.

    `low`, bfloat16 [k, n], receives the new numbers rounded. All are contiguous.
    """
    given, n = {**RULES[name].options, **options}, p.shape[1]
    b1, b2 = given.get("betas") or (given.get("rho", given.get("alpha", 0.0)), 0.0)
    slots = [*state, p, p][:2]
    flags = (len(state), made.kept is not None, made.scale is not None, low is not None)
    tensors = (p, g, *slots, p if low is None else low, *(made.rate if r is None else r for r in made))
    rest = (n, KERNELS[name], b1, b2, given.get("eps", 0.0), *flags, BLOCK)
    with device_of(p):  # does nothing on a CPU, where Triton's interpreter computes
        _update[(triton.cdiv(n, BLOCK), len(p))](*tensors, *rest)
