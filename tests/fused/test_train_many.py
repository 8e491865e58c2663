"""train_many: what it is given, what is in the directories already, and what Ctrl-C does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mnist_lightning import RunConfig, train_many
from mnist_lightning.errors import OutputError
from mnist_lightning.fused.members import Member
from mnist_lightning.records.results import RECORD, load
from mnist_lightning.records.run_directory import LAST, STAGING
from mnist_lightning.training.checkpoints import load_classifier

Tiny = Callable[..., RunConfig]
Patch = pytest.MonkeyPatch


def stamps(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("directories", "message"),
    [
        ("ab", "directories=ab: not a list; give one directory for each configuration"),
        (Path("ab"), "directories=ab: not a list; give one directory for each configuration"),
        (7, "directories=7: not a list; give one directory for each configuration"),
        (["a"], "directories: 1 for 2 configurations; give one for each"),
        (["a", "b", "c"], "directories: 3 for 2 configurations; give one for each"),
        (["a", "./a"], "directories: a twice; give each run its own"),
        (["b/../a", "a"], "directories: b/../a twice; give each run its own"),
    ],
)
def test_directories_that_are_not_one_for_each_run_are_refused_before_anything_is_made(
    directories: Any, message: str, tiny: Tiny, tmp_path: Path, monkeypatch: Patch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"^{message}$"):
        train_many([tiny(lr=0.1), tiny(lr=0.2)], directories)
    assert not list(tmp_path.iterdir())


def test_a_file_among_the_directories_is_refused_before_anything_is_trained(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file: a file, not a directory; choose another directory"):
        train_many([tiny(lr=0.1), tiny(lr=0.2)], [tmp_path / "run", tmp_path / "file"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("configs", ["x", 7, RunConfig(), None])
def test_what_is_no_list_of_configurations_is_refused_in_a_sentence(configs: Any) -> None:
    with pytest.raises(TypeError, match=r"^configs: a \w+, not a list of RunConfig; give \[RunConfig\(...\), ...\]$"):
        train_many(configs)
    with pytest.raises(TypeError, match="^config: a str, not a RunConfig"):
        train_many(["x"])  # pyright: ignore[reportArgumentType] - that is the test


def test_generators_do_as_well_as_lists_and_a_finished_run_is_not_trained_again(tiny: Tiny, tmp_path: Path) -> None:
    rates = (0.1, 0.2)
    first = train_many((tiny(lr=lr) for lr in rates), (tmp_path / str(lr) for lr in rates))
    assert [r.learning_rate for r in first] == list(rates)
    before = stamps(tmp_path)
    again = train_many([tiny(lr=lr) for lr in (*rates, 0.3)], [tmp_path / str(lr) for lr in (*rates, 0.3)])
    assert [r.learning_rate for r in again] == [0.1, 0.2, 0.3]
    assert again[:2] == first
    assert before.items() <= stamps(tmp_path).items()


def test_a_retrained_group_takes_the_place_of_the_old_runs(tiny: Tiny, tmp_path: Path) -> None:
    configs = [tiny(lr=0.1), tiny(lr=0.2), tiny(lr=0.3, **{"optimizer.name": "nadam"})]
    paths = [tmp_path / config.run_name for config in configs]
    first = train_many(configs, paths)
    before = stamps(tmp_path)
    again = train_many(configs, paths, retrain=True)
    assert [(r.loss, r.loss_test, r.engine, r.model_path) for r in again] == [
        (r.loss, r.loss_test, r.engine, r.model_path) for r in first
    ]
    after = stamps(tmp_path)
    assert after.keys() == before.keys()
    assert all(after[path / RECORD] > before[path / RECORD] for path in paths)
    for path, result in zip(paths, again, strict=True):
        assert load(path / RECORD) == result
        load_classifier(path / LAST)


@pytest.fixture
def cut_off(monkeypatch: Patch) -> list[int]:
    """The epochs that members logged; while -1 is in it, a group is cut off by Ctrl-C in its third one."""
    monkeypatch.setattr("mnist_lightning.fused.engine._CHECKPOINT_SHARE", 1e9)  # after every epoch, however short
    seen: list[int] = []
    log = Member.log

    def interrupted(member: Member, epoch: int, step: int, train: Any, val: Any) -> None:
        if epoch == 3 and -1 in seen:
            os.kill(os.getpid(), signal.SIGINT)
        seen.append(epoch)
        log(member, epoch, step, train, val)

    monkeypatch.setattr(Member, "log", interrupted)
    return seen


def test_ctrl_c_reaches_the_caller_and_a_retraining_goes_on_beside_the_old_runs(
    tiny: Tiny, tmp_path: Path, cut_off: list[int]
) -> None:
    configs = [tiny(lr=lr, **{"trainer.max_epochs": 4}) for lr in (0.1, 0.2)]
    paths = [tmp_path / config.run_name for config in configs]
    first = train_many(configs, paths)
    cut_off.append(-1)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train_many(configs, paths, retrain=True)
    assert signal.getsignal(signal.SIGINT) is handler
    assert train_many(configs, paths) == first
    assert all((path / STAGING).is_dir() for path in paths)
    cut_off.clear()
    again = train_many(configs, paths, retrain=True, continue_interrupted=True)
    assert min(cut_off) == 3, "epochs 1 and 2 are not repeated"
    assert [(r.loss, r.best_epoch) for r in again] == [(r.loss, r.best_epoch) for r in first]
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths}
    assert not any((path / STAGING).exists() for path in paths)


def test_a_group_whose_checkpoint_cannot_be_gone_on_from_starts_anew_and_says_so(
    tiny: Tiny, tmp_path: Path, cut_off: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    configs = [tiny(lr=lr, **{"trainer.max_epochs": 4}) for lr in (0.1, 0.2)]
    paths = [tmp_path / config.run_name for config in configs]
    cut_off.append(-1)
    with pytest.raises(KeyboardInterrupt):
        train_many(configs, paths)
    (checkpoint,) = (tmp_path / ".fused").glob("*.ckpt")
    content = torch.load(checkpoint, weights_only=True)
    content["members"][configs[0].fingerprint]["weights"].popitem()
    torch.save(content, checkpoint)
    cut_off.clear()
    results = train_many(configs, paths, continue_interrupted=True)
    assert min(cut_off) == 1
    assert [r.status for r in results] == ["completed"] * 2
    out = capsys.readouterr().out
    assert f"{checkpoint}: cannot be gone on from, the group starts anew (" in out
