"""The files of MNIST and its relatives: fetched where they are missing, checked, and read."""

from __future__ import annotations

import hashlib
import math
import socket
import struct
import tempfile
from contextlib import redirect_stdout
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnist_lightning.config import IMAGE_SIZE, NUM_CLASSES, DataConfig
from mnist_lightning.data.places import FILES, OFFICIAL, missing_file, not_found, raw_directory, unreadable
from mnist_lightning.errors import ConfigError, DataError, Problem
from mnist_lightning.records.locks import waiting
from mnist_lightning.records.reading import read_regular

DOWNLOAD_TIMEOUT_SECONDS = 30
_UINT8, _INT32 = 0x08, 0x0C  # types of numbers in an IDX file
_LARGEST_FILE = 2**30
_SWAPPED = (10_000, 60_000)  # training and test images: those of MNIST, FashionMNIST and KMNIST the other way about


class Arrays(NamedTuple):
    """A data set as read: training and test (images uint8 [N, 1, 28, 28], labels int64 [N]), and its files' digest."""

    train: tuple[NDArray[np.uint8], NDArray[np.int64]]
    test: tuple[NDArray[np.uint8], NDArray[np.int64]]
    sha256: str


def look(config: DataConfig) -> str:
    """Reads and checks the files of a configuration's data; returns their digest, empty for others than ours.

    Fetches missing ones if it may. Raises DataError for missing or damaged files, ConfigError when more images are
    asked for than there are.
    """
    if config.component is not None or config.name not in FILES:
        return ""
    arrays = read_files(config.name, str(Path(config.root).absolute()), config.download)
    check_sizes(config, len(arrays.train[0]), len(arrays.test[0]))
    return arrays.sha256


def check_sizes(config: DataConfig, num_train: int, num_test: int) -> None:
    """Raises ConfigError where a configuration asks for more images than a data set has."""
    problems = []
    for key, value, most in (
        ("data.train_size", config.train_size, num_train),
        ("data.test_size", config.test_size, num_test),
        ("data.val_size", config.val_size, (config.train_size or num_train) - 1),
    ):
        if value is not None and value > most:
            problems.append(Problem(key, value, f"{config.label} has not that many images", f"use at most {most}"))
    if problems:
        raise ConfigError(problems)


@lru_cache(maxsize=2)
def read_files(name: str, directory: str, download: bool) -> Arrays:
    """Reads a data set whose files are below `directory`; fetches missing ones if it may. Once, until `cache_clear`.

    Raises DataError for missing or damaged files.
    """
    root = Path(directory)
    files, raw = FILES[name], raw_directory(name, root)
    if (missing := missing_file(name, root)) and download:
        with waiting(root / ".download.lock"):  # one process fetches, the others wait and find the files
            if missing_file(name, root):
                fetch(name, root)
    elif missing:
        raise not_found(missing)
    train = _read_split(raw / files.train_images, raw / files.train_labels)
    test = _read_split(raw / files.test_images, raw / files.test_labels)
    digest = _verified_digest([raw / file for file in files.names()])
    if (len(train[0]), len(test[0])) == _SWAPPED:
        raise _misplaced(raw / files.train_images, f"10,000 images, and {files.test_images} 60,000")
    if np.array_equal(train[0], test[0]):  # a network that is tested on what it has seen says nothing
        raise _misplaced(raw / files.test_images, f"the images of {files.train_images}")
    return Arrays(train, test, digest)


def _verified_digest(paths: list[Path]) -> str:
    """Returns one digest for a data set's files.

    Raises DataError for a file of MNIST's size that is not MNIST's, and for another file of MNIST's in its place.
    """
    together = hashlib.sha256()
    # of MNIST's files alone: QMNIST has the same training images
    names = {digest: key.partition("/")[2] for key, (_, digest) in OFFICIAL.items()}
    for path in paths:
        try:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise unreadable(path, error) from error
        size, official = OFFICIAL.get(f"{path.parents[1].name}/{path.name}", (0, digest))
        if digest != official and digest in names:
            raise _misplaced(path, f"MNIST's {names[digest]}")
        if digest != official and path.stat().st_size == size:
            raise _damaged(path, "its SHA-256 is not MNIST's")
        together.update(digest.encode())
    return together.hexdigest()


def _misplaced(path: Path, what: str) -> DataError:
    return DataError(f"{path}: holds {what}; give each file its own name, or delete it to fetch it again")


def _read_split(images_path: Path, labels_path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
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
    if len(wrong := labels[(labels < 0) | (labels >= NUM_CLASSES)]):
        raise _damaged(labels_path, f"holds the label {int(wrong[0])}")
    return images[:, np.newaxis].astype(np.uint8, copy=False), labels.astype(np.int64)


def read_idx(path: Path) -> NDArray[Any]:
    """Reads an IDX file of bytes as uint8, or of big-endian 32-bit integers as int32: [N], [N, A] or [N, A, B].

    Source of the format: yann.lecun.com/exdb/mnist. The header is believed only if the file has exactly the
    size it promises. Raises DataError naming the file.
    """
    try:
        content = read_regular(path, _LARGEST_FILE)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
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
    return values.astype(number.newbyteorder("="))


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions")


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path}: damaged, {what}; delete it and run again to fetch it")


def fetch(name: str, root: Path) -> None:
    """Downloads a data set's files by torchvision, with its progress bar and checksums, into `root`.

    Files arrive in a temporary directory and are moved when whole. Raises DataError with the offline way out.
    """
    from torchvision import datasets

    files = FILES[name]
    raw = raw_directory(name, root)
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
