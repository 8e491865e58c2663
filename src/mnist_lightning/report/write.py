"""Everything that is derived from a sweep's records, written into its directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mnist_lightning.report.workbook import workbook_bytes
from mnist_lightning.results import RunResult, to_csv, write_durably


def write_report(results: Sequence[RunResult], directory: str | Path) -> list[Path]:
    """Write results.xlsx and results.csv of the records into `directory`; returns the files' paths.

    Each file is replaced as a whole. Raises OutputError naming a file that cannot be written.
    """
    contents = {"results.csv": to_csv(results).encode(), "results.xlsx": workbook_bytes(results)}
    paths = []
    for name, content in contents.items():
        paths.append(Path(directory) / name)
        write_durably(paths[-1], content)
    return paths
