"""Each published row beside our runs of the same configuration, with a verdict that looks at spread and collapse."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from mnist_lightning.records.results import RunResult
from mnist_lightning.report.published import CONDITIONS, PublishedRow, key_of, published_rows
from mnist_lightning.report.ranking import collapse
from mnist_lightning.report.table import Column, Table, record_column

# Student's t, 97.5 %, by degrees of freedom; for more, 1.96 + 2.4 / degrees is right to 0.005 (tables of any textbook)
_T975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)

_COLUMNS = [
    Column("Where", about="table of the report"),
    record_column("optimizer", "Optimizer"),
    record_column("loss_func", "Loss function"),
    record_column("learning_rate", "Learning rate"),
    record_column("num_channels", "Channels"),
    record_column("num_conv", "Conv2D layers"),
    record_column("num_dense", "Dense layers"),
    record_column("num_parameters", "Parameters"),
    Column("Report's accuracy", "0.0000", "as printed: binary accuracy on the test set"),
    Column("Our binary accuracy", "0.0000", "mean over our completed runs of this configuration"),
    Column("Difference", "0.0000", "ours minus the report's"),
    Column("Our runs", "0", "completed runs, one per seed"),
    Column("Our spread", "0.0000", "standard deviation between our runs that learned"),
    Column("Lowest", "0.0000", "binary accuracy of our lowest run"),
    Column("Highest", "0.0000", "binary accuracy of our highest run"),
    Column("Collapsed", "0%", "share of our completed runs that collapsed"),
    Column("Our top-1 accuracy", "0.0000", "mean; what is called accuracy everywhere else"),
    Column("Verdict"),
]


def versus_table(results: Sequence[RunResult]) -> Table:
    """All 27 published rows; where we have no such run, the verdict says so."""
    by_key: dict[tuple[object, ...], list[RunResult]] = {}
    for r in results:
        by_key.setdefault(key_of(r), []).append(r)
    rows = [_row(p, by_key.get(p.key, [])) for p in published_rows()]
    matched = sum(row[-1] != NOT_RUN for row in rows)
    note = f"{matched} of {len(rows)} published rows have runs of ours."
    return Table("Versus report", _COLUMNS, rows, note)


NOT_RUN = "not in this sweep"


def _row(p: PublishedRow, ours: Sequence[RunResult]) -> list[object]:
    same = _comparable(ours)
    done = [r for r in same if r.status == "completed" and math.isfinite(r.binary_accuracy_test)]
    values = [r.binary_accuracy_test for r in done]
    learned = [r.binary_accuracy_test for r in done if not collapse(r)]
    mean = statistics.fmean(values) if values else None
    return [
        *(
            p.table,
            p.optimizer,
            p.loss_func,
            p.learning_rate,
            p.num_channels,
            p.num_conv,
            p.num_dense,
            p.num_parameters,
        ),
        p.binary_accuracy_test,
        mean,
        mean - p.binary_accuracy_test if mean is not None else None,
        len(done),
        statistics.stdev(learned) if len(learned) > 1 else None,
        min(values, default=None),
        max(values, default=None),
        1 - len(learned) / len(done) if done else None,
        statistics.fmean(r.accuracy_test for r in done) if done else None,
        judge(p, same),
    ]


def _comparable(ours: Sequence[RunResult]) -> list[RunResult]:
    """The runs under the report's conditions; all of them where none is. A run that did not end has fewer epochs."""
    completed = [r for r in ours if r.status == "completed"]
    alike = [r for r in completed if not unlike(r)]
    return list(ours) if not completed else alike + [r for r in ours if r.status != "completed"] if alike else completed


def unlike(result: RunResult) -> str:
    """In what a run was trained under other conditions than the report's, or an empty string."""
    return ", ".join(
        f"{name} {getattr(result, name)} instead of {wanted}"
        for name, wanted in CONDITIONS.items()
        if getattr(result, name) != wanted
    )


def judge(p: PublishedRow, ours: Sequence[RunResult]) -> str:
    """What our runs of the same configuration say about a published value.

    A collapsed value is compared with our share of collapsed runs, any other with the runs that learned: whether
    it lies in the range where one more run of ours would fall with a chance of 95 %.
    """
    if not ours:
        return NOT_RUN
    done = [r for r in ours if r.status == "completed" and math.isfinite(r.binary_accuracy_test)]
    if not done:
        return f"no result: {len(ours)} of {len(ours)} runs failed or diverged"
    if difference := unlike(done[0]):
        return f"not comparable: {difference}"
    collapsed, n = sum(bool(collapse(r)) for r in done), len(done)
    if p.collapsed:
        if n == 1:
            return "both collapsed" if collapsed else "the report's run collapsed, ours learned; one seed says little"
        return f"the report's run collapsed, as {collapsed} of our {n} did"
    learned = [r.binary_accuracy_test for r in done if not collapse(r)]
    among = f"; {collapsed} of our {n} runs collapsed" if collapsed else ""
    if not learned:
        return "the report's run learned, " + (
            "ours collapsed; one seed says little" if n == 1 else f"all {n} of ours collapsed"
        )
    if len(learned) == 1:
        return f"both learned, {learned[0] - p.binary_accuracy_test:+.4f}; one run gives no spread to judge by{among}"
    return _inside(p, learned) + among


def _inside(p: PublishedRow, learned: Sequence[float]) -> str:
    low, high = prediction_interval(learned)
    rounding = 0.5 * 10**-p.decimals
    inside = low - rounding <= p.binary_accuracy_test <= high + rounding
    caution = ", but two runs say little" if len(learned) == 2 and inside else ""
    return (
        f"{'within' if inside else 'outside'} our spread, {low:.4f} "
        f"to {min(high, 1.0):.4f} (n = {len(learned)}){caution}"
    )


def prediction_interval(values: Sequence[float]) -> tuple[float, float]:
    """Where one more draw falls with a chance of 95 %, if draws are normal: mean -+ t s sqrt(1 + 1/n); n >= 2."""
    n, mean = len(values), statistics.fmean(values)
    t = _T975[n - 2] if n - 1 <= len(_T975) else 1.96 + 2.4 / (n - 1)
    reach = t * statistics.stdev(values) * math.sqrt(1 + 1 / n)
    return mean - reach, mean + reach
