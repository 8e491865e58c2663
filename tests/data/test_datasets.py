"""Reading, checking, splitting and ordering the data; downloading it from a local server."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import math
import re
import shutil
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torch.utils.data import DistributedSampler
from torchvision import datasets

from commands import exit_code, forked
from conftest import write_idx, write_mnist
from mnist_lightning.config import DATASETS, DataConfig
from mnist_lightning.data import datasets as data
from mnist_lightning.data import files
from mnist_lightning.data.datasets import Batches, Split, batch_order, load_dataset, scale
from mnist_lightning.data.files import FILES, _verified_digest, read_idx
from mnist_lightning.data.synthetic import synthetic_digits
from mnist_lightning.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def _no_cache() -> Iterator[None]:
    data._load_whole.cache_clear()
    yield
    data._load_whole.cache_clear()


def config(root: Path, **changes: object) -> DataConfig:
    return DataConfig(root=str(root), download=False, **changes)  # pyright: ignore[reportArgumentType] - fields by name


def test_the_files_are_read_as_torchvision_reads_them(mini_mnist: Path) -> None:
    ours = load_dataset(config(mini_mnist))
    for split, train in ((ours.train, True), (ours.test, False)):
        theirs = datasets.MNIST(str(mini_mnist), train=train)
        assert torch.equal(split.images[:, 0], theirs.data)
        assert torch.equal(split.labels, theirs.targets)
        assert (split.images.dtype, split.labels.dtype) == (torch.uint8, torch.int64)


@pytest.mark.parametrize("name", ["fashion_mnist", "kmnist"])
def test_the_relatives_are_read_from_torchvisions_folders(name: str, tmp_path: Path) -> None:
    write_mnist(tmp_path, 20, 10, FILES[name].torchvision_class)
    assert len(load_dataset(config(tmp_path, name=name)).train) == 20


def test_qmnist_is_read_with_its_eight_label_columns(tmp_path: Path) -> None:
    raw = tmp_path / "QMNIST" / "raw"
    labels = torch.zeros(12, 8, dtype=torch.int32)
    labels[:, 0], labels[:, 5] = torch.arange(12) % 10, 70_000
    for part in ("train", "test"):
        write_idx(raw / f"qmnist-{part}-images-idx3-ubyte", torch.full((12, 28, 28), len(part)))
        body = labels.numpy().astype(">i4").tobytes()
        (raw / f"qmnist-{part}-labels-idx2-int").write_bytes(bytes([0, 0, 12, 2, 0, 0, 0, 12, 0, 0, 0, 8]) + body)
    ours = load_dataset(config(tmp_path, name="qmnist")).train
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
            load_dataset(config(tmp_path, name="qmnist"))
    else:
        assert load_dataset(config(tmp_path, name="qmnist")).train.labels.tolist() == labels


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
    assert len(load_dataset(config(tmp_path)).train) == 192
    data._load_whole.cache_clear()
    swap(raw)
    refused = "train-images-idx3-ubyte: holds MNIST's t10k-images-idx3-ubyte; give each file its own name, or delete it"
    with pytest.raises(DataError, match=refused):
        load_dataset(config(tmp_path))


def test_a_test_set_that_is_the_training_set_is_refused(tmp_path: Path) -> None:
    raw = write_mnist(tmp_path, 20, 10, "FashionMNIST") / "FashionMNIST" / "raw"
    for kind in ("images-idx3", "labels-idx1"):
        shutil.copy(raw / f"t10k-{kind}-ubyte", raw / f"train-{kind}-ubyte")
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte: holds the images of train-images-idx3-ubyte; give"):
        load_dataset(config(tmp_path, name="fashion_mnist"))


def test_a_swapped_set_of_mnists_sizes_is_refused_whatever_its_images(tmp_path: Path) -> None:
    raw = tmp_path / "KMNIST" / "raw"
    for part, count in (("train", 10_000), ("t10k", 60_000)):
        write_idx(raw / f"{part}-images-idx3-ubyte", torch.zeros(count, 28, 28, dtype=torch.uint8))
        write_idx(raw / f"{part}-labels-idx1-ubyte", torch.zeros(count))
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte: holds 10,000 images, and t10k-images-idx3-ubyte "):
        load_dataset(config(tmp_path, name="kmnist"))
    swap(raw)
    assert len(load_dataset(config(tmp_path, name="kmnist")).train) == 60_000


def test_the_real_files_are_in_their_places_and_known_when_swapped(real_mnist: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES["mnist"].names():
        shutil.copy(real_mnist / "MNIST" / "raw" / name, raw)
    swap(raw)
    with pytest.raises(DataError, match="train-images-idx3-ubyte: holds MNIST's t10k-images-idx3-ubyte"):
        load_dataset(config(tmp_path))


def test_every_data_set_is_known(mini_mnist: Path) -> None:
    assert {*FILES, "synthetic"} == set(DATASETS)


def test_sizes_take_the_first_images_and_validation_the_last_of_them(mini_mnist: Path) -> None:
    whole = load_dataset(config(mini_mnist))
    part = load_dataset(config(mini_mnist, train_size=50, test_size=20, val_size=10))
    assert torch.equal(part.train.images, whole.train.images[:40])
    assert torch.equal(part.val.images, whole.train.images[40:50])
    assert torch.equal(part.test.images, whole.test.images[:20])


def test_without_held_out_images_validation_is_the_test_set_as_in_the_study(mini_mnist: Path) -> None:
    dataset = load_dataset(config(mini_mnist))
    assert dataset.val is dataset.test


@pytest.mark.parametrize(("key", "most"), [("train_size", 192), ("test_size", 64), ("val_size", 191)])
def test_more_images_than_there_are_is_refused(key: str, most: int, mini_mnist: Path) -> None:
    with pytest.raises(ConfigError, match=f"data.{key}={most + 1}: mnist has not that many images; use at most {most}"):
        load_dataset(config(mini_mnist, **{key: most + 1}))


def test_as_many_images_as_there_are_can_be_asked_for(mini_mnist: Path) -> None:
    whole = load_dataset(config(mini_mnist, train_size=192, test_size=64, val_size=191))
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
    first, second = (load_dataset(config(root)) for root in roots[:2])
    assert load_dataset(config(roots[0])).train.images.data_ptr() == first.train.images.data_ptr()
    assert load_dataset(config(roots[1])).train.images.data_ptr() == second.train.images.data_ptr()
    write_mnist(roots[1], 30, 10)
    assert len(load_dataset(config(roots[1])).train) == 20
    data.forget_data()
    assert len(load_dataset(config(roots[1])).train) == 30
    for root in roots:  # a third one takes the place of the oldest: they are large
        load_dataset(config(root))
    write_mnist(roots[0], 40, 10)
    assert len(load_dataset(config(roots[0])).train) == 40


def test_a_split_cannot_be_given_other_images(mini_mnist: Path) -> None:
    dataset = load_dataset(config(mini_mnist))
    for thing, name in ((dataset, "train"), (dataset.train, "images")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, name, None)


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
        load_dataset(config(tmp_path))


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
        assert torch.equal(read_idx(tmp_path / "file"), values)
    (tmp_path / "file").write_bytes(b"\0\0\x0c\1" + struct.pack(">I2i", 2, -5, 70_000))
    assert read_idx(tmp_path / "file").tolist() == [-5, 70_000]


@pytest.mark.parametrize("shape", [(20, 27, 28), (20, 28, 27), (20, 28, 29), (20, 29, 28), (20, 28), (20,)])
def test_images_of_another_size_are_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = write_mnist(tmp_path, 20, 10) / "MNIST" / "raw" / "train-images-idx3-ubyte"
    write_idx(path, torch.zeros(shape))
    with pytest.raises(DataError, match=rf"holds {re.escape(str(list(shape)))}, not images of 28 x 28"):
        load_dataset(config(tmp_path))


def test_a_data_set_without_an_image_is_refused(tmp_path: Path) -> None:
    raw = write_mnist(tmp_path, 20, 10) / "MNIST" / "raw"
    write_idx(raw / "train-images-idx3-ubyte", torch.zeros(0, 28, 28))
    write_idx(raw / "train-labels-idx1-ubyte", torch.zeros(0))
    with pytest.raises(DataError, match="train-images-idx3-ubyte: damaged, holds no image"):
        load_dataset(config(tmp_path))


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
        load_dataset(config(tmp_path))
    shutil.copy(raw / "t10k-labels-idx1-ubyte", labels)
    with pytest.raises(DataError, match=r"holds \[10\] labels for 20 images"):
        load_dataset(config(tmp_path))
    shutil.copy(raw / "train-images-idx3-ubyte", labels)
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte: damaged, holds \[20, 28, 28\] labels for 20 images"):
        load_dataset(config(tmp_path))
    shutil.copy(raw / "t10k-images-idx3-ubyte", raw / "train-images-idx3-ubyte")
    write_idx(labels, torch.zeros(20))
    with pytest.raises(DataError, match=r"holds \[20\] labels for 10 images"):
        load_dataset(config(tmp_path))


def test_a_missing_file_is_named_with_the_way_out(tmp_path: Path) -> None:
    (write_mnist(tmp_path) / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte: missing; set data.root or \$MNIST_LIGHTNING_DATA"):
        load_dataset(config(tmp_path))


def test_of_several_missing_files_the_first_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train-images-idx3-ubyte: missing"):
        load_dataset(config(tmp_path))


def test_a_directory_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    path = write_mnist(tmp_path) / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match="train-images-idx3-ubyte: cannot be read"):
        read_idx(path)


@pytest.fixture
def asked() -> list[str]:
    """What the server was asked for, `GET /name`."""
    return []


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> Iterator[Path]:
    """A folder served on the loopback as torchvision's only MNIST mirror, with a small data set in it."""
    served = tmp_path / "served"
    served.mkdir()
    raw = write_mnist(tmp_path / "source", 30, 10) / "MNIST" / "raw"
    resources = []
    for file in FILES["mnist"].names():
        packed = gzip.compress((raw / file).read_bytes())
        (served / f"{file}.gz").write_bytes(packed)
        resources.append((f"{file}.gz", hashlib.md5(packed).hexdigest()))
    quiet = type(
        "Quiet",
        (SimpleHTTPRequestHandler,),
        {"log_message": lambda self, *a: asked.append(f"{self.command} {self.path}")},
    )
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(served)))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{http.server_port}/"])
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    yield served
    http.shutdown()
    http.server_close()


