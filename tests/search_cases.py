"""A search without training, for the tests of sweep/ and report/: runs that are records alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("optuna", minversion="4", reason='a search needs Optuna 4: pip install "mnist-lightning[optuna]"')

from hydra.core.override_parser.overrides_parser import OverridesParser

from mnist_lightning.config import RunConfig
from mnist_lightning.records.results import RunResult, Status, save
from mnist_lightning.records.search import Search, Trial
from mnist_lightning.sweep.search_names import KEYS
from mnist_lightning.sweep.search_setup import Settings
from mnist_lightning.sweep.search_storage import open_study
from mnist_lightning.sweep.search_study import SearchStudy

SPACE = ["lr=tag(log,interval(1e-4,1e-1))", "optimizer=adam,sgd", "seed=range(0,3)"]


def settings_of(*space: str, **keys: object) -> Settings:
    """The checked keys of a search that draws from `space`; by default at random with a seed."""
    given = {**KEYS, "sampler": {"_target_": "optuna.samplers.RandomSampler", "seed": 1}, **keys}
    return Settings.of(given, list(space or SPACE), OverridesParser.create())


def compose(job: Sequence[str]) -> RunConfig:
    """The configuration of a trial's overrides, which give numbers or names to keys at the top."""
    values = dict(override.split("=", 1) for override in job)
    numbers = {"lr": float, "seed": int}
    return RunConfig(**{key: numbers.get(key, str)(value) for key, value in values.items()})  # pyright: ignore


def study_in(root: Path, settings: Settings) -> SearchStudy:
    """The search of these settings in a directory, as a command opens it."""
    search: Search = settings.search(root, [RunConfig()])
    study = open_study(root, search.storage, search.study_name, search.direction)
    return SearchStudy(root, study, search, settings.space, settings.samplers, compose)


def accuracy_of(trial: Trial) -> float:
    """What a trial of SPACE gives: the more, the smaller its learning rate."""
    return round(1 - trial.params["lr"] / (2 if trial.params["optimizer"] == "adam" else 1), 6)


def record(trial: Trial, root: Path, status: Status = "completed", error: str = "") -> RunResult:
    """Stores the record of a trial, as if it had been trained."""
    config = compose([f"{key}={value}" for key, value in trial.params.items()])
    accuracy = accuracy_of(trial)
    result = RunResult(
        optimizer=config.optimizer.label, loss_func=config.loss, learning_rate=config.lr, seed=config.seed,
        fingerprint=config.fingerprint, run_name=config.run_name, status=status, error=error, accuracy_test=accuracy,
        accuracy=accuracy, loss_test=1 - accuracy, mse_test=0.1, mae_test=0.1, binary_accuracy_test=0.9, epochs=20,
        dataset="mnist", num_channels=32, num_conv=2, num_dense=1, num_parameters=1000, val_size=0, duration_seconds=1,
    )  # fmt: skip
    (root / trial.run_name).mkdir(parents=True, exist_ok=True)
    save(result, root / trial.run_name)
    return result


def searched_whole(root: Path, settings: Settings, trained: list[str] | None = None) -> list[Trial]:
    """Runs a search to its end, one trial at a time; appends what it trains to `trained`."""
    study = study_in(root, settings)
    study.begin()
    while trials := study.next(1):
        for trial in trials:
            record(trial, root)
            if trained is not None:
                trained.append(trial.run_name)
        study.settle()
    return study.search.trials
