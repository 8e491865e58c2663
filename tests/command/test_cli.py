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
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from mnist_lightning.command import cli
from mnist_lightning.command.explain import Failure, explain
from mnist_lightning.errors import PassedOn
from mnist_lightning.records import locks
from mnist_lightning.records.results import load_results
from mnist_lightning.sweep import job
from mnist_lightning.sweep.callback import CollectResults
from mnist_lightning.sweep.sweep import Sweep, current

Run = Callable[..., tuple[int, str, str]]


def test_one_command_trains_one_run_and_a_row_stands_in_a_workbook(run: Run, tiny_arguments: list[str]) -> None:
    code, out, err = run(*tiny_arguments, "lr=0.01")
    assert (code, err) == (0, "")
    assert re.search(
        r"^RMSprop_mse_lr1e-02_num_channel2_num_conv1_num_dense0_\w{8}  accuracy 0\.\d{4}  \d+\.\d s$", out, re.M
    )
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
        r"^1 of 2  RMSprop\S+  failed: RuntimeError: Early stopping conditioned on metric `nothing`", out, re.M
    )
    assert out.splitlines()[-1] == "1 of 2 done (1 failed): here"
    table = pd.read_excel("here/results.xlsx").sort_values("status")
    assert table["status"].tolist() == ["completed", "failed"]
    assert "Early stopping conditioned" in table["error"].iloc[1]
    (failed,) = Path("here").glob("*/error.txt")
    assert "Traceback" in failed.read_text()


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


LEGAL_LR = r"use a number above 0, at most 1e\+30"
BAD = [
    ("modle.lr=1", 2, r"modle.lr=1: no such key; did you mean lr\?"),
    ("trainer.max_epoch=1", 2, r"trainer.max_epoch=1: no such key; did you mean trainer.max_epochs\?"),
    ("+foo=1", 2, "foo=1: no such key; see --help"),
    ("++model.foo=1", 2, "model.foo=1: no such key; "),
    ("~lr", 2, "~lr: a key cannot be removed; give it a value"),
    ("lr=fast", 2, f"lr=fast: not a number; {LEGAL_LR}"),
    ("lr=", 2, f"lr=: not a number; {LEGAL_LR}"),
    ("lr=0", 2, f"lr=0.0: too small; {LEGAL_LR}"),
    ("lr=-1", 2, f"lr=-1.0: too small; {LEGAL_LR}"),
    ("lr=nan", 2, f"lr=nan: not a finite number; {LEGAL_LR}"),
    ("lr=1e400", 2, f"lr=inf: not a finite number; {LEGAL_LR}"),
    ("lr=[1", 2, r"lr=\[1: cannot be read .*; quote the value"),
    (
        "model.num_conv=5",
        2,
        "model.num_conv=5: the image vanishes: 28 pixels halve to 28, 14, 7, 3, 1 and then nothing; use 0 to 4",
    ),
    ("model.num_conv=2.5", 2, "model.num_conv=2.5: not a whole number; use 0 or more"),
    ("optimizer=adamm", 2, r"optimizer=adamm: unknown; did you mean adam\?"),
    ("optimizer=torch.optim.Nope", 2, "optimizer=torch.optim.Nope: cannot be imported"),
    ("optimizer=os.system", 2, "optimizer=os.system: not a torch Optimizer"),
    ("optimizer.options.momentun=1", 2, r"optimizer.options={'momentun': 1}: refused by RMSprop"),
    ("loss=mes", 2, r"loss=mes: unknown; did you mean mse\?"),
    ("experiment=quick", 2, r"experiment=quick: unknown; did you mean quickstart\?"),
    ("data=minst", 2, r"data=minst: unknown; did you mean mnist\?"),
    ("trainer.accelerator=abacus", 2, "trainer.accelerator=abacus: no such device here; use cpu or auto"),
    ("trainer.accelerator=tpu", 2, "trainer.accelerator=tpu: no such device here; use cpu or auto"),
    ("trainer.max_time=5", 2, "trainer.max_time=5: not DD:HH:MM:SS; use 00:01:30:00 for 90 minutes"),
    (
        "ckpt_path=plain",
        6,
        "plain: refused, not a checkpoint of plain weights, or damaged; give the path of a last.ckpt",
    ),
    ("ckpt_path=.", 2, "ckpt_path=.: a directory; give the path of the last.ckpt in its checkpoints/"),
    ("callbacks=[{_target_:os.system}]", 2, "callbacks._target_=os.system: not a lightning Callback"),
    ("data.root=/nope data.download=false", 4, "/nope/MNIST/raw/train-images-idx3-ubyte: missing; set data.root or"),
    ("--lr 3", 2, "unrecognized arguments: --lr.*; keys are given as key=value, see --help"),
    ("hydra.run.dir=plain/file", 5, "plain/file.*: Not a directory; choose another directory"),
    ("-m lr=0.1,-1", 2, f"lr=-1.0: too small; {LEGAL_LR}"),
    ("-m lr=range(1,0)", 2, "sweep: has no runs"),
    ("-m model.num_conv=1,5", 2, "model.num_conv=5: the image vanishes"),
    ("experiment=smoke,quickstart", 2, "experiment=smoke,quickstart: each is a sweep of its own; give one at a time"),
    ("data=synthetic hydra.sweep.dir=x", 2, r"hydra.sweep.dir=x: is for sweeps \(-m\); a single run's directory is"),
    ("-m lr=0.1,0.2 --cfg job", 2, "lr=0.1,0.2: several values; --cfg shows one run, give it one"),
    ("-m optimizer=adam,adamm", 2, r"optimizer=adamm: unknown; did you mean adam\?"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), BAD, ids=[arguments for arguments, _, _ in BAD])
