"""The command line: Hydra underneath, one line per error, an exit code that tells the truth."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Sequence

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from mnist_lightning.command.completion import completions
from mnist_lightning.command.explain import Failure, explain
from mnist_lightning.command.help import TOPIC, help_text, versions_text
from mnist_lightning.command.overrides import for_hydra, refuse_early, to_resume
from mnist_lightning.command.signals import Interrupted, closed_pipes_ignored, signals_raised
from mnist_lightning.command.yaml_files import refused_in_one_line
from mnist_lightning.config import conf_dir, fresh_directory, parse, schema
from mnist_lightning.config.section import near_miss
from mnist_lightning.errors import ConfigError, UserError, one_line
from mnist_lightning.sweep.callback import GRID_SWEEPER, SEARCH_SWEEPER
from mnist_lightning.sweep.hydra_internals import called_with, completions_by, files_read_within, forget
from mnist_lightning.sweep.search_names import KEYS, SAMPLERS
from mnist_lightning.sweep.sweep import Sweep, shown

PROGRAM = "mnist-lightning"
_MAY_BE_DOTTED = ("optimizer", "scheduler")  # groups whose choice may be a class


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line on `argv` (default: `sys.argv[1:]`) and returns the exit code; never raises."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verbose = "-v" in arguments or os.environ.get("HYDRA_FULL_ERROR") == "1"
    arguments = for_hydra(arguments)
    code, line = 0, ""
    with Sweep() as sweep, closed_pipes_ignored(), signals_raised() as signals:
        sweep.was_signalled = lambda: bool(signals.received)
        try:
            refuse_early(arguments)
            code = _run(arguments)
        except BaseException as error:
            code, line = explain(Failure(error, arguments, sweep.began))
            if verbose and not signals.received:
                traceback.print_exc()
        if first := signals.first():  # whatever Hydra or a library has made of it on the way
            code, line = first.exit_code, first.word
        came = len(signals.received)
        try:
            sweep.show_nothing()
            return _end(sweep, code, line, arguments, interrupted=first is not None)
        except (Exception, Interrupted) as error:
            if len(signals.received) > came:  # a second Ctrl-C: the records are there, the tables can wait
                resume = _resume(sweep, arguments) if sweep.directory else ""
                print(f"{signals.received[-1].word}: the tables may be those of before{resume}", file=sys.stderr)
                return signals.received[-1].exit_code
            code, line = explain(Failure(error, arguments, sweep.began))
            if verbose:
                traceback.print_exc()
            _complain(line)
            return code


def _end(sweep: Sweep, code: int, line: str, arguments: list[str], *, interrupted: bool) -> int:
    """Writes the tables if they are still missing, prints the last line, and returns the exit code."""
    if sweep.directory is None or not sweep.has_runs():
        if line:
            _complain(line)
        return code
    if not sweep.collected:
        if interrupted and sys.stderr is not None and sys.stderr.isatty():
            print(f"{line}: the tables are being made, another Ctrl-C leaves them", file=sys.stderr)
        try:
            sweep.collect()
        except Exception:
            print(sweep.outcome()[1])
            raise
    unfinished, summary = sweep.outcome()
    if interrupted:
        resume = _resume(sweep, arguments) if unfinished else ""
        print(f"{line}: {summary}{resume}", file=sys.stderr)
    else:
        print(summary)
        if line:
            _complain(line)
    return code or unfinished


def _resume(sweep: Sweep, arguments: list[str]) -> str:
    assert sweep.directory is not None
    return f"; resume: {to_resume(arguments, shown(sweep.directory), is_run=sweep.is_run)}"


def _complain(line: str) -> None:
    print(one_line(f"{PROGRAM}: error: {line}"), file=sys.stderr)


@hydra.main(version_base="1.3", config_path="pkg://mnist_lightning.conf", config_name="config")
def _job(composed: DictConfig) -> float:
    from mnist_lightning.command.signals import closed_pipes_ignored  # by name: workers get this function by value
    from mnist_lightning.errors import PassedOn
    from mnist_lightning.sweep.job import run_job

    try:
        with closed_pipes_ignored():
            return run_job(composed)
    except UserError as error:
        raise PassedOn(error) from error


def register(arguments: Sequence[str] = ()) -> None:
    """Gives Hydra the schema, the sweeper, directories' names, a choice for each dotted name in `arguments`."""
    store = ConfigStore.instance()
    store.store("mnist_lightning_schema", schema())
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in _MAY_BE_DOTTED:
            for dotted in re.findall(r"[A-Za-z_]\w*(?:\.\w+)+", value):
                store.store(dotted, {"name": dotted}, group=key)
    forget(store, "launcher", [path.name for path in (conf_dir() / "hydra" / "launcher").glob("*.yaml")])
    # no file in conf/hydra/sweeper/: it would also be the sweeper of whoever has conf/ in his searchpath
    grid_sweeper = {"_target_": GRID_SWEEPER, "max_batch_size": None}
    store.store("basic", {**grid_sweeper, "params": None}, group="hydra/sweeper", provider="mnist_lightning")
    _register_search(store)
    new = OmegaConf.register_new_resolver
    new("mnist_lightning.fresh_directory", fresh_directory, use_cache=True, replace=True)
    new("mnist_lightning.sweep_directory", _sweep_directory, use_cache=True, replace=True)
    new("mnist_lightning.run_name", _run_name, replace=True)


def _register_search(store: ConfigStore) -> None:
    """Gives Hydra `hydra/sweeper=optuna` and its samplers, in the place of another plugin's of the same name."""
    forget(store, "sweeper", ["sampler", "optuna"])
    node = {"_target_": SEARCH_SWEEPER, "_recursive_": False, **KEYS, "defaults": [{"sampler": "tpe"}]}
    store.store("optuna", node, group="hydra/sweeper", provider="mnist_lightning")
    for name, dotted in SAMPLERS.items():
        sampler = OmegaConf.create({"_target_": dotted, "seed": None}, flags={"struct": False})
        store.store(name, sampler, group="hydra/sweeper/sampler", provider="mnist_lightning")


def _sweep_directory(experiment: str | None) -> str:
    """An experiment's own, so that repeating the command resumes it; otherwise a fresh one."""
    return f"outputs/{experiment}" if experiment else fresh_directory()


def _run_name(*, _root_: DictConfig) -> str:
    return parse({k: v for k, v in OmegaConf.to_container(_root_, resolve=False).items() if k != "hydra"}).run_name  # pyright: ignore - a DictConfig gives a dictionary


def _topic(arguments: Sequence[str]) -> str:
    """The word beside --help, if there is one. Raises ConfigError for one of which there is no help."""
    words = [a for a in arguments if not a.startswith("-") and "=" not in a]
    for word in words:
        if word != TOPIC:
            way_out = near_miss(word, [TOPIC]) or f"--help alone explains every key, and --help {TOPIC} Lightning's"
            raise ConfigError(f"--help {word}: no such help; {way_out}")
    return words[0] if words else ""


def _run(arguments: list[str]) -> int:
    if "--help" in arguments or "-h" in arguments:
        print(help_text(trainer=_topic(arguments) == TOPIC))
        return 0
    if "--version" in arguments:
        print(versions_text())
        return 0
    register(arguments)
    with files_read_within(refused_in_one_line), completions_by(completions), called_with(PROGRAM, arguments):
        try:
            _job()
        except SystemExit as exit_:
            return exit_.code if isinstance(exit_.code, int) else 0
        finally:
            GlobalHydra.instance().clear()
    return 0
