"""One search's study, at which several processes may be at work: which trials to run next, and how those ended.

Whatever is drawn or told happens under one lock. A trial is drawn into Optuna's storage before it is trained, and told
after its record is on the disk; so what a killed process leaves is a running trial that nobody claims, and it goes on
with the next command, or with another that is at work.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from mnist_lightning.config import RunConfig
from mnist_lightning.errors import BusyError, ConfigError
from mnist_lightning.records import locks
from mnist_lightning.records.results import FINAL, RunResult
from mnist_lightning.records.run_directory import stored_result
from mnist_lightning.records.search import CLAIMS, Search, Trial, write_search
from mnist_lightning.sweep.attempts import has_ended
from mnist_lightning.sweep.search_samplers import Samplers
from mnist_lightning.sweep.search_space import Space

AGAIN = "again"  # the attribute of a trial that stands for a failed one, by its number, which was trained once more


@dataclass
class SearchStudy:
    """The trials of a search in `root`; `compose` makes a configuration of a trial's overrides."""

    root: Path
    study: optuna.Study
    search: Search
    space: Space
    samplers: Samplers
    compose: Callable[[Sequence[str]], RunConfig]
    _claims: dict[int, IO[str] | None] = field(default_factory=dict)
    _begun: set[int] = field(default_factory=set)  # by this command, which begins each once
    _trials: dict[int, Trial] = field(default_factory=dict)
    _to_repeat: list[int] = field(default_factory=list)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lock of the study for a block; waits for another process."""
        with locks.waiting(self.root / CLAIMS / "study.lock"):
            yield

    def begin(self) -> int:
        """Tells the study what was recorded before, notes what failed or is gone, and says how many trials are done."""
        with self.locked():
            self._settle()
            finished = [t for t in self._own() if t.state.is_finished()]
            self._to_repeat = [t.number for t in finished if self._trial(t).fingerprint and not self._is_final(t)]
            self._write()
            return self.done()

    def done(self) -> int:
        """How many trials have ended and are not to be repeated."""
        left = {number for number in self._to_repeat if number not in self._begun or number in self._claims}
        return sum(t.state.is_finished() and t.number not in left for t in self._own())

    def next(self, most: int) -> list[Trial]:
        """At most so many trials for this process to run now; none where there are none, or others are at work on them.

        What was cut off comes first, then what failed before, then what is drawn.
        """
        with self.locked():
            self._settle()
            taken: list[FrozenTrial] = []
            own = self._own()
            busy = {self._trial(t).run_name for t in own if self._is_busy(t)}
            left = [t for t in own if t.state == TrialState.RUNNING or t.number in self._to_repeat]
            for trial in left:
                if len(taken) < most and self._claim(trial, busy):
                    taken.append(trial)
            count = len(own)
            while len(taken) < most and count < self.search.n_trials:
                trial, count = self._drawn(), count + 1
                if not self._tell_if_known(trial) and self._claim(trial, busy):
                    taken.append(trial)
            self._write()
            return [self._trial(t) for t in taken]

    def settle(self) -> None:
        """Tells the study how trials ended, and gives back the claims of this process."""
        with self.locked():
            self._settle()
            self.release()
            self._write()

    def release(self) -> None:
        """Gives back the claims of this process."""
        for number, file in self._claims.items():
            shutil.rmtree(self._place(number), ignore_errors=True)
            if file is not None:
                file.close()
        self._claims.clear()

    def others_at_work(self) -> list[str]:
        """Who is at work on a trial elsewhere."""
        with self.locked():
            running = [t for t in self._own() if t.state == TrialState.RUNNING]
            return [holder for t in running if (holder := self._holder(t.number))]

    def _own(self) -> list[FrozenTrial]:
        """The trials that count, by number: one that failed and was trained again counts once."""
        return [t for t in self.study.get_trials(deepcopy=False) if AGAIN not in t.user_attrs]

    def _drawn(self) -> FrozenTrial:
        """Draws a trial, into the storage."""
        number = len(self.study.get_trials(deepcopy=False))
        self.study.sampler = self.samplers.of_trial(number)
        return self._filled(self.study.ask())

    def _filled(self, trial: optuna.Trial) -> FrozenTrial:
        """The trial with all of its values: those that it has stay, the others are drawn, as they would have been.

        For that each key has a sampler of its own; what is drawn of all keys together is drawn first.
        """
        _ = trial.relative_params
        for key, d in self.space.drawn.items():
            self.study.sampler = self.samplers.of_trial(trial.number, key)
            if isinstance(d, CategoricalDistribution):
                trial.suggest_categorical(key, d.choices)
            elif isinstance(d, IntDistribution):
                trial.suggest_int(key, d.low, d.high, step=d.step, log=d.log)
            else:
                assert isinstance(d, FloatDistribution)  # Optuna has no others
                trial.suggest_float(key, d.low, d.high, step=d.step, log=d.log)
        return self._frozen(trial.number)

    def _frozen(self, number: int) -> FrozenTrial:
        return next(t for t in self.study.get_trials(deepcopy=False) if t.number == number)

    def _settle(self) -> None:
        """Completes trials that were cut off while they were drawn, and tells those whose record is there."""
        for trial in self._own():
            if trial.state == TrialState.RUNNING and trial.params.keys() != self.space.drawn.keys():
                self.study.sampler = self.samplers.of_trial(trial.number)
                trial = self._filled(optuna.Trial(self.study, trial._trial_id))  # as `ask` made it
            if trial.state == TrialState.RUNNING:
                self._tell_if_known(trial)
            elif trial.state == TrialState.FAIL:
                self._tell_again(trial)

    def _tell_if_known(self, trial: FrozenTrial) -> bool:
        """Tells the study how a trial ended, if it did: its record is there, or its values make no configuration."""
        if not (known := self._trial(trial)).fingerprint:
            print(f"trial {trial.number + 1}: {known.refused}; not trained", flush=True)
            self._tell(trial, None)
            return True
        if (record := self._record(trial)) is None:
            return False
        self._tell(trial, record)
        return True

    def _tell(self, trial: FrozenTrial, record: RunResult | None) -> None:
        self.study.sampler = self.samplers.to_tell()
        state, value = self._outcome(record)
        self.study.tell(trial.number, value, state=state)

    def _tell_again(self, trial: FrozenTrial) -> None:
        """Adds a trial to the study for one that failed, was trained once more, and then did not fail."""
        record = self._record(trial)
        attempts = [t for t in self.study.get_trials(deepcopy=False) if t.user_attrs.get(AGAIN) == trial.number]
        if record is None or record.status == "failed" or attempts:
            return
        state, value = self._outcome(record)
        if state == TrialState.COMPLETE:
            self.study.add_trial(
                optuna.trial.create_trial(
                    state=state,
                    value=value,
                    params=trial.params,
                    distributions=trial.distributions,
                    user_attrs={AGAIN: trial.number},
                )
            )

    def _outcome(self, record: RunResult | None) -> tuple[TrialState, float | None]:
        """How a trial ended for Optuna; a run without an accuracy, as one that diverged, is the worst that can be."""
        if record is None or record.status == "failed":
            return TrialState.FAIL, None
        if record.status == "pruned":
            return TrialState.PRUNED, None
        value = getattr(record, self.search.objective)
        worst = 0.0 if self.search.direction == "maximize" else 1.0
        return TrialState.COMPLETE, value if record.status == "completed" and math.isfinite(value) else worst

    def _trial(self, trial: FrozenTrial) -> Trial:
        """A trial with the run that it stands for."""
        if trial.number not in self._trials:
            known = Trial(trial.number, dict(trial.params))
            try:
                config = self.compose(self.space.job(trial.params))
                known = replace(
                    known, run_name=config.run_name, fingerprint=config.fingerprint, config=config.identity()
                )
            except ConfigError as error:
                known = replace(known, refused=str(error).partition(";")[0])
            self._trials[trial.number] = known
        return self._trials[trial.number]

    def _run_dir(self, trial: FrozenTrial) -> Path:
        return self.root / self._trial(trial).run_name

    def _record(self, trial: FrozenTrial) -> RunResult | None:
        """The record of a trial's run, unless that is one of an earlier command's which is tried again."""
        return stored_result(self._run_dir(trial)) if has_ended(self._run_dir(trial)) else None

    def _is_final(self, trial: FrozenTrial) -> bool:
        record = self._record(trial)
        return record is not None and record.status in FINAL

    def _place(self, number: int) -> Path:
        return self.root / CLAIMS / str(number)

    def _holder(self, number: int) -> str:
        """The other process that has claimed a trial; empty if none has."""
        return "" if number in self._claims else locks.holder_of(self._place(number) / locks.LOCK)

    def _is_busy(self, trial: FrozenTrial) -> bool:
        return trial.number in self._claims or bool(self._holder(trial.number))

    def _claim(self, trial: FrozenTrial, busy: set[str]) -> bool:
        """Claims a trial for this process, unless somebody is at work on its run, or this command has begun it."""
        run_name = self._trial(trial).run_name
        if run_name in busy or trial.number in self._begun:
            return False
        try:
            self._claims[trial.number] = locks.hold(self._place(trial.number))
        except BusyError:
            return False
        self._begun.add(trial.number)
        busy.add(run_name)
        return True

    def _write(self) -> None:
        """Writes search.json, with the trials that were drawn."""
        trials = [self._trial(t) for t in self._own() if t.params.keys() == self.space.drawn.keys()]
        self.search = replace(self.search, trials=trials)
        write_search(self.root, self.search)
