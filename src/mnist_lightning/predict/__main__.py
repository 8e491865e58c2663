"""`python -m mnist_lightning.predict CHECKPOINT IMAGE...`: classify image files with a trained network."""

from __future__ import annotations

import sys

from mnist_lightning.errors import EXIT_OK, CommandParser, UserError, one_line
from mnist_lightning.predict.classify import predict


def main(argv: list[str] | None = None) -> int:
    parser = CommandParser("python -m mnist_lightning.predict", description=__doc__)
    parser.add_argument("checkpoint", help="last.ckpt or best.ckpt of a run")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="PNG, JPEG, ...; any size, digit on plain ground")
    arguments = parser.parse_args(argv)
    try:
        for path, digit, probability in predict(arguments.checkpoint, arguments.images):
            print(f"{path}: {digit}  ({probability:.3f})")
    except UserError as error:
        print(one_line(f"mnist-lightning: error: {error}"), file=sys.stderr)
        return error.exit_code
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
