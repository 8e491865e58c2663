"""The sweep that a process leads: what is planned, what is stored already, how far it is, how it ended."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import IO

from mnist_lightning.config import RunConfig
from mnist_lightning.config.labels import labels
from mnist_lightning.errors import BusyError, ConfigError, OutputError
from mnist_lightning.records import locks
from mnist_lightning.records.durable import remove_orphans, write_durably
from mnist_lightning.records.plan import planned_runs
from mnist_lightning.records.results import FINAL, RECORD, Found, RunResult, find_results
from mnist_lightning.records.run_directory import (
    GROUPS,
    QUARANTINE,
    holds_sweep,
    places_of,
    refuse_another_runs,
    stored_result,
)
from mnist_lightning.records.versions import versions
from mnist_lightning.sweep.attempts import expect
from mnist_lightning.sweep.live import LivePage
from mnist_lightning.sweep.outcome import outcome_of
from mnist_lightning.sweep.plan import check_space, checked_data, commit_plan, once_each, refuse_other_plan
from mnist_lightning.sweep.progress import Progress

_OF_SWEEP = "multirun.yaml"
# in what Hydra stores of a command of ours; one that only finds our groups has them by its searchpath
_OUR_COMMAND = b"- path: mnist_lightning.conf\n      schema: pkg\n      provider: main\n"


@dataclass
class Sweep:
    """A sweep, or a single run, as seen by the process that leads it; a launcher's workers lead none.

    `with Sweep() as sweep:` makes it the current one and gives its directory's lock back at the end.
    """

    directory: Path | None = None  # where the records are; None until it is known, and accepted by nobody else's plan
    # the plan's runs by fingerprint, as in its file, which may be gone when the sweep ends
    planned: dict[str, dict[str, str]] = field(default_factory=dict)
    to_do: list[RunConfig] = field(default_factory=list)  # those of the plan that this command is to train
    stored: list[tuple[RunConfig, RunResult]] = field(default_factory=list)  # the others, with their records
    began: bool = False  # whether anything was planned or run; an error before that is about the input
    collected: bool = False  # whether tables, figures and page are those of the records
    progress: Progress | None = None
    live: LivePage = field(default_factory=LivePage)
    is_run: bool = False  # a single run's directory is the record's own
    was_signalled: Callable[[], bool] = bool  # whether a signal asked this process to end; by default none did
    retraining: bool = False  # a single run with a finished record is being trained anew
    _lock: IO[str] | None = None
    _outer: Sweep | None = None  # the one in whose run this one is made, by a callback of the user's
    _put_lock_back: Callable[[], None] = lambda: None
    _made: list[Path] = field(default_factory=list)  # directories that were not there before, the innermost first
    _there: frozenset[str] | None = None  # what was in the directory before; None: nobody looked
    _written_over: dict[Path, tuple[bytes, int]] = field(default_factory=dict)  # files that Hydra replaces; their times

    def __enter__(self) -> Sweep:
        self._outer = current()
        _current.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        _current.set(self._outer)
        self.show_nothing()
        if self.planned and not self.to_do:
            self._put_lock_back()
        if self._lock is not None:
            self._lock.close()

    def show_nothing(self) -> None:
        """Ends the display of what is at work, and the process that makes the page meanwhile."""
        if self.progress:
            self.progress.end()
        self.live.stop()

    def enter(self, directory: Path) -> None:
        """Locks the directory for this process and takes it for the sweep's. Raises BusyError."""
        self._hold(directory)
        self.directory, self.is_run = directory, True

    def _hold(self, directory: Path) -> None:
        if self._lock is None:
            self._put_lock_back = locks.told_before(directory)
            self._lock = locks.hold(directory)

    def plan(self, root: Path, batches: Sequence[Sequence[RunConfig]]) -> list[list[bool]]:
        """Checks every configuration, locks the directory and commits the plan; True for each run that is to be done.

        The answer has the shape of `batches`. False: its record is stored already, or the same configuration stands
        earlier in the plan. Raises ConfigError, DataError, OutputError or BusyError before anything is trained.
        """
        configs = [config for batch in batches for config in batch]
        if not configs:
            raise ConfigError("sweep: has no runs (an empty range or choice); give each key at least one value")
        for config in configs:
            refuse_retraining(config)
        if root.is_dir() and self._lock is None:  # before torch is imported
            locks.refuse_held(root)
            refuse_other_plan(root, configs)
        data = checked_data(root, configs)
        try:
            self._hold(root)
            said = commit_plan(root, configs, data, versions())
        except OSError as error:
            raise OutputError(f"hydra.sweep.dir={root}: {error.strerror or error}; choose another directory") from error
        self.keep_somebodys(root)
        self.directory, self.began = root, True
        self.planned = {config.fingerprint: {"run_name": config.run_name} for config in configs}
        distinct = {config.fingerprint: config for config in configs}.values()
        remove_orphans(_directories_of(root, distinct))
        stored = {c.fingerprint: stored_result(root / c.run_name) for c in distinct}
        to_do = [c for c in distinct if not is_final(stored[c.fingerprint], c, root / c.run_name)]
        diverged = sum(record is not None and record.status == "diverged" for record in stored.values())
        check_space(root, [c for c in to_do if c.trainer.enable_checkpointing is not False])
        for config in to_do:
            expect(root / config.run_name)
        print("".join(f"{sentence}\n" for sentence in said), end="")
        self.to_do = to_do
        self.stored = [(c, r) for c in distinct if c not in to_do and (r := stored[c.fingerprint]) is not None]
        names = labels({c.run_name: c.identity() for c in distinct})
        self.progress = Progress(len(distinct), len(distinct) - len(to_do), names)
        self._announce(len(configs), diverged)
        if any(config.report.live for config in to_do):
            self.live.start(root)
        return once_each(batches, {config.fingerprint for config in to_do})

    def keep_somebodys(self, root: Path) -> None:
        """Keeps what Hydra has written over in a directory if another program, or a person, had put it there."""
        somebodys, self._written_over = self._written_over, {}
        for path, (before, time) in somebodys.items():
            with suppress(OSError):
                if path.read_bytes() == before:  # of the same command: as if it had not been written again
                    os.utime(path, ns=(time, time))
        if any(_OUR_COMMAND in before for before, _ in somebodys.values()):
            return
        for path, (before, _) in somebodys.items():
            if self.is_run == (path.name == _OF_SWEEP):  # of a sweep Hydra writes that alone here, of a run the others
                continue
            kept = root / QUARANTINE / f"{path.stem}.{hashlib.sha256(before).hexdigest()[:8]}{path.suffix}"
            write_durably(kept, before)
            whose = "run" if self.is_run else "sweep"
            print(f"{shown(path)}: not of a {whose} of ours; kept as {shown(kept)}", flush=True)

    def _announce(self, asked: int, diverged: int) -> None:
        planned, to_do = len(self.planned), len(self.to_do)
        if planned < asked:
            print(f"{asked - planned} of {asked} runs are repetitions and will run once")
        if planned > to_do:
            lost = f"{diverged} diverged and {'is' if diverged == 1 else 'are'} not tried again"
            what = f"recorded, of which {lost}" if diverged else "done"
            print(f"resuming: {planned - to_do} of {planned} {what}")

    def find(self, key: str, name: str, *, hydra_writes: bool = True) -> None:
        """Notes what there is of a directory before it is made; `key` is hydra.run.dir, or that of a sweep's.

        Raises ConfigError for an empty name, for which Hydra would take the working directory, and for a sweep's
        directory that is a single run's or the other way about; OutputError where a link is in the way.
        """
        if not name.strip():
            raise ConfigError(f"{key}={name}: empty; name a directory, or leave it out for a fresh one")
        directory = Path(name).resolve()
        if key != "hydra.run.dir" and (directory / RECORD).is_file():
            raise ConfigError(f"{key}={name}: holds a single run ({RECORD}); choose another directory")
        if key == "hydra.run.dir" and holds_sweep(directory):
            raise ConfigError(f"{key}={name}: holds a sweep; choose another directory, or that of one of its runs")
        self._made = list(takewhile(lambda path: not path.exists(), (directory, *directory.parents)))
        self._there = frozenset(path.name for path in directory.iterdir()) if directory.is_dir() else frozenset()
        if not hydra_writes:
            return
        files = [directory / _OF_SWEEP, *(directory / ".hydra").glob("*.yaml")]
        for path in (directory / ".hydra", *files):
            if path.is_symlink():
                what = "a link, and Hydra would write through it"
                raise OutputError(f"{shown(path)}: {what}; move it away, or choose another directory")
        self._written_over = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in files if p.is_file()}

    def remove_refused(self, directory: Path, of_hydra: str) -> None:
        """Gives back what Hydra wrote over in a refused directory, and removes what this command has made of it.

        Removed it is if nothing else is there and nobody at work.
        """
        with suppress(OSError, BusyError, OutputError):
            for path, (content, _) in self._written_over.items():
                write_durably(path, content)
            if not holds_only(directory, of_hydra):
                return
            self._hold(directory)
            if not holds_only(directory, of_hydra):
                return
            if directory.resolve() in self._made[:1]:
                shutil.rmtree(directory)
                for parent in self._made[1:]:
                    parent.rmdir()
            elif self._there is not None:
                for name in {of_hydra, locks.LOCK} - self._there:
                    _remove(directory / name)

    def collect(self) -> list[Path]:
        """Rebuilds tables, figures and page, or a single run's tables, from the records, if any; their paths."""
        from mnist_lightning import report
        from mnist_lightning.report.current import derived_files, inputs_of, mark
        from mnist_lightning.report.state import read_state
        from mnist_lightning.report.terminal import closing

        paths: list[Path] = []
        if self.directory is not None and self.directory.is_dir():
            inputs = inputs_of(self.directory)
            results, state = read_state(self.directory)
            is_run = (self.directory / RECORD).is_file()
            write = report.write_tables if is_run else report.write_report
            if results or self.live.was_started:  # its page must not stay the one of a sweep at work
                paths = derived_files(self.directory, inputs)
                if not paths:
                    paths = write(results, self.directory, state)
                    if state.is_whole and not state.refused:
                        mark(self.directory, inputs)
                print(closing(results, [shown(path) for path in paths], state, self.directory))
        self.collected = True
        return paths

    def _found(self) -> Found:
        return find_results(self.directory) if self.directory and self.directory.is_dir() else Found({}, {})

    def has_runs(self) -> bool:
        """Whether this process planned or began something, or there is a plan or a record in the directory."""
        if self.planned or self.directory is None or not self.directory.is_dir():
            return bool(self.planned)
        return bool(planned_runs(self.directory) or self._found().records or self._began_alone())

    def _began_alone(self) -> bool:
        """Whether this is a single run that passed all checks: then its configuration is written."""
        return self.is_run and self.directory is not None and (self.directory / "config.yaml").is_file()

    def outcome(self) -> tuple[int, str]:
        """The exit code and the last line, from what is on disk beside what was planned, see `outcome_of`."""
        assert self.directory is not None
        code, line = outcome_of(
            self.directory, self.planned, self._found(), alone=self._began_alone(), retraining=self.retraining
        )
        return code, f"{line}: {shown(self.directory)}"


