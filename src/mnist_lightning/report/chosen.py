"""Which checkpoint a path stands for: a file, a run's directory, or a sweep's, of which it is the best run's."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mnist_lightning.errors import RefusedError
from mnist_lightning.records.results import RECORD, record_paths


class Chosen(NamedTuple):
    """A checkpoint, or a run's directory; where it was chosen among several runs, the sentence that says which."""

    checkpoint: Path
    sentence: str = ""


def chosen(path: str | Path) -> Chosen:
    """What a path stands for: of a sweep's directory the best run's, by the rule by which its report ranks.

    Raises RefusedError for a sweep none of whose runs has a result to choose by.
    """
    root = Path(path)
    if not root.is_dir() or (root / RECORD).is_file() or not record_paths(root):
        return Chosen(root)
    from mnist_lightning.report.curves import run_directory  # imports pandas
    from mnist_lightning.report.frame import frame_of
    from mnist_lightning.report.ranking import Ranking
    from mnist_lightning.report.state import read_state

    results, state = read_state(root)
    ranking = Ranking(frame_of(results, root, state.places))
    where = run_directory(root, ranking.best.place_on_disk) if ranking.best is not None else None
    if where is None:
        raise RefusedError(f"{root}: none of its runs has a result to choose by; give a run's directory")
    accuracy = getattr(ranking.best, ranking.rule.column)
    return Chosen(where, f"{ranking.best_is} of {root}: {where.name} ({ranking.rule.name} {accuracy:.4f})")
