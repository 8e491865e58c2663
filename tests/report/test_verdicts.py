"""Learned, not yet learned, collapsed, or not to be told: the rule on made-up curves, and which files it reads."""

from __future__ import annotations

import math
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnist_lightning.records.predictions import PREDICTIONS, Predictions, load_predictions, save_predictions
from mnist_lightning.report.curves import Columns
from mnist_lightning.report.frame import frame_of, load_frame
from mnist_lightning.report.verdicts import (
    COLLAPSED,
    CONSTANT,
    FALLS,
    FELL,
    FLAT,
    LEARNED,
    NO_ACCURACY,
    NOT_YET,
    UNCLEAR,
    UNTOLD,
    classes_of,
    judge,
    still_falls,
    verdicts_of,
)
from report_cases import failed, full_grid, record, store


def curve(errors: list[float], accuracies: list[float] | None = None) -> Columns:
    return {"train_loss": errors, "val_accuracy": accuracies or [0.1] * len(errors)}


def noisy(level: float, share: float, epochs: int, seed: int) -> list[float]:
    rng = random.Random(seed)
    return [level * (1 + rng.gauss(0, share)) for _ in range(epochs)]


# SGD at 0.001 on 1,000 synthetic digits: so slowly can an error fall
MEASURED = [0.0899457459, 0.0899455976, 0.0899454173, 0.0899453442, 0.0899452039, 0.0899452198, 0.0899451568]
# SGD at 0.001 on a softmax of ten outputs: the error falls in its fifth digit, the accuracies are the issue's
SLOW = curve([0.0901034, 0.0900421, 0.0900002, 0.0899611], [0.140, 0.152, 0.162, 0.166])


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (SLOW, (NOT_YET, FALLS)),
        (curve(MEASURED), (NOT_YET, FALLS)),
        (curve(MEASURED[:5]), (NOT_YET, FALLS)),
        (curve([50.0, 2.306, 2.302, 2.305, 2.304, 2.306]), (COLLAPSED, FLAT)),
        (curve([0.09 - 0.0001 * i for i in range(20)]), (NOT_YET, FALLS)),
        (curve([2.3, 2.29, 2.2905, 2.27, 2.25, 2.2502, 2.2]), (NOT_YET, FALLS)),
        (curve([0.1807746, 0.180125, 0.180125, 0.180125]), (COLLAPSED, FLAT)),
        (curve([0.1793937, 0.181125, 0.181125, 0.181125]), (COLLAPSED, FLAT)),
        (curve([0.180774645, 0.180125, 0.180125001, 0.180125]), (COLLAPSED, FLAT)),  # the last digit of a float32
        (curve([2.3, 1.9, 1.5, 1.4, *[1.4] * 16]), (COLLAPSED, FLAT)),
        (curve([0.05, 0.01, 0.2, 0.18, 0.1799, 0.1798], [0.8, 0.97, 0.1, 0.1, 0.1, 0.1]), (COLLAPSED, FELL)),
        # the best of its last epoch, of running averages: it is learning
        ({"train_loss": [0.0899, 0.0892, 0.0834], "train_accuracy": [0.108, 0.229, 0.409]}, (UNCLEAR, UNTOLD)),
        (curve([0.09, 0.08, math.nan, math.inf, 0.18, 0.18, 0.18]), (COLLAPSED, FLAT)),
    ],
)
def test_the_verdict_on_a_run_no_better_than_guessing_is_its_curves(case: Columns, expected: tuple[str, str]) -> None:
    assert judge(0.1, case, lambda: None) == expected


@pytest.mark.parametrize(
    ("errors", "falls"),
    [
        ([9.0, 8.0, 7.0, 6.0], True),
        ([6.0, 7.0, 8.0, 9.0], False),
        # the first does not count: it has the initial weights
        ([0.0, 9.0, 5.0, 3.0], True),
        ([0.0, 9.0, 5.0, 3.0, 2.0], True),
        # the last six of eight epochs, the last eight of fifteen
        ([9.0, 0.0, 9.0, 3.0, 3.0, 2.0, 2.9, 1.9], True),
        ([*[0.0] * 7, 9.0, 3.0, 3.0, 3.0, 2.0, 2.9, 2.0, 1.9], True),
        # a rise of a quarter of the falls is too much, less is noise
        ([0.0, 5.0, 6.0, 3.0, 2.0], False),
        ([0.0, 5.0, 5.9, 3.0, 2.0], True),
        # lower in the later half, but not at the end
        ([9.0, 9.0, 1.0, 1.0], False),
        ([*[9.0] * 10, 10.0, 0.0, 0.0, 0.0, 0.0, 2.4, 2.4, 2.4, 2.4, 2.3], False),
        # the one in the middle of seven is in neither half
        ([*[1.0] * 11, 1.0 - 1.2e-6, 1.0 - 1.3e-6, 1.0 - 1.4e-6], True),
        ([*[1.0] * 10, 0.9, 0.8, 0.8, 0.8], False),
        # a fall by a millionth is none
        ([1.0, 1.0, 1.0 - 0.5e-6, 1.0 - 0.6e-6], False),
        ([1.0, 1.0, 1.0 - 2.0e-6, 1.0 - 2.2e-6], True),
        # three falls on end are no chance, however small the last
        ([0.0900280023, 0.0900280136, 0.0900279324, 0.0900279160, 0.0900278194, 0.0900278142], True),
        ([0.0900280023, 0.0900280136, 0.0900279160, 0.0900279324, 0.0900278194, 0.0900278142], False),
        # the last digit of a float32
        ([1.0, 1.0, 1.0 - 2.0e-6, 1.0 - 2.05e-6], False),
    ],
)
def test_an_error_falls_when_it_is_lower_later_and_at_the_end_and_rises_by_less_than_a_quarter(
    errors: list[float], falls: bool
) -> None:
    assert still_falls(errors) is falls


