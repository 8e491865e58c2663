"""`report.live=true`: a process of its own that makes the page of a sweep while it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PATIENCE = 10.0  # seconds, for a page that is being drawn


@dataclass
class LivePage:
    """The process that makes the page, where there is one. It ends by itself when this process is killed."""

    process: subprocess.Popen[bytes] | None = None
    was_started: bool = False

    def start(self, directory: Path) -> None:
        """Starts it for a sweep's directory; does nothing if it has been started, or cannot be."""
        if not self.was_started:
            self.was_started = True
            command = [sys.executable, "-m", "mnist_lightning.report", str(directory.resolve())]
            quiet = subprocess.DEVNULL
            with suppress(OSError):  # no process more may be started: the sweep does without
                self.process = subprocess.Popen(
                    [*command, "--leader", str(os.getpid())],
                    stdin=quiet,
                    stdout=quiet,
                    stderr=quiet,
                    env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                )

    def stop(self) -> None:
        """Ends it, so that it writes nothing any more when the report of the end is written."""
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
