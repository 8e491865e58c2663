"""report.html: one file that opens from a disk, needs no network, and answers what people ask first."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Collection
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from mnist_lightning.errors import one_line
from mnist_lightning.report import tables
from mnist_lightning.report.about import about_table, counts, values
from mnist_lightning.report.answers import answers
from mnist_lightning.report.curves import link
from mnist_lightning.report.explore import curves_json
from mnist_lightning.report.figures import HEADINGS, Figures, running_picture
from mnist_lightning.report.findings import RULE, findings_table
from mnist_lightning.report.inline_svg import data_address, inline
from mnist_lightning.report.published import MISPRINTS, WHAT_ACCURACY_IS
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.runs_table import cell_text, runs_table
from mnist_lightning.report.search import trials_table
from mnist_lightning.report.state import State
from mnist_lightning.report.stored import Stored
from mnist_lightning.report.table import Table
from mnist_lightning.report.verdicts import MEANING
from mnist_lightning.report.versus import NOT_RUN, versus_table

MOST_ROWS = 500  # of a table beside that of all runs; the workbook has them all
LONGEST = 2000  # characters of any text
_DATA = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "kmnist": "KMNIST",
    "qmnist": "QMNIST",
    "synthetic": "synthetic digits",
}
_ONLY_IN_WORKBOOK = {"Parameters", "Our spread", "Lowest", "Highest", "Our top-1 accuracy"}


def page(ranking: Ranking, stored: Stored, figures: Figures, directory: Path | None = None) -> str:
    """Returns the whole page; the same records and files give the same text.

    `directory` is where the runs' files are: their learning curves become part of the page. A page that will be made
    again has no charts to explore, which it would lose with what was chosen in them.
    """
    runs = runs_table(ranking, stored.linked)
    scripts = [_resource("page.js")]
    explore = curves_json(runs.rows, directory) if len(runs.rows) > 1 and not stored.live else ""
    if explore:
        scripts += [_resource("echarts/echarts.min.js"), _resource("explore.js")]
    versus = versus_table(ranking.frame)
    return _environment().get_template("page.html.j2").render(
        # the page's own scripts and style are trusted: files of this package, and the policy allows these scripts alone
        scripts=[Markup(script) for script in scripts],
        script_sources=Markup(" ".join(f"'sha256-{_digest(script)}'" for script in scripts)),
        explore=Markup(explore),  # numbers and null
        licences=Markup(_licences()) if explore else "",
        style=Markup(_resource("page.css")),
        live=stored.live,
        running=_with_links(tables.running_table(stored.running), stored.linked),
        running_picture=running_picture(stored.running),
        title=_title(ranking, stored.state) if len(ranking.frame) or not stored.running else "No run has a record yet",
        what_was_run=_what_was_run(ranking, stored.state),
        state=stored.state,
        ranking=ranking,
        answers=answers(ranking, stored),
        effects=ranking.effects,
        mistakes=_mistakes(stored),
        runs=runs,
        figures=figures,
        headings=HEADINGS,
        best=tables.best_table(ranking),
        optimizer_lr=tables.optimizer_lr_table(ranking),
        network_size=tables.network_size_table(ranking),
        seeds=tables.seeds_table(ranking),
        findings=findings_table(ranking.frame),
        findings_rule=RULE,
        versus=versus,
        versus_ran=_ran(versus),
        about_the_study=(WHAT_ACCURACY_IS, *MISPRINTS),
        trials=_with_links(trials_table(stored.searched), stored.linked),
        searched=stored.searched,
        failures=_with_links(tables.failures_table(ranking, stored.state), stored.linked),
        about=_about(ranking, stored),
    )  # fmt: skip


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _environment() -> Environment:
    """Jinja2 as the page needs it: every value is made one harmless line and escaped, a misspelt name is an error."""
    environment = Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        finalize=harmless,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = cell_text
    environment.globals |= {"column_classes": column_classes, "inline": inline, "most_rows": MOST_ROWS}
    return environment


def harmless(value: Any) -> str:
    """Returns any value as one line without control or direction characters; our own markup as it is."""
    return value if isinstance(value, Markup) else one_line(str(value), LONGEST)


def _licences() -> str:
    """The licences of the charts' library, which their terms want beside every copy of it."""
    names = ("NOTICE", "LICENSE", "LICENSE.zrender", "LICENSE.d3", "LICENSE.tslib")
    return "\n\n".join(_resource(f"echarts/{name}") for name in names)


