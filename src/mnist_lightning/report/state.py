"""How far a sweep is: its plan beside the records that are there, which runs are at work, what does not count."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mnist_lightning.config.keys import loss_label
from mnist_lightning.config.labels import labels
from mnist_lightning.errors import UserError, one_line
from mnist_lightning.records import locks
from mnist_lightning.records.plan import is_run_name, planned_runs, read_plan, take_stock
from mnist_lightning.records.results import RECORD, RunResult, find_results, to_json
from mnist_lightning.records.search import read_search

MOST_NAMED = 6
_LONGEST_NAME = 100
_NOT_OURS = {".hydra", locks.LOCK}  # what is in a run's directory before the run begins
What = Literal["running", "interrupted", "refused", "never begun"]
WHY: dict[What, str] = {
    "running": "at work",
    "interrupted": "begun, and no record left; the same command goes on",
    "refused": "a damaged, unreadable or another run's record; see About",
    "never begun": "never begun; the same command trains it",
}


@dataclass(frozen=True)
class Unfinished:
    """A planned run without a record: its directory, its configuration as planned, and why there is none."""

    run_name: str
    config: Mapping[str, Any]
    what: What
    label: str = ""  # for people: the keys that vary in the plan

    @property
    def optimizer(self) -> str:
        """Its name in tables, with which the run's name begins."""
        return self.run_name.partition(f"_{loss_label(str(self.value('loss')))}_lr")[0]

    def value(self, *keys: str) -> Any:
        """A value of the configuration by its keys, as a cell can hold it; None where the plan has none."""
        found: Any = self.config
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found if found is None or isinstance(found, (bool, int, float)) else str(found)


@dataclass(frozen=True)
class State:
    """What is there and what is not. Without a plan `planned` is None, and nothing is known to be missing.

    Records that do not count, by directory: `strangers` are of no planned run, `copies` of one that has another
    directory, `renamed` those of them whose own directory is not there. `places` is {record as JSON: its directory}
    of those that count and lie in another than their name's. `problems` are sentences about files that could not be
    read, `refused` the errors of records.
    """

    planned: int | None = None
    unfinished: list[Unfinished] = field(default_factory=list)
    strangers: dict[str, RunResult] = field(default_factory=dict)
    copies: dict[str, RunResult] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    refused: list[UserError] = field(default_factory=list)
    places: Mapping[str, str] = field(default_factory=dict)
    renamed: dict[str, RunResult] = field(default_factory=dict)
    undrawn: int = 0  # trials of a search that are still to be drawn

    @property
    def is_whole(self) -> bool:
        """Whether nothing is known to be missing."""
        return not self.unfinished and not self.undrawn

    def count(self, *what: str) -> int:
        """How many planned runs without a record are in one of these states."""
        return sum(run.what in what for run in self.unfinished)

    def parts(self, why: bool = True) -> list[str]:
        """`2 running`, `13 missing (1 interrupted, 12 never begun)`: what belongs into a list of counts."""
        words = {"interrupted": "interrupted", "refused": "with a wrong record", "never begun": "never begun"}
        detail = [f"{n:,} {word}" for what, word in words.items() if (n := self.count(what))]
        running, missing = self.count("running"), len(self.unfinished) - self.count("running")
        parts = [f"{running:,} running"] if running else []
        parts += [f"{self.undrawn:,} not drawn"] if self.undrawn else []
        return parts + ([f"{missing:,} missing" + f" ({', '.join(detail)})" * why] if missing else [])

    def odd(self, most: int = MOST_NAMED) -> dict[str, str]:
        """{subject: sentence} about what is there and does not count, and what could not be read."""
        copies = [f"{place} (of {r.run_name})" for place, r in self.copies.items() if place not in self.renamed]
        renamed = [f"{place} (is {r.run_name})" for place, r in self.renamed.items()]
        it = "it" if len(renamed) == 1 else "them"
        told = {
            "Not of this plan": (list(self.strangers), "neither counted nor ranked"),
            "Copies": (copies, "a record counts only in the directory of its run"),
            "Renamed": (renamed, f"rename {it} back, or the sweep will train {it} again"),
        }
        return {subject: f"{enumerated(names, most)}; {what}" for subject, (names, what) in told.items() if names} | (
            {"Left out": "; ".join(self.problems[:most])} if self.problems else {}
        )


