"""What an interrupted run has left, and whether another one can go on from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from torch import nn

from mnist_lightning.config import MNIST, RunConfig, Shape, parse
from mnist_lightning.config.components import NETWORK
from mnist_lightning.config.labels import difference
from mnist_lightning.errors import ConfigError, Problem, RefusedError, UnreadableError, UserError, cut
from mnist_lightning.numerics.networks import KEY
from mnist_lightning.records.reading import TELLING, read_regular, unreadable
from mnist_lightning.records.run_directory import CONFIG, LAST, home_of, is_there, records_of
from mnist_lightning.training.checkpoints import read_checkpoint
from mnist_lightning.training.lightning_modules import MNISTClassifier

_LARGEST_CONFIG = 2**18  # bytes; ours has three thousand


def check_continuation(config: RunConfig, checkpoint: dict[str, Any], shape: Shape = MNIST) -> None:
    """Raises ConfigError unless the checkpoint is of this configuration, unfinished, with its optimizer's state.

    Its state, the learning rate among it, would silently override the configuration.
    """
    wanted = dict(MNISTClassifier.from_config(config, shape).hparams)
    stored = MNIST.arguments() | checkpoint["hyper_parameters"]  # which older versions did not store
    differing = [k for k in {**wanted, **stored} if k != "seed" and stored.get(k) != wanted.get(k)]
    if differing:
        told = ", ".join(f"{k} {stored.get(k)}" for k in differing)
        raise ConfigError([Problem("ckpt_path", config.ckpt_path, f"was trained with {told}", "configure the same")])
    if not checkpoint.get("optimizer_states"):
        raise ConfigError([Problem("ckpt_path", config.ckpt_path, "holds weights only", "give the run's last.ckpt")])
    if checkpoint.get("epoch", 0) + 1 >= config.trainer.max_epochs:
        done = checkpoint.get("epoch", 0) + 1
        raise ConfigError(
            [Problem("ckpt_path", config.ckpt_path, f"has its {done} epochs", "raise trainer.max_epochs")]
        )


def interrupted_checkpoint(config: RunConfig, place: Path) -> Path | None:
    """The last.ckpt in a directory if a run of this very configuration can go on from it; otherwise None, and why.

    Raises UnreadableError for what may be whole and cannot be read now: a new run would replace it.
    """
    last = place / LAST
    if not is_there(last):
        return None
    try:
        before = stored_config(place / CONFIG)
        read_checkpoint(last, finite=False, net=own_network(config))  # cut off while it diverged, it goes on to say so
    except UnreadableError:
        raise
    except UserError as error:
        print(f"{str(error).rpartition(';')[0]}; the run starts anew", flush=True)
        return None
    if before.fingerprint != config.fingerprint:
        other = difference(before.identity(), config.identity())
        print(f"{place}: what was begun here is of another configuration, {other}; the run starts anew")
        return None
    return last


def own_network(config: RunConfig) -> Callable[..., nn.Module] | None:
    """What makes the network of the user's that the configuration names, to read a checkpoint with; None for ours."""
    own = config.model.component
    return own.code(KEY, NETWORK) if own else None


def was_begun(place: Path) -> bool:
    """Whether a run of ours was begun in a place, or recorded there. Raises UnreadableError where nobody can tell."""
    if records_of(home_of(place)):
        return True
    try:
        stored_config(place / CONFIG)
    except RefusedError:
        return False
    return True


def stored_config(path: Path) -> RunConfig:
    """The configuration in a run's config.yaml. Raises RefusedError for a file that is damaged or not ours."""
    try:
        text = read_regular(path, _LARGEST_CONFIG).decode()
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise ValueError("has aliases, which ours has not")  # a few lines of them stand for gigabytes
        if "${" in text:  # and so do these
            raise ValueError("has interpolations, which ours has not")
        return parse(OmegaConf.create(text))  # pyright: ignore[reportArgumentType] - a list would be refused by parse
    except OSError as error:
        if error.errno not in TELLING:
            raise unreadable(path, error) from error
        raise RefusedError(f"{path}: {error.strerror}; train the run again") from error
    except Exception as error:  # YAML, OmegaConf and our own checks: they have no one type for a file that is damaged
        what = cut(str(error).partition(";")[0], 70) or type(error).__name__
        raise RefusedError(f"{path}: no configuration of ours ({what}); train the run again") from error
