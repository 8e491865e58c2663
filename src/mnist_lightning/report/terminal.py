"""What a sweep prints at its end: the ten best settings and a line per failure, in 79 columns of plain ASCII."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_lightning.records.results import RunResult
from mnist_lightning.report.about import counts
from mnist_lightning.report.findings import FAILS, counted, findings
from mnist_lightning.report.frame import frame_of, runs
from mnist_lightning.report.ranking import BY_VALIDATION, Ranking
from mnist_lightning.report.running import Running, running_runs
from mnist_lightning.report.search import read_searched
from mnist_lightning.report.state import MOST_NAMED, State, in_terminal
from mnist_lightning.report.table import shown
from mnist_lightning.report.verdicts import COLLAPSED, LEARNED, NOT_YET, UNCLEAR

COLUMNS = 79  # an 80-column terminal would break a line of 80
_SECOND = "workbook, as results.xlsx is open elsewhere or may not be replaced"
BEST_SETTINGS, MOST_FAILURES = 10, 20


def leaderboard(results: Sequence[RunResult], directory: Path | None = None) -> str:
    """Lines without a newline at the end; empty for fewer than two runs, whose own lines say everything.

    `directory` is where the plan and the runs' files are, see `frame_of`.
    """
    return _leaderboard(Ranking(frame_of(results, directory)))


def _leaderboard(ranking: Ranking) -> str:
    if len(ranking.frame) < 2:
        return ""
    return "\n".join(_safe(line) for line in [*_best(ranking), *_failures(ranking), *_findings(ranking)])


def _best(ranking: Ranking) -> list[str]:
    if ranking.winner is None:
        return [f"{counts(ranking)}; none can be ranked"]
    seeds, held_out = ranking.several_seeds, ranking.rule is BY_VALIDATION
    score, binary = "mean" if seeds else "accuracy", "binary"
    if held_out:
        score, binary = "val mean" if seeds else "val", "test binary"
    numbers = [score, "+-", "runs", binary] if seeds else [score, binary, "s"]
    rows, remarks = [["#", "optimizer", "loss", "lr", "network", *numbers]], [""]
    for rank, s in enumerate(runs(ranking.ranked_settings.head(BEST_SETTINGS)), start=1):
        names = [_safe(s.optimizer, 14), _safe(s.loss_func, 13), f"{s.learning_rate:g}", s.architecture]
        score, binary = f"{s.score:.4f}", f"{s.binary_accuracy_test:.4f}"
        numbers = [score, binary, shown(s.duration_seconds, "0.0")]
        if seeds:
            numbers = [score, shown(s.deviation, "0.0000") if s.runs > 1 else "", _of(s.runs, s.all_runs), binary]
        rows.append([str(rank), *names, *numbers])
        remarks.append(_remark(s))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [*_title(ranking)]
    for row, remark in zip(rows, remarks, strict=True):
        line = "  ".join(_padded(row, widths, words=3))  # rank is a number, then come two words
        one = f"{line}  {remark}".rstrip()
        lines += [one] if len(one) <= COLUMNS else [line, f"    {remark}"]
    return lines


def _title(ranking: Ranking) -> list[str]:
    """What is ranked and by what, and how many runs did not learn; in two lines if it is long."""
    settings = f"{(k := len(ranking.settings)):,} setting{'s' * (k != 1)}"
    n = f"{len(ranking.frame):,} runs"
    what = f"{settings}, {n}, by mean" if ranking.several_seeds else f"{n} by"
    title = f"Best of {what} {ranking.rule.name}"
    wrong = ", ".join(f"{n:,} {what}" for what, n in ranking.verdicts.items() if n and what != LEARNED)
    one = f"{title} ({wrong}):" if wrong else f"{title}:"
    return [one] if len(one) <= COLUMNS else [f"{title}:", f"({wrong})"]


def _of(n: int, wanted: int) -> str:
    return str(n) if n == wanted else f"{n} of {wanted}"


def _remark(setting: Any) -> str:
    """What else sets it apart, and how many of its runs did not learn."""
    shares = {COLLAPSED: setting.collapsed, NOT_YET: setting.not_yet, UNCLEAR: setting.unclear}
    low = [
        verdict if setting.runs == 1 else f"{round(share * setting.runs)} {verdict}"
        for verdict, share in shares.items()
        if share
    ]
    return ", ".join(filter(None, [setting.further, *low]))


def _padded(row: Sequence[str], widths: Sequence[int], words: int) -> list[str]:
    return [
        text.ljust(width) if 0 < i < words else text.rjust(width)
        for i, (text, width) in enumerate(zip(row, widths, strict=True))
    ]


def _failures(ranking: Ranking) -> list[str]:
    unranked = ranking.unranked
    wrong = unranked[unranked["status"] != "pruned"].sort_values(["status", "run_name"])
    lines: list[str] = []
    for r in runs(wrong.head(MOST_FAILURES)):
        seed = f" seed {r.seed}" if ranking.several_seeds else ""
        lines += _wrapped(f"{r.status}: {r.setting}{seed}: {r.error or 'accuracy is not a number'}")
    more = len(wrong) - MOST_FAILURES
    return lines + ([f"and {more} more, in the sheet Failures"] if more > 0 else [])


def _findings(ranking: Ranking) -> list[str]:
    """Which of the study's findings hold here and which do not, if any can be told."""
    judged = findings(ranking.frame)
    decided = [finding for finding in judged if finding.is_decided]
    if not decided:
        return []
    told = [_wrapped(f"  {finding.verdict:<{len(FAILS)}}  {finding.claim}: {finding.ours}") for finding in decided]
    return [f"Of the study's {len(judged)} findings, {counted(judged)}:", *(line for lines in told for line in lines)]


