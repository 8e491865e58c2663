"""Records and checkpoints under kills, full disks and failing devices: the old file or the new one, never another.

Kills are real SIGKILLs. Failing system calls are injected from outside by strace where it may trace, and in any
case from inside, by files and functions that fail at the k-th call. MNIST_TEST_LONG=1 multiplies the counts by 10.
"""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from commands import exit_code, forked
from mnist_lightning import results
from mnist_lightning.checkpoints import DurableCheckpoints
from mnist_lightning.errors import OutputError
from mnist_lightning.results import RECORD, RunResult, load, remove_orphans, save

# Python 3.12 warns of any fork in a process with threads, and torch has some; the children here use none of them
pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork"),
]

LONG = os.environ.get("MNIST_TEST_LONG") == "1"
TIMES = 10 if LONG else 1
KILLS, NAIVE_KILLS, MEAN_DELAY_SECONDS = 1000 * TIMES, 100, 0.004
RUNS = 4
OLD = RunResult(run_name="run", fingerprint="ab12", seed=1, error="old")
NEW = replace(OLD, seed=2, error="new" * 99)
FAULTS = [errno.ENOSPC, errno.EIO]


def temporaries(directory: Path) -> list[Path]:
    return [p for p in directory.rglob("*") if p.is_file() and p.name != RECORD and p.suffix != ".ckpt"]


# 1. Killed at a random instant

# A small process of its own forks the children: a fork of this one, with torch in it, takes 50 ms
KILL_LOOP = """
import itertools, json, os, random, signal, struct, sys, time
from pathlib import Path
from mnist_lightning.results import RECORD, RunResult, load, save

directory, kind, kills, runs, mean_delay = Path(sys.argv[1]), sys.argv[2], *map(float, sys.argv[3:])

def durable(run_dir, number):
    save(RunResult(run_name=run_dir.name, fingerprint="ab12", seed=number, error="x" * (number % 997)), run_dir)

def naive(run_dir, number):
    run_dir.mkdir(exist_ok=True)
    with open(run_dir / RECORD, "w") as file:
        json.dump({"seed": number, "error": "x" * (number % 997)}, file, indent=2)

def read(path):
    try:
        return load(path).seed if kind == "durable" else json.loads(path.read_text())["seed"]
    except Exception:
        return "torn"

write = {"durable": durable, "naive": naive}[kind]
delays, last, torn, lost, left = random.Random(1), -1, 0, 0, 0
for _ in range(int(kills)):
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        for number in itertools.count(last + 1):
            write(directory / f"run{int(number % runs)}", number)
            os.write(writer, struct.pack("<q", number))
    os.close(writer)
    time.sleep(delays.expovariate(1 / mean_delay))
    os.kill(pid, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL, "the child ended by itself"
    with open(reader, "rb") as pipe:
        acknowledged = pipe.read()[-8:]
    last = struct.unpack("<q", acknowledged)[0] if acknowledged else last
    newest = [n for n in range(max(0, last - int(runs) + 1), last + 1)]  # the last acknowledged one of each run
    found = {n: read(directory / f"run{int(n % runs)}" / RECORD) for n in newest}
    torn += (bad := sum(seed == "torn" for seed in found.values()))
    # At least as new as acknowledged, and at most the one after it: written, but not acknowledged any more
    lost += sum(seed not in ("torn", n, n + runs) for n, seed in found.items())
    if bad:
        for path in directory.rglob(RECORD):
            path.unlink()
        last += int(runs)
print(json.dumps({"written": last + 1, "torn": torn, "lost": lost}))
"""