def files_in(root: Path) -> list[str]:
    return sorted(p.name for p in root.rglob("*") if p.is_file() and p.name != ".download.lock")


def test_missing_data_is_downloaded_once_and_then_read_from_disk(server: Path, tmp_path: Path) -> None:
    root = tmp_path / "new" / "root"
    dataset = load_dataset(DataConfig(root=str(root)))
    assert (len(dataset.train), len(dataset.test)) == (30, 10)
    assert files_in(root) == sorted(FILES["mnist"].names())
    data._load_whole.cache_clear()
    shutil.rmtree(server)
    assert len(load_dataset(DataConfig(root=str(root))).train) == 30


@pytest.mark.faults
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")  # of Python 3.12; the children start no threads
@pytest.mark.usefixtures("server")
def test_eight_processes_that_need_the_data_at_once_fetch_each_file_once(tmp_path: Path, asked: list[str]) -> None:
    def fetching(root: Path) -> int:
        return forked(lambda: len(load_dataset(DataConfig(root=str(root))).train) - 30)

    assert exit_code(fetching(tmp_path / "alone")) == 0
    requests_of_one = sorted(asked)  # torchvision asks for each file, and before that whether it is elsewhere
    asked.clear()
    root = tmp_path / "empty"
    children = [fetching(root) for _ in range(8)]
    assert [exit_code(pid) for pid in children] == [0] * 8
    assert sorted(asked) == requests_of_one
    assert len(asked) == 8
    assert files_in(root) == sorted(FILES["mnist"].names())


