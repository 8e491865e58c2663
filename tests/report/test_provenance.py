"""The command in Provenance is the one that was given, whatever is in it, and nothing in it is more than text."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from mnist_lightning.report.provenance import LONGEST_COMMAND, command_in
from report_cases import HOSTILE

Run = Callable[..., tuple[int, str, str]]
PROGRAM = ["python", "-m", "mnist_lightning", "-m"]


def stored(task: Any, hydra: Any = (), provider: str = "main", name: str = "config") -> str:
    sources = [{"path": "/my conf", "schema": "file", "provider": provider}]
    content = {"overrides": {"task": list(task), "hydra": list(hydra)}, "runtime": {"config_sources": sources}}
    return yaml.safe_dump({"hydra": {**content, "job": {"config_name": name}}})


def test_launcher_and_directory_of_a_real_sweep_are_in_its_command(run: Run, tiny_arguments: list[str]) -> None:
    options = ["hydra/launcher=basic", r"hydra.sweep.dir='my dir/it\'s'", "seed=0"]
    assert run("-m", *tiny_arguments, *options)[0] == 0
    words = shlex.split(command_in(Path("my dir/it's/multirun.yaml").read_text()))
    assert words[:4] == PROGRAM
    assert sorted(words[4:]) == sorted([*tiny_arguments, *options])


def test_the_command_of_a_single_run_is_told_and_that_of_a_sweep_s_run_is_the_sweep_s(
    run: Run, tiny_arguments: list[str]
) -> None:
    arguments = [*tiny_arguments, "hydra.run.dir=my dir", "seed=3"]
    assert run(*arguments)[0] == 0
    about = pd.read_excel("my dir/results.xlsx", sheet_name="About", index_col=0)["Value"]
    assert sorted(shlex.split(about["Command"])) == sorted(["python", "-m", "mnist_lightning", *arguments])
    assert about["To resume"].startswith("Give the same command again, with hydra.run.dir=DIR: a run that is stored is")
    assert run("-m", *tiny_arguments, "hydra.sweep.dir=sweep")[0] == 0
    [of_run] = Path("sweep").glob("*/.hydra/hydra.yaml")
    assert command_in(of_run.read_text(), of_run=True) == ""


def test_the_users_own_configuration_files_are_in_the_command() -> None:
    line = command_in(stored(["lr=1"], ["hydra.mode=MULTIRUN"], "command-line", "mine"))
    assert shlex.split(line) == [*PROGRAM, "--config-dir", "/my conf", "-cn", "mine", "lr=1"]


@pytest.mark.parametrize("provider", ["another", "main"])
def test_configuration_files_that_hydra_found_by_itself_are_not_in_the_command(provider: str) -> None:
    assert shlex.split(command_in(stored(["lr=1"], (), provider))) == [*PROGRAM, "lr=1"]
    assert shlex.split(command_in(stored(["lr=1"], (), provider, "another"))) == [*PROGRAM, "-cn", "another", "lr=1"]


@pytest.mark.parametrize("modes", [["RUN"], [], ["MULTIRUN"], ["RUN", "MULTIRUN"], ["RUN", "RUN"]], ids=str)
def test_a_single_runs_command_is_told_where_hydra_says_once_that_it_is_one(modes: list[str]) -> None:
    line = command_in(stored(["lr=1"], [f"hydra.mode={mode}" for mode in modes]), of_run=True)
    assert line == ("python -m mnist_lightning lr=1" if modes == ["RUN"] else "")


@pytest.mark.parametrize("length", [10_000, 10_001])
def test_a_command_of_ten_thousand_characters_is_told_and_a_longer_one_is_not(length: int) -> None:
    line = command_in(stored(["x" * (length - len(" ".join(PROGRAM)) - 1)]))
    assert len(line) == (length if length <= 10_000 else 0)


def test_a_shell_reads_the_very_words_from_a_hostile_command_and_a_terminal_sees_no_control_character() -> None:
    texts = [f"loss={text}" for text in HOSTILE if "\x00" not in text and len(text) < 1000 and text.isprintable()]
    texts += ["loss=a\nb\r\x1b[31mred\x07", "loss=$(touch x)", "loss=`id`", "loss=\u202egnp.exe"]
    line = command_in(stored(texts))
    assert line.isprintable()
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == [*PROGRAM, *texts]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "hydra: 3",
        "[" * 5000,
        "hydra: {overrides: {task: [1], hydra: []}}",
        stored([]),
        stored([["lr=1"]]),
        stored(["x" * LONGEST_COMMAND]),
        "hydra: &x {overrides: {task: [lr=1], hydra: [*x]}}",
        "hydra: !!python/object/apply:os.system ['touch canary']",
    ],
    ids=str,
)
def test_what_is_no_command_of_ours_is_none(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert command_in(text[:20_000]) == ""
    assert not list(tmp_path.iterdir())