def kill_loop(directory: Path, kind: str, kills: int) -> dict[str, int]:
    """Children write records in turn into a few directories and acknowledge each; all are killed. What was found."""
    arguments = [str(directory), kind, *map(str, (kills, RUNS, MEAN_DELAY_SECONDS))]
    done = subprocess.run([sys.executable, "-c", KILL_LOOP, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: a kill hits a file there as anywhere, a hundred times as often."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


def test_no_acknowledged_record_is_lost_and_none_is_torn_by_a_thousand_kills(memory: Path) -> None:
    found = kill_loop(memory, "durable", KILLS)
    assert (found["lost"], found["torn"]) == (0, 0)
    assert found["written"] > KILLS // 4  # the children did get to write
    assert {r.run_name for r in results.load_results(memory)} == {f"run{i}" for i in range(RUNS)}
    assert len(temporaries(memory)) > KILLS // 100  # and were hit in the middle of it
    remove_orphans(memory)
    assert temporaries(memory) == []


def test_the_same_kills_tear_what_is_written_naively(memory: Path) -> None:
    """The control: without it, the test above could pass because its kills hit nothing."""
    assert kill_loop(memory, "naive", NAIVE_KILLS)["torn"] >= NAIVE_KILLS // 20


# 2. Killed, or refused by the disk, at every system call of a commit

CHILD = """
import os, secrets, sys
from pathlib import Path
from mnist_lightning.errors import OutputError
from mnist_lightning.results import from_json, save
os.getpid, secrets.token_hex = lambda: 1, lambda n: "0" * n  # strace is told the temporary file's name beforehand
record = from_json(Path(sys.argv[1]).read_text())
try:
    save(record, Path(sys.argv[2]))
except OutputError as error:
    sys.exit(5 if "result.json: cannot be written" in str(error) else 1)
"""
# the second and third name are those of other processors' kernels; strace passes over the ones it does not know
CALLS = {"openat": 2, "write": 1, "fsync": 2, "?rename,?renameat,?renameat2": 1}


def strace(*options: str, directory: Path) -> tuple[int, str]:
    """A child commits NEW to `directory` under strace; its exit code, and what strace saw of it."""
    log = directory.parent / "strace.log"
    python = [sys.executable, "-c", CHILD, str(directory.parent / "new.json"), str(directory)]
    code = subprocess.run(["strace", "-f", "-qq", "-o", str(log), *options, *python]).returncode
    return code, log.read_text()


@pytest.fixture(scope="session")
def strace_may_trace() -> None:
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    if subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True).returncode:
        pytest.skip("strace may not trace here")


@pytest.mark.usefixtures("strace_may_trace")
@pytest.mark.parametrize("calls", CALLS, ids=["openat", "write", "fsync", "rename"])
@pytest.mark.parametrize(
    ("fault", "from_then_on"),
    [("signal=KILL", ""), ("error=ENOSPC", ""), ("error=ENOSPC", "+"), ("error=EIO", ""), ("error=EIO", "+")],
)
def test_at_every_system_call_of_a_commit_the_record_is_the_old_one_or_the_new_one(
    calls: str, fault: str, from_then_on: str, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    (tmp_path / "new.json").write_text(results.to_json(NEW))
    names = [run_dir, run_dir / RECORD, run_dir / f".{RECORD}.1.0000.tmp"]
    paths = [option for name in names for option in ("-P", str(name))]  # no others are hit: not Python's own start
    n, code, seen = 0, 0, "INJECTED"
    while "INJECTED" in seen or "killed by" in seen:
        n += 1
        save(OLD, run_dir)
        code, seen = strace(
            *paths, "-e", f"trace={calls}", "-e", f"inject={calls}:{fault}:when={n}{from_then_on}", directory=run_dir
        )
        found = load(run_dir / RECORD)
        assert repr(found) in (repr(OLD), repr(NEW)), seen  # nan is not equal to itself
        if "KILL" not in fault:
            assert code == 5 or (code == 0 and found.seed == NEW.seed), seen
        remove_orphans(run_dir)
        assert temporaries(run_dir) == []
    assert n == CALLS[calls] + 1, seen  # as many as there are; then the child was left alone
    assert code == 0
    assert load(run_dir / RECORD).seed == NEW.seed


class Faults:
    """The calls a durable write makes, counted; from the `first`, one or all of them fail."""

    def __init__(self, patch: pytest.MonkeyPatch, first: int, forever: bool, number: int) -> None:
        self.count, self.hit, self.first, self.forever, self.number = 0, False, first, forever, number
        faulty_open = lambda path, mode: io.BufferedWriter(FaultyFile(self, path, mode))  # noqa: E731
        patch.setattr(results, "open", faulty_open, raising=False)
        for name in ("replace", "fsync", "open"):
            patch.setattr(results.os, name, self.wrapped(getattr(os, name)))

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


# 3. Many writers, and a limit


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
    assert {r.seed for r in results.load_results(tmp_path)} == set(range(400))
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
