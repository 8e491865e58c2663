"""A section of the configuration: a dataclass whose fields carry their ranges, and which checks itself."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import Field, dataclass, field, fields, is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from mnist_lightning.errors import ConfigError, Problem


def key(
    default: Any = None,
    about: str = "",
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: Iterable[str] | None = None,
    dotted: bool = False,
    identity: bool = True,
    factory: Any = None,
) -> Any:
    """A field with its range: `low`/`high` inclusive, `above` exclusive, `choices`, or a dotted path.

    `identity=False` marks what changes where or how a run is done but not what it computes; such a key is no
    part of the fingerprint, so that a sweep moved to another machine still recognises its runs.
    """
    rule = {"about": about, "low": low, "high": high, "above": above, "dotted": dotted}
    metadata = {**rule, "choices": tuple(choices) if choices else None, "identity": identity}
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def _legal(f: Field[Any]) -> str:
    """The legal values of a key, as a phrase."""
    rule = f.metadata
    if rule["choices"]:
        return "one of " + ", ".join(rule["choices"]) + (" or a dotted path" if rule["dotted"] else "")
    if rule["above"] is not None:
        return f"a number above {rule['above']:g}" + (f", at most {rule['high']:g}" if rule["high"] else "")
    if rule["low"] is not None and rule["high"] is not None:
        return f"{rule['low']} to {rule['high']}"
    if rule["low"] is not None:
        return f"{rule['low']} or more"
    return rule["about"]


def way_out(value: Any, f: Field[Any]) -> str:
    legal = _legal(f)
    guess = near_miss(str(value), f.metadata["choices"] or ())
    return f"{guess} ({legal})" if guess else f"use {legal}" if legal else "see --help"


def near_miss(word: str, known: Iterable[str]) -> str:
    """`did you mean X?` for the known word closest to `word`, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""


def type_problem(value: Any, hint: Any) -> str:
    """Why `value` is not of the annotated type, or an empty string."""
    options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    wanted = [get_origin(option) or option for option in options]
    if any(option is Any or _is(value, option) for option in wanted):
        return ""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", list: "a list"}
    named = [words.get(option, "a group of keys") for option in wanted if option is not type(None)]
    return "not " + " or ".join(named)


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _range_problem(value: Any, f: Field[Any]) -> str:
    """Why `value` is outside the key's range, or an empty string."""
    rule = f.metadata
    if rule["choices"] and value is not None:
        if value in rule["choices"] or (rule["dotted"] and "." in value):
            return ""
        return "unknown"
    if isinstance(value, float) and not math.isfinite(value):
        return "not a finite number"
    if not isinstance(value, (int, float)):
        return ""
    if rule["above"] is not None and value is not None and value <= rule["above"]:
        return "too small"
    if rule["low"] is not None and value is not None and value < rule["low"]:
        return "too small"
    return "too large" if rule["high"] is not None and value is not None and value > rule["high"] else ""


@dataclass
class Section:
    """What every section of the configuration does: widen ints given for floats, then check itself."""

    def __post_init__(self) -> None:
        problems = self.problems()
        if problems:
            raise ConfigError(problems)

    def problems(self, prefix: str = "") -> list[Problem]:
        found = []
        hints = get_type_hints(type(self))
        for f in fields(self):
            value = getattr(self, f.name)
            if hints[f.name] in (float, float | None) and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
                setattr(self, f.name, value)
            what = type_problem(value, hints[f.name]) or ("" if is_dataclass(value) else _range_problem(value, f))
            if what:
                found.append(Problem(prefix + f.name, value, what, way_out(value, f)))
        return found

    def identity(self) -> dict[str, Any]:
        """What the section computes with: its keys that have a value and are part of the fingerprint."""
        chosen = {f.name: getattr(self, f.name) for f in fields(self) if f.metadata.get("identity", True)}
        plain = {k: v.identity() if isinstance(v, Section) else v for k, v in chosen.items()}
        return {k: v for k, v in plain.items() if v is not None}
