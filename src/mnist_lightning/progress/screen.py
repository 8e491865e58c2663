"""Where progress is shown: one line of a terminal that is rewritten, or lines, or nothing."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, TextIO, cast

Mode = Literal["bar", "lines", "none"]


def mode_of(wanted: str) -> Mode:
    """What `progress=` stands for here: `auto` is a rewritten line on a terminal or in a notebook, else lines."""
    if wanted in ("bar", "lines", "none"):
        return cast(Mode, wanted)
    return "bar" if is_notebook() or _is_terminal() else "lines"


def _is_terminal() -> bool:
    # both: what is piped elsewhere (`| tee log`) would come back between the rewritings
    streams = (sys.stdout, sys.stderr)
    return all(s is not None and s.isatty() for s in streams) and os.environ.get("TERM") != "dumb"


def is_notebook() -> bool:
    """Whether this is the kernel of a notebook, whose output can be rewritten."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def folded(text: str) -> str:
    """A line in as many as a terminal needs to break it between words; as it is where there is no terminal."""
    if not _is_terminal():
        return text
    width = shutil.get_terminal_size().columns
    return textwrap.fill(text, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


@contextmanager
def meanwhile(line: str, wanted: str) -> Iterator[None]:
    """Shows a line, where lines are rewritten in the way of `progress=wanted`, until the block has ended."""
    if mode_of(wanted) != "bar":
        yield
        return
    bar = Bar()
    bar.start()
    try:
        bar.write(line[: bar.width])
        yield
    finally:
        bar.stop()


class Bar:
    """A line that is rewritten; what is printed meanwhile appears above it."""

    def __init__(self) -> None:
        self._before: tuple[TextIO, TextIO] | None = None
        self._bar: Any = None

    @property
    def width(self) -> int:
        """How many characters a line can have without being wrapped."""
        return shutil.get_terminal_size().columns - 1

    def start(self) -> None:
        """Takes the last line of the terminal."""
        from tqdm import tqdm  # Lightning's own, and not for a command that trains nothing

        class Line(tqdm):
            monitor_interval = 0  # no thread of its own that looks after it

        self._before = sys.stdout, sys.stderr
        shape = "{bar:20} {desc}" if is_notebook() else "{desc}"
        self._bar = Line(file=sys.stdout, total=1.0, bar_format=shape, leave=False, disable=False)
        sys.stdout, sys.stderr = (cast(TextIO, _Above(stream, self._bar)) for stream in self._before)

    def write(self, line: str, share: float = 0.0) -> None:
        """Replaces the line; a notebook's begins with a bar of what is done, 0 to 1."""
        with suppress(OSError):  # a full disk behind a stream ends no training
            self._bar.n = share
            self._bar.set_description_str(line)

    def stop(self) -> None:
        """Gives the terminal back, without the line."""
        if self._before is None:
            return
        with suppress(OSError):
            self._bar.set_description_str(" " * self.width)  # also over the ^C that a terminal has put there
            self._bar.close()
        above = (sys.stdout, sys.stderr)
        sys.stdout, sys.stderr = self._before
        self._before = None
        for stream in above:
            if isinstance(stream, _Above):
                stream.end()


class _Above:
    """A text stream whose whole lines appear above the bar."""

    def __init__(self, stream: TextIO, bar: Any) -> None:
        self._stream, self._bar, self._rest = stream, bar, ""

    def write(self, text: str) -> int:
        with self._bar.get_lock():
            *whole, self._rest = (self._rest + text).split("\n")
            if whole:
                with suppress(OSError):
                    self._bar.clear(nolock=True)
                self._stream.write("".join(f"{line}\n" for line in whole))
                self._stream.flush()
                with suppress(OSError):
                    self._bar.refresh(nolock=True)
        return len(text)

    def end(self) -> None:
        """Writes what has had no end of its line, once the bar is gone."""
        rest, self._rest = self._rest, ""
        if rest:
            self._stream.write(rest)

    def flush(self) -> None:
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
