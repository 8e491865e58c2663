"""Locks between processes by flock: the kernel frees them when their holder dies, however it dies."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from mnist_lightning.errors import BusyError

try:
    import fcntl
except ImportError:  # Windows has no flock: there nothing is locked
    fcntl = None

LOCK = ".lock"
_held: dict[Path, IO[str]] = {}


def hold(directory: Path) -> None:
    """Hold the directory's lock until this process ends. Raises BusyError naming the process that has it."""
    path = (directory / LOCK).absolute()
    if fcntl is None or path in _held:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open(path, "a+")  # noqa: SIM115 - kept open for as long as the lock is held
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise BusyError(f"{directory}: in use by {holder}; wait for it, or choose another directory") from error
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    _held[path] = file


def release() -> None:
    """Give back everything that `hold` took."""
    while _held:
        _held.popitem()[1].close()


@contextmanager
def waiting(path: Path) -> Iterator[None]:
    """Hold the lock file `path` for a block; waits while another process has it. A read-only place is not locked."""
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
