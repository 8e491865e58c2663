"""The plan: what a resumed sweep is compared with, and the exit code it ends with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import write_mnist
from mnist_lightning.config import RunConfig
from mnist_lightning.errors import DataError
from mnist_lightning.records.results import RECORD, RunResult, save
from mnist_lightning.sweep.plan import commit_plan
from mnist_lightning.sweep.sweep import Sweep

Tiny = Callable[..., RunConfig]
DIGEST, OTHER = "ab" * 32, "cd" * 32


def test_a_sweep_is_not_resumed_with_other_data(tmp_path: Path, tiny: Tiny) -> None:
    commit_plan(tmp_path, [tiny()], {"mnist": DIGEST}, {})
    before = (tmp_path / "plan.json").read_bytes()
    commit_plan(tmp_path, [tiny()], {"mnist": DIGEST}, {})
    with pytest.raises(DataError, match="^data=mnist: not the data this sweep began with; restore them, or choose"):
        commit_plan(tmp_path, [tiny()], {"mnist": OTHER}, {})
    assert (tmp_path / "plan.json").read_bytes() == before


def test_one_of_several_data_sets_that_changed_is_named(tmp_path: Path, tiny: Tiny) -> None:
    data = {"kmnist": DIGEST, "mnist": DIGEST}
    commit_plan(tmp_path, [tiny()], data, {})
    with pytest.raises(DataError, match="^data=mnist: "):
        commit_plan(tmp_path, [tiny()], data | {"mnist": OTHER}, {})


def test_a_plan_that_knows_no_checksum_of_a_data_set_forbids_nothing(tmp_path: Path, tiny: Tiny) -> None:
    commit_plan(tmp_path, [tiny()], {}, {})
    commit_plan(tmp_path, [tiny()], {"mnist": DIGEST}, {})
    plan = json.loads((tmp_path / "plan.json").read_text())
    (tmp_path / "plan.json").write_text(json.dumps({"runs": plan["runs"]}))
    commit_plan(tmp_path, [tiny()], {"mnist": DIGEST}, {})


def test_a_command_whose_data_changed_between_two_calls_ends_with_4_and_trains_nothing(
    tmp_path: Path, run: Callable[..., Any], tiny_arguments: list[str]
) -> None:
    command = ["-m", *tiny_arguments, f"data.root={write_mnist(tmp_path / 'mine', 60, 20)}", "hydra.sweep.dir=here"]
    assert run(*command, "lr=0.1").code == 0
    (record,) = Path("here").glob(f"*/{RECORD}")
    before = record.read_bytes()
    labels = tmp_path / "mine" / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    content = labels.read_bytes()
    labels.write_bytes(content[:-1] + bytes([(content[-1] + 1) % 10]))
    outcome = run(*command, "lr=0.1")
    assert (outcome.code, outcome.out) == (4, "")
    assert outcome.err.startswith("mnist-lightning: error: data=mnist: not the data this sweep began with")
    assert record.read_bytes() == before


def recorded(directory: Path, config: RunConfig, **values: Any) -> None:
    save(RunResult(run_name=config.run_name, fingerprint=config.fingerprint, **values), directory / config.run_name)


def test_a_sweep_in_which_nothing_was_wanted_has_not_done_everything(tmp_path: Path) -> None:
    assert Sweep(tmp_path).outcome() == (3, f"0 of 0 done: {tmp_path}")


@pytest.mark.parametrize(
    ("stored", "code", "line"),
    [
        (["completed", "completed"], 0, "2 of 2 done"),
        (["completed"], 3, "1 of 2 done (1 missing)"),
        (["completed", "failed"], 3, "1 of 2 done (1 failed)"),
        (["diverged", "completed"], 3, "1 of 2 done (1 diverged)"),
        (["failed"], 3, "0 of 2 done (1 failed, 1 missing)"),
        ([], 3, "0 of 2 done (2 missing)"),
    ],
)
@pytest.mark.parametrize("plan_is_there", [True, False])
def test_a_sweep_ends_with_0_only_when_every_planned_run_is_recorded_as_completed(
    stored: list[Any], code: int, line: str, plan_is_there: bool, tmp_path: Path, tiny: Tiny
) -> None:
    configs = [tiny(seed=0), tiny(seed=1)]
    if plan_is_there:
        commit_plan(tmp_path, configs, {}, {})
    for status, config in zip(stored, configs, strict=False):
        recorded(tmp_path, config, status=status)
    planned = {} if plan_is_there else {c.fingerprint: {"run_name": c.run_name} for c in configs}
    assert Sweep(tmp_path, planned=planned).outcome() == (code, f"{line}: {tmp_path}")


def test_a_run_beside_the_plan_is_named_and_counts_for_nothing(tmp_path: Path, tiny: Tiny) -> None:
    commit_plan(tmp_path, [tiny()], {}, {})
    recorded(tmp_path, tiny(), status="completed")
    recorded(tmp_path, tiny(seed=7), status="failed")
    assert Sweep(tmp_path).outcome() == (0, f"1 of 1 done (1 not of this plan): {tmp_path}")


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        (["completed", "completed"], "resuming: 2 of 2 done"),
        (["completed", "diverged"], "resuming: 2 of 2 recorded, of which 1 diverged and is not tried again"),
        (["diverged", "diverged"], "resuming: 2 of 2 recorded, of which 2 diverged and are not tried again"),
    ],
)
def test_a_resumed_sweep_calls_only_completed_runs_done(
    statuses: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = Sweep()
    sweep.planned = {str(i): {"run_name": str(i)} for i in range(2)}
    sweep._announce(asked=2, diverged=statuses.count("diverged"))
    assert capsys.readouterr().out == f"{said}\n"
