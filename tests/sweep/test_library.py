"""`sweep(...)` from Python: the command's plan, records, files and safety, without Hydra."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.core.singleton import Singleton
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import OmegaConf

from mnist_lightning import RunConfig, SweepResult, report, sweep
from mnist_lightning.command.cli import register
from mnist_lightning.errors import BusyError, ConfigError, DataError, OutputError
from mnist_lightning.records import locks
from mnist_lightning.records.results import RunResult, load_results
from mnist_lightning.sweep.grid import configurations
from own_components import Net, p_loss

Run = Callable[..., tuple[int, str, str]]
Tiny = Callable[..., RunConfig]
GRID = {"optimizer": ["adam", "sgd"], "lr": [0.1]}
OVERRIDES = ["-m", "optimizer=adam,sgd", "lr=0.1"]


@pytest.fixture
def base(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """One epoch of the smallest network, in a directory of its own, without figures, which take seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report, "write_report", report.write_tables)
    return tiny(**{"trainer.max_epochs": 1})


def files(root: Path) -> set[str]:
    """All but what Hydra alone writes, and what the page needs figures for."""
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    return {name for name in found if ".hydra" not in name and name != "multirun.yaml"}


def times(root: Path) -> dict[str, int]:
    """When each record was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in root.glob("*/result.json")}


def learned(result: RunResult) -> tuple[Any, ...]:
    """What a record says of the training, without its time."""
    return result.fingerprint, result.status, result.loss, result.loss_test, result.accuracy_test, result.best_epoch


def words(text: str) -> list[str]:
    """What a sweep has printed, without seconds, what is left of them, and the numbers of the table."""
    lines = [re.sub(r"  accuracy.*|\d+\.\d s.*", "", line) for line in text.splitlines()]
    return [line for line in lines if not re.match(r"#| ?\d  ", line)]


def test_a_sweep_leaves_and_prints_what_the_command_does_and_each_goes_on_with_the_others(
    run: Run, base: RunConfig, tiny_arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, printed, _ = run(*OVERRIDES, *tiny_arguments, "hydra.sweep.dir=theirs")
    ours = sweep(base, GRID, "ours")
    assert (code, words(str(capfd.readouterr().out))) == (0, words(printed.replace("theirs", "ours")))
    before = times(tmp_path / "theirs")
    theirs = sweep(base, GRID, "theirs")
    assert before == times(tmp_path / "theirs"), "nothing was trained again"
    assert files(tmp_path / "ours") == files(tmp_path / "theirs")
    assert list(map(learned, ours.results)) == list(map(learned, theirs.results))
    plans = [json.loads((tmp_path / name / "plan.json").read_text()) for name in ("ours", "theirs")]
    assert plans[0] == plans[1]
    assert list(ours.frame["optimizer"]) == ["Adam", "SGD"], "in the grid's order"

    lost = sorted(before)[1]
    for root in ("ours", "theirs"):
        (tmp_path / root / lost / "result.json").unlink()
    sweep(base, GRID, tmp_path / "theirs")
    code, out, _ = run(*OVERRIDES, *tiny_arguments, "hydra.sweep.dir=ours")
    assert (code, "resuming: 1 of 2 done" in out) == (0, True)
    assert {name for name, at in times(tmp_path / "theirs").items() if before[name] != at} == {lost}
    assert [r.status for r in load_results("ours")] == ["completed"] * 2


def test_a_result_is_short_in_a_shell_and_in_a_notebook(base: RunConfig) -> None:
    done = sweep(base, {"lr": [0.1, 0.2]}, "a<b")
    assert repr(done).startswith("a<b: 2 of 2 done; best RMSprop mse 0.")
    assert len(repr(done).splitlines()) == 1
    html = done._repr_html_()
    assert html.startswith("<p>a&lt;b: 2 of 2 done</p><table>")
    assert html.count("<tr>") == 3
    assert html.endswith("<p>a&lt;b/results.csv, a&lt;b/results.xlsx</p>") or "results.csv" in html
    assert {type(r) for r in done.results} == {RunResult}
    assert done.frame is done.frame
    assert all(path.is_file() for path in done.paths.values())


def test_a_run_that_fails_or_diverges_is_a_row_and_failed_ones_are_tried_again(base: RunConfig, tmp_path: Path) -> None:
    bad = {"_target_": "fault_callbacks.Hungry"}
    grid = {"callbacks": [[], [bad]], "lr": [0.1, 1e30]}
    keys: dict[str, Any] = {"optimizer": "sgd", "loss": "cross_entropy"}
    done = sweep(base, grid, "here", **keys)
    assert [r.status for r in done.results] == ["completed", "diverged", "failed", "failed"]
    assert (done.is_whole, done.summary) == (False, "1 of 4 done (2 failed, 1 diverged)")
    before = times(tmp_path / "here")
    again = sweep(base, grid, "here", **keys)
    assert [r.status for r in again.results] == [r.status for r in done.results]
    kept = {r.run_name for r in done.results[:2]}
    assert {name for name, at in times(tmp_path / "here").items() if at == before[name]} == kept


def test_a_sweep_that_is_interrupted_tells_so_and_the_same_call_ends_as_if_it_had_not_been(
    tiny: Tiny, base: RunConfig, break_off: list[object], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    two = tiny()  # epochs
    whole = sweep(two, {"seed": [0, 1]}, "whole")
    break_off[:] = [KeyboardInterrupt()]
    capsys.readouterr()
    with pytest.raises(KeyboardInterrupt):
        sweep(two, {"seed": [0, 1]}, "cut")
    assert capsys.readouterr().out.splitlines()[-1] == "0 of 2 done (2 missing): cut"
    assert not locks.is_held(tmp_path / "cut" / locks.LOCK)
    break_off[:] = [None]
    resumed = sweep(two, {"seed": [0, 1]}, "cut")
    assert break_off[1:] == [1, 0, 1], "the first run went on with its second epoch"
    assert list(map(learned, resumed.results)) == list(map(learned, whole.results))
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_a_sweep_that_is_terminated_ends_its_program_with_143_and_records_no_failure(
    tiny: Tiny, base: RunConfig, break_off: list[object], tmp_path: Path
) -> None:
    break_off[:] = [SIGTERMException()]
    with pytest.raises(SystemExit) as ended:
        sweep(tiny(), {"seed": [0]}, "here")
    assert (ended.value.code, load_results("here")) == (143, [])


@pytest.mark.parametrize("n_jobs", [None, 1])  # 1: joblib without a process
def test_what_ends_a_sweep_leaves_the_report_of_what_is_there(
    n_jobs: int | None,
    base: RunConfig,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from mnist_lightning.training import run as training

    train = training.train_checked

    def full_disk(config: RunConfig, *more: Any, **options: Any) -> RunResult:
        if config.seed:
            raise OutputError("here/x: cannot be written (No space left on device); free the disk")
        return train(config, *more, **options)

    monkeypatch.setattr(training, "train_checked", full_disk)
    with pytest.raises(OutputError, match="^here/x: cannot be written"):
        sweep(base, {"seed": [0, 1, 2]}, "here", n_jobs=n_jobs)
    assert capsys.readouterr().out.splitlines()[-1] == "1 of 3 done (2 missing): here"
    assert len((tmp_path / "here" / "results.csv").read_text().splitlines()) == 2


def test_a_directory_that_is_in_use_or_holds_another_sweep_or_a_run_is_refused_in_pythons_words(
    base: RunConfig, tmp_path: Path
) -> None:
    done = sweep(base, {"lr": [0.1]}, "here")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "here").rglob("*")}
    refused = {
        "here": r"^directory=here: holds another sweep \(lr 0.1 -> 0.1 0.2\); choose another directory$",
        f"here/{done.results[0].run_name}": r"^directory=here/RMS.*: holds a single run \(result.json\)",
        " ": "^directory= : empty; name a directory",
    }
    for directory, message in refused.items():
        with pytest.raises(ConfigError, match=message):
            sweep(base, {"lr": [0.1, 0.2]}, directory)
    with locks.alone(tmp_path / "busy" / locks.LOCK), pytest.raises(BusyError, match=r"busy: in use by process \d+"):
        sweep(base, {"lr": [0.1]}, "busy")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "here").rglob("*")} == before


def test_a_file_where_a_directory_must_be_is_told_in_a_line(base: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / base.run_name).write_text("mine")
    (tmp_path / "file").write_text("mine")
    for directory in ("here", "file"):
        with pytest.raises(OutputError, match=r"^\S+: .*; choose another directory$"):
            sweep(base, directory=directory)
    assert (tmp_path / "here" / base.run_name).read_text() == (tmp_path / "file").read_text() == "mine"


def test_a_refused_grid_leaves_nothing(base: RunConfig, tmp_path: Path) -> None:
    for keys, error in (({"optimizer": "torch.nn.Linear"}, ConfigError), ({"data": {"root": "/nowhere"}}, DataError)):
        with pytest.raises(error):
            sweep(base, {"seed": [0, 1]}, "here/inner", **keys)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match=r"^retrain=true: a sweep keeps .*choose another directory"):
        sweep({**vars(base), "retrain": True}, {"seed": [0, 1]}, "here")
    assert list(tmp_path.iterdir()) == []


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"lr": [0.1, -1], "sed": [1]}, {}, r"sed=1: no such key; did you mean seed\? \(also wrong: lr=-1.0\)"),
    ({"lr": 0.1}, {}, r"lr=0.1: not a list of values; give {'lr': \[a, b\]}"),
    ({"optimizer": "adam,sgd"}, {}, "optimizer=adam,sgd: not a list of values"),
    ({"model": [OmegaConf.create({"num_channels": "${oc.env:NOPE}"})]}, {}, "num_channels: .*NOPE.*; write the value"),
    ({"lr": []}, {}, r"lr=\[\]: has no values; give at least one"),
    ({"seed": range(1000), "lr": [0.1] * 1000}, {}, r"sweep: 1,000,000 runs, more than 100,000 \(1,000 values of seed"),
    ({"seed": count()}, {}, r"sweep: 100,001 runs, more than 100,000"),
    ({}, {"launcher": "ray"}, r"launcher=ray: not from Python; use basic, fused, joblib, or .* hydra/launcher=X"),
    ({}, {"n_jobs": 0}, "n_jobs=0: no number of processes; use 1 or more, or -1"),
    ({}, {"n_jobs": 2, "launcher": "fused"}, "n_jobs=2: fused trains in this process"),
]  # fmt: skip


@pytest.mark.parametrize(("grid", "options", "message"), REFUSED, ids=[m[:20] for _, _, m in REFUSED])
def test_what_cannot_be_swept_is_refused_in_a_line(
    grid: dict[str, Any], options: dict[str, Any], message: str, base: RunConfig, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        sweep(base, grid, "here", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_grid_names_each_problem_once() -> None:
    with pytest.raises(ConfigError) as caught:
        configurations(None, {"lr": [0.1, -1, 0], "sed": [1], "model.num_conv": [9, 1]})
    assert [f"{p.key}={p.value}" for p in caught.value.problems] == ["sed=1", "model.num_conv=9", "lr=-1.0", "lr=0.0"]


@pytest.fixture
def hydras() -> Iterator[None]:
    """Whatever Hydra holds in this process is put back."""
    state = Singleton.get_state()
    yield
    Singleton.set_state(state)


@pytest.mark.usefixtures("hydras")
def test_the_grid_is_that_of_the_command_line_in_its_order() -> None:
    overrides = {
        "optimizer": ["sgd", "torch_sgd"],
        "data": ["synthetic", "mnist"],
        "optimizer.options.momentum": [0.5, 0.9],
        "model": [{"num_channels": 4}],
    }
    base = RunConfig(data={"batch_size": 32}, model={"num_dense": 3})
    ours = [config.fingerprint for config in configurations(base, overrides)]
    register()
    theirs = []
    with initialize_config_module("mnist_lightning.conf", version_base="1.3"):
        for optimizer in ("sgd", "torch_sgd"):
            for data in ("synthetic", "mnist"):
                for momentum in (0.5, 0.9):
                    words = [f"optimizer={optimizer}", f"data={data}", f"+optimizer.options.momentum={momentum}"]
                    words += ["data.batch_size=32", "model.num_dense=3", "model={num_channels:4}"]
                    composed = compose("config", overrides=words)
                    theirs.append(RunConfig(**{str(k): v for k, v in composed.items()}).fingerprint)
    assert ours == theirs


def test_nothing_of_the_process_is_changed_and_a_sweep_can_be_made_in_anybodys_hydra_program(base: RunConfig) -> None:
    def state() -> tuple[Any, ...]:
        hydra = {kind: vars(one).copy() for kind, one in Singleton._instances.items()}
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        return repr(hydra), Path.cwd(), dict(os.environ), list(sys.argv), handlers, sys.unraisablehook

    with initialize_config_module("mnist_lightning.conf", version_base="1.3"):
        sweep(base, {"seed": [0]}, "first")  # whatever is made once in a process
        before = state()
        once = sweep(base, {"seed": [0, 1]}, "here")
        twice = sweep(base, {"seed": [0, 1]}, "there")
        assert state() == before
    assert list(map(learned, once.results)) == list(map(learned, twice.results))


def test_a_sweep_in_another_thread_is_like_any_other(base: RunConfig) -> None:
    done: list[SweepResult] = []
    thread = threading.Thread(target=lambda: done.append(sweep(base, {"seed": np.arange(2)}, "here")))
    thread.start()
    thread.join()
    assert [r.seed for r in done[0].results] == [0, 1]


def test_a_single_configuration_and_repetitions_are_a_sweep_too(
    base: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(base, directory="one").summary == "1 of 1 done"
    done = sweep(OmegaConf.create({"seed": 3}), {"seed": [0, 0]}, "two", **_keys(base))
    assert "1 of 2 runs are repetitions and will run once" in capsys.readouterr().out
    assert [r.seed for r in done.results] == [0]


def _keys(config: RunConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in ("model", "data", "trainer")}


def test_runs_of_one_architecture_are_trained_together_and_are_those_of_the_command(
    base: RunConfig, run: Run, tiny_arguments: list[str]
) -> None:
    fused = sweep(base, GRID, "fused", launcher="fused")
    assert {(r.engine, r.group_size) for r in fused.results} == {("fused", 2)}
    alone = sweep(base, GRID, "alone")
    for a, b in zip(fused.results, alone.results, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-5)
    code, out, _ = run(*OVERRIDES, *tiny_arguments, "hydra.sweep.dir=fused", "hydra/launcher=fused")
    assert (code, "resuming: 2 of 2 done" in out) == (0, True)


def test_code_of_the_users_in_a_grid_is_what_its_name_is_on_the_command_line(
    base: RunConfig, run: Run, tiny_arguments: list[str]
) -> None:
    base = RunConfig(data=base.data, trainer=base.trainer)  # a mapping would be put beside the sizes of its network
    nets = [Net, {"_target_": "own_components.Net", "width": 4}]
    done = sweep(base, {"model": nets, "optimizer": [torch.optim.RAdam], "loss": [p_loss]}, "here")
    assert [r.status for r in done.results] == ["completed"] * 2
    assert len({r.num_parameters for r in done.results}) == 2
    own = ["model._target_=own_components.Net", "optimizer=torch.optim.RAdam", "loss=own_components.p_loss"]
    sizes = [argument for argument in tiny_arguments if not argument.startswith("model.")]
    once = sweep(base, {"model": [partial(Net, width=4)], "optimizer": ["torch.optim.RAdam"], "loss": [p_loss]}, "one")
    code, out, err = run("-m", *own, "+model.width=4", *sizes, "hydra.sweep.dir=one")
    assert (code, "resuming: 1 of 1 done" in out) == (0, True), err
    assert once.results[0].fingerprint == done.results[1].fingerprint


def test_without_a_directory_a_fresh_one_is_made(base: RunConfig) -> None:
    done = sweep(base, {"lr": [0.1]})
    assert re.fullmatch(r"outputs/\d{4}-.*", str(done.directory))
    assert (done.directory / "plan.json").is_file()


@pytest.mark.faults
def test_joblibs_processes_train_what_this_process_does_and_one_that_dies_costs_nobody_elses_run(
    base: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("joblib", reason='pip install "mnist-lightning[joblib]"')
    alone = sweep(base, {"seed": [0]}, "alone")
    killer = {"_target_": "fault_callbacks.KillWorker", "marker": str(tmp_path / "once")}
    data = {"root": os.path.relpath(base.data.root)}
    done = sweep({**vars(base), "data": data}, {"callbacks": [[], [killer]]}, "here", n_jobs=2)
    assert [r.status for r in done.results] == ["completed"] * 2
    assert learned(done.results[0]) == learned(alone.results[0])
    assert "its worker died; tried again" in capsys.readouterr().out
