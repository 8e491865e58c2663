"""What the page shows of a sweep's or run's directory, as JSON; made again only where a file has changed."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lightning.config.labels import labels
from mnist_lightning.errors import UserError, one_line
from mnist_lightning.progress.words import duration
from mnist_lightning.records.heartbeat import Heartbeat
from mnist_lightning.records.plan import PLAN, planned_runs
from mnist_lightning.records.results import RECORD, Found, find_results
from mnist_lightning.records.run_directory import BEST
from mnist_lightning.report.curves import read_curve, run_directory
from mnist_lightning.report.running import Running, is_at_work, running_runs
from mnist_lightning.report.state import State, state_of
from mnist_lightning.report.watch import signs_of

if TYPE_CHECKING:
    from mnist_lightning.report.ranking import Ranking

MOST_ROWS = 1000  # runs in the table, the best ones
_MOST_RUNNING, _MOST_FINISHED = 16, 5  # curves
_MOST_POINTS = 300  # of a curve
_MOST_FAILURES = 50
_LONGEST_NOTICE = 2000  # characters
_SHARE = 0.02  # of one processor at most, while somebody looks at the page
_LEAST_TIMED = 2.0  # seconds of training before anything is foretold by them


@dataclass(frozen=True)
class _Recorded:
    """What the records and the plan tell, which changes only when a run has ended."""

    found: Found
    ranking: Ranking
    table: Mapping[str, Any]
    curves: Sequence[Mapping[str, Any]]
    directories: Mapping[str, Path]


@dataclass
class Overview:
    """The state of a directory for the page. `runs` is where each run lies, by the name that the page has for it."""

    root: Path
    share: float = _SHARE
    runs: Mapping[str, Path] = field(default_factory=dict)
    _body: bytes = b""
    _due: float = 0.0  # by time.monotonic()
    _signs: Mapping[Path, object] = field(default_factory=dict)
    _recorded: _Recorded | None = None

    def look(self) -> bytes:
        """The state as JSON; what was told before, where nothing has changed, or another look would cost too much."""
        if self._body and time.monotonic() < self._due:
            return self._body
        paid = time.thread_time()
        try:
            self._look()
        except Exception as error:  # whatever somebody has put there, the page says so and goes on
            self._recorded, self._signs = None, {}
            what = (
                str(error) if isinstance(error, (UserError, FileNotFoundError)) else f"cannot be read now ({error!r})"
            )
            self._tell({"directory": one_line(str(self.root)), "state": "gone", "problem": one_line(what)})
        self._due = time.monotonic() + (time.thread_time() - paid) / self.share
        return self._body

    def _look(self) -> None:
        signs = signs_of(self.root)
        if self._signs and signs == self._signs:
            return
        records = {path: sign for path, sign in signs.items() if path.name in (RECORD, PLAN)}
        before = {path: sign for path, sign in self._signs.items() if path.name in (RECORD, PLAN)}
        if self._recorded is None or records != before:
            self._recorded = _recorded(self.root)
        known = self._recorded
        _, state = state_of(known.found.records, self.root, known.found.refused)
        running = running_runs(self.root, state)
        places = {identity(run.run_name): _place(self.root, run) for run in running}
        self.runs = {**known.directories, **places}
        self._tell(_told(self.root, known, state, running))
        self._signs = signs

    def _tell(self, told: Mapping[str, Any]) -> None:
        self._body = json.dumps(told, separators=(",", ":"), allow_nan=False).encode()


def identity(place: str) -> str:
    """The name that the page has for a run, from that of its directory, which the page never tells the server."""
    return hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def seconds_left(beat: Heartbeat | None, now: float) -> float | None:
    """How long a training will still take at the pace of its process so far; None while nothing tells."""
    if beat is None:
        return None
    elapsed, done = now - beat.began, beat.fraction - beat.fraction_before
    return elapsed / done * (1 - beat.fraction) if done > 0 and elapsed >= _LEAST_TIMED else None


def _place(root: Path, run: Running) -> Path:
    """Where a run at work lies: in a sweep's directory, or in its own."""
    return root / run.run_name if (root / run.run_name).is_dir() else root


def _recorded(root: Path) -> _Recorded:
    from mnist_lightning.report.frame import frame_of
    from mnist_lightning.report.ranking import Ranking

    found = find_results(root)
    results, state = state_of(found.records, root, found.refused)
    ranking = Ranking(frame_of(results, root, state.places))
    ordered = [*ranking.ranked["place_on_disk"], *ranking.unranked["place_on_disk"]]
    directories = {identity(place): where for place in ordered if (where := run_directory(root, place))}
    names = _names(root, ranking)
    curves = [
        {"id": identity(place), "label": names[place], "running": False, "points": points}
        for place in ranking.typical["place_on_disk"].head(_MOST_FINISHED)
        if (points := _points(_finished_curve(root, place)))
    ]
    return _Recorded(found, ranking, _table(ranking, names, directories), curves, directories)


