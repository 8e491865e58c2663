"""A grid that is too large, or whose data are not there, is refused before it is written out or composed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from mnist_lightning.config import DataConfig
from mnist_lightning.data.datasets import load_dataset
from mnist_lightning.data.files import look
from mnist_lightning.errors import ConfigError
from mnist_lightning.sweep.compositions import Compositions
from mnist_lightning.sweep.size import MOST_RUNS, check_size

Run = Callable[..., tuple[int, str, str]]


def check(*overrides: str) -> None:
    check_size(OverridesParser.create().parse_overrides(list(overrides)))


@pytest.mark.parametrize(
    ("overrides", "number"),
    [
        (["seed=range(0,10000000)"], "10,000,000 runs, more than 100,000 (10,000,000 values of seed)"),
        (["seed=range(0,10000)", "lr=range(0,1,0.001)"], "10,000,000 runs, more than 100,000 (10,000 values of seed)"),
        (["loss=mse,mae,mae", "seed=range(9,100000,3)"], "99,993 runs"),
        (["seed=range(100000,-1,-1)"], "100,001 runs"),
        (["lr=range(0,inf)"], "endlessly many runs, more than 100,000 (endlessly many values of lr)"),
        (["seed=range(0,10000000)", "seed=1"], "10,000,000 runs"),
        (["seed=shuffle(range(0,10000000))"], "10,000,000 runs"),
    ],
)
def test_a_grid_of_too_many_runs_is_refused_with_their_number_and_written_out_nowhere(
    overrides: list[str], number: str
) -> None:
    began = time.process_time()
    if number == "99,993 runs":
        check(*overrides)  # 3 x 33,331
        overrides = [*overrides, "optimizer=sgd,adam"]
        number = "199,986 runs"
    with pytest.raises(ConfigError) as refused:
        check(*overrides)
    assert str(refused.value).startswith(f"sweep: {number}")
    assert str(refused.value).endswith("; give fewer values")
    assert time.process_time() - began < 1


def test_a_grid_of_the_most_runs_is_none_too_many() -> None:
    check(f"seed=range(0,{MOST_RUNS})", "lr=0.1", "loss=mse", "model.num_conv=range(0,0)")
    check("lr=range(1,0)", "seed=range(0,3,0)", "lr=interval(0,1)")  # Hydra has words for these
    check()


def test_the_command_refuses_ten_million_runs_at_once(run: Run, tiny_arguments: list[str]) -> None:
    began = time.process_time()
    code, out, err = run("-m", *tiny_arguments, "seed=range(0,10000000)", "hydra.sweep.dir=here")
    said = "sweep: 10,000,000 runs, more than 100,000 (10,000,000 values of seed); give fewer values"
    assert (code, out, err) == (2, "", f"mnist-lightning: error: {said}\n")
    assert time.process_time() - began < 10
    assert not Path("here").exists()


def test_missing_data_are_found_before_the_grid_is_planned(
    run: Run, tiny_arguments: list[str], mini_mnist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One job of each choice of data is looked at: 2 of 200."""
    planned: list[Any] = []
    configuration = Compositions.configuration
    monkeypatch.setattr(Compositions, "configuration", lambda *a: planned.append(a) or configuration(*a))
    grid = ["-m", *tiny_arguments, "data.download=false", f"data.root={mini_mnist},/nowhere", "seed=range(0,100)"]
    code, out, err = run(*grid, "hydra.sweep.dir=here")
    assert (code, out) == (4, "")
    assert err.startswith("mnist-lightning: error: /nowhere/MNIST/raw/train-images-idx3-ubyte: missing; set data.root")
    assert len(planned) == 2
    assert not Path("here").exists()


def test_data_are_looked_at_without_torch_and_have_one_digest(mini_mnist: Path) -> None:
    assert look(DataConfig("synthetic", "/nowhere")) == ""
    config = DataConfig("mnist", str(mini_mnist))
    assert look(config) == load_dataset(config).sha256
    with pytest.raises(ConfigError, match="data.train_size=193: mnist has not that many images; use at most 192"):
        look(DataConfig("mnist", str(mini_mnist), train_size=193))
    code = "import sys, mnist_lightning.data.files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
