"""The command line: Hydra underneath, one line per error, an exit code that tells the truth."""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn
from unittest.mock import patch

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mnist_lightning.command import yaml_files
from mnist_lightning.command.help import help_text
from mnist_lightning.command.signals import Interrupted, closed_pipes_ignored, signals_raised
from mnist_lightning.config import conf_dir, fresh_directory, parse, schema, suggest_key, wrong_type
from mnist_lightning.config.section import near_miss
from mnist_lightning.errors import (
    EXIT_BAD_INPUT,
    EXIT_BUG,
    EXIT_HANGUP,
    EXIT_INTERRUPTED,
    EXIT_OUTPUT,
    EXIT_RUNS_MISSING,
    EXIT_TERMINATED,
    ConfigError,
    UserError,
    one_line,
)
from mnist_lightning.records import locks
from mnist_lightning.sweep import sweep

PROGRAM = "mnist-lightning"


class PassedOn(BaseException):
    """Carries a UserError out of a job. Hydra would print and go on after an Exception."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line on `argv` (default: `sys.argv[1:]`) and return the exit code; never raises."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verbose = "-v" in arguments or os.environ.get("HYDRA_FULL_ERROR") == "1"
    arguments = [a for a in arguments if a != "-v"]
    if any(re.fullmatch("--cfg(=.*)?|-c(job|hydra|all)?", a) for a in arguments):  # to show a grid's configuration
        arguments = [a for a in arguments if a not in ("-m", "--multirun")]
    arguments.sort(key=lambda a: a not in ("-m", "--multirun"))  # Hydra takes no key=value in front of it
    sweep.directory, sweep.began, sweep.planned = None, False, frozenset()
    code, line = 0, ""
    with closed_pipes_ignored(), signals_raised() as signals:
        try:
            _refuse_early(arguments)
            code = _run_hydra(arguments)
        except BaseException as error:
            code, line = _explain(error, arguments)
            if verbose and not signals.received:
                traceback.print_exc()
        if first := signals.look():  # whatever Hydra or a library has made of it on the way
            code, line = first.exit_code, first.word
        try:
            return _end(code, line, arguments)
        except Interrupted as interrupt:  # a second Ctrl-C: the records are there, the tables can wait
            return interrupt.exit_code
        except Exception as error:
            code, line = _explain(error, arguments)
            if verbose:
                traceback.print_exc()
            _complain(line)
            return code
        finally:
            locks.release()


def _end(code: int, line: str, arguments: list[str]) -> int:
    """The tables if they are still missing, the last line, the exit code."""
    where = sweep.directory
    if where is None or not sweep.is_one(where):
        if line:
            _complain(line)
        return code
    if not sweep.collected:
        try:
            sweep.collect(where)
        except Exception:
            print(sweep.outcome(where)[1])
            raise
    found, summary = sweep.outcome(where)
    if code in (EXIT_INTERRUPTED, EXIT_TERMINATED, EXIT_HANGUP):
        command = " ".join(
            ["python -m mnist_lightning", *(f"'{a}'" if re.search(r"[^\w=.,/+:-]", a) else a for a in arguments)]
        )
        print(f"{line}: {summary}" + (f"; resume: {command}" if found else ""), file=sys.stderr)
    else:
        print(summary)
        if line:
            _complain(line)
    return code or found


def _complain(line: str) -> None:
    print(one_line(f"{PROGRAM}: error: {line}"), file=sys.stderr)


@hydra.main(version_base="1.3", config_path="pkg://mnist_lightning.conf", config_name="config")
def _job(composed: DictConfig) -> float:
    from mnist_lightning.command.cli import PassedOn  # by name: workers get this function by value
    from mnist_lightning.command.signals import closed_pipes_ignored
    from mnist_lightning.sweep.sweep import run_job

    try:
        with closed_pipes_ignored():
            return run_job(composed)
    except UserError as error:
        raise PassedOn from error


def register(arguments: Sequence[str] = ()) -> None:
    """Give Hydra the schema, the sweeper, directories' names, a choice for each dotted optimizer in `arguments`."""
    store = ConfigStore.instance()
    store.store("mnist_lightning_schema", schema())
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key == "optimizer":
            for dotted in re.findall(r"[A-Za-z_]\w*(?:\.\w+)+", value):
                store.store(dotted, {"name": dotted}, group="optimizer")
    _prefer_our_files(store)
    # no file in conf/hydra/sweeper/: it would also be the sweeper of whoever has conf/ in his searchpath
    grid_sweeper = {"_target_": "hydra_plugins.mnist_lightning_sweeper.GridSweeper", "max_batch_size": None}
    store.store("basic", {**grid_sweeper, "params": None}, group="hydra/sweeper", provider="mnist_lightning")
    new = OmegaConf.register_new_resolver
    new("mnist_lightning.fresh_directory", fresh_directory, use_cache=True, replace=True)
    new("mnist_lightning.sweep_directory", _sweep_directory, use_cache=True, replace=True)
    new("mnist_lightning.run_name", _run_name, replace=True)


