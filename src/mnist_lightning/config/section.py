"""A section of the configuration: a dataclass whose keys carry a sentence and a range, and which checks itself."""

from __future__ import annotations

import copy
import difflib
import inspect
import math
import textwrap
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from types import UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from mnist_lightning.config.plain import plain
from mnist_lightning.errors import ConfigError, Problem

S = TypeVar("S", bound="Section")

_TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", list: "a list"}
_EXAMPLES = {list: "[a, b]", dict: "{key: value}"}


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
    also: str = "",
    hidden: bool = False,
) -> Any:
    """A dataclass field with the sentence that --help shows and its range.

    `low` and `high` are inclusive, `above` is exclusive; `dotted` allows a dotted name besides the `choices`.
    `identity=False` marks what changes where or how a run is done but not what it computes; such a key is no
    part of the fingerprint, so that a sweep moved to another machine still recognises its runs. `also` are the names
    that other libraries have for it. `hidden` is a field that is no key: it stands otherwise in a file.
    """
    rule = {"about": about, "low": low, "high": high, "above": above, "dotted": dotted, "also": also.split()}
    metadata = {**rule, "choices": tuple(choices) if choices else None, "identity": identity, "hidden": hidden}
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


@cache
def types_of(kind: type[Section]) -> dict[str, Any]:
    """The annotated type of each key of a section."""
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


def sections_of(kind: type[Section]) -> dict[str, type[Section]]:
    """Those keys of a section that are sections themselves, with their classes."""
    return {name: t for name, t in types_of(kind).items() if isinstance(t, type) and issubclass(t, Section)}


class Key(NamedTuple):
    """A key as it is written on the command line, with its dataclass field and type."""

    name: str
    field: Field[Any]
    hint: Any


def keys_of(kind: type[Section]) -> list[Key]:
    """Every key of a section and of the sections in it, a section's after the section."""
    keys = []
    for f in fields(kind):
        hint = types_of(kind)[f.name]
        if not f.metadata["hidden"]:
            keys.append(Key(kind.prefix + f.name, f, hint))
        if f.name in sections_of(kind):
            keys += keys_of(hint)
    return keys


def documented(kind: type[S]) -> type[S]:
    """Adds every key of a section to its docstring: name, type, default, sentence and range."""
    told = (f"{key.name} : {key.field.type}{_default_of(key.field)}\n{_sentence(key)}" for key in keys_of(kind))
    kind.__doc__ = "\n\n".join([inspect.cleandoc(kind.__doc__ or ""), "Keys", *told])
    return kind


def _default_of(f: Field[Any]) -> str:
    """A default that is always the same; of `data.root` its sentence tells, and a section's are those of its keys."""
    if f.default is not MISSING:
        return f", default {f.default!r}"
    return f", default {f.default_factory()}" if f.default_factory in (dict, list) else ""


