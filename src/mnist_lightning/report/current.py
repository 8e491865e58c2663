"""Whether the derived files in a directory are those of what lies there now: then they are not written again."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from pathlib import Path

from mnist_lightning.records.locks import LOCK
from mnist_lightning.records.reading import read_regular
from mnist_lightning.records.versions import versions
from mnist_lightning.report.provenance import OF_RUN
from mnist_lightning.report.seal import INPUTS, SEAL, digest_of, read_seal, write_seal

_LARGEST = 2**30  # bytes
_DRAWING = ("pandas", "numpy", "matplotlib", "openpyxl", "jinja2")


def inputs_of(root: Path) -> str:
    """A digest of all that a report of this directory could read: names, sizes and times of files, and versions.

    Of the directory itself and of those in it, but for what is derived. To be taken before anything is read.
    """
    derived = {root / name for name in read_seal(root)} | {root / SEAL, root / LOCK}
    files = [entry for place in (root, *_directories(root)) for entry in os.scandir(place) if entry.is_file()]
    known = sorted(
        (os.path.relpath(entry.path, root), (status := entry.stat()).st_size, status.st_mtime_ns)
        for entry in files
        if Path(entry.path) not in derived
    )
    command = root / OF_RUN  # which Hydra writes anew each time
    told = digest_of(command.read_bytes()) if command.is_file() else ""
    packages = {name: importlib.metadata.version(name) for name in _DRAWING}
    return hashlib.sha256(json.dumps([known, told, versions(), packages]).encode()).hexdigest()


def _directories(root: Path) -> list[Path]:
    """The directories of runs, and others with names that are seen."""
    return [Path(entry.path) for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")]


def derived_files(root: Path, inputs: str) -> list[Path]:
    """The derived files, if they were made of these inputs and are all there as they were made; else none."""
    seal = read_seal(root)
    if inputs not in seal.pop(INPUTS, set()):
        return []
    try:
        whole = all(digest_of(read_regular(root / name, _LARGEST)) in digests for name, digests in seal.items())
    except (OSError, ValueError):  # it is gone, or no file any more
        return []
    return [root / name for name in seal] if whole else []


def mark(root: Path, inputs: str) -> None:
    """Notes that the derived files were made of these inputs."""
    write_seal(root, read_seal(root) | {INPUTS: {inputs}})
