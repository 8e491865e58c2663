"""Hydra's basic launcher, except that runs which can share a training do."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn

from mnist_lightning.config import RunConfig
from mnist_lightning.errors import UserError, one_line
from mnist_lightning.sweep.compositions import ReusedCompositions
from mnist_lightning.sweep.progress import Progress

if TYPE_CHECKING:
    from mnist_lightning.sweep.hydra_internals import BasicLauncher
else:
    BasicLauncher = object  # named by the class in hydra_plugins: see hydra_internals

_OUR_TASK = "mnist_lightning.command.cli"


class FusedLauncher(BasicLauncher):
    """What makes the basic launcher train each group first: its jobs, launched one by one, find their records stored.

    So every directory, `.hydra/` file, callback and return value is the basic launcher's, and so is whatever is not
    trained by a group: runs that cannot be fused, and the jobs of any other program.
    """

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Launches the jobs group by group; the returns stand in the jobs' order."""
        if getattr(self.task_function, "__module__", "") != _OUR_TASK:
            return super().launch(job_overrides, initial_job_idx)
        from mnist_lightning.sweep.sweep import current

        assert self.config is not None
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        loader = loader if isinstance(loader, ReusedCompositions) else ReusedCompositions(loader)
        configs = [loader.configuration(self.config, job) for job in job_overrides]
        root = Path(self.config.hydra.sweep.dir)
        progress = sweep.progress if (sweep := current()) else None
        returns: dict[int, JobReturn] = {}
        for group in train_together(configs, root, progress):
            for index in group:
                returns[index] = super().launch([job_overrides[index]], initial_job_idx + index)[0]
        return [returns[index] for index in range(len(job_overrides))]


def train_together(configs: Sequence[RunConfig], root: Path, progress: Progress | None) -> Iterator[list[int]]:
    """Train groups of these runs as stacked networks; yields the indices of each group once its records are stored.

    What cannot be fused, or what a group has failed at, is yielded without a record: to be trained alone.
    """
    from mnist_lightning import fused
    from mnist_lightning.fused.members import Member

    paths = [root / config.run_name for config in configs]
    if reasons := {r for config in configs if (r := fused.reason_to_train_alone(config))}:
        print(f"trained one by one, where {'; '.join(sorted(reasons))}", flush=True)
    for group in fused.plan(configs, paths):
        if not fused.reason_to_train_alone(configs[group[0]]):
            m = configs[group[0]].model
            what = f"training {len(group)} runs of {m.num_channels}/{m.num_conv}/{m.num_dense} together"
            print("  ".join([what, *filter(None, [progress and progress.left()])]), flush=True)
            try:
                fused.train_group([Member(configs[i], paths[i]) for i in group], continue_interrupted=True)
            except UserError:
                raise
            except Exception as error:
                what = one_line(f"{type(error).__name__}: {error}")
                print(f"not trained together ({what}); going on one by one", flush=True)
                gc.collect()
        yield group
