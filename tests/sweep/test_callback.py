"""Hydra's callback in another program that uses our configuration, and beside a sweeper that is not ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from mnist_lightning import report
from mnist_lightning.config import RunConfig
from mnist_lightning.records.results import RunResult, save
from mnist_lightning.sweep.callback import GRID_SWEEPER, CollectResults
from mnist_lightning.sweep.progress import Progress
from mnist_lightning.sweep.sweep import Sweep


def composed(root: Path, sweeper: dict[str, Any], **more: Any) -> DictConfig:
    hydra = {"run": {"dir": str(root)}, "sweep": {"dir": str(root)}, "sweeper": sweeper}
    overrides = {"overrides": {"task": []}, "launcher": {"_target_": "a.BasicLauncher"}}
    return OmegaConf.create({"hydra": {**hydra, **overrides}, "progress": "none", **more})


def test_another_program_gets_the_tables_of_its_sweep_at_the_end_and_nothing_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "write_report", report.write_tables)
    config, callback = composed(tmp_path, {"_target_": "a.Sweeper"}), CollectResults()
    config_of_a_run = RunConfig()
    save(RunResult(run_name="run", fingerprint=config_of_a_run.fingerprint, status="completed"), tmp_path / "run")
    callback.on_run_start(config)
    callback.on_multirun_start(config)
    assert capsys.readouterr().out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    callback.on_multirun_end(config)
    assert (tmp_path / "results.xlsx").is_file()
    assert (tmp_path / "results.csv").read_text().count("\n") == 2


def test_our_command_collects_for_itself(tmp_path: Path) -> None:
    save(RunResult(run_name="run", fingerprint="ab12", status="completed"), tmp_path / "run")
    with Sweep():
        CollectResults().on_multirun_end(composed(tmp_path, {"_target_": GRID_SWEEPER}))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(("live", "trials", "said"), [(False, 3, "3 trials"), (True, None, "a search")])
def test_a_search_of_another_sweeper_is_announced_and_shown(
    live: bool, trials: int | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    begun: list[dict[str, Any]] = []
    started: list[Path] = []
    monkeypatch.setattr(Progress, "begin", lambda self, runs, mode, **how: begun.append(how))
    config = composed(tmp_path, {"_target_": "a.Sweeper", "n_trials": trials}, report={"live": live})
    with Sweep() as sweep:
        monkeypatch.setattr(sweep.live, "start", started.append)
        CollectResults().on_multirun_start(config)
        assert sweep.directory == tmp_path
        assert sweep.progress is not None
        assert sweep.progress.planned == (trials or 0)
    assert capsys.readouterr().out == f"{said}\n"
    assert begun == [{"search": tmp_path, "others_train": False}]
    assert started == [tmp_path] * live


def test_a_grid_of_ours_is_announced_by_its_sweeper(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Sweep() as sweep:
        CollectResults().on_multirun_start(composed(tmp_path, {"_target_": GRID_SWEEPER}))
        assert (sweep.directory, sweep.progress) == (tmp_path, None)
    assert capsys.readouterr().out == ""
