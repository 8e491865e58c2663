"""Runs at work: how far each is, by its heartbeat and its metrics.csv; on the page, in status.json, in the terminal."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mnist_lightning.records import locks
from mnist_lightning.records.heartbeat import HEARTBEAT, Heartbeat, beat
from mnist_lightning.records.results import RunResult, save
from mnist_lightning.report import write_report
from mnist_lightning.report.__main__ import main
from mnist_lightning.report.figures import Figures
from mnist_lightning.report.live import STATUS, Live, last_status_json, status_json
from mnist_lightning.report.running import Running, running_runs
from mnist_lightning.report.state import State, read_state
from mnist_lightning.report.terminal import standing
from mnist_lightning.report.write import write_live
from report_cases import planned, record

NOON = datetime(2026, 11, 26, 12, 3, 5).astimezone()
NO_FIGURES = Figures([], {})


def heartbeat(*names: str, epoch: int = 7, accuracy: float | None = 0.9, began: float = 1.0) -> Heartbeat:
    return Heartbeat(epoch, 20, 50, 100, list(names), began, 0.0, accuracy)


def metrics(place: Path, epochs: int) -> None:
    lines = [f"{e},{0.5 + e / 100},{0.4 + e / 100}\n" for e in range(1, epochs + 1)]
    (place / "metrics.csv").write_text("epoch,val_accuracy,train_accuracy\n" + "".join(lines))


@contextmanager
def at_work(*places: Path) -> Iterator[None]:
    for place in places:
        place.mkdir(exist_ok=True)
    held = [locks.hold(place) for place in places]
    yield
    for file in held:
        assert file is not None
        file.close()


@pytest.fixture
def sweep(tmp_path: Path) -> list[RunResult]:
    """Three planned runs, of which the first has a record."""
    return planned(tmp_path, 3, without=2)


def running_in(directory: Path) -> list[Running]:
    return running_runs(directory, read_state(directory)[1])


def page_in(directory: Path, live: Live | None = None) -> str:
    results, state = read_state(directory)
    write_live(results, directory, state, live or Live(NOON), NO_FIGURES)
    return (directory / "report.html").read_text()


def status_in(directory: Path) -> dict[str, Any]:
    return json.loads((directory / STATUS).read_text())


def test_only_a_run_in_which_a_process_is_at_work_is_running_whatever_files_it_left(
    tmp_path: Path, sweep: list[RunResult]
) -> None:
    place = tmp_path / sweep[1].run_name
    place.mkdir()
    beat(place, heartbeat(place.name))
    metrics(place, 3)
    assert running_in(tmp_path) == []
    with at_work(place):
        assert [run.run_name for run in running_in(tmp_path)] == [place.name]
    assert running_in(tmp_path) == []


def test_a_heartbeat_and_the_epochs_written_say_how_far_a_run_is(tmp_path: Path, sweep: list[RunResult]) -> None:
    place = tmp_path / sweep[1].run_name
    with at_work(place):
        beat(place, heartbeat(place.name))
        metrics(place, 6)
        (run,) = running_in(tmp_path)
    assert (run.epoch, run.epochs, run.fraction, run.val_accuracy) == (7, 20, 0.325, 0.56)
    assert run.how_far == "epoch 7 of 20"
    assert run.label == "0.002"
    assert run.curve("train_accuracy")[-1] == (6, 0.46)


def test_without_a_heartbeat_the_epochs_written_and_the_plan_say_it(tmp_path: Path) -> None:
    (run,) = planned(tmp_path, 1, without=1)
    plan = json.loads((tmp_path / "plan.json").read_text())
    plan["runs"][run.fingerprint]["config"]["trainer"] = {"max_epochs": 4}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    place = tmp_path / run.run_name
    told = []
    with at_work(place):
        told += running_in(tmp_path)
        for epochs in (1, 4):
            metrics(place, epochs)
            told += running_in(tmp_path)
    assert [(r.how_far, r.fraction) for r in told] == [
        ("begins", None),
        ("epoch 2 of 4", 0.25),
        ("epoch 4 of 4", 1.0),
    ]


def test_lines_of_an_attempt_before_do_not_count_beyond_the_epoch_that_is_trained(
    tmp_path: Path, sweep: list[RunResult]
) -> None:
    place = tmp_path / sweep[1].run_name
    with at_work(place):
        metrics(place, 9)
        beat(place, heartbeat(place.name, epoch=3))
        (run,) = running_in(tmp_path)
    assert max(run.epochs_done) == 3


def test_all_members_of_a_group_are_running_by_the_heartbeat_of_the_first_also_when_that_has_its_record(
    tmp_path: Path,
) -> None:
    runs = planned(tmp_path, 3, without=3)
    names = [run.run_name for run in runs]
    for name in names:
        (tmp_path / name).mkdir()
    beat(tmp_path / names[0], heartbeat(*names, accuracy=0.99))
    metrics(tmp_path / names[1], 6)
    with locks.together(tmp_path / ".fused" / "group.lock", [tmp_path / name for name in names]):
        assert [(r.run_name, r.how_far, r.together) for r in running_in(tmp_path)] == [
            (name, "epoch 7 of 20", 3) for name in names
        ]
        assert "All of them are trained together, as one stacked network." in page_in(tmp_path)
        save(runs[0], tmp_path / names[0])
        told = {r.run_name: r.val_accuracy for r in running_in(tmp_path)}
    assert told == {names[1]: 0.56, names[2]: None}  # not the best member's 0.99


def test_the_newer_of_two_heartbeats_tells_of_a_run(tmp_path: Path, sweep: list[RunResult]) -> None:
    first, second = (tmp_path / run.run_name for run in sweep[1:])
    with at_work(first, second):
        beat(first, heartbeat(first.name, second.name, epoch=2, began=1.0))
        beat(second, heartbeat(second.name, epoch=9, began=5.0))
        assert [run.epoch for run in running_in(tmp_path)] == [2, 9]


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", "\x00", '{"epoch": Infinity}', '{"epoch": NaN}', "[" * 100_000, '{"runs": 3}']
)
def test_a_damaged_heartbeat_tells_nothing(text: str, tmp_path: Path, sweep: list[RunResult]) -> None:
    place = tmp_path / sweep[1].run_name
    with at_work(place):
        (place / HEARTBEAT).write_text(text)
        (place / "metrics.csv").write_bytes(b"\xff\x00")
        assert [run.how_far for run in running_in(tmp_path)] == ["begins"]


def test_the_runs_of_a_search_which_has_no_plan_are_found_by_their_locks(tmp_path: Path) -> None:
    done, trial, other = tmp_path / "done", tmp_path / "trial", tmp_path / "other"
    save(record(), done)
    with at_work(done, trial, other):
        (trial / "config.yaml").write_text(
            "optimizer: {name: adam}\nlr: 0.01\nloss: mse\nmodel: {num_channels: 4, num_conv: 2, num_dense: 1}\n"
        )
        (run,) = running_in(tmp_path)
    assert (run.run_name, run.label) == ("trial", "Adam mse 0.01 4/2/1")
    assert running_in(tmp_path) == []


def test_a_single_run_at_work_is_reported_before_it_has_a_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "mine"
    with at_work(place):
        (place / "config.yaml").write_text("{}")
        beat(place, heartbeat(place.name))
        assert main([str(place)]) == 0
    assert "running: mine  epoch 7 of 20  val accuracy 0.9000" in capsys.readouterr().out
    text = (place / "report.html").read_text()
    assert "<h1>No run has a record yet</h1>" in text
    assert 'href="mine/' not in text  # the page lies in the run's own directory
    assert main([str(place)]) == 2


def test_the_terminal_names_six_runs_at_work_and_counts_the_others(tmp_path: Path) -> None:
    runs = planned(tmp_path, 8, without=8)
    with at_work(*(tmp_path / run.run_name for run in runs)):
        lines = standing(*read_state(tmp_path), tmp_path)
    assert lines[0] == "8 runs planned: 0 completed; 8 running"
    assert lines[1] == "running: 0.001  begins"
    assert lines[7:] == ["and 2 more running"]


def test_the_page_says_who_is_at_work_and_ranks_none_of_them(tmp_path: Path, sweep: list[RunResult]) -> None:
    place = tmp_path / sweep[1].run_name
    with at_work(place):
        beat(place, heartbeat(place.name))
        metrics(place, 6)
        text = page_in(tmp_path)
    assert '<h2 id="running">Running now</h2>' in text
    assert "1 run is being trained. What has no record yet is not ranked." in text
    assert "<td>7 of 20</td><td>32%</td><td>0.5600</td>" in text.replace(' class="t"', "")
    assert f'<a href="{place.name}/">open</a>' in text
    assert f">{place.name}<" not in text
    assert 'id="running_curves"' in text
    assert "1 of 3 runs on MNIST" in text
    assert "Running now" not in page_in(tmp_path)


def test_the_curve_so_far_grows_with_every_epoch(tmp_path: Path, sweep: list[RunResult]) -> None:
    place = tmp_path / sweep[1].run_name
    pages = []
    with at_work(place):
        for epochs in (0, 2, 3):
            metrics(place, epochs)
            pages.append(page_in(tmp_path).partition('id="running_curves"')[2].partition("</figure>")[0])
    assert pages[0] == ""
    markers = [page.count("<use ") for page in pages]
    assert 0 < markers[1] < markers[2]


def test_only_a_page_that_will_be_made_again_has_a_clock_and_loads_itself_anew(
    tmp_path: Path, sweep: list[RunResult]
) -> None:
    text = page_in(tmp_path)
    assert '<meta http-equiv="refresh" content="30">' in text
    assert "As of 2026-11-26 12:03:05. While the sweep runs this page is made again about once a minute" in text
    assert "12:03:05, with nobody at work." in page_in(tmp_path, Live(NOON, at_work=False))
    older = page_in(tmp_path, Live(NOON, NOON.replace(hour=11)))
    assert "Drawn at 11:03:05, from the records of then" in older
    write_report(sweep[:1], tmp_path)
    final = (tmp_path / "report.html").read_text()
    assert 'http-equiv="refresh"' not in final
    assert "As of" not in final


def test_status_json_is_for_machines_and_says_whether_the_sweep_is_over(tmp_path: Path, sweep: list[RunResult]) -> None:
    place = tmp_path / sweep[1].run_name
    with at_work(place):
        beat(place, heartbeat(place.name))
        page_in(tmp_path)
    assert status_in(tmp_path) == {
        "schema": 1, "as_of": NOON.astimezone(UTC).isoformat(), "directory": str(tmp_path),
        "state": "running", "planned": 3, "completed": 1, "diverged": 0, "failed": 0, "pruned": 0,
        "running": [
            {"run_name": place.name, "label": "0.002", "epoch": 7, "epochs": 20, "fraction": 0.325,
             "val_accuracy": 0.9, "together": 1}
        ],
        "missing": 1, "interrupted": 0, "never_begun": 1, "refused": 0,
    }  # fmt: skip
    write_report(sweep[:1], tmp_path)
    assert status_in(tmp_path)["state"] == "incomplete"
    for run in sweep:
        save(run, tmp_path / run.run_name)
    write_report(*_all(tmp_path))
    old = (tmp_path / STATUS).read_bytes().replace(b'"as_of": "20', b'"as_of": "19')
    (tmp_path / STATUS).write_bytes(old)
    assert last_status_json(*_all(tmp_path), []) == old  # the same records give the same bytes
    assert (status_in(tmp_path)["state"], status_in(tmp_path)["missing"]) == ("finished", 0)


def _all(directory: Path) -> tuple[list[RunResult], Path, State]:
    results, state = read_state(directory)
    return results, directory, state


def test_what_is_no_number_is_null_in_status_json(tmp_path: Path) -> None:
    run = Running("a", "a", val_accuracy=math.nan, fraction=math.inf)
    told = json.loads(status_json([], tmp_path, State(), [run], None))
    assert (told["running"][0]["val_accuracy"], told["running"][0]["fraction"], told["state"]) == (
        None,
        None,
        "running",
    )


def test_a_report_that_was_never_live_has_no_status_json_and_a_strangers_is_kept(
    tmp_path: Path, sweep: list[RunResult]
) -> None:
    write_report(sweep[:1], tmp_path)
    assert not (tmp_path / STATUS).exists()
    (tmp_path / STATUS).write_text("mine")
    write_report(sweep[:1], tmp_path)
    assert (tmp_path / STATUS).read_text() == "mine"
    page_in(tmp_path)
    assert (tmp_path / "status.bak.json").read_text() == "mine"
    assert status_in(tmp_path)["state"] == "running"
