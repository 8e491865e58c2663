"""report.html: one file that opens from a disk, asks no network for anything, and answers what people ask first."""

from __future__ import annotations

import base64
import hashlib
import io
from importlib.resources import files
from typing import Any

from mnist_lightning.report.about import about_table, counts, values
from mnist_lightning.report.answers import MISTAKES, WHAT_MATTERED, Answer, answers
from mnist_lightning.report.effects import Effect, effects
from mnist_lightning.report.figures import HEADINGS, Figures
from mnist_lightning.report.html import escape, html_table, percent
from mnist_lightning.report.inline_svg import inline
from mnist_lightning.report.published import MISPRINTS, WHAT_ACCURACY_IS
from mnist_lightning.report.ranking import COLLAPSED_MEANS, Ranking
from mnist_lightning.report.runs_table import runs_section
from mnist_lightning.report.stored import Stored
from mnist_lightning.report.table import Table
from mnist_lightning.report.tables import (
    best_table,
    failures_table,
    network_size_table,
    optimizer_lr_table,
    seeds_table,
)
from mnist_lightning.report.versus import NOT_RUN, versus_table

_DATA = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "kmnist": "KMNIST",
    "qmnist": "QMNIST",
    "synthetic": "synthetic digits",
}
_ONLY_IN_WORKBOOK = {"Parameters", "Our spread", "Lowest", "Highest", "Our top-1 accuracy"}
MOST_ROWS = 500  # of a table beside that of all runs; the workbook has them all
_SECTIONS = {
    "answers": "Answers",
    "runs": "All runs",
    "figures": "Figures",
    "tables": "Tables",
    "versus": "The report",
    "failures": "Failures",
}


