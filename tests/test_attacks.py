"""Checkpoints that try to run code, to fill the memory or to write elsewhere: each is refused and does nothing."""

from __future__ import annotations

import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from attack_files import CALLS, CORPUS, HUGE, SLIPS, at_most
from mnist_lightning import RunConfig, train
from mnist_lightning.errors import RefusedError, UserError
from mnist_lightning.predict import __main__ as predict
from mnist_lightning.records.results import RECORD, load_results
from mnist_lightning.training.checkpoints import load_classifier

pytestmark = [
    pytest.mark.faults,
    pytest.mark.filterwarnings(
        "ignore:.*multi-threaded.*fork",  # of Python 3.12; the child here starts no threads
        "ignore:.*[Ss]parse",  # torch about its own sparse formats, while an attack file is made
    ),
]

LONG = os.environ.get("MNIST_TEST_LONG") == "1"  # the corpus twice: half of it otherwise meets torch's check off
SECONDS = 2
LARGEST_GROWTH, LIMIT = 200 * 2**20, 12 * 2**30  # bytes of memory taken; of addresses, most of which are libraries'
Run = Callable[..., tuple[int, str, str]]
Tiny = Callable[..., RunConfig]
JUDGED = [name for name in CORPUS if name not in HUGE]


def test_the_corpus_is_large_and_its_attacks_would_work(canary: Path) -> None:
    assert len(CORPUS) >= 100
    for name, call in CALLS.items():
        made: Any = None
        with suppress(pickle.UnpicklingError, RuntimeError):  # torch.load complains, when it is too late
            made = pickle.loads(pickle.dumps(call(str(canary))))
        if isinstance(made, subprocess.Popen):
            made.wait()
        elif name == "os.open":
            os.close(made)
        elif hasattr(made, "close"):
            made.close()
        assert os.path.lexists(canary), name
        shutil.rmtree(canary) if canary.is_dir() and not canary.is_symlink() else canary.unlink()
        sys.modules.pop("canary_module", None)


@pytest.mark.parametrize(
    ("name", "forced"),
    [(name, forced) for i, name in enumerate(JUDGED) for forced in ((False, True) if LONG else (i % 2 == 1,))],
)
def test_an_attack_file_is_refused_by_name_in_one_line_and_nothing_of_it_is_executed(
    name: str,
    forced: bool,
    canary: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if forced:  # torch's own variable
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path = tmp_path / "a.ckpt"
    CORPUS[name](path, canary)
    with at_most(SECONDS), pytest.raises(RefusedError, match=f"^{path}: "):
        load_classifier(path)
    with at_most(SECONDS):
        code = predict.main([str(path), "image.png"])
    out, err = capsys.readouterr()
    assert (code, out) == (6, "")
    assert err.startswith(f"mnist-lightning: error: {path}: ")
    assert err.count("\n") == 1
    assert err[:-1].isprintable()
    assert len(err) <= 201


@pytest.mark.parametrize("name", SLIPS)
def test_names_that_lead_out_of_a_zip_file_lead_nowhere(name: str, canary: Path, tmp_path: Path) -> None:
    inside = tmp_path / "a" / "b" / "c"
    inside.mkdir(parents=True)
    SLIPS[name](inside / "a.ckpt", canary)
    before = set(tmp_path.rglob("*"))
    with suppress(RefusedError):  # nothing is ever unpacked: it may load
        load_classifier(inside / "a.ckpt")
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", HUGE)
def test_what_claims_to_be_huge_is_refused_in_little_memory(name: str, tmp_path: Path) -> None:
    """In a process of its own, which may neither take the machine's memory nor its time."""
    CORPUS[name](tmp_path / "a.ckpt", tmp_path / "canary")
    pid = os.fork()
    if not pid:
        code = 1
        try:
            torch.set_num_threads(1)  # a fork has none of its parent's threads
            signal.alarm(5 * SECONDS)  # ends it, wherever it is
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
            try:
                load_classifier(tmp_path / "a.ckpt")
            except RefusedError:
                grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
                code = 0 if grown < LARGEST_GROWTH else 3
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize("name", ["os.system, zip", "eval in whole, pickle", "open in whole, old", "shapes", "text"])
def test_a_run_does_not_continue_from_an_attack_file(
    name: str, run: Run, canary: Path, tmp_path: Path, tiny_arguments: list[str]
) -> None:
    CORPUS[name](tmp_path / "a.ckpt", canary)
    code, out, err = run(*tiny_arguments, "ckpt_path=a.ckpt")
    assert (code, out) == (6, "")
    assert err.startswith("mnist-lightning: error: a.ckpt: refused, ")
    assert err.count("\n") == 1
    assert not list(tmp_path.rglob(RECORD))


def test_what_stands_beside_the_weights_is_not_executed_either_when_a_run_continues(
    tiny: Tiny, tmp_path: Path, canary: Path
) -> None:
    """A checkpoint of ours whose callbacks' state was written by somebody else."""
    train(tiny(**{"trainer.max_epochs": 1}), tmp_path / "run")
    good = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    state = {"best_epoch": "=cmd", "epochs": "1", "on_train_epoch_end": "x", "__class__": "os.system"}
    good["callbacks"]["FitWatch"] = state
    torch.save(good, tmp_path / "other.ckpt")
    try:
        train(tiny(ckpt_path=str(tmp_path / "other.ckpt")), tmp_path / "next")
    except UserError as error:
        assert "other.ckpt" in str(error)
        assert not (tmp_path / "next" / RECORD).exists()
    else:  # the state was passed over: then the record is one
        (record,) = load_results(tmp_path / "next")
        assert record.status == "completed"
