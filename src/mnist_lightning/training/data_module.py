"""The data of a training as a LightningDataModule: splits in memory, batches in the order of the seed."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch

from mnist_lightning.config import DATASETS, DataConfig, ImageSize, RunConfig
from mnist_lightning.data.augmentation import build_augmentation
from mnist_lightning.data.datasets import Batches, Dataset, cut, load_dataset, scale
from mnist_lightning.data.tensors import whole_of
from mnist_lightning.numerics.by_hand import ByHand

EVALUATION_BATCH = 500


class MNISTDataModule(L.LightningDataModule):
    """MNIST or a relative in torchvision's layout, or the embedded synthetic digits, as resident uint8 tensors.

    Batches reach a module as float images [N, 1, 28, 28] from 0 to 1 and int64 labels [N]; the loaders themselves
    give uint8, scaled on the device (by the module itself where `MNISTClassifier` computes its gradients by hand). The
    order of the training batches is a function of `seed` and the epoch.
    With `val_size=0` validation is on the test set, as in the study: then a best epoch or a best run chosen by
    validation has seen the test set, and its test accuracy is optimistic.
    In a Trainer with several devices each gets its own part of the images, in batches of `batch_size`, see `Batches`.
    `from_tensors` makes one of any other images. `transform` changes the training batches at random, on the device, see
    `data.augmentation`: none, light, a dotted name, `{_target_: class, argument: value}`, a torch Module, or a list.

    >>> data = MNISTDataModule("synthetic", batch_size=64, train_size=320, val_size=64)
    >>> images, labels = next(iter(data.train_dataloader()))
    >>> images.shape, images.dtype, labels.shape, labels.dtype
    (torch.Size([64, 1, 28, 28]), torch.uint8, torch.Size([64]), torch.int64)
    >>> len(data.dataset.train), len(data.dataset.val), len(data.dataset.test)
    (256, 64, 2000)
    """

    def __init__(
        self,
        name: str = "mnist",
        root: str | None = None,
        *,
        batch_size: int = 64,
        train_size: int | None = None,
        test_size: int | None = None,
        val_size: int = 0,
        download: bool = True,
        transform: object = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        where = {} if root is None else {"root": str(root)}
        sizes = {"batch_size": batch_size, "train_size": train_size, "test_size": test_size, "val_size": val_size}
        self.config = DataConfig(name, download=download, **where, **sizes)
        self.seed = seed
        self.augmentation = build_augmentation(transform, seed)
        self._dataset: Dataset | None = None

    @classmethod
    def from_tensors(
        cls,
        train_images: Any,
        train_labels: Any,
        test_images: Any,
        test_labels: Any,
        *,
        num_classes: int | None = None,
        batch_size: int = 64,
        train_size: int | None = None,
        test_size: int | None = None,
        val_size: int = 0,
        transform: object = None,
        seed: int = 0,
    ) -> MNISTDataModule:
        """Makes the data module of images that are in memory, as tensors or arrays; splits and order as MNIST's.

        Images [N, H, W] or [N, C, H, W]: uint8, scaled to 0 to 1 for the network, or floats, which it gets as they are.
        Labels are whole numbers [N] from 0 to `num_classes` - 1, by default the largest that occurs. The module's
        `in_channels`, `image_size` and `num_classes` are what a network for them needs. Raises DataError for anything
        else and ConfigError where more images are asked for than there are.

        >>> import torch
        >>> images, labels = torch.rand(60, 3, 12, 12), torch.arange(60) % 4
        >>> data = MNISTDataModule.from_tensors(images[:40], labels[:40], images[40:], labels[40:])
        >>> data.in_channels, data.image_size, data.num_classes
        (3, 12, 4)
        >>> data.dataset.test
        Split(20 images float32 3x12x12, labels 0 to 3)
        """
        sizes = {"batch_size": batch_size, "train_size": train_size, "test_size": test_size, "val_size": val_size}
        module = cls(transform=transform, seed=seed, **sizes)  # pyright: ignore[reportArgumentType] - by name
        whole = whole_of((train_images, train_labels), (test_images, test_labels), num_classes)
        module._dataset = cut(whole, module.config)
        return module

    @classmethod
    def from_config(cls, config: RunConfig) -> MNISTDataModule:
        """Makes the data module of a configuration."""
        module = cls(DATASETS[0], transform=config.transform, seed=config.seed)
        module.config = config.data
        return module

    @property
    def dataset(self) -> Dataset:
        """The splits; read, and fetched if missing, when first used. Raises DataError."""
        if self._dataset is None:
            self._dataset = load_dataset(self.config)
        return self._dataset

    @property
    def in_channels(self) -> int:
        """The channels of an image: 1 for grey ones."""
        return self.dataset.shape.in_channels

    @property
    def image_size(self) -> ImageSize:
        """The side of a square image in pixels, or (height, width)."""
        return self.dataset.shape.image_size

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return self.dataset.shape.num_classes

    def prepare_data(self) -> None:
        if self._dataset is None:
            load_dataset(self.config)

    def train_dataloader(self) -> Batches:
        return Batches(self.dataset.train, self.config.batch_size, self.seed, **self._device_part())

    def val_dataloader(self) -> Batches:
        return Batches(self.dataset.val, EVALUATION_BATCH, **self._device_part())

    def test_dataloader(self) -> Batches:
        return Batches(self.dataset.test, EVALUATION_BATCH, **self._device_part())

    predict_dataloader = test_dataloader

    def _device_part(self) -> dict[str, int]:
        """Which of how many parts of the images this process gets: what Lightning would tell a DistributedSampler."""
        return (self.trainer and self.trainer.distributed_sampler_kwargs) or {}

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        images, labels = batch
        module = self.trainer and self.trainer.lightning_module
        dtype = getattr(module, "dtype", torch.float32)
        if self.trainer is None or not self.trainer.training:
            return scale(images, dtype), labels
        if self.augmentation is None:
            # our own module then scales them itself, and knows them for pixels
            leaves = type(self) is MNISTDataModule and isinstance(getattr(module, "by_hand", None), ByHand)
            return (images if leaves else scale(images, dtype)), labels
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        batch_idx = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        rank = self.trainer.global_rank
        return self.augmentation(scale(images, wide), self.trainer.current_epoch, batch_idx, rank).to(dtype), labels
