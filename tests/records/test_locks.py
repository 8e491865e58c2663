"""Locks: one process holds a directory, the others are told who."""

from __future__ import annotations

import os
import runpy
import socket
import stat
import sys
import threading
import time
from pathlib import Path

import pytest

from mnist_lightning.errors import BusyError
from mnist_lightning.records import locks
from mnist_lightning.records.locks import LOCK, alone, hold, holder_of, is_held, together, waiting

ME = f"process {os.getpid()} on {socket.gethostname()}"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_who_holds_a_directory_is_named_to_the_second(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "sweep"
    held = hold(directory)
    assert held is not None
    for _ in range(2):
        with pytest.raises(BusyError, match=f"^{directory}: in use by {ME}; wait for it, or choose another directory$"):
            hold(directory)
    held.close()


def test_a_holder_that_left_no_name_is_another_process(tmp_path: Path) -> None:
    held = hold(tmp_path)
    assert held is not None
    held.truncate(0)
    with pytest.raises(BusyError, match="in use by another process;"):
        hold(tmp_path)
    held.close()


def test_a_lock_that_was_given_back_is_taken_again_and_names_its_new_holder_alone(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("process 1 on another-machine\n" * 3)
    for _ in range(2):
        held = hold(tmp_path)
        assert held is not None
        assert (tmp_path / LOCK).read_text() == f"{ME}\n"
        held.close()


def test_being_refused_keeps_no_file_open(tmp_path: Path) -> None:
    held = hold(tmp_path)
    assert held is not None
    before = open_files()
    refused = []
    for _ in range(3):
        with pytest.raises(BusyError) as caught:
            hold(tmp_path)
        refused.append(caught)  # with its traceback, which would keep the file
    assert open_files() == before
    held.close()


def test_a_second_block_waits_until_the_first_has_ended(tmp_path: Path) -> None:
    path, order = tmp_path / "new" / "root" / ".lock", []

    def second() -> None:
        with waiting(path):
            order.append("second")

    thread = threading.Thread(target=second)
    before = open_files()
    with waiting(path):
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert open_files() == before


def test_what_a_block_raises_arrives_and_the_lock_is_free_again(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), waiting(tmp_path / LOCK):
        raise ZeroDivisionError
    held = hold(tmp_path)
    assert held is not None
    held.close()


def test_a_place_that_cannot_be_locked_is_used_without_a_lock(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    entered = False
    with waiting(tmp_path / "plain" / LOCK):  # a file in place of the directory: as little to be written as read-only
        entered = True
    assert entered


def test_on_windows_which_has_no_flock_the_module_is_there_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    assert runpy.run_path(str(locks.__file__))["fcntl"] is None


def test_where_the_system_knows_no_waiting_files_are_locked_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_NONBLOCK")
    with waiting(tmp_path / LOCK):
        assert holder_of(tmp_path / LOCK) == ME


def test_where_the_system_knows_no_locks_nothing_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    with pytest.warns(UserWarning, match="no locks on this system: give each command a directory of its own"):
        assert hold(tmp_path) is None
    with waiting(tmp_path / "new" / LOCK), together(tmp_path / ".fused" / "ab.lock", []):
        assert list(tmp_path.iterdir()) == []
    (tmp_path / LOCK).write_text(f"{ME}\n")
    assert (is_held(tmp_path / LOCK), holder_of(tmp_path / LOCK)) == (False, "")


def test_who_holds_a_lock_is_told_while_it_is_held_and_looking_makes_no_file(tmp_path: Path) -> None:
    assert (is_held(tmp_path / LOCK), holder_of(tmp_path / LOCK)) == (False, "")
    assert list(tmp_path.iterdir()) == []
    with waiting(tmp_path / LOCK):
        assert (is_held(tmp_path / LOCK), holder_of(tmp_path / LOCK)) == (True, ME)
    assert (is_held(tmp_path / LOCK), holder_of(tmp_path / LOCK)) == (False, "")
    long = "process 1 on " + "x" * 500
    for written, told in [("", "another process"), ("my notes", "another process"), (long, long[:400])]:
        held = hold(tmp_path)
        assert held is not None
        (tmp_path / LOCK).write_text(written)
        assert holder_of(tmp_path / LOCK) == told
        held.close()


def test_a_lock_file_that_is_somebodys_is_left_as_it_is_and_told_at_once(tmp_path: Path) -> None:
    for text in ("my notes\n", "process 1 on " * 30 + "\nmy notes", f"{ME}\nmy notes\n", "the groups\n"):
        (tmp_path / LOCK).write_text(text)
        held = hold(tmp_path)
        assert held is not None
        assert (holder_of(tmp_path / LOCK), (tmp_path / LOCK).read_text()) == ("another process", text)
        held.close()


def test_runs_that_are_trained_together_are_at_work_for_as_long_as_their_group_and_need_one_open_file(
    tmp_path: Path,
) -> None:
    group, runs = tmp_path / ".fused" / "ab12.lock", [tmp_path / name for name in "abcd"]
    alone = hold(runs[3], "process 5 on elsewhere")
    before = open_files()
    with together(group, runs):
        assert open_files() == before + 1
        assert [is_held(run / LOCK) for run in runs] == [True] * 4
        assert holder_of(runs[3] / LOCK) == "process 5 on elsewhere"
        assert holder_of(runs[0] / LOCK) == "the group .fused/ab12.lock"
    assert [is_held(run / LOCK) for run in runs] == [False] * 3 + [True]
    assert not group.exists()
    assert alone is not None
    alone.close()


def test_a_lock_is_for_whoever_may_write_there_and_a_pipe_in_its_place_is_none(tmp_path: Path) -> None:
    old = os.umask(0o002)
    try:
        with waiting(tmp_path / LOCK):
            assert stat.S_IMODE((tmp_path / LOCK).stat().st_mode) == 0o664
    finally:
        os.umask(old)
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / LOCK)
    before = open_files()
    with pytest.raises(OSError, match=r"\.lock is not a regular file") as refused:
        hold(tmp_path / "run")
    assert (open_files(), is_held(tmp_path / "run" / LOCK)) == (before, False), refused


def test_who_only_looks_keeps_nobody_from_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = hold(tmp_path)
    assert file is not None
    monkeypatch.setattr(locks.time, "sleep", lambda _: file.close())  # the one who looked has seen enough
    again = hold(tmp_path)
    assert again is not None
    again.close()


def test_a_lock_that_is_taken_alone_leaves_no_file_whatever_the_block_raises_and_a_strangers_stays(
    tmp_path: Path,
) -> None:
    path = tmp_path / "some.lock"
    with alone(path):
        assert is_held(path)
    with pytest.raises(KeyError), alone(path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    path.write_text("mine")
    with alone(path):
        assert is_held(path)
    assert path.read_text() == "mine"


def test_blocks_that_are_alone_follow_one_another_though_each_removes_its_file(tmp_path: Path) -> None:
    path, inside, most = tmp_path / "some.lock", [], []

    def work() -> None:
        for _ in range(100):
            with alone(path):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (set(most), len(most)) == ({1}, 400)
    assert not path.exists()


def test_what_is_put_back_is_a_lock_file_of_ours_and_none_of_the_users(tmp_path: Path) -> None:
    path = tmp_path / locks.LOCK
    for before, after in (("process 7 on a\n", "process 7 on a\n"), ("mine", "mine, and more")):
        path.write_text(before)
        put_back = locks.told_before(tmp_path)
        path.write_text("mine, and more")
        put_back()
        assert path.read_text() == after
