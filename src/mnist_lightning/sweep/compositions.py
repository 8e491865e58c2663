"""Each job of a sweep is composed once: what the sweeper has composed for the plan is the launcher's later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from omegaconf import DictConfig

MOST_KEPT = 1000  # a composed configuration is some 200 kB; in a larger grid the rest is composed again


class ReusedCompositions:
    """Hydra's config loader, except that a sweep configuration which was composed by `compose` is not again.

    A composition takes Hydra about 0.14 s. In another process, of joblib's, say, nothing is kept.
    """

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.kept: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, master: DictConfig, overrides: Sequence[str]) -> DictConfig:
        """The composed configuration of a job, kept for its launcher."""
        key = tuple(overrides)
        composed = self.kept.get(key)
        if composed is None:
            composed = self.loader.load_sweep_config(master, list(overrides))
            if len(self.kept) < MOST_KEPT:
                self.kept[key] = composed
        return composed

    def keep_only(self, jobs: Iterable[Sequence[str]]) -> None:
        """Forget the compositions of all other jobs."""
        wanted = {tuple(job) for job in jobs}
        self.kept = {job: composed for job, composed in self.kept.items() if job in wanted}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Given out once: a launcher writes the job's number into it."""
        kept = self.kept.pop(tuple(sweep_overrides), None)
        return self.loader.load_sweep_config(master_config, sweep_overrides) if kept is None else kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __getstate__(self) -> dict[str, Any]:
        return {"loader": self.loader, "kept": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
