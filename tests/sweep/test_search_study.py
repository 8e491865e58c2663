"""sweep/search_study.py: no trial is lost or done twice, whatever is killed when, and however many are at work."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from search_cases import SPACE, accuracy_of, compose, record, searched_whole, settings_of, study_in

import optuna  # isort: skip - skipped above where there is none
from optuna.storages.journal import JournalFileBackend  # isort: skip
from optuna.trial import TrialState  # isort: skip

from mnist_lightning.errors import RefusedError
from mnist_lightning.records.results import load_results
from mnist_lightning.records.search import CLAIMS, JOURNAL, SEARCH, Trial, read_search


def values(root: Path) -> list[tuple[dict[str, object], float | None]]:
    """What Optuna's storage has of each trial that counts."""
    with study_in(root, settings_of()).locked():
        study = study_in(root, settings_of()).study
    return [(t.params, t.value) for t in study.trials]


def test_a_search_stores_each_trial_and_the_report_can_read_them_without_optuna(tmp_path: Path) -> None:
    trials = searched_whole(tmp_path, settings_of(n_trials=4))
    assert [t.number for t in trials] == [0, 1, 2, 3]
    stored = read_search(tmp_path)
    assert stored is not None
    assert stored.trials == trials
    assert (stored.total, stored.undrawn, stored.direction) == (4, 0, "maximize")
    assert [value for _, value in values(tmp_path)] == [accuracy_of(t) for t in trials]
    assert {r.run_name for r in load_results(tmp_path)} == {t.run_name for t in trials}


