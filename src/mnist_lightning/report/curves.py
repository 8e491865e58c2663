"""Where a run's files lie beside its record, and its learning curve."""

from __future__ import annotations

import csv
from pathlib import Path

from mnist_lightning.records.plan import is_run_name
from mnist_lightning.records.reading import read_regular
from mnist_lightning.records.results import RECORD

METRICS = "metrics.csv"
_LARGEST_TEXT = 4 * 2**20  # bytes
_MOST_EPOCHS = 10_000

Columns = dict[str, list[float]]  # of metrics.csv, one value per epoch


def run_directory(directory: Path, run_name: str) -> Path | None:
    """Where a run's files are; None if the record's name is none that a run of ours can have."""
    if (directory / RECORD).is_file():
        return directory
    return directory / run_name if link(run_name) else None


def link(run_name: str) -> str:
    """The run's directory as a relative link, or an empty string for a name that is not one of ours."""
    return f"{run_name}/" if is_run_name(run_name) else ""


def read_curve(directory: Path, run_name: str, problems: list[str] | None = None) -> Columns:
    """A run's metrics.csv, {column: one value per epoch}; empty where there is none that can be read."""
    where = run_directory(directory, run_name)
    text = small_text(directory, where / METRICS, problems) if where else ""
    lines = list(csv.DictReader(text.splitlines()))[:_MOST_EPOCHS]
    columns = {name: [_number(line.get(name)) for line in lines] for name in (lines[0] if lines else {}) if name}
    return columns if columns.get("epoch") else {}


def _number(text: object) -> float:
    try:
        return float(str(text))
    except ValueError:
        return float("nan")


def small_text(directory: Path, path: Path, problems: list[str] | None = None) -> str:
    """A small text file's content; empty where there is none, or none that can be read, which `problems` names."""
    try:
        return read_regular(path, _LARGEST_TEXT).decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else error
        if problems is not None:
            problems.append(f"{path.relative_to(directory)}: {what}; delete it, the report works without")
        return ""
