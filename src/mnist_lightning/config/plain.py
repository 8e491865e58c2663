"""Values as Python itself has them, from OmegaConf's, numpy's and any other mappings, lists, numbers and paths."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from mnist_lightning.errors import ConfigError


def plain(value: Any) -> Any:
    """The value in dictionaries, lists, numbers and texts of Python's own; what is none of these stays what it is.

    Raises ConfigError where a value of OmegaConf's refers to something that is not there.
    """
    if OmegaConf.is_config(value):
        return plain(_resolved(value))
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [plain(inner) for inner in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value) in (bool, int, float):
        return value
    if isinstance(value, Integral):  # numpy's, which are no int
        return int(value)
    return float(value) if isinstance(value, Real) else value


def _resolved(value: Any) -> Any:
    try:
        return OmegaConf.to_container(value, resolve=True)
    except OmegaConfBaseException as error:
        raise refused(error) from error


def refused(error: OmegaConfBaseException) -> ConfigError:
    """The error of OmegaConf's about a key, in our words."""
    if isinstance(error, InterpolationResolutionError):
        return ConfigError(unresolved(error))
    return ConfigError(f"{getattr(error, 'full_key', None) or 'configuration'}: {error.msg}; see --help")


def unresolved(error: InterpolationResolutionError, value: str = "") -> str:
    """What to say about a key whose value refers to something that is not there, as `${oc.env:NOPE}` may."""
    key, reason = getattr(error, "full_key", None) or "configuration", str(error.msg).splitlines()[0]
    what = reason.partition("resolving interpolation: ")[2].strip("\"'") or reason
    return f"{key}={value}: {what}; write the value itself" if value else f"{key}: {what}; write the value itself"
