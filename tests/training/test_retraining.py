"""A directory in which something was before: a finished run stays, a new one takes its place whole, damage is said."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from mnist_lightning import MNISTClassifier, RunConfig, RunResult, train, train_many
from mnist_lightning.errors import ConfigError, OutputError, UnreadableError
from mnist_lightning.records.epochs import read_epochs
from mnist_lightning.records.results import RECORD, load, save
from mnist_lightning.records.run_directory import CONFIG, LAST, METRICS, QUARANTINE, STAGING
from mnist_lightning.training import interrupted
from mnist_lightning.training.checkpoints import load_classifier, read_checkpoint
from mnist_lightning.training.record import failed_record

Tiny = Callable[..., RunConfig]
Patch = pytest.MonkeyPatch


def files(directory: Path) -> dict[str, tuple[bytes, int]]:
    found = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def losses(result: RunResult) -> tuple[Any, ...]:
    return (result.status, result.loss, result.loss_test, result.best_epoch, result.epochs)


class CutOffError(Exception):
    """What ends a training in its third epoch."""


@pytest.fixture
def begun(monkeypatch: Patch) -> list[int]:
    """The epochs that were begun; -1 in it cuts the training off in its third epoch."""
    epochs: list[int] = []
    begin = MNISTClassifier.on_train_epoch_start

    def noted(module: MNISTClassifier) -> None:
        if module.current_epoch == 2 and -1 in epochs:
            raise CutOffError
        epochs.append(module.current_epoch)
        begin(module)

    monkeypatch.setattr(MNISTClassifier, "on_train_epoch_start", noted)
    return epochs


@pytest.fixture
def cut(tiny: Tiny, tmp_path: Path, begun: list[int]) -> RunConfig:
    """A configuration of three epochs, whose run in `run` was cut off after two of them."""
    config = tiny(**{"trainer.max_epochs": 3})
    begun.append(-1)
    with pytest.raises(CutOffError):
        train(config, tmp_path / "run")
    begun.clear()
    return config


@pytest.mark.parametrize("changes", [{}, {"loss": "cross_entropy", "optimizer": "sgd", "lr": 1e30}])
def test_a_finished_run_is_returned_and_no_file_of_it_touched(
    changes: dict[str, Any], tiny: Tiny, tmp_path: Path
) -> None:
    first = train(tiny(**changes), tmp_path / "run")
    before = files(tmp_path / "run")
    elsewhere = tiny(**changes, **{"data.root": "nowhere", "data.download": False})
    assert repr(train(elsewhere, tmp_path / "run")) == repr(first)
    assert files(tmp_path / "run") == before


def test_a_retrained_run_takes_the_place_of_the_old_one(tiny: Tiny, tmp_path: Path) -> None:
    first = train(tiny(), tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    before = files(tmp_path / "run")
    for config, asked in ((tiny(), True), (tiny(retrain=True), False)):
        again = train(config, tmp_path / "run", retrain=asked)
        assert losses(again) == losses(first)
        assert again.model_path == "run/checkpoints/last.ckpt"
        after = files(tmp_path / "run")
        assert after.keys() == before.keys()
        assert after["notes.txt"] == before["notes.txt"]
        assert after[LAST][1] > before[LAST][1]
        assert load(tmp_path / "run" / RECORD) == again
        load_classifier(tmp_path / "run" / LAST)  # its checksum is the new record's
        before = after


def test_what_only_the_old_run_had_does_not_stay_beside_the_new_record(tiny: Tiny, tmp_path: Path) -> None:
    train(tiny(), tmp_path / "run")
    bare = tiny(logger={"_target_": "none"}, **{"trainer.enable_checkpointing": False})
    assert train(bare, tmp_path / "run", retrain=True).model_path == ""
    assert {METRICS, LAST}.isdisjoint(files(tmp_path / "run"))


def test_while_a_run_is_retrained_and_when_that_fails_the_old_run_is_there(
    tiny: Tiny, tmp_path: Path, begun: list[int]
) -> None:
    config = tiny(**{"trainer.max_epochs": 3})
    first = train(config, tmp_path / "run")
    before = files(tmp_path / "run")
    begun.append(-1)
    with pytest.raises(CutOffError):
        train(config, tmp_path / "run", retrain=True)
    assert before.items() <= files(tmp_path / "run").items()
    assert train(config, tmp_path / "run") == first
    load_classifier(tmp_path / "run" / LAST)
    begun.clear()
    again = train(config, tmp_path / "run", retrain=True, continue_interrupted=True)
    assert begun == [2], "the first two epochs are not repeated"
    assert losses(again) == losses(first)
    assert not (tmp_path / "run" / STAGING).exists()
    assert list(read_epochs(tmp_path / "run" / METRICS, 3)) == [1, 2, 3]


def test_an_interrupted_retraining_is_forgotten_where_it_shall_not_be_continued(
    tiny: Tiny, tmp_path: Path, begun: list[int]
) -> None:
    config = tiny(**{"trainer.max_epochs": 3})
    train(config, tmp_path / "run")
    begun.append(-1)
    with pytest.raises(CutOffError):
        train(config, tmp_path / "run", retrain=True)
    (tmp_path / "run" / STAGING / "left").touch()
    begun.clear()
    train(config, tmp_path / "run", retrain=True)
    assert begun == [0, 1, 2]
    assert not list((tmp_path / "run").rglob("left"))


def test_a_run_that_failed_goes_on_after_its_last_whole_epoch_and_its_record_stays_until_then(
    cut: RunConfig, tmp_path: Path, begun: list[int]
) -> None:
    save(failed_record(cut, CutOffError("no more ants")), tmp_path / "run")
    begun.append(-1)
    with pytest.raises(CutOffError):
        train(cut, tmp_path / "run", continue_interrupted=True)
    assert load(tmp_path / "run" / RECORD).error == "CutOffError: no more ants"
    begun.clear()
    again = train(cut, tmp_path / "run", continue_interrupted=True)
    assert begun == [2]
    assert losses(again) == losses(train(cut, tmp_path / "whole"))


def test_a_checkpoint_that_cannot_be_gone_on_from_is_named_and_the_run_starts_anew(
    cut: RunConfig, tmp_path: Path, begun: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    last = tmp_path / "run" / LAST
    content = torch.load(last, weights_only=True)
    content["optimizer_states"] = [{"state": {}, "param_groups": []}]
    torch.save(content, last)
    again = train(cut, tmp_path / "run", continue_interrupted=True)
    assert begun == [0, 1, 2]
    assert again.status == "completed"
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{last}: cannot be gone on from, the run starts anew (")


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nlr: *c\n"
ODD: dict[str, Callable[[Path], object]] = {
    "damaged": lambda path: path.write_bytes(b"\0\xff: ["),
    "an alias bomb": lambda path: path.write_text(BOMB),
    "an interpolation bomb": lambda path: path.write_text("lr: ${a}${a}\na: ${b}${b}\nb: 1\n"),
    "another's": lambda path: path.write_text("- lr\n"),
    "a pipe": os.mkfifo,
    "a directory": lambda path: (path.mkdir(), (path / "kept").touch()),
    "huge": lambda path: os.truncate(path, 2**33) if path.touch() is None else None,
    "a link to itself": lambda path: path.symlink_to(path),
}


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("how", ODD)
def test_an_interrupted_run_with_an_odd_config_starts_anew_and_says_so(
    how: str, cut: RunConfig, tmp_path: Path, begun: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run" / CONFIG
    path.unlink()
    ODD[how](path)
    again = train(cut, tmp_path / "run", continue_interrupted=True)
    assert (begun, again.status) == ([0, 1, 2], "completed")
    first, *more = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{path}: ")
    assert first.endswith("; the run starts anew")
    what = "a directory, not a file" if how == "a directory" else "not known to be ours"
    assert more[0] == f"{path}: {what}; moved to {QUARANTINE}/"
    assert [line.endswith(f": not known to be ours; moved to {QUARANTINE}/") for line in more[1:]] == [True] * 3
    left = {p.name for p in (tmp_path / "run" / QUARANTINE).iterdir()}
    assert left == {CONFIG, "metrics.csv", "last.ckpt", "best.ckpt"}, "whose they are cannot be known"


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("how", ["damaged", "a pipe", "a directory", "huge", "a link to itself"])
def test_an_interrupted_run_with_an_odd_table_goes_on_and_says_what_is_lost(
    how: str, cut: RunConfig, tmp_path: Path, begun: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run" / METRICS
    path.unlink()
    ODD[how](path)
    again = train(cut, tmp_path / "run", continue_interrupted=True)
    assert (begun, again.status) == ([2], "completed")
    assert list(read_epochs(path, 3)) == [3]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{path}: ")
    assert line.endswith(("of the 2 epochs before are kept", "before are lost", f"moved to {QUARANTINE}/"))


def test_a_table_cut_off_in_a_line_keeps_the_lines_before(
    cut: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run" / METRICS
    path.write_bytes(path.read_bytes()[:-20])
    train(cut, tmp_path / "run", continue_interrupted=True)
    assert list(read_epochs(path, 3)) == [1, 3]
    assert capsys.readouterr().out == f"{path}: damaged; 1 of the 2 epochs before are kept\n"


def test_a_damaged_checkpoint_is_named_and_one_that_cannot_be_read_now_is_not_replaced(
    cut: RunConfig, tmp_path: Path, begun: list[int], monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    last = tmp_path / "run" / LAST
    before = last.read_bytes()

    def failing(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", failing)
        with pytest.raises(UnreadableError, match=r"last.ckpt: cannot be read \(Input/output error\); repeat"):
            train(cut, tmp_path / "run", continue_interrupted=True)
    assert last.read_bytes() == before
    last.write_bytes(before[:1000])
    train(cut, tmp_path / "run", continue_interrupted=True)
    assert begun == [0, 1, 2]
    assert capsys.readouterr().out.endswith("; the run starts anew\n")


def test_what_was_begun_by_another_configuration_is_not_gone_on_from(
    cut: RunConfig, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tiny(**{"trainer.max_epochs": 3}, lr=0.5)
    assert interrupted.interrupted_checkpoint(other, tmp_path / "run") is None
    told = f"begun here is of another configuration, lr={cut.lr}; the run starts anew"
    assert told in capsys.readouterr().out


def test_ctrl_c_reaches_who_called_train_and_the_next_one_too(tiny: Tiny, tmp_path: Path, monkeypatch: Patch) -> None:
    handler = signal.getsignal(signal.SIGINT)

    def interrupt(module: MNISTClassifier) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(MNISTClassifier, "on_train_epoch_start", interrupt)
    for _ in range(2):  # Lightning would ignore the second one
        with pytest.raises(KeyboardInterrupt):
            train(tiny(), tmp_path / "run")
        assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("hook", ["on_train_batch_start", "on_test_start"])
def test_sigterm_ends_the_program_of_who_called_train_with_143_and_the_run_goes_on(
    hook: str, tiny: Tiny, tmp_path: Path, monkeypatch: Patch
) -> None:
    handler, config = signal.getsignal(signal.SIGTERM), tiny()

    def terminate(module: MNISTClassifier, *arguments: Any) -> None:
        if module.current_epoch:  # the second one, or the end
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(MNISTClassifier, hook, terminate)
        with pytest.raises(SystemExit) as ended:
            train(config, tmp_path / "run")
    assert (ended.value.code, signal.getsignal(signal.SIGTERM)) == (143, handler)
    assert read_checkpoint(tmp_path / "run" / LAST)["epoch"] == (0 if hook == "on_train_batch_start" else 1)
    again = train(config, tmp_path / "run", continue_interrupted=True)
    assert losses(again) == losses(train(config, tmp_path / "whole"))


def test_sigterm_ends_the_program_of_who_called_train_many_with_143(
    tiny: Tiny, tmp_path: Path, monkeypatch: Patch
) -> None:
    from mnist_lightning.fused.engine import FusedClassifier

    monkeypatch.setattr(FusedClassifier, "on_train_epoch_start", lambda module: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as ended:
        train_many([tiny(lr=0.1), tiny(lr=0.2)], [tmp_path / "a", tmp_path / "b"])
    assert ended.value.code == 143


def test_a_callback_that_leaves_by_sys_exit_still_does(tiny: Tiny, tmp_path: Path, monkeypatch: Patch) -> None:
    def leave(module: MNISTClassifier) -> None:
        raise SystemExit(7)

    monkeypatch.setattr(MNISTClassifier, "on_train_epoch_start", leave)
    with pytest.raises(SystemExit, match="7"):
        train(tiny(), tmp_path / "run")


@pytest.mark.parametrize("config", ["x", None, [("lr", 0.1)], RunConfig])
def test_what_is_no_configuration_is_refused_in_a_sentence(config: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"^config: a \w+, not a RunConfig; give RunConfig\(...\)$"):
        train(config, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_keys_and_mappings_train_what_their_configuration_does_and_find_its_record(tiny: Tiny, tmp_path: Path) -> None:
    result = train(tiny(lr=0.1), tmp_path / "run")
    section = {"num_channels": 2, "num_conv": 1, "num_dense": 0}
    trainer, data = vars(tiny().trainer), {"root": tiny().data.root}
    stored = (tmp_path / "run" / "result.json").stat()
    keys: dict[str, Any] = {"model": section, "trainer": trainer, "data": data}
    assert train(lr=0.1, directory=tmp_path / "run", **keys) == result
    assert train(tiny(), tmp_path / "run", lr=0.1) == result
    assert train(OmegaConf.create({"lr": 0.1} | keys), tmp_path / "run") == result
    assert (tmp_path / "run" / "result.json").stat() == stored
    with pytest.raises(ConfigError, match=r"^nonsense=1: no such key; see --help for the keys \(also wrong: lr=-1.0\)"):
        train(tiny(), tmp_path / "run", lr=-1, nonsense=1)  # pyright: ignore[reportCallIssue] - that is the test
    with pytest.raises(TypeError, match=r"^config: a str, not a RunConfig"):
        train("x", tmp_path / "run", lr=1)  # pyright: ignore[reportArgumentType] - that is the test


def test_a_file_where_the_directory_must_be_is_refused_and_another_runs_record_too(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="file: a file, not a directory; choose another directory"):
        train(tiny(), tmp_path / "file")
    with pytest.raises(OutputError, match=r"file/run/config.yaml: cannot be written \(Not a directory\)"):
        train(tiny(), tmp_path / "file" / "run")
    assert (tmp_path / "file").read_text() == "mine"
    train(tiny(), tmp_path / "run")
    with pytest.raises(ConfigError, match=f"run: holds the record of another run, {tiny().fingerprint[:8]}; choose"):
        train(tiny(lr=0.5), tmp_path / "run", retrain=True)


def test_a_damaged_record_is_kept_aside_and_the_run_done_again(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = train(tiny(), tmp_path / "run")
    (tmp_path / "run" / RECORD).write_text("damaged")
    assert losses(train(tiny(), tmp_path / "run")) == losses(first)
    assert (tmp_path / "run" / QUARANTINE / "run" / RECORD).read_text() == "damaged"
    assert "moved to quarantine/, the run will be done again" in capsys.readouterr().out


def test_between_the_commit_and_the_move_a_checkpoint_may_be_of_either_record(tiny: Tiny, tmp_path: Path) -> None:
    result = train(tiny(), tmp_path / "run")
    save(replace(result, checkpoint_sha256="0" * 64), tmp_path / "run" / STAGING)
    assert read_checkpoint(tmp_path / "run" / LAST)
