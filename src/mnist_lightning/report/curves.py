"""Where a run's files lie beside its record, and its learning curve."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from mnist_lightning.records.plan import is_run_name
from mnist_lightning.records.reading import read_regular
from mnist_lightning.records.results import RECORD, RunResult, to_json

METRICS = "metrics.csv"
_LARGEST_TEXT = 4 * 2**20  # bytes
_MOST_EPOCHS = 10_000

Columns = dict[str, list[float]]  # of metrics.csv, one value per epoch


def place_of(record: RunResult, places: Mapping[str, str] | None = None) -> str:
    """The name of the directory that holds a run's files: that in which its record was found, or its own.

    `places` is {the record as JSON: that name}. Empty if it was not found and its name is
    none that a run of ours can have.
    """
    own = record.run_name if is_run_name(record.run_name) else ""
    return places.get(to_json(record), own) if places else own


def run_directory(directory: Path, place: str) -> Path | None:
    """Where a run's files are, by the place that `place_of` gave; None without one."""
    if (directory / RECORD).is_file():
        return directory
    return directory / place if place else None


def link(place: str) -> str:
    """The run's directory as a relative link in which no character can mean anything else; empty without a place."""
    return f"{quote(place, safe='+', errors='surrogateescape')}/" if place else ""


def read_curve(directory: Path, place: str, problems: list[str] | None = None) -> Columns:
    """A run's metrics.csv, {column: one value per epoch}; empty where there is none that can be read."""
    where = run_directory(directory, place)
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
