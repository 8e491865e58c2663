"""Locks between processes by flock: the kernel frees them when their holder dies, however it dies."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from mnist_lightning.errors import BusyError

try:
    import fcntl
except ImportError:  # Windows has no flock: there nothing is locked
    fcntl = None

LOCK = ".lock"
_GROUP = re.compile(r"the group (\.\w+/\w+\.lock)\n")  # in a run's lock file: the one that its group holds


def hold(directory: Path, holder: str = "") -> IO[str] | None:
    """Locks a directory for as long as the file that is returned stays open, or this process lives.

    `holder` is written into it (default: this process). Raises BusyError naming the one that holds it. None where the
    system knows no such locks.
    """
    if fcntl is None:
        return None
    directory.mkdir(parents=True, exist_ok=True)
    file = open(directory / LOCK, "a+")  # noqa: SIM115 - kept open for as long as the lock is held
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        found = file.read().strip() or "another process"
        file.close()
        raise BusyError(f"{directory}: in use by {found}; wait for it, or choose another directory") from error
    file.truncate(0)
    file.write(f"{holder or f'process {os.getpid()} on {socket.gethostname()}'}\n")
    file.flush()
    return file


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock file `path`, or that of the group it names. Creates and changes nothing.

    Looking takes the lock for an instant, shared: only who asks for it without waiting could notice.
    """
    if fcntl is None or not path.is_file():
        return False
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            named = _GROUP.fullmatch(file.read(200).decode("ascii", "replace"))
    except BlockingIOError:
        return True
    except OSError:  # not ours to open: nothing is known of it
        return False
    return named is not None and is_held(path.parent.parent / named[1])


@contextmanager
def together(path: Path, runs: Iterable[Path]) -> Iterator[None]:
    """Holds the one lock file `path` for a block, and names it in the lock files of runs that are trained together.

    So others see each of them at work, and a group of thousands needs one open file.
    """
    with waiting(path):
        for directory in runs:
            with suppress(BusyError, OSError):  # somebody else is at work there
                if (file := hold(directory, f"the group {path.parent.name}/{path.name}")) is not None:
                    file.close()
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()


@contextmanager
def waiting(path: Path) -> Iterator[None]:
    """Holds the lock file `path` for a block; waits while another process has it. A read-only place is not locked."""
    file = None
    if fcntl is not None:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "a")  # noqa: SIM115 - closed below
            fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if file is not None:
            file.close()
