"""What a run at work says of itself: a small file in its directory, from its first batch to its record."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mnist_lightning.records.reading import read_regular

HEARTBEAT = ".heartbeat"
_LARGEST = 2**18  # bytes; the names of a group's members are most of it
_KINDS = {"epoch": int, "epochs": int, "batch": int, "batches": int, "began": float, "fraction_before": float}


@dataclass(frozen=True)
class Heartbeat:
    """Where a training is: its epoch from 1, of how many; the batches done of this epoch, of how many.

    `val_accuracy` is that of the last validated epoch (of a group: its best member's), None before there is one.
    `runs` are the names of those that are trained together; the file is in the directory of the first.
    `began` is when this process began to train, in seconds since 1970, and `fraction_before` what was trained before.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int
    runs: list[str]
    began: float
    fraction_before: float = 0.0
    val_accuracy: float | None = None

    @property
    def fraction(self) -> float:
        """How much of the training is done, 0 to 1."""
        done = self.epoch - 1 + (self.batch / self.batches if self.batches else 0.0)
        return min(1.0, done / self.epochs) if self.epochs else 0.0


def beat(run_dir: Path, heartbeat: Heartbeat) -> None:
    """Replaces the file as a whole, not durably: after a power cut nobody is at work. Where it cannot, it does not.

    Nor where somebody has another use for the name.
    """
    if os.path.lexists(run_dir / HEARTBEAT) and heartbeat_of(run_dir) is None:
        return
    temporary = run_dir / f".{HEARTBEAT}.{os.getpid()}.{secrets.token_hex(4)}.tmp"  # known to remove_orphans
    with suppress(OSError):
        try:
            temporary.write_text(json.dumps(asdict(heartbeat)) + "\n", encoding="utf-8")
            os.replace(temporary, run_dir / HEARTBEAT)
        except OSError:
            temporary.unlink(missing_ok=True)


def heartbeat_of(run_dir: Path) -> Heartbeat | None:
    """Where the training in a run's directory is, or was when its process was killed; None where nothing is told."""
    try:
        return _checked(json.loads(read_regular(run_dir / HEARTBEAT, _LARGEST)))
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def forget_heartbeat(run_dir: Path) -> None:
    """Removes the file, if it is one of ours: the training has ended, or another process's was killed."""
    with suppress(OSError):
        if heartbeat_of(run_dir) is not None:
            (run_dir / HEARTBEAT).unlink(missing_ok=True)


def _checked(told: Mapping[str, Any]) -> Heartbeat:
    numbers = {name: kind(told[name]) for name, kind in _KINDS.items()}
    accuracy = told["val_accuracy"]
    runs = [str(name) for name in told["runs"]]
    return Heartbeat(runs=runs, val_accuracy=None if accuracy is None else float(accuracy), **numbers)
