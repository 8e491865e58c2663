"""The fused engine on this machine: is it right, how fast is it beside single runs, and the whole grid of 216.

    python -m benchmarks.fused --json benchmarks/results/fused.json          # check and speed, on whatever is there
    python -m benchmarks.fused --parts grid --directory outputs/full_grid --minutes 8 --data-root DIR
                                                                             # a GPU's part; repeat it until it is done

check  members of a mixed group on this device against their single runs on the CPU in float64, and against their
       single runs on this device in its own precision, beside how far a rounding error moves those
speed  images per second of a group of 18 (the study's optimizers x losses x learning rates), and of single Lightning
       runs of some of its members, in turn in this process; nothing is extrapolated
grid   `experiment=full_grid` with `hydra/launcher=fused`, ended by SIGTERM after some minutes and resumed by the next
       call; the seconds of all calls are added up
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.common import (
    Net,
    conditions,
    geometric_mean,
    hardware,
    markdown,
    report,
    shown,
    step_flops,
    summary,
    write_json,
)
from benchmarks.sweeps import MODULE

NETS_CPU = "4/2/1,8/2/1,32/3/1"
NETS_GPU = "32/2/1,32/2/5,32/3/3,64/2/1,64/3/5"
LOSSES = ("loss", "loss_test", "mse_test", "mae_test")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="check,speed", help="of check, speed, grid")
    parser.add_argument("--nets", help=f"of the speed part (default {NETS_CPU}, on a GPU {NETS_GPU})")
    parser.add_argument("--singles", default=3, type=int, help="members trained alone per network and round")
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--train-size", type=int, help="images of an epoch (default 1,280, on a GPU 60,000)")
    parser.add_argument("--data", default="synthetic")
    parser.add_argument("--data-root", help="where MNIST is (default $MNIST_LIGHTNING_DATA)")
    parser.add_argument("--directory", type=Path, default=Path("outputs/full_grid"), help="of the grid's sweep")
    parser.add_argument("--minutes", type=float, default=8, help="of one call's share of the grid")
    parser.add_argument("--json", type=Path, help="write everything that was measured to this file")
    options = parser.parse_args(arguments)
    parts = options.parts.split(",")
    result = report("fused", {k: str(v) for k, v in vars(options).items() if k != "json"})
    result["device"] = device()
    if "check" in parts:
        result["check"] = check()
    if "speed" in parts:
        result["speed"] = [
            speed(Net.parse(net), options) for net in (options.nets or (NETS_GPU if on_gpu() else NETS_CPU)).split(",")
        ]
    if "grid" in parts:
        result["grid"] = grid(options)
    write_json(options.json, result)
    print(table(result))
    return 0


def on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def device() -> str:
    """The name of the hardware that trains."""
    import torch

    return torch.cuda.get_device_name(0) if on_gpu() else hardware()["cpu"]


def members(net: Net, lrs: Sequence[float], **keys: Any) -> list[Any]:
    """The study's optimizers and losses with these learning rates, as RunConfigs of one architecture."""
    from mnist_lightning.config import parse

    model = {"num_channels": net.num_channels, "num_conv": net.num_conv, "num_dense": net.num_dense}
    trainer = {"max_epochs": 1, "enable_progress_bar": False, **keys.pop("trainer", {})}
    grid = product(("adam", "sgd", "rmsprop"), ("mse", "mae"), lrs)
    return [
        parse({"optimizer": {"name": o}, "loss": loss, "lr": lr, "model": model, "trainer": trainer, **keys})
        for o, loss, lr in grid
    ]


def trained(configs: Sequence[Any], together: bool) -> list[Any]:
    from mnist_lightning import train, train_many

    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        paths = [Path(directory) / config.run_name for config in configs]
        if together:
            return train_many(configs, paths)
        return [train(config, path) for config, path in zip(configs, paths, strict=True)]


@contextmanager
def perturbed() -> Iterator[None]:
    """Every initial weight moved by one part in 10^7: what a rounding error does to a training."""
    import torch

    from mnist_lightning.numerics import model

    initialise = model.initialise

    def moved(net: torch.nn.Module, seed: int | None = None) -> None:
        initialise(net, seed)
        for p in net.parameters():
            noise = torch.rand(p.shape, generator=torch.Generator().manual_seed(1))
            p.data.mul_(1 + 1e-7 * (2 * noise - 1).sign())

    model.initialise = moved
    try:
        yield
    finally:
        model.initialise = initialise


def furthest(a: Sequence[Any], b: Sequence[Any]) -> list[float]:
    """Of each run, the largest difference between two of its losses."""
    return [max(abs(getattr(x, m) - getattr(y, m)) for m in LOSSES) for x, y in zip(a, b, strict=True)]


