"""What has nothing to train imports neither torch nor Lightning, and touches no file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_HEAVY = ("torch", "lightning", "torchvision", "torchmetrics")
# the modules that a command has imported when it ends, as the last line of its output
_TOLD = """
import json, sys
from mnist_lightning.command import cli
code = cli.main(sys.argv[1:])
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
sys.exit(code)
"""


def imported(*arguments: str, code: int, program: str = _TOLD) -> set[str]:
    """The heavy packages that the command has imported."""
    ended = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert ended.returncode == code, ended.stderr
    return set(json.loads(ended.stdout.splitlines()[-1])) & set(_HEAVY)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["--cfg", "job"], 0),
        (["lr=-1"], 2),
        (["lr=much"], 2),
        (["optimiser=adam"], 2),
        (["optimizer=adamm"], 2),
        (["model.num_conv=9"], 2),
        (["trainer.max_epoch=3"], 2),
        (["-m", "lr=0.1,-1"], 2),
        (["-m", "retrain=true", "data=synthetic"], 2),
        (["-m", "hydra/launcher=slurm"], 2),
        (["-m", "hydra.sweep.subdir=x"], 2),
        (["data.root=/nonexistent", "data.download=false"], 4),
        (["-m", "data.root=/nonexistent", "data.download=false", "experiment=full_grid"], 4),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_refusal_and_whatever_only_tells_import_no_torch(
    arguments: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert imported(*arguments, code=code) == set()


def test_damaged_data_and_too_many_images_are_found_without_torch(
    mini_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for grid in ([], ["-m"]):
        assert imported(*grid, f"data.root={mini_mnist}", "data.train_size=10000", code=2) == set()


def stamps(root: Path) -> dict[str, tuple[int, int, int]]:
    """Each file and directory below `root`, with what changes when it is written."""
    entries = [root, *root.rglob("*")]
    return {str(p): ((s := p.stat()).st_ino, s.st_size, s.st_mtime_ns) for p in entries}


def test_a_finished_sweep_repeated_imports_no_torch_and_touches_no_file(
    tiny_arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["-m", *tiny_arguments, "lr=0.01,0.1", "hydra.sweep.dir=here"]
    assert imported(*command, code=0) == set(_HEAVY), "there is something to train"
    before = stamps(Path("here"))
    for _ in range(2):
        assert imported(*command, code=0) == set()
        assert stamps(Path("here")) == before


def test_a_finished_run_repeated_imports_no_torch(run: Callable[..., Any], tiny_arguments: list[str]) -> None:
    command = [*tiny_arguments, "hydra.run.dir=here"]
    assert run(*command).code == 0
    assert imported(*command, code=0) == set()


def test_the_report_imports_no_torch(run: Callable[..., Any], tiny_arguments: list[str]) -> None:
    assert run("-m", *tiny_arguments, "seed=0", "hydra.sweep.dir=here").code == 0
    assert (
        imported("here", code=0, program=_TOLD.replace("command import cli", "report import __main__ as cli")) == set()
    )


def test_another_grid_and_a_directory_in_use_are_refused_without_torch(
    run: Callable[..., Any], tiny_arguments: list[str]
) -> None:
    command = ["-m", *tiny_arguments, "hydra.sweep.dir=here"]
    assert run(*command, "seed=0").code == 0
    assert imported(*command, "seed=0,1", code=2) == set()
    fcntl = pytest.importorskip("fcntl", reason="Windows has no flock")
    with open("here/.lock", "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert imported(*command, "seed=0", code=7) == set()
