"""The fused engine on a GPU that computes nothing: what is launched, captured and refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from null_gpu import building

Scenes = Callable[..., dict[str, Any]]
LONG = os.environ.get("MNIST_TEST_LONG") == "1"


@pytest.fixture(scope="module")
def place(pytestconfig: pytest.Config) -> Path:
    """Where the null GPU is built."""
    try:
        return building.build(Path(pytestconfig.cache.mkdir("null_gpu")) if pytestconfig.cache else Path())
    except building.NoNullGPUError as reason:
        pytest.skip(str(reason))


def on_null_gpu(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python on the null GPU, which must end well."""
    environment, root = building.environment(place), building.HERE.parents[1]
    environment["PYTHONPATH"] += f"{os.pathsep}{root}"
    command = [sys.executable, *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stdout[-1000:] + ended.stderr[-3000:]
    return ended


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory, place: Path) -> Scenes:
    """`scenes("two_seeds", "resumed")`: what happened in these scenes of `null_gpu/scenes.py`."""

    def play(*names: str) -> dict[str, Any]:
        ended = on_null_gpu(place, str(building.HERE / "scenes.py"), str(tmp_path_factory.mktemp("scenes")), *names)
        said = json.loads(ended.stdout.splitlines()[-1])
        return {**said, "out": ended.stdout, "err": ended.stderr}

    return play


SCENES = ("one_seed", "two_seeds", "diverging", "resumed", "little_memory")


@pytest.fixture(scope="module")
def played(scenes: Scenes) -> dict[str, Any]:
    return scenes(*SCENES, "no_capture", "two_budgets")


@pytest.mark.parametrize("name", SCENES)
def test_a_capture_does_nothing_forbidden_and_nothing_is_launched_beside_it(name: str, played: dict[str, Any]) -> None:
    scene = played[name]
    assert not isinstance(scene["result"], str), scene["result"]
    assert (scene["violations"], scene["outside"]) == (0, 0)
    assert scene["captured"] > 0
    assert scene["replayed"] > 0


def runs(name: str, played: dict[str, Any]) -> list[dict[str, Any]]:
    result = played[name]["result"]
    return result["runs"] if isinstance(result, dict) else result


@pytest.mark.parametrize("name", SCENES)
def test_what_a_thread_has_written_is_there_when_the_records_are(name: str, played: dict[str, Any]) -> None:
    assert all(r["whole"] and r["lines"] == r["epochs"] for r in runs(name, played))


@pytest.mark.parametrize(("name", "members"), [("one_seed", 12), ("two_seeds", 24), ("resumed", 8)])
def test_a_group_completes_as_one_with_one_seed_and_with_two(name: str, members: int, played: dict[str, Any]) -> None:
    assert {(r["status"], r["engine"], r["group_size"], r["epochs"]) for r in runs(name, played)} == {
        ("completed", "fused", members, 3)
    }
    assert "going on one by one" not in played["out"]


def test_members_that_diverge_leave_the_group_and_the_others_go_on(played: dict[str, Any]) -> None:
    ended = sorted((r["status"], r["epochs"]) for r in runs("diverging", played))
    assert ended == [("completed", 3)] * 10 + [("diverged", 1)] * 2


def test_a_resumed_group_repeats_no_epoch_and_computes_as_before(played: dict[str, Any]) -> None:
    assert set(played["resumed"]["result"]["logged"]) == {3}
    assert played["resumed"]["result"]["choices"] == 1, "another method rounds otherwise"


def test_a_group_too_large_for_the_gpu_is_halved(played: dict[str, Any]) -> None:
    assert {r["status"] for r in runs("little_memory", played)} == {"completed"}
    assert max(r["group_size"] for r in runs("little_memory", played)) < 12
    assert "do not fit into memory together" in played["out"]


def test_a_step_that_cannot_be_captured_is_taken_without_a_graph_and_it_is_said_once(played: dict[str, Any]) -> None:
    assert {(r["status"], r["engine"]) for r in runs("no_capture", played)} == {("completed", "fused")}
    assert played["no_capture"]["captured"] == 0
    said = "the step is not captured (RuntimeError: no graphs here); slower, with the same results\n"
    assert played["out"].count(said) == 1