def test_bad_input_gives_one_line_and_its_exit_code_before_any_training(
    arguments: str, code: int, message: str, run: Run, tiny_arguments: list[str]
) -> None:
    Path("plain").touch()
    outcome, out, err = run(*tiny_arguments, *arguments.split())
    assert re.fullmatch(rf"mnist-lightning: error: {message}.*\n", err)
    assert (outcome, out) == (code, "")
    assert len(err) <= 201
    assert not list(Path().rglob("result.json"))


def test_truncated_data_is_named_before_any_training(run: Run, tiny_arguments: list[str], tmp_path: Path) -> None:
    from conftest import write_mnist

    path = write_mnist(tmp_path / "bad", 20, 10) / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:5000])
    for flag in ([], ["-m"]):
        code, out, err = run(*flag, *tiny_arguments, f"data.root={tmp_path / 'bad'}")
        assert (code, out) == (4, "")
        assert "t10k-images-idx3-ubyte: damaged, 5,000 bytes, expected 7,856; delete it" in err


def test_a_run_refused_where_another_is_finished_tells_nothing_of_that_one(run: Run, tiny_arguments: list[str]) -> None:
    code, out, _ = run(*tiny_arguments, "hydra.run.dir=rr")
    assert (code, out.splitlines()[-2:]) == (0, ["workbook: rr/results.xlsx", "1 of 1 done: rr"])
    code, out, err = run(*tiny_arguments, "hydra.run.dir=rr", "lr=0.5")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("mnist-lightning: error: ")
    assert "rr" in err
    assert len(load_results("rr")) == 1


def test_a_search_in_the_directory_of_a_planned_grid_is_refused_before_anything_is_run(
    tmp_path: Path, run: Run, tiny_arguments: list[str]
) -> None:
    assert run("-m", *tiny_arguments, "hydra.sweep.dir=here")[0] == 0
    hydra = {"sweep": {"dir": "here"}, "sweeper": {"_target_": "hydra_plugins.hydra_optuna_sweeper.OptunaSweeper"}}
    message = r"^hydra.sweep.dir=here: holds a planned grid \(plan.json\).*; choose another directory$"
    with Sweep() as sweep:
        with pytest.raises(PassedOn) as refused:
            CollectResults().on_multirun_start(OmegaConf.create({"hydra": hydra}))
        assert sweep.directory is None
        hydra["sweep"]["dir"] = "there"
        CollectResults().on_multirun_start(OmegaConf.create({"hydra": hydra}))
        assert sweep.directory == Path("there")
    assert re.match(message, str(refused.value.__cause__))


def test_a_config_that_is_not_ours_is_told_in_a_whole_sentence(run: Run, tiny_arguments: list[str]) -> None:
    assert run(*tiny_arguments, "hydra.run.dir=rr")[0] == 0
    Path("rr/result.json").unlink()
    Path("rr/config.yaml").write_text("MINE config.yaml:\n")
    code, out, _ = run(*tiny_arguments, "hydra.run.dir=rr")
    told = "config.yaml: no configuration of ours (MINE config.yaml=null: no such key); the run starts anew"
    assert code == 0
    assert [line for line in out.splitlines() if line.endswith(told)]


def test_a_failures_reason_is_wrapped_and_inert(tmp_path: Path) -> None:
    from mnist_lightning.report.terminal import _wrapped

    told = "failed: adam lr=0.1 seed 0: RuntimeError: the loss is not finite in the very first step of epoch 1 of 20"
    lines = _wrapped(told)
    assert " ".join(line.strip() for line in lines) == told
    assert [line.startswith("    ") for line in lines] == [False, True]
    long = _wrapped("failed: \x1b[31m" + "word " * 200)
    assert len(long) == 3
    assert max(map(len, long)) <= 79
    assert long[-1].endswith("word...")
    assert "\x1b" not in "".join(long)


