"""What a search is asked to be, and whether it is the one that its directory holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.pruners import BasePruner

from mnist_lightning.config import RunConfig
from mnist_lightning.config.keys import KERAS
from mnist_lightning.config.labels import flat, given_key, identity_keys
from mnist_lightning.data.files import look
from mnist_lightning.errors import ConfigError, DataError, Problem, UserError
from mnist_lightning.records.plan import PLAN, read_plan
from mnist_lightning.records.results import FINAL, RECORD, load
from mnist_lightning.records.search import Direction, Search, read_search
from mnist_lightning.records.versions import versions
from mnist_lightning.sweep.plan import other_versions
from mnist_lightning.sweep.search_samplers import Samplers, pruner_name, pruner_of
from mnist_lightning.sweep.search_space import Space, space_of, text_of
from mnist_lightning.sweep.search_storage import open_study
from mnist_lightning.sweep.search_study import SearchStudy

_SPEC, _CHANGING = "mnist_lightning", "mnist_lightning_settings"  # attributes of the study
_DIRECTIONS = ("maximize", "minimize")


@dataclass(frozen=True)
class Settings:
    """The checked keys of `hydra.sweeper`."""

    space: Space
    samplers: Samplers
    pruner: BasePruner | None
    pruner_name: str
    pruner_given: Any
    n_trials: int
    direction: Direction
    storage: str | None
    study_name: str | None

    @classmethod
    def of(cls, keys: dict[str, Any], arguments: Sequence[str], parser: OverridesParser) -> Settings:
        """Raises ConfigError for the first key that is wrong."""
        n_trials, direction = keys["n_trials"], keys["direction"]
        if not (isinstance(n_trials, int) and not isinstance(n_trials, bool) and n_trials > 0):
            raise ConfigError([Problem("hydra.sweeper.n_trials", n_trials, "no number of trials", "use 1 or more")])
        if direction not in _DIRECTIONS:
            raise ConfigError(
                [Problem("hydra.sweeper.direction", direction, "unknown", f"use {' or '.join(_DIRECTIONS)}")]
            )
        for key in ("storage", "study_name"):
            if not isinstance(keys[key], str | None):
                raise ConfigError([Problem(f"hydra.sweeper.{key}", keys[key], "not a text", "use a text, or null")])
        space = space_of(arguments, parser)
        samplers = Samplers(keys["sampler"], space)
        if samplers.is_grid and space.size is not None:
            n_trials = min(n_trials, space.size)
        pruner = pruner_of(keys["pruner"])
        given = keys["pruner"] if pruner else None
        name = pruner_name(keys["pruner"])
        return cls(
            space, samplers, pruner, name, given, n_trials, direction, keys["storage"], keys["study_name"]
        )  # fmt: skip

    def refuse_for(self, config: RunConfig) -> None:
        """Raises ConfigError for a pruner where nothing is validated, by which it would decide."""
        if self.pruner and config.trainer.limit_val_batches == 0:
            what = "no validation loss to prune by (trainer.limit_val_batches=0)"
            raise ConfigError(f"hydra.sweeper.pruner={self.pruner_name}: {what}; leave one of the two out")

    def search(self, root: Path, configs: Sequence[RunConfig]) -> Search:
        """As it is stored. Where images are held out the objective is the accuracy on them, else on the test set."""
        held_out = all(config.data.val_size for config in configs)
        name = self.study_name or ("mnist_lightning" if self.storage is None else root.resolve().name)
        objective = "accuracy_val" if held_out else "accuracy_test"
        return Search(
            self.n_trials,
            self.space.as_json(),
            self.direction,
            objective,
            self.samplers.described,
            self.pruner_name,
            name,
            self.storage,
            self.pruner_given,
        )  # fmt: skip


def is_over(root: Path, settings: Settings) -> bool:
    """Whether every trial of the search in a directory has its final record. A look, which changes nothing."""
    try:
        search = read_search(root)
        if search is None or search.n_trials < settings.n_trials or search.undrawn:
            return False
        records = [load(root / trial.run_name / RECORD) for trial in search.trials]
    except UserError:
        return False
    return all(record.status in FINAL for record in records)


def study_of(
    root: Path,
    settings: Settings,
    configs: Sequence[RunConfig],
    compose: Callable[[Sequence[str]], RunConfig],
    *,
    trained: bool,
) -> SearchStudy:
    """Opens the study in a directory, or begins it. `configs` have each end of the space; `trained`: nothing will be.

    Raises ConfigError for configurations that cannot be trained, for another search, a grid or records of others in the
    directory; DataError where the data are not those it began with.
    """
    data = _checked_data(configs, trained)
    search = settings.search(root, configs)
    _refuse_others(root, search)
    fixed = _fixed(settings, configs[0])
    spec = {"space": search.space, "direction": search.direction, "objective": search.objective, "fixed": fixed}
    try:
        study = open_study(root, search.storage, search.study_name, search.direction)
    except OSError as error:
        raise ConfigError(f"hydra.sweep.dir={root}: {error.strerror or error}; choose another directory") from error
    opened = SearchStudy(root, study, search, settings.space, settings.samplers, compose)
    with opened.locked():
        stored = study.user_attrs.get(_SPEC)
        if stored is None:
            if study.get_trials(deepcopy=False):
                what = f"{search.study_name} is the study of another program"
                raise ConfigError(f"hydra.sweeper.study_name: {what}; choose another directory or name")
            study.set_user_attr(_SPEC, {**spec, "data": data, "versions": versions()})
        else:
            _refuse_another(root, stored, {**spec, "data": data})
            print("".join(f"{line}\n" for line in other_versions("study", stored.get("versions"), versions())), end="")
        _tell_changes(study, search)
    if settings.pruner:
        study.pruner = settings.pruner
    return opened


def _checked_data(configs: Sequence[RunConfig], trained: bool) -> dict[str, str]:
    """The digests of the data by name; where something will be trained, all that can be wrong is checked."""
    if trained:
        digests = {config.data.name: look(config.data) for config in configs}
        return {name: digest for name, digest in digests.items() if digest}
    from mnist_lightning.data.datasets import forget_data
    from mnist_lightning.training.run import check

    forget_data()
    return {config.data.name: check(config).sha256 for config in configs}


def _fixed(settings: Settings, config: RunConfig) -> dict[str, str]:
    """What all trials have in common: the configuration without the keys that are drawn."""
    drawn = _base_names(settings.space.drawn)
    return {key: text for key, text in flat(config.identity()).items() if key not in drawn}


def _base_names(drawn: Iterable[str]) -> set[str]:
    """The keys of the configuration that these keys of the command line set, a group's among them."""
    given = [key.lstrip("+") for key in drawn]
    return {name for key in given for name in (*identity_keys(key), f"{key}.name")}


