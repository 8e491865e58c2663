"""The plan of a sweep: what is to be run, committed before the first run and compared with what is on disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mnist_lightning.config import DataConfig, RunConfig, fingerprint_of
from mnist_lightning.config.labels import given_key
from mnist_lightning.data.files import look
from mnist_lightning.errors import ConfigError, DataError, OutputError, RefusedError, UserError, one_line
from mnist_lightning.records.durable import write_durably
from mnist_lightning.records.plan import PLAN, read_plan
from mnist_lightning.records.results import FINAL, RECORD, RunResult, load
from mnist_lightning.records.search import SEARCH

_VERSIONS = {"version": "mnist-lightning", "python_version": "Python", "torch_version": "torch"} | {
    f"{name}_version": name for name in ("torchvision", "lightning")
}
_BYTES, _COPIES = 4, 4  # float32; last.ckpt with up to two moments of the optimizer, and best.ckpt


def commit_plan(root: Path, configs: Sequence[RunConfig], data: dict[str, str], versions: dict[str, str]) -> list[str]:
    """Writes the plan, or compares it with the one that is there; returns sentences of what the user should know.

    `data` has the SHA-256 of each data set by name. Raises ConfigError naming the keys in which the plans differ, or
    for the records of another grid without its plan, RefusedError for a plan that was edited, DataError when the data
    are not those of the runs before.
    """
    runs = _runs(configs)
    text = json.dumps({"runs": runs, "data": data, "versions": versions}, indent=1, default=str) + "\n"
    stored = refuse_other_plan(root, configs)
    if not stored:
        found = _records_without_plan(root, runs.keys())
        write_durably(root / PLAN, text.encode())
        return [f"{PLAN} was gone: written again, {found} of {len(runs)} runs have a record"] if found else []
    for name, digest in data.items():
        if stored.get("data", {}).get(name, digest) != digest:
            raise DataError(
                f"data={name}: not the data this sweep began with; restore them, or choose another hydra.sweep.dir"
            )
    return other_versions(PLAN, stored.get("versions"), versions)


def _runs(configs: Iterable[RunConfig]) -> dict[str, Any]:
    return {config.fingerprint: {"run_name": config.run_name, "config": config.identity()} for config in configs}


def refuse_other_plan(root: Path, configs: Iterable[RunConfig]) -> dict[str, Any]:
    """The plan that lies in a directory, empty where there is none. Raises ConfigError for that of another grid.

    And RefusedError for one that was edited. A look, without torch.
    """
    if not (stored := read_plan(root)):
        if (root / SEARCH).is_file():
            raise ConfigError(f"hydra.sweep.dir={root}: holds a search ({SEARCH}); choose another directory")
        return {}
    wanted = json.loads(json.dumps(_runs(configs), default=str))
    _refuse_edited(root / PLAN, stored["runs"], wanted)
    if stored["runs"].keys() != wanted.keys():
        differences = _differences(stored["runs"].values(), wanted.values())
        raise ConfigError(f"hydra.sweep.dir={root}: holds another sweep ({differences}); choose another directory")
    return stored


def _records_without_plan(root: Path, planned: Iterable[str]) -> int:
    """How many planned runs have a record where there is no plan. Raises ConfigError for those of another grid."""
    stored = (_readable(path) for path in sorted(root.glob(f"*/{RECORD}")))
    found = {record.fingerprint for record in stored if record is not None}
    if others := len(found - set(planned)):
        what = f"{others:,} record{'s' * (others > 1)} of another grid, and no {PLAN}"
        raise ConfigError(f"hydra.sweep.dir={root}: holds {what}; choose another directory")
    return len(found)


def _readable(path: Path) -> RunResult | None:
    """A sweep's record, in the directory of its name; None for what is none, or lies elsewhere, as a single run may."""
    with suppress(UserError):
        if (record := load(path)).run_name == path.parent.name:
            return record
    return None


