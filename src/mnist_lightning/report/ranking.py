"""Which setting is the best: the order that every table and figure shares."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mnist_lightning.report.effects import Effect, effects
from mnist_lightning.report.frame import runs
from mnist_lightning.report.groups import settings
from mnist_lightning.report.verdicts import LEARNED, VERDICTS


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


OVER_SEEDS = (
    "Over several seeds settings are ranked by the mean of all their completed runs, collapsed ones included; a "
    "setting that lost runs (failed or diverged) stands after those that lost fewer, whatever the others got."
)


@dataclass(frozen=True, eq=False)
class Ranking:
    """All runs as `frame_of` gives them, and the settings that may be ranked in their order.

    Diverged and failed runs are never ranked.
    """

    frame: pd.DataFrame

    @cached_property
    def rule(self) -> Rule:
        """Validation accuracy where every completed run held images out, else test accuracy."""
        completed = self.frame[self.frame["status"] == "completed"]
        held_out = (completed["val_size"] > 0).fillna(False).all() and np.isfinite(completed["accuracy_val"]).all()
        return BY_VALIDATION if len(completed) and held_out else BY_TEST

    @property
    def sentence(self) -> str:
        """By what is ranked, and over several seeds how."""
        return f"{self.rule.sentence} {OVER_SEEDS}" if self.several_seeds else self.rule.sentence

    @cached_property
    def settings(self) -> pd.DataFrame:
        """One row per setting, over its seeds, see `groups.settings`."""
        return settings(self.frame, self.rule.column)

    @cached_property
    def ranked_settings(self) -> pd.DataFrame:
        """Those with a result, best first: by lost runs, then by the mean that the rule names.

        Of equals the smaller network, then the name, so that the order is always the same. `score` is that mean.
        """
        scored = self.settings.assign(score=self.settings[self.rule.column]).dropna(subset="score")
        order = ["lost", "score", "num_parameters", "run_name"]
        return scored.sort_values(order, ascending=[True, False, True, True], na_position="first", ignore_index=True)

    @cached_property
    def _rankable(self) -> pd.Series:
        return self.frame["finished"] & np.isfinite(self.frame[self.rule.column])

    @cached_property
    def ranked(self) -> pd.DataFrame:
        """The runs of the ranked settings, setting by setting and best first; `place` is the rank of the setting."""
        order = self.ranked_settings["setting"]
        places = dict(zip(order, range(1, len(order) + 1), strict=True))
        ranked = self.frame[self._rankable]
        ranked = ranked.assign(place=ranked["setting"].map(places))
        return ranked.sort_values(["place", self.rule.column, "run_name"], ascending=[True, False, True])

    @cached_property
    def unranked(self) -> pd.DataFrame:
        """The failed and diverged runs, and any whose accuracy is not a number."""
        return self.frame[~self._rankable]

    @cached_property
    def winner(self) -> Any:
        """The best setting, a row of `ranked_settings` as `runs` gives it; None without any."""
        return next(iter(runs(self.ranked_settings.head(1))), None)

    @cached_property
    def typical(self) -> pd.DataFrame:
        """One run for each ranked setting, best first: the median of its seeds, not its luckiest."""
        within = self.ranked.groupby("place")["place"]
        return self.ranked[within.cumcount() == within.transform("size") // 2]

    @cached_property
    def best(self) -> Any:
        """The run that stands for the best setting, as `runs` gives it; None without any."""
        return next(iter(runs(self.typical.head(1))), None)

    @cached_property
    def best_rows(self) -> pd.Index:
        """The rows of the frame to be marked as best: the best setting's runs that learned, and `best` in any case."""
        of_winner = self.ranked[self.ranked["place"] == 1]
        return of_winner.index[of_winner["verdict"] == LEARNED].union(self.typical.index[:1])

    @property
    def best_is(self) -> str:
        """What to call `best`: the best run, or of several seeds which."""
        n = int((self.ranked["place"] == 1).sum())
        return f"the best setting's median run of {n} (seed {self.best.seed})" if n > 1 else "the best run"

    @cached_property
    def finished(self) -> pd.DataFrame:
        """The runs that were completed with a finite test accuracy."""
        return self.frame[self.frame["finished"]]

    @cached_property
    def verdicts(self) -> dict[str, int]:
        """How many runs there are of each verdict, see `verdicts.VERDICTS`."""
        counts = self.frame["verdict"].value_counts()
        return {name: int(counts.get(name, 0)) for name in VERDICTS}

    @property
    def num_completed(self) -> int:
        """Runs that ended well, collapsed ones too."""
        return int((self.frame["status"] == "completed").sum())

    @cached_property
    def effects(self) -> list[Effect]:
        """The keys that moved the mean test accuracy, the strongest first, see `effects.effects`."""
        return effects(self.finished, self.ranked_settings)

    @cached_property
    def several_sizes(self) -> bool:
        """Whether the networks differ in size."""
        return self.frame["architecture"].nunique() > 1

    @cached_property
    def num_seeds(self) -> int:
        """Different seeds among all runs."""
        return self.frame["seed"].nunique()

    @cached_property
    def several_seeds(self) -> bool:
        """Whether there are several seeds, of any setting or of different ones, or should be by the plan."""
        return self.num_seeds > 1 or bool((self.settings["all_runs"] > 1).any())

    def name(self, setting: Any) -> str:
        """The keys of a setting, or of a run, that vary in the sweep, and always optimizer, loss and learning rate."""
        text = f"{setting.optimizer}, {setting.loss_func}, learning rate {setting.learning_rate:g}"
        text += f", network {setting.architecture}" if self.several_sizes else ""
        return text + (f", {setting.further}" if setting.further else "")


def seeds_of(setting: Any) -> str:
    """`3 seeds`, or `2 of 3 seeds` of a setting that lost one."""
    n, wanted = setting.runs, setting.all_runs
    return f"{n if n == wanted else f'{n} of {wanted}'} seed{'s' * (wanted != 1)}"