# Hydra makes callbacks, sweepers and launchers itself and hands them nothing of ours: they find the sweep here.
# `with Sweep()` sets it in the command's process; in a launcher's worker there is none.
_current: ContextVar[Sweep | None] = ContextVar("current sweep", default=None)


def current() -> Sweep | None:
    """The sweep that this process leads, or None, as in a launcher's worker."""
    return _current.get()


def called(run_name: str) -> str:
    """What a run of the current sweep is called where people read; the name of its directory in a worker."""
    sweep = current()
    return sweep.progress.labels.get(run_name, run_name) if sweep and sweep.progress else run_name


def is_final(stored: RunResult | None, config: RunConfig, run_dir: Path) -> bool:
    """Whether the record stored in a run's directory need not be made again. Raises ConfigError for another run's."""
    if stored is None:
        return False
    refuse_another_runs(stored, run_dir, config.fingerprint)
    return stored.status in FINAL


def shown(where: Path) -> Path:
    """A path as it is told: from the working directory, where it is below that."""
    return where.relative_to(Path.cwd()) if where.is_relative_to(Path.cwd()) else where


def refuse_retraining(config: RunConfig) -> None:
    """Raises ConfigError where a run of a sweep was to be trained anew: a resumed sweep could not tell which were."""
    if config.retrain:
        way_out = "choose another hydra.sweep.dir, or retrain one run by hydra.run.dir"
        raise ConfigError(f"retrain=true: a sweep keeps its finished runs; {way_out}")


def holds_only(directory: Path, of_hydra: str) -> bool:
    """Whether nothing is in a directory but the lock and the one file or directory that Hydra has put there."""
    return {path.name for path in directory.iterdir()} <= {of_hydra, locks.LOCK}


def refuse_other_directory(overrides: Iterable[str], *, in_sweep: bool) -> None:
    """Raises ConfigError for a single run's directory given to a sweep, or the other way about: Hydra ignores it."""
    given, place = ("run", "a single run; a sweep") if in_sweep else ("sweep", "sweeps (-m); a single run")
    used = "sweep" if in_sweep else "run"
    for override in (o.lstrip("+") for o in overrides):
        if override.startswith(f"hydra.{given}.dir="):
            raise ConfigError(f"{override}: is for {place}'s directory is hydra.{used}.dir")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _directories_of(root: Path, configs: Iterable[RunConfig]) -> list[Path]:
    """The directories of a sweep that are ours to write in."""
    from mnist_lightning.report.seal import FIGURES

    return [root, root / FIGURES, root / GROUPS, *(p for c in configs for p in places_of(root / c.run_name))]
