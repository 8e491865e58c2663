"""A fused sweep that is killed in the middle of a group and resumed ends as one that nobody killed."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commands import Command, wait_for
from mnist_lightning.records.results import load_results

pytestmark = pytest.mark.faults
Start = Callable[..., Command]
GRID = ["-m", "optimizer=adam,sgd,rmsprop", "lr=0.001,0.1", "trainer.max_epochs=20", "hydra/launcher=fused"]


def outcomes(directory: Path) -> dict[str, Any]:
    return {r.run_name: (r.engine, r.status, r.loss, r.loss_test, r.best_epoch) for r in load_results(directory)}


def test_a_group_killed_and_interrupted_goes_on_to_the_same_end(start: Start, tmp_path: Path) -> None:
    assert start(*GRID, "hydra.sweep.dir=whole").wait(300).code == 0
    chance, cut = random.Random(0), 0
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        command = start(*GRID, "hydra.sweep.dir=cut")
        wait_for(lambda c=command: c.poll() is not None or list(tmp_path.glob("cut/.fused/*.ckpt")), 90, command)
        time.sleep(chance.uniform(0, 0.5))
        cut += command.poll() is None
        command.send(number)
        ended = command.wait()
        assert ended.code in (0, -number, 128 + number), ended
        if ended.code == 128 + number:
            assert "terminated" in ended.err
    assert cut, "every command had ended before it was killed"
    assert start(*GRID, "hydra.sweep.dir=cut").wait(300).code == 0
    assert outcomes(tmp_path / "cut") == outcomes(tmp_path / "whole")
    assert {o[0] for o in outcomes(tmp_path / "cut").values()} == {"fused"}
    assert not list(tmp_path.rglob(".*.tmp"))
    assert not (tmp_path / "cut" / ".fused").exists()
