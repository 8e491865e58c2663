"""Hydra's basic sweeper, except that the whole grid is checked, and its plan written, before the first run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from mnist_lightning.config import RunConfig
from mnist_lightning.data.files import look, read_files
from mnist_lightning.errors import ConfigError, OutputError, Problem
from mnist_lightning.progress.screen import folded, meanwhile
from mnist_lightning.sweep.announcement import announcement
from mnist_lightning.sweep.compositions import Compositions
from mnist_lightning.sweep.launcher import PersistentLauncher
from mnist_lightning.sweep.size import check_size

if TYPE_CHECKING:
    from mnist_lightning.sweep.hydra_internals import BasicSweeper
    from mnist_lightning.sweep.sweep import Sweep
else:
    BasicSweeper = object  # named by the class in hydra_plugins: see hydra_internals


class GridSweeper(BasicSweeper):
    """What makes the basic sweeper ask the current `Sweep` what is to be done before anything is launched."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Makes the configured launcher one that survives its workers."""
        size = self.max_batch_size
        if size is not None and not (isinstance(size, int) and size > 0):
            raise ConfigError([Problem("hydra.sweeper.max_batch_size", size, "no number of runs", "use 1 or more")])
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        assert self.launcher is not None
        compositions = Compositions(hydra_context.config_loader, config)
        name, sweep_dir = config.hydra.runtime.choices["hydra/launcher"], config.hydra.sweep.dir
        self.launcher = PersistentLauncher(self.launcher, compositions, name, sweep_dir)

    def sweep(self, arguments: list[str]) -> Any:
        """Sweeps as Hydra does, unless the grid is too large to be written out, or Hydra would wait for its file."""
        assert self.hydra_context is not None
        assert isinstance(self.launcher, PersistentLauncher)
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        check_size(parser.parse_overrides([*self._parse_config(), *arguments]))
        path = Path(self.launcher.sweep_dir) / "multirun.yaml"
        if path.exists() and not path.is_file():
            raise OutputError(f"{path}: not a regular file; delete it, or choose another directory")
        return super().sweep(arguments)

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Lets the sweep refuse or plan the jobs, which Hydra would compose here one by one; drops what is done."""
        assert self.overrides is not None
        assert self.config is not None
        assert isinstance(self.launcher, PersistentLauncher)
        if self.batch_index > 1:  # with a max_batch_size: all batches were checked with the first
            return
        from mnist_lightning.sweep.sweep import Sweep, current, refuse_other_directory

        batches: list[list[list[str]]] = self.overrides  # pyright: ignore[reportAssignmentType] - of batches, whatever Hydra's stub says
        sweep, root = current() or Sweep(), Path(self.launcher.sweep_dir)
        sweep.directory = None  # until the plan is accepted: an earlier sweep there is not ours to collect
        try:
            require_named_directories(self.config)
            refuse_other_directory(self.config.hydra.overrides.hydra, in_sweep=True)
            self.launcher.check()
            read_files.cache_clear()
            for job in _one_of_each_data_set(batches):  # before a large grid is composed
                look(self.launcher.compose(job).data)
            configs = [[self.launcher.compose(job) for job in jobs] for jobs in batches]
            todo = plan_aloud(sweep, root, configs, self.launcher.name)
        except BaseException:  # Ctrl-C, too: nothing was planned yet
            if sweep.directory is None:
                sweep.remove_refused(root, "multirun.yaml")
            raise
        for jobs, wanted in zip(batches, todo, strict=True):
            jobs[:] = [job for job, is_wanted in zip(jobs, wanted, strict=True) if is_wanted]


def plan_aloud(sweep: Sweep, root: Path, batches: Sequence[Sequence[RunConfig]], launcher: str) -> list[list[bool]]:
    """Plans the runs of a sweep and says which will be trained, for how long, on what; see `Sweep.plan`."""
    first = next((config for batch in batches for config in batch), RunConfig())
    with meanwhile("checking the configurations", first.progress):  # torch is imported, which takes seconds
        todo = sweep.plan(root, batches)
    if sweep.to_do:
        print(folded(announcement(sweep.to_do, launcher, sweep.stored)), flush=True)
    return todo


def _one_of_each_data_set(batches: Iterable[Iterable[list[str]]]) -> list[list[str]]:
    """The first job of each choice of data set and of its place."""
    first: dict[tuple[str, ...], list[str]] = {}
    for job in (job for jobs in batches for job in jobs):
        first.setdefault(tuple(o for o in job if re.match(r"\+*data(\.(name|root|download))?=", o)), job)
    return list(first.values())


def require_named_directories(config: DictConfig) -> None:
    """Raises ConfigError for a `hydra.sweep.subdir` of the user's: records are found by the name of their run."""
    subdir = OmegaConf.to_container(config.hydra.sweep, resolve=False)["subdir"]  # pyright: ignore - a DictConfig gives a dictionary
    if subdir != "${mnist_lightning.run_name:}":
        raise ConfigError(
            f"hydra.sweep.subdir={subdir}: a run's directory is named after the run; set hydra.sweep.dir instead"
        )
