"""The best setting beside the second: whether the lead is more than luck, by a test for pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mnist_lightning.records.predictions import Predictions
from mnist_lightning.report.frame import runs
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.statistics import mcnemar_p, paired_interval

SIGNIFICANT = 0.05  # of p; the interval is that of 95 %

Load = Callable[[Any], "Predictions | None"]  # a run's predictions, None where there are none


@dataclass(frozen=True)
class Comparison:
    """What a test says of the two best settings: `certain` if one is better, False if that cannot be told."""

    certain: bool
    sentence: str


def compare(ranking: Ranking, load: Load) -> Comparison | None:
    """Returns the comparison of the two best settings; None where there are no two.

    Over the seeds that both have, two or more, the differences between their runs, Student's t for pairs. With one
    pair of runs, McNemar's exact test on the test images.
    """
    ranked = ranking.ranked
    first, second = (ranked[ranked["place"] == place] for place in (1, 2))
    if second.empty:
        return None
    pairs = first.merge(second, on="seed", suffixes=("_1", "_2")).dropna(subset="seed")
    if len(pairs) > 1:
        return _over_seeds(ranking, pairs)
    if len(pairs) == 1:
        first, second = (each[each["seed"] == pairs["seed"].iloc[0]] for each in (first, second))
    if len(first) > 1 or len(second) > 1:
        return Comparison(False, "They have no seed in common, so which is better cannot be told run by run.")
    return _on_images(ranking, *runs(pd.concat([first, second])), load=load)


def _over_seeds(ranking: Ranking, pairs: pd.DataFrame) -> Comparison:
    column, n = ranking.rule.column, len(pairs)
    differences = (pairs[f"{column}_1"] - pairs[f"{column}_2"]).tolist()
    low, high = paired_interval(differences)
    certain = low > 0 or high < 0
    judged = "the two settings differ by more than the luck of a seed" if certain else "which is better cannot be told"
    return Comparison(
        certain,
        f"Over the {n} seeds that both have, the first is ahead by {sum(differences) / n:.4f} on average, 95 % "
        f"confidence interval {low:.4f} to {high:.4f} (paired t, n = {n}): {judged}.",
    )


def _on_images(ranking: Ranking, first: Any, second: Any, load: Load) -> Comparison:
    one, other = load(first), load(second)
    if one is None or other is None:
        return Comparison(False, "Whether that is luck cannot be told: the predictions of both are not stored.")
    same_data = (first.dataset, first.data_sha256) == (second.dataset, second.data_sha256)
    if not same_data or len(one.labels) != len(other.labels) or (one.labels != other.labels).any():
        return Comparison(False, "They were not tested on the same images, so which is better cannot be told.")
    right, also_right = one.labels == one.predicted, other.labels == other.predicted
    only_first, only_second = int((right & ~also_right).sum()), int((also_right & ~right).sum())
    if not only_first + only_second:
        return Comparison(False, "Both are right on the same test images, so nothing tells them apart.")
    p = mcnemar_p(only_first, only_second)
    certain = p < SIGNIFICANT
    judged = "more than the luck of these images" if certain else "so which is better cannot be told"
    seed = f" (both with seed {first.seed})" if ranking.several_seeds and first.seed == second.seed else ""
    return Comparison(
        certain,
        f"Of the {len(one.labels):,} test images{seed} only the first has {only_first:,} right, only the second "
        f"{only_second:,}: McNemar's exact test gives p = {_p(p)}, {judged}.",
    )


def _p(p: float) -> str:
    return f"{p:.2g}" if p >= 0.0001 else "less than 0.0001"
