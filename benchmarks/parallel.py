"""Runs per minute of a small grid, one after another and side by side: `python -m benchmarks.parallel --json FILE`.

Each way is a launcher, a number of worker processes, and threads per worker; `-` threads leaves the choice to the
launcher. The whole command is timed, its start and its tables included, so few runs flatter the basic launcher.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import BATCH, Net, conditions, cores, markdown, report, shown, summary, write_json
from benchmarks.sweeps import overrides, run_sweep, tiny


def main(arguments: list[str] | None = None) -> int:
    n = cores()
    ways = f"basic:1:{n},basic:1:1,joblib:{n}:-,joblib:{n}:1,joblib:{n}:{n},joblib:{2 * n}:1"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", default=ways, help="launcher:workers:threads per worker, comma separated")
    parser.add_argument("--runs", type=int, default=8, help="seeds of one network")
    parser.add_argument("--net", default="32/2/1")
    parser.add_argument("--steps", type=int, default=40, help="training steps of each run")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    result = report("parallel", {k: v for k, v in vars(options).items() if k != "json"}) | {"ways": {}}
    samples: dict[str, list[float]] = {way: [] for way in options.ways.split(",")}
    for _ in range(options.repeat):  # the ways take turns
        for way, seconds_so_far in samples.items():
            seconds, device = measure(way, options)
            seconds_so_far.append(seconds)
            result["ways"][way] = {
                "device": device,
                "seconds": seconds_so_far,
                "runs_per_minute": summary([60 * options.runs / s for s in seconds_so_far]),
            }
            write_json(options.json, result)
    print(table(result))
    return 0


def measure(way: str, options: argparse.Namespace) -> tuple[float, str]:
    """(wall seconds of the command, device as the records name it: it has the number of threads that was used)."""
    launcher, workers, threads = way.split(":")
    keys = tiny(Net.parse(options.net), train_size=options.steps * BATCH)
    arguments = [*overrides(keys), f"seed=range(0,{options.runs})"]
    if launcher != "basic":
        arguments += [f"hydra/launcher={launcher}", f"hydra.launcher.n_jobs={workers}"]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        sweep = run_sweep(Path(directory), arguments, 0 if threads == "-" else int(threads))
        records = [json.loads(path.read_text()) for path in Path(directory).glob("*/result.json")]
    if len(records) != options.runs or any(record["status"] != "completed" for record in records):
        raise SystemExit(f"{way}: {[record['error'] for record in records]}")
    return sweep.wall, records[0]["device"]


def table(result: dict[str, Any]) -> str:
    """Runs per minute of each way, and their ratio to the first, in Markdown."""
    settings, ways = result["settings"], result["ways"]
    base = next(iter(ways.values()))["runs_per_minute"]["median"]
    rows = []
    for way, measured in ways.items():
        launcher, workers, threads = way.split(":")
        rate = measured["runs_per_minute"]
        chosen = "the launcher's choice" if threads == "-" else threads
        rows.append([launcher, workers, chosen, shown(rate), f"{rate['median'] / base:.2f}"])
    head = (
        f"{settings['runs']} runs of {settings['net']}, {settings['steps']} training steps each, the command's start "
    )
    head += f"and tables included. Runs per minute: median [least..most]. {conditions(result)}."
    header = ["launcher", "processes", "threads each", "runs per minute", "times the first"]
    return f"{head}\n\n{markdown(header, rows)}"


if __name__ == "__main__":
    sys.exit(main())
