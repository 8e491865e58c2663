"""`python -m mnist_lightning`, and the console script."""

from __future__ import annotations

import os
import signal
import sys


def main() -> int:
    """The command line. Importing it takes a moment; until it has handlers of its own, a signal ends that quietly."""
    for name, code in (("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_, code=code: os._exit(code))
    from mnist_lightning import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
