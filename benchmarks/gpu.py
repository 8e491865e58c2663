"""The one command for whoever has a GPU: is the fused engine right on it, how fast is it, and what would the grid take.

    python -m benchmarks.gpu --json gpu.json      # under nine minutes; exit code 1 where something is wrong

Sections, each written to the file when it is done; a repeated command goes on with the sections that are missing:

ceilings      bytes a second of a copy, operations a second of a product in bfloat16
correct       groups against single runs on the CPU in float64, of one seed and of two, with a last batch that is not
              full; in the GPU's own precision against what a rounding error does; a member of NaN beside others, by
              each method; each method, and the kernels of updates, losses and metrics against float64
convolutions  the study's five shapes forwards and backwards, by each method, as replays of a captured graph
networks      each network's step (warm replays), validation, final evaluation, and checkpoint
singles       images a second of single runs after a warm-up, beside the group's
minutes       the whole grid from `networks`, beside what `benchmarks/roofline.py` predicts

On the null GPU of the tests (`tests/null_gpu`), which computes nothing, the parts that look at numbers are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import fused, roofline
from benchmarks.common import RESULTS, ROOT, Net, markdown, report, write_json

SECTIONS = ("ceilings", "correct", "convolutions", "networks", "singles", "minutes")
LEAST_GAIN = 8  # times single runs


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("gpu.json"), help="the file of the results (%(default)s)")
    parser.add_argument("--nets", default=roofline.NETS)
    parser.add_argument("--sections", default=",".join(SECTIONS))
    parser.add_argument("--replays", default=200, type=int, help="timed steps of a network, after a quarter as warm-up")
    parser.add_argument("--minutes", default=9.0, type=float, help="no section is begun later than this")
    options = parser.parse_args(arguments)
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("no GPU that torch can use; see docs/gpu.md")
    sys.path.insert(0, str(ROOT / "tests"))  # groups without a Trainer, which the tests count
    if is_null():
        from null_gpu import device  # noqa: F401 - stands in for cuDNN
    result = begun(options)
    started = time.monotonic()
    for name in options.sections.split(","):
        if name in result["sections"]:
            continue
        if time.monotonic() - started > 60 * options.minutes:
            print(f"{options.minutes:g} minutes are over; the same command goes on with {name}")
            return 1
        began = time.monotonic()
        found = globals()[name](options, result["sections"])
        result["sections"][name] = {**found, "seconds": time.monotonic() - began}
        write_json(options.json, result)
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    print(table(result))
    wrong = [problem for section in result["sections"].values() for problem in section.get("wrong", [])]
    print("\n".join(f"wrong: {problem}" for problem in wrong) or "nothing wrong")
    return int(bool(wrong))


def begun(options: argparse.Namespace) -> dict[str, Any]:
    """The results so far, of this GPU and this version; an empty head otherwise."""
    import torch

    settings = {"nets": options.nets, "replays": options.replays}
    fresh = {**report("gpu", settings), "device": torch.cuda.get_device_name(0), "sections": {}}
    if options.json.is_file():
        before = json.loads(options.json.read_text())
        if all(before.get(k) == fresh[k] for k in ("device", "settings", "versions")):
            return before
    return fresh


def is_null() -> bool:
    """Whether the GPU computes nothing: then no number can be looked at."""
    import torch

    return "(null)" in torch.cuda.get_device_name(0)


def seconds_of(work: Callable[[], Any], repeats: int, warm: int) -> list[float]:
    """Seconds of each of some calls after others, by the GPU's own clock."""
    import torch

    for _ in range(warm):
        work()
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    marks[0].record()
    for mark in marks[1:]:
        work()
        mark.record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) / 1e3 for a, b in pairwise(marks)]


def ceilings(options: argparse.Namespace, before: dict[str, Any]) -> dict[str, Any]:
    """What this GPU reaches at most."""
    import torch

    size, side = (2**20, 64) if is_null() else (2**30, 8192)
    a, b = torch.zeros(size, dtype=torch.uint8, device="cuda"), torch.zeros(size, dtype=torch.uint8, device="cuda")
    m = torch.randn(side, side, device="cuda").bfloat16()
    copied = statistics.median(seconds_of(lambda: a.copy_(b), 20, 5))
    product = statistics.median(seconds_of(lambda: m @ m, 20, 5))
    return {"bytes_per_second": 2 * size / copied, "operations_per_second": 2 * side**3 / product}


