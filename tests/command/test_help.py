"""--help: examples that work, every key with its default and its sentence, in a terminal of any usual width."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from mnist_lightning.command.cli import register
from mnist_lightning.command.help import FURTHER, LAUNCHERS, OPTUNA, SWEEPERS, help_text
from mnist_lightning.config import conf_dir, parse
from mnist_lightning.config.keys import all_keys
from mnist_lightning.sweep.search_names import KEYS, PRUNERS, SAMPLERS

WIDTHS = [70, 80, 100, 300]
FOLDED = [key for key in all_keys() if key.name.startswith("trainer.") and key.field.default is None]


def words(text: str) -> str:
    """The text without its line breaks and columns."""
    return " ".join(text.split())


def examples(width: int) -> list[list[str]]:
    """The arguments of each example, as a shell gives them that gets the lines as they stand there."""
    before_the_keys = help_text(width).partition("Keys and")[0].replace("\\\n", "")
    commands = re.findall(r"^ +python -m mnist_lightning (.*)$", before_the_keys, re.MULTILINE)
    return [shlex.split(command) for command in commands]


@pytest.mark.parametrize("width", WIDTHS)
def test_every_key_stands_beside_its_sentence(width: int) -> None:
    whole = words(help_text(width).partition("Keys and")[2])
    trainer = words(help_text(width, trainer=True))
    for key in all_keys():
        text, about = trainer if key in FOLDED else whole, words(key.field.metadata["about"])
        after_default = text.partition(f" {key.name}=")[2].partition(" ")[2]
        assert f"{key.name}: {about}" in text or after_default.startswith(about), key.name


def test_lightnings_arguments_are_one_sentence_and_explained_when_asked_for() -> None:
    sentence = words(help_text(80)).partition(" trainer.X=...: its other arguments: ")[2]
    names, _, rest = sentence.partition("; ")
    assert names.split(", ") == [key.name.removeprefix("trainer.") for key in FOLDED]
    assert rest.startswith("--help trainer explains each")


def test_help_trainer_is_lightnings_arguments_alone(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = run("--help", "trainer")
    assert (code, out, err) == (0, f"{help_text(trainer=True)}\n", "")
    assert set(re.findall(r"^  ([\w.]+)=", out, re.MULTILINE)) == {
        key.name for key in all_keys() if key.name.startswith("trainer.")
    }


@pytest.mark.parametrize("width", WIDTHS)
def test_five_examples_stand_before_the_keys_and_can_be_pasted(width: int) -> None:
    assert len(examples(width)) == 5
    assert examples(width) == examples(100)


def drawn(example: list[str]) -> list[str]:
    """An example's overrides with one of the values of each that has several."""
    overrides = [argument for argument in example if argument != "-m"]
    parsed = zip(overrides, OverridesParser.create().parse_overrides(overrides), strict=True)
    ends = {"lr=tag(log,interval(1e-4,1e-1))": "lr=1e-4"}
    return [
        ends.get(text) or (f"{o.key_or_group}={next(o.sweep_string_iterator())}" if o.is_sweep_override() else text)
        for text, o in parsed
    ]


@pytest.mark.parametrize("example", examples(100), ids=" ".join)
def test_every_example_composes(example: list[str]) -> None:
    if "joblib" in " ".join(example):
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    register()
    overrides = drawn(example)
    assert len(overrides) == len(example) - ("-m" in example)
    with initialize_config_module("mnist_lightning.conf", version_base="1.3"):
        composed: Any = compose("config", overrides=overrides, return_hydra_config=True)
    GlobalHydra.instance().clear()
    plain = {key: value for key, value in composed.items() if key != "hydra"}
    if "hydra/sweeper=optuna" in example:
        assert composed.hydra.sweeper.n_trials == 20
    assert parse(plain).trainer.max_epochs > 0


def test_the_ranges_of_the_optuna_example_are_what_the_help_says_they_are() -> None:
    pytest.importorskip("optuna", minversion="4")
    from mnist_lightning.sweep.search_space import space_of, text_of

    written = [shlex.split(text)[0] for text in OPTUNA if not text.startswith("hydra")]
    *drawn_from, fixed = written
    spaces = [space_of([text], OverridesParser.create()) for text in drawn_from]
    assert [(key, text_of(d)) for space in spaces for key, d in space.drawn.items()] == [
        ("model.num_channels", "8, 16"),
        ("model.num_conv", "1 to 3"),
        ("model.num_conv", "1 to 3"),
        ("lr", "0.001 to 0.1"),
        ("lr", "0.0001 to 0.1, log"),
    ]
    assert fixed == "lr=0.01"
    assert space_of([drawn_from[0], fixed], OverridesParser.create()).fixed == [fixed]


def test_every_sampler_and_pruner_is_named() -> None:
    for key, known in (("hydra/sweeper/sampler=tpe", SAMPLERS), ("hydra.sweeper.pruner=none", PRUNERS)):
        assert f": {', '.join(known)}" in OPTUNA[key]
    assert {f"hydra.sweeper.{key}" for key in KEYS if key != "params"} <= {
        word.partition("=")[0] for words in OPTUNA.items() for word in " ".join(words).split()
    }


def test_every_launcher_and_sweeper_is_listed_with_what_it_does() -> None:
    files = {path.stem for path in (conf_dir() / "hydra" / "launcher").glob("*.yaml")}
    assert set(LAUNCHERS) == {"basic", "fused"} | files
    text = words(help_text(80))
    for name, (does, _) in {**LAUNCHERS, **SWEEPERS}.items():
        assert f" {name} {does}" in text, name
    for left, right in {**OPTUNA, **FURTHER}.items():
        assert f" {left} {right}" in text, left


def test_what_is_not_installed_stands_there_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if "hydra_plugins" in n or n == "optuna" else find(n)
    )
    text = words(help_text(80))
    for name, (does, plugin) in {**LAUNCHERS, **SWEEPERS}.items():
        lacking = f' {name} {does}; not installed: pip install "mnist-lightning[{plugin}]"'
        assert (lacking in text) == bool(plugin), name
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: object())
    assert "not installed" not in help_text(80)


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_wider_than_the_terminal_or_tiring_to_read(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_LIGHTNING_DATA", "/data")
    for text in (help_text(width), help_text(width, trainer=True)):
        assert max(len(line) for line in text.splitlines()) <= min(width, 100)


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
    choices = help_text(80).partition("Choices")[2].partition("Launchers")[0].replace(",", " ").split()
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
