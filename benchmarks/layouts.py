"""Which memory format is faster, layer by layer: channels outermost (torch's default) or innermost.

    python -m benchmarks.layouts --json benchmarks/results/layouts.json

Convolution, its gradients, pooling and its gradient, for every shape of the study's networks, in turn.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common import BATCH, Net, markdown, report, summary, write_json

PARTS = ("convolution", "its gradients", "pooling", "its gradient")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default="32/3/1,64/3/1", help="whose convolutions")
    parser.add_argument("--rounds", default=7, type=int)
    parser.add_argument("--threads", type=int, help="default: torch's")
    parser.add_argument("--json", type=Path, help="write everything that was measured to this file")
    options = parser.parse_args(arguments)
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    shapes = dict.fromkeys(c for net in options.nets.split(",") for c in Net.parse(net).convolutions()[1:])
    settings = {"rounds": options.rounds, "threads": torch.get_num_threads(), "batch": BATCH}
    result = report("layouts", settings)
    result["shapes"] = {f"{a}->{b} at {side}": measure(a, b, side, options.rounds) for a, b, side in shapes}
    rows = [
        [shape, layout, *(f"{layers[layout][part]['median']:.2f}" for part in PARTS), f"{total(layers, layout):.1f}"]
        for shape, layers in result["shapes"].items()
        for layout in ("outermost", "innermost")
    ]
    print(f"ms, median of {options.rounds}, {settings['threads']} threads, batches of {BATCH}")
    print(markdown(["layer", "channels", *PARTS, "together"], rows))
    write_json(options.json, result)
    return 0


def total(layers: dict[str, Any], layout: str) -> float:
    return sum(layers[layout][part]["median"] for part in PARTS)


def measure(before: int, after: int, side: int, rounds: int) -> dict[str, Any]:
    """{outermost, innermost: {part: ms}} of a 3x3 convolution and the pooling behind it."""
    import torch

    steps = {
        "outermost": operations(before, after, side, torch.contiguous_format),
        "innermost": operations(before, after, side, torch.channels_last),
    }
    samples: dict[str, dict[str, list[float]]] = {layout: {part: [] for part in PARTS} for layout in steps}
    for _ in range(rounds):
        for layout, parts in steps.items():
            for part, run in parts.items():
                started = time.perf_counter()
                run()
                samples[layout][part].append(1e3 * (time.perf_counter() - started))
    return {layout: {part: summary(ms) for part, ms in parts.items()} for layout, parts in samples.items()}


def operations(before: int, after: int, side: int, layout: Any) -> dict[str, Callable[[], Any]]:
    import torch
    from torch.nn import functional

    x = torch.rand(BATCH, before, side, side).contiguous(memory_format=layout).requires_grad_()
    weight = torch.rand(after, before, 3, 3).contiguous(memory_format=layout).requires_grad_()
    bias = torch.zeros(after, requires_grad=True)
    y = functional.conv2d(x, weight, bias, padding=1)
    upstream = torch.rand_like(y)
    unpooled = y.detach().requires_grad_()
    pooled = functional.max_pool2d(unpooled, 2)
    above = torch.rand_like(pooled)
    return {
        "convolution": lambda: functional.conv2d(x.detach(), weight.detach(), bias.detach(), padding=1),
        "its gradients": lambda: torch.autograd.grad(y, (x, weight, bias), upstream, retain_graph=True),
        "pooling": lambda: functional.max_pool2d(unpooled.detach(), 2),
        "its gradient": lambda: torch.autograd.grad(pooled, unpooled, above, retain_graph=True),
    }


if __name__ == "__main__":
    sys.exit(main())
