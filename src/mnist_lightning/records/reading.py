"""Files that somebody else may have put there: read whole if they are regular files of a bearable size."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from mnist_lightning.errors import UnreadableError

# The system's errors that say what is there, or that nothing is; after any other a file may be whole
TELLING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO}


def read_regular(path: Path, most: int) -> bytes:
    """Reads a regular file of at most `most` bytes; never waits, as for a pipe, nor reads for ever, as of a device.

    Raises ValueError for what is no such file, OSError where the system cannot read it.
    """
    # not a question before it is opened: between the two another file could take its place
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        if status.st_size > most:
            raise ValueError(f"{status.st_size:,} bytes, too large")
        with open(handle, "rb", closefd=False) as file:
            content = file.read(most + 1)
    finally:
        os.close(handle)
    if len(content) > most:  # it grew meanwhile, or its size is no true one, as in /proc
        raise ValueError(f"more than {most:,} bytes, too large")
    return content


def unreadable(path: Path, error: OSError) -> UnreadableError:
    """What to raise for a file that may be whole, where the system cannot read it now."""
    return UnreadableError(f"{path}: cannot be read ({error.strerror or error}); repeat when it can be")
