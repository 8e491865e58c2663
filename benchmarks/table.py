"""Writes the tables of the documents from the stored JSON files: `python -m benchmarks.table`; `--check` compares.

The table of the results `benchmarks/results/X.json` stands between `<!-- X:start -->` and `<!-- X:end -->`, and is what
the benchmark that made them prints, which mostly is X itself. Without that file the place stays empty.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from pathlib import Path

from benchmarks.common import RESULTS, ROOT

DOCUMENTS = [ROOT / "benchmarks" / "README.md", ROOT / "docs" / "clusters.md"]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 where a table is stale")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the JSON files")
    parser.add_argument("documents", nargs="*", type=Path, default=DOCUMENTS)
    options = parser.parse_args(arguments)
    said = "is not what the JSON says; run python -m benchmarks.table" if options.check else "written"
    stale = False
    for path in options.documents:
        before = path.read_text(encoding="utf-8")
        after = filled(before, options.results)
        if after == before:
            continue
        stale = True
        print(f"{path.name}: {said}")
        if not options.check:
            path.write_text(after, encoding="utf-8")
    return int(options.check and stale)


def filled(text: str, results: Path) -> str:
    """The text with each table between its markers. SystemExit where there are none, or one is not closed."""

    def filling(place: re.Match[str]) -> str:
        name = place["name"]
        path = results / f"{name}.json"
        if not path.is_file():
            return f"<!-- {name}:start -->\n<!-- {name}:end -->"
        content = json.loads(path.read_text())
        table = importlib.import_module(f"benchmarks.{content.get('benchmark', name)}").table(content)
        return f"<!-- {name}:start -->\n\n{table}\n\n<!-- {name}:end -->"

    new, count = re.subn(r"<!-- (?P<name>\w+):start -->.*?<!-- (?P=name):end -->", filling, text, flags=re.DOTALL)
    if not count or count != text.count(":start -->"):
        raise SystemExit("no place for the tables: each needs <!-- X:start --> and <!-- X:end --> once")
    return new


if __name__ == "__main__":
    sys.exit(main())
