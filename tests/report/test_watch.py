"""A watched sweep: its page is made when it is due and something has changed, and the last one loads itself no more."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from commands import exit_code, forked, wait_for
from mnist_lightning.records import locks
from mnist_lightning.records.heartbeat import Heartbeat, beat
from mnist_lightning.records.results import RunResult, save
from mnist_lightning.report import figures, page, watch
from mnist_lightning.report.__main__ import main
from mnist_lightning.report.figures import Figures
from mnist_lightning.report.live import STATUS, Live
from mnist_lightning.report.state import read_state
from mnist_lightning.report.watch import Pace, Watched
from mnist_lightning.report.write import write_live
from report_cases import planned

LONG = os.environ.get("MNIST_TEST_LONG") == "1"
AT_ONCE = Pace(every=0.0, share=1e9, share_of_figures=1e9, no_figures=0.0)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of records each time that figures are drawn; that takes no time here."""
    counts: list[int] = []

    def draw(ranking: object, stored: object) -> Figures:
        counts.append(len(ranking.frame))  # pyright: ignore[reportAttributeAccessIssue] - a Ranking
        return Figures([], {})

    monkeypatch.setattr(figures, "draw_figures", draw)
    return counts


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch, drawn: list[int]) -> list[Live]:
    """What is said of each page that is made."""
    made: list[Live] = []

    def write(*arguments: object) -> Figures:
        made.append(arguments[3])  # pyright: ignore[reportArgumentType] - a Live
        return write_live(*arguments)  # pyright: ignore[reportArgumentType] - as they were given

    monkeypatch.setattr(watch, "write_live", write)
    return made


def advance(directory: Path, run: RunResult, epoch: int) -> None:
    place = directory / run.run_name
    place.mkdir(exist_ok=True)
    beat(place, Heartbeat(epoch, 20, 0, 100, [run.run_name], 1.0))


def test_a_page_is_made_again_only_if_something_has_changed(tmp_path: Path, pages: list[Live]) -> None:
    run = planned(tmp_path, without=1)[-1]
    watched = Watched(tmp_path, AT_ONCE)
    numbers = []
    for change in (
        lambda: None,
        lambda: None,
        lambda: advance(tmp_path, run, 1),
        lambda: None,
        lambda: advance(tmp_path, run, 12),
        lambda: save(run, tmp_path / run.run_name),
        lambda: None,
    ):
        change()
        watched.look()
        numbers.append(len(pages))
    assert numbers == [1, 1, 2, 2, 3, 4, 4]


def test_that_a_process_has_come_or_gone_is_a_change(tmp_path: Path, pages: list[Live]) -> None:
    planned(tmp_path, without=1)
    watched = Watched(tmp_path, AT_ONCE)
    with locks.waiting(tmp_path / locks.LOCK):
        watched.look()
    watched.look()
    assert [page.at_work for page in pages] == [True, False]
    assert json.loads((tmp_path / STATUS).read_text())["state"] == "incomplete"


def test_a_page_is_made_at_most_once_in_a_minute(tmp_path: Path, pages: list[Live]) -> None:
    run = planned(tmp_path, without=1)[-1]
    assert Pace().every == 60.0
    watched = Watched(tmp_path, Pace(every=3600.0))
    for epoch in (1, 2, 3):
        advance(tmp_path, run, epoch)
        watched.look()
    assert len(pages) == 1


def test_pages_after_the_first_cost_no_more_than_their_share_of_the_time(tmp_path: Path, pages: list[Live]) -> None:
    run = planned(tmp_path, without=1)[-1]
    watched = Watched(tmp_path, Pace(every=0.0, share=1e-9, share_of_figures=1e9, no_figures=0.0))
    for epoch in (1, 2, 3, 4):
        advance(tmp_path, run, epoch)
        watched.look()
    assert len(pages) == 2


def test_figures_are_drawn_again_only_for_other_records_and_when_their_share_allows_it(
    tmp_path: Path, pages: list[Live], drawn: list[int]
) -> None:
    *_, second, third = planned(tmp_path, without=2)
    watched = Watched(tmp_path, AT_ONCE)
    watched.look()
    advance(tmp_path, third, 1)
    watched.look()
    assert drawn == [1]
    watched.figures_due = time.monotonic() + 3600
    save(second, tmp_path / second.run_name)
    watched.look()
    assert drawn == [1]
    assert [page.figures_as_of for page in pages] == [None, None, pages[0].as_of]
    watched.figures_due = 0.0
    advance(tmp_path, third, 2)
    watched.look()
    assert drawn == [1, 2]
    assert pages[-1].figures_as_of is None


def test_before_their_time_figures_are_said_to_come_later(tmp_path: Path, pages: list[Live], drawn: list[int]) -> None:
    planned(tmp_path, without=1)
    watched = Watched(tmp_path, AT_ONCE, figures_due=time.monotonic() + 3600)
    watched.look()
    assert drawn == []
    assert "Learning curves: drawn later, so that the training keeps its time" in (tmp_path / "report.html").read_text()


