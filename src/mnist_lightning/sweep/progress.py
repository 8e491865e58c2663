"""How far a sweep is: the line per finished run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mnist_lightning.records.results import RECORD, RunResult
from mnist_lightning.sweep.plan import read_plan


@dataclass
class Progress:
    """Of the sweep that this process leads; a launcher's worker has none."""

    planned: int
    stored_at_start: int
    done: int
    started: float


def line(result: RunResult, sweep_dir: Path | None, progress: Progress | None) -> str:
    """`3 of 18  RMSprop_mse_...  accuracy 0.9812  4.2 s  about 1 min left`; of a single run without the count."""
    parts = [result.run_name]
    if result.status == "failed":
        parts.append(f"failed: {result.error}")
    else:
        diverged = "diverged, " if result.status == "diverged" else ""
        parts += [f"{diverged}accuracy {result.accuracy_test:.4f}", f"{result.duration_seconds:.1f} s"]
    if sweep_dir is None:
        return "  ".join(parts)
    if progress:
        done, planned = progress.done, progress.planned
    else:
        done, planned = count_records(sweep_dir), _count_planned(sweep_dir)
    parts.insert(0, f"{done:>{len(str(planned))}} of {planned}" if planned >= done else f"{done}")  # Optuna plans none
    if result.engine != "fused":  # there the whole group is done when its first line is printed
        parts += left(progress)
    return "  ".join(parts)


def left(progress: Progress | None) -> list[str]:
    """`about 1 min left`, where this process knows it."""
    if not progress or not progress.planned > progress.done > progress.stored_at_start:
        return []
    pace = (time.monotonic() - progress.started) / (progress.done - progress.stored_at_start)
    return [f"about {_duration(pace * (progress.planned - progress.done))} left"]


def count_records(sweep_dir: Path) -> int:
    return sum(1 for _ in sweep_dir.glob(f"*/{RECORD}"))


@cache
def _count_planned(sweep_dir: Path) -> int:
    return len(read_plan(sweep_dir).get("runs", {}))


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
