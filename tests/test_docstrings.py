"""Every public name has an example in its docstring, which does what it says."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path
from typing import Any

import pytest

import mnist_lightning
from mnist_lightning import report
from mnist_lightning.errors import cut

# `sweep` first: the others read what its example has left, as they say
NAMES = sorted(mnist_lightning.__all__, key=lambda name: (name != "sweep", name))
_OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
NEEDS = {"export": "safetensors"}


PUBLIC = {name: getattr(mnist_lightning, name) for name in NAMES}  # before any test replaces one


def public(name: str) -> Any:
    """The object; of a folder that has a function's name, the function."""
    return getattr(PUBLIC[name], "_function", PUBLIC[name])


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


def example_of(name: str) -> doctest.DocTest:
    """The docstring's examples, in a module that has only done `from mnist_lightning import *`."""
    return doctest.DocTestParser().get_doctest(inspect.getdoc(public(name)) or "", dict(PUBLIC), name, None, None)


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_public_name_does_what_it_says(
    name: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(NEEDS.get(name, "torch"))
    monkeypatch.chdir(directory)
    if name != "write_report":  # figures take seconds
        monkeypatch.setattr(report, "write_report", report.write_tables)
    if name != "sweep" and not Path("outputs/small").exists():  # this test alone
        doctest.DocTestRunner(optionflags=_OPTIONS).run(example_of("sweep"), out=lambda text: None)
    said: list[str] = []
    examples = example_of(name)
    assert examples.examples, f"{name} has no example"
    failed = doctest.DocTestRunner(optionflags=_OPTIONS).run(examples, out=said.append)
    assert failed.failed == 0, "".join(said)


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_of_a_public_function_names_its_arguments_and_errors(name: str) -> None:
    thing, text = public(name), inspect.getdoc(public(name)) or ""
    if inspect.isclass(thing):
        assert cut(text, 500), name
        return
    for argument, parameter in inspect.signature(thing).parameters.items():
        if parameter.kind is not parameter.VAR_KEYWORD:
            assert argument in text, f"{name}: {argument}"
        assert parameter.annotation is not parameter.empty
    assert "Raises " in text, name
