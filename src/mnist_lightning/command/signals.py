"""What the surroundings do to the process of a command: signals that come, pipes that are closed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NoReturn, TextIO
from unittest.mock import patch

from mnist_lightning.errors import EXIT_HANGUP, EXIT_INTERRUPTED, EXIT_TERMINATED

_SIGNALS = {
    "SIGINT": ("interrupted", EXIT_INTERRUPTED),
    "SIGTERM": ("terminated", EXIT_TERMINATED),
    "SIGHUP": ("terminal closed", EXIT_HANGUP),
}


class Interrupted(BaseException):
    """A signal asked the program to end. No Exception: a run must not record it as its own failure."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.number = getattr(signal, name)
        self.word, self.exit_code = _SIGNALS[name]


class Signals:
    """The signals that came, as exceptions: raised, and kept, since others catch them.

    Hydra takes an exception out of a resolver for its own, and Python drops one out of a `__del__`, as the garbage
    collector calls it: then the signal is sent again.
    """

    def __init__(self) -> None:
        self.received: list[Interrupted] = []
        self.again: threading.Timer | None = None

    def raise_(self, number: int, frame: Any) -> NoReturn:
        self.received.append(Interrupted(signal.Signals(number).name))
        raise self.received[-1]

    def dropped(self, event: Any, otherwise: Callable[[Any], object]) -> None:
        """For `sys.unraisablehook`."""
        if not isinstance(event.exc_value, Interrupted):
            otherwise(event)
            return
        self.again = threading.Timer(0.05, os.kill, (os.getpid(), event.exc_value.number))
        self.again.start()

    def look(self) -> Interrupted | None:
        """The first one. One that waits to be sent again is not."""
        if self.again:
            self.again.cancel()
        return self.received[0] if self.received else None


@contextmanager
def signals_raised() -> Iterator[Signals]:
    """SIGINT, SIGTERM and SIGHUP as exceptions. Lightning leaves handlers alone that it finds; its own end with 0."""
    signals = Signals()
    try:
        names = [name for name in _SIGNALS if hasattr(signal, name)]
        before = {name: signal.signal(getattr(signal, name), signals.raise_) for name in names}
    except ValueError:  # not the main thread: whoever runs us has the signals
        before = {}
    try:
        with patch.object(sys, "unraisablehook", partial(signals.dropped, otherwise=sys.unraisablehook)):
            yield signals
    finally:
        for name, old in before.items():
            signal.signal(getattr(signal, name), old)


@contextmanager
def closed_pipes_ignored() -> Iterator[None]:
    """`| head` closes the pipe behind the output: the runs go on, what they print is dropped from then on."""
    with ExitStack() as stack:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            for name in ("write", "flush"):
                stack.enter_context(patch.object(stream, name, partial(_or_drop, stream, getattr(stream, name))))
            stack.callback(stream.flush)  # before the interpreter does it
        yield


def _or_drop(stream: TextIO, method: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return method(*arguments)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