def _wrapped(text: str) -> list[str]:
    """A sentence in at most three lines, the later ones indented."""
    inert = _safe(text, 3 * COLUMNS)
    return textwrap.wrap(inert, COLUMNS, subsequent_indent="    ", max_lines=3, placeholder="...")


def _safe(text: str, limit: int = COLUMNS) -> str:
    """Printable ASCII, cut to `limit`: no terminal can be steered by it, and every encoding can print it."""
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    plain = printable.encode("ascii", "backslashreplace").decode()
    return plain if len(plain) <= limit else plain[: limit - 3] + "..."


def standing(results: Sequence[RunResult], state: State, directory: Path | None = None) -> list[str]:
    """What is missing or running, what does not count, what could not be read; nothing for a sweep that is whole."""
    return _standing(Ranking(frame_of(results, directory, state.places)), state, directory)


def _standing(ranking: Ranking, state: State, directory: Path | None) -> list[str]:
    lines = in_terminal(state, counts(ranking, state), COLUMNS)
    running = running_runs(directory, state) if directory is not None else []
    for run in running[:MOST_NAMED]:
        lines += _wrapped(f"running: {run.label}  {run.how_far}" + _so_far(run))
    more = len(running) - MOST_NAMED
    return [_safe(line) for line in lines] + ([f"and {more:,} more running"] if more > 0 else [])


def _so_far(run: Running) -> str:
    return "" if run.val_accuracy is None else f"  val accuracy {run.val_accuracy:.4f}"


def closing(
    results: Sequence[RunResult], paths: Sequence[Path], state: State | None = None, directory: Path | None = None
) -> str:
    """What to print when a report is written: the leaderboard, what is missing, and where the files are."""
    state = state or State()
    ranking = Ranking(frame_of(results, directory, state.places))
    searched = read_searched(ranking.frame, directory, [], judged=False) if directory else None
    best = _wrapped(searched.sentence) if searched else []
    lines = [_leaderboard(ranking), *best, *_standing(ranking, state, directory)]
    named = {"report.html": "page", "results.xlsx": "workbook", "results-2.xlsx": _SECOND}
    for path in sorted(paths, key=lambda p: p.name):
        if path.name in named:
            lines.append(f"{named[path.name]}: {path}")
        elif ".bak" in path.name:
            lines.append(f"changed since we wrote it, or not ours; kept: {path}")
    return "\n".join(line for line in lines if line)
