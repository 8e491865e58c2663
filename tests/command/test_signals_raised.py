"""Signals as exceptions and streams that cannot break, in this very process; a whole command: test_signals.py."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mnist_lightning.command.signals import Interrupted, closed_pipes_ignored, signals_raised

ALL = {
    signal.SIGINT: ("interrupted", 130),
    signal.SIGTERM: ("terminated", 143),
    signal.SIGHUP: ("terminal closed", 129),
}


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in ALL]


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(20)
    pytest.fail("the signal did not come")


@pytest.mark.parametrize("number", ALL, ids=lambda number: number.name)
def test_a_signal_is_an_exception_within_the_block_and_what_it_was_before_after_it(number: signal.Signals) -> None:
    before, hook = handlers(), sys.unraisablehook
    with signals_raised() as signals:
        assert signals.first() is None
        with pytest.raises(Interrupted) as raised:
            send(number)
    assert (raised.value.word, raised.value.exit_code) == ALL[number]
    assert (raised.value.number, signals.received, signals.first()) == (number, [raised.value], raised.value)
    assert not isinstance(raised.value, Exception)
    assert (handlers(), sys.unraisablehook) == (before, hook)


def test_of_several_signals_the_first_counts_and_all_are_kept() -> None:
    with signals_raised() as signals:
        for number in (signal.SIGTERM, signal.SIGINT):
            with pytest.raises(Interrupted):
                send(number)
    first = signals.first()
    assert first is not None
    assert [first.number, *(s.number for s in signals.received)] == [signal.SIGTERM, signal.SIGTERM, signal.SIGINT]


def test_what_raises_in_the_block_arrives_and_the_handlers_are_given_back() -> None:
    before, hook = handlers(), sys.unraisablehook
    with pytest.raises(ZeroDivisionError), signals_raised():
        raise ZeroDivisionError
    assert (handlers(), sys.unraisablehook) == (before, hook)


def test_a_signal_that_is_ignored_already_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_raised() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) == signals.raise_
        assert (signal.getsignal(signal.SIGHUP), signals.received) == (signal.SIG_IGN, [])
    finally:
        signal.signal(signal.SIGHUP, before)


def test_beside_the_main_thread_the_signals_are_whose_process_it_is() -> None:
    before, found = handlers(), []

    def work() -> None:
        with signals_raised() as signals:
            found.append((handlers(), signals.first()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(before, None)]


def test_a_signal_dropped_by_python_comes_again_and_other_dropped_errors_go_where_they_went(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    with signals_raised() as signals:
        odd = SimpleNamespace(exc_value=ValueError("x"))
        sys.unraisablehook(odd)  # pyright: ignore[reportArgumentType] - as Python calls it
        assert (told, signals.again) == ([odd], None)
        with pytest.raises(Interrupted):  # noqa: PT012 - it comes while it is waited for
            sys.unraisablehook(SimpleNamespace(exc_value=Interrupted("SIGTERM")))  # pyright: ignore[reportArgumentType]
            time.sleep(5)
    assert (told, [s.number for s in signals.received]) == ([odd], [signal.SIGTERM])


def test_a_signal_that_counts_already_is_not_sent_again() -> None:
    with signals_raised() as signals:
        sys.unraisablehook(SimpleNamespace(exc_value=Interrupted("SIGTERM")))  # pyright: ignore[reportArgumentType]
        assert signals.first() is None
        time.sleep(0.2)
    assert signals.received == []


def test_what_is_printed_to_a_closed_pipe_is_dropped_and_the_work_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = [os.pipe() for _ in range(2)]
    out, err = (os.fdopen(write, "w", buffering=1) for _, write in ends)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    for read, _ in ends:
        os.close(read)
    with closed_pipes_ignored():
        assert sys.stdout.write("four") == 4
        for _ in range(3):
            print("more than a pipe holds" * 9999)
            print("an error", file=sys.stderr)
        assert sys.stdout.fileno() == out.fileno()
    assert (sys.stdout, sys.stderr) == (out, err)
    for stream in (out, err):
        assert os.path.samestat(os.fstat(stream.fileno()), Path(os.devnull).stat())
        stream.close()


def test_what_stands_in_a_buffer_is_written_when_the_block_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """While Python would say that the pipe is closed, if the interpreter did it."""

    class Noted(io.StringIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1

    out, err = Noted(), Noted()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with pytest.raises(ZeroDivisionError), closed_pipes_ignored():  # noqa: PT012 - the block is what is tested
        print("told", end="")
        raise ZeroDivisionError
    assert (out.getvalue(), out.flushed, err.flushed) == ("told", 1, 1)


def test_streams_that_were_closed_from_the_start_are_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with closed_pipes_ignored():
        print("x")
        print("y", file=sys.stderr)
    assert (sys.stdout, sys.stderr) == (None, None)
