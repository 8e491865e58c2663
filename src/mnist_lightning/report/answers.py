"""The questions a newcomer has after a sweep, answered in sentences from the records."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from mnist_lightning.records.predictions import Predictions
from mnist_lightning.report.comparison import Comparison
from mnist_lightning.report.effects import FACTORS, MOST_VALUES, Effect, lost_values
from mnist_lightning.report.frame import runs
from mnist_lightning.report.ranking import BY_VALIDATION, Ranking, seeds_of
from mnist_lightning.report.state import State
from mnist_lightning.report.stored import Stored, confusions, thing_of
from mnist_lightning.report.verdicts import COLLAPSED as COLLAPSED_RUNS
from mnist_lightning.report.verdicts import LEARNED, NOT_YET, UNCLEAR, WHY

MOST_LISTED = 24
MOST_LOST = 3  # values of which no run was completed, settings that stand behind others for their losses
MOST_TIED = 3  # confusions that are equally frequent
ALIKE = 0.9  # of two spreads: closer than this is no difference to talk about


@dataclass(frozen=True)
class Answer:
    """A question, the short answer, sentences that explain it, and runs it is about."""

    question: str
    short: str
    sentences: list[str]
    runs: list[str] = field(default_factory=list)


WINNER, WHAT_MATTERED, COLLAPSED, MISTAKES, FAILED = "winner", "what-mattered", "collapsed", "mistakes", "failed"


def answers(ranking: Ranking, stored: Stored) -> dict[str, Answer]:
    """{what it is about: the answer}, in the order in which people ask."""
    return {
        WINNER: _of_these(_winner(ranking, stored.comparison), ranking, stored.state),
        WHAT_MATTERED: _what_mattered(ranking),
        COLLAPSED: _collapsed(ranking),
        MISTAKES: _mistakes(ranking, stored.predictions),
        FAILED: _failures(ranking, stored.state),
    }


def _name(ranking: Ranking, run: Any) -> str:
    """The setting of a run, and its seed where there are several."""
    return ranking.name(run) + (f", seed {run.seed}" if ranking.several_seeds else "")


def _winner(ranking: Ranking, comparison: Comparison | None) -> Answer:
    question, best = "Which setting won, and by how much?", ranking.winner
    if best is None:
        return Answer(question, "None", ["No run was completed, so there is nothing to rank."])
    sentences = [_result(best)]
    if ranking.rule is BY_VALIDATION:
        sentences.append(f"It was chosen by its validation accuracy, {best.accuracy_val:.4f}.")
    if len(ranking.ranked_settings) > 1:
        best, second = runs(ranking.ranked_settings.head(2))
        sentences += _margin(ranking, best, second, comparison)
    sentences += _passed_over(ranking)
    if not ranking.several_seeds:
        sentences.append("How much the seed changes is not known from one seed: add seed=0,1,2 to the command.")
    learned = (ranking.frame["verdict"] == LEARNED).any()
    short = ranking.name(best) if learned else f"None learned; the highest is {ranking.name(best)}"
    return Answer(question, short, sentences if len(ranking.frame) > 1 else sentences[:1])


def _result(best: Any) -> str:
    """What the best setting got: one run's images, or of several the mean, the deviation and how many collapsed."""
    binary = f" As the study counts it (binary accuracy): {best.binary_accuracy_test:.4f}."
    if best.all_runs == 1:
        n = best.test_size or 0
        right = f": {round(best.accuracy_test * n):,} of {n:,} test images right" if n else ""
        return f"Test accuracy {best.accuracy_test:.4f}{right}.{binary}"
    spread = f", standard deviation {best.deviation:.4f}" if math.isfinite(best.deviation) else ""
    shares = {COLLAPSED_RUNS: best.collapsed, NOT_YET: best.not_yet, UNCLEAR: best.unclear}
    low = [f"{share:.0%} of them {verdict}" for verdict, share in shares.items() if share]
    states = ", ".join(low or ["all learned"])
    return f"Mean test accuracy {best.accuracy_test:.4f} over {seeds_of(best)}{spread}, {states}.{binary}"


