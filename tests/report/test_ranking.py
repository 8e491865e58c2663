"""Who is best, who has collapsed, what mattered; over seeds: mean, spread, share."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import product

import pytest

from mnist_lightning.records.results import RunResult
from mnist_lightning.report.answers import COLLAPSED, MISTAKES, WHAT_MATTERED, WINNER, answers
from mnist_lightning.report.frame import ONE_DIGIT, UNDECIDED, frame_of
from mnist_lightning.report.ranking import BY_TEST, BY_VALIDATION, Ranking
from mnist_lightning.report.stored import Stored
from mnist_lightning.report.tables import (
    best_table,
    failures_table,
    network_size_table,
    optimizer_lr_table,
    seeds_table,
)
from mnist_lightning.report.terminal import leaderboard
from report_cases import failed, full_grid, quickstart, record


def ranking_of(results: list[RunResult]) -> Ranking:
    return Ranking(frame_of(results))


def test_diverged_and_failed_runs_are_never_ranked() -> None:
    diverged = replace(record(accuracy=0.99), status="diverged")
    ranking = ranking_of([diverged, failed(), record(accuracy=0.5), record(accuracy=math.nan)])
    assert ranking.ranked["accuracy_test"].tolist() == [0.5]
    assert len(ranking.unranked) == 3


def test_test_accuracy_ranks_unless_every_completed_run_held_images_out() -> None:
    held = record(accuracy=0.9, val_size=5000, accuracy_val=0.8)
    assert ranking_of([held, replace(held, accuracy_test=0.95, accuracy_val=0.7)]).best.accuracy_test == 0.9
    assert ranking_of([held, failed()]).rule is BY_VALIDATION
    assert ranking_of([held, record()]).rule is BY_TEST
    assert ranking_of([]).rule is BY_TEST


def test_the_rule_by_test_accuracy_warns_that_it_is_optimistic() -> None:
    assert "optimistic" in BY_TEST.sentence


def test_of_equal_runs_the_smaller_network_wins_whatever_their_order() -> None:
    small, large = record(size="32/2/1", num_parameters=10), record(size="64/2/1", num_parameters=20)
    assert [ranking_of(runs).best.num_parameters for runs in ([large, small], [small, large])] == [10, 10]


@pytest.mark.parametrize(
    ("accuracy", "binary", "expected"),
    [(0.1, 0.82, ONE_DIGIT), (0.12, 0.9, UNDECIDED), (0.2, 0.9, UNDECIDED), (0.21, 0.9, ""), (math.nan, 0.82, "")],
)
def test_a_run_no_better_than_guessing_has_collapsed(accuracy: float, binary: float, expected: str) -> None:
    assert frame_of([record(accuracy=accuracy, binary_accuracy_test=binary)])["how_collapsed"].tolist() == [expected]


def test_a_failed_run_has_not_collapsed() -> None:
    frame = frame_of([replace(record(accuracy=0.1), status="failed")])
    assert frame[["collapsed", "how_collapsed", "verdict"]].to_numpy().tolist() == [[False, "", "failed"]]


def test_seeds_of_a_setting_make_one_group_with_mean_and_sample_deviation() -> None:
    runs = [record(accuracy=a, seed=s) for s, a in enumerate((0.9, 0.92, 0.1))]
    settings = ranking_of([*runs, failed(seed=4)]).settings
    columns = ["runs", "accuracy_test", "deviation", "lowest", "highest", "collapsed"]
    assert settings[columns].to_numpy().tolist() == [pytest.approx([3, 0.64, 0.467761, 0.1, 0.92, 1 / 3], abs=1e-6)]


def test_early_stopping_does_not_divide_seeds_but_a_sweep_over_epochs_is_divided() -> None:
    stopped = [record(seed=0, epochs=7), record(seed=1, epochs=9)]
    assert len(ranking_of(stopped).settings) == 1
    assert len(ranking_of([*stopped, record(seed=0, epochs=9)]).settings) == 2


def test_the_effect_of_a_key_is_the_spread_of_its_values_means() -> None:
    runs = [record("Adam", lr=0.1, accuracy=0.1), record("Adam", lr=0.01, accuracy=0.9)]
    runs += [record("SGD", lr=0.1, accuracy=0.2), record("SGD", lr=0.01, accuracy=0.8)]
    first, second = ranking_of(runs).effects
    assert (first.factor, first.spread) == ("learning rate", pytest.approx(0.7))
    assert (second.factor, second.spread) == ("optimizer", 0.0)
    assert first.levels[["value", "n", "best"]].to_numpy().tolist() == [["0.01", 2, 0.9], ["0.1", 2, 0.2]]


def test_the_answers_name_winner_margin_what_mattered_and_the_collapsed() -> None:
    found = answers(ranking_of(quickstart()), Stored())
    assert found[WINNER].short == "Adam, mae, learning rate 0.001"
    assert "970 of 1,000 test images right" in found[WINNER].sentences[0]
    assert "0.0100 ahead of the second" in found[WINNER].sentences[1]
    assert found[WHAT_MATTERED].short == "Both matter about equally"
    assert found[COLLAPSED].short == "10 of 18"
    assert "optimizer SGD (6 of 6 runs)" in found[COLLAPSED].sentences[1]
    assert found[MISTAKES].short == "Not stored"


def test_a_clear_difference_between_learning_rate_and_optimizer_is_answered_with_yes_or_no() -> None:
    by_rate = [record(o, lr=lr, accuracy=a) for o, lr, a in product(("Adam", "SGD"), (0.1,), (0.3, 0.4))]
    by_rate += [record(o, lr=0.01, accuracy=0.9) for o in ("Adam", "SGD")]
    assert answers(ranking_of(by_rate), Stored())[WHAT_MATTERED].short == "Yes: learning rate 0.55, optimizer 0.00"
    by_name = [record(o, lr=lr, accuracy=a) for (o, a), lr in product((("Adam", 0.9), ("SGD", 0.3)), (0.1, 0.01))]
    assert answers(ranking_of(by_name), Stored())[WHAT_MATTERED].short == "No: optimizer 0.60, learning rate 0.00"


def test_the_best_table_has_the_studys_18_rows_in_our_order() -> None:
    table = best_table(ranking_of(full_grid()))
    column = [c.name for c in table.columns].index("Test accuracy (top-1)")
    accuracies = [row[column] for row in table.rows]
    assert len(accuracies) == 18
    assert accuracies == sorted(accuracies, reverse=True)
    assert sum("accuracy" in c.name.lower() for c in table.columns) == 2  # train and test, each says which


def test_the_second_table_has_every_architecture_and_loss_and_size_table_each_architecture() -> None:
    assert len(optimizer_lr_table(ranking_of(full_grid(2))).rows) == 216
    assert len(network_size_table(ranking_of(full_grid())).rows) == 12


def test_the_seeds_table_is_empty_for_one_seed_and_says_why() -> None:
    assert seeds_table(ranking_of(quickstart())).rows == []
    assert "seed=0,1,2" in seeds_table(ranking_of(quickstart())).note
    assert len(seeds_table(ranking_of(full_grid(3))).rows) == 216


def test_failures_list_failed_then_diverged_then_collapsed() -> None:
    diverged = replace(record(seed=2), status="diverged", error="loss is not finite in epoch 2")
    table = failures_table(ranking_of([record(accuracy=0.1), diverged, failed(seed=1), record(seed=3)]))
    assert [row[0] for row in table.rows] == ["failed", "diverged", "collapsed"]


def test_the_leaderboard_is_ten_runs_and_a_line_per_failure_in_80_columns_of_ascii() -> None:
    hostile = record(optimizer="\x1b[31mRed\u202e" + "x" * 99, seed=99)
    text = leaderboard([*quickstart(), failed(seed=7), hostile])
    lines = text.split("\n")
    assert len(lines) == 1 + 1 + 10 + 1
    assert lines[-1].startswith("failed: Adam mse 0.001 32/2/1 seed 7: RuntimeError")
    assert text.isascii()
    assert all(line.isprintable() and len(line) < 80 for line in lines)


def test_the_leaderboards_columns_stand_below_each_other() -> None:
    _, head, *rows = leaderboard(quickstart()).splitlines()
    numbers = [m.end() for m in re.finditer(r"lr|network|accuracy|binary", head)]
    assert all(row[end - 1] != " " and row[end : end + 2] == "  " for row in rows for end in numbers)
    assert all(row[: head.index("optimizer")].strip().isdigit() for row in rows)


def test_a_single_run_needs_no_leaderboard_and_failures_alone_are_said() -> None:
    assert leaderboard([record()]) == leaderboard([]) == ""
    assert "none can be ranked" in leaderboard([failed(), failed(seed=1)])
