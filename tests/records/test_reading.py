"""A file that we did not just write: a regular one is read, anything else is refused, and nothing is waited for."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mnist_lightning.records.reading import read_regular, unreadable


@pytest.mark.parametrize("size", [0, 1, 10])
def test_a_file_of_up_to_the_limit_is_read_whole(size: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * size)
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 10) == b"x" * size


def test_a_larger_file_is_refused_with_its_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1011)
    with pytest.raises(ValueError, match=r"^1,011 bytes, too large$"):
        read_regular(tmp_path / "file", 1010)


def odd(kind: str, path: Path) -> Path:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    return Path("/dev/zero") if kind == "device" else path


@pytest.mark.parametrize("kind", ["pipe", "directory", "device"])
@pytest.mark.usefixtures("no_waiting")
def test_what_is_no_regular_file_is_refused_and_not_waited_for(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^not a regular file$"):
        read_regular(odd(kind, tmp_path / "odd"), 10)


@pytest.mark.usefixtures("no_waiting")
def test_a_file_without_a_true_size_is_read_no_further_than_the_limit() -> None:
    path = Path("/proc/self/status")
    if not path.exists():
        pytest.skip("no /proc here")
    with pytest.raises(ValueError, match=r"^more than 10 bytes, too large$"):
        read_regular(path, 10)


@pytest.mark.usefixtures("no_waiting")
def test_a_socket_and_a_file_that_is_not_there_are_the_systems_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's name may not be long
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("odd")
        with pytest.raises(OSError, match="odd"):
            read_regular(Path("odd"), 10)
    with pytest.raises(FileNotFoundError):
        read_regular(Path("nothing"), 10)


@pytest.mark.parametrize(("error", "why"), [(OSError(5, "Input error"), "Input error"), (OSError("x"), "x")])
def test_what_cannot_be_read_now_is_named_with_the_systems_reason(error: OSError, why: str) -> None:
    assert str(unreadable(Path("here"), error)) == f"here: cannot be read ({why}); repeat when it can be"


def test_a_file_that_is_read_or_refused_is_closed_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 10)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert read_regular(tmp_path / "file", 10) == b"x" * 10
    for odd_one, most in [(tmp_path / "file", 9), (tmp_path, 10), (Path("/dev/zero"), 10)]:
        with pytest.raises(ValueError, match="too large|not a regular file"):
            read_regular(odd_one, most)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_where_the_system_knows_no_waiting_a_file_is_read_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Windows does not."""
    (tmp_path / "file").write_bytes(b"content")
    monkeypatch.delattr(os, "O_NONBLOCK")
    assert read_regular(tmp_path / "file", 10) == b"content"
