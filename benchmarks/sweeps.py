"""Sweeps through the real command line, and when each of their runs ended."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.common import Net, environment

MODULE = [sys.executable, "-m", "mnist_lightning"]
CLOCK = {"_target_": "benchmarks.batch_clock.BatchClock", "directory": "{directory}"}


@dataclass
class SweepTimes:
    """Seconds of one sweep's command: as a whole, of each run without the first (from record to record), of each
    of these outside its batches, and after the last record."""

    wall: float
    per_run: list[float]
    outside_batches: list[float]
    after_last: float
    until_first: float
    rss_mib: list[float]


def tiny(net: Net, train_size: int = 128, test_size: int = 64, epochs: int = 1) -> dict[str, Any]:
    """The keys of a run that is over at once, on the embedded digits."""
    return {
        "data": "synthetic",
        "data.train_size": train_size,
        "data.test_size": test_size,
        "model.num_channels": net.num_channels,
        "model.num_conv": net.num_conv,
        "model.num_dense": net.num_dense,
        "trainer.max_epochs": epochs,
        "trainer.accelerator": "cpu",
    }


def overrides(keys: dict[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in keys.items()]


def configuration(keys: dict[str, Any], **more: Any) -> Any:
    """The same keys as a RunConfig, without Hydra and without a progress bar."""
    from mnist_lightning.config import parse

    nested: dict[str, Any] = {"trainer": {"enable_progress_bar": False}, **more}
    for key, value in keys.items():
        section, _, name = key.rpartition(".")
        if section or key in ("data", "optimizer"):  # a group's choice is its name
            nested.setdefault(section or key, {})[name if section else "name"] = value
        else:
            nested[key] = value
    return parse(nested)


def clock_override() -> str:
    inside = ",".join(f"{key}:'{value}'" for key, value in CLOCK.items())
    return f"callbacks=[{{{inside}}}]"


def run_sweep(directory: Path, arguments: list[str], threads: int | None = None) -> SweepTimes:
    """`python -m mnist_lightning -m ...` to its end. Records that were there before are not counted."""
    stored = set(directory.glob("*/result.json"))
    command = [*MODULE, "-m", *arguments, f"hydra.sweep.dir={directory}"]
    started = time.time()  # compared with the times of files
    done = subprocess.run(command, env=environment(threads), capture_output=True, text=True, check=False)
    ended = time.time()
    if done.returncode != 0:
        print(done.stdout[-2000:], done.stderr[-2000:], sep="\n", file=sys.stderr)
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}")
    records = sorted(set(directory.glob("*/result.json")) - stored, key=lambda path: path.stat().st_mtime)
    times = [path.stat().st_mtime for path in records]
    per_run = [after - before for before, after in pairwise(times)]
    clocks = [json.loads((path.parent / "batches.json").read_text()) for path in records if _has_clock(path)]
    outside = [wall - clock["seconds"] for wall, clock in zip(per_run, clocks[1:], strict=False)]
    last, first = (times[-1], times[0]) if times else (started, started)
    return SweepTimes(
        ended - started, per_run, outside, ended - last, first - started, [clock["rss_mib"] for clock in clocks]
    )


def _has_clock(record: Path) -> bool:
    return (record.parent / "batches.json").is_file()
