"""Runs as tasks on Ray: hydra-ray-launcher's, except that signals are answered and every task is waited for."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from mnist_lightning.errors import ConfigError

_PAUSE = 0.2  # seconds between two looks at the tasks


class RayTasks(Launcher):
    """Launches by hydra-ray-launcher's parts, and waits in Python's `sleep`, where signals are answered.

    The plugin waits in Ray's `get`: there a signal aborts the process, or is not answered. Tasks are independent: one
    whose worker has died does not keep the others from ending.
    """

    def __init__(self, plugin: Any) -> None:
        self.plugin = plugin

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Passes Hydra's set-up on."""
        self.plugin.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Launches the jobs and returns what they returned, once all have ended; raises the first task's error."""
        import ray

        tasks: list[Any] = []
        try:
            self._start()
            for number, job in enumerate(job_overrides, start=initial_job_idx):
                tasks.append(self._task(job, number))
            left = tasks
            while left:
                _, left = ray.wait(left, num_returns=len(left), timeout=0)
                time.sleep(_PAUSE if left else 0)
            return [ray.get(task) for task in tasks]
        except BaseException as error:
            if not isinstance(error, Exception):
                _end(tasks)
            raise

    def _start(self) -> None:
        """Starts Ray on this machine, or joins the cluster that the configuration names. Raises ConfigError."""
        from hydra_plugins.hydra_ray_launcher._launcher_util import start_ray

        setup_globals()
        init = self.plugin.ray_cfg.init
        try:
            with _handlers_kept():  # Ray's own would end the process without a last line
                start_ray(init)
        except Exception as error:
            address = init.get("address")
            key = "hydra/launcher=ray" if address is None else f"hydra.launcher.ray.init.address={address}"
            said = " ".join(str(error).split())[:80]
            raise ConfigError(f"{key}: Ray does not start ({said}); see hydra.launcher.ray.init") from error

    def _task(self, job: Sequence[str], number: int) -> Any:
        """Hands one job to Ray and returns the reference to its result."""
        from hydra_plugins.hydra_ray_launcher._launcher_util import launch_job_on_ray

        plugin = self.plugin
        composed = plugin.hydra_context.config_loader.load_sweep_config(plugin.config, list(job))
        with open_dict(composed):
            composed.hydra.job.id = f"{composed.hydra.job.name}_{number}"
            composed.hydra.job.num = number
        state = Singleton.get_state()
        return launch_job_on_ray(plugin.hydra_context, plugin.ray_cfg.remote, composed, plugin.task_function, state)


def _end(tasks: Sequence[Any]) -> None:
    """Ends our tasks and leaves Ray. A Ray that this process has started ends with that, a cluster stays."""
    import ray

    if ray.is_initialized():
        for task in tasks:
            ray.cancel(task, force=True)
        ray.shutdown()


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Puts back what handled signals before the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    before = {number: signal.getsignal(number) for name in names if (number := getattr(signal, name, None))}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
