"""The page: inert whatever the records say, whole without a network, sorted and filtered in a real browser."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mnist_lightning.records.results import RunResult
from mnist_lightning.report.figures import Figures, draw_figures
from mnist_lightning.report.inline_svg import inline
from mnist_lightning.report.page import page
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.stored import Stored
from report_browser import CHROMIUM, Browser
from report_cases import HOSTILE, failed, full_grid, judged, quickstart, record, reported


class Elements(HTMLParser):
    """Every start tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def page_of(results: list[RunResult]) -> str:
    return page(Ranking(judged(results)), Stored(), Figures([], {}))


def hostile() -> list[RunResult]:
    runs = [
        replace(record(seed=i), optimizer=t, loss_func=t, dataset=t, device=t, error=t, run_name=t, commit=t)
        for i, t in enumerate(HOSTILE)
    ]
    return runs + [replace(r, status="failed") for r in runs]


def test_no_text_of_a_record_becomes_markup_script_or_link() -> None:
    ranking = Ranking(judged(hostile()))
    text = page(ranking, Stored(command="x", problems=list(HOSTILE)), draw_figures(ranking, Stored()))
    found = Elements(text).found
    scripts = [attributes.get("type") for tag, attributes in found if tag == "script"]
    assert scripts == ["application/json", "text/plain", None, None, None], "the curves, licences, and our own three"
    assert not [a for _, attributes in found for a in attributes if a.startswith("on")]
    links = {a["href"] for tag, a in found if tag == "a"}
    assert all(str(href).startswith("#") for href in links)
    assert "\u202e" not in text
    assert "\x1b" not in text


def test_no_text_of_a_record_is_read_as_a_template() -> None:
    text = page_of(hostile())
    assert "{{ 7*7 }}" in text
    assert "{% raw %}" in text
    assert "49" not in re.sub(r"<meta[^>]*>|<(style|script)\b[^>]*>.*?</\1>", "", text, flags=re.DOTALL)


def test_another_process_gives_the_same_page() -> None:
    code = "import sys, test_page; sys.stdout.buffer.write(test_page.page_of(test_page.hostile()).encode())"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment)
    assert done.stdout.decode() == page_of(hostile())


