"""The configuration: what is refused, and with which words; fingerprints and names."""

from __future__ import annotations

import inspect
import re
from typing import Any

import lightning as L
import pytest
from packaging.version import Version

from mnist_lightning.config import (
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    TrainerConfig,
    check_values,
    conf_dir,
    fresh_directory,
    parse,
    schema,
    wrong_type,
)
from mnist_lightning.config.keys import LONGEST_NAME, all_keys, section_from
from mnist_lightning.errors import ConfigError, one_line
from mnist_lightning.records.plan import is_run_name


def test_the_defaults_are_the_studys() -> None:
    config = RunConfig()
    assert (config.optimizer.name, config.lr, config.loss) == ("rmsprop", 0.001, "mse")
    assert (config.model.num_channels, config.model.num_conv, config.model.num_dense) == (32, 2, 1)
    assert (config.trainer.max_epochs, config.data.batch_size, config.data.val_size) == (20, 64, 0)


REFUSED = [
    ({"lr": 0.0}, "lr=0.0: too small; use a number above 0, at most 1e"),
    ({"lr": -1.0}, "lr=-1.0: too small"),
    ({"lr": float("nan")}, "lr=nan: not a finite number"),
    ({"lr": float("inf")}, "lr=inf: not a finite number"),
    ({"lr": "fast"}, "lr=fast: not a number"),
    ({"lr": True}, "lr=True: not a number"),
    ({"seed": -1}, "seed=-1: too small; use 0 to 4294967295"),
    ({"seed": 2**32}, "seed=4294967296: too large"),
    ({"seed": 1.5}, "seed=1.5: not a whole number"),
    ({"loss": "mes"}, r"loss=mes: unknown; did you mean mse\? \(one of mse, mae, cross_entropy or a dotted path\)"),
    ({"modle": 1}, r"modle=1: no such key; did you mean model\?"),
    ({"model": {"lr": 1}}, r"model.lr=1: no such key; did you mean lr\?"),
    (
        {"model": {"num_conv": 5}},
        "model.num_conv=5: the image vanishes: 28 pixels halve to 28, 14, 7, 3, 1 .* use 0 to 4",
    ),
    ({"model": {"num_channels": 0}}, "model.num_channels=0: too small"),
    ({"optimizer": {"name": "adamm"}}, r"optimizer.name=adamm: unknown; did you mean adam\?"),
    ({"trainer": {"max_epochs": 0}}, "trainer.max_epochs=0: too small; use 1 or more"),
    ({"trainer": {"max_epoch": 3}}, r"trainer.max_epoch=3: no such key; did you mean trainer.max_epochs\?"),
    ({"trainer": {"precision": "8"}}, "trainer.precision=8: unknown"),
    ({"trainer": {"num_nodes": 2}}, "trainer.num_nodes=2: one run trains on one device; leave it out; runs go side"),
    ({"trainer": {"num_nodes": "two"}}, "trainer.num_nodes=two: one run trains on one device"),
    ({"trainer": {"strategy": "ddp"}}, "trainer.strategy=ddp: one run trains on one device; leave it out"),
    ({"trainer": {"deterministic": "yes"}}, "trainer.deterministic=yes: unknown; use true, false or warn"),
    ({"trainer": {"min_epochs": 21}}, "trainer.min_epochs=21: too large; use at most trainer.max_epochs=20"),
    ({"data": {"batch_size": 0}}, "data.batch_size=0: too small"),
    ({"data": {"train_size": 5, "val_size": 5}}, "data.val_size=5: leaves nothing to train on; use less than"),
    ({"data": {"name": "minst"}}, r"data.name=minst: unknown; did you mean mnist\?"),
    ({"callbacks": "none"}, "callbacks=none: not a list"),
]


