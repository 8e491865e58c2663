"""Files, environments and clocks that are not as they should be: one line and an exit code, or it works."""

from __future__ import annotations

import logging
import os
import re
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from commands import Command
from mnist_lightning.command.yaml_files import LARGEST_FILE
from mnist_lightning.records.results import load_results

pytestmark = pytest.mark.faults
Run = Callable[..., tuple[int, str, str]]
Start = Callable[..., Command]
LETTERS = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10))
FILES: dict[str, tuple[bytes, str]] = {
    "tab": (b"lr: 0.1\n\tseed: 1\n", r"mine.yaml:3: (found character|found a tab character) .*; mend the file"),
    "repeated key": (b"lr: 0.1\nlr: 0.2\n", "mine.yaml:3: found duplicate key lr; mend the file"),
    "not closed": (b"lr: [1\n", "mine.yaml:3: .*; mend the file"),
    "object": (b"lr: !!python/object/apply:os.system ['touch canary']\n", "mine.yaml:2: could not determine a constru"),
    "control characters": (b"\0\1\2", "mine.yaml: control characters are not allowed; mend the file"),
    "not UTF-8": (b"\xff\xfe\xff", "mine.yaml: not UTF-8; save it as UTF-8"),
    "aliases of aliases": (f"a0: &a0 [x]\n{LETTERS}\n".encode(), "mine.yaml: 90 aliases, more than 20; write some out"),
    "contains itself": (
        b"optimizer:\n  options: &x {a: *x}\n",
        "mine.yaml: nested too deeply, or within itself; flatten",
    ),
    "too large": (b"callbacks: [" + b" " * LARGEST_FILE + b"]", r"mine.yaml: 1,048,\d+ bytes, too large; give it less"),
    "nested": (
        b"lr: " + b"[" * 5000 + b"]" * 5000,
        r"mine.yaml: nested too deeply|mine.yaml:2: exceeded maximum nesting",
    ),
    "unknown key": (b"lrr: 1\n", "lrr"),
    "not a mapping": (b"- 1\n", ""),
}


@pytest.fixture(autouse=True)
def _no_logging_kept() -> Iterator[None]:
    """A configuration of the user's own gives Hydra's loggers handlers, which would outlive the test's output."""
    before = list(logging.getLogger().handlers)
    yield
    for handler in logging.getLogger().handlers:
        if handler not in before:
            handler.close()
    logging.getLogger().handlers[:] = before


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("primary", [False, True], ids=["an experiment", "the configuration"])
def test_a_file_of_the_users_that_cannot_be_read_is_named_in_one_line(
    name: str, primary: bool, run: Run, tmp_path: Path
) -> None:
    content, message = FILES[name]
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    path = tmp_path / "conf" / ("mine.yaml" if primary else "experiment/mine.yaml")
    path.write_bytes(b"# @package _global_\n" + content)
    started, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code, out, err = run("--config-dir", str(tmp_path / "conf"), *(["-cn", "mine"] if primary else ["experiment=mine"]))
    assert (code, out) == (2, ""), err
    assert err.count("\n") == 1
    assert err.startswith("mnist-lightning: error: ")
    assert len(err) <= 201
    assert re.search(message, err.replace(f"{path.parent}/", "")), err
    assert time.process_time() - started < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
    assert not (tmp_path / "canary").exists()


def test_in_a_bare_environment_without_a_home_a_locale_or_an_input_a_run_works(start: Start, tmp_path: Path) -> None:
    bare = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "HOME": "", "TMPDIR": "/nowhere"}
    code, out, err = start("hydra.run.dir=here", real=True, **bare).wait()
    assert (code, err) == (0, ""), out + err
    assert [r.status for r in load_results(tmp_path / "here")] == ["completed"]


