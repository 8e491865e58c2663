"""Every key of the configuration, with its type, default, range and meaning; imports no torch."""

from mnist_lightning.config.files import conf_dir, fresh_directory
from mnist_lightning.config.keys import (
    DATASETS,
    IMAGE_SIZE,
    LONGEST_NAME,
    LOSSES,
    NUM_CLASSES,
    OPTIMIZERS,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    SweepConfig,
    known_keys,
    suggest_key,
)
from mnist_lightning.config.parse import parse, schema, wrong_type
from mnist_lightning.config.section import check_values
from mnist_lightning.config.trainer_keys import TrainerConfig

__all__ = [
    "DATASETS",
    "IMAGE_SIZE",
    "LONGEST_NAME",
    "LOSSES",
    "NUM_CLASSES",
    "OPTIMIZERS",
    "DataConfig",
    "ModelConfig",
    "OptimizerConfig",
    "RunConfig",
    "SweepConfig",
    "TrainerConfig",
    "check_values",
    "conf_dir",
    "fresh_directory",
    "known_keys",
    "parse",
    "schema",
    "suggest_key",
    "wrong_type",
]
