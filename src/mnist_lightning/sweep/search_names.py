"""The names of a search's samplers and pruners, and its keys for Hydra; without Optuna."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from mnist_lightning.errors import ConfigError

OLDEST_OPTUNA = 4
SAMPLERS = {
    "tpe": "optuna.samplers.TPESampler",
    "random": "optuna.samplers.RandomSampler",
    "grid": "optuna.samplers.GridSampler",
    "qmc": "optuna.samplers.QMCSampler",
    "cmaes": "optuna.samplers.CmaEsSampler",
    "nsgaii": "optuna.samplers.NSGAIISampler",
    "gp": "optuna.samplers.GPSampler",
}
PRUNERS = {
    "none": "optuna.pruners.NopPruner",
    "median": "optuna.pruners.MedianPruner",
    "hyperband": "optuna.pruners.HyperbandPruner",
    "asha": "optuna.pruners.SuccessiveHalvingPruner",
}
# `hydra.sweeper.X` with its default. null for n_jobs: as many as the launcher trains at once, as far as that is known
KEYS: dict[str, Any] = {
    "n_trials": 20,
    "n_jobs": None,
    "direction": "maximize",
    "pruner": "none",
    "storage": None,
    "study_name": None,
    "params": None,
}


def require_optuna() -> None:
    """Raises ConfigError where no Optuna is installed that a search can use."""
    install = 'pip install "mnist-lightning[optuna]"'
    try:
        version = importlib.metadata.version("optuna")
    except importlib.metadata.PackageNotFoundError:
        raise ConfigError(f"hydra/sweeper=optuna: not installed; {install}") from None
    if int(version.partition(".")[0]) < OLDEST_OPTUNA:
        what = f"Optuna {version} is installed, and a search needs {OLDEST_OPTUNA} or later"
        raise ConfigError(f"hydra/sweeper=optuna: {what}; pip install -U optuna")
