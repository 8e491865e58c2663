"""How far a sweep is: the line per finished run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from mnist_lightning.records.plan import read_plan
from mnist_lightning.records.results import RECORD, RunResult
from mnist_lightning.sweep.attempts import has_ended


@dataclass
class Progress:
    """Progress of the sweep run by this process: how many runs are planned, were stored before, and are done."""

    planned: int
    stored_at_start: int
    done: int = 0
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.done = self.stored_at_start

    def left(self) -> str:
        """`about 1 min left`, from the pace so far; empty where there is none yet."""
        if not self.planned > self.done > self.stored_at_start:
            return ""
        pace = (time.monotonic() - self.started) / (self.done - self.stored_at_start)
        return f"about {_duration(pace * (self.planned - self.done))} left"


def line(result: RunResult, sweep_dir: Path | None, progress: Progress | None) -> str:
    """The line of a finished run: `3 of 18  RMSprop_mse_...  accuracy 0.9812  4.2 s  about 1 min left`.

    `sweep_dir` is None for a single run, whose line has no count. A worker has no `progress` and looks at the disk.
    """
    parts = [result.run_name]
    if result.status == "failed":
        parts.append(f"failed: {result.error}")
    else:
        diverged = "diverged, " if result.status == "diverged" else ""
        test = "test " if result.val_size else ""  # the tables rank by that on images held out
        parts += [f"{diverged}{test}accuracy {result.accuracy_test:.4f}", f"{result.duration_seconds:.1f} s"]
    if sweep_dir is None:
        return "  ".join(parts)
    progress = progress or Progress(len(read_plan(sweep_dir).get("runs", {})), count_records(sweep_dir))
    done, planned = progress.done, progress.planned
    parts.insert(0, f"{done:>{len(str(planned))}} of {planned}" if planned >= done else f"{done}")  # Optuna plans none
    if result.engine != "fused" and (left := progress.left()):  # a group is done when its first line is printed
        parts.append(left)
    return "  ".join(parts)


def count_records(sweep_dir: Path) -> int:
    """How many runs of a sweep have a record, beside those that are tried again."""
    return sum(has_ended(record.parent) for record in sweep_dir.glob(f"*/{RECORD}"))


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
