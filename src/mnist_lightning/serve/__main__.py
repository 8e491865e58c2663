"""`python -m mnist_lightning.serve [DIR]`: one page, on this machine alone, of a sweep as it runs, and to draw digits.

What is drawn is read by any of its networks, or by several side by side.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import threading
import webbrowser
from contextlib import suppress

from mnist_lightning.errors import EXIT_INTERRUPTED, CommandParser, ConfigError, exit_code_of, one_line
from mnist_lightning.serve.places import found
from mnist_lightning.serve.port import own_socket

_PACKAGES = ("starlette.applications", "uvicorn", "h11")
_NICE = 10  # whoever trains on this machine has the right of way


def main(argv: list[str] | None = None) -> int:
    """Runs the command until a signal ends it; returns its exit code."""
    parser = CommandParser("python -m mnist_lightning.serve", description=__doc__)
    what = "a sweep's directory, or a run's, also one that is still empty; by default the newest under outputs/"
    parser.add_argument("directory", nargs="?", help=what)
    what = "0 for any that is free; by default 8717, or the next that is free"
    parser.add_argument("--port", type=int, metavar="N", help=what)
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    given = parser.parse_args(argv)
    ended: list[int] = []
    try:
        return exit_code_of(lambda: ended.append(_serve(given))) or ended[0]
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _serve(given: argparse.Namespace) -> int:
    root = found(given.directory)
    _require_packages()
    listening = own_socket(given.port)
    from mnist_lightning.serve.server import serve

    address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    print(f"{one_line(str(root))}: {address}  (Ctrl-C ends it)", flush=True)
    with suppress(OSError, AttributeError):  # Windows has no such call
        os.nice(_NICE)
    if given.open:
        threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()
    return serve(root, listening)


def _require_packages() -> None:
    for name in _PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            package = name.partition(".")[0]
            what = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be imported ({error})"
            raise ConfigError(f'{package}: {what}; pip install "mnist-lightning[serve]"') from error


if __name__ == "__main__":
    sys.exit(main())
