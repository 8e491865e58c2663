"""The directory of one run: its record, what is put aside of it, and the place where a finished run is trained anew.

`RUN/.retrain/` is a run's directory of its own, in which a run that has a finished record is trained once more. Its
record, written last, is the commit: from then on the new run takes the place of the old one, file by file, the record
last, and whoever opens RUN next finishes what a killed process has left of that.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from mnist_lightning.errors import ConfigError, OutputError, RefusedError
from mnist_lightning.records.durable import put_aside, sync_directory
from mnist_lightning.records.plan import PLAN
from mnist_lightning.records.predictions import PREDICTIONS
from mnist_lightning.records.reading import TELLING, read_regular, unreadable
from mnist_lightning.records.results import FINAL, RECORD, RunResult, load
from mnist_lightning.records.search import SEARCH

CONFIG, METRICS, TRACEBACK = "config.yaml", "metrics.csv", "error.txt"
LAST, BEST = "checkpoints/last.ckpt", "checkpoints/best.ckpt"
QUARANTINE = "quarantine"
GROUPS = ".fused"  # in a sweep's directory: groups in training, to continue from
STAGING = ".retrain"
_MOVING = ".retrained"  # what was STAGING, once nothing is left that the new run has not
_LARGEST_OF_HYDRA = 2**20  # bytes; it writes some thousand
REPLACED = (CONFIG, METRICS, PREDICTIONS, LAST, BEST, TRACEBACK)


def is_there(path: Path) -> bool:
    """Whether a name exists, also as a link to nowhere. Raises UnreadableError where the system cannot tell."""
    try:
        path.lstat()
    except OSError as error:
        if error.errno in TELLING:
            return False
        raise unreadable(path, error) from error
    return True


def stored_result(directory: Path, quarantine: Path | None = None) -> RunResult | None:
    """The record of a run, or None. A damaged one is put aside, and that is said.

    `quarantine` (default: the sweep's, beside the run) is for damaged records. Raises UnreadableError for one that is
    there and cannot be read.
    """
    finish_retraining(directory)
    path = directory / RECORD
    if not is_there(path):
        return None
    try:
        return load(path)
    except RefusedError as error:
        aside = put_aside(path, (quarantine or directory.parent / QUARANTINE) / directory.name)
        what = str(error).partition(";")[0]
        print(f"{what}; moved to {aside.parent.parent.name}/, the run will be done again", flush=True)
        return None


def finished_result(directory: Path, fingerprint: str) -> RunResult | None:
    """The record of this very configuration in a single run's directory, if it need not be trained again, or None.

    Raises ConfigError for a directory with another run's record, or with a sweep, OutputError for a file in its place.
    """
    if is_there(directory) and not directory.is_dir():
        raise OutputError(f"{directory}: a file, not a directory; choose another directory")
    stored = stored_result(directory, directory / QUARANTINE)
    if stored is None:
        if holds_sweep(directory):
            raise ConfigError(f"{directory}: holds a sweep; choose another directory, or that of one of its runs")
        return None
    refuse_another_runs(stored, directory, fingerprint)
    return stored if stored.status in FINAL else None


def holds_sweep(directory: Path) -> bool:
    """Whether a directory is that of a sweep: with a plan, a search, or a run that Hydra says is one of a sweep."""
    try:
        runs = [record.parent for record in directory.glob(f"*/{RECORD}")]
    except OSError as error:
        raise unreadable(directory, error) from error
    planned = is_there(directory / PLAN) or is_there(directory / SEARCH)
    return planned or any(_is_of_sweep(run / ".hydra" / "hydra.yaml") for run in runs)


def _is_of_sweep(path: Path) -> bool:
    with suppress(OSError, ValueError):
        return b"hydra.mode=MULTIRUN" in read_regular(path, _LARGEST_OF_HYDRA)
    return False


def refuse_another_runs(stored: RunResult, directory: Path, fingerprint: str) -> None:
    """Raises ConfigError for a record of another configuration, which may not be replaced."""
    if stored.fingerprint != fingerprint:
        other = stored.fingerprint[:8]  # with which its name ends
        raise ConfigError(f"{directory}: holds the record of another run, {other}; choose another directory")


def place_of(directory: Path, fingerprint: str) -> Path:
    """Where a configuration is to be trained: in its run's directory, or beside the finished record there."""
    return directory / STAGING if finished_result(directory, fingerprint) else directory


def home_of(place: Path) -> Path:
    """The run's directory of a place that `place_of` gave."""
    return place.parent if place.name == STAGING else place


def records_of(directory: Path) -> list[Path]:
    """The record of a run's directory, if there, and that of a run which was about to take its place."""
    records = [where / RECORD for where in (directory, directory / STAGING, directory / _MOVING)]
    return [record for record in records if record.is_file()]


def places_of(directory: Path) -> list[Path]:
    """The directories in which a run's files are written, there or not."""
    return [where / part for where in (directory, directory / STAGING) for part in ("", Path(LAST).parent)]


def forget_retraining(place: Path) -> None:
    """Removes what an interrupted retraining has left, if the place is one of those."""
    if place.name == STAGING:
        shutil.rmtree(place, ignore_errors=True)


def finish_retraining(directory: Path) -> None:
    """Gives a run that was trained anew, as a whole, the place of the old one; does nothing where there is none.

    Killed at any instant, called again it goes on. Raises OutputError.
    """
    staged, moving = directory / STAGING, directory / _MOVING
    try:
        if is_there(moving):
            _move(moving, directory)
        if is_there(staged / RECORD) and load(staged / RECORD).status in FINAL:
            for name in REPLACED:
                if not is_there(staged / name):  # of the old run alone, such as the checkpoints of one that kept some
                    (directory / name).unlink(missing_ok=True)
            staged.rename(moving)
            _move(moving, directory)
    except RefusedError:  # a damaged record commits nothing
        return
    except OSError as error:
        what = f"cannot take the place of the old run ({error.strerror or error})"
        raise OutputError(f"{error.filename or staged}: {what}; free the disk, or move what is in the way") from error


def _move(moving: Path, directory: Path) -> None:
    """Moves what is left of a committed run to its place, the record last."""
    files = sorted(path for path in moving.rglob("*") if not path.is_dir() and path != moving / RECORD)
    for file in files:
        target = directory / file.relative_to(moving)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, target)
    for changed in {(directory / file.relative_to(moving)).parent for file in files}:
        sync_directory(changed)
    if is_there(moving / RECORD):
        os.replace(moving / RECORD, directory / RECORD)
    sync_directory(directory)
    shutil.rmtree(moving)