def test_the_page_asks_nobody_for_anything() -> None:
    ranking = Ranking(judged(quickstart()))
    text = page(ranking, Stored(), draw_figures(ranking, Stored()))
    policies = [a["content"] for tag, a in Elements(text).found if a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in str(policies[0])
    sources = [v for _, a in Elements(text).found for k, v in a.items() if k in ("src", "xlink:href", "action", "data")]
    assert all(str(v).startswith(("data:", "#")) for v in sources)
    assert not re.search(r"url\((?!#)", text)
    assert "@import" not in text


def test_every_id_of_the_page_and_its_figures_is_used_once() -> None:
    ranking = Ranking(judged(full_grid()))
    figures = draw_figures(ranking, Stored())
    ids = [a["id"] for _, a in Elements(page(ranking, Stored(), figures)).found if "id" in a]
    owners = {i for i in ids if ids.count(i) > 1}
    assert not {i for i in owners if not re.search(r"-DejaVuSans", str(i))}
    assert all("<metadata" not in inline(p) and "<style" not in inline(p) for p in figures.pictures)


def test_figures_take_the_pages_text_colour() -> None:
    ranking = Ranking(judged(quickstart()))
    assert all("currentColor" in inline(p) for p in draw_figures(ranking, Stored()).pictures)


@pytest.mark.parametrize("results", [[], [record()], [failed()], full_grid(3)], ids=["none", "one", "failed", "seeds"])
def test_any_sweep_gives_a_whole_page(results: list[RunResult]) -> None:
    text = page_of(results)
    assert text.startswith("<!DOCTYPE html>")
    assert text.rstrip().endswith("</html>")
    assert "Traceback" not in text


def test_the_page_says_by_which_accuracy_it_ranks_and_warns() -> None:
    assert "Choosing on the test set is optimistic" in page_of(quickstart())
    held = [replace(r, val_size=100) for r in quickstart()]
    assert "Ranked by validation accuracy" in page_of(held)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium found: apt-get install chromium")
    directory = reported(tmp_path_factory.getbasetemp())
    with Browser(CHROMIUM, tmp_path_factory.mktemp("profile")) as found:
        found.open((directory / "report.html").as_uri())
        yield found


COLUMN = "Array.from(document.querySelectorAll('#runs-table tbody tr:not([hidden])')).map(r => r.cells[{}].textContent)"
HEAD = "Array.from(document.querySelectorAll('#runs-table th')).find(h => h.textContent === {!r})"


def test_a_real_browser_requests_the_file_and_nothing_else(browser: Browser) -> None:
    asked = {url for url in browser.requests if not url.startswith("data:")}
    assert len(asked) == 1
    assert next(iter(asked)).startswith("file:///")
    assert browser.complaints == []


def test_a_click_sorts_the_runs_and_a_second_one_turns_them_round(browser: Browser) -> None:
    index = browser.run(HEAD.format("test accuracy") + ".cellIndex")
    head = HEAD.format("test accuracy")
    browser.run(HEAD.format("#") + ".querySelector('button').click()")
    browser.run(f"{head}.querySelector('button').click()")
    assert browser.run(f"{head}.getAttribute('aria-sort')") == "descending"
    down = [float(t) for t in browser.run(COLUMN.format(index))]
    assert down == sorted(down, reverse=True)
    browser.run(f"{head}.querySelector('button').click()")
    up = [float(t) for t in browser.run(COLUMN.format(index))]
    assert (up, browser.run(f"{head}.getAttribute('aria-sort')")) == (sorted(up), "ascending")


def test_the_table_is_sorted_with_the_keyboard_alone(browser: Browser) -> None:
    browser.run(HEAD.format("optimizer") + ".querySelector('button').focus()")
    browser.press_enter()
    names = browser.run(COLUMN.format(2))
    assert names == sorted(names)
    assert len(set(names)) == 3


def test_filters_and_search_leave_the_runs_asked_for_and_say_how_many(browser: Browser) -> None:
    choose = "(s => {{ s.value = {!r}; s.dispatchEvent(new Event('input', {{bubbles: true}})); }})"
    browser.run(choose.format("SGD") + "(document.querySelector('select[data-column=\"2\"]'))")
    assert set(browser.run(COLUMN.format(2))) == {"SGD"}
    browser.run(choose.format("mae 0.01") + "(document.querySelector('#filters input'))")
    assert browser.run("document.getElementById('count').textContent") == "1 of 18 runs shown"
    browser.run(choose.format("") + "(document.querySelector('select[data-column=\"2\"]'))")
    browser.run(choose.format("") + "(document.querySelector('#filters input'))")
    assert len(browser.run(COLUMN.format(2))) == 18


def test_the_page_is_no_wider_than_a_phone(browser: Browser) -> None:
    browser.resize(390, 844)
    assert browser.run("document.documentElement.scrollWidth") <= 390
    browser.resize(1280, 900)


def test_text_is_dark_on_light_or_light_on_dark_as_the_reader_prefers(browser: Browser) -> None:
    colours = []
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        colours.append(browser.run("getComputedStyle(document.body).backgroundColor"))
    browser.prefer("light")
    assert colours == ["rgb(255, 255, 255)", "rgb(20, 24, 29)"]


def test_the_committed_scripts_are_what_the_policy_allows() -> None:
    from mnist_lightning.report import page as module

    folder = Path(module.__file__).parent
    assert (folder / "page.js").read_text() in page_of([record()])
    text = page_of(quickstart())
    policy = re.search(r"script-src ([^;]*);", text)
    assert policy
    for name in ("page.js", "explore.js", "echarts/echarts.min.js"):
        script = (folder / name).read_text()
        assert f"<script>{script}</script>" in text
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy[1]
    assert policy[1].count("sha256-") == 3
