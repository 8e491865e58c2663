"""The configuration: every key's name, type, default, range and one sentence about it, written once.

Plain dataclasses: Hydra composes against them as a schema, `parse` turns what it composed into a `RunConfig`,
and `RunConfig(...)` works without Hydra. Each section checks itself when it is made (section.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mnist_lightning.config.section import Section, key, near_miss, type_problem, way_out
from mnist_lightning.errors import ConfigError, Problem

IMAGE_SIZE = 28
NUM_CLASSES = 10
LONGEST_NAME = 80
FINGERPRINT_IN_NAME = 8

# name on the command line -> name in tables and directories (the report's name where it has one)
OPTIMIZERS = {
    "adam": "Adam",
    "sgd": "SGD",
    "rmsprop": "RMSprop",
    "adamax": "Adamax",
    "adadelta": "Adadelta",
    "adagrad": "Adagrad",
    "adamw": "AdamW",
    "nadam": "NAdam",
    "torch_adam": "TorchAdam",
    "torch_sgd": "TorchSGD",
    "torch_rmsprop": "TorchRMSprop",
}
LOSSES = ("mse", "mae", "cross_entropy")
DATASETS = ("mnist", "fashion_mnist", "kmnist", "qmnist", "synthetic")
PRECISIONS = ("auto", "32-true", "64-true", "bf16-mixed", "bf16-true", "16-mixed", "16-true")
_PRECISION_SHORT = {"64": "64-true", "32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}


def conf_dir() -> Path:
    """The directory of the YAML files: inside the package when installed, the checkout's `conf/` otherwise."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parents[1] / "conf"


def fresh_directory() -> str:
    """A new name under `outputs/` that no other process, started in the same second or not, can also get."""
    return f"outputs/{time.strftime('%Y-%m-%d_%H-%M-%S')}_{secrets.token_hex(3)}"


@dataclass
class ModelConfig(Section):
    num_channels: int = key(32, "filters of the first convolution; each later one doubles", low=1, high=4096)
    num_conv: int = key(2, "convolutions after the first, each with 2x2 pooling", low=0)
    num_dense: int = key(1, "hidden dense layers", low=0, high=100)

    def problems(self, prefix: str = "model.") -> list[Problem]:
        found = super().problems(prefix)
        most = IMAGE_SIZE.bit_length() - 1
        if not found and self.num_conv > most:
            sizes = ", ".join(str(IMAGE_SIZE >> i) for i in range(most + 1))
            what = f"the image vanishes: {IMAGE_SIZE} pixels halve to {sizes} and then nothing"
            found.append(Problem(f"{prefix}num_conv", self.num_conv, what, f"use 0 to {most}"))
        return found


@dataclass
class OptimizerConfig(Section):
    name: str = key("rmsprop", "the optimizer", choices=OPTIMIZERS, dotted=True)
    options: dict[str, Any] = key(about="further arguments of the optimizer", factory=dict)

    def problems(self, prefix: str = "optimizer.") -> list[Problem]:
        return super().problems(prefix)

    @property
    def label(self) -> str:
        """The name in tables and directories: the report's, or the class name of a dotted path."""
        return OPTIMIZERS.get(self.name) or self.name.rpartition(".")[2]


@dataclass
class DataConfig(Section):
    name: str = key("mnist", "the data set", choices=DATASETS)
    root: str = key(
        about="directory of the data files; default $MNIST_LIGHTNING_DATA, else data",
        factory=lambda: os.environ.get("MNIST_LIGHTNING_DATA") or "data",
        identity=False,
    )
    download: bool = key(True, "fetch missing files", identity=False)
    batch_size: int = key(64, "images a step", low=1, high=1_000_000)
    train_size: int | None = key(None, "use the first n training images; null: all", low=1)
    test_size: int | None = key(None, "use the first n test images; null: all", low=1)
    val_size: int = key(0, "hold out the last n training images; 0: validate on the test set", low=0)

    def problems(self, prefix: str = "data.") -> list[Problem]:
        found = super().problems(prefix)
        if not found and self.train_size is not None and self.val_size >= self.train_size:
            way_out = f"use less than data.train_size={self.train_size}"
            found.append(Problem(f"{prefix}val_size", self.val_size, "leaves nothing to train on", way_out))
        return found


