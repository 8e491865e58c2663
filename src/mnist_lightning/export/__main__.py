"""`python -m mnist_lightning.export CHECKPOINT --to onnx,pt2,safetensors`: write a trained network for use elsewhere.

Each file is loaded again and compared with the network before it is kept.
"""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

from mnist_lightning.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, CommandParser, exit_code_of, one_line

_CHECKPOINT = "last.ckpt or best.ckpt of a run; the run's directory: its best.ckpt; a sweep's: its best run"
_FORMATS = "onnx, pt2 (torch.export) or safetensors (the weights alone), or several of them with commas"


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    parser = CommandParser("python -m mnist_lightning.export", description=__doc__)
    parser.add_argument("checkpoint", help=_CHECKPOINT)
    parser.add_argument("--to", required=True, metavar="FORMATS", help=_FORMATS)
    parser.add_argument("--out", metavar="DIR", help="where the files go; by default the run's directory")
    what = "include the scaling of the pixels: raw uint8 images go in instead of float32 from 0 to 1"
    parser.add_argument("--preprocess", action="store_true", help=what)
    what = "the dotted name of the network, such as my_project.nets.Net, where it is one of your own"
    parser.add_argument("--net", metavar="NAME", help=what)
    given = parser.parse_args(argv)

    def work() -> None:
        from mnist_lightning.export.write import export
        from mnist_lightning.report.chosen import chosen

        checkpoint, sentence = chosen(given.checkpoint)
        if sentence:
            print(one_line(sentence), file=sys.stderr)
        for written in export(checkpoint, given.to, given.out, preprocess=given.preprocess, net=given.net):
            print(written)

    before = signal.signal(signal.SIGTERM, _end)  # by an exception: it leaves no half file
    try:
        return exit_code_of(work)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, frame: object) -> NoReturn:
    sys.exit(EXIT_TERMINATED)


if __name__ == "__main__":
    sys.exit(main())
