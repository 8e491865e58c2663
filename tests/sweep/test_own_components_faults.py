"""A killed sweep of the user's network, optimizer, loss and schedules, images augmented, ends as an undisturbed one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import own_components
from commands import Command, wait_for
from mnist_lightning.records.results import load_results
from mnist_lightning.records.run_directory import LAST
from mnist_lightning.training.checkpoints import read_checkpoint

pytestmark = pytest.mark.faults
Start = Callable[..., Command]
GRID = ["-m", "model._target_=own_components.Dropping", "+model.share=0.25,0.5", "optimizer=own_components.Heavy"]
GRID += ["optimizer.options.friction=0.2", "loss=own_components.p_loss", "scheduler=cosine,plateau", "lr=0.05"]
GRID += ["scheduler.warmup_steps=4", "transform=light", "trainer.max_epochs=3", "callback=early_stopping"]
GRID += ["model.num_channels=32", "model.num_conv=2", "model.num_dense=1"]  # as by default: the tests' are smaller
GRID += ["callbacks=[{_target_:fault_callbacks.Slow,seconds:0.05}]"]


def ends(root: Path) -> dict[str, Any]:
    return {r.run_name: (r.status, r.loss, r.loss_test, r.best_epoch, r.network) for r in load_results(root)}


def test_a_killed_sweep_of_the_users_components_ends_as_an_undisturbed_one(start: Start, tmp_path: Path) -> None:
    code, _, err = start(*GRID, "hydra.sweep.dir=whole").wait(200)
    assert code == 0, err
    for kill in range(1, 3):  # each time in another run, after its first epoch and before its last
        command = start(*GRID, "hydra.sweep.dir=killed")

        def in_the_middle(runs: int = kill, command: Command = command) -> bool:
            begun = list((tmp_path / "killed").glob("*/metrics.csv"))
            return command.poll() is not None or len(begun) >= runs

        wait_for(in_the_middle, 120)
        command.kill()
    code, _, err = start(*GRID, "hydra.sweep.dir=killed").wait(200)
    assert code == 0, err
    assert ends(tmp_path / "killed") == ends(tmp_path / "whole")
    assert len(ends(tmp_path / "whole")) == 4
    for name in ends(tmp_path / "whole"):
        states = [
            read_checkpoint(tmp_path / root / name / LAST, net=own_components.Dropping) for root in ("whole", "killed")
        ]
        assert all(torch.equal(w, states[1]["state_dict"][k]) for k, w in states[0]["state_dict"].items())
        rates = [(tmp_path / root / name / "metrics.csv").read_text() for root in ("whole", "killed")]
        assert rates[0] == rates[1]
