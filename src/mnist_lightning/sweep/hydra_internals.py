"""The one place that reaches behind Hydra's public interface or replaces a part of a library, each with its reason.

All of it was tried with hydra-core 1.3.8. What is replaced is put back at the end of the `with` block.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.completion_plugin import CompletionPlugin
from hydra.plugins.config_source import ConfigSource
from omegaconf import DictConfig

from mnist_lightning.errors import ConfigError

if TYPE_CHECKING:
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

__all__ = [
    "BasicLauncher",
    "BasicSweeper",
    "apply_override",
    "called_with",
    "completions_by",
    "files_read_within",
    "forget",
    "processes_started_by",
    "submissions_by",
]


def __getattr__(name: str) -> Any:
    """Hydra's basic launcher and sweeper, which ours extend: Hydra publishes only their interfaces.

    Not imported at the top: whenever Hydra scans for plugins it runs its own files again, and then ours in
    `hydra_plugins`. A class that was imported before is not the one that its methods' `super` knows.
    """
    homes = {"BasicLauncher": "basic_launcher", "BasicSweeper": "basic_sweeper"}
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"hydra._internal.core_plugins.{homes[name]}"), name)


@contextmanager
def called_with(program: str, arguments: Sequence[str]) -> Iterator[None]:
    """Within the block `hydra.main` takes these arguments, and what is wrong with them is an error of ours.

    Hydra reads sys.argv alone. It would print its errors over many lines and exit with 1, unless HYDRA_FULL_ERROR tells
    it to raise them, and its argument parser would print its usage and exit.
    """
    environment = dict(os.environ)
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with _replaced(sys, "argv", [program, *arguments]), _replaced(argparse.ArgumentParser, "error", _usage_error):
            yield
    finally:
        os.environ.clear()
        os.environ.update(environment)


def _usage_error(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    raise ConfigError(f"{message}; keys are given as key=value, see --help")


@contextmanager
def files_read_within(guard: Callable[[Path], AbstractContextManager[None]]) -> Iterator[None]:
    """Within the block Hydra reads a file of a directory inside `guard(path)`; those of the package are ours.

    Hydra gives nobody a look at a file before it reads it, a gigabyte too, nor at what is wrong with it.
    """
    Plugins.instance()  # finds Hydra's class for directories, which is not the one that can be imported
    source_of_files = SourcesRegistry.instance().resolve("file")
    load = source_of_files.load_config

    def load_guarded(source: ConfigSource, config_path: str) -> object:
        with guard(Path(source.path) / source._normalize_file_name(config_path)):
            return load(source, config_path)

    with _replaced(source_of_files, "load_config", load_guarded):
        yield


@contextmanager
def completions_by(complete: Callable[[str, Callable[[str], list[str]]], list[str]]) -> Iterator[None]:
    """Within the block a shell's Tab is answered by `complete(line, hydras)`; `hydras(line)` is Hydra's own answer.

    Hydra knows a key's present value, but not which others it may have.
    """
    query = CompletionPlugin._query

    def answer(plugin: CompletionPlugin, config_name: str | None, line: str) -> list[str]:
        return complete(line, lambda text: query(plugin, config_name=config_name, line=text))

    with _replaced(CompletionPlugin, "_query", answer):
        yield


def apply_override(override: Override, config: DictConfig) -> None:
    """Puts the value of an override into what Hydra has composed, as Hydra itself does at the end of a composition.

    It offers that only as a part of a whole composition. Raises ConfigCompositionException.
    """
    ConfigLoaderImpl._apply_overrides_to_config([override], config)


def forget(store: ConfigStore, kind: str, names: Sequence[str]) -> None:
    """Removes other plugins' own entries of these names, for which we have files or entries.

    Hydra would check a file in conf/hydra/launcher/ against the entry and warn that this is deprecated, in every
    worker again. The entries are made when the plugins are found, so they are found first.
    """
    Plugins.instance()
    for name in names:
        known = store.repo["hydra"].get(kind, {})
        known.pop(name, None)
        known.pop(f"{name}.yaml", None)


@contextmanager
def submissions_by(submit: Callable[[Any, Callable[[], list[Any]]], None]) -> Iterator[None]:
    """Within the block the submitit plugin calls `submit(executor, send)`; `send()` submits, and nothing is waited for.

    It would wait one by one for submitit's own files, and for `sacct`, which fails where nothing is accounted. Tried
    with hydra-submitit-launcher 1.2.0 and submitit 1.5.4.
    """
    from submitit.core.core import Executor

    send = Executor.map_array

    def map_array(executor: Any, function: Any, *columns: Any) -> list[Any]:
        submit(executor, partial(send, executor, function, *columns))
        return []

    with _replaced(Executor, "map_array", map_array):
        yield


@contextmanager
def processes_started_by(start: Callable[..., Any]) -> Iterator[None]:
    """Within the block submitit starts its local processes by `start`, called as `subprocess.Popen` is.

    It leaves them in the command's process group, and itself no way to end them with what they have started.
    """
    from submitit.local import local

    with _replaced(local, "subprocess", SimpleNamespace(Popen=start)):
        yield


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = owner.__dict__[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
