"""Prints the share of branches that tests have taken, by room: `python tests/branches.py` after `coverage combine`.

`coverage report` gives one figure of lines and branches together. With names of rooms it also lists what they miss.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from coverage import Coverage


def main(listed: list[str]) -> None:
    """Prints a line for each room, and the branches not taken, from line to line, in the rooms that are `listed`."""
    measured = Coverage()
    measured.load()
    with tempfile.TemporaryDirectory() as directory:
        measured.json_report(outfile=f"{directory}/report.json")
        files = json.loads(Path(directory, "report.json").read_text())["files"]
    taken, all_of = Counter[str](), Counter[str]()
    for name, found in sorted(files.items()):
        room = name.rpartition("mnist_lightning/")[2].partition("/")[0]
        taken[room] += found["summary"]["covered_branches"]
        all_of[room] += found["summary"]["num_branches"]
        if room in listed and found["missing_branches"]:
            print(name, *(f"{start}->{end if end > 0 else 'exit'}" for start, end in found["missing_branches"]))
    for room, count in all_of.items():
        if count:
            print(f"{room:14} {taken[room]:4} of {count:4} branches  {100 * taken[room] / count:5.1f} %")


if __name__ == "__main__":
    main(sys.argv[1:])
