"""Components: the only way by which a text of a configuration becomes code, and its one fingerprint."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import own_components
from mnist_lightning.config.components import LOSS, NETWORK, OPTIMIZER, Component, Kind, code_of
from mnist_lightning.errors import ConfigError

KEY = "model._target_"
NET = "own_components.Net"
LOOSE: Any = own_components.Net  # to be given what its types forbid
SEQUENTIAL: Any = nn.Sequential


def refusal(target: str, kind: Kind = NETWORK, **arguments: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        Component(target, arguments).check(KEY, kind)
    return str(caught.value)


@pytest.mark.parametrize(
    ("target", "what"),
    [
        (
            "nowhere.Net",
            "there is no module nowhere; run it from the directory in which it lies, or put that on PYTHON",
        ),
        ("torchvisio.models.resnet18", "there is no module torchvisio; did you mean torchvision?"),
        ("torch.nn.Liner", "torch.nn has no Liner; did you mean Linear?"),
        ("torch.optima.Linear", "torch has no optima; did you mean optim?"),
        ("own_components.Net.nothing", "own_components.Net has no nothing; see what is defined there"),
        ("torch.optim.Adam", "not a torch Module; give a name such as my_project.nets.Net"),
        ("os.system", "not a torch Module; a function must say what it returns: def ...(...) -> Module"),
        ("own_components.make_something", "not a torch Module; a function must say what it returns: def ...(...) -> "),
        ("own_components.make_number", "not a torch Module; give a name such as my_project.nets.Net"),
        ("own_components", "not a dotted name; write package.module.Name"),
        ("own components.Net", "not a dotted name; write package.module.Name"),
        ("torch.nn", "not a torch Module; give a name such as my_project.nets.Net"),
        ("torch.nn.modules.linear.Linear", "is torch.nn.Linear; write it by that name"),
        ("own_components.alias", "is own_components.Net; write it by that name"),
    ],
)
def test_what_is_no_code_of_the_kind_says_so_and_the_way_out(target: str, what: str) -> None:
    assert refusal(target).startswith(f"model._target_={target}: {what}")


def test_arguments_that_do_not_fit_name_the_nearest_or_what_is_missing() -> None:
    assert refusal(NET, widht=3) == "model.widht=3: Net has no such argument; did you mean width?"
    assert refusal(NET, zzz=3) == "model.zzz=3: Net has no such argument; it takes width, depth"
    missing = "its arguments do not fit (missing a required argument: 'out_features'); give it as model.NAME=VALUE"
    assert refusal("torch.nn.Linear", in_features=3) == f"model._target_=torch.nn.Linear: {missing}"


def test_what_we_give_ourselves_cannot_be_given_as_an_argument() -> None:
    with pytest.raises(ConfigError, match="optimizer.options.params=1: RAdam has no such argument"):
        Component("torch.optim.RAdam", {"params": 1}).check("optimizer", OPTIMIZER, [], prefix="optimizer.options.")


def test_a_class_and_a_function_that_says_what_it_returns_are_called_with_the_arguments() -> None:
    for target in (NET, "own_components.make_net"):
        net = Component(target, {"width": 3}).build(KEY, NETWORK)
        assert isinstance(net, own_components.Net)
        assert net.layers[1].out_features == 3


def test_losses_are_functions_or_modules() -> None:
    assert code_of("own_components.p_loss", LOSS) is own_components.p_loss
    assert code_of("torch.nn.functional.cross_entropy", LOSS) is nn.functional.cross_entropy
    assert code_of("torch.nn.CrossEntropyLoss", LOSS) is nn.CrossEntropyLoss


def test_what_code_refuses_or_makes_is_checked() -> None:
    with pytest.raises(ConfigError, match=r"_target_=own_components.make_liar: made int, not a torch Module; give a"):
        Component("own_components.make_liar").build(KEY, NETWORK)
    with pytest.raises(ConfigError, match=r"_target_=own_components.Net: refused by Net \(.*; see its arguments"):
        Component(NET, {"width": "wide"}).build(KEY, NETWORK)


def test_checking_calls_nothing() -> None:
    Component("own_components.make_liar").check(KEY, NETWORK)


def test_one_thing_has_one_fingerprint_in_whatever_way_it_is_given() -> None:
    ways: list[object] = [
        {"_target_": NET, "width": 3, "depth": 2},
        {"depth": 2, "_target_": NET, "width": 3},
        partial(own_components.Net, width=3, depth=2),
        partial(own_components.Net, 3, depth=2),
        partial(partial(own_components.alias, 3), 2),
        Component(NET, {"width": 3, "depth": 2}),
    ]
    made = [way if isinstance(way, Component) else Component.of(way, "net") for way in ways]
    assert {c.fingerprint for c in made} == {made[0].fingerprint}
    assert Component.of(own_components.Net, "net") == Component.of(NET, "net") == Component(NET)
    assert Component.of(torch.optim.RAdam, "optimizer").target == "torch.optim.RAdam"
    assert Component.of(partial(LOOSE, 3, depth=(1, 2)), "net").arguments == {"width": 3, "depth": [1, 2]}


def test_whatever_differs_has_another_fingerprint() -> None:
    others = [
        Component(NET),
        Component(NET, {"width": 8}),  # its default, spelled out
        Component(NET, {"width": 8.0}),
        Component(NET, {"width": "8"}),
        Component(NET, {"depth": 8}),
        Component("own_components.make_net"),
    ]
    assert len({c.fingerprint for c in others}) == len(others)


def nested() -> type[nn.Module]:
    class Inner(own_components.Net):
        pass

    return Inner


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (own_components.Net(), "a Net, not a class or function; give the class, with arguments as functools.partial"),
        (nested(), "nested.<locals>.Inner cannot be found by its name; define it at the top of a module"),
        ([].append, "list.append cannot be found by its name; define it at the top of a module"),
        (lambda: None, "<lambda> cannot be found by its name; define it at the top of a module"),
        (partial(LOOSE, width=nn.ReLU), "an argument is type, not a plain value; use numbers"),
        (partial(LOOSE, width={"_target_": "a.B"}), "an argument is {'_target_': 'a.B'}, not a plain"),
        (partial(SEQUENTIAL, 3), "has arguments without a name; give them by keyword"),
        (partial(LOOSE, 1, 2, 3), "its arguments do not fit (too many positional arguments); give them"),
        ({"width": 3}, "no _target_; give {_target_: package.Class, argument: value}"),
        (3, "a int, not a class or function"),
    ],
)
def test_what_has_no_name_or_no_plain_arguments_is_refused(given: object, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Component.of(given, "net")
    assert what in str(caught.value)
    assert str(caught.value).startswith("net=")


@pytest.mark.parametrize(
    "left", [("config.yaml", "result.json"), ("config.yaml", "checkpoints/last.ckpt"), ("plan.json", "multirun.yaml")]
)
def test_code_is_not_taken_from_where_runs_left_their_files(
    tmp_path: Path, left: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "run" / "below"
    place.mkdir(parents=True)
    for name in left:
        file = tmp_path / "run" / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
    (place / "planted.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(place)
    assert "lies where a run left its files; move it; code is not taken from there" in refusal("planted.Net")
    assert "planted" not in sys.modules


def test_a_module_that_cannot_be_imported_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_project").mkdir()
    (tmp_path / "broken_project" / "nets.py").write_text("import not_installed_here")
    (tmp_path / "broken_project" / "ends.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    why = "cannot be imported (No module named 'not_installed_here'); try: python -c 'import broken_project.nets'"
    assert refusal("broken_project.nets.Net") == f"model._target_=broken_project.nets.Net: {why}"
    assert "cannot be imported (3)" in refusal("broken_project.ends.Net")
