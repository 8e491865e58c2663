"""A group of the fused engine on a GPU, a null one or a real one, without a Trainer: to count and to time its steps."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

from mnist_lightning import RunConfig
from mnist_lightning.data.datasets import load_dataset
from mnist_lightning.fused.engine import FusedClassifier
from mnist_lightning.fused.members import Member
from mnist_lightning.fused.optimizers import rule_key


def classifier(configs: Sequence[RunConfig], methods: dict[str, str] | None = None) -> FusedClassifier:
    """A group on the GPU, ready to take steps without a Trainer, by these methods or the fastest ones."""
    root = Path(tempfile.gettempdir())
    members = sorted((Member(c, root / c.run_name) for c in configs), key=lambda m: rule_key(m.config))
    dataset = load_dataset(configs[0].data)
    module = FusedClassifier(members, dataset).to("cuda")
    module.methods = methods or {}
    module._trainer = SimpleNamespace(precision="bf16-mixed")  # pyright: ignore - all that a step asks it for
    module.on_fit_start()
    return module
