"""Trains many configurations in as few trainings as possible: the driver of a plan of groups, and one group."""

from __future__ import annotations

import gc
import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import lightning as L
import torch

from mnist_lightning.config import RunConfig, fresh_directory
from mnist_lightning.config.changes import required
from mnist_lightning.config.labels import labels
from mnist_lightning.data.datasets import Dataset, load_dataset
from mnist_lightning.errors import UserError, one_line
from mnist_lightning.fused.engine import FusedClassifier
from mnist_lightning.fused.groups import Group, plan_groups, shared_key
from mnist_lightning.fused.members import Member
from mnist_lightning.fused.memory import device_type, largest_group
from mnist_lightning.fused.optimizers import rule_key
from mnist_lightning.fused.writer import QueuedCheckpoints, Writer
from mnist_lightning.progress.watch import Watch, watched
from mnist_lightning.records import locks
from mnist_lightning.records.heartbeat import forget_heartbeat
from mnist_lightning.records.results import RunResult
from mnist_lightning.records.run_directory import GROUPS, finished_result, forget_retraining, home_of, place_of
from mnist_lightning.training.heartbeats import Heartbeats
from mnist_lightning.training.run import check, prepared, train_checked
from mnist_lightning.training.runtime import is_out_of_memory, leave_ignored, termination_passed_on
from mnist_lightning.training.trainer import plain_arguments


def train_many(
    configs: Iterable[RunConfig],
    directories: Iterable[str | os.PathLike[str]] | None = None,
    *,
    continue_interrupted: bool = False,
    retrain: bool = False,
) -> list[RunResult]:
    """Trains many configurations, those of one architecture as one stacked network; their records, in order.

    Each run's directory (default: its name in a fresh directory under `outputs/`) receives what `train` leaves
    there, except that checkpoints hold weights only. The metrics are those of the run trained alone, to rounding.
    What cannot be fused is trained alone. A run whose finished record is in its directory is not trained again; with
    `retrain` it is, beside it. With `continue_interrupted` a group that was cut off goes on after its last epoch.
    Raises ValueError for a repeated configuration or directory and for another number of directories, TypeError,
    ConfigError, DataError, RefusedError or OutputError before anything is trained, and OutputError.

    >>> data = {"name": "synthetic", "train_size": 320, "test_size": 100}
    >>> keys = {"model": {"num_channels": 2, "num_conv": 0}, "data": data, "trainer": {"max_epochs": 1}}
    >>> configs = [RunConfig(lr=lr, **keys) for lr in (0.1, 0.01)]
    >>> results = train_many(configs, ["outputs/fast", "outputs/slow"])
    >>> [(result.learning_rate, result.engine, result.group_size) for result in results]
    [(0.1, 'fused', 2), (0.01, 'fused', 2)]
    """
    configs = _checked_list(configs)
    paths = _paths(configs, directories)
    stored = [finished_result(path, config.fingerprint) for path, config in zip(paths, configs, strict=True)]
    chosen = [i for i, s in enumerate(stored) if s is None or retrain or configs[i].retrain]
    for i in chosen:
        check(configs[i])
    todo, places = [configs[i] for i in chosen], [paths[i] for i in chosen]
    with termination_passed_on(), _watched(todo, places) as watch:
        for group, results in train_groups(todo, places, continue_interrupted=continue_interrupted):
            for i, result in zip(group.indices, results, strict=True):
                done = result or train_checked(todo[i], places[i], continue_interrupted=continue_interrupted)
                stored[chosen[i]] = done
                watch.end(places[i], whole=done.status == "completed")
    return [result for result in stored if result is not None]


def _watched(configs: Sequence[RunConfig], paths: Sequence[Path]) -> Watch:
    names = labels({config.fingerprint: config.identity() for config in configs})
    runs = dict(zip(paths, configs, strict=True))
    told = {path: names[config.fingerprint] for path, config in runs.items()}
    return watched(runs, told, configs[0].progress if configs else "none", planned=len(configs))


def _checked_list(configs: Iterable[RunConfig]) -> list[RunConfig]:
    if isinstance(configs, (RunConfig, str)) or not isinstance(configs, Iterable):
        raise TypeError(f"configs: a {type(configs).__name__}, not a list of RunConfig; give [RunConfig(...), ...]")
    configs = list(configs)
    for config in configs:
        required(config)
    if len({config.fingerprint for config in configs}) < len(configs):
        raise ValueError("configs: the same configuration twice; give each once")
    return configs


def _paths(configs: Sequence[RunConfig], directories: Iterable[str | os.PathLike[str]] | None) -> list[Path]:
    """One directory for each configuration. Raises ValueError or TypeError for anything else."""
    if directories is None:
        root = Path(fresh_directory())
        return [root / config.run_name for config in configs]
    if isinstance(directories, (str, bytes, os.PathLike)) or not isinstance(directories, Iterable):
        raise ValueError(f"directories={str(directories)[:60]}: not a list; give one directory for each configuration")
    paths = [Path(directory) for directory in directories]
    if len(paths) != len(configs):
        raise ValueError(f"directories: {len(paths)} for {len(configs)} configurations; give one for each")
    seen = Counter(path.resolve() for path in paths)
    if twice := next((path for path in paths if seen[path.resolve()] > 1), None):
        raise ValueError(f"directories: {twice} twice; give each run its own")
    return paths


