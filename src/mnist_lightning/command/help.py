"""The text of --help: every key with its default and its sentence, from the dataclasses; no Hydra, no torch."""

from __future__ import annotations

import importlib.metadata
import shutil
import textwrap
from typing import Any

import yaml

from mnist_lightning.config import conf_dir
from mnist_lightning.config.keys import Key, all_keys
from mnist_lightning.config.section import range_of

_WIDEST = 100  # longer lines are hard to read, however wide the terminal is
_ABOUT = "Train a small convolutional network on MNIST, or a grid of them, and tabulate the results in Excel."
_USAGE = {
    "python -m mnist_lightning [key=value ...]": "one run",
    "python -m mnist_lightning -m key=value,value ...": "a grid of runs, one row each in results.xlsx",
    "python -m mnist_lightning -m experiment=quickstart": "a grid that needs no data, in two minutes",
}
_KEYS = "Keys and their defaults (optimizer.options.X=... and logger.X=... take further arguments):"
_CHOICES = "Choices, each a file of conf/ that sets some keys:"
_FOOTER = "Traceback of an error: -v. Hydra's own options: --hydra-help. Nothing is trained by: --cfg job"


def help_text(width: int | None = None) -> str:
    """The whole text in lines of at most `width` characters, by default as many as the terminal has."""
    width = max(70, min(width or shutil.get_terminal_size().columns, _WIDEST))
    chosen = _chosen()
    usage = [_columns(command, does, 54, width) for command, does in _USAGE.items()]
    choices = [_columns(f"  {g}={_written(name)}", ", ".join(_choices(g)), 36, width) for g, name in chosen.items()]
    paragraphs = [[_filled(_ABOUT, width)], usage, [_filled(_KEYS, width)], *_paragraphs_of_keys(chosen, width)]
    paragraphs += [[_filled(_CHOICES, width)], choices, [_filled(_FOOTER, width)]]
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


def _paragraphs_of_keys(chosen: dict[str, Any], width: int) -> list[list[str]]:
    """The lines of the keys that belong to no section, then those of each section below its own sentence."""
    keys = all_keys()
    sections = list(dict.fromkeys(key.name.partition(".")[0] for key in keys if "." in key.name))
    paragraphs = {"": [], **{section: [] for section in sections}}
    for key in keys:
        about, (section, dot, _) = key.field.metadata["about"], key.name.partition(".")
        if key.name in sections:
            paragraphs[key.name].append(_filled(f"{key.name}: {about}", width))
            continue
        default = chosen[key.name] if key.name in chosen else _default(key)
        rule = key.field.metadata  # `1 or more` goes without saying, and a group's choices stand below
        if rule["high"] or (rule["choices"] and section not in chosen):
            about = f"{about} ({range_of(key.field)})"
        paragraphs[section if dot else ""].append(_columns(f"  {key.name}={_written(default)}", about, 36, width))
    return list(paragraphs.values())


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
