"""Records and checkpoints under kills, full disks and failing devices: the old file or the new one, never another.

Kills are real SIGKILLs. Failing system calls are injected from outside by strace where it may trace; from inside, in
any case, in test_faults_calls.py. MNIST_TEST_LONG=1 multiplies the kills by 10.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mnist_lightning.records import results
from mnist_lightning.records.durable import remove_orphans
from mnist_lightning.records.results import RECORD, RunResult, load, save

# Python 3.12 warns of any fork in a process with threads, and torch has some; the children here use none of them
pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork"),  # of Python 3.12; the children start no threads
]

LONG = os.environ.get("MNIST_TEST_LONG") == "1"
TIMES = 10 if LONG else 1
KILLS, NAIVE_KILLS, MEAN_DELAY_SECONDS = 1000 * TIMES, 100, 0.004
RUNS = 4
OLD = RunResult(run_name="run", fingerprint="ab12", seed=1, error="old")
NEW = replace(OLD, seed=2, error="new" * 99)


def temporaries(directory: Path) -> list[Path]:
    return [p for p in directory.rglob("*") if p.is_file() and p.name != RECORD and p.suffix != ".ckpt"]


# 1. Killed at a random instant

# A small process of its own forks the children: a fork of this one, with torch in it, takes 50 ms
KILL_LOOP = """
import itertools, json, os, random, signal, struct, sys, time
from pathlib import Path
from mnist_lightning.records.results import RECORD, RunResult, load, save

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


def test_no_acknowledged_record_is_lost_and_none_is_torn_by_a_thousand_kills(memory: Path) -> None:
    found = kill_loop(memory, "durable", KILLS)
    assert (found["lost"], found["torn"]) == (0, 0)
    assert found["written"] > KILLS // 4  # the children did get to write
    assert {r.run_name for r in results.load_results(memory)} == {f"run{i}" for i in range(RUNS)}
    assert len(temporaries(memory)) > KILLS // 100  # and were hit in the middle of it
    remove_orphans(memory / f"run{i}" for i in range(RUNS))
    assert temporaries(memory) == []


def test_the_same_kills_tear_what_is_written_naively(memory: Path) -> None:
    """The control: without it, the test above could pass because its kills hit nothing."""
    assert kill_loop(memory, "naive", NAIVE_KILLS)["torn"] >= NAIVE_KILLS // 20


# 2. Killed, or refused by the disk, at every system call of a commit

CHILD = """
import os, secrets, sys
from pathlib import Path
from mnist_lightning.errors import OutputError
from mnist_lightning.records.results import from_json, save
os.getpid, secrets.token_hex = lambda: 1, lambda n: "00" * n  # strace is told the temporary file's name beforehand
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
    names = [run_dir, run_dir / RECORD, run_dir / f".{RECORD}.1.00000000.tmp"]
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
        remove_orphans([run_dir])
        assert temporaries(run_dir) == []
    assert n == CALLS[calls] + 1, seen  # as many as there are; then the child was left alone
    assert code == 0
    assert load(run_dir / RECORD).seed == NEW.seed
