"""Files that are written as a whole or not at all, also when the process is killed or the power fails."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mnist_lightning.errors import OutputError

_TEMPORARY = ".*.tmp"


def write_durably(path: Path, content: bytes) -> None:
    """Put `content` under `path`: at any instant, also after a power cut, the old file is there or the new one.

    Raises OutputError naming the file.
    """
    with durable_file(path) as file:
        file.write(content)


@contextmanager
def durable_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the name `path` when the block ends well, as a whole, and otherwise not at all.

    Written beside its place, synced, renamed, and the directory synced. Raises OutputError naming the file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = open(temporary, "xb")  # noqa: SIM115 - outside the try: what is there already is not ours to remove
        try:
            with new as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); free the disk or choose another directory"
        ) from error


def _sync_directory(directory: Path) -> None:
    if os.name == "nt":  # Windows cannot open a directory; a rename is durable there without this
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_orphans(directory: Path) -> None:
    """Remove the temporary files that killed processes left. Only for who holds the directory's lock."""
    for orphan in directory.rglob(_TEMPORARY):
        with suppress(OSError):  # a directory that is not ours to write
            orphan.unlink()
