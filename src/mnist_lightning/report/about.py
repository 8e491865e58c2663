"""Where the numbers come from: what was run, with which versions, on which hardware, for how long; how to resume."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from mnist_lightning.records.results import RunResult
from mnist_lightning.report.published import MISPRINTS, WHAT_ACCURACY_IS
from mnist_lightning.report.ranking import COLLAPSED_MEANS, Ranking
from mnist_lightning.report.stored import Stored
from mnist_lightning.report.table import Column, Table

_VERSIONS = {
    "version": "mnist-lightning",
    "commit": "Source commit",
    "python_version": "Python",
    "torch_version": "torch",
    "torchvision_version": "torchvision",
    "lightning_version": "lightning",
}
MOST_VALUES = 6


def about_table(ranking: Ranking, stored: Stored) -> Table:
    """Pairs of a subject and a sentence."""
    results = ranking.results
    pairs: list[tuple[str, object]] = [
        ("Runs", counts(ranking)),
        ("Data", values(results, "dataset")),
        ("Training images", values(results, "train_size")),
        ("Test images", values(results, "test_size")),
        ("Images held out for validation", values(results, "val_size")),
        ("Batch size", values(results, "batch_size")),
        ("Epochs", values(results, "epochs")),
        ("Seeds", values(results, "seed")),
        ("Precision", values(results, "precision")),
        ("Engine", values(results, "engine")),
        ("Hardware", values(results, "device")),
        ("Training and evaluation, all runs together", duration(sum(_durations(results)))),
        ("Longest run", duration(max(_durations(results), default=0.0))),
        *((name, values(results, column)) for column, name in _VERSIONS.items()),
        ("Ranking", ranking.rule.sentence),
        ("Collapsed", COLLAPSED_MEANS),
        ("The report's accuracy", WHAT_ACCURACY_IS),
        *(("The report's misprints", text) for text in MISPRINTS),
        ("Command", stored.command or "not stored"),
        ("To resume", RESUME),
        (
            "To rebuild these files",
            "python -m mnist_lightning.report DIR, with the sweep's directory; nothing is trained",
        ),
        ("Row colours", "green: the best run; grey: collapsed; yellow: diverged; red: failed"),
        *(("Left out", problem) for problem in stored.problems),
    ]
    return Table("About", [Column("Subject"), Column("Value")], [[name, value] for name, value in pairs if value != ""])


RESUME = (
    "Give the same command again (with hydra.sweep.dir=DIR if the sweep is not an experiment's): runs that are stored "
    "are kept, missing and failed ones are trained."
)


def counts(ranking: Ranking) -> str:
    """`18 runs: 18 completed, of which 11 collapsed`."""
    by_status = Counter(r.status for r in ranking.results)
    parts = [f"{by_status['completed']} completed"]
    if ranking.collapsed:
        parts[0] += f", of which {len(ranking.collapsed)} collapsed"
    parts += [f"{by_status[s]} {s}" for s in ("diverged", "failed") if by_status[s]]
    return f"{len(ranking.results)} run{'s' * (len(ranking.results) != 1)}: {'; '.join(parts)}"


def values(results: Sequence[RunResult], column: str) -> str:
    """The column's distinct values, the most frequent first, with their counts where there are several."""
    grouped = column != "seed"  # 60,000 images, but seed 12345
    texts = [
        f"{v:,}" if isinstance(v, int) and grouped else str(v) for r in results if (v := getattr(r, column)) is not None
    ]
    found = Counter(text for text in texts if text)
    if len(found) == 1:
        return next(iter(found))
    parts = [f"{value} ({n} runs)" for value, n in sorted(found.items(), key=lambda item: (-item[1], item[0]))]
    return ", ".join(parts[:MOST_VALUES]) + (
        f" and {len(parts) - MOST_VALUES} others" if len(parts) > MOST_VALUES else ""
    )


def _durations(results: Sequence[RunResult]) -> list[float]:
    return [r.duration_seconds for r in results if math.isfinite(r.duration_seconds)]


def duration(seconds: float) -> str:
    """`4.2 s`, `3 min 20 s`, `5 h 12 min`."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"
