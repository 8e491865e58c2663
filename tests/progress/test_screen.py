"""progress/screen.py: the line that is rewritten, and where there is one."""

from __future__ import annotations

import io
import sys

import pytest

from mnist_lightning.progress.screen import Bar, folded, is_notebook, meanwhile, mode_of


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def last_screen(text: str) -> list[str]:
    """The lines that a terminal shows after this text."""
    lines, column = [""], 0
    for c in text:
        if c == "\n":
            lines.append("")
            column = 0
        elif c == "\r":
            column = 0
        else:
            lines[-1] = lines[-1][:column].ljust(column) + c + lines[-1][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines]


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)  # in the test itself: pytest puts its own there before each
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setenv("TERM", "xterm")
    return out


def test_what_is_printed_stands_above_the_line_and_the_line_goes_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    out, bar = terminal(monkeypatch), Bar()
    bar.start()
    bar.write("run 1/2  epoch 1/3")
    print("one", end="")
    assert last_screen(out.getvalue()) == ["run 1/2  epoch 1/3"]
    print(" line\nand", "more")
    print("a warning", file=sys.stderr)
    bar.write("run 2/2")
    assert last_screen(out.getvalue()) == ["one line", "and more", "a warning", "run 2/2"]
    print("no end", end="")
    bar.stop()
    bar.stop()
    assert sys.stdout is out
    print(".")
    assert last_screen(out.getvalue()) == ["one line", "and more", "a warning", "no end.", ""]


def test_a_long_line_is_broken_between_words_on_a_terminal_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "18 runs: optimizer (3) x lr (3) x loss (2), 4 epochs of 1,600 images, on 2 CPU threads, 32-true: 2 h"
    assert folded(line) == line
    terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "60")
    parts = folded(line).splitlines()
    assert [len(part) <= 60 for part in parts] == [True, True]
    assert parts[1].startswith("    ")
    assert " ".join(part.strip() for part in parts) == line


def test_a_line_is_shown_until_something_is_done_and_gone_also_where_that_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = terminal(monkeypatch)
    with pytest.raises(ZeroDivisionError), meanwhile("checking 216 runs", "auto"):  # noqa: PT012 - what is seen meanwhile
        assert last_screen(out.getvalue()) == ["checking 216 runs"]
        print(1 / 0)
    assert last_screen(out.getvalue()) == [""]
    assert sys.stdout is out
    shown = out.getvalue()
    for wanted in ("lines", "none"):
        with meanwhile("checking 216 runs", wanted):
            pass
    assert out.getvalue() == shown


def test_auto_is_a_line_on_a_terminal_and_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(monkeypatch)
    assert mode_of("auto") == "bar"
    assert [mode_of(mode) for mode in ("bar", "lines", "none")] == ["bar", "lines", "none"]
    monkeypatch.setenv("TERM", "dumb")
    assert mode_of("auto") == "lines"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # `| tee log`
    assert mode_of("auto") == "lines"
    monkeypatch.setattr(sys, "stdout", None)  # `>&-`
    assert mode_of("auto") == "lines"


def test_a_notebook_is_known_by_its_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    class ZMQInteractiveShell:
        pass

    class IPython:
        @staticmethod
        def get_ipython() -> object:
            return ZMQInteractiveShell()

    assert not is_notebook()
    monkeypatch.setitem(sys.modules, "IPython", IPython)  # pyright: ignore - as far as it is asked
    assert is_notebook()
    assert mode_of("auto") == "bar"


def test_a_stream_that_cannot_be_written_ends_neither_the_display_nor_hides_its_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, bar = terminal(monkeypatch), Bar()
    bar.start()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(out, "flush", full)
    bar.write("run 1/2")
    with pytest.raises(OSError, match="No space left"):
        print("what was printed")
    bar.stop()
    assert sys.stdout is out
