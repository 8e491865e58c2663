"""Data that are missing are downloaded, here from a local server; what comes wrong or not at all is said."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from torchvision import datasets

from commands import exit_code, forked
from conftest import write_mnist
from mnist_lightning.config import DataConfig
from mnist_lightning.data import datasets as data
from mnist_lightning.data.datasets import load_dataset
from mnist_lightning.data.files import FILES
from mnist_lightning.errors import DataError

pytestmark = pytest.mark.usefixtures("no_cached_data")


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
    data.forget_data()
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
