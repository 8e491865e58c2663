"""The sweep that a process leads: what is planned, what is stored already, how far it is, how it ended."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from mnist_lightning.config import RunConfig
from mnist_lightning.errors import EXIT_OK, EXIT_REFUSED, EXIT_RUNS_MISSING, BusyError, ConfigError, OutputError
from mnist_lightning.records import locks
from mnist_lightning.records.durable import remove_orphans
from mnist_lightning.records.plan import planned_runs, read_plan, take_stock
from mnist_lightning.records.results import RECORD, Found, RunResult, find_results
from mnist_lightning.sweep.plan import FINAL, check_space, commit_plan, stored_result
from mnist_lightning.sweep.progress import Progress

ATTEMPTS = ".attempts"  # in a run's directory: how often it was begun


@dataclass
class Sweep:
    """A sweep, or a single run, as seen by the process that leads it; a launcher's workers lead none.

    `with Sweep() as sweep:` makes it the current one and gives its directory's lock back at the end.
    """

    directory: Path | None = None  # where the records are; None until it is known, and accepted by nobody else's plan
    # the plan's runs by fingerprint, as in its file, which may be gone when the sweep ends
    planned: dict[str, dict[str, str]] = field(default_factory=dict)
    began: bool = False  # whether anything was planned or run; an error before that is about the input
    collected: bool = False  # whether tables, figures and page are those of the records
    progress: Progress | None = None
    _lock: IO[str] | None = None

    def __enter__(self) -> Sweep:
        _current.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        _current.set(None)
        if self._lock is not None:
            self._lock.close()

    def enter(self, directory: Path) -> None:
        """Locks the directory for this process and takes it for the sweep's. Raises BusyError."""
        self._hold(directory)
        self.directory = directory

    def _hold(self, directory: Path) -> None:
        if self._lock is None:
            self._lock = locks.hold(directory)

    def plan(self, root: Path, batches: Sequence[Sequence[RunConfig]]) -> list[list[bool]]:
        """Checks every configuration, locks the directory and commits the plan; True for each run that is to be done.

        The answer has the shape of `batches`. False: its record is stored already, or the same configuration stands
        earlier in the plan. Raises ConfigError, DataError, OutputError or BusyError before anything is trained.
        """
        configs = [config for batch in batches for config in batch]
        if not configs:
            raise ConfigError("sweep: has no runs (an empty range or choice); give each key at least one value")
        from mnist_lightning.data.datasets import forget_data  # torch is not for --help and --cfg
        from mnist_lightning.training.record import versions
        from mnist_lightning.training.run import check

        forget_data()
        data = {config.data.name: check(config).sha256 for config in configs}
        try:
            self._hold(root)
            commit_plan(root, configs, data, versions())
        except OSError as error:
            raise OutputError(f"hydra.sweep.dir={root}: {error.strerror or error}; choose another directory") from error
        self.directory, self.began = root, True
        self.planned = {config.fingerprint: {"run_name": config.run_name} for config in configs}
        remove_orphans(root)
        distinct = {config.fingerprint: config for config in configs}.values()
        to_do = [c for c in distinct if not is_final(stored_result(root / c.run_name), c)]
        check_space(root, [c for c in to_do if c.trainer.enable_checkpointing is not False])
        for config in to_do:
            (root / config.run_name / ATTEMPTS).unlink(missing_ok=True)
        self._announce(len(configs), len(to_do))
        return _once_each(batches, {config.fingerprint for config in to_do})

    def _announce(self, asked: int, to_do: int) -> None:
        planned = len(self.planned)
        self.progress = Progress(planned, stored_at_start=planned - to_do)
        if planned < asked:
            print(f"{asked - planned} of {asked} runs are repetitions and will run once")
        if planned > to_do:
            print(f"resuming: {planned - to_do} of {planned} done")

    def remove_refused(self, root: Path) -> None:
        """Removes the directory of a refused sweep if it holds nothing of use, and nobody is at work there."""
        with suppress(OSError, BusyError):
            if holds_only(root, "multirun.yaml"):
                self._hold(root)
                if holds_only(root, "multirun.yaml"):
                    shutil.rmtree(root)

    def collect(self) -> None:
        """Rebuilds tables, figures and page, or a single run's tables, from the records, if there is one."""
        from mnist_lightning import report
        from mnist_lightning.report.state import read_state
        from mnist_lightning.report.terminal import closing

        if self.directory is not None and self.directory.is_dir():
            results, state = read_state(self.directory)
            is_run = (self.directory / RECORD).is_file()
            write = report.write_tables if is_run else report.write_report
            if results:
                print(closing(results, write(results, self.directory, state), state, self.directory))
        self.collected = True

    def _found(self) -> Found:
        return find_results(self.directory) if self.directory and self.directory.is_dir() else Found({}, {})

    def has_runs(self) -> bool:
        """Whether this process planned something, or there is a plan or a record in the directory."""
        if self.planned or self.directory is None or not self.directory.is_dir():
            return bool(self.planned)
        return bool(read_plan(self.directory) or self._found().records)

    def outcome(self) -> tuple[int, str]:
        """The exit code and the last line, from what is on disk beside what was planned.

        Without a plan every record counts; with one those of its runs, and the others are only named.
        """
        assert self.directory is not None
        found, planned = self._found(), self.planned | planned_runs(self.directory)
        stock = take_stock(planned, found.records)
        recorded = {r.fingerprint for r in stock.own}
        completed = {r.fingerprint for r in stock.own if r.status == "completed"}
        wanted = set(planned) or recorded
        counts = {status: sum(r.status == status for r in stock.own) for status in ("failed", "diverged")}
        counts |= {"missing": len(wanted - recorded), "not of this plan": len(stock.strangers)}
        counts |= {"copies": len(stock.copies), "damaged": len(found.refused)}
        wrong = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
        line = f"{len(completed)} of {len(wanted)} done" + (f" ({wrong})" if wrong else "")
        code = EXIT_REFUSED if found.refused else EXIT_OK
        everything = bool(wanted) and wanted <= completed
        return (code if everything else EXIT_RUNS_MISSING), f"{line}: {_shown(self.directory)}"


# Hydra makes callbacks, sweepers and launchers itself and hands them nothing of ours: they find the sweep here.
# `with Sweep()` sets it in the command's process; in a launcher's worker there is none.
_current: ContextVar[Sweep | None] = ContextVar("current sweep", default=None)


def current() -> Sweep | None:
    """The sweep that this process leads, or None, as in a launcher's worker."""
    return _current.get()


def is_final(stored: RunResult | None, config: RunConfig) -> bool:
    """Whether a stored record is of this configuration, and need not be made again."""
    return stored is not None and stored.status in FINAL and stored.fingerprint == config.fingerprint


def holds_only(directory: Path, of_hydra: str) -> bool:
    """Whether nothing is in a directory but the lock and the one file or directory that Hydra has put there."""
    return {path.name for path in directory.iterdir()} <= {of_hydra, locks.LOCK}


def _once_each(batches: Sequence[Sequence[RunConfig]], wanted: set[str]) -> list[list[bool]]:
    """True where a wanted configuration stands for the first time, by fingerprint, in the shape of `batches`."""
    left = set(wanted)

    def take(fingerprint: str) -> bool:
        taken = fingerprint in left
        left.discard(fingerprint)
        return taken

    return [[take(config.fingerprint) for config in batch] for batch in batches]


def _shown(where: Path) -> Path:
    return where.relative_to(Path.cwd()) if where.is_relative_to(Path.cwd()) else where
