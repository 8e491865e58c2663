"""A data module of somebody's own images: what is refused, what a network is told of them, how they are cut."""

from __future__ import annotations

from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor

from mnist_lightning import ConvDenseNet, MNISTClassifier, MNISTDataModule
from mnist_lightning.data.datasets import Batches, Split, batch_order
from mnist_lightning.errors import ConfigError, DataError


def images(count: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def tensors(*shape: int, classes: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """60 images of that shape to train on, 30 to test, labels 0 to `classes` - 1 in turn."""
    return images(60, *shape), torch.arange(60) % classes, images(30, *shape, seed=1), torch.arange(30) % classes


def quiet_trainer(**arguments: Any) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": 1, **arguments},
    )


def network(data: MNISTDataModule, **arguments: Any) -> MNISTClassifier:
    shape = {"in_channels": data.in_channels, "image_size": data.image_size, "num_classes": data.num_classes}
    return MNISTClassifier(2, 1, 0, seed=0, **shape, **arguments)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize("shape", [(12, 12), (1, 28, 28), (3, 16, 10)])
def test_own_images_train_in_an_ordinary_trainer_with_what_the_data_module_knows_of_them(
    shape: tuple[int, ...],
) -> None:
    data = MNISTDataModule.from_tensors(*tensors(*shape), batch_size=8)
    module = network(data)
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(module, data)
    assert (data.in_channels, data.num_classes) == (shape[0] if len(shape) == 3 else 1, 3)
    assert trainer.global_step == 2 * 8
    assert torch.isfinite(trainer.callback_metrics["val_loss"])
    assert module(images(5, data.in_channels, *shape[-2:])).shape == (5, 3)


def test_what_the_data_module_says_of_an_image_is_one_number_for_a_square() -> None:
    assert MNISTDataModule.from_tensors(*tensors(12, 12)).image_size == 12
    assert MNISTDataModule.from_tensors(*tensors(3, 16, 10)).image_size == (16, 10)
    assert MNISTDataModule("synthetic").image_size == 28


def test_own_images_are_cut_and_ordered_as_mnists() -> None:
    train, labels, test, test_labels = tensors(12, 12)
    data = MNISTDataModule.from_tensors(
        train, labels, test, test_labels, batch_size=16, train_size=50, test_size=20, val_size=10, seed=3
    )
    order = batch_order(40, 3, 0)
    assert torch.equal(torch.cat([batch for batch, _ in data.train_dataloader()])[:, 0], train[order])
    assert torch.equal(torch.cat([batch for _, batch in data.train_dataloader()]), labels[order])
    assert torch.equal(data.dataset.val.images[:, 0], train[40:50])
    assert torch.equal(data.dataset.test.labels, test_labels[:20])
    assert isinstance(data.test_dataloader(), Batches)


def test_without_a_validation_set_own_images_are_validated_on_the_test_set() -> None:
    dataset = MNISTDataModule.from_tensors(*tensors(12, 12)).dataset
    assert dataset.val is dataset.test


def test_arrays_and_floats_are_taken_and_floats_reach_the_network_as_they_are() -> None:
    train, labels, test, test_labels = tensors(12, 12)
    normalised = (train.float() / 255 - 0.5) / 0.25
    data = MNISTDataModule.from_tensors(
        normalised.numpy(), labels.numpy().astype(np.uint8), ((test / 255 - 0.5) / 0.25).numpy(), test_labels.tolist()
    )
    batch = data.on_after_batch_transfer(next(iter(data.test_dataloader())), 0)
    assert torch.equal(batch[0][:, 0], ((test / 255 - 0.5) / 0.25))
    assert data.dataset.train.labels.dtype == torch.int64


def test_the_number_of_classes_can_be_larger_than_the_largest_label() -> None:
    assert MNISTDataModule.from_tensors(*tensors(12, 12), num_classes=5).num_classes == 5
    only_zero = images(4, 12, 12), torch.zeros(4, dtype=torch.long)
    assert MNISTDataModule.from_tensors(*only_zero, *only_zero).num_classes == 2


TRAIN, LABELS, TEST, TEST_LABELS = tensors(12, 12)
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "words": ({"train_images": "digits"}, "train_images: a str, no tensor of numbers"),
    "whole numbers": ({"train_images": TRAIN.int()}, "train_images: int32; give uint8 from 0 to 255, or floats"),
    "a vector": ({"test_images": TEST[:, 0, 0]}, r"test_images: uint8 \[30\]; give \[N, H, W\] or \[N, C, H, W\]"),
    "no images": ({"train_images": TRAIN[:0], "train_labels": LABELS[:0]}, r"train_images: uint8 \[0, 12, 12\]; give"),
    "not finite": ({"train_images": TRAIN / 0.0}, "train_images: hold a number that is not finite"),
    "unscaled floats": ({"train_images": TRAIN.float()}, "train_images: whole numbers to 255 as floats; give uint8"),
    "one-hot labels": ({"test_labels": torch.eye(3)[TEST_LABELS]}, r"test_labels: float32 \[30, 3\]; give whole"),
    "too few labels": ({"train_labels": LABELS[1:]}, "train_labels: 59 for 60 images; give one for each"),
    "negative labels": ({"train_labels": LABELS - 1}, "train_labels: hold -1; classes are numbered from 0"),
    "more classes": ({"num_classes": 2}, "train_labels: hold 2 of 2 classes from 0; give more num_classes"),
    "another size": ({"test_images": images(30, 8, 8)}, r"test_images: uint8 \[30, 1, 8, 8\], and train_images uint8"),
    "another type": ({"test_images": TEST / 255}, r"test_images: float32 \[30, 1, 12, 12\], and train_images uint8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_data_set_is_refused_by_the_name_of_the_argument(case: str) -> None:
    changes, said = REFUSED[case]
    given: dict[str, Any] = {
        "train_images": TRAIN,
        "train_labels": LABELS,
        "test_images": TEST,
        "test_labels": TEST_LABELS,
    }
    with pytest.raises(DataError, match=f"^{said}"):
        MNISTDataModule.from_tensors(**given | changes)


def test_more_own_images_than_there_are_cannot_be_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"^data.train_size=61: .* has not that many images; use at most 60"):
        MNISTDataModule.from_tensors(*tensors(12, 12), train_size=61)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_network_for_other_images_than_the_datas_is_refused_before_the_first_step() -> None:
    data = MNISTDataModule.from_tensors(*tensors(3, 16, 16))
    with pytest.raises(ConfigError, match=r"^MNISTClassifier: .* give in_channels=3, image_size=16, num_classes=3$"):
        quiet_trainer().fit(MNISTClassifier(2, 1, 0), data)


def test_a_split_is_shown_without_its_pixels() -> None:
    data = MNISTDataModule.from_tensors(*tensors(3, 16, 10)).dataset
    assert repr(data.train) == "Split(60 images uint8 3x16x10, labels 0 to 2)"
    assert repr(data.train.part(0, 0)) == "Split(0 images uint8 3x16x10)"
    assert len(repr(data)) < 400
    assert repr(Split(torch.zeros(70_000, 1, 2, 2), torch.zeros(70_000))).startswith("Split(70,000 images float32")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"in_channels": 0}, "in_channels=0: not a size; use 1 to 4096"),
        ({"num_classes": 1}, "num_classes=1: not a size; use 2 to 65536"),
        ({"image_size": (28, 10**9)}, "image_size=1000000000: not a size; use 1 to 4096"),
        ({"image_size": (1, 2, 3)}, r"image_size=\(1, 2, 3\): not one or two numbers; use 28, or \(height, width\)"),
        ({"image_size": (64, 7)}, "model.num_conv=3: the image vanishes: 7 pixels halve to 7, 3, 1 and then"),
    ],
)
def test_sizes_that_are_none_are_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{said}"):
        ConvDenseNet(2, 3, 0, **arguments)


def test_images_of_several_channels_are_computed_as_torch_computes_them_with_its_own_layout() -> None:
    net = ConvDenseNet(2, 1, 0, seed=0, in_channels=3, image_size=(16, 10), num_classes=4).double()
    x = torch.rand(5, 3, 16, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.relu(torch.nn.functional.conv2d(x, net.stem.weight.contiguous(), net.stem.bias, padding=1))
    conv = net.convs[0]
    y = torch.relu(torch.nn.functional.conv2d(y, conv.weight.contiguous(), conv.bias, padding=1))  # pyright: ignore - a convolution
    y = torch.nn.functional.max_pool2d(y, 2).flatten(1) @ net.output.weight.T + net.output.bias
    torch.testing.assert_close(net(x), y)
