"""Update rules against their formulas; the traces judge them in training (test_keras_traces.py)."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mnist_lightning import config
from mnist_lightning.config import OptimizerConfig
from mnist_lightning.errors import ConfigError
from mnist_lightning.numerics.optimizers import REGISTRY, build_optimizer

B1, B2 = (torch.tensor(b, dtype=torch.float32).item() for b in (0.9, 0.999))
LR = 0.01


def adam(gs: list[float]) -> float:
    w = m = v = 0.0
    for t, g in enumerate(gs, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w -= LR * math.sqrt(1 - B2**t) / (1 - B1**t) * m / (math.sqrt(v) + 1e-7)
    return w


def rmsprop(gs: list[float]) -> float:
    w = v = 0.0
    for g in gs:
        v = 0.9 * v + 0.1 * g * g
        w -= LR * g / math.sqrt(v + 1e-7)
    return w


def adamax(gs: list[float]) -> float:
    w = m = u = 0.0
    for t, g in enumerate(gs, start=1):
        m, u = 0.9 * m + 0.1 * g, max(0.999 * u, abs(g))
        w -= LR / (1 - B1**t) * m / (u + 1e-7)
    return w


def adagrad(gs: list[float]) -> float:
    w, a = 0.0, 0.1
    for g in gs:
        a += g * g
        w -= LR * g / math.sqrt(a + 1e-7)
    return w


def adadelta(gs: list[float]) -> float:
    w = a = d = 0.0
    for g in gs:
        a = 0.95 * a + 0.05 * g * g
        step = -math.sqrt(d + 1e-7) * g / math.sqrt(a + 1e-7)
        d = 0.95 * d + 0.05 * step * step
        w += LR * step
    return w


KERAS = {
    "adam": adam,
    "rmsprop": rmsprop,
    "adamax": adamax,
    "adagrad": adagrad,
    "adadelta": adadelta,
    "sgd": lambda gs: -LR * sum(gs),
}


def walk(name: str, gradients: list[float]) -> float:
    w = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = build_optimizer(OptimizerConfig(name), [w], LR)
    for g in gradients:
        w.grad = torch.tensor([g], dtype=torch.float64)
        optimizer.step()
    return w.item()


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0])
@pytest.mark.parametrize(("name", "rule"), KERAS.items())
def test_keras_optimizers_follow_keras_formula(name: str, rule: Callable[[list[float]], float], scale: float) -> None:
    gradients = [scale * g for g in (1.0, -0.5, 0.25, 0.0, 3.0, -2.0)]
    assert walk(name, gradients) == pytest.approx(rule(gradients), rel=1e-12)


def test_the_first_step_of_rmsprop_on_a_tiny_gradient_is_kerass_and_not_torchs() -> None:
    assert walk("rmsprop", [1e-6]) == pytest.approx(-3.2e-5, rel=0.02)
    assert walk("torch_rmsprop", [1e-6]) == pytest.approx(-9.1e-2, rel=0.02)


def test_the_registry_holds_exactly_the_configured_names() -> None:
    assert REGISTRY.keys() == config.OPTIMIZERS.keys()


@pytest.mark.parametrize("name", [*REGISTRY, "torch.optim.RAdam"])
def test_every_optimizer_saves_and_continues_exactly(name: str) -> None:
    def start() -> tuple[torch.Tensor, torch.optim.Optimizer]:
        w = torch.ones(3, requires_grad=True)
        return w, build_optimizer(OptimizerConfig(name), [w], LR)

    def go(w: torch.Tensor, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            w.grad = torch.tensor([0.1, -0.2, 0.3]) * (step + 1)
            optimizer.step()

    straight, optimizer = start()
    go(straight, optimizer, range(6))
    half, optimizer = start()
    go(half, optimizer, range(3))
    state = optimizer.state_dict()
    continued, fresh = start()
    continued.data.copy_(half.data)
    fresh.load_state_dict(state)
    go(continued, fresh, range(3, 6))
    assert torch.equal(straight, continued)


@pytest.mark.parametrize("name", REGISTRY)
def test_the_learning_rate_asked_for_stands_in_the_groups_before_and_after_a_step(name: str) -> None:
    w = torch.ones(3, requires_grad=True)
    optimizer = build_optimizer(OptimizerConfig(name), [w], 0.05)
    w.grad = torch.ones(3)
    before = [dict(g, params=None) for g in optimizer.param_groups]
    optimizer.step()
    assert before[0]["lr"] == 0.05
    assert [dict(g, params=None) for g in optimizer.param_groups] == before


@pytest.mark.parametrize("name", REGISTRY)
def test_a_parameter_without_gradient_is_left_alone(name: str) -> None:
    used, unused = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    optimizer = build_optimizer(OptimizerConfig(name), [used, unused], LR)
    used.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(unused, torch.ones(2))
    assert not torch.equal(used, torch.ones(2))


def test_options_reach_the_optimizer_and_lists_become_tuples() -> None:
    w = torch.ones(1, requires_grad=True)
    optimizer = build_optimizer(OptimizerConfig("adam", {"betas": [0.5, 0.9]}), [w], LR)
    assert optimizer.param_groups[0]["betas"] == (0.5, 0.9)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torch.optim.Nope", "optimizer=torch.optim.Nope: cannot be imported"),
        ("nowhere.at.All", "optimizer=nowhere.at.All: cannot be imported"),
        ("os.system", "optimizer=os.system: not a torch Optimizer"),
        ("torch.nn.Linear", "optimizer=torch.nn.Linear: not a torch Optimizer"),
    ],
)
def test_only_optimizers_come_in_by_a_dotted_path(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_optimizer(OptimizerConfig(name), [torch.ones(1, requires_grad=True)], LR)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"refused by RMSprop \(.*momentun"):
        build_optimizer(OptimizerConfig("rmsprop", {"momentun": 1}), [torch.ones(1, requires_grad=True)], LR)
