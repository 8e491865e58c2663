"""sweep/search_space.py and search_samplers.py: what is drawn from, how, and what is refused in one line."""

from __future__ import annotations

import re

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from mnist_lightning.config import RunConfig
from mnist_lightning.errors import ConfigError
from mnist_lightning.sweep import search_samplers
from mnist_lightning.sweep.search_names import PRUNERS, SAMPLERS
from mnist_lightning.sweep.search_samplers import Samplers, pruner_name, pruner_of
from mnist_lightning.sweep.search_space import Space, space_of, text_of, values_of
from search_cases import settings_of


def space(*overrides: str) -> Space:
    return space_of(overrides, OverridesParser.create())


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("lr=interval(0.001,0.1)", "0.001 to 0.1"),
        ("lr=tag(log, interval(0.0001, 0.1))", "0.0001 to 0.1, log"),
        ("model.num_channels=interval(2,64)", "2 to 64"),
        ("data.train_size=tag(log,interval(100,1000))", "100 to 1000, log"),
        ("optimizer.options.x=interval(2,64)", "2 to 64"),
        ("model.num_channels=range(2,10,2)", "2 to 8 in steps of 2"),
        ("model.num_channels=range(3)", "0 to 2"),
        ("lr=range(0.1,0.5,0.1)", "0.1 to 0.4 in steps of 0.1"),
        ("optimizer=adam,sgd", "adam, sgd"),
        ("lr=choice(0.1,0.1,0.2)", "0.1, 0.2"),
        ("seed=range(7,8)", "7"),
        ("lr=1,2,3,4,5,6,7,8", "1, 2, 3, 4, 5, 6 and 2 more"),
    ],
)
def test_hydras_grammar_is_what_a_search_draws_from(override: str, text: str) -> None:
    (drawn,) = space(override).drawn.values()
    assert text_of(drawn) == text


def test_a_range_has_the_values_that_it_has_in_a_grid_and_whole_numbers_stay_whole() -> None:
    found = space("model.num_channels=range(2,10,2)", "lr=range(1.0,2.5,0.5)", "model.num_conv=interval(1,3)").drawn
    assert [values_of(d) for d in found.values()] == [[2, 4, 6, 8], [1.0, 1.5, 2.0], [1, 2, 3]]
    assert space("model.num_conv=interval(1,3)").job({"model.num_conv": 2}) == ["model.num_conv=2"]
    assert values_of(space("lr=interval(1,2)").drawn["lr"]) is None
    assert values_of(space("lr=interval(0.5,0.5)", "seed=1,2").drawn["lr"]) == [0.5]


def test_what_has_one_value_is_the_same_for_all_and_each_end_is_looked_at_before_the_first_trial() -> None:
    found = space("lr=interval(0.1,1)", "seed=3", "optimizer=adam,sgd", "model.num_conv=range(0,3)")
    assert found.job({"lr": 1e-05, "optimizer": "sgd", "model.num_conv": 2}) == [
        "seed=3",
        "lr=1e-05",
        "optimizer=sgd",
        "model.num_conv=2",
    ]
    assert [job[1:] for job in found.corners()] == [
        ["lr=0.1", "optimizer=adam", "model.num_conv=0"],
        ["lr=1.0", "optimizer=adam", "model.num_conv=0"],
        ["lr=0.1", "optimizer=sgd", "model.num_conv=0"],
        ["lr=0.1", "optimizer=adam", "model.num_conv=2"],
    ]
    assert found.size is None
    assert space("optimizer=adam,sgd", "model.num_conv=range(0,3)").size == 6


REFUSED = {
    "lr=interval(1,0.1)": "its ends are the wrong way round; use interval(0.1,1)",
    "lr=interval(1,inf)": "has no ends; use interval(low,high)",
    "lr=tag(log,interval(0,1))": "a logarithmic scale begins above 0; use other ends",
    "lr=tag(log,choice(1,2))": "choices have no logarithm; use tag(log,interval(low,high)), or leave log out",
    "lr=tag(lag,interval(1,2))": "unknown tag lag; use tag(log,...)",
    "lr=range(1,1)": "has no value; the end is not one of them, so that range(1,4) is 1, 2, 3",
    "seed=tag(log,range(1,9,2))": "a logarithmic range has no steps; use tag(log,interval(low,high))",
    "lr=tag(log,range(1.5,9))": "a logarithmic range of fractions; use tag(log,interval(low,high))",
    "lr=range(0,inf)": "is not finite; use range(start,stop,step)",
    "seed=interval(0.5,3.2)": "its ends are no whole numbers; use interval(1,3)",
}


