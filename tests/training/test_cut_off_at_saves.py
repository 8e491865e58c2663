"""A run that is cut off just before or after its checkpoint is saved: each epoch is told to the loggers once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logger_cases import NOTES, Notes
from mnist_lightning import RunConfig, train, train_many
from mnist_lightning.training.checkpoints import DurableCheckpoints

Tiny = Callable[..., RunConfig]


class CutOffError(BaseException):
    """What ends a training where a checkpoint is saved."""


def cut_off_at(monkeypatch: pytest.MonkeyPatch, save: int, *, is_saved: bool) -> None:
    """Ends the training at the n-th time that a checkpoint to go on from is saved, before or after that."""
    saves: list[Path] = []
    whole = DurableCheckpoints.save_checkpoint

    def cut(self: DurableCheckpoints, checkpoint: dict[str, Any], path: Any, *args: Any, **kw: Any) -> None:
        is_counted = Path(path).name != "best.ckpt"
        saves.extend([Path(path)] * is_counted)
        ends = len(saves) == save and is_counted
        if not ends or is_saved:
            whole(self, checkpoint, path, *args, **kw)
        if ends:
            raise CutOffError

    monkeypatch.setattr(DurableCheckpoints, "save_checkpoint", cut)


@pytest.mark.parametrize(("epoch", "is_saved"), [(2, True), (3, True), (2, False)])
def test_a_run_cut_off_where_its_checkpoint_is_saved_ends_with_the_whole_table(
    epoch: int,
    is_saved: bool,
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Notes, "calls", [])
    validated = {"trainer.max_epochs": 3, "trainer.check_val_every_n_epoch": 2}
    config = tiny(scheduler="plateau", logger=NOTES, **validated)
    train(config, tmp_path / "whole")
    told = [call for call in Notes.calls if call[0] == "metrics"]
    Notes.calls.clear()
    with monkeypatch.context() as patch:
        cut_off_at(patch, epoch, is_saved=is_saved)
        with pytest.raises(CutOffError):
            train(config, tmp_path / "cut")
    train(config, tmp_path / "cut", continue_interrupted=True)
    assert (tmp_path / "cut" / "metrics.csv").read_bytes() == (tmp_path / "whole" / "metrics.csv").read_bytes()
    assert capsys.readouterr().out == ""
    if is_saved:
        assert [call for call in Notes.calls if call[0] == "metrics"] == told, "each epoch once, in its order"


def test_a_group_cut_off_where_its_checkpoint_is_saved_ends_with_the_whole_tables(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    configs = [tiny(lr=lr) for lr in (0.001, 0.01)]
    whole, cut = ([tmp_path / name / str(i) for i in range(2)] for name in ("whole", "cut"))
    train_many(configs, whole)
    with monkeypatch.context() as patch:
        cut_off_at(patch, 1, is_saved=True)
        with pytest.raises(CutOffError):
            train_many(configs, cut)
    assert len(list((tmp_path / "cut" / ".fused").glob("*.ckpt"))) == 1
    train_many(configs, cut, continue_interrupted=True)
    tables = [[(path / "metrics.csv").read_bytes() for path in paths] for paths in (whole, cut)]
    assert tables[0] == tables[1]
    assert capsys.readouterr().out == ""
