"""What a step of a fused group moves and computes, counted on a GPU that computes nothing, and minutes by a model.

    python -m benchmarks.roofline                                  # the study's twelve networks, some minutes; no GPU
    python -m benchmarks.roofline --nets 64/3/3 --json FILE

Nodes of the captured graph, bytes and synchronisations are counted from the code. Milliseconds are a roofline of an
H200, a prediction: `benchmarks/gpu.py` measures on a real one. `tests/null_gpu/counting.py` has the constants.
Needs Linux, g++ and a build of torch for CUDA.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, Net, markdown, report, write_json

NETS = ",".join(f"{c}/{n}/{d}" for c in (32, 64) for n in (2, 3) for d in (1, 3, 5))
STEPS = 938 * 20  # of the study's 20 epochs of MNIST in batches of 64
_NULL_GPU = ROOT / "tests"
LAUNCH = 8e-6  # seconds of the host for one operation launched from Python (a guess from above: 5 is usual)
EPOCHS, VALIDATED, TRAINED = 20, 10_000, 60_000
EVALUATION_BATCH = 256
# Seconds of the host for each group of 18, measured on a CPU for the whole grid of 12 groups
PER_GROUP = {
    "initial weights, once a seed": 72 / 216,
    "final checkpoints and their checksums, four at a time": 81 / 12 / 4,
    "copying a group's state for its checkpoint, thrice": 3 * 0.4,
    "capturing ways to compute, to choose": 11 * 0.1,
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default=NETS)
    parser.add_argument("--here", action="store_true", help="this process already runs on the null GPU")
    parser.add_argument("--directory", type=Path, help="where the null GPU is built (default: a temporary one)")
    parser.add_argument("--json", type=Path, help="write everything to this file")
    options = parser.parse_args(arguments)
    if options.here:
        print("\n" + json.dumps(counted(options.nets.split(","))), flush=True)
        os._exit(0)  # the libraries' own ends would look for a real GPU
    with tempfile.TemporaryDirectory(prefix="null-gpu-") as temporary:
        settings = {"nets": options.nets}
        result = {**report("roofline", settings), "nets": run(options.nets, options.directory or Path(temporary))}
    write_json(options.json, result)
    print(table(result))
    return 0


def run(nets: str, directory: Path) -> dict[str, Any]:
    """Counts in a process on the null GPU, which is built below `directory`."""
    sys.path.insert(0, str(_NULL_GPU))
    from null_gpu import building

    command = [sys.executable, "-m", "benchmarks.roofline", "--here", "--nets", nets]
    done = subprocess.run(
        command, env=building.environment(building.build(directory)), cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def counted(nets: list[str]) -> dict[str, Any]:
    """{network: {methods: what `counting.step` says}}, in a process on the null GPU."""
    from null_gpu import counting

    return {net: counting.steps(group(net)) for net in nets}


def group(net: str) -> list[Any]:
    """The study's 18 configurations of one network, on few images: a step does not depend on their number."""
    from benchmarks.fused import members

    data = {"name": "synthetic", "train_size": 640, "test_size": 200}
    return members(Net.parse(net), (0.001, 0.01, 0.1), data=data, trainer={"enable_checkpointing": False})


def table(result: dict[str, Any]) -> str:
    """Counts of a step and predicted milliseconds by class, a row for each network and choice of methods."""
    classes = list(next(iter(next(iter(result["nets"].values())).values()))["milliseconds"])
    header = ["network", "convolutions", "nodes", "GB", "of these optimizer", "ms", *(f"{c}, ms" for c in classes)]
    rows: list[list[str]] = []
    minutes: dict[str, float] = {}
    for net, by_methods in result["nets"].items():
        for name, step in by_methods.items():
            gigabytes, milliseconds = step["gigabytes"], step["milliseconds"]
            total = sum(milliseconds.values())
            minutes[name] = minutes.get(name, 0.0) + total * STEPS / 60_000
            parts = [f"{milliseconds[c]:.2f}" for c in classes]
            head = [net, name, str(step["nodes"]), f"{sum(gigabytes.values()):.1f}", f"{gigabytes['optimizer']:.1f}"]
            rows.append([*head, f"{total:.2f}", *parts])
    lines = [markdown(header, rows)]
    groups = len(result["nets"])
    lines.append("; ".join(f"{name}: {m:.1f} minutes of training for {groups} groups" for name, m in minutes.items()))
    seconds = host(result["nets"])
    parts = ", ".join(f"{name} {s:.1f}" for name, s in seconds.items())
    lines.append(f"The host, while the GPU waits: {sum(seconds.values()):.0f} s for {groups} groups ({parts})")
    return "\n\n".join(lines)


def host(nets: dict[str, Any]) -> dict[str, float]:
    """Seconds of the host for all groups: launches counted times what one costs, and what was measured of files."""
    batches = EPOCHS * -(-VALIDATED // EVALUATION_BATCH) - (-(TRAINED + VALIDATED) // EVALUATION_BATCH)
    launches = sum(next(iter(m.values()))["evaluation"]["launches of a batch"] for m in nets.values())
    return {"evaluation": batches * launches * LAUNCH, **{k: v * len(nets) for k, v in PER_GROUP.items()}}


if __name__ == "__main__":
    sys.exit(main())
