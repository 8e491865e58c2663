"""The user's YAML files: what is read, and what is wrong in one line; through Hydra is in test_odd_surroundings.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mnist_lightning.command.yaml_files import LARGEST_FILE, MOST_ALIASES, explained, refused_in_one_line
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


def told(path: Path) -> str:
    """What is said of a file that the block reads; empty where nothing is."""
    try:
        with refused_in_one_line(path):
            yaml.safe_load(path.read_text(encoding="utf-8"))
    except ConfigError as error:
        return str(error)
    return ""


def test_a_file_of_up_to_a_mebibyte_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("#" * LARGEST_FILE)
    assert told(path) == ""
    path.write_text("#" * (LARGEST_FILE + 1))
    assert told(path) == f"{path}: 1,048,577 bytes, too large; give it less than 1,048,576"


def test_what_is_wrong_in_a_file_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("a: 1\nb: [\n")
    line = told(path)
    assert line.startswith(f"{path}:3: ")
    assert line.endswith("; mend the file")
    path.write_bytes(b"a: \xff")
    assert told(path) == f"{path}: not UTF-8; save it as UTF-8"
    with pytest.raises(ConfigError, match=r"mine.yaml: nested too deeply, or within itself; flatten it"):
        raise_within(path.with_name("mine.yaml"), RecursionError())


def raise_within(path: Path, error: Exception) -> None:
    path.write_text("a: 1")
    with refused_in_one_line(path):
        raise error


def test_a_file_that_is_not_there_is_left_to_who_reads_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        told(tmp_path / "nowhere.yaml")


def test_an_error_without_a_place_is_told_with_the_files_name_and_without_a_reason_as_no_yaml() -> None:
    assert explained(yaml.YAMLError(), "mine.yaml") == "mine.yaml: not YAML; mend the file"
    assert explained(yaml.YAMLError()) == "a YAML file: not YAML; mend the file"
    unreadable = yaml.reader.ReaderError("x", 3, 0, "utf-8", "special characters are not allowed")
    assert explained(unreadable, "mine.yaml") == "mine.yaml: special characters are not allowed; mend the file"
