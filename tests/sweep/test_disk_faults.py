"""Disks that are full, read-only or not there, before a sweep and in its middle: the exit code says so, records stay.

The disks are real: a file system in memory, or a read-only view of a directory, mounted in a namespace of the
command's own.
"""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from commands import Command, exit_code, forked
from mnist_lightning.records.results import RunResult, load_results, save

pytestmark = [
    pytest.mark.faults,
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork"),  # of Python 3.12; see test_data.py
]
Start = Callable[..., Command]
GRID = ["-m", "seed=0,1,2", "hydra.sweep.dir=disk/here"]
KEEP = "cp -r disk kept"  # nobody else sees what was mounted


def with_disk(start: Start, tmp_path: Path, setup: str, *arguments: str) -> tuple[int, str, str]:
    (tmp_path / "disk").mkdir(exist_ok=True)
    return start(*arguments, MNIST_TEST_SETUP=setup, MNIST_TEST_TEARDOWN=KEEP).wait()


@pytest.mark.usefixtures("mounts")
def test_a_disk_too_small_for_the_checkpoints_is_refused_before_the_first_run(start: Start, tmp_path: Path) -> None:
    code, out, err = with_disk(start, tmp_path, "mount -t tmpfs -o size=128k none disk", *GRID)
    assert code == 5, out + err
    assert err.startswith("mnist-lightning: error: disk/here: needs about 0.4 MB for checkpoints, 0.1 MB free; free")
    assert err.count("\n") == 1
    assert out == "0 of 3 done (3 missing): disk/here\n"
    assert not [*(tmp_path / "kept").rglob("*.ckpt"), *(tmp_path / "kept").rglob(".attempts")]


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("cat /dev/zero > disk/filler; true", "No space left"),
        ("mount --bind disk disk && mount -o remount,ro,bind disk", "Read-only file system"),
    ],
    ids=["full", "read-only"],
)
def test_a_disk_that_gives_out_in_mid_sweep_ends_it_with_what_was_done(
    fault: str, reason: str, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "fault.sh").write_text(fault)
    grid = [*GRID, "callbacks=[{_target_:fault_callbacks.Shell,command:'sh fault.sh'}]"]
    code, out, err = with_disk(start, tmp_path, "mount -t tmpfs -o size=8m none disk", *grid)
    assert code == 5, out + err
    assert "1 of 3 done (2 missing): disk/here" in out.splitlines()
    assert err.splitlines()[-1].startswith("mnist-lightning: error: ")
    assert reason in err.splitlines()[-1]
    (kept,) = (tmp_path / "kept" / "here").glob("*/result.json")
    before = kept.read_bytes()

    # on a larger disk the same command ends what it began
    (tmp_path / "kept" / "filler").unlink(missing_ok=True)
    (tmp_path / "disk").rmdir()
    (tmp_path / "kept").rename(tmp_path / "disk")
    (tmp_path / "fault.sh").write_text("")
    code, out, err = start(*grid).wait()
    assert code == 0, out + err
    assert out.splitlines()[-1] == "3 of 3 done: disk/here"
    assert (tmp_path / "disk" / kept.relative_to(tmp_path / "kept")).read_bytes() == before


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize("arguments", [["-m", "hydra.sweep.dir=disk/here"], ["hydra.run.dir=disk/here"]])
def test_a_read_only_output_directory_is_refused_before_the_first_run(
    arguments: list[str], start: Start, tmp_path: Path
) -> None:
    setup = "mount --bind disk disk && mount -o remount,ro,bind disk"
    code, out, err = with_disk(start, tmp_path, setup, *arguments)
    assert (code, out) == (5, "")
    assert "disk/here" in err
    assert "Read-only file system" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["-m", "hydra.sweep.dir=disk/here"], ["hydra.run.dir=disk/here"]])
def test_a_file_where_a_directory_is_needed_is_refused_before_the_first_run(
    arguments: list[str], start: Start, tmp_path: Path
) -> None:
    (tmp_path / "disk").write_text("a file")
    code, out, err = start(*arguments).wait()
    assert (code, out) == (5, "")
    assert "Not a directory" in err
    assert err.count("\n") == 1


@pytest.mark.usefixtures("mounts")
def test_a_read_only_data_directory_that_is_complete_works(start: Start, tmp_path: Path, mini_mnist: Path) -> None:
    shutil.copytree(mini_mnist, tmp_path / "disk")
    setup = "mount --bind disk disk && mount -o remount,ro,bind disk"
    code, out, err = start("data.root=disk", "hydra.run.dir=here", MNIST_TEST_SETUP=setup).wait()
    assert code == 0, out + err
    assert [r.status for r in load_results(tmp_path / "here")] == ["completed"]


def test_two_hundred_and_sixteen_records_are_read_with_thirty_two_open_files(tmp_path: Path) -> None:
    def work() -> int:
        os.closerange(3, 4096)  # pytest's
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
        for i in range(216):
            save(replace(RunResult(run_name=f"run{i}", fingerprint="ab12"), seed=i), tmp_path / f"run{i}")
        return 0 if {r.seed for r in load_results(tmp_path)} == set(range(216)) else 3

    assert exit_code(forked(work)) == 0
