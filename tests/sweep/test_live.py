"""`report.live=true`: a process makes the page while a sweep runs, and ends with it; what a real browser sees of it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from commands import Command, wait_for
from conftest import Outcome
from mnist_lightning.sweep.live import LivePage
from report_browser import CHROMIUM, Browser

Start = Callable[..., Command]
SLOW = "callbacks=[{_target_:fault_callbacks.Slow,seconds:0.15}]"


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls of the process that makes the page, in place of one."""
    calls: list[str] = []
    monkeypatch.setattr(LivePage, "start", lambda self, directory: calls.append(f"start {directory.name}"))
    monkeypatch.setattr(LivePage, "stop", lambda self: calls.append("stop"))
    return calls


def test_a_sweep_has_a_live_page_only_if_it_is_asked_for_and_only_while_there_is_something_to_do(
    run: Callable[..., Outcome], tiny_arguments: list[str], watched: list[str]
) -> None:
    grid = ["-m", *tiny_arguments, "lr=0.1,0.2", "hydra.sweep.dir=grid"]
    assert run(*grid).code == 0
    assert "start grid" not in watched
    assert run(*grid, "report.live=true").code == 0  # nothing to do
    assert "start grid" not in watched
    assert run("-m", *tiny_arguments, "lr=0.3,0.4", "hydra.sweep.dir=other", "report.live=true").code == 0
    assert watched[-3:-1] == ["start other", "stop"]
    assert run("-m", *tiny_arguments, "lr=-1", "hydra.sweep.dir=refused", "report.live=true").code == 2
    assert "start refused" not in watched


def test_report_live_changes_neither_plan_nor_records(
    run: Callable[..., Outcome], tiny_arguments: list[str], watched: list[str], tmp_path: Path
) -> None:
    grid = ["-m", *tiny_arguments, "lr=0.1,0.2", "hydra.sweep.dir=grid"]
    assert run(*grid).code == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "grid").rglob("result.json")}
    again = run(*grid, "report.live=true")
    assert (again.code, len(before)) == (0, 2)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "grid").rglob("result.json")}


def test_the_process_that_makes_the_page_is_started_once_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    start = subprocess.Popen

    def popen(command: list[str], **settings: object) -> subprocess.Popen[bytes]:
        commands.append(command)
        return start([sys.executable, "-c", "import time; time.sleep(600)"])

    monkeypatch.setattr(subprocess, "Popen", popen)
    live = LivePage()
    live.start(tmp_path)
    live.start(tmp_path)
    assert [command[1:4] for command in commands] == [["-m", "mnist_lightning.report", str(tmp_path)]]
    process = live.process
    assert process is not None
    live.stop()
    assert process.poll() == -signal.SIGTERM
    live.stop()


def test_a_sweep_goes_on_where_no_process_may_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    live = LivePage()
    live.start(tmp_path)
    live.stop()


def children(pid: int) -> list[int]:
    """The processes that make a page for this one."""
    ps = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(line.split()[0]) for line in ps.stdout.splitlines() if "mnist_lightning.report" in line]


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.faults
def test_the_process_that_makes_the_page_is_gone_when_the_sweep_has_ended_was_interrupted_or_killed(
    start: Start, tmp_path: Path
) -> None:
    for name, end in (("ended", None), ("interrupted", signal.SIGINT), ("killed", signal.SIGKILL)):
        slow = [SLOW] if end else []
        command = start("-m", "lr=0.1,0.2", "report.live=true", f"hydra.sweep.dir={name}", *slow, real=True)
        wait_for(lambda c=command: children(c.pid) or c.poll() is not None, 60)
        (page,) = children(command.pid)
        if end:
            wait_for(lambda n=name: list((tmp_path / n).glob("*/config.yaml")), 60)
            command.send(end)
        assert command.wait().code == (-end if end == signal.SIGKILL else 130 if end else 0)
        wait_for(lambda p=page: is_gone(p), 60)
        text = (tmp_path / name / "report.html").read_text()
        assert 'http-equiv="refresh"' not in text
        assert ("This sweep is not complete: 2 missing" in text) == bool(end)
        assert not list((tmp_path / name).glob(".*.tmp"))


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium")
    with Browser(CHROMIUM, tmp_path / "profile") as opened:
        yield opened


@pytest.mark.faults
def test_a_real_browser_shows_the_curve_of_a_running_run_grow_without_being_touched_and_the_end_of_the_sweep(
    start: Start, tmp_path: Path, browser: Browser
) -> None:
    """Another process makes the page, faster than it usually does; the page loads itself anew each second."""
    command = start("-m", "lr=0.001", "trainer.max_epochs=25", SLOW, "hydra.sweep.dir=sweep")
    sweep, page = tmp_path / "sweep", tmp_path / "sweep" / "report.html"
    wait_for(lambda: len(lines(sweep)) > 2 or command.poll() is not None, 60, command)
    code = (
        "import sys\n"
        "from functools import partial\n"
        "from pathlib import Path\n"
        "from mnist_lightning.report import live, watch, write_report\n"
        "from mnist_lightning.report.state import read_state\n"
        "watch.Live = partial(live.Live, refresh=1)\n"
        "root = Path(sys.argv[1])\n"
        "watch.watch(root, pace=watch.Pace(0.5, 1e9, 1e9, 0.0))\n"
        "results, state = read_state(root)\n"
        "write_report(results, root, state)\n"
    )
    watching = subprocess.Popen([sys.executable, "-c", code, str(sweep)])
    wait_for(lambda: page.exists() and "running_curves" in page.read_text(), 60)
    browser.resize(1000, 800)
    browser.open(page.as_uri())
    whole = "document.readyState === 'complete'"  # it loads itself anew all the time
    wait_for(lambda: browser.run(f"{whole} && (scrollTo(0, 400), scrollY) === 400"), 30)
    points = f"{whole} ? document.querySelectorAll('#running_curves use').length : 0"
    epoch = "document.querySelector('#running ~ .scroll td:nth-child(2)')?.textContent"
    seen: list[tuple[int, str]] = []
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and command.poll() is None and len({n for n, _ in seen if n}) < 3:
        time.sleep(0.5)
        seen.append((browser.run(points), browser.run(epoch)))
    grown = [n for n, _ in seen if n]
    assert len(set(grown)) >= 3
    assert grown == sorted(grown)
    assert any(text and text.endswith(" of 25") for _, text in seen)
    wait_for(lambda: browser.run("scrollY") == 400, 30)  # and no height
    assert command.wait().code == 0
    assert watching.wait(120) == 0
    # the last page that was made again may have no run at work either; the final one loads itself no more
    wait_for(lambda: browser.run(f"{whole} && !document.querySelector('meta[http-equiv=refresh]')"), 60)
    assert "Running now" not in browser.run("document.body.textContent")
    assert browser.complaints == []
    assert all(address.startswith(("file:", "data:")) for address in browser.requests)


def lines(sweep: Path) -> list[str]:
    return [line for path in sweep.glob("*/metrics.csv") for line in path.read_text().splitlines()]
