"""The update kernels against the rules in float64, in Triton's interpreter, and their machine code for a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mnist_lightning.numerics.update_rules import RULES

pytest.importorskip("triton", reason="Triton comes with torch's builds for GPUs")
CHECKS = str(Path(__file__).with_name("kernel_checks.py"))


def checked(*names: str, **environment: str) -> dict[str, Any]:
    """What these functions of `kernel_checks.py` return."""
    environment = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", CHECKS, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_kernels_interpreted_equal_their_twins_of_torch_and_keep_members_apart() -> None:
    """The update rules with and without options and decay, pooling, convolutions as a product, whole stacks, losses."""
    said = checked("interpreted", "pooled", "convolved", "assembled", "scored", TRITON_INTERPRET="1")
    assert set(said["interpreted"]) == set(RULES)
    assert max(said["interpreted"].values()) < 1e-6, said  # of weights below 1, after three steps of up to 1
    assert said["pooled"]["values"] < 1e-6
    assert said["pooled"]["inputs"] == 0, "each gradient is that of one pixel"
    assert said["pooled"]["biases"] < 1e-5
    assert max(said["convolved"].values()) < 1e-6, said  # of the largest
    assert max(said["assembled"].values()) < 1e-5, said
    assert max(said["scored"].values()) < 1e-6, said


def test_kernels_compiled_for_sm_90_move_128_bits_at_a_time_without_spilling_or_float64(tmp_path: Path) -> None:
    said = checked("compiled", TRITON_CACHE_DIR=str(tmp_path))["compiled"]
    for name, code in said.items():
        wide = [m for m in code["memory"] if m.endswith(".128")]
        assert any(m.startswith("LDG") for m in wide), (name, code)
        assert any(m.startswith("STG") for m in wide) or name == "scores", (name, code)
        assert (code["local"], sum(code["spilled"])) == ([], 0), (name, code)
        assert code["float64"] == 0 or name == "scores", (name, code)  # sums of metrics are of float64, as torch's
        assert code["rounded"] or "_backward" in name, name  # which only moves numbers
        assert not [how for how in code["rounded"] if ".RZ" in how], name  # to the nearest, as torch rounds
        assert bool(code["products"]) == name.startswith(("product", "weights")), "on the tensor cores"
    for name in set(RULES) & set(said):
        assert said[name]["instructions"] <= 40 * 8, (name, said[name])  # for 8 numbers of a thread
