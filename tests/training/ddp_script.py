"""Trains in two processes, as somebody's own script would, and says what each has seen: `ddp_script.py DATA OUT`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import lightning as L
import torch
from torch import Tensor

from mnist_lightning import MNISTClassifier, MNISTDataModule


class Seen(MNISTClassifier):
    """Notes the images of each training epoch, by their sums of bytes; they all differ."""

    def __init__(self) -> None:
        super().__init__(2, 1, 0, seed=0)
        self.epochs: list[list[float]] = []

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self.epochs.append([])

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        weights = torch.arange(784, dtype=torch.float64)
        self.epochs[-1] += (batch[0].flatten(1).double() * 255).round().matmul(weights).tolist()
        return super().training_step(batch, batch_idx)


if __name__ == "__main__":
    root, out = Path(sys.argv[1]), Path(sys.argv[2])
    module, data = Seen(), MNISTDataModule(root=str(root), batch_size=16, test_size=63)
    trainer = L.Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=out,
    )
    trainer.fit(module, data)
    metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
    (out / f"{trainer.global_rank}.json").write_text(json.dumps({"epochs": module.epochs, "metrics": metrics}))
    torch.save(module.state_dict(), out / f"{trainer.global_rank}.pt")
