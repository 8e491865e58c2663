"""sweep/progress.py: what counts as done, and what is printed and shown of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnist_lightning.config import RunConfig
from mnist_lightning.records.results import load_results
from mnist_lightning.sweep import progress
from mnist_lightning.sweep.attempts import begin
from mnist_lightning.sweep.job import record_killed
from mnist_lightning.sweep.progress import Progress
from mnist_lightning.sweep.sweep import Sweep


def test_a_run_that_has_killed_its_workers_too_often_has_a_line_as_any_other(
    tiny: Callable[..., RunConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny()
    run_dir = tmp_path / config.run_name
    for _ in range(2):
        begin(run_dir)
    with Sweep() as sweep:
        sweep.progress = Progress(3, 1, {config.run_name: "the run"})
        record_killed(config, run_dir, "out of memory")
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("2 of 3 the run failed: RuntimeError: its worker died 2 times (out of memory) see ")
    assert [result.status for result in load_results(tmp_path)] == ["failed"]


def test_runs_of_other_processes_count_also_where_nothing_is_shown() -> None:
    shown = Progress(5, 1)
    shown.found(3)
    assert (shown.done, shown.left()) == (3, "")


def test_what_is_at_work_is_shown_once_however_often_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    class Shown:
        def start(self) -> None:
            started.append("shown")

    monkeypatch.setattr(progress, "watched", lambda *what, **how: Shown())
    shown: Any = Progress(5)
    for _ in range(2):
        shown.begin({}, "lines")
    assert started == ["shown"]
