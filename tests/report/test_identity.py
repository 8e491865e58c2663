"""Which runs are one setting: by the plan, by config.yaml, by the record's columns; never two settings as one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from mnist_lightning.records.plan import PLAN
from mnist_lightning.records.results import RunResult, save
from mnist_lightning.report import identity
from mnist_lightning.report.frame import frame_of
from mnist_lightning.report.identity import architecture, settings_of
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.terminal import leaderboard
from report_cases import failed, record

CONFIG: dict[str, Any] = {
    "optimizer": {"name": "sgd", "options": {}},
    "lr": 0.001,
    "loss": "mse",
    "model": {"num_channels": 32, "num_conv": 2, "num_dense": 1},
    "data": {"name": "mnist", "root": "data", "batch_size": 64, "train_size": None},
    "trainer": {"max_epochs": 20, "accelerator": "cpu"},
    "sweep": {"max_retries": 1},
    "callbacks": [],
}


def run(fingerprint: str, seed: int = 0, **more: object) -> RunResult:
    return replace(record("SGD", seed=seed), fingerprint=fingerprint, run_name=f"SGD_{fingerprint}", **more)  # pyright: ignore[reportArgumentType] - fields by name


def config(seed: int, **sections: dict[str, Any]) -> dict[str, Any]:
    return {**CONFIG, "seed": seed, **{name: {**CONFIG[name], **keys} for name, keys in sections.items()}}


MOMENTUM = {"options": {"momentum": 0.9}}
RUNS = [run("a0", 0), run("a1", 1), run("b0", 0), run("b1", 1)]
CONFIGS = [config(0), config(1), config(0, optimizer=MOMENTUM), config(1, optimizer=MOMENTUM)]
BY_OPTIONS = ["SGD mse 0.001 32/2/1", "SGD mse 0.001 32/2/1 momentum=0.9"]


def plan(directory: Path, runs: list[RunResult], configs: list[dict[str, Any]]) -> None:
    planned = {r.fingerprint: {"run_name": r.run_name, "config": c} for r, c in zip(runs, configs, strict=True)}
    (directory / PLAN).write_text(json.dumps({"runs": planned, "data": {}, "versions": {}}))


def beside(directory: Path, runs: list[RunResult], configs: list[dict[str, Any]]) -> None:
    for r, c in zip(runs, configs, strict=True):
        save(r, directory / r.run_name)
        (directory / r.run_name / "config.yaml").write_text(OmegaConf.to_yaml(c))


@pytest.mark.parametrize("write", [plan, beside])
def test_runs_with_different_options_are_different_settings_though_their_columns_agree(
    write: Any, tmp_path: Path
) -> None:
    write(tmp_path, RUNS, CONFIGS)
    frame = frame_of(RUNS, tmp_path)
    assert frame["setting"].tolist() == [BY_OPTIONS[0], BY_OPTIONS[0], BY_OPTIONS[1], BY_OPTIONS[1]]
    assert frame["further"].tolist() == ["", "", "momentum=0.9", "momentum=0.9"]
    settings = Ranking(frame).settings
    assert settings[["setting", "runs"]].to_numpy().tolist() == [[name, 2] for name in BY_OPTIONS]


def test_the_configs_of_two_runs_are_enough_to_tell_their_settings_apart(tmp_path: Path) -> None:
    beside(tmp_path, RUNS[1:3], CONFIGS[1:3])
    assert frame_of(RUNS[1:3], tmp_path)["setting"].tolist() == BY_OPTIONS


def test_where_and_how_fast_a_run_was_computed_makes_no_other_setting(tmp_path: Path) -> None:
    elsewhere = config(1, data={"root": "/mnt/data"}, trainer={"accelerator": "gpu"})
    beside(tmp_path, RUNS[:2], [config(0), elsewhere])
    assert frame_of(RUNS[:2], tmp_path)["setting"].nunique() == 1


@pytest.mark.parametrize("text", ["a: &a [1]\nb: *a", "[" * 9999, "a: [", "- 1", "x" * 2**17, "", "!!python/name:os"])
def test_a_config_that_is_none_of_ours_is_left_out(text: str, tmp_path: Path) -> None:
    beside(tmp_path, RUNS[:2], CONFIGS[:2])
    for r in RUNS[:2]:
        (tmp_path / r.run_name / "config.yaml").write_text(text)
    assert frame_of(RUNS[:2], tmp_path)["setting"].tolist() == ["SGD mse 0.001 32/2/1"] * 2


def test_with_records_alone_equal_seeds_are_a_sign_of_different_settings_each_run_then_is_one() -> None:
    frame = frame_of(RUNS)
    assert frame["setting"].tolist() == [f"SGD mse 0.001 32/2/1 ({r.fingerprint})" for r in RUNS]


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        ("precision", "bf16-true", "precision=bf16-true"),
        ("batch_size", 128, "batch_size=128"),
        ("train_size", 500, "train_size=500"),
        ("dataset", "kmnist", "data=kmnist"),
    ],
)
def test_with_records_alone_every_column_of_the_configuration_divides_and_is_named(
    column: str, value: object, named: str
) -> None:
    other = replace(run("b1", 1), **{column: value})  # pyright: ignore[reportArgumentType] - fields by name
    frame = frame_of([RUNS[0], other])
    assert frame["setting"].nunique() == 2
    assert frame["further"].tolist()[1] == named
    assert named in leaderboard([RUNS[0], other])


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("optimizer", "Adam"),
        ("loss_func", "mae"),
        ("learning_rate", 0.5),
        ("num_channels", 8),
        ("num_conv", 0),
        ("num_dense", 3),
    ],
)
def test_what_every_name_has_is_named_once(column: str, value: object) -> None:
    other = replace(run("b1", 1), **{column: value})  # pyright: ignore[reportArgumentType] - fields by name
    frame = frame_of([RUNS[0], other])
    assert (frame["setting"].nunique(), frame["further"].tolist()) == (2, ["", ""])


def test_a_failed_run_belongs_to_the_setting_that_agrees_with_what_it_was_given() -> None:
    lost = replace(failed(seed=2), optimizer="SGD", precision="", train_size=None, test_size=None, fingerprint="a2")
    assert frame_of([*RUNS[:2], lost])["setting"].nunique() == 1
    (setting,) = Ranking(frame_of([*RUNS[:2], lost])).settings.to_dict("records")
    assert (setting["runs"], setting["all_runs"], setting["lost"]) == (2, 3, 1)
    bf16 = replace(run("c0", 3), precision="bf16-true")
    assert frame_of([*RUNS[:2], bf16, lost])["setting"].nunique() == 3


def test_planned_runs_without_a_record_count_among_their_settings_and_are_not_lost_yet(tmp_path: Path) -> None:
    plan(tmp_path, RUNS, CONFIGS)
    frame = frame_of(RUNS[:3], tmp_path)
    assert frame["planned"].tolist() == [2, 2, 2]
    settings = Ranking(frame).settings
    assert settings[["runs", "all_runs", "lost"]].to_numpy().tolist() == [[2, 2, 0], [1, 2, 0]]


def test_a_damaged_plan_leaves_the_columns_to_decide(tmp_path: Path) -> None:
    (tmp_path / PLAN).write_text("{")
    frame = frame_of(RUNS[:2], tmp_path)
    assert frame["setting"].nunique() == 1
    assert frame["planned"].isna().all()


def test_two_settings_never_have_one_name_even_where_six_digits_are_alike() -> None:
    near = [record(lr=0.001), record(lr=0.00100000001, seed=1)]
    frame = frame_of([replace(r, fingerprint=f"0123456{i}89abcdef") for i, r in enumerate(near)])
    assert frame["setting"].tolist() == [f"Adam mse 0.001 32/2/1 (0123456{i})" for i in (0, 1)]
    frame = frame_of([replace(r, fingerprint=f"01234567{i}89abcdef") for i, r in enumerate(near)])
    assert frame["setting"].tolist() == [f"Adam mse 0.001 32/2/1 (01234567) ({i})" for i in (1, 2)]


def test_epochs_are_named_only_where_each_setting_has_one_number_of_them() -> None:
    near = [record(seed=0, epochs=5), record(seed=1, epochs=9), record(lr=0.00100000001, seed=2, epochs=5)]
    frame = frame_of([replace(r, fingerprint=f"f{i}") for i, r in enumerate(near)])
    assert (frame["setting"].nunique(), frame["further"].tolist()) == (2, ["", "", ""])


def settings(runs: list[RunResult], directory: Path | None = None) -> list[tuple[str, str, int | None]]:
    return [(s.name, s.further, s.planned) for s in settings_of(runs, directory)]


def test_keys_whose_last_words_are_alike_are_named_whole_and_a_data_set_data(tmp_path: Path) -> None:
    configs = [config(0), config(1)]
    configs[1] |= {"a": {"size": 1}, "b": {"size": 2}, "data": {**CONFIG["data"], "name": "kmnist"}}
    plan(tmp_path, RUNS[:2], configs)
    assert [further for _, further, _ in settings(RUNS[:2], tmp_path)] == [
        "data=mnist",
        "a.size=1, b.size=2, data=kmnist",
    ]


def test_a_key_that_only_some_configurations_have_varies_and_one_that_all_share_does_not(tmp_path: Path) -> None:
    configs = [config(0, trainer={"max_epochs": 5}), config(1, trainer={"max_epochs": 5}, data={"val_size": 9})]
    plan(tmp_path, RUNS[:2], configs)
    base = "SGD mse 0.001 32/2/1"
    assert settings(RUNS[:2], tmp_path) == [(base, "", 1), (f"{base} val_size=9", "val_size=9", 1)]


def test_a_record_that_no_plan_knows_has_no_planned_runs(tmp_path: Path) -> None:
    plan(tmp_path, RUNS[:2], CONFIGS[:2])
    assert [planned for *_, planned in settings(RUNS[:3], tmp_path)] == [2, 2, None]


def test_a_seed_that_occurs_twice_divides_a_setting_by_epochs_and_if_need_be_into_runs() -> None:
    runs = [
        run("a0", 0, epochs=5),
        run("a1", 1, epochs=5),
        run("b0", 0, epochs=9),
        replace(run("c0", epochs=5), seed=None),
    ]
    names = [name for name, *_ in settings(runs)]
    assert names[0] == names[1] == names[3] != names[2]
    assert len({name for name, *_ in settings([*runs, run("d0", 1, epochs=5)])}) == 5
    unseeded = [replace(run(name), seed=None) for name in ("a0", "b0")]
    assert len({name for name, *_ in settings(unseeded)}) == 1


def test_a_failed_run_joins_no_setting_where_two_agree_and_none_where_it_differs() -> None:
    other = replace(run("b0", 1), batch_size=128)
    lost = replace(failed(seed=2), optimizer="SGD", batch_size=None, fingerprint="f2")
    assert len({name for name, *_ in settings([RUNS[0], lost])}) == 1
    assert len({name for name, *_ in settings([RUNS[0], other, lost])}) == 3
    assert len({name for name, *_ in settings([RUNS[0], replace(lost, learning_rate=0.5)])}) == 2
    assert len({name for name, *_ in settings([RUNS[0], replace(lost, batch_size=128)])}) == 2
    assert len({name for name, *_ in settings([lost, RUNS[0]])}) == 1


def test_a_config_of_64_kib_is_read_and_a_longer_one_is_not(tmp_path: Path) -> None:
    beside(tmp_path, RUNS, CONFIGS)
    momentum = tmp_path / RUNS[3].run_name / "config.yaml"
    text = momentum.read_text()
    for size, far in ((2**16, False), (2**16 + 1, True)):
        momentum.write_text(text + "#" * (size - len(text)))
        names = [name for name, *_ in settings(RUNS, tmp_path)]
        assert (names[2] != names[3]) == far


def test_of_one_record_nothing_else_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside(tmp_path, RUNS[2:3], CONFIGS[2:3])
    (tmp_path / RUNS[2].run_name / "config.yaml").write_text(OmegaConf.to_yaml(config(0, data={"val_size": 9})))
    monkeypatch.setattr(identity, "small_text", lambda *_: pytest.fail("was read"))
    assert settings(RUNS[2:3], tmp_path) == [("SGD mse 0.001 32/2/1", "", None)]


def test_sizes_that_nobody_knows_are_question_marks() -> None:
    assert architecture(record(size="4/0/1")) == "4/0/1"
    assert architecture(replace(record(), num_conv=None)) == "32/?/1"