def _margin(ranking: Ranking, best: Any, second: Any, comparison: Comparison | None) -> list[str]:
    held_out = ranking.rule is BY_VALIDATION
    n = (best.val_size if held_out else best.test_size) or 0
    lead, mean = best.score - second.score, " mean" if ranking.several_seeds else ""
    count = round(lead * n)
    images = f", which is {count:,} image{'s' * (count != 1)}" if n and best.all_runs == second.all_runs == 1 else ""
    images += f" of the {n:,} held out" if images and held_out else ""
    over = f" over {seeds_of(second)}" if second.all_runs > 1 else ""
    named = ranking.name(second)
    named = second.setting if named == ranking.name(best) else named  # that is unlike any other's
    name = f"the second ({named},{mean} {second.score:.4f}{over})"
    if lead < 0:  # it lost runs: `_passed_over` says so
        return []
    by = " by validation accuracy" if held_out else ""
    sentences = [f"{lead:.4f} ahead of {name}{by}{images}." if lead > 0 else f"No better than {name}."]
    return [*sentences, comparison.sentence] if comparison else sentences


def _passed_over(ranking: Ranking) -> list[str]:
    """The settings with a higher mean than the winner or the second, which stand behind because they lost runs."""
    ranked = ranking.ranked_settings
    behind = ranked["score"] > ranked["score"].head(2).cummin().reindex(ranked.index, method="ffill").shift()
    passed = [f"{ranking.name(s)}, {s.score:.4f} over {seeds_of(s)}" for s in runs(ranked[behind].head(MOST_LOST))]
    if not passed:
        return []
    what = "A higher mean has" if len(passed) == 1 else "Higher means have"
    return [f"{what} {'; '.join(passed)}: what is left after losses is not ranked before what lost nothing."]


def _what_mattered(ranking: Ranking) -> Answer:
    by_name = {e.factor: e for e in ranking.effects}
    lr, optimizer = by_name.get("learning rate"), by_name.get("optimizer")
    question = "Does the learning rate matter more than the optimizer?" if lr and optimizer else "What mattered most?"
    lost = _lost_values(ranking)
    if not by_name:
        which = "No key of the configuration"
        if (ranking.frame["further"] != "").any():  # one that varies, but is no factor
            which = f"None of {', '.join(FACTORS.values())}"
        none = f"{which} took 2 to {MOST_VALUES} values among the completed runs."
        return Answer(question, "Nothing to compare", [none, *lost])
    sentences = [*lost, *(_effect_sentence(e) for e in ranking.effects[:3])]
    of_completed = " (of completed runs)" if lost else ""
    if lr and optimizer:
        return Answer(question, _compared(lr, optimizer) + of_completed, [*sentences, _well_chosen(optimizer)])
    first = ranking.effects[0]
    short = f"The {first.factor}: up to {first.spread:.2f} of accuracy{of_completed}"
    return Answer(question, short, sentences)


def _lost_values(ranking: Ranking) -> list[str]:
    """Of which values no run is among those compared: a rate at which everything diverged mattered, too."""
    sentences = []
    for value in lost_values(ranking.frame)[:MOST_LOST]:
        whose = "its run was not" if value.n == 1 else f"none of its {value.n:,} runs was"
        sentences.append(f"{value.factor.capitalize()} {value.value}: {whose} completed, so it is not compared.")
    return sentences


def _compared(lr: Effect, optimizer: Effect) -> str:
    if min(lr.spread, optimizer.spread) >= ALIKE * max(lr.spread, optimizer.spread):
        return "Both matter about equally"
    if lr.of_single_runs != optimizer.of_single_runs:  # the one's values are means, the other's runs
        return f"It cannot be told: each {(lr if lr.of_single_runs else optimizer).factor} has a single run"
    ahead, behind = (lr, optimizer) if lr.spread > optimizer.spread else (optimizer, lr)
    digits = 2 if f"{ahead.spread:.2f}" != f"{behind.spread:.2f}" else 4
    told = ", ".join(f"{effect.factor} {effect.spread:.{digits}f}" for effect in (ahead, behind))
    return f"{'Yes' if ahead is lr else 'No'}: {told}"