def correct(options: argparse.Namespace, before: dict[str, Any]) -> dict[str, Any]:
    """Groups against single runs, a member of NaN, the update kernels; `wrong` says what is not as it must be."""
    if is_null():
        return {"left out": "the null GPU computes nothing", "wrong": []}
    from benchmarks import kernels_on_gpu

    check, seeds, wrong = fused.check(), two_seeds(), []
    if max(check["float64"]) > 1e-9:
        wrong.append(f"float64: a group is {max(check['float64']):.1e} off its single runs on the CPU")
    if max(check["own precision"]) > 10 * max(check["a rounding error"]) + 1e-6:
        wrong.append(f"{check['precision']}: {max(check['own precision']):.1e} off, more than rounding makes")
    if max(seeds) > 1e-9:
        wrong.append(f"float64, two seeds: a group is {max(seeds):.1e} off its single runs on the CPU")
    leaks, methods = kernels_on_gpu.leaking(), kernels_on_gpu.methods()
    kernels = {**kernels_on_gpu.updates(), "losses and metrics": kernels_on_gpu.scores()}
    wrong += [f"{method}: a member of NaN reaches another" for method, leaked in leaks.items() if leaked]
    wrong += [f"{method}: {off:.1e} off float64" for method, off in methods.items() if not off < 0.02]
    wrong += [f"kernel {name}: {off:.1e} off float64" for name, off in kernels.items() if not off < 2e-6]
    said = {"check": check, "two seeds": seeds, "leaks": leaks, "methods": methods, "kernels": kernels}
    return {**said, "wrong": wrong}


def two_seeds() -> list[float]:
    """Largest differences, in float64, of a group of two seeds with a last batch of 30 from single runs on the CPU."""
    data = {"data": {"name": "synthetic", "train_size": 670, "test_size": 200}}
    net, exact = Net(4, 2, 1), {"precision": "64-true"}
    here = [c for seed in (0, 1) for c in fused.members(net, (0.01,), trainer=exact, seed=seed, **data)]
    there = {**exact, "accelerator": "cpu"}
    cpu = [c for seed in (0, 1) for c in fused.members(net, (0.01,), trainer=there, seed=seed, **data)]
    return fused.furthest(fused.trained(here, together=True), fused.trained(cpu, together=False))


