"""Composes each job of a sweep once: the launcher gets what the sweeper has composed for the plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mnist_lightning.config import RunConfig, parse

MOST_KEPT = 1000  # a composed configuration is some 200 kB; in a larger grid the rest is composed again


class ReusedCompositions:
    """Hydra's config loader, except that a sweep configuration which was composed by `compose` is not again.

    A composition takes Hydra about 0.14 s. In another process, of joblib's, say, nothing is kept.
    """

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.kept: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, master: DictConfig, overrides: Sequence[str]) -> DictConfig:
        """Composes a job, and keeps what was composed for its launcher."""
        key = tuple(overrides)
        composed = self.kept.get(key)
        if composed is None:
            composed = self.loader.load_sweep_config(master, list(overrides))
            if len(self.kept) < MOST_KEPT:
                self.kept[key] = composed
        return composed

    def configuration(self, master: DictConfig, overrides: Sequence[str]) -> RunConfig:
        """The checked configuration of a job, without Hydra's own part."""
        composed = self.compose(master, overrides)
        return parse(OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"]))

    def keep_only(self, jobs: Iterable[Sequence[str]]) -> None:
        """Forgets the compositions of all other jobs."""
        wanted = {tuple(job) for job in jobs}
        self.kept = {job: composed for job, composed in self.kept.items() if job in wanted}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Composes a job for its launcher, or gives out what is kept; once: launchers write its number into it."""
        kept = self.kept.pop(tuple(sweep_overrides), None)
        return self.loader.load_sweep_config(master_config, sweep_overrides) if kept is None else kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __reduce__(self) -> tuple[type[ReusedCompositions], tuple[Any]]:
        return ReusedCompositions, (self.loader,)
