"""How a sweep ended: its exit code and last line, from what is on disk beside what was planned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnist_lightning.errors import EXIT_OK, EXIT_REFUSED, EXIT_RUNS_MISSING
from mnist_lightning.records.plan import planned_runs, read_plan, take_stock
from mnist_lightning.records.results import RECORD, Found
from mnist_lightning.records.search import DONE, Search, read_search

_ALONE = "the run itself"


def outcome_of(
    directory: Path, planned: Mapping[str, Mapping[str, Any]], found: Found, *, alone: bool, retraining: bool
) -> tuple[int, str]:
    """The exit code, and `17 of 18 done (1 failed)`.

    Without a plan every record counts; with one those of its runs, and the others are only named. Of a search each
    trial counts, also where two of them drew the same run. `alone`: a single run was begun; `retraining`: it has not
    got its new record.
    """
    stock = take_stock({**planned, **planned_runs(directory)}, found.records)
    status = {r.fingerprint: r.status for r in stock.own}
    wanted = Counter(set(planned) | set(planned_runs(directory)) or set(status) or ({_ALONE} if alone else ()))
    search = _search_in(directory)
    undrawn = search.undrawn if search else 0
    if search:
        wanted = Counter(trial.fingerprint for trial in search.trials if trial.fingerprint)
    ended = Counter({what: sum(wanted[f] for f in wanted if status.get(f) == what) for what in set(status.values())})
    counts = {what: ended[what] for what in ("pruned", "failed", "diverged")}
    missing = sum(wanted[fingerprint] for fingerprint in wanted if fingerprint not in status) + undrawn
    copies = len(stock.copies)
    counts |= {"missing": missing, "not of this plan": len(stock.strangers)}
    counts |= {"copy" if copies == 1 else "copies": copies, "damaged": len(found.refused)}
    wrong = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
    if retraining:
        wrong = "not trained anew"
    done, total = sum(ended[what] for what in DONE), sum(wanted.values()) + undrawn
    code = EXIT_REFUSED if found.refused else EXIT_OK
    line = f"{done} of {total} done" + (f" ({wrong})" if wrong else "")
    return (code if total and done == total and not retraining else EXIT_RUNS_MISSING), line


def _search_in(directory: Path) -> Search | None:
    return None if (directory / RECORD).is_file() or read_plan(directory) else read_search(directory)
