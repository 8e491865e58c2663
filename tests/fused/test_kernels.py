"""The update kernels against the rules in float64, in Triton's interpreter, and their machine code for a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton comes with torch's builds for GPUs")
CHECKS = str(Path(__file__).with_name("kernel_checks.py"))


def test_kernels_interpreted_equal_the_rules_in_float64_and_keep_members_apart() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", CHECKS, "interpreted"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    worst = json.loads(done.stdout.splitlines()[-1])
    assert set(worst) == {"adam", "sgd", "torch_sgd", "rmsprop"}
    assert max(worst.values()) < 1e-6, worst  # of weights below 1, after three steps of up to 1


def test_kernels_compiled_for_sm_90_move_128_bits_at_a_time_without_spilling_or_float64(tmp_path: Path) -> None:
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", CHECKS, "compiled"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for name, code in json.loads(done.stdout.splitlines()[-1]).items():
        wide = [m for m in code["memory"] if m.endswith(".128")]
        assert any(m.startswith("LDG") for m in wide), name
        assert any(m.startswith("STG") for m in wide), name
        assert (code["float64"], code["local"], sum(code["spilled"])) == (0, [], 0), (name, code)
        assert code["rounded"], name
        assert not [how for how in code["rounded"] if ".RZ" in how], name  # to the nearest, as torch rounds
        assert code["instructions"] <= 40 * 8, (name, code["instructions"])  # for 8 numbers of a thread
