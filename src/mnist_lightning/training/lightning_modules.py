"""The Lightning class of a network in training, and its metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import torch
import torchmetrics
from lightning.pytorch.loops.optimization.automatic import Closure
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from mnist_lightning.config import (
    IMAGE_SIZE,
    MNIST,
    NUM_CLASSES,
    ImageSize,
    OptimizerConfig,
    RunConfig,
    SchedulerConfig,
    Shape,
    check_values,
)
from mnist_lightning.config.components import TARGET
from mnist_lightning.data.datasets import scale
from mnist_lightning.errors import ConfigError, Problem
from mnist_lightning.numerics.by_hand import ByHand
from mnist_lightning.numerics.losses import LOSSES, Loss
from mnist_lightning.numerics.metrics import METRICS, metric_sums
from mnist_lightning.numerics.model import ConvDenseNet
from mnist_lightning.numerics.networks import (
    GIVE_NET,
    Given,
    build_network,
    description_of,
    network_from,
    own_component,
)
from mnist_lightning.numerics.optimizers import FollowsRule, build_optimizer
from mnist_lightning.numerics.own_loss import Given as LossGiven
from mnist_lightning.numerics.own_loss import OwnLoss, UnknownLoss
from mnist_lightning.training.data_module import MNISTDataModule
from mnist_lightning.training.scheduling import Scheduled, stored_schedule

_HOOK = "_current_fx_name"  # where Lightning notes which hook it is in
_TOGETHER = 32  # batches whose metrics are added up at once


def _compute_by_hand(closure: object, by_hand: ByHand) -> None:
    """Takes Lightning past its hooks around the gradients, which nobody has here, and past zeroing them."""
    if isinstance(closure, Closure):
        closure._zero_grad_fn, closure._backward_fn = None, by_hand.backward


class EpochMetrics(torchmetrics.Metric):
    """The study's metrics over all batches since `reset`: {loss, mse, mae, accuracy, binary_accuracy}.

    Batches are collected, and a few dozen of them added up at once: one by one that takes a twentieth of a small
    network's step. The mean of a loss of the user's may be over something else than images, so its batches stay apart.
    """

    full_state_update = False
    sums: Tensor
    images: Tensor

    def __init__(self, loss: str | Loss) -> None:
        super().__init__()
        self.loss_function = LOSSES[loss] if isinstance(loss, str) else loss
        self.together = _TOGETHER if self.loss_function in LOSSES.values() else 1
        self.waiting: list[tuple[Tensor, Tensor]] = []
        self.add_state("sums", torch.zeros(len(METRICS)), dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch: logits [N, 10], labels int64 [N]."""
        self.waiting.append((logits, labels))
        if len(self.waiting) >= self.together:
            self._add()

    def _add(self) -> None:
        if self.waiting:
            logits, labels = (torch.cat(tensors) for tensors in zip(*self.waiting, strict=True))
            self.waiting.clear()
            self.sums = self.sums + metric_sums(logits, labels, self.loss_function)
            self.images = self.images + labels.shape[0]

    def sync_context(self, *arguments: Any, **options: Any) -> Any:
        """Adds what waits before processes exchange their sums, which they do before each `compute`."""
        self._add()
        return super().sync_context(*arguments, **options)

    def reset(self) -> None:
        self.waiting.clear()
        super().reset()

    def compute(self) -> dict[str, Tensor]:
        return dict(zip(METRICS, (self.sums / self.images).unbind(), strict=True))


def _loss(given: LossGiven, options: dict[str, Any] | None, stored: dict[str, Any] | None) -> Loss:
    """The loss that was given; where a checkpoint names one of the user's, `stored`, with its arguments."""
    if isinstance(given, str) and given in LOSSES:
        return LOSSES[given] if stored is None else UnknownLoss(stored)
    return OwnLoss.of(given, {**{k: v for k, v in (stored or {}).items() if k != TARGET}, **(options or {})})


