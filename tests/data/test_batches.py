"""Pixels, the order of the batches, and how processes share them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.utils.data import DistributedSampler

from conftest import data_in
from mnist_lightning.data.datasets import Batches, Split, batch_order, load_dataset, scale

pytestmark = pytest.mark.usefixtures("no_cached_data")


def test_pixels_are_scaled_as_keras_scales_them() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(scale(pixels), pixels.float() / 255)
    assert torch.equal(scale(pixels, torch.float64), pixels.double() / 255)
    assert torch.equal(scale(scale(pixels)), scale(pixels)), "floats stay as they are"
    for half in (torch.float16, torch.bfloat16):
        assert torch.equal(scale(pixels, half), (pixels.float() / 255).to(half)), "rounded once"
        assert scale(scale(pixels), half).dtype == half


def test_the_batch_order_is_a_permutation_set_by_seed_and_epoch_alone() -> None:
    order = batch_order(100, 0, 0)
    assert torch.equal(order.sort().values, torch.arange(100))
    torch.manual_seed(99)
    assert torch.equal(order, batch_order(100, 0, 0))
    others = [batch_order(100, 1, 0), batch_order(100, 0, 1), batch_order(100, 1, 1)]
    assert all(not torch.equal(order, other) for other in others)


def test_the_order_of_the_batches_is_the_same_in_every_version() -> None:
    """So that a run that an older version began goes on as it would have."""
    assert batch_order(8, 0, 0).tolist() == [5, 3, 7, 0, 4, 1, 2, 6]
    assert batch_order(8, 0, 1).tolist() == [6, 0, 7, 3, 1, 2, 5, 4]
    assert batch_order(8, 3, 2).tolist() == [1, 2, 4, 3, 6, 7, 5, 0]


def test_without_a_seed_the_order_is_that_of_the_files(mini_mnist: Path) -> None:
    split = load_dataset(data_in(mini_mnist, train_size=100)).train
    batches = list(Batches(split, 32))
    assert [len(labels) for _, labels in batches] == [32, 32, 32, 4]
    assert torch.equal(torch.cat([images for images, _ in batches]), split.images)
    assert torch.equal(torch.cat([labels for _, labels in batches]), split.labels)


def test_batches_cover_every_image_once_and_the_last_is_small(mini_mnist: Path) -> None:
    split = load_dataset(data_in(mini_mnist, train_size=100)).train
    batches = Batches(split, 32, seed=0)
    sizes = [len(labels) for _, labels in batches]
    assert sizes == [32, 32, 32, 4]
    assert len(batches) == 4
    first = torch.cat([labels for _, labels in batches])
    assert torch.equal(first, split.labels[batch_order(100, 0, 0)])
    assert torch.equal(torch.cat([images for images, _ in batches]), split.images[batch_order(100, 0, 0)])
    assert [len(Batches(split, size)) for size in (99, 100, 101)] == [2, 1, 1]
    batches.set_epoch(1)
    assert not torch.equal(first, torch.cat([labels for _, labels in batches]))


@pytest.mark.parametrize("num_images", [8, 10, 11, 3])
@pytest.mark.parametrize("num_replicas", [1, 2, 3, 4])
def test_each_process_gets_the_training_images_that_a_distributed_sampler_would_give_it(
    num_images: int, num_replicas: int
) -> None:
    split = Split(torch.arange(num_images).reshape(-1, 1, 1, 1), torch.arange(num_images))
    for epoch in range(2):
        order = batch_order(num_images, 7, epoch)
        for rank in range(num_replicas):
            batches = Batches(split, 2, 7, num_replicas=num_replicas, rank=rank)
            batches.set_epoch(epoch)
            sampler = DistributedSampler(range(num_images), num_replicas, rank, shuffle=False)  # pyright: ignore[reportArgumentType] - only its length is asked
            labels = [labels for _, labels in batches]
            assert torch.cat(labels).tolist() == order[list(sampler)].tolist()
            assert len(batches) == len(labels) == math.ceil(len(sampler) / 2)


@pytest.mark.parametrize("num_images", [8, 10, 11])
@pytest.mark.parametrize("num_replicas", [1, 2, 3, 4])
def test_for_evaluation_the_processes_share_the_images_out_in_as_many_batches(
    num_images: int, num_replicas: int
) -> None:
    split = Split(torch.arange(num_images).reshape(-1, 1, 1, 1), torch.arange(num_images))
    parts = [Batches(split, 2, num_replicas=num_replicas, rank=rank) for rank in range(num_replicas)]
    seen = [[labels for _, labels in part] for part in parts]
    assert {len(part) for part in parts} == {len(labels) for labels in seen} == {len(seen[0])}
    assert all(1 <= len(labels) <= 2 for part in seen for labels in part)
    assert sorted(torch.cat([torch.cat(part) for part in seen]).tolist()) == list(range(num_images))
