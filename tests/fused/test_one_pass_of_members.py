"""A group on a processor updates its members in one compiled pass, as each of them alone would be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mnist_lightning import train, train_many
from mnist_lightning.config import RunConfig
from mnist_lightning.training import fast_updates
from mnist_lightning.training.checkpoints import LAST, load_classifier

Tiny = Callable[..., RunConfig]
pytestmark = pytest.mark.usefixtures("worth_compiling")


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_members_equal_their_single_runs(tiny: Tiny, tmp_path: Path, precision: str) -> None:
    sizes = {"model.num_channels": 2, "model.num_conv": 1, "model.num_dense": 1, "trainer.precision": precision}
    names = ("rmsprop", "adamax", "sgd", "adamw", "adam")
    configs = [tiny(**{"optimizer.name": name, **sizes}) for name in names]
    fused = train_many(configs, [tmp_path / "fused" / c.run_name for c in configs])
    assert [r.update for r in fused] == ["compiled", "compiled", "compiled", "", "compiled"]
    # Adam's first steps have the learning rate's size however small the gradient is: a rounding may turn one about
    tolerance = {"64-true": 1e-10, "bf16-mixed": 2e-3}[precision]
    for config in configs:
        train(config, tmp_path / "alone" / config.run_name)
        ours, theirs = (load_classifier(tmp_path / w / config.run_name / LAST).state_dict() for w in ("fused", "alone"))
        for key, value in theirs.items():
            torch.testing.assert_close(ours[key], value, rtol=0, atol=tolerance, msg=f"{config.optimizer.name} {key}")


def test_a_short_training_of_a_group_is_not_compiled_for(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_updates, "WORTH_COMPILING", 1e12)
    configs = [tiny(lr=lr) for lr in (0.01, 0.1)]
    assert {r.update for r in train_many(configs, [tmp_path / c.run_name for c in configs])} == {""}
