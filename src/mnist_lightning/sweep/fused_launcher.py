"""Hydra's basic launcher, except that runs which can share a training do."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hydra.core.utils import JobReturn

from mnist_lightning.config import RunConfig
from mnist_lightning.records.run_directory import stored_result
from mnist_lightning.sweep.compositions import Compositions

if TYPE_CHECKING:
    from mnist_lightning.sweep.hydra_internals import BasicLauncher
else:
    BasicLauncher = object  # named by the class in hydra_plugins: see hydra_internals

R = TypeVar("R")

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
        assert self.config is not None
        assert self.hydra_context is not None
        compositions = Compositions(self.hydra_context.config_loader, self.config)
        configs = [compositions.configuration(job) for job in job_overrides]
        launch = super().launch
        return in_groups(
            configs,
            Path(self.config.hydra.sweep.dir),
            lambda index: launch([job_overrides[index]], initial_job_idx + index)[0],
        )


def in_groups(configs: Sequence[RunConfig], root: Path, launch: Callable[[int], R]) -> list[R]:
    """Trains the runs of a sweep group by group, and launches each when its group is; the answers, in order.

    What is launched by its index finds its record in its directory below `root`, or is trained by that.
    """
    from mnist_lightning.fused import train_groups
    from mnist_lightning.sweep.sweep import current, is_final

    progress = sweep.progress if (sweep := current()) else None
    answers: dict[int, R] = {}

    def say(text: str) -> None:
        print("  ".join(filter(None, [text, progress and progress.left()])), flush=True)

    paths = [root / config.run_name for config in configs]
    left = [i for i, path in enumerate(paths) if not is_final(stored_result(path), configs[i], path)]
    groups = train_groups([configs[i] for i in left], [paths[i] for i in left], continue_interrupted=True, say=say)
    done = (i for i in range(len(paths)) if i not in left)
    for index in itertools.chain((left[i] for group, _ in groups for i in group.indices), done):
        answers[index] = launch(index)
    return [answers[index] for index in range(len(paths))]
