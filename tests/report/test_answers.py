"""The answers say no more than the records do: of values that were lost, of what cannot be told, of ties."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from mnist_lightning.records.plan import PLAN
from mnist_lightning.records.results import RunResult
from mnist_lightning.report.answers import COLLAPSED, MISTAKES, WHAT_MATTERED, WINNER, answers
from mnist_lightning.report.figures_curves import learning_curves
from mnist_lightning.report.frame import frame_of
from mnist_lightning.report.frame import runs as frame_runs
from mnist_lightning.report.ranking import BY_VALIDATION, Ranking, seeds_of
from mnist_lightning.report.stored import Curve, Stored
from mnist_lightning.report.style import looks
from mnist_lightning.report.terminal import leaderboard
from report_cases import diverged, failed, judged, predictions_of, record


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


def test_of_a_setting_over_seeds_it_is_said_how_many_of_its_runs_did_not_learn() -> None:
    runs = [record(accuracy=a, seed=s) for s, a in enumerate((0.9, 0.8, 0.1))]
    assert "over 3 seeds, standard deviation 0.4359, 33% of them unclear. As" in answers_of(runs)[WINNER][1]
    assert "standard deviation 0.0707, all learned. As" in answers_of(runs[:2])[WINNER][1]


def test_a_lead_on_images_held_out_is_said_to_be_one() -> None:
    runs = [record(accuracy=a, lr=lr, val_size=500, accuracy_val=a + 0.02) for lr, a in ((0.1, 0.9), (0.01, 0.8))]
    told = answers_of(runs)[WINNER][1]
    assert "0.1000 ahead of the second (Adam, mse, learning rate 0.01, 0.8200) by validation accuracy, which is" in told
    assert "which is 50 images of the 500 held out." in told
    _, head, first, _ = leaderboard(runs).splitlines()
    assert head.split()[5:] == ["val", "test", "binary", "s"]
    assert first.split()[5:7] == ["0.9200", "0.9800"]


def test_a_run_that_is_not_trained_yet_puts_its_setting_behind_no_other(tmp_path: Path) -> None:
    config = {"optimizer": {"name": "adam", "options": {}}, "loss": "mse", "model": {}}
    runs = [record(lr=lr, accuracy=a, seed=s) for lr, a in ((0.1, 0.9), (0.01, 0.7)) for s in (0, 1)]
    runs = [replace(r, fingerprint=f"{i:016x}") for i, r in enumerate(runs)]
    plan = {
        r.fingerprint: {"run_name": r.run_name, "config": {**config, "lr": r.learning_rate, "seed": r.seed}}
        for r in runs
    }
    (tmp_path / PLAN).write_text(json.dumps({"runs": plan}))
    ranking = Ranking(frame_of(runs[1:], tmp_path))
    assert ranking.ranked_settings[["learning_rate", "runs", "all_runs"]].to_numpy().tolist() == [
        [0.1, 1, 2],
        [0.01, 2, 2],
    ]


def test_spreads_that_look_alike_are_told_with_more_digits_and_those_of_single_runs_are_not_compared() -> None:
    runs = [record("Adam", lr=0.01), record("SGD", lr=0.01, accuracy=0.899), record("Adam", lr=0.1, accuracy=0.8976)]
    runs += [record("SGD", lr=0.1, accuracy=0.8976)]
    assert answers_of(runs)[WHAT_MATTERED][0] == "Yes: learning rate 0.0019, optimizer 0.0005"
    drawn = [record(o, lr=0.01 * (i + 1), accuracy=0.5 + 0.1 * i) for i, o in enumerate(("Adam", "SGD", "SGD", "SGD"))]
    short, sentences = answers_of(drawn)[WHAT_MATTERED]
    assert short == "It cannot be told: each learning rate has a single run"
    assert "Learning rate: test accuracy from 0.500 (0.01) to 0.800 (0.04). Each value has a single run," in sentences


def test_curves_of_one_epoch_have_an_axis_of_epochs_and_those_of_one_name_are_told_apart() -> None:
    runs = list(frame_runs(frame_of([record(seed=0), record(seed=1, accuracy=0.15)])))
    columns = {name: [0.5] for name in ("val_accuracy", "train_accuracy", "val_mse", "train_mse")} | {"epoch": [1.0]}
    curves = [Curve(run, why, columns) for run, why in zip(runs, ("best", "unclear"), strict=True)]
    figure = learning_curves(curves, looks(frame_of([record()])))
    left = figure.axes[0]
    figure.canvas.draw()
    low, high = left.get_xlim()
    assert [tick for tick in left.get_xticks() if low <= tick <= high] == [1.0]
    labels = [str(line.get_label()) for line in left.lines if not str(line.get_label()).startswith("_")]
    assert labels[:2] == ["best: Adam mse 0.001, seed 0", "unclear: Adam mse 0.001, seed 1"]
    assert labels[-1] == "cross: on the training images"
    colours = {line.get_color() for line in left.lines if str(line.get_label()) in labels[:2]}
    assert len(colours) == 2


def test_a_setting_that_would_be_second_but_for_its_losses_is_named() -> None:
    runs = [record(o, accuracy=a, seed=s) for o, a in (("Adam", 0.9), ("RMSprop", 0.75), ("SGD", 0.8)) for s in (0, 1)]
    runs[-1] = failed(optimizer="SGD", seed=1)
    told = answers_of(runs)[WINNER][1]
    assert "ahead of the second (RMSprop, mse, learning rate 0.001, mean 0.7500" in told
    assert "A higher mean has SGD, mse, learning rate 0.001, 0.8000 over 1 of 2 seeds: what is left after" in told
    assert "A higher mean" not in answers_of(runs[:4])[WINNER][1]


def test_seeds_are_counted_in_words() -> None:
    counted = [seeds_of(SimpleNamespace(runs=n, all_runs=wanted)) for n, wanted in ((1, 1), (3, 3), (2, 3), (0, 1))]
    assert counted == ["1 seed", "3 seeds", "2 of 3 seeds", "0 of 1 seed"]


def test_of_the_best_setting_the_runs_that_learned_are_marked_and_else_the_median_one() -> None:
    runs = [record(accuracy=a, seed=s) for s, a in enumerate((0.9, 0.95, 0.15))] + [record("SGD", accuracy=0.3)]
    ranking = Ranking(frame_of(runs))
    assert ranking.frame.loc[ranking.best_rows, "accuracy_test"].tolist() == [0.9, 0.95]
    low = Ranking(frame_of([record(accuracy=a, seed=s) for s, a in enumerate((0.12, 0.15, 0.11))]))
    assert low.frame.loc[low.best_rows, "accuracy_test"].tolist() == [0.12]


def test_two_planned_seeds_of_which_one_is_there_are_several(tmp_path: Path) -> None:
    runs = [replace(record(seed=s), fingerprint=f"{s:016x}") for s in (0, 1)]
    config = {"optimizer": {"name": "adam", "options": {}}, "loss": "mse", "model": {}, "lr": 0.001}
    plan = {r.fingerprint: {"run_name": r.run_name, "config": {**config, "seed": r.seed}} for r in runs}
    (tmp_path / PLAN).write_text(json.dumps({"runs": plan}))
    assert Ranking(frame_of(runs[:1], tmp_path)).several_seeds
    assert not Ranking(frame_of(runs[:1])).several_seeds


def test_of_each_setting_one_run_is_typical_and_what_was_not_completed_is_not_counted_so() -> None:
    runs = [record(o, accuracy=a, seed=s) for o in ("Adam", "SGD") for s, a in enumerate((0.7, 0.8, 0.9))]
    ranking = Ranking(frame_of([*runs, failed(seed=7), diverged("SGD", lr=9.0)]))
    assert ranking.typical["accuracy_test"].tolist() == [0.8, 0.8]
    assert ranking.num_completed == 6
    assert ranking.ranked_settings.index.tolist() == [0, 1]


def test_one_image_held_out_of_each_run_is_validation() -> None:
    assert Ranking(frame_of([record(val_size=1), record(lr=0.1, val_size=1)])).rule is BY_VALIDATION
    assert Ranking(frame_of([record(val_size=1), record(lr=0.1)])).rule is not BY_VALIDATION
