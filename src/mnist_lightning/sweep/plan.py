"""The plan of a sweep: what is to be run, committed before the first run and compared with what is on disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mnist_lightning.config import RunConfig
from mnist_lightning.errors import ConfigError, DataError, OutputError
from mnist_lightning.records.durable import write_durably
from mnist_lightning.records.plan import PLAN, read_plan

_BYTES, _COPIES = 4, 4  # float32; last.ckpt with up to two moments of the optimizer, and best.ckpt


def commit_plan(root: Path, configs: Sequence[RunConfig], data: dict[str, str], versions: dict[str, str]) -> None:
    """Write the plan, or compare it with the one that is there.

    `data` has the SHA-256 of each data set by name. Raises ConfigError naming the keys in which the plans differ,
    DataError when the data are not those of the runs before.
    """
    runs = {config.fingerprint: {"run_name": config.run_name, "config": config.identity()} for config in configs}
    text = json.dumps({"runs": runs, "data": data, "versions": versions}, indent=1, default=str) + "\n"
    stored = read_plan(root)
    if not stored:
        write_durably(root / PLAN, text.encode())
        return
    if stored["runs"].keys() != runs.keys():
        differences = _differences(stored["runs"].values(), json.loads(text)["runs"].values())
        raise ConfigError(f"hydra.sweep.dir={root}: holds another sweep ({differences}); choose another directory")
    for name, digest in data.items():
        if stored.get("data", {}).get(name, digest) != digest:
            raise DataError(
                f"data={name}: not the data this sweep began with; restore them, or choose another hydra.sweep.dir"
            )


def _differences(old: Iterable[dict[str, Any]], new: Iterable[dict[str, Any]]) -> str:
    """`seed 0 -> 1 2, trainer.max_epochs 4 -> 1`: the keys whose values differ between two plans."""
    before, after = _values(old), _values(new)
    changed = [k for k in sorted(before.keys() | after.keys()) if before.get(k) != after.get(k)]
    return ", ".join(
        f"{k} {' '.join(sorted(before.get(k, [])))} -> {' '.join(sorted(after.get(k, [])))}" for k in changed
    )


def _values(plan: Iterable[dict[str, Any]]) -> dict[str, set[str]]:
    """Every dotted key with all its values in the plan."""
    values: dict[str, set[str]] = {}

    def walk(prefix: str, node: Any) -> None:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                walk(f"{prefix}.{key}" if prefix else key, value)
        else:
            values.setdefault(prefix, set()).add(json.dumps(node).strip('"'))

    for run in plan:
        walk("", run["config"])
    return values


def check_space(root: Path, configs: Iterable[RunConfig]) -> None:
    """Raises OutputError when the checkpoints of the runs will not fit on the disk."""
    from mnist_lightning.numerics.model import parameters_of  # torch is not for --help and --cfg

    sizes = [(c.model.num_channels, c.model.num_conv, c.model.num_dense) for c in configs]
    needed = sum(parameters_of(*size) for size in sizes) * _BYTES * _COPIES
    free = shutil.disk_usage(root).free
    if needed > free:
        way_out = "free the disk, choose another directory, or set trainer.enable_checkpointing=false"
        raise OutputError(
            f"{root}: needs about {needed / 1e6:,.1f} MB for checkpoints, {free / 1e6:,.1f} MB free; {way_out}"
        )
