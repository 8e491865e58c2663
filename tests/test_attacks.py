"""Files and names that try to run code, to fill the memory or to write elsewhere: each is refused and does nothing.

The corpus is made here, with a canary: a file that would appear if anything in an attack were executed.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import io
import json
import os
import pathlib
import pickle
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from mnist_lightning import MNISTClassifier, RunConfig, predict, results, train
from mnist_lightning.checkpoints import load_classifier
from mnist_lightning.errors import ConfigError, RefusedError, UserError
from mnist_lightning.plan import PLAN, commit_plan, missing_runs, read_plan, stored_result
from mnist_lightning.results import RECORD, RunResult, load_results

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
Make = Callable[[Path, Path], object]


class Call:
    """An object whose pickle calls a function when it is read."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


# What an attack would call, given the canary's path; all of it would make the canary appear
CALLS: dict[str, Callable[[str], Call]] = {
    "os.system": lambda c: Call(os.system, f"touch {c}"),
    "os.popen": lambda c: Call(os.popen, f"touch {c}"),
    "os.mkdir": lambda c: Call(os.mkdir, c),
    "os.open": lambda c: Call(os.open, c, os.O_CREAT),
    "os.symlink": lambda c: Call(os.symlink, "/", c),
    "subprocess.Popen": lambda c: Call(subprocess.Popen, ["touch", c]),
    "subprocess.check_output": lambda c: Call(subprocess.check_output, ["touch", c]),
    "eval": lambda c: Call(eval, f"open({c!r}, 'w').close()"),
    "exec": lambda c: Call(exec, f"open({c!r}, 'w').close()"),
    "open": lambda c: Call(builtins.open, c, "w"),
    "io.FileIO": lambda c: Call(io.FileIO, c, "w"),
    "pathlib.Path.touch": lambda c: Call(pathlib.Path.touch, Path(c)),
    "shutil.copyfile": lambda c: Call(shutil.copyfile, __file__, c),
    "importlib.import_module": lambda c: Call(importlib.import_module, "canary_module"),
    "runpy.run_module": lambda c: Call(runpy.run_module, "canary_module"),
    "getattr": lambda c: Call(getattr(os, "system"), f"touch {c}"),  # noqa: B009
    "zipfile.ZipFile": lambda c: Call(zipfile.ZipFile, c, "w"),
    "numpy.savetxt": lambda c: Call(np.savetxt, c, [1]),
    "pandas.read_pickle": lambda c: Call(pd.read_pickle, f"{c}.pickle"),
    "pickle.loads": lambda c: Call(pickle.loads, pickle.dumps(Call(os.system, f"touch {c}"))),
    "torch.save": lambda c: Call(torch.save, [1], c),
    "torch.load": lambda c: Call(functools.partial(torch.load, weights_only=False), f"{c}.pickle"),
}
PLACES = ["state_dict", "weight", "hyper_parameters", "optimizer_states", "key", "whole"]


def content() -> dict[str, Any]:
    """A checkpoint as it should be, of the smallest network."""
    torch.manual_seed(0)
    module = MNISTClassifier(2, 1, 0)
    return {"state_dict": dict(module.state_dict()), "hyper_parameters": dict(module.hparams)}


def planted(call: Call, place: str) -> Any:
    good = content()
    if place == "weight":
        good["state_dict"][next(iter(good["state_dict"]))] = call
    elif place == "key":
        good["state_dict"][call] = torch.zeros(1)
    elif place == "hyper_parameters":
        good["hyper_parameters"]["optimizer_options"] = {"betas": [call]}
    elif place == "whole":
        return call
    else:
        good[place] = call
    return good


def executing(name: str, place: str, how: str) -> Make:
    def make(path: Path, canary: Path) -> None:
        attack = planted(CALLS[name](str(canary)), place)
        if how == "pickle":
            path.write_bytes(pickle.dumps(attack))
        elif how == "tar":
            with tarfile.open(path, "w") as tar:
                for entry in ("storages", "tensors", "pickle"):
                    data = pickle.dumps(attack)
                    info = tarfile.TarInfo(entry)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        else:
            torch.save(attack, path, _use_new_zipfile_serialization=how == "zip")

    return make


def changed(**changes: Any) -> Make:
    return lambda path, canary: torch.save(content() | changes, path)


def described(**hyper_parameters: Any) -> Make:
    def make(path: Path, canary: Path) -> None:
        good = content()
        good["hyper_parameters"] |= {k: v(str(canary)) if callable(v) else v for k, v in hyper_parameters.items()}
        torch.save(good, path)

    return make