def _refuse_others(root: Path, search: Search) -> None:
    """Raises ConfigError for a directory with a grid, or with records of no search."""
    where = f"hydra.sweep.dir={root}"
    if read_plan(root):
        what = f"holds a planned grid ({PLAN}), and a search's runs are not of it"
        raise ConfigError(f"{where}: {what}; choose another directory")
    stored = read_search(root)
    if stored is None and (n := len(list(root.glob(f"*/{RECORD}")))):
        what = f"holds {n:,} record{'s' * (n > 1)} of another sweep, and no search"
        raise ConfigError(f"{where}: {what}; choose another directory")
    if stored and (stored.study_name, stored.storage) != (search.study_name, search.storage):
        before = " in ".join(filter(None, [stored.study_name, stored.storage]))
        raise ConfigError(f"{where}: holds the study {before}; give its name and storage, or choose another directory")


def _refuse_another(root: Path, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raises ConfigError naming what two searches differ in, DataError for other data."""
    drawn = _base_names([*stored["space"], *wanted["space"]])
    fixed = (_as_given(spec["fixed"], drawn) for spec in (stored, wanted))
    told = [*_differing_keys(stored["space"], wanted["space"]), *_differing_texts(*fixed)]
    told += [
        f"{key} {stored[key]} -> {wanted[key]}" for key in ("direction", "objective") if stored[key] != wanted[key]
    ]
    if told:
        what = f"holds another search ({', '.join(told)})"
        raise ConfigError(f"hydra.sweep.dir={root}: {what}; choose another directory")
    for name, digest in wanted["data"].items():
        if stored["data"].get(name, digest) != digest:
            raise DataError(
                f"data={name}: not the data this search began with; restore them, or choose another hydra.sweep.dir"
            )


def _as_given(fixed: dict[str, str], drawn: set[str]) -> dict[str, str]:
    """What trials have in common without what is drawn, by the keys that are given."""
    optimizer = fixed.get("optimizer.name", KERAS[0])
    return {given_key(key, optimizer): text for key, text in fixed.items() if key not in drawn}


def _differing_keys(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    def told(space: dict[str, Any], key: str) -> str:
        return (
            text_of(optuna.distributions.json_to_distribution(json.dumps(space[key]))) if key in space else "not drawn"
        )

    keys = sorted(before.keys() | now.keys())
    return [f"{key} {told(before, key)} -> {told(now, key)}" for key in keys if before.get(key) != now.get(key)]


def _differing_texts(before: dict[str, str], now: dict[str, str]) -> list[str]:
    keys = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    return [f"{key} {before.get(key, 'unset')} -> {now.get(key, 'unset')}" for key in keys]


def _tell_changes(study: optuna.Study, search: Search) -> None:
    """Says what is another from here on, and may be: how values are drawn, and when a run is given up."""
    before, now = study.user_attrs.get(_CHANGING), {"sampler": search.sampler, "pruner": search.pruner}
    if before == now:
        return
    for key, value in (before or {}).items():
        if now[key] != value:
            print(f"{key}: {now[key]} from here on, {value} before", flush=True)
    study.set_user_attr(_CHANGING, now)
