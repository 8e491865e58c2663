"""The configuration's keys: each one's name, type, default, range and sentence, written once.

Plain dataclasses: Hydra composes against them as a schema, `parse` turns what it composed into a `RunConfig`,
and `RunConfig(...)` works without Hydra. Each section checks itself when it is made (section.py).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

from mnist_lightning.config import transforms
from mnist_lightning.config.components import Component
from mnist_lightning.config.data_keys import DataConfig
from mnist_lightning.config.model_keys import ModelConfig
from mnist_lightning.config.own_code import folded
from mnist_lightning.config.plain import plain
from mnist_lightning.config.schedule_keys import SchedulerConfig
from mnist_lightning.config.section import (
    Key,
    Section,
    documented,
    example_of,
    key,
    keys_of,
    near_miss,
    sections_of,
    type_problem,
    types_of,
)
from mnist_lightning.config.shapes import MNIST, vanishing
from mnist_lightning.config.sweep_keys import ReportConfig, SweepConfig
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
KERAS = ("adam", "sgd", "rmsprop", "adamax", "adadelta", "adagrad")  # those of them with Keras' rules
DECOUPLED = "decoupled_weight_decay"  # what the identity calls their weight_decay
LOSSES = ("mse", "mae", "cross_entropy")


def optimizer_label(name: str) -> str:
    """An optimizer's name in tables and directories: the study's, or the class name of a dotted path."""
    return OPTIMIZERS.get(name) or name.rpartition(".")[2]


def loss_label(name: str) -> str:
    """A loss's name in tables and directories: of the user's own the last word of its dotted path."""
    return name if name in LOSSES else name.rpartition(".")[2]


@documented
@dataclass
class OptimizerConfig(Section):
    """The optimizer and its arguments, all but the learning rate.

    >>> OptimizerConfig("sgd", {"momentum": 0.9}).label
    'SGD'
    """

    prefix = "optimizer."

    name: str = key(
        "rmsprop",
        "written optimizer=X: a choice, or a torch class such as torch.optim.RAdam",
        choices=OPTIMIZERS,
        dotted=True,
    )
    options: dict[str, Any] = key(about="its further arguments, such as optimizer.options.rho=0.8", factory=dict)

    def problems(self) -> list[Problem]:
        """All problems of the values; a class, function or partial becomes its name and options."""
        if callable(self.name):
            own = Component.of(self.name, "optimizer")
            self.name, self.options = own.target, {**own.arguments, **self.options}
        return super().problems()

    def identity(self) -> dict[str, Any]:
        """What it computes with. Keras' rules shrink weights apart from the gradient: up to 0.1 some did it within."""
        own = super().identity()
        if self.name in KERAS and self.options.get("weight_decay"):
            options = {k: v for k, v in self.options.items() if k != "weight_decay"}
            own["options"] = {**options, DECOUPLED: self.options["weight_decay"]}
        return own

    @property
    def label(self) -> str:
        """The name in tables and directories: the study's, or the class name of a dotted path."""
        return optimizer_label(self.name)


class _Keys(TypedDict, total=False):
    """What may be given for each key but the optimizer: a section, its keys, or, where it has one, its name."""

    lr: float
    loss: str | Callable[..., Any]
    loss_options: Mapping[str, Any]
    seed: int
    model: ModelConfig | Callable[..., Any] | Mapping[str, Any]
    data: DataConfig | str | Callable[..., Any] | Mapping[str, Any]
    transform: str | Callable[..., Any] | Mapping[str, Any] | Sequence[Any] | None
    trainer: TrainerConfig | Mapping[str, Any]
    sweep: SweepConfig | Mapping[str, Any]
    logger: Mapping[str, Any]
    callbacks: Sequence[Any]
    callback: Mapping[str, Any]
    scheduler: SchedulerConfig | str | Callable[..., Any] | Mapping[str, Any]
    ckpt_path: str | os.PathLike[str] | None
    progress: str
    report: ReportConfig | Mapping[str, Any]


class RunKeys(_Keys, total=False):
    """What may be given for each key, as `RunConfig`, `train` and `sweep` take them; a test compares the names."""

    optimizer: OptimizerConfig | str | Callable[..., Any] | Mapping[str, Any]


