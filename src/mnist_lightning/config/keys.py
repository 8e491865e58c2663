"""The configuration's keys: each one's name, type, default, range and sentence, written once.

Plain dataclasses: Hydra composes against them as a schema, `parse` turns what it composed into a `RunConfig`,
and `RunConfig(...)` works without Hydra. Each section checks itself when it is made (section.py).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from typing import Any, ClassVar, NamedTuple, TypeVar

from mnist_lightning.config import transforms
from mnist_lightning.config.own_code import ARGUMENTS, OwnCode, folded
from mnist_lightning.config.section import Section, example_of, key, near_miss, sections_of, type_problem, types_of
from mnist_lightning.config.shapes import MNIST, vanishing
from mnist_lightning.config.trainer_keys import TrainerConfig
from mnist_lightning.errors import ConfigError, Problem

S = TypeVar("S", bound=Section)

LONGEST_NAME = 80
FINGERPRINT_IN_NAME = 8
_LONGEST_PART = 24  # of a name of the user's in the name of a run

# name on the command line -> name in tables and directories (the study's name where it has one)
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


def optimizer_label(name: str) -> str:
    """An optimizer's name in tables and directories: the study's, or the class name of a dotted path."""
    return OPTIMIZERS.get(name) or name.rpartition(".")[2]


@dataclass
class ModelConfig(OwnCode):
    """The network's size; or a network of the user's, `_target_`, with its `arguments`."""

    prefix = "model."
    replaced: ClassVar[tuple[str, ...]] = ("num_channels", "num_conv", "num_dense")

    num_channels: int = key(
        32,
        "filters of the first convolution; each later one has twice as many",
        low=1,
        high=4096,
        also="channels filters num_filters",
    )
    num_conv: int = key(
        2,
        "convolutions after the first, each followed by 2x2 max pooling",
        low=0,
        also="conv convolutions num_convolutions",
    )
    num_dense: int = key(
        1, "hidden dense layers between the convolutions and the output", low=0, high=100, also="dense num_hidden"
    )
    _target_: str | None = key(
        None, "a network of your own, such as my_project.nets.Net; its arguments stand beside it: +model.width=8"
    )
    arguments: dict[str, Any] = key(factory=dict)


@dataclass
class OptimizerConfig(Section):
    """The optimizer and its arguments, all but the learning rate."""

    prefix = "optimizer."

    name: str = key(
        "rmsprop",
        "written optimizer=X: a choice, or a torch class such as torch.optim.RAdam",
        choices=OPTIMIZERS,
        dotted=True,
    )
    options: dict[str, Any] = key(about="its further arguments, such as optimizer.options.rho=0.8", factory=dict)

    @property
    def label(self) -> str:
        """The name in tables and directories: the study's, or the class name of a dotted path."""
        return optimizer_label(self.name)


@dataclass
class DataConfig(OwnCode):
    """The data set, where it lies and how much of it is used; or the user's own, `_target_`, with `arguments`."""

    prefix = "data."
    replaced: ClassVar[tuple[str, ...]] = ("name",)

    name: str = key("mnist", "written data=X; synthetic needs no files", choices=DATASETS)
    root: str = key(
        about="directory of the data files; by default $MNIST_LIGHTNING_DATA, else data",
        factory=lambda: os.environ.get("MNIST_LIGHTNING_DATA") or "data",
        identity=False,
    )
    download: bool = key(True, "fetch missing data files", identity=False)
    batch_size: int = key(64, "images per update of the weights", low=1, high=1_000_000, also="bs batch batchsize")
    train_size: int | None = key(None, "first n training images; null is all", low=1)
    test_size: int | None = key(None, "first n test images; null is all", low=1)
    val_size: int = key(
        0, "hold out the last n training images for validation; 0 is to validate on the test set", low=0
    )
    _target_: str | None = key(
        None, "another data set, such as torchvision.datasets.EMNIST; its arguments stand beside it: data.split=letters"
    )
    arguments: dict[str, Any] = key(factory=dict)

    @property
    def label(self) -> str:
        """What it is called in records and tables: its name, or that of the user's code with its arguments."""
        return self.name if self.component is None else str(self.component)

    @classmethod
    def problems_of(cls, values: Mapping[str, Any]) -> list[Problem]:
        """The problems of each value, then a validation set that takes all training images."""
        problems = super().problems_of(values)
        train_size, val_size = values["train_size"], values["val_size"]
        if not problems and train_size is not None and val_size >= train_size:
            remedy = f"use less than data.train_size={train_size}"
            problems.append(Problem("data.val_size", val_size, "leaves nothing to train on", remedy))
        return problems


