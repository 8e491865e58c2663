"""Components: code that a configuration names. The one place where a dotted name and its arguments become an object.

A `Component` is a name and plain arguments; nothing is imported when one is made, compared or read from a file. Only
`code`, `check` and `build` import, when somebody who was given the configuration asks, and only what is of the `Kind`
that belongs to the key. Functions are taken if their annotation says that they return such an object, so nothing else
is ever called.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import inspect
import json
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, get_origin, get_type_hints

from mnist_lightning.config.section import near_miss
from mnist_lightning.errors import ConfigError, Problem, cut

TARGET = "_target_"
# What together tells that a directory is a run's, or a sweep's
_LEFT = (("config.yaml", "result.json"), ("config.yaml", "checkpoints/last.ckpt"), ("plan.json", "multirun.yaml"))
_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Kind:
    """What the code at a key must be: a subclass of one of `bases`, or a function that returns one of `returns`.

    Both are dotted names, so that nothing is imported before it is needed. With `any_name` an object may be called by
    any of its names; otherwise by its shortest, so that one thing has one fingerprint.
    """

    words: str
    bases: tuple[str, ...]
    returns: tuple[str, ...] = ()
    example: str = ""
    any_name: bool = False


NETWORK = Kind("a torch Module", ("torch.nn.Module",), ("torch.nn.Module",), "my_project.nets.Net")
LOSS = Kind("a torch Module or a function -> Tensor", ("torch.nn.Module",), ("torch.Tensor",), "torch.nn.HuberLoss")
OPTIMIZER = Kind(
    "a torch Optimizer", ("torch.optim.Optimizer",), ("torch.optim.Optimizer",), "torch.optim.RAdam", any_name=True
)
SCHEDULER = Kind(
    "a torch LRScheduler",
    ("torch.optim.lr_scheduler.LRScheduler",),
    ("torch.optim.lr_scheduler.LRScheduler",),
    "torch.optim.lr_scheduler.StepLR",
)
DATASET = Kind(
    "a torch Dataset",
    ("torch.utils.data.Dataset",),
    ("torch.utils.data.Dataset",),
    "torchvision.datasets.FashionMNIST",
)
TRANSFORM = Kind(
    "a torch Module", ("torch.nn.Module",), ("torch.nn.Module",), "torchvision.transforms.v2.RandomErasing"
)


class ComponentError(ValueError):
    """Why a name is not the code that is wanted, and the way out."""

    def __init__(self, what: str, way_out: str = "") -> None:
        super().__init__(what)
        self.way_out = way_out


@dataclass(frozen=True)
class Component:
    """Code by its dotted name, with plain arguments: numbers, texts, truth values, None, lists and dictionaries.

    Arguments left out are not the same as arguments spelled out by their defaults: the fingerprint tells them apart.
    """

    target: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, given: object, key: str) -> Component:
        """The component that a class, a function, a `functools.partial` of one, a name or `{_target_: ...}` means.

        The first three become their name and arguments, by keyword. Raises ConfigError, of `key`, for what has no name
        by which another process could find it, and for arguments that are not plain.
        """
        if isinstance(given, str):
            return cls(given)
        if isinstance(given, Mapping):
            if not isinstance(given.get(TARGET), str):
                way_out = "give {_target_: package.Class, argument: value}"
                raise ConfigError([Problem(key, given, f"no {TARGET}", way_out)])
            return cls(given[TARGET], _plain({k: v for k, v in given.items() if k != TARGET}, key))
        try:
            code, arguments = (given.func, _bound(given)) if isinstance(given, functools.partial) else (given, {})
            return cls(name_of(code), _plain(arguments, key))
        except ComponentError as error:
            raise ConfigError([Problem(key, given, str(error), error.way_out)]) from error

    @property
    def label(self) -> str:
        """The last word of the name, for tables and directories."""
        return self.target.rpartition(".")[2]

    def __str__(self) -> str:
        arguments = ", ".join(f"{k}={json.dumps(v)}" for k, v in sorted(self.arguments.items()))
        return self.target + (f"({arguments})" if arguments else "")

    def identity(self) -> dict[str, Any]:
        """Name and arguments as one dictionary, in Hydra's form."""
        return {TARGET: self.target, **self.arguments}

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that differ where the name or an argument does."""
        canonical = json.dumps(self.identity(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def code(self, key: str, kind: Kind) -> Callable[..., Any]:
        """The class or function that the name stands for, imported, of the right kind. Raises ConfigError of `key`."""
        try:
            return code_of(self.target, kind)
        except ComponentError as error:
            raise ConfigError([Problem(key, self.target, str(error), error.way_out)]) from error

    def check(self, key: str, kind: Kind, *given: object, prefix: str | None = None, **further: object) -> None:
        """Raises ConfigError unless the code is of its kind and takes the arguments after what we give it ourselves.

        `prefix` is what stands before an argument's name on the command line: by default `key` without `_target_`.
        """
        code, prefix = self.code(key, kind), key.removesuffix(TARGET) if prefix is None else prefix
        try:
            signature = inspect.signature(code)
        except (ValueError, TypeError):  # some classes written in C have none
            return
        takes = signature.parameters.values()
        names = [p.name for p in takes if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)][len(given) :]
        own = [name for name in names if name not in further]
        if further.keys() & self.arguments.keys() or not any(p.kind is p.VAR_KEYWORD for p in takes):
            for name in self.arguments:
                if name not in own:
                    what, way_out = f"{self.label} has no such argument", near_miss(name, own)
                    if name in further:
                        what, way_out = "is a key of its own", f"write {name}={self.arguments[name]}"
                    way_out = way_out or f"it takes {', '.join(own) or 'none'}"
                    raise ConfigError([Problem(prefix + name, self.arguments[name], what, way_out)])
        try:
            signature.bind(*given, **{**self.arguments, **further})
        except TypeError as error:
            way_out = f"give it as {prefix}NAME=VALUE"
            raise ConfigError([Problem(key, self.target, f"its arguments do not fit ({error})", way_out)]) from error

    def build(self, key: str, kind: Kind, *given: object, prefix: str | None = None, **further: object) -> Any:
        """What the code makes of what we give it and of the arguments. Raises ConfigError, as `check` does."""
        self.check(key, kind, *given, prefix=prefix, **further)
        code = self.code(key, kind)
        try:
            made = code(*given, **{**self.arguments, **further})
        except (TypeError, ValueError) as error:
            what = f"refused by {self.label} ({cut(str(error), 100)})"
            raise ConfigError([Problem(key, self.target, what, "see its arguments")]) from error
        if not isinstance(made, _imported(kind.bases)):
            what = f"made {type(made).__name__}, not {kind.words}"
            raise ConfigError([Problem(key, self.target, what, f"give a name such as {kind.example}")])
        return made


def code_of(dotted: str, kind: Kind) -> Callable[..., Any]:
    """Imports what a dotted name stands for. Raises ComponentError unless it is code of the kind."""
    found = _located(dotted)
    if isinstance(found, type):
        is_right = issubclass(found, _imported(kind.bases))
    else:
        is_right = bool(kind.returns) and callable(found) and _returns(found, kind)
    way_out = f"give a name such as {kind.example}" if kind.example else "see its arguments"
    if not is_right:
        raise ComponentError(f"not {kind.words}", way_out)
    if not kind.any_name and (shortest := _name_of(found)) and shortest != dotted:
        raise ComponentError(f"is {shortest}", "write it by that name, so that one thing has one fingerprint")
    return found


def _returns(function: Callable[..., Any], kind: Kind) -> bool:
    """Whether the annotation of a function says that it returns what is wanted."""
    try:
        returned = get_type_hints(function).get("return")
    except Exception as error:  # whatever evaluating somebody's annotations raises
        raise ComponentError(f"its annotations cannot be read ({error})", "mend them") from error
    if returned is None:
        wanted = kind.returns[0].rpartition(".")[2]
        raise ComponentError(f"not {kind.words}", f"a function must say what it returns: def ...(...) -> {wanted}")
    returned = get_origin(returned) or returned
    return isinstance(returned, type) and issubclass(returned, _imported(kind.returns))


def _imported(names: Iterable[str]) -> tuple[type, ...]:
    return tuple(_located(name) for name in names)


def _located(dotted: str) -> Any:
    """The object of a dotted name: the longest module in it, then attributes of that. Raises ComponentError."""
    first, *rest = dotted.split(".")
    if not rest or not all(part.isidentifier() for part in (first, *rest)):
        raise ComponentError("not a dotted name", "write package.module.Name")
    found: Any = _module(first, None)
    path = first
    for part in rest:
        inner, path = f"{path}.{part}", f"{path}.{part}"
        is_package = isinstance(found, ModuleType) and hasattr(found, "__path__")
        if is_package and (inner in sys.modules or importlib.util.find_spec(inner) is not None):
            found = _module(inner, found)
        elif hasattr(found, part):
            found = getattr(found, part)
        else:
            owner = inner.rpartition(".")[0]
            names = {*(name for name in dir(found) if not name.startswith("_")), *_submodules(found)}
            raise ComponentError(f"{owner} has no {part}", near_miss(part, names) or "see what is defined there")
    return found


def _module(name: str, package: ModuleType | None) -> ModuleType:
    """Imports a module, unless it lies where runs have left their files. Raises ComponentError."""
    try:
        if package is None:
            _refuse_left_behind(name)
        return importlib.import_module(name)
    except ComponentError:
        raise
    except (Exception, SystemExit) as error:  # whatever the import of somebody's module raises
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            near = near_miss(name, {module.name for module in pkgutil.iter_modules()}, cutoff=0.85)
            way_out = near or "run it from the directory in which it lies, or put that on PYTHONPATH"
            raise ComponentError(f"there is no module {name}", way_out) from error
        raise ComponentError(
            f"cannot be imported ({cut(str(error), 100)})", f"try: python -c 'import {name}'"
        ) from error


def _refuse_left_behind(name: str) -> None:
    """Raises ComponentError for a module in the directory of a run or a sweep: data must not become code."""
    spec = getattr(sys.modules[name], "__spec__", None) if name in sys.modules else importlib.util.find_spec(name)
    places = [*(spec.submodule_search_locations or []), spec.origin or ""] if spec else []
    for place in filter(None, places):
        for folder in Path(place).parents:
            if any(all((folder / file).exists() for file in files) for files in _LEFT):
                raise ComponentError(
                    f"{place} lies where a run left its files", "move it; code is not taken from there"
                )


def _submodules(found: object) -> set[str]:
    return {module.name for module in pkgutil.iter_modules(getattr(found, "__path__", []))}


def name_of(code: object) -> str:
    """The shortest dotted name by which a class or function is found. Raises ComponentError where there is none.

    `torch.optim.radam.RAdam` is `torch.optim.RAdam`.
    """
    if not callable(code) or not hasattr(code, "__qualname__"):
        what = f"a {type(code).__name__}, not a class or function"
        raise ComponentError(what, "give the class, with arguments as functools.partial(Class, argument=value)")
    if (name := _name_of(code)) is None:
        what = f"{code.__qualname__} cannot be found by its name"
        raise ComponentError(what, "define it at the top of a module")
    return name


def _name_of(code: Any) -> str | None:
    module, qualified = getattr(code, "__module__", None), getattr(code, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualified, str):
        return None
    parts = module.split(".")
    for n in range(1, len(parts) + 1):
        found: Any = sys.modules.get(".".join(parts[:n]))
        for part in qualified.split("."):
            found = getattr(found, part, None)
        if found is not None and found == code:
            return ".".join([*parts[:n], qualified])
    return None


def _bound(given: functools.partial[Any]) -> dict[str, Any]:
    """A partial's arguments by keyword. Raises ComponentError for some that have no name."""
    if not given.args:
        return dict(given.keywords)
    try:
        signature = inspect.signature(given.func)
        bound = signature.bind_partial(*given.args).arguments
    except (TypeError, ValueError) as error:
        raise ComponentError(f"its arguments do not fit ({error})", "give them by keyword") from error
    if any(signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL for name in bound):
        raise ComponentError("has arguments without a name", "give them by keyword")
    return {**bound, **given.keywords}


def _plain(value: Any, key: str) -> Any:
    """Arguments as JSON has them: tuples become lists. Raises ConfigError for anything that is not plain."""
    if isinstance(value, Mapping) and all(isinstance(k, str) for k in value) and TARGET not in value:
        return {k: _plain(v, key) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v, key) for v in value]
    if type(value) in _PLAIN:
        return value
    what = f"an argument is {value if isinstance(value, Mapping) else type(value).__name__}, not a plain value"
    raise ConfigError([Problem(key, value, what, "use numbers, texts, lists and dictionaries of them")])