@documented
@dataclass
class RunConfig(Section):
    """One configuration; the defaults are the study's.

    A section, such as `model`, may be given as the class of its name, as any mapping of its keys (a dictionary, a
    DictConfig), and `optimizer` and `data` by their name alone; the attributes are always of the annotated types.
    Raises ConfigError, a ValueError, with all problems of all keys at once.

    >>> config = RunConfig(optimizer="adam", lr=0.01, model={"num_channels": 4}, data="synthetic")
    >>> config.optimizer.name, config.model.num_channels, config.model.num_conv, config.trainer.max_epochs
    ('adam', 4, 2, 20)
    >>> config.run_name
    'Adam_mse_lr1e-02_num_channel4_num_conv2_num_dense1_cc529849'
    >>> RunConfig(lr=0, loss="mes")
    Traceback (most recent call last):
    mnist_lightning.errors.ConfigError: lr=0.0: too small; use a number above 0, at most 1e+30 (also wrong: loss=mes)
    """

    if TYPE_CHECKING:  # what may be given; the attributes keep the types below

        def __init__(
            self,
            optimizer: OptimizerConfig | str | Callable[..., Any] | Mapping[str, Any] = ...,
            *,
            retrain: bool = ...,
            **keys: Unpack[_Keys],
        ) -> None: ...

    optimizer: OptimizerConfig = key(about="how the weights are updated", factory=OptimizerConfig, also="opt optim")
    lr: float = key(0.001, "learning rate, the size of each update", above=0, high=1e30, also="learning_rate rate")
    loss: str = key(
        "mse",
        "the function that training makes small; or one of your own, such as my_project.losses.focal",
        choices=LOSSES,
        dotted=True,
        also="loss_func loss_function criterion",
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
    loss_options: dict[str, Any] = key(
        about="arguments of a loss of your own, such as loss_options.gamma=2", factory=dict
    )
    scheduler: SchedulerConfig = key(
        about="how the learning rate changes", factory=SchedulerConfig, also="lr_scheduler schedule"
    )
    callback: dict[str, Any] = key(
        about="ready callbacks by name, written callback=X or callback=[X,Y]; each may be changed by its keys",
        factory=dict,
    )
    report: ReportConfig = key(about="when a sweep's page is made", factory=ReportConfig, identity=False)

    def problems(self) -> list[Problem]:
        """All problems of the values and of the sections, which are made from plain values where they are none yet."""
        problems = self._of_loss()
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

    def _of_loss(self) -> list[Problem]:
        """Makes the name and arguments of a function, class or partial; its problems."""
        if not isinstance(self.loss, str) and (callable(self.loss) or isinstance(self.loss, Mapping)):
            try:
                own = Component.of(self.loss, "loss")
            except ConfigError as error:
                return error.problems
            self.loss, self.loss_options = own.target, {**own.arguments, **self.loss_options}
        if self.loss in LOSSES and self.loss_options:
            what = f"loss={self.loss} has no arguments"
            return [Problem("loss_options", self.loss_options, what, "leave it out")]
        return []

    def identity(self) -> dict[str, Any]:
        """What the run computes with: the keys that have a value and are part of the fingerprint."""
        later = ("loss_options", "scheduler", "callback")  # no part of it where they are not used, as before they came
        return {k: v for k, v in super().identity().items() if k not in later or v}

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
        loss = _in_names(loss_label(self.loss))[:_LONGEST_PART]
        rest = f"_{loss}_lr{self.lr:.0e}_{network}_{self.fingerprint[:FINGERPRINT_IN_NAME]}"
        return _in_names(self.optimizer.label)[: LONGEST_NAME - len(rest)] + rest


def _in_names(text: str) -> str:
    return "".join(c for c in text if c.isascii() and (c.isalnum() or c in "_-"))


def fingerprint_of(identity: Mapping[str, Any]) -> str:
    """The fingerprint of a configuration's `identity()`, also when that has been stored as JSON."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def all_keys() -> list[Key]:
    """Every key of the configuration, a section's after the section."""
    return keys_of(RunConfig)


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
    names, given = types_of(kind), plain(given)
    if isinstance(given, kind):
        given.check()
        return given
    given = folded(kind, given)
    if (isinstance(given, str) or callable(given)) and "name" in names:
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