@pytest.mark.parametrize("sampler", ["RandomSampler", "TPESampler"])
def test_a_search_that_is_killed_at_any_operation_ends_as_if_it_had_not_been(memory: Path, sampler: str) -> None:
    """Whole and half written lines of the journal; the record of the trial at work there, or not."""
    settings = settings_of(n_trials=3, sampler={"_target_": f"optuna.samplers.{sampler}", "seed": 5})
    whole = memory / "whole"
    expected = searched_whole(whole, settings)
    told = values(whole)
    lines = (whole / JOURNAL).read_bytes().splitlines(keepends=True)
    ends = range(1, len(lines)) if sampler == "TPESampler" else range(1, len(lines), 3)
    for end in ends:
        for cut in (b"", lines[end][: len(lines[end]) // 2]):
            root = memory / "killed"
            (root / CLAIMS).mkdir(parents=True)
            (root / JOURNAL).write_bytes(b"".join(lines[:end]) + cut)
            drawn = [t for t in study_in(root, settings).study.trials if t.params.keys() == settings.space.drawn.keys()]
            for frozen in drawn[
                : len(drawn) - 1 + end % 2
            ]:  # records are there before they are told; of the last or not
                record(Trial(frozen.number, frozen.params, run_name=expected[frozen.number].run_name), root)
            before = {r.run_name for r in load_results(root)}
            trained: list[str] = []
            assert searched_whole(root, settings, trained) == expected, end
            assert values(root) == told
            assert sorted([*before, *trained]) == sorted(t.run_name for t in expected), "one was trained twice"
            shutil.rmtree(root)


def test_two_processes_share_a_study_and_what_one_has_claimed_the_other_leaves(tmp_path: Path) -> None:
    first, second = (study_in(tmp_path, settings_of(n_trials=5)) for _ in range(2))
    assert (first.begin(), second.begin()) == (0, 0)
    one, other = first.next(1), second.next(2)
    assert [t.number for t in [*one, *other]] == [0, 1, 2]
    for trial in other:
        record(trial, tmp_path)
    second.settle()
    rest = second.next(9)
    assert [t.number for t in rest] == [3, 4]
    for trial in rest:
        record(trial, tmp_path)
    second.settle()
    assert second.next(1) == []
    assert len(second.others_at_work()) == 1
    first._claims[0].close()  # pyright: ignore - as the system does when it is killed
    assert second.others_at_work() == []
    assert [t.number for t in second.next(1)] == [0]
    record(one[0], tmp_path)
    second.settle()
    assert (second.done(), second.next(1), second.others_at_work()) == (5, [], [])


def test_a_drawn_run_that_is_recorded_already_is_told_and_not_trained_again(tmp_path: Path) -> None:
    settings = settings_of("optimizer=adam,sgd", n_trials=6)
    search = settings.search(tmp_path, [])
    study = replace(study_in(tmp_path, settings), search=search)
    study.begin()
    trained = []
    while trials := study.next(2):
        for trial in trials:
            trained.append(trial.run_name)
            record(replace(trial, params={**trial.params, "lr": 0.001}), tmp_path)
        study.settle()
    assert len(trained) == len(set(trained)) == 2
    assert [t.state for t in study.study.trials] == [TrialState.COMPLETE] * 6
    assert study.search.total == len(study.search.trials) == 6


def test_a_failed_trial_is_told_as_one_and_trained_once_more_by_the_next_command(tmp_path: Path) -> None:
    study = study_in(tmp_path, settings_of(n_trials=2))
    study.begin()
    (first,) = study.next(1)
    record(first, tmp_path, "failed", "RuntimeError: no")
    study.settle()
    (second,) = study.next(1)
    record(second, tmp_path)
    study.settle()
    assert study.next(1) == []  # not by the same command
    assert [t.state for t in study.study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    again = study_in(tmp_path, settings_of(n_trials=2))
    assert again.begin() == 1
    assert [t.number for t in again.next(1)] == [0]
    record(first, tmp_path)
    again.settle()
    assert again.next(1) == []
    assert [t.number for t in again.search.trials] == [0, 1]
    assert [(t.state, t.value) for t in again.study.trials[1:]] == [
        (TrialState.COMPLETE, accuracy_of(second)),
        (TrialState.COMPLETE, accuracy_of(first)),  # so that the sampler learns of it
    ]


def test_a_trial_that_failed_and_is_pruned_when_it_is_trained_again_teaches_the_sampler_nothing(tmp_path: Path) -> None:
    study = study_in(tmp_path, settings_of(n_trials=1))
    study.begin()
    (first,) = study.next(1)
    record(first, tmp_path, "failed", "RuntimeError: no")
    study.settle()
    again = study_in(tmp_path, settings_of(n_trials=1))
    again.begin()
    assert [t.number for t in again.next(1)] == [0]
    record(first, tmp_path, "pruned")
    again.settle()
    assert [t.state for t in again.study.trials] == [TrialState.FAIL]
    assert again.done() == 1


def test_a_deleted_run_is_trained_again_and_a_diverged_one_is_the_worst_there_can_be(tmp_path: Path) -> None:
    trials = searched_whole(tmp_path, settings_of(n_trials=3))
    shutil.rmtree(tmp_path / trials[1].run_name)
    study = study_in(tmp_path, settings_of(n_trials=4))
    assert study.begin() == 2
    assert [t.number for t in study.next(1)] == [1]
    record(trials[1], tmp_path)
    study.settle()
    (last,) = study.next(1)
    record(last, tmp_path, "diverged")
    study.settle()
    assert study.study.trials[3].value == 0.0
    assert study.done() == 4


def test_values_that_make_no_configuration_are_a_trial_that_is_not_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of("lr=-1,0.1", n_trials=6)
    study = replace(study_in(tmp_path, settings), compose=compose)
    study.begin()
    trained = study.next(9)
    assert {t.params["lr"] for t in trained} == {"0.1"}
    refused = [t for t in study.search.trials if t.refused]
    assert refused
    assert all(not t.fingerprint for t in refused)
    assert f"trial {refused[0].number + 1}: lr=-1.0: too small; not trained" in capsys.readouterr().out
    assert study.search.undrawn == len(refused)
    study.release()


def test_a_journal_that_is_damaged_is_refused_and_named(tmp_path: Path) -> None:
    searched_whole(tmp_path, settings_of(n_trials=1))
    lines = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
    for damaged in (b"nonsense\n" + lines[0], b'{"op_code":0}\n', b"\xff\n\n"):
        (tmp_path / JOURNAL).write_bytes(damaged)
        with pytest.raises(RefusedError, match=rf"{JOURNAL}: damaged \(.*\); restore it, or choose another directory"):
            study_in(tmp_path, settings_of())
    (tmp_path / SEARCH).write_text("[1]")
    with pytest.raises(RefusedError, match=rf"{SEARCH}: no search of ours"):
        read_search(tmp_path)


def test_optuna_itself_can_load_the_study(tmp_path: Path) -> None:
    trials = searched_whole(tmp_path, settings_of(n_trials=3))
    backend = JournalFileBackend(str(tmp_path / JOURNAL))
    study = optuna.load_study(study_name="mnist_lightning", storage=optuna.storages.JournalStorage(backend))
    assert study.best_value == max(accuracy_of(t) for t in trials)
    assert set(study.best_params) == {o.partition("=")[0] for o in SPACE}