def _sentence(key: Key) -> str:
    legal = range_of(key.field)
    text = key.field.metadata["about"] + (f"; {legal}" if legal else "")
    return textwrap.fill(text, 100, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def _options(hint: Any) -> list[Any]:
    """`list[str] | None` -> [list, NoneType]."""
    return [get_origin(t) or t for t in (get_args(hint) if isinstance(hint, UnionType) else (hint,))]


def type_problem(value: Any, hint: Any) -> str:
    """Why `value` is not of the annotated type, or an empty string. A whole number is a number."""
    options = _options(hint)
    if any(t is Any or _is(value, t) for t in options):
        return ""
    return "not " + " or ".join(_TYPE_NAMES.get(t, "a group of keys") for t in options if t is not type(None))


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _range_problem(value: Any, f: Field[Any]) -> str:
    """Why `value` is outside the key's range, or an empty string."""
    rule = f.metadata
    if rule["choices"] and value is not None:
        return "" if value in rule["choices"] or (rule["dotted"] and _is_dotted(value)) else "unknown"
    if isinstance(value, float) and not math.isfinite(value):
        return "not a finite number"
    if not isinstance(value, (int, float)):
        return ""
    if (rule["above"] is not None and value <= rule["above"]) or (rule["low"] is not None and value < rule["low"]):
        return "too small"
    return "too large" if rule["high"] is not None and value > rule["high"] else ""


def range_of(f: Field[Any]) -> str:
    """The choices or the range of a key, such as `1 or more`; empty where only its type limits it."""
    rule = f.metadata
    low, high, above = rule["low"], rule["high"], rule["above"]
    if rule["choices"]:
        return "one of " + ", ".join(rule["choices"]) + (" or a dotted path" if rule["dotted"] else "")
    if above is not None:
        return f"a number above {above:g}" + (f", at most {high:g}" if high is not None else "")
    if low is None:
        return ""
    return f"{low} or more" if high is None else f"{low} to {high}"


def remedy(value: Any, f: Field[Any], hint: Any) -> str:
    """What to give instead of a refused value: the near miss, or what the key's range and type allow."""
    legal, options = range_of(f), _options(hint)
    if guess := near_miss(str(value), f.metadata["choices"] or ()):
        return f"{guess} ({legal})"
    legal = legal or " or ".join(example_of(t) for t in options if t is not type(None))
    return f"use {legal}" + (", or null" if type(None) in options else "")


def _is_dotted(value: str) -> bool:
    first, *rest = value.split(".")
    return bool(rest) and all(part.isidentifier() for part in (first, *rest))


def example_of(kind: Any) -> str:
    """What a value of a type looks like, for one who gave another: `true or false`, `[a, b]`."""
    if isinstance(kind, type) and issubclass(kind, Section):
        return f"its keys, such as {kind.prefix}{fields(kind)[0].name}"
    return _EXAMPLES.get(kind) or _TYPE_NAMES.get(kind, "another value, see --help")


def near_miss(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`did you mean X?` for the known word closest to `word`, or an empty string; at a `cutoff` of 1 only itself."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), list(by_lower), n=3, cutoff=cutoff)
    if not close:
        return ""
    same_letters = [name for name in close if sorted(name) == sorted(word.lower())]  # adma: adam, not adamax
    return f"did you mean {by_lower[(same_letters or close)[0]]}?"


@dataclass
class Section:
    """Base of every section: checks its values when it is made, and again whenever `check` is called."""

    prefix = ""  # what stands before its keys on the command line

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Raises ConfigError with all problems of the values."""
        if problems := self.problems():
            raise ConfigError(problems)

    def problems(self) -> list[Problem]:
        """All problems of the values, which become plain; whole numbers where a fraction may stand become floats."""
        for name, hint in types_of(type(self)).items():
            value = plain(getattr(self, name))
            setattr(self, name, value)
            if hint in (float, float | None) and isinstance(value, int) and not isinstance(value, bool):
                with suppress(OverflowError):  # its range refuses it
                    setattr(self, name, float(value))
        return self.problems_of(vars(self))

    @classmethod
    def problems_of(cls, values: Mapping[str, Any]) -> list[Problem]:
        """The problems of values, one for each key that is no section; a subclass adds those of their combination."""
        problems, hints, sections = [], types_of(cls), sections_of(cls)
        for f in fields(cls):
            if f.name in values and f.name not in sections:
                value, hint = values[f.name], hints[f.name]
                if what := type_problem(value, hint) or _range_problem(value, f):
                    problems.append(Problem(cls.prefix + f.name, value, what, remedy(value, f, hint)))
        return problems

    def identity(self) -> dict[str, Any]:
        """What the section computes with: its keys that have a value and are part of the fingerprint."""
        chosen = {f.name: getattr(self, f.name) for f in fields(self) if f.metadata["identity"]}
        plain = {k: v.identity() if isinstance(v, Section) else v for k, v in chosen.items()}
        return {k: v for k, v in plain.items() if v is not None}

    def written(self) -> dict[str, Any]:
        """The section as it stands in a YAML file, from which it can be read back."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: v.written() if isinstance(v, Section) else copy.deepcopy(v) for k, v in values.items()}


def check_values(kind: type[Section], **values: Any) -> None:
    """Raises ConfigError for values that a section could not have, without making one; others are its defaults."""
    defaults = {f.name: f.default for f in fields(kind) if f.default is not MISSING}
    if problems := kind.problems_of({**defaults, **values}):
        raise ConfigError(problems)
