"""What `test_kernels.py` has done by a process of its own: `interpreted`, `compiled`; prints JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from mnist_lightning.fused import kernels
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
                        kernels.update(name, p, g, state, rate, low, **given)
                        RULES[name].update(wide, g.double(), *own, lr=lr[:, None], t=t, **given)
                    difference = (p[sane].double() - wide[sane]).abs().max().item()
                    worst[name] = max(worst.get(name, 0), difference)
                    # the interpreter cuts off where a GPU rounds: within one unit in the last place
                    torch.testing.assert_close(low[sane].float(), p[sane], rtol=2**-7, atol=0)
                    assert p[2].isnan().sum() == 1
                    assert p[sane].isfinite().all()
                    assert all(s[sane].isfinite().all() for s in state)
    return worst


def compiled() -> dict[str, Any]:
    tools, said = Path(triton.__file__).parent / "backends" / "nvidia" / "bin", {}
    for name in ("adam", "sgd", "rmsprop"):
        kernel, _, constants = kernels.KERNELS[name]
        names = kernel.arg_names
        pointers = [n for n in names if n in ("p", "g", "m", "v", "rate", "low")]
        fixed = [n for n in names if n not in pointers and n != "n"]
        values = dict(zip(fixed, [*constants(), True, kernels.BLOCK], strict=True))
        types = {n: "*bf16" if n in ("g", "low") else "*fp32" for n in pointers}
        types |= {"n": "i32"} | dict.fromkeys(fixed, "constexpr")
        aligned = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if n in pointers or n == "n"}
        made = triton.compile(ASTSource(kernel, types, values, aligned), target=GPUTarget("cuda", 90, 32))
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            Path(file.name).write_bytes(made.asm["cubin"])
            code = subprocess.run(
                [tools / "cuobjdump", "-sass", "-res-usage", file.name], capture_output=True, text=True, check=True
            )
        text = code.stdout
        said[name] = {
            "memory": sorted(set(re.findall(r"(?:LDG|STG)[.\w]*", text))),
            "float64": len(re.findall(r"\bD(?:FMA|MUL|ADD|SETP)\b|F2F[.\w]*F64", text)),
            "local": sorted(set(re.findall(r"(?:STL|LDL)[.\w]*", text))),
            "spilled": [int(n) for n in re.findall(r"(?:STACK|LOCAL):(\d+)", text)],
            "rounded": sorted(set(re.findall(r"F2FP?[.\w]*BF16[.\w]*", text))),
            "instructions": len(re.findall(r"^\s+/\*[0-9a-f]{4}\*/", text, re.M)),
        }
    return said


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]]()))
