"""What became of a run that was completed: learned, not yet learned, or collapsed. The rule, in one place."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from mnist_lightning.errors import RefusedError
from mnist_lightning.records.predictions import load_predictions
from mnist_lightning.records.results import RunResult
from mnist_lightning.report.curves import Columns, place_of, read_curve, run_directory

LEARNED, NOT_YET, COLLAPSED, UNCLEAR = "learned", "not yet learned", "collapsed", "unclear"
NO_ACCURACY = "no accuracy"
VERDICTS = (LEARNED, NOT_YET, COLLAPSED, UNCLEAR, NO_ACCURACY, "pruned", "diverged", "failed")
DIGITS = 10  # classes, where a record says nothing else
# share of ten classes' test images: twice what guessing gets, so that a small test set cannot blur it
GUESSING = 0.20
FELL_FROM = 0.30  # accuracy in any epoch: a network that was so good had learned; a few images more are luck
ONE_ANSWER = 0.99  # share of the test images that get the same answer: constant
SURE = 0.5  # median confidence of such answers: softmax has no gradient left then; SGD at first is undecided, 0.1
EPOCHS = 4  # with fewer, chance alone often looks like a fall
# The training error must still fall over the last half of the epochs, but no fewer than six of them
WINDOW, SHORTEST = 0.5, 6
STILL_FALLS = 1e-6  # of the error, between the halves of the window: SGD at a small rate moves no faster
ROUNDING = 1e-7  # of the error, within the later half: less is the last digit of a float32
RISES = 0.25  # of all falls from epoch to epoch: what rises more is noise

FELL = "the accuracy fell back to guessing"
FLAT = "the training error no longer falls, or by less than a millionth"
CONSTANT = "the same digit for every image, and sure of it"
FALLS = "the training error still falls, more epochs may help"
UNTOLD = f"hardly better than guessing, and no learning curve of {EPOCHS} epochs says whether it still learned"
WHY = {NOT_YET: FALLS, UNCLEAR: UNTOLD}
MEANING = (
    f"Learned: more than {GUESSING:.0%} of the test images are right, where guessing gets about 10 %. Of the other "
    "completed runs: not yet learned, if the training error still falls (over the last half of the epochs, "
    f"{SHORTEST} or more where there are so many, it is lower in the later ones than in the earlier by more than a "
    "millionth, was still falling at the end, and rises by less "
    f"than {RISES:.0%} of what it falls); collapsed, if it falls no longer, if the accuracy was above {FELL_FROM:.0%} "
    f"in some epoch and fell back to guessing, or if the network gives the same digit for every image and is sure of "
    f"it; where no curve of {EPOCHS} epochs is stored and it does not, it cannot be told, and is called unclear. "
    "Of another number of classes than ten these limits lie as far between guessing and always right."
)


def above_chance(limit: float, classes: int) -> float:
    """A limit for ten classes, moved to where it lies between guessing and always right with another number of them.

    `limit` and what is returned are accuracies: 0.2 becomes 0.56 for 2 classes and 0.13 for 47.
    """
    if classes == DIGITS:
        return limit
    share = (limit - 1 / DIGITS) / (1 - 1 / DIGITS)
    return 1 / classes + share * (1 - 1 / classes)


def classes_of(record: Any) -> int:
    """How many classes a record's network tells apart."""
    stored = record.num_classes
    return int(stored) if stored is not None and stored == stored and stored > 1 else DIGITS  # NaN: a frame's None


def verdicts_of(
    records: Iterable[RunResult], directory: Path | None = None, places: Sequence[str] | None = None
) -> list[tuple[str, str]]:
    """Returns each run's verdict and its reason, see `MEANING`; of failed and diverged ones the error.

    Of the files in `directory` only those of runs that are hardly better than guessing are read, in the
    directory that `places` has for each record (default: see `curves.place_of`).
    """
    records = list(records)
    places = places or [place_of(record) for record in records]
    return [_state(record, directory, place) for record, place in zip(records, places, strict=True)]


def _state(record: RunResult, directory: Path | None, place: str) -> tuple[str, str]:
    if record.status != "completed":
        return record.status, record.error
    if not math.isfinite(record.accuracy_test):
        return NO_ACCURACY, record.error or "accuracy is not a number"
    classes = classes_of(record)
    low = record.accuracy_test <= above_chance(GUESSING, classes)
    curve = read_curve(directory, place) if low and directory is not None else {}
    return judge(record.accuracy_test, curve, lambda: _same_answer(directory, place), classes)


def _same_answer(directory: Path | None, place: str) -> bool | None:
    where = run_directory(directory, place) if directory else None
    try:
        stored = load_predictions(where) if where else None
    except RefusedError:
        return None
    if stored is None or not len(stored.predicted):
        return None
    digits = stored.predicted.tolist()
    return bool(np.median(stored.confidence) > SURE) and max(map(digits.count, set(digits))) >= ONE_ANSWER * len(digits)


def judge(
    accuracy: float, curve: Columns, same_answer: Callable[[], bool | None], classes: int = DIGITS
) -> tuple[str, str]:
    """Returns the state of a completed run, and why; the reason is empty for one that learned.

    `accuracy` is that on the test images; `curve` its metrics.csv, or empty; `same_answer` tells whether the network
    surely answers every test image alike, None where that is not stored, and is asked only if the curve leaves it open.
    """
    if accuracy > above_chance(GUESSING, classes):
        return LEARNED, ""
    if any(_fell(curve.get(name, []), classes) for name in ("val_accuracy", "train_accuracy")):
        return COLLAPSED, FELL
    errors = [e for e in curve.get("train_loss", []) if math.isfinite(e)]
    if len(errors) >= EPOCHS:
        if not still_falls(errors):
            return COLLAPSED, FLAT
        return (COLLAPSED, CONSTANT) if same_answer() else (NOT_YET, FALLS)
    return (COLLAPSED, CONSTANT) if same_answer() else (UNCLEAR, UNTOLD)


def _fell(accuracies: Sequence[float], classes: int) -> bool:
    """Whether an accuracy, a value per epoch, was clearly above guessing before its last epoch, and then no more."""
    was_above = any(a > above_chance(FELL_FROM, classes) for a in accuracies[:-1])
    return was_above and accuracies[-1] <= above_chance(GUESSING, classes)


def still_falls(errors: Sequence[float]) -> bool:
    """Returns whether a training error, a value for each of at least four epochs, was falling when training ended."""
    later = errors[1:]  # the first has the initial weights, which say nothing
    last = later[-max(SHORTEST, math.ceil(len(errors) * WINDOW)) :]
    half = len(last) // 2
    before, after = fmean(last[:half]), fmean(last[-half:])
    moves = [b - a for a, b in pairwise(last)]
    falls, rises = -sum(m for m in moves if m < 0), sum(m for m in moves if m > 0)
    falls_on = last[-max(half, 2)] - last[-1] > ROUNDING * before or (len(moves) > 3 and max(moves[-3:]) < 0)
    return before - after > STILL_FALLS * before and falls_on and rises < RISES * falls
