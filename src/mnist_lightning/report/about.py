"""Where the numbers come from: what was run, with which versions, on which hardware, for how long; how to resume."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mnist_lightning.report.published import MISPRINTS, WHAT_ACCURACY_IS
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.state import WHY, State, enumerated
from mnist_lightning.report.stored import Stored
from mnist_lightning.report.table import Column, Table
from mnist_lightning.report.verdicts import COLLAPSED, MEANING, NOT_YET, UNCLEAR

_KEYS = {
    "Data": "dataset",
    "Training images": "train_size",
    "Test images": "test_size",
    "Images held out for validation": "val_size",
    "Batch size": "batch_size",
    "Epochs": "epochs",
    "Seeds": "seed",
    "Precision": "precision",
    "Engine": "engine",
    "Hardware": "device",
}
_VERSIONS = {
    "mnist-lightning": "version",
    "Source commit": "commit",
    "Python": "python_version",
    "torch": "torch_version",
    "torchvision": "torchvision_version",
    "lightning": "lightning_version",
}
MOST_VALUES = 6
MOST_LISTED = 50  # names of runs
_RESUME = (
    "Give the same command again (with hydra.sweep.dir=DIR if the sweep is not an experiment's): runs that are stored "
    "are kept, diverged ones too, since training again would give the same; missing and failed ones are trained."
)
_RESUME_RUN = (
    "Give the same command again, with hydra.run.dir=DIR: a run that is stored is kept, also if it diverged, since "
    "training again would give the same; one that was cut off or failed is trained."
)
_RESUME_UNPLANNED = (
    "There is no plan (runs that a program trained, or another sweeper's), so nothing is known to be missing; what is "
    "stored stays, and counts."
)
DURATIONS = (
    "The clock of a run that was resumed begins there; runs trained together share their time; the first run of a "
    "process has the seconds in which it loads what it needs."
)
ROW_COLOURS = (
    "green: the best setting; grey: collapsed; blue: not yet learned; violet: unclear; yellow: diverged; red: failed"
)


def about_table(ranking: Ranking, stored: Stored) -> Table:
    """Pairs of a subject and a sentence."""
    frame = ranking.frame
    seconds = frame["duration_seconds"][np.isfinite(frame["duration_seconds"])].to_numpy()
    pairs: list[tuple[str, str]] = [
        ("Runs", counts(ranking, stored.state)),
        *unfinished_named(stored.state),
        *stored.state.odd(MOST_LISTED).items(),
        *((name, values(frame, column)) for name, column in _KEYS.items()),
        ("Training and evaluation, all runs together", duration(seconds.sum())),
        ("Longest run", duration(seconds.max(initial=0.0))),
        ("Durations", DURATIONS),
        *((name, values(frame, column)) for name, column in _VERSIONS.items()),
        ("Ranking", ranking.sentence),
        ("Learned or not", MEANING),
        ("The study's accuracy", WHAT_ACCURACY_IS),
        *(("The study's misprints", text) for text in MISPRINTS),
        ("Command", stored.command or "not stored"),
        ("To resume", _how_to_resume(stored)),
        ("To rebuild these files", "python -m mnist_lightning.report DIR; nothing is trained"),
        ("Row colours", ROW_COLOURS),
        *(("Left out", problem) for problem in stored.problems),
    ]
    return Table("About", [Column("Subject"), Column("Value")], [[name, value] for name, value in pairs if value])


def _how_to_resume(stored: Stored) -> str:
    if not stored.linked:
        return _RESUME_RUN
    return _RESUME if stored.state.planned is not None else _RESUME_UNPLANNED


def unfinished_named(state: State) -> list[tuple[str, str]]:
    """The planned runs without a record: why, and their names."""
    return [
        ("Wrong record" if what == "refused" else what.capitalize(), enumerated(names, MOST_LISTED))
        for what in WHY
        if (names := [run.label or run.run_name for run in state.unfinished if run.what == what])
    ]


def counts(ranking: Ranking, state: State | None = None) -> str:
    """`18 runs: 18 completed, of which 11 collapsed`, or `18 runs planned: 2 completed; 16 missing (...)`."""
    state = state or State()
    numbers, n = ranking.verdicts, len(ranking.frame)
    low = [f"{n:,} {verdict}" for verdict, n in numbers.items() if n and verdict in (COLLAPSED, NOT_YET, UNCLEAR)]
    parts = [f"{ranking.num_completed} completed" + (f", of which {', '.join(low)}" if low else "")]
    parts += [f"{numbers[s]} {s}" for s in ("pruned", "diverged", "failed") if numbers[s]]
    n, planned = (n, "") if state.planned is None else (state.planned, " planned")
    return f"{n} run{'s' * (n != 1)}{planned}: {'; '.join([*parts, *state.parts()])}"


def values(frame: pd.DataFrame, column: str) -> str:
    """The column's distinct values, the most frequent first, with their counts where there are several."""
    grouped = column != "seed"  # 60,000 images, but seed 12345
    present = frame[column].dropna().tolist()
    texts = [f"{v:,}" if isinstance(v, int) and grouped else str(v) for v in present if v != ""]
    numbers = pd.Series(texts, dtype="object").value_counts().sort_index().sort_values(ascending=False, kind="stable")
    if len(numbers) == 1:
        return texts[0]
    parts = [f"{value} ({n:,} run{'s' * (n != 1)})" for value, n in numbers.head(MOST_VALUES).items()]
    rest = len(numbers) - len(parts)
    return ", ".join(parts) + (f" and {rest:,} other{'s' * (rest != 1)}" if rest else "")


def duration(seconds: float) -> str:
    """`4.2 s`, `3 min 20 s`, `5 h 12 min`."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"
