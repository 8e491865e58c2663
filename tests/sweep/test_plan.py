"""The plan beside the records: other versions are said, what was edited or lost is noticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnist_lightning.config import DataConfig, OptimizerConfig, RunConfig, fingerprint_of
from mnist_lightning.errors import ConfigError, DataError, RefusedError
from mnist_lightning.records.plan import PLAN, is_run_name, planned_runs, read_plan, take_stock
from mnist_lightning.records.results import RunResult, save
from mnist_lightning.sweep.plan import commit_plan

GRID = [RunConfig(seed=seed) for seed in (0, 1)]
DATA, VERSIONS = {"mnist": "ab"}, {"version": "0.2.0", "torch_version": "2.15.0", "commit": "abc"}


def commit(root: Path, grid: list[RunConfig] = GRID, **changes: Any) -> list[str]:
    return commit_plan(root, grid, **({"data": DATA, "versions": VERSIONS} | changes))


def record(root: Path, config: RunConfig, directory: str = "") -> None:
    result = RunResult(fingerprint=config.fingerprint, run_name=config.run_name, status="completed")
    save(result, root / (directory or config.run_name))


def edit(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    plan = read_plan(root)
    change(plan)
    (root / PLAN).write_text(json.dumps(plan))


def test_the_same_plan_again_says_and_changes_nothing(tmp_path: Path) -> None:
    assert commit(tmp_path) == []
    before = (tmp_path / PLAN).read_bytes()
    assert commit(tmp_path) == []
    assert commit(tmp_path, list(reversed(GRID))) == []
    assert (tmp_path / PLAN).read_bytes() == before


def test_other_versions_are_said_in_a_line_and_the_sweep_goes_on(tmp_path: Path) -> None:
    commit(tmp_path)
    (line,) = commit(tmp_path, versions={"version": "0.3.0", "torch_version": "2.16.0", "commit": ""})
    begun = "begun with mnist-lightning 0.2.0, now 0.3.0; torch 2.15.0, now 2.16.0"
    assert line == f"plan.json: {begun}: what is stored stays as it is"
    assert read_plan(tmp_path)["versions"] == VERSIONS


def test_an_older_version_now_is_said_as_well_as_a_newer_one(tmp_path: Path) -> None:
    commit(tmp_path)
    for now in ("0.1.0", "0.3.0"):
        (line,) = commit(tmp_path, versions=VERSIONS | {"version": now})
        assert f"0.2.0, now {now}: " in line


@pytest.mark.parametrize("versions", [None, [], {"torch_version": None}, {"torch_version": "\x1b[31m" + "9" * 999}])
def test_odd_versions_in_a_plan_are_no_error_and_leave_the_terminal_alone(versions: Any, tmp_path: Path) -> None:
    commit(tmp_path)
    edit(tmp_path, lambda plan: plan.update(versions=versions))
    assert all(line.isprintable() and len(line) <= 200 for line in commit(tmp_path))


def test_other_data_are_refused(tmp_path: Path) -> None:
    """What is stored was trained on the old ones."""
    commit(tmp_path)
    with pytest.raises(DataError, match=r"^data=mnist: not the data this sweep began with; restore them, or choose"):
        commit(tmp_path, data={"mnist": "cd"})
    with pytest.raises(DataError, match=r"^data=mnist: not the data this sweep began with; restore them, or choose"):
        commit(tmp_path, data={"mnist": "aa"})
    assert commit(tmp_path, data={"mnist": "ab", "synthetic": "new"}) == []


def renamed(plan: dict[str, Any], to: str = "0123456789abcdef") -> None:
    plan["runs"][to] = plan["runs"].pop(GRID[0].fingerprint)


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a fingerprint": renamed,
    "a fingerprint, a late and long one": lambda plan: renamed(plan, "f" * 20),
    "a value": lambda plan: plan["runs"][GRID[0].fingerprint]["config"].update(lr=5.0),
    "a name": lambda plan: plan["runs"][GRID[0].fingerprint].update(run_name="other"),
    "an early name": lambda plan: plan["runs"][GRID[0].fingerprint].update(run_name="A"),
}


@pytest.mark.parametrize("what", EDITS)
def test_a_plan_in_which_something_was_edited_is_refused_in_a_sentence(what: str, tmp_path: Path) -> None:
    commit(tmp_path)
    edit(tmp_path, EDITS[what])
    fingerprint = {"a fingerprint": "0123456789abcdef", "a fingerprint, a late and long one": "f" * 16}.get(what)
    fingerprint = fingerprint or GRID[0].fingerprint
    edited = f"was edited, its run {fingerprint} is not what this fingerprint stands for; restore it, or delete it"
    with pytest.raises(RefusedError) as refused:
        commit(tmp_path)
    assert str(refused.value).startswith(f"{tmp_path / PLAN}: {edited}")


def test_another_grid_is_refused_with_the_keys_that_differ(tmp_path: Path) -> None:
    commit(tmp_path)
    with pytest.raises(ConfigError, match=r"holds another sweep \(seed 0 1 -> 0 2\); choose another directory"):
        commit(tmp_path, [RunConfig(seed=0), RunConfig(seed=2)])


def test_a_key_that_only_one_of_two_grids_has_is_told_as_unset_in_the_other(tmp_path: Path) -> None:
    small = [RunConfig(seed=seed, data=DataConfig(train_size=500)) for seed in (0, 1)]
    for name, grids, told in [("a", (GRID, small), "unset -> 500"), ("b", (small, GRID), "500 -> unset")]:
        commit(tmp_path / name, grids[0])
        with pytest.raises(ConfigError, match=rf"holds another sweep \(data.train_size {told}\); choose another"):
            commit(tmp_path / name, grids[1])


def test_a_weight_decay_that_differs_is_told_by_the_key_it_was_given_by(tmp_path: Path) -> None:
    decays = [RunConfig(OptimizerConfig("adam", {"weight_decay": decay})) for decay in (0.1, 0.2)]
    commit(tmp_path, decays[:1])
    with pytest.raises(ConfigError, match=r"holds another sweep \(optimizer.options.weight_decay 0.1 -> 0.2\); choose"):
        commit(tmp_path, decays[1:])


def test_a_plan_that_was_lost_is_written_again_and_that_is_said(tmp_path: Path) -> None:
    commit(tmp_path)
    record(tmp_path, GRID[0])
    before = (tmp_path / PLAN).read_bytes()
    (tmp_path / PLAN).unlink()
    assert commit(tmp_path) == ["plan.json was gone: written again, 1 of 2 runs have a record"]
    assert (tmp_path / PLAN).read_bytes() == before


def test_records_of_another_grid_without_its_plan_do_not_become_a_new_sweep(tmp_path: Path) -> None:
    record(tmp_path, GRID[0])
    record(tmp_path, RunConfig(seed=7))
    refused = f"^hydra.sweep.dir={tmp_path}: holds 1 record of another grid, and no plan.json; choose another directory"
    with pytest.raises(ConfigError, match=refused):
        commit(tmp_path)
    record(tmp_path, RunConfig(seed=8))
    with pytest.raises(ConfigError, match="holds 2 records of another grid, and no plan.json; choose another"):
        commit(tmp_path)
    assert not (tmp_path / PLAN).exists()


def test_a_single_run_below_the_directory_is_no_other_grid(tmp_path: Path) -> None:
    """Nor is what is no record."""
    record(tmp_path, RunConfig(seed=7), "mine")
    record(tmp_path, RunConfig(seed=8), "A")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "result.json").write_text("mine")
    assert commit(tmp_path) == []


RUN = {"run_name": "a", "config": {}}


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        ({"runs": {"ab": RUN | {"run_name": 1}}}, "its runs have no name or no config"),
        ({"runs": {"ab": RUN | {"config": 1}}}, "its runs have no name or no config"),
        ({"runs": {"ab": RUN, "cd": RUN | {"config": 1}}}, "its runs have no name or no config"),
        ({"runs": {"ab": RUN}, "data": []}, "its data have no names"),
        ({"runs": {"ab": {"config": {}}}}, "'run_name'"),
        ({"runs": [RUN]}, "'list' object has no attribute 'values'"),
        ({}, "'runs'"),
    ],
)
def test_what_is_no_plan_is_refused_with_the_reason(plan: Any, why: str, tmp_path: Path) -> None:
    (tmp_path / PLAN).write_text(json.dumps(plan))
    with pytest.raises(RefusedError) as refused:
        read_plan(tmp_path)
    assert str(refused.value) == f"{tmp_path / PLAN}: no plan of a sweep ({why[:40]}); move it away and run again"


def test_a_directory_in_the_plans_place_is_none_and_beside_a_single_runs_record_no_plan_counts(tmp_path: Path) -> None:
    assert (read_plan(tmp_path), planned_runs(tmp_path)) == ({}, {})
    (tmp_path / PLAN).mkdir()
    with pytest.raises(RefusedError, match=r"no plan of a sweep \(not a file\)"):
        read_plan(tmp_path)
    (tmp_path / PLAN).rmdir()
    (tmp_path / PLAN).write_text(json.dumps({"runs": {"ab": RUN}}))
    assert planned_runs(tmp_path) == {"ab": RUN}
    save(RunResult(fingerprint="ab", run_name="a", status="completed"), tmp_path)
    assert planned_runs(tmp_path) == {}


@pytest.mark.parametrize("name", ["a", "Adam_mse-1", "x" * 80])
def test_a_runs_name_is_up_to_80_letters_digits_and_signs_that_lead_nowhere(name: str) -> None:
    assert is_run_name(name)
    assert not any(is_run_name(bad) for bad in ("", "x" * 81, f"{name}/..", f"../{name}", f"{name}\n", f" {name}"))


def result(fingerprint: str, name: str, **values: Any) -> RunResult:
    return RunResult(fingerprint=fingerprint, run_name=name, status="completed", **values)


def test_records_are_sorted_into_those_of_the_plan_copies_and_strangers() -> None:
    records = {
        "z": result("ab", "a"),  # a copy, though the last
        "0": result("ab", "a"),
        "a": result("ab", "a", seed=1),
        "b": result("cd", "b"),
        "other": result("ef", "other"),
        "c": result("gh", "b"),  # a planned run's record under another name
    }
    planned = {"ab": {"run_name": "a"}, "cd": {"run_name": "b"}, "gh": {"run_name": "c"}}
    stock = take_stock(planned, records)
    assert [record.fingerprint for record in stock.own] == ["ab", "cd", "gh"]
    assert (stock.own[0].seed, list(stock.copies), list(stock.strangers)) == (1, ["0", "z"], ["other"])


def test_without_a_plan_the_record_in_its_own_directory_counts_and_exact_copies_do_not() -> None:
    records = {"0": result("ab", "a"), "a": result("ab", "a"), "b": result("ab", "b"), "9": result("cd", "a")}
    stock = take_stock({}, records)
    assert [(record.fingerprint, record.run_name) for record in stock.own] == [("ab", "a"), ("cd", "a"), ("ab", "b")]
    assert (list(stock.copies), stock.strangers) == (["0"], {})
    assert list(take_stock({}, {"z": result("ab", "a"), "0": result("ab", "a")}).copies) == ["z"]  # none in its own


def test_a_stored_plan_has_the_fingerprints_of_its_configurations() -> None:
    """Of version 0.1.0 and of today: else an older sweep would be taken for an edited one."""
    old = read_plan(Path(__file__).parents[1] / "fixtures" / "v0_1_0" / "sweep")["runs"]
    assert old
    assert all(fingerprint_of(run["config"]) == fingerprint for fingerprint, run in old.items())
    odd = RunConfig(callbacks=[{"_target_": "a.B", "x": [1, 2.5, None, "é"]}], lr=1e-7)
    assert fingerprint_of(json.loads(json.dumps(odd.identity(), default=str))) == odd.fingerprint