def check() -> dict[str, Any]:
    """Differences between the losses of a group and of its members' single runs."""
    data = {"data": {"name": "synthetic", "train_size": 640, "test_size": 200}}
    exact = {"precision": "64-true"}
    wide = members(Net(4, 2, 1), (0.001, 0.1), trainer=exact, **data)
    alone = trained(members(Net(4, 2, 1), (0.001, 0.1), trainer={**exact, "accelerator": "cpu"}, **data), False)
    own = members(Net(4, 2, 1), (0.001, 0.1), **data)
    single = trained(own, together=False)
    with perturbed():
        moved = trained(own, together=False)
    fused = trained(own, together=True)
    return {
        "float64": furthest(trained(wide, together=True), alone),
        "own precision": furthest(fused, single),
        "a rounding error": furthest(moved, single),
        "precision": fused[0].precision,
        "runs": [r.run_name for r in fused],
    }


def speed(net: Net, options: argparse.Namespace) -> dict[str, Any]:
    """Images per second of a group and of single runs of members spread over it, in turn."""
    size = options.train_size or (60_000 if on_gpu() and options.data == "mnist" else 1_280)
    data: dict[str, Any] = {"name": options.data, "train_size": size, "test_size": 200}
    if options.data_root:
        data["root"] = options.data_root
    configs = members(net, (0.001, 0.01, 0.1), data=data, trainer={"enable_checkpointing": False})
    some = configs[:: max(1, len(configs) // options.singles)][: options.singles]
    fused: list[float] = []
    alone: list[float] = []
    precision = ""
    for _ in range(options.rounds):
        alone += [r.samples_per_second for r in trained(some, together=False)]
        together = trained(configs, together=True)
        fused.append(together[0].samples_per_second)
        precision = together[0].precision
    each = step_flops(net, 1)
    return {
        "net": str(net),
        "members": len(configs),
        "precision": precision,
        "fused": summary(fused),
        "alone": summary(alone),
        "ratio": summary(fused)["median"] / summary(alone)["median"],
        "tflops_fused": summary(fused)["median"] * each / 1e12,
        "samples": {"fused": fused, "alone": alone},
    }


def table(result: dict[str, Any]) -> str:
    """How exact the members of a group are, and how fast a group is beside single runs, in Markdown."""
    lines = [f"{conditions(result)}; trained by: {result['device']}."]
    if check := result.get("check"):
        worst = {k: f"{max(check[k]):.1e}" for k in ("float64", "own precision", "a rounding error")}
        lines.append(
            f"Largest difference of a loss between {len(check['runs'])} members of a group and their single runs: "
            f"float64 {worst['float64']} (single runs on the CPU); {check['precision']} {worst['own precision']}, "
            f"where a rounding error in the initial weights makes {worst['a rounding error']}."
        )
    if rows := result.get("speed"):
        header = ["network", "precision", f"{rows[0]['members']} fused, images/s", "one alone, images/s", "ratio"]
        cells = [
            [r["net"], r["precision"], shown(r["fused"], 0), shown(r["alone"], 0), f"{r['ratio']:.2f}"] for r in rows
        ]
        mean = geometric_mean(r["ratio"] for r in rows)
        lines += [markdown(header, cells), f"Geometric mean of the ratios: {mean:.2f}."]
    return "\n\n".join(lines)


def grid(options: argparse.Namespace) -> dict[str, Any]:
    """One piece of the full grid; what the pieces took is kept beside the sweep."""
    log = options.directory / "benchmark.json"
    before = json.loads(log.read_text()) if log.is_file() else {"seconds": [], "records": []}
    command = [*MODULE, "-m", "experiment=full_grid", "hydra/launcher=fused", f"hydra.sweep.dir={options.directory}"]
    command += [f"data.root={options.data_root}"] if options.data_root else []
    started = time.perf_counter()
    process = subprocess.Popen(command)
    try:
        code = process.wait(timeout=60 * options.minutes)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)  # as a scheduler would: the records are kept, the group's last epoch too
        code = process.wait()
    before["seconds"].append(time.perf_counter() - started)
    before["records"].append(len(list(options.directory.glob("*/result.json"))))
    write_json(log, before)
    total = sum(before["seconds"])
    print(f"{before['records'][-1]} of 216 runs after {total / 60:.1f} minutes in {len(before['seconds'])} pieces")
    return {**before, "exit_code": code, "total_seconds": total, "done": code in (0, 3)}


if __name__ == "__main__":
    sys.exit(main())
