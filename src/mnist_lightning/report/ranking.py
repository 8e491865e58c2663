"""Which run is the best and which have collapsed: the two judgements that every table and figure shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mnist_lightning.records.results import RunResult

COLLAPSED_AT = 0.20  # share of test images: twice what guessing gets, so that a small test set cannot blur it
ONE_DIGIT, UNDECIDED = "the same digit for nearly every image", "no output above 0.5, undecided"
ONE_DIGIT_BELOW = 0.86  # binary accuracy: between 0.82, one digit for every image, and 0.90, no output above 0.5


@dataclass(frozen=True)
class Rule:
    """By which column runs are ranked, and the sentence that says so."""

    column: str
    name: str
    sentence: str


BY_TEST = Rule(
    "accuracy_test",
    "test accuracy",
    "Ranked by test accuracy, as in the report. Choosing on the test set is optimistic: the winner was partly lucky "
    "on exactly these images. Hold images out with data.val_size to choose on others.",
)
BY_VALIDATION = Rule(
    "accuracy_val",
    "validation accuracy",
    "Ranked by validation accuracy, on images held out of training (data.val_size), so the test accuracy of the "
    "winner is not biased by the choice.",
)
COLLAPSED_MEANS = (
    f"Collapsed: training ended, but at most {COLLAPSED_AT:.0%} of the test images are right; always giving the same "
    "digit gets 10 to 12 %. Such a network either says one digit for everything (binary accuracy about "
    "0.82) or leaves all outputs near 0.1 (binary accuracy 0.90)."
)


def collapse(result: RunResult) -> str:
    """How a run collapsed, as a phrase, or an empty string. The rule is COLLAPSED_MEANS."""
    if result.status != "completed" or not result.accuracy_test <= COLLAPSED_AT:  # NaN is no collapse
        return ""
    return ONE_DIGIT if result.binary_accuracy_test < ONE_DIGIT_BELOW else UNDECIDED


def verdict(result: RunResult) -> str:
    """`ok`, `collapsed`, `diverged` or `failed`: what the page calls a run."""
    return ("collapsed" if collapse(result) else "ok") if result.status == "completed" else result.status


def rule_for(results: Sequence[RunResult]) -> Rule:
    """Validation accuracy where every completed run held images out, else test accuracy."""
    done = [r for r in results if r.status == "completed"]
    held_out = all((r.val_size or 0) > 0 and math.isfinite(r.accuracy_val) for r in done)
    return BY_VALIDATION if done and held_out else BY_TEST


@dataclass(frozen=True)
class Ranking:
    """All records, and those that may be ranked in their order; diverged and failed runs never are."""

    results: Sequence[RunResult]

    @cached_property
    def rule(self) -> Rule:
        return rule_for(self.results)

    def score(self, result: RunResult) -> float:
        """0 to 1, or NaN."""
        return getattr(result, self.rule.column)

    @cached_property
    def ranked(self) -> list[RunResult]:
        """Best first; of equals the smaller network, then the name, so that the order is always the same."""
        fit = [r for r in self.results if r.status == "completed" and math.isfinite(self.score(r))]
        return sorted(fit, key=lambda r: (-self.score(r), r.num_parameters or 0, r.run_name))

    @property
    def best(self) -> RunResult | None:
        return self.ranked[0] if self.ranked else None

    @cached_property
    def collapsed(self) -> list[RunResult]:
        return [r for r in self.results if collapse(r)]

    @cached_property
    def unranked(self) -> list[RunResult]:
        """The failed and diverged runs, and any whose accuracy is not a number."""
        return [r for r in self.results if r.status != "completed" or not math.isfinite(self.score(r))]

    @cached_property
    def several_sizes(self) -> bool:
        """Whether the networks differ in size."""
        return len({(r.num_channels, r.num_conv, r.num_dense) for r in self.results}) > 1

    @cached_property
    def num_seeds(self) -> int:
        return len({r.seed for r in self.results if r.seed is not None})
