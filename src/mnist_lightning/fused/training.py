"""Trains many configurations in as few trainings as possible: the driver of a plan of groups, and one group."""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L
import torch

from mnist_lightning.config import RunConfig, fresh_directory
from mnist_lightning.data.datasets import Dataset, load_dataset
from mnist_lightning.errors import UserError, one_line
from mnist_lightning.fused.engine import FusedClassifier
from mnist_lightning.fused.groups import Group, plan_groups, shared_key
from mnist_lightning.fused.members import Member
from mnist_lightning.fused.memory import device_type, largest_group
from mnist_lightning.fused.optimizers import rule_key
from mnist_lightning.records import locks
from mnist_lightning.records.results import RECORD, RunResult, load
from mnist_lightning.training.checkpoints import DurableCheckpoints
from mnist_lightning.training.run import check, prepared, train_checked
from mnist_lightning.training.runtime import is_out_of_memory
from mnist_lightning.training.trainer import plain_arguments

CHECKPOINTS = ".fused"


def train_many(
    configs: Sequence[RunConfig],
    directories: Sequence[str | os.PathLike[str]] | None = None,
    *,
    continue_interrupted: bool = False,
) -> list[RunResult]:
    """Trains many configurations, those of one architecture as one stacked network; their records, in order.

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
    for group in train_groups(configs, paths, continue_interrupted=continue_interrupted):
        for i in group.indices:
            if group.why_alone or not (paths[i] / RECORD).is_file():
                train_checked(configs[i], paths[i], continue_interrupted=continue_interrupted)
    return [load(path / RECORD) for path in paths]


def train_groups(
    configs: Sequence[RunConfig],
    paths: Sequence[Path],
    *,
    continue_interrupted: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Group]:
    """Trains the groups of checked configurations; yields each group once its records are stored in `paths`.

    A configuration that is to be trained alone is yielded untrained, and so is what is left of a group whose
    training has failed, which is printed. `say` is told what is about to be trained. Raises UserError.
    """
    interrupted = [members for root in dict.fromkeys(p.parent for p in paths) for _, members in _checkpoints(root)]
    groups = plan_groups(configs, largest_group, interrupted)
    if reasons := sorted({group.why_alone for group in groups if group.why_alone}):
        say(f"trained one by one, where {'; '.join(reasons)}")
    for group in groups:
        if not group.why_alone:
            m = configs[group.indices[0]].model
            say(f"training {len(group.indices)} runs of {m.num_channels}/{m.num_conv}/{m.num_dense} together")
            try:
                _train_group([Member(configs[i], paths[i]) for i in group.indices], continue_interrupted)
            except UserError:
                raise
            except Exception as error:
                what = one_line(f"{type(error).__name__}: {error}")
                print(f"not trained together ({what}); going on one by one", flush=True)
                gc.collect()
        yield group


def _train_group(members: Sequence[Member], continue_interrupted: bool) -> None:
    """Trains members of one group; when they do not fit into memory, the unfinished ones by halves."""
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
        _train_group(half, continue_interrupted)


def _train(members: Sequence[Member], continue_interrupted: bool) -> None:
    config, root = members[0].config, members[0].path.parent
    dataset = load_dataset(config.data)
    fingerprints = {m.config.fingerprint for m in members}
    stored = None
    if continue_interrupted:
        stored = next((path for path, inside in _checkpoints(root) if fingerprints <= inside), None)
    digest = hashlib.sha256("\n".join([shared_key(config), *sorted(fingerprints)]).encode()).hexdigest()
    checkpoint = stored or root / CHECKPOINTS / f"{digest[:16]}.ckpt"
    at_work = locks.together(checkpoint.with_suffix(".lock"), [m.path for m in members])
    with prepared([(m.config, m.path) for m in members]), at_work:
        _fit(members, dataset, checkpoint, resume=stored is not None)
    checkpoint.unlink(missing_ok=True)
    with suppress(OSError):  # other groups' checkpoints
        checkpoint.parent.rmdir()


def _fit(members: Sequence[Member], dataset: Dataset, checkpoint: Path, *, resume: bool) -> None:
    for member in members:
        member.open_loggers()
    # members of one rule stand side by side
    module = FusedClassifier(sorted(members, key=lambda m: rule_key(m.config)), dataset)
    module.checkpoint = checkpoint if members[0].keeps_checkpoints else None
    trainer = L.Trainer(**_arguments(members[0].config, checkpoint.parents[1]))
    trainer.fit(module, ckpt_path=checkpoint if resume else None, weights_only=True)


def _arguments(config: RunConfig, root: Path) -> dict[str, Any]:
    own = {"enable_checkpointing": False, "logger": False, "limit_val_batches": 0, "plugins": [DurableCheckpoints()]}
    if device_type(config) == "cuda":
        own["benchmark"] = True  # every batch but the last has the same shape: let cuDNN choose once
    return plain_arguments(config, root) | own


def _checkpoints(root: Path) -> list[tuple[Path, set[str]]]:
    """The readable checkpoints of interrupted groups in a sweep's directory, and their members' fingerprints."""
    checkpoints: list[tuple[Path, set[str]]] = []
    for path in sorted((root / CHECKPOINTS).glob("*.ckpt")):
        with suppress(Exception):  # torch has no one type for a file that is no checkpoint
            checkpoints.append(
                (path, set(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["members"]))
            )
    return checkpoints
