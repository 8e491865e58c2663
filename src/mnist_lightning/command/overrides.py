"""The command's arguments: how Hydra takes what people type, what it would misunderstand, and how to repeat them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from mnist_lightning.config import conf_dir, too_large
from mnist_lightning.errors import ConfigError, shell_line

# A whole number of more digits than the largest float has; Python itself refuses to read some of them
_BEYOND_FLOATS = re.compile(r"(?<![\w./+-])[+-]?[\d_]{309,}(?![\w./])")
_MULTIRUN = ("-m", "--multirun")
_HYDRAS_GROUPS = ("hydra/launcher", "hydra/sweeper")


def groups() -> list[str]:
    """The keys whose values are the names of files in conf/."""
    others = ("hydra", "__pycache__")  # Hydra imports a checkout's conf/, and Python keeps what it has compiled there
    return [
        *sorted(path.name for path in conf_dir().iterdir() if path.is_dir() and path.name not in others),
        *_HYDRAS_GROUPS,
    ]


def for_hydra(arguments: Sequence[str]) -> list[str]:
    """The arguments as Hydra takes them: without -v, -m in front, and quoted what its grammar has no letters for."""
    taken = [_quoted(a) for a in arguments if a != "-v"]
    if any(re.fullmatch("--cfg(=.*)?|-c(job|hydra|all)?", a) for a in taken):  # to show a grid's configuration
        taken = [a for a in taken if a not in _MULTIRUN]
    return sorted(taken, key=lambda a: a not in _MULTIRUN)


def _quoted(argument: str) -> str:
    """Quotes what the shell does not expand there and Hydra does not read: `data.root=~/é` -> `data.root='HOME/é'`."""
    key, equals, value = argument.partition("=")
    if not re.fullmatch(r"\+*\w[\w./@-]*", key) or re.search(r"""['"\\$]""", value) or not value.isprintable():
        return argument

    def quote(match: re.Match[str]) -> str:
        text = match[0]
        return text if text.isascii() and text[0] != "~" else f"'{os.path.expanduser(text)}'"  # noqa: PTH111 - leaves ~nobody as it is, as a shell does

    ends = r",\[\](){}" + (":" if "{" in value else "")  # of a word; a colon ends a key of a dictionary alone
    return f"{key}{equals}" + re.sub(rf"[^\s{ends}](?:[^{ends}]*[^\s{ends}])?", quote, value)


def refuse_early(arguments: Sequence[str]) -> None:
    """Raises ConfigError for what Hydra would take for something else than was meant, without a word."""
    for argument in arguments:
        if argument.startswith("~") and not argument.startswith("~hydra"):
            raise ConfigError(f"{argument}: a key cannot be removed; give it a value")
        if argument.startswith("--e"):  # --experimental-rerun: a pickle, which may execute anything
            raise ConfigError(f"{argument}: would execute whatever is in the file; repeat the command itself")
        key, _, value = argument.lstrip("+").partition("=")
        if number := _BEYOND_FLOATS.search(value):
            raise ConfigError([too_large(key, number[0])])
        if key == "experiment" and "," in value:  # the sweep of one would win
            raise ConfigError(f"{argument}: each is a sweep of its own; give one at a time")
        if key in groups() and key != "callback" and "[" in value:  # Hydra merges them, and the last one wins
            several = value.translate(str.maketrans("", "", "[] '\""))
            each = "," in several and key not in _HYDRAS_GROUPS
            way_out = f", or -m {key}={several} to train each" if each else ""
            raise ConfigError(f"{argument}: a list, and a run has one {key}; give one{way_out}")


def to_resume(arguments: Sequence[str], directory: Path, *, is_run: bool) -> str:
    """The command that goes on with a sweep, or a single run, in its directory, as a shell reads it."""
    key = "hydra.run.dir" if is_run else "hydra.sweep.dir"
    others = [a for a in arguments if a.lstrip("+").partition("=")[0] != key]
    text = str(directory)
    if not re.fullmatch(r"[\w./-]+", text, re.ASCII):
        text = "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"
    return shell_line(["python", "-m", "mnist_lightning", *others, f"{key}={text}"])
