"""training/heartbeats.py: what a run says of itself while it is trained, alone and in a group."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mnist_lightning import RunConfig, train, train_many
from mnist_lightning.records.heartbeat import HEARTBEAT, Heartbeat
from mnist_lightning.training import heartbeats, run

Tiny = Callable[..., RunConfig]


@pytest.fixture
def beaten(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, Heartbeat]]:
    """Every heartbeat of what is trained, each batch's."""
    beats: list[tuple[Path, Heartbeat]] = []
    monkeypatch.setattr(heartbeats, "_EVERY", 0.0)
    monkeypatch.setattr(heartbeats, "beat", lambda run_dir, heartbeat: beats.append((run_dir, heartbeat)))
    return beats


def test_a_run_says_each_epoch_and_batch_and_the_last_accuracy(
    tiny: Tiny, tmp_path: Path, beaten: list[tuple[Path, Heartbeat]]
) -> None:
    config = tiny()
    result = train(config, tmp_path)
    assert {run_dir for run_dir, _ in beaten} == {tmp_path}
    beats = [heartbeat for _, heartbeat in beaten]
    steps = [(b.epoch, b.batch) for b in beats]
    assert list(dict.fromkeys(steps)) == [(e, b) for e in (1, 2) for b in (0, 1, 2, 3) if (e, b) != (2, 0)]
    assert {(b.epochs, b.batches, *b.runs) for b in beats} == {(2, 3, config.run_name)}
    assert beats[0].val_accuracy is None
    assert beats[-1].val_accuracy == pytest.approx(result.accuracy_test)
    assert [b.fraction for b in beats] == sorted(b.fraction for b in beats)
    assert beats[-1].fraction == 1


def test_a_run_that_goes_on_says_how_much_was_trained_before(
    tiny: Tiny, tmp_path: Path, beaten: list[tuple[Path, Heartbeat]]
) -> None:
    train(tiny(), tmp_path / "before")
    beaten.clear()
    longer = tiny(**{"trainer.max_epochs": 4, "ckpt_path": str(tmp_path / "before/checkpoints/last.ckpt")})
    train(longer, tmp_path / "after")
    assert {b.fraction_before for _, b in beaten} == {0.5}
    assert beaten[0][1].fraction == 0.5


def test_few_steps_are_few_epochs(tiny: Tiny, tmp_path: Path, beaten: list[tuple[Path, Heartbeat]]) -> None:
    train(tiny(**{"trainer.max_epochs": 9, "trainer.max_steps": 5}), tmp_path)
    assert {b.epochs for _, b in beaten} == {2}
    assert beaten[-1][1].fraction == 1


def test_a_group_says_it_in_its_first_directory_with_the_best_accuracy(
    tiny: Tiny, tmp_path: Path, beaten: list[tuple[Path, Heartbeat]]
) -> None:
    configs = [tiny(lr=lr) for lr in (0.001, 0.01)]
    results = train_many(configs, [tmp_path / "a", tmp_path / "b"])
    assert {run_dir for run_dir, _ in beaten} == {tmp_path / "a"}
    assert {tuple(b.runs) for _, b in beaten} == {tuple(config.run_name for config in configs)}
    assert beaten[-1][1].val_accuracy == pytest.approx(max(r.accuracy_test for r in results))


def test_no_heartbeat_is_left_of_a_run_that_has_ended_or_failed(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny(), tmp_path / "ended")
    train_many([tiny(lr=0.1), tiny(lr=0.2)], [tmp_path / "a", tmp_path / "b"])

    def fails(*arguments: object) -> None:
        assert (tmp_path / "failed" / HEARTBEAT).is_file()
        raise RuntimeError("after the fit")

    monkeypatch.setattr(run, "evaluate", fails)
    with pytest.raises(RuntimeError, match="after the fit"):
        train(tiny(), tmp_path / "failed")
    assert not list(tmp_path.rglob(HEARTBEAT))
