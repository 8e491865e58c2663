"""Tasks of Ray's as the command's process sees them: waited for, ended, refused. With a real Ray: test_clusters.py."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from mnist_lightning.errors import ConfigError
from mnist_lightning.sweep.ray_tasks import RayTasks

JOBS = [["seed=0"], ["seed=1"], ["seed=2"]]


class Ray:
    """What of Ray is used, without processes: a task ends after `looks` and answers with its job, or raises."""

    def __init__(self) -> None:
        self.looks: dict[str, int] = {}
        self.deaths: dict[str, Exception] = {}
        self.interrupt: BaseException | None = None
        self.cancelled: list[str] = []
        self.running = False
        self.start: Callable[[], object] = lambda: None

    def start_ray(self, init: DictConfig) -> None:
        self.start()
        self.running = True

    def launch_job_on_ray(self, context: Any, remote: Any, config: DictConfig, task: Any, state: Any) -> str:
        return f"{config.hydra.job.id} {config.seed}"

    def wait(self, tasks: list[str], *, num_returns: int, timeout: float) -> tuple[list[str], list[str]]:
        if self.interrupt is not None:
            raise self.interrupt
        left = [task for task in tasks if self.looks.get(task, 0) > 0]
        self.looks = {task: looks - 1 for task, looks in self.looks.items()}
        return [task for task in tasks if task not in left], left

    def get(self, task: str) -> str:
        assert self.looks.get(task, 0) <= 0, "not waited for"
        if task in self.deaths:
            raise self.deaths[task]
        return task

    def is_initialized(self) -> bool:
        return self.running

    def cancel(self, task: str, *, force: bool) -> None:
        self.cancelled.append(task)

    def shutdown(self) -> None:
        self.running = False


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    ray = Ray()
    monkeypatch.setitem(sys.modules, "ray", ray)  # pyright: ignore[reportArgumentType] - it has what is used
    monkeypatch.setitem(sys.modules, "hydra_plugins.hydra_ray_launcher._launcher_util", ray)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr("mnist_lightning.sweep.ray_tasks._PAUSE", 0)
    return ray


def tasks(**init: object) -> RayTasks:
    def compose(config: object, job: list[str]) -> DictConfig:
        made = OmegaConf.create({"hydra": {"job": {"name": "run"}}, "seed": int(job[0].partition("=")[2])})
        OmegaConf.set_struct(made, True)
        return made

    context = SimpleNamespace(config_loader=SimpleNamespace(load_sweep_config=compose))
    settings = SimpleNamespace(init=OmegaConf.create(init), remote={})
    return RayTasks(SimpleNamespace(hydra_context=context, config=None, task_function=None, ray_cfg=settings))


def test_every_task_is_waited_for_and_the_answers_stand_in_the_jobs_order(ray: Ray) -> None:
    ray.looks = {"run_5 0": 3, "run_6 1": 1}
    assert tasks().launch(JOBS, 5) == ["run_5 0", "run_6 1", "run_7 2"]
    assert ray.running, "a Ray that may be somebody else's is left"


def test_a_task_whose_worker_has_died_does_not_keep_the_others_from_ending(ray: Ray) -> None:
    ray.looks, ray.deaths = {"run_1 1": 2, "run_2 2": 4}, {"run_0 0": RuntimeError("died")}
    with pytest.raises(RuntimeError, match="died"):
        tasks().launch(JOBS, 0)
    assert max(ray.looks.values()) < 0
    assert (ray.cancelled, ray.running) == ([], True)


@pytest.mark.parametrize("ended", [KeyboardInterrupt(), SystemExit(143)])
def test_a_signal_ends_the_tasks_and_leaves_ray(ray: Ray, ended: BaseException) -> None:
    ray.interrupt = ended
    with pytest.raises(type(ended)):
        tasks().launch(JOBS, 0)
    assert (ray.cancelled, ray.running) == (["run_0 0", "run_1 1", "run_2 2"], False)


def test_a_signal_before_ray_has_started_ends_nothing(ray: Ray) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    ray.start = interrupted
    with pytest.raises(KeyboardInterrupt):
        tasks().launch(JOBS, 0)
    assert ray.cancelled == []


@pytest.mark.parametrize(
    ("init", "key"),
    [({}, "hydra/launcher=ray"), ({"address": "nobody:1"}, "hydra.launcher.ray.init.address=nobody:1")],
)
def test_a_ray_that_does_not_start_is_told_in_a_line_with_what_it_said(
    ray: Ray, init: dict[str, object], key: str
) -> None:
    def broken() -> None:
        raise ConnectionError("no\n  such cluster")

    ray.start = broken
    with pytest.raises(ConfigError, match=rf"^{key}: Ray does not start \(no such cluster\); see hydra.launcher.ray"):
        tasks(**init).launch(JOBS, 0)
    assert ray.cancelled == []


def test_the_handlers_of_signals_are_those_of_before_whatever_ray_installs(ray: Ray) -> None:
    before = signal.getsignal(signal.SIGTERM)
    ray.start = lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tasks().launch(JOBS, 0)
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_another_thread_which_may_set_no_handler_ray_is_started_too(ray: Ray) -> None:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.extend(tasks().launch(JOBS, 0)))
    thread.start()
    thread.join()
    assert len(answers) == 3
