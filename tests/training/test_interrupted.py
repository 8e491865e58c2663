"""Whether a run can go on from what an interrupted one has left: asked of made-up files, without a training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from omegaconf import OmegaConf

from mnist_lightning.config import RunConfig
from mnist_lightning.errors import ConfigError, RefusedError, UnreadableError
from mnist_lightning.records.run_directory import CONFIG, LAST, STAGING
from mnist_lightning.training import interrupted
from mnist_lightning.training.checkpoints import DurableCheckpoints
from mnist_lightning.training.interrupted import check_continuation, interrupted_checkpoint, was_begun
from mnist_lightning.training.lightning_modules import MNISTClassifier

Tiny = Callable[..., RunConfig]
LIMIT = 2**18  # bytes of a config.yaml


def checkpoint_of(config: RunConfig, **changes: Any) -> dict[str, Any]:
    whole = {"hyper_parameters": dict(MNISTClassifier.from_config(config).hparams), "optimizer_states": [{}]}
    return whole | changes


def test_a_run_goes_on_from_a_checkpoint_of_its_own_configuration_whatever_the_seed(tiny: Tiny) -> None:
    for epoch in ({}, {"epoch": 0}, {"epoch": 1}):
        check_continuation(tiny(**{"trainer.max_epochs": 3}), checkpoint_of(tiny(seed=7), **epoch))
    check_continuation(tiny(), checkpoint_of(tiny()))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"optimizer_states": []}, "holds weights only; give the run's last.ckpt"),
        ({"epoch": 1}, "has its 2 epochs; raise trainer.max_epochs"),
        ({"epoch": 4}, "has its 5 epochs; raise trainer.max_epochs"),
    ],
)
def test_a_checkpoint_without_its_optimizer_or_with_all_its_epochs_is_refused(
    changes: dict[str, Any], why: str, tiny: Tiny
) -> None:
    with pytest.raises(ConfigError) as refused:
        check_continuation(tiny(ckpt_path="x.ckpt"), checkpoint_of(tiny(), **changes))
    assert str(refused.value) == f"ckpt_path=x.ckpt: {why}"


def test_a_checkpoint_that_does_not_say_its_epoch_has_one(tiny: Tiny) -> None:
    config = tiny(ckpt_path="x.ckpt", **{"trainer.max_epochs": 1})
    with pytest.raises(ConfigError, match="has its 1 epochs"):
        check_continuation(config, checkpoint_of(config))


def test_a_checkpoint_of_another_configuration_is_refused_with_what_it_was_trained_with(tiny: Tiny) -> None:
    config, other = tiny(ckpt_path="x.ckpt"), checkpoint_of(tiny(lr=0.5, loss="mae", seed=9))
    with pytest.raises(ConfigError) as refused:
        check_continuation(config, other)
    (problem,) = refused.value.problems
    assert set(problem.what.removeprefix("was trained with ").split(", ")) == {"lr 0.5", "loss mae"}
    assert problem.way_out == "configure the same"
    with pytest.raises(ConfigError, match="was trained with lr None"):
        check_continuation(config, checkpoint_of(config, hyper_parameters={**other["hyper_parameters"], "lr": None}))


Leave = Callable[..., RunConfig]


@pytest.fixture
def leave(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Leave:
    """`leave(lr=0.1)`: what a run of this configuration left; the checkpoint raises what was `raised` in reading."""

    def make(raised: Exception | None = None, **changes: Any) -> RunConfig:
        def read(path: Path, finite: bool = True, net: object = None) -> dict[str, Any]:
            if raised is not None:
                raise raised
            assert not finite, "of a run that diverges the weights may be NaN"
            return {}

        config = tiny(**changes)
        (tmp_path / LAST).parent.mkdir(exist_ok=True)
        (tmp_path / LAST).touch()
        (tmp_path / CONFIG).write_text(OmegaConf.to_yaml(asdict(config)))
        monkeypatch.setattr(interrupted, "read_checkpoint", read)
        return config

    return make


def test_a_run_goes_on_from_what_its_very_configuration_has_left_and_nothing_is_said(
    leave: Leave, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = leave(lr=0.1)
    assert interrupted_checkpoint(config, tmp_path) == tmp_path / LAST
    (tmp_path / LAST).unlink()
    assert interrupted_checkpoint(config, tmp_path) is None
    assert capsys.readouterr().out == ""


def test_a_run_starts_anew_where_another_or_damage_was_left_and_that_is_said(
    leave: Leave, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = leave(lr=0.1)
    assert interrupted_checkpoint(tiny(), tmp_path) is None
    of_another = f"{tmp_path}: what was begun here is of another configuration, lr=0.1; the run starts anew"
    assert capsys.readouterr().out == f"{of_another}\n"
    leave()
    assert interrupted_checkpoint(other, tmp_path) is None
    assert f"of another configuration, lr={tiny().lr}; " in capsys.readouterr().out
    config = leave(RefusedError("last.ckpt: damaged (a; b); delete it"))
    assert interrupted_checkpoint(config, tmp_path) is None
    assert capsys.readouterr().out == "last.ckpt: damaged (a; b); the run starts anew\n"


def test_what_cannot_be_read_now_is_not_replaced_by_a_new_run(leave: Leave, tmp_path: Path) -> None:
    config = leave(UnreadableError("last.ckpt: cannot be read (x); repeat when it can be"))
    with pytest.raises(UnreadableError, match="last.ckpt"):
        interrupted_checkpoint(config, tmp_path)


def test_a_run_was_begun_where_there_is_a_configuration_or_a_record(leave: Leave, tmp_path: Path) -> None:
    assert not was_begun(tmp_path)
    leave()
    assert was_begun(tmp_path)
    assert not was_begun(tmp_path / STAGING)
    (tmp_path / "result.json").touch()
    assert was_begun(tmp_path / STAGING)


@pytest.mark.parametrize(("more", "ours"), [(0, True), (1, False)])
def test_a_configuration_of_more_than_a_quarter_of_a_mebibyte_is_none_of_ours(
    more: int, ours: bool, leave: Leave, tmp_path: Path
) -> None:
    leave()
    text = (tmp_path / CONFIG).read_text()
    (tmp_path / CONFIG).write_text(text + "#" * (LIMIT + more - len(text)))
    assert was_begun(tmp_path) == ours


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("a: &a 1\nb: *a\n", "(has aliases, which ours has not)"),
        ("lr: ${a}\na: 1\n", "(has interpolations, which ours has not)"),
        ("- lr\n", "("),
        ("lr: [" + "x" * 300, "("),
        ("\udcff", "('utf-8' codec can't decode byte 0xff"),
    ],
)
def test_what_is_no_configuration_of_ours_is_named_with_a_short_reason_and_the_run_starts_anew(
    content: str, why: str, leave: Leave, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = leave()
    (tmp_path / CONFIG).write_bytes(content.encode(errors="surrogateescape"))
    assert not was_begun(tmp_path)
    assert interrupted_checkpoint(config, tmp_path) is None
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{tmp_path / CONFIG}: no configuration of ours {why}")
    assert line.endswith("); the run starts anew")
    assert len(line) <= len(f"{tmp_path / CONFIG}: no configuration of ours (); the run starts anew") + 70


def test_a_reason_without_words_is_told_by_its_kind(
    leave: Leave, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(content: object) -> RunConfig:
        raise KeyError

    config = leave()
    monkeypatch.setattr(interrupted, "parse", fail)
    assert interrupted_checkpoint(config, tmp_path) is None
    assert "no configuration of ours (KeyError); the run starts anew" in capsys.readouterr().out


@pytest.mark.parametrize(("number", "whole"), [(5, True), (13, True), (2, False), (20, False)])
def test_a_configuration_that_cannot_be_read_now_may_be_whole_and_one_that_is_not_there_is_none(
    number: int, whole: bool, leave: Leave, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, most: int) -> bytes:
        raise OSError(number, "the reason")

    leave()
    monkeypatch.setattr(interrupted, "read_regular", fail)
    if whole:
        with pytest.raises(UnreadableError, match=r"config.yaml: cannot be read \(the reason\); repeat"):
            was_begun(tmp_path)
    else:
        assert not was_begun(tmp_path)


def test_ctrl_c_while_a_checkpoint_is_written_stays_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's zip writer then complains about its position, which would be recorded as the run's failure."""

    def save(content: object, file: IO[bytes]) -> None:
        file.write(b"half")
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 376384 vs 376336")

    path = tmp_path / "last.ckpt"
    path.write_bytes(b"the one before")
    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(KeyboardInterrupt):
        DurableCheckpoints().save_checkpoint({}, path)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"the one before"]
