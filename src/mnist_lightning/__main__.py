"""`python -m mnist_lightning`, and the console script."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path


def main() -> int:
    """The command line. Importing it takes a moment; until it has handlers of its own, a signal ends that quietly.

    One that our parent ignores, as `nohup` does SIGHUP, stays ignored.
    """
    for name, code in (("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_, code=code: os._exit(code))
    _open_standard_streams()
    with suppress(OSError):  # a directory that is gone
        if not {"", str(here := Path.cwd())} & set(sys.path):  # the console script; `python -m` finds code there, too
            sys.path.append(str(here))
    from mnist_lightning.command import cli

    return cli.main()


def _open_standard_streams() -> None:
    """Those that were closed (`2>&-`), to nowhere: otherwise the next file that is opened would be one of them."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", closefd=False))  # noqa: SIM115 - as long as the process


if __name__ == "__main__":
    sys.exit(main())
