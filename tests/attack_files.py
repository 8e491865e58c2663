"""A corpus of checkpoint files that try to run code, to fill the memory or to write elsewhere, and a canary.

The canary is a file that would appear if anything in an attack were executed.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import io
import os
import pathlib
import pickle
import runpy
import shutil
import signal
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from mnist_lightning import MNISTClassifier

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
    "getattr": lambda c: Call(getattr(os, "system"), f"touch {c}"),  # noqa: B009 - as an attacker writes it
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
SLIPS = {
    f"{name}, {'compressed' if compression else 'plain'}": rewritten_zip(
        lambda name, data: (name, data), compression, {name: b"x"}
    )
    for name in ("../../../canary", "CANARY", "archive/../../canary", "archive/data/../../../../canary")
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
}


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