def test_a_search_that_begins_has_no_page_yet(tmp_path: Path, pages: list[Live]) -> None:
    Watched(tmp_path / "nothing", AT_ONCE).look()
    Watched(tmp_path, AT_ONCE).look()
    assert pages == []
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_is_over_when_it_is_whole_and_nobody_is_at_work(tmp_path: Path) -> None:
    run = planned(tmp_path, without=1)[-1]
    place = tmp_path / run.run_name
    place.mkdir()

    def is_over() -> bool:
        return Watched(tmp_path, AT_ONCE).is_over()

    assert not is_over()
    with locks.waiting(place / locks.LOCK):
        assert not is_over()
    save(run, place)
    with locks.waiting(tmp_path / locks.LOCK):
        assert not is_over()
    assert is_over()


@pytest.mark.usefixtures("drawn")
def test_watching_a_finished_sweep_writes_its_report_once_and_ends_with_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned(tmp_path)
    assert main([str(tmp_path), "--watch"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / name) for name in ("results.csv", "report.html", STATUS, "results.xlsx")
    ]
    assert 'http-equiv="refresh"' not in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / STATUS).read_text())["state"] == "finished"


def test_where_there_is_nothing_to_watch_the_line_is_that_of_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    for arguments in ([str(tmp_path)], [str(tmp_path), "--watch"]):
        assert main(arguments) == 2
        told.append(capsys.readouterr())
    assert told[0] == told[1]
    assert told[0].err == f"mnist-lightning: error: {tmp_path}: holds no record; give the directory of a sweep\n"


def test_two_processes_that_write_a_report_at_once_leave_a_whole_one_and_take_none_for_a_strangers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(tmp_path, without=1)
    results, state = read_state(tmp_path)
    monkeypatch.setattr(page, "page", lambda ranking, stored, figures, *root: stored.live.clock)

    def writes(hours: int) -> Callable[[], int]:
        def work() -> int:
            for i in range(30):
                made = Live(datetime(2026, 11, 26, hours, i).astimezone())
                write_live(results, tmp_path, state, made, Figures([], {}))
            return 0

        return work

    others = [forked(writes(hours)) for hours in (1, 2)]
    assert [exit_code(pid) for pid in others] == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        ".report.sha256", "plan.json", "report.html", "results.csv", "status.json",
    ]  # fmt: skip
    done = subprocess.run(["sha256sum", "-c", ".report.sha256"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout.count(": OK")) == (0, 3)


TOLD = r"\d\d:\d\d:\d\d  [23] of 3 runs have a record"


def _watching(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mnist_lightning.report", str(directory), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)][: 1 + 2 * LONG]
)
def test_a_signal_ends_a_watch_quietly_and_leaves_a_page_that_loads_itself_no_more(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    planned(tmp_path, without=1)
    watching = _watching(tmp_path, "--watch")
    wait_for(
        lambda: 'http-equiv="refresh"' in (page.read_text() if (page := tmp_path / "report.html").exists() else ""), 60
    )
    watching.send_signal(number)
    out, err = watching.communicate(timeout=60)
    assert (watching.returncode, err) == (code, "")
    first, *pages = out.splitlines()
    assert first == f"watching {tmp_path}: report.html is made about once a minute; Ctrl-C ends it"
    assert all(re.fullmatch(TOLD, line) for line in pages), "none, if the signal came before it was told"
    assert 'http-equiv="refresh"' not in (tmp_path / "report.html").read_text()
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.faults
def test_a_watch_under_nohup_goes_on_when_the_terminal_is_closed(tmp_path: Path) -> None:
    planned(tmp_path, without=1)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        watching = _watching(tmp_path, "--watch")
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_for(lambda: (tmp_path / STATUS).exists(), 60)
    watching.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert watching.poll() is None
    watching.kill()
    watching.communicate()


@pytest.mark.faults
def test_a_watch_ends_with_the_whole_report_when_the_last_record_is_there(tmp_path: Path) -> None:
    run = planned(tmp_path, without=1)[-1]
    with locks.waiting(tmp_path / locks.LOCK):
        watching = _watching(tmp_path, "--watch")
        wait_for(lambda: (tmp_path / STATUS).exists(), 60)
        save(run, tmp_path / run.run_name)
    out, err = watching.communicate(timeout=60)
    assert (watching.returncode, err) == (0, "")
    assert str(tmp_path / "results.xlsx") in out.splitlines()
    assert [line for line in out.splitlines() if re.fullmatch(TOLD, line)]
    assert json.loads((tmp_path / STATUS).read_text())["state"] == "finished"
    assert 'http-equiv="refresh"' not in (tmp_path / "report.html").read_text()
    assert (tmp_path / "results.xlsx").exists()


@pytest.mark.faults
def test_what_makes_the_page_ends_with_the_process_that_started_it_also_when_that_is_killed(tmp_path: Path) -> None:
    planned(tmp_path, without=1)
    code = (
        "import os, subprocess, sys, time\n"
        "command = [sys.executable, '-m', 'mnist_lightning.report', sys.argv[1], '--leader', str(os.getpid())]\n"
        "print(subprocess.Popen(command).pid, flush=True)\n"
        "time.sleep(600)"
    )
    leader = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert leader.stdout is not None
    pid = int(leader.stdout.readline())
    time.sleep(2)
    os.kill(pid, 0)
    assert not (tmp_path / "report.html").exists()
    leader.kill()
    leader.wait()
    leader.stdout.close()
    wait_for(lambda: not _is_alive(pid), 60)
    assert "1 missing" in (tmp_path / "report.html").read_text()
    assert 'http-equiv="refresh"' not in (tmp_path / "report.html").read_text()


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
