"""Locks between processes by flock: the kernel frees them when their holder dies, however it dies."""

from __future__ import annotations

import errno
import os
import socket
import stat
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


def hold(directory: Path) -> IO[str] | None:
    """Locks a directory for as long as the file that is returned stays open, or this process lives.

    Raises BusyError naming the process that holds it. None where the system knows no such locks.
    """
    if fcntl is None:
        return None
    directory.mkdir(parents=True, exist_ok=True)
    file = open(directory / LOCK, "a+", opener=_at_once)  # noqa: SIM115 - kept open for as long as the lock is held
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
    return file


@contextmanager
def waiting(path: Path) -> Iterator[None]:
    """Holds the lock file `path` for a block; waits while another process has it. A read-only place is not locked."""
    file = None
    if fcntl is not None:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "a", opener=_at_once)  # noqa: SIM115 - closed below
            fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if file is not None:
            file.close()


def _at_once(path: str, flags: int) -> int:
    """Opens a lock file; does not wait where a pipe has its name, but raises OSError."""
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, f"{Path(path).name} is not a regular file")
    return handle
