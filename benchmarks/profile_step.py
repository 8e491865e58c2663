"""Where a training step's time goes: `python -m benchmarks.profile_step --case 32/2/1 --optimizer rmsprop`.

torch.profiler over the steps of one contender of the throughput benchmark. A row is an operation's own time, without
the operations it calls; `between operations` is the rest of the wall time: Python, Lightning, the data.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.common import Net, cores, data_root, markdown, report, write_json
from benchmarks.contenders import CONTENDERS, Finished

TOP = 10


class ProfileGate:
    """Lets `warmup` steps pass, profiles the next `steps`, and ends the training."""

    def __init__(self, warmup: int, steps: int) -> None:
        from torch.profiler import ProfilerActivity, profile

        self.profiler = profile(activities=[ProfilerActivity.CPU])
        self.warmup, self.steps, self.count = warmup, steps, 0
        self.facts: dict[str, Any] = {}
        self.started = self.seconds = 0.0

    def ready(self, facts: dict[str, Any]) -> None:
        self.facts = facts

    def __call__(self) -> None:
        if self.count == self.warmup:
            self.profiler.start()
            self.started = time.perf_counter()
        elif self.count == self.warmup + self.steps:
            self.seconds = time.perf_counter() - self.started
            self.profiler.stop()
            raise Finished
        self.count += 1


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default="32/2/1")
    parser.add_argument("--optimizer", default="rmsprop")
    parser.add_argument("--contender", default="ours", help="any but keras")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--data", choices=("mnist", "synthetic"), default="mnist")
    parser.add_argument("--data-root", help="default $MNIST_LIGHTNING_DATA")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    result = report("profile_step", {k: v for k, v in vars(options).items() if k not in ("json", "data_root")})
    with data_root(options.data, options.data_root) as root:
        result |= measure(options, root)
    write_json(options.json, result)
    print(table(result))
    return 0


def measure(options: argparse.Namespace, root: Path) -> dict[str, Any]:
    """{ms_per_step: under the profiler, operations: the top ten by own time, facts}."""
    import torch

    torch.set_num_threads(options.threads)
    gate = ProfileGate(options.warmup, options.steps)
    with suppress(Finished):
        CONTENDERS[options.contender](Net.parse(options.case), options.optimizer, root, gate)
    wall_us = gate.seconds * 1e6
    events = [e for e in gate.profiler.key_averages() if e.self_cpu_time_total > 0]
    # Lightning's and the optimizer's own ranges are no operations: their own time is Python's
    operations = [e for e in events if e.key.startswith(("aten::", "mkldnn", "torch"))]
    rows = [
        {
            "name": e.key,
            "share": e.self_cpu_time_total / wall_us,
            "ms_per_step": e.self_cpu_time_total / 1000 / options.steps,
            "calls_per_step": e.count / options.steps,
        }
        for e in sorted(operations, key=lambda e: e.self_cpu_time_total, reverse=True)
    ]
    rest = max(0.0, 1 - sum(row["share"] for row in rows))
    return {
        "facts": gate.facts,
        "ms_per_step": 1000 * gate.seconds / options.steps,
        "operations": rows[:TOP],
        "other_operations_share": sum(row["share"] for row in rows[TOP:]),
        "between_operations_share": rest,
    }


def table(result: dict[str, Any]) -> str:
    rows = [
        [row["name"], f"{row['share']:.1%}", f"{row['ms_per_step']:.2f}", f"{row['calls_per_step']:g}"]
        for row in result["operations"]
    ]
    for name in ("other_operations", "between_operations"):
        share = result[f"{name}_share"]
        rows.append([name.replace("_", " "), f"{share:.1%}", f"{share * result['ms_per_step']:.2f}", ""])
    settings = result["settings"]
    title = f"{settings['contender']} {settings['case']} {settings['optimizer']}, {result['facts']['precision']}"
    return f"{title}: {result['ms_per_step']:.1f} ms a step under the profiler\n" + markdown(
        ["operation", "share", "ms/step", "calls/step"], rows
    )


if __name__ == "__main__":
    sys.exit(main())
