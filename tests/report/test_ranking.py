"""Who is best, who has collapsed, what mattered; over seeds: mean, spread, share."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from mnist_lightning.records.results import RunResult
from mnist_lightning.report.answers import COLLAPSED, MISTAKES, WHAT_MATTERED, WINNER, answers
from mnist_lightning.report.frame import frame_of
from mnist_lightning.report.ranking import BY_TEST, BY_VALIDATION, OVER_SEEDS, Ranking
from mnist_lightning.report.runs_table import runs_table
from mnist_lightning.report.stored import Stored
from mnist_lightning.report.tables import (
    best_table,
    failures_table,
    network_size_table,
    optimizer_lr_table,
    results_table,
    seeds_table,
)
from mnist_lightning.report.terminal import leaderboard
from mnist_lightning.report.verdicts import FLAT
from report_cases import failed, full_grid, judged, quickstart, record, store


def ranking_of(results: list[RunResult]) -> Ranking:
    return Ranking(judged(results))


def test_diverged_and_failed_runs_are_never_ranked() -> None:
    diverged = replace(record(accuracy=0.99), status="diverged")
    ranking = ranking_of([diverged, failed(seed=1), record(accuracy=0.5, seed=2), record(accuracy=math.nan, seed=3)])
    assert ranking.ranked["accuracy_test"].tolist() == [0.5]
    assert len(ranking.unranked) == 3


def test_test_accuracy_ranks_unless_every_completed_run_held_images_out() -> None:
    held = record(accuracy=0.9, val_size=5000, accuracy_val=0.8)
    other = replace(held, optimizer="SGD", accuracy_test=0.95, accuracy_val=0.7)
    assert ranking_of([held, other]).best.accuracy_test == 0.9
    assert ranking_of([held, failed()]).rule is BY_VALIDATION
    assert ranking_of([held, record()]).rule is BY_TEST
    assert ranking_of([]).rule is BY_TEST


def test_a_run_of_which_nobody_knows_whether_it_held_images_out_is_ranked_by_the_test_set() -> None:
    results = [record(val_size=size, accuracy_val=0.9, seed=i) for i, size in enumerate((5000, None))]
    assert Ranking(frame_of(results[:1])).rule == BY_VALIDATION
    assert Ranking(frame_of(results)).rule == BY_TEST


def test_of_equal_seeds_the_first_name_comes_first() -> None:
    results = [replace(record(seed=i), run_name=name) for i, name in enumerate("bac")]
    assert Ranking(frame_of(results)).ranked["run_name"].tolist() == ["a", "b", "c"]


def test_the_rule_by_test_accuracy_warns_that_it_is_optimistic() -> None:
    assert "optimistic" in BY_TEST.sentence


def test_of_equal_runs_the_smaller_network_wins_whatever_their_order() -> None:
    small, large = record(size="32/2/1", num_parameters=10), record(size="64/2/1", num_parameters=20)
    assert [ranking_of(runs).best.num_parameters for runs in ([large, small], [small, large])] == [10, 10]


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


@pytest.mark.parametrize(("seeds", "median"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2)])
def test_of_an_even_number_of_seeds_the_lower_middle_one_stands_for_all(seeds: int, median: int) -> None:
    found = Ranking(frame_of([record(seed=i, accuracy=0.9 + 0.01 * i) for i in range(seeds)]))
    assert found.best.seed == median
    called = f"the best setting's median run of {seeds} (seed {median})" if seeds > 1 else "the best run"
    assert found.best_is == called


def test_of_the_best_settings_runs_only_those_that_learned_are_marked() -> None:
    runs = [record(seed=i, accuracy=a) for i, a in enumerate((0.9, 0.9, 0.1))]
    found = Ranking(judged([*runs, record("SGD", accuracy=0.1)]))
    assert found.best_rows.tolist() == [0, 1]


def test_sizes_and_seeds_are_several_from_two_on() -> None:
    assert not Ranking(frame_of([])).several_sizes
    assert not Ranking(frame_of([])).several_seeds
    one = Ranking(frame_of([record(), record("SGD")]))
    assert (one.several_sizes, one.several_seeds, one.num_seeds, one.sentence) == (False, False, 1, BY_TEST.sentence)
    two = Ranking(frame_of([record(), record("SGD", size="4/2/1", seed=1)]))
    assert (two.several_sizes, two.several_seeds, two.num_seeds) == (True, True, 2)
    assert two.sentence == f"{BY_TEST.sentence} {OVER_SEEDS}"
    assert Ranking(frame_of([record()]).assign(planned=3)).several_seeds  # by the plan
    assert two.name(two.winner).endswith("network 4/2/1")
    assert one.name(one.winner) == "Adam, mse, learning rate 0.001"


def test_settings_count_what_became_of_their_runs_in_the_order_of_networks() -> None:
    runs = [record(size="64/3/3"), *(record(seed=i, accuracy=a) for i, a in enumerate((0.9, 0.8, 0.1)))]
    runs += [replace(record(seed=4), status="diverged", accuracy_test=math.nan), failed(seed=5)]
    found = Ranking(frame_of(runs)).settings
    assert found.index.tolist() == [0, 1]
    assert found["num_channels"].tolist() == [32, 64]
    counts = ["runs", "all_runs", "lost", "diverged", "collapsed", "not_yet", "unclear", "lowest", "highest"]
    assert found[counts].iloc[0].tolist() == pytest.approx([3, 5, 2, 1, 0, 0, 1 / 3, 0.1, 0.9])
    assert found["accuracy_test"].iloc[0] == pytest.approx(0.6)
    assert found["deviation"].iloc[0] == pytest.approx(0.19**0.5)
    assert math.isnan(found["deviation"].iloc[1])


def test_of_equal_effects_the_first_name_leads_and_levels_count_collapsed_runs() -> None:
    runs = [record("Adam", lr=0.1, accuracy=0.1), record("SGD", lr=0.01, accuracy=0.9)]
    found = ranking_of(runs).effects
    assert [e.factor for e in found] == ["learning rate", "optimizer"]
    assert found[1].levels[["value", "n", "mean", "collapsed"]].to_numpy().tolist() == [
        ["SGD", 1, 0.9, 0],
        ["Adam", 1, 0.1, 1],
    ]
    same = ranking_of([replace(r, accuracy_test=0.9) for r in runs]).effects
    assert same[1].levels["value"].tolist() == ["Adam", "SGD"]


@pytest.mark.parametrize(("values", "effects"), [(1, 0), (2, 1), (20, 1), (21, 0)])
def test_a_key_of_one_value_or_of_more_than_twenty_has_no_effect_to_tell(values: int, effects: int) -> None:
    assert len(ranking_of([record(lr=0.001 * (i + 1)) for i in range(values)]).effects) == effects


def test_the_answers_name_winner_margin_what_mattered_and_the_collapsed() -> None:
    found = answers(ranking_of(quickstart()), Stored())
    assert found[WINNER].short == "Adam, mae, learning rate 0.001"
    assert "970 of 1,000 test images right" in found[WINNER].sentences[0]
    assert "seed" not in found[WINNER].short
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
    assert table.rows[2][[c.name for c in table.columns].index("Why")] == FLAT


def test_the_leaderboard_is_ten_runs_and_a_line_per_failure_in_80_columns_of_ascii() -> None:
    same = {"dataset": "synthetic", "train_size": 3000, "test_size": 1000}
    hostile = record(optimizer="\x1b[31mRed\u202e" + "x" * 99, seed=99, **same)
    text = leaderboard([*quickstart(), failed(seed=7, lr=7.0, **same), hostile])
    lines = text.split("\n")
    assert len(lines) == 1 + 1 + 10 + 1
    assert lines[-1].startswith("failed: Adam mse 7 32/2/1 seed 7: RuntimeError")
    assert text.isascii()
    assert all(line.isprintable() and len(line) < 80 for line in lines)


def test_the_leaderboards_columns_stand_below_each_other() -> None:
    _, head, *rows = leaderboard(quickstart()).splitlines()
    numbers = [m.end() for m in re.finditer(r"lr|network|accuracy|binary", head)]
    assert all(row[end - 1] != " " and row[end : end + 2] == "  " for row in rows for end in numbers)
    assert all(row[: head.index("optimizer")].strip().isdigit() for row in rows)


def test_failures_in_the_terminal_name_the_seed_only_where_there_are_several() -> None:
    alone, both = leaderboard([record(), failed(lr=7.0)]), leaderboard([record(), failed(seed=7, lr=7.0)])
    assert alone.splitlines()[-1].startswith("failed: Adam mse 7 32/2/1: RuntimeError")
    assert both.splitlines()[-1].startswith("failed: Adam mse 7 32/2/1 seed 7: RuntimeError")


def test_a_single_run_needs_no_leaderboard_and_failures_alone_are_said() -> None:
    assert leaderboard([record()]) == leaderboard([]) == ""
    assert "none can be ranked" in leaderboard([failed(), failed(seed=1)])


def seeded(*settings: tuple[str, tuple[float | str, ...]]) -> list[RunResult]:
    """Runs of settings that differ in the optimizer: for each seed an accuracy, or a status without one."""
    runs = []
    for optimizer, outcomes in settings:
        for seed, outcome in enumerate(outcomes):
            run = record(optimizer, seed=seed, accuracy=outcome if isinstance(outcome, float) else math.nan)
            status = outcome if isinstance(outcome, str) else "completed"
            runs.append(replace(run, status=status, error="an error" if status == "failed" else ""))
    return runs


# the lucky seed of Adam is the best single run of all
LUCKY = seeded(("Adam", (0.99, 0.10, 0.11)), ("SGD", (0.95, 0.96, 0.94)), ("RMSprop", (0.93, 0.97, 0.92)))


def test_settings_are_ranked_by_the_mean_over_their_seeds_collapsed_ones_included() -> None:
    ranked = ranking_of(LUCKY).ranked_settings
    assert ranked["optimizer"].tolist() == ["SGD", "RMSprop", "Adam"]
    assert ranked["score"].tolist() == pytest.approx([0.95, 0.94, 0.4])
    assert ranked["deviation"].tolist() == pytest.approx([0.01, 0.026458, 0.510979], abs=1e-6)
    assert ranked["collapsed"].tolist() == pytest.approx([0, 0, 2 / 3])
    assert ranked["runs"].tolist() == [3, 3, 3]


@pytest.mark.parametrize("lost", ["failed", "diverged"])
def test_a_setting_that_lost_seeds_stands_after_those_that_lost_fewer_however_lucky_the_rest(lost: str) -> None:
    results = seeded(("Adam", (0.99, lost, lost)), ("SGD", (0.98, 0.97, lost)), ("RMSprop", (0.8, 0.81, 0.82)))
    ranking = ranking_of(results)
    assert ranking.ranked_settings["optimizer"].tolist() == ["RMSprop", "SGD", "Adam"]
    assert ranking.ranked_settings[["runs", "lost"]].to_numpy().tolist() == [[3, 0], [2, 1], [1, 2]]
    passed_over = answers(ranking, Stored())[WINNER].sentences[-1]
    assert (
        "Higher means have SGD, mse, learning rate 0.001, 0.9750 over 2 of 3 seeds; Adam, mse, learning rate 0.001, "
        in passed_over
    )
    assert "1 of 3" in leaderboard(results)


def test_headline_best_sheet_and_leaderboard_name_each_setting_once_and_say_n_deviation_and_collapsed() -> None:
    ranking = ranking_of(LUCKY)
    winner = answers(ranking, Stored())[WINNER]
    assert winner.short == "SGD, mse, learning rate 0.001"
    assert winner.sentences[0].startswith(
        "Mean test accuracy 0.9500 over 3 seeds, standard deviation 0.0100, all learned. As"
    )
    assert winner.sentences[1].startswith(
        "0.0100 ahead of the second (RMSprop, mse, learning rate 0.001, mean 0.9400 ov"
    )
    best = best_table(ranking)
    names = [c.name for c in best.columns]
    of = {row[1]: dict(zip(names, row, strict=True)) for row in best.rows}
    assert list(of) == ["SGD", "RMSprop", "Adam"]
    assert (of["Adam"]["Runs"], of["Adam"]["Collapsed"]) == (3, pytest.approx(2 / 3))
    assert of["SGD"]["Standard deviation"] == pytest.approx(0.01)
    assert OVER_SEEDS in best.note
    title, head, *rows = leaderboard(LUCKY).splitlines()
    assert title == "Best of 3 settings, 9 runs, by mean test accuracy (2 unclear):"
    assert head.split() == ["#", "optimizer", "loss", "lr", "network", "mean", "+-", "runs", "binary"]
    assert rows[0].split()[:8] == ["1", "SGD", "mse", "0.001", "32/2/1", "0.9500", "0.0100", "3"]
    assert rows[2].endswith("2 unclear")


def test_the_best_sheet_of_one_seed_has_the_studys_columns_alone() -> None:
    assert [c.name for c in best_table(ranking_of(quickstart())).columns][-1] == "Parameters"


def test_the_runs_of_the_page_and_the_workbook_stay_single_and_those_of_the_best_setting_are_marked() -> None:
    ranking = ranking_of(LUCKY)
    rows = runs_table(ranking, linked=False).rows
    assert [row.cells[0] for row in rows] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [row.mark for row in rows][:4] == ["best", "best", "best", "learned"]
    assert sorted(results_table(ranking).marks.items()) == [
        (i, {"Adam": "learned" if i == 0 else "collapsed", "SGD": "best"}.get(r.optimizer, "learned"))
        for i, r in enumerate(LUCKY)
    ]


def test_the_run_that_stands_for_a_setting_is_its_median_not_its_luckiest() -> None:
    ranking = ranking_of(LUCKY)
    assert ranking.best.accuracy_test == 0.95
    assert ranking.best_is == "the best setting's median run of 3 (seed 0)"
    assert ranking_of(quickstart()).best_is == "the best run"


def test_the_best_setting_of_an_optimizer_is_judged_over_seeds_too() -> None:
    by_name = {e.factor: e for e in ranking_of(LUCKY).effects}
    best = by_name["optimizer"].levels.set_index("value")["best"]
    assert best.to_dict() == pytest.approx({"SGD": 0.95, "RMSprop": 0.94, "Adam": 0.4})


def test_the_second_table_marks_settings_without_a_result_by_what_became_of_them() -> None:
    table = optimizer_lr_table(ranking_of(seeded(("Adam", ("failed",)), ("RMSprop", ("diverged",)), ("SGD", (0.1,)))))
    assert [(row[0], table.marks[i]) for i, row in enumerate(table.rows)] == [
        ("Adam", "failed"),
        ("RMSprop", "diverged"),
        ("SGD", "best"),
    ]


def test_what_has_not_yet_learned_is_not_counted_among_the_collapsed(tmp_path: Path) -> None:
    results = [record("Adam", accuracy=0.9), record("SGD", accuracy=0.15), record("RMSprop", accuracy=0.1)]
    store(results, tmp_path)
    slow = tmp_path / results[1].run_name / "metrics.csv"
    slow.write_text("epoch,train_loss\n1,0.0902\n2,0.0901\n3,0.09\n4,0.0899\n")
    ranking = Ranking(frame_of(results, tmp_path))
    found = answers(ranking, Stored())[COLLAPSED]
    assert (found.short, found.runs) == ("1 of 3", ["RMSprop, mse, 0.001"])
    assert found.sentences[-1].startswith(
        "1 more run had not yet learned when training ended: the training error still"
    )
    assert "(1 not yet learned, 1 collapsed)" in leaderboard(results, tmp_path)
    assert [row[0] for row in failures_table(ranking).rows] == ["collapsed", "not yet learned"]


def test_the_leaderboard_leaves_out_no_key_that_varies_and_no_count_however_long_its_line() -> None:
    results = [record(precision="bf16-true", batch_size=128, seed=s) for s in range(2)]
    results += [record(seed=s, accuracy=0.15) for s in range(2)]
    text = leaderboard(results)
    assert "\n    batch_size=128, precision=bf16-true\n" in text
    assert text.endswith("\n    batch_size=64, precision=32-true, 2 unclear")
    assert all(len(line) < 80 for line in text.splitlines())
