"""Locks between processes by flock: the kernel frees them when their holder dies, however it dies."""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from mnist_lightning.errors import BusyError
from mnist_lightning.records.reading import read_regular

try:
    import fcntl
except ImportError:  # Windows has no flock: there nothing is locked
    fcntl = None

LOCK = ".lock"
_LONGEST = 400  # characters
# what is in a lock file of ours; a new one is empty
_SIGNED = re.compile(r"((process \d+ on|the group) [^\n]*(\n|\Z))*")
_GROUP = re.compile(r"the group (\.\w+/\w+\.lock)\n")  # in a run's lock file: the one that its group holds


def hold(directory: Path, holder: str = "") -> IO[str] | None:
    """Locks a directory for as long as the file that is returned stays open, or this process lives.

    `holder` is written into it (default: this process). Raises BusyError naming the one that holds it. None, and a
    warning, where the system knows no such locks.
    """
    if fcntl is None:
        warnings.warn("no locks on this system: give each command a directory of its own", stacklevel=2)
        return None
    directory.mkdir(parents=True, exist_ok=True)
    file = open(directory / LOCK, "a+", opener=_at_once, encoding="utf-8", errors="replace")  # noqa: SIM115 - kept open for as long as the lock is held
    try:
        _take(file)
    except OSError as error:
        found = _signature(file)
        file.close()
        raise _busy(directory, found) from error
    _sign(file, holder)
    return file


def _take(file: IO[str]) -> None:
    """Locks an open file, or raises OSError; not at the first refusal, since who only looks has it for an instant."""
    assert fcntl is not None
    for wait in (0.01, 0.05):
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(wait)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def refuse_held(directory: Path) -> None:
    """Raises BusyError where a directory is locked by a living process. A look, which changes nothing."""
    if holder := holder_of(directory / LOCK):
        raise _busy(directory, holder)


def _busy(directory: Path, holder: str) -> BusyError:
    return BusyError(f"{directory}: in use by {holder}; wait for it, or choose another directory")


def told_before(directory: Path) -> Callable[[], None]:
    """Notes what is in a directory's lock file; the answer puts it back, with its time, for who has changed nothing."""
    path = directory / LOCK
    try:
        text, times = read_regular(path, _LONGEST), path.stat()
    except (OSError, ValueError):  # there was none, or it is somebody's
        return lambda: None
    if not _SIGNED.fullmatch(text.decode("utf-8", "replace")):  # nor is somebody's signed
        return lambda: None

    def put_back() -> None:
        with suppress(OSError):
            path.write_bytes(text)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    return put_back


def _sign(file: IO[str], holder: str = "") -> None:
    """Writes who holds it into a lock file, unless the file is somebody's, who has another use for the name."""
    if not _is_ours(file):
        return
    file.truncate(0)
    file.write(f"{holder or f'process {os.getpid()} on {socket.gethostname()}'}\n")
    file.flush()


def _is_ours(file: IO[str]) -> bool:
    file.seek(0)
    return _SIGNED.fullmatch(file.read(_LONGEST)) is not None


def _signature(file: IO[str]) -> str:
    file.seek(0)
    text = file.read(_LONGEST)
    return text.strip() if text and _SIGNED.fullmatch(text) else "another process"


def holder_of(path: Path) -> str:
    """Who holds the lock file `path`, as `process 12 on node`; empty if nobody does, or where there are no locks."""
    if not is_held(path):
        return ""
    with suppress(OSError), open(path, opener=_at_once, encoding="utf-8", errors="replace") as file:
        return _signature(file)
    return "another process"


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock file `path`, or that of the group it names. Creates and changes nothing.

    Looking takes the lock for an instant, shared; who asks for it without waiting tries more than once.
    """
    held, text = _look(path)
    group = _GROUP.fullmatch(text)
    return held or (group is not None and _look(path.parent.parent / group[1])[0])


def _look(path: Path) -> tuple[bool, str]:
    """Whether a lock file is held, and if not, what is written in it; nothing is known of what cannot be opened."""
    if fcntl is None:
        return False, ""
    try:
        with open(path, opener=_at_once, encoding="utf-8", errors="replace") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False, file.read(_LONGEST)
    except OSError as error:
        return isinstance(error, BlockingIOError), ""


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
def alone(path: Path) -> Iterator[None]:
    """Holds the lock file `path` for a block as `waiting` does, and leaves no file behind."""
    held = False
    while not held:
        with waiting(path) as file:
            # whoever had it may have removed the file while we waited: then others lock another of its name
            if held := file is None or _is_still(file, path):
                try:
                    yield
                finally:
                    if file is not None and _is_ours(file):
                        path.unlink(missing_ok=True)


def _is_still(file: IO[str], path: Path) -> bool:
    """Whether an open file is the one that has this name now."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


@contextmanager
def waiting(path: Path) -> Iterator[IO[str] | None]:
    """Holds the lock file `path` for a block; waits while another process has it. A read-only place is not locked.

    The block gets the file, None where nothing is locked.
    """
    file = None
    if fcntl is not None:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "a+", opener=_at_once, encoding="utf-8", errors="replace")  # noqa: SIM115 - closed below
            fcntl.flock(file, fcntl.LOCK_EX)
            _sign(file)
    try:
        yield file
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
