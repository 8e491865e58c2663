"""The page of a sweep that is served, driven in a real Chromium; and how the command begins and ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mnist_lightning.records import locks
from mnist_lightning.records.heartbeat import Heartbeat, beat
from mnist_lightning.serve.places import found
from mnist_lightning.serve.port import own_socket
from report_browser import CHROMIUM, Browser
from serving import Serving, served, with_networks

FOUR = [
    [(0.35, 0.2), (0.3, 0.35), (0.25, 0.55), (0.45, 0.55), (0.75, 0.53)],
    [(0.6, 0.2), (0.6, 0.4), (0.6, 0.6), (0.59, 0.88)],
]
SEVEN = [[(0.25, 0.2), (0.5, 0.2), (0.75, 0.2), (0.65, 0.4), (0.55, 0.6), (0.47, 0.85)]]
KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, " ": 32, "Escape": 27, "End": 35, "Tab": 9}
SAID = "document.getElementById('said').textContent"


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with served(with_networks(tmp_path_factory.mktemp("served"))) as found_:
        yield found_


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium found: apt-get install chromium")
    with Browser(CHROMIUM, tmp_path_factory.mktemp("profile")) as found_:
        found_.resize(1280, 900)
        yield found_


@pytest.fixture
def browser(chromium: Browser, serving: Serving) -> Browser:
    """The page, once it knows the sweep."""
    chromium.open(serving.address)
    seen(chromium, "document.querySelectorAll('#runs-table tbody tr').length")
    return chromium


def seen(browser: Browser, script: str, seconds: float = 40) -> Any:
    """What a script says once it says something."""
    deadline = time.monotonic() + seconds
    while not (told := browser.run(script)):
        assert time.monotonic() < deadline, (script, browser.run("document.body.innerText"), browser.complaints)
        time.sleep(0.05)
    return told


def on_canvas(browser: Browser, stroke: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points of the window, by shares of the canvas, which is scrolled into sight and lies still there."""
    box = "(r => [r.x, r.y, r.width])(document.getElementById('canvas').getBoundingClientRect())"
    before, (x, y, side) = None, (0.0, 0.0, 0.0)
    while before != (x, y, side):
        browser.run("document.getElementById('canvas').scrollIntoView({block: 'center'})")
        before = x, y, side
        time.sleep(0.1)  # a page that has got another size is laid out anew, the charts last
        x, y, side = browser.run(box)
    return [(x + side * a, y + side * b) for a, b in stroke]


def test_a_digit_drawn_by_pointer_moves_is_recognised_and_the_picture_that_the_network_sees_is_shown(
    browser: Browser,
) -> None:
    for line in [on_canvas(browser, stroke) for stroke in FOUR]:
        browser.stroke(line)
    said = seen(browser, f"/^4, [01][.][0-9]{{2}}$/.test({SAID}) && {SAID}")
    assert float(said.partition(", ")[2]) > 0.8
    image = "(i => i.complete && [i.naturalWidth, i.naturalHeight].join())(document.getElementById('seen-image'))"
    assert seen(browser, image) == "28,28"
    cells = "Array.from(document.querySelectorAll('#answers tbody td')).map(c => Number(c.textContent))"
    told = browser.run(cells)
    assert len(told) == 10
    assert sum(told) == pytest.approx(1, abs=0.05)
    browser.run("document.getElementById('clear').click()")
    seen(browser, f"{SAID} === '' && document.getElementById('answers').hidden")
    assert browser.complaints == []
    assert [a for a in browser.requests if not a.startswith(("http://127.0.0.1", "data:", "about:"))] == []


def test_a_digit_drawn_with_a_finger_is_recognised_on_a_phone_and_the_page_is_no_wider(browser: Browser) -> None:
    browser.resize(390, 844)
    browser.swipe(on_canvas(browser, SEVEN[0]))
    seen(browser, f"{SAID}.startsWith('7, ')")
    assert browser.run("document.documentElement.scrollWidth") <= 390
    browser.resize(1280, 900)


