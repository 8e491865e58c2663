"""What a sweep prints at its end: the ten best runs and a line per failure, in 79 columns of plain ASCII."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mnist_lightning.records.results import RunResult
from mnist_lightning.report.about import counts
from mnist_lightning.report.frame import frame_of, runs
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.state import State, in_terminal
from mnist_lightning.report.table import shown

COLUMNS = 79  # an 80-column terminal would break a line of 80
BEST_RUNS, MOST_FAILURES = 10, 20


def leaderboard(results: Sequence[RunResult]) -> str:
    """Lines without a newline at the end; empty for fewer than two runs, whose own lines say everything."""
    if len(results) < 2:
        return ""
    ranking = Ranking(frame_of(results))
    return "\n".join(_safe(line) for line in [*_best(ranking), *_failures(ranking)])


def _best(ranking: Ranking) -> list[str]:
    if ranking.best is None:
        return [f"{counts(ranking)}; none can be ranked"]
    seeds = ranking.num_seeds > 1
    rows = [["#", "optimizer", "loss", "lr", "network", *["seed"] * seeds, "accuracy", "binary", "s", ""]]
    for rank, r in enumerate(runs(ranking.ranked.head(BEST_RUNS)), start=1):
        score = getattr(r, ranking.rule.column)
        numbers = [f"{score:.4f}", f"{r.binary_accuracy_test:.4f}", shown(r.duration_seconds, "0.0")]
        names = [_safe(r.optimizer, 14), _safe(r.loss_func, 13), f"{r.learning_rate:g}", r.architecture]
        rows.append([str(rank), *names, *[str(r.seed)] * seeds, *numbers, r.verdict.replace("ok", "")])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    words = 3  # rank is a number, then come two words
    wrong = ", ".join(f"{n:,} {what}" for what, n in ranking.verdicts.items() if n and what != "ok")
    title = f"Best of {len(ranking.frame):,} runs by {ranking.rule.name}{f' ({wrong})' if wrong else ''}:"
    return [title, *("  ".join(_padded(row, widths, words)).rstrip() for row in rows)]


def _padded(row: Sequence[str], widths: Sequence[int], words: int) -> list[str]:
    return [
        text.ljust(width) if 0 < i < words or i == len(row) - 1 else text.rjust(width)
        for i, (text, width) in enumerate(zip(row, widths, strict=True))
    ]


def _failures(ranking: Ranking) -> list[str]:
    wrong = ranking.unranked.sort_values(["status", "run_name"])
    lines = [
        f"{r.status}: {r.setting} seed {r.seed}: {r.error or 'accuracy is not a number'}"
        for r in runs(wrong.head(MOST_FAILURES))
    ]
    more = len(wrong) - MOST_FAILURES
    return lines + ([f"and {more} more, in the sheet Failures"] if more > 0 else [])


def _safe(text: str, limit: int = COLUMNS) -> str:
    """Printable ASCII, cut to `limit`: no terminal can be steered by it, and every encoding can print it."""
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    plain = printable.encode("ascii", "backslashreplace").decode()
    return plain if len(plain) <= limit else plain[: limit - 3] + "..."


def standing(results: Sequence[RunResult], state: State) -> list[str]:
    """What is missing or running, what does not count, what could not be read; nothing for a sweep that is whole."""
    head = counts(Ranking(frame_of(results)), state)
    return [_safe(line) for line in in_terminal(state, head, COLUMNS)]


def closing(results: Sequence[RunResult], paths: Sequence[Path], state: State | None = None) -> str:
    """What to print when a report is written: the leaderboard, what is missing, and where the files are."""
    lines = [leaderboard(results), *standing(results, state or State())]
    named = {"report.html": "page", "results.xlsx": "workbook", "results-2.xlsx": "workbook, as results.xlsx is in use"}
    for path in sorted(paths, key=lambda p: p.name):
        if path.name in named:
            lines.append(f"{named[path.name]}: {path}")
        elif ".bak" in path.name:
            lines.append(f"the workbook you changed is kept: {path}")
    return "\n".join(line for line in lines if line)
