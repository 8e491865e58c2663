"""What the page's section Explore needs beside the table of runs: learning curves, and whether there is one at all."""

from __future__ import annotations

import json
import math
from pathlib import Path

from mnist_lightning.report.curves import read_curve
from mnist_lightning.report.runs_table import Row

MOST_CURVES = 1000  # runs whose curves a page carries, the best ones: each is a file to be read
_EPOCHS = 200  # of a curve; of a longer one every second, third, ... epoch would be another curve, so it is left out
_UNIT = 10_000  # accuracies are stored as whole numbers of 1/10,000


def curves_json(rows: list[Row], directory: Path | None) -> str:
    """The validation accuracy by epoch of each row's run, in 1/10,000; null where none is stored, or a value is none.

    Strict JSON in which nothing can end the element that holds it.
    """
    known = rows[:MOST_CURVES] if directory is not None else []
    curves = [_curve(directory, row.place) for row in known if directory is not None]
    return json.dumps(curves + [None] * (len(rows) - len(curves)), separators=(",", ":"))


def _curve(directory: Path, place: str) -> list[int | None] | None:
    accuracies = read_curve(directory, place).get("val_accuracy", [])
    if not accuracies or len(accuracies) > _EPOCHS:
        return None
    return [round(a * _UNIT) if math.isfinite(a) else None for a in accuracies]
