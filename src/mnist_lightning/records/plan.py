"""The plan of a sweep as it is stored: which records there must be. The report reads it, a sweep commits it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mnist_lightning.errors import RefusedError
from mnist_lightning.records.reading import TELLING, unreadable

PLAN = "plan.json"


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
        raise RefusedError(f"{path}: no plan of a sweep ({error!s:.40}); delete it and run again") from error
    return plan
