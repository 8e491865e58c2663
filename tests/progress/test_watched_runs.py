"""progress/watch.py: what is said of the runs at work."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from mnist_lightning.config import ModelConfig, RunConfig, TrainerConfig
from mnist_lightning.progress import watch as module
from mnist_lightning.progress.screen import Mode
from mnist_lightning.progress.watch import Watch, Watched, watched
from mnist_lightning.progress.words import fitted
from mnist_lightning.progress.work import Work
from mnist_lightning.records.heartbeat import HEARTBEAT, Heartbeat, beat, heartbeat_of
from mnist_lightning.records.results import RECORD

WORK = Work(training=80.0, evaluation=20.0)


def runs_in(root: Path, *names: str) -> dict[Path, Watched]:
    for name in names:
        (root / name).mkdir()
    return {root / name: Watched(f"Adam {name}", WORK) for name in names}


def at_work(run_dir: Path, epoch: int, batch: int = 0, *, runs: tuple[str, ...] = (), ago: float = 100.0) -> None:
    """Puts a heartbeat of epoch k of 4, with 10 batches each, there."""
    beat(run_dir, Heartbeat(epoch, 4, batch, 10, list(runs or [run_dir.name]), time.time() - ago, val_accuracy=0.5))


def told(watch: Watch, width: int = 200) -> str:
    watch.look()
    return fitted(watch.parts(), width)


def test_a_single_run_is_told_without_a_count(tmp_path: Path) -> None:
    watch = Watch("none", runs_in(tmp_path, "a"))
    assert told(watch) == "starting"
    at_work(tmp_path / "a", 2, 5)
    # 3/8 of 80 of 100 in 100 s
    assert told(watch) == "Adam a  epoch 2/4 50%  val 0.500  4 min left"
    at_work(tmp_path / "a", 4, 10)
    assert told(watch) == "Adam a  epoch 4/4 evaluating  val 0.500  25 s left"
    watch.end(tmp_path / "a")
    assert told(watch) == "evaluated"


def test_a_run_of_a_sweep_is_counted_and_several_are_named(tmp_path: Path) -> None:
    watch = Watch("none", runs_in(tmp_path, "a", "b", "c"), planned=5, stored=2)
    assert told(watch) == "2/5 done  starting"
    at_work(tmp_path / "a", 3)
    assert told(watch).startswith("run 3/5  Adam a  epoch 3/4 0%  val 0.500  ")
    at_work(tmp_path / "b", 1, 1)
    assert told(watch).startswith("2/5 done  2 at work  Adam a epoch 3/4 0%  Adam b epoch 1/4 10%  ")
    assert told(watch, 40).startswith("2/5 done  2 at work  ")
    watch.end(tmp_path / "a")
    assert told(watch).startswith("run 4/5  Adam b  epoch 1/4 10%")


def test_runs_that_are_trained_together_are_one(tmp_path: Path) -> None:
    watch = Watch("none", runs_in(tmp_path, "a", "b", "c"), planned=3)
    at_work(tmp_path / "a", 3, runs=("a", "b", "c"))
    # each has half of its training done, 120 of 300 in 100 s
    assert told(watch) == "0/3 done  3 together  epoch 3/4 0%  val 0.500  3 min left"


def test_the_time_left_is_that_of_the_work_left_at_the_pace_so_far(tmp_path: Path) -> None:
    watch = Watch("none", runs_in(tmp_path, "a", "b", "c"), planned=3)
    assert watch.left() == ""
    at_work(tmp_path / "a", 1, 0, ago=1)
    watch.look()
    assert watch.seconds_left() is None, "nothing is timed yet"
    at_work(tmp_path / "a", 2, 0, ago=50)
    watch.end(tmp_path / "a")
    watch.look()
    at_work(tmp_path / "b", 3, 0, ago=50)
    watch.look()
    watch._training_since = time.time() - 140  # 100 and half of 80 are done: as many seconds
    assert watch.seconds_left() == pytest.approx(160, abs=1)
    watch.end(tmp_path / "b", whole=False)  # half of its training, and no more to come
    assert watch.seconds_left() == pytest.approx(100, abs=1)
    watch.end(tmp_path / "c")
    assert watch.left() == ""


def test_what_was_trained_before_says_nothing_about_the_pace(tmp_path: Path) -> None:
    watch = Watch("none", runs_in(tmp_path, "a"))
    began = Heartbeat(3, 4, 0, 10, ["a"], time.time() - 100, fraction_before=0.5)
    beat(tmp_path / "a", began)
    watch.look()
    assert watch.seconds_left() is None
    beat(tmp_path / "a", replace(began, epoch=4))  # a quarter of 80 in 100 s; as much is left, and 20
    watch.look()
    assert watch.seconds_left() == pytest.approx(200, abs=1)


def test_the_runs_of_a_search_are_found_as_they_begin(tmp_path: Path) -> None:
    watch = Watch("none", {}, planned=4, root=tmp_path, name=lambda run_dir: run_dir.name.replace("_", " "))
    assert told(watch) == "0/4 done  starting"
    (tmp_path / "Adam_mse_12345678").mkdir()
    at_work(tmp_path / "Adam_mse_12345678", 1, 5)
    assert told(watch).startswith("run 1/4  Adam mse 12345678  epoch 1/4 50%")
    assert watch.seconds_left() == pytest.approx(100 / 0.125 * (4 * 1.2 - 0.125), rel=0.01)


def test_a_trial_that_ends_before_anybody_has_looked_counts_all_the_same(tmp_path: Path) -> None:
    watch = Watch("none", {}, planned=4, root=tmp_path)
    watch._training_since = time.time() - 10
    for name in ("a", "b"):
        watch.end(tmp_path / name)
    assert watch.seconds_left() == pytest.approx(10, rel=0.1)
    assert told(watch).startswith("2/4 done  starting")


def test_a_workers_trial_that_ends_before_anybody_has_looked_is_noticed_once_and_an_earlier_one_is_not(
    tmp_path: Path,
) -> None:
    for name in ("earlier", "quick"):
        (tmp_path / name).mkdir()
    (tmp_path / "earlier" / RECORD).touch()
    ended: list[str] = []
    with Watch(
        "none", {}, planned=4, stored=1, root=tmp_path, has_ended=lambda path: (path / RECORD).is_file(),
        on_end=lambda path: ended.append(path.name),
    ) as watch:  # fmt: skip
        (tmp_path / "quick" / RECORD).touch()
        watch.look()
    assert (ended, watch.ended) == (["quick"], 2)


def test_ended_runs_of_other_processes_are_noticed_once(tmp_path: Path) -> None:
    ended: list[str] = []
    watch = Watch(
        "none", runs_in(tmp_path, "a", "b"), planned=2, has_ended=lambda path: path.name == "b",
        on_end=lambda path: ended.append(path.name),
    )  # fmt: skip
    watch.look()
    watch.look()
    assert (ended, watch.ended) == (["b"], 1)


def test_what_killed_processes_have_left_is_not_shown(tmp_path: Path) -> None:
    runs = runs_in(tmp_path, "a", "b")
    at_work(tmp_path / "a", 2)
    at_work(tmp_path / "b", 2)
    with Watch("none", {tmp_path / "a": runs[tmp_path / "a"]}, root=tmp_path):
        assert not list(tmp_path.glob(f"*/{HEARTBEAT}"))
    assert heartbeat_of(tmp_path / "a") is None


def test_no_heartbeat_is_left_of_workers_that_were_killed(tmp_path: Path) -> None:
    runs = runs_in(tmp_path, "a", "b")
    with Watch("none", runs, planned=2) as watch:
        at_work(tmp_path / "a", 2)
        at_work(tmp_path / "b", 2)
        watch.look()
    assert not list(tmp_path.glob(f"*/{HEARTBEAT}"))


def at(watch: Watch, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "monotonic", lambda: watch._started + seconds)


def test_lines_come_once_a_minute_and_the_first_foretells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = Watch("lines", runs_in(tmp_path, "a"))

    def said(seconds: float) -> str:
        at(watch, seconds, monkeypatch)
        watch.look()
        watch.show()
        return capsys.readouterr().out

    assert said(1) == ""
    at_work(tmp_path / "a", 1, 4, ago=20)
    assert said(21) == "about 4 min left, by the first batches\n"
    assert said(70) == ""
    assert said(82).startswith("Adam a  epoch 1/4 40%  val 0.500")
    assert said(83) == ""
    assert said(142) != ""
    watch.end(tmp_path / "a")  # whose line has been printed now
    assert said(199) == ""


@pytest.mark.parametrize("mode", ["lines", "none"])
def test_short_sweeps_and_none_show_nothing(
    mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = Watch(mode, runs_in(tmp_path, "a"))
    at_work(tmp_path / "a", 4, 9, ago=20)
    at(watch, 1000 if mode == "none" else 30, monkeypatch)
    watch.look()
    watch.show()
    assert capsys.readouterr().out == ""


def test_lightnings_own_bar_has_the_terminal_alone() -> None:
    config = RunConfig(model=ModelConfig(2, 1, 0), trainer=TrainerConfig(enable_progress_bar=True))
    run = {Path("a"): config}
    assert watched(run, {Path("a"): "A"}, "bar").mode == "none"
    assert watched(run, {Path("a"): "A"}, "lines").mode == "lines"
