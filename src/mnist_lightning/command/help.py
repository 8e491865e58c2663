"""The text of --help: examples, then every key with its default and its sentence, from the dataclasses; no Hydra."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shlex
import shutil
import textwrap
from typing import Any

import yaml

from mnist_lightning.config import conf_dir
from mnist_lightning.config.keys import all_keys
from mnist_lightning.config.section import Key, range_of
from mnist_lightning.errors import shell_line

_WIDEST = 100  # longer lines are hard to read, however wide the terminal is
_COMMAND = "python -m mnist_lightning"
_ABOUT = "Train a small convolutional network on MNIST, or a grid of them, and tabulate the results in Excel."
_EXAMPLES = {
    "-m experiment=quickstart": "A grid of 18 networks on digits that are part of the package, in two minutes:",
    "optimizer=adam lr=0.01 model.num_channels=16 trainer.max_epochs=5": "One network, on all of MNIST:",
    "-m optimizer=adam,sgd lr=0.1,0.01 seed=0,1,2 hydra.sweep.dir=outputs/mine": (
        "A grid of your own, two by two settings with three seeds each. The same command again does what is missing:"
    ),
    "-m experiment=optimizer_lr hydra/launcher=joblib hydra.launcher.n_jobs=2": "Nine networks, two at a time:",
    "-m hydra/sweeper=optuna hydra.sweeper.n_trials=20 "
    "'lr=tag(log,interval(1e-4,1e-1))' 'model.num_channels=choice(8,16)'": (
        "A search by Optuna, 20 trials of two sizes and of learning rates between 0.0001 and 0.1:"
    ),
}
_KEYS = (
    "Keys and their defaults (optimizer.options.X=..., scheduler.options.X=..., loss_options.X=... and logger.X=... "
    "take further arguments, and so does +model.X=... of a network of your own):"
)
TOPIC = "trainer"  # --help trainer
_FOLDED = f"trainer.X=...: its other arguments: {{names}}; --help {TOPIC} explains each"
_TRAINER = "Every argument of lightning.Trainer but logger and callbacks; null is Lightning's default:"
_CHOICES = "Choices, each a file of conf/ that sets some keys:"
_LAUNCHERS = "Launchers, -m hydra/launcher=X: where the runs of a grid are trained"
# what it does, and the name of its plugin and of the extra that installs that
LAUNCHERS = {
    "basic": ("one run after another, in this process", ""),
    "fused": ("the runs of one architecture as one training, in this process: for a GPU", ""),
    "joblib": ("several processes on this machine: hydra.launcher.n_jobs=2, by default one per core", "joblib"),
    "ray": ("tasks on this machine, or on a cluster: hydra.launcher.ray.init.address=auto", "ray"),
    "submitit_local": ("a process for each run, as many at once as there are cores", "submitit"),
    "submitit_slurm": ("a Slurm job for each run: hydra.launcher.partition=NAME", "submitit"),
}
_SWEEPERS = "Sweepers, -m hydra/sweeper=X: which configurations are trained"
SWEEPERS = {
    "basic": ("every combination of the values that are listed: lr=0.1,0.01 seed=0,1,2", ""),
    "optuna": (
        "a search by Optuna: values are drawn from ranges, by what earlier trials gave; repeated, it goes on",
        "optuna",
    ),
}
_GRAMMAR = "What a search draws from, and how; a shell needs quotes around parentheses:"
OPTUNA = {
    "'model.num_channels=choice(8,16)'": "one of these; also written model.num_channels=8,16",
    "'model.num_conv=range(1,4)'": "1, 2 or 3, as in a grid; range(2,10,2): 2, 4, 6 or 8",
    "'model.num_conv=interval(1,3)'": "1, 2 or 3: of a key of whole numbers, those of the interval and both its ends",
    "'lr=interval(0.001,0.1)'": "any number between",
    "'lr=tag(log,interval(1e-4,1e-1))'": "the same, each power of ten as likely as another",
    "lr=0.01": "the same for all",
    "hydra.sweeper.n_trials=20": "how many trials there are to be, those that are stored among them",
    "hydra.sweeper.direction=maximize": "the default: it looks for the highest test accuracy, or where data.val_size "
    "holds images out that on those; or minimize",
    "hydra/sweeper/sampler=tpe": "how values are drawn: tpe, random, grid, qmc, cmaes, nsgaii, gp; "
    "hydra.sweeper.sampler.seed=1 draws the same again, hydra.sweeper.sampler.X=... are its other arguments",
    "hydra.sweeper.pruner=none": "what ends a run early by its validation loss: none, median, hyperband, asha",
    "hydra.sweeper.n_jobs=2": "how many trials are drawn and trained at once; by default as many as joblib has "
    "processes, else one",
    "hydra.sweeper.storage=URL": "the study in a database, not in the sweep's directory; its name is "
    "hydra.sweeper.study_name",
}
_FURTHER = "Where it lands, and what else there is:"
FURTHER = {
    "hydra.sweep.dir=DIR": "a grid's or a search's directory, by default outputs/EXPERIMENT or a new one; "
    "where there are runs of the same one, only what is missing is trained",
    "hydra.run.dir=DIR": "the same of one run without -m; by default a new one below outputs/",
    "--cfg job": "show what would be trained, and train nothing",
    "-v": "with an error, its traceback",
    "--version": "this program's version, and those of torch, Lightning and Hydra",
    "--hydra-help": "Hydra's own options",
    "-sc install=bash": "print what lets Tab complete keys and choices in bash and zsh: see the README",
    "python -m mnist_lightning.report DIR": "tables and page anew from what is stored, also while runs are at work",
    "python -m mnist_lightning.predict CKPT IMAGE": "what a trained network sees in an image file",
}


def help_text(width: int | None = None, *, trainer: bool = False) -> str:
    """The whole text, or that of Lightning's arguments alone, in lines of at most `width` characters.

    By default they are as wide as the terminal. At least 70, at most 100.
    """
    width = max(70, min(width or shutil.get_terminal_size().columns, _WIDEST))
    if trainer:
        keys = [_key(key, _default(key), width) for key in all_keys() if key.name.startswith("trainer.")]
        return "\n".join([_filled(_TRAINER, width), "", *keys])
    chosen = _chosen()
    examples = [[_filled(does, width), *_pasted(example, width)] for example, does in _EXAMPLES.items()]
    choices = {f"{group}={_written(name)}": ", ".join(_choices(group)) for group, name in chosen.items()}
    paragraphs = [[_filled(_ABOUT, width)], *examples]
    paragraphs += [[_filled(_KEYS, width)], *_paragraphs_of_keys(chosen, width), _table(_CHOICES, choices, width)]
    launchers = {name: does + _how_to_get(plugin) for name, (does, plugin) in LAUNCHERS.items()}
    sweepers = {name: does + _how_to_get(plugin) for name, (does, plugin) in SWEEPERS.items()}
    paragraphs += [_table(_LAUNCHERS, launchers, width, 19), _table(_SWEEPERS, sweepers, width, 19)]
    paragraphs += [_table(_GRAMMAR, OPTUNA, width), _table(_FURTHER, FURTHER, width)]
    return "\n\n".join("\n".join(lines) for lines in paragraphs)


def versions_text() -> str:
    """What --version prints: our version, then those of torch, lightning and hydra, as they are installed."""
    packages = {"torch": "torch", "lightning": "lightning", "hydra": "hydra-core"}
    lines = [f"{shown} {_version(package)}" for shown, package in packages.items()]
    return "\n".join([f"mnist-lightning {_version('mnist-lightning')}", *lines])


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # ours, when it is run from the source tree
        return "not installed"


def _pasted(example: str, width: int) -> list[str]:
    """The command of an example in lines that a shell reads as one when they are pasted."""
    lines = [f"    {_COMMAND}"]
    for word in shlex.split(example):
        quoted = shell_line([word])
        if len(lines[-1]) + len(quoted) + 3 > width:
            lines[-1] += " \\"
            lines.append(" " * 7)
        lines[-1] += f" {quoted}"
    return lines


def _how_to_get(plugin: str) -> str:
    """What a launcher or sweeper lacks, if its plugin is not installed."""
    package = "optuna" if plugin == "optuna" else f"hydra_plugins.hydra_{plugin}_launcher"
    if not plugin or importlib.util.find_spec(package):
        return ""
    return f'; not installed: pip install "mnist-lightning[{plugin}]"'


def _paragraphs_of_keys(chosen: dict[str, Any], width: int) -> list[list[str]]:
    """The lines of the keys that belong to no section, then those of each section below its own sentence."""
    keys = all_keys()
    sections = list(dict.fromkeys(key.name.partition(".")[0] for key in keys if "." in key.name))
    paragraphs = {"": [], **{section: [] for section in sections}}
    folded = [key.name for key in keys if _is_folded(key)]
    for key in keys:
        section, dot, _ = key.name.partition(".")
        if key.name in sections:
            paragraphs[key.name].append(_filled(f"{key.name}: {key.field.metadata['about']}", width))
        elif key.name not in folded:
            default = chosen[key.name] if key.name in chosen else _default(key)
            paragraphs[section if dot else ""].append(_key(key, default, width, grouped=section in chosen))
    names = ", ".join(name.removeprefix("trainer.") for name in folded)
    paragraphs["trainer"].append(_filled(_FOLDED.format(names=names), width, "  "))
    return list(paragraphs.values())


def _is_folded(key: Key) -> bool:
    """An argument of Lightning's about which nothing is decided here."""
    return key.name.startswith("trainer.") and key.field.default is None


