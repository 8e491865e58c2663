"""Everything that is derived from a sweep's records, written into its directory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_lightning.errors import OutputError
from mnist_lightning.records import locks
from mnist_lightning.records.durable import keep_changed, write_durably
from mnist_lightning.records.results import RunResult, to_csv
from mnist_lightning.report.seal import CSV, FIGURES, HTML, INPUTS, WRITING, XLSX, digest_of, read_seal, write_seal

if TYPE_CHECKING:
    from mnist_lightning.report.figures import Figures
    from mnist_lightning.report.live import Live
    from mnist_lightning.report.ranking import Ranking
    from mnist_lightning.report.state import State
    from mnist_lightning.report.stored import Stored

SECOND = "results-2.xlsx"


def write_report(results: Sequence[RunResult], directory: str | Path, state: State | None = None) -> list[Path]:
    """Writes results.csv, results.xlsx, report.html and figures/ of the records into `directory`; returns the paths.

    A function of the records and of the files beside them (each run's metrics.csv, the best run's
    predictions.npz), and of the sweep's `state` (default: plan.json there beside `results`), which says what is
    missing or running: the same ones give the same bytes. Each file is replaced as a whole. A status.json that
    `write_live` has left there is written, too. One that somebody has
    changed, or that is not ours, is kept as NAME.bak.EXT and is among the paths; a workbook that is open and locked is
    left, and results-2.xlsx written.
    Raises OutputError naming a file that cannot be written.

    >>> results = load_results("outputs/small")  # of the example of `sweep`
    >>> sorted(path.name for path in write_report(results, "outputs/again") if path.parent.name == "again")
    ['report.html', 'results.csv', 'results.xlsx']
    """
    # pictures and workbooks need half a second of imports, which a sweep has no use for before its end
    from mnist_lightning.report.figures import HEADINGS, draw_figures
    from mnist_lightning.report.live import STATUS, last_status_json
    from mnist_lightning.report.page import page
    from mnist_lightning.report.workbook import workbook_bytes

    root, ranking, stored, table = _read(results, directory, state)
    figures = draw_figures(ranking, stored)
    contents = {f"{FIGURES}/{p.name}.png": p.png for p in figures.pictures}
    contents |= {f"{FIGURES}/{p.name}.svg": p.svg for p in figures.pictures}
    contents[HTML] = page(ranking, stored, figures, root).encode("utf-8", "backslashreplace")
    if STATUS in read_seal(root):
        contents[STATUS] = last_status_json(results, root, stored.state, stored.running)
    stale = [f"{FIGURES}/{n}.{kind}" for n in HEADINGS for kind in ("png", "svg")]
    paths = _put(root, contents, [name for name in stale if name not in contents])
    return [*table, *paths, *_put_workbook(root, workbook_bytes(ranking, stored))]


def write_live(
    results: Sequence[RunResult], directory: str | Path, state: State, live: Live, figures: Figures | None = None
) -> Figures:
    """Writes what changes while a sweep runs: results.csv, the page, which says when it was made, and status.json.

    Returns the figures that the page shows: `figures`, drawn before, or those that are drawn now. Raises OutputError.
    """
    from mnist_lightning.report.figures import draw_figures
    from mnist_lightning.report.live import STATUS, status_json
    from mnist_lightning.report.page import page

    root, ranking, stored, _ = _read(results, directory, state)
    figures = figures or draw_figures(ranking, stored)
    text = page(ranking, replace(stored, live=live), figures)
    status = status_json(results, root, state, stored.running, live)
    _put(root, {HTML: text.encode("utf-8", "backslashreplace"), STATUS: status})
    return figures


def write_status(results: Sequence[RunResult], directory: str | Path, state: State) -> None:
    """Writes status.json alone, which every later report keeps up to date."""
    from mnist_lightning.report.live import STATUS, last_status_json
    from mnist_lightning.report.running import running_runs

    root = Path(directory)
    _put(root, {STATUS: last_status_json(results, root, state, running_runs(root, state))})


def write_tables(results: Sequence[RunResult], directory: str | Path, state: State | None = None) -> list[Path]:
    """Writes results.csv and results.xlsx alone, as `write_report` does: what a single run leaves."""
    from mnist_lightning.report.workbook import workbook_bytes

    root, ranking, stored, table = _read(results, directory, state)
    return [*table, *_put_workbook(root, workbook_bytes(ranking, stored))]


def _read(
    results: Sequence[RunResult], directory: str | Path, state: State | None
) -> tuple[Path, Ranking, Stored, list[Path]]:
    """The directory, the records ranked, what lies beside them, and results.csv, which needs nothing else."""
    from mnist_lightning.report.frame import frame_of
    from mnist_lightning.report.ranking import Ranking
    from mnist_lightning.report.running import running_runs
    from mnist_lightning.report.state import state_of
    from mnist_lightning.report.stored import read_stored

    root = Path(directory)
    if state is None:
        results, state = state_of(_placed(results), root)
        state = replace(state, places={})  # those are names that we made up
    results = sorted(results, key=lambda r: r.run_name)
    table = _put(root, {CSV: to_csv(results).encode("utf-8", "backslashreplace")})
    ranking = Ranking(frame_of(results, root, state.places))
    return root, ranking, replace(read_stored(ranking, root), state=state, running=running_runs(root, state)), table


def _placed(results: Sequence[RunResult]) -> dict[str, RunResult]:
    """Records of a caller's by the directory they belong into; one that is given twice by a name that is none."""
    placed: dict[str, RunResult] = {}
    for result in results:
        place = result.run_name
        while place in placed:
            place += " again"
        placed[place] = result
    return placed


def _put(root: Path, contents: Mapping[str, bytes], stale: Iterable[str] = ()) -> list[Path]:
    """Writes derived files as `_put_alone` does, while no other process does it here: one seal knows both's files."""
    with locks.alone(root / WRITING):
        return _put_alone(root, contents, stale)


def _put_alone(root: Path, contents: Mapping[str, bytes], stale: Iterable[str]) -> list[Path]:
    """Writes derived files and removes the stale ones that are ours; what is not as we left it is kept, and returned.

    Killed at any instant, the seal knows every file of ours: before the files are written it holds old and new ones.
    """
    if (root / FIGURES).is_symlink():
        raise OutputError(f"{root / FIGURES}: a link, and figures would be written through it; move it away")
    seal = read_seal(root)
    seal.pop(INPUTS, None)
    new = {name: {digest_of(content)} for name, content in contents.items()}
    kept = [aside for name in new if (aside := keep_changed(root / name, seal.get(name, set()) | new[name]))]
    write_seal(root, {name: seal.get(name, set()) | new.get(name, set()) for name in seal | new})
    for name, content in contents.items():
        write_durably(root / name, content)
    for name in stale:
        if (root / name).is_file() and digest_of((root / name).read_bytes()) in seal.pop(name, set()):
            (root / name).unlink()
    write_seal(root, seal | new)
    return [*kept, *(root / name for name in contents)]


def _put_workbook(root: Path, content: bytes) -> list[Path]:
    try:
        return _put(root, {XLSX: content})
    except OutputError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise
        return _put(root, {SECOND: content})  # Windows: open in Excel