def _prefer_our_files(store: ConfigStore) -> None:
    """Forget the launcher plugins' own entries for which conf/hydra/launcher/ has a file of the same name.

    Hydra would check the file against the entry and warn that this is deprecated, in every worker again. The
    entries are made when the plugins are found, so they are found first.
    """
    Plugins.instance()
    for path in (conf_dir() / "hydra" / "launcher").glob("*.yaml"):
        store.repo["hydra"]["launcher"].pop(path.name, None)


def _sweep_directory(experiment: str | None) -> str:
    """An experiment's own, so that repeating the command resumes it; otherwise a fresh one."""
    return f"outputs/{experiment}" if experiment else fresh_directory()


def _run_name(*, _root_: DictConfig) -> str:
    return parse({k: v for k, v in OmegaConf.to_container(_root_, resolve=False).items() if k != "hydra"}).run_name  # pyright: ignore - a DictConfig gives a dictionary


def _run_hydra(arguments: list[str]) -> int:
    if "--help" in arguments or "-h" in arguments:
        print(help_text())
        return 0
    register(arguments)
    # Hydra would print its errors over many lines and exit with 1; so it hands them on
    environment = {"HYDRA_FULL_ERROR": "1"}
    with (
        yaml_files.judged(),
        patch.object(sys, "argv", [PROGRAM, *arguments]),
        patch.dict(os.environ, environment),
        patch.object(argparse.ArgumentParser, "error", _usage_error),
    ):
        try:
            _job()
        except SystemExit as exit_:
            return exit_.code if isinstance(exit_.code, int) else 0
        finally:
            GlobalHydra.instance().clear()
    return 0


