"""What is refused: one line on standard error, the exit code of its kind, nothing trained, nothing left behind."""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from mnist_lightning.command.explain import Failure, explain
from mnist_lightning.errors import PassedOn
from mnist_lightning.records import locks
from mnist_lightning.records.results import load_results
from mnist_lightning.sweep.callback import CollectResults
from mnist_lightning.sweep.sweep import Sweep

Run = Callable[..., tuple[int, str, str]]


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
    ("optimizer=torch.optim.Nope", 2, "optimizer=torch.optim.Nope: torch.optim has no Nope"),
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
    ("--help trainr", 2, r"--help trainr: no such help; did you mean trainer\?"),
    ("--help data", 2, "--help data: no such help; --help alone explains every key, and --help trainer Lightning's"),
    (
        "-m hydra/sweeper=optuna hydra/sweeper/pruner=median",
        2,
        "hydra/sweeper/pruner=median: is written with dots; hydra.sweeper.pruner=median",
    ),
    (
        "-m hydra/sweeper=optuna hydra.sweeper.pruner.n_warmup_steps=2",
        2,
        r"hydra.sweeper.pruner.n_warmup_steps=2: a pruner's arguments stand in braces; "
        r"hydra.sweeper.pruner={_target_:NAME,n_warmup_steps:2}",
    ),
    (
        "-m hydra/sweeper=optuna hydra.sweeper.n_trails=3",
        2,
        r"hydra.sweeper.n_trails=3: no such key; did you mean hydra.sweeper.n_trials\?",
    ),
    ("-m hydra.sweeper.n_trials=3", 2, "hydra.sweeper.n_trials=3: is for a search; add -m hydra/sweeper=optuna"),
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


@pytest.mark.parametrize("module", ["predict.__main__", "report.__main__"])
def test_wrong_usage_of_the_other_commands_is_one_line_too(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"mnist_lightning.{module}").main([])
    assert ended.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("mnist-lightning: error: the following arguments are required: ")
    assert line.count("\n") == 1


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
