"""`python -m mnist_lightning.report DIR`: rebuild the tables of a sweep from its records. Needs no torch."""

from __future__ import annotations

import sys
from pathlib import Path

from mnist_lightning.errors import CommandParser, exit_code_of
from mnist_lightning.report import write_report


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    parser = CommandParser("python -m mnist_lightning.report", description=__doc__)
    parser.add_argument("directory", help="a sweep's directory, or a single run's")
    directory = parser.parse_args(argv).directory
    return exit_code_of(lambda: _report(directory))


def _report(directory: str) -> None:
    """Writes the report of what can be read, and says what is missing. Raises RefusedError for what cannot be."""
    from mnist_lightning.report.state import read_state

    results, state = read_state(directory)
    if not results and state.planned is None:
        for error in state.refused:
            raise error
        raise FileNotFoundError(f"{directory}: holds no record; give the directory of a sweep")
    for path in write_report(results, directory, state):
        print(path)
    from mnist_lightning.report.terminal import standing  # imports pandas

    for line in standing(results, state, Path(directory)):
        print(line)
    for error in state.refused:
        raise error


if __name__ == "__main__":
    sys.exit(main())
