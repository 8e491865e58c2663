"""records/heartbeat.py: what a run at work says of itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mnist_lightning.records.durable import remove_orphans
from mnist_lightning.records.heartbeat import HEARTBEAT, Heartbeat, beat, forget_heartbeat, heartbeat_of

BEAT = Heartbeat(epoch=3, epochs=4, batch=5, batches=10, runs=["a", "b"], began=12.5, val_accuracy=0.5)


def test_what_was_told_is_read_and_forgotten(tmp_path: Path) -> None:
    assert heartbeat_of(tmp_path) is None
    beat(tmp_path, BEAT)
    beat(tmp_path, replace(BEAT, batch=6))
    assert heartbeat_of(tmp_path) == replace(BEAT, batch=6)
    assert [path.name for path in tmp_path.iterdir()] == [HEARTBEAT]
    forget_heartbeat(tmp_path)
    forget_heartbeat(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_fraction_counts_whole_epochs_and_batches_and_is_never_more_than_all() -> None:
    assert BEAT.fraction == (2 + 0.5) / 4
    assert replace(BEAT, batches=0).fraction == 0.5
    assert replace(BEAT, epoch=9).fraction == 1
    assert replace(BEAT, epochs=0).fraction == 0


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"epoch": 1}', "[" * 100_000, '{"epoch": "x"}'])
def test_what_is_no_heartbeat_tells_nothing(content: str, tmp_path: Path) -> None:
    (tmp_path / HEARTBEAT).write_text(content)
    assert heartbeat_of(tmp_path) is None


def test_a_heartbeat_that_cannot_be_written_ends_no_training_and_leaves_nothing(tmp_path: Path) -> None:
    beat(tmp_path / "none", BEAT)
    (tmp_path / HEARTBEAT).mkdir()
    (tmp_path / HEARTBEAT / "file").touch()
    beat(tmp_path, BEAT)
    assert [path.name for path in tmp_path.iterdir()] == [HEARTBEAT]
    assert heartbeat_of(tmp_path) is None
    forget_heartbeat(tmp_path)


def test_the_temporary_file_of_a_killed_process_is_known_as_an_orphan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*paths: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        beat(tmp_path, BEAT)
    remove_orphans([tmp_path])
    assert not list(tmp_path.iterdir())


def test_a_file_of_the_users_under_this_name_is_neither_replaced_nor_removed(tmp_path: Path) -> None:
    (tmp_path / HEARTBEAT).write_text("mine")
    beat(tmp_path, BEAT)
    forget_heartbeat(tmp_path)
    assert (tmp_path / HEARTBEAT).read_text() == "mine"
