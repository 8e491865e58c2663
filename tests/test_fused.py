"""The fused engine against single runs, member by member, number by number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from mnist_lightning import train, train_many
from mnist_lightning.checkpoints import BEST, LAST, load_classifier
from mnist_lightning.config import RunConfig
from mnist_lightning.metrics import METRICS
from mnist_lightning.results import COLUMNS, RunResult
from mnist_lightning.update_rules import RULES

Tiny = Callable[..., RunConfig]


def members(tiny: Tiny, **shared: Any) -> list[RunConfig]:
    """Every optimizer with a rule x two losses x two learning rates, and two seeds, of one architecture."""
    grid = product(RULES, ("mse", "mae"), (0.001, 0.1), (0, 3))
    configs = [
        tiny(**{"optimizer.name": o, "loss": loss, "lr": lr, "seed": seed}, **shared) for o, loss, lr, seed in grid
    ]
    return configs[::7]  # every seventh: all optimizers, losses, rates and seeds are still there


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_classifier(path).state_dict()


def both(configs: Sequence[RunConfig], tmp_path: Path) -> tuple[list[RunResult], list[RunResult]]:
    alone = [train(c, tmp_path / "alone" / c.run_name) for c in configs]
    return train_many(configs, [tmp_path / "fused" / c.run_name for c in configs]), alone


@pytest.mark.parametrize("sizes", [(2, 0, 1), (2, 1, 0), (3, 2, 2)], ids=str)
def test_members_in_float64_equal_their_single_runs(sizes: tuple[int, int, int], tiny: Tiny, tmp_path: Path) -> None:
    names = ("model.num_channels", "model.num_conv", "model.num_dense")
    configs = members(tiny, **dict(zip(names, sizes, strict=True)), **{"trainer.precision": "64-true"})
    assert {c.optimizer.name for c in configs} == set(RULES)
    assert {(c.loss, c.lr) for c in configs} == set(product(("mse", "mae"), (0.001, 0.1)))
    assert {c.seed for c in configs} == {0, 3}
    fused, alone = both(configs, tmp_path)
    for config, a, b in zip(configs, fused, alone, strict=True):
        assert (a.engine, a.group_size) == ("fused", len(configs))
        for metric in [f"{m}{part}" for m in METRICS for part in ("", "_test")]:
            assert getattr(a, metric) == pytest.approx(getattr(b, metric), rel=1e-10, abs=1e-10), config.run_name
        for name in (LAST, BEST):
            ours, theirs = (weights(tmp_path / where / config.run_name / name) for where in ("fused", "alone"))
            for key, value in theirs.items():
                torch.testing.assert_close(ours[key], value, rtol=1e-10, atol=1e-10)
