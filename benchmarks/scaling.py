"""How time grows: `python -m benchmarks.scaling --json FILE`.

runs         wall seconds of a whole `-m` command with 1, 2, 4, 8, 16 small runs (x: runs)
train_size   seconds of training alone, one epoch, by the number of training images (x: images)
network      seconds of 20 training steps alone by the network's arithmetic (x: GFLOP a step)

Each with a fitted line, whose intercept is the fixed part, and the exponent p of time ~ size^p.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common import (
    BATCH,
    Net,
    conditions,
    cores,
    fit_line,
    markdown,
    report,
    shown,
    step_flops,
    summary,
    write_json,
)
from benchmarks.sweeps import CLOCK, configuration, overrides, run_sweep, tiny

Measured = dict[str, Any]
Point = tuple[float, float]  # size in the unit of the part (runs, images, GFLOP a step), seconds


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="runs,train_size,network")
    parser.add_argument("--runs", default="1,2,4,8,16")
    parser.add_argument("--train-sizes", default="640,1280,2560,5120,10000", help="of the 10,000 embedded digits")
    parser.add_argument("--channels", default="4,8,16,32,64")
    parser.add_argument("--net", default="16/2/1", help="in `network` with other num_channels")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    result = report("scaling", {k: v for k, v in vars(options).items() if k != "json"})
    net = Net.parse(options.net)
    parts: dict[str, Callable[[int], Point]] = {
        "runs": lambda n: (n, sweep_seconds(net, n, options.threads)),
        "train_size": lambda n: (n, training_seconds(net, n, options.threads)),
        "network": lambda n: by_network(Net(n, net.num_conv, net.num_dense), options.threads),
    }
    sizes = {"runs": options.runs, "train_size": options.train_sizes, "network": options.channels}
    for name in options.parts.split(","):
        result[name] = scale(parts[name], [int(size) for size in sizes[name].split(",")], options.repeat)
        write_json(options.json, result)
        print(f"{name} measured", flush=True)
    print(table(result))
    return 0


def scale(measure: Callable[[int], Point], sizes: list[int], repeat: int) -> Measured:
    """All sizes, then all again, so that a slow minute hits each. The line goes through the medians."""
    samples: dict[int, list[float]] = {size: [] for size in sizes}
    x: dict[int, float] = {}
    for _ in range(repeat):
        for size in sizes:
            x[size], seconds = measure(size)
            samples[size].append(seconds)
    medians = [statistics.median(samples[size]) for size in sizes]
    points = {str(size): {"x": x[size], "seconds": summary(samples[size]), "samples": samples[size]} for size in sizes}
    return {"points": points, "fit": fit_line(list(x.values()), medians) if len(sizes) > 1 else {}}


def sweep_seconds(net: Net, runs: int, threads: int) -> float:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        return run_sweep(Path(directory), [*overrides(tiny(net, 640)), f"seed=range(0,{runs})"], threads).wall


def training_seconds(net: Net, train_size: int, threads: int) -> float:
    """Seconds within the batches of one epoch, trained by `train()`."""
    import torch

    from benchmarks.batch_clock import FILE
    from mnist_lightning.training.run import train

    torch.set_num_threads(threads)
    keys = {**tiny(net, train_size), "trainer.limit_val_batches": 0, "trainer.limit_test_batches": 1}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        train(configuration(keys, callbacks=[CLOCK]), directory)
        return json.loads((Path(directory) / FILE).read_text())["seconds"]


def by_network(net: Net, threads: int) -> Point:
    return step_flops(net) / 1e9, training_seconds(net, 20 * BATCH, threads)


def table(result: dict[str, Any]) -> str:
    """Seconds by number of runs, training images and arithmetic, each with the line through them, in Markdown."""
    settings, rows = result["settings"], []
    for part, unit in (("runs", "{} runs"), ("train_size", "{} images"), ("network", "{} channels")):
        if part not in result:
            continue
        fit = result[part]["fit"]
        law = f"{fit['intercept']:.2f} + {fit['slope']:.3g} x, ~ x^{fit['exponent']:.2f}" if fit else ""
        for size, point in result[part]["points"].items():
            rows.append([unit.format(f"{int(size):,}"), f"{point['x']:g}", shown(point["seconds"]), law])
            law = ""
    head = f"{settings['net']}, {settings['threads']} threads, synthetic digits. x: runs, images, GFLOP a step. "
    head += f"Seconds: median [least..most]. {conditions(result)}."
    return f"{head}\n\n{markdown(['what', 'x', 'seconds', 'line, and power of x'], rows)}"


if __name__ == "__main__":
    sys.exit(main())
