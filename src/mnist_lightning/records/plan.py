"""The plan of a sweep as it is stored: which records there must be. The report reads it, a sweep commits it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_lightning.errors import RefusedError
from mnist_lightning.records.reading import TELLING, unreadable
from mnist_lightning.records.results import RECORD, RunResult, to_json
from mnist_lightning.records.search import read_search

PLAN = "plan.json"
_RUN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+-]{0,79}")  # what `RunConfig.run_name` can be


def is_run_name(text: str) -> bool:
    """Whether a run of ours can have this name, so that it may be used as the name of its directory."""
    return _RUN_NAME.fullmatch(text) is not None


def read_plan(root: Path) -> dict[str, Any]:
    """{runs: {fingerprint: {run_name, config}}, data: {...}, versions: {...}}; empty where there is no plan.

    Raises RefusedError for a file that is none, UnreadableError for one that cannot be read now.
    """
    path = root / PLAN
    try:
        if path.exists() and not path.is_file():
            raise ValueError("not a file")
        plan = json.loads(path.read_text(encoding="utf-8"))
        runs = plan["runs"]
        if not all(isinstance(run["run_name"], str) and isinstance(run["config"], dict) for run in runs.values()):
            raise ValueError("its runs have no name or no config")
        if not isinstance(plan.get("data", {}), dict):
            raise ValueError("its data have no names")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, OSError) and error.errno not in TELLING:
            raise unreadable(path, error) from error
        what = f"{error}".partition(": line")[0]
        raise RefusedError(f"{path}: no plan of a sweep ({what:.40}); move it away and run again") from error
    return plan


def planned_runs(root: Path) -> dict[str, dict[str, Any]]:
    """{fingerprint: {run_name, config}} of the plan, or of the trials that a search has drawn so far.

    Empty where there is neither, as beside the record of a single run. Raises RefusedError for a file that is none.
    """
    if (root / RECORD).is_file():
        return {}
    if runs := read_plan(root).get("runs"):
        return runs
    search = read_search(root)
    return search.runs if search else {}


@dataclass(frozen=True)
class Stock:
    """The records of a sweep's directory beside its plan: those that count, and by directory those that do not.

    A copy is the record of a run that has another directory, or lies there a second time. A stranger is the record of
    no planned run.
    """

    own: list[RunResult]
    copies: dict[str, RunResult]
    strangers: dict[str, RunResult]


def take_stock(planned: Mapping[str, Mapping[str, Any]], records: Mapping[str, RunResult]) -> Stock:
    """Sorts records, given by the directory each lies in, by what they are to the plan: {fingerprint: {run_name}}.

    Without a plan every record counts, but an exact copy of another counts once.
    """
    stock = Stock([], {}, {})
    seen: dict[str, set[str]] = {}
    for place, record in sorted(records.items(), key=lambda item: (item[0] != item[1].run_name, item[0])):
        if planned and record.fingerprint not in planned:
            stock.strangers[place] = record
            continue
        if planned:
            is_copy = place != planned[record.fingerprint]["run_name"]
        else:
            alike = seen.setdefault(record.fingerprint, set())
            is_copy = (text := to_json(record)) in alike
            alike.add(text)
        if is_copy:
            stock.copies[place] = record
        else:
            stock.own.append(record)
    stock.own.sort(key=lambda record: record.run_name)
    return stock
