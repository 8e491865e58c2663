"""What `gpu.py` asks of the fused engine's layers and kernels: are their numbers right on this GPU?"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch

from mnist_lightning.fused import kernels, scoring
from mnist_lightning.fused.losses import MemberLosses
from mnist_lightning.fused.stacked import StackedConv2d, StackedLinear
from mnist_lightning.numerics.losses import LOSSES
from mnist_lightning.numerics.metrics import metric_sums
from mnist_lightning.numerics.update_rules import RULES

SHAPES = ((32, 64, 28), (64, 128, 28), (64, 128, 14), (128, 256, 14), (256, 512, 7))  # channels in, out, side
MEMBERS, BATCH = 18, 64


def layers(null: bool = False) -> Iterator[tuple[str, Any, Any]]:
    """(shape and method, a stacked layer set to that method, an input [G, N, ...] as the step before leaves it)."""
    for before, after, side in SHAPES if not null else ((2, 4, 7),):
        convs = [torch.nn.Conv2d(before, after, 3, padding=1) for _ in range(MEMBERS)]
        for method in ("loop", "grouped", "product"):
            layer = StackedConv2d(convs).cuda()
            layer.round()
            layer.method = method
            outer = (
                (BATCH, side, side, MEMBERS, before) if method == "grouped" else (MEMBERS, BATCH, side, side, before)
            )
            x = torch.randn(outer, device="cuda").bfloat16()
            x = x.permute(3, 0, 4, 1, 2) if method == "grouped" else x.movedim(-1, 2)
            yield f"{before}->{after} {side}x{side} {method}", layer, x
    dense = StackedLinear([torch.nn.Linear(64, 32) for _ in range(MEMBERS)]).cuda()
    for method in ("loop", "batched"):
        dense.method = method
        yield f"dense {method}", dense, torch.randn(MEMBERS, BATCH, 64, device="cuda").bfloat16()


def leaking() -> dict[str, bool]:
    """Whether NaN in one member's input reaches another's output or gradients, for each layer and method."""
    said = {}
    for name, layer, x in layers():
        x[1] = torch.nan
        x.requires_grad_()
        with torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=False):
            y = layer(x)
        others = [g for g in range(MEMBERS) if g != 1]
        weight = layer.weight if layer.low is None else layer.low
        gradients = torch.autograd.grad(y.float().sum(), [weight, layer.bias, x])
        said[name] = not all(bool(t[others].isfinite().all()) for t in (y, *gradients))
    return said


def methods() -> dict[str, float]:
    """How far each layer and method is from `loop` in float64, in outputs and gradients, as a share of the largest."""
    said = {}
    for name, layer, x in layers():
        x.requires_grad_()
        weight = layer.weight if layer.low is None else layer.low
        twin, wide = copy.deepcopy(layer).double(), x.detach().double().requires_grad_()
        twin.method, twin.low = "loop", None
        twin.weight.data.copy_(weight.bfloat16())
        with torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=False):
            y = layer(x)
        exact, given = twin(wide), torch.randn_like(y)
        ours = [y, *torch.autograd.grad(y, [weight, layer.bias, x], given)]
        theirs = [exact, *torch.autograd.grad(exact, [twin.weight, twin.bias, wide], given.double())]
        said[name] = max(_off(a, b) for a, b in zip(ours, theirs, strict=True))
    return said


def updates() -> dict[str, float]:
    """The largest difference of each update kernel from its rule in float64, after three steps."""
    worst: dict[str, float] = {}
    for name in kernels.KERNELS:
        for n in (10, 1_666 * 333, 1_000_003):
            lr, t = (
                torch.tensor([0.1, 0.001], dtype=torch.float64, device="cuda"),
                torch.zeros((), device="cuda").double(),
            )
            p = torch.rand(2, n, device="cuda")
            state = [torch.full_like(p, start) for start in RULES[name].state.values()]
            low, wide, own = p.bfloat16(), p.double(), [s.double() for s in state]
            for step in range(3):
                t += 1
                g = (torch.randn(2, n, device="cuda") * 10.0 ** -(2 * step)).bfloat16()
                kernels.step(name, p, g, state, kernels.rates(name, lr, t), low)
                RULES[name].update(wide, g.double(), *own, lr=lr[:, None], t=t)
            off = (p.double() - wide).abs().max().item() if torch.equal(low, p.bfloat16()) else 1.0
            worst[name] = max(worst.get(name, 0.0), off)
    return worst


def scores() -> float:
    """How far the kernel of losses and metrics is from the plain ones in float64."""
    losses, labels = MemberLosses(list(LOSSES) * 6), torch.randint(0, 10, (BATCH,), device="cuda")
    logits = torch.randn(MEMBERS, BATCH, 10, device="cuda")
    kinds = torch.tensor([scoring.KINDS.index(n) for n in losses.of_member], dtype=torch.int32, device="cuda")
    sums, gradient = torch.zeros(5, MEMBERS, dtype=torch.float64, device="cuda"), torch.empty_like(logits)
    scoring.add_scores(logits, labels, kinds, sums, gradient)
    wide = logits.double().requires_grad_()
    (plain,) = torch.autograd.grad(losses(wide, labels).sum(), wide)
    return max(_off(sums, metric_sums(wide.detach(), labels, losses)), _off(gradient, plain))


def _off(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a.double() - b).abs().max() / b.abs().max()).item()
