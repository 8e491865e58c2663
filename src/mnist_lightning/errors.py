"""Errors for the user: one line each, with the exit code the command ends with."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple, NoReturn

EXIT_OK = 0
EXIT_BUG = 1
EXIT_BAD_INPUT = 2
EXIT_RUNS_MISSING = 3
EXIT_DATA = 4
EXIT_OUTPUT = 5
EXIT_REFUSED = 6
EXIT_BUSY = 7
EXIT_HANGUP = 129
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

LONGEST_LINE = 200


class UserError(Exception):
    """Something the user can put right. `str(error)` is `<key=value or file>: <what is wrong>; <the way out>`."""

    exit_code = EXIT_BUG


class Problem(NamedTuple):
    """One wrong key of a configuration."""

    key: str
    value: object
    what: str
    way_out: str

    def __str__(self) -> str:
        shown = "null" if self.value is None else str(self.value)
        return f"{self.key}={cut(shown, 60)}: {self.what}; {self.way_out}"


class ConfigError(UserError, ValueError):
    """A key, a value or a combination of them is refused. `problems` lists each of them."""

    exit_code = EXIT_BAD_INPUT

    def __init__(self, problems: list[Problem] | str) -> None:
        self.problems = [] if isinstance(problems, str) else problems
        super().__init__(problems if isinstance(problems, str) else self._summary(problems))

    @staticmethod
    def _summary(problems: list[Problem]) -> str:
        if len(problems) == 1:
            return str(problems[0])
        others = ", ".join(f"{p.key}={str(p.value)[:20]}" for p in problems[1:])
        return f"{problems[0]} (also wrong: {others})"

    def __reduce__(self) -> tuple[type[ConfigError], tuple[list[Problem] | str]]:
        return type(self), (self.problems or str(self),)


class DataError(UserError):
    """A data file is missing, damaged, or could not be fetched."""

    exit_code = EXIT_DATA


class OutputError(UserError):
    """Something could not be written."""

    exit_code = EXIT_OUTPUT


class RefusedError(UserError):
    """A checkpoint or a record was refused."""

    exit_code = EXIT_REFUSED


class UnreadableError(UserError):
    """A checkpoint or a record is there and cannot be read now: nobody knows whether it is whole."""

    exit_code = EXIT_REFUSED


class RetrainingError(UserError):
    """A finished run was to be trained anew, and that failed; its record is the one of before."""

    exit_code = EXIT_RUNS_MISSING


class BusyError(UserError):
    """Another process works in the same sweep directory."""

    exit_code = EXIT_BUSY


class PassedOn(BaseException):
    """Carries a UserError through Hydra, which would print and go on after an Exception.

    As its argument: another process gets no causes.
    """

    def __init__(self, error: UserError) -> None:
        super().__init__(error)
        self.error = error


def chain_of(error: BaseException) -> list[BaseException]:
    """The error, what it was raised from, or while handling, and so on; what is passed on comes after its carrier."""
    chain = [error]
    while (cause := _cause_of(chain[-1])) is not None and cause not in chain:
        chain.append(cause)
    return chain


def _cause_of(error: BaseException) -> BaseException | None:
    return error.error if isinstance(error, PassedOn) else error.__cause__ or error.__context__


def cut(text: str, limit: int) -> str:
    """`text` with one blank between two words, cut to `limit` characters: after a word, if it has several."""
    flat = " ".join(text.split())
    if len(flat) <= limit:
        return flat
    head = flat[: limit - 2].rpartition(" ")[0] or flat[: limit - 3]
    return head.rstrip(",.:;") + "..."


def one_line(text: str, limit: int = LONGEST_LINE) -> str:
    """`text` as a single line of at most `limit` printable characters; control characters are escaped."""
    flat = " ".join(text.split())
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in flat)
    return safe if len(safe) <= limit else safe[: limit - 3] + "..."


def shell_line(words: Iterable[str]) -> str:
    """The words as one line from which a shell reads exactly these; control characters stand there as `$'\\x1b'`."""
    return " ".join(shlex.quote(word) if word.isprintable() else _escaped_for_shell(word) for word in words)


def _escaped_for_shell(word: str) -> str:
    def escaped(c: str) -> str:
        if c in "\\'":
            return f"\\{c}"
        if c.isprintable():
            return c
        undecoded = "\udc80" <= c <= "\udcff"  # how Python holds a byte of an argument that is no UTF-8
        content = c.encode("utf-8", "surrogateescape" if undecoded else "surrogatepass")
        return "".join(f"\\x{byte:02x}" for byte in content)

    return "$'" + "".join(escaped(c) for c in word) + "'"


def exit_code_of(work: Callable[[], None]) -> int:
    """Runs a command beside Hydra's: its exit code, with one line on standard error for an error of the user's."""
    try:
        work()
        if sys.stdout is not None:  # closed by who called it
            sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except (UserError, FileNotFoundError) as error:
        print(one_line(f"mnist-lightning: error: {error}"), file=sys.stderr)
        return error.exit_code if isinstance(error, UserError) else EXIT_BAD_INPUT
    except OSError as error:
        if error.filename is None:  # standard output: Python would try once more at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        what = f"cannot be written ({error.strerror or error}); free the disk or choose another place"
        print(one_line(f"mnist-lightning: error: {error.filename or 'standard output'}: {what}"), file=sys.stderr)
        return EXIT_OUTPUT
    return EXIT_OK


# What argparse says of an option, and what we say; the groups are the option, its value, and what it may be
_COMPLAINTS = {
    r"argument (\S+): invalid int value: '(.*)'": "{0}={1}: not a whole number; see --help",
    r"argument (\S+): invalid choice: (.+) \(choose from (.+)\)": "{0}={1}: not possible; use one of {2}",
    r"argument (\S+): ignored explicit argument '(.*)'": "{0}={1}: takes no value; write {0} alone",
    r"argument (\S+): expected one argument": "{0}: has no value; see --help",
}


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line, like the main command's; for the commands without Hydra."""

    def error(self, message: str) -> NoReturn:
        """Ends the command for wrong usage."""
        found = ((re.fullmatch(pattern, message), told) for pattern, told in _COMPLAINTS.items())
        line = next((told.format(*match.groups()) for match, told in found if match), f"{message}; see --help")
        self.exit(EXIT_BAD_INPUT, one_line(f"mnist-lightning: error: {line}") + "\n")
