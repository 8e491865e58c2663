"""What the surroundings do to the process of a command: signals that come, pipes that are closed."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from typing import Any, NoReturn, TextIO, cast

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
    """Raises the signals that come as exceptions, and remembers them, since others catch them.

    Hydra takes an exception out of a resolver for its own, and Python drops one out of a `__del__`, as the garbage
    collector calls it: then the signal is sent again.
    """

    def __init__(self) -> None:
        self.received: list[Interrupted] = []
        self.again: threading.Timer | None = None

    def raise_(self, number: int, frame: Any) -> NoReturn:
        """The handler for `signal.signal`."""
        self.received.append(Interrupted(signal.Signals(number).name))
        raise self.received[-1]

    def dropped(self, event: Any, otherwise: Callable[[Any], object]) -> None:
        """Sends a signal again whose exception Python has dropped; for `sys.unraisablehook`."""
        if not isinstance(event.exc_value, Interrupted):
            otherwise(event)
            return
        self.again = threading.Timer(0.05, os.kill, (os.getpid(), event.exc_value.number))
        self.again.start()

    def first(self) -> Interrupted | None:
        """The first signal that came. Cancels a pending re-send."""
        if self.again:
            self.again.cancel()
        return self.received[0] if self.received else None


@contextmanager
def signals_raised() -> Iterator[Signals]:
    """Raises SIGINT, SIGTERM and SIGHUP as exceptions within the block, except those that are ignored already.

    Whoever started us with `nohup` wants that. Lightning leaves handlers alone that it finds; its own would end the
    process with 0.
    """
    signals, hook = Signals(), sys.unraisablehook
    try:
        names = [name for name in _SIGNALS if hasattr(signal, name)]
        heeded = [name for name in names if signal.getsignal(getattr(signal, name)) != signal.SIG_IGN]
        before = {name: signal.signal(getattr(signal, name), signals.raise_) for name in heeded}
    except ValueError:  # not the main thread: whoever runs us has the signals
        before = {}
    sys.unraisablehook = partial(signals.dropped, otherwise=hook)
    try:
        yield signals
    finally:
        sys.unraisablehook = hook
        for name, old in before.items():
            signal.signal(getattr(signal, name), old)


@contextmanager
def closed_pipes_ignored() -> Iterator[None]:
    """Drops what is printed once somebody has closed the pipe behind the output, as `| head` does; the runs go on."""
    out, err = _Unbreakable(sys.stdout), _Unbreakable(sys.stderr)
    with redirect_stdout(cast(TextIO, out)), redirect_stderr(cast(TextIO, err)):
        try:
            yield
        finally:  # before the interpreter does it
            out.flush()
            err.flush()


class _Unbreakable:
    """A text stream that writes to nowhere once its pipe, or its terminal, is gone; and None, one that was closed."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._try("write", text)
        return len(text)

    def flush(self) -> None:
        self._try("flush")

    def _try(self, method: str, *arguments: str) -> None:
        try:
            if self._stream is not None:
                getattr(self._stream, method)(*arguments)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):  # the reader of the pipe, or the terminal, is gone
                raise
            assert self._stream is not None
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
