"""What `test_kernels.py` has done by a process of its own: `interpreted`, `pooled`, `compiled`; prints JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from mnist_lightning.fused import kernels, pooling
from mnist_lightning.numerics.update_rules import RULES


def interpreted() -> dict[str, float]:
    torch.manual_seed(0)
    worst: dict[str, float] = {}
    for name in kernels.KERNELS:
        options = {"adam": [{}, {"betas": (0.8, 0.9)}], "rmsprop": [{}, {"rho": 0.5}]}.get(name, [{}])
        for n in (1, 7, 1023, 1024, 1025, 3001):
            for kind in (torch.float32, torch.bfloat16):
                for given in options:
                    lr, t = torch.tensor([0.1, 0.001, 1.0, 0.02]).double(), torch.tensor(0.0).double()
                    p, sane = torch.rand(4, n), torch.tensor([0, 1, 3])
                    state = [torch.full_like(p, start) for start in RULES[name].state.values()]
                    low = torch.zeros(4, n, dtype=torch.bfloat16)
                    wide, own = p.double(), [s.double() for s in state]
                    for step in range(3):
                        t += 1
                        g = (torch.randn(4, n) * 10.0 ** -(2 * step)).to(kind)
                        g[2, n // 2] = torch.nan  # of one member, in one number
                        rate = kernels.KERNELS[name][1](lr, t, **given)
                        kernels.step(name, p, g, state, rate, low, **given)
                        RULES[name].update(wide, g.double(), *own, lr=lr[:, None], t=t, **given)
                    difference = (p[sane].double() - wide[sane]).abs().max().item()
                    worst[name] = max(worst.get(name, 0), difference)
                    # the interpreter cuts off where a GPU rounds: within one unit in the last place
                    torch.testing.assert_close(low[sane].float(), p[sane], rtol=2**-7, atol=0)
                    assert p[2].isnan().sum() == 1
                    assert p[sane].isfinite().all()
                    assert all(s[sane].isfinite().all() for s in state)
    return worst


def pooled() -> dict[str, float]:
    """Pooling interpreted, against torch's operations: values, and the largest differences of gradients."""
    torch.manual_seed(0)
    worst = {"values": 0.0, "inputs": 0.0, "biases": 0.0}
    orders = ((0, 1, 3, 4, 2), (1, 3, 4, 0, 2))  # the members outermost in the memory, and innermost
    sizes = ((3, 5, 4, 6, 6), (2, 3, 70, 7, 7), (1, 2, 3, 2, 3))
    for order, (members, images, channels, *side), wide in product(orders, sizes, (torch.float64, torch.bfloat16)):
        kind = torch.float32 if wide == torch.float64 else wide
        shape = (members, images, channels, *side)
        y = torch.randn([shape[d] for d in order]).to(kind).permute([order.index(d) for d in range(5)])
        y[-1, 0] = torch.nan if members > 1 else 0
        assert pooling.fits(y)
        bias, dz = torch.randn(members, channels), torch.randn(members, images, channels, side[0] // 2, side[1] // 2)
        ours, ours_bias = y.clone().requires_grad_(), bias.clone().requires_grad_()
        twin, twin_bias = y.to(wide).requires_grad_(), bias.to(wide).requires_grad_()
        z, plain = pooling.pooled(ours, ours_bias), pooling.plain(twin, twin_bias)
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


def _off(a: torch.Tensor, b: torch.Tensor) -> float:
    return (a.double() - b.double()).nan_to_num().abs().max().item()


def compiled() -> dict[str, Any]:
    said = {}
    for name in ("adam", "sgd", "rmsprop"):
        kernel, _, constants = kernels.KERNELS[name]
        said[name] = _machine_code(kernel, [*constants(), True, kernels.BLOCK], {"g": "bf16", "low": "bf16"})
    narrow = {"y": "bf16", "z": "bf16", "dz": "bf16", "dy": "bf16", "chosen": "u8"}
    for name in ("_forward", "_backward"):
        said[name] = _machine_code(getattr(pooling, name), [pooling._ROWS, pooling._CHANNELS], narrow)
    return said


def _machine_code(kernel: Any, constants: list[Any], types: dict[str, str]) -> dict[str, Any]:
    """What the code for sm_90 does: sizes of the accesses to the memory, float64, spilled registers, roundings."""
    names: list[str] = kernel.arg_names
    numbers = [n for n in names if n in ("n", "pixels", "channels", "width", "height")]
    fixed = names[-len(constants) :]
    pointers = [n for n in names if n not in numbers and n not in fixed]
    signature = {n: f"*{types.get(n, 'fp32')}" for n in pointers} | dict.fromkeys(numbers, "i32")
    signature = {n: signature.get(n, "constexpr") for n in names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if n in pointers or n in ("n", "channels")}
    source = ASTSource(kernel, signature, dict(zip(fixed, constants, strict=True)), aligned)
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(made.asm["cubin"])
        command = [tool, "-sass", "-res-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {
        "memory": sorted(set(re.findall(r"(?:LDG|STG)[.\w]*", text))),
        "float64": len(re.findall(r"\bD(?:FMA|MUL|ADD|SETP)\b|F2F[.\w]*F64", text)),
        "local": sorted(set(re.findall(r"(?:STL|LDL)[.\w]*", text))),
        "spilled": [int(n) for n in re.findall(r"(?:STACK|LOCAL):(\d+)", text)],
        "rounded": sorted(set(re.findall(r"F2FP?[.\w]*BF16[.\w]*", text))),
        "instructions": len(re.findall(r"^\s+/\*[0-9a-f]{4,5}\*/", text, re.M)),
    }


if __name__ == "__main__":
    print(json.dumps({name: globals()[name]() for name in sys.argv[1:]}))