def weights(change: Callable[[Tensor], Any]) -> Make:
    def make(path: Path, canary: Path) -> None:
        good = content()
        good["state_dict"] = {name: change(tensor) for name, tensor in good["state_dict"].items()}
        torch.save(good, path)

    return make


def one_weight(value: float) -> Make:
    def make(path: Path, canary: Path) -> None:
        good = content()
        good["state_dict"]["net.output.bias"][3] = value
        torch.save(good, path)

    return make


def repeated_number(path: Path, canary: Path) -> None:
    """A network of 26,000,000,000 weights, each of whose layers is one number in the file, with strides of 0."""
    channels = [4096 * 2**i for i in range(5)]
    shapes = {"stem": (channels[0], 1, 3, 3), "output": (10, channels[-1])}
    shapes |= {f"convs.{i}": (channels[i + 1], channels[i], 3, 3) for i in range(4)}
    good = content()
    good["hyper_parameters"] |= {"num_channels": 4096, "num_conv": 4}
    good["state_dict"] = {f"net.{name}.weight": torch.zeros(1).expand(shape) for name, shape in shapes.items()}
    good["state_dict"] |= {f"net.{name}.bias": torch.zeros(1).expand(shape[0]) for name, shape in shapes.items()}
    torch.save(good, path)


def rewritten_zip(change: Callable[[str, bytes], tuple[str, bytes]], compression: int, extra: dict[str, bytes]) -> Make:
    def make(path: Path, canary: Path) -> None:
        good = io.BytesIO()
        torch.save(content(), good)
        with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w", compression) as new:
            for name in old.namelist():
                new.writestr(*change(name, old.read(name)))
            for name, data in extra.items():
                new.writestr(name.replace("CANARY", str(canary)), data)

    return make


BOMB = rewritten_zip(
    lambda name, data: (name, bytes(2**29) if name.endswith("data/0") else data), zipfile.ZIP_DEFLATED, {}
)


def bytes_of(data: bytes | Callable[[], bytes]) -> Make:
    return lambda path, canary: path.write_bytes(data if isinstance(data, bytes) else data())


def cut(path: Path, canary: Path) -> None:
    torch.save(content(), path)
    path.write_bytes(path.read_bytes()[:-100])


def link_to_itself(path: Path, canary: Path) -> None:
    path.symlink_to(path)


