"""A Lightning callback that says how much of a run was spent in batches, for the benchmarks of everything else."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback

FILE = "batches.json"


class BatchClock(Callback):
    """`batches.json` in the run's directory: seconds between start and end of all batches, trained or evaluated,
    and the memory of the process then (MiB, resident)."""

    def __init__(self, directory: str) -> None:
        self.path = Path(directory) / FILE
        self.seconds, self.started = 0.0, 0.0

    def _start(self, *arguments: Any, **named: Any) -> None:
        self.started = time.perf_counter()

    def _end(self, *arguments: Any, **named: Any) -> None:
        self.seconds += time.perf_counter() - self.started

    on_train_batch_start = on_validation_batch_start = on_test_batch_start = _start
    on_train_batch_end = on_validation_batch_end = on_test_batch_end = _end

    def teardown(self, *arguments: Any, **named: Any) -> None:
        """After the fit and after each evaluation: the last one leaves the sum of all."""
        self.path.write_text(json.dumps({"seconds": self.seconds, "rss_mib": resident_mib()}))


def resident_mib() -> float:
    """Physical memory of this process in MiB; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if statm.is_file() else 0.0