@pytest.mark.parametrize(("values", "message"), REFUSED, ids=[str(values) for values, _ in REFUSED])
def test_a_bad_value_is_refused_with_the_value_and_the_way_out(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        parse(values)


@pytest.mark.parametrize("values", [values for values, _ in REFUSED if "modle" not in values], ids=str)
def test_the_class_refuses_with_the_same_words_as_the_command(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as parsed:
        parse(values)
    with pytest.raises(ConfigError, match=re.escape(str(parsed.value))):
        RunConfig(**values)


# One key for each kind of type, and what to give it instead
REMEDIES = [
    ({"data": {"download": 3}}, "data.download=3: not true or false; use true or false"),
    ({"ckpt_path": 3}, "ckpt_path=3: not a word; use a word, or null"),
    ({"data": {"root": None}}, "data.root=null: not a word; use a word"),
    ({"seed": "one"}, "seed=one: not a whole number; use 0 to 4294967295"),
    ({"data": {"train_size": "all"}}, "data.train_size=all: not a whole number; use 1 or more, or null"),
    (
        {"trainer": {"fast_dev_run": "x"}},
        "not true or false or a whole number; use true or false or a whole number, or n",
    ),
    ({"trainer": {"gradient_clip_val": "x"}}, "trainer.gradient_clip_val=x: not a number; use 0 or more, or null"),
    ({"callbacks": 3}, "callbacks=3: not a list; use [a, b]"),
    ({"optimizer": {"options": 3}}, "optimizer.options=3: not a group of keys; use {key: value}"),
    ({"model": 3}, "model=3: not a group of keys; use its keys, such as model.num_channels"),
    ({"model": "large"}, "model=large: not a group of keys; use its keys, such as model.num_channels"),
    ({"data": {"name": 3}}, "data.name=3: not a word; use one of mnist, "),
]


@pytest.mark.parametrize(("values", "message"), REMEDIES, ids=[str(values) for values, _ in REMEDIES])
def test_the_remedy_comes_from_type_and_range(values: dict[str, Any], message: str) -> None:
    for refused in (lambda: parse(values), lambda: RunConfig(**values)):
        with pytest.raises(ConfigError, match=re.escape(message)):
            refused()


def test_all_problems_are_named_at_once() -> None:
    values = {"lr": -1.0, "model": {"num_conv": 9}, "seed": -5, "data": {"rot": "x", "batch_size": 0}}
    for refused in (lambda: parse(values), lambda: RunConfig(**values)):  # pyright: ignore[reportArgumentType] - what people type
        with pytest.raises(ConfigError, match="also wrong") as caught:
            refused()
        keys = {p.key for p in caught.value.problems}
        assert keys == {"lr", "model.num_conv", "seed", "data.rot", "data.batch_size"}


def test_check_looks_at_values_changed_since_the_configuration_was_made() -> None:
    config = RunConfig()
    config.check()
    config.lr, config.model.num_conv, config.trainer.precision = 1, 9, "32"
    with pytest.raises(ConfigError, match=r"^model.num_conv=9: the image vanishes"):
        config.check()
    config.model.num_conv = 1
    config.check()
    assert (config.lr, type(config.lr), config.trainer.precision) == (1.0, float, "32-true")


def test_values_are_checked_without_a_section() -> None:
    check_values(ModelConfig, num_channels=4)
    check_values(RunConfig, lr=1, loss="mae")
    with pytest.raises(ConfigError, match=r"model.num_channels=0: too small; .*also wrong: model.num_dense=-1"):
        check_values(ModelConfig, num_channels=0, num_dense=-1)


def test_every_key_has_a_sentence() -> None:
    assert [key.name for key in all_keys() if len(key.field.metadata["about"].split()) < 2] == []


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("data.batch_size", "data.batch_size=x: not a whole number; use 1 to 1000000"),
        ("model", "model=x: not a group of keys; use its keys, such as model.num_channels"),
        ("data.rot", r"data.rot=x: no such key; did you mean data.root?"),
        ("nonsense", "nonsense=x: no such key; see --help for the keys"),
    ],
)
def test_a_word_of_the_wrong_type_on_the_command_line(key: str, message: str) -> None:
    assert str(wrong_type(key, "x")) == message


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("learning_rate", "lr"),
        ("LR", "lr"),
        ("epochs", "trainer.max_epochs"),
        ("num_epochs", "trainer.max_epochs"),
        ("trainer.epochs", "trainer.max_epochs"),
        ("Batch_Size", "data.batch_size"),
        ("channels", "model.num_channels"),
        ("model.channels", "model.num_channels"),
        ("dataset", "data"),
    ],
)
def test_the_name_that_another_library_has_for_a_key_leads_to_ours(word: str, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{re.escape(word)}=1: no such key; did you mean {key}\?"):
        parse({word.partition(".")[0]: {word.partition(".")[2]: 1} if "." in word else 1})


def test_no_other_name_of_a_key_is_a_key_or_leads_to_two() -> None:
    others = [word for known in all_keys() for word in known.field.metadata["also"]]
    assert len(others) == len(set(others))
    assert not set(others) & {known.name.rpartition(".")[2] for known in all_keys()}


@pytest.mark.parametrize(
    ("word", "meant"), [("ADAM", "adam"), ("adma", "adam"), ("amdaw", "adamw"), ("RMSProp", "rmsprop"), ("sdg", "sgd")]
)
def test_a_near_miss_is_of_any_case_and_a_slip_of_two_letters_counts_less_than_another_word(
    word: str, meant: str
) -> None:
    with pytest.raises(ConfigError, match=rf"optimizer.name={word}: unknown; did you mean {meant}\?"):
        OptimizerConfig(word)


def test_a_section_judges_itself_without_the_rest() -> None:
    with pytest.raises(ValueError, match=r"model.num_conv=-1: too small"):
        ModelConfig(num_conv=-1)


def test_how_many_poolings_there_may_be_is_a_question_to_the_images() -> None:
    for model in (ModelConfig(num_conv=5), {"num_conv": 5}):
        with pytest.raises(ConfigError, match=r"^model.num_conv=5: the image vanishes"):
            RunConfig(model=model)  # pyright: ignore[reportArgumentType] - a section as plain values


def test_what_people_type_first_works() -> None:
    config = RunConfig(optimizer="adam", data="synthetic", lr=1)  # pyright: ignore[reportArgumentType] - what people type
    assert (config.optimizer, config.data.name, config.lr) == (OptimizerConfig("adam"), "synthetic", 1.0)


def test_seed_0_is_a_seed() -> None:
    assert parse({"seed": 0}).seed == 0
    assert RunConfig(seed=0).fingerprint != RunConfig(seed=1).fingerprint


def test_the_schema_and_the_dataclass_have_the_same_keys_and_defaults() -> None:
    assert parse(schema()) == RunConfig()


def test_every_argument_of_lightnings_trainer_is_a_key() -> None:
    arguments = set(inspect.signature(L.Trainer.__init__).parameters) - {"self", "logger", "callbacks"}
    ours = set(TrainerConfig.__dataclass_fields__)
    assert ours - arguments == set()
    tried = Version(L.__version__) <= Version("2.6.6")  # a later version may have arguments that we cannot know yet
    assert not tried or arguments - ours == set()


@pytest.mark.parametrize(
    "other",
    [
        {"lr": 0.002},
        {"seed": 1},
        {"loss": "mae"},
        {"optimizer": {"name": "adam"}},
        {"optimizer": {"options": {"rho": 0.8}}},
        {"model": {"num_dense": 3}},
        {"data": {"train_size": 100}},
        {"trainer": {"max_epochs": 1}},
        {"trainer": {"gradient_clip_val": 1.0}},
        {"callbacks": [{"_target_": "a.B"}]},
    ],
    ids=str,
)
def test_the_fingerprint_differs_when_the_computation_does(other: dict[str, Any]) -> None:
    assert parse(other).fingerprint != RunConfig().fingerprint


@pytest.mark.parametrize(
    "other",
    [{"data": {"root": "/elsewhere"}}, {"trainer": {"accelerator": "gpu"}}, {"sweep": {"max_retries": 3}}],
    ids=str,
)
def test_the_fingerprint_stays_when_only_the_place_differs(other: dict[str, Any]) -> None:
    assert parse(other).fingerprint == RunConfig().fingerprint


def test_the_fingerprint_is_the_same_in_every_version_until_we_mean_otherwise() -> None:
    config = parse({"data": {"root": "x"}})
    assert config.run_name == f"RMSprop_mse_lr1e-03_num_channel32_num_conv2_num_dense1_{config.fingerprint[:8]}"
    assert config.fingerprint == "0a683bf43fb5d73f"


@pytest.mark.parametrize("name", ["rmsprop", "torch_rmsprop", "torch.optim.RAdam", "a." + "LongName" * 20, "a.é"])
def test_a_run_name_is_short_and_safe_as_a_directory(name: str) -> None:
    config = RunConfig(OptimizerConfig(name), loss="cross_entropy", model=ModelConfig(4096, 4, 100))
    assert re.fullmatch(r"[A-Za-z0-9_-]+\+?[A-Za-z0-9_-]*", config.run_name)
    assert len(config.run_name) <= LONGEST_NAME


@pytest.mark.parametrize("name", ["a.B\n../../x", "../../x", ".", "a.", "a..b", "a.b c"])
def test_what_is_no_dotted_name_is_refused_where_one_may_stand(name: str) -> None:
    for key in ("optimizer", "loss", "scheduler"):
        with pytest.raises(ConfigError, match="unknown; use one of"):
            section_from(RunConfig, {key: name})


def test_fresh_directories_never_collide_within_a_second() -> None:
    names = {fresh_directory() for _ in range(50)}
    assert len(names) == 50
    assert all(name.startswith("outputs/") for name in names)


def test_the_data_root_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_LIGHTNING_DATA", "/mnt/digits")
    assert DataConfig().root == "/mnt/digits"
    monkeypatch.delenv("MNIST_LIGHTNING_DATA")
    assert DataConfig().root == "data"


def test_conf_is_found() -> None:
    assert (conf_dir() / "config.yaml").is_file()


def test_an_error_is_one_printable_line_of_at_most_200_characters() -> None:
    line = one_line("a\nb\x1b[31m" + "c" * 500)
    assert len(line) == 200
    assert line.isprintable()
    assert line.startswith(r"a b\x1b[31m")


@pytest.mark.parametrize("lr", [1e-30, 0.001, 1.0, 10.0, 1e30])
def test_a_run_may_have_the_name_that_its_configuration_gives_it(lr: float) -> None:
    assert is_run_name(RunConfig(lr=lr).run_name)