def test_noise_about_a_level_is_no_fall() -> None:
    curves = [curve(noisy(0.18, 0.01, epochs=20, seed=seed)) for seed in range(200)]
    assert sum(judge(0.1, each, lambda: None)[0] == NOT_YET for each in curves) <= 2


def test_a_fall_under_noise_is_still_a_fall() -> None:
    curves = [
        curve([e * (1 - 0.01 * i) for i, e in enumerate(noisy(0.09, 0.001, epochs=20, seed=seed))])
        for seed in range(200)
    ]
    assert sum(judge(0.1, each, lambda: None)[0] == COLLAPSED for each in curves) <= 2


@pytest.mark.parametrize("accuracy", [0.2001, 0.5, 0.99])
def test_a_run_better_than_guessing_learned_whatever_its_curve(accuracy: float) -> None:
    assert judge(accuracy, curve([0.18] * 9), lambda: True) == (LEARNED, "")


@pytest.mark.parametrize("few", [{}, curve([0.09]), curve([0.18, 0.09, 0.08]), {"epoch": [1.0, 2.0, 3.0]}])
@pytest.mark.parametrize("same", [True, False, None])
def test_without_four_epochs_only_constant_answers_are_called_collapsed(few: Columns, same: bool | None) -> None:
    verdict, why = judge(0.1, few, lambda: same)
    assert (verdict, why == CONSTANT) == ((COLLAPSED, True) if same else (UNCLEAR, False))


def test_who_surely_says_the_same_of_every_image_has_collapsed_though_the_error_falls_a_little() -> None:
    assert judge(0.1, SLOW, lambda: True) == (COLLAPSED, CONSTANT)
    assert judge(0.1, SLOW, lambda: False) == (NOT_YET, FALLS)


def answers_alike(directory: Path, name: str, digit: int | None, confidence: float = 1.0) -> None:
    """Let the stored predictions of a run be one digit for every image, or ten different ones; its curve goes."""
    stored = load_predictions(directory / name)
    assert stored is not None
    predicted = stored.predicted * 0 + digit if digit is not None else (stored.labels + 1) % 10
    sure = (stored.confidence * 0 + confidence).astype("float16")
    columns = {**vars(stored), "predicted": predicted.astype("uint8"), "confidence": sure}
    save_predictions(Predictions(**columns), directory / name)
    (directory / name / "metrics.csv").unlink()


def test_constant_answers_are_read_from_the_stored_predictions(tmp_path: Path) -> None:
    runs = [record(accuracy=0.1, seed=seed) for seed in range(4)]
    store(runs, tmp_path)
    answers_alike(tmp_path, runs[0].run_name, 7)
    answers_alike(tmp_path, runs[1].run_name, None)
    answers_alike(tmp_path, runs[2].run_name, 7)
    (tmp_path / runs[2].run_name / PREDICTIONS).write_bytes(b"damaged")
    answers_alike(tmp_path, runs[3].run_name, 7, confidence=0.11)  # undecided, as at first: it may learn
    assert [verdict for verdict, _ in verdicts_of(runs, tmp_path)] == [COLLAPSED, UNCLEAR, UNCLEAR, UNCLEAR]


@pytest.mark.parametrize(("others", "verdict"), [(2, COLLAPSED), (3, UNCLEAR)])
def test_the_same_answer_to_99_percent_of_the_images_is_constant(others: int, verdict: str, tmp_path: Path) -> None:
    (run,) = runs = [record(accuracy=0.1)]
    store(runs, tmp_path)  # 200 images
    answers_alike(tmp_path, run.run_name, 7)
    stored = load_predictions(tmp_path / run.run_name)
    assert stored is not None
    stored.predicted[:others] = 3
    save_predictions(stored, tmp_path / run.run_name)
    ((said, _),) = verdicts_of(runs, tmp_path)
    assert said == verdict


