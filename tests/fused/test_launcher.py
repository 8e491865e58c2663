"""`hydra/launcher=fused`: Hydra's own suite for launchers, and our sweeps against the basic launcher's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import version
from hydra._internal.core_plugins.basic_sweeper import BasicSweeperConf
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import IntegrationTestSuite, LauncherTestSuite

from mnist_lightning.fused import training
from mnist_lightning.numerics.metrics import METRICS
from mnist_lightning.records.results import load_results
from mnist_lightning.report.state import read_state

LAUNCHER = "hydra/launcher=fused"
GRID = ["-m", "optimizer=adam,sgd", "lr=0.01,0.1"]


def test_hydra_finds_the_launcher() -> None:
    assert "FusedLauncher" in {x.__name__ for x in Plugins.instance().discover(Launcher)}


@pytest.fixture
def before_hydra_1_2(hydra_restore_singletons: None) -> None:
    """Hydra's suite expects its oldest defaults (a job's own working directory) and its own sweeper."""
    version.setbase("1.1")
    ConfigStore.instance().store("basic", BasicSweeperConf, group="hydra/sweeper", provider="hydra")


@pytest.mark.usefixtures("before_hydra_1_2")
@pytest.mark.filterwarnings("ignore")  # some are the suite's own
@pytest.mark.parametrize(("launcher_name", "overrides"), [("fused", [])])
class TestHydrasLauncherSuite(LauncherTestSuite):
    pass


@pytest.mark.filterwarnings("ignore")  # some are the suite's own
@pytest.mark.parametrize(("task_launcher_cfg", "extra_flags"), [({}, ["-m", LAUNCHER])])
class TestHydrasIntegrationSuite(IntegrationTestSuite):
    pass


def test_a_fused_sweep_leaves_what_the_basic_launcher_leaves(
    run: Callable[..., Any], tiny_arguments: list[str], tmp_path: Path
) -> None:
    arguments = [*GRID, *tiny_arguments, "trainer.precision=64-true"]
    basic = run(*arguments, "hydra.sweep.dir=basic")
    fused = run(*arguments, "hydra.sweep.dir=fused", LAUNCHER)
    assert (basic.code, fused.code) == (0, 0), fused.err
    assert "training 4 runs of 2/1/0 together" in fused.out
    assert [line[:6] for line in fused.out.splitlines() if "of 4  " in line] == [f"{k} of 4" for k in (1, 2, 3, 4)]
    files = [
        {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and p.name != ".attempts"}
        for root in (tmp_path / "basic", tmp_path / "fused")
    ]
    assert files[0] == files[1]
    for a, b in zip(load_results("basic"), load_results("fused"), strict=True):
        assert (a.run_name, a.status, a.engine, b.engine) == (b.run_name, "completed", "lightning", "fused")
        for metric in [f"{m}{part}" for m in METRICS for part in ("", "_test")]:
            assert getattr(a, metric) == pytest.approx(getattr(b, metric), rel=1e-9, abs=1e-9)
    plans = [json.loads((tmp_path / where / "plan.json").read_text())["runs"] for where in ("basic", "fused")]
    assert plans[0] == plans[1]


def test_a_fused_sweep_is_resumed_and_fails_and_ends_as_any_other(
    run: Callable[..., Any], tiny_arguments: list[str], tmp_path: Path
) -> None:
    arguments = [*GRID, *tiny_arguments, "hydra.sweep.dir=s", LAUNCHER]
    assert run(*arguments).code == 0
    before = {p: p.stat().st_mtime_ns for p in Path("s").glob("*/result.json")}
    again = run(*arguments)
    assert (again.code, "resuming: 4 of 4 done" in again.out, "together" in again.out) == (0, True, False)
    one = sorted(before)[1]
    one.unlink()
    assert run(*arguments).code == 0
    assert {p for p in before if p.stat().st_mtime_ns != before[p]} == {one}
    loss = "loss=cross_entropy"
    bad = run("-m", "lr=0.1,1e30", "optimizer=sgd", loss, *tiny_arguments, "hydra.sweep.dir=d", LAUNCHER)
    assert bad.code == 3, bad.err
    assert {r.learning_rate: r.status for r in load_results("d")} == {0.1: "completed", 1e30: "diverged"}


def test_while_a_group_trains_its_members_are_seen_at_work(
    run: Callable[..., Any], tiny_arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, fit = [], training._fit

    def watched(*arguments: Any, **more: Any) -> None:
        seen.append(read_state("s")[1].parts())
        fit(*arguments, **more)

    monkeypatch.setattr(training, "_fit", watched)
    assert run(*GRID, *tiny_arguments, "hydra.sweep.dir=s", LAUNCHER).code == 0
    assert seen == [["4 running"]]
    assert not Path("s/.fused").exists()


def test_what_a_group_cannot_do_is_done_one_by_one(
    run: Callable[..., Any], tiny_arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr("mnist_lightning.fused.training._train", broken)
    outcome = run("-m", "lr=0.1,0.2", "optimizer=sgd,nadam", *tiny_arguments, LAUNCHER)
    assert outcome.code == 0, outcome.err
    assert "trained one by one, where optimizer=nadam has no stacked rule" in outcome.out
    assert "not trained together (RuntimeError: no such luck); going on one by one" in outcome.out
    assert outcome.out.count("accuracy 0.") >= 4