def _names(root: Path, ranking: Ranking) -> dict[str, str]:
    """{directory: name for people} of the runs with a record: by the keys that vary in the plan, or of the setting."""
    try:
        planned = {key: run["config"] for key, run in planned_runs(root).items()}
    except UserError:
        planned = {}
    called, frame = labels(planned), ranking.frame
    seeds = [f" seed {seed}" if ranking.several_seeds else "" for seed in frame["seed"]]
    rows = zip(frame["place_on_disk"], frame["fingerprint"], frame["setting"], seeds, strict=True)
    return {place: one_line(called.get(key) or f"{setting}{seed}", 80) for place, key, setting, seed in rows}


def _finished_curve(root: Path, place: str) -> list[tuple[float, float]]:
    curve = read_curve(root, place)
    return list(zip(curve.get("epoch", []), curve.get("val_accuracy", []), strict=False))


def _points(curve: Sequence[tuple[float, float]]) -> list[list[float]]:
    """At most some hundred points of a curve, the last one among them."""
    known = [[epoch, value] for epoch, value in curve if math.isfinite(epoch) and math.isfinite(value)]
    step = -(-len(known) // _MOST_POINTS)
    return known[:: -step or None][::-1] if known else []


def _table(ranking: Ranking, names: Mapping[str, str], directories: Mapping[str, Path]) -> dict[str, Any]:
    """The runs with a record, best first, their failures, and which is the best."""
    from mnist_lightning.report.frame import runs
    from mnist_lightning.report.runs_table import cell_text, runs_table

    if not len(ranking.frame):
        return {"columns": [], "rows": [], "more": 0, "failures": [], "more_failures": 0, "best": None, "rule": ""}
    table = runs_table(ranking, linked=False)
    rows = [
        {
            "id": identity(row.place),
            "label": names.get(row.place, ""),
            "mark": row.mark,
            "drawable": (where := directories.get(identity(row.place))) is not None and (where / BEST).is_file(),
            "cells": [cell_text(v, head.number_format) for v, head in zip(row.cells, table.columns, strict=True)],
        }
        for row in table.rows[:MOST_ROWS]
    ]
    failed = runs(ranking.unranked)
    failures = [
        {"label": names.get(r.place_on_disk, ""), "what": r.verdict, "why": one_line(r.error or r.why)} for r in failed
    ]
    return {
        "columns": [{"name": h.name, "about": h.about, "classes": h.classes} for h in table.columns],
        "rows": rows,
        "more": max(0, len(table.rows) - MOST_ROWS),
        "failures": failures[:_MOST_FAILURES],
        "more_failures": max(0, len(failures) - _MOST_FAILURES),
        "best": identity(ranking.best.place_on_disk) if ranking.best is not None else None,
        "rule": ranking.rule.sentence,
    }


def _told(root: Path, known: _Recorded, state: State, running: Sequence[Running]) -> dict[str, Any]:
    from mnist_lightning.report.about import counts

    n, is_begun = len(known.ranking.frame), bool(state.planned or len(known.ranking.frame) or running)
    curves = [
        {"id": identity(run.run_name), "label": one_line(run.label, 80), "running": True, "points": points}
        for run in running
        if (points := _points(run.curve("val_accuracy")))
    ]
    at_work = bool(running) or is_at_work(root)
    odd = [f"{subject}: {sentence}" for subject, sentence in state.odd().items()]
    return {
        "directory": one_line(str(root.resolve())),
        "state": "running" if at_work else "finished" if is_begun and state.is_whole else "incomplete",
        "problem": "" if is_begun else "No plan, no record and no run at work is here yet.",
        "counts": counts(known.ranking, state) if is_begun else "Nothing here yet",
        "done": n,
        "planned": state.planned,
        "notices": [one_line(text, _LONGEST_NOTICE) for text in odd],
        "running": [_running(root, run) for run in running],
        "curves": [*curves[:_MOST_RUNNING], *known.curves],
        **known.table,
    }


def _running(root: Path, run: Running) -> dict[str, Any]:
    left = seconds_left(run.beat, time.time())
    is_known = run.fraction is not None and math.isfinite(run.fraction)
    accuracy = run.val_accuracy if run.val_accuracy is not None and math.isfinite(run.val_accuracy) else None
    return {
        "id": identity(run.run_name),
        "label": one_line(run.label, 80),
        "drawable": (_place(root, run) / BEST).is_file(),
        "how_far": "evaluates" if is_known and run.fraction == 1 else run.how_far,
        "fraction": run.fraction if is_known else None,
        "left": f"about {duration(left)}" if left is not None and math.isfinite(left) and left >= 1 else "",
        "together": run.together,
        "accuracy": accuracy,
    }
