"""Reads `metrics.csv`, a run's line per epoch, which may be damaged: as much of it as there is."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from mnist_lightning.records.reading import TELLING, read_regular, unreadable

LARGEST_TABLE = 16 * 2**20  # bytes; a line has about 100


def read_epochs(path: Path, epochs: int) -> dict[int, dict[str, float]]:
    """The lines of the first `epochs` epochs, {epoch from 1: {column: value}}; lines that cannot be read are left out.

    Raises ValueError for what is no file of a bearable size, UnreadableError where the system cannot read it.
    """
    try:
        text = read_regular(path, LARGEST_TABLE).decode(errors="replace")
    except OSError as error:
        if error.errno in TELLING:
            raise ValueError(error.strerror) from error
        raise unreadable(path, error) from error
    header, *lines = text.splitlines() or [""]
    rows = [_values(header, line) for line in lines]
    return {int(row.pop("epoch")): row for row in rows if row["epoch"].is_integer() and 1 <= row["epoch"] <= epochs}


def _values(header: str, line: str) -> dict[str, float]:
    """The numbers of a line by column; where it is not one of as many numbers, only the epoch, NaN."""
    try:
        columns, cells = csv.reader([header, line])
        return {"epoch": math.nan} | {k: float(v) for k, v in zip(columns, cells, strict=True) if v}
    except (ValueError, csv.Error):
        return {"epoch": math.nan}
