"""Which directory is served where none is named: the newest sweep or run under outputs/."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mnist_lightning.errors import ConfigError
from mnist_lightning.records.plan import PLAN
from mnist_lightning.records.results import RECORD
from mnist_lightning.records.run_directory import CONFIG

OUTPUTS = "outputs"
_DEEPEST = 3  # outputs/2026-11-26/10-30-00/RUN
_MARKS = (PLAN, RECORD, CONFIG)
_WAY_OUT = "give the directory of a sweep or of a run; it may still be empty"


def found(named: str | None) -> Path:
    """The directory to be served: the one named, or the newest under outputs/. Raises ConfigError where there is none.

    The newest is the one whose plan, record or configuration was written last; a sweep's runs are not looked at.
    """
    if named is not None:
        if not Path(named).is_dir():
            what = "a file, not a directory" if Path(named).exists() else "no such directory"
            raise ConfigError(f"{named}: {what}; {_WAY_OUT}")
        return Path(named)
    newest = max(_below(Path(OUTPUTS), _DEEPEST), default=None)
    if newest is None:
        raise ConfigError(f"{OUTPUTS}/: holds no sweep and no run; {_WAY_OUT}")
    return newest[1]


def _below(directory: Path, depth: int) -> Iterator[tuple[float, Path]]:
    """(when it was written, directory) of each sweep or run in a directory, or below it."""
    try:
        inside = sorted(path for path in directory.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return
    for path in inside:
        written = []
        for mark in _MARKS:
            with suppress(OSError):
                written.append((path / mark).stat().st_mtime)
        if written:
            yield max(written), path
        elif depth > 1:
            yield from _below(path, depth - 1)