def test_a_cluster_s_refusal_names_the_launcher_given_and_ends_at_a_word() -> None:
    refusal = type("FailedJobError", (Exception,), {"__module__": "submitit.core.utils"})("word " * 50)
    code, line = explain(Failure(refusal, ["-m", "hydra/launcher=submitit_slurm"]))
    assert (code, line.partition(": ")[0]) == (2, "hydra/launcher=submitit_slurm")
    assert line.endswith("word...; see hydra.launcher.partition, qos, account")


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


@pytest.mark.parametrize(
    ("bad", "code"), [("data.root=nowhere data.download=false", 4), ("optimizer.options.momentun=1", 2)]
)
def test_a_refused_run_leaves_no_directory_and_one_with_something_in_it_stays(
    bad: str, code: int, run: Run, tiny_arguments: list[str]
) -> None:
    assert run(*tiny_arguments, *bad.split())[0] == code
    assert not list(Path("outputs").glob("*"))
    assert run(*tiny_arguments, *bad.split(), "hydra.run.dir=here")[0] == code
    assert not Path("here").exists()
    Path("here").mkdir()
    Path("here/notes.txt").write_text("mine")
    assert run(*tiny_arguments, *bad.split(), "hydra.run.dir=here")[0] == code
    assert Path("here/notes.txt").read_text() == "mine"


def test_a_checkpoint_whose_weights_are_not_finite_is_refused(run: Run, tiny_arguments: list[str]) -> None:
    assert run(*tiny_arguments, "hydra.run.dir=here")[0] == 0
    content = torch.load("here/checkpoints/last.ckpt", weights_only=True)
    content["state_dict"]["net.output.bias"][3] = float("nan")
    torch.save(content, "nan.ckpt")
    code, out, err = run(*tiny_arguments, "trainer.max_epochs=2", "ckpt_path=nan.ckpt")
    assert (code, out) == (6, "")
    way_out = "refused, its weights are not finite (the run diverged); choose another run"
    assert err == f"mnist-lightning: error: nan.ckpt: {way_out}\n"


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


@pytest.mark.parametrize("module", ["predict.__main__", "report.__main__"])
def test_wrong_usage_of_the_other_commands_is_one_line_too(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"mnist_lightning.{module}").main([])
    assert ended.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("mnist-lightning: error: the following arguments are required: ")
    assert line.count("\n") == 1


def test_a_sweep_whose_directory_is_taken_away_is_not_success(
    run: Run, tiny_arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove(*_: object) -> str:
        shutil.rmtree("here", ignore_errors=True)
        return "gone"

    monkeypatch.setattr(job, "line", remove)
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


def test_a_refused_grid_leaves_no_directory(run: Run, tiny_arguments: list[str]) -> None:
    for bad in ("lr=0.1,-1", "optimizer=sgd,nope"):
        code, _, _ = run("-m", *tiny_arguments, bad, "hydra.sweep.dir=here")
        assert (code, Path("here").exists()) == (2, False)


def test_a_refused_grid_leaves_a_directory_in_which_another_process_is_at_work(tmp_path: Path) -> None:
    here = tmp_path / "here"
    for at_work in (True, False):
        with Sweep() as sweep:
            sweep.find("hydra.sweep.dir", str(here))
            here.mkdir()
            (here / "multirun.yaml").touch()
            with locks.waiting(here / locks.LOCK) if at_work else nullcontext():
                sweep.remove_refused(here, "multirun.yaml")
            assert here.exists() == at_work
        shutil.rmtree(here, ignore_errors=True)


def test_main_called_twice_in_one_process_is_the_command_twice(run: Run, tiny_arguments: list[str]) -> None:
    grid = ["-m", *tiny_arguments, "hydra.sweep.dir=first", "lr=0.1,0.2"]
    assert run(*grid)[0] == 0
    assert run("lr=-1") == (2, "", f"mnist-lightning: error: lr=-1.0: too small; {LEGAL_LR}\n".replace("\\", ""))
    code, out, err = run(*tiny_arguments, "hydra.run.dir=second")
    assert (code, out.splitlines()[-1], err) == (0, "1 of 1 done: second", "")
    code, out, _ = run("-m", *tiny_arguments, "hydra.sweep.dir=third", "seed=3")
    assert (code, out.splitlines()[-1]) == (0, "1 of 1 done: third")
    assert re.match(r"1 of 1  \S+  accuracy", out)  # counted from the start
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