def test_a_digit_drawn_with_the_keyboard_alone_is_recognised(browser: Browser) -> None:
    browser.run("document.getElementById('canvas').focus()")

    def press(name: str, times: int = 1) -> None:
        for _ in range(times):
            browser.press(name, KEYS[name])

    press("ArrowLeft", 5)
    press("ArrowUp", 6)
    press(" ")
    assert browser.run("document.getElementById('pen').textContent") == "Pen down"
    press("ArrowRight", 9)
    press("End", 6)
    press("ArrowDown", 6)
    press(" ")
    assert browser.run("document.getElementById('pen').textContent") == "Pen up"
    seen(browser, f"{SAID}.startsWith('7, ')")
    press("Escape")
    seen(browser, f"{SAID} === ''")
    press("Tab")
    assert browser.run("document.activeElement.id") == "clear"


def test_two_runs_are_asked_side_by_side_and_one_without_a_checkpoint_cannot_be_ticked(
    browser: Browser, serving: Serving
) -> None:
    boxes = "Array.from(document.querySelectorAll('#runs-table tbody input'))"
    assert browser.run(f"{boxes}.map(b => [b.checked, b.disabled].join()).join(' ')") == "true,false false,false"
    browser.run(f"{boxes}[1].click()")
    for line in [on_canvas(browser, stroke) for stroke in FOUR]:
        browser.stroke(line)
    labels = [row["label"] for row in serving.state()["rows"]]
    said = seen(browser, f"{SAID}.split('; ').length === 2 && {SAID}")
    assert [part.partition(": 4, ")[0] for part in said.split("; ")] == labels
    assert browser.run("document.querySelectorAll('#answers tbody tr:first-child td').length") == 2
    names = browser.run(f"{boxes}.map(b => b.getAttribute('aria-label'))")
    assert names == [f"draw for rank {i + 1}, {label}" for i, label in enumerate(labels)]


