"""`python -m mnist_lightning.predict CHECKPOINT IMAGE...`: classify image files with a trained network."""

from __future__ import annotations

import sys
from itertools import takewhile

from mnist_lightning.errors import CommandParser, exit_code_of
from mnist_lightning.predict.classify import predict


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    parser = CommandParser("python -m mnist_lightning.predict", description=__doc__)
    parser.add_argument("checkpoint", help="last.ckpt or best.ckpt of a run, or the run's directory: its best.ckpt")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="PNG, JPEG, ...; any size, digit on plain ground")
    for word in takewhile(lambda word: word != "--", sys.argv[1:] if argv is None else argv):
        if word.startswith("-") and word not in ("-h", "--help"):
            parser.error(f"{word}: no such option; a file of that name is given as ./{word}")
    arguments = parser.parse_args(argv)

    def work() -> None:
        for path, digit, probability in predict(arguments.checkpoint, arguments.images):
            print(f"{path}: {digit}  ({probability:.3f})")

    return exit_code_of(work)


if __name__ == "__main__":
    sys.exit(main())