def _usage_error(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    raise ConfigError(f"{message}; keys are given as key=value, see --help")


def _refuse_early(arguments: Sequence[str]) -> None:
    for argument in arguments:
        if argument.startswith("~") and not argument.startswith("~hydra"):
            raise ConfigError(f"{argument}: a key cannot be removed; give it a value")
        if re.fullmatch(r"\+*experiment=.*,.*", argument):  # the sweep of one would win, without a word
            raise ConfigError(f"{argument}: each is a sweep of its own; give one at a time")


def _explain(error: BaseException, arguments: Sequence[str]) -> tuple[int, str]:
    """Exit code and the one line for anything that ended a command; never raises."""
    try:
        return _explanation(error, arguments)
    except Exception as second:
        return EXIT_BUG, f"{type(second).__name__}: {second}; a bug: please report it with the output of -v"


def _explanation(error: BaseException, arguments: Sequence[str]) -> tuple[int, str]:
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    for link in chain:
        if isinstance(link, UserError):
            return link.exit_code, str(link)
    for link in chain:
        if isinstance(link, MissingConfigException) and link.options is not None:
            return EXIT_BAD_INPUT, _unknown_choice(link)
        if isinstance(link, OverrideParseException):
            reason = link.args[0].splitlines()[0].replace("LexerNoViableAltException: ", "unknown character in ")
            return EXIT_BAD_INPUT, f"{link.override}: cannot be read ({reason}); quote the value"
        if isinstance(link, YAMLError):
            return EXIT_BAD_INPUT, yaml_files.explained(link)
    if found := re.search(r"hydra_plugins\.hydra_(\w+?)_launcher", str(error)):
        way_out = f'pip install "mnist-lightning[{found[1]}]"'
        return EXIT_BAD_INPUT, f"hydra/launcher={found[1]}: not installed; {way_out}"
    if type(error).__module__.startswith("submitit."):
        if lost := re.search(r"\(state: (\w+)\)", str(error)):
            line = f"hydra/launcher=submitit: the cluster lost a job (state {lost[1]}); repeat the command"
            return EXIT_RUNS_MISSING, line
        return EXIT_BAD_INPUT, f"hydra/launcher=submitit: {error!s:.100}; see hydra.launcher.partition, qos, account"
    if "torchvision::nms" in str(error):
        return EXIT_BAD_INPUT, "torch and torchvision do not fit each other; pip install -U torch torchvision together"
    if isinstance(error, (HydraException, OmegaConfBaseException, ConfigError)):
        return EXIT_BAD_INPUT, _hydra_line(chain, arguments)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return EXIT_BAD_INPUT, f"{max(arguments, key=len, default='')[:60]}...: too long; see --help"
    if isinstance(error, (ValueError, TypeError, AttributeError)) and not sweep.began:
        culprit = arguments[0] if len(arguments) == 1 else next((a for a in arguments if _is_odd(a)), "key=value")
        return EXIT_BAD_INPUT, f"{culprit}: cannot be read ({error!s:.60}); see --help for the keys"
    if isinstance(error, OSError):
        where = error.filename or "output"
        return EXIT_OUTPUT, f"{where}: {error.strerror or error}; choose another directory or free the disk"
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED, "interrupted"
    return EXIT_BUG, f"{type(error).__name__}: {error}; a bug: please report it with the output of -v"


def _is_odd(argument: str) -> bool:
    key, _, value = argument.lstrip("+~").partition("=")
    return not re.fullmatch(r"[\w./@-]+", key) or "(" in value or value.startswith("[")


def _unknown_choice(error: MissingConfigException) -> str:
    group, _, choice = str(error.missing_cfg_file).rpartition("/")
    if (group, choice) == ("hydra/sweeper", "optuna"):
        return f'{group}={choice}: not installed; pip install "mnist-lightning[optuna]"'
    options = [str(option) for option in error.options or []]
    way_out = near_miss(choice, options) or "use one of " + ", ".join(options)
    return f"{group or 'config'}={choice}: unknown; {way_out}"


def _hydra_line(chain: Sequence[BaseException], arguments: Sequence[str]) -> str:
    text = str(chain[0])
    if found := re.search(r"Ambiguous value for argument '([^']+)'", text):
        if any(a.startswith(("--cfg", "-c")) for a in arguments):
            return f"{found[1]}: several values; --cfg shows one run, give it one"
        return f"{found[1]}: several values; put -m in front to train each of them, or write a list as [a,b]"
    if found := re.search(r"Could not override '([^']+)'", text):
        key = found[1].lstrip("+")
        value = next((a.partition("=")[2] for a in arguments if a.lstrip("+").partition("=")[0] == key), "")
        return f"{key}={value}: no such key; {suggest_key(key) or 'see --help for the keys'}"
    if found := re.search(r"Error merging override (.*)", text):
        key, _, value = found[1].partition("=")
        with suppress(StopIteration):  # a key that is not ours
            return str(wrong_type(key, value))
        return f"{found[1]}: {text.splitlines()[-1]}; see --hydra-help"
    return f"{' '.join(text.split())}; see --help"
