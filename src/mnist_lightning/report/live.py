"""What a report has while a sweep runs: when it was made, and status.json for machines."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mnist_lightning.records.results import RunResult
from mnist_lightning.report.running import Running
from mnist_lightning.report.state import State

STATUS = "status.json"
REFRESH = 30  # seconds after which a live page loads itself anew
_SCHEMA = 1


@dataclass(frozen=True)
class Live:
    """When a page was made, by a process that will make it again, and whether somebody was at work on the sweep then.

    `figures_as_of` is when its figures were drawn, if that was of other records. Local times.
    """

    as_of: datetime
    figures_as_of: datetime | None = None
    at_work: bool = True
    refresh: int = REFRESH

    @property
    def clock(self) -> str:
        """`2026-11-26 12:03:05`: whoever finds the page open the next day sees that it is an old one."""
        return f"{self.as_of:%Y-%m-%d %H:%M:%S}"

    @property
    def figures_clock(self) -> str:
        """The time at which older figures were drawn; empty where they are those of the records."""
        return f"{self.figures_as_of:%H:%M:%S}" if self.figures_as_of else ""


def status_json(
    results: Sequence[RunResult], root: Path, state: State, running: Iterable[Running], live: Live | None
) -> bytes:
    """How far a sweep is, as JSON: counts of its records and of its runs without one, and each run at work.

    `state` is `running` where a process is at work, `finished` where every planned run has a record, and else
    `incomplete`. `live` is None for a report that nobody will make again.
    """
    now = list(running)
    at_work = bool(now) or (live is not None and live.at_work)
    what = "running" if at_work else "finished" if state.is_whole else "incomplete"
    counts = Counter(r.status for r in results)
    told = {
        "schema": _SCHEMA,
        "as_of": (live.as_of if live else datetime.now()).astimezone(UTC).isoformat(timespec="seconds"),
        "directory": str(root.resolve()),
        "state": what,
        "planned": state.planned,
        **{status: counts[status] for status in ("completed", "diverged", "failed", "pruned")},
        "running": [_run(run) for run in now],
        "missing": len(state.unfinished) - state.count("running") + state.undrawn,
        **{what.replace(" ", "_"): state.count(what) for what in ("interrupted", "never begun", "refused")},
    }
    return (json.dumps(told, indent=1, allow_nan=False) + "\n").encode()


def last_status_json(results: Sequence[RunResult], root: Path, state: State, running: Iterable[Running]) -> bytes:
    """The same for a report that nobody will make again: where nothing but the time has changed, what is there."""
    new = status_json(results, root, state, running, None)
    with suppress(OSError, ValueError, TypeError, RecursionError):
        old = (root / STATUS).read_bytes()
        if json.loads(old) | {"as_of": ""} == json.loads(new) | {"as_of": ""}:
            return old
    return new


def _run(run: Running) -> dict[str, Any]:
    told = {name: value for name, value in asdict(run).items() if name not in ("epochs_done", "beat")}
    return {n: None if isinstance(v, float) and not math.isfinite(v) else v for n, v in told.items()}
