"""Checkpoints: saved atomically; loaded as tensors and plain types only, anything else raises RefusedError."""

from __future__ import annotations

import errno
import hashlib
import inspect
import os
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import Tensor

from mnist_lightning.config.components import NETWORK, TARGET, Component
from mnist_lightning.errors import ConfigError, RefusedError, UnreadableError, cut, one_line
from mnist_lightning.numerics.networks import GIVE_NET, Given
from mnist_lightning.records.durable import durable_file
from mnist_lightning.records.reading import TELLING, unreadable
from mnist_lightning.records.results import load
from mnist_lightning.records.run_directory import BEST, LAST, records_of
from mnist_lightning.training.lightning_modules import MNISTClassifier

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WAY_OUT = "give the path of a last.ckpt or best.ckpt"
_PLAIN = (int, float, str, bool, type(None))


class DurableCheckpoints(TorchCheckpointIO):
    """Saves Lightning's checkpoints atomically: Lightning's own writer is not atomic and hides failures."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | os.PathLike[str], *args: Any, **kw: Any) -> None:
        with durable_file(Path(path)) as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:
                # torch's zip writer complains about its own position where the disk is full, or Ctrl-C came
                cause = error.__context__
                if cause is None or (isinstance(cause, Exception) and not isinstance(cause, OSError)):
                    cause = error
                raise cause from None


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file as 64 hexadecimal digits; an empty string where there is no file."""
    if not path.is_file():
        return ""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_checkpoint(path: Path, *, finite: bool = True, net: Given | str | None = None) -> dict[str, Any]:
    """Loads a checkpoint's content: tensors and plain types, all weights of our network, finite if `finite`.

    Of a network of the user's the caller gives `net`: itself, its class or function, or its dotted name. Nothing in
    the file is executed or imported, and nothing is built from it before its shapes are checked. If the run's record
    is beside it, the file must have the record's checksum. Raises RefusedError for anything else, UnreadableError for
    a file that the system does not let us read now, ConfigError for a `net` that is no network.
    """
    try:
        expected = _recorded_sha256(path)
        if expected and sha256(path) not in expected:
            raise RefusedError(f"{path}: refused, damaged, its checksum is not the record's; train it again")
        _refuse_odd_files(path)
        content = _load(path)
        _check_weights(content, path, net)
    except (RefusedError, UnreadableError):
        raise
    except _OwnNetworkError as error:
        raise error.reason from error
    except FileNotFoundError as error:
        raise RefusedError(f"{path}: no such file; {_WAY_OUT}") from error
    except Exception as error:  # torch has no one type for a file that is no checkpoint
        if isinstance(error, OSError) and error.errno not in TELLING | {None, errno.EINVAL}:  # torch may seek anywhere
            raise unreadable(path, error) from error
        what = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RefusedError(
            f"{path}: refused, no plain-weights checkpoint of ours ({cut(what, 70)}); {_WAY_OUT}"
        ) from error
    if finite and not all(torch.isfinite(w).all() for w in content["state_dict"].values()):
        raise RefusedError(f"{path}: refused, its weights are not finite (the run diverged); choose another run")
    return content


def _load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch has no one type for it, and speaks of its own versions and options
        raise RefusedError(f"{path}: refused, not a checkpoint of plain weights, or damaged; {_WAY_OUT}") from error


def _refuse_odd_files(path: Path) -> None:
    if path.is_dir():
        raise RefusedError(f"{path}: a directory; {_WAY_OUT} in its checkpoints/")
    if path.exists() and not path.is_file():  # a pipe would be waited for, a device read for ever
        raise ValueError("not a file")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("compressed")  # torch compresses nothing, and would unpack gigabytes


def _recorded_sha256(path: Path) -> set[str]:
    """The checksums that the file may have; none where no record names it."""
    results = [load(record) for record in records_of(path.parent.parent)]
    named = [{LAST: r.checkpoint_sha256, BEST: r.best_checkpoint_sha256} for r in results]
    return {names.get(f"{path.parent.name}/{path.name}", "") for names in named} - {""}


class _OwnNetworkError(Exception):
    """Carries what is wrong with a network that the caller gave: a ConfigError otherwise is about the file."""

    def __init__(self, reason: ConfigError) -> None:
        self.reason = reason


