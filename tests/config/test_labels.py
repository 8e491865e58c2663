"""config/labels.py: names for people."""

from __future__ import annotations

from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mnist_lightning.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig
from mnist_lightning.config.labels import difference, label_by, label_of, labels, short_keys, varying


def named(*configs: RunConfig) -> list[str]:
    return list(labels({i: config.identity() for i, config in enumerate(configs)}).values())


def test_a_label_says_what_varies_in_the_studys_order_and_the_seed_last() -> None:
    grid = [
        RunConfig(OptimizerConfig(o), lr=lr, seed=seed)
        for o, lr, seed in product(("adam", "torch.optim.RAdam"), (0.001, 0.1), (0, 1))
    ]
    assert named(*grid)[:3] == ["Adam 0.001 seed 0", "Adam 0.001 seed 1", "Adam 0.1 seed 0"]
    assert named(*grid)[-1] == "RAdam 0.1 seed 1"
    assert named(RunConfig(), RunConfig(loss="mae", model=ModelConfig(64))) == ["mse 32/2/1", "mae 64/2/1"]


def test_one_configuration_has_the_studys_name() -> None:
    assert named(RunConfig()) == [label_of(RunConfig(seed=7).identity())] == ["RMSprop mse 0.001 32/2/1"]
    assert label_of(RunConfig(OptimizerConfig("torch.optim.RAdam"), lr=1e-5).identity()) == "RAdam mse 1e-05 32/2/1"


def test_further_keys_are_named_by_their_last_word_and_what_has_none_is_null() -> None:
    momentum = OptimizerConfig("sgd", {"momentum": 0.9})
    configs = [RunConfig(OptimizerConfig("sgd")), RunConfig(momentum, data=DataConfig(batch_size=32))]
    assert named(*configs) == ["batch_size=64 momentum=null", "batch_size=32 momentum=0.9"]
    assert short_keys(["a.x", "b.x", "c.y", "data.name"]) == {
        "a.x": "a.x",
        "b.x": "b.x",
        "c.y": "y",
        "data.name": "data",
    }
    assert varying([config.identity() for config in configs]) == {"data.batch_size": 2, "optimizer.options.momentum": 2}


def test_long_values_are_cut_and_what_they_no_longer_tell_apart_the_fingerprint_does() -> None:
    configs = [
        RunConfig(callbacks=[{"_target_": f"lightning.pytorch.callbacks.{x}"}]) for x in ("Timer", "EarlyStopping")
    ]
    told = named(*configs)
    assert [text.split()[-1] for text in told] == [config.fingerprint[:8] for config in configs]
    assert max(map(len, told)) < 60


VALUES: dict[str, Any] = {
    "lr": [0.1, 0.01, 0.1000001],
    "seed": [0, 1],
    "loss": ["mse", "mae"],
    "optimizer": [OptimizerConfig("adam"), OptimizerConfig("adam", {"eps": 1e-3}), OptimizerConfig("torch.optim.Adam")],
    "model": [ModelConfig(), ModelConfig(4, 0, 0)],
    "data": [DataConfig(), DataConfig(batch_size=32), DataConfig(train_size=9)],
}


@given(st.lists(st.fixed_dictionaries({}, optional={k: st.sampled_from(v) for k, v in VALUES.items()}), max_size=6))
def test_no_two_configurations_have_the_same_label(grid: list[dict[str, Any]]) -> None:
    configs = {(config := RunConfig(**keys)).fingerprint: config.identity() for keys in grid}
    told = labels(configs)
    assert told.keys() == configs.keys()
    assert len(set(told.values())) == len(configs)
    assert all(told.values())


def test_a_label_of_a_search_says_what_every_one_says_and_what_else_is_drawn() -> None:
    config = RunConfig(OptimizerConfig("sgd", {"momentum": 0.9}), lr=0.09984147825, seed=3).identity()
    assert label_by(config, []) == label_by(config, ["lr", "model.num_conv"]) == "SGD mse 0.0998415 32/2/1"
    drawn = ["optimizer.name", "optimizer.options.momentum", "seed", "nowhere"]
    assert label_by(config, drawn) == "SGD mse 0.0998415 32/2/1 momentum=0.9 seed 3"


def test_a_difference_says_the_keys_and_values_of_the_first_configuration() -> None:
    one, other = RunConfig(lr=0.1, model=ModelConfig(num_dense=2)).identity(), RunConfig().identity()
    assert difference(one, other) == "lr=0.1, num_dense=2"
    assert difference(other, one) == "lr=0.001, num_dense=1"
    assert difference(one, one) == ""


def test_a_weight_decay_of_keras_is_told_by_the_key_it_was_given_by() -> None:
    given = {decay: RunConfig(OptimizerConfig("adam", {"weight_decay": decay})) for decay in (0, 0.01)}
    configs = {decay: config.identity() for decay, config in given.items()}
    assert labels(configs) == {0: "weight_decay=0", 0.01: "weight_decay=0.01"}
    assert varying(configs.values()) == {"optimizer.options.weight_decay": 2}
    assert label_by(configs[0.01], ["optimizer.options.weight_decay"]).endswith(" weight_decay=0.01")
    torchs = RunConfig(OptimizerConfig("nadam", {"weight_decay": 0.1, "decoupled_weight_decay": True}))
    keys = ("weight_decay", "decoupled_weight_decay")
    told = label_by(torchs.identity(), [f"optimizer.options.{key}" for key in keys])
    assert told.endswith(" weight_decay=0.1 decoupled_weight_decay=true")
