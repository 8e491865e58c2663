"""The answers say no more than the records do: of values that were lost, of what cannot be told, of ties."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mnist_lightning.records.results import RunResult
from mnist_lightning.report.answers import COLLAPSED, MISTAKES, WHAT_MATTERED, answers
from mnist_lightning.report.frame import frame_of
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.stored import Stored
from report_cases import diverged, judged, predictions_of, record


def answers_of(runs: list[RunResult]) -> dict[str, tuple[str, str]]:
    """{what it is about: the short answer and all its sentences}."""
    told = answers(Ranking(frame_of(runs)), Stored())
    return {about: (answer.short, " ".join(answer.sentences)) for about, answer in told.items()}


def test_a_value_of_which_every_run_diverged_is_said_to_be_not_compared() -> None:
    runs = [record(o, loss) for o in ("Adam", "SGD") for loss in ("mse", "mae")]
    runs += [diverged(r.optimizer, r.loss_func, 1e30) for r in runs]
    short, sentences = answers_of([replace(r, accuracy_test=0.5) if r.optimizer == "SGD" else r for r in runs])[
        WHAT_MATTERED
    ]
    assert short == "The optimizer: up to 0.40 of accuracy (of completed runs)"
    assert sentences.startswith("Learning rate 1e+30: none of its 4 runs was completed, so it is not compared. Optim")


def test_where_nothing_else_varies_the_lost_value_is_said_too() -> None:
    short, sentences = answers_of([record(), diverged(lr=1e30)])[WHAT_MATTERED]
    assert short == "Nothing to compare"
    assert sentences.endswith("Learning rate 1e+30: its run was not completed, so it is not compared.")


def test_where_values_are_lost_between_rate_and_optimizer_the_comparison_is_one_of_completed_runs() -> None:
    runs = [
        record("Adam", lr=0.01),
        record("SGD", lr=0.01, accuracy=0.5),
        record("SGD", accuracy=0.6),
        diverged(lr=9.0),
    ]
    short, _ = answers_of(runs)[WHAT_MATTERED]
    assert short == "No: optimizer 0.35, learning rate 0.10 (of completed runs)"
    assert "(of completed" not in answers_of(runs[:3])[WHAT_MATTERED][0]


def test_which_runs_collapsed_is_not_told_where_it_cannot_be() -> None:
    low = [record("SGD", lr=lr, accuracy=0.15) for lr in (0.1, 0.01)]
    assert answers_of(low)[COLLAPSED][0] == "It cannot be told of 2"
    assert answers_of([*low, record()])[COLLAPSED][0] == "None of 3; of 2 it cannot be told"
    frame = judged([*low, record()])
    unclear = frame["learning_rate"] == 0.1
    frame = frame.assign(verdict=frame["verdict"].mask(unclear, "unclear"), collapsed=frame["collapsed"] & ~unclear)
    assert answers(Ranking(frame), Stored())[COLLAPSED].short == "1 of 3; of 1 it cannot be told"
    assert answers_of([record()])[COLLAPSED][0] == "None of 1"


def test_confusions_that_are_equally_frequent_are_told_together() -> None:
    true = np.array([7, 7, 8, 8, 1, 0, 2, 3, 4, 5])

    def told(said: list[int]) -> str:
        ranking = Ranking(frame_of([record()]))
        return " ".join(answers(ranking, Stored(predictions=predictions_of(true, np.array(said))))[MISTAKES].sentences)

    assert "Its most frequent confusion: a 7 taken for a 1, 2 times." in told([1, 1, 3, 8, 1, 0, 2, 3, 4, 5])
    assert "Its most frequent confusions, 2 times each: a 7 taken for a 1, an 8 taken for a 3." in told(
        [1, 1, 3, 3, 1, 0, 2, 3, 4, 5]
    )
    assert "frequent" not in told([1, 7, 3, 8, 1, 0, 2, 3, 4, 5])
