"""What the study found, one finding after another, beside our runs: whether it holds, does not hold, or cannot be told.

The rule is `RULE`. Accuracy is the study's, binary accuracy on the test images, wherever it is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from mnist_lightning.report.published import CONDITIONS, published_rows
from mnist_lightning.report.statistics import paired_interval, prediction_interval, wilson_interval
from mnist_lightning.report.table import Column, Table
from mnist_lightning.report.verdicts import COLLAPSED, LEARNED

HOLDS, FAILS, UNTOLD = "holds", "does not hold", "cannot tell"
RULE = (
    "How it is judged: never from one seed. That a setting does not learn holds if no run of it learned and every one "
    "collapsed or diverged, and does not hold if all of them learned. That one side beats another holds if the 95 % "
    "interval of the mean difference, seed by seed (Student's t), lies above 0; it does not hold if the interval lies "
    "below 0, or below half of the published difference. Differences are of binary accuracy on the test images, as the "
    "study counts it, averaged over the networks that both sides have, and between the losses over the settings with "
    "which something learned. Where the best of several is meant, it is chosen for each seed by the other seeds. The "
    "number of mistakes holds if the study's lies where one more run of ours would fall with a chance of 95 %. And no "
    "verdict is given that fewer training steps than the study's, or a smaller network than any of its, could bring "
    "about by themselves: then only that a setting collapsed is told, or that ours did better."
)
_STEPS = CONDITIONS["epochs"] * CONDITIONS["train_size"]  # images seen in training
_SMALLEST = min(row.num_parameters for row in published_rows())
_SHORTER = "fewer training steps than the study's could bring that about by themselves"
_SMALLER = "a network smaller than any of the study's could bring that about by itself"
_NETWORK = ["architecture", "further"]
_PUBLISHED = {(row.optimizer, row.learning_rate): row for row in published_rows() if row.table == "second table"}
_BEST = max(published_rows(), key=lambda row: row.binary_accuracy_test)
_WRONG, _OF = 54, 10_000  # of the study's best network; its binary accuracy has too few digits to tell


@dataclass(frozen=True)
class Finding:
    """A finding of the study's and its figure; ours, from so many seeds, with its 95 % interval; the verdict, and why.

    NaN where there is no interval.
    """

    claim: str
    published: str
    ours: str = "no run of it here"
    seeds: int = 0
    low: float = np.nan
    high: float = np.nan
    verdict: str = UNTOLD
    why: str = "not run"
    form: str = "+.4f"  # of the ends of the interval

    @property
    def interval(self) -> str:
        """`-0.0012 to +0.0034`, or nothing where there is none."""
        return "" if np.isnan(self.low) else f"{self.low:{self.form}} to {self.high:{self.form}}"

    @property
    def is_decided(self) -> bool:
        """Whether these runs tell that it holds, or that it does not."""
        return self.verdict != UNTOLD


def findings(frame: pd.DataFrame) -> list[Finding]:
    """Every finding of the study's judged by the runs of a frame; empty where they can speak to none of them."""
    if len(frame) < 2:
        return []
    ours = frame[(frame["dataset"] == "mnist") & (frame["batch_size"] == CONDITIONS["batch_size"])]
    ours = ours[ours["finished"] | (ours["status"] == "diverged")]
    for column in ("optimizer", "loss_func", "learning_rate"):  # of what the study never had it has found nothing
        ours = ours[ours[column].isin({getattr(row, column) for row in published_rows()})]
    judged = [*_not_learning(ours), *_contests(ours), _wrong(ours)]
    return judged if any(finding.seeds for finding in judged) else []


def findings_table(frame: pd.DataFrame) -> Table:
    """The findings as a table, with what the runs have less of than the study's in its note."""
    judged = findings(frame)
    columns = [
        Column("Finding", about="what the study says, or its tables show"),
        Column("Verdict", about="holds, does not hold, or cannot tell from this"),
        Column("The study", about="its figure; accuracies and differences are binary, on the test images"),
        Column("Here", about="ours; accuracies and differences are binary, on the test images"),
        Column("95 % interval", about="of a share, of a mean difference, or of one more run"),
        Column("Seeds", "0", "with runs on all sides of the comparison"),
        Column("Why"),
    ]
    rows: list[list[Any]] = [[f.claim, f.verdict, f.published, f.ours, f.interval, f.seeds, f.why] for f in judged]
    note = f"{len(judged)} findings, {counted(judged)}. {_scale(frame)}" if judged else ""
    return Table("Findings", columns, rows, note)


