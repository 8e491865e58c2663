"""The laws of the planner, on generated grids."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_lightning.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig, TrainerConfig
from mnist_lightning.fused.groups import plan_groups, reason_to_train_alone, shared_key
from mnist_lightning.fused.memory import bytes_per_member, device_index, largest_group

configurations = st.builds(
    RunConfig,
    optimizer=st.sampled_from(["adam", "sgd", "rmsprop", "nadam", "torch.optim.RAdam"]).map(OptimizerConfig),
    lr=st.sampled_from([0.1, 0.01]),
    loss=st.sampled_from(["mse", "mae"]),
    seed=st.integers(0, 2),
    model=st.builds(ModelConfig, st.sampled_from([2, 4]), st.integers(1, 2), st.just(1)),
    data=st.builds(DataConfig, st.just("synthetic"), batch_size=st.sampled_from([32, 64])),
    trainer=st.builds(TrainerConfig, st.sampled_from([1, 2]), precision=st.sampled_from(["auto", "64-true"])),
)
grids = st.lists(configurations, max_size=25)


@settings(max_examples=200, deadline=None)
@given(grids, st.integers(1, 6))
def test_the_laws_of_the_planner(configs: list[RunConfig], most: int) -> None:
    plan = plan_groups(configs, lambda config: most)
    groups = [group.indices for group in plan]
    assert sorted(i for group in groups for i in group) == list(range(len(configs))), "each configuration once"
    assert all(group == sorted(group) and len(group) <= most for group in groups), "in order, the limit kept"
    assert groups == sorted(groups), "in the order of their first member"
    keys = [{shared_key(configs[i]) for i in group} for group in groups]
    assert all(len(k) == 1 for k in keys), "only what shares everything else is together"
    for group in plan:
        assert [group.why_alone] * len(group.indices) == [reason_to_train_alone(configs[i]) for i in group.indices]
        assert len(group.indices) == 1 or not group.why_alone
    for a, b in combinations(range(len(groups)), 2):
        if keys[a] == keys[b] and not any(reason_to_train_alone(configs[groups[x][0]]) for x in (a, b)):
            assert len(groups[a]) + len(groups[b]) > most, "nothing mergeable is left apart"
            assert abs(len(groups[a]) - len(groups[b])) <= 1, "parts of a split group are even"


def test_the_reports_grid_is_twelve_groups_of_eighteen() -> None:
    from itertools import product

    grid = product(("adam", "sgd", "rmsprop"), ("mse", "mae"), (0.001, 0.01, 0.1), (32, 64), (2, 3), (1, 3, 5))
    configs = [RunConfig(o, lr=lr, loss=loss, model=ModelConfig(c, k, d)) for o, loss, lr, c, k, d in grid]
    groups = plan_groups(configs, lambda config: 100)
    assert Counter(len(group.indices) for group in groups) == {18: 12}


@settings(max_examples=50, deadline=None)
@given(grids, st.sets(st.integers(0, 24)))
def test_interrupted_groups_come_first_and_stay_as_they_are(configs: list[RunConfig], numbers: set[int]) -> None:
    fingerprints = {configs[i].fingerprint for i in numbers if i < len(configs)}
    begun = [i for i, config in enumerate(configs) if config.fingerprint in fingerprints]
    groups = [group.indices for group in plan_groups(configs, lambda config: 3, [set(), fingerprints])]
    assert not begun or groups[0] == begun
    rest = [i for i in range(len(configs)) if i not in begun]
    alone = plan_groups([configs[i] for i in rest], lambda config: 3)
    assert groups[bool(begun) :] == [[rest[i] for i in group.indices] for group in alone], "as if there were no others"


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (RunConfig(OptimizerConfig("nadam")), "optimizer=nadam has no stacked rule"),
        (RunConfig(OptimizerConfig("torch.optim.RAdam")), "optimizer=torch.optim.RAdam has no stacked rule"),
        (RunConfig(OptimizerConfig("sgd", {"momentum": 0.9})), "optimizer.options.momentum is not in the stacked rule"),
        (RunConfig(callbacks=[{"_target_": "x.Y"}]), "callbacks belong to one run"),
        (RunConfig(transform="light"), "transform changes the images of one run"),
        (RunConfig(ckpt_path="x.ckpt"), "ckpt_path belongs to one run"),
        (RunConfig(logger={"_target_": "lightning.pytorch.loggers.WandbLogger"}), "cannot follow several runs"),
        (RunConfig(trainer=TrainerConfig(precision="16-mixed")), "would be shared by the members"),
        (RunConfig(trainer=TrainerConfig(gradient_clip_val=1.0)), "trainer.gradient_clip_val belongs to one run"),
        (RunConfig(trainer=TrainerConfig(max_steps=5)), "trainer.max_steps belongs to one run"),
        (RunConfig(), ""),
        (RunConfig(OptimizerConfig("rmsprop", {"rho": 0.8})), ""),
    ],
)
def test_what_makes_a_run_single_is_said(config: RunConfig, reason: str) -> None:
    said = reason_to_train_alone(config)
    assert said.endswith(reason) if reason else said == ""


def test_groups_are_as_large_as_the_memory_allows() -> None:
    config = RunConfig(model=ModelConfig(64, 3, 3))
    one = bytes_per_member(config)
    assert 10_469_834 * 4 * 3 < one < 2**30, "weights, gradients, best and state, and the outputs of a batch"
    assert largest_group(config, free=20 * one) in range(10, 20)
    assert largest_group(config, free=0) == 1


@pytest.mark.parametrize(("devices", "number"), [("auto", 0), (1, 0), ([2], 2), ("3,", 3)])
def test_the_memory_asked_for_is_that_of_the_gpu_that_is_used(devices: object, number: int) -> None:
    assert device_index(RunConfig(trainer=TrainerConfig(devices=devices))) == number
