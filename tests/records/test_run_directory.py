"""A run's directory: what cannot be read is left alone, and a retrained run takes the old one's place or does not."""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from commands import exit_code, forked
from mnist_lightning.errors import ConfigError, OutputError, RefusedError, UnreadableError
from mnist_lightning.records import run_directory
from mnist_lightning.records.durable import put_aside, remove_orphans
from mnist_lightning.records.plan import PLAN, read_plan
from mnist_lightning.records.results import RECORD, RunResult, load, load_results, save
from mnist_lightning.records.run_directory import (
    BEST,
    LAST,
    METRICS,
    QUARANTINE,
    STAGING,
    finish_retraining,
    finished_result,
    forget_retraining,
    home_of,
    place_of,
    places_of,
    records_of,
    refuse_another_runs,
    stored_result,
)
from mnist_lightning.records.search import SEARCH, read_search

OLD = RunResult(run_name="run", fingerprint="ab12", status="completed", seed=1)
NEW = replace(OLD, seed=2)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


# 1. Records that cannot be read now


def without_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def without_rights() -> None:
    os.setuid(65534)


@needs_fork
@pytest.mark.parametrize("hinder", [without_files, without_rights])
def test_a_record_that_cannot_be_read_now_is_named_and_stays_where_it_is(
    hinder: Callable[[], None], tmp_path: Path
) -> None:
    if hinder is without_rights and os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    record = save(OLD, tmp_path / "run")
    record.chmod(0o600)
    before = record.read_bytes()

    def read() -> int:
        hinder()
        for reader in (stored_result, load_results, lambda d: finished_result(d, "ab12")):
            try:
                reader(record.parent)
            except UnreadableError as error:
                assert f"{tmp_path / 'run'}" in str(error)
                assert "cannot be read (" in str(error)
                assert error.exit_code == 6
            else:
                return 1
        return 0

    assert exit_code(forked(read)) == 0
    assert record.read_bytes() == before
    assert not (tmp_path / QUARANTINE).exists()


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOMEM])
def test_an_error_of_the_disk_is_no_damage_of_a_record_or_a_plan(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = save(OLD, tmp_path / "run")
    (tmp_path / PLAN).write_text("{}")

    def failing(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing)
        with pytest.raises(UnreadableError, match=rf"result.json: cannot be read \({os.strerror(number)}\); repeat"):
            stored_result(tmp_path / "run")
        with pytest.raises(UnreadableError, match=rf"search.json: cannot be read \({os.strerror(number)}\); repeat"):
            read_search(tmp_path)
        patch.setattr(Path, "read_text", failing)
        with pytest.raises(UnreadableError, match=r"plan.json: cannot be read \("):
            read_plan(tmp_path)
    assert load(record).seed == 1


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_where_the_system_cannot_tell_whether_a_record_is_there_it_is_not_called_missing(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = save(OLD, tmp_path / "run")
    stat = Path.stat

    def failing(path: Path, **how: Any) -> os.stat_result:
        if path == record:
            raise OSError(number, os.strerror(number))
        return stat(path, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", failing)
        patch.setattr(Path, "lstat", failing)
        with pytest.raises(UnreadableError, match=rf"{tmp_path}: cannot be read \({os.strerror(number)}\); repeat"):
            load_results(tmp_path)
        with pytest.raises(UnreadableError, match=r"result.json: cannot be read \("):
            stored_result(tmp_path / "run")
    assert load(record).seed == 1


# 2. What is in the way, and whose files are whose


def test_a_damaged_record_of_a_single_run_is_kept_inside_its_directory(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / RECORD).write_text("damaged")
    assert finished_result(tmp_path / "run", "ab12") is None
    assert (tmp_path / "run" / QUARANTINE / "run" / RECORD).read_text() == "damaged"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("name", [PLAN, SEARCH])
def test_a_sweeps_directory_is_no_place_for_a_single_run(name: str, tmp_path: Path) -> None:
    assert finished_result(tmp_path, "ab12") is None
    (tmp_path / name).write_text("{}")
    with pytest.raises(ConfigError, match=f"^{tmp_path}: holds a sweep; choose another directory, or that of one of"):
        finished_result(tmp_path, "ab12")


def test_another_runs_record_and_a_file_in_place_of_the_directory_are_refused(tmp_path: Path) -> None:
    save(OLD, tmp_path / "run")
    with pytest.raises(ConfigError, match="run: holds the record of another run, ab12; choose another directory"):
        place_of(tmp_path / "run", "cd34")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file: a file, not a directory; choose another directory"):
        place_of(tmp_path / "file", "ab12")


@pytest.mark.parametrize(("stored", "wanted"), [("b" * 64, "a" * 64), ("a" * 64, "b" * 64)])
def test_the_record_of_another_run_is_refused_with_the_end_of_its_name(stored: str, wanted: str) -> None:
    refuse_another_runs(replace(OLD, fingerprint=stored), Path("run"), stored)
    with pytest.raises(ConfigError, match=f"^run: holds the record of another run, {stored[:8]}; choose another"):
        refuse_another_runs(replace(OLD, fingerprint=stored), Path("run"), wanted)


def test_a_damaged_record_of_a_sweep_is_put_beside_its_runs_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = save(OLD, tmp_path / "run")
    record.write_text("damaged")
    assert stored_result(tmp_path / "run") is None
    assert (tmp_path / QUARANTINE / "run" / RECORD).read_text() == "damaged"
    said = f"{record}: no whole record (damaged, checksum); moved to {QUARANTINE}/, the run will be done again"
    assert capsys.readouterr().out.splitlines() == [said]


@pytest.mark.parametrize(("status", "place"), [("completed", ".retrain"), ("diverged", ".retrain"), ("failed", "")])
def test_a_finished_run_is_trained_anew_beside_its_record_and_any_other_in_its_place(
    status: Any, place: str, tmp_path: Path
) -> None:
    assert place_of(tmp_path / "run", "ab12") == tmp_path / "run"
    save(replace(OLD, status=status), tmp_path / "run")
    assert place_of(tmp_path / "run", "ab12") == tmp_path / "run" / place
    finished = finished_result(tmp_path / "run", "ab12")
    assert (finished and finished.status) == (status if place else None)
    assert home_of(tmp_path / "run" / place) == tmp_path / "run"


@pytest.mark.parametrize("name", [".other", "run"])  # before and after .retrain in the alphabet
def test_only_a_place_for_retraining_is_below_its_home_and_forgotten(name: str, tmp_path: Path) -> None:
    place, staged = tmp_path / name, tmp_path / name / STAGING
    staged.mkdir(parents=True)
    assert (home_of(place), home_of(staged)) == (place, place)
    assert places_of(place) == [place, place / "checkpoints", staged, staged / "checkpoints"]
    forget_retraining(place)
    assert staged.is_dir()
    (staged / "file").touch()
    forget_retraining(staged)
    forget_retraining(staged)
    assert (place.is_dir(), staged.exists()) == (True, False)


def test_what_is_put_aside_again_and_again_is_kept_each_time(tmp_path: Path) -> None:
    for text in ("first", "second", "third"):
        (tmp_path / "thing").write_text(text)
        put_aside(tmp_path / "thing", tmp_path / "aside")
    assert [(tmp_path / f"aside{n}" / "thing").read_text() for n in ("", ".2", ".3")] == ["first", "second", "third"]


def test_what_cannot_be_put_aside_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="thing: cannot be put aside .*; move it away"):
        put_aside(tmp_path / "thing", tmp_path / "aside")


def test_only_temporary_files_of_ours_are_removed_and_only_in_the_directories_named(tmp_path: Path) -> None:
    ours = [".result.json.123.0a1b2c3d.tmp", "..attempts.1.00000000.tmp"]
    theirs = [".chapter1.tmp", ".a.b.tmp", ".x.12.0a1b2c3.tmp", ".x.12.0A1B2C3D.tmp", "x.12.0a1b2c3d.tmp", ".x.tmp"]
    for where in (tmp_path, tmp_path / "thesis"):
        where.mkdir(exist_ok=True)
        for name in (*ours, *theirs):
            (where / name).touch()
    remove_orphans([tmp_path, tmp_path / "nowhere"])
    assert {path.name for path in tmp_path.iterdir()} == {*theirs, "thesis"}
    assert {path.name for path in (tmp_path / "thesis").iterdir()} == {*ours, *theirs}


# 3. A retrained run takes the place of the old one


def run_in(directory: Path, record: RunResult, best: bool = True) -> None:
    """The files of a run; each says whose it is."""
    for name in (METRICS, LAST, *([BEST] if best else [])):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(f"{record.seed}")
    save(record, directory)


def whose(directory: Path) -> dict[str, str]:
    files = {str(p.relative_to(directory)): p.read_text() for p in sorted(directory.rglob("*")) if p.is_file()}
    record = files.pop(RECORD, None)
    return files | {RECORD: str(load(directory / RECORD).seed) if record else ""}


def state(directory: Path) -> tuple[Path, dict[str, str]]:
    """The old run with the new one beside it, and a file of the user's in both."""
    run_in(directory, OLD)
    run_in(directory / STAGING, NEW, best=False)
    for where in (directory, directory / STAGING):
        (where / f"mine-{where.name}").write_text("mine")
    deep = directory / STAGING / "your" / "own" / "notes"
    deep.parent.mkdir(parents=True)
    deep.write_text("mine")
    after = {LAST: "2", METRICS: "2", RECORD: "2", "your/own/notes": "mine"}
    return directory, after | {f"mine-{directory.name}": "mine", "mine-.retrain": "mine"}


def test_a_whole_retrained_run_takes_the_place_of_the_old_one_and_a_users_files_stay(tmp_path: Path) -> None:
    directory, after = state(tmp_path / "run")
    for _ in range(2):
        finish_retraining(directory)
        assert whose(directory) == after
        assert not list(directory.glob(".retrain*"))


def test_what_is_moved_is_synced_before_the_record_and_that_before_the_rest_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut between two of these leaves a whole run."""
    directory, _ = state(tmp_path / "run")
    done: list[str] = []
    replace_file, remove = os.replace, run_directory.shutil.rmtree

    def moved(file: Path, target: Path) -> None:
        done.append(f"move {target.relative_to(directory)}")
        replace_file(file, target)

    def removed(path: Path) -> None:
        done.append(f"remove {path.name}")
        remove(path)

    monkeypatch.setattr(os, "replace", moved)
    monkeypatch.setattr(run_directory.shutil, "rmtree", removed)
    monkeypatch.setattr(
        run_directory, "sync_directory", lambda path: done.append(f"sync {path.relative_to(directory)}")
    )
    finish_retraining(directory)
    record = done.index(f"move {RECORD}")
    moves = [f"move {name}" for name in (LAST, METRICS, "mine-.retrain", "your/own/notes")]
    assert sorted(done[: len(moves)]) == sorted(moves)
    assert sorted(done[len(moves) : record]) == ["sync .", "sync checkpoints", "sync your/own"]
    assert done[record + 1 :] == ["sync .", "remove .retrained"]


@pytest.mark.parametrize("record", [None, "", "damaged", "failed"])
def test_a_retrained_run_that_is_not_whole_takes_no_place(record: str | None, tmp_path: Path) -> None:
    directory, _ = state(tmp_path / "run")
    staged = directory / STAGING / RECORD
    staged.unlink()
    if record == "failed":
        save(replace(NEW, status="failed"), staged.parent)
    elif record is not None:
        staged.write_text(record)
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    finish_retraining(directory)
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


def killed_at(step: int, directory: Path) -> bool:
    """Whether a process that lets the new run take its place is killed at its `step`-th change of a name."""

    def work() -> int:
        count = 0

        def hook(event: str, arguments: Any) -> None:
            nonlocal count
            if event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir"):
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        finish_retraining(directory)
        return 0

    code = exit_code(forked(work))
    assert code in (0, -signal.SIGKILL)
    return code != 0


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_killed_at_every_step_the_old_run_or_the_new_one_is_there_and_whoever_comes_next_ends_it(
    tmp_path: Path,
) -> None:
    step = 0
    while True:
        step += 1
        directory, after = state(tmp_path / f"run{step}")
        was_killed = killed_at(step, directory)
        if not was_killed:
            break
        assert load(directory / RECORD).seed in (1, 2)
        assert load(directory / RECORD).fingerprint == OLD.fingerprint
        seeds = {load(record).seed for record in records_of(directory)}
        assert (directory / LAST).read_text() in map(str, seeds), "its checkpoint has no record"
        killed_at(step, directory)  # and again
        stored = stored_result(directory)
        assert stored is not None
        assert stored.seed == 2
        assert whose(directory) == after
    assert step > 8


def test_a_retrained_run_that_cannot_take_its_place_is_told_and_the_old_one_stays(tmp_path: Path) -> None:
    directory, _ = state(tmp_path / "run")
    (directory / METRICS).unlink()
    (directory / METRICS).mkdir()
    with pytest.raises(OutputError, match=r"metrics.csv: cannot take the place of the old run \([A-Z][a-z ]+\); free"):
        finish_retraining(directory)
    assert load(directory / RECORD).seed == 1
    (directory / METRICS).rmdir()
    finish_retraining(directory)
    assert whose(directory)[METRICS] == "2"


def test_a_damaged_record_is_still_refused(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text("damaged")
    with pytest.raises(RefusedError, match=r"no whole record \(damaged, checksum\)"):
        load(tmp_path / RECORD)