STRUCTURAL: dict[str, Make] = {
    "instantiator": described(_instantiator="os.system"),
    "class path": described(_class_path="subprocess.Popen", init_args=lambda c: {"args": ["touch", c]}),
    "target": described(_target_="os.system", command=lambda c: f"touch {c}"),
    "target in options": described(optimizer_options={"betas": {"_target_": "os.system", "command": "true"}}),
    "class name": described(_cls_name="MNISTClassifier", __class__="x"),
    "unknown optimizer": described(optimizer="no_such_optimizer"),
    "loss of another type": described(loss=["mse"]),
    "negative learning rate": described(lr=-1.0),
    "channels no number": described(num_channels="2"),
    "seed too large": described(seed=10**30),
    "tensor as an argument": described(lr=torch.ones(1)),
    "huge network": described(num_channels=4096, num_conv=4),
    "deep network": described(num_dense=100),
    "endless network": described(num_conv=10**9),
    "repeated number": repeated_number,
    "no hyper_parameters": lambda path, canary: torch.save({"state_dict": content()["state_dict"]}, path),
    "hyper_parameters a list": changed(hyper_parameters=[1]),
    "no state_dict": lambda path, canary: torch.save({"hyper_parameters": content()["hyper_parameters"]}, path),
    "state_dict a list": changed(state_dict=[torch.ones(3)]),
    "state_dict a tensor": changed(state_dict=torch.ones(3)),
    "state_dict empty": changed(state_dict={}),
    "a hundred thousand keys": changed(state_dict={f"k{i}": 0 for i in range(100_000)}),
    "keys with escapes": changed(state_dict={"\x1b[31m\n\u202e": torch.ones(1)}),
    "keys no text": changed(state_dict={3: torch.ones(1), None: 1}),
    "shapes": weights(lambda w: w[:1]),
    "integers": weights(lambda w: w.long()),
    "complex": weights(lambda w: w.to(torch.complex64)),
    "sparse": weights(lambda w: w.to_sparse()),
    "no storage": weights(lambda w: w.to("meta")),
    "eight bits": weights(lambda w: w.to(torch.float8_e4m3fn)),
    "numbers": weights(lambda w: 1.0),
    "nan": one_weight(float("nan")),
    "infinity": one_weight(float("inf")),
    "a tensor": lambda path, canary: torch.save(torch.ones(3), path),
    "a list": lambda path, canary: torch.save([1, 2], path),
    "deeply nested": bytes_of(lambda: b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."),
    "declared bytes": bytes_of(b"\x80\x02c__builtin__\nbytearray\n\x8a\x07\0\0\0\0\0\0\x7f\x85R."),
    "no pickle": rewritten_zip(lambda name, data: (name.replace("data.pkl", "other"), data), zipfile.ZIP_STORED, {}),
    "script": rewritten_zip(
        lambda name, data: (name, data),
        zipfile.ZIP_STORED,
        {"archive/constants.pkl": b"\x80\x02).", "archive/code/__torch__.py": b"import os"},
    ),
    "bomb": BOMB,
    "ordinary zip": rewritten_zip(lambda name, data: (f"x/{name}", b"x"), zipfile.ZIP_STORED, {}),
    "empty": bytes_of(b""),
    "text": bytes_of(b"hello, world\n" * 99),
    "zeros": bytes_of(bytes(100_000)),
    "only a zip's head": bytes_of(b"PK\x03\x04" + bytes(99)),
    "cut off": cut,
    "directory": lambda path, canary: path.mkdir(),
    "link to itself": link_to_itself,
    "pipe": lambda path, canary: os.mkfifo(path),
}
EXECUTING: dict[str, Make] = {f"{name}, zip": executing(name, "weight", "zip") for name in CALLS}
EXECUTING |= {f"os.system in {place}, zip": executing("os.system", place, "zip") for place in PLACES}
EXECUTING |= {
    f"{name} in {place}, {how}": executing(name, place, how)
    for how in ("pickle", "old", "tar")
    for name in ("os.system", "eval", "open", "subprocess.Popen")
    for place in ("hyper_parameters", "whole")
}
CORPUS = EXECUTING | STRUCTURAL
HUGE = ["huge network", "repeated number", "bomb", "declared bytes"]  # judged in a process with a limit
JUDGED = [name for name in CORPUS if name not in HUGE]
SLIPS = {
    f"{name}, {'compressed' if compression else 'plain'}": rewritten_zip(
        lambda name, data: (name, data), compression, {name: b"x"}
    )
    for name in ("../../../canary", "CANARY", "archive/../../canary", "archive/data/../../../../canary")
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
}


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A path at which nothing must have appeared when the test is over."""
    path = tmp_path / "canary"
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "canary_module.py").write_text(f"open({str(path)!r}, 'w').close()")
    Path(f"{path}.pickle").write_bytes(pickle.dumps(Call(os.system, f"touch {path}")))
    monkeypatch.syspath_prepend(modules)
    yield path
    sys.modules.pop("canary_module", None)
    assert not os.path.lexists(path)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fails when the block takes longer; a block that hangs is interrupted."""

    def alarm(number: int, frame: object) -> None:
        pytest.fail("hangs")

    before = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, 5 * seconds)
    started = time.process_time()  # of ours: other processes may have the processor
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.process_time() - started <= seconds


# 1. Checkpoints


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
        assert "other.ckpt" in str(error)  # noqa: PT017
        assert not (tmp_path / "next" / RECORD).exists()
    else:  # the state was passed over: then the record is one
        (record,) = load_results(tmp_path / "next")
        assert record.status == "completed"


# 2. Records and plans


def sealed(**changes: Any) -> str:
    """A record with anything in it and the right checksum: whoever writes one can compute that."""
    text = results.to_json(RunResult(run_name="run", fingerprint="ab12"))
    plain = {k: v for k, v in json.loads(text).items() if k != "sha256"} | changes
    body = json.dumps(plain, indent=2).removesuffix("\n}") + results._SEAL
    return f'{body}{results.hashlib.sha256(body.encode()).hexdigest()}"\n}}\n'


REFUSED_RECORDS: dict[str, str] = {
    "number beyond floats": sealed(loss=10**400),
    "nested": '{"a":' * 100_000,
    "number of a million digits": sealed().replace('"seed": null', '"seed": ' + "9" * 1_000_000),
    "half a character": sealed(run_name="\ud800"),
    "list as a name": sealed(run_name=["a"]),
    "dictionary as a number": sealed(loss={"__class__": "os.system"}),
    "no fingerprint": sealed(fingerprint=""),
    "later schema": sealed(schema=99),
    "yaml": "!!python/object/apply:os.system ['true']\n",
    "too large": sealed(error="x" * 2**21),
    "status unknown": sealed(status="hacked"),
}
HARMLESS_RECORDS: dict[str, str] = {
    "class": sealed(__class__="os.system", __reduce__=["os.system"], _target_="os.system"),
    "paths": sealed(run_name="../../../canary", model_path="/etc/passwd"),
    "escapes": sealed(run_name="\x1b]0;x\x07\u202e", error="=cmd|' /C calc'!A0"),
}