def _effect_sentence(e: Effect) -> str:
    best, worst = runs(e.levels.iloc[[0, -1]])
    least, most = e.levels["n"].min(), e.levels["n"].max()
    if most == 1:
        return f"{_span(e, best, worst)} Each value has a single run, so part of this may be what else those runs are."
    unequal = f" Its values have {least:,} to {most:,} runs, so part of this may be which runs they are."
    return f"{_span(e, best, worst)}{unequal if least < most else ''}"


def _span(e: Effect, best: Any, worst: Any) -> str:
    mean = "test accuracy" if e.of_single_runs else "mean test accuracy"
    return f"{e.factor.capitalize()}: {mean} from {worst.mean:.3f} ({worst.value}) to {best.mean:.3f} ({best.value})."


def _well_chosen(optimizer: Effect) -> str:
    levels = runs(optimizer.levels.dropna(subset="best").sort_values("best", ascending=False, kind="stable").head(6))
    listed = ", ".join(f"{level.value} {level.best:.3f}" for level in levels)
    return f"At the best setting of each optimizer: {listed}."


def _collapsed(ranking: Ranking) -> Answer:
    question, n, frame = "Which runs collapsed?", ranking.num_completed, ranking.frame
    lost = frame[frame["collapsed"]]
    more, unclear = " more" if len(lost) else "", ranking.verdicts[UNCLEAR]
    untold = f"; of {unclear:,} it cannot be told" if unclear else ""
    others = [_still_low(state, n_of, more) for state in (NOT_YET, UNCLEAR) if (n_of := ranking.verdicts[state])]
    if lost.empty:
        fine = [] if others or not n else ["Every completed run is clearly better than guessing."]
        short = "None" if unclear < n else "It cannot be told"
        return Answer(question, f"{short} of {n:,}{untold if unclear < n else ''}", fine + others)
    reasons = lost["why"].value_counts().sort_index(ascending=False)
    sentences = [f"{'; '.join(f'{count:,}: {why}' for why, count in reasons.items())}."]
    if whole := _wholly_collapsed(ranking):
        sentences.append(f"Without exception: {', '.join(whole)}.")
    if len(lost) > MOST_LISTED:
        names = _counted(ranking.finished)
    else:
        ordered = runs(lost.sort_values(["optimizer", "loss_func", "learning_rate", "run_name"]))
        names = [_name(ranking, run).replace("learning rate ", "") for run in ordered]
    return Answer(question, f"{len(lost):,} of {n:,}{untold}", sentences + others, names)


def _still_low(state: str, n: int, more: str) -> str:
    """Which of the runs that are hardly better than guessing are not called collapsed, and why."""
    what = {NOT_YET: "had not yet learned when training ended", UNCLEAR: "may have collapsed or not"}[state]
    return f"{n:,}{more} {'run' if n == 1 else 'runs'} {what}: {WHY[state]}."


def _counted(finished: pd.DataFrame) -> list[str]:
    """`Adam, 0.1: 70 of 72`: for each optimizer and learning rate how many runs collapsed, the most first."""
    keys = ["optimizer", "learning_rate"]
    pairs = finished.groupby(keys, as_index=False).agg(lost=("collapsed", "sum"), n=("collapsed", "size"))
    pairs = pairs[pairs["lost"] > 0].sort_values(["lost", *keys], ascending=[False, True, True])
    named = [f"{p.optimizer}, {p.learning_rate:g}: {p.lost:,} of {p.n:,}" for p in runs(pairs.head(MOST_LISTED))]
    more = len(pairs) - MOST_LISTED
    return named + ([f"and {more:,} more"] if more > 0 else [])


