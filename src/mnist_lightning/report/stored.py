"""What lies beside the records: learning curves, predictions of the best run, the sweep's command."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mnist_lightning.errors import RefusedError
from mnist_lightning.records.plan import is_run_name
from mnist_lightning.records.predictions import Predictions, load_predictions
from mnist_lightning.records.reading import read_regular
from mnist_lightning.records.results import RECORD
from mnist_lightning.report.frame import runs
from mnist_lightning.report.provenance import command_in
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.state import State

METRICS = "metrics.csv"
MOST_CURVES = 6
_LARGEST_TEXT = 4 * 2**20  # bytes


@dataclass(frozen=True)
class Curve:
    """A run's metrics.csv, {column: one value per epoch}, and why this run was chosen."""

    run: Any
    why: str
    columns: dict[str, list[float]]


@dataclass(frozen=True)
class Stored:
    """Everything a report shows beyond the records themselves; what is missing is simply not there."""

    predictions: Predictions | None = None
    curves: list[Curve] = field(default_factory=list)
    command: str = ""
    problems: list[str] = field(default_factory=list)
    state: State = field(default_factory=State)
    linked: bool = True  # runs lie in directories of their own, which can be linked to


def run_directory(directory: Path, run_name: str) -> Path | None:
    """Where a run's files are; None if the record's name is none that a run of ours can have."""
    if (directory / RECORD).is_file():
        return directory
    return directory / run_name if link(run_name) else None


def link(run_name: str) -> str:
    """The run's directory as a relative link, or an empty string for a name that is not one of ours."""
    return f"{run_name}/" if is_run_name(run_name) else ""


def read_stored(ranking: Ranking, directory: Path) -> Stored:
    """Read what the figures need; a damaged file is left out and named in `problems`."""
    problems: list[str] = []
    predictions = None
    if ranking.best is not None and (where := run_directory(directory, ranking.best.run_name)) is not None:
        try:
            predictions = load_predictions(where)
        except RefusedError as error:
            problems.append(str(error).replace(f"{directory}/", ""))
    curves = [c for r, why in chosen_runs(ranking) if (c := _curve(directory, r, why, problems)) is not None]
    command = _command(directory, problems)
    return Stored(predictions, curves, command, problems, linked=not (directory / RECORD).is_file())


def confusions(predictions: Predictions) -> np.ndarray:
    """Counts test images by true digit (down) and predicted digit (across): int64 [10, 10]."""
    counts = np.zeros((10, 10), dtype=np.int64)
    np.add.at(counts, (predictions.labels.astype(int), predictions.predicted.astype(int)), 1)
    return counts


def chosen_runs(ranking: Ranking) -> list[tuple[Any, str]]:
    """The runs whose curves tell most: the best, the best of each other optimizer, one collapsed, one diverged."""
    ranked, frame = ranking.ranked, ranking.frame
    learned = runs(ranked[~ranked["collapsed"]].drop_duplicates("optimizer").head(MOST_CURVES - 2))
    chosen = [(run, f"best {run.optimizer}" if i else "best") for i, run in enumerate(learned)]
    chosen += [(run, "collapsed") for run in runs(ranked[ranked["collapsed"]].head(1))]
    return chosen + [(run, "diverged") for run in runs(frame[frame["status"] == "diverged"].head(1))]


def _curve(directory: Path, run: Any, why: str, problems: list[str]) -> Curve | None:
    where = run_directory(directory, run.run_name)
    text = _text(directory, where / METRICS, problems) if where else ""
    lines = list(csv.DictReader(text.splitlines()))[:10_000]
    columns = {name: [_number(line.get(name)) for line in lines] for name in (lines[0] if lines else {}) if name}
    return Curve(run, why, columns) if columns.get("epoch") else None


def _number(text: object) -> float:
    try:
        return float(str(text))
    except ValueError:
        return float("nan")


def _text(directory: Path, path: Path, problems: list[str]) -> str:
    """A small text file's content; empty where there is none, or none that can be read, which `problems` names."""
    try:
        return read_regular(path, _LARGEST_TEXT).decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else error
        problems.append(f"{path.relative_to(directory)}: {what}; delete it, the report works without")
        return ""


def _command(directory: Path, problems: list[str]) -> str:
    """The command that made a sweep, from the overrides Hydra stored in multirun.yaml; empty if it is not there."""
    return command_in(_text(directory, directory / "multirun.yaml", problems))
