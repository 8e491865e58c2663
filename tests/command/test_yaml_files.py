"""The user's YAML files: how many aliases are read, how many are too many; the rest is in test_odd_surroundings.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mnist_lightning.command.yaml_files import MOST_ALIASES, refused_in_one_line
from mnist_lightning.errors import ConfigError


@pytest.mark.parametrize("aliases", [0, MOST_ALIASES, MOST_ALIASES + 1])
def test_a_file_may_have_so_many_aliases_and_no_more(aliases: int, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"a: &a [0.1]\nb: [{', '.join(['*a'] * aliases)}]\n")
    if aliases > MOST_ALIASES:
        with pytest.raises(ConfigError, match=r"mine.yaml: 21 aliases, more than 20"), refused_in_one_line(path):
            pass
    else:
        with refused_in_one_line(path):
            assert len(yaml.safe_load(path.read_text())["b"]) == aliases