def _key(key: Key, default: Any, width: int, *, grouped: bool = False) -> str:
    rule = key.field.metadata
    about = rule["about"]
    if rule["high"] or (rule["choices"] and not grouped):  # `1 or more` goes without saying, a group's stand below
        about = f"{about} ({range_of(key.field)})"
    return _columns(f"  {key.name}={_written(default)}", about, 36, width)


def _chosen() -> dict[str, Any]:
    """The choice of each group that holds if none is given, from conf/config.yaml."""
    defaults = yaml.safe_load((conf_dir() / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    choices = {group: name for entry in defaults if isinstance(entry, dict) for group, name in entry.items()}
    return {group: name for group, name in sorted(choices.items()) if " " not in group}  # no `override hydra/...`


def _choices(group: str) -> list[str]:
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def _default(key: Key) -> Any:
    factory = key.field.default_factory
    return factory() if callable(factory) else key.field.default


def _written(value: Any) -> str:
    """A value as it is written on the command line."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _filled(text: str, width: int, indent: str = "") -> str:
    return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _columns(left: str, right: str, column: int, width: int) -> str:
    """`left`, and `right` wrapped from `column` on; below `left` where that is too long."""
    text = _filled(right, width, " " * column)
    return f"{left:<{column}}{text.lstrip()}" if len(left) < column else f"{left}\n{text}"


def _table(title: str, rows: dict[str, str], width: int, column: int = 36) -> list[str]:
    """The title, then `left` and `right` of each row side by side."""
    return [_filled(title, width), *(_columns(f"  {left}", right, column, width) for left, right in rows.items())]
