"""The section Explore of the page, driven in a real Chromium; and the curves that the page carries."""

from __future__ import annotations

import csv
import html
import io
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from mnist_lightning.report import explore
from mnist_lightning.report.explore import MOST_CURVES, curves_json
from mnist_lightning.report.figures import Figures
from mnist_lightning.report.live import Live
from mnist_lightning.report.page import page
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.runs_table import Row
from mnist_lightning.report.stored import Stored
from report_browser import CHROMIUM, Browser
from report_cases import HOSTILE, full_grid, judged, many, quickstart, record, reported, store

SHOWN = "document.querySelectorAll('#runs-table tbody tr:not([hidden])').length"
POINTS = "mnistLightning.charts.points.getOption().series.reduce((n, s) => n + s.data.length, 0)"
CELLS = "r => Array.from(r.cells).map(c => c.textContent)"
COMPARED = f"Array.from(document.querySelectorAll('#explore-compared tbody tr')).map({CELLS})"
CHOOSE = (
    "(s => {{ s.value = {!r}; s.dispatchEvent(new Event({!r}, {{bubbles: true}})); }})(document.querySelector({!r}))"
)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium found: apt-get install chromium")
    with Browser(CHROMIUM, tmp_path_factory.mktemp("profile")) as found:
        found.resize(1280, 900)
        yield found


