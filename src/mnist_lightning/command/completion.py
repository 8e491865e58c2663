"""What the shell offers after Tab: Hydra's answer, and what it does not know of our keys."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import suppress

from mnist_lightning.command.overrides import groups
from mnist_lightning.config.keys import all_keys

_OPTIONS = ("-m", "-v", "--cfg", "--help", "--hydra-help", "--version")


def completions(line: str, hydras: Callable[[str], list[str]]) -> list[str]:
    """What the last word of `line`, the arguments typed so far, may become; a line that cannot be read gives nothing.

    `hydras(line)` is what Hydra says: names of keys, choices of groups, a key's present value, files. It knows no
    choices of a key, no list of values, and fails where a word cannot be read that may not even be its business.
    """
    with suppress(Exception):  # whatever it is, an error has no place in a line that somebody is typing
        before, word = _words(line)
        if before[-1:] == ["--cfg"]:
            return [what for what in ("job", "hydra", "all") if what.startswith(word)]
        if word.startswith("-"):
            return [option for option in _OPTIONS if option.startswith(word)]
        return _overrides(word, lambda text: hydras(" ".join([*_chosen(before), text])))
    return []


def _words(line: str) -> tuple[list[str], str]:
    """The words of a line as a shell reads them, and the last one, which is empty after a space."""
    words = shlex.split(line)
    return (words, "") if not line or line[-1].isspace() else (words[:-1], words[-1])


def _chosen(words: list[str]) -> list[str]:
    """The choices among them on which it depends which keys there are."""
    known = groups()
    return [word for word in words if word.partition("=")[0] in known and not set(word) & set(",.[(' ")]


def _overrides(word: str, hydras: Callable[[str], list[str]]) -> list[str]:
    """`optimizer=adam,s` -> `optimizer=adam,sgd`: the last value of a list is completed as if it stood alone."""
    key, equals, value = word.partition("=")
    listed, values = value[: value.rfind(",") + 1], _values_of(key)
    if not equals or not (listed or values):
        return [f"{found}=" if found in groups() else found for found in hydras(word)]
    values = values or [found.removeprefix(f"{key}=") for found in hydras(f"{key}=")]
    found = [f"{key}={listed}{other}" for other in values if other not in listed.split(",")]
    return [override for override in found if override.startswith(word)]


def _values_of(name: str) -> list[str]:
    """The values of a key that has only a few."""
    key = next((key for key in all_keys() if key.name == name), None)
    if key is None:
        return []
    return ["false", "true"] if key.hint in (bool, bool | None) else list(key.field.metadata["choices"] or ())