@pytest.mark.usefixtures("mounts")
def test_with_a_read_only_home_and_no_temporary_directory_a_sweep_works(start: Start, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    setup = "mount --bind home home && mount -o remount,ro,bind home"
    surroundings = {"HOME": str(tmp_path / "home"), "TMPDIR": "/nowhere", "XDG_CACHE_HOME": str(tmp_path / "home")}
    code, out, err = start("-m", "hydra.sweep.dir=here", MNIST_TEST_SETUP=setup, **surroundings).wait()
    assert code == 0, out + err
    assert [r.status for r in load_results(tmp_path / "here")] == ["completed"]


def test_in_a_directory_that_was_deleted_a_command_ends_in_one_line(
    run: Run, tmp_path: Path, tiny_arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    code, out, err = run("-m", *tiny_arguments)
    assert (code, out) == (5, "")
    assert err.startswith("mnist-lightning: error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("hours", [-1, -500_000, 500_000], ids=["an hour back", "to 1970", "far ahead"])
def test_no_decision_hangs_on_the_clock(
    hours: int, run: Run, tmp_path: Path, tiny_arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records are done or not whatever their times are, and durations are those of a clock that only goes forward."""
    grid = ["-m", *tiny_arguments, "hydra.sweep.dir=here", "seed=0,1"]
    assert run(*grid)[0] == 0
    kept, redone = sorted((tmp_path / "here").glob("*/result.json"))
    redone.unlink()
    content = kept.read_bytes()
    now = time.time() + hours * 3600
    for path in (tmp_path / "here").rglob("*"):
        os.utime(path, (max(now, 0), max(now, 0)))
    monkeypatch.setattr(time, "time", lambda: now)
    code, out, err = run(*grid)
    assert code == 0, err
    assert "resuming: 1 of 2 done" in out
    assert kept.read_bytes() == content
    assert all(0 < r.duration_seconds < 600 for r in load_results(tmp_path / "here"))


SLURM = ["-m", "seed=0,1", "hydra/launcher=submitit_slurm", "hydra.sweep.dir=here"]
COMMANDS = ("sbatch", "srun", "squeue", "sacct", "scancel")


def cluster(directory: Path, scripts: dict[str, str]) -> dict[str, str]:
    """The environment of a cluster whose commands are these shell scripts."""
    (directory / "bin").mkdir()
    for command, script in scripts.items():
        (directory / "bin" / command).write_text(f"#!/bin/sh\n{script}\n")
        (directory / "bin" / command).chmod(0o755)
    return {"PATH": f"{directory / 'bin'}:{os.environ['PATH']}"}


SBATCH = {
    "fails": ("echo 'sbatch: error: invalid partition specified: nope' >&2; exit 1", "invalid partition specified"),
    "answers nonsense": ("echo 'Have a nice day'", "Have a nice day"),
}


@pytest.mark.parametrize("name", SBATCH)
def test_a_cluster_that_takes_no_jobs_is_quoted_in_one_line(name: str, start: Start, tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="submitit submits: pip install 'mnist-lightning[submitit]'")
    script, quoted = SBATCH[name]
    code, out, err = start(*SLURM, **cluster(tmp_path, dict.fromkeys(COMMANDS, script))).wait()
    assert code == 2, out + err
    assert out.splitlines()[-1] == "0 of 2 done (2 missing): here"
    last = err.splitlines()[-1]
    assert last.startswith("mnist-lightning: error: hydra/launcher=submitit_slurm: ")
    assert quoted in last
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("states", "said"), [("7_0|NODE_FAIL|\\n7_1|NODE_FAIL|\\n", "NODE_FAIL"), ("", "gone from the queue")]
)
def test_jobs_that_a_cluster_took_and_lost_are_missing_not_done(
    states: str, said: str, start: Start, tmp_path: Path
) -> None:
    """Whatever `sacct` says: it fails on the many clusters without accounting."""
    pytest.importorskip("submitit", reason="submitit submits: pip install 'mnist-lightning[submitit]'")
    scripts = dict.fromkeys(COMMANDS, "exit 0") | {
        "sbatch": "echo Submitted batch job 7",
        "squeue": states and f"printf '{states}'",
    }
    code, out, err = start(*SLURM, **cluster(tmp_path, scripts)).wait()
    assert (code, out.splitlines()[-1]) == (3, "0 of 2 done (2 missing): here")
    assert f"its job 7_1 left no record: {said}" in out
    lost = f"hydra/launcher=submitit_slurm: 2 jobs left no record ({said}); see here/.submitit/, repeat the command"
    assert err == f"mnist-lightning: error: {lost}\n"
