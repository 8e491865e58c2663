"""The pruner of a search, as a run asks it: from the study on the disk, so that it does not matter who trains where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_lightning.records.search import Search, read_search

if TYPE_CHECKING:
    import optuna


@dataclass
class SearchJudge:
    """Reports a trial's validation losses to the study, and asks its pruner.

    Optuna knows one direction for a study: where the highest value is looked for, losses are reported as negative.
    """

    name: str
    trial: optuna.Trial
    sign: float

    def is_hopeless(self, epoch: int, val_loss: float) -> bool:
        """Whether the pruner would end the trial after this epoch, from 1."""
        from mnist_lightning.sweep.search_storage import quiet_optuna

        with quiet_optuna():
            if epoch not in self.trial.storage.get_trial(self.trial._trial_id).intermediate_values:
                self.trial.report(self.sign * val_loss, epoch)
            return self.trial.should_prune()


def judge_of(fingerprint: str, sweep_dir: Path) -> SearchJudge | None:
    """The judge of a run in a sweep's directory; None unless that is a search with a pruner, which has drawn the run.

    Raises RefusedError where the study cannot be read.
    """
    search = read_search(sweep_dir)
    number = _running(search, fingerprint) if search and search.pruner_given else None
    if search is None or number is None:
        return None
    import optuna

    from mnist_lightning.sweep.search_samplers import pruner_of
    from mnist_lightning.sweep.search_storage import open_study, quiet_optuna

    with quiet_optuna():
        study = open_study(sweep_dir, search.storage, search.study_name, search.direction)
        study.sampler = optuna.samplers.RandomSampler()  # of a pruner's part of the study; nothing is drawn
        pruner, frozen = pruner_of(search.pruner_given), study.get_trials(deepcopy=False)[number]
        if pruner is None or frozen.state.is_finished():  # one that failed is trained once more as it would have been
            return None
        study.pruner = pruner
        return SearchJudge(search.pruner, optuna.Trial(study, frozen._trial_id), _sign(search))


def _sign(search: Search) -> float:
    return -1.0 if search.direction == "maximize" else 1.0


def _running(search: Search, fingerprint: str) -> int | None:
    """The number of the first trial that stands for this run."""
    return next((trial.number for trial in search.trials if trial.fingerprint == fingerprint), None)
