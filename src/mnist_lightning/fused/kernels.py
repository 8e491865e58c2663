"""The study's update rules as Triton kernels that read and write each number once, on a GPU.

`update_rules.py` has the formulas and is what the kernels are compared with. Here the parameter, its gradient and
state are k members' n numbers each, side by side; what depends on the step alone, of float64, is made beforehand: one
rate a member, in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import triton  # pyright: ignore[reportMissingTypeStubs] - it has none
import triton.language as tl  # pyright: ignore[reportMissingTypeStubs] - it has none
from torch import Tensor

from mnist_lightning.numerics.update_rules import BETAS, EPSILON, float32

BLOCK = 1024  # numbers of a program: two vectors of 16 bytes for each of 128 threads


@triton.jit
def _sgd(
    p: tl.tensor,
    g: tl.tensor,
    rate: tl.tensor,
    low: tl.tensor,
    n: tl.tensor,
    with_low: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """w -= rate g."""
    member, i = tl.program_id(1), tl.program_id(0) * block + tl.arange(0, block)
    there, at = i < n, member.to(tl.int64) * n + i
    w = tl.load(p + at, there) - tl.load(rate + member) * tl.load(g + at, there).to(tl.float32)
    tl.store(p + at, w, there)
    if with_low:
        tl.store(low + at, w.to(tl.bfloat16), there)


@triton.jit
def _rmsprop(
    p: tl.tensor,
    g: tl.tensor,
    v: tl.tensor,
    rate: tl.tensor,
    low: tl.tensor,
    n: tl.tensor,
    rho: tl.constexpr,
    rest: tl.constexpr,
    eps: tl.constexpr,
    with_low: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """v = rho v + (1 - rho) g^2;  w -= rate g / sqrt(v + eps)."""
    member, i = tl.program_id(1), tl.program_id(0) * block + tl.arange(0, block)
    there, at = i < n, member.to(tl.int64) * n + i
    x = tl.load(g + at, there).to(tl.float32)
    a = rho * tl.load(v + at, there) + rest * x * x
    tl.store(v + at, a, there)
    w = tl.load(p + at, there) - tl.load(rate + member) * x * tl.rsqrt(a + eps)
    tl.store(p + at, w, there)
    if with_low:
        tl.store(low + at, w.to(tl.bfloat16), there)


@triton.jit
def _adam(
    p: tl.tensor,
    g: tl.tensor,
    m: tl.tensor,
    v: tl.tensor,
    rate: tl.tensor,
    low: tl.tensor,
    n: tl.tensor,
    b1: tl.constexpr,
    rest1: tl.constexpr,
    b2: tl.constexpr,
    rest2: tl.constexpr,
    eps: tl.constexpr,
    with_low: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w -= rate m / (sqrt(v) + eps)."""
    member, i = tl.program_id(1), tl.program_id(0) * block + tl.arange(0, block)
    there, at = i < n, member.to(tl.int64) * n + i
    x = tl.load(g + at, there).to(tl.float32)
    b = b1 * tl.load(m + at, there) + rest1 * x
    a = b2 * tl.load(v + at, there) + rest2 * x * x
    tl.store(m + at, b, there)
    tl.store(v + at, a, there)
    w = tl.load(p + at, there) - tl.load(rate + member) * b / (tl.sqrt(a) + eps)
    tl.store(p + at, w, there)
    if with_low:
        tl.store(low + at, w.to(tl.bfloat16), there)


def lr_rate(lr: Tensor, t: Tensor, **options: Any) -> Tensor:
    """Makes the rates, float32 [k], of learning rates float64 [k]: the same at every step t []."""
    return lr.float()


def adam_rate(lr: Tensor, t: Tensor, betas: Sequence[float] = BETAS, **options: Any) -> Tensor:
    """Makes Adam's rates of step t [], float32 [k], of float64 [k]: lr sqrt(1 - b2^t) / (1 - b1^t)."""
    b1, b2 = map(float32, betas)
    return (lr * ((1 - b2**t).sqrt() / (1 - b1**t))).float()


def _sgd_constants(**options: Any) -> tuple[float, ...]:
    return ()


def _rmsprop_constants(rho: float = 0.9, eps: float = EPSILON, **options: Any) -> tuple[float, ...]:
    return rho, 1 - rho, eps


def _adam_constants(betas: Sequence[float] = BETAS, eps: float = EPSILON, **options: Any) -> tuple[float, ...]:
    return betas[0], 1 - betas[0], betas[1], 1 - betas[1], eps


# By the names of `update_rules.RULES`: the kernel, its rate, and its constants from the rule's options
KERNELS: dict[str, tuple[Any, Callable[..., Tensor], Callable[..., tuple[float, ...]]]] = {
    "sgd": (_sgd, lr_rate, _sgd_constants),
    "torch_sgd": (_sgd, lr_rate, _sgd_constants),
    "rmsprop": (_rmsprop, lr_rate, _rmsprop_constants),
    "adam": (_adam, adam_rate, _adam_constants),
}


def serves(name: str, options: dict[str, Any]) -> bool:
    """Whether there is a kernel for this rule with these options; there is none with weight decay."""
    return name in KERNELS and not options.get("weight_decay")


def step(
    name: str, p: Tensor, g: Tensor, state: Sequence[Tensor], rate: Tensor, low: Tensor | None, **options: Any
) -> None:
    """Updates k members' numbers [k, n] in place: float32, gradients float32 or bfloat16, rates float32 [k].

    `low`, bfloat16 [k, n], receives the new numbers rounded. All are contiguous.
    """
    kernel, _, constants = KERNELS[name]
    n = p.shape[1]
    tensors = (p, g, *state, rate, p if low is None else low)
    with torch.cuda.device_of(p):  # does nothing on a CPU, where Triton's interpreter computes
        kernel[(triton.cdiv(n, BLOCK), len(p))](*tensors, n, *constants(**options), low is not None, BLOCK)