class MNISTClassifier(Scheduled):
    """The study's network as a LightningModule: images [N, 1, 28, 28], uint8 or float 0 to 1, -> logits [N, 10].

    Or `net`, any torch Module of float images -> logits [N, 10]; or its class, or what else makes one when called. A
    checkpoint holds no code: one with a network of the user's is loaded with `net` given again, where a class gets the
    arguments that are stored, `network`. For other images give `in_channels`, `image_size` (one number, or height and
    width) and `num_classes`, as a `MNISTDataModule` has them of its data.

    `optimizer` is a name of `config.OPTIMIZERS` or the dotted path of a `torch.optim.Optimizer`; `loss` is mse,
    mae or cross_entropy; `seed` fixes the initial weights. Raises ConfigError (a ValueError) for anything out of
    range. Logs once an epoch: train_*, val_* or test_* of loss, mse, mae, accuracy and binary_accuracy.

    >>> import lightning
    >>> module = MNISTClassifier(num_channels=2, num_conv=1, num_dense=0, optimizer="adam", lr=0.01, seed=0)
    >>> data = MNISTDataModule("synthetic", train_size=320, test_size=100)
    >>> quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    >>> lightning.Trainer(max_epochs=1, enable_checkpointing=False, accelerator="cpu", **quiet).fit(module, data)
    >>> module(data.dataset.test.images[:5]).argmax(-1).shape
    torch.Size([5])
    """

    def __init__(
        self,
        num_channels: int = 32,
        num_conv: int = 2,
        num_dense: int = 1,
        *,
        optimizer: str | Callable[..., Any] = "rmsprop",
        lr: float = 0.001,
        loss: LossGiven = "mse",
        optimizer_options: dict[str, Any] | None = None,
        seed: int | None = None,
        in_channels: int = 1,
        image_size: ImageSize = IMAGE_SIZE,
        num_classes: int = NUM_CLASSES,
        net: Given | None = None,
        network: dict[str, Any] | None = None,
        loss_options: dict[str, Any] | None = None,
        criterion: dict[str, Any] | None = None,
        scheduler: SchedulerConfig | str | Callable[..., Any] | Mapping[str, Any] = "none",
        schedule: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.optimizer_config = OptimizerConfig(optimizer, dict(optimizer_options or {}))  # pyright: ignore - becomes a name
        if callable(optimizer):
            optimizer, optimizer_options = self.optimizer_config.name, self.optimizer_config.options
        check_values(RunConfig, lr=lr, **({"loss": loss} if isinstance(loss, str) else {}))
        if network is not None and net is None:
            raise ConfigError([Problem("net", None, f"the weights are of {network.get(TARGET)}", GIVE_NET)])
        self.loss_function = _loss(loss, loss_options, criterion)
        own_loss = isinstance(self.loss_function, OwnLoss)
        self.follow(scheduler, schedule)
        ignored = ["loss_options", "criterion", "net", "network", "scheduler", "schedule"]
        ignored += ["loss"] * own_loss + ["num_channels", "num_conv", "num_dense"] * (net is not None)
        self.save_hyperparameters(ignore=ignored)  # plain types only: they must load with weights_only=True
        if isinstance(self.loss_function, OwnLoss):
            self.hparams["criterion"] = self.loss_function.described
        if self.schedule.is_used:
            self.hparams["schedule"] = schedule or self.schedule.identity()
        self.lr = float(lr)
        self.by_hand: ByHand | None = None  # what a training computes with in the network's place
        self.shape = Shape.of(in_channels, image_size, num_classes)
        if net is None:
            self.net: nn.Module = ConvDenseNet(num_channels, num_conv, num_dense, seed=seed, **self.shape.arguments())
        else:
            self.hparams["network"] = described = network or description_of(net)
            self.net = network_from(net, {k: v for k, v in described.items() if k != TARGET}, self.shape, seed)
        self.train_metrics, self.val_metrics, self.test_metrics = (EpochMetrics(self.loss_function) for _ in range(3))

    if TYPE_CHECKING:  # with types: a part of Lightning's own are unknown

        @classmethod
        def load_from_checkpoint(
            cls,
            checkpoint_path: str | Path | IO[bytes],
            map_location: Any = None,
            hparams_file: str | Path | None = None,
            strict: bool | None = None,
            weights_only: bool | None = None,
            **kwargs: Any,
        ) -> Self: ...

    @classmethod
    def from_config(cls, config: RunConfig, shape: Shape = MNIST) -> MNISTClassifier:
        """Makes the classifier of a configuration, for images of that shape."""
        m, o = config.model, config.optimizer
        own = own_component(m)
        return cls(
            m.num_channels,
            m.num_conv,
            m.num_dense,
            optimizer=o.name,
            lr=config.lr,
            loss=config.loss,
            loss_options=config.loss_options,
            scheduler=config.scheduler,
            schedule=stored_schedule(config),
            optimizer_options=o.options,
            seed=config.seed,
            net=None if own is None else build_network(own, config.seed, shape),
            network=None if own is None else own.identity(),
            **shape.arguments(),
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if name == _HOOK:  # by Lightning, 42 times a step; torch's way is for what may be a parameter or a module
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

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
        if self.by_hand is not None:
            scaled = scale(images, self.dtype)  # pyright: ignore[reportArgumentType] - as above
            are_pixels = images.dtype == torch.uint8
            loss, logits = self.by_hand.loss(scaled, labels, self.loss_function, are_pixels=are_pixels)
        else:
            logits = self(images)
            loss = self.loss_function(logits, labels)
        self.train_metrics.update(logits.detach(), labels)
        return loss

    training_step.__signature__ = signature(training_step)  # pyright: ignore - Lightning looks for it at each step

    def backward(self, loss: Tensor, *arguments: Any, **options: Any) -> None:
        if self.by_hand is not None:
            self.by_hand.backward(loss)
        else:
            super().backward(loss, *arguments, **options)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        if self.by_hand is not None:
            _compute_by_hand(optimizer_closure, self.by_hand)
        if self.by_hand is None or self.schedule.is_used or self.trainer.gradient_clip_val:
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        elif isinstance(inner := optimizer.optimizer, FollowsRule) and inner.one_pass:
            # past what Lightning asks callbacks, clips and times here, and torch: a thirtieth of a small network's step
            optimizer_closure()
            inner.update()
        else:
            inner.step(optimizer_closure)

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
        metrics = {f"train_{k}": v for k, v in self.train_metrics.compute().items()}
        self.log_dict(metrics, sync_dist=True)
        if self.schedule.is_used:
            self.end_scheduled_epoch(metrics)

    def on_validation_epoch_end(self) -> None:
        self.validated = not self.trainer.sanity_checking
        for name, value in self.val_metrics.compute().items():
            self.log(f"val_{name}", value, prog_bar=name in ("loss", "accuracy"), sync_dist=True)

    def on_test_epoch_end(self) -> None:
        self.log_dict({f"test_{k}": v for k, v in self.test_metrics.compute().items()}, sync_dist=True)

    def _clips_scaled(self) -> bool:
        """Whether Lightning would refuse to clip the gradients of a fused optimizer: it takes them for scaled ones."""
        if self._trainer is None or not isinstance(plugin := self.trainer.precision_plugin, MixedPrecision):
            return False
        return plugin.scaler is not None or bool(self.trainer.gradient_clip_val)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = build_optimizer(self.optimizer_config, self.parameters(), self.lr, fused=not self._clips_scaled())
        return self.scheduled(optimizer)