@dataclass
class TrainerConfig(Section):
    """`lightning.Trainer`'s arguments, all of them but `logger` and `callbacks`; null is Lightning's default."""

    max_epochs: int = key(20, "passes over the training set", low=1)
    precision: str = key("auto", "auto: bf16-mixed where the hardware is made for it, else 32-true", choices=PRECISIONS)
    accelerator: Any = key("auto", "cpu, gpu, ...", identity=False)
    devices: Any = key("auto", "which device; one run uses one", identity=False)
    strategy: Any = key(None, "", identity=False)
    num_nodes: Any = key(None, "", identity=False)
    fast_dev_run: bool | int | None = key(None)
    min_epochs: int | None = key(None, low=0)
    max_steps: int | None = key(None, low=-1)
    min_steps: int | None = key(None, low=0)
    max_time: Any = key(None)
    limit_train_batches: int | float | None = key(None, above=0)
    limit_val_batches: int | float | None = key(None, low=0)
    limit_test_batches: int | float | None = key(None, above=0)
    limit_predict_batches: int | float | None = key(None, low=0)
    overfit_batches: int | float | None = key(None, low=0)
    val_check_interval: Any = key(None)
    check_val_every_n_epoch: int | None = key(None, low=1)
    num_sanity_val_steps: int | None = key(None, low=-1, identity=False)
    log_every_n_steps: int | None = key(None, low=0, identity=False)
    enable_checkpointing: bool | None = key(None, identity=False)
    enable_progress_bar: bool | None = key(None, identity=False)
    enable_model_summary: bool | None = key(None, identity=False)
    accumulate_grad_batches: int | None = key(None, low=1)
    gradient_clip_val: float | None = key(None, low=0)
    gradient_clip_algorithm: Any = key(None)
    deterministic: Any = key(None, "", identity=False)
    benchmark: bool | None = key(None, identity=False)
    inference_mode: bool | None = key(None, identity=False)
    use_distributed_sampler: Any = key(None, "", identity=False)
    profiler: Any = key(None, "", identity=False)
    detect_anomaly: Any = key(None, "", identity=False)
    barebones: Any = key(None, "", identity=False)
    plugins: Any = key(None, "", identity=False)
    sync_batchnorm: Any = key(None, "", identity=False)
    reload_dataloaders_every_n_epochs: Any = key(None, "", identity=False)
    default_root_dir: Any = key(None, "", identity=False)
    enable_autolog_hparams: Any = key(None, "", identity=False)
    model_registry: Any = key(None, "", identity=False)

    def problems(self, prefix: str = "trainer.") -> list[Problem]:
        self.precision = _PRECISION_SHORT.get(str(self.precision), self.precision)
        found = super().problems(prefix)
        if self.deterministic not in (None, True, False, "warn"):
            found.append(Problem(f"{prefix}deterministic", self.deterministic, "unknown", "use true, false or warn"))
        if not found and (self.min_epochs or 0) > self.max_epochs:
            way_out = f"use at most trainer.max_epochs={self.max_epochs}"
            found.append(Problem(f"{prefix}min_epochs", self.min_epochs, "too large", way_out))
        return found

    def arguments(self) -> dict[str, Any]:
        """The arguments that were set, for `lightning.Trainer(**arguments)`."""
        return {f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}


@dataclass
class SweepConfig(Section):
    max_retries: int = key(1, "how often a run that killed its worker is tried again", low=0, identity=False)

    def problems(self, prefix: str = "sweep.") -> list[Problem]:
        return super().problems(prefix)


@dataclass
class RunConfig(Section):
    """One configuration of the grid; the defaults are the report's."""

    optimizer: OptimizerConfig = key(factory=OptimizerConfig)
    lr: float = key(0.001, "learning rate", above=0, high=1e30)
    loss: str = key("mse", "the loss", choices=LOSSES)
    seed: int = key(0, "initial weights and batch order", low=0, high=2**32 - 1)
    model: ModelConfig = key(factory=ModelConfig)
    data: DataConfig = key(factory=DataConfig)
    trainer: TrainerConfig = key(factory=TrainerConfig)
    sweep: SweepConfig = key(factory=SweepConfig, identity=False)
    logger: dict[str, Any] = key(about="the logger group's content", factory=dict, identity=False)
    callbacks: list[Any] = key(about="a list of {_target_: class, ...}", factory=list)
    ckpt_path: str | None = key(None, "checkpoint to continue from")

    def __post_init__(self) -> None:
        # `RunConfig(optimizer="adam", model={"num_conv": 3})` is what people type first
        for f in fields(self):
            kind, value = f.default_factory, getattr(self, f.name)
            if isinstance(kind, type) and issubclass(kind, Section) and isinstance(value, (str, dict)):
                given = value if isinstance(value, dict) else {"name": value}
                unknown = [
                    Problem(f"{f.name}.{k}", v, "no such key", "see --help")
                    for k, v in given.items()
                    if k not in {i.name for i in fields(kind)}
                ]
                if unknown:
                    raise ConfigError(
                        unknown
                        if isinstance(value, dict)
                        else [Problem(f.name, value, "not a group of keys", "see --help")]
                    )
                setattr(self, f.name, kind(**given))
        super().__post_init__()

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that differ where optimizer, network, data, loss, seed or schedule do.

        Where and how fast a run computes (accelerator, strategy, plugins, what `precision=auto` stands for) is no
        part of them: the record says that.
        """
        canonical = json.dumps(self.identity(), sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def run_name(self) -> str:
        """The report's name for the model, then a short fingerprint; at most 80 characters of [A-Za-z0-9_-]."""
        m = self.model
        rest = (
            f"_{self.loss}_lr{self.lr:.0e}_num_channel{m.num_channels}_num_conv{m.num_conv}_num_dense{m.num_dense}"
            f"_{self.fingerprint[:FINGERPRINT_IN_NAME]}"
        )
        label = "".join(c for c in self.optimizer.label if c.isascii() and (c.isalnum() or c in "_-"))
        return label[: LONGEST_NAME - len(rest)] + rest