def convolutions(options: argparse.Namespace, before: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds of each layer forwards and backwards, as replays."""
    import torch

    from benchmarks import kernels_on_gpu
    from mnist_lightning.fused.capture import captured

    said: dict[str, Any] = {}
    for name, layer, x in kernels_on_gpu.layers(is_null()):
        layer.round()
        x.requires_grad_()

        def both(layer: Any = layer, x: Any = x) -> None:
            with torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=False):
                y = layer(x)
            torch.autograd.grad(y.sum(), [layer.low, layer.bias, x])

        said[name] = 1e3 * statistics.median(seconds_of(captured(both), 20, 5))
        torch.cuda.empty_cache()
    return {"milliseconds": said}


def networks(options: argparse.Namespace, before: dict[str, Any]) -> dict[str, Any]:
    """Of each network the methods chosen, a step, a validation, a final evaluation and a checkpoint, timed."""
    import torch

    said: dict[str, Any] = {}
    for net in options.nets.split(","):
        said[net] = network(net, options.replays)
        torch.cuda.empty_cache()
    wrong = [f"{net}: {s['error']}" for net, s in said.items() if "error" in s]
    return {"nets": said, "wrong": wrong}


def network(net: str, replays: int) -> dict[str, Any]:
    """Seconds of one network's group; `error` where it could not be timed."""

    from mnist_lightning.fused.writer import on_cpu
    from mnist_lightning.training.checkpoints import DurableCheckpoints
    from null_gpu.group import classifier

    began = time.perf_counter()
    try:
        module = classifier(roofline.group(net))
        rows = next(iter(module.rows))
        for _ in range(4):
            module.captured(rows)
        made = time.perf_counter() - began
        steps = seconds_of(lambda: module.captured(rows), replays, replays // 4)
        kept = {"step": statistics.median(steps), "slowest step": max(steps), "until the first replay": made}
        for name, split in (("validation", module.dataset.val), ("training images", module.dataset.train)):
            with wall(kept, name):
                module.evaluate(split)
        state: dict[str, Any] = {}
        with wall(kept, "state to the CPU"):
            module.on_save_checkpoint(state)
            state = on_cpu(state)
        with wall(kept, "checkpoint"), tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
            DurableCheckpoints().save_checkpoint(state, Path(directory) / "group.ckpt")
        sizes = {"validation": len(module.dataset.val), "training images": len(module.dataset.train)}
        refused = {"error": "the step was not captured"} if module.captured.graph is None else {}
        return {"seconds": kept, "images": sizes, "methods": module.methods, **refused}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


@contextmanager
def wall(kept: dict[str, float], name: str) -> Iterator[None]:
    """Keeps the seconds of what is done inside, the GPU's included."""
    import torch

    torch.cuda.synchronize()
    began = time.perf_counter()
    yield
    torch.cuda.synchronize()
    kept[name] = time.perf_counter() - began


def singles(options: argparse.Namespace, before: dict[str, Any]) -> dict[str, Any]:
    """Images a second of a single run, in its second epoch and later, and of the group."""
    net = options.nets.split(",")[-1]
    size = 200 if is_null() else 10_000
    data = {"name": "synthetic", "train_size": size, "test_size": 200}
    config = fused.members(Net.parse(net), (0.001,), data=data, trainer={"enable_checkpointing": False})[0]
    fused.trained([config], together=False)  # cuDNN chooses, the GPU wakes up
    alone = fused.trained([config], together=False)[0].samples_per_second
    group = before.get("networks", {}).get("nets", {}).get(net, {}).get("seconds", {})
    together = 18 * 64 / group["step"] if group else 0.0
    gain = together / alone
    wrong = (
        [f"{net}: a group is {gain:.1f} times as fast as a single run, not {LEAST_GAIN}"] if gain < LEAST_GAIN else []
    )
    return {"net": net, "alone": alone, "together": together, "gain": gain, "wrong": [] if is_null() else wrong}


def minutes(options: argparse.Namespace, before: dict[str, Any]) -> dict[str, Any]:
    """Minutes of the grid from the networks' times, and as predicted."""
    nets = {k: v for k, v in before.get("networks", {}).get("nets", {}).items() if "seconds" in v}
    predicted = json.loads((RESULTS / "roofline.json").read_text())["nets"]
    said = {}
    for net, measured in nets.items():
        s, images = measured["seconds"], measured["images"]
        parts = {
            "training": s["step"] * roofline.STEPS,
            "validation": s["validation"] / images["validation"] * roofline.VALIDATED * roofline.EPOCHS,
            "end": s["training images"] / images["training images"] * (roofline.TRAINED + roofline.VALIDATED),
            "begin": s["until the first replay"],
        }
        model = sum(next(iter(predicted[net].values()))["milliseconds"].values()) if net in predicted else 0
        said[net] = {**parts, "training, predicted": model * roofline.STEPS / 1e3}
    total = sum(v for parts in said.values() for k, v in parts.items() if k != "training, predicted") / 60
    return {"seconds of a group": said, "minutes": total}


def table(result: dict[str, Any]) -> str:
    """What was measured, a row for each network, in Markdown."""
    sections = result["sections"]
    lines = [f"{result['device']}, {result['versions'].get('torch', '')}, {result['date'][:10]}"]
    if c := sections.get("ceilings"):
        lines.append(f"{c['bytes_per_second'] / 1e12:.2f} TB/s, {c['operations_per_second'] / 1e12:.0f} TFLOP/s")
    if rows := sections.get("minutes", {}).get("seconds of a group"):
        header = ["network", *next(iter(rows.values()))]
        lines.append(markdown(header, [[net, *(f"{v:.1f}" for v in parts.values())] for net, parts in rows.items()]))
        lines.append(f"{sections['minutes']['minutes']:.1f} minutes for {len(rows)} groups, files not counted")
    if s := sections.get("singles"):
        lines.append(f"{s['net']}: a group is {s['gain']:.1f} times as fast as single runs")
    return "\n\n".join(lines)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    if is_null():
        os._exit(code)  # the libraries' own ends would look for a real GPU
    sys.exit(code)
