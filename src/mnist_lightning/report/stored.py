"""What lies beside the records: learning curves, predictions of the best run, the sweep's command."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mnist_lightning.errors import RefusedError
from mnist_lightning.records.plan import PLAN
from mnist_lightning.records.predictions import Predictions, load_predictions
from mnist_lightning.records.results import RECORD
from mnist_lightning.records.run_directory import CONFIG
from mnist_lightning.report.comparison import Comparison, compare
from mnist_lightning.report.curves import read_curve, run_directory, small_text
from mnist_lightning.report.frame import runs
from mnist_lightning.report.live import Live
from mnist_lightning.report.provenance import OF_RUN, OF_SWEEP, command_in
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.running import Running
from mnist_lightning.report.search import Searched, read_searched
from mnist_lightning.report.state import State
from mnist_lightning.report.verdicts import COLLAPSED, LEARNED, NOT_YET, UNCLEAR

MOST_CURVES = 6
MOST_BEST = 8  # curves in one chart
_OF_DIGITS = ("mnist", "qmnist", "synthetic", "")  # in the first versions nothing else was trained


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
    comparison: Comparison | None = None  # of the two best settings
    running: list[Running] = field(default_factory=list)
    searched: Searched | None = None  # of a search
    best: list[Curve] = field(default_factory=list)  # of the best settings, the best first
    live: Live | None = None  # for a page that will be made again


def read_stored(ranking: Ranking, directory: Path) -> Stored:
    """Read what the figures need; a damaged file is left out and named in `problems`."""
    problems: list[str] = []

    def predictions_of(run: Any) -> Predictions | None:
        where = run_directory(directory, run.place_on_disk)
        try:
            return load_predictions(where) if where is not None else None
        except RefusedError as error:
            problems.append(str(error).replace(f"{directory}/", ""))
            return None

    predictions = predictions_of(ranking.best) if ranking.best is not None else None
    comparison = compare(ranking, predictions_of)
    searched = read_searched(ranking.frame, directory, problems)

    def with_curves(chosen: list[tuple[Any, str]]) -> list[Curve]:
        read = [Curve(run, why, read_curve(directory, run.place_on_disk, problems)) for run, why in chosen]
        return [curve for curve in read if curve.columns]

    return Stored(
        predictions,
        with_curves(chosen_runs(ranking)),
        _command(directory, problems),
        list(dict.fromkeys(problems)),
        linked=not _is_run(directory),
        comparison=comparison,
        searched=searched,
        best=with_curves([(run, "best") for run in runs(ranking.typical.head(MOST_BEST))]),
    )


def _is_run(directory: Path) -> bool:
    """Whether a directory is a single run's own, which has no record before it has ended."""
    begun = (directory / CONFIG).is_file() and not (directory / PLAN).is_file()
    return begun or (directory / RECORD).is_file()


def confusions(predictions: Predictions) -> np.ndarray:
    """Counts test images by true class (down) and predicted class (across): int64 [K, K], of digits [10, 10]."""
    counts = np.zeros((predictions.num_classes, predictions.num_classes), dtype=np.int64)
    np.add.at(counts, (predictions.labels.astype(int), predictions.predicted.astype(int)), 1)
    return counts


def thing_of(dataset: str) -> str:
    """What a class of a data set is called."""
    return "digit" if dataset in _OF_DIGITS else "class"


def chosen_runs(ranking: Ranking) -> list[tuple[Any, str]]:
    """The runs whose curves tell most: the best, the best of each other optimizer, one of each that did not."""
    frame, typical = ranking.frame, ranking.typical
    learned = runs(typical[typical["verdict"] == LEARNED].drop_duplicates("optimizer").head(MOST_CURVES - 3))
    chosen = [(run, f"best {run.optimizer}" if i else "best") for i, run in enumerate(learned)]
    for state in (NOT_YET, COLLAPSED, UNCLEAR):
        chosen += [(run, state) for run in runs(ranking.ranked[ranking.ranked["verdict"] == state].head(1))]
    return chosen + [(run, "diverged") for run in runs(frame[frame["status"] == "diverged"].head(1))]


def _command(directory: Path, problems: list[str]) -> str:
    """The command that made a sweep or a single run, from what Hydra has stored of it; empty if that is not there."""
    is_run = (directory / RECORD).is_file()
    return command_in(small_text(directory, directory / (OF_RUN if is_run else OF_SWEEP), problems), of_run=is_run)
