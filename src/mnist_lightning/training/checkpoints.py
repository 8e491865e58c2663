"""Checkpoints: written whole or not at all, and read as plain weights of ours or refused."""

from __future__ import annotations

import hashlib
import inspect
import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import Tensor

from mnist_lightning.errors import RefusedError
from mnist_lightning.records.durable import durable_file
from mnist_lightning.records.results import RECORD, load
from mnist_lightning.training.lightning_modules import MNISTClassifier

LAST, BEST = "checkpoints/last.ckpt", "checkpoints/best.ckpt"
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_PLAIN = (int, float, str, bool, type(None))


class DurableCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoint files by `durable_file`: Lightning's own writer is not atomic and hides failures."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | os.PathLike[str], *args: Any, **kw: Any) -> None:
        with durable_file(Path(path)) as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # torch's zip writer complains about its own position when the disk is full
                cause = error.__context__
                raise (cause if isinstance(cause, OSError) else error) from None


def sha256(path: Path) -> str:
    """The SHA-256 of a file as 64 hexadecimal digits, an empty string where there is no file."""
    if not path.is_file():
        return ""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_checkpoint(path: Path, *, finite: bool = True) -> dict[str, Any]:
    """A checkpoint's content: plain types and tensors, its network ours and whole, its weights finite unless told.

    Nothing in the file is executed or imported, and nothing is built from it before its shapes are judged. Where
    the run's record lies beside it, the file must be the one the record names. Raises RefusedError.
    """
    try:
        expected = _recorded_sha256(path)
        if expected and sha256(path) != expected:
            raise ValueError("damaged, its checksum is not the record's")
        _refuse_odd_files(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        _judge(content)
    except RefusedError:
        raise
    except FileNotFoundError as error:
        raise RefusedError(f"{path}: no such file; give the path of a last.ckpt or best.ckpt") from error
    except Exception as error:  # torch has no one type for a file that is no checkpoint
        what = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RefusedError(
            f"{path}: refused, no plain-weights checkpoint of ours ({what:.70}); train it again"
        ) from error
    if finite and not all(torch.isfinite(w).all() for w in content["state_dict"].values()):
        raise RefusedError(f"{path}: refused, its weights are not finite (the run diverged); choose another run")
    return content


def _refuse_odd_files(path: Path) -> None:
    if path.exists() and not path.is_file():  # a pipe would be waited for, a device read for ever
        raise ValueError("not a file")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("compressed")  # torch compresses nothing, and would unpack gigabytes


def _recorded_sha256(path: Path) -> str:
    record = path.parent.parent / RECORD
    if not record.is_file():
        return ""
    result = load(record)
    named = {LAST: result.checkpoint_sha256, BEST: result.best_checkpoint_sha256}
    return named.get(f"{path.parent.name}/{path.name}", "")


def _judge(content: Any) -> None:
    """Raises ValueError or TypeError unless the weights are exactly those of the network that is described."""
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise ValueError("no state_dict")
    with torch.device("meta"):  # shapes only: a file may describe a network larger than the memory
        wanted = MNISTClassifier(**_hyper_parameters(content)).state_dict()
    found = content["state_dict"]
    if found.keys() != wanted.keys():
        raise ValueError(f"its layers differ: {', '.join(sorted(map(str, found.keys() ^ wanted.keys()))[:3])}")
    for name, tensor in found.items():
        if not isinstance(tensor, Tensor) or tensor.shape != wanted[name].shape or not tensor.is_floating_point():
            shape = "x".join(map(str, wanted[name].shape))
            raise ValueError(f"expected {name} {shape}, found {getattr(tensor, 'shape', type(tensor).__name__)}")
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.dtype not in _DTYPES:
            raise ValueError(f"{name} is {tensor.dtype}, {tensor.layout}, {tensor.device.type}")
        if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
            raise ValueError(f"{name} repeats its numbers")


def _hyper_parameters(content: dict[str, Any]) -> dict[str, Any]:
    """The classifier's arguments in a checkpoint; ValueError for a name or a type that is not one of them."""
    values = content.get("hyper_parameters")
    known = set(inspect.signature(MNISTClassifier.__init__).parameters) - {"self"}
    if not isinstance(values, dict) or not set(values) <= known:
        raise ValueError("its hyper_parameters are not ours")
    for name, value in values.items():
        inner = value.values() if name == "optimizer_options" and isinstance(value, dict) else [value]
        if not all(isinstance(v, (*_PLAIN, list, tuple)) for v in inner):
            raise ValueError(f"its {name} is a {type(value).__name__}")
    return values


def load_classifier(path: str | Path) -> MNISTClassifier:
    """The classifier of a checkpoint, on the CPU, ready to predict. Raises RefusedError."""
    content = read_checkpoint(Path(path))
    module = MNISTClassifier(**_hyper_parameters(content))
    module.to(next(iter(content["state_dict"].values())).dtype)
    module.load_state_dict(content["state_dict"])
    return module.eval()
