"""The command line: one run, one grid, one line per error, an exit code that tells the truth."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from mnist_lightning.command import cli
from mnist_lightning.records.results import load_results
from mnist_lightning.sweep import progress
from mnist_lightning.sweep.sweep import Sweep, current

Run = Callable[..., tuple[int, str, str]]


def test_one_command_trains_one_run_and_a_row_stands_in_a_workbook(run: Run, tiny_arguments: list[str]) -> None:
    code, out, err = run(*tiny_arguments, "lr=0.01")
    assert (code, err) == (0, "")
    assert re.search(r"^RMSprop mse 0\.01 2/1/0  accuracy 0\.\d{4}  \d+\.\d s$", out, re.M)
    (workbook,) = Path("outputs").glob("*/RMSprop_*/results.xlsx")
    row = pd.read_excel(workbook, sheet_name="Results").iloc[0]
    assert (row["optimizer"], row["learning_rate"], row["status"]) == ("RMSprop", 0.01, "completed")
    assert {"result.json", "config.yaml", ".hydra", "metrics.csv", "checkpoints"} <= {
        p.name for p in workbook.parent.iterdir()
    }


def test_a_grid_gives_a_line_per_run_and_a_table(run: Run, tiny_arguments: list[str]) -> None:
    code, out, err = run("-m", *tiny_arguments, "optimizer=adam,torch.optim.RAdam", "lr=0.001,0.01")
    assert (code, err) == (0, "")
    lines = [line for line in out.splitlines() if "of 4  " in line]
    assert [line.split()[0] for line in lines] == ["1", "2", "3", "4"]
    assert re.search(r"accuracy 0\.\d{4}  \d+\.\d s  about \d+ (s|min) left$", lines[0])
    (root,) = Path("outputs").iterdir()
    table = pd.read_csv(root / "results.csv")
    assert sorted(zip(table["optimizer"], table["learning_rate"], strict=True)) == [
        ("Adam", 0.001),
        ("Adam", 0.01),
        ("RAdam", 0.001),
        ("RAdam", 0.01),
    ]
    assert len(pd.read_excel(root / "results.xlsx", sheet_name="Results")) == 4
    assert {p.name for p in root.iterdir() if p.is_dir()} >= set(table["run_name"])


def test_repeating_an_experiment_trains_nothing_again(run: Run) -> None:
    first = run("-m", "experiment=smoke")
    assert first[0] == 0
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in Path("outputs/smoke").glob("*/result.json")}
    code, out, _ = run("-m", "experiment=smoke")
    assert code == 0
    assert "resuming: 2 of 2 done" in out
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in Path("outputs/smoke").glob("*/result.json")} == before


def test_an_experiment_is_a_sweep_also_without_the_flag_and_overrides_win(run: Run) -> None:
    code, _, _ = run("experiment=smoke", "optimizer=sgd", "hydra.sweep.dir=here")
    assert code == 0
    assert [r.optimizer for r in load_results("here")] == ["SGD"]


def test_another_grid_in_the_same_directory_is_refused_with_the_difference(run: Run, tiny_arguments: list[str]) -> None:
    run("-m", *tiny_arguments, "hydra.sweep.dir=here", "seed=0")
    code, out, err = run("-m", *tiny_arguments, "hydra.sweep.dir=here", "seed=1,2", "lr=0.1")
    assert (code, out) == (2, "")
    message = "hydra.sweep.dir=here: holds another sweep (lr 0.001 -> 0.1, seed 0 -> 1 2); choose another directory"
    assert err == f"mnist-lightning: error: {message}\n"
    assert len(load_results("here")) == 1


def test_repeated_configurations_run_once_and_that_is_said(run: Run, tiny_arguments: list[str]) -> None:
    code, out, _ = run("-m", *tiny_arguments, "lr=0.1,0.10,1e-1")
    assert code == 0
    assert "2 of 3 runs are repetitions and will run once" in out
    assert "1 of 1 done" in out


FAILING = "callbacks=[{_target_:lightning.pytorch.callbacks.EarlyStopping,monitor:nothing}]"


def test_a_run_that_raises_becomes_a_failed_row_and_the_others_go_on(run: Run, tiny_arguments: list[str]) -> None:
    code, out, err = run("-m", *tiny_arguments, f"{FAILING},[]", "hydra.sweep.dir=here")
    assert code == 3
    assert err == ""
    assert re.search(
        r"^1 of 2  callbacks=\S+ .*  failed: RuntimeError: Early stopping .*  see RMSprop_mse_\S+/error.txt$", out, re.M
    )
    assert out.splitlines()[-1] == "1 of 2 done (1 failed): here"
    table = pd.read_excel("here/results.xlsx").sort_values("status")
    assert table["status"].tolist() == ["completed", "failed"]
    assert "Early stopping conditioned" in table["error"].iloc[1]
    (failed,) = Path("here").glob("*/error.txt")
    assert "Traceback" in failed.read_text()


def test_a_single_run_that_raises_says_where_its_traceback_is(run: Run, tiny_arguments: list[str]) -> None:
    code, out, _ = run(*tiny_arguments, FAILING, "hydra.run.dir=here")
    assert code == 3
    assert re.search(r" failed: RuntimeError: Early stopping .*  see error.txt$", out, re.M)
    assert Path("here/error.txt").is_file()


def test_a_failed_run_is_tried_again_and_its_traceback_goes(
    run: Run, tiny_arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.import_module("mnist_lightning.training.run")  # it is imported when a run begins

    def broken(*arguments: object) -> None:
        raise RuntimeError("the disk was full of ants")

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["mnist_lightning.training.run"], "train_checked", broken)
        assert run("-m", *tiny_arguments, "hydra.sweep.dir=here", "lr=0.1,0.2")[0] == 3
    code, out, _ = run("-m", *tiny_arguments, "hydra.sweep.dir=here", "lr=0.1,0.2")
    assert code == 0
    assert "2 of 2 done: here" in out
    assert not list(Path("here").glob("*/error.txt"))


def test_a_diverged_run_is_marked_and_gives_3(run: Run, tiny_arguments: list[str]) -> None:
    code, out, _ = run(*tiny_arguments, "loss=cross_entropy", "optimizer=sgd", "lr=1e30", "hydra.run.dir=here")
    assert code == 3
    assert "diverged, accuracy" in out
    assert out.splitlines()[-1] == "0 of 1 done (1 diverged): here"


def test_v_shows_the_traceback(run: Run) -> None:
    code, _, err = run("lr=-1", "-v")
    assert code == 2
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("mnist-lightning: error: lr=-1.0")


def test_a_bug_is_called_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "register", lambda arguments: 1 / 0)
    code, _, err = run()
    assert code == 1
    assert err.startswith("mnist-lightning: error: ZeroDivisionError: division by zero; a bug: please report it")


def test_help_names_the_commands_the_keys_and_the_choices(run: Run) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for word in ("-m experiment=quickstart", "num_channels", "max_epochs", "adadelta", "fashion_mnist", "network_size"):
        assert word in out


def test_a_workbook_that_cannot_be_written_is_not_success(run: Run, tiny_arguments: list[str]) -> None:
    Path("here/results.xlsx").mkdir(parents=True)
    code, _, err = run("-m", *tiny_arguments, "hydra.sweep.dir=here")
    assert code == 5
    assert err.splitlines()[-1].startswith("mnist-lightning: error: here/results.xlsx: cannot be written")
    assert len(load_results("here")) == 1


def test_a_missing_record_is_not_success(tmp_path: Path, run: Run, tiny_arguments: list[str]) -> None:
    run("-m", *tiny_arguments, "hydra.sweep.dir=here", "lr=0.1,0.2")
    next(Path("here").glob("*/result.json")).unlink()
    assert Sweep(Path("here")).outcome() == (3, "1 of 2 done (1 missing): here")


def test_the_command_line_starts_without_torch() -> None:
    code = "import sys, mnist_lightning.command.cli; sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_run_directory_in_use_is_busy_and_untouched(run: Run, tiny_arguments: list[str]) -> None:
    fcntl = pytest.importorskip("fcntl", reason="Windows has no flock")
    Path("here").mkdir()
    with open("here/.lock", "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("process 7 on a host")
        file.flush()
        code, out, err = run(*tiny_arguments, "hydra.run.dir=here")
    assert (code, out) == (7, "")
    message = "here: in use by process 7 on a host; wait for it, or choose another directory"
    assert err.startswith("mnist-lightning: error: ")
    assert err.endswith(f"{message}\n")
    assert {path.name for path in Path("here").iterdir()} <= {".lock", ".hydra"}  # Hydra's, before we are asked
    assert run(*tiny_arguments, "hydra.run.dir=here")[0] == 0  # its holder is gone


def test_a_sweep_whose_tables_cannot_be_written_says_how_much_is_done(run: Run, tiny_arguments: list[str]) -> None:
    Path("here/results.xlsx").mkdir(parents=True)
    code, out, err = run("-m", *tiny_arguments, "hydra.sweep.dir=here")
    assert code == 5
    assert out.splitlines()[-1] == "1 of 1 done: here"
    assert "cannot be written" in err.splitlines()[-1]


def test_a_signal_is_no_bad_input_wherever_it_arrives(
    run: Run, tiny_arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """OmegaConf makes an error of its own of what a resolver raises."""

    def interrupted(**kwargs: object) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return "never"

    monkeypatch.setattr(cli, "_run_name", interrupted)
    code, _, err = run("lr=0.1", *tiny_arguments)
    assert (code, err) == (143, "mnist-lightning: error: terminated\n")


def test_a_sweep_whose_directory_is_taken_away_is_not_success(
    run: Run, tiny_arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove(*_: object) -> str:
        shutil.rmtree("here", ignore_errors=True)
        return "gone"

    monkeypatch.setattr(progress, "line", remove)
    code, out, _ = run("-m", *tiny_arguments, "seed=0,1", "hydra.sweep.dir=here")
    assert (code, out.splitlines()[-1]) == (3, "0 of 2 done (2 missing): here")


def test_what_else_lies_in_the_directory_is_named_and_counts_for_nothing(run: Run, tiny_arguments: list[str]) -> None:
    run(*tiny_arguments, "lr=1e30", "optimizer=sgd", "loss=cross_entropy", "hydra.run.dir=here/other")
    code, out, _ = run("-m", *tiny_arguments, "seed=0", "hydra.sweep.dir=here")
    assert (code, out.splitlines()[-1]) == (0, "1 of 1 done (1 not of this plan): here")
    assert "not of this plan: other; neither counted nor ranked" in out
    (name,) = pd.read_csv("here/results.csv")["run_name"]
    shutil.copytree(Path("here", name), "here/mine")
    code, out, _ = run("-m", *tiny_arguments, "seed=0", "hydra.sweep.dir=here")
    assert (code, out.splitlines()[-1]) == (0, "1 of 1 done (1 not of this plan, 1 copy): here")
    assert len(pd.read_csv("here/results.csv")) == 1


def test_a_damaged_record_that_is_not_planned_is_named_and_the_sweep_reported(
    run: Run, tiny_arguments: list[str]
) -> None:
    Path("here/other").mkdir(parents=True)
    Path("here/other/result.json").write_text("{")
    code, out, _ = run("-m", *tiny_arguments, "seed=0", "hydra.sweep.dir=here")
    assert (code, out.splitlines()[-1]) == (6, "1 of 1 done (1 damaged): here")
    assert "left out: other/result.json: no whole record (damaged, checksum)" in " ".join(out.split())
    assert len(pd.read_csv("here/results.csv")) == 1


def test_main_called_twice_in_one_process_is_the_command_twice(run: Run, tiny_arguments: list[str]) -> None:
    grid = ["-m", *tiny_arguments, "hydra.sweep.dir=first", "lr=0.1,0.2"]
    assert run(*grid)[0] == 0
    code, out, err = run("lr=-1")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("mnist-lightning: error: lr=-1.0: too small; ")
    code, out, err = run(*tiny_arguments, "hydra.run.dir=second")
    assert (code, out.splitlines()[-1], err) == (0, "1 of 1 done: second", "")
    code, out, _ = run("-m", *tiny_arguments, "hydra.sweep.dir=third", "seed=3")
    assert (code, out.splitlines()[-1]) == (0, "1 of 1 done: third")
    assert re.search(r"^1 of 1  RMSprop mse 0\.001 2/1/0  accuracy", out, re.M)  # counted from the start
    code, out, _ = run(*grid)  # its lock was given back
    assert (code, out.splitlines()[0]) == (0, "resuming: 2 of 2 done")
    shutil.rmtree("first")
    code, out, _ = run("-m", *tiny_arguments, "hydra.sweep.dir=first", "seed=5")  # another plan in the same place
    assert (code, out.splitlines()[-1]) == (0, "1 of 1 done: first")
    assert current() is None


def test_a_second_command_in_one_process_looks_at_the_data_again(run: Run, tiny_arguments: list[str]) -> None:
    from conftest import write_mnist

    path = write_mnist(Path("own"), 20, 10) / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    commands = ([*tiny_arguments, "data.root=own"], ["-m", *tiny_arguments, "data.root=own"])
    assert [run(*command)[0] for command in commands] == [0, 0]
    path.write_bytes(path.read_bytes()[:-1])
    assert [run(*command)[0] for command in commands] == [4, 4]