def train_groups(
    configs: Sequence[RunConfig],
    paths: Sequence[Path],
    *,
    continue_interrupted: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[tuple[Group, list[RunResult | None]]]:
    """Trains the groups of checked configurations; yields each group once its records are stored in `paths`, with them.

    A configuration that is to be trained alone is yielded untrained, its record None, and so is what is left of a
    group whose training has failed, which is printed. One whose finished record is in its directory is trained beside
    it. `say` is told what is about to be trained. Raises UserError.
    """
    interrupted = [members for root in dict.fromkeys(p.parent for p in paths) for _, members in _checkpoints(root)]
    groups = plan_groups(configs, largest_group, interrupted)
    if reasons := sorted({group.why_alone for group in groups if group.why_alone}):
        say(f"trained one by one, where {'; '.join(reasons)}")
    for group in groups:
        members = [Member(configs[i], paths[i]) for i in group.indices]
        if not group.why_alone:
            m = configs[group.indices[0]].model
            say(f"training {len(group.indices)} runs of {m.num_channels}/{m.num_conv}/{m.num_dense} together")
            try:
                for member in members:
                    member.path = place_of(member.path, member.config.fingerprint)
                _train_group(members, continue_interrupted)
            except UserError:
                raise
            except Exception as error:
                what = one_line(f"{type(error).__name__}: {error}")
                print(f"not trained together ({what}); going on one by one", flush=True)
                gc.collect()
        yield group, [member.result for member in members]


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
    config, root = members[0].config, home_of(members[0].path).parent
    dataset = load_dataset(config.data)
    fingerprints = {m.config.fingerprint for m in members}
    stored = None
    if continue_interrupted:
        stored = next((path for path, inside in _checkpoints(root) if fingerprints <= inside), None)
    digest = hashlib.sha256("\n".join([shared_key(config), *sorted(fingerprints)]).encode()).hexdigest()
    checkpoint = stored or root / GROUPS / f"{digest[:16]}.ckpt"
    if stored is None:
        for member in members:
            forget_retraining(member.path)
    at_work = locks.together(checkpoint.with_suffix(".lock"), [home_of(m.path) for m in members])
    try:
        with prepared([(m.config, m.path) for m in members]), at_work:
            _fit(members, dataset, checkpoint, resume=stored is not None)
    finally:
        forget_heartbeat(home_of(members[0].path))
    checkpoint.unlink(missing_ok=True)
    with suppress(OSError):  # other groups' checkpoints
        checkpoint.parent.rmdir()


def _fit(members: Sequence[Member], dataset: Dataset, checkpoint: Path, *, resume: bool) -> None:
    with ExitStack() as opened:
        for member in members:
            opened.enter_context(member.open_loggers())
        # members of one rule stand side by side
        config = members[0].config
        writer = opened.enter_context(Writer(background=device_type(config) != "cpu"))
        module = FusedClassifier(sorted(members, key=lambda m: rule_key(m.config)), dataset, writer)
        module.checkpoint = checkpoint if members[0].keeps_checkpoints else None
        beats = Heartbeats(members[0].path, [m.config.run_name for m in members])
        arguments = _arguments(config, checkpoint.parents[1], writer)
        trainer = leave_ignored(L.Trainer(**arguments, callbacks=[beats]))
        try:
            trainer.fit(module, ckpt_path=checkpoint if resume else None, weights_only=True)
            return
        except Exception as error:
            if not resume or module.began or is_out_of_memory(error):
                raise
            print(one_line(f"{checkpoint}: cannot be gone on from, the group starts anew ({error})"), flush=True)
    for member in members:
        member.best_loss, member.best_epoch = math.inf, None
    _fit(members, dataset, checkpoint, resume=False)


def _arguments(config: RunConfig, root: Path, writer: Writer) -> dict[str, Any]:
    own: dict[str, Any] = {"enable_checkpointing": False, "logger": False, "limit_val_batches": 0}
    own["plugins"] = [QueuedCheckpoints(writer)]
    if device_type(config) == "cuda":
        own["benchmark"] = True  # every batch but the last has the same shape: let cuDNN choose once
    return plain_arguments(config, root) | own


def _checkpoints(root: Path) -> list[tuple[Path, set[str]]]:
    """The readable checkpoints of interrupted groups in a sweep's directory, and their members' fingerprints."""
    checkpoints: list[tuple[Path, set[str]]] = []
    for path in sorted((root / GROUPS).glob("*.ckpt")):
        with suppress(Exception):  # torch has no one type for a file that is no checkpoint
            checkpoints.append(
                (path, set(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["members"]))
            )
    return checkpoints
