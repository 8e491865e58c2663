"""The server of the page in a process of its own, as a user starts it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from report_cases import planned
from trained_network import trained_checkpoint

pytest.importorskip("starlette", reason='pip install "mnist-lightning[serve]"')
pytest.importorskip("uvicorn", reason='pip install "mnist-lightning[serve]"')


class Serving(NamedTuple):
    process: subprocess.Popen[str]
    root: Path
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def state(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.address}state", timeout=30) as reply:
            return json.load(reply)

    def end(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str, str]:
        """Ends it by a signal: its exit code, and what it printed after its address."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=10)
        return self.process.returncode, out, err


@contextmanager
def served(root: Path, *arguments: str) -> Iterator[Serving]:
    """The page of a directory, at a port of its own."""
    command = [sys.executable, "-m", "mnist_lightning.serve", str(root), "--port", "0", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found, line + process.communicate(timeout=10)[1]
        yield Serving(process, root, int(found[1]))
    finally:
        process.kill()
        process.communicate()


def with_networks(root: Path, runs: int = 3, without: int = 1) -> Path:
    """A sweep whose runs with a record hold the network that was trained on MNIST."""
    for run in planned(root, runs, without)[: runs - without]:
        (root / run.run_name / "checkpoints").mkdir()
        trained_checkpoint(root / run.run_name / "checkpoints").rename(
            root / run.run_name / "checkpoints" / "best.ckpt"
        )
        lines = "".join(f"{e},{0.5 + e / 100}\n" for e in range(1, 5))
        (root / run.run_name / "metrics.csv").write_text(f"epoch,val_accuracy\n{lines}")
    return root
