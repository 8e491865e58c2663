"""Reading and splitting the data: sizes, validation, the embedded digits, what stays in memory."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from pathlib import Path

import pytest
import torch
from torchvision import datasets

from conftest import data_in, write_idx, write_mnist
from mnist_lightning.config import DATASETS, DataConfig
from mnist_lightning.data import datasets as data
from mnist_lightning.data.datasets import load_dataset
from mnist_lightning.data.files import FILES
from mnist_lightning.data.synthetic import synthetic_digits
from mnist_lightning.errors import ConfigError, DataError

pytestmark = pytest.mark.usefixtures("no_cached_data")


def test_the_files_are_read_as_torchvision_reads_them(mini_mnist: Path) -> None:
    ours = load_dataset(data_in(mini_mnist))
    for split, train in ((ours.train, True), (ours.test, False)):
        theirs = datasets.MNIST(str(mini_mnist), train=train)
        assert torch.equal(split.images[:, 0], theirs.data)
        assert torch.equal(split.labels, theirs.targets)
        assert (split.images.dtype, split.labels.dtype) == (torch.uint8, torch.int64)


@pytest.mark.parametrize("name", ["fashion_mnist", "kmnist"])
def test_the_relatives_are_read_from_torchvisions_folders(name: str, tmp_path: Path) -> None:
    write_mnist(tmp_path, 20, 10, FILES[name].torchvision_class)
    assert len(load_dataset(data_in(tmp_path, name=name)).train) == 20


def test_qmnist_is_read_with_its_eight_label_columns(tmp_path: Path) -> None:
    raw = tmp_path / "QMNIST" / "raw"
    labels = torch.zeros(12, 8, dtype=torch.int32)
    labels[:, 0], labels[:, 5] = torch.arange(12) % 10, 70_000
    for part in ("train", "test"):
        write_idx(raw / f"qmnist-{part}-images-idx3-ubyte", torch.full((12, 28, 28), len(part)))
        body = labels.numpy().astype(">i4").tobytes()
        (raw / f"qmnist-{part}-labels-idx2-int").write_bytes(bytes([0, 0, 12, 2, 0, 0, 0, 12, 0, 0, 0, 8]) + body)
    ours = load_dataset(data_in(tmp_path, name="qmnist")).train
    theirs = datasets.QMNIST(str(tmp_path), what="train", compat=True)
    assert torch.equal(ours.labels, theirs.targets[:, 0].long())


@pytest.mark.parametrize(("label", "refused"), [(-1, True), (0, False), (9, False), (11, True), (-(2**31), True)])
def test_a_label_that_is_no_digit_is_named(label: int, refused: bool, tmp_path: Path) -> None:
    labels = [3, label, 9]
    for part in ("train", "test"):
        images = torch.full((3, 28, 28), len(part))  # the test images are others
        write_idx(tmp_path / "QMNIST" / "raw" / f"qmnist-{part}-images-idx3-ubyte", images)
        path = tmp_path / "QMNIST" / "raw" / f"qmnist-{part}-labels-idx2-int"
        path.write_bytes(struct.pack(">BBBBII3i", 0, 0, 12, 2, 3, 1, *labels))
    if refused:
        with pytest.raises(DataError, match=f"qmnist-train-labels-idx2-int: damaged, holds the label {label};"):
            load_dataset(data_in(tmp_path, name="qmnist"))
    else:
        assert load_dataset(data_in(tmp_path, name="qmnist")).train.labels.tolist() == labels


def test_every_data_set_is_known(mini_mnist: Path) -> None:
    assert {*FILES, "synthetic"} == set(DATASETS)


def test_sizes_take_the_first_images_and_validation_the_last_of_them(mini_mnist: Path) -> None:
    whole = load_dataset(data_in(mini_mnist))
    part = load_dataset(data_in(mini_mnist, train_size=50, test_size=20, val_size=10))
    assert torch.equal(part.train.images, whole.train.images[:40])
    assert torch.equal(part.val.images, whole.train.images[40:50])
    assert torch.equal(part.test.images, whole.test.images[:20])


def test_without_held_out_images_validation_is_the_test_set_as_in_the_study(mini_mnist: Path) -> None:
    dataset = load_dataset(data_in(mini_mnist))
    assert dataset.val is dataset.test


@pytest.mark.parametrize(("key", "most"), [("train_size", 192), ("test_size", 64), ("val_size", 191)])
def test_more_images_than_there_are_is_refused(key: str, most: int, mini_mnist: Path) -> None:
    with pytest.raises(ConfigError, match=f"data.{key}={most + 1}: mnist has not that many images; use at most {most}"):
        load_dataset(data_in(mini_mnist, **{key: most + 1}))


def test_as_many_images_as_there_are_can_be_asked_for(mini_mnist: Path) -> None:
    whole = load_dataset(data_in(mini_mnist, train_size=192, test_size=64, val_size=191))
    assert [len(split) for split in (whole.train, whole.val, whole.test)] == [1, 191, 64]


def test_the_embedded_digits_are_ten_and_two_thousand_with_a_digest_of_their_own() -> None:
    dataset = load_dataset(DataConfig("synthetic"))
    for split, number, seed in ((dataset.train, 10_000, 0), (dataset.test, 2_000, 1)):
        assert torch.equal(split.images, synthetic_digits(number, seed)[0])
        assert torch.equal(split.labels, synthetic_digits(number, seed)[1])
    both = b"".join(split.images.numpy().tobytes() for split in (dataset.train, dataset.test))
    assert dataset.sha256 == hashlib.sha256(both).hexdigest()


def test_two_data_sets_stay_in_memory_until_they_are_forgotten(tmp_path: Path) -> None:
    roots = [write_mnist(tmp_path / name, 20, 10) for name in "abc"]
    first, second = (load_dataset(data_in(root)) for root in roots[:2])
    assert load_dataset(data_in(roots[0])).train.images.data_ptr() == first.train.images.data_ptr()
    assert load_dataset(data_in(roots[1])).train.images.data_ptr() == second.train.images.data_ptr()
    write_mnist(roots[1], 30, 10)
    assert len(load_dataset(data_in(roots[1])).train) == 20
    data.forget_data()
    assert len(load_dataset(data_in(roots[1])).train) == 30
    for root in roots:  # a third one takes the place of the oldest: they are large
        load_dataset(data_in(root))
    write_mnist(roots[0], 40, 10)
    assert len(load_dataset(data_in(roots[0])).train) == 40


def test_a_split_cannot_be_given_other_images(mini_mnist: Path) -> None:
    dataset = load_dataset(data_in(mini_mnist))
    for thing, name in ((dataset, "train"), (dataset.train, "images")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, name, None)
