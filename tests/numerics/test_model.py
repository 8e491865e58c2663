"""The network: its size, its shapes, its initial weights."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from mnist_lightning.numerics.model import (
    ConvDenseNet,
    Dense,
    channels_innermost,
    count_parameters,
    dense_widths,
    initialise,
    max_pool,
    parameters_of,
)

# Counted by Keras, and printed in the report
PARAMETERS = {
    (32, 2, 1): 6375682,
    (32, 2, 3): 11508682,
    (32, 2, 5): 14991718,
    (32, 3, 1): 2702850,
    (32, 3, 3): 5851850,
    (32, 3, 5): 8676198,
    (64, 2, 1): 12924674,
    (64, 2, 3): 21193674,
    (64, 2, 5): 25717862,
    (64, 3, 1): 6168834,
    (64, 3, 3): 10469834,
    (64, 3, 5): 13676646,
}


@pytest.mark.parametrize(("architecture", "expected"), PARAMETERS.items(), ids=lambda x: str(x))
def test_parameters_are_as_many_as_keras_counts(architecture: tuple[int, int, int], expected: int) -> None:
    with torch.device("meta"):
        assert count_parameters(ConvDenseNet(*architecture)) == expected


def test_the_network_of_the_study_is_the_default_one() -> None:
    with torch.device("meta"):
        assert count_parameters(ConvDenseNet()) == PARAMETERS[32, 2, 1]


def test_only_what_is_trained_is_counted() -> None:
    net = ConvDenseNet(2, 1, 0)
    whole = count_parameters(net)
    assert parameters_of(2, 1, 0) == whole
    net.stem.requires_grad_(False)
    assert count_parameters(net) == whole - (9 * 2 + 2)


def test_dense_widths_are_the_reports() -> None:
    assert dense_widths(1) == [1000]
    assert dense_widths(3) == [1500, 1000, 500]
    assert dense_widths(5) == [1666, 1333, 1000, 666, 333]
    assert dense_widths(0) == []


@pytest.mark.parametrize("num_conv", range(5))
@pytest.mark.parametrize("num_dense", [0, 2])
def test_images_in_logits_out_for_every_depth(num_conv: int, num_dense: int) -> None:
    logits = ConvDenseNet(1, num_conv, num_dense)(torch.rand(3, 1, 28, 28))
    assert logits.shape == (3, 10)
    assert not torch.allclose(logits.softmax(-1), logits)  # no softmax inside


def test_a_model_whose_image_would_vanish_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"num_conv=5: the image vanishes.* use 0 to 4"):
        ConvDenseNet(1, 5, 1)


def test_kernels_are_glorot_uniform_and_biases_zero() -> None:
    net = ConvDenseNet(8, 2, 1, seed=0)
    layers: list[tuple[Any, int, int]] = [
        (net.stem, 9, 72),
        (net.convs[1], 16 * 9, 32 * 9),
        (net.denses[0], 1568, 1000),
    ]
    for layer, fan_in, fan_out in layers:
        limit = math.sqrt(6 / (fan_in + fan_out))
        weight = layer.weight.detach()
        assert weight.abs().max() <= limit
        assert weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.15)
        assert layer.bias.abs().max() == 0


def test_the_seed_alone_decides_the_initial_weights() -> None:
    state = torch.get_rng_state()
    first, again, other = (ConvDenseNet(2, 1, 0, seed=s) for s in (0, 0, 1))
    assert torch.equal(first.stem.weight, again.stem.weight)
    assert not torch.equal(first.stem.weight, other.stem.weight)
    assert torch.equal(state, torch.get_rng_state()), "the global generator was touched"


def test_relu_after_pooling_equals_relu_before_it_to_the_bit() -> None:
    net = ConvDenseNet(4, 2, 1, seed=3)
    images = torch.rand(5, 1, 28, 28)
    x = torch.relu(net.stem(images))
    for conv in net.convs:
        x = torch.nn.functional.max_pool2d(torch.relu(conv(x)), 2)
    for dense in net.denses:
        x = torch.relu(dense(x.flatten(1)))
    assert torch.equal(net(images), net.output(x))


def test_without_a_seed_the_global_generator_decides() -> None:
    torch.manual_seed(5)
    first, other = ConvDenseNet(2, 1, 0), ConvDenseNet(2, 1, 0)
    torch.manual_seed(5)
    assert torch.equal(first.stem.weight, ConvDenseNet(2, 1, 0).stem.weight)
    assert not torch.equal(first.stem.weight, other.stem.weight)


def test_initialising_again_gives_the_first_weights_and_biases_where_there_are_any() -> None:
    net = ConvDenseNet(2, 1, 1, seed=0)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(7)
    initialise(net, 0)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    initialise(torch.nn.Linear(3, 2, bias=False))


def test_a_network_is_built_for_convolutions_whose_channels_lie_innermost() -> None:
    """benchmarks/layouts.py: pooling such outputs is 10 to 20 times faster on a CPU."""
    net, images = ConvDenseNet(4, 1, 0), torch.rand(3, 1, 28, 28)
    assert next(net.convs.parameters()).is_contiguous(memory_format=torch.channels_last)
    assert net.stem(channels_innermost(images)).stride()[1] == 1  # [N,C,H,W]


def test_images_are_the_same_with_their_channel_innermost() -> None:
    for shape in ((3, 1, 28, 28), (2, 3, 1, 28, 28), (3, 3, 28, 28)):  # of one network, of a stack, in colours
        images = torch.rand(shape)
        assert torch.equal(channels_innermost(images), images)
        assert channels_innermost(images).shape == shape
        assert channels_innermost(images).stride()[-3:] == (1, 28 * shape[-3], shape[-3])


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (1, 3, 4, 0, 2)], ids=["a network after another", "interleaved"])
def test_a_stack_is_pooled_as_its_members_are_in_either_order_of_the_memory(order: tuple[int, ...]) -> None:
    stack = torch.rand(2, 3, 4, 6, 6)  # [G,N,C,H,W]
    back = [order.index(i) for i in range(5)]
    laid_out = stack.permute(order).contiguous().permute(back)
    assert torch.equal(max_pool(laid_out), torch.stack([torch.nn.functional.max_pool2d(x, 2) for x in stack]))


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)], ids=["one row", "rows", "stacks of rows"])
def test_a_dense_layer_is_torchs_linear_layer(shape: tuple[int, ...]) -> None:
    x, layer = torch.rand(shape, dtype=torch.float64), Dense(5, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))