@pytest.mark.parametrize("name", REFUSED_RECORDS)
def test_a_hostile_record_is_refused_by_name_and_put_aside(name: str, tmp_path: Path) -> None:
    path = tmp_path / "run" / RECORD
    path.parent.mkdir()
    path.write_text(REFUSED_RECORDS[name])
    with at_most(SECONDS), pytest.raises(RefusedError, match=f"^{path}: no whole record"):
        load_results(tmp_path)
    assert stored_result(path.parent) is None


@pytest.mark.parametrize("name", HARMLESS_RECORDS)
def test_hostile_text_in_a_record_is_text(name: str, tmp_path: Path) -> None:
    sweep = tmp_path / "a" / "b" / "sweep"
    (sweep / "run").mkdir(parents=True)
    (sweep / "run" / RECORD).write_text(HARMLESS_RECORDS[name])
    before = set(tmp_path.rglob("*"))
    (record,) = load_results(sweep)
    assert all(isinstance(v, (str, int, float, type(None))) for v in asdict(record).values())
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("reader", [load_results, stored_result], ids=["load_results", "stored_result"])
def test_a_pipe_in_the_place_of_a_record_does_not_hang_anybody(reader: Callable[[Path], Any], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / RECORD)
    with at_most(SECONDS):
        try:
            assert not reader(tmp_path if reader is load_results else tmp_path / "run")
        except RefusedError as error:
            assert RECORD in str(error)  # noqa: PT017


def plan(runs: Any = None, **more: Any) -> str:
    return json.dumps({"runs": {"ab": {"run_name": "run", "config": {}}} if runs is None else runs} | more)


HOSTILE_PLANS: dict[str, str] = {
    "nested": '{"runs":' * 100_000,
    "nested in a config": plan().replace("{}", '{"a":' * 90_000 + "1" + "}" * 90_000),
    "number of a million digits": plan().replace("{}", '{"a":' + "9" * 1_000_000 + "}"),
    "yaml": "!!python/object/apply:os.system ['true']\n",
    "runs a list": plan([1]),
    "config a text": plan({"ab": {"run_name": "run", "config": "x"}}),
    "name a number": plan({"ab": {"run_name": 3, "config": {}}}),
    "name leading out": plan({"ab": {"run_name": "../../../canary", "config": {}}}),
    "absolute name": plan({"ab": {"run_name": "/canary", "config": {}}}),
    "escapes": plan({"\x1b[31m": {"run_name": "\n", "config": {"\x1b": "\u202e"}}}),
    "class": plan({"ab": {"run_name": "run", "config": {"__class__": "os.system", "_target_": "os.system"}}}),
}


@pytest.mark.parametrize("name", HOSTILE_PLANS)
def test_a_hostile_plan_is_refused_in_a_sentence_or_harmless(name: str, tmp_path: Path, tiny: Tiny) -> None:
    sweep = tmp_path / "a" / "b" / "sweep"
    sweep.mkdir(parents=True)
    (sweep / PLAN).write_text(HOSTILE_PLANS[name])
    before = set(tmp_path.rglob("*"))
    with at_most(SECONDS):
        for use in (read_plan, missing_runs, lambda root: commit_plan(root, [tiny()], {"mnist": "0"}, {})):
            try:
                use(sweep)
            except UserError as error:
                assert str(sweep) in str(error)  # noqa: PT017
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("digests", [[1], "x", 3, None])
def test_a_plan_of_this_very_sweep_with_hostile_data_is_refused(digests: Any, tmp_path: Path, tiny: Tiny) -> None:
    (tmp_path / PLAN).write_text(plan({tiny().fingerprint: {"run_name": "run", "config": {}}}, data=digests))
    with pytest.raises(RefusedError, match=f"^{tmp_path / PLAN}: no plan of a sweep"):
        commit_plan(tmp_path, [tiny()], {"mnist": "0"}, {})


def test_a_pipe_in_the_place_of_a_plan_does_not_hang_anybody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / PLAN)
    with at_most(SECONDS), pytest.raises(RefusedError, match=PLAN):
        read_plan(tmp_path)


# 3. Names of classes

