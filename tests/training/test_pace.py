"""training/pace.py: a second of training, timed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mnist_lightning.config import DataConfig, ModelConfig, RunConfig, TrainerConfig
from mnist_lightning.progress.work import work_of_steps
from mnist_lightning.training import pace

TINY = RunConfig(
    model=ModelConfig(1, 0, 0),
    data=DataConfig("synthetic", train_size=6_400, test_size=64),
    trainer=TrainerConfig(accelerator="cpu", precision="32-true"),
)


def test_a_trial_of_training_tells_the_pace_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pace, "_SECONDS", 0.1)
    began = time.perf_counter()
    told = pace.seconds_per_work(TINY)
    whole = time.perf_counter() - began
    assert told is not None
    assert 0 < told * work_of_steps(TINY, 1) < whole, "a step takes less than the whole trial"
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_trial_without_a_timed_step_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pace, "_WARM_UP", 10**6)
    assert pace.seconds_per_work(TINY) is None