@pytest.mark.parametrize(("confidence", "verdict"), [(0.5, UNCLEAR), (0.501, COLLAPSED)])
def test_an_answer_is_sure_from_more_than_a_half_on(confidence: float, verdict: str, tmp_path: Path) -> None:
    (run,) = runs = [record(accuracy=0.1)]
    store(runs, tmp_path)
    answers_alike(tmp_path, run.run_name, 7, confidence)
    ((said, _),) = verdicts_of(runs, tmp_path)
    assert said == verdict


@pytest.mark.parametrize(("error", "why"), [("", "accuracy is not a number"), ("no test images", "no test images")])
def test_a_completed_run_without_an_accuracy_has_a_verdict_of_its_own(error: str, why: str) -> None:
    runs = [replace(record(), accuracy_test=math.nan, error=error)]
    assert verdicts_of(runs) == [(NO_ACCURACY, why)]


def test_at_exactly_the_bounds_a_run_is_no_better_than_guessing_and_fell_from_nothing(tmp_path: Path) -> None:
    runs = [record(accuracy=0.2)]
    store(runs, tmp_path)
    assert verdicts_of(runs, tmp_path)[0][0] not in (LEARNED, UNCLEAR)  # its curve is read
    assert judge(0.2, curve([0.18] * 4, [0.3] * 4), lambda: None) == (COLLAPSED, FLAT)
    assert judge(0.2, curve([0.18] * 4, [0.1, 0.31, 0.1, 0.1]), lambda: None) == (COLLAPSED, FELL)
    assert judge(0.2, curve([0.18] * 4, [0.1, 0.31, 0.1, 0.2]), lambda: None) == (COLLAPSED, FELL)
    assert judge(0.2, curve([0.18] * 4, [0.1, 0.31, 0.1, 0.21]), lambda: None) == (COLLAPSED, FLAT)
    train = {"train_loss": [4.0, 3.0, 2.0, 1.0], "train_accuracy": [0.31, 0.1]}
    assert judge(0.1, train, lambda: None) == (COLLAPSED, FELL)


def test_a_record_alone_cannot_tell_why_a_run_is_no_better_than_guessing() -> None:
    frame = frame_of([record(accuracy=0.1), record(accuracy=0.9, seed=1)])
    assert frame["verdict"].tolist() == [UNCLEAR, LEARNED]
    assert not frame["collapsed"].any()


def test_load_frame_judges_by_the_files_beside_the_records(tmp_path: Path) -> None:
    diverged = replace(record(accuracy=0.1, seed=2), status="diverged", error="loss is not finite in epoch 2")
    store([record(accuracy=0.1), record(accuracy=0.15, seed=1), diverged, failed(seed=3)], tmp_path)
    slow = tmp_path / record(seed=1).run_name / "metrics.csv"
    slow.write_text("epoch,train_loss,val_accuracy\n1,0.0901,0.12\n2,0.09,0.13\n3,0.0899,0.14\n4,0.0898,0.15\n")
    frame = load_frame(tmp_path).set_index("seed")
    assert frame["verdict"].tolist() == [COLLAPSED, NOT_YET, "diverged", "failed"]
    assert frame["why"].tolist() == [FLAT, FALLS, diverged.error, failed().error]


def test_curves_are_read_only_where_the_record_does_not_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mnist_lightning.report import verdicts

    asked = []
    monkeypatch.setattr(verdicts, "read_curve", lambda _, name: asked.append(name) or {})
    results = full_grid()
    verdicts_of(results, tmp_path)
    assert asked == [r.run_name for r in results if r.accuracy_test <= 0.2]


def test_ten_thousand_curves_are_read_in_seconds(tmp_path: Path) -> None:
    low = record(accuracy=0.1)
    store([low], tmp_path)
    started = time.process_time()
    verdicts_of([low] * 10_000, tmp_path)
    assert time.process_time() - started < 10


@pytest.mark.parametrize(("classes", "limit", "fell"), [(10, 0.2, 0.3), (2, 0.5556, 0.6112), (47, 0.1301, 0.2391)])
def test_what_is_hardly_better_than_guessing_depends_on_the_number_of_classes(
    classes: int, limit: float, fell: float
) -> None:
    assert judge(limit + 1e-3, {}, lambda: None, classes) == (LEARNED, "")
    assert judge(limit - 1e-3, {}, lambda: None, classes)[0] == UNCLEAR
    assert judge(limit - 1e-3, curve([0.18] * 4, [0.1, fell + 1e-3, 0.1, 0.1]), lambda: None, classes) == (
        COLLAPSED,
        FELL,
    )
    assert judge(limit - 1e-3, curve([0.18] * 4, [0.1, fell - 1e-3, 0.1, 0.1]), lambda: None, classes)[1] != FELL


def test_a_record_without_a_number_of_classes_has_ten() -> None:
    numbers: list[Any] = [None, math.nan, 0, 10]
    for stored in numbers:
        assert classes_of(replace(record(), num_classes=stored)) == 10
    assert classes_of(replace(record(), num_classes=47)) == 47
