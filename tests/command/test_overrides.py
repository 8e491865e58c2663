"""The command's arguments: what Hydra would misunderstand, what its grammar cannot read, how to repeat a command."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mnist_lightning.command.overrides import for_hydra, groups, refuse_early, to_resume
from mnist_lightning.errors import shell_line

Run = Callable[..., tuple[int, str, str]]
SEARCH = r'pip install "mnist-lightning\[optuna\]" and add -m hydra/sweeper=optuna'
BAD = [
    ("--experimental-rerun junk", "--experimental-rerun: would execute whatever is in the file; repeat the command"),
    ("--exp=junk", "--exp=junk: would execute"),
    ("hydra.verbose={a:1}", "hydra.verbose={a:1}: cannot be read"),
    ("logger=[1]", "logger=[1]: a list, and a run has one logger; give one\n"),
    ("optimizer=[adam,sgd]", r"a run has one optimizer; give one, or -m optimizer=adam,sgd to train each"),
    ("-m optimizer=[adam,sgd],rmsprop", "a list, and a run has one optimizer; give one, or -m optimizer=adam,sgd,rms"),
    ("data=[mnist,synthetic]", "a list, and a run has one data; give one, or -m data=mnist,synthetic to train"),
    ("hydra/launcher=[basic,fused]", "a list, and a run has one hydra/launcher; give one\n"),
    ("optimizer=adam,sgd", "optimizer=adam,sgd: several values; put -m in front to train each of them\n"),
    ("lr=0.1,0.2", "lr=0.1,0.2: several values; put -m in front to train each of them\n"),
    ("lr=range(1,3)", r"lr=range(1,3): several values; put -m in front to train each of them\n"),
    ("callbacks=a,b", "callbacks=a,b: several values; put -m in front to train each of them, or write a list as [a,b]"),
    ("hydra.mode=RUN,MULTIRUN", "hydra.mode=RUN,MULTIRUN: several values; give it one\n"),
    ("hydra.mode=FOO", "hydra.mode=FOO: Invalid value 'FOO', expected one of [RUN, MULTIRUN]; see --hydra-help"),
    ("hydra.job.num=x", "hydra.job.num=x: Value 'x' of type 'str' could not be converted to Integer; see --hydra-help"),
    ("lr=interval(0.1,1)", "lr=interval(0.1,1): for a search, not for a grid; pip install "),
    ("-m lr=interval(0.1,1)", "lr=interval(0.1,1): for a search, not for a grid; pip install "),
    ("-m hydra.sweep.dir=${oc.env:NOPE}/x", "hydra.sweep.dir=${oc.env:NOPE}/x: Environment variable 'NOPE' not found"),
    ("hydra.run.dir=${oc.env:NOPE}/x", "hydra.run.dir=${oc.env:NOPE}/x: Environment variable 'NOPE' not found"),
    ("data.root=${oc.env:NOPE}", "data.root: Environment variable 'NOPE' not found; write the value itself"),
    ("data=/a/b", "data=/a/b: unknown; use one of fashion_mnist, "),
    ("data=MNIST", "data=MNIST: unknown; did you mean mnist?"),
    ("hydra/launcher=JOBLIB", "hydra/launcher=JOBLIB: unknown; did you mean joblib?"),
    ("learning_rate=1", "learning_rate=1: no such key; did you mean lr?"),
    ("loss=é", "loss=é: unknown; use one of mse, mae, cross_entropy or a dotted path"),
    ("-m hydra.run.dir=X", "hydra.run.dir=X: is for a single run; a sweep's directory is hydra.sweep.dir"),
    ("experiment=smoke hydra.run.dir=X", "hydra.run.dir=X: is for a single run; a sweep's directory is hydra.sweep"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[arguments for arguments, _ in BAD])
def test_what_hydra_would_misunderstand_or_explain_badly_is_refused_in_one_line(
    arguments: str, message: str, run: Run, tiny_arguments: list[str]
) -> None:
    code, out, err = run(*tiny_arguments, *arguments.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("mnist-lightning: error: ")
    assert message.replace(r"\n", "\n") in err
    assert not list(Path().rglob("result.json"))


def test_every_group_of_conf_and_no_other_folder_is_a_group() -> None:
    assert groups() == [
        "callback",
        "data",
        "experiment",
        "logger",
        "optimizer",
        "scheduler",
        "hydra/launcher",
        "hydra/sweeper",
    ]
    refuse_early(["hydra/callbacks=[collect]", "callbacks=[a,b]", "trainer.devices=[1]"])


def test_what_python_keeps_beside_conf_is_no_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("__pycache__", "optimizer", "hydra"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("mnist_lightning.command.overrides.conf_dir", lambda: tmp_path)
    assert groups() == ["optimizer", "hydra/launcher", "hydra/sweeper"]


@pytest.mark.parametrize("digits", [309, 500, 5000])
@pytest.mark.parametrize("flag", [[], ["-m"]])
def test_a_number_beyond_all_floats_is_too_large_and_its_key_is_named(digits: int, flag: list[str], run: Run) -> None:
    for key, legal in (("lr", "use a number above 0, at most 1e+30"), ("seed", "use 0 to 4294967295")):
        code, out, err = run(*flag, f"{key}={'9' * digits}")
        assert (code, out) == (2, "")
        assert err == f"mnist-lightning: error: {key}={'9' * 57}...: too large; {legal}\n"


def test_a_long_name_of_digits_is_no_number() -> None:
    refuse_early([f"data.root=/x/{'9' * 400}", f"data.root={'9' * 400}/x", f"lr={'9' * 308}"])


QUOTED = [
    ("data.root=/é/ü", "data.root='/é/ü'"),
    ("data.root=~/x", "data.root='HOME/x'"),
    ("+a.b=~", "+a.b='HOME'"),
    ("data.root=~nobody_of_this_name/x", "data.root='~nobody_of_this_name/x'"),
    ("loss=mse,é, ü x", "loss=mse,'é', 'ü x'"),
    ("callbacks=[{_target_:é.B,a:[1,ü]}]", "callbacks=[{_target_:'é.B',a:[1,'ü']}]"),
    ("ckpt_path=sqlite:///é", "ckpt_path='sqlite:///é'"),
    ("lr=choice(0.1,é)", "lr=choice(0.1,'é')"),
    # as they were
    ("data.root='/é'", "data.root='/é'"),
    ("data.root=${oc.env:HOME}/é", "data.root=${oc.env:HOME}/é"),
    ("data.root=a~b", "data.root=a~b"),
    ("~lr=é", "~lr=é"),
    ("é=1", "é=1"),
    ("lr=0.1,0.2", "lr=0.1,0.2"),
    ("loss=\x1bé", "loss=\x1bé"),
    ("--config-dir=/é", "--config-dir=/é"),
]


@pytest.mark.parametrize(("argument", "taken"), QUOTED, ids=[argument for argument, _ in QUOTED])
def test_what_hydras_grammar_has_no_letters_for_is_quoted(
    argument: str, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "HOME")
    assert for_hydra([argument]) == [taken]


def test_a_directory_of_any_letters_and_of_the_home_directory_holds_the_run(
    run: Run, tiny_arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "höme"))
    assert run(*tiny_arguments, "hydra.run.dir=~/größe/一")[0] == 0
    assert (tmp_path / "höme" / "größe" / "一" / "result.json").is_file()


WORDS = [
    "plain",
    "",
    "a b",
    "it's",
    '"x"',
    "${oc.env:HOME}",
    "$HOME",
    "`id`",
    "[a,b]",
    "{a:1}",
    "*",
    "!x",
    "~/x",
    "a\\'b",
]
WORDS += ["\x1b[31mred", "a\nb", "\u202egnp", "é", "\x7f", "tab\there", "'\x07\\n'", "-m"]


def test_a_line_for_the_shell_is_printable_and_gives_the_very_words_back() -> None:
    line = shell_line(WORDS)
    assert line.isprintable()
    printing = f"{shlex.quote(sys.executable)} -c 'import sys; print(ascii(sys.argv[1:]))' {line}"
    done = subprocess.run(["bash", "-c", printing], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ascii(WORDS)


def test_bytes_that_are_no_text_come_back_too() -> None:
    word = os.fsdecode(b"a\x80\xc3\xff")
    done = subprocess.run(["bash", "-c", f"printf %s {shell_line([word])}"], capture_output=True, check=True)
    assert done.stdout == b"a\x80\xc3\xff"
    assert shell_line(["\ud800"]).isprintable()


@pytest.mark.parametrize(
    ("arguments", "is_run", "line"),
    [
        (["-m", "lr=1,2"], False, "-m lr=1,2 hydra.sweep.dir=outputs/x"),
        (["lr=1"], True, "lr=1 hydra.run.dir=outputs/x"),
        (["-m", "hydra.sweep.dir=${now:%S}", "lr=1"], False, "-m lr=1 hydra.sweep.dir=outputs/x"),
        (["experiment=smoke", "+hydra.sweep.dir=old"], False, "experiment=smoke hydra.sweep.dir=outputs/x"),
    ],
)
def test_the_line_to_resume_names_the_directory_once_whatever_the_command_called_it(
    arguments: list[str], is_run: bool, line: str
) -> None:
    assert to_resume(arguments, Path("outputs/x"), is_run=is_run) == f"python -m mnist_lightning {line}"
