"""Sweeps that change their training images at random, killed and repeated: as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from commands import Command, wait_for
from mnist_lightning.records.results import load_results

pytestmark = pytest.mark.faults


def test_a_killed_and_resumed_sweep_with_a_transform_equals_an_undisturbed_one(
    start: Callable[..., Command], tmp_path: Path
) -> None:
    grid = ["-m", "transform=light", "trainer.max_epochs=3"]
    grid += ["callbacks=[{_target_:fault_callbacks.Slow,seconds:0.02}]"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert start(*grid, f"hydra.sweep.dir={whole}").wait(120).code == 0
    command = start(*grid, f"hydra.sweep.dir={cut}")
    wait_for(lambda: list(cut.glob("*/metrics.csv")) or command.poll() is not None, 120)
    assert not list(cut.glob("*/result.json")), "it was killed in the middle"
    command.kill()
    assert start(*grid, f"hydra.sweep.dir={cut}").wait(120).code == 0
    before, after = (
        {r.run_name: (r.loss, r.loss_test, r.mae, r.best_epoch) for r in load_results(root)} for root in (whole, cut)
    )
    assert before == after
    assert len(before) == 1
    for run in before:
        assert (whole / run / "metrics.csv").read_bytes() == (cut / run / "metrics.csv").read_bytes()
