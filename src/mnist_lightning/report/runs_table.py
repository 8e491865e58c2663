"""The page's table of all runs: one lean row each, sorted and filtered by the page's script."""

from __future__ import annotations

import math
from typing import Any

from mnist_lightning.records.results import COLUMNS, RunResult
from mnist_lightning.report.html import cell, escape, row_mark
from mnist_lightning.report.ranking import Ranking, verdict
from mnist_lightning.report.stored import link

# column of the record -> header; in the page's order
_HEADERS = {
    "optimizer": "optimizer",
    "loss_func": "loss",
    "learning_rate": "learning rate",
    "num_channels": "channels",
    "num_conv": "conv",
    "num_dense": "dense",
    "dataset": "data",
    "train_size": "training images",
    "batch_size": "batch",
    "epochs": "epochs",
    "seed": "seed",
    "accuracy_val": "validation accuracy",
    "accuracy_test": "test accuracy",
    "binary_accuracy_test": "binary accuracy",
    "accuracy": "training accuracy",
    "num_parameters": "parameters",
    "best_epoch": "best epoch",
    "duration_seconds": "time (s)",
}
_ALWAYS = {
    "optimizer",
    "loss_func",
    "learning_rate",
    "accuracy_test",
    "binary_accuracy_test",
    "accuracy",
    "duration_seconds",
}
_MINOR = {
    "binary_accuracy_test",
    "accuracy",
    "num_parameters",
    "best_epoch",
    "duration_seconds",
    "train_size",
    "batch_size",
    "epochs",
}
_FILTERS = ("optimizer", "loss_func", "learning_rate")
_MOST_CHOICES = 30
_FORMATS = {c.name: (c.metadata["number_format"], c.metadata["about"]) for c in COLUMNS}


def runs_section(ranking: Ranking, linked: bool) -> str:
    """Filters and table; what is the same in every run is said once, above."""
    results = ranking.results
    columns = [name for name in _HEADERS if name in _ALWAYS or len({_value(r, name) for r in results}) > 1]
    if all(not math.isfinite(r.accuracy_val) or not r.val_size for r in results) and "accuracy_val" in columns:
        columns.remove("accuracy_val")
    same = [(h, _value(results[0], n), _FORMATS[n][0]) for n, h in _HEADERS.items() if results and n not in columns]
    constant = ", ".join(f"{h} {cell(v, f)}" for h, v, f in same if v not in (None, "") and h != "validation accuracy")
    intro = f"<p class=faint>The same in every run: {constant}.</p>" if constant and len(results) > 1 else ""
    return intro + _filters(ranking, columns) + _table(ranking, columns, linked)


def _value(r: RunResult, name: str) -> Any:
    value = getattr(r, name)
    return None if isinstance(value, float) and math.isnan(value) else value


def _filters(ranking: Ranking, columns: list[str]) -> str:
    parts = ['<label>Search <input type="search" placeholder="words, e.g. adam mse"></label>']
    for name in _FILTERS:
        texts = sorted({(_sortable(r, name), cell(getattr(r, name), _FORMATS[name][0])) for r in ranking.results})
        if 1 < len(texts) <= _MOST_CHOICES:
            parts.append(_select(_HEADERS[name], columns.index(name) + 1, [t for _, t in texts]))
    states = [s for s in ("ok", "collapsed", "diverged", "failed") if any(verdict(r) == s for r in ranking.results)]
    if len(states) > 1:
        parts.append(_select("state", len(columns) + 1, states))
    n = len(ranking.results)
    return (
        f'<form id="filters" class="controls" hidden>{"".join(parts)}<span '
        f'id="count" role="status">{n:,} of {n:,} runs shown</span></form>'
    )


def _sortable(r: RunResult, name: str) -> tuple[float, str]:
    value = getattr(r, name)
    return (value, "") if isinstance(value, float) and not math.isnan(value) else (math.inf, str(value))


def _select(name: str, column: int, options: list[str]) -> str:
    inside = "".join(f'<option value="{o}">{o}</option>' for o in options)
    return f'<label>{name} <select data-column="{column}"><option value="">all</option>{inside}</select></label>'


def _table(ranking: Ranking, columns: list[str], linked: bool) -> str:
    texts = [n in ("optimizer", "loss_func", "dataset") for n in columns]
    kinds = [" ".join(["t"] * t + ["m"] * (n in _MINOR)) for n, t in zip(columns, texts, strict=True)]
    attributes = [f' class="{k}"' if k else "" for k in kinds]
    head = [_head("#", "rank", "", "ascending")]
    for name, attribute in zip(columns, attributes, strict=True):
        first = "descending" if "accuracy" in name else ""
        head.append(
            _head(
                _HEADERS[name],
                _FORMATS[name][1],
                attribute,
                "descending" if name == ranking.rule.column else "none",
                first,
            )
        )
    head += [
        _head("state", "ok, collapsed, diverged or failed", ' class="t"'),
        '<th scope="col" class="t m">files</th>',
    ]
    ranks = {id(r): i for i, r in enumerate(ranking.ranked, start=1)}
    ordered = [*ranking.ranked, *(r for r in ranking.results if id(r) not in ranks)]
    lines = []
    for r in ordered:
        rank = ranks.get(id(r))
        state = verdict(r)
        cells = [f"<td{a}>{cell(getattr(r, n), _FORMATS[n][0])}</td>" for n, a in zip(columns, attributes, strict=True)]
        where = link(r) if linked else ""
        anchor = f'<a href="{escape(where)}">open</a>' if where else ""
        mark = row_mark("best" if rank == 1 else state)
        lines.append(
            f"<tr{mark}><td>{rank or ''}</td>{''.join(cells)}<td "
            f'class="t">{state}</td><td class="t m">{anchor}</td></tr>'
        )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="All runs"><table id="runs-table"><thead><tr>'
        f"{''.join(head)}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _head(name: str, about: str, attribute: str = "", sort: str = "none", first: str = "") -> str:
    begin = f' data-first="{first}"' if first else ""
    title = f' title="{escape(about)}"'
    return (
        f'<th scope="col"{attribute}{begin}{title} aria-sort="{sort}">'
        f'<button type="button">{escape(name)}</button></th>'
    )
