"""Lightning callbacks that break the run they are in; the sweeps of the fault tests name them in `callbacks`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback


class KillWorker(Callback):
    """SIGKILLs its own process when training starts: once, if `marker` is a path that does not exist yet."""

    def __init__(self, marker: str = "") -> None:
        self.marker = marker

    def on_train_start(self, *arguments: Any, **more: Any) -> None:
        if self.marker and Path(self.marker).exists():
            return
        if self.marker:
            Path(self.marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)


class ExitQuietly(Callback):
    """Ends the process as if all were well."""

    def on_train_start(self, *arguments: Any, **more: Any) -> None:
        sys.exit(0)


class Hungry(Callback):
    """Asks for more memory than any machine has."""

    def on_train_start(self, *arguments: Any, **more: Any) -> None:
        torch.empty(1 << 50)


class Shell(Callback):
    """Runs a shell command when training starts, in each run but the first."""

    def __init__(self, command: str) -> None:
        self.command = command

    def on_train_start(self, trainer: Any, *arguments: Any, **more: Any) -> None:
        if list(Path(trainer.default_root_dir).parent.glob("*/result.json")):
            subprocess.run(self.command, shell=True, check=True)


class Diary(Callback):
    """Appends the number of each epoch that begins, the first one 0, to a file."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_train_epoch_start(self, trainer: Any, *arguments: Any, **more: Any) -> None:
        with self.path.open("a") as file:
            file.write(f"{trainer.current_epoch}\n")


class Slow(Callback):
    """Takes its time, for whoever wants to interrupt."""

    def __init__(self, seconds: float = 0.05) -> None:
        self.seconds = seconds

    def on_train_batch_end(self, *arguments: Any, **more: Any) -> None:
        time.sleep(self.seconds)
