"""A search as it is stored beside its study: what it draws from, how many trials it wants, and those drawn so far.

`search.json` is written by the search, at each trial that is drawn, and read by whoever must do without Optuna, as the
report and the exit code. Optuna's storage is the truth; the next command writes this file again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mnist_lightning.errors import RefusedError
from mnist_lightning.records.durable import write_durably
from mnist_lightning.records.reading import TELLING, read_regular, unreadable

SEARCH, JOURNAL, CLAIMS = "search.json", "search.journal", ".search"
Direction = Literal["maximize", "minimize"]
DONE = ("completed", "pruned")  # the statuses of a trial that ended as a search lets it end
_LARGEST = 2**28  # bytes; a trial has about two thousand


@dataclass(frozen=True)
class Trial:
    """A trial: its number, from 0; the values it drew, by key; the run it stands for.

    Without a fingerprint its values make no configuration, and nothing was trained; `refused` says why.
    """

    number: int
    params: dict[str, Any]
    run_name: str = ""
    fingerprint: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    refused: str = ""


@dataclass(frozen=True)
class Search:
    """What a search is, and its trials by number.

    `space` has Optuna's distribution of each key as its JSON; `objective` is the column of the record that is told to
    the study, `direction` is maximize or minimize. `storage` is None for the journal in the directory. `sampler` and
    `pruner` are their names with their arguments, `pruner_given` is what a run makes its pruner of, None without one.
    """

    n_trials: int
    space: dict[str, dict[str, Any]]
    direction: Direction
    objective: str
    sampler: str
    pruner: str
    study_name: str
    storage: str | None = None
    pruner_given: Any = None
    trials: list[Trial] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many trials there are to be: those that are wanted, or more where more were drawn before."""
        return max(self.n_trials, len(self.trials))

    @property
    def undrawn(self) -> int:
        """How many trials are still to be drawn, or drew values that make no configuration."""
        return self.total - sum(bool(trial.fingerprint) for trial in self.trials)

    @property
    def runs(self) -> dict[str, dict[str, Any]]:
        """The distinct runs of the trials, {fingerprint: {run_name, config}}, as a plan has those of a grid."""
        return {t.fingerprint: {"run_name": t.run_name, "config": t.config} for t in self.trials if t.fingerprint}


def write_search(root: Path, search: Search) -> None:
    """Writes search.json, unless it is there as it would be written."""
    path, content = root / SEARCH, (json.dumps(asdict(search), default=str) + "\n").encode()
    try:
        if read_regular(path, _LARGEST) == content:
            return
    except (OSError, ValueError):  # there is none, or none of ours
        pass
    write_durably(path, content)


def read_search(root: Path) -> Search | None:
    """The search in a directory; None where there is none.

    Raises RefusedError for a file that is none, UnreadableError for one that cannot be read now.
    """
    path = root / SEARCH
    try:
        stored = json.loads(read_regular(path, _LARGEST))
        trials = [Trial(**trial) for trial in stored.pop("trials")]
        search = Search(**stored, trials=trials)
        if not (isinstance(search.n_trials, int) and all(isinstance(t.run_name, str) for t in trials)):
            raise ValueError("not as a search writes it")
        return search
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, OSError) and error.errno not in TELLING:
            raise unreadable(path, error) from error
        what = f"{error}".partition(": line")[0]
        raise RefusedError(f"{path}: no search of ours ({what:.40}); delete it and run again") from error
