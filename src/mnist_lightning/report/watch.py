"""Makes a sweep's page again and again while the sweep runs, at so little cost that the training keeps its time."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from mnist_lightning.records.heartbeat import HEARTBEAT
from mnist_lightning.records.locks import LOCK, is_held
from mnist_lightning.records.plan import PLAN
from mnist_lightning.records.results import RECORD, RunResult, to_json
from mnist_lightning.records.run_directory import METRICS, STAGING
from mnist_lightning.report.figures import Figures
from mnist_lightning.report.live import Live
from mnist_lightning.report.running import running_runs
from mnist_lightning.report.state import State, read_state
from mnist_lightning.report.write import write_live

EVERY = 60.0  # seconds between two pages, at least
_SHARE = 0.01  # of one processor, at most, for the pages after the first
_SHARE_OF_FIGURES = 0.005  # besides, for their figures: they cost most, and change only with a record
_GLANCE = 1.0  # seconds between two looks at whether somebody leads the sweep
_IDLE = 5.0  # seconds between two looks at files that have not changed
_TOLD = (PLAN, RECORD, METRICS, HEARTBEAT, f"{STAGING}/{METRICS}")  # by which a run's directory tells how far it is


def watch(directory: Path, every: float = EVERY, leader: int | None = None) -> None:
    """Writes the page of a sweep's directory, at most once in `every` seconds and if something has changed.

    Returns when every planned run has a record and nobody is at work; the last page is the caller's. With `leader`, the
    id of the process that started this one, it returns when that has ended. Raises OutputError.
    """
    with suppress(OSError, AttributeError):  # Windows has no such call
        os.nice(19)
    watched = _Watched(directory, every)
    while not (_has_ended(leader) if leader else watched.is_over()):
        watched.look()
        time.sleep(min(_GLANCE, every))


def is_over(directory: Path, state: State) -> bool:
    """Whether every planned run has a record and nobody is at work, or there is nothing. Changes nothing."""
    return state.is_whole and not _is_at_work(directory, state)


def _is_at_work(directory: Path, state: State) -> bool:
    return is_held(directory / LOCK) or bool(running_runs(directory, state))


def _has_ended(leader: int) -> bool:
    """Whether the process that started this one is gone: then another has adopted it. Windows tells nothing of that."""
    return os.getppid() != leader


@dataclass
class _Watched:
    """A directory that is watched: what the last page was made of, what it cost, and when the next one is due."""

    root: Path
    every: float
    due: float = 0.0
    figures_due: float = 0.0
    state_due: float = 0.0
    figures: Figures | None = None
    drawn: datetime | None = None
    drawn_of: Sequence[str] = ()  # the records in the figures
    seen: Mapping[Path, object] = field(default_factory=dict)

    def is_over(self) -> bool:
        """Whether the sweep is over; while nobody leads it, its runs are looked at as often as that costs little."""
        if is_held(self.root / LOCK) or time.monotonic() < self.state_due:
            return False
        paid = time.process_time()
        over = is_over(self.root, read_state(self.root)[1])
        self.state_due = time.monotonic() + (time.process_time() - paid) / _SHARE
        return over

    def look(self) -> None:
        """Makes the page if it is due and something has changed."""
        if time.monotonic() < self.due or not self.root.is_dir():
            return
        self.due = time.monotonic() + min(self.every, _IDLE)
        seen = self._signs()
        if seen != self.seen:
            self._make()
            self.seen = seen

    def _make(self) -> None:
        began, paid = time.monotonic(), time.process_time()
        results, state = read_state(self.root)
        if not results and state.planned is None and not running_runs(self.root, state):  # a search that begins
            return
        figures = self._figures_due(results)
        if figures is None:
            self.drawn = None
        made = Live(datetime.now().astimezone(), self.drawn, at_work=_is_at_work(self.root, state))
        self.figures = write_live(results, self.root, state, made, figures)
        cost = time.process_time() - paid
        if figures is None:
            self.drawn, self.drawn_of = made.as_of, [to_json(r) for r in results]
            self.figures_due = time.monotonic() + cost / _SHARE_OF_FIGURES
            cost = 0.0  # what remains of it is counted with the next page
        self.due = began + max(self.every, cost / _SHARE)

    def _figures_due(self, results: Sequence[RunResult]) -> Figures | None:
        """The figures that were drawn, while they are those of the records or new ones would cost too much."""
        same = self.drawn_of == [to_json(r) for r in results]
        return self.figures if same or time.monotonic() < self.figures_due else None

    def _signs(self) -> dict[Path, object]:
        """What tells how far the runs are: when each file was changed and how large it is, which locks are held."""
        signs: dict[Path, object] = {}
        for directory in self._directories():
            for name in _TOLD:
                with suppress(OSError):
                    status = (path := directory / name).stat()
                    signs[path] = (status.st_mtime_ns, status.st_size)
            if directory / RECORD not in signs:
                signs[directory / LOCK] = is_held(directory / LOCK)
        return signs

    def _directories(self) -> list[Path]:
        with suppress(OSError), os.scandir(self.root) as entries:
            return [self.root, *sorted(self.root / entry.name for entry in entries if entry.is_dir())]
        return []