def enumerated(names: Iterable[str], most: int = MOST_NAMED) -> str:
    """`a, b and 3 others`."""
    safe = [one_line(name, 2 * _LONGEST_NAME) for name in names]
    more = len(safe) - most
    return ", ".join(safe[:most]) + (f" and {more:,} other{'s' * (more > 1)}" if more > 0 else "")


def read_state(directory: str | Path) -> tuple[list[RunResult], State]:
    """Reads a sweep's, or a run's, directory: the records that count, ordered by run name, and the state.

    A damaged record or plan is named in `problems`. Raises FileNotFoundError where there is no such directory.
    """
    found = find_results(directory)
    return state_of(found.records, Path(directory), found.refused)


def state_of(
    records: Mapping[str, RunResult], root: Path, refused: Mapping[str, UserError] | None = None
) -> tuple[list[RunResult], State]:
    """The records that count, given by the directory each lies in, and the state of the sweep in `root`."""
    refused = refused or {}
    plan, problems = _plan(root)
    stock = take_stock(plan, records)
    recorded = {record.fingerprint for record in stock.own}
    called = labels({fingerprint: run["config"] for fingerprint, run in plan.items()})
    unfinished = [
        Unfinished(
            run["run_name"], run["config"], _what(root, run["run_name"], {*records, *refused}), called[fingerprint]
        )
        for fingerprint, run in plan.items()
        if fingerprint not in recorded
    ]
    problems += [str(error).replace(f"{root}/", "") for error in refused.values()]
    own = {id(record) for record in stock.own}
    search = None if problems or not plan or read_plan(root) else read_search(root)
    return stock.own, State(
        len(plan) + (search.undrawn if search else 0) if plan else None,
        unfinished,
        stock.strangers,
        stock.copies,
        problems,
        [*refused.values()],
        {to_json(record): place for place, record in records.items() if id(record) in own and place != record.run_name},
        {} if not plan else _renamed(root, stock.copies, recorded),
        search.undrawn if search else 0,
    )


def _renamed(root: Path, copies: Mapping[str, RunResult], recorded: set[str]) -> dict[str, RunResult]:
    """The one copy of each run that has neither a record of its own nor its directory: that was renamed."""
    lost = [r.fingerprint for r in copies.values() if r.fingerprint not in recorded]
    return {
        place: r
        for place, r in copies.items()
        if lost.count(r.fingerprint) == 1 and is_run_name(r.run_name) and not (root / r.run_name).exists()
    }


def _plan(root: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The planned runs by fingerprint, and what is wrong with the plan."""
    try:
        return planned_runs(root), []
    except UserError as error:
        what = str(error).replace(f"{root}/", "").partition(";")[0]
        return {}, [f"{what}: which runs are missing is not known"]


def _what(root: Path, run_name: str, places: set[str]) -> What:
    """Why a planned run has no record; `places` are the directories with a record, which is not this run's."""
    if run_name in places:
        return "refused"
    where = root / run_name
    if not is_run_name(run_name) or not where.is_dir():
        return "never begun"
    # one that has ended since the records were read is on its way into the next report
    if locks.is_held(where / locks.LOCK) or (where / RECORD).is_file():
        return "running"
    try:
        begun = {path.name for path in where.iterdir()} - _NOT_OURS
    except OSError:
        return "interrupted"
    return "interrupted" if begun else "never begun"


def in_terminal(state: State, head: str, width: int) -> list[str]:
    """Lines of at most `width` characters: `head` where runs are unfinished, and what does not count."""
    told = [] if state.is_whole else [head]
    told += [f"{subject.lower()}: {sentence}" for subject, sentence in state.odd().items()]
    return [
        line for text in told for line in textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False)
    ]
