"""`python -m mnist_lightning.report DIR`: rebuild the tables of a sweep from its records. Needs no torch."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

from mnist_lightning.errors import EXIT_INTERRUPTED, CommandParser, exit_code_of
from mnist_lightning.report import write_report


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    parser = CommandParser("python -m mnist_lightning.report", description=__doc__)
    parser.add_argument("directory", help="a sweep's directory, or a single run's")
    what = "go on until the sweep is over, or Ctrl-C: the page about once a minute, which loads itself anew"
    parser.add_argument("--watch", action="store_true", help=what)
    parser.add_argument("--leader", type=int, help=argparse.SUPPRESS)  # whose process has started this one: report.live
    given = parser.parse_args(argv)
    try:
        if given.leader:
            return exit_code_of(lambda: _accompany(given.directory, given.leader))
        return exit_code_of(lambda: (_watch if given.watch else _report)(given.directory))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _report(directory: str, *, with_status: bool = False) -> None:
    """Writes the report of what can be read, and says what is missing. Raises RefusedError for what cannot be."""
    from mnist_lightning.report.current import inputs_of, mark
    from mnist_lightning.report.running import running_runs
    from mnist_lightning.report.state import read_state
    from mnist_lightning.report.write import write_status

    inputs = inputs_of(Path(directory)) if Path(directory).is_dir() else ""
    results, state = read_state(directory)
    if not results and state.planned is None and not running_runs(directory, state):
        for error in state.refused:
            raise error
        raise FileNotFoundError(f"{directory}: holds no record; give the directory of a sweep")
    if with_status:
        write_status(results, directory, state)
    for path in write_report(results, directory, state):
        print(path)
    if state.is_whole and not state.refused:
        mark(Path(directory), inputs)
    from mnist_lightning.report.terminal import standing  # imports pandas

    for line in standing(results, state, Path(directory)):
        print(line)
    for error in state.refused:
        raise error


def _watch(directory: str) -> None:
    """Makes the page until the sweep is over, or a signal comes, and then the whole report of that moment."""
    from mnist_lightning.report.state import read_state
    from mnist_lightning.report.watch import is_over, watch

    results, state = read_state(directory)
    if not is_over(Path(directory), state):
        print(f"watching {directory}: report.html is made about once a minute; Ctrl-C ends it", flush=True)
        try:
            with _in_background():
                watch(Path(directory), tell=partial(print, flush=True))
        except (KeyboardInterrupt, SystemExit):  # the page shall not load itself anew for ever
            results, state = read_state(directory)
            write_report(results, directory, state)
            raise
    _report(directory, with_status=True)


def _accompany(directory: str, leader: int) -> None:
    """Makes the page of a sweep for the process that leads it, and the last one, too, if that process is killed."""
    from mnist_lightning.report.watch import watch

    with _in_background():
        watch(Path(directory), leader=leader)
        _report(directory, with_status=True)


@contextmanager
def _in_background() -> Iterator[None]:
    """Gives way to whoever trains, and ends by an exception for any signal, as for Ctrl-C: no half file is left."""

    def end(number: int, frame: object) -> NoReturn:
        sys.exit(128 + number)

    with suppress(OSError, AttributeError):  # Windows has no such call
        os.nice(10)
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    heeded = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]  # as nohup wants it
    before = {number: signal.signal(number, end) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