def _resource(name: str) -> str:
    return (files("mnist_lightning.report") / name).read_text(encoding="utf-8")


def column_classes(table: Table, wide: Collection[str]) -> list[str]:
    """Returns each column's class: `wide` may wrap, `t` holds texts and is set flush left."""
    texts = [
        c.number_format == "General" and any(isinstance(row[i], str) for row in table.rows[:50])
        for i, c in enumerate(table.columns)
    ]
    return ["wide" if c.name in wide else "t" * text for c, text in zip(table.columns, texts, strict=True)]


def _title(ranking: Ranking, state: State) -> str:
    """`18 runs on synthetic digits`, or `2 of 18 runs ...` where the others have no record."""
    n, names = len(ranking.frame), ranking.frame["dataset"].unique()
    data = ", ".join(sorted({_DATA.get(name, str(name)) for name in names})) or "no data"
    asked = n if state.planned is None else state.planned
    of = "" if n == asked else f"{n:,} of "
    return f"{of}{asked:,} run{'s' * (asked != 1)} on {data}"


def _what_was_run(ranking: Ranking, state: State) -> str:
    """`18 runs planned: 18 completed. 3,000 training images, 1,000 test images, 4 epochs, on cpu.`"""
    patterns = {
        "train_size": "{} training images",
        "test_size": "{} test images",
        "epochs": "{} epochs",
        "device": "on {}",
    }
    if values(ranking.frame, "epochs") == "1":
        patterns["epochs"] = "{} epoch"
    parts = [p.format(text) for column, p in patterns.items() if (text := values(ranking.frame, column))]
    return f"{counts(ranking, state)}." + (f" {', '.join(parts)}." if parts else "")


def _mistakes(stored: Stored) -> list[tuple[Markup, int, int]]:
    """Returns the surest mistakes: picture, digit, what it was taken for."""
    predictions = stored.predictions
    if predictions is None:
        return []
    pictures = []
    for image in predictions.mistake_images[:5]:
        out = io.BytesIO()
        Image.fromarray(image).save(out, "PNG", optimize=True)
        pictures.append(data_address(out.getvalue()))
    return list(zip(pictures, predictions.mistake_labels, predictions.mistake_predicted, strict=False))


def _ran(versus: Table) -> Table:
    """Returns the published rows that this sweep has runs of; fewer columns, so that the verdict stays in sight."""
    kept = [i for i, c in enumerate(versus.columns) if c.name not in _ONLY_IN_WORKBOOK]
    rows = [[row[i] for i in kept] for row in versus.rows if row[-1] != NOT_RUN]
    return Table(versus.title, [versus.columns[i] for i in kept], rows)


def _with_links(table: Table, linked: bool) -> Table:
    """Returns a table of runs with addresses for its `places`, and without the directories' names, which are long."""
    kept = [i for i, c in enumerate(table.columns) if c.key != "run_name"]
    rows = [[row[i] for i in kept] for row in table.rows]
    places = [link(place) for place in table.places] if linked else []
    return replace(table, columns=[table.columns[i] for i in kept], rows=rows, places=places)


def _about(ranking: Ranking, stored: Stored) -> list[list[Any]]:
    """Returns the provenance without what the page says elsewhere, and without the workbook's colours."""
    elsewhere = {ranking.sentence, MEANING, WHAT_ACCURACY_IS, *MISPRINTS}
    rows = about_table(ranking, stored).rows
    return [row for row in rows if row[1] not in elsewhere and row[0] != "Row colours"]
