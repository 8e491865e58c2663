"""A search, as Optuna's: its runs are drawn one after another, so nobody knows before which they will be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from mnist_lightning.config import conf_dir
from mnist_lightning.config.labels import label_by
from mnist_lightning.records.reading import read_regular
from mnist_lightning.records.run_directory import CONFIG

_LARGEST_CONFIG = 2**20  # bytes


def drawn_keys(config: DictConfig) -> list[str]:
    """The keys whose values a search draws, by the command line and by `hydra.sweeper.params`, in that order.

    Raises OverrideParseException, as Hydra itself will.
    """
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    overrides = [*config.hydra.overrides.task, *(f"{key}={value}" for key, value in params.items())]
    parsed = OverridesParser.create().parse_overrides([str(override) for override in overrides])
    keys = [override.key_or_group for override in parsed if override.is_sweep_override()]
    return [f"{key}.name" if (conf_dir() / key).is_dir() else key for key in dict.fromkeys(keys)]


def called(run_dir: Path, keys: Sequence[str]) -> str:
    """What a search's run is called where people read, by its config.yaml: as any run, then what else is drawn.

    That of its directory where there is no such file, as of a run that failed before.
    """
    try:
        config = yaml.safe_load(read_regular(run_dir / CONFIG, _LARGEST_CONFIG))
        return label_by(config, keys) if isinstance(config, dict) else run_dir.name
    except (OSError, ValueError, yaml.YAMLError):
        return run_dir.name
