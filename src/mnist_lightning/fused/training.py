"""Many configurations in as few trainings as possible: `train_many`, and the training of one group."""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
import torch
from omegaconf import OmegaConf

from mnist_lightning.config import RunConfig, fresh_directory
from mnist_lightning.data.datasets import load_dataset
from mnist_lightning.fused.engine import FusedClassifier
from mnist_lightning.fused.groups import plan_groups, reason_to_train_alone, shared_key
from mnist_lightning.fused.members import Member
from mnist_lightning.fused.memory import device_type, largest_group
from mnist_lightning.fused.optimizers import rule_key
from mnist_lightning.records.durable import write_durably
from mnist_lightning.records.results import RECORD, RunResult
from mnist_lightning.training.checkpoints import DurableCheckpoints
from mnist_lightning.training.run import check, refuse_another_runs_directory, train
from mnist_lightning.training.trainer import (
    flushed_denormals,
    is_out_of_memory,
    keep_memory,
    plain_arguments,
    quiet_lightning,
)

CHECKPOINTS = ".fused"


def train_many(
    configs: Sequence[RunConfig],
    directories: Sequence[str | os.PathLike[str]] | None = None,
    *,
    continue_interrupted: bool = False,
) -> list[RunResult]:
    """Train many configurations, those of one architecture as one stacked network; their records, in order.

    Each run's directory (default: its name in a fresh directory under `outputs/`) receives what `train` leaves
    there, except that checkpoints hold weights only. The metrics are those of the run trained alone, to rounding.
    What cannot be fused is trained alone. With `continue_interrupted` a group that was cut off goes on after its
    last stored epoch.
    Raises ValueError for a repeated configuration, ConfigError, DataError or RefusedError before anything is
    trained, and OutputError.
    """
    if len({config.fingerprint for config in configs}) < len(configs):
        raise ValueError("configs: the same configuration twice; give each once")
    root = Path(fresh_directory())
    paths = [Path(d) for d in directories] if directories is not None else [root / c.run_name for c in configs]
    for config in configs:
        check(config)
    results: dict[int, RunResult] = {}
    for group in plan(configs, paths):
        if len(group) == 1 and reason_to_train_alone(configs[group[0]]):
            index = group[0]
            results[index] = train(configs[index], paths[index], continue_interrupted=continue_interrupted)
            continue
        members = [Member(configs[i], paths[i]) for i in group]
        train_group(members, continue_interrupted=continue_interrupted)
        results |= {i: m.result for i, m in zip(group, members, strict=True) if m.result is not None}
    return [results[i] for i in range(len(configs))]


def plan(configs: Sequence[RunConfig], paths: Sequence[Path]) -> list[list[int]]:
    """Indices of the groups: first those that were cut off and have a checkpoint, then the rest as it fits."""
    left = list(range(len(configs)))
    groups: list[list[int]] = []
    for root in dict.fromkeys(path.parent for path in paths):
        for stored in sorted((root / CHECKPOINTS).glob("*.ckpt")):
            fingerprints = _members(stored)
            begun = [i for i in left if paths[i].parent == root and configs[i].fingerprint in fingerprints]
            if begun:
                groups.append(begun)
                left = [i for i in left if i not in begun]
    rest = plan_groups([configs[i] for i in left], largest_group)
    return groups + [[left[i] for i in group] for group in rest]


def train_group(members: Sequence[Member], *, continue_interrupted: bool = False) -> None:
    """Train members of one group; each gets its `result`. What does not fit into memory is halved and goes on."""
    try:
        _train(members, continue_interrupted)
    except (RuntimeError, MemoryError) as error:
        left = [m for m in members if m.result is None]
        if len(left) < 2 or not is_out_of_memory(error):
            raise
        error.__traceback__ = None  # its frames hold the tensors
        print(f"{len(left)} runs do not fit into memory together: going on with half of them at a time")
    else:
        return
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    for half in (left[: len(left) // 2], left[len(left) // 2 :]):
        train_group(half, continue_interrupted=continue_interrupted)


def _train(members: Sequence[Member], continue_interrupted: bool) -> None:
    first = members[0]
    root = first.path.parent
    dataset = load_dataset(first.config.data)
    for member in members:
        refuse_another_runs_directory(member.config, member.path)
        (member.path / RECORD).unlink(missing_ok=True)
        write_durably(member.path / "config.yaml", OmegaConf.to_yaml(asdict(member.config)).encode())
        member.open_loggers()
    fingerprints = [m.config.fingerprint for m in members]
    stored = _stored_checkpoint(root, fingerprints) if continue_interrupted else None
    checkpoint = stored or root / CHECKPOINTS / f"{_digest(shared_key(first.config), *sorted(fingerprints))}.ckpt"
    # members of one rule stand side by side
    module = FusedClassifier(sorted(members, key=lambda m: rule_key(m.config)), dataset)
    module.checkpoint = checkpoint if first.keeps_checkpoints else None
    keep_memory()
    with quiet_lightning(), flushed_denormals():
        trainer = L.Trainer(**_arguments(first.config, root))
        trainer.fit(module, ckpt_path=stored, weights_only=True)
    del trainer, module
    gc.collect()  # they hold each other
    checkpoint.unlink(missing_ok=True)
    with suppress(OSError):  # other groups' checkpoints
        checkpoint.parent.rmdir()


def _arguments(config: RunConfig, root: Path) -> dict[str, Any]:
    own = {"enable_checkpointing": False, "logger": False, "limit_val_batches": 0, "plugins": [DurableCheckpoints()]}
    if device_type(config) == "cuda":
        own["benchmark"] = True  # every batch but the last has the same shape: let cuDNN choose once
    return plain_arguments(config, root) | own


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _stored_checkpoint(root: Path, fingerprints: Sequence[str]) -> Path | None:
    """The checkpoint in which all of these runs are members."""
    stored = sorted((root / CHECKPOINTS).glob("*.ckpt"))
    return next((path for path in stored if set(fingerprints) <= _members(path)), None)


def _members(path: Path) -> set[str]:
    """Fingerprints of the members in a group's checkpoint; none in a file that cannot be read."""
    try:
        return set(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["members"])
    except Exception:  # torch has no one type for a file that is no checkpoint
        return set()
