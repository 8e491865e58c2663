"""Our Lightning classes on two devices: a real run of two processes, half a minute."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mnist_lightning import MNISTClassifier, MNISTDataModule

pytestmark = pytest.mark.faults


def test_two_devices_of_somebody_elses_trainer_share_the_images_out(tmp_path: Path, mini_mnist: Path) -> None:
    script = Path(__file__).with_name("ddp_script.py")
    done = subprocess.run(
        [sys.executable, "-W", "default", str(script), str(mini_mnist), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "sync_dist" not in done.stderr  # Lightning says so where metrics are not those of all devices
    told = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    for first, second in zip(told[0]["epochs"], told[1]["epochs"], strict=True):
        assert (len(first), len(second), len({*first, *second})) == (96, 96, 192)
    assert told[0]["epochs"][0] != told[0]["epochs"][1]
    assert told[0]["metrics"] == told[1]["metrics"]
    weights = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    module, test = MNISTClassifier(2, 1, 0), MNISTDataModule(root=str(mini_mnist), test_size=63).dataset.test
    module.load_state_dict(weights[0])
    module.val_metrics.update(module(test.images), test.labels)
    for name, value in module.val_metrics.compute().items():
        assert told[0]["metrics"][f"val_{name}"] == pytest.approx(value.item(), rel=1e-5), name
