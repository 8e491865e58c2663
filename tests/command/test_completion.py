"""Tab: what completes a line, as Hydra is asked, and as a real bash and a real zsh do it."""

from __future__ import annotations

import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mnist_lightning.command.completion import completions
from mnist_lightning.config import DATASETS, LOSSES, OPTIMIZERS, conf_dir

EXPERIMENTS = [path.stem for path in (conf_dir() / "experiment").glob("*.yaml")]
LAUNCHERS = ["basic", "fused", *(path.stem for path in (conf_dir() / "hydra" / "launcher").glob("*.yaml"))]


@pytest.fixture
def tab(run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """What is offered after Tab at the end of a line."""

    def press(line: str) -> list[str]:
        monkeypatch.setenv("COMP_LINE", f"mnist-lightning {line}")
        monkeypatch.setenv("COMP_POINT", str(len(line) + 16))
        code, out, err = run("-sc", "query=bash")
        assert (code, err) == (0, "")
        return out.split()

    return press


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("", {"optimizer=", "lr=", "model.", "trainer.", "experiment=", "data="}),
        ("model.num_", {"model.num_channels=", "model.num_conv=", "model.num_dense="}),
        ("trainer.max_e", {"trainer.max_epochs="}),
        ("optimizer=", {f"optimizer={name}" for name in OPTIMIZERS}),
        ("-m experiment=", {f"experiment={name}" for name in EXPERIMENTS}),
        ("data=", {f"data={name}" for name in DATASETS}),
        ("-m hydra/launcher=", {f"hydra/launcher={name}" for name in LAUNCHERS}),
        ("-m hydra/sw", {"hydra/sweeper="}),
        ("hydra.sweep.", {"hydra.sweep.dir="}),
    ],
)
def test_keys_and_the_choices_of_groups_are_offered(
    line: str, offered: set[str], tab: Callable[[str], list[str]]
) -> None:
    assert offered <= set(tab(line))


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("loss=", [f"loss={loss}" for loss in LOSSES]),
        ("loss=m", ["loss=mse", "loss=mae"]),
        ("retrain=", ["retrain=false", "retrain=true"]),
        ("data.download=t", ["data.download=true"]),
        ("--cfg ", ["job", "hydra", "all"]),
        ("lr=0.1 --c", ["--cfg"]),
        ("--v", ["--version"]),
    ],
)
def test_where_there_are_only_a_few_values_all_of_them_are_offered(
    line: str, offered: list[str], tab: Callable[[str], list[str]]
) -> None:
    assert tab(line) == offered


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("-m loss=mae,", ["loss=mae,mse", "loss=mae,cross_entropy"]),
        ("-m optimizer=adam,rm", ["optimizer=adam,rmsprop"]),
        ("-m data=mnist,k", ["data=mnist,kmnist"]),
        ("-m loss=mae,mse,cross_entropy,", []),
    ],
)
def test_the_last_value_of_a_list_is_completed_by_those_that_are_not_in_it(
    line: str, offered: list[str], tab: Callable[[str], list[str]]
) -> None:
    assert tab(line) == offered


@pytest.mark.parametrize(
    "before",
    [
        "-v",
        "--help",
        "--lr 3",
        "lr=[1,",
        "lr=é",
        "nonsense=1",
        "'lr=tag(log,interval(1e-4,1e-1))'",
        "-m lr=0.1,0.2 'seed=range(3)'",
        "-m optimizer=adam,sgd",
        "optimizer=torch.optim.RAdam",
    ],
)
def test_what_else_stands_in_the_line_does_not_matter(before: str, tab: Callable[[str], list[str]]) -> None:
    assert tab(f"{before} model.num_ch") == ["model.num_channels="]


def test_what_was_chosen_before_decides_which_keys_there_are(tab: Callable[[str], list[str]]) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason='pip install "mnist-lightning[joblib]"')
    assert tab("-m hydra.launcher.n_j") == []
    assert tab("-m hydra/launcher=joblib hydra.launcher.n_j") == ["hydra.launcher.n_jobs="]


def test_a_path_is_completed_from_the_disk(tab: Callable[[str], list[str]], tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    assert tab(f"data.root={tmp_path}/di") == [f"data.root={tmp_path}/digits"]


@pytest.mark.parametrize("line", ["lr='0.1", "'", 'a"'])
def test_a_line_that_no_shell_could_read_yet_offers_nothing_and_says_nothing(
    line: str, tab: Callable[[str], list[str]]
) -> None:
    assert tab(line) == []


def test_an_error_of_hydras_offers_nothing_and_says_nothing() -> None:
    def fails(_: str) -> list[str]:
        raise ValueError

    assert completions("lr", fails) == []


def test_no_torch_is_imported_for_it() -> None:
    script = (
        "import sys; from mnist_lightning.command import cli; cli.main(['-sc', 'query=bash']);"
        "sys.exit(str({'torch', 'lightning', 'pandas'} & set(sys.modules)))"
    )
    environment = {**os.environ, "COMP_LINE": "mnist-lightning experiment=q", "COMP_POINT": "28"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert (done.stdout.strip(), done.stderr.strip()) == ("experiment=quickstart", "set()")


# What the README tells to write into ~/.bashrc and ~/.zshrc
_EVAL = 'eval "$(mnist-lightning -sc install=bash)"'
START = {"bash": _EVAL, "zsh": f"autoload -Uz compinit bashcompinit && compinit && bashcompinit && {_EVAL}"}


@pytest.mark.parametrize(("shell", "without_files"), [("bash", ["--norc", "--noprofile"]), ("zsh", ["-f"])])
def test_a_real_shell_completes_what_is_typed(shell: str, without_files: list[str], tmp_path: Path) -> None:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    program = tmp_path / "bin" / "mnist-lightning"
    program.parent.mkdir()
    # asked for completions it is the program; otherwise it prints what the shell gives it
    asked = shlex.join([sys.executable, "-m", "mnist_lightning"])
    program.write_text(f'#!/bin/sh\n[ "$1" = -sc ] && exec {asked} "$@"\nprintf "<%s>" "$@"; echo\n')
    program.chmod(0o755)
    environment = {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path), "TERM": "dumb"}
    typed = ["opti", "optimizer=rms", "model.num_ch", "-m experiment=qu", "-m loss=mae,m"]
    lines = [START[shell], *(f"mnist-lightning {line}\t" for line in typed), "exit"]
    printed = at_a_terminal([found, *without_files, "-i"], lines, {**os.environ, **environment}, tmp_path)
    completed = [line for line in printed.splitlines() if line.startswith("<")]
    assert completed == [
        "<optimizer>",
        "<optimizer=rmsprop>",
        "<model.num_channels=>",
        "<-m><experiment=quickstart>",
        "<-m><loss=mae,mse>",
    ], printed


def at_a_terminal(command: list[str], lines: list[str], environment: dict[str, str], directory: Path) -> str:
    """What a program prints on a terminal at which these lines are typed ahead; it has a minute to end."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=directory, start_new_session=True
    )
    os.close(theirs)
    printed, deadline = b"", time.monotonic() + 60
    for line in lines:
        os.write(ours, f"{line}\n".encode())
    while process.poll() is None and time.monotonic() < deadline:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                printed += os.read(ours, 65536)
            except OSError:  # the terminal is closed when its last program ends
                break
    process.kill()
    process.wait()
    os.close(ours)
    return printed.decode(errors="replace").replace("\r", "")
