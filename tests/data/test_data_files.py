"""The files of the data: what is damaged, missing, in another's place or of another shape is named."""

from __future__ import annotations

import hashlib
import math
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import data_in, write_idx, write_mnist
from mnist_lightning.data import datasets as data
from mnist_lightning.data import files
from mnist_lightning.data.datasets import load_dataset
from mnist_lightning.data.files import FILES, _verified_digest, read_idx
from mnist_lightning.errors import DataError

pytestmark = pytest.mark.usefixtures("no_cached_data")


def swap(raw: Path) -> None:
    """Gives the training files the names of the test files, and the other way about."""
    for kind in ("images-idx3", "labels-idx1"):
        train, test = raw / f"train-{kind}-ubyte", raw / f"t10k-{kind}-ubyte"
        train.rename(raw / "aside")
        test.rename(train)
        (raw / "aside").rename(test)


def test_mnists_own_files_under_each_others_names_are_refused(
    mini_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = write_mnist(tmp_path) / "MNIST" / "raw"
    official = {p.name: (p.stat().st_size, hashlib.sha256(p.read_bytes()).hexdigest()) for p in raw.iterdir()}
    monkeypatch.setattr(files, "OFFICIAL", {f"MNIST/{name}": known for name, known in official.items()})
    assert len(load_dataset(data_in(tmp_path)).train) == 192
    data.forget_data()
    swap(raw)
    refused = "train-images-idx3-ubyte: holds MNIST's t10k-images-idx3-ubyte; give each file its own name, or delete it"
    with pytest.raises(DataError, match=refused):
        load_dataset(data_in(tmp_path))


def test_a_test_set_that_is_the_training_set_is_refused(tmp_path: Path) -> None:
    raw = write_mnist(tmp_path, 20, 10, "FashionMNIST") / "FashionMNIST" / "raw"
    for kind in ("images-idx3", "labels-idx1"):
        shutil.copy(raw / f"t10k-{kind}-ubyte", raw / f"train-{kind}-ubyte")
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte: holds the images of train-images-idx3-ubyte; give"):
        load_dataset(data_in(tmp_path, name="fashion_mnist"))


def test_a_swapped_set_of_mnists_sizes_is_refused_whatever_its_images(tmp_path: Path) -> None:
    raw = tmp_path / "KMNIST" / "raw"
    for part, count in (("train", 10_000), ("t10k", 60_000)):
        write_idx(raw / f"{part}-images-idx3-ubyte", torch.zeros(count, 28, 28, dtype=torch.uint8))
        write_idx(raw / f"{part}-labels-idx1-ubyte", torch.zeros(count))
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte: holds 10,000 images, and t10k-images-idx3-ubyte "):
        load_dataset(data_in(tmp_path, name="kmnist"))
    swap(raw)
    assert len(load_dataset(data_in(tmp_path, name="kmnist")).train) == 60_000


def test_the_real_files_are_in_their_places_and_known_when_swapped(real_mnist: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES["mnist"].names():
        shutil.copy(real_mnist / "MNIST" / "raw" / name, raw)
    swap(raw)
    with pytest.raises(DataError, match="train-images-idx3-ubyte: holds MNIST's t10k-images-idx3-ubyte"):
        load_dataset(data_in(tmp_path))


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda b: b"",
    "3 bytes": lambda b: b[:3],
    "4 bytes": lambda b: b[:4],
    "header only": lambda b: b[:16],
    "half": lambda b: b[: len(b) // 2],
    "one byte short": lambda b: b[:-1],
    "one byte long": lambda b: b + b"\0",
    "another type": lambda b: b[:2] + b"\x0d" + b[3:],
    "another rank": lambda b: b[:3] + b"\x02" + b[4:],
    "huge sizes": lambda b: b[:4] + b"\xff" * 12 + b[16:],
    "a web page": lambda b: b"<html>log in to the network</html>",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES["mnist"].names())
def test_a_damaged_file_is_named(file: str, damage: str, tmp_path: Path) -> None:
    path = write_mnist(tmp_path, 20, 10) / "MNIST" / "raw" / file
    edit(path, DAMAGES[damage])
    with pytest.raises(DataError, match=f"{file}: damaged, .*; delete it and run again to fetch it"):
        load_dataset(data_in(tmp_path))


OFFICIAL_COUNTS = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}


@pytest.mark.parametrize("file", OFFICIAL_COUNTS)
def test_a_file_of_mnists_size_with_other_content_is_not_believed(file: str, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    write_idx(raw / file, torch.zeros(OFFICIAL_COUNTS[file], dtype=torch.uint8))
    with pytest.raises(DataError, match=f"{file}: damaged, its SHA-256 is not MNIST's"):
        _verified_digest([raw / file])
    write_idx(raw / file, torch.zeros((7, *OFFICIAL_COUNTS[file][1:])))  # somebody's own set has other sizes
    assert _verified_digest([raw / file])
    shutil.copytree(raw, tmp_path / "KMNIST" / "raw")
    write_idx(tmp_path / "KMNIST" / "raw" / file, torch.zeros(OFFICIAL_COUNTS[file], dtype=torch.uint8))
    assert _verified_digest([tmp_path / "KMNIST" / "raw" / file])


def test_the_digest_of_a_data_set_is_that_of_all_its_files(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "b" / name for name in ("1", "2")]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    digests = "".join(hashlib.sha256(name).hexdigest() for name in (b"1", b"2"))
    assert _verified_digest(paths) == hashlib.sha256(digests.encode()).hexdigest()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\0\0\x08\0", "not an IDX file"),
        (b"\0\0\x08\0\0", "not an IDX file"),
        (b"\0\0\x08\4" + struct.pack(">4I", 1, 1, 1, 1) + b"x", "not an IDX file"),
        (b"\0\0\x08\1\0\0\0", "not an IDX file"),
        (b"\0\0\x08\1" + struct.pack(">I", 2) + b"x", "9 bytes, expected 10"),
        (b"\0\0\x0c\1" + struct.pack(">I", 2) + b"x", "9 bytes, expected 16"),
    ],
)
def test_a_header_is_believed_only_if_the_file_is_what_it_promises(content: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match=f"file: damaged, {what};"):
        read_idx(tmp_path / "file")


