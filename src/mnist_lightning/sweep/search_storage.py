"""Where a search's study is stored: Optuna's journal in the sweep's directory, or a database of the user's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend

from mnist_lightning.errors import ConfigError, RefusedError, one_line
from mnist_lightning.records import locks
from mnist_lightning.records.search import CLAIMS, JOURNAL, Direction


class _Journal(JournalFileBackend):
    """Optuna's journal, except for how a process that was killed in it is dealt with.

    Its lock is by flock, which the kernel frees; Optuna's own would be in the way for 30 seconds. A line that was begun
    is removed, where Optuna would write on in it.
    """

    def __init__(self, root: Path) -> None:
        self._place, self._lock_path = root / JOURNAL, root / CLAIMS / "journal.lock"
        super().__init__(str(self._place))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Writes operations as whole lines, durably."""
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with locks.waiting(self._lock_path), open(self._place, "r+b") as file:
            file.seek(whole_lines(file.read()))
            file.truncate()
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())


def whole_lines(content: bytes) -> int:
    """How many bytes of a journal are whole lines."""
    return content.rfind(b"\n") + 1


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Within the block Optuna logs nothing but errors: what it has to say of trials is printed by us."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def open_study(root: Path, storage: str | None, study_name: str, direction: Direction) -> optuna.Study:
    """The study of this name, made if it is not there, in the journal of a directory or in the storage of a URL.

    Raises RefusedError for a damaged journal, ConfigError for a storage that cannot be opened.
    """
    if storage is None:
        (root / CLAIMS).mkdir(parents=True, exist_ok=True)
        try:
            return _loaded(optuna.storages.JournalStorage(_Journal(root)), study_name, direction)
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            what = one_line(f"{type(error).__name__}: {error}")
            raise RefusedError(
                f"{root / JOURNAL}: damaged ({what:.60}); restore it, or choose another directory"
            ) from error
    try:
        return _loaded(optuna.storages.get_storage(storage), study_name, direction)
    except Exception as error:  # each database has errors of its own
        what = one_line(f"{type(error).__name__}: {error}")
        raise ConfigError(
            f"hydra.sweeper.storage={storage}: cannot be opened ({what:.100}); see Optuna's RDB"
        ) from error


def _loaded(storage: Any, study_name: str, direction: Direction) -> optuna.Study:
    try:
        return optuna.load_study(study_name=study_name, storage=storage)
    except KeyError:
        try:
            return optuna.create_study(study_name=study_name, storage=storage, direction=direction)
        except optuna.exceptions.DuplicatedStudyError:  # another process was faster
            return optuna.load_study(study_name=study_name, storage=storage)