@dataclass
class SweepConfig(Section):
    """How a sweep deals with runs that go wrong."""

    prefix = "sweep."

    max_retries: int = key(1, "how often a run that killed its process is tried again", low=0, identity=False)


@dataclass
class ReportConfig(Section):
    """When the page of a sweep is made."""

    prefix = "report."

    live: bool = key(
        False, "make a sweep's page, and status.json, also while it runs, about once a minute", identity=False
    )


@dataclass
class RunConfig(Section):
    """One configuration of the grid; the defaults are the study's.

    A section may be given as plain values too: `RunConfig(optimizer="adam", model={"num_conv": 3})`.
    """

    optimizer: OptimizerConfig = key(about="how the weights are updated", factory=OptimizerConfig, also="opt optim")
    lr: float = key(0.001, "learning rate, the size of each update", above=0, high=1e30, also="learning_rate rate")
    loss: str = key(
        "mse", "the function that training makes small", choices=LOSSES, also="loss_func loss_function criterion"
    )
    seed: int = key(0, "fixes initial weights and order of the images", low=0, high=2**32 - 1, also="random_seed")
    model: ModelConfig = key(about="the network's size", factory=ModelConfig, also="network net")
    data: DataConfig = key(about="the data set and how much of it is used", factory=DataConfig, also="dataset")
    transform: Any = key(
        None,
        "changes training images at random: none, light (turns, shifts, scales a little), torchvision.transforms.v2.X, "
        "{_target_: torchvision.transforms.v2.X, argument: value} or a list of them",
        also="transforms augmentation augment",
    )
    trainer: TrainerConfig = key(
        about="training itself; every argument of lightning.Trainer is a key, and null is Lightning's default",
        factory=TrainerConfig,
    )
    sweep: SweepConfig = key(about="what a grid does about runs that go wrong", factory=SweepConfig, identity=False)
    logger: dict[str, Any] = key(about="where metrics go besides metrics.csv", factory=dict, identity=False)
    callbacks: list[Any] = key(
        about="Lightning callbacks, each {_target_: package.Class, argument: value}", factory=list
    )
    ckpt_path: str | None = key(None, "last.ckpt of a run to be continued")
    progress: str = key(
        "auto",
        "what is shown of the training: a line that is rewritten, or lines; auto is bar on a terminal",
        choices=("auto", "bar", "lines", "none"),
        identity=False,
    )
    retrain: bool = key(
        False, "train a finished single run anew; its record stays until the new one is whole", identity=False
    )
    report: ReportConfig = key(about="when a sweep's page is made", factory=ReportConfig, identity=False)

    def problems(self) -> list[Problem]:
        """All problems of the values and of the sections, which are made from plain values where they are none yet."""
        problems = []
        for name, kind in sections_of(RunConfig).items():
            try:
                setattr(self, name, section_from(kind, getattr(self, name)))
            except ConfigError as error:
                problems += error.problems
        if self._sizes_are_known():
            problems += vanishing(self.model.num_conv, MNIST)
        try:
            self.transform = transforms.written(self.transform)
        except ConfigError as error:
            problems += error.problems
        return problems + super().problems()

    def _sizes_are_known(self) -> bool:
        """Whether this is the study's network on images of MNIST's size; of others the data say what fits."""
        is_studys = isinstance(self.model, ModelConfig) and not self.model.problems() and not self.model.component
        return is_studys and not (isinstance(self.data, DataConfig) and self.data.component)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that differ where optimizer, network, data, loss, seed or schedule do.

        Where and how fast a run computes (accelerator, strategy, plugins, what `precision=auto` stands for) is no
        part of them: the record says that.
        """
        return fingerprint_of(self.identity())

    @property
    def run_name(self) -> str:
        """The study's name for the model, then a short fingerprint; at most 80 characters of [A-Za-z0-9_+-]."""
        m = self.model
        sizes = f"num_channel{m.num_channels}_num_conv{m.num_conv}_num_dense{m.num_dense}"
        network = _in_names(m.component.label)[:_LONGEST_PART] if m.component else sizes
        rest = f"_{self.loss}_lr{self.lr:.0e}_{network}_{self.fingerprint[:FINGERPRINT_IN_NAME]}"
        return _in_names(self.optimizer.label)[: LONGEST_NAME - len(rest)] + rest


