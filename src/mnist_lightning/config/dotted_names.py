"""Turns a dotted name from a configuration, such as `torch.optim.RAdam`, into the class it names."""

from __future__ import annotations

import importlib


def load_class(dotted: str, base: type | tuple[type, ...]) -> type:
    """Imports the class behind a dotted name; ValueError unless it is a subclass of `base`.

    The only way a name from a configuration becomes code: anything but such a class is never called.
    """
    module, _, name = dotted.rpartition(".")
    bases = base if isinstance(base, tuple) else (base,)
    try:
        named = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:  # whatever the import of somebody's module raises
        raise ValueError(f"cannot be imported ({error})") from error
    if not (isinstance(named, type) and issubclass(named, bases)):
        wanted = " or ".join(f"{b.__module__.split('.')[0]} {b.__name__}" for b in bases)
        raise ValueError(f"not a {wanted}")
    return named
