"""The questions a newcomer has after a sweep, answered in sentences from the records."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from mnist_lightning.records.results import RunResult
from mnist_lightning.report.effects import FACTORS, Effect, effects
from mnist_lightning.report.groups import architecture, group
from mnist_lightning.report.ranking import Ranking, collapse
from mnist_lightning.report.stored import Stored

MOST_LISTED = 24
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
        WINNER: _winner(ranking),
        WHAT_MATTERED: _what_mattered(ranking),
        COLLAPSED: _collapsed(ranking),
        MISTAKES: _mistakes(ranking, stored),
        FAILED: _failures(ranking),
    }


def _name(ranking: Ranking, r: RunResult) -> str:
    """The keys of a run that vary in the sweep, and always optimizer, loss and learning rate."""
    text = f"{r.optimizer}, {r.loss_func}, learning rate {r.learning_rate:g}"
    if ranking.several_sizes:
        text += f", network {architecture(r)}"
    return text + (f", seed {r.seed}" if ranking.num_seeds > 1 else "")


def _winner(ranking: Ranking) -> Answer:
    question, best = "Which setting won, and by how much?", ranking.best
    if best is None:
        return Answer(question, "None", ["No run was completed, so there is nothing to rank."])
    n = best.test_size or 0
    right = f": {round(best.accuracy_test * n):,} of {n:,} test images right" if n else ""
    sentences = [
        (
            f"Test accuracy {best.accuracy_test:.4f}{right}. As the report "
            f"counts it (binary accuracy): {best.binary_accuracy_test:.4f}."
        )
    ]
    if ranking.rule.column == "accuracy_val":
        sentences.append(f"It was chosen by its validation accuracy, {best.accuracy_val:.4f}.")
    if len(ranking.ranked) > 1:
        sentences += _margin(ranking, best, ranking.ranked[1])
    if ranking.num_seeds > 1:
        sentences.append(_best_mean(ranking))
    return Answer(question, _name(ranking, best), sentences)


def _margin(ranking: Ranking, best: RunResult, second: RunResult) -> list[str]:
    a, b = ranking.score(best), ranking.score(second)
    n = (best.val_size if ranking.rule.column == "accuracy_val" else best.test_size) or 0
    lead = a - b
    second_name = f"the second ({_name(ranking, second)}, {b:.4f})"
    images = f", which is {round(lead * n):,} image{'s' * (round(lead * n) != 1)}" if n else ""
    sentences = [f"{lead:.4f} ahead of {second_name}{images}." if lead > 0 else f"No better than {second_name}."]
    if n and 0 < a < 1:
        luck = 2 * math.sqrt((a * (1 - a) + b * (1 - b)) / n)
        judged = "so this lead may be luck" if lead < luck else "so this lead is more than that"
        sentences.append(
            f"On {n:,} images a lead below about {luck:.4f} (two "
            f"standard errors) can be the luck of the images, {judged}."
        )
    if ranking.num_seeds < 2:
        sentences.append("How much the seed changes is not known from one seed: add seed=0,1,2 to the command.")
    return sentences


def _best_mean(ranking: Ranking) -> str:
    groups = [g for g in group(ranking.results) if g.completed]
    top = max(groups, key=lambda g: g.mean("accuracy_test"), default=None)
    if top is None:
        return ""
    r = top.first
    spread = f", standard deviation {d:.4f}" if math.isfinite(d := top.deviation("accuracy_test")) else ""
    where = f"{r.optimizer}, {r.loss_func}, learning rate {r.learning_rate:g}, network {architecture(r)}"
    return f"Best mean over seeds: {where}, {top.mean('accuracy_test'):.4f}{spread}, n = {len(top.completed)}."


def _what_mattered(ranking: Ranking) -> Answer:
    found = {e.factor: e for e in effects(ranking.results)}
    lr, optimizer = found.get("learning rate"), found.get("optimizer")
    question = "Does the learning rate matter more than the optimizer?" if lr and optimizer else "What mattered most?"
    if not found:
        return Answer(
            question,
            "Nothing to compare",
            ["No key of the configuration took several values among the completed runs."],
        )
    sentences = [_effect_sentence(e) for e in list(found.values())[:3]]
    first = next(iter(found.values()))
    if lr and optimizer:
        short = _compared(lr, optimizer)
        sentences.append(_well_chosen(optimizer))
    else:
        short = f"The {first.factor}: up to {first.spread:.2f} of accuracy"
    return Answer(question, short, sentences)


def _compared(lr: Effect, optimizer: Effect) -> str:
    if min(lr.spread, optimizer.spread) >= ALIKE * max(lr.spread, optimizer.spread):
        return "Both matter about equally"
    ahead, behind = (lr, optimizer) if lr.spread > optimizer.spread else (optimizer, lr)
    return f"{'Yes' if ahead is lr else 'No'}: {ahead.factor} {ahead.spread:.2f}, {behind.factor} {behind.spread:.2f}"


def _effect_sentence(e: Effect) -> str:
    best, worst = e.levels[0], e.levels[-1]
    return (
        f"{e.factor.capitalize()}: mean test accuracy from {worst.mean:.3f} "
        f"({worst.value}) to {best.mean:.3f} ({best.value})."
    )


def _well_chosen(optimizer: Effect) -> str:
    best = sorted(optimizer.levels, key=lambda level: -level.best)
    listed = ", ".join(f"{level.value} {level.best:.3f}" for level in best[:6])
    return f"At the best setting of each optimizer: {listed}."


def _collapsed(ranking: Ranking) -> Answer:
    question, lost = "Which runs collapsed?", ranking.collapsed
    done = [r for r in ranking.results if r.status == "completed"]
    if not lost:
        return Answer(
            question, f"None of {len(done)}", ["Every completed run is clearly better than guessing."] if done else []
        )
    kinds = Counter(collapse(r) for r in lost)
    sentences = [f"{'; '.join(f'{n:,} with {kind}' for kind, n in sorted(kinds.items(), reverse=True))}."]
    if whole := _wholly_collapsed(done):
        sentences.append(f"Without exception: {', '.join(whole)}.")
    ordered = sorted(lost, key=lambda r: (r.optimizer, r.loss_func, r.learning_rate, r.run_name))
    names = [_name(ranking, r).replace("learning rate ", "") for r in ordered[: MOST_LISTED + 1]]
    if len(lost) > MOST_LISTED:
        names = _counted(done)
    return Answer(question, f"{len(lost):,} of {len(done):,}", sentences, names)


def _counted(done: Sequence[RunResult]) -> list[str]:
    """`Adam, 0.1: 70 of 72`: for each optimizer and learning rate how many runs collapsed, the most first."""
    by_pair: dict[tuple[str, float], list[bool]] = {}
    for r in done:
        by_pair.setdefault((r.optimizer, r.learning_rate), []).append(bool(collapse(r)))
    pairs = sorted(by_pair.items(), key=lambda item: (-sum(item[1]), item[0]))
    return [f"{o}, {lr:g}: {sum(c):,} of {len(c):,}" for (o, lr), c in pairs if any(c)][:MOST_LISTED]


def _wholly_collapsed(done: Sequence[RunResult]) -> list[str]:
    """`learning rate 0.1 (6 of 6 runs)`: values of a key all of whose completed runs collapsed."""
    found = []
    for column, factor in FACTORS.items():
        by_value: dict[str, list[bool]] = {}
        for r in done:
            value = getattr(r, column)
            by_value.setdefault(f"{value:g}" if isinstance(value, float) else str(value), []).append(bool(collapse(r)))
        if 1 < len(by_value) <= 20:
            found += [
                f"{factor} {v} ({len(c)} of {len(c)} runs)"
                for v, c in sorted(by_value.items())
                if all(c) and len(c) > 1
            ]
    return found


def _mistakes(ranking: Ranking, stored: Stored) -> Answer:
    question, found = "What does a mistake look like?", stored.predictions
    if found is None:
        return Answer(
            question, "Not stored", ["The best run has no predictions beside its record."] if ranking.best else []
        )
    if not found.num_wrong:
        return Answer(question, "There is none", [f"All {len(found.labels):,} test images are right."])
    pairs = Counter((int(t), int(p)) for t, p in zip(found.labels, found.predicted, strict=True) if t != p)
    (true, said), n = min(pairs.items(), key=lambda item: (-item[1], item[0]))
    sentences = [f"The best run is wrong on {found.num_wrong:,} of {len(found.labels):,} test images."]
    if n > 1:
        sentences.append(f"Its most frequent confusion: a {true} taken for a {said}, {n} times.")
    sure, labels, said_ = (float(found.mistake_confidence[0]), found.mistake_labels, found.mistake_predicted)
    sentences.append(
        f"Its surest mistake: a {labels[0]} called a {said_[0]}, at "
        f"{min(sure, 0.999):.1%} confidence. The pictures are below."
    )
    return Answer(question, f"{found.num_wrong:,} wrong of {len(found.labels):,}", sentences)


def _failures(ranking: Ranking) -> Answer:
    question = "Did anything fail?"
    counts = Counter(r.status for r in ranking.results)
    if not counts["failed"] and not counts["diverged"]:
        return Answer(question, "No", [f"All {len(ranking.results):,} runs were completed."] if ranking.results else [])
    parts = [f"{counts[s]:,} {s}" for s in ("failed", "diverged") if counts[s]]
    sentences = ["Such runs are never ranked. They are listed under Failures, with the reason."]
    if counts["failed"]:
        sentences.append("Giving the command again trains the failed ones again.")
    return Answer(question, " and ".join(parts), sentences)
