"""Updates in one compiled pass over the memory, where this machine has a C++ compiler; otherwise by torch's operations.

torch's compiler makes one loop of a rule of `update_rules`: it reads gradient, state and weight once, of whatever
precision the gradient is, and writes state, weight and the weight's bfloat16 copy once. Of 6.3 million weights RMSprop
so takes 5 ms of a training's step instead of 16 with the rounding of weights and gradients (two threads of a Xeon with
AMX). The numbers are the rule's but for the last digit of float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from mnist_lightning.numerics.compiled import compiled
from mnist_lightning.numerics.update_rules import PIECE, RULES, Rule, decay, update_in_pieces, update_together

_EXACT = (torch.float32, torch.float64)  # of narrower weights each operation rounds, and a loop only at its end
_TRIED = 1_048_576  # numbers of the first call: for few of them the compiler would not share the loop among threads
_KEPT = 64  # compiled updates; a search over an option makes a new one for each value
Options = tuple[tuple[str, Any], ...]
Update = Callable[..., None]
Given = tuple[Tensor, Tensor, Sequence[Tensor], Tensor | None]  # parameter, gradient, state, copy


def updates_in_one_pass(name: str, dtype: torch.dtype, *, low: bool = False, **options: Any) -> bool:
    """Whether weights of this type [...] can be updated so here by the rule of that name; compiles it, if need be.

    The first time on a machine that takes some ten seconds, later two to four a process. With `low` the gradients
    and the copies are bfloat16.
    """
    return _compiled(name, _key(options), dtype, low) is not None


def numbers_in_one_pass(parameters: Iterable[Tensor]) -> int:
    """How many numbers of these parameters [...] an update in one pass would treat so: those of the large ones."""
    return sum(p.numel() for p in parameters if p.numel() > PIECE)


def update_network(
    name: str, parameters: Sequence[Given], *, lr: float, t: float, one_pass: bool = False, **options: Any
) -> None:
    """Updates one network by the rule of that name: each of its parameters [...] with gradient, state, and its copy.

    Small ones, which stay in the cache, all at once; large ones by pieces, or with `one_pass` in one where possible.
    """
    rule = RULES[name]
    small: list[Given] = []
    large: list[Given] = []
    for given in parameters:
        (small if given[0].numel() <= PIECE and given[0].is_cpu else large).append(given)
    if small:
        ps, grads, states, copies = zip(*small, strict=True)
        grads = [grad.to(p.dtype) for p, grad in zip(ps, grads, strict=True)]
        update_together(rule, ps, grads, states, lr=lr, t=t, **options)
        if low := [(copy, p) for copy, p in zip(copies, ps, strict=True) if copy is not None]:
            torch._foreach_copy_(*map(list, zip(*low, strict=True)))  # pyright: ignore - as in `Together`
    for p, grad, state, copy in large:
        if one_pass:
            update_in_one_pass(name, p, grad, state, lr=lr, t=t, low=copy, **options)
        else:
            update_in_pieces(rule, p, grad, state, lr=lr, t=t, **options)


def update_in_one_pass(
    name: str,
    p: Tensor,
    grad: Tensor,
    state: Sequence[Tensor],
    *,
    lr: float,
    t: float,
    low: Tensor | None = None,
    **options: Any,
) -> None:
    """Updates one network's parameter p [...] by the rule of that name, in one pass where that is possible.

    `low` [...], its bfloat16 copy, receives the new numbers rounded; the gradient [...] may be of its type.
    """
    rule, loop = RULES[name], _compiled(name, _key(options), p.dtype, low is not None)
    if grad.stride() != p.stride():
        grad = torch.empty_like(p, dtype=grad.dtype).copy_(grad)
    together = [p, grad, *state, *([] if low is None else [low])]
    if loop is not None and all(_is_dense(x, like=p) for x in together):
        decay(p, lr, options.pop("weight_decay", 0.0))
        rate = rule.rate(lr, t, **options) if rule.rate is not None else lr
        flat = [x.detach().as_strided((x.numel(),), (1,)) for x in together]
        loop(torch.tensor([rate], dtype=torch.float64), *flat)
        changed = [x for x in together if x is not grad]
        torch.autograd.graph.increment_version(changed)  # the loop writes past what counts for autograd
        return
    update_in_pieces(rule, p, grad.to(p.dtype), state, lr=lr, t=t, **options)
    if low is not None:
        low.copy_(p)


def _key(options: dict[str, Any]) -> Options:
    return tuple(sorted((k, tuple(v) if isinstance(v, list) else v) for k, v in options.items() if k != "weight_decay"))


@lru_cache(_KEPT)
def _compiled(name: str, options: Options, dtype: torch.dtype, low: bool) -> Update | None:
    """Compiles a rule for flat tensors (rate [1], p, grad, *state, its copy if `low`); None where that is not possible.

    It is tried on random numbers, and used only if it changes them as the rule does.
    """
    rule = RULES[name]
    if rule.rate is None or dtype not in _EXACT:
        return None
    update = _in_order(rule, dict(options))

    def is_right(loop: Update) -> bool:
        given, expected = _numbers(rule, dtype, low), _numbers(rule, dtype, low)
        loop(*given)
        update(*expected)
        return all(map(_agree, given, expected, _numbers(rule, dtype, low)))

    return compiled(f"{name}: the update", update, _numbers(rule, dtype, low), is_right)


def _in_order(rule: Rule, options: dict[str, Any]) -> Update:
    """The rule as a function of tensors alone, for steps that need no correction."""
    slots = len(rule.state)

    def update(rate: Tensor, p: Tensor, grad: Tensor, *rest: Tensor) -> None:
        rule.update(p, grad.to(p.dtype), *rest[:slots], lr=rate, t=math.inf, **options)
        for low in rest[slots:]:
            low.copy_(p)

    return update


def _numbers(rule: Rule, dtype: torch.dtype, low: bool) -> list[Tensor]:
    """The same random numbers each time: gradients of all magnitudes, and weights half of which are zero.

    So what a small gradient changes is seen, too. The state is too small to cancel with a gradient.
    """
    drawn = torch.Generator().manual_seed(0)
    p = torch.randn(_TRIED, generator=drawn).to(dtype)
    grad = p.roll(1) * 10.0 ** torch.empty(_TRIED).uniform_(-12, 0, generator=drawn).to(dtype)
    state = [1e-3 * p.roll(2 + i).square() * grad.square() for i in range(len(rule.state))]
    p[::2] = 0
    copies = [torch.zeros(_TRIED, dtype=torch.bfloat16)] if low else []
    return [torch.tensor([1e-3], dtype=torch.float64), p, grad.bfloat16() if low else grad, *state, *copies]


def _agree(ours: Tensor, rule: Tensor, before: Tensor) -> bool:
    """Whether numbers are the same but for rounding, which is of the size of what they are or were before."""
    info = torch.finfo(ours.dtype)
    return bool(((ours - rule).abs() <= 8 * info.eps * (rule.abs() + before.abs()) + info.tiny).all())


def _is_dense(x: Tensor, like: Tensor) -> bool:
    """Whether the numbers of x lie side by side in memory, in the same order as those of `like`."""
    if x.stride() != like.stride() or x.device.type != "cpu":
        return False
    return x.is_contiguous() or (x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last))
