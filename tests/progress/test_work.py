"""progress/work.py: how much a run computes."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mnist_lightning.config import DataConfig, ModelConfig, RunConfig, TrainerConfig
from mnist_lightning.numerics.model import ConvDenseNet
from mnist_lightning.progress.work import multiplications, sizes_of, work_of


@pytest.mark.parametrize("size", [(32, 2, 1), (4, 0, 0), (3, 4, 3), (64, 3, 3)])
def test_multiplications_are_those_that_torch_counts(size: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        net, image = ConvDenseNet(*size), torch.empty(1, 1, 28, 28)
    with FlopCounterMode(display=False) as counter:
        net(image)
    assert multiplications(ModelConfig(*size)) * 2 == counter.get_total_flops()


@pytest.mark.parametrize(
    ("data", "sizes"),
    [
        (DataConfig("mnist"), (60_000, 10_000, 10_000)),
        (DataConfig("mnist", train_size=500, val_size=100), (400, 100, 10_000)),
        (DataConfig("synthetic", test_size=7), (10_000, 7, 7)),
    ],
)
def test_sizes_are_those_of_the_configuration_or_of_the_whole_data_set(
    data: DataConfig, sizes: tuple[int, int, int]
) -> None:
    assert sizes_of(data) == sizes


def test_work_grows_with_the_epochs_but_for_the_last_evaluation() -> None:
    one, two = (work_of(RunConfig(trainer=TrainerConfig(max_epochs=n))) for n in (1, 2))
    assert (two.training, two.evaluation) == (2 * one.training, one.evaluation)
    assert one.total == one.training + one.evaluation
