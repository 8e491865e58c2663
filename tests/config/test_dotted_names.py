"""Dotted names: the only way by which a text of a configuration becomes code."""

from __future__ import annotations

import pytest

from mnist_lightning.config.dotted_names import load_class


def test_load_class_calls_nothing() -> None:
    with pytest.raises(ValueError, match="not a builtins dict"):
        load_class("subprocess.Popen", dict)


def test_a_class_of_the_wanted_kind_is_found() -> None:
    assert load_class("collections.OrderedDict", (list, dict)).__name__ == "OrderedDict"


@pytest.mark.parametrize("name", ["nowhere.Class", "collections.Nothing", "", "sys.exit"])
def test_anything_else_says_what_is_wrong(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be imported|not a builtins dict"):
        load_class(name, dict)
