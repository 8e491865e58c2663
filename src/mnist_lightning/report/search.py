"""A search as a report shows it: its trials one after another, the best of them, which parameters mattered."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mnist_lightning.config.labels import short_keys
from mnist_lightning.errors import UserError
from mnist_lightning.records.plan import read_plan
from mnist_lightning.records.results import RECORD
from mnist_lightning.records.search import Search, Trial, read_search
from mnist_lightning.report.frame import runs
from mnist_lightning.report.table import Column, Table

_FEWEST = 5  # completed trials of which the parameters' importance is told
FEW = 30  # below, it is told with a warning
_OBJECTIVES = {"accuracy_test": "test accuracy", "accuracy_val": "validation accuracy"}
_STATES = {"": "no record"}


@dataclass(frozen=True)
class Told:
    """A trial beside its record: `state` is the record's status, `value` what it was searched for, NaN without one."""

    trial: Trial
    state: str
    value: float
    place: str

    @property
    def count(self) -> int:
        """Which trial it is, from 1."""
        return self.trial.number + 1


@dataclass(frozen=True, eq=False)
class Searched:
    """The trials of a search by number, and {key: importance}, the highest first, which add up to 1.

    Where there are no importances `why_not` says why.
    """

    search: Search
    trials: list[Told]
    importances: dict[str, float] = field(default_factory=dict)
    why_not: str = ""

    @property
    def objective(self) -> str:
        """What the trials were searched for, `test accuracy`."""
        return _OBJECTIVES.get(self.search.objective, self.search.objective)

    @property
    def completed(self) -> list[Told]:
        """The trials that were trained to their end, with what they were searched for."""
        return [told for told in self.trials if told.state == "completed" and math.isfinite(told.value)]

    @property
    def best(self) -> Told | None:
        """The first of the best completed trials; None without any."""
        sign = 1 if self.search.direction == "maximize" else -1
        return max(self.completed, key=lambda told: (sign * told.value, -told.trial.number), default=None)

    @property
    def sentence(self) -> str:
        """`Best trial: 7 of 20 by test accuracy, 0.9712 (lr 0.0021, optimizer adam).`"""
        if (best := self.best) is None:
            return f"No trial of {self.search.total:,} was completed yet."
        names = short_keys(self.search.space)
        drawn = ", ".join(f"{names.get(key, key)} {_text(value)}" for key, value in best.trial.params.items())
        of = f"{best.count:,} of {self.search.total:,}"
        return f"Best trial: {of} by {self.objective}, {best.value:.4f} ({drawn})."

    @property
    def how(self) -> str:
        """By which sampler and pruner the trials were drawn and given up."""
        pruner = "none" if self.search.pruner_given is None else self.search.pruner
        told = f"Sampler: {self.search.sampler}; pruner: {pruner}. Optuna itself counts the trials from 0."
        n = sum(bool(t.trial.fingerprint) for t in self.trials) - len(self.search.runs)
        again = f" {n:,} trial{'s' * (n > 1)} drew what an earlier one had drawn, which was trained once."
        return told + (again if n else "")


def read_searched(frame: pd.DataFrame, root: Path, problems: list[str], *, judged: bool = True) -> Searched | None:
    """The search in a directory beside its records, as `frame_of` has them; None where there is none.

    What cannot be read is named in `problems`. Without `judged` the importances are left out, which need Optuna.
    """
    try:
        if (root / RECORD).is_file() or read_plan(root) or (search := read_search(root)) is None:
            return None
    except UserError as error:
        problems.append(str(error).replace(f"{root}/", ""))
        return None
    records = {run.fingerprint: run for run in runs(frame)}
    trials = [_told(trial, records.get(trial.fingerprint), search.objective) for trial in search.trials]
    importances, why_not = _importances(search, trials) if judged else ({}, "not asked for")
    return Searched(search, trials, importances, why_not)


def _told(trial: Trial, record: Any, objective: str) -> Told:
    if record is None:
        return Told(trial, "refused" if trial.refused else _STATES[""], math.nan, "")
    return Told(trial, record.status, float(getattr(record, objective, math.nan)), record.place_on_disk)


def _importances(search: Search, trials: list[Told]) -> tuple[dict[str, float], str]:
    """{key: importance} by Optuna's PED-ANOVA of the completed trials, or why there are none."""
    done = [t for t in trials if t.state == "completed" and math.isfinite(t.value)]
    if len(search.space) < 2:
        return {}, "a single parameter was drawn"
    if len({t.trial.fingerprint for t in done}) < _FEWEST or len({t.value for t in done}) < 2:
        return {}, f"fewer than {_FEWEST} different trials were completed"
    try:
        import optuna

        evaluator = optuna.importance.PedAnovaImportanceEvaluator
    except (ImportError, AttributeError):
        return {}, 'it is computed by Optuna 4 or later: pip install "mnist-lightning[optuna]"'
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = _study_of(search, done)
            found = optuna.importance.get_param_importances(study, evaluator=evaluator())
    except Exception as error:  # of arithmetic, for trials that are too much alike
        return {}, f"Optuna cannot tell it of these trials ({error})"
    names = short_keys(search.space)
    known = {names.get(key, key): float(value) for key, value in found.items() if math.isfinite(value)}
    return known, "" if any(known.values()) else "no parameter made a difference"


def _study_of(search: Search, done: list[Told]) -> Any:
    """The completed trials as a study in memory."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(direction=search.direction)
        to_distribution = optuna.distributions.json_to_distribution
        space = {key: to_distribution(json.dumps(distribution)) for key, distribution in search.space.items()}
        make = optuna.trial.create_trial
        study.add_trials([make(value=t.value, params=t.trial.params, distributions=space) for t in done])
    finally:
        optuna.logging.set_verbosity(before)
    return study


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def trials_table(searched: Searched | None) -> Table:
    """The trials in the order in which they were drawn, with the best so far after each; empty for a grid."""
    if searched is None:
        return Table("Search", [], [])
    names = short_keys(searched.search.space)
    columns = [
        Column("Trial", "0", "which one, in the order in which trials were drawn; Optuna counts from 0"),
        Column("State", about="completed, pruned, diverged, failed; no record: running or missing"),
        Column(searched.objective.capitalize(), "0.0000", "what is searched for, of the trial"),
        Column("Best so far", "0.0000", "of the completed trials up to this one"),
        *(Column(name, about=f"drawn value of {key}") for key, name in names.items()),
        Column("Run", about="its directory", key="run_name"),
    ]
    rows = [
        [t.count, t.state, *(None if math.isnan(v) else v for v in (t.value, best)),
         *(t.trial.params.get(key) for key in names), t.trial.run_name]
        for t, best in zip(searched.trials, best_so_far(searched), strict=True)
    ]  # fmt: skip
    best = searched.best
    marks = {
        i: "best" if t is best else t.state
        for i, t in enumerate(searched.trials)
        if t is best or t.state in ("diverged", "failed")
    }
    note = f"{searched.sentence} {searched.how}"
    return Table("Search", columns, rows, note, marks, [t.place for t in searched.trials])


def best_so_far(searched: Searched) -> list[float]:
    """The best value of the completed trials up to each one; NaN before the first."""
    better = max if searched.search.direction == "maximize" else min
    known, best = {id(t) for t in searched.completed}, math.nan
    found = []
    for told in searched.trials:
        if id(told) in known:
            best = told.value if math.isnan(best) else better(best, told.value)
        found.append(best)
    return found
