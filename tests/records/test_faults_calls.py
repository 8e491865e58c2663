"""Records and checkpoints when a call of a commit fails, a limit is met, or many write at once: old or new, and said.

The faults come from inside: files and functions that fail at the k-th call. From outside: test_faults_records.py.
"""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import re
import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from commands import exit_code, forked
from mnist_lightning.errors import OutputError
from mnist_lightning.records import durable
from mnist_lightning.records.results import RECORD, RunResult, load, load_results, save
from mnist_lightning.training.checkpoints import DurableCheckpoints

# Python 3.12 warns of any fork in a process with threads, and torch has some; the children here use none of them
pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork"),  # of Python 3.12; the children start no threads
]

OLD = RunResult(run_name="run", fingerprint="ab12", seed=1, error="old")
NEW = replace(OLD, seed=2, error="new" * 99)
FAULTS = [errno.ENOSPC, errno.EIO]


def temporaries(directory: Path) -> list[Path]:
    return [p for p in directory.rglob("*") if p.is_file() and p.name != RECORD and p.suffix != ".ckpt"]


class Faults:
    """The calls a durable write makes, counted; from the `first`, one or all of them fail."""

    def __init__(self, patch: pytest.MonkeyPatch, first: int, forever: bool, number: int) -> None:
        self.count, self.hit, self.first, self.forever, self.number = 0, False, first, forever, number
        faulty_open = lambda path, mode: io.BufferedWriter(FaultyFile(self, path, mode))  # noqa: E731 - one line
        patch.setattr(durable, "open", faulty_open, raising=False)
        for name in ("replace", "fsync", "open"):
            patch.setattr(durable.os, name, self.wrapped(getattr(os, name)))

    def call(self) -> None:
        self.count += 1
        if self.count == self.first or (self.forever and self.count > self.first):
            self.hit = True
            raise OSError(self.number, os.strerror(self.number))

    def wrapped(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.call()
            return real(*arguments, **options)

        return counted


class FaultyFile(io.FileIO):
    def __init__(self, faults: Faults, path: Path, mode: str) -> None:
        faults.call()
        self.faults = faults
        super().__init__(path, mode)

    def write(self, data: Any) -> int:
        """Half of it arrives before the fault, as on a disk that fills up."""
        try:
            self.faults.call()
        except OSError:
            super().write(memoryview(data)[: len(data) // 2])
            raise
        return super().write(data)


def every_fault(commit: Callable[[], object], check: Callable[[OutputError | None], object]) -> int:
    """`commit` with a fault at its first, second, ... call; `check` each time; how many calls it makes."""
    calls = 0
    for forever, number in itertools.product((False, True), FAULTS):
        for first in itertools.count(1):
            with pytest.MonkeyPatch.context() as patch:
                faults, refusal = Faults(patch, first, forever, number), None
                try:
                    commit()
                except OutputError as error:
                    refusal = error
            if not faults.hit:
                calls = faults.count
                break
            assert refusal is None or os.strerror(number) in str(refusal)
            check(refusal)
    return calls


def test_a_fault_in_any_call_of_a_commit_is_reported_or_the_new_record_is_there(tmp_path: Path) -> None:
    path = save(OLD, tmp_path / "run")

    def check(refusal: OutputError | None) -> None:
        assert refusal is None or f"{path}: cannot be written" in str(refusal)
        assert load(path).seed in ((NEW.seed,) if refusal is None else (OLD.seed, NEW.seed))
        assert temporaries(tmp_path) == []
        save(OLD, tmp_path / "run")

    assert every_fault(lambda: save(NEW, tmp_path / "run"), check) >= 6  # open, write, fsync, rename, open, fsync


def test_a_fault_in_any_call_of_saving_a_checkpoint_leaves_one_that_loads_and_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    old, new = ({"state_dict": {"w": torch.full((50, 100), value)}} for value in (1.0, 2.0))
    DurableCheckpoints().save_checkpoint(old, path)

    def check(refusal: OutputError | None) -> None:
        assert refusal is None or f"{path}: cannot be written" in str(refusal)
        weights = torch.load(path, weights_only=True)["state_dict"]["w"]
        assert weights.unique().tolist() in ([[2.0]] if refusal is None else [[1.0], [2.0]])
        assert temporaries(tmp_path) == []
        DurableCheckpoints().save_checkpoint(old, path)

    assert every_fault(lambda: DurableCheckpoints().save_checkpoint(new, path), check) >= 8  # several writes


def test_a_fault_while_the_last_fault_is_mended_leaves_the_old_record_or_the_new_one(tmp_path: Path) -> None:
    """All pairs: a commit that fails at its n-th call, and the next one, which begins as a sweep does, at its m-th."""

    def mend() -> None:
        durable.remove_orphans([tmp_path / "run"])
        save(NEW, tmp_path / "run")

    path, pairs = save(OLD, tmp_path / "run"), 0
    for number, first, forever in itertools.product(FAULTS, range(1, 8), (False, True)):
        for second in range(1, 10):
            save(OLD, tmp_path / "run")
            for call, work in ((first, lambda: save(NEW, tmp_path / "run")), (second, mend)):
                with pytest.MonkeyPatch.context() as patch:
                    Faults(patch, call, forever, number)
                    with contextlib.suppress(OutputError):
                        work()
            assert load(path).seed in (OLD.seed, NEW.seed)
            mend()
            assert load(path).seed == NEW.seed
            assert temporaries(tmp_path) == []
            pairs += 1
    assert pairs >= 200


def test_after_a_power_cut_at_any_call_the_record_on_disk_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is synced, a file's content may be lost though its new name is not: so at the rename it must be."""
    path, synced, renamed = save(OLD, tmp_path), {}, []

    def fsync(fd: int, real: Callable[[int], None] = os.fsync) -> None:
        real(fd)
        synced[os.fstat(fd).st_ino] = os.fstat(fd).st_size

    def rename(source: Path, target: Path, real: Callable[[Path, Path], None] = os.replace) -> None:
        assert synced.get(source.stat().st_ino) == source.stat().st_size > 0
        synced.clear()
        renamed.append(target)
        real(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", rename)
    save(NEW, tmp_path)
    assert renamed == [path]
    assert set(synced) == {tmp_path.stat().st_ino}  # the new name, before the record is acknowledged


# Many writers, and a limit


def test_eight_processes_write_four_hundred_records_at_once_and_all_are_whole(tmp_path: Path) -> None:
    def write(process: int) -> int:
        for i in range(50):
            save(replace(OLD, seed=process * 50 + i), tmp_path / f"{process}_{i}")
            save(replace(OLD, seed=process), tmp_path / "same")
        return 0

    children = [forked(lambda process=process: write(process)) for process in range(8)]
    assert [exit_code(pid) for pid in children] == [0] * 8
    same = load(tmp_path / "same" / RECORD)
    shutil.rmtree(tmp_path / "same")
    assert {r.seed for r in load_results(tmp_path)} == set(range(400))
    assert same.seed in range(8)
    assert temporaries(tmp_path) == []


def refusal_under_a_file_size_limit(commit: Callable[[], object], path: Path, limit: int) -> None:
    def work() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            commit()
        except OutputError as error:
            return 5 if re.search(f"^{re.escape(str(path))}: cannot be written .File too large", str(error)) else 1
        return 0

    assert exit_code(forked(work)) == 5


def test_a_record_above_the_file_size_limit_is_refused_by_name_and_the_old_one_stays(tmp_path: Path) -> None:
    path = save(OLD, tmp_path)
    refusal_under_a_file_size_limit(lambda: save(NEW, tmp_path), path, limit=512)
    assert load(path).seed == OLD.seed
    assert temporaries(tmp_path) == []


@pytest.mark.parametrize("limit", [0, 100, 1000, 10_000, 20_000])
def test_a_checkpoint_above_the_file_size_limit_is_refused_by_name_and_the_old_one_stays(
    limit: int, tmp_path: Path
) -> None:
    path = tmp_path / "last.ckpt"
    old, new = ({"state_dict": {"w": torch.full((50, 100), value)}} for value in (1.0, 2.0))
    DurableCheckpoints().save_checkpoint(old, path)
    refusal_under_a_file_size_limit(lambda: DurableCheckpoints().save_checkpoint(new, path), path, limit)
    assert torch.load(path, weights_only=True)["state_dict"]["w"].unique().tolist() == [1.0]
    assert temporaries(tmp_path) == []


def test_a_reader_never_sees_anything_but_whole_records_while_they_are_written(memory: Path) -> None:
    save(OLD, memory)

    def write() -> int:
        for _ in range(500):
            save(NEW, memory)
            save(OLD, memory)
        return 0

    pid = forked(write)
    seen = set()
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        seen.add(load(memory / RECORD).seed)  # load refuses anything else
    assert seen == {OLD.seed, NEW.seed}