def counted(judged: Sequence[Finding]) -> str:
    """`holds: 5, does not hold: 1, cannot tell: 8`."""
    numbers = [(verdict, sum(finding.verdict == verdict for finding in judged)) for verdict in (HOLDS, FAILS, UNTOLD)]
    return ", ".join(f"{verdict}: {n}" for verdict, n in numbers)


def _scale(frame: pd.DataFrame) -> str:
    """What the runs had of what the study's had more of."""
    ours = frame[frame["finished"]]
    if ours.empty:
        return ""
    names, epochs, images = (sorted(set(ours[c].dropna().tolist())) for c in ("architecture", "epochs", "train_size"))
    networks = ", ".join(names) if len(names) <= 4 else f"{len(names)} networks"
    what = [_span(values, word) for values, word in ((epochs, "epoch"), (images, "training image"))]
    return (
        f"These runs: {networks}, {', '.join(what)}. The study's: 32 or 64 channels, 20 epochs, 60,000 training images."
    )


def _span(values: Sequence[int], word: str) -> str:
    low, high = min(values), max(values)
    return f"{low:,}{'' if low == high else f' to {high:,}'} {word}{'s' * (high != 1)}"


def _not_learning(ours: pd.DataFrame) -> list[Finding]:
    """Those settings of the second table that ended no better than guessing; SGD's was only slow."""
    judged = []
    for (optimizer, rate), row in _PUBLISHED.items():
        if row.collapsed:
            is_slow = optimizer == "SGD"
            what = "is too slow to learn in 20 epochs" if is_slow else "does not learn"
            finding = Finding(f"{optimizer} at {rate:g} {what}", f"accuracy {row.binary_accuracy_test:.4f}")
            judged.append(_does_not_learn(finding, _of(ours, optimizer, rate), is_slow))
    return judged


def _does_not_learn(finding: Finding, runs: pd.DataFrame, is_slow: bool) -> Finding:
    """Judges by whether all runs of a setting learned, or none; a small network bears a larger rate."""
    if runs.empty:
        return finding
    learned, n, how = int((runs["verdict"] == LEARNED).sum()), len(runs), _how(runs)
    low, high = wilson_interval(learned, n)
    finding = replace(
        finding, ours=f"{learned} of {n} runs learned", seeds=runs["seed"].nunique(), low=low, high=high, form=".0%"
    )
    if finding.seeds < 2:
        return replace(finding, why="one seed")
    if 0 < learned < n:
        return replace(finding, why=f"it is a matter of the seed: {how}")
    if learned:
        if not is_slow and (because := _less(runs)):
            return replace(finding, why=f"all learned, but {because}")
        return replace(finding, verdict=FAILS, why=f"{_seeds(runs)}: all learned")
    if is_slow and _is_shorter(runs):
        return replace(finding, why=f"none learned, but {_SHORTER}")
    if not is_slow and not runs["verdict"].isin([COLLAPSED, "diverged"]).all():
        return replace(finding, why=f"none learned, but whether they would have is not known: {how}")
    return replace(finding, verdict=HOLDS, why=f"{_seeds(runs)}: {how}")