def test_numbers_of_one_to_three_dimensions_are_read(tmp_path: Path) -> None:
    for shape in ((3,), (3, 2), (3, 2, 4), (0, 28, 28)):
        values = torch.arange(math.prod(shape), dtype=torch.uint8).reshape(shape)
        write_idx(tmp_path / "file", values)
        assert np.array_equal(read_idx(tmp_path / "file"), values.numpy())
    (tmp_path / "file").write_bytes(b"\0\0\x0c\1" + struct.pack(">I2i", 2, -5, 70_000))
    assert read_idx(tmp_path / "file").tolist() == [-5, 70_000]


@pytest.mark.parametrize("shape", [(20, 27, 28), (20, 28, 27), (20, 28, 29), (20, 29, 28), (20, 28), (20,)])
def test_images_of_another_size_are_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = write_mnist(tmp_path, 20, 10) / "MNIST" / "raw" / "train-images-idx3-ubyte"
    write_idx(path, torch.zeros(shape))
    with pytest.raises(DataError, match=rf"holds {re.escape(str(list(shape)))}, not images of 28 x 28"):
        load_dataset(data_in(tmp_path))


def test_a_data_set_without_an_image_is_refused(tmp_path: Path) -> None:
    raw = write_mnist(tmp_path, 20, 10) / "MNIST" / "raw"
    write_idx(raw / "train-images-idx3-ubyte", torch.zeros(0, 28, 28))
    write_idx(raw / "train-labels-idx1-ubyte", torch.zeros(0))
    with pytest.raises(DataError, match="train-images-idx3-ubyte: damaged, holds no image"):
        load_dataset(data_in(tmp_path))


def test_a_file_of_more_than_a_gibibyte_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with open(path, "wb") as file:
        file.truncate(2**30 + 1)
    with pytest.raises(DataError, match="too large"):
        read_idx(path)


def test_labels_beyond_nine_and_swapped_files_are_found(tmp_path: Path) -> None:
    raw = write_mnist(tmp_path, 20, 10) / "MNIST" / "raw"
    labels = raw / "train-labels-idx1-ubyte"
    edit(labels, lambda b: b[:-1] + b"\x0a")
    with pytest.raises(DataError, match="train-labels-idx1-ubyte: damaged, holds the label 10"):
        load_dataset(data_in(tmp_path))
    shutil.copy(raw / "t10k-labels-idx1-ubyte", labels)
    with pytest.raises(DataError, match=r"holds \[10\] labels for 20 images"):
        load_dataset(data_in(tmp_path))
    shutil.copy(raw / "train-images-idx3-ubyte", labels)
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte: damaged, holds \[20, 28, 28\] labels for 20 images"):
        load_dataset(data_in(tmp_path))
    shutil.copy(raw / "t10k-images-idx3-ubyte", raw / "train-images-idx3-ubyte")
    write_idx(labels, torch.zeros(20))
    with pytest.raises(DataError, match=r"holds \[20\] labels for 10 images"):
        load_dataset(data_in(tmp_path))


def test_a_missing_file_is_named_with_the_way_out(tmp_path: Path) -> None:
    (write_mnist(tmp_path) / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte: missing; set data.root or \$MNIST_LIGHTNING_DATA"):
        load_dataset(data_in(tmp_path))


def test_of_several_missing_files_the_first_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train-images-idx3-ubyte: missing"):
        load_dataset(data_in(tmp_path))


def test_a_directory_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    path = write_mnist(tmp_path) / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match="train-images-idx3-ubyte: cannot be read"):
        read_idx(path)


def test_real_mnist_is_whole(real_mnist: Path) -> None:
    dataset = load_dataset(data_in(real_mnist))
    assert (len(dataset.train), len(dataset.test)) == (60_000, 10_000)
    assert torch.bincount(dataset.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert dataset.train.images.float().mean().item() == pytest.approx(33.3184, abs=1e-3)