def _check_weights(content: Any, path: Path, net: Given | str | None) -> None:
    """Raises ValueError or TypeError unless the weights have the names and shapes of the network described."""
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise ValueError("no state_dict")
    values = _hyper_parameters(content)
    if net is None and (network := values.get("network")) is not None:
        name = cut(one_line(str(network.get(TARGET))), 60)
        raise RefusedError(f"{path}: has the weights of {name}, and code is never taken from a file; {GIVE_NET}")
    # shapes only, unless they are of somebody's: a file may describe a network larger than the memory
    with nullcontext() if net is not None else torch.device("meta"):
        try:
            wanted = _classifier(values, net).state_dict()
        except ConfigError as error:
            raise (_OwnNetworkError(error) if net is not None else error) from error
    weights = content["state_dict"]
    if weights.keys() != wanted.keys():
        raise ValueError(f"its layers differ: {', '.join(sorted(map(str, weights.keys() ^ wanted.keys()))[:3])}")
    for name, tensor in weights.items():
        if not isinstance(tensor, Tensor) or tensor.shape != wanted[name].shape or not _alike(tensor, wanted[name]):
            shape = "x".join(map(str, wanted[name].shape))
            raise ValueError(f"expected {name} {shape}, found {getattr(tensor, 'shape', type(tensor).__name__)}")
        is_ours = tensor.dtype in _DTYPES or tensor.dtype == wanted[name].dtype
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or not is_ours:
            raise ValueError(f"{name} is {tensor.dtype}, {tensor.layout}, {tensor.device.type}")
        if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
            raise ValueError(f"{name} repeats its numbers")


def _alike(tensor: Tensor, wanted: Tensor) -> bool:
    return tensor.is_floating_point() if wanted.is_floating_point() else tensor.dtype == wanted.dtype


def _classifier(values: dict[str, Any], net: Given | str | None) -> MNISTClassifier:
    """The classifier that a checkpoint describes; with a network that the caller gives, if it is of one."""
    if net is None or "network" not in values:
        return MNISTClassifier(**values)
    given = Component(net).code("net", NETWORK) if isinstance(net, str) else net
    return MNISTClassifier(**values, net=given)


def _hyper_parameters(content: dict[str, Any]) -> dict[str, Any]:
    """Returns the classifier's arguments in a checkpoint; ValueError for an unknown name or type."""
    values = content.get("hyper_parameters")
    known = set(inspect.signature(MNISTClassifier.__init__).parameters) - {"self", "net"}
    if not isinstance(values, dict) or not set(values) <= known:
        raise ValueError("its hyper_parameters are not ours")
    for name, value in values.items():
        inner = value.values() if name == "optimizer_options" and isinstance(value, dict) else [value]
        is_code = name in ("network", "criterion", "schedule") and isinstance(value, dict) and _is_plain(value)
        if not is_code and not all(isinstance(v, (*_PLAIN, list, tuple)) for v in inner):
            raise ValueError(f"its {name} is a {type(value).__name__}")
    return values


def _is_plain(value: Any) -> bool:
    """Whether a value is of numbers, texts, lists and dictionaries by texts alone."""
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    return all(map(_is_plain, value)) if isinstance(value, list) else isinstance(value, _PLAIN)


def checkpoint_at(path: str | Path) -> Path:
    """The file that a path stands for: of a run's directory its best checkpoint, otherwise the path itself."""
    best = Path(path) / BEST
    return best if best.is_file() else Path(path)


def load_classifier(path: str | Path, net: Given | str | None = None) -> MNISTClassifier:
    """Loads the classifier of a checkpoint, on the CPU, ready to predict; of a run's directory its best one.

    Of a network of the user's the caller gives `net`, as for `read_checkpoint`. Raises RefusedError, or ConfigError for
    a `net` that is no network.
    """
    content = read_checkpoint(checkpoint_at(path), net=net)
    module = _classifier(_hyper_parameters(content), net)
    module.to(next(w.dtype for w in content["state_dict"].values() if w.is_floating_point()))
    module.load_state_dict(content["state_dict"])
    return module.eval()
