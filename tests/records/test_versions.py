"""The versions that a record names."""

from __future__ import annotations

from pathlib import Path

import pytest

from mnist_lightning.records import versions as module


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "conf_dir", lambda: tmp_path / "conf")
    return tmp_path


def test_where_there_is_no_repository_or_one_without_a_commit_none_is_named(conf: Path) -> None:
    assert module.versions.__wrapped__()["commit"] == ""
    (conf / ".git").mkdir()
    assert module.versions.__wrapped__()["commit"] == ""


def test_what_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> str:
        raise module.importlib.metadata.PackageNotFoundError(name)

    known = module.versions.__wrapped__()
    monkeypatch.setattr(module.importlib.metadata, "version", unknown)
    columns = module.versions.__wrapped__()
    assert columns.keys() == known.keys()
    assert columns["torch_version"] == "" != known["torch_version"]
    assert columns["python_version"] == known["python_version"]
