"""A configuration with some of its keys changed, as the command line's overrides change what the files say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from mnist_lightning.config.keys import RunConfig, section_from
from mnist_lightning.config.plain import plain
from mnist_lightning.config.section import Section, sections_of, types_of


def changed(base: RunConfig | Mapping[str, Any] | None, changes: Mapping[str, Any]) -> RunConfig:
    """A new, checked configuration: `base` (default: `RunConfig()`) with the changes.

    Keys may be dotted, `model.num_channels`. A mapping changes the keys of a section that are in it, a text the name of
    `optimizer` or `data`, and the others stay, as on the command line; a section's own class takes its place whole.
    Raises ConfigError with all problems, TypeError for a base that is none.
    """
    if base is not None and not isinstance(base, Mapping):
        required(base)
    return section_from(RunConfig, _with(_given(RunConfig, {} if base is None else base), RunConfig, changes))


def required(config: object) -> RunConfig:
    """The configuration, whose values may have been changed. Raises TypeError for what is none, or ConfigError."""
    if not isinstance(config, RunConfig):
        raise TypeError(f"config: a {type(config).__name__}, not a RunConfig; give RunConfig(...)")
    config.check()
    return config


def _given(kind: type[Section] | None, value: Any) -> Any:
    """The keys of a section, from whatever it may be given as; what is none stays what it is."""
    value = plain(value)
    if isinstance(value, Section):
        given = {f.name: getattr(value, f.name) for f in fields(value)}
        return {name: _given(None, v) if isinstance(v, Section) else v for name, v in given.items()}
    if kind and isinstance(value, str) and "name" in types_of(kind):
        return {"name": value}
    return _with({}, kind, value) if kind and isinstance(value, dict) else value


def _with(given: Mapping[str, Any], kind: type[Section] | None, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a section of this kind with the changes; None is a dictionary of any keys, whose dots are theirs."""
    done = dict(given)
    for key, value in changes.items():
        first, _, rest = key.partition(".") if kind else (key, "", "")
        below = sections_of(kind).get(first) if kind else None
        new = _nested(below, rest, value)
        merges = isinstance(new, dict) and isinstance(done.get(first), dict) and not isinstance(value, Section)
        done[first] = _with(done[first], below, new) if merges else new
    return done


def _nested(kind: type[Section] | None, key: str, value: Any) -> Any:
    """`a.b` and a value as {a: {b: value}}; without a key the value."""
    if not key:
        return _given(kind, value)
    if kind:
        return {key: value}
    first, _, rest = key.partition(".")
    return {first: _nested(None, rest, value)}
