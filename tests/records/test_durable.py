"""Durable files: the whole content or none, and nothing left over; under faults: test_faults_calls.py."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from mnist_lightning.errors import OutputError
from mnist_lightning.records.durable import durable_file, keep_changed, put_aside, sync_directory, write_durably


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_the_directories_on_the_way_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c" / "file"
    for content in (b"first", b"second"):
        write_durably(path, content)
        assert path.read_bytes() == content


def test_nothing_has_the_name_before_the_block_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with durable_file(path) as file:
        file.write(b"content")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"content"


def test_a_block_that_fails_leaves_the_old_file_and_no_other_and_its_own_error_arrives(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), durable_file(path) as file:  # noqa: PT012 - the block is what is tested
        file.write(b"half")
        raise ZeroDivisionError
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"old")]


def test_a_block_that_fails_when_its_file_is_gone_already_says_why_it_failed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), durable_file(tmp_path / "file"):  # noqa: PT012 - as above
        for temporary in tmp_path.iterdir():
            temporary.unlink()
        raise ZeroDivisionError


def test_a_thousand_files_leave_none_open(tmp_path: Path) -> None:
    before = open_files()
    for number in range(1000):
        write_durably(tmp_path / "file", str(number).encode())
    assert open_files() == before


def test_an_error_without_a_reason_of_the_system_is_quoted(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"file: cannot be written \(odd\); free the disk or choose another directory"),
        durable_file(tmp_path / "file"),
    ):
        raise OSError("odd")


def test_what_is_put_aside_joins_what_is_there_and_replaces_nothing(tmp_path: Path) -> None:
    aside = tmp_path / "kept" / "aside"
    for name, content in [("a", "first"), ("b", "other"), ("a", "second"), ("a", "third")]:
        (tmp_path / name).write_text(content)
        assert put_aside(tmp_path / name, aside).read_text() == content
    kept = {str(p.relative_to(aside.parent)): p.read_text() for p in aside.parent.rglob("*") if p.is_file()}
    assert kept == {"aside/a": "first", "aside/b": "other", "aside.2/a": "second", "aside.3/a": "third"}


@pytest.mark.parametrize(("error", "why"), [(OSError(5, "Input error"), "Input error"), (OSError("odd"), "odd")])
def test_what_cannot_be_put_aside_is_named_with_the_systems_reason(
    error: OSError, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(path: Path, target: Path) -> Path:
        raise error

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(OutputError) as refused:
        put_aside(tmp_path / "a", tmp_path / "aside")
    assert str(refused.value) == f"{tmp_path / 'a'}: cannot be put aside ({why}); move it away"


def test_on_windows_which_opens_no_directory_none_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError):
        sync_directory(tmp_path / "nowhere")
    monkeypatch.setattr("mnist_lightning.records.durable.os", SimpleNamespace(name="nt"))
    sync_directory(tmp_path / "nowhere")


def test_a_file_that_somebody_has_changed_is_kept_under_the_first_free_name_and_ours_is_not(tmp_path: Path) -> None:
    path, ours = tmp_path / "table.csv", {hashlib.sha256(b"ours").hexdigest()}
    assert keep_changed(path, ours) is None
    path.write_bytes(b"ours")
    assert keep_changed(path, ours) is None
    for name in ("table.bak.csv", "table.bak2.csv", "table.bak3.csv"):
        path.write_text(name)
        assert keep_changed(path, ours) == tmp_path / name
    assert sorted(p.name for p in tmp_path.iterdir()) == ["table.bak.csv", "table.bak2.csv", "table.bak3.csv"]
    assert all(p.read_text() == p.name for p in tmp_path.iterdir())
