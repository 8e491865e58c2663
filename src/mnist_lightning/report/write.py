"""Everything that is derived from a sweep's records, written into its directory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_lightning.errors import OutputError
from mnist_lightning.records.durable import write_durably
from mnist_lightning.records.results import RunResult, to_csv

if TYPE_CHECKING:
    from mnist_lightning.report.ranking import Ranking
    from mnist_lightning.report.state import State
    from mnist_lightning.report.stored import Stored

CSV, XLSX, HTML, FIGURES = "results.csv", "results.xlsx", "report.html", "figures"
KEPT, SECOND = "results.bak.xlsx", "results-2.xlsx"
_SEAL = ".results.xlsx.sha256"  # of the workbook as we wrote it, to know whether somebody has worked in it


def write_report(results: Sequence[RunResult], directory: str | Path, state: State | None = None) -> list[Path]:
    """Writes results.csv, results.xlsx, report.html and figures/ of the records into `directory`; returns the paths.

    A function of the records and of the files beside them (each run's metrics.csv, the best run's
    predictions.npz), and of the sweep's `state` (default: plan.json there beside `results`), which says what is
    missing or running: the same ones give the same bytes. Each file is replaced as a whole. A workbook that somebody
    has changed is kept as results.bak.xlsx; one that is open and locked is left, and results-2.xlsx written.
    Raises OutputError naming a file that cannot be written.
    """
    # pictures and workbooks need half a second of imports, which a sweep has no use for before its end
    from mnist_lightning.report.figures import HEADINGS, draw_figures
    from mnist_lightning.report.page import page
    from mnist_lightning.report.workbook import workbook_bytes

    root, ranking, stored, table = _read(results, directory, state)
    figures = draw_figures(ranking, stored)
    contents = {f"{FIGURES}/{p.name}.png": p.png for p in figures.pictures}
    contents |= {f"{FIGURES}/{p.name}.svg": p.svg for p in figures.pictures}
    contents[HTML] = page(ranking, stored, figures).encode("utf-8", "backslashreplace")
    paths = [_write(root / name, content) for name, content in contents.items()]
    _remove_stale(root / FIGURES, set(HEADINGS) - {p.name for p in figures.pictures})
    return [table, *paths, *_write_workbook(root, workbook_bytes(ranking, stored))]


def write_tables(results: Sequence[RunResult], directory: str | Path, state: State | None = None) -> list[Path]:
    """Writes results.csv and results.xlsx alone, as `write_report` does: what a single run leaves."""
    from mnist_lightning.report.workbook import workbook_bytes

    root, ranking, stored, table = _read(results, directory, state)
    return [table, *_write_workbook(root, workbook_bytes(ranking, stored))]


def _read(
    results: Sequence[RunResult], directory: str | Path, state: State | None
) -> tuple[Path, Ranking, Stored, Path]:
    """The directory, the records ranked, what lies beside them, and results.csv, which needs nothing else."""
    from mnist_lightning.report.frame import frame_of
    from mnist_lightning.report.ranking import Ranking
    from mnist_lightning.report.state import state_of
    from mnist_lightning.report.stored import read_stored

    root = Path(directory)
    if state is None:
        results, state = state_of(_placed(results), root)
        state = replace(state, places={})  # those are names that we made up
    results = sorted(results, key=lambda r: r.run_name)
    table = _write(root / CSV, to_csv(results).encode("utf-8", "backslashreplace"))
    ranking = Ranking(frame_of(results, root, state.places))
    return root, ranking, replace(read_stored(ranking, root), state=state), table


def _placed(results: Sequence[RunResult]) -> dict[str, RunResult]:
    """Records of a caller's by the directory they belong into; one that is given twice by a name that is none."""
    placed: dict[str, RunResult] = {}
    for result in results:
        place = result.run_name
        while place in placed:
            place += " again"
        placed[place] = result
    return placed


def _write(path: Path, content: bytes) -> Path:
    write_durably(path, content)
    return path


def _remove_stale(directory: Path, names: set[str]) -> None:
    """Figures of an earlier report that these records no longer give."""
    for name in names:
        for kind in ("png", "svg"):
            (directory / f"{name}.{kind}").unlink(missing_ok=True)


def _write_workbook(root: Path, content: bytes) -> list[Path]:
    path, seal = root / XLSX, root / _SEAL
    kept, known = _keep_changed(path, seal)
    digest = hashlib.sha256(content).hexdigest()
    try:
        write_durably(seal, "\n".join({digest, known}).encode())  # killed after this, either workbook is ours
        write_durably(path, content)
    except OutputError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise
        return [*kept, _write(root / SECOND, content)]  # Windows: open in Excel
    write_durably(seal, digest.encode())
    return [*kept, path]


def _keep_changed(path: Path, seal: Path) -> tuple[list[Path], str]:
    """Put a workbook aside that is not as we left it: somebody's work is in it. Its new path, or ours' digest."""
    try:
        if not seal.is_file() or not path.is_file():
            return [], ""
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest in seal.read_text(encoding="ascii", errors="replace").split():
            return [], digest
        kept = _free(path.with_name(KEPT))
        os.replace(path, kept)
        return [kept], ""
    except OSError as error:
        raise OutputError(f"{path}: changed, but cannot be put aside ({error.strerror}); move it away") from error


def _free(path: Path) -> Path:
    """`path`, or with a number: the first name that is not taken."""
    number = 2
    free = path
    while free.exists():
        free = path.with_name(path.name.replace(".bak.", f".bak{number}."))
        number += 1
    return free
