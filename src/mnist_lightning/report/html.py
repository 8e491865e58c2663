"""Tables as HTML: every text that came from a record is escaped, every number formatted as in the workbook."""

from __future__ import annotations

import html as _html
import math
from typing import Any

from mnist_lightning.errors import one_line
from mnist_lightning.report.table import Column, Table, shown

_MARKS = {"best": "b", "collapsed": "c", "diverged": "d", "failed": "f", "no accuracy": "d"}
LONGEST, LONGEST_CELL = 2000, 300  # characters


def escape(text: object, limit: int = LONGEST) -> str:
    """Any text, inert: one line, no control or direction characters, no markup."""
    return _html.escape(one_line(str(text), limit))


def cell(value: Any, number_format: str = "General") -> str:
    return escape(shown(value, number_format), LONGEST_CELL) if isinstance(value, str) else shown(value, number_format)


def is_text(column: Column, rows: list[list[Any]], i: int) -> bool:
    """Whether a column is set flush left: it holds texts."""
    return column.number_format == "General" and any(isinstance(row[i], str) for row in rows[:50])


def html_table(table: Table, wide: str = "") -> str:
    """A table in a box that scrolls sideways; `wide` names the column that may wrap."""
    texts = [is_text(c, table.rows, i) for i, c in enumerate(table.columns)]
    classes = ["wide" if c.name == wide else "t" if t else "" for c, t in zip(table.columns, texts, strict=True)]
    kinds = [f' class="{c}"' if c else "" for c in classes]
    head = "".join(
        f'<th scope="col"{k} title="{escape(c.about)}">{escape(c.name)}</th>'
        for c, k in zip(table.columns, kinds, strict=True)
    )
    lines = []
    for i, row in enumerate(table.rows):
        mark = f' class="{_MARKS[table.marks[i]]}"' if i in table.marks else ""
        cells = "".join(
            f"<td{k}>{cell(v, c.number_format)}</td>" for v, c, k in zip(row, table.columns, kinds, strict=True)
        )
        lines.append(f"<tr{mark}>{cells}</tr>")
    caption = escape(table.title)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def row_mark(name: str) -> str:
    """The class of a row in that state, as an attribute; empty for an ordinary one."""
    return f' class="{_MARKS[name]}"' if name in _MARKS else ""


def percent(share: float) -> str:
    return f"{max(0.0, min(1.0, share)) * 100:.1f}%" if math.isfinite(share) else "0%"