def _refuse_edited(path: Path, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raises RefusedError for a run in the stored plan that is not what its fingerprint says."""
    for fingerprint, run in stored.items():
        if fingerprint in wanted:
            is_whole = json.dumps(run, sort_keys=True) == json.dumps(wanted[fingerprint], sort_keys=True)
        else:
            is_whole = fingerprint_of(run["config"]) == fingerprint
        if not is_whole:
            what = f"was edited, its run {fingerprint[:16]} is not what this fingerprint stands for"
            raise RefusedError(f"{path}: {what}; restore it, or delete it and run again")


def other_versions(name: str, before: Any, now: dict[str, str]) -> list[str]:
    """The sentence that says which versions a sweep, as its file `name` has it, was begun with, if others are here."""
    before = before if isinstance(before, dict) else {}
    changed = [(name, str(before[name]), now[name]) for name in now if before.get(name) and now[name]]
    told = [f"{_VERSIONS.get(name, name)} {old}, now {new}" for name, old, new in changed if old != new]
    return [one_line(f"{name}: begun with {'; '.join(told)}: what is stored stays as it is")] if told else []


def _differences(old: Iterable[dict[str, Any]], new: Iterable[dict[str, Any]]) -> str:
    """`seed 0 -> 1 2, trainer.max_epochs 4 -> 1`: the keys whose values differ between two plans."""
    before, after = _values(old), _values(new)
    changed = [k for k in sorted(before.keys() | after.keys()) if before.get(k) != after.get(k)]
    told = [(k, *(" ".join(sorted(values.get(k, ["unset"]))) for values in (before, after))) for k in changed]
    return ", ".join(f"{k} {old} -> {new}" for k, old, new in told)


def _values(plan: Iterable[dict[str, Any]]) -> dict[str, set[str]]:
    """Every dotted key, as it is given, with all its values in the plan."""
    values: dict[str, set[str]] = {}

    def walk(prefix: str, node: Any, optimizer: str) -> None:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                walk(f"{prefix}.{key}" if prefix else key, value, optimizer)
        else:
            values.setdefault(given_key(prefix, optimizer), set()).add(json.dumps(node).strip('"'))

    for run in plan:
        walk("", run["config"], run["config"]["optimizer"]["name"])
    return values


def check_space(root: Path, configs: Iterable[RunConfig]) -> None:
    """Raises OutputError when the checkpoints of the runs will not fit on the disk."""
    configs = list(configs)
    if not configs:
        return
    from mnist_lightning.data.datasets import shape_of  # torch is not for a sweep that has nothing to do
    from mnist_lightning.numerics.networks import parameters_in

    needed = sum(parameters_in(config.model, shape_of(config.data)) for config in configs) * _BYTES * _COPIES
    free = shutil.disk_usage(root).free
    if needed > free:
        way_out = "free the disk, choose another directory, or set trainer.enable_checkpointing=false"
        raise OutputError(
            f"{root}: needs about {needed / 1e6:,.1f} MB for checkpoints, {free / 1e6:,.1f} MB free; {way_out}"
        )


def checked_data(root: Path, configs: Sequence[RunConfig]) -> dict[str, str]:
    """Checks all that can be wrong with the configurations of a sweep in `root`; the digests of their data by name.

    Where every run is recorded nothing will be trained: then only the data are looked at, without torch. Raises
    ConfigError, DataError or RefusedError.
    """
    if all_recorded(root, configs):
        return _digests({config.data.label: config.data for config in configs})
    from mnist_lightning.data.datasets import forget_data
    from mnist_lightning.training.run import check

    forget_data()
    return {config.data.label: check(config).sha256 for config in configs}


def _digests(data: dict[str, DataConfig]) -> dict[str, str]:
    """The digests of these data, by name, as they are now; those of the user's are read again, which needs torch."""
    digests = {name: look(config) for name, config in data.items() if config.component is None}
    if own := {name: config for name, config in data.items() if config.component is not None}:
        from mnist_lightning.data.datasets import forget_data, load_dataset

        forget_data()
        digests |= {name: load_dataset(config).sha256 for name, config in own.items()}
    return {name: digest for name, digest in digests.items() if digest}


def all_recorded(root: Path, configs: Iterable[RunConfig]) -> bool:
    """Whether a plan and the final record of every run lie in a sweep's directory. A look, which changes nothing."""
    try:
        records = (load(root / config.run_name / RECORD) for config in configs)
        wanted = (config.fingerprint for config in configs)
        return (root / PLAN).is_file() and all(
            record.fingerprint == fingerprint and record.status in FINAL
            for record, fingerprint in zip(records, wanted, strict=True)
        )
    except UserError:  # missing, damaged, or not to be read
        return False


def once_each(batches: Sequence[Sequence[RunConfig]], wanted: set[str]) -> list[list[bool]]:
    """True where a wanted configuration stands for the first time, by fingerprint, in the shape of `batches`."""
    left = set(wanted)

    def take(fingerprint: str) -> bool:
        taken = fingerprint in left
        left.discard(fingerprint)
        return taken

    return [[take(config.fingerprint) for config in batch] for batch in batches]
