"""`python -m mnist_lightning.predict CHECKPOINT IMAGE...`: classify image files with a trained network."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from itertools import takewhile

from mnist_lightning.errors import EXIT_DATA, EXIT_INTERRUPTED, CommandParser, DataError, exit_code_of, one_line
from mnist_lightning.predict.classify import Prediction, predictions
from mnist_lightning.predict.show import Shown
from mnist_lightning.report.chosen import chosen


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    given = _arguments(sys.argv[1:] if argv is None else argv)
    unreadable: list[DataError] = []
    logging.getLogger("PIL").setLevel(logging.CRITICAL)  # what is wrong with a file is said once, by us
    try:
        code = exit_code_of(lambda: _answer(given, unreadable))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    for error in unreadable:
        print(one_line(f"mnist-lightning: error: {error}"), file=sys.stderr)
    return code or (EXIT_DATA if unreadable else code)


def _answer(given: argparse.Namespace, unreadable: list[DataError]) -> None:
    checkpoint, sentence = chosen(given.checkpoint)
    if sentence:
        print(one_line(sentence), file=sys.stderr)
    shown = Shown(given.show) if given.show else None
    for seen in predictions(checkpoint, given.images, unreadable, given.net):
        print((_as_json if given.json else _as_text)(seen, given.top), flush=True)
        if shown and seen.image is not None:
            shown.write(seen.path, seen.image)


def _as_text(seen: Prediction, most: int) -> str:
    """`5.png: 5  (0.902)`, of several digits the most probable first; one line whatever the file's name is."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    path = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in seen.path)
    path = path.encode(encoding, "backslashreplace").decode(encoding)
    return f"{path}: {'  '.join(f'{digit}  ({p:.3f})' for digit, p in seen.top[:most]) or 'no digit'}"


def _as_json(seen: Prediction, most: int) -> str:
    top = [{"digit": digit, "probability": p} for digit, p in seen.top[:most]]
    return json.dumps({"path": seen.path, "digit": seen.digit, "probability": seen.probability, "top": top})


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = CommandParser("python -m mnist_lightning.predict", description=__doc__, allow_abbrev=False)
    what = "last.ckpt or best.ckpt of a run; the run's directory: its best.ckpt; a sweep's: its best run"
    parser.add_argument("checkpoint", help=what)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="PNG, JPEG, ..., or a folder of them; of any size")
    parser.add_argument("--json", action="store_true", help="an object per line: path, digit, probability, top")
    what = "the K most probable digits of each image, 1 to 10; by default 1"
    parser.add_argument("--top", type=int, default=1, metavar="K", choices=range(1, 11), help=what)
    what = "write what the network saw, 28 x 28 pixels, as PNG files into this folder"
    parser.add_argument("--show", metavar="DIR", help=what)
    what = "the dotted name of the network, such as my_project.nets.Net, where it is one of your own"
    parser.add_argument("--net", metavar="NAME", help=what)
    known = ("-h", "--help", "--json", "--top", "--show", "--net")
    for word in takewhile(lambda word: word != "--", words):
        if word.startswith("-") and word.partition("=")[0] not in known:
            parser.error(f"{word}: no such option; a file of that name is given as ./{word}")
    return parser.parse_intermixed_args(words)


if __name__ == "__main__":
    sys.exit(main())
