"""Signals and closed streams: a sweep ends, or goes on, as it should."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from commands import Command, wait_for
from mnist_lightning.records.results import load_results
from mnist_lightning.sweep.sweep import Sweep

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_a_sweep_with_its_table_and_the_way_to_resume(
    number: signal.Signals, code: int, word: str, start: Callable[..., Command], tmp_path: Path
) -> None:
    """Ctrl-C of a real interpreter."""
    arguments = ["-m", "hydra.sweep.dir=here", "trainer.max_epochs=2,100000"]
    command = start(*arguments, real=number == signal.SIGINT)
    begun = "*/checkpoints/last.ckpt"  # the first run is done, the second one will not end by itself
    wait_for(lambda: len(list((tmp_path / "here").glob(begun))) == 2 or command.poll() is not None, 120, command)
    command.send(number)
    found, _, err = command.wait(60)
    assert found == code
    last = err.splitlines()[-1]
    assert last.startswith(f"{word}: 1 of 2 done (1 missing): here; resume: python -m mnist_lightning -m ")
    assert len(pd.read_excel(tmp_path / "here" / "results.xlsx")) == 1


HARD = [
    'callbacks=[{_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: "val_loss", patience: 99}]',
    "data.batch_size=${model.num_channels}",
]


@pytest.mark.parametrize("grid", [["-m", "seed=${data.val_size},1"], []], ids=["a sweep", "a run"])
def test_what_is_printed_to_resume_goes_on_in_the_same_directory_when_a_shell_runs_it(
    grid: list[str], run: Run, tiny_arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the command named no directory, so that it got a fresh one. A run's line is split here as a shell does."""

    def fit(*_: object, **options: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)

    with monkeypatch.context() as patch:
        patch.setattr("lightning.Trainer.fit", fit)
        code, _, err = run(*grid, *tiny_arguments, *HARD)
    assert code == 143
    *_, line = err.splitlines()
    (directory,) = (p.parent if grid else p for p in Path("outputs").glob("*/*_*") if p.is_dir())
    said = f"terminated: 0 of {2 if grid else 1} done ({2 if grid else 1} missing): {directory}; resume: "
    assert line.startswith(said)
    if grid:
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        typed = line.removeprefix(said)
        done = subprocess.run(typed, shell=True, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
        assert done.returncode == 0
    else:
        python, *arguments = shlex.split(line.removeprefix(said))
        assert (python, arguments[:2], run(*arguments[2:])[0]) == ("python", ["-m", "mnist_lightning"], 0)
    assert len(load_results(directory)) == (2 if grid else 1)
    assert len(list(Path("outputs").iterdir())) == 1


def test_a_signal_that_python_drops_in_a_destructor_is_sent_again(
    run: Run, tiny_arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the garbage collector calls one between two runs."""

    class Dropping:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)  # the handler runs here

    def train(config: object, path: Path, **options: object) -> None:
        Dropping()
        time.sleep(20)

    monkeypatch.setattr("mnist_lightning.training.run.train_checked", train)
    began = time.monotonic()
    code, _, err = run("-m", *tiny_arguments, "seed=0,1", "hydra.sweep.dir=here")
    assert (code, time.monotonic() - began < 15) == (143, True)
    assert err.splitlines()[-1].startswith("terminated: 0 of 2 done (2 missing): here; resume: ")
    assert "Exception ignored" not in err


@pytest.mark.parametrize("multirun", [["-m", "seed=0,1", "hydra.sweep.dir=here"], ["hydra.run.dir=here"]], ids=len)
def test_what_a_library_makes_of_a_signal_is_no_failure_of_the_run(
    multirun: list[str], run: Run, tiny_arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torch's writer does, and OmegaConf in the middle of an assignment."""

    def train(config: object, path: Path, **options: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(20)
        except BaseException:
            raise RuntimeError("unexpected pos 376384 vs 376336") from None

    monkeypatch.setattr("mnist_lightning.training.run.train_checked", train)
    code, out, err = run(*tiny_arguments, *multirun)
    assert code == 130
    assert "failed" not in out + err
    assert "interrupted" in err.splitlines()[-1]
    assert not list(Path("here").rglob("result.json"))


def test_a_second_signal_counts_whatever_a_library_makes_of_it(
    run: Run, tiny_arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """matplotlib's compiled parts make a ValueError of any exception."""

    def train(config: object, path: Path, **options: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)

    def collect(sweep: Sweep) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(20)
        except BaseException:
            raise ValueError("Invalid affine transformation matrix") from None

    monkeypatch.setattr("mnist_lightning.training.run.train_checked", train)
    monkeypatch.setattr(Sweep, "collect", collect)
    code, _, err = run("-m", *tiny_arguments, "hydra.sweep.dir=here")
    assert (code, err.startswith("interrupted: the tables may be those of before; resume: ")) == (130, True)


def test_closed_standard_streams_are_no_error(tmp_path: Path, tiny_arguments: list[str]) -> None:
    command = shlex.join([sys.executable, "-m", "mnist_lightning", "-m", *tiny_arguments, "hydra.sweep.dir=here"])
    done = subprocess.run(["bash", "-c", f"{command} seed=0 <&- >&- 2>&-"], cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert [r.status for r in load_results(tmp_path / "here")] == ["completed"]


def ignore_all() -> None:
    for name in NAMES:
        signal.signal(getattr(signal, name), signal.SIG_IGN)


NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


def test_signals_that_whoever_started_the_command_ignores_stay_ignored(
    tiny_arguments: list[str], tmp_path: Path
) -> None:
    """As `nohup` does SIGHUP, and a shell SIGINT for what it runs in the background."""
    slow = "callbacks=[{_target_:fault_callbacks.Slow,seconds:0.3}]"
    process = subprocess.Popen(
        [sys.executable, "-m", "mnist_lightning", *tiny_arguments, slow, "hydra.run.dir=here"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=ignore_all,
    )
    try:
        while process.poll() is None and not (tmp_path / "here" / "result.json").exists():
            for name in NAMES:  # while it is imported, and while it trains
                process.send_signal(getattr(signal, name))
            time.sleep(0.2)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[-1] == "1 of 1 done: here"
