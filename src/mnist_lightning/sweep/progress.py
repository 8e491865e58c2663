"""How far a sweep is: its counts, the line per finished run, and what is watched meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mnist_lightning.config import RunConfig
from mnist_lightning.errors import UserError
from mnist_lightning.progress.screen import folded
from mnist_lightning.progress.watch import Watch, watched
from mnist_lightning.records.plan import read_plan
from mnist_lightning.records.results import RECORD, RunResult, load
from mnist_lightning.records.run_directory import TRACEBACK
from mnist_lightning.records.search import read_search
from mnist_lightning.sweep.attempts import has_ended
from mnist_lightning.sweep.search import called

# Launchers that tell this process when a run has ended; of any other it looks at the records
TELLING = ("BasicLauncher", "FusedLauncher", "LocalLauncher", "SlurmLauncher")


@dataclass
class Progress:
    """Progress of the sweep, or of the single run, led by this process.

    `planned` runs, 0 for a single one; `done` of them have a record; `labels` are their names for people by those of
    their directories; those of a search, which are not known before, are made of the keys that are `drawn`.
    `watch` shows what is at work once something is.
    """

    planned: int = 0
    stored_at_start: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    done: int = 0
    watch: Watch | None = None
    drawn: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.done = self.stored_at_start

    def begin(
        self,
        runs: Mapping[Path, RunConfig],
        mode: str,
        *,
        search: Path | None = None,
        others_train: bool = False,
    ) -> None:
        """Shows from now on what is at work; `search` is the directory of a search, whose runs nobody knows before.

        With `others_train`, in processes that do not print, this one prints the line of each run that has ended.
        """
        if self.watch is None:
            named = {run_dir: self.labels.get(run_dir.name, run_dir.name) for run_dir in runs}
            self.watch = watched(
                runs, named, mode, planned=self.planned, stored=self.done, search=search,
                has_ended=has_ended if others_train else None, on_end=self._found, name=self._called,
            )  # fmt: skip
            self.watch.start()

    def found(self, done: int) -> None:
        """Notes how many runs are done, those of other processes among them."""
        self.done = done
        if self.watch:
            self.watch.ended = done

    def finished(self, result: RunResult, run_dir: Path) -> None:
        """Counts a run that has got its record, and prints its line; once."""
        self.done += 1
        if self.watch:
            self.watch.end(run_dir, whole=result.status == "completed")
        print(folded(line(result, self._called(run_dir), self)), flush=True)

    def _called(self, run_dir: Path) -> str:
        return self.labels.get(run_dir.name) or called(run_dir, self.drawn)

    def _found(self, run_dir: Path) -> None:
        with suppress(UserError):  # damaged: the end of the sweep says so
            self.finished(load(run_dir / RECORD), run_dir)

    def left(self) -> str:
        """`about 1 min left`, from the pace so far; empty where there is none yet."""
        return self.watch.left() if self.watch and self.planned > self.done > self.stored_at_start else ""

    def end(self) -> None:
        """Shows nothing any more."""
        if self.watch:
            self.watch.stop()


def line(result: RunResult, label: str | None = None, progress: Progress | None = None) -> str:
    """The line of a finished run: `3 of 18  RMSprop mse 0.001  accuracy 0.9812  4.2 s  about 1 min left`."""
    parts = [label or result.run_name]
    if result.status == "failed":
        is_alone = progress is not None and not (progress.planned or progress.drawn)
        parts += [f"failed: {result.error}", f"see {'' if is_alone else f'{result.run_name}/'}{TRACEBACK}"]
    else:
        diverged = f"{result.status}, " if result.status in ("diverged", "pruned") else ""
        test = "test " if result.val_size else ""  # the tables rank by that on images held out
        parts += [f"{diverged}{test}accuracy {result.accuracy_test:.4f}", f"{result.duration_seconds:.1f} s"]
    if progress is None or not (progress.planned or progress.done > 1):
        return "  ".join(parts)
    done, planned = progress.done, progress.planned
    parts.insert(0, f"{done:>{len(str(planned))}} of {planned}" if planned >= done else f"{done}")
    if result.engine != "fused" and (left := progress.left()):  # a group is done when its first line is printed
        parts.append(left)
    return "  ".join(parts)


def of_worker(sweep_dir: Path) -> Progress:
    """The counts as a worker finds them on the disk, for the line in its log."""
    search = read_search(sweep_dir)
    planned = search.total if search else len(read_plan(sweep_dir).get("runs", {}))
    return Progress(planned, count_records(sweep_dir))


def count_records(sweep_dir: Path) -> int:
    """How many runs of a sweep have a record, beside those that are tried again."""
    return sum(has_ended(record.parent) for record in sweep_dir.glob(f"*/{RECORD}"))
