"""The runs that are being trained: how far each is, by what its directory says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mnist_lightning.config.labels import labels
from mnist_lightning.errors import UserError
from mnist_lightning.records import locks
from mnist_lightning.records.epochs import read_epochs
from mnist_lightning.records.heartbeat import Heartbeat, heartbeat_of
from mnist_lightning.records.plan import is_run_name, planned_runs
from mnist_lightning.records.results import RECORD
from mnist_lightning.records.run_directory import CONFIG, METRICS, STAGING
from mnist_lightning.report.identity import stored_identity
from mnist_lightning.report.state import State

Epochs = dict[int, dict[str, float]]  # of metrics.csv, {epoch from 1: {column: value}}
_MOST_EPOCHS = 1_000_000


@dataclass(frozen=True)
class Running:
    """A run that a living process trains; `label` names it by the keys that vary.

    `epoch` is the one it is in, from 1, of `epochs`, both None where nothing tells; `fraction` how much is done, 0 to
    1. `epochs_done` are the lines of its metrics.csv, and `val_accuracy` is that of the last validated epoch.
    `together` is how many runs are trained as one stacked network. `beat` is what the training last said of itself.
    """

    run_name: str
    label: str
    epoch: int | None = None
    epochs: int | None = None
    fraction: float | None = None
    val_accuracy: float | None = None
    together: int = 1
    epochs_done: Epochs = field(default_factory=dict)
    beat: Heartbeat | None = None

    @property
    def how_far(self) -> str:
        """`epoch 7 of 20`; `begins` where nothing tells yet."""
        if self.epoch is None:
            return "begins"
        return f"epoch {self.epoch:,}" + (f" of {self.epochs:,}" if self.epochs else "")

    def curve(self, column: str) -> list[tuple[int, float]]:
        """(epoch, value) of a column, where there is one."""
        return [(epoch, row[column]) for epoch, row in sorted(self.epochs_done.items()) if column in row]


def running_runs(directory: str | Path, state: State) -> list[Running]:
    """The runs at work in a sweep's directory, or the run in a run's own, in the plan's order. Changes nothing.

    Those of a plan are the ones that `state` calls running. Without a plan, as in a search, it is every run's
    directory without a record in which somebody is at work.
    """
    root = Path(directory)
    places = {run.run_name: root / run.run_name for run in state.unfinished if run.what == "running"}
    if state.planned is None:
        places = _at_work(root)
    if not places:
        return []
    configs = _configurations(root, places)
    names, beats = labels(configs), _heartbeats(root, set(places) | set(configs))
    return [
        _running(name, names.get(name, name), configs.get(name, {}), place, beats) for name, place in places.items()
    ]


def _at_work(root: Path) -> dict[str, Path]:
    """{name: directory} of what is being trained where there is no plan."""
    if is_at_work(root) and (root / CONFIG).is_file():
        return {root.resolve().name: root} if not (root / RECORD).is_file() or (root / STAGING).is_dir() else {}
    held = [path.parent for path in root.glob(f"*/{locks.LOCK}") if is_at_work(path.parent)]
    begun = [place for place in sorted(held) if (place / CONFIG).is_file() and not (place / RECORD).is_file()]
    return {place.name: place for place in begun}


def is_at_work(directory: Path) -> bool:
    """Whether a living process leads the sweep in a directory, or trains the run in it."""
    return locks.is_held(directory / locks.LOCK)


def _configurations(root: Path, places: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """The configurations, by run name, of all planned runs, or of those at work where there is no plan."""
    try:
        configs = {run["run_name"]: run["config"] for run in planned_runs(root).values()}
    except UserError:
        configs = {}
    for name in places.keys() - configs.keys():
        if config := stored_identity(root, places[name]):
            configs[name] = config
    return configs


def _heartbeats(root: Path, names: set[str]) -> dict[str, Heartbeat]:
    """The newest heartbeat that tells of each run: its own, or that of its group's first, whose record may be there."""
    found: dict[str, Heartbeat] = {}
    for name in sorted(filter(is_run_name, names)):
        beat = heartbeat_of(root / name)
        for told in {name, *beat.runs} if beat else ():
            if beat and (told not in found or found[told].began < beat.began):
                found[told] = beat
    return found


def _running(name: str, label: str, config: Mapping[str, Any], place: Path, beats: Mapping[str, Heartbeat]) -> Running:
    beat = beats.get(name) or heartbeat_of(place)
    done = _epochs_done(place / STAGING if (place / STAGING).is_dir() else place, beat.epoch if beat else _MOST_EPOCHS)
    accuracies = [row["val_accuracy"] for _, row in sorted(done.items()) if "val_accuracy" in row]
    if beat:
        own = beat.val_accuracy if len(beat.runs) == 1 else None  # a group's is that of its best member
        accuracy, together = (accuracies or [own])[-1], max(1, len(beat.runs))
        return Running(name, label, beat.epoch, beat.epochs or None, beat.fraction, accuracy, together, done, beat)
    trainer = config.get("trainer")
    epochs = trainer.get("max_epochs") if isinstance(trainer, Mapping) else None
    epochs = epochs if isinstance(epochs, int) and epochs > 0 else None
    last = max(done, default=0)
    epoch = (min(last + 1, epochs) if epochs else last + 1) if last else None
    fraction = min(1.0, last / epochs) if last and epochs else None
    return Running(name, label, epoch, epochs, fraction, (accuracies or [None])[-1], 1, done)


def _epochs_done(place: Path, most: int) -> Epochs:
    try:
        return read_epochs(place / METRICS, most)
    except (ValueError, UserError):  # none yet, or it cannot be read now
        return {}