@pytest.mark.faults
@pytest.mark.skipif(not LONG, reason="minutes: with MNIST_TEST_LONG=1")
def test_every_architecture_with_one_seed_and_two_and_every_rule_complete_on_a_gpu(scenes: Scenes) -> None:
    played = scenes("every_rule", "architectures")
    for name in ("every_rule", "architectures"):
        assert not isinstance(played[name]["result"], str), played[name]["result"]
        assert (played[name]["violations"], played[name]["outside"]) == (0, 0)
    groups = [played["every_rule"]["result"], *played["architectures"]["result"].values()]
    assert len(groups) == 1 + 2 * 12
    assert {(r["status"], r["engine"]) for group in groups for r in group} == {("completed", "fused")}
    assert "not compiled" not in played["out"], "every rule has a kernel"
    assert "not captured" not in played["out"]


def assert_within_budget(played: dict[str, Any], scene: str) -> None:
    """No more nodes, bytes and waiting than `budgets.json` allows: a step of the study's 18 members of a network."""
    budgets = json.loads(Path(__file__).with_name("budgets.json").read_text())
    counted, said = played[scene]["result"], [line for line in played["out"].splitlines() if "not captured" in line]
    assert not isinstance(counted, str), counted
    for net, by_methods in counted.items():
        for methods, step in by_methods.items():
            budget, where = budgets[net][methods], (net, methods, said)
            assert step["nodes"] <= budget["nodes"], where
            assert sum(step["gigabytes"].values()) <= budget["gigabytes"], where
            assert step["gigabytes"]["optimizer"] <= budget["of these optimizer"], where
            assert step["share_of_kernels"] == 1, where
            assert (step["violations"], step["synchronisations"], step["launches"]) == (0, 0, 1), where
            evaluation = step["evaluation"]
            assert evaluation["launches of a batch"] <= budget["launches of an evaluation's batch"], where
            assert evaluation["synchronisations"] <= 3, where
            assert evaluation["bytes brought to the GPU"] < 1000, "the images are there already"


def test_a_step_keeps_to_its_budget_and_all_numbers_are_updated_by_kernels(played: dict[str, Any]) -> None:
    assert_within_budget(played, "two_budgets")


@pytest.mark.faults
@pytest.mark.skipif(not LONG, reason="a minute: with MNIST_TEST_LONG=1")
def test_the_studys_twelve_networks_keep_to_their_budgets(scenes: Scenes) -> None:
    played = scenes("all_budgets")
    assert len(played["all_budgets"]["result"]) == 12
    assert_within_budget(played, "all_budgets")


@pytest.mark.faults
@pytest.mark.skipif(not LONG, reason="twenty seconds: with MNIST_TEST_LONG=1")
def test_each_precision_completes(scenes: Scenes) -> None:
    played = scenes("precisions")
    ended = played["precisions"]["result"]
    assert [(r["precision"], r["status"]) for r in ended] == [
        (p, "completed") for p in ("32-true", "64-true", "bf16-mixed")
    ]


@pytest.mark.faults
@pytest.mark.skipif(not (building.HERE.parents[1] / "benchmarks").is_dir(), reason="benchmarks/ comes with a checkout")
def test_the_benchmark_of_a_gpu_writes_every_section_and_a_repeated_command_measures_nothing(
    place: Path, tmp_path: Path
) -> None:
    command = ["-m", "benchmarks.gpu", "--nets", "4/2/1", "--replays", "8", "--json", str(tmp_path / "gpu.json")]
    assert "nothing wrong" in on_null_gpu(place, *command).stdout
    written = (tmp_path / "gpu.json").read_text()
    sections = json.loads(written)["sections"]
    assert list(sections) == ["ceilings", "correct", "convolutions", "networks", "singles", "minutes"]
    assert sections["correct"]["left out"] == "the null GPU computes nothing"
    assert sections["networks"]["nets"]["4/2/1"]["methods"]["stem"] in ("loop", "shared")
    on_null_gpu(place, *command)
    assert (tmp_path / "gpu.json").read_text() == written
