"""Files that are written as a whole or not at all, also when the process is killed or the power fails."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mnist_lightning.errors import OutputError

_TEMPORARY = re.compile(r"\..+\.\d+\.[0-9a-f]{8}\.tmp")  # .NAME.PROCESS.RANDOM.tmp


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
        sync_directory(path.parent)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); free the disk or choose another directory"
        ) from error


def sync_directory(directory: Path) -> None:
    """Makes the names in a directory durable: which files there are, and under which names."""
    if os.name == "nt":  # Windows cannot open a directory; a rename is durable there without this
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_orphans(directories: Iterable[Path]) -> None:
    """Removes the temporary files that killed processes left in these directories, not below them, and no others.

    Only for who holds their lock.
    """
    for directory in directories:
        with suppress(OSError):  # there is none, or it is not ours to write
            for path in directory.iterdir():
                if _TEMPORARY.fullmatch(path.name):
                    path.unlink()


def put_aside(path: Path, directory: Path) -> Path:
    """Moves what is in the way, be it a file or not, to `directory` under its own name; returns where it is now.

    Where something of that name was put aside before, to `directory.2`, and so on. Raises OutputError.
    """
    try:
        aside, number = directory, 1
        while os.path.lexists(aside / path.name):
            number += 1
            aside = directory.with_name(f"{directory.name}.{number}")
        aside.mkdir(parents=True, exist_ok=True)
        return path.replace(aside / path.name)
    except OSError as error:
        raise OutputError(f"{path}: cannot be put aside ({error.strerror or error}); move it away") from error


def keep_changed(path: Path, ours: set[str]) -> Path | None:
    """Renames a file whose SHA-256 is not among `ours`: somebody's work is in it. Returns its new path, or None.

    That is NAME.bak.EXT, or with a number where that is taken. Raises OutputError.
    """
    try:
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() in ours:
            return None
        return path.replace(_free(path))
    except OSError as error:
        raise OutputError(f"{path}: changed, but cannot be put aside ({error.strerror}); move it away") from error


def _free(path: Path) -> Path:
    """NAME.bak.EXT, or with a number: the first name that is not taken."""
    number, free = 1, path.with_suffix(f".bak{path.suffix}")
    while os.path.lexists(free):
        number += 1
        free = path.with_suffix(f".bak{number}{path.suffix}")
    return free
