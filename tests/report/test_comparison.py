"""The best setting beside the second: the test that fits what is stored, and no claim that it does not bear."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mnist_lightning.records.predictions import Predictions, make_predictions
from mnist_lightning.records.results import RunResult
from mnist_lightning.report.comparison import Comparison, compare
from mnist_lightning.report.ranking import Ranking
from report_cases import judged, record

LABELS = np.arange(200) % 10


def said(wrong: range, labels: np.ndarray = LABELS) -> Predictions:
    """The predictions of a network that is wrong on these images."""
    digits = np.where(np.isin(np.arange(len(labels)), list(wrong)), (labels + 1) % 10, labels)
    images = np.zeros((len(labels), 1, 28, 28), dtype=np.uint8)
    return make_predictions(np.eye(10)[digits], images, labels, images, labels, seed=0)


def compared(runs: list[RunResult], stored: dict[tuple[str, int], Predictions]) -> Comparison:
    found = compare(Ranking(judged(runs)), lambda run: stored.get((run.optimizer, run.seed)))
    assert found is not None
    return found


PAIR = [record("Adam", accuracy=0.95), record("SGD", accuracy=0.9)]


def test_one_run_each_is_compared_by_mcnemars_test_on_the_images_that_only_one_has_right() -> None:
    found = compared(PAIR, {("Adam", 0): said(range(10)), ("SGD", 0): said(range(4, 20))})
    assert not found.certain
    assert found.sentence == (
        "Of the 200 test images only the first has 10 right, only the second 4: McNemar's exact test gives p = 0.18, "
        "so which is better cannot be told."
    )


def test_a_clear_lead_on_the_same_images_is_called_more_than_luck() -> None:
    found = compared(PAIR, {("Adam", 0): said(range(5)), ("SGD", 0): said(range(3, 40))})
    assert found.certain
    assert "35 right, only the second 3" in found.sentence
    assert "p = less than 0.0001, more than the luck of these images" in found.sentence


def claims_nothing(found: Comparison, because: str) -> bool:
    return because in found.sentence and not found.certain


def test_without_both_predictions_or_with_other_images_nothing_is_claimed() -> None:
    assert claims_nothing(compared(PAIR, {("Adam", 0): said(range(5))}), "predictions of both are not stored")
    same = {("Adam", 0): said(range(5)), ("SGD", 0): said(range(5))}
    assert claims_nothing(compared(PAIR, same), "Both are right on the same test images")
    for changed in range(2):
        elsewhere = [replace(run, data_sha256="b") if i == changed else run for i, run in enumerate(PAIR)]
        assert claims_nothing(compared(elsewhere, same), "not tested on the same images")
    for labels in (LABELS[::-1], np.append(LABELS[:-1], 0), np.append(9, LABELS[1:])):
        other = {("Adam", 0): said(range(5)), ("SGD", 0): said(range(40), labels)}
        assert claims_nothing(compared(PAIR, other), "not tested on the same images")


def over_seeds(name: str, *accuracies: float, first: int = 0) -> list[RunResult]:
    return [record(name, seed=seed, accuracy=a) for seed, a in enumerate(accuracies, first)]


def test_over_common_seeds_the_differences_are_compared_by_a_paired_t_interval() -> None:
    runs = over_seeds("Adam", 0.95, 0.96, 0.97) + over_seeds("SGD", 0.94, 0.96, 0.94)
    found = compared(runs, {})  # differences 0.01, 0, 0.03: mean 0.01333, s 0.01528, t 4.303
    assert found.sentence == (
        "Over the 3 seeds that both have, the first is ahead by 0.0133 on average, 95 % confidence interval -0.0246 "
        "to 0.0513 (paired t, n = 3): which is better cannot be told."
    )
    certain = compared(over_seeds("Adam", 0.95, 0.96, 0.97) + over_seeds("SGD", 0.90, 0.911, 0.919), {})
    assert certain.certain
    assert certain.sentence.endswith("(paired t, n = 3): the two settings differ by more than the luck of a seed.")


def test_a_single_common_seed_is_compared_on_its_images_and_named() -> None:
    runs = over_seeds("Adam", 0.95, 0.96) + over_seeds("SGD", 0.9, 0.91, first=1)
    stored = {("Adam", 1): said(range(10)), ("SGD", 1): said(range(4, 20)), ("Adam", 0): said(range(199))}
    assert "Of the 200 test images (both with seed 1) only the first has 10 right" in compared(runs, stored).sentence


def test_settings_without_a_common_seed_cannot_be_compared_run_by_run() -> None:
    runs = over_seeds("Adam", 0.95, 0.96) + over_seeds("SGD", 0.9, 0.91, first=2)
    assert claims_nothing(compared(runs, {}), "They have no seed in common")


def test_where_one_setting_has_several_seeds_and_none_in_common_nothing_is_claimed_of_images() -> None:
    stored = {(name, seed): said(range(9)) for name in ("Adam", "SGD") for seed in range(3)}
    for first, second in (((0.95, 0.96), (0.9,)), ((0.95,), (0.9, 0.91))):
        runs = over_seeds("Adam", *first) + over_seeds("SGD", *second, first=2)
        assert compared(runs, stored).sentence.startswith("They have no seed in common")


def test_two_common_seeds_are_enough_for_an_interval_and_who_leads_by_other_seeds_may_be_behind() -> None:
    runs = over_seeds("Adam", 0.90, 0.90, 0.99, 0.99) + over_seeds("SGD", 0.93, 0.932)
    found = compared(runs, {})
    assert found.certain
    assert found.sentence.startswith("Over the 2 seeds that both have, the first is ahead by -0.0310 on average")


def test_settings_that_are_equal_in_every_seed_are_not_told_apart() -> None:
    found = compared(over_seeds("Adam", 0.95, 0.96) + over_seeds("SGD", 0.95, 0.96), {})
    assert not found.certain
    assert "interval 0.0000 to 0.0000 (paired t, n = 2): which is better cannot be told." in found.sentence


@pytest.mark.parametrize("seeds", [(0, 1), (1, 0)])
def test_of_runs_with_different_seeds_no_seed_is_named(seeds: tuple[int, int]) -> None:
    runs = [record(name, accuracy=a, seed=s) for name, a, s in zip(("Adam", "SGD"), (0.95, 0.9), seeds, strict=True)]
    stored = {("Adam", seeds[0]): said(range(10)), ("SGD", seeds[1]): said(range(4, 20))}
    sentence = compared(runs, stored).sentence
    assert sentence.startswith("Of the 200 test images only the first has 10 right, only the second 4")


def test_another_number_of_test_images_is_not_the_same_images() -> None:
    for first, second in ((LABELS, LABELS[:100]), (LABELS[:100], LABELS)):
        fewer = {("Adam", 0): said(range(5), first), ("SGD", 0): said(range(5), second)}
        assert claims_nothing(compared(PAIR, fewer), "not tested on the same images")


def test_as_many_mistakes_on_other_images_are_no_proof_that_both_are_right_on_the_same() -> None:
    found = compared(PAIR, {("Adam", 0): said(range(5)), ("SGD", 0): said(range(5, 10))})
    assert claims_nothing(found, "only the first has 5 right, only the second 5: McNemar's exact test gives p = 1, so")


@pytest.mark.parametrize(("both", "p", "certain"), [(5, "0.062", False), (6, "0.031", True), (14, "0.00012", True)])
def test_p_below_5_percent_is_certain_and_told_with_two_digits(both: int, p: str, certain: bool) -> None:
    found = compared(PAIR, {("Adam", 0): said(range(0)), ("SGD", 0): said(range(both))})
    assert (found.certain, f"p = {p}, " in found.sentence) == (certain, True)


@pytest.mark.parametrize("runs", [[], PAIR[:1]], ids=["none", "one"])
def test_there_is_nothing_to_compare_without_a_second_setting(runs: list[RunResult]) -> None:
    assert compare(Ranking(judged(runs)), lambda _: None) is None
