"""Errors for the user: their exit codes, and that each is one line."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import pytest

from mnist_lightning import errors
from mnist_lightning.errors import (
    BusyError,
    CommandParser,
    ConfigError,
    DataError,
    OutputError,
    Problem,
    RefusedError,
    UserError,
    cut,
    exit_code_of,
    one_line,
)

# A promise to scripts: README.md, "Exit codes"
EXIT_CODES = {
    "EXIT_OK": 0,
    "EXIT_BUG": 1,
    "EXIT_BAD_INPUT": 2,
    "EXIT_RUNS_MISSING": 3,
    "EXIT_DATA": 4,
    "EXIT_OUTPUT": 5,
    "EXIT_REFUSED": 6,
    "EXIT_BUSY": 7,
    "EXIT_HANGUP": 129,
    "EXIT_INTERRUPTED": 130,
    "EXIT_TERMINATED": 143,
}


def test_the_exit_codes_are_those_that_were_promised() -> None:
    assert {name: value for name, value in vars(errors).items() if name.startswith("EXIT_")} == EXIT_CODES


@pytest.mark.parametrize(
    ("kind", "code"),
    [(UserError, 1), (ConfigError, 2), (DataError, 4), (OutputError, 5), (RefusedError, 6), (BusyError, 7)],
)
def test_every_kind_of_error_has_its_exit_code(
    kind: type[UserError], code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise kind("x=1: wrong; do y")

    assert exit_code_of(work) == code
    assert capfd.readouterr() == ("", "mnist-lightning: error: x=1: wrong; do y\n")


def test_work_that_ends_well_was_done_and_gives_0(capfd: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(lambda: print("done")) == 0
    assert capfd.readouterr() == ("done\n", "")


def test_a_path_that_is_not_there_is_bad_input_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise FileNotFoundError("somewhere:\nno such directory")

    assert exit_code_of(work) == 2
    assert capfd.readouterr().err == "mnist-lightning: error: somewhere: no such directory\n"


def test_an_error_that_is_not_the_users_is_not_hidden() -> None:
    def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        exit_code_of(work)


@pytest.mark.parametrize("lines", [1, 100_000], ids=["seen when it is flushed", "seen when it is printed"])
def test_a_reader_that_has_seen_enough_is_no_error(lines: int) -> None:
    code = f"from mnist_lightning.errors import exit_code_of; exit(exit_code_of(lambda: print('line\\n' * {lines})))"
    read, write = os.pipe()
    os.close(read)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, env=buffered, check=False)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("work", "told"),
    [
        ("print('x')", "standard output: cannot be written (No space left on device); free the disk or choose another"),
        ("os.mkdir('/' + 256 * 'x')", "/xxx"),
    ],
)
def test_what_cannot_be_written_gives_5_and_one_line(work: str, told: str) -> None:
    code = f"import os; from mnist_lightning.errors import exit_code_of; exit(exit_code_of(lambda: {work}))"
    with open("/dev/full", "w") as full:
        ended = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, check=False)
    assert ended.returncode == 5
    assert ended.stderr.decode().startswith(f"mnist-lightning: error: {told}")
    assert ended.stderr.count(b"\n") == 1


def test_a_command_whose_output_nobody_wanted_is_none_the_worse() -> None:
    code = "import sys; sys.stdout = None; from mnist_lightning.errors import exit_code_of; exit(exit_code_of(print))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_wrong_usage_of_a_command_without_hydra_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        CommandParser(prog="x").parse_args(["--nonsense"])
    assert ended.value.code == 2
    assert capfd.readouterr().err == ("mnist-lightning: error: unrecognized arguments: --nonsense; see --help\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "x"], "--port=x: not a whole number; see --help"),
        (["--port=1.5"], "--port=1.5: not a whole number; see --help"),
        (["--top", "3"], "--top=3: not possible; use one of 1, 2"),
        (["--top", "x"], "--top=x: not a whole number; see --help"),
        (["--json=yes"], "--json=yes: takes no value; write --json alone"),
        (["--port"], "--port: has no value; see --help"),
    ],
)
def test_a_wrong_value_of_an_option_is_named_with_the_way_out(
    arguments: list[str], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    parser = CommandParser(prog="x")
    parser.add_argument("--port", type=int)
    parser.add_argument("--top", type=int, choices=range(1, 3))
    parser.add_argument("--json", action="store_true")
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(arguments)
    assert (ended.value.code, capfd.readouterr().err) == (2, f"mnist-lightning: error: {told}\n")


def problem(key: str, value: object) -> Problem:
    return Problem(key, value, "wrong", "do y")


def test_a_problem_names_its_key_and_value_as_they_are_typed() -> None:
    assert str(problem("a.b", 3)) == "a.b=3: wrong; do y"
    assert str(problem("a.b", None)) == "a.b=null: wrong; do y"


@pytest.mark.parametrize(("length", "shown"), [(60, "v" * 60), (61, "v" * 57 + "..."), (1000, "v" * 57 + "...")])
def test_of_a_long_value_the_beginning_is_shown(length: int, shown: str) -> None:
    assert str(problem("a", "v" * length)) == f"a={shown}: wrong; do y"


def test_one_problem_stands_alone_and_of_several_the_first_comes_with_the_others_names() -> None:
    assert str(ConfigError([problem("a", 1)])) == "a=1: wrong; do y"
    several = [problem("a", 1), problem("b", "v" * 30), problem("c", 3)]
    assert str(ConfigError(several)) == f"a=1: wrong; do y (also wrong: b={'v' * 20}, c=3)"
    assert str(ConfigError("x: all of it")) == "x: all of it"


@pytest.mark.parametrize("content", [[problem("a", 1), problem("b", 2)], "x: all of it"], ids=["problems", "text"])
def test_a_refusal_arrives_whole_from_a_worker_process(content: list[Problem] | str) -> None:
    sent = ConfigError(content)
    arrived = pickle.loads(pickle.dumps(sent))
    assert (type(arrived), str(arrived), arrived.problems) == (ConfigError, str(sent), sent.problems)


@pytest.mark.parametrize("limit", [10, errors.LONGEST_LINE])
def test_a_line_is_cut_only_where_it_is_longer_than_the_limit(limit: int) -> None:
    assert one_line("x" * limit, limit) == "x" * limit
    assert one_line("x" * (limit + 1), limit) == "x" * (limit - 3) + "..."
    assert one_line("x" * (limit - 1), limit) == "x" * (limit - 1)


def test_a_line_of_an_error_is_200_characters_at_most_if_nothing_else_is_said() -> None:
    assert [len(one_line("x" * n)) for n in (199, 200, 201, 5000)] == [199, 200, 200, 200]


def test_what_a_terminal_would_obey_is_shown_as_text() -> None:
    assert one_line("a\n\tb\x1b[31m\u202e ü") == r"a b\x1b[31m\u202e ü"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("abc  def\nhi", "abc def hi"),
        ("abc def hij", "abc def..."),
        ("abc defghij k", "abc..."),
        ("abc, defghij", "abc..."),
        ("abcdefghijk", "abcdefg..."),
        ("abcdefgh ijk", "abcdefg..."),
    ],
)
def test_a_reason_is_cut_after_a_word_and_never_longer_than_its_limit(text: str, shown: str) -> None:
    assert cut(text, 10) == shown
