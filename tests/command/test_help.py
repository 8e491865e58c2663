"""--help: every key, its default and its sentence, in a terminal of any usual width."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version

import pytest

from mnist_lightning.command.help import help_text
from mnist_lightning.config import conf_dir
from mnist_lightning.config.keys import all_keys

WIDTHS = [70, 80, 100, 300]


def words(text: str) -> str:
    """The text without its line breaks and columns."""
    return " ".join(text.split())


@pytest.mark.parametrize("width", WIDTHS)
def test_every_key_stands_beside_its_sentence(width: int) -> None:
    text = words(help_text(width))
    for key in all_keys():
        about = words(key.field.metadata["about"])
        after_default = text.partition(f" {key.name}=")[2].partition(" ")[2]
        assert f"{key.name}: {about}" in text or after_default.startswith(about), key.name


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_wider_than_the_terminal_or_tiring_to_read(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_LIGHTNING_DATA", "/data")
    assert max(len(line) for line in help_text(width).splitlines()) <= min(width, 100)


def test_the_defaults_are_written_as_on_the_command_line() -> None:
    lines = help_text(80)
    for default in (
        "lr=0.001",
        "data.download=true",
        "data.train_size=null",
        "callbacks=[]",
        "logger=csv",
        "data=mnist",
    ):
        assert f"  {default} " in lines


def test_every_choice_of_every_group_is_named() -> None:
    choices = help_text(80).partition("Choices")[2].replace(",", " ").split()
    groups = [path for path in conf_dir().iterdir() if path.is_dir() and path.name not in ("hydra", "__pycache__")]
    assert {path.stem for group in groups for path in group.glob("*.yaml")} <= set(choices)


def test_h_is_short_for_it_and_nothing_else_on_the_line_matters(run: Callable[..., tuple[int, str, str]]) -> None:
    assert run("-h", "lr=fast") == run("--help") == (0, f"{help_text()}\n", "")


def test_the_text_needs_no_hydra_and_no_torch() -> None:
    code = "import sys; from mnist_lightning.command.help import help_text; help_text(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"hydra", "torch", "lightning"} & set(loaded)


def test_version_is_ours_and_that_of_each_library_and_none_is_imported_for_it() -> None:
    script = (
        "import sys; from mnist_lightning.command import cli; cli.main(['--version']); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    ours, *others = done.stdout.splitlines()
    assert re.fullmatch(r"mnist-lightning (\d+\.\d+\.\d+\S*|not installed)", ours)
    packages = {"torch": "torch", "lightning": "lightning", "hydra": "hydra-core"}
    assert others == [f"{name} {version(package)}" for name, package in packages.items()]