def page(ranking: Ranking, stored: Stored, figures: Figures) -> str:
    """The whole page. The same records and files give the same text."""
    script, style = _resource("page.js"), _resource("page.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    data = ", ".join(sorted({_DATA.get(r.dataset, r.dataset) for r in ranking.results})) or "no data"
    title = f"{len(ranking.results):,} run{'s' * (len(ranking.results) != 1)} on {data}"
    links = "".join(f'<a href="#{name}">{text}</a>' for name, text in (_SECTIONS | {"about": "Provenance"}).items())
    parts = [
        (
            f'<header><h1>{escape(title)}</h1><p class="faint">{escape(_what_was_run(ranking))}</p>'
            f'<nav aria-label="Sections">{links}</nav></header>'
        ),
        (
            f'<main><div class="answers" id="answers">{_answers(ranking, stored)}</div>'
            f'<p class="faint">{escape(ranking.rule.sentence)}</p>'
        ),
        _section("runs", runs_section(ranking, stored.linked) if ranking.results else "<p>There is no run.</p>"),
        _section("figures", _figures(figures)),
        _section("tables", _tables(ranking)),
        _section("versus", _versus(ranking)),
        _section("failures", _failures(ranking)),
        _section("about", _about(ranking, stored)),
        "</main>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style></head>\n<body>\n"
        + "\n".join(parts)
        + f"\n<script>{script}</script>\n</body></html>\n"
    )


def _resource(name: str) -> str:
    return (files("mnist_lightning.report") / name).read_text(encoding="utf-8")


def _section(name: str, inside: str) -> str:
    heading = (_SECTIONS | {"about": "Provenance"})[name]
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{heading}</h2>{inside}</section>'


def _what_was_run(ranking: Ranking) -> str:
    parts = [counts(ranking)]
    for column, word in (
        ("train_size", "training images"),
        ("test_size", "test images"),
        ("epochs", "epochs"),
        ("device", ""),
    ):
        if text := values(ranking.results, column):
            parts.append(f"{text} {word}".strip() if column != "device" else f"on {text}")
    return ". ".join(parts[:1]) + (". " + ", ".join(parts[1:]) + "." if parts[1:] else ".")


def _answers(ranking: Ranking, stored: Stored) -> str:
    found = effects(ranking.results)
    extras = {WHAT_MATTERED: _bars(found) if found else "", MISTAKES: _thumbs(stored)}
    return "".join(_answer(kind, a, extras.get(kind, "")) for kind, a in answers(ranking, stored).items())


def _answer(kind: str, answer: Answer, extra: str) -> str:
    sentences = "".join(f"<p>{escape(s)}</p>" for s in answer.sentences if s)
    runs = f'<ul class="runs">{"".join(f"<li>{escape(r)}</li>" for r in answer.runs)}</ul>' if answer.runs else ""
    heading = f'<h3>{escape(answer.question)}</h3><p class="short">{escape(answer.short)}</p>'
    return f'<section id="{kind}">{heading}{extra}{sentences}{runs}</section>'


def _thumbs(stored: Stored) -> str:
    """The surest mistakes as small pictures."""
    found = stored.predictions
    if found is None or not len(found.mistake_images):
        return ""
    told = zip(found.mistake_images[:5], found.mistake_labels, found.mistake_predicted, strict=False)
    parts = [f'<span><img alt="a {t} called {p}" src="{_png(image)}">is {t}, said {p}</span>' for image, t, p in told]
    return f'<div class="thumbs">{"".join(parts)}</div>'


def _png(image: Any) -> str:
    """uint8 [28, 28] as a data address."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def _bars(found: list[Effect]) -> str:
    """How far apart the means are, key by key, as bars on one scale from 0 to 1."""
    rows = "".join(
        (
            f'<tr><th scope="row">{escape(e.factor)}</th><td><i '
            f'style="width:{percent(e.spread)}"></i></td><td>{e.spread:.3f}</td></tr>'
        )
        for e in found
    )
    return (
        '<table class="bars"><caption class="faint">difference between the '
        f"means of its best and worst value, accuracy</caption>{rows}</table>"
    )


def _figures(figures: Figures) -> str:
    drawn = "".join(
        (
            f'<figure id="{p.name}"><h3>{escape(p.title)}</h3><div class="drawing">'
            f"{inline(p)}</div><figcaption>{escape(p.caption)}</figcaption></figure>"
        )
        for p in figures.pictures
    )
    missing = "".join(f"<li>{HEADINGS[name]}: {escape(why)}</li>" for name, why in figures.missing.items())
    return f'<div class="figures">{drawn}</div>' + (
        f'<div class="faint"><p>Not shown:</p><ul>{missing}</ul></div>' if missing else ""
    )


def _folded(table: Table, summary: str, wide: str = "") -> str:
    """A table behind a line that opens it; long ones are cut, and say so."""
    if not table.rows:
        return f'<p class="faint">{escape(summary)}: {escape(table.note or "nothing to show.")}</p>'
    cut = Table(table.title, table.columns, table.rows[:MOST_ROWS], table.note, table.marks)
    more = (
        f" The first {MOST_ROWS} of {len(table.rows):,} rows; all are in results.xlsx."
        if len(table.rows) > MOST_ROWS
        else ""
    )
    return (
        f'<details><summary>{escape(summary)}</summary><p class="faint">'
        f"{escape(table.note + more)}</p>{html_table(cut, wide)}</details>"
    )


def _tables(ranking: Ranking) -> str:
    return (
        _folded(best_table(ranking), "Best runs, with the columns of the report's first table")
        + _folded(
            optimizer_lr_table(ranking.results),
            "Optimizer and learning rate, with the columns of the report's second table",
        )
        + _folded(network_size_table(ranking), "Network size")
        + _folded(seeds_table(ranking), "Mean and spread over seeds")
    )


def _versus(ranking: Ranking) -> str:
    table = versus_table(ranking.results)
    ran = [i for i, row in enumerate(table.rows) if row[-1] != NOT_RUN]
    texts = "".join(f"<p>{escape(t)}</p>" for t in (WHAT_ACCURACY_IS, *MISPRINTS))
    if not ran:
        full = "The report's own grid is experiment=full_grid, its second table experiment=optimizer_lr."
        return (
            f"<p>None of the report's {len(table.rows)} published rows is in this sweep. {full}</p>{texts}"
            + _folded(table, "The published rows", "Verdict")
        )
    kept = [i for i, c in enumerate(table.columns) if c.name not in _ONLY_IN_WORKBOOK]  # the verdict stays in sight
    rows = [[table.rows[i][j] for j in kept] for i in ran]
    shown = Table(table.title, [table.columns[j] for j in kept], rows)
    rest = " The others are not in this sweep." if len(ran) < len(table.rows) else ""
    return f"<p>{escape(table.note)}{rest}</p>{html_table(shown, 'Verdict')}{texts}"


def _failures(ranking: Ranking) -> str:
    table = failures_table(ranking)
    if not table.rows:
        return "<p>None: no run failed, diverged or collapsed.</p>"
    cut = Table(table.title, table.columns, table.rows[:MOST_ROWS], "", table.marks)
    more = (
        f"<p>The first {MOST_ROWS} of {len(table.rows):,}; all are in results.xlsx.</p>"
        if len(table.rows) > MOST_ROWS
        else ""
    )
    return f"<p>{escape(COLLAPSED_MEANS)}</p>{html_table(cut, 'Why')}{more}"


def _about(ranking: Ranking, stored: Stored) -> str:
    said = {"Ranking", "Collapsed", "The report's accuracy", "The report's misprints", "Row colours"}
    rows = [row for row in about_table(ranking, stored).rows if row[0] not in said]
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows) + "</dl>"
