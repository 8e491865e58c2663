"""The report of a search: its trials in their order, the best of them, which parameters mattered."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook

from mnist_lightning.records.results import find_results, load_results
from mnist_lightning.records.search import SEARCH
from mnist_lightning.report import write_report
from mnist_lightning.report.__main__ import main
from mnist_lightning.report.figures import _of_search
from mnist_lightning.report.frame import frame_of
from mnist_lightning.report.seal import SEAL
from mnist_lightning.report.search import Searched, best_so_far, read_searched, trials_table
from mnist_lightning.report.state import read_state
from mnist_lightning.report.terminal import closing
from mnist_lightning.sweep.outcome import outcome_of
from search_cases import record, searched_whole, settings_of, study_in


def searched_in(root: Path) -> Searched:
    problems: list[str] = []
    found = read_searched(frame_of(load_results(root), root), root, problems)
    assert found is not None
    assert problems == []
    return found


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve trials of three keys, of which the learning rate decides."""
    root = tmp_path_factory.mktemp("search")
    searched_whole(root, settings_of(n_trials=12))
    return root


def test_the_best_trial_is_named_by_its_place_in_the_search_and_what_it_drew(search: Path) -> None:
    searched = searched_in(search)
    best = max(searched.trials, key=lambda t: t.value)
    assert searched.best is best
    rate, optimizer, seed = best.trial.params.values()
    sentence = f"Best trial: {best.trial.number + 1} of 12 by test accuracy, {best.value:.4f} "
    sentence += f"(lr {rate:.4g}, optimizer {optimizer}, seed {seed})."
    assert searched.sentence == sentence
    assert sentence in " ".join(closing(load_results(search), [], directory=search).split())


def test_the_best_so_far_never_falls_and_the_trials_stand_in_their_order(search: Path) -> None:
    searched = searched_in(search)
    table = trials_table(searched)
    assert [row[0] for row in table.rows] == list(range(1, 13))
    assert [c.name for c in table.columns] == [
        "Trial",
        "State",
        "Test accuracy",
        "Best so far",
        "lr",
        "optimizer",
        "seed",
        "Run",
    ]
    so_far = best_so_far(searched)
    assert so_far == sorted(so_far)
    assert so_far[-1] == max(t.value for t in searched.trials)


def test_the_parameter_that_decides_is_the_most_important(search: Path) -> None:
    importances = searched_in(search).importances
    assert next(iter(importances)) == "lr"
    assert sum(importances.values()) == pytest.approx(1)
    assert set(importances) == {"lr", "optimizer", "seed"}


def test_page_workbook_and_figures_have_the_search(search: Path) -> None:
    names = {path.name for path in write_report(load_results(search), search)}
    assert {"optimization_history.png", "parameter_importance.svg"} <= names
    page = (search / "report.html").read_text()
    assert all(f'id="{name}"' in page for name in ("search", "optimization_history", "parameter_importance"))
    assert "By PED-ANOVA of the 12 completed trials" in page
    assert "Of so few it is hardly more than a hint." in page
    sheet: Any = load_workbook(io.BytesIO((search / "results.xlsx").read_bytes()))["Search"]
    assert [cell.value for cell in sheet["A"][:13]] == ["Trial", *range(1, 13)]
    assert len(sheet._charts) == 2
    before = {p: p.read_bytes() for p in search.rglob("*") if p.is_file() and p.name != SEAL}
    assert main([str(search)]) == 0
    assert {p: p.read_bytes() for p in before} == before


def test_without_optuna_the_report_says_what_it_leaves_out(search: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    searched = searched_in(search)
    assert searched.importances == {}
    assert searched.why_not == 'it is computed by Optuna 4 or later: pip install "mnist-lightning[optuna]"'
    assert searched.sentence.startswith("Best trial: ")


def test_a_grid_has_no_figures_of_a_search_and_misses_none(search: Path) -> None:
    figures = _of_search(None)
    assert figures == {}
    assert trials_table(None).rows == []
    assert set(_of_search(searched_in(search))) == {"optimization_history", "parameter_importance"}


def test_an_unfinished_search_says_how_many_trials_are_still_to_be_drawn(tmp_path: Path) -> None:
    study = study_in(tmp_path, settings_of(n_trials=6))
    study.begin()
    first, second, third, fourth = study.next(4)
    record(first, tmp_path)
    record(second, tmp_path, "pruned", "pruned after epoch 1 of 20 (median)")
    record(third, tmp_path, "failed", "RuntimeError: no")
    study.settle()
    results, state = read_state(tmp_path)
    assert (state.planned, state.undrawn, len(state.unfinished), state.is_whole) == (6, 2, 1, False)
    assert state.parts() == ["2 not drawn", "1 missing (1 never begun)"]
    told = outcome_of(tmp_path, {}, find_results(tmp_path), alone=False, retraining=False)
    assert told == (3, "2 of 6 done (1 pruned, 1 failed, 3 missing)")
    text = closing(results, [], state, tmp_path)
    assert "6 runs planned: 1 completed, of which 1 collapsed; 1 pruned; 1 failed; 2 not drawn; 1 missing" in text or (
        "1 pruned; 1 failed; 2 not drawn" in text
    )
    assert "pruned: " not in text, "a pruned run is no failure"
    states = [row[1] for row in trials_table(searched_in(tmp_path)).rows]
    assert states == ["completed", "pruned", "failed", "no record"]
    assert fourth.run_name in {run.run_name for run in state.unfinished}


def test_a_damaged_search_json_is_a_problem_and_no_end_of_the_report(tmp_path: Path) -> None:
    searched_whole(tmp_path, settings_of(n_trials=2))
    (tmp_path / SEARCH).write_text("{}")
    results, state = read_state(tmp_path)
    assert len(results) == 2
    assert re.search(r"search.json: no search of ours", state.problems[0])
    problems: list[str] = []
    assert read_searched(frame_of(results, tmp_path), tmp_path, problems) is None
    assert problems[0].startswith("search.json: no search of ours")


def test_two_trials_of_one_run_count_twice_and_are_told(tmp_path: Path) -> None:
    study = study_in(tmp_path, settings_of("seed=0,1", n_trials=5))
    study.begin()
    while trials := study.next(1):
        for trial in trials:
            params = {"lr": 0.001, "optimizer": "rmsprop", **trial.params}
            record(type(trial)(trial.number, params, trial.run_name), tmp_path)
        study.settle()
    code, line = outcome_of(tmp_path, {}, find_results(tmp_path), alone=False, retraining=False)
    assert (code, line) == (0, "5 of 5 done")
    assert "3 trials drew what an earlier one had drawn, which was trained once." in searched_in(tmp_path).how
