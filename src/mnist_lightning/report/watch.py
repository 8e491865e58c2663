"""Makes a sweep's page again and again while the sweep runs, at so little cost that the training keeps its time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_lightning.records.heartbeat import HEARTBEAT
from mnist_lightning.records.locks import LOCK, is_held
from mnist_lightning.records.plan import PLAN
from mnist_lightning.records.results import RECORD, to_json
from mnist_lightning.records.run_directory import METRICS, STAGING
from mnist_lightning.report.live import Live
from mnist_lightning.report.running import running_runs
from mnist_lightning.report.state import State, read_state
from mnist_lightning.report.write import write_live

if TYPE_CHECKING:
    from mnist_lightning.report.figures import Figures

_GLANCE = 1.0  # seconds between two looks at whether somebody leads the sweep
_IDLE = 5.0  # seconds between two looks at files that have not changed
_TOLD = (PLAN, RECORD, METRICS, HEARTBEAT, f"{STAGING}/{METRICS}")  # by which a run's directory tells how far it is


@dataclass(frozen=True)
class Pace:
    """How often a page is made: at most once in `every` seconds, and at these shares of one processor.

    `share` is for the pages after the first, `share_of_figures` besides for their figures, which cost most and change
    only with a record. The process that a sweep has started draws none in its first `no_figures` seconds.
    """

    every: float = 60.0
    share: float = 0.0075
    share_of_figures: float = 0.0025
    no_figures: float = 300.0


_USUAL = Pace()


def watch(directory: Path, leader: int | None = None, pace: Pace = _USUAL, tell: Callable[[str], object] = str) -> None:
    """Writes the page of a sweep's directory when it is due and something has changed.

    Returns when every planned run has a record and nobody is at work; the last page is the caller's. With `leader`, the
    id of the process that started this one, it returns when that has ended; a sweep that is over before the first page
    is due has then paid for none. `tell` is given a line for each page. Raises OutputError.
    """
    watched = Watched(directory, pace, tell)
    if leader:
        watched.due, watched.figures_due = time.monotonic() + pace.every, time.monotonic() + pace.no_figures
    while not (_has_ended(leader) if leader else watched.is_over()):
        watched.look()
        time.sleep(min(_GLANCE, pace.every))


def is_over(directory: Path, state: State) -> bool:
    """Whether every planned run has a record and nobody is at work, or there is nothing. Changes nothing."""
    return state.is_whole and not _is_at_work(directory, state)


def _is_at_work(directory: Path, state: State) -> bool:
    return is_held(directory / LOCK) or bool(running_runs(directory, state))


def _has_ended(leader: int) -> bool:
    """Whether the process that started this one is gone: then another has adopted it. Windows tells nothing of that."""
    return os.getppid() != leader


@dataclass
class Watched:
    """A directory that is watched: what the last page was made of, what it cost, and when the next one is due."""

    root: Path
    pace: Pace
    tell: Callable[[str], object] = str  # nobody is told
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
        self.state_due = time.monotonic() + (time.process_time() - paid) / self.pace.share
        return over

    def look(self) -> None:
        """Makes the page if it is due and something has changed."""
        if time.monotonic() < self.due or not self.root.is_dir():
            return
        self.due = time.monotonic() + min(self.pace.every, _IDLE)
        seen = signs_of(self.root)
        if seen != self.seen:
            self._make()
            self.seen = seen

    def _make(self) -> None:
        began, paid = time.monotonic(), time.process_time()
        results, state = read_state(self.root)
        if not results and state.planned is None and not running_runs(self.root, state):  # a search that begins
            return
        told, is_first = [to_json(result) for result in results], self.figures is None
        kept = self._kept(told)
        older = self.drawn if kept and told != self.drawn_of else None
        made = Live(datetime.now().astimezone(), older, at_work=_is_at_work(self.root, state))
        self.figures = write_live(results, self.root, state, made, kept)
        recorded = len(results) if state.planned is None else state.planned - len(state.unfinished) - state.undrawn
        of = "" if state.planned is None else f" of {state.planned}"
        self.tell(f"{made.as_of:%H:%M:%S}  {recorded}{of} runs have a record")
        cost = time.process_time() - paid
        if kept is None:
            self.drawn, self.drawn_of = made.as_of, told
            self.figures_due = time.monotonic() + (cost / self.pace.share_of_figures if results else 0.0)
        # the first page pays for imports, and one with new figures for those, which have their own share
        counted = 0.0 if is_first or kept is None else cost
        self.due = began + max(self.pace.every, counted / self.pace.share)

    def _kept(self, told: Sequence[str]) -> Figures | None:
        """The figures to show again: those of the same records, or older ones while new ones would cost too much."""
        from mnist_lightning.report.figures import HEADINGS, Figures

        if time.monotonic() < self.figures_due:
            later = dict.fromkeys(HEADINGS, "drawn later, so that the training keeps its time")
            return self.figures or Figures([], later)
        return self.figures if self.drawn_of == told else None


def signs_of(root: Path) -> dict[Path, object]:
    """What tells how far the runs below a directory are: when each file was changed and how large it is, and the locks.

    Two looks that give the same have seen the same. A lock's sign is whether it is held. Changes nothing.
    """
    signs: dict[Path, object] = {}
    for directory in _directories(root):
        for name in _TOLD:
            with suppress(OSError):
                status = (path := directory / name).stat()
                signs[path] = (status.st_mtime_ns, status.st_size)
        if directory / RECORD not in signs:
            signs[directory / LOCK] = is_held(directory / LOCK)
    return signs


def _directories(root: Path) -> list[Path]:
    with suppress(OSError), os.scandir(root) as entries:
        return [root, *sorted(root / entry.name for entry in entries if entry.is_dir())]
    return []
