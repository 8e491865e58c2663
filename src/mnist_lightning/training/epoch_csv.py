"""The logger that writes metrics.csv: one line per epoch."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from mnist_lightning.numerics.metrics import METRICS
from mnist_lightning.records.durable import write_durably
from mnist_lightning.records.epochs import read_epochs
from mnist_lightning.records.run_directory import METRICS as METRICS_FILE
from mnist_lightning.records.run_directory import is_there


class EpochCSVLogger(Logger):
    """Writes `metrics.csv` in `directory`: one line per epoch, from 1, training and validation side by side.

    Lightning's own CSV logger writes them as two lines. The file is replaced atomically, and a run that continues
    from a checkpoint keeps the lines of the epochs before.
    """

    def __init__(self, directory: str) -> None:
        super().__init__()
        self.path = Path(directory) / METRICS_FILE
        self.rows: dict[int, dict[str, float]] = {}

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass  # they are in config.yaml

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        values = {k: v for k, v in metrics.items() if k.startswith(("train_", "val_")) or k == "lr"}
        if not values:
            return
        epoch = int(metrics["epoch"]) + 1
        if not self.rows:
            self.rows = self._earlier_rows(epoch)
        self.rows.setdefault(epoch, {}).update(values)
        if any(k.startswith("train_") for k in values):  # comes last in an epoch
            self._write()

    def _earlier_rows(self, epoch: int) -> dict[int, dict[str, float]]:
        """The lines of the epochs before this one, as far as they can be read."""
        if epoch == 1 or not is_there(self.path):
            return {}
        try:
            rows = read_epochs(self.path, epoch - 1)
        except ValueError as error:
            print(f"{self.path}: damaged ({error}); the lines of the epochs before are lost", flush=True)
            return {}
        if len(rows) < epoch - 1:
            print(f"{self.path}: damaged; {len(rows)} of the {epoch - 1} epochs before are kept", flush=True)
        return rows

    def _write(self) -> None:
        columns = [f"{part}_{metric}" for part in ("train", "val") for metric in METRICS]
        columns += sorted({k for row in self.rows.values() for k in row} - set(columns))
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["epoch", *columns])
        for epoch, row in sorted(self.rows.items()):
            # Lightning logs in float32: nine digits are all there are
            writer.writerow([epoch, *(f"{row[c]:.9g}" if c in row else "" for c in columns)])
        write_durably(self.path, out.getvalue().encode())
