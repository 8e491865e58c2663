"""What the page is told of a directory: whole, failed, of several seeds, empty, vanished, with others' files in it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from mnist_lightning.errors import RefusedError, UnreadableError
from mnist_lightning.records import locks
from mnist_lightning.records.heartbeat import Heartbeat, beat
from mnist_lightning.records.results import RunResult, save
from mnist_lightning.report.frame import frame_of
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.serve import networks, overview
from mnist_lightning.serve.networks import MOST, Networks
from mnist_lightning.serve.overview import MOST_ROWS, Overview, identity, seconds_left
from report_cases import HOSTILE, failed, many, planned, quickstart, record, store


def told(root: Path) -> dict[str, Any]:
    return json.loads(Overview(root).look())


def at(directory: Path, *runs: RunResult) -> Path:
    for run in runs:
        save(run, directory / run.run_name)
    return directory


def test_the_runs_are_told_in_the_order_of_the_ranking_with_the_cells_of_the_pages_table(tmp_path: Path) -> None:
    runs = quickstart()
    told_ = told(store(runs, tmp_path))
    ranking = Ranking(frame_of(runs, tmp_path))
    expected = [*ranking.ranked["run_name"], *ranking.unranked["run_name"]]
    assert [row["id"] for row in told_["rows"]] == [identity(name) for name in expected]
    assert told_["best"] == told_["rows"][0]["id"]
    names = [column["name"] for column in told_["columns"]]
    assert (
        dict(zip(names, told_["rows"][0]["cells"], strict=True))["test accuracy"] == f"{ranking.best.accuracy_test:.4f}"
    )
    assert (told_["state"], told_["problem"], told_["planned"]) == ("finished", "", None)
    assert [curve["points"] for curve in told_["curves"]] == [
        [[e, pytest.approx(0.9 - 0.4 / e)] for e in range(1, 5)]
    ] * 5
    assert not any(row["drawable"] for row in told_["rows"]), "none has a checkpoint"


def test_failures_are_told_with_their_one_line_error(tmp_path: Path) -> None:
    lost = failed(seed=1, lr=0.01)
    lost.error = "RuntimeError: a\nb\x1b[31m" + "x" * 400
    told_ = told(at(tmp_path, record(), lost))
    (failure,) = told_["failures"]
    assert failure["what"] == "failed"
    assert failure["why"].startswith("RuntimeError: a b\\x1b[31mxxx")
    assert len(failure["why"]) <= 200
    assert "1 failed" in told_["counts"]
    assert [row["mark"] for row in told_["rows"]] == ["best", "failed"]


def test_runs_of_several_seeds_are_told_apart_and_the_best_is_the_best_settings_median(tmp_path: Path) -> None:
    runs = [
        record(seed=s, accuracy=a, lr=lr)
        for lr, top in ((0.1, 0.5), (0.01, 0.9))
        for s, a in enumerate((top, top - 0.1, top + 0.05))
    ]
    told_ = told(at(tmp_path, *runs))
    labels = [row["label"] for row in told_["rows"]]
    assert len(set(labels)) == 6
    assert [label.endswith(("seed 0", "seed 1", "seed 2")) for label in labels] == [True] * 6
    (best,) = (row["label"] for row in told_["rows"] if row["id"] == told_["best"])
    assert best == "Adam mse 0.01 32/2/1 seed 0"


def test_an_empty_directory_says_so_and_then_what_comes_into_it(tmp_path: Path) -> None:
    view = Overview(tmp_path, share=1e9)
    first = json.loads(view.look())
    assert (first["problem"], first["rows"]) == ("No plan, no record and no run at work is here yet.", [])
    assert first["state"] == "incomplete"
    planned(tmp_path, 3, without=2)
    second = json.loads(view.look())
    assert second["counts"] == "3 runs planned: 1 completed; 2 missing (2 never begun)"
    assert (second["problem"], second["state"], second["done"]) == ("", "incomplete", 1)


def test_a_directory_that_vanishes_is_a_line_and_comes_back(tmp_path: Path) -> None:
    root = at(tmp_path / "sweep", record())
    view = Overview(root, share=1e9)
    view.look()
    root.rename(tmp_path / "away")
    gone = json.loads(view.look())
    assert gone == {"directory": str(root), "state": "gone", "problem": f"{root}: no such directory"}
    (tmp_path / "away").rename(root)
    assert json.loads(view.look())["done"] == 1


def test_an_error_that_nobody_has_foreseen_is_a_line_and_the_next_look_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, view = at(tmp_path, record()), Overview(tmp_path, share=1e9)
    with monkeypatch.context() as patched:
        patched.setattr(overview, "signs_of", lambda root: 1 // 0)
        lost = json.loads(view.look())
    assert lost["problem"] == "cannot be read now (ZeroDivisionError('integer division or modulo by zero'))"
    assert json.loads(view.look())["done"] == len(list(root.glob("*/result.json")))


def test_other_peoples_files_are_lines_and_hide_nothing(tmp_path: Path) -> None:
    root = at(tmp_path, record())
    for name, text in {"notes/result.json": "{}", "more/result.json": "\0", "plan.json": "[]"}.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    (root / "strange").symlink_to(root)
    told_ = told(root)
    assert told_["done"] == 1
    (notice,) = told_["notices"]
    assert notice.startswith("Left out: ")
    for name in ("notes/result.json", "more/result.json", "plan.json"):
        assert name in notice


def test_names_of_any_kind_are_single_lines_of_strict_json(tmp_path: Path) -> None:
    stored = [text.encode("utf-8", "replace").decode() for text in HOSTILE]
    runs = [record(seed=i, accuracy=0.5 + i / 100, optimizer=t, loss=t) for i, t in enumerate(stored)]
    for i, run in enumerate(runs):
        run.run_name = f"run{i}"
    told_ = told(at(tmp_path, *runs))
    assert len(told_["rows"]) == len(HOSTILE)
    texts = [text for row in told_["rows"] for text in (row["label"], *row["cells"])]
    assert all(text.isprintable() and len(text) <= 300 for text in texts)


def test_a_single_runs_directory_is_served_finished_and_at_work(tmp_path: Path) -> None:
    run = tmp_path / "RUN"
    run.mkdir()
    (run / "config.yaml").write_text("lr: 0.1\n")
    (run / "metrics.csv").write_text("epoch,val_accuracy\n1,0.5\n")
    held = locks.hold(run)
    assert held is not None
    beat(run, Heartbeat(2, 4, 0, 10, ["RUN"], time.time() - 100))
    view = Overview(run, share=1e9)
    now = json.loads(view.look())
    assert (now["state"], [r["how_far"] for r in now["running"]]) == ("running", ["epoch 2 of 4"])
    assert now["running"][0]["left"] == "about 5 min"
    assert view.runs == {now["running"][0]["id"]: run}
    held.close()
    (run / ".heartbeat").unlink()
    save(record(), run)
    then = json.loads(view.look())
    assert (then["state"], then["done"], then["running"]) == ("finished", 1, [])
    assert view.runs == {then["rows"][0]["id"]: run}


def test_what_has_not_changed_is_not_read_again_and_a_heartbeat_reads_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = planned(tmp_path, 2, without=1)
    view = Overview(tmp_path, share=1e9)
    place = tmp_path / runs[1].run_name
    held = locks.hold(place)
    assert held is not None
    first = view.look()
    read: list[str] = []
    for name in ("find_results", "state_of"):
        kept = getattr(overview, name)
        monkeypatch.setattr(overview, name, lambda *a, kept=kept, name=name: (read.append(name), kept(*a))[1])
    assert view.look() == first
    assert read == []
    beat(place, Heartbeat(1, 4, 5, 10, [place.name], time.time() - 10))
    assert json.loads(view.look())["running"][0]["fraction"] == 0.125
    assert read == ["state_of"]
    save(runs[1], place)
    held.close()
    assert json.loads(view.look())["done"] == 2
    assert "find_results" in read


def test_a_look_waits_until_those_before_have_cost_no_more_than_their_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = {"now": 1000.0, "paid": 0.0}
    monkeypatch.setattr(overview.time, "monotonic", lambda: clock["now"])
    monkeypatch.setattr(
        overview.time, "thread_time", lambda: clock.__setitem__("paid", clock["paid"] + 0.1) or clock["paid"]
    )
    view = Overview(tmp_path, share=0.02)
    first = view.look()
    planned(tmp_path, 1)
    clock["now"] += 4.9
    assert view.look() == first
    clock["now"] += 0.2
    assert view.look() != first


def test_of_very_many_runs_the_best_are_told_and_how_many_more_there_are(tmp_path: Path) -> None:
    ranking = Ranking(frame_of(many(MOST_ROWS + 200)))
    told_ = overview._table(ranking, {}, {})
    assert (len(told_["rows"]), told_["more"]) == (MOST_ROWS, 200)


def test_a_long_curve_keeps_its_last_point() -> None:
    points = overview._points([(float(e), e / 1000) for e in range(1, 1001)])
    assert len(points) <= 300
    assert points[-1] == [1000.0, 1.0]
    assert points == sorted(points)
    assert overview._points([(1.0, float("nan")), (2.0, 0.5)]) == [[2.0, 0.5]]
    assert overview._points([]) == []


@pytest.mark.parametrize(
    ("beat_", "left"),
    [
        (None, None),
        (Heartbeat(1, 4, 0, 10, [], 0.0), None),
        (Heartbeat(2, 4, 0, 10, [], 0.0), 300.0),
        (Heartbeat(3, 4, 0, 10, [], 0.0, 0.25), 200.0),
        (Heartbeat(4, 4, 10, 10, [], 0.0), 0.0),
        (Heartbeat(2, 4, 0, 10, [], 99.0), None),
    ],
)
def test_the_time_left_is_by_the_pace_of_the_process_at_work(beat_: Heartbeat | None, left: float | None) -> None:
    assert seconds_left(beat_, 100.0) == left


def test_networks_are_kept_until_their_files_change_and_only_the_last_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load(path: Path) -> str:
        loaded.append(path.parent.parent.name)
        raise (UnreadableError if "busy" in str(path) else RefusedError)(f"{path}: no")

    monkeypatch.setattr("mnist_lightning.training.checkpoints.load_classifier", load)
    net, places = Networks(tmp_path), [tmp_path / f"run{i}" for i in range(MOST + 1)]
    for place in [*places, tmp_path / "busy"]:
        (place / "checkpoints").mkdir(parents=True)
        (place / "checkpoints" / "best.ckpt").write_bytes(b"x")
    image: Any = object()
    assert (
        net.answer(places[:1], image)
        == net.answer(places[:1], image)
        == [{"problem": "run0/checkpoints/best.ckpt: no"}]
    )
    assert loaded == ["run0"]
    (places[0] / "checkpoints" / "best.ckpt").write_bytes(b"xy")
    net.answer(places[:1], image)
    assert loaded == ["run0"] * 2
    net.answer(places[1:], image)
    net.answer(places[:1], image)
    assert loaded == ["run0"] * 2 + [place.name for place in places[1:]] + ["run0"]
    assert len(net._kept) == MOST
    for _ in range(2):  # it may be whole: asked again
        net.answer([tmp_path / "busy"], image)
    assert loaded[-2:] == ["busy"] * 2
    assert net.answer([None, tmp_path / "none"], image) == [
        {"problem": "no such run is here any more"},
        {"problem": f"has no checkpoint now ({networks.BEST})"},
    ]
    assert net.answer(places, None) == [{}] * len(places)
