"""Gradients by hand are autograd's, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
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
def test_loss_and_gradients_are_autograds(
    shape: dict[str, Any], dtype: torch.dtype, sizes: tuple[int, int, int], loss: Any
) -> None:
    net = ConvDenseNet(*sizes, seed=3, **shape).to(dtype)
    by_hand = ByHand(net)
    for number in (1, 13, 64):
        height, width = shape.get("image_size", (28, 28))
        images = torch.rand(number, shape.get("in_channels", 1), height, width)
        labels = torch.arange(number) % shape.get("num_classes", 10)
        value, gradients = by_autograd(net, images, labels, loss)
        net.zero_grad()
        ours, logits = by_hand.loss(images, labels, loss, are_pixels=dtype == torch.float32)
        by_hand.backward(ours)
        assert torch.equal(ours, value)
        assert torch.equal(logits, net(images.to(dtype)))
        assert not logits.requires_grad
        for p, wanted in zip(net.parameters(), gradients, strict=True):
            assert p.grad is not None
            assert wanted is not None
            assert torch.equal(p.grad, wanted)
            assert p.grad.stride() == p.stride()


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -1e38])
@pytest.mark.parametrize("where", ["images", "stem.weight", "stem.bias", "output.weight"])
def test_what_is_no_number_is_seen_as_it_is_by_autograd(where: str, number: float) -> None:
    net, images, labels = ConvDenseNet(8, 1, 0, seed=3), torch.rand(32, 1, 28, 28), torch.arange(32) % 10
    with torch.no_grad():
        (images if where == "images" else net.get_parameter(where))[0] = number
        if where == "stem.weight":
            net.stem.weight[0, 0, 1, 1] = -number  # sums that are infinite both ways
    wanted = net(images)
    loss, logits = ByHand(net).loss(images, labels, LOSSES["mse"], are_pixels=where != "images")
    assert torch.equal(logits.isnan(), wanted.isnan())
    assert loss.isnan() == LOSSES["mse"](wanted, labels).isnan()


def test_a_weight_that_becomes_no_number_is_seen_some_steps_later() -> None:
    net, images, labels = ConvDenseNet(8, 1, 0, seed=3), torch.rand(32, 1, 28, 28), torch.arange(32) % 10
    by_hand = ByHand(net)
    by_hand.loss(images, labels, LOSSES["mse"], are_pixels=True)
    with torch.no_grad():
        net.get_parameter("stem.bias")[0] = torch.nan
    assert any(by_hand.loss(images, labels, LOSSES["mse"], are_pixels=True)[0].isnan() for _ in range(32))


@pytest.mark.parametrize("are_pixels", [True, False])
def test_the_first_convolution_of_pixels_rectifies_its_result(
    are_pixels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch is without oneDNN")
    called: list[str] = []
    original = torch.ops.mkldnn._convolution_pointwise.default
    noted = SimpleNamespace(default=lambda *given: called.append(given[7]) or original(*given))
    monkeypatch.setattr(torch.ops.mkldnn, "_convolution_pointwise", noted)
    ByHand(ConvDenseNet(8, 1, 0, seed=3)).logits(torch.rand(32, 1, 28, 28), are_pixels=are_pixels)
    assert called == ["relu"] * are_pixels


def test_a_loss_that_leaves_the_logits_alone_gives_no_gradients() -> None:
    net, extra = ConvDenseNet(2, 1, 0, seed=3), torch.ones((), requires_grad=True)
    by_hand, images, labels = ByHand(net), torch.rand(2, 1, 28, 28), torch.arange(2)
    by_hand.backward(by_hand.loss(images, labels, lambda logits, labels: extra**2)[0])
    assert extra.grad == 2
    assert [p.grad for p in net.parameters()] == [None] * 6
    with pytest.raises(RuntimeError, match="does not require grad"):
        by_hand.backward(by_hand.loss(images, labels, lambda logits, labels: torch.ones(()))[0])