def test_a_damaged_checkpoint_is_a_line_beside_the_answer_of_the_others(browser: Browser, serving: Serving) -> None:
    name = sorted(path.parent.name for path in serving.root.glob("*/result.json"))[1]
    best = serving.root / name / "checkpoints" / "best.ckpt"
    whole = best.read_bytes()
    best.write_bytes(whole[: len(whole) // 2])
    browser.run("document.querySelectorAll('#runs-table tbody input')[1].click()")
    for line in [on_canvas(browser, stroke) for stroke in FOUR]:
        browser.stroke(line)
    lost = seen(browser, "document.querySelector('#answers td.lost')?.textContent")
    assert lost.startswith(f"{name}/checkpoints/best.ckpt: refused, ")
    assert ": 4, " in browser.run(SAID)
    best.unlink()
    browser.run("document.getElementById('undo').click()")
    missing = "document.querySelector('#answers td.lost')?.textContent.startsWith('has no checkpoint now')"
    assert seen(browser, missing)
    best.write_bytes(whole)


def test_a_running_runs_curve_grows_in_the_open_page_and_a_new_record_gets_its_row(
    browser: Browser, serving: Serving
) -> None:
    (name,) = (run for run in _planned_names(serving.root) if not (serving.root / run).exists())
    place = serving.root / name
    points = "mnistLightning.chart()?.getOption().series.find(s => s.lineStyle.type === 'dashed')?.data.length"
    lines = ["epoch,val_accuracy\n"]
    browser.run("window.stays = true")
    held = locks.hold(place)
    for epoch in (1, 2):
        lines.append(f"{epoch},{0.3 + epoch / 10}\n")
        (place / "metrics.csv").write_text("".join(lines))
        beat(place, Heartbeat(epoch + 1, 8, 5, 10, [name], time.time() - 60, 0.0, 0.5))
        seen(browser, f"({points}) === {epoch}")
    told = browser.run("Array.from(document.querySelectorAll('#running-table tbody td')).map(c => c.textContent)")
    assert told[2:4] == ["epoch 3 of 8", "31 %"]
    assert told[4].startswith("about 2 min")  # 60 s for 5/16 of it
    assert told[5] == "0.5000"
    assert held is not None
    held.close()
    from mnist_lightning.records.results import find_results, save

    some = next(iter(find_results(serving.root).records.values()))
    some.run_name, some.fingerprint, some.accuracy_test = name, f"{2:016x}", 0.99
    save(some, place)
    seen(browser, "document.querySelectorAll('#runs-table tbody tr').length === 3")
    seen(browser, "document.getElementById('running-section').hidden")
    assert browser.run("window.stays")
    assert browser.run("document.getElementById('clock').textContent") == "finished"


def _planned_names(root: Path) -> list[str]:
    from mnist_lightning.records.plan import planned_runs

    return [run["run_name"] for run in planned_runs(root).values()]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_at_once_also_with_open_connections_and_nothing_more_is_printed(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    with served(tmp_path) as it:
        assert it.state()["problem"] == "No plan, no record and no run at work is here yet."
        silent, waiting = (socket.create_connection(("127.0.0.1", it.port)) for _ in range(2))
        lines = ["POST /answer HTTP/1.1", f"Host: 127.0.0.1:{it.port}", "Content-Type: image/png", "Content-Length: 9"]
        waiting.sendall("\r\n".join([*lines, "", ""]).encode())
        assert it.end(number) == (code, "", "")
        for connection in (silent, waiting):
            connection.close()


def command(*arguments: str, cwd: Path, code: str = "") -> subprocess.CompletedProcess[str]:
    start = ["-c", code] if code else ["-m", "mnist_lightning.serve"]
    return subprocess.run([sys.executable, *start, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60)


def test_what_cannot_be_served_is_one_line_with_the_way_out(tmp_path: Path) -> None:
    from mnist_lightning.serve.__main__ import main

    taken = own_socket(0)
    port = taken.getsockname()[1]
    (tmp_path / "file").touch()
    for arguments, line in {
        (str(tmp_path), "--port", str(port)): f"--port={port}: taken by another program; choose another, or 0 for any",
        (str(tmp_path), "--port", "70000"): "--port=70000: no port; choose one from 1024 to 65535",
        (str(tmp_path / "no"),): f"{tmp_path / 'no'}: no such directory; give the directory of a sweep or of a run",
        (str(tmp_path / "file"),): f"{tmp_path / 'file'}: a file, not a directory; give the directory",
        ("--port", "x"): "--port=x: not a whole number; see --help",
    }.items():
        done = command(
            *arguments, cwd=tmp_path, code=f"import sys; from {main.__module__} import main; sys.exit(main())"
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"mnist-lightning: error: {line}")
        assert done.stderr.count("\n") == 1
    taken.close()


def test_a_missing_package_is_one_line_that_says_how_to_install_it(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None; from mnist_lightning.serve.__main__ import main; sys.exit(main())"
    )
    done = command(str(tmp_path), cwd=tmp_path, code=code)
    line = 'mnist-lightning: error: uvicorn: is not installed; pip install "mnist-lightning[serve]"\n'
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


def test_the_usual_port_gives_way_to_the_next_that_is_free() -> None:
    sockets = [own_socket() for _ in range(2)]
    ports = [each.getsockname() for each in sockets]
    assert {host for host, _ in ports} == {"127.0.0.1"}
    assert ports[0] != ports[1]
    for each in sockets:
        each.close()


def test_without_a_directory_it_is_the_newest_sweep_or_run_under_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mnist_lightning.errors import ConfigError

    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="^outputs/: holds no sweep and no run; give the directory of a sweep"):
        found(None)
    for i, place in enumerate(
        ["quick/plan.json", "2026-11-26/10-30-00/result.json", "2026-11-26/10-31-00/RUN/config.yaml"]
    ):
        path = tmp_path / "outputs" / place
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (i, i))
        assert found(None) == (Path("outputs") / place).parent
    (tmp_path / "outputs/quick/RUN").mkdir()
    (tmp_path / "outputs/quick/RUN/result.json").touch()
    assert found(None) == Path("outputs/2026-11-26/10-31-00/RUN"), "a sweep's runs are not asked"