def _contests(ours: pd.DataFrame) -> list[Finding]:
    """Every finding that says that one side is better than another."""
    at = {key: row.binary_accuracy_test for key, row in _PUBLISHED.items()}
    setting = ["optimizer", "loss_func", "learning_rate"]
    winner = _of(ours, _BEST.optimizer, _BEST.learning_rate)
    is_largest = winner["num_parameters"] == winner["num_parameters"].max()
    adam, rmsprop = (_of(ours, name, 0.001) for name in ("Adam", "RMSprop"))
    slow, middle, fast = (_of(ours, "SGD", rate) for rate in (0.001, 0.01, 0.1))
    mse, mae = (ours[ours["loss_func"] == loss] for loss in ("mse", "mae"))
    all_of_rmsprop, sgd = (ours[ours["optimizer"] == name] for name in ("RMSprop", "SGD"))
    best_sgd = max(row.binary_accuracy_test for row in published_rows() if row.optimizer == "SGD")
    best_other = max(row.binary_accuracy_test for row in published_rows() if row.key[:3] != _BEST.key[:3])
    of_largest = max(published_rows(), key=lambda row: row.num_parameters).binary_accuracy_test
    best = _BEST.binary_accuracy_test
    best_rows = [row for row in published_rows() if row.table == "first table"]
    of_best = f"{sum(row.loss_func == 'mse' for row in best_rows)} of the {len(best_rows)} best"
    contests = [
        (_Contest("At 0.001 RMSprop beats Adam", at["RMSprop", 0.001] - at["Adam", 0.001]),
         rmsprop, adam, setting, _NETWORK),
        (_Contest("SGD gets better from 0.001 to 0.01", at["SGD", 0.01] - at["SGD", 0.001]),
         middle, slow, setting, _NETWORK),
        (_Contest("SGD gets better from 0.01 to 0.1", at["SGD", 0.1] - at["SGD", 0.01]),
         fast, middle, setting, _NETWORK),
        (_Contest("RMSprop with mse at 0.001 is the best setting", best - best_other),
         winner, ours.drop(winner.index), setting, _NETWORK),
        (_Contest("The best of RMSprop beats the best of SGD", best - best_sgd),
         all_of_rmsprop, sgd, setting, _NETWORK),
        (_Contest("Squared error beats absolute error", of_best, only_learned=True),
         mse, mae, ["loss_func"], ["optimizer", "learning_rate", *_NETWORK]),
        (_Contest("The largest network is not the best", best - of_largest),
         winner[~is_largest], winner[is_largest], ["architecture"], [*setting, "further"]),
    ]  # fmt: skip
    return [_beats(*contest) for contest in contests]


@dataclass(frozen=True)
class _Contest:
    """That one side beats another, by so much (in words where no difference was published).

    With `only_learned` only what something learned with is compared: where nothing did, chance decides.
    """

    claim: str
    published: float | str
    only_learned: bool = False


def _beats(
    contest: _Contest, better: pd.DataFrame, worse: pd.DataFrame, candidate: list[str], block: list[str]
) -> Finding:
    """Judges whether the best candidate of one side beats that of the other with each seed.

    `candidate` and `block` are columns; a candidate's score with a seed is its mean over all blocks which both have.
    """
    published = contest.published
    finding = Finding(contest.claim, published if isinstance(published, str) else f"{published:+.4f}")
    sides = _in_common([side[side["finished"]] for side in (better, worse)], block, contest.only_learned)
    if any(side.empty for side in sides):
        return finding
    scores = [_scores(side, candidate, block) for side in sides]
    seeds = scores[0].index.intersection(scores[1].index)
    scores = [score.loc[seeds].dropna(axis="columns") for score in scores]
    if len(seeds) < 2 or any(score.empty for score in scores):
        why = "no setting has every seed" if len(seeds) > 1 else "fewer than two seeds have all runs of both sides"
        return replace(finding, ours="", seeds=len(seeds), why=why)
    first, second = (_best_by_the_others(score) for score in scores)
    differences = (first - second).tolist()
    low, high = paired_interval(differences)
    judged = replace(finding, ours=f"{np.mean(differences):+.4f}", seeds=len(seeds), low=low, high=high)
    small = 0.0 if isinstance(published, str) else published / 2
    verdict = HOLDS if low > 0 else FAILS if high < small else UNTOLD
    if verdict == UNTOLD:
        half = f" and {small:+.4f}, half of the published difference" if small else ""
        return replace(judged, why=f"the interval has 0{half} in it")
    runs, looks = pd.concat(sides), "it looks so" if verdict == HOLDS else "it does not look so"
    if because := _less(runs):
        return replace(judged, why=f"{looks}, but {because}")
    each = ", ".join(f"seed {seed} {difference:+.4f}" for seed, difference in zip(seeds, differences, strict=True))
    return replace(judged, verdict=verdict, why=each)


