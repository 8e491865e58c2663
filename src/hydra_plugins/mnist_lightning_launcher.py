"""Hydra's basic launcher, except that runs which can share a training do.

Hydra takes launchers only from this namespace, and every Hydra program scans it: imports stay light here.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn

_OUR_TASK = "mnist_lightning.command.cli"
ConfigStore.instance().store(
    group="hydra/launcher",
    name="fused",
    node={"_target_": "hydra_plugins.mnist_lightning_launcher.FusedLauncher"},
    provider="mnist_lightning",
)


class FusedLauncher(BasicLauncher):
    """Trains each group, then gives its jobs to the basic launcher, one by one: they find their records stored.

    So every directory, `.hydra/` file, callback and return value is the basic launcher's, and so is whatever is not
    trained by a group: runs that cannot be fused, and the jobs of any other program.
    """

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        if getattr(self.task_function, "__module__", "") != _OUR_TASK:
            return super().launch(job_overrides, initial_job_idx)
        from mnist_lightning.config import parse
        from mnist_lightning.sweep import sweep
        from mnist_lightning.sweep.compositions import ReusedCompositions

        assert self.config is not None
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        compose = loader.compose if isinstance(loader, ReusedCompositions) else loader.load_sweep_config
        configs = [parse(sweep.without_hydra(compose(self.config, list(job)))) for job in job_overrides]
        returns: dict[int, JobReturn] = {}
        for group in sweep.train_together(configs, self.config.hydra.sweep.dir):
            for index in group:
                returns[index] = super().launch([job_overrides[index]], initial_job_idx + index)[0]
        return [returns[index] for index in range(len(job_overrides))]
