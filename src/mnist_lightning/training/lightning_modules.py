"""The Lightning classes: the classifier, its metrics, and a logger that writes one line per epoch."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torchmetrics
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn

from mnist_lightning.config import (
    IMAGE_SIZE,
    MNIST,
    NUM_CLASSES,
    ImageSize,
    OptimizerConfig,
    RunConfig,
    Shape,
    check_values,
)
from mnist_lightning.config.components import TARGET
from mnist_lightning.data.datasets import scale
from mnist_lightning.errors import ConfigError, Problem
from mnist_lightning.numerics.losses import LOSSES
from mnist_lightning.numerics.metrics import METRICS, metric_sums
from mnist_lightning.numerics.model import ConvDenseNet
from mnist_lightning.numerics.networks import GIVE_NET, Given, build_network, description_of, network_from
from mnist_lightning.numerics.optimizers import build_optimizer
from mnist_lightning.records.durable import write_durably
from mnist_lightning.records.epochs import read_epochs
from mnist_lightning.records.run_directory import METRICS as METRICS_FILE
from mnist_lightning.records.run_directory import is_there
from mnist_lightning.training.data_module import MNISTDataModule


class EpochMetrics(torchmetrics.Metric):
    """The study's metrics over all batches since `reset`: {loss, mse, mae, accuracy, binary_accuracy}."""

    full_state_update = False
    sums: Tensor
    images: Tensor

    def __init__(self, loss: str) -> None:
        super().__init__()
        self.loss_function = LOSSES[loss]
        self.add_state("sums", torch.zeros(len(METRICS)), dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch: logits [N, 10], labels int64 [N]."""
        self.sums = self.sums + metric_sums(logits, labels, self.loss_function)
        self.images = self.images + labels.shape[0]

    def compute(self) -> dict[str, Tensor]:
        return dict(zip(METRICS, (self.sums / self.images).unbind(), strict=True))


class MNISTClassifier(L.LightningModule):
    """The study's network as a LightningModule: images [N, 1, 28, 28], uint8 or float 0 to 1, -> logits [N, 10].

    Or `net`, any torch Module of float images -> logits [N, 10]; or its class, or what else makes one when called. A
    checkpoint holds no code: one with a network of the user's is loaded with `net` given again, where a class gets the
    arguments that are stored, `network`. For other images give `in_channels`, `image_size` (one number, or height and
    width) and `num_classes`, as a `MNISTDataModule` has them of its data.

    `optimizer` is a name of `config.OPTIMIZERS` or the dotted path of a `torch.optim.Optimizer`; `loss` is mse,
    mae or cross_entropy; `seed` fixes the initial weights. Raises ConfigError (a ValueError) for anything out of
    range. Logs once an epoch: train_*, val_* or test_* of loss, mse, mae, accuracy and binary_accuracy.
    """

    def __init__(
        self,
        num_channels: int = 32,
        num_conv: int = 2,
        num_dense: int = 1,
        *,
        optimizer: str = "rmsprop",
        lr: float = 0.001,
        loss: str = "mse",
        optimizer_options: dict[str, Any] | None = None,
        seed: int | None = None,
        net: Given | None = None,
        network: dict[str, Any] | None = None,
        in_channels: int = 1,
        image_size: ImageSize = IMAGE_SIZE,
        num_classes: int = NUM_CLASSES,
    ) -> None:
        super().__init__()
        self.optimizer_config = OptimizerConfig(optimizer, dict(optimizer_options or {}))
        check_values(RunConfig, lr=lr, loss=loss)
        if network is not None and net is None:
            raise ConfigError([Problem("net", None, f"the weights are of {network.get(TARGET)}", GIVE_NET)])
        sizes = ["num_channels", "num_conv", "num_dense"]
        # plain types only: they must load with weights_only=True
        self.save_hyperparameters(ignore=["net", "network"] if net is None else ["net", *sizes])
        self.lr = float(lr)
        self.shape = Shape.of(in_channels, image_size, num_classes)
        if net is None:
            shape = self.shape.arguments()
            self.net: nn.Module = ConvDenseNet(num_channels, num_conv, num_dense, seed=seed, **shape)
        else:
            self.hparams["network"] = described = network or description_of(net)
            self.net = network_from(net, {k: v for k, v in described.items() if k != TARGET}, seed)
        self.loss_function = LOSSES[loss]
        self.train_metrics, self.val_metrics, self.test_metrics = (EpochMetrics(loss) for _ in range(3))

    @classmethod
    def from_config(cls, config: RunConfig, shape: Shape = MNIST) -> MNISTClassifier:
        """Makes the classifier of a configuration, for images of that shape."""
        m, o = config.model, config.optimizer
        own = m.component
        return cls(
            m.num_channels,
            m.num_conv,
            m.num_dense,
            optimizer=o.name,
            lr=config.lr,
            loss=config.loss,
            optimizer_options=o.options,
            seed=config.seed,
            net=None if own is None else build_network(m, config.seed),
            network=None if own is None else own.identity(),
            **shape.arguments(),
        )

    def on_fit_start(self) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, MNISTDataModule) and (theirs := data.dataset.shape) != self.shape:
            wanted = ", ".join(f"{name}={value}" for name, value in theirs.arguments().items())
            ours = ", ".join(f"{name}={value}" for name, value in self.shape.arguments().items())
            raise ConfigError(f"MNISTClassifier: is for {ours}, and the data are {theirs}; give {wanted}")

    def forward(self, images: Tensor) -> Tensor:
        return self.net(scale(images, self.dtype))  # pyright: ignore[reportArgumentType] - Lightning's dtype is also a string, for others

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self(images)
        self.train_metrics.update(logits.detach(), labels)
        return self.loss_function(logits, labels)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.val_metrics.update(self(batch[0]), batch[1])

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.test_metrics.update(self(batch[0]), batch[1])

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        images = batch[0] if isinstance(batch, (tuple, list)) else batch
        return self(images).argmax(-1)  # [N]

    # Logged once an epoch from the sums: a `self.log` per step costs more than a small network's step. On several
    # devices the sums are those of all; sync_dist only tells Lightning so, which warns otherwise
    def on_train_epoch_start(self) -> None:
        self.train_metrics.reset()

    def on_validation_epoch_start(self) -> None:
        self.val_metrics.reset()

    def on_test_epoch_start(self) -> None:
        self.test_metrics.reset()

    def on_train_epoch_end(self) -> None:
        self.log_dict({f"train_{k}": v for k, v in self.train_metrics.compute().items()}, sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        for name, value in self.val_metrics.compute().items():
            self.log(f"val_{name}", value, prog_bar=name in ("loss", "accuracy"), sync_dist=True)

    def on_test_epoch_end(self) -> None:
        self.log_dict({f"test_{k}": v for k, v in self.test_metrics.compute().items()}, sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        # with a gradient scaler a fused optimizer would refuse to have its gradients clipped
        scaled = self._trainer is not None and getattr(self.trainer.precision_plugin, "scaler", None) is not None
        return build_optimizer(self.optimizer_config, self.parameters(), self.lr, fused=not scaled)


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
        values = {k: v for k, v in metrics.items() if k.startswith(("train_", "val_"))}
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