def schema() -> DictConfig:
    """The dataclasses as the schema Hydra composes against.

    Further optimizer and logger options need no `+`: those two dictionaries are open.
    """
    node = OmegaConf.structured(RunConfig)
    OmegaConf.set_struct(node.optimizer.options, False)
    OmegaConf.set_struct(node.logger, False)
    return node


def known_keys() -> list[str]:
    """Every key as it is written on the command line, sections' keys dotted."""
    keys = []
    for f in fields(RunConfig):
        section = f.default_factory
        keys.append(f.name)
        if isinstance(section, type) and is_dataclass(section):
            keys += [f"{f.name}.{inner.name}" for inner in fields(section)]
    return keys


def parse(composed: DictConfig | Mapping[str, Any]) -> RunConfig:
    """A checked `RunConfig` from what Hydra composed, or from nested plain dictionaries.

    Raises ConfigError with all problems found: unknown keys, wrong types, values out of range.
    """
    try:
        plain = OmegaConf.to_container(OmegaConf.create(composed), resolve=True)  # pyright: ignore - OmegaConf's types know no Mapping
    except OmegaConfBaseException as error:
        raise ConfigError(f"{getattr(error, 'full_key', None) or 'configuration'}: {error.msg}; see --help") from error
    assert isinstance(plain, dict)
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    for name, value in plain.items():
        f = next((f for f in fields(RunConfig) if f.name == name), None)
        if f is None:
            problems.append(_unknown(str(name), value))
        elif isinstance(f.default_factory, type) and is_dataclass(f.default_factory) and isinstance(value, dict):
            values[f.name] = _section(f.default_factory, f.name, value, problems)
        else:
            values[f.name] = value
    try:
        config = RunConfig(**values)
    except ConfigError as error:
        problems += error.problems
    else:
        if not problems:
            return config
    raise ConfigError(problems)


def _section(kind: Any, name: str, value: dict[Any, Any], problems: list[Problem]) -> Any:
    known = {f.name for f in fields(kind)}
    problems += [_unknown(f"{name}.{k}", v) for k, v in value.items() if k not in known]
    try:
        return kind(**{k: v for k, v in value.items() if k in known})
    except ConfigError as error:
        problems += error.problems
        return kind()


def wrong_type(key: str, value: str) -> Problem:
    """What is wrong when `key`, written on the command line, has a value of another type than its field's."""
    section: Any = RunConfig
    *path, name = key.split(".")
    for part in path:
        found = next((f for f in fields(section) if f.name == part), None)
        section = found.default_factory if found is not None else None
        if not is_dataclass(section):
            return Problem(key, value, "no such key", "see --help for the keys")
    f = next(f for f in fields(section) if f.name == name)
    return Problem(key, value, type_problem(object(), get_type_hints(section)[name]), way_out(value, f))


def _unknown(key: str, value: Any) -> Problem:
    return Problem(key, value, "no such key", suggest_key(key) or "see --help for the keys")


def suggest_key(key: str) -> str:
    """`did you mean X?` for an unknown key: one with the same last word elsewhere, or one spelt alike."""
    elsewhere = [k for k in known_keys() if k.rpartition(".")[2] == key.rpartition(".")[2]]
    alike = [k for k in known_keys() if ("." in k) == ("." in key)]
    return f"did you mean {elsewhere[0]}?" if elsewhere else near_miss(key, alike)
