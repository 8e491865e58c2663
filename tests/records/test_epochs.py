"""metrics.csv read back: as much of a damaged table as there is, never a wait."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mnist_lightning.errors import UnreadableError
from mnist_lightning.records import epochs
from mnist_lightning.records.epochs import read_epochs

HEADER = "epoch,train_loss,val_loss\n"
WHOLE = HEADER + "1,0.5,0.25\n2,0.25,\n3,0.125,nan\n"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (WHOLE, [1, 2]),
        (HEADER + "1,0.5,0.25\n2,0.", [1]),
        (HEADER + "1,0.5,0.25\n2,x,0.25\n", [1]),
        (HEADER + "1,0.5\n2,1,1\n", [2]),
        (HEADER + "-1,1,1\n0,1,1\n1.5,1,1\nnan,1,1\ninf,1,1\n9e99,1,1\n2,1,1\n", [2]),
        ("\0\xff\n1,2,3\n", []),
        (HEADER + '"1,' + "9" * 200_000 + "\n1,1,1\n", [1]),
        ("train_loss\n1\n", []),
        ("", []),
    ],
)
def test_whole_lines_of_the_epochs_before_are_kept_and_others_left_out(
    text: str, kept: list[int], tmp_path: Path
) -> None:
    (tmp_path / "metrics.csv").write_text(text, encoding="latin-1")
    found = read_epochs(tmp_path / "metrics.csv", 2)
    assert sorted(found) == kept
    if text == WHOLE:
        assert found == {1: {"train_loss": 0.5, "val_loss": 0.25}, 2: {"train_loss": 0.25}}


@pytest.mark.usefixtures("no_waiting")
def test_what_is_no_file_of_a_bearable_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.csv"
    os.mkfifo(path)
    with pytest.raises(ValueError, match="not a regular file"):
        read_epochs(path, 2)
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match="not a regular file"):
        read_epochs(path, 2)
    path.rmdir()
    path.symlink_to(path)
    with pytest.raises(ValueError, match="symbolic links"):
        read_epochs(path, 2)
    path.unlink()
    path.write_text(WHOLE)
    monkeypatch.setattr(epochs, "LARGEST_TABLE", 10)
    with pytest.raises(ValueError, match="too large"):
        read_epochs(path, 2)


@pytest.mark.parametrize("more", [0, 1])
def test_a_table_of_16_mebibytes_is_read_and_a_longer_one_is_not(more: int, tmp_path: Path) -> None:
    with (tmp_path / "metrics.csv").open("wb") as file:
        file.truncate(16 * 2**20 + more)
    if more:
        with pytest.raises(ValueError, match="16,777,217 bytes, too large"):
            read_epochs(tmp_path / "metrics.csv", 2)
    else:
        assert read_epochs(tmp_path / "metrics.csv", 2) == {}


def test_an_error_of_the_disk_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(epochs, "read_regular", failing)
    with pytest.raises(UnreadableError, match=r"metrics.csv: cannot be read \(Input/output error\); repeat"):
        read_epochs(tmp_path / "metrics.csv", 2)
