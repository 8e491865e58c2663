"""Which run is the best: the order that every table and figure shares."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mnist_lightning.report.effects import Effect, effects
from mnist_lightning.report.frame import runs
from mnist_lightning.report.groups import settings


@dataclass(frozen=True)
class Rule:
    """By which column runs are ranked, and the sentence that says so."""

    column: str
    name: str
    sentence: str


BY_TEST = Rule(
    "accuracy_test",
    "test accuracy",
    "Ranked by test accuracy, as in the study. Choosing on the test set is optimistic: the winner was partly lucky "
    "on exactly these images. Hold images out with data.val_size to choose on others.",
)
BY_VALIDATION = Rule(
    "accuracy_val",
    "validation accuracy",
    "Ranked by validation accuracy, on images held out of training (data.val_size), so the test accuracy of the "
    "winner is not biased by the choice.",
)


@dataclass(frozen=True, eq=False)
class Ranking:
    """All runs as `frame_of` gives them, and those that may be ranked in their order; diverged and failed never are."""

    frame: pd.DataFrame

    @cached_property
    def rule(self) -> Rule:
        """Validation accuracy where every completed run held images out, else test accuracy."""
        completed = self.frame[self.frame["status"] == "completed"]
        held_out = (completed["val_size"] > 0).fillna(False).all() and np.isfinite(completed["accuracy_val"]).all()
        return BY_VALIDATION if len(completed) and held_out else BY_TEST

    @cached_property
    def _rankable(self) -> pd.Series:
        return (self.frame["status"] == "completed") & np.isfinite(self.frame[self.rule.column])

    @cached_property
    def ranked(self) -> pd.DataFrame:
        """Best first; of equals the smaller network, then the name, so that the order is always the same."""
        order = [self.rule.column, "num_parameters", "run_name"]
        return self.frame[self._rankable].sort_values(order, ascending=[False, True, True], na_position="first")

    @cached_property
    def unranked(self) -> pd.DataFrame:
        """The failed and diverged runs, and any whose accuracy is not a number."""
        return self.frame[~self._rankable]

    @cached_property
    def best(self) -> Any:
        """The best run as `runs` gives it; None without any."""
        return next(iter(runs(self.ranked.head(1))), None)

    @cached_property
    def finished(self) -> pd.DataFrame:
        """The runs that were completed with a finite test accuracy."""
        return self.frame[self.frame["finished"]]

    @cached_property
    def settings(self) -> pd.DataFrame:
        """One row per setting, over its seeds, see `groups.settings`."""
        return settings(self.frame)

    @cached_property
    def verdicts(self) -> dict[str, int]:
        """How many runs are ok, collapsed, diverged and failed."""
        counts = self.frame["verdict"].value_counts()
        return {name: int(counts.get(name, 0)) for name in ("ok", "collapsed", "diverged", "failed")}

    @property
    def num_completed(self) -> int:
        """Runs that ended well, collapsed ones too."""
        return self.verdicts["ok"] + self.verdicts["collapsed"]

    @cached_property
    def effects(self) -> list[Effect]:
        """The keys that moved the mean test accuracy, the strongest first, see `effects.effects`."""
        return effects(self.finished)

    @cached_property
    def several_sizes(self) -> bool:
        """Whether the networks differ in size."""
        return self.frame["architecture"].nunique() > 1

    @cached_property
    def num_seeds(self) -> int:
        """Different seeds among all runs."""
        return self.frame["seed"].nunique()
