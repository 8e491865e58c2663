"""Sections that may name code of the user's, in Hydra's form: `_target_`, and its arguments beside it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from typing import Any, ClassVar

from mnist_lightning.config.components import TARGET, Component
from mnist_lightning.config.section import Section, types_of

ARGUMENTS = "arguments"


class OwnCode(Section):
    """A section with the keys `_target_`, a dotted name or null, and `arguments`, which stand beside it in a file.

    The keys that are `replaced` describe what there is without `_target_`. With it they are further arguments, where
    they are not as by default.
    """

    replaced: ClassVar[tuple[str, ...]] = ()

    @property
    def component(self) -> Component | None:
        """The code of the user's with its arguments; None where there is none."""
        target: str | None = getattr(self, TARGET)
        if target is None:
            return None
        own: dict[str, Any] = getattr(self, ARGUMENTS)
        defaults = {f.name: f.default for f in fields(self)}
        changed = {k: v for k in self.replaced if (v := getattr(self, k)) != defaults[k]}
        return Component(target, {**changed, **own})

    def identity(self) -> dict[str, Any]:
        """What the section computes with; the arguments stand beside the name, as in a file."""
        return self._beside(super().identity())

    def written(self) -> dict[str, Any]:
        """The section as it stands in a YAML file."""
        return self._beside(super().written())

    def _beside(self, values: dict[str, Any]) -> dict[str, Any]:
        kept = {k: v for k, v in values.items() if k not in (TARGET, ARGUMENTS)}
        if (component := self.component) is None:
            return kept
        return {k: v for k, v in kept.items() if k not in self.replaced} | component.identity()


def folded(kind: type[Section], given: Any) -> Any:
    """What was given for a section, with what stands beside `_target_` among its `arguments`.

    A class, a function that says what it returns, or a `functools.partial` of one is its name and arguments; an
    argument with the name of a replaced key, left out, has its own default and not the key's.
    """
    if not issubclass(kind, OwnCode):
        return given
    if isinstance(given, partial) or (callable(given) and not isinstance(given, (Section, Mapping))):
        code = given.func if isinstance(given, partial) else given
        component = Component.of(given, kind.prefix[:-1])
        taken = inspect.signature(code).parameters
        defaults = {k: taken[k].default for k in kind.replaced if k in taken and taken[k].default is not taken[k].empty}
        given = {**defaults, **component.identity()}
    if not isinstance(given, Mapping) or not isinstance(given.get(TARGET), str):
        return given
    known = types_of(kind)
    beside = {k: v for k, v in given.items() if k not in known}
    return {**{k: v for k, v in given.items() if k in known}, ARGUMENTS: {**given.get(ARGUMENTS, {}), **beside}}