def _wholly_collapsed(ranking: Ranking) -> list[str]:
    """`learning rate 0.1 (6 of 6 runs)`: values of a key all of whose completed runs collapsed."""
    in_order = sorted(ranking.effects, key=lambda e: list(FACTORS.values()).index(e.factor))
    return [
        f"{e.factor} {level.value} ({level.n} of {level.n} runs)"
        for e in in_order
        for level in runs(e.levels.sort_values("value"))
        if level.collapsed == level.n > 1
    ]


def _named(thing: str) -> Callable[[int], str]:
    """How a class is called: `an 8`, where classes are digits; else `class 8`."""
    if thing != "digit":
        return lambda number: f"{thing} {number}"
    return lambda number: f"an {number}" if number == 8 else f"a {number}"


def _most_frequent(wrong: np.ndarray, name: Callable[[int], str]) -> str:
    """The confusion with the highest count in [true, said], or those that share it."""
    most = wrong.max()
    pairs = [f"{name(true)} taken for {name(said)}" for true, said in np.argwhere(wrong == most)]
    if len(pairs) == 1:
        return f"Its most frequent confusion: {pairs[0]}, {most:,} times."
    more = f" and {len(pairs) - MOST_TIED:,} more" if len(pairs) > MOST_TIED else ""
    return f"Its most frequent confusions, {most:,} times each: {', '.join(pairs[:MOST_TIED])}{more}."


def _mistakes(ranking: Ranking, predictions: Predictions | None) -> Answer:
    question = "What does a mistake look like?"
    if predictions is None:
        none = f"No predictions lie beside the record of {ranking.best_is}."
        return Answer(question, "Not stored", [none] if ranking.best else [])
    n, num_wrong = len(predictions.labels), predictions.num_wrong
    if not num_wrong:
        return Answer(question, "There is none", [f"All {n:,} test images are right."])
    counts, name = confusions(predictions), _named(thing_of(ranking.best.dataset if ranking.best else ""))
    wrong = counts - np.diag(counts.diagonal())
    sentences = [f"{ranking.best_is.capitalize()} is wrong on {num_wrong:,} of {n:,} test images."]
    if wrong.max() > 1:
        sentences.append(_most_frequent(wrong, name))
    label, called = predictions.mistake_labels[0], predictions.mistake_predicted[0]
    sure = min(float(predictions.mistake_confidence[0]), 0.999)
    sentences.append(
        f"Its surest mistake: {name(label)} called {name(called)}, at {sure:.1%} confidence. The pictures are below."
    )
    return Answer(question, f"{num_wrong:,} wrong of {n:,}", sentences)


def _of_these(winner: Answer, ranking: Ranking, state: State) -> Answer:
    """The answer about the winner, asked as it can be: of one run nobody wins, of an unfinished sweep nobody yet."""
    if state.is_whole:
        return replace(winner, question="How good is the run?") if len(ranking.frame) == 1 else winner
    so_far = f"Only of the {len(ranking.frame):,} of {state.planned:,} planned runs that have a record."
    return replace(winner, question="Which setting is ahead so far?", sentences=[*winner.sentences, so_far])


def _failures(ranking: Ranking, state: State) -> Answer:
    question, numbers, n = "Did anything fail?", ranking.verdicts, len(ranking.frame)
    failed = [f"{numbers[s]:,} {s}" for s in ("failed", "diverged") if numbers[s]]
    short = " and ".join(failed) or ("No" if n else "Nothing yet")
    sentences = []
    if failed:
        sentences.append("Such runs are never ranked. They are listed under Failures, with the reason.")
    elif state.is_whole and n:
        which = "The run was" if n == 1 else f"All {n:,} {'' if state.planned is None else 'planned '}runs were"
        sentences.append(f"{which} completed.")
    if not state.is_whole:
        short += f"; {', '.join(state.parts(why=False))}"
        sentences.insert(0, f"{n:,} of {state.planned:,} planned runs have a record; {', '.join(state.parts())}.")
    if numbers["failed"] or state.undrawn or len(state.unfinished) > state.count("running"):
        sentences.append("Giving the command again trains what failed or is missing; Failures lists it.")
    return Answer(question, short, sentences)
