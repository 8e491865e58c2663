"""sweep/search_setup.py: a directory, and a storage, hold the one search that was begun there."""

from __future__ import annotations

from pathlib import Path

import pytest

from search_cases import compose, settings_of

import optuna  # isort: skip - skipped above where there is none

from mnist_lightning.config import RunConfig
from mnist_lightning.errors import ConfigError, DataError
from mnist_lightning.sweep import search_setup
from mnist_lightning.sweep.search_setup import study_of
from mnist_lightning.sweep.search_storage import open_study
from mnist_lightning.sweep.search_study import SearchStudy


@pytest.fixture(autouse=True)
def digest(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The digest of all data, which a test may change."""
    now = {"is": "ab"}
    monkeypatch.setattr(search_setup, "look", lambda data: now["is"])
    return now


def opened(root: Path, **keys: object) -> SearchStudy:
    return study_of(root, settings_of(**keys), [RunConfig()], compose, trained=True)


def test_other_data_than_the_search_began_with_are_refused(tmp_path: Path, digest: dict[str, str]) -> None:
    opened(tmp_path)
    opened(tmp_path)
    digest["is"] = "cd"
    with pytest.raises(DataError, match="^data=mnist: not the data this search began with; restore them, or choose"):
        opened(tmp_path)


def test_what_is_another_from_here_on_is_said_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened(tmp_path)
    opened(tmp_path)
    assert capsys.readouterr().out == ""
    assert isinstance(opened(tmp_path, pruner="median").study.pruner, optuna.pruners.MedianPruner)
    assert capsys.readouterr().out == "pruner: median from here on, none before\n"


def test_the_study_of_another_program_in_a_database_is_refused_and_one_of_ours_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy", reason="Optuna's databases")
    storage = f"sqlite:///{tmp_path}/studies.db"
    theirs = optuna.create_study(study_name="theirs", storage=storage)
    theirs.add_trial(optuna.trial.create_trial(value=1.0))
    line = "^hydra.sweeper.study_name: theirs is the study of another program; choose another directory or name$"
    with pytest.raises(ConfigError, match=line):
        opened(tmp_path / "here", storage=storage, study_name="theirs")
    ours = opened(tmp_path / "here", storage=storage, study_name="ours")
    assert ours.search.storage == storage
    ours.begin()
    (trial,) = ours.next(1)
    ours.release()
    again = opened(tmp_path / "here", storage=storage, study_name="ours")
    assert [t.params for t in again.study.trials] == [trial.params]


def test_a_storage_that_cannot_be_opened_is_named_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^hydra.sweeper.storage=nope://x: cannot be opened \(.*\); see Optuna's RDB$"
    ):
        open_study(tmp_path, "nope://x", "study", "maximize")