@pytest.mark.parametrize("body", [b"<html>log in</html>", b""], ids=["web page", "empty"])
def test_a_wrong_download_leaves_nothing_and_names_the_offline_way(body: bytes, server: Path, tmp_path: Path) -> None:
    (server / "t10k-labels-idx1-ubyte.gz").write_bytes(body)
    root = tmp_path / "root"
    with pytest.raises(DataError, match=r"no mnist in MNIST/raw, and no download .*; put its files there, or use data"):
        load_dataset(DataConfig(root=str(root)))
    assert files_in(root) == []


def test_a_dead_host_is_waited_for_half_a_minute_and_no_other_connection_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float | None] = []

    def dead(*_: object, **__: object) -> None:
        seen.append(socket.getdefaulttimeout())
        raise TimeoutError("first line\ntimed out")

    monkeypatch.setattr(datasets, "MNIST", dead)
    socket.setdefaulttimeout(7)
    try:
        with pytest.raises(
            DataError, match=r"no mnist in MNIST/raw, and no download \(timed out\); put its files there"
        ):
            load_dataset(DataConfig(root=str(tmp_path / "new" / "root")))
        assert (seen, socket.getdefaulttimeout()) == ([30], 7)
    finally:
        socket.setdefaulttimeout(None)


def test_no_network_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(
        DataError, match=r"data.root=.*: no mnist in MNIST/raw, and no download \(.*refused.*\)"
    ) as caught:
        load_dataset(DataConfig(root=str(tmp_path)))
    assert "\n" not in str(caught.value)


