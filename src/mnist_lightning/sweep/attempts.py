"""How often a run was begun by the command at work: a file in the run's directory, from its plan to its record."""

from __future__ import annotations

from pathlib import Path

from mnist_lightning.records.durable import write_durably
from mnist_lightning.records.reading import read_regular
from mnist_lightning.records.results import RECORD

ATTEMPTS = ".attempts"


def expect(run_dir: Path) -> None:
    """Notes that the run is to be done by this command, and was not begun by it; a record there is an earlier one's."""
    if (run_dir / RECORD).is_file():
        write_durably(run_dir / ATTEMPTS, b"0\n")
    else:
        (run_dir / ATTEMPTS).unlink(missing_ok=True)


def begin(run_dir: Path, job: str = "") -> None:
    """Counts an attempt on the disk, before anything that could kill the process.

    A job that the scheduler has preempted and started again under its number, `job`, is still the same attempt.
    """
    count, before = _noted(run_dir)
    if not job or job != before:
        write_durably(run_dir / ATTEMPTS, f"{count + 1} {job}".strip().encode() + b"\n")


def end(run_dir: Path) -> None:
    """Notes that the run has its record."""
    (run_dir / ATTEMPTS).unlink(missing_ok=True)


def attempts(run_dir: Path) -> int:
    """How often the run was begun by this sweep's command and has not ended."""
    return _noted(run_dir)[0]


def _noted(run_dir: Path) -> tuple[int, str]:
    """The number of attempts, and the scheduler's number of the last one's job, if it had one."""
    try:
        count, _, job = read_regular(run_dir / ATTEMPTS, 200).decode().strip().partition(" ")
        return int(count), job
    except (OSError, ValueError):
        return 0, ""


def has_ended(run_dir: Path) -> bool:
    """Whether the run has a record that is not only the one of an earlier, failed command."""
    return (run_dir / RECORD).is_file() and not (run_dir / ATTEMPTS).exists()
