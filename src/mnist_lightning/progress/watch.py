"""Looks at the runs at work once a second, from what each says in its directory, and shows how far they are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mnist_lightning.config import RunConfig
from mnist_lightning.progress.screen import Bar, Mode, mode_of
from mnist_lightning.progress.words import Part, clock, duration, fitted
from mnist_lightning.progress.work import Work, work_of
from mnist_lightning.records.heartbeat import HEARTBEAT, Heartbeat, forget_heartbeat, heartbeat_of

_LOOK_EVERY, _AT_LEAST_EVERY = 1.0, 5.0  # seconds between two looks
_LOOKING_SHARE = 0.05  # of the time at most, where a file system is slow
_LINE_EVERY = 58.0  # seconds between two lines of ours, where nothing is rewritten: a look more, and it is a minute
_FORETOLD_AFTER, _WORTH_FORETELLING = 10.0, 60.0  # seconds of training timed; seconds left
_LEAST_TIMED = 2.0  # seconds of a first run's training before anything is foretold by it
_TRIAL = Work(1.0, 0.2)  # of a search, whose networks nobody knows before
_MOST_NAMED = 4  # runs at work on one line


@dataclass
class Watched:
    """A run that is to be done: its name for people, its work, and how far it was when last looked at."""

    label: str
    work: Work
    beat: Heartbeat | None = None  # of it, or of the group it is trained with
    ended: bool = False

    @property
    def done(self) -> float:
        """The work done of it since its training began, or went on, in the process at work."""
        if self.beat is None:
            return 0.0
        return self.work.training * max(0.0, self.beat.fraction - self.beat.fraction_before)

    @property
    def left(self) -> float:
        """The work that is left of it."""
        if self.ended:
            return 0.0
        return self.work.total - (self.work.training * self.beat.fraction if self.beat else 0.0)


class Watch:
    """Shows the progress of runs while it is started, in a thread of its own, which only reads files.

    `runs` are those to be done, by directory; of a search, which plans none, those below `root` are found as they
    begin, and called what `name` says. `planned` and `stored` count all runs of the sweep and those that were done
    before; 0 planned: a single run.
    `on_end` is called in the thread with each directory whose run has ended, by `has_ended`, where others train:
    in-process runs are told by `end`.
    """

    def __init__(
        self,
        mode: Mode,
        runs: Mapping[Path, Watched],
        *,
        planned: int = 0,
        stored: int = 0,
        root: Path | None = None,
        has_ended: Callable[[Path], bool] | None = None,
        on_end: Callable[[Path], None] = lambda run_dir: None,
        name: Callable[[Path], str] = lambda run_dir: run_dir.name,
    ) -> None:
        self.mode, self.planned, self.ended, self.root = mode, planned, stored, root
        self.runs = {run_dir.absolute(): run for run_dir, run in runs.items()}
        self.has_ended, self.on_end, self.name = has_ended, on_end, name
        self._bar = Bar() if mode == "bar" else None
        self._started = self._printed = time.monotonic()
        self._work_done = 0.0  # of runs that have ended since
        self._training_since = time.time()  # seconds since 1970; of workers, once the first has begun
        self._seen = False
        self._foretold = False
        self._earlier: set[Path] = set()  # runs of a search that had ended before
        self._stop, self._stopped = threading.Event(), False
        self._lock = threading.RLock()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Watch:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> Watch:
        """Begins to look, and to show. What killed processes have left to be seen is removed."""
        for run_dir in [*self.runs, *self._at_work()]:
            forget_heartbeat(run_dir)
        self._earlier = self._ended()
        if self._bar:
            self._bar.start()
        self._thread.start()
        return self

    def stop(self) -> None:
        """Looks a last time, and leaves the screen as it was."""
        if self._stopped:
            return
        self._stop.set()
        try:
            self._thread.join()
            self.look()
            for run_dir, run in self.runs.items():
                if not run.ended:  # its worker was killed; one that is still at work says so again
                    forget_heartbeat(run_dir)
        finally:  # also where a second Ctrl-C comes meanwhile
            self._stopped = True
            if self._bar:
                self._bar.stop()

    def end(self, run_dir: Path, *, whole: bool = True) -> None:
        """Notes that a run has ended, `whole` or cut short, and that this has been printed."""
        with self._lock:
            if self.root:  # a trial may end before anybody has looked
                self.runs.setdefault(run_dir.absolute(), Watched(self.name(run_dir), _TRIAL))
            run = self.runs.get(run_dir.absolute())
            if run is None or run.ended:
                return
            before = run.beat.fraction_before if run.beat else 0.0
            self._work_done += run.work.total - run.work.training * before if whole else run.done
            run.ended, run.beat = True, None
            self.ended += 1
            self._printed = time.monotonic()
            if self._bar and self._thread.is_alive():  # or it would stand below the line of the run that has ended
                self.show()

    def _run(self) -> None:
        pause = _LOOK_EVERY
        while not self._stop.wait(pause):
            began = time.monotonic()
            self.look()
            self.show()
            pause = min(max(_LOOK_EVERY, (time.monotonic() - began) / _LOOKING_SHARE), _AT_LEAST_EVERY)

    def look(self) -> None:
        """Reads what the runs say, and notices those that have ended."""
        with self._lock:
            for run_dir in sorted(self._found() - self.runs.keys()):
                self.runs[run_dir] = Watched(self.name(run_dir), _TRIAL)
            beats: dict[str, Heartbeat] = {}
            for run_dir, run in self.runs.items():
                if not run.ended and (beat := heartbeat_of(run_dir)):
                    beats |= dict.fromkeys([run_dir.name, *beat.runs], beat)
            for run_dir, run in list(self.runs.items()):
                if not run.ended and (beat := beats.get(run_dir.name)):
                    run.beat = beat
                    self._training_since = min(self._training_since, beat.began) if self._seen else beat.began
                    self._seen = True
                if not run.ended and self.has_ended and self.has_ended(run_dir):
                    self.on_end(run_dir)
                    self.end(run_dir)  # also where its record cannot be read

    def _found(self) -> set[Path]:
        """The directories of a search in which somebody is at work, or was, and has ended before anybody looked."""
        return self._at_work() | (self._ended() - self._earlier)

    def _at_work(self) -> set[Path]:
        return {path.parent.absolute() for path in self.root.glob(f"*/{HEARTBEAT}")} if self.root else set()

    def _ended(self) -> set[Path]:
        if not self.root or not self.has_ended:
            return set()
        return {path.absolute() for path in self.root.glob("*/") if self.has_ended(path)}

    def seconds_left(self) -> float | None:
        """How long the rest will take at the pace of this command so far; None while there is none yet."""
        done = self._work_done + sum(run.done for run in self.runs.values())
        elapsed = time.time() - self._training_since
        if done <= 0 or (elapsed < _LEAST_TIMED and not self._work_done):
            return None
        unseen = max(0, self.planned - self.ended - sum(not run.ended for run in self.runs.values()))
        typical = sum(run.work.total for run in self.runs.values()) / len(self.runs)
        return elapsed / done * (sum(run.left for run in self.runs.values()) + unseen * typical)

    def _share(self) -> float:
        total = sum(run.work.total for run in self.runs.values())
        return 1 - sum(run.left for run in self.runs.values()) / total if total else 0.0

    def left(self) -> str:
        """`about 12 min left`, or nothing where that cannot be told."""
        seconds = self.seconds_left()
        return f"about {duration(seconds)} left" if seconds else ""

    def show(self) -> None:
        """Rewrites the line, or prints one if it is time."""
        with self._lock:
            if self._bar:
                running = clock(time.monotonic() - self._started)
                self._bar.write(fitted([*self.parts(), Part(running)], self._bar.width), self._share())
            elif self.mode == "lines":
                self._show_lines()

    def _show_lines(self) -> None:
        seconds = self.seconds_left()
        timed = self._seen and time.time() - self._training_since >= _FORETOLD_AFTER
        if timed and not self._foretold and seconds is not None:
            self._foretold = True
            if seconds > _WORTH_FORETELLING and not self._work_done:
                self._print(f"about {duration(seconds)} left, by the first batches")
        elif time.monotonic() - self._printed >= _LINE_EVERY:
            self._print(fitted(self.parts(), 200))

    def _print(self, line: str) -> None:
        print(line, flush=True)
        self._printed = time.monotonic()

    def parts(self) -> list[Part]:
        """What there is to say, and what can be left out first."""
        at_work = [run for run in self.runs.values() if run.beat is not None and not run.ended]
        beats = {tuple(run.beat.runs): run for run in at_work if run.beat}  # a group once
        left = Part(self.left().removeprefix("about "), 3)
        if not beats:
            over = self.ended >= self.planned if self.planned else all(run.ended for run in self.runs.values())
            return [Part(self._counted(0)), Part("evaluated" if over else "starting"), left]
        told = [_told(run) for run in beats.values()]
        if len(told) == 1:
            (label, epoch, accuracy), together = told[0], len(next(iter(beats)))
            count = self._counted(together if together > 1 else 1)
            return [Part(count), Part(label, 2), Part(epoch), Part(accuracy, 4), left]
        named = [Part(f"{label} {epoch}", 5 + i) for i, (label, epoch, _) in enumerate(told[:_MOST_NAMED])]
        return [Part(self._counted(0)), Part(f"{len(told)} at work"), *named, left]

    def _counted(self, at_work: int) -> str:
        """`run 3/18`; `0/18 done` where it is none, or several; nothing for a single run."""
        if not self.planned:
            return ""
        if at_work == 1 and self.ended < self.planned:
            return f"run {self.ended + 1}/{self.planned}"
        return f"{self.ended}/{self.planned} done"


def watched(
    configs: Mapping[Path, RunConfig],
    labels: Mapping[Path, str],
    mode: str,
    *,
    planned: int = 0,
    stored: int = 0,
    search: Path | None = None,
    has_ended: Callable[[Path], bool] | None = None,
    on_end: Callable[[Path], None] = lambda run_dir: None,
    name: Callable[[Path], str] = lambda run_dir: run_dir.name,
) -> Watch:
    """The watch over the runs of these configurations, by directory, in the way of `progress=mode`; see `Watch`."""
    runs = {run_dir: Watched(labels[run_dir], work_of(config)) for run_dir, config in configs.items()}
    chosen = mode_of(mode)
    if chosen == "bar" and any(config.trainer.enable_progress_bar for config in configs.values()):
        chosen = "none"  # Lightning's own has the terminal
    return Watch(
        chosen, runs, planned=planned, stored=stored, root=search, has_ended=has_ended, on_end=on_end, name=name
    )


def _told(run: Watched) -> tuple[str, str, str]:
    """Its name, or how many are trained together; its epoch; its accuracy on the validation set."""
    beat = run.beat
    assert beat is not None
    label = run.label if len(beat.runs) < 2 else f"{len(beat.runs)} together"
    share = f" {beat.batch / beat.batches:.0%}" if beat.batches else ""
    accuracy = f"val {beat.val_accuracy:.3f}" if beat.val_accuracy is not None else ""
    if beat.fraction >= 1:
        return label, f"epoch {beat.epoch}/{beat.epochs} evaluating", accuracy
    return label, f"epoch {beat.epoch}/{beat.epochs}{share}", accuracy