TARGETS = """
    os.system os.popen os.execv os.remove os.rename os.mkdir os._exit os.kill posix.system nt.system pty.spawn
    subprocess.Popen subprocess.run subprocess.call subprocess.check_output subprocess.getoutput
    builtins.eval builtins.exec builtins.open builtins.compile builtins.__import__ builtins.getattr builtins.print
    builtins.exit shutil.copyfile shutil.rmtree shutil.move shutil.copytree shutil.make_archive
    importlib.import_module runpy.run_path runpy.run_module pickle.loads pickle.load marshal.loads shelve.open
    ctypes.CDLL socket.socket urllib.request.urlopen urllib.request.urlretrieve webbrowser.open code.interact
    pathlib.Path pathlib.Path.touch tempfile.mkstemp logging.FileHandler zipfile.ZipFile sqlite3.connect
    multiprocessing.Process threading.Thread functools.partial operator.methodcaller types.FunctionType
    torch.load torch.save torch.hub.load torch.nn.Linear torch.optim torch.optim.nope hydra.utils.instantiate
    hydra.utils.call hydra.main numpy.load numpy.save pandas.read_pickle lightning.Trainer lightning.LightningModule
    mnist_lightning.train mnist_lightning.cli.main mnist_lightning.results.save
    system .system ..os.system os..system os. . os:system os/system os.system() __main__ a.b.c
""".split()  # noqa: SIM905
ARGUMENTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "os.system": lambda c: {"command": f"touch {c}"},
    "os.popen": lambda c: {"cmd": f"touch {c}"},
    "os.mkdir": lambda c: {"path": c},
    "subprocess.Popen": lambda c: {"args": ["touch", c]},
    "subprocess.getoutput": lambda c: {"cmd": f"touch {c}"},
    "builtins.open": lambda c: {"file": c, "mode": "w"},
    "shutil.copyfile": lambda c: {"src": __file__, "dst": c},
    "importlib.import_module": lambda c: {"name": "canary_module"},
    "runpy.run_module": lambda c: {"mod_name": "canary_module"},
    "logging.FileHandler": lambda c: {"filename": c},
    "zipfile.ZipFile": lambda c: {"file": c, "mode": "w"},
    "sqlite3.connect": lambda c: {"database": c},
    "torch.save": lambda c: {"obj": 1, "f": c},
    "numpy.save": lambda c: {"file": c, "arr": [1]},
}


def spec(target: str, canary: Path) -> dict[str, Any]:
    return {"_target_": target, **ARGUMENTS.get(target, lambda c: {})(str(canary))}


NAMED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "callbacks": lambda s: {"callbacks": [s]},
    "logger": lambda s: {"logger": s},
    "optimizer": lambda s: {"optimizer.name": s.pop("_target_"), "optimizer.options": s},
    "trainer.profiler": lambda s: {"trainer.profiler": s},
    "trainer.plugins": lambda s: {"trainer.plugins": [s]},
    "trainer.strategy": lambda s: {"trainer.strategy": s},
}


@pytest.mark.parametrize("place", NAMED)
def test_nothing_but_a_class_of_the_right_kind_is_ever_called(
    place: str, tiny: Tiny, tmp_path: Path, canary: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert len(TARGETS) >= 60
    for target in TARGETS:
        try:
            train(tiny(**NAMED[place](spec(target, canary))), tmp_path / "run")
        except ConfigError as error:
            assert place in str(error), target  # noqa: PT017
        else:
            pytest.fail(f"{target} was accepted")
        assert not canary.exists(), target
    assert not (tmp_path / "run").exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "override",
    [
        "callbacks=[{_target_:os.system,command:'touch canary'}]",
        "logger._target_=os.system",
        "optimizer=os.system",
        "optimizer=.system",
        "optimizer=quits.Adam",
        "optimizer=raises.Adam",
        "callbacks=[{_target_:quits.Stop}]",
        "callbacks=[{_target_:raises.Stop}]",
        "+model._target_=os.system",
        "++_target_=os.system",
        "+optimizer._target_=os.system",
        "trainer.plugins=[{_target_:os.system,command:'touch canary'}]",
    ],
)
@pytest.mark.parametrize("flag", [[], ["-m"]], ids=["a run", "a sweep"])
def test_on_the_command_line_such_a_name_is_bad_input(
    override: str, flag: list[str], run: Run, canary: Path, tmp_path: Path, tiny_arguments: list[str]
) -> None:
    (tmp_path / "modules" / "quits.py").write_text("raise SystemExit(0)")
    (tmp_path / "modules" / "raises.py").write_text("raise RuntimeError('no')")
    code, out, err = run(*flag, *tiny_arguments, override)
    assert (code, out) == (2, "")
    assert err.startswith("mnist-lightning: error: ")
    assert err.count("\n") == 1
    assert not list(tmp_path.rglob(RECORD))