@pytest.fixture
def browser(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Browser:
    """The page of the quickstart, as it is when it is opened."""
    chromium.open((reported(tmp_path_factory.getbasetemp()) / "report.html").as_uri())
    return chromium


def tick(browser: Browser, *rows: int) -> None:
    for row in rows:
        browser.run(f"runs.rows[{row}].cells[0].querySelector('input').click()")


def place(browser: Browser, row: int) -> tuple[float, float]:
    """Where in the window a row's point is, once it is in sight."""
    browser.run("document.getElementById('explore-points').scrollIntoView({block: 'center'})")
    found = browser.run(
        "(() => { const c = mnistLightning.charts.points, b = c.getDom().getBoundingClientRect();"
        f"for (const [i, s] of c.getOption().series.entries()) for (const d of s.data) if (d[2] === {row})"
        "{ const [x, y] = c.convertToPixel({seriesIndex: i}, d); return [b.x + x, b.y + y]; } })()"
    )
    return found[0], found[1]


def seen(browser: Browser, script: str) -> Any:
    """What a script says once it says something; the charts answer a moment after the mouse."""
    deadline = time.monotonic() + 10
    while not (found := browser.run(script)):
        assert time.monotonic() < deadline, script
        time.sleep(0.05)
    return found


def test_pointing_at_a_run_tells_its_name_and_a_click_ticks_it(browser: Browser) -> None:
    x, y = place(browser, 4)
    browser.point(x, y)
    label = browser.run("runs.texts(2)[4] + ' ' + runs.texts(3)[4] + ' ' + runs.texts(4)[4]")
    tip = "Array.from(document.querySelectorAll('#explore-points strong')).map(e => e.textContent).join()"
    assert seen(browser, tip) == label
    browser.point(x, y, click=True)
    assert seen(browser, "runs.rows[4].cells[0].querySelector('input').checked")
    assert browser.complaints == []


def test_filters_drive_the_table_and_the_charts(browser: Browser) -> None:
    assert (browser.run(SHOWN), browser.run(POINTS)) == (18, 18)
    browser.run(CHOOSE.format("SGD", "input", "#filters select"))
    assert (browser.run(SHOWN), browser.run(POINTS)) == (6, 6)
    lines = "mnistLightning.charts.lines.getOption().series[0].data.length"
    assert browser.run(lines) == 6
    browser.run(CHOOSE.format("mae", "input", "#filters input"))
    assert (browser.run(SHOWN), browser.run(POINTS), browser.run(lines)) == (3, 3, 3)


def test_every_key_that_varies_has_a_filter_the_seed_too() -> None:
    text = page(Ranking(judged(full_grid(2))), Stored(), Figures([], {}))
    for name in ("optimizer", "loss", "learning rate", "channels", "conv", "dense", "seed", "state"):
        assert f"<label>{name} <select" in text


def test_axes_and_colours_can_be_chosen(browser: Browser) -> None:
    names = "mnistLightning.charts.points.getOption().xAxis[0].name"
    assert browser.run(names) == "learning rate"
    time_at = browser.run(
        "Array.from(document.getElementById('explore-x').options).find(o => o.text === 'time (s)').value"
    )
    browser.run(CHOOSE.format(time_at, "change", "#explore-x"))
    assert browser.run(names) == "time (s)"
    assert browser.run(POINTS) == 18
    loss = browser.run(
        "Array.from(document.getElementById('explore-colour').options).find(o => o.text === 'loss').value"
    )
    browser.run(CHOOSE.format(loss, "change", "#explore-colour"))
    assert browser.run("document.getElementById('explore-legend').textContent") == "●mae■mse"


def test_ticked_runs_are_overlaid_as_curves_and_compared_key_by_key(browser: Browser) -> None:
    assert browser.run("document.getElementById('explore-ticked').hidden")
    tick(browser, 0, 5)
    series = browser.run("mnistLightning.charts.curve.getOption().series.map(s => s.data)")
    assert [[x for x, _ in line] for line in series] == [[1, 2, 3, 4]] * 2
    assert series[0][0][1] == pytest.approx(0.5)  # 0.9 - 0.4, see report_cases.store
    compared = {row[0]: row[1:] for row in browser.run(COMPARED)}
    for name, index in (("test accuracy", 1), ("learning rate", 4)):
        assert compared[name] == [browser.run(f"runs.texts({index})[{row}]") for row in (0, 5)]
    same = browser.run("document.getElementById('explore-same').textContent")
    assert all(name in compared or name in same for name in ("optimizer", "loss", "learning rate"))
    browser.run("document.getElementById('explore-untick').click()")
    assert browser.run("document.getElementById('explore-ticked').hidden")
    assert browser.run("document.querySelectorAll('#runs-table input:checked').length") == 0


def test_dragging_along_an_axis_of_the_second_chart_keeps_the_runs_in_that_range(browser: Browser) -> None:
    browser.run("document.getElementById('explore-lines').scrollIntoView({block: 'center'})")
    x, top, low = browser.run(
        "(() => { const c = mnistLightning.charts.lines, b = c.getDom().getBoundingClientRect();"
        "const p = c.getModel().getComponent('parallel').coordinateSystem;"
        "const last = p.dimensions.at(-1), ends = [1, 0.5].map((v) => p.dataToPoint(v, last));"
        "return [b.x + ends[0][0], b.y + ends[0][1], b.y + ends[1][1]]; })()"
    )
    browser.stroke([(x, top + (low - top) * i / 8) for i in range(9)])
    high = browser.run("runs.values(1).filter(v => v >= 0.5).length")
    assert 0 < high < 18
    assert seen(browser, f"{SHOWN} === {high} && {POINTS} === {high}")
    lines = list(csv.DictReader(io.StringIO(browser.run("mnistLightning.csv()"))))
    assert sorted(float(line["test accuracy"]) >= 0.5 for line in lines) == [True] * high
    browser.point(x, low + 60, click=True)
    assert seen(browser, f"{SHOWN} === 18 && {POINTS} === 18")


def test_the_runs_shown_are_given_as_csv(browser: Browser) -> None:
    browser.run(CHOOSE.format("SGD", "input", "#filters select"))
    lines = list(csv.DictReader(io.StringIO(browser.run("mnistLightning.csv()"))))
    assert len(lines) == 6
    assert {line["optimizer"] for line in lines} == {"SGD"}
    assert float(lines[0]["test accuracy"]) > 0
    assert "files" not in lines[0]


def test_names_of_any_kind_stay_texts_in_charts_and_csv(chromium: Browser, tmp_path: Path) -> None:
    runs = [replace(record(seed=i, accuracy=0.5 + i / 100), optimizer=t, loss_func=t) for i, t in enumerate(HOSTILE)]
    text = page(Ranking(judged(runs)), Stored(), Figures([], {}))
    (tmp_path / "page.html").write_text(text, encoding="utf-8", errors="backslashreplace")
    chromium.open((tmp_path / "page.html").as_uri())
    tick(chromium, *range(len(HOSTILE)))
    x, y = place(chromium, 5)
    chromium.point(x, y)
    seen(chromium, "document.querySelectorAll('#explore-points strong').length")
    assert chromium.run("document.querySelectorAll('#explore-runs img, #explore-runs script:not([type])').length") == 0
    cells = [cell for line in csv.reader(io.StringIO(chromium.run("mnistLightning.csv()"))) for cell in line]
    assert not [cell for cell in cells if cell.startswith(("=", "@", "+1+", "-2+"))]
    assert chromium.complaints == []


def test_ten_thousand_runs_are_filtered_and_drawn(chromium: Browser, tmp_path: Path) -> None:
    text = page(Ranking(judged(many(10_000))), Stored(), Figures([], {}))
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    chromium.open((tmp_path / "page.html").as_uri())
    whole = chromium.run(POINTS)
    assert 9_000 < whole < 10_000, "those that diverged or failed have no accuracy"
    chromium.run(CHOOSE.format("SGD", "input", "#filters select"))
    assert 0 < chromium.run(POINTS) < whole / 2
    sgd = chromium.run("runs.texts(2).filter(t => t === 'SGD').length")
    said = "document.getElementById('count').textContent"
    assert (chromium.run(SHOWN), chromium.run(said)) == (1000, f"{sgd:,} of 10,000 runs shown, the first 1,000 listed")
    chromium.run(
        "Array.from(document.querySelectorAll('#filters button')).find(b => b.textContent === 'List all').click()"
    )
    assert (chromium.run(SHOWN), chromium.run(said)) == (sgd, f"{sgd:,} of 10,000 runs shown")
    assert chromium.complaints == []


def test_without_scripts_and_on_paper_there_is_no_section_to_explore(browser: Browser) -> None:
    text = page(Ranking(judged(quickstart())), Stored(), Figures([], {}))
    assert '<div id="explore-runs" class="explore" hidden>' in text
    assert '<a href="#explore" hidden>' in text
    browser.print_media("print")
    assert browser.run("getComputedStyle(document.getElementById('explore-runs')).display") == "none"
    browser.print_media("screen")
    assert browser.run("getComputedStyle(document.getElementById('explore-runs')).display") == "block"


def test_a_page_that_is_made_again_and_one_of_a_single_run_carry_no_charts() -> None:
    live = Live(datetime(2026, 1, 1))
    for text in (
        page(Ranking(judged(quickstart())), Stored(live=live), Figures([], {})),
        page(Ranking(judged([record()])), Stored(), Figures([], {})),
    ):
        assert "echarts" not in text
        assert 'id="explore' not in text


def test_a_page_with_charts_carries_the_licences_of_their_library(tmp_path: Path) -> None:
    text = (reported(tmp_path) / "report.html").read_text()
    for licence in (Path(explore.__file__).parent / "echarts").glob("[LN]*"):
        assert licence.read_text() in html.unescape(text), licence.name


def test_a_page_of_the_whole_grid_with_its_charts_is_below_two_megabytes(tmp_path: Path) -> None:
    from mnist_lightning.report import write_report

    runs = full_grid()
    write_report(runs, store(runs, tmp_path))
    assert 500_000 < (tmp_path / "report.html").stat().st_size < 2_000_000


def test_the_curves_are_those_of_the_rows_and_null_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "metrics.csv").write_text("epoch,val_accuracy\n1,0.5\n2,nan\n3,0.98765\n")
    rows = [Row("", [], "", place) for place in ("a", "missing", "")]
    assert json.loads(curves_json(rows, tmp_path)) == [[5000, None, 9876], None, None]
    assert json.loads(curves_json(rows, None)) == [None, None, None]
    many_rows = [Row("", [], "", "a")] * (MOST_CURVES + 2)
    curves = json.loads(curves_json(many_rows, tmp_path))
    assert [curve is None for curve in curves] == [False] * MOST_CURVES + [True] * 2
