"""The end of a sweep in the terminal: the ten best runs, a line per failure; in 79 columns of plain ASCII."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mnist_lightning.records.results import RunResult
from mnist_lightning.report.about import counts
from mnist_lightning.report.groups import architecture, setting
from mnist_lightning.report.ranking import Ranking, verdict
from mnist_lightning.report.table import shown

COLUMNS = 79  # an 80-column terminal would break a line of 80
BEST_RUNS, MOST_FAILURES = 10, 20


def leaderboard(results: Sequence[RunResult]) -> str:
    """Lines without a newline at the end; empty for fewer than two runs, whose own lines say everything."""
    if len(results) < 2:
        return ""
    ranking = Ranking(results)
    return "\n".join(_safe(line) for line in [*_best(ranking), *_failures(ranking)])


def _best(ranking: Ranking) -> list[str]:
    if not ranking.ranked:
        return [f"{counts(ranking)}; none can be ranked"]
    seeds = ranking.num_seeds > 1
    rows = [["#", "optimizer", "loss", "lr", "network", *["seed"] * seeds, "accuracy", "binary", "s", ""]]
    for rank, r in enumerate(ranking.ranked[:BEST_RUNS], start=1):
        numbers = [f"{ranking.score(r):.4f}", f"{r.binary_accuracy_test:.4f}", shown(r.duration_seconds, "0.0")]
        names = [_safe(r.optimizer, 14), _safe(r.loss_func, 13), f"{r.learning_rate:g}", architecture(r)]
        rows.append([str(rank), *names, *[str(r.seed)] * seeds, *numbers, verdict(r).replace("ok", "")])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    words = 3  # rank is a number, then come two words
    lost = [(len(ranking.collapsed), "collapsed")]
    lost += [(sum(r.status == s for r in ranking.results), s) for s in ("diverged", "failed")]
    wrong = ", ".join(f"{n:,} {what}" for n, what in lost if n)
    title = f"Best of {len(ranking.results):,} runs by {ranking.rule.name}{f' ({wrong})' if wrong else ''}:"
    return [title, *("  ".join(_padded(row, widths, words)).rstrip() for row in rows)]


def _padded(row: Sequence[str], widths: Sequence[int], words: int) -> list[str]:
    return [
        text.ljust(width) if 0 < i < words or i == len(row) - 1 else text.rjust(width)
        for i, (text, width) in enumerate(zip(row, widths, strict=True))
    ]


def _failures(ranking: Ranking) -> list[str]:
    wrong = sorted(ranking.unranked, key=lambda r: (r.status, r.run_name))
    lines = [f"{r.status}: {setting(r)} seed {r.seed}: {r.error or 'accuracy is not a number'}" for r in wrong]
    more = [f"and {len(lines) - MOST_FAILURES} more, in the sheet Failures"] if len(lines) > MOST_FAILURES else []
    return lines[:MOST_FAILURES] + more


def _safe(text: str, limit: int = COLUMNS) -> str:
    """Printable ASCII, cut to `limit`: no terminal can be steered by it, and every encoding can print it."""
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    plain = printable.encode("ascii", "backslashreplace").decode()
    return plain if len(plain) <= limit else plain[: limit - 3] + "..."


def closing(results: Sequence[RunResult], paths: Sequence[Path]) -> str:
    """What to print when a report is written: the leaderboard, and where its files are."""
    lines = [leaderboard(results)]
    named = {"report.html": "page", "results.xlsx": "workbook", "results-2.xlsx": "workbook, as results.xlsx is in use"}
    for path in sorted(paths, key=lambda p: p.name):
        if path.name in named:
            lines.append(f"{named[path.name]}: {path}")
        elif ".bak" in path.name:
            lines.append(f"the workbook you changed is kept: {path}")
    return "\n".join(line for line in lines if line)
