"""The page on other images: its code runs, its commands are taken as they stand there."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import write_idx

PAGE = Path(__file__).parents[2] / "docs/data.md"
pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="no checkout: the documentation is not here")
SHORT = ["data.train_size=40", "data.test_size=20", "model.num_channels=2", "model.num_conv=1", "model.num_dense=0"]
SHORT += ["trainer.max_epochs=1", "trainer.accelerator=cpu"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a few of EMNIST's and MNIST's images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MNIST_LIGHTNING_DATA", str(tmp_path))
    for split, folder in (("emnist-letters-", "EMNIST"), ("emnist-digits-", "EMNIST"), ("", "MNIST")):
        for part, count in (("train", 52), ("test" if split else "t10k", 26)):
            images = torch.randint(0, 256, (count, 28, 28), generator=torch.Generator().manual_seed(count))
            write_idx(tmp_path / f"{folder}/raw/{split}{part}-images-idx3-ubyte", images)
            write_idx(tmp_path / f"{folder}/raw/{split}{part}-labels-idx1-ubyte", torch.arange(count) % 10)
    return tmp_path


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def write_module(here: Path) -> None:
    """The file that the page tells its readers to write."""
    (module,) = (block for block in blocks() if block.startswith("# bright_colours.py"))
    (here / "bright_colours.py").write_text(module)
    sys.modules.pop("bright_colours", None)


@pytest.mark.filterwarnings("ignore:.*(does not have many workers|smaller than the logging interval)")
def test_the_code_of_the_page_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_module(here)
    for block in blocks():
        exec(compile(block, str(PAGE), "exec"), {})
    assert "bright_colours.bright(colours=4) " in capsys.readouterr().out


def commands() -> list[str]:
    return re.findall(r"^    python -m mnist_lightning (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_page_has_commands() -> None:
    assert len(commands()) == 8


@pytest.mark.parametrize("command", commands())
def test_the_commands_of_the_page_train(here: Path, command: str, run: Callable[..., Any]) -> None:
    import shlex

    write_module(here)
    outcome = run(*shlex.split(command), *SHORT)
    assert outcome.code == 0, outcome.err
