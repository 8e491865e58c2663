"""The configuration of each job of a sweep, as Hydra composes it, without a composition for each."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from mnist_lightning.config import RunConfig, parse
from mnist_lightning.config.keys import section_from
from mnist_lightning.sweep.hydra_internals import apply_override

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_SCALAR = (bool, int, float, str, type(None))


class Compositions:
    """What Hydra composes of a sweep's jobs, by one composition for each choice of groups.

    A composition takes Hydra 0.07 to 0.14 s, since it copies its whole repository of files (hydra#1324). Most
    overrides only give a key another value, as `lr=0.1` does: those are put into the composition of all others, each
    once, by Hydra's own function. A job for which that is not as good, or fails, is composed by Hydra.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader, self._master = loader, master
        self._parser = OverridesParser.create(config_loader=loader)
        self._overrides: dict[str, tuple[Override, bool]] = {}
        self._groups: dict[str, bool] = {}
        self._bases: dict[tuple[str, ...], _Base | None] = {}

    def configuration(self, job: Sequence[str]) -> RunConfig:
        """The checked configuration of a job, given by its overrides. Raises what composing it would raise."""
        found = [self._look_at(text) for text in job]
        if _are_apart(o.key_or_group for o, _ in found if not self._is_group(o.key_or_group)):
            base = self._base(tuple(text for text, (_, is_value) in zip(job, found, strict=True) if not is_value))
            values = base and base.values([o for o, is_value in found if is_value])
            if base and values is not None:
                return section_from(RunConfig, base.with_values(values))
        composed = self._composed(job)
        return parse(OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"]))

    def _look_at(self, text: str) -> tuple[Override, bool]:
        """An override, and whether it only gives a key of the configuration a value that refers to no other."""
        if text not in self._overrides:
            o = self._parser.parse_override(text)
            is_value = o.type == OverrideType.CHANGE and o.package is None and not o.is_hydra_override()
            is_value = is_value and _DOTTED.fullmatch(o.key_or_group) is not None and "${" not in text
            self._overrides[text] = o, is_value and not self._is_group(o.key_or_group)
        return self._overrides[text]

    def _is_group(self, key: str) -> bool:
        if key not in self._groups:
            self._groups[key] = bool(self._loader.get_group_options(key))
        return self._groups[key]

    def _base(self, others: tuple[str, ...]) -> _Base | None:
        """The composition of these overrides alone, or None where that is none, or something in it refers to others."""
        if others not in self._bases:
            try:
                self._bases[others] = _Base.of(self._composed(others))
            except (HydraException, OmegaConfBaseException):  # it may be one with the values
                self._bases[others] = None
        return self._bases[others]

    def _composed(self, job: Sequence[str]) -> DictConfig:
        return self._loader.load_sweep_config(self._master, list(job))


class _Base:
    """A composition into which values are put: as Hydra has it, and as plain dictionaries."""

    def __init__(self, config: DictConfig, plain: dict[str, Any]) -> None:
        self._config, self._plain = config, plain
        self._values: dict[str, Any] = {}

    @classmethod
    def of(cls, config: DictConfig) -> _Base | None:
        with open_dict(config):
            del config["hydra"]
        plain = OmegaConf.to_container(config, resolve=False)
        if "${" in repr(plain):
            return None
        return cls(config, plain)  # pyright: ignore[reportArgumentType] - a DictConfig gives a dictionary

    def values(self, overrides: Iterable[Override]) -> dict[str, Any] | None:
        """{dotted key: what it is with the override}; None if Hydra refuses one."""
        try:
            return {o.key_or_group: self._value(o) for o in overrides}
        except (HydraException, OmegaConfBaseException):
            return None

    def _value(self, override: Override) -> Any:
        text, key = str(override.input_line), override.key_or_group
        if text not in self._values:
            before = OmegaConf.select(self._config, key)
            leaves = isinstance(before, _SCALAR) and isinstance(override.value(), _SCALAR)
            config = self._config if leaves else copy.deepcopy(self._config)  # a leaf can be given any value again
            apply_override(override, config)
            value = OmegaConf.select(config, key)
            self._values[text] = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        return self._values[text]

    def with_values(self, values: dict[str, Any]) -> dict[str, Any]:
        """The composition with these values, as dictionaries of its own."""
        plain = copy.deepcopy(self._plain)
        for key, value in values.items():
            *parents, last = key.split(".")
            node = plain
            for parent in parents:
                node = node[parent]
            node[last] = copy.deepcopy(value)
        return plain


def _are_apart(keys: Iterable[str]) -> bool:
    """Whether no dotted key is given twice, or below another: then it does not matter which comes first."""
    keys = list(keys)
    parts = [key.split(".") for key in keys]
    above = {".".join(path[:n]) for path in parts for n in range(1, len(path))}
    return len(set(keys)) == len(keys) and above.isdisjoint(keys)
