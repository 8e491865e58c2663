"""`python -m mnist_lightning.report DIR`: rebuild the tables of a sweep from its records. Needs no torch."""

from __future__ import annotations

import sys

from mnist_lightning.errors import CommandParser, exit_code_of
from mnist_lightning.records.results import load_results
from mnist_lightning.report import write_report


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    parser = CommandParser("python -m mnist_lightning.report", description=__doc__)
    parser.add_argument("directory", help="a sweep's directory, or a single run's")
    directory = parser.parse_args(argv).directory

    def work() -> None:
        results = load_results(directory)
        if not results:
            raise FileNotFoundError(f"{directory}: holds no record; give the directory of a sweep")
        for path in write_report(results, directory):
            print(path)

    return exit_code_of(work)


if __name__ == "__main__":
    sys.exit(main())
