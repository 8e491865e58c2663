"""What a live page costs the sweep it shows: `python -m benchmarks.live --json FILE`.

The same sweep without and with report.live=true, taking turns, the order changing from pair to pair: wall seconds from
the plan to the last record, their ratio, and the processor seconds of the process that makes the page, which a loaded
machine does not blur.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import BATCH, Net, conditions, cores, environment, markdown, report, shown, summary, write_json
from benchmarks.sweeps import MODULE, overrides, tiny


@dataclass
class Cost:
    """One sweep: wall seconds from the plan to the last record, and what making its page took."""

    wall: float
    page_cpu: float = 0.0
    pages: int = 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="32/2/1")
    parser.add_argument("--runs", type=int, default=4, help="seeds of one network")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=100, help="training steps of each epoch")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    result = report("live", {k: v for k, v in vars(options).items() if k != "json"})
    costs: dict[bool, list[Cost]] = {False: [], True: []}
    for pair in range(options.pairs):
        for live in (False, True) if pair % 2 == 0 else (True, False):
            costs[live].append(measure(options, live))
        result["measured"] = measured(costs[False], costs[True])
        write_json(options.json, result)
        print(f"pair {pair + 1} of {options.pairs}: {costs[False][-1]}, {costs[True][-1]}", flush=True)
    print(table(result))
    return 0


def measured(without: list[Cost], live: list[Cost]) -> dict[str, Any]:
    """{what: summary and samples} of the pairs so far."""
    samples = {
        "without, s": [cost.wall for cost in without],
        "with report.live=true, s": [cost.wall for cost in live],
        "more time with it, %": [100 * (b.wall / a.wall - 1) for a, b in zip(without, live, strict=True)],
        "processor seconds of the pages": [cost.page_cpu for cost in live],
        "the same, % of one processor": [100 * cost.page_cpu / cost.wall for cost in live],
        "pages made": [float(cost.pages) for cost in live],
    }
    return {name: summary(values) | {"samples": values} for name, values in samples.items()}


def measure(options: argparse.Namespace, live: bool) -> Cost:
    """Runs the sweep once."""
    keys = tiny(Net.parse(options.net), train_size=options.steps * BATCH, test_size=256, epochs=options.epochs)
    seeds = f"seed=range(0,{options.runs})"
    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        root = Path(temporary) / "sweep"
        command = [
            *MODULE,
            "-m",
            *overrides(keys),
            seeds,
            f"hydra.sweep.dir={root}",
            f"report.live={str(live).lower()}",
        ]
        process = subprocess.Popen(command, env=environment(options.threads), stdout=subprocess.DEVNULL)
        cost = Cost(0.0)
        looking = threading.Thread(target=_look, args=(process, root, cost))
        looking.start()
        if process.wait() != 0:
            raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
        looking.join()
        records = [path.stat().st_mtime for path in root.glob("*/result.json")]
        cost.wall = max(records) - (root / "plan.json").stat().st_mtime
    return cost


def _look(process: subprocess.Popen[bytes], root: Path, cost: Cost) -> None:
    """Notes the processor seconds of the child that makes the page, and how many it made, until the command ends."""
    made: set[int] = set()
    while process.poll() is None:
        time.sleep(1)
        if root.joinpath("status.json").exists():
            made.add(root.joinpath("status.json").stat().st_mtime_ns)
        ps = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(process.pid)], capture_output=True, text=True, check=False
        )
        for line in ps.stdout.splitlines():
            if "mnist_lightning.report" in line:
                cost.page_cpu, cost.pages = max(cost.page_cpu, _cpu_of(line.split()[0])), len(made)


def _cpu_of(pid: str) -> float:
    """Processor seconds of a process so far; 0 for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / 100  # clock ticks, of which Linux has 100 a second


def table(result: dict[str, Any]) -> str:
    """The costs, one line each, in Markdown."""
    rows = [[name, shown(values)] for name, values in result["measured"].items()]
    head = f"A sweep without and with its live page: median [least..most]. {conditions(result)}."
    return f"{head}\n\n{markdown(['what', 'cost'], rows)}"


if __name__ == "__main__":
    sys.exit(main())
