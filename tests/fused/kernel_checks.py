"""What `test_kernels.py` has done by a process of its own; prints JSON.

`interpreted`, `pooled`, `convolved`, `assembled`, `scored` need TRITON_INTERPRET=1; `compiled` reads machine code.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import triton
from torch.nn.functional import conv2d
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from mnist_lightning.fused import kernels, pooling, products, scoring, stacked
from mnist_lightning.fused.losses import MemberLosses
from mnist_lightning.fused.optimizers import in_memory_order
from mnist_lightning.fused.own_kernels import OwnKernels
from mnist_lightning.fused.stacked import StackedNet
from mnist_lightning.numerics.metrics import metric_sums
from mnist_lightning.numerics.model import ConvDenseNet
from mnist_lightning.numerics.update_rules import RULES

# The arguments of kernels that are tensors; the others are numbers
POINTERS = {"p", "g", "first", "second", "low", "rate", "kept", "scale", "x", "w", "y", "z", "dy", "dz", "dw", "bias"}
POINTERS |= {"chosen", "sums", "logits", "labels", "kinds", "gradient"}


def interpreted() -> dict[str, float]:
    torch.manual_seed(0)
    worst: dict[str, float] = {}
    for name in kernels.KERNELS:
        other = {"betas": (0.8, 0.9), "rho": 0.5, "alpha": 0.6, "eps": 1e-3, "weight_decay": 0.3}
        for options in ({}, {k: v for k, v in other.items() if k in RULES[name].options}):
            for n, kind in ((1, torch.bfloat16), (1023, torch.float32), (1024, torch.bfloat16), (2049, torch.bfloat16)):
                worst[name] = max(worst.get(name, 0), _updated(name, n, kind, options))
    return worst


def _updated(name: str, n: int, kind: torch.dtype, options: dict[str, Any]) -> float:
    """The largest difference of a kernel from its rule in float64, after three steps."""
    lr, t = torch.tensor([0.1, 0.001, 1.0, 0.02]).double(), torch.tensor(0.0).double()
    p, sane = torch.rand(4, n), torch.tensor([0, 1, 3])
    state = [torch.full_like(p, start) for start in RULES[name].state.values()]
    low = torch.zeros(4, n, dtype=torch.bfloat16)
    wide, own = p.double(), [s.double() for s in state]
    for step in range(3):
        t += 1
        g = (torch.randn(4, n) * 10.0 ** -(2 * step)).to(kind)
        g[2, n // 2] = torch.nan  # of one member, in one number
        kernels.step(name, p, g, state, kernels.rates(name, lr, t, **options), low, **options)
        RULES[name].update(wide, g.double(), *own, lr=lr[:, None], t=t, **options)
    # the interpreter cuts off where a GPU rounds: within one unit in the last place
    torch.testing.assert_close(low[sane].float(), p[sane], rtol=2**-7, atol=0)
    assert p[2].isnan().sum() == 1
    for x, y in zip([p, *state], [wide, *own], strict=True):
        torch.testing.assert_close(x[sane].double(), y[sane], rtol=1e-5, atol=1e-7)
        assert torch.equal(x.isnan(), y.isnan())
    return _off(p[sane], wide[sane])


def pooled() -> dict[str, float]:
    """Pooling interpreted, against torch's operations: values, and the largest differences of gradients."""
    torch.manual_seed(0)
    worst = {"values": 0.0, "inputs": 0.0, "biases": 0.0}
    orders = ((0, 1, 3, 4, 2), (1, 3, 4, 0, 2))  # the members outermost in the memory, and innermost
    sizes = ((3, 5, 4, 6, 6, 2), (2, 3, 70, 7, 7, 2), (1, 2, 3, 2, 3, 2), (2, 3, 70, 5, 3, 1))
    cases = product(orders, sizes, (torch.float64, torch.bfloat16))
    for number, (order, (members, images, channels, *sides, side), wide) in enumerate(cases):
        kind = torch.float32 if wide == torch.float64 else wide
        shape = (members, images, channels, *sides)
        y = torch.randn([shape[d] for d in order]).to(kind).permute([order.index(d) for d in range(5)])
        y[-1, 0] = torch.nan if members > 1 else 0
        assert pooling.fits(y)
        bias, dz = torch.randn(members, channels), torch.randn(members, images, channels, *(s // side for s in sides))
        ours, ours_bias = y.clone().requires_grad_(), bias.clone().requires_grad_()
        twin, twin_bias = y.to(wide).requires_grad_(), bias.to(wide).requires_grad_()
        outermost = number % 4 < 2
        z, plain = pooling.pooled(ours, ours_bias, side, outermost=outermost), pooling.plain(twin, twin_bias, side)
        assert z.permute(orders[not outermost]).is_contiguous()
        assert (z.shape, z.dtype) == (plain.shape, kind)
        assert torch.equal(z.isnan(), plain.isnan())
        step = 0.0 if kind == torch.float32 else 2**-7  # the interpreter cuts off what a GPU rounds
        worst["values"] = max(worst["values"], _off(z, plain) - step * plain.nan_to_num().abs().max().item())
        gradients = torch.autograd.grad(z, [ours, ours_bias], dz.to(kind))
        theirs = torch.autograd.grad(plain, [twin, twin_bias], dz.to(kind).to(wide))
        assert gradients[0].permute(order).is_contiguous()
        if kind == torch.float32:
            worst["inputs"] = max(worst["inputs"], _off(gradients[0], theirs[0]))
            worst["biases"] = max(worst["biases"], _off(gradients[1], theirs[1]))
    return worst


def convolved() -> dict[str, float]:
    """Convolutions as a product, interpreted, against a plain one for each member in float64; of what is largest."""
    torch.manual_seed(0)
    worst = {"outputs": 0.0, "inputs": 0.0, "weights": 0.0}
    sizes = ((3, 2, 3, 5, 6, 6), (2, 3, 70, 17, 7, 5), (1, 1, 16, 130, 3, 3), (2, 1, 1, 1, 1, 2))
    cases = [*product(sizes, (True, False), (torch.float32,)), (sizes[0], True, torch.float16)]
    for (members, images, before, after, *sides), outermost, kind in cases:  # the interpreter multiplies no bfloat16
        shape, step = (members, images, before, *sides), 0.0 if kind == torch.float32 else 2**-10
        x = pooling.empty(torch.empty(0, dtype=kind), shape, outermost).copy_(torch.randn(shape)).requires_grad_()
        weight = torch.randn(members, after, 3, 3, before).to(kind).movedim(-1, 2).requires_grad_()
        dy = torch.randn(members, images, after, *sides).to(kind)
        with torch.no_grad():
            x[1:2, 0] = torch.nan  # a member of NaN among others
        ours = [y := products.convolved(x, weight, None), *torch.autograd.grad(y, [x, weight], dy)]
        wide = [t.detach().double().requires_grad_() for t in (x, weight)]
        theirs = [y := torch.stack([conv2d(a, b, padding=1) for a, b in zip(*wide, strict=True)])]
        theirs += torch.autograd.grad(y, wide, dy.double())
        assert in_memory_order(weight.detach(), ours[2]) is not None
        for name, a, b in zip(worst, ours, theirs, strict=True):
            assert torch.equal(a.isnan(), b.isnan()), name
            worst[name] = max(worst[name], _off(a, b) / b.nan_to_num().abs().max().item() - step)
    return worst


def assembled() -> dict[str, float]:
    """Whole stacks with all kernels, interpreted, against the same of torch's operations in float64."""
    own, worst = OwnKernels(kernels, pooling, products, scoring), {"logits": 0.0, "gradients": 0.0}
    for ways, each in product((("product", "product"), ("product", "grouped"), ("loop", "product")), (True, False)):
        nets = [ConvDenseNet(3, 2, 1, seed=seed, image_size=(7, 6)) for seed in range(2)]
        net, plain = StackedNet(nets), StackedNet(nets).double()
        images = torch.rand((2, 3, 1, 7, 6) if each else (3, 1, 7, 6))
        for layer in net.layers():
            layer.low = layer.weight.detach().clone().requires_grad_()  # an interpreter multiplies no bfloat16
        net.take_methods({"stem": "shared", "convs.0": ways[0], "convs.1": ways[1], "denses.0": "batched"})
        with mock.patch.object(stacked, "kernels_for", return_value=own):
            assert net.convs[1].applicable(torch.zeros(2, 3, 6, 3, 3)) == ["loop", "grouped", "product"]  # pyright: ignore
            logits = net(images)
            gradients = torch.autograd.grad(logits.square().sum(), [x for xs in net.differentiable() for x in xs])
        wide = plain(images.double())
        worst["logits"] = max(worst["logits"], _off(logits, wide))
        for a, b in zip(gradients, torch.autograd.grad(wide.square().sum(), list(plain.parameters())), strict=True):
            worst["gradients"] = max(worst["gradients"], _off(a, b) / max(1, b.abs().max().item()))
    return worst


def scored() -> dict[str, float]:
    """Losses, gradients and metrics of a kernel, interpreted, against the plain ones."""
    torch.manual_seed(0)
    worst = {"sums": 0.0, "gradients": 0.0}
    for (images, classes), labelled, kind in product(((64, 10), (33, 3)), (1, 4), (torch.float32, torch.bfloat16)):
        losses, shape = MemberLosses(["mae", "mse", "cross_entropy", "mse"]), (4, classes, images)
        logits = (3 * torch.randn(shape)).to(kind).transpose(1, 2)  # as a dense layer leaves them
        logits[0, :5] = logits[0, :5].round()  # equal ones among them
        labels = torch.randint(0, classes, (labelled, images)).squeeze(0)
        logits[3, 0], logits[3, 1, 0] = torch.nan, torch.inf
        sums, gradient = torch.ones(5, 4, dtype=torch.float64), torch.empty_like(logits)
        kinds = torch.tensor([scoring.KINDS.index(name) for name in losses.of_member], dtype=torch.int32)
        scoring.add_scores(logits, labels, kinds, sums, gradient)
        twin = logits.float().requires_grad_()
        (plain,) = torch.autograd.grad(losses(twin, labels).sum(), twin)
        expected = 1 + metric_sums(twin.detach(), labels, losses)
        assert torch.equal(sums.isnan(), expected.isnan())
        assert torch.equal(sums[3], expected[3]), "images that are right"
        assert torch.equal(gradient.isnan(), plain.isnan())
        worst["sums"] = max(worst["sums"], _off(sums, expected) / images)
        step = 0.0 if kind == torch.float32 else 2**-7  # the interpreter cuts off
        worst["gradients"] = max(
            worst["gradients"], _off(gradient, plain) - step * plain.nan_to_num().abs().max().item()
        )
        before = sums.clone()
        scoring.add_scores(logits, labels, kinds, sums, None)
        assert torch.equal((sums - before).isnan(), expected.isnan())
    return worst


def _off(a: torch.Tensor, b: torch.Tensor) -> float:
    return (a.double() - b.double()).nan_to_num().abs().max().item()


def compiled() -> dict[str, Any]:
    said = {}
    update = {"b1": 0.9, "b2": 0.999, "eps": 1e-7, "slots": 2, "decays": False, "scaled": False, "with_low": True}
    for name in set(kernels.KERNELS) - {"torch_sgd", "adam", "torch_adam"}:  # which are sgd's, and less than adamw's
        own = {"slots": len(RULES[name].state), "rule": kernels.KERNELS[name], "block": kernels.BLOCK}
        own |= dict.fromkeys(("decays", "scaled"), name == "adamw")
        said[name] = _machine_code(kernels._update, {**update, **own}, {"g": "bf16", "low": "bf16"})
    narrow = {"y": "bf16", "z": "bf16", "dz": "bf16", "dy": "bf16", "chosen": "u8"}
    for name, side in product(("_forward", "_backward"), (1, 2)):
        constants = {"side": side, "rows": pooling._ROWS, "wide": pooling._CHANNELS}
        said[f"{name} {side}"] = _machine_code(getattr(pooling, name), constants, narrow)
    narrow = {"x": "bf16", "w": "bf16", "y": "bf16", "dy": "bf16", "dw": "bf16"}
    for sign, wide, deep in ((1, 128, 64), (-1, 32, 32)):
        constants = {"sign": sign, "rows": 128, "wide": wide, "deep": deep, "w_before" if sign == 1 else "w_after": 1}
        said[f"product {sign} {wide}"] = _machine_code(products._convolve, constants, narrow, products.OPTIONS)
    for tall, wide in ((128, 128), (64, 32)):
        constants = {"tall": tall, "wide": wide, "deep": 64}
        said[f"weights {wide}"] = _machine_code(products._weights, constants, narrow, products.OPTIONS)
    narrow = {"logits": "bf16", "gradient": "bf16", "labels": "i64", "kinds": "i32", "sums": "fp64"}
    constants = {"differentiate": True, "rows": 32, "wide": 16, "of_image": 1}
    return {**said, "scores": _machine_code(scoring._scores, constants, narrow)}


def _machine_code(
    kernel: Any, constants: dict[str, Any], types: dict[str, str], options: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What the code for sm_90 does: accesses to the memory, products, float64, spilled registers, roundings."""
    names: list[str] = kernel.arg_names
    annotated = kernel.fn.__annotations__
    pointers = [n for n in names if n in POINTERS]
    numbers = [n for n in names if n not in pointers and n not in constants]
    assert not [n for n in numbers if "constexpr" in annotated[n]], "a constant has no value"
    signature = {n: f"*{types.get(n, 'fp32')}" for n in pointers} | dict.fromkeys(numbers, "i32")
    signature = {n: signature.get(n, "constexpr") for n in names}
    odd = ("width", "height", "pixels", "members", "classes")  # the rest are multiples of 16
    aligned = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if n not in constants and n not in odd}
    source = ASTSource(kernel, signature, constants, aligned)
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options or {})
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(made.asm["cubin"])
        command = [tool, "-sass", "-res-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {
        "memory": sorted(set(re.findall(r"(?:LDG|STG)[.\w]*", text))),
        "products": sorted(set(re.findall(r"HGMMA[.\w]*", text))),
        "float64": len(re.findall(r"\bD(?:FMA|MUL|ADD|SETP)\b|F2F[.\w]*F64", text)),
        "local": sorted(set(re.findall(r"(?:STL|LDL)[.\w]*", text))),
        "spilled": [int(n) for n in re.findall(r"(?:STACK|LOCAL):(\d+)", text)],
        "rounded": sorted(set(re.findall(r"F2FP?[.\w]*BF16[.\w]*", text))),
        "instructions": len(re.findall(r"^\s+/\*[0-9a-f]{4,5}\*/", text, re.M)),
    }


if __name__ == "__main__":
    print(json.dumps({name: globals()[name]() for name in sys.argv[1:]}))