def _in_common(sides: list[pd.DataFrame], block: list[str], only_learned: bool) -> list[pd.DataFrame]:
    """The runs of each side in those blocks that the other has, too."""
    keys = [list(side[block].itertuples(index=False, name=None)) for side in sides]
    common = set(keys[0]) & set(keys[1])
    if only_learned:
        common &= {
            key
            for side, of_side in zip(sides, keys, strict=True)
            for key, verdict in zip(of_side, side["verdict"], strict=True)
            if verdict == LEARNED
        }
    return [side[[key in common for key in of_side]] for side, of_side in zip(sides, keys, strict=True)]


def _scores(side: pd.DataFrame, candidate: list[str], block: list[str]) -> pd.DataFrame:
    """Mean accuracy by seed, a row, and candidate, a column; NaN where a run of some block is not there."""
    groups = side.groupby(["seed", *candidate])["binary_accuracy_test"]
    is_whole = groups.size() == len(side[block].drop_duplicates())
    return groups.mean().where(is_whole).unstack(candidate).dropna(how="all")


def _best_by_the_others(scores: pd.DataFrame) -> np.ndarray:
    """For each seed, a row, the score of the candidate, a column, that is best on the mean of the other seeds.

    The best of many by its own score would be the luckiest.
    """
    values = scores.to_numpy(dtype=float)
    others = values.sum(axis=0) - values  # [seeds, candidates]
    return values[np.arange(len(values)), others.argmax(axis=1)]


def _wrong(ours: pd.DataFrame) -> Finding:
    """How many test images the best network gets wrong: whether the study's number is one that we might get, too."""
    finding = Finding("The best network is wrong on 54 of 10,000 test images", f"{_WRONG}")
    whole = ours[ours["finished"] & (ours["test_size"] == _OF)]  # those that died, too: else survivors would be best
    if not (whole["verdict"] == LEARNED).any():
        return replace(finding, why=f"no run that learned was tested on {_OF:,} images")
    best = whole.groupby("setting")["accuracy_test"].mean().idxmax()
    runs = whole[whole["setting"] == best]
    wrong = [round((1 - accuracy) * _OF) for accuracy in runs["accuracy_test"]]
    finding = replace(finding, ours=f"{np.mean(wrong):.0f} wrong", seeds=runs["seed"].nunique())
    if finding.seeds < 2:
        return replace(finding, why="one seed")
    low, high = prediction_interval(wrong)
    finding = replace(finding, low=max(low, 0.0), high=high, form=".0f")
    each = f"{', '.join(map(str, sorted(wrong)))} ({best})"
    if high >= _WRONG and (because := _less(runs)):  # also where so wide a range has the study's number in it
        return replace(finding, why=f"{each} here, but {because}")
    if low <= 0:
        return replace(finding, why=f"too few seeds for so wide a spread: {each}")
    if low <= _WRONG <= high:
        return replace(finding, verdict=HOLDS, why=f"one more run might have {_WRONG}; ours have {each}")
    return replace(finding, verdict=FAILS, why=f"ours have {each}")


def _of(ours: pd.DataFrame, optimizer: str, rate: float) -> pd.DataFrame:
    """Runs of an optimizer at a rate with squared error, with which the study compares them."""
    return ours[(ours["optimizer"] == optimizer) & (ours["learning_rate"] == rate) & (ours["loss_func"] == "mse")]


def _is_shorter(runs: pd.DataFrame) -> bool:
    done = runs[runs["finished"]]
    return bool((done["epochs"] * done["train_size"] < _STEPS).any())


def _less(runs: pd.DataFrame) -> str:
    """What the runs have less of than the study's, as a reason for no verdict; empty where they are as large."""
    if _is_shorter(runs):
        return _SHORTER
    return _SMALLER if (runs["num_parameters"] < _SMALLEST).any() else ""


def _seeds(runs: pd.DataFrame) -> str:
    seeds = sorted(runs["seed"].unique())
    return f"seeds {', '.join(map(str, seeds))}"


def _how(runs: pd.DataFrame) -> str:
    return ", ".join(f"{n} {verdict}" for verdict, n in runs["verdict"].value_counts().sort_index().items())
