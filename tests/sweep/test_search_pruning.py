"""sweep/pruning.py and training/pruning.py: a run asks the study on the disk whether to go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mnist_lightning.config import RunConfig
from mnist_lightning.errors import RefusedError
from mnist_lightning.records.results import load_results
from mnist_lightning.sweep.pruning import judge_of
from mnist_lightning.training.pruning import Pruning
from mnist_lightning.training.run import train_checked
from search_cases import record, settings_of, study_in

MEDIAN = {"_target_": "median", "n_startup_trials": 2}


class Hopeless:
    name = "none of it"

    def __init__(self, after: int) -> None:
        self.after, self.asked = after, []

    def is_hopeless(self, epoch: int, val_loss: float) -> bool:
        self.asked.append(epoch)
        return epoch >= self.after


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_trial_is_pruned_when_its_loss_is_above_the_median_of_those_before(tmp_path: Path, direction: str) -> None:
    study = study_in(tmp_path, settings_of(n_trials=4, pruner=MEDIAN, direction=direction))
    study.begin()
    for losses in ((0.5, 0.4, 0.3), (0.6, 0.5, 0.4)):
        (trial,) = study.next(1)
        judge = judge_of(trial.fingerprint, tmp_path)
        assert judge is not None
        assert [judge.is_hopeless(epoch, loss) for epoch, loss in enumerate(losses, 1)] == [False] * 3
        record(trial, tmp_path)
        study.settle()
    (bad,) = study.next(1)
    judge = judge_of(bad.fingerprint, tmp_path)
    assert judge is not None
    assert judge.name == "median n_startup_trials=2"
    assert [judge.is_hopeless(1, 0.5), judge.is_hopeless(2, 0.6)] == [False, True]
    again = judge_of(bad.fingerprint, tmp_path)  # killed, and begun again at its second epoch
    assert again is not None
    assert again.is_hopeless(2, 0.6)
    record(bad, tmp_path, "pruned")
    study.settle()
    (good,) = study.next(1)
    judge = judge_of(good.fingerprint, tmp_path)
    assert judge is not None
    assert not judge.is_hopeless(2, 0.1)
    sign = -1 if direction == "maximize" else 1
    assert study.study.trials[0].intermediate_values == {1: sign * 0.5, 2: sign * 0.4, 3: sign * 0.3}
    assert [t.state.name for t in study.study.trials] == ["COMPLETE", "COMPLETE", "PRUNED", "RUNNING"]
    study.release()


def test_nobody_judges_a_grid_a_search_without_a_pruner_or_a_run_that_it_has_not_drawn(tmp_path: Path) -> None:
    assert judge_of("f" * 16, tmp_path) is None
    study = study_in(tmp_path, settings_of(n_trials=1))
    study.begin()
    (trial,) = study.next(1)
    assert judge_of(trial.fingerprint, tmp_path) is None
    study.release()
    other = study_in(tmp_path, settings_of(n_trials=1, pruner="hyperband"))
    other.begin()
    assert judge_of(trial.fingerprint, tmp_path) is not None
    assert judge_of("f" * 16, tmp_path) is None
    other.release()


def test_a_trial_that_failed_is_trained_once_more_without_a_judge(tmp_path: Path) -> None:
    study = study_in(tmp_path, settings_of(n_trials=1, pruner=MEDIAN))
    study.begin()
    (trial,) = study.next(1)
    record(trial, tmp_path, "failed", "RuntimeError: no")
    study.settle()
    assert judge_of(trial.fingerprint, tmp_path) is None


def test_a_pruned_run_keeps_its_curve_and_its_record_says_when_and_by_what(
    tiny: Callable[..., RunConfig], tmp_path: Path
) -> None:
    judge = Hopeless(after=2)
    result = train_checked(tiny(**{"trainer.max_epochs": 4}), tmp_path / "run", judge=judge)
    assert (result.status, result.epochs, judge.asked) == ("pruned", 2, [1, 2])
    assert result.error == "pruned after epoch 2 of 4 (none of it)"
    assert load_results(tmp_path / "run") == [result]
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 3


def test_the_last_epoch_is_no_time_to_be_pruned(tiny: Callable[..., RunConfig], tmp_path: Path) -> None:
    judge = Hopeless(after=2)
    assert train_checked(tiny(), tmp_path / "run", judge=judge).status == "completed"
    assert judge.asked == [1, 2]


def test_a_run_that_was_killed_after_it_was_pruned_ends_there(
    tiny: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mnist_lightning.training import run

    config = tiny(**{"trainer.max_epochs": 4})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run, "evaluate", killed)
        with pytest.raises(KeyboardInterrupt):
            train_checked(config, tmp_path / "run", judge=Hopeless(after=1))
    judge = Hopeless(after=9)
    result = train_checked(config, tmp_path / "run", judge=judge, continue_interrupted=True)
    assert (result.status, result.epochs, judge.asked) == ("pruned", 1, [])


def test_a_state_of_pruning_that_is_not_ours_is_refused() -> None:
    pruning = Pruning(Hopeless(1))
    for odd in ("1", 0, True and -1):
        with pytest.raises(RefusedError, match="its state of pruning is not ours; train the run again"):
            pruning.load_state_dict({"pruned_at": odd})
    pruning.load_state_dict({"pruned_at": 3})
    trainer: Any = SimpleNamespace(should_stop=False)
    pruning.on_train_start(trainer, trainer)
    assert trainer.should_stop
