"""Copies of the weights that the optimizer keeps: the numbers that autocast gives, without its casts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from mnist_lightning.config import OptimizerConfig
from mnist_lightning.numerics import one_pass
from mnist_lightning.numerics.copies import Copies, Rounded
from mnist_lightning.numerics.losses import Loss, mse
from mnist_lightning.numerics.model import ConvDenseNet
from mnist_lightning.numerics.one_pass import updates_in_one_pass
from mnist_lightning.numerics.optimizers import FollowsRule, build_optimizer

KEPT = ("rmsprop", "adam", "sgd")
STEPS = 4


@pytest.fixture(autouse=True)
def compiler() -> None:
    if not updates_in_one_pass("sgd", torch.float32, low=True):
        pytest.skip("there is no C++ compiler that works")


def trained(name: str, copying: bool, **options: Any) -> tuple[ConvDenseNet, Any]:
    net = ConvDenseNet(4, 2, 1, seed=1)
    optimizer = build_optimizer(OptimizerConfig(name, options), net.parameters(), 0.01)
    assert isinstance(optimizer, FollowsRule)
    copies = Copies(net) if copying else None
    assert copies is None or optimizer.in_one_pass(copies)
    images = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    for _ in range(STEPS):
        step(net, copies, optimizer, images, mse)
    return net, optimizer


def step(net: ConvDenseNet, copies: Rounded | None, optimizer: Optimizer, images: Tensor, loss: Loss) -> None:
    labels = torch.arange(len(images))
    optimizer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(net(images), labels) if copies is None else copies.loss(images, labels, loss)[0]
    value.backward() if copies is None else copies.backward(value)
    optimizer.step()


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}])
def test_weights_trained_with_copies_are_those_that_autocast_gives(name: str, options: dict[str, float]) -> None:
    (ours, _), (theirs, _) = (trained(name, copying, **options) for copying in (True, False))
    for (which, a), b in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        # Adam's first steps have the learning rate's size however small the gradient is
        torch.testing.assert_close(a, b[1], rtol=0, atol=2e-4 if name == "adam" else 1e-6, msg=which)


def test_copies_alone_change_not_a_single_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_operations(name: str, p: Tensor, grad: Tensor, state: Any, low: Tensor, **options: Any) -> None:
        one_pass.RULES[name].update(p, grad.float(), *state, **options)
        low.copy_(p)

    monkeypatch.setattr(one_pass, "update_in_one_pass", by_operations)
    monkeypatch.setattr(one_pass, "PIECE", 0)
    (ours, _), (theirs, _) = (trained("rmsprop", copying) for copying in (True, False))
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize("name", KEPT)
def test_what_the_optimizer_remembers_is_named_and_counted_as_without_copies(name: str) -> None:
    ours, theirs = (trained(name, copying)[1].state_dict()["state"] for copying in (True, False))
    assert {k: v.keys() for k, v in ours.items()} == {k: v.keys() for k, v in theirs.items() if v}
    for k, state in ours.items():
        assert state["step"] == theirs[k]["step"] == STEPS
        assert isinstance(state["step"], type(theirs[k]["step"]))
        assert {name: x.stride() for name, x in state.items() if name != "step"} == {
            name: x.stride() for name, x in theirs[k].items() if name != "step"
        }


def test_the_weights_have_no_gradient_and_the_copies_lose_theirs_when_it_is_used() -> None:
    net, optimizer = trained("adam", True)
    copies = [optimizer.copies.of(p) for p in net.parameters()]
    assert [p.grad for p in net.parameters()] == [low.grad for low in copies] == [None] * len(copies)
    assert all(torch.equal(low, p.bfloat16()) for p, low in zip(net.parameters(), copies, strict=True))
    assert all(isinstance(p, torch.nn.Parameter) and p.dtype == torch.float32 for p in net.parameters())


@pytest.mark.parametrize("name", ["rmsprop", "adam", "adagrad"])
def test_by_hand_in_bfloat16_without_kept_copies_the_bits_are_autocasts(name: str) -> None:
    ended = []
    for by_hand in (True, False):
        net = ConvDenseNet(4, 2, 1, seed=1)
        optimizer = build_optimizer(OptimizerConfig(name, {}), net.parameters(), 0.01)
        images = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        rounded = Rounded(net) if by_hand else None
        for _ in range(STEPS):
            step(net, rounded, optimizer, images, mse)
        assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in net.parameters())
        ended.append([p.detach() for p in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*ended, strict=True))


def test_a_weight_that_somebody_else_changes_is_copied_anew() -> None:
    net, optimizer = trained("sgd", True)
    images = torch.rand(3, 1, 28, 28)
    net.load_state_dict(ConvDenseNet(4, 2, 1, seed=9).state_dict())
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert torch.equal(optimizer.copies.loss(images, torch.arange(3), mse)[1], net(images))


def test_a_parameter_without_a_copy_is_updated_by_its_own_gradient() -> None:
    """Of a loss of the user's, say."""
    ended = []
    for copying in (True, False):
        net, extra = ConvDenseNet(2, 1, 0, seed=1), torch.nn.Parameter(torch.ones(3))
        optimizer = build_optimizer(OptimizerConfig("sgd", {}), [*net.parameters(), extra], 0.01)
        assert isinstance(optimizer, FollowsRule)
        copies = Copies(net) if copying else None
        assert copies is None or optimizer.in_one_pass(copies)

        def loss(logits: Tensor, labels: Tensor, extra: Tensor = extra) -> Tensor:
            return mse(logits, labels) + extra.square().sum()

        for _ in range(STEPS):
            step(net, copies, optimizer, torch.ones(2, 1, 28, 28), loss)
        ended.append(extra.detach())
    assert torch.equal(*ended)


@pytest.mark.parametrize(
    ("name", "options", "can"),
    [
        ("sgd", {}, True),
        ("sgd", {"weight_decay": 0.1}, True),
        ("sgd", {"momentum": 0.9}, False),
        ("sgd", {"maximize": True}, False),
        ("adam", {"betas": (0.8, 0.9)}, True),
        ("adam", {"amsgrad": True}, False),
        ("rmsprop", {"rho": 0.5}, True),
    ],
)
def test_an_option_that_the_rule_does_not_have_forbids_one_pass(name: str, options: Any, can: bool) -> None:
    optimizer = build_optimizer(OptimizerConfig(name, options), [torch.zeros(1, requires_grad=True)], 0.01)
    assert isinstance(optimizer, FollowsRule)
    assert optimizer.in_one_pass() is can
    optimizer.by_operations()
    assert not optimizer.one_pass
