"""What a configuration may be made of, and how keys are changed: with the command line's meaning."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from omegaconf import OmegaConf

from mnist_lightning.config import ModelConfig, OptimizerConfig, RunConfig, TrainerConfig
from mnist_lightning.config import keys as keys_of_package
from mnist_lightning.config.changes import changed
from mnist_lightning.config.keys import RunKeys, all_keys
from mnist_lightning.config.section import keys_of, range_of, sections_of, types_of
from mnist_lightning.errors import ConfigError

GIVEN: list[dict[str, Any]] = [
    {"optimizer": "adam", "model": {"num_channels": 4}, "data": "synthetic", "trainer": {"max_epochs": 1}},
    {
        name: OmegaConf.create(keys)
        for name, keys in {"model": {"num_channels": 4}, "data": {"name": "synthetic"}}.items()
    }
    | {"optimizer": "adam", "trainer": OmegaConf.create({"a": {"max_epochs": "${n}"}, "n": 1}).a},
    {"optimizer": OptimizerConfig("adam"), "model": ModelConfig(num_channels=4), "data": {"name": "synthetic"}}
    | {"trainer": TrainerConfig(max_epochs=1)},
    {"optimizer": "adam", "model": {"num_channels": np.int64(4)}, "data": "synthetic"}
    | {"trainer": {"max_epochs": np.uint8(1)}, "lr": np.float32(0.5) / np.float32(500)},
]


@pytest.mark.parametrize("given", GIVEN[:3])
def test_names_dictionaries_omegaconfs_and_classes_make_the_same_configuration(given: dict[str, Any]) -> None:
    config = RunConfig(**given)
    assert config == RunConfig(OptimizerConfig("adam"), **{k: v for k, v in GIVEN[0].items() if k != "optimizer"})
    assert [type(getattr(config, name)) for name in sections_of(RunConfig)] == list(sections_of(RunConfig).values())
    assert config.fingerprint == changed({}, given).fingerprint == changed(given, {}).fingerprint


def test_numbers_of_numpy_paths_and_tuples_become_pythons_own() -> None:
    config = RunConfig(
        **GIVEN[3], seed=np.int64(3), callbacks=({"_target_": "a.B"},), ckpt_path=Path("a") / "b"  # pyright: ignore[reportArgumentType] - numpy's whole numbers are none to it
    )  # fmt: skip
    assert [type(v) for v in (config.model.num_channels, config.lr, config.seed)] == [int, float, int]
    assert (config.callbacks, config.ckpt_path) == ([{"_target_": "a.B"}], "a/b")


def test_a_value_that_refers_to_nothing_is_an_error_of_ours() -> None:
    with pytest.raises(ConfigError, match=r"^num_channels: .*NOPE.*write the value itself"):
        RunConfig(model=OmegaConf.create({"num_channels": "${oc.env:NOPE}"}))


CHANGES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"model.num_channels": 8}, {"model": {"num_channels": 8, "num_conv": 1}}),
    ({"model": {"num_channels": 8}}, {"model": {"num_channels": 8, "num_conv": 1}}),
    ({"model": ModelConfig(8)}, {"model": {"num_channels": 8, "num_conv": 2}}),
    ({"data": "mnist"}, {"data": {"name": "mnist", "batch_size": 32}}),
    ({"optimizer": "rmsprop"}, {"optimizer": {"name": "rmsprop", "options": {"momentum": 0.9}}}),
    ({"optimizer.options.momentum": 0.5}, {"optimizer": {"name": "sgd", "options": {"momentum": 0.5}}}),
    ({"optimizer": OptimizerConfig("adam")}, {"optimizer": "adam"}),
    ({"optimizer.options": {"a": True}}, {"optimizer": {"name": "sgd", "options": {"momentum": 0.9, "a": True}}}),
    ({"logger.settings.init_timeout": 3}, {"logger": {"settings": {"init_timeout": 3}}}),
]  # fmt: skip


@pytest.mark.parametrize("as_base", [RunConfig, lambda **keys: keys, lambda **keys: OmegaConf.create(keys)])
@pytest.mark.parametrize(("changes", "result"), CHANGES)
def test_a_change_leaves_what_it_does_not_name(changes: dict[str, Any], result: dict[str, Any], as_base: Any) -> None:
    base = {"optimizer": {"name": "sgd", "options": {"momentum": 0.9}}, "model": {"num_conv": 1}}
    base |= {"data": {"name": "synthetic", "batch_size": 32}}
    assert changed(as_base(**base), changes) == RunConfig(**{**base, **result})


def test_dots_in_the_keys_of_a_free_dictionary_stay() -> None:
    assert changed(None, {"logger": {"a.b": 1}}).logger == {"a.b": 1}


def test_all_problems_of_all_changes_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match="also wrong") as caught:
        changed({"lr": 0.1}, {"lr": -1, "modle.x": 2, "model.num_cov": 3, "trainer": 4})
    assert {p.key for p in caught.value.problems} == {"lr", "modle", "model.num_cov", "trainer"}


def test_a_changed_configuration_is_its_own() -> None:
    base = RunConfig(optimizer={"name": "sgd", "options": {"momentum": 0.9}})
    other = changed(base, {"optimizer.options.momentum": 0.1, "model.num_conv": 0})
    assert (base.optimizer.options, base.model.num_conv) == ({"momentum": 0.9}, 2)
    assert other.trainer == base.trainer
    assert other.trainer is not base.trainer


def test_what_may_be_given_has_every_key_and_no_other() -> None:
    given, types = get_type_hints(RunKeys), types_of(RunConfig)
    assert set(given) | {"retrain"} == set(types)
    for name, kind in sections_of(RunConfig).items():
        assert kind in given[name].__args__
        assert (str in given[name].__args__) == ("name" in types_of(kind)), name


def test_help_tells_every_key_with_its_sentence_default_and_range() -> None:
    text = " ".join((inspect.getdoc(RunConfig) or "").split())
    for key in all_keys():
        about, legal = " ".join(key.field.metadata["about"].split()), range_of(key.field)
        default = f", default {key.field.default!r}" if key.name.rpartition(".")[2] in vars(type_with(key.name)) else ""
        assert f"{key.name} : {key.field.type}{default}" in text, key.name
        assert about + (f"; {legal}" if legal else "") in text, key.name


def type_with(name: str) -> type:
    """The class of the section in which a key is; its attributes are the defaults."""
    section = name.rpartition(".")[0]
    return sections_of(RunConfig)[section] if section else RunConfig


def test_each_section_tells_its_own_keys() -> None:
    for kind in (keys_of_package.ModelConfig, keys_of_package.DataConfig, OptimizerConfig, TrainerConfig):
        assert all(f"\n{key.name} : " in (kind.__doc__ or "") for key in keys_of(kind))