@pytest.mark.parametrize(("override", "why"), REFUSED.items())
def test_what_cannot_be_drawn_from_is_refused_with_the_way_out(override: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(f'{override}: {why}')}$"):
        space(override)


def test_a_search_that_draws_nothing_is_refused_and_so_are_endless_choices() -> None:
    with pytest.raises(ConfigError, match="hydra/sweeper=optuna: draws nothing; give a key a range or several values"):
        space("lr=0.1")
    with pytest.raises(ConfigError, match="more than 100,000"):
        space("seed=range(0,1000000)")


WRONG = {
    "n_trials": [(0, "no number of trials; use 1 or more"), (True, "no number"), ("x", "no number")],
    "direction": [("up", "unknown; use maximize or minimize"), (["maximize", "minimize"], "unknown; use")],
    "storage": [(3, "not a text; use a text, or null")],
    "sampler": [
        ("tpee", "unknown; did you mean tpe?"),
        (3, "no name; use one of tpe, random, grid"),
        ("grid", "lr may be any number of an interval; give it a range(start,stop,step) or choices, or use"),
        ("optuna.pruners.MedianPruner", "not an optuna sampler; give a name such as optuna.samplers.TPESampler"),
        ("os.system", "not an optuna sampler"),
        ({"_target_": "tpe", "seed": -1}, "not a whole number of 32 bits; use 0 or more"),
        ({"_target_": "random", "x": 1}, "unexpected keyword argument 'x'; see its arguments"),
    ],
    "pruner": [
        ("medain", "unknown; did you mean median?"),
        ({"_target_": "median", "n_startup_trials": -1}, "see its arguments"),
        ("optuna.samplers.TPESampler", "not an optuna pruner"),
    ],
}


@pytest.mark.parametrize(("key", "value", "why"), [(k, v, w) for k, cases in WRONG.items() for v, w in cases])
def test_a_wrong_key_of_the_sweeper_is_named_with_the_way_out(key: str, value: object, why: str) -> None:
    with pytest.raises(ConfigError, match=rf"^hydra\.sweeper\.{key}.*{re.escape(why)}"):
        settings_of("lr=interval(0.1,1)", **{key: value})


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_has_a_name_and_is_seeded_anew_for_each_trial(name: str) -> None:
    for package in {"cmaes": ["cmaes"], "qmc": ["scipy"], "gp": ["scipy", "torch"]}.get(name, []):
        pytest.importorskip(package)
    samplers = Samplers({"_target_": SAMPLERS[name], "seed": 3}, space("lr=0.1,0.2", "seed=range(0,3)"))
    assert (samplers.name, samplers.described) == (name, f"{name} seed=3")
    assert type(samplers.of_trial(4)).__name__ == SAMPLERS[name].rpartition(".")[2]
    assert Samplers(name, space("lr=0.1,0.2")).described == name


def test_a_sampler_whose_package_is_not_installed_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_samplers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"^hydra.sweeper.sampler=cmaes: needs cmaes; pip install cmaes$"):
        Samplers("cmaes", space("lr=0.1,0.2"))


def test_a_pruner_is_refused_where_nothing_is_validated_by_which_it_would_decide() -> None:
    config = RunConfig(trainer={"limit_val_batches": 0})
    with pytest.raises(
        ConfigError, match=r"^hydra.sweeper.pruner=median: no validation loss to prune by \(trainer.lim"
    ):
        settings_of(pruner="median").refuse_for(config)
    settings_of(pruner="none").refuse_for(config)


@pytest.mark.parametrize("name", PRUNERS)
def test_every_pruner_has_a_name(name: str) -> None:
    pruner = pruner_of(name)
    assert pruner_name(name) == name
    assert (pruner is None) == (name == "none")
    assert pruner is None or type(pruner).__name__ == PRUNERS[name].rpartition(".")[2]
