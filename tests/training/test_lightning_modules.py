"""The Lightning skins in anybody's Trainer, and the epoch table."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.numerics.losses import LOSSES
from mnist_lightning.numerics.metrics import metric_sums
from mnist_lightning.training.epoch_csv import EpochCSVLogger
from mnist_lightning.training.lightning_modules import EpochMetrics


def trainer(tmp_path: Path, **arguments: Any) -> L.Trainer:
    usual = {"max_epochs": 1, "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return L.Trainer(default_root_dir=tmp_path, accelerator="cpu", **usual | arguments)  # pyright: ignore - arguments by name


def test_the_classifier_trains_on_somebody_elses_float_loader(tmp_path: Path) -> None:
    images, labels = torch.rand(40, 1, 28, 28), torch.randint(10, (40,))
    loader = DataLoader(TensorDataset(images, labels), batch_size=8)
    module = MNISTClassifier(2, 1, 0, optimizer="adam")
    t = trainer(tmp_path)
    t.fit(module, loader, loader)
    assert {"train_loss", "val_accuracy"} <= t.callback_metrics.keys()


class Foreign(L.LightningModule):
    """Somebody else's module; keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.seen = torch.nn.Linear(784, 10), []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        self.seen.append(batch)
        return torch.nn.functional.cross_entropy(self.layer(batch[0].flatten(1)), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        assert batch[0].dtype == torch.float32

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_the_data_module_gives_somebody_elses_module_floats_from_0_to_1(tmp_path: Path, mini_mnist: Path) -> None:
    module, data = Foreign(), MNISTDataModule(root=str(mini_mnist), batch_size=50)
    trainer(tmp_path).fit(module, data)
    images, labels = module.seen[0]
    assert images.dtype == torch.float32
    assert images.shape == (50, 1, 28, 28)
    assert 0 <= images.min() < images.max() <= 1
    assert labels.dtype == torch.int64
    assert sum(len(labels) for _, labels in module.seen) == 192


def test_each_epoch_has_its_own_order(tmp_path: Path, mini_mnist: Path) -> None:
    module, data = Foreign(), MNISTDataModule(root=str(mini_mnist), batch_size=192)
    trainer(tmp_path, max_epochs=2).fit(module, data)
    assert not torch.equal(module.seen[0][1], module.seen[1][1])


def test_pixels_as_bytes_and_as_floats_give_the_same_logits() -> None:
    module = MNISTClassifier(2, 1, 0)
    pixels = torch.randint(256, (3, 1, 28, 28), dtype=torch.uint8)
    assert torch.equal(module(pixels), module(pixels.float() / 255))


def test_epoch_metrics_are_means_over_all_images() -> None:
    metric, logits, labels = EpochMetrics("mae"), torch.randn(10, 10), torch.randint(10, (10,))
    metric.update(logits[:7], labels[:7])
    metric.update(logits[7:], labels[7:])
    torch.testing.assert_close(
        torch.stack([*metric.compute().values()]), metric_sums(logits, labels, LOSSES["mae"]) / 10
    )


def test_many_batches_are_summed_up_as_each_by_itself_would_be() -> None:
    logits, labels = torch.randn(70, 4, 10), torch.randint(10, (70, 4))
    metric = EpochMetrics("mse")
    for batch in zip(logits, labels, strict=True):
        metric.update(*batch)
    torch.testing.assert_close(
        torch.stack([*metric.compute().values()]),
        metric_sums(logits.flatten(0, 1), labels.flatten(), LOSSES["mse"]) / 280,
    )
    metric.reset()
    metric.update(logits[0], labels[0])
    torch.testing.assert_close(
        torch.stack([*metric.compute().values()]), metric_sums(logits[0], labels[0], LOSSES["mse"]) / 4
    )


def test_the_loss_of_a_users_function_is_the_mean_of_its_batches() -> None:
    def largest(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return logits.max()

    metric, logits = EpochMetrics(largest), torch.arange(40.0).view(2, 2, 10)
    for batch in logits:
        metric.update(batch, torch.zeros(2, dtype=torch.int64))
    assert metric.compute()["loss"] == (19 + 39) / 2


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_gradients_are_clipped_in_each_precision(optimizer: str, tmp_path: Path) -> None:
    for precision in ("32-true", "bf16-mixed"):
        data = MNISTDataModule("synthetic", train_size=64, test_size=64)
        trainer = L.Trainer(
            max_epochs=1,
            precision=precision,
            gradient_clip_val=0.5,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(MNISTClassifier(2, 1, 0, optimizer=optimizer, seed=0), data)
        assert trainer.global_step == 1


@pytest.mark.parametrize("wrong", [{"optimizer": "adamm"}, {"lr": 0.0}, {"loss": "mes"}, {"num_conv": 5}], ids=str)
def test_bad_arguments_are_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MNISTClassifier(**wrong)


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_an_epoch_is_one_line_and_a_continued_run_keeps_the_lines_before(tmp_path: Path) -> None:
    first = EpochCSVLogger(str(tmp_path))
    for epoch in range(3):
        first.log_metrics({"val_loss": 0.5, "epoch": epoch}, 1)
        first.log_metrics({"train_loss": 0.25, "epoch": epoch}, 1)
    continued = EpochCSVLogger(str(tmp_path))  # from the checkpoint after the second epoch
    continued.log_metrics({"val_loss": 9.0, "epoch": 2}, 1)
    continued.log_metrics({"train_loss": 8.0, "epoch": 2}, 1)
    continued.log_metrics({"test_loss": 1.0, "epoch": 2}, 1)
    table = rows(tmp_path / "metrics.csv")
    assert [(r["epoch"], r["train_loss"], r["val_loss"]) for r in table] == [
        ("1", "0.25", "0.5"),
        ("2", "0.25", "0.5"),
        ("3", "8", "9"),
    ]


def test_a_new_run_in_an_old_directory_starts_a_new_table(tmp_path: Path) -> None:
    for _ in range(2):
        logger = EpochCSVLogger(str(tmp_path))
        logger.log_metrics({"train_loss": 1.0, "epoch": 0}, 1)
    assert len(rows(tmp_path / "metrics.csv")) == 1
