"""Update rules against their formulas; the traces judge them in training (test_keras_traces.py)."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from mnist_lightning import config
from mnist_lightning.config import OptimizerConfig
from mnist_lightning.errors import ConfigError
from mnist_lightning.numerics.optimizers import REGISTRY, build_optimizer
from mnist_lightning.numerics.update_rules import PIECE, RULES, Rule, update_in_pieces

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


@pytest.mark.parametrize("name", KERAS)
def test_weight_decay_is_keras_apart_from_the_gradient(name: str) -> None:
    decay, start = 0.3, 2.0
    gradients = [0.5, -0.25, 1.0, 0.0, -2.0]
    rule = KERAS[name]
    wanted, told = start, 0.0  # of the gradients alone the weight's own value decides nothing
    for n in range(1, len(gradients) + 1):
        wanted -= wanted * decay * LR  # variable - variable * wd * lr, before the update
        wanted += rule(gradients[:n]) - told
        told = rule(gradients[:n])
    w = torch.full((1,), start, dtype=torch.float64, requires_grad=True)
    unused = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = build_optimizer(OptimizerConfig(name, {"weight_decay": decay}), [w, unused], LR)
    for g in gradients:
        w.grad = torch.tensor([g], dtype=torch.float64)
        optimizer.step()
    assert w.item() == pytest.approx(wanted, rel=1e-12)
    assert unused.item() == 1  # without a gradient nothing is updated
    assert optimizer.param_groups[0]["weight_decay"] == decay


@pytest.mark.parametrize("name", KERAS)
def test_weight_decay_is_told_apart_from_what_it_was_within_the_gradient(name: str) -> None:
    config = OptimizerConfig(name, {"weight_decay": 0.1})
    assert config.identity()["options"] == {"decoupled_weight_decay": 0.1}
    assert OptimizerConfig(
        f"torch_{name}" if name in ("adam", "sgd", "rmsprop") else "adamw", config.options
    ).identity()["options"] == {"weight_decay": 0.1}


def test_a_state_of_before_weight_decay_is_gone_on_from() -> None:
    w = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = build_optimizer(OptimizerConfig("rmsprop"), [w], LR)
    del optimizer.param_groups[0]["weight_decay"]
    w.grad = torch.ones_like(w)
    optimizer.step()
    assert w.item() == pytest.approx(1 + rmsprop([1.0]), rel=1e-12)


def test_the_first_step_of_rmsprop_on_a_tiny_gradient_is_kerass_and_not_torchs() -> None:
    assert walk("rmsprop", [1e-6]) == pytest.approx(-3.2e-5, rel=0.02)
    assert walk("torch_rmsprop", [1e-6]) == pytest.approx(-9.1e-2, rel=0.02)


@pytest.mark.parametrize("name", [name for name in KERAS if name != "sgd"])
def test_a_rule_of_keras_has_its_learning_rate_where_none_is_given(name: str) -> None:
    kind: Any = REGISTRY[name]
    assert kind([torch.ones(1, requires_grad=True)]).param_groups[0]["lr"] == 0.001


@pytest.mark.parametrize(
    ("name", "theirs", "options"),
    [
        ("torch_rmsprop", torch.optim.RMSprop, ("alpha", "eps")),
        ("torch_adam", torch.optim.Adam, ("betas", "eps")),
        ("adamw", torch.optim.AdamW, ("betas", "eps", "weight_decay")),
    ],
)
def test_a_rule_of_torch_has_torchs_options(name: str, theirs: Any, options: tuple[str, ...]) -> None:
    defaults = {k: p.default for k, p in inspect.signature(theirs).parameters.items()}
    assert RULES[name].options == {option: defaults[option] for option in options}


@pytest.mark.parametrize("lr", [0.0, -0.5, -2.0, math.inf, math.nan])
@pytest.mark.parametrize("name", ["rmsprop", "adamax", "adadelta"])
def test_a_learning_rate_that_is_no_positive_number_is_refused(name: str, lr: float) -> None:
    kind: Any = REGISTRY[name]
    with pytest.raises(ValueError, match=f"lr is {lr}, but must be a positive number"):
        kind([torch.ones(1, requires_grad=True)], lr=lr)
    assert kind([torch.ones(1, requires_grad=True)], lr=0.5).param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize("name", REGISTRY)
def test_a_closure_is_called_once_with_gradients_on_and_its_loss_is_returned(name: str) -> None:
    w, calls = torch.ones(3, requires_grad=True), []
    optimizer = build_optimizer(OptimizerConfig(name), [w], LR)

    def closure() -> torch.Tensor:
        calls.append(optimizer.param_groups[0]["lr"])
        loss = (w * w).sum()
        optimizer.zero_grad()
        loss.backward()
        return loss

    with torch.no_grad():
        assert optimizer.step(closure) == 3.0  # pyright: ignore[reportCallIssue, reportArgumentType] - torch's types
    assert calls == [LR]
    assert w.max() < 1


def test_adams_settings_are_put_back_when_its_step_fails() -> None:
    w = torch.ones(3, requires_grad=True)
    optimizer = build_optimizer(OptimizerConfig("adam"), [w], LR)
    before = dict(optimizer.param_groups[0], params=None)
    w.grad = torch.ones(3).to_sparse()
    with pytest.raises(RuntimeError, match="sparse"):
        optimizer.step()
    assert dict(optimizer.param_groups[0], params=None) == before


def test_torchs_fused_kernels_are_used_where_there_are_some_and_the_user_does_not_object() -> None:
    def of(name: str, options: dict[str, Any], **how: bool) -> Any:
        w = [torch.ones(1, requires_grad=True)]
        return build_optimizer(OptimizerConfig(name, options), w, LR, **how).param_groups[0].get("fused")

    assert {name for name in REGISTRY if of(name, {})} == {
        "adam", "adagrad", "adamw", "sgd", "torch_adam", "torch_sgd",
    }  # fmt: skip
    assert not of("adam", {}, fused=False)
    assert not of("adam", {"fused": False})
    assert not of("adam", {"foreach": True})


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 5])
def test_a_large_parameter_is_updated_as_its_numbers_would_be_alone(size: int) -> None:
    start, gradient = torch.rand(size), torch.randn(size)
    some = torch.tensor([0, 1, PIECE - 2, size // 2, size - 1])

    def after_three_steps(rows: torch.Tensor | slice) -> torch.Tensor:
        w = start[rows].clone().requires_grad_()
        optimizer = build_optimizer(OptimizerConfig("adadelta"), [w], 1.0)
        for step in range(3):
            w.grad = gradient[rows] / (step + 1)
            optimizer.step()
        return w.detach()

    torch.testing.assert_close(after_three_steps(slice(None))[some], after_three_steps(some))


@pytest.mark.parametrize(
    ("size", "pieces"),
    [(7, [7]), (PIECE, [PIECE]), (PIECE + 1, [PIECE, 1]), (2 * PIECE + 5, [PIECE, PIECE, 5])],
)
def test_a_large_parameter_is_handled_in_pieces_that_fit_into_the_cache(size: int, pieces: list[int]) -> None:
    seen: list[int] = []
    rule = Rule(lambda p, grad, v, *, lr, t: seen.append(len(p)), {"v": 0.0})
    update_in_pieces(rule, torch.zeros(size), torch.zeros(size), [torch.zeros(size)], lr=LR, t=1)
    assert seen == pieces


def test_a_large_parameter_in_another_order_of_the_memory_is_updated_alike() -> None:
    start, gradient = torch.rand(300, 500), torch.randn(300, 500)
    moved = []
    for order in (start.clone(), start.t().contiguous().t()):
        w = order.requires_grad_()
        w.grad = gradient
        build_optimizer(OptimizerConfig("rmsprop"), [w], LR).step()
        moved.append(w.detach())
    assert torch.equal(*moved)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_whose_rate_and_step_are_tensors_updates_a_stack_as_its_networks_alone(name: str) -> None:
    """As in a captured step of a GPU, which cannot change numbers."""
    rule, rates = RULES[name], (0.1, 0.003)
    options = {"weight_decay": 0.02} if "weight_decay" in rule.options else {}
    start, gradients = torch.randn(2, 6, dtype=torch.float64), torch.randn(3, 2, 6, dtype=torch.float64)

    def after(rows: Any, lr: Any, step: Callable[[int], Any]) -> torch.Tensor:
        p = start[rows].clone()
        state = [torch.full_like(p, value) for value in rule.state.values()]
        for t, gradient in enumerate(gradients, start=1):
            rule.update(p, gradient[rows], *state, lr=lr, t=step(t), **options)
        return p

    def tensor(x: Any) -> torch.Tensor:
        return torch.tensor(x, dtype=torch.float64)

    together = after(slice(None), tensor(rates).view(2, 1), tensor)
    alone = torch.stack([after(i, rate, lambda t: t) for i, rate in enumerate(rates)])
    torch.testing.assert_close(together, alone)


def test_a_rule_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RULES["adam"].state = {}  # pyright: ignore[reportAttributeAccessIssue] - that it is refused is the test


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


@pytest.mark.parametrize("first", ["used", "unused"])
@pytest.mark.parametrize("name", REGISTRY)
def test_a_parameter_without_gradient_is_left_alone(name: str, first: str) -> None:
    used, unused = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    both = [used, unused] if first == "used" else [unused, used]
    optimizer = build_optimizer(OptimizerConfig(name), both, LR)
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
        ("torch.optim.Nope", "torch.optim has no Nope; see what is defined there"),
        ("nowhere.at.All", "there is no module nowhere; run it from the directory in which it lies"),
        ("os.system", "not a torch Optimizer; a function must say what it returns"),
        ("torch.nn.Linear", "not a torch Optimizer; give a name such as torch.optim.RAdam"),
    ],
)
def test_only_optimizers_come_in_by_a_dotted_path(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"optimizer={name}: {message}"):
        build_optimizer(OptimizerConfig(name), [torch.ones(1, requires_grad=True)], LR)


def test_an_unknown_option_is_refused() -> None:
    for options in ({"momentun": 1}, {"nesterof": 1, "momentun": 1}):
        with pytest.raises(ConfigError, match=r"refused by RMSprop \(.*momentun"):
            build_optimizer(OptimizerConfig("rmsprop", options), [torch.ones(1, requires_grad=True)], LR)
