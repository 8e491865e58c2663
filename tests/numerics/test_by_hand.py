"""Gradients by hand are autograd's, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from mnist_lightning.numerics.by_hand import ByHand
from mnist_lightning.numerics.losses import LOSSES
from mnist_lightning.numerics.model import ConvDenseNet

SHAPES: list[dict[str, Any]] = [{}, {"in_channels": 3, "image_size": (31, 26), "num_classes": 4}]


def own_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """One of a user's, of which only autograd knows the gradient."""
    return torch.nn.functional.multi_margin_loss(logits, labels)


def penalised(logits: Tensor, labels: Tensor) -> Tensor:
    """One that differentiates by the logits itself."""
    value = torch.nn.functional.cross_entropy(logits.double(), labels)
    (gradient,) = torch.autograd.grad(value, logits, create_graph=True)
    return value + gradient.square().sum()


def halved(logits: Tensor, labels: Tensor) -> Tensor:
    """One that hangs a hook on the logits."""
    logits.register_hook(lambda gradient: gradient / 2)
    return LOSSES["mse"](logits, labels)


@pytest.fixture(autouse=True, params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def by_autograd(net: ConvDenseNet, images: Tensor, labels: Tensor, loss: Any) -> tuple[Tensor, list[Tensor | None]]:
    net.zero_grad()
    value = loss(net(images.to(net.output.weight.dtype)), labels)
    value.backward()
    return value.detach(), [p.grad for p in net.parameters()]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [(4, 1, 0), (8, 2, 1), (3, 3, 3), (17, 1, 1)])
@pytest.mark.parametrize("loss", [*LOSSES.values(), own_loss, penalised, halved])
@pytest.mark.parametrize("finite", [True, False])
def test_loss_and_gradients_are_autograds(
    shape: dict[str, Any], dtype: torch.dtype, sizes: tuple[int, int, int], loss: Any, finite: bool
) -> None:
    net = ConvDenseNet(*sizes, seed=3, **shape).to(dtype)
    by_hand = ByHand(net)
    for number in (1, 13, 64):
        height, width = shape.get("image_size", (28, 28))
        images = torch.rand(number, shape.get("in_channels", 1), height, width)
        labels = torch.arange(number) % shape.get("num_classes", 10)
        value, gradients = by_autograd(net, images, labels, loss)
        net.zero_grad()
        ours, logits = by_hand.loss(images, labels, loss, finite=finite)
        by_hand.backward(ours)
        assert torch.equal(ours, value)
        assert torch.equal(logits, net(images.to(dtype)))
        assert not logits.requires_grad
        for p, wanted in zip(net.parameters(), gradients, strict=True):
            assert p.grad is not None
            assert wanted is not None
            assert torch.equal(p.grad, wanted)
            assert p.grad.stride() == p.stride()


@pytest.mark.parametrize("where", ["images", "weights"])
def test_what_is_no_number_is_seen(where: str) -> None:
    net, images, labels = ConvDenseNet(2, 1, 0, seed=3), torch.rand(4, 1, 28, 28), torch.arange(4)
    with torch.no_grad():
        (images if where == "images" else net.output.weight)[0] = torch.nan
    loss, logits = ByHand(net).loss(images, labels, LOSSES["mse"], finite=where != "images")
    assert loss.isnan()
    assert logits.isnan().any()


def test_a_loss_that_leaves_the_logits_alone_gives_no_gradients() -> None:
    net, extra = ConvDenseNet(2, 1, 0, seed=3), torch.ones((), requires_grad=True)
    by_hand, images, labels = ByHand(net), torch.rand(2, 1, 28, 28), torch.arange(2)
    by_hand.backward(by_hand.loss(images, labels, lambda logits, labels: extra**2)[0])
    assert extra.grad == 2
    assert [p.grad for p in net.parameters()] == [None] * 6
    with pytest.raises(RuntimeError, match="does not require grad"):
        by_hand.backward(by_hand.loss(images, labels, lambda logits, labels: torch.ones(()))[0])
