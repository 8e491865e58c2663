"""sweep/announcement.py: what is said before the first run."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from mnist_lightning.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig, TrainerConfig
from mnist_lightning.progress.words import duration
from mnist_lightning.progress.work import work_of
from mnist_lightning.records.results import RunResult
from mnist_lightning.sweep.announcement import announcement, drawn_announcement
from mnist_lightning.training import pace, trainer

CPU = TrainerConfig(max_epochs=2, accelerator="cpu", precision="32-true")


@pytest.fixture(autouse=True)
def one_thread_and_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(pace, "seconds_per_work", lambda config: None)


def made(**changes: object) -> RunConfig:
    return RunConfig(**{"trainer": CPU, "data": DataConfig("synthetic", train_size=1280), **changes})  # pyright: ignore[reportArgumentType] - fields by name


GRID = [made(lr=lr, optimizer=OptimizerConfig(name)) for lr in (0.1, 0.01) for name in ("adam", "sgd", "rmsprop")]


def test_a_grid_is_told_by_the_keys_that_vary_a_single_run_by_its_name() -> None:
    where = "2 epochs of 1,280 images of synthetic, on 1 CPU thread, 32-true"
    assert announcement(GRID) == f"6 runs: optimizer (3) x lr (2), {where}"
    assert announcement(GRID[1:]) == f"5 runs: optimizer (3), lr (2), {where}", "no whole grid"
    assert announcement(GRID[:1]) == f"Adam mse 0.1 32/2/1, {where}"


def test_whole_data_sets_different_epochs_and_another_machine_are_told() -> None:
    longer = TrainerConfig(max_epochs=5, accelerator="cpu", precision="bf16-mixed")
    configs = [made(data=DataConfig()), made(data=DataConfig(), trainer=longer)]
    assert announcement(configs) == (
        "2 runs: max_epochs (2), precision (2), 2 to 5 epochs of mnist, on 1 CPU thread, 32-true, bf16-mixed"
    )
    assert announcement(GRID, "ray").endswith("2 epochs of 1,280 images of synthetic, by ray")


def test_the_expected_time_is_that_of_the_stored_runs_by_their_work() -> None:
    small, large = made(model=ModelConfig(4, 1, 0)), made(model=ModelConfig(64, 3, 3))
    stored = [(small, RunResult(status="completed", duration_seconds=10.0))]
    assert announcement(GRID[:1], "basic", [(GRID[1], stored[0][1])]).endswith(": about 10 s, as the stored ones took")
    told = announcement([large], "basic", stored)
    assert "about" in told
    assert " min, as the stored ones took" in told
    assert "about" not in announcement([large], "joblib", stored), "how many at a time is not known"
    for unknown in (RunResult(status="failed"), RunResult(status="completed", duration_seconds=math.nan)):
        assert "about" not in announcement([large], "basic", [(small, unknown)])


def test_a_long_sweep_is_foretold_by_a_timed_second_of_its_longest_run(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[RunConfig] = []
    monkeypatch.setattr(pace, "seconds_per_work", lambda config: timed.append(config) or 1e-10)
    small, large = made(data=DataConfig()), made(data=DataConfig(), model=ModelConfig(64))
    work = sum(work_of(config).total for config in (small, large))
    assert announcement([small, large]).endswith(f": about {duration(work * 1e-10)}, by a timed second of training")
    assert timed == [large]
    assert "about" in announcement([small, large], "fused")
    stored = [(small, RunResult(status="completed", duration_seconds=10.0))]
    assert announcement([large], "basic", stored).endswith("as the stored ones took")
    limited = made(data=DataConfig(), trainer=replace(CPU, limit_train_batches=5))
    own = made(data=DataConfig(_target_="torchvision.datasets.EMNIST"), model=ModelConfig(64))
    for told in (
        announcement([large, own]),
        announcement([large], "joblib"),
        announcement([large, limited]),
        announcement(GRID),
    ):
        assert "about" not in told
    monkeypatch.setattr(pace, "seconds_per_work", lambda config: None)
    assert "about" not in announcement([large]), "nothing could be timed"
    monkeypatch.setattr(pace, "seconds_per_work", lambda config: 1 // 0)
    assert "about" not in announcement([large]), "what the trial raises the run will raise, and have it recorded"


def test_a_fused_sweep_is_foretold_by_a_single_run_only_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "seconds_per_work", lambda config: 1e-10)
    whole = [made(data=DataConfig(), model=ModelConfig(64))]
    assert "about" in announcement(whole, "fused")
    monkeypatch.setattr(trainer, "device_words", lambda config: "NVIDIA H100")
    assert "about" not in announcement(whole, "fused")
    assert "about" in announcement(whole)


def test_a_search_of_another_plugin_is_told_by_its_trials_and_what_they_draw() -> None:
    assert drawn_announcement(20, ["lr", "model.num_channels"]) == "20 trials, each with its own lr, num_channels"
    assert drawn_announcement(1, []) == "1 trial"
    assert drawn_announcement(0, ["optimizer.name"]) == "a search, each with its own optimizer"