def _in_names(text: str) -> str:
    return "".join(c for c in text if c.isascii() and (c.isalnum() or c in "_-"))


def fingerprint_of(identity: Mapping[str, Any]) -> str:
    """The fingerprint of a configuration's `identity()`, also when that has been stored as JSON."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class Key(NamedTuple):
    """A key as it is written on the command line, with its dataclass field and type."""

    name: str
    field: Field[Any]
    hint: Any


def all_keys(kind: type[Section] = RunConfig) -> list[Key]:
    """Every key of the configuration, a section's after the section."""
    keys = []
    for f in fields(kind):
        hint = types_of(kind)[f.name]
        if not (f.name == ARGUMENTS and issubclass(kind, OwnCode)):  # no key: they stand beside `_target_`
            keys.append(Key(kind.prefix + f.name, f, hint))
        if f.name in sections_of(kind):
            keys += all_keys(hint)
    return keys


def suggest_key(key: str) -> str:
    """`did you mean X?` for an unknown key: one of the same name elsewhere, of the same meaning, or spelt alike."""
    last = {known.name: known.name.rpartition(".")[2] for known in all_keys()}
    also = {word: known.name for known in all_keys() for word in known.field.metadata["also"]}
    word = key.rpartition(".")[2].lower()
    if found := next((name for name, own in last.items() if own == word), also.get(word)):
        return f"did you mean {found}?"
    return near_miss(key, [name for name in last if ("." in name) == ("." in key)])


def takes_list(key: str) -> bool:
    """Whether a list may be the value of a key; that of an unknown one may."""
    hint = next((known.hint for known in all_keys() if known.name == key), Any)
    return not type_problem([], hint)


def unknown_key(key: str, value: Any) -> Problem:
    """What to say about a key that does not exist."""
    return Problem(key, value, "no such key", suggest_key(key) or "see --help for the keys")


def section_from(kind: type[S], given: Any) -> S:
    """A checked section from a section, from its plain values by key, or from its `name` alone.

    Raises ConfigError with all problems: unknown keys, wrong types, values out of range.
    """
    names = types_of(kind)
    if isinstance(given, kind):
        given.check()
        return given
    given = folded(kind, given)
    if isinstance(given, str) and "name" in names:
        given = {"name": given}
    if not isinstance(given, dict):
        name, what = kind.prefix[:-1] or "configuration", type_problem(given, kind)
        raise ConfigError([Problem(name, given, what, f"use {example_of(kind)}")])
    problems = [unknown_key(f"{kind.prefix}{k}", v) for k, v in given.items() if k not in names]
    try:
        section = kind(**{k: v for k, v in given.items() if k in names})
    except ConfigError as error:
        raise ConfigError(problems + error.problems) from error
    if problems:
        raise ConfigError(problems)
    return section
