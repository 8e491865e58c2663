"""The files of MNIST and its relatives: fetched where they are missing, checked, and read."""

from __future__ import annotations

import hashlib
import math
import socket
import struct
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mnist_lightning.config import IMAGE_SIZE, NUM_CLASSES
from mnist_lightning.errors import DataError
from mnist_lightning.records.locks import waiting
from mnist_lightning.records.reading import read_regular

DOWNLOAD_TIMEOUT_SECONDS = 30
_UINT8, _INT32 = 0x08, 0x0C  # types of numbers in an IDX file
_LARGEST_FILE = 2**30


class _Files(NamedTuple):
    """The files of a data set where torchvision keeps them: `<root>/<torchvision_class>/raw/<name>`."""

    torchvision_class: str
    train_images: str = "train-images-idx3-ubyte"
    train_labels: str = "train-labels-idx1-ubyte"
    test_images: str = "t10k-images-idx3-ubyte"
    test_labels: str = "t10k-labels-idx1-ubyte"

    def names(self) -> tuple[str, ...]:
        """The four files' names."""
        return self[1:]


FILES = {
    "mnist": _Files("MNIST"),
    "fashion_mnist": _Files("FashionMNIST"),
    "kmnist": _Files("KMNIST"),
    "qmnist": _Files(
        "QMNIST",
        "qmnist-train-images-idx3-ubyte",
        "qmnist-train-labels-idx2-int",
        "qmnist-test-images-idx3-ubyte",
        "qmnist-test-labels-idx2-int",
    ),
}


# Bytes and SHA-256 of MNIST's four files. A set of another size is somebody's own and is read without this check
OFFICIAL = {
    "MNIST/train-images-idx3-ubyte": (47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "MNIST/train-labels-idx1-ubyte": (60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "MNIST/t10k-images-idx3-ubyte": (7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "MNIST/t10k-labels-idx1-ubyte": (10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}


def read_files(name: str, root: Path, download: bool) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], str]:
    """Reads a data set: its training and its test (images uint8 [N, 1, 28, 28], labels int64 [N]), and its digest.

    Fetches missing files if it may. Raises DataError for missing or damaged files.
    """
    files = FILES[name]
    raw = root / files.torchvision_class / "raw"
    if (missing := _missing(raw, files)) and download:
        with waiting(root / ".download.lock"):  # one process fetches, the others wait and find the files
            if _missing(raw, files):
                fetch(name, root)
    elif missing:
        raise DataError(f"{raw / missing[0]}: missing; set data.root or $MNIST_LIGHTNING_DATA, or data.download=true")
    train = _read_split(raw / files.train_images, raw / files.train_labels)
    test = _read_split(raw / files.test_images, raw / files.test_labels)
    return train, test, _verified_digest([raw / file for file in files.names()])


def _verified_digest(paths: list[Path]) -> str:
    """Returns one digest for a data set's files. Raises DataError for a file of MNIST's size that is not MNIST's."""
    together = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size, official = OFFICIAL.get(f"{path.parents[1].name}/{path.name}", (0, ""))
        if path.stat().st_size == size and digest != official:
            raise _damaged(path, "its SHA-256 is not MNIST's")
        together.update(digest.encode())
    return together.hexdigest()


def _missing(raw: Path, files: _Files) -> list[str]:
    return [file for file in files.names() if not (raw / file).exists()]


def _read_split(images_path: Path, labels_path: Path) -> tuple[Tensor, Tensor]:
    """Reads and checks images, uint8 [N, 1, 28, 28], and their labels, int64 [N]."""
    images, labels = read_idx(images_path), read_idx(labels_path)
    if labels.ndim == 2:  # QMNIST: the class is the first of eight columns
        labels = labels[:, 0]
    if images.ndim != 3 or images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise _damaged(images_path, f"holds {list(images.shape)}, not images of {IMAGE_SIZE} x {IMAGE_SIZE}")
    if labels.ndim != 1 or len(labels) != len(images):
        raise _damaged(labels_path, f"holds {list(labels.shape)} labels for {len(images)} images")
    if len(labels) == 0:
        raise _damaged(images_path, "holds no image")
    if int(labels.max()) >= NUM_CLASSES or int(labels.min()) < 0:
        raise _damaged(labels_path, f"holds the label {int(labels.max())}")
    return images.unsqueeze(1), labels.long()


def read_idx(path: Path) -> Tensor:
    """Reads an IDX file of bytes as uint8, or of big-endian 32-bit integers as int32: [N], [N, A] or [N, A, B].

    Source of the format: yann.lecun.com/exdb/mnist. The header is believed only if the file has exactly the
    size it promises. Raises DataError naming the file.
    """
    try:
        content = read_regular(path, _LARGEST_FILE)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in (_UINT8, _INT32):
        raise _damaged(path, "not an IDX file")
    number, rank = np.dtype("u1" if content[2] == _UINT8 else ">i4"), content[3]
    start = 4 + 4 * rank
    if not 1 <= rank <= 3 or len(content) < start:
        raise _damaged(path, "not an IDX file")
    shape = struct.unpack(f">{rank}I", content[4:start])
    expected = start + number.itemsize * math.prod(shape)
    if len(content) != expected:
        raise _damaged(path, f"{len(content):,} bytes, expected {expected:,}")
    values = np.frombuffer(content, np.uint8)[start:].view(number).reshape(shape)
    return torch.from_numpy(values.astype(number.newbyteorder("=")))


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path}: damaged, {what}; delete it and run again to fetch it")


def fetch(name: str, root: Path) -> None:
    """Downloads a data set's files by torchvision, with its progress bar and checksums, into `root`.

    Files arrive in a temporary directory and are moved when whole. Raises DataError with the offline way out.
    """
    from torchvision import datasets

    files = FILES[name]
    raw = root / files.torchvision_class / "raw"
    kind = getattr(datasets, files.torchvision_class)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)  # torchvision sets none: a dead host would hang us
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as temporary:
            with redirect_stdout(StringIO()):  # it prints each failing mirror
                for train in (True, False):
                    kind(temporary, train=train, download=True)
            raw.mkdir(parents=True, exist_ok=True)
            for file in files.names():
                (Path(temporary) / files.torchvision_class / "raw" / file).replace(raw / file)
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        what = f"no {name} in {raw.relative_to(root)}, and no download ({reason:.60})"
        raise DataError(f"data.root={root}: {what}; put its files there, or use data=synthetic") from error
    finally:
        socket.setdefaulttimeout(before)