def test_pixels_are_scaled_as_keras_scales_them() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(scale(pixels), pixels.float() / 255)
    assert torch.equal(scale(pixels, torch.float64), pixels.double() / 255)
    assert torch.equal(scale(scale(pixels)), scale(pixels)), "floats stay as they are"
    for half in (torch.float16, torch.bfloat16):
        assert torch.equal(scale(pixels, half), (pixels.float() / 255).to(half)), "rounded once"
        assert scale(scale(pixels), half).dtype == half


def test_the_batch_order_is_a_permutation_set_by_seed_and_epoch_alone() -> None:
    order = batch_order(100, 0, 0)
    assert torch.equal(order.sort().values, torch.arange(100))
    torch.manual_seed(99)
    assert torch.equal(order, batch_order(100, 0, 0))
    others = [batch_order(100, 1, 0), batch_order(100, 0, 1), batch_order(100, 1, 1)]
    assert all(not torch.equal(order, other) for other in others)


def test_the_order_of_the_batches_is_the_same_in_every_version() -> None:
    """So that a run that an older version began goes on as it would have."""
    assert batch_order(8, 0, 0).tolist() == [5, 3, 7, 0, 4, 1, 2, 6]
    assert batch_order(8, 0, 1).tolist() == [6, 0, 7, 3, 1, 2, 5, 4]
    assert batch_order(8, 3, 2).tolist() == [1, 2, 4, 3, 6, 7, 5, 0]


def test_without_a_seed_the_order_is_that_of_the_files(mini_mnist: Path) -> None:
    split = load_dataset(config(mini_mnist, train_size=100)).train
    batches = list(Batches(split, 32))
    assert [len(labels) for _, labels in batches] == [32, 32, 32, 4]
    assert torch.equal(torch.cat([images for images, _ in batches]), split.images)
    assert torch.equal(torch.cat([labels for _, labels in batches]), split.labels)


def test_batches_cover_every_image_once_and_the_last_is_small(mini_mnist: Path) -> None:
    split = load_dataset(config(mini_mnist, train_size=100)).train
    batches = Batches(split, 32, seed=0)
    sizes = [len(labels) for _, labels in batches]
    assert sizes == [32, 32, 32, 4]
    assert len(batches) == 4
    first = torch.cat([labels for _, labels in batches])
    assert torch.equal(first, split.labels[batch_order(100, 0, 0)])
    assert torch.equal(torch.cat([images for images, _ in batches]), split.images[batch_order(100, 0, 0)])
    assert [len(Batches(split, size)) for size in (99, 100, 101)] == [2, 1, 1]
    batches.set_epoch(1)
    assert not torch.equal(first, torch.cat([labels for _, labels in batches]))


def test_real_mnist_is_whole(real_mnist: Path) -> None:
    dataset = load_dataset(config(real_mnist))
    assert (len(dataset.train), len(dataset.test)) == (60_000, 10_000)
    assert torch.bincount(dataset.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert dataset.train.images.float().mean().item() == pytest.approx(33.3184, abs=1e-3)


@pytest.mark.parametrize("num_images", [8, 10, 11, 3])
@pytest.mark.parametrize("num_replicas", [1, 2, 3, 4])
def test_each_process_gets_the_training_images_that_a_distributed_sampler_would_give_it(
    num_images: int, num_replicas: int
) -> None:
    split = Split(torch.arange(num_images).reshape(-1, 1, 1, 1), torch.arange(num_images))
    for epoch in range(2):
        order = batch_order(num_images, 7, epoch)
        for rank in range(num_replicas):
            batches = Batches(split, 2, 7, num_replicas=num_replicas, rank=rank)
            batches.set_epoch(epoch)
            sampler = DistributedSampler(range(num_images), num_replicas, rank, shuffle=False)  # pyright: ignore[reportArgumentType] - only its length is asked
            labels = [labels for _, labels in batches]
            assert torch.cat(labels).tolist() == order[list(sampler)].tolist()
            assert len(batches) == len(labels) == math.ceil(len(sampler) / 2)


@pytest.mark.parametrize("num_images", [8, 10, 11])
@pytest.mark.parametrize("num_replicas", [1, 2, 3, 4])
def test_for_evaluation_the_processes_share_the_images_out_in_as_many_batches(
    num_images: int, num_replicas: int
) -> None:
    split = Split(torch.arange(num_images).reshape(-1, 1, 1, 1), torch.arange(num_images))
    parts = [Batches(split, 2, num_replicas=num_replicas, rank=rank) for rank in range(num_replicas)]
    seen = [[labels for _, labels in part] for part in parts]
    assert {len(part) for part in parts} == {len(labels) for labels in seen} == {len(seen[0])}
    assert all(1 <= len(labels) <= 2 for part in seen for labels in part)
    assert sorted(torch.cat([torch.cat(part) for part in seen]).tolist()) == list(range(num_images))
