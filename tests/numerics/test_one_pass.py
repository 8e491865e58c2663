"""Updates in one compiled pass do what the rules say, or are not done."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from keras_layout import configurations
from test_keras_traces import TOLERANCE, retrain
from torch import Tensor

from mnist_lightning.numerics import one_pass, optimizers
from mnist_lightning.numerics.one_pass import update_in_one_pass, updates_in_one_pass
from mnist_lightning.numerics.update_rules import PIECE, RULES, update_in_pieces, update_together

COMPILED = [name for name, rule in RULES.items() if rule.rate is not None]
OPTIONS: dict[str, dict[str, Any]] = {
    "adam": {"betas": (0.8, 0.99), "weight_decay": 0.1},
    "adamax": {"betas": [0.8, 0.99]},
    "rmsprop": {"rho": 0.5, "eps": 1e-5, "weight_decay": 0.1},
    "adadelta": {"rho": 0.5},
    "sgd": {"weight_decay": 0.1},
}


@pytest.fixture
def compiler() -> None:
    if not updates_in_one_pass("sgd", torch.float32):
        pytest.skip("there is no C++ compiler that works")


@pytest.fixture
def nothing_compiled() -> Iterator[None]:
    one_pass._compiled.cache_clear()
    yield
    one_pass._compiled.cache_clear()


def numbers(name: str, dtype: torch.dtype, size: int) -> list[Tensor]:
    """A parameter and its state, and gradients of each magnitude."""
    drawn = torch.Generator().manual_seed(size)
    p = torch.randn(size, generator=drawn, dtype=dtype)
    grad = p.roll(1) * 10.0 ** torch.randint(-9, 1, (size,), generator=drawn)
    return [p, grad, *(torch.full_like(p, start) for start in RULES[name].state.values())]


def assert_same(ours: list[Tensor], rule: list[Tensor]) -> None:
    tolerance = {torch.float64: 1e-13, torch.float32: 1e-6}[ours[0].dtype]
    for a, b in zip(ours, rule, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", COMPILED)
def test_the_compiled_loops_do_what_the_rules_say(name: str, dtype: torch.dtype) -> None:
    for options in ({}, OPTIONS.get(name, {})):
        assert updates_in_one_pass(name, dtype, **options)
        for size in (1, 37, PIECE + 3):
            p, grad, *state = numbers(name, dtype, size)
            q, _, *other = numbers(name, dtype, size)
            for t in (1.0, 2.0, 3.0):
                update_in_one_pass(name, p, grad, state, lr=0.01, t=t, **options)
                RULES[name].update(q, grad, *other, lr=0.01, t=t, **options)
            assert_same([p, *state], [q, *other])


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("name", ["rmsprop", "adam", "sgd"])
def test_gradients_may_be_of_bfloat16_and_a_copy_follows_the_weight(name: str) -> None:
    assert updates_in_one_pass(name, torch.float32, low=True)
    p, grad, *state = numbers(name, torch.float32, PIECE + 3)
    q, _, *other = numbers(name, torch.float32, PIECE + 3)
    grad, low = grad.bfloat16(), torch.zeros(PIECE + 3, dtype=torch.bfloat16)
    update_in_one_pass(name, p, grad, state, lr=0.01, t=1.0, low=low)
    RULES[name].update(q, grad.float(), *other, lr=0.01, t=1.0)
    assert_same([p, *state], [q, *other])
    assert torch.equal(low, p.bfloat16())


@pytest.mark.usefixtures("compiler")
def test_each_value_of_an_option_has_a_loop_of_its_own() -> None:
    for rho in torch.linspace(0.1, 0.9, 10).tolist():
        assert updates_in_one_pass("rmsprop", torch.float64, rho=rho)
        p, grad, v = numbers("rmsprop", torch.float64, 64)
        q, _, u = numbers("rmsprop", torch.float64, 64)
        update_in_one_pass("rmsprop", p, grad, [v], lr=0.01, t=1.0, rho=rho)
        RULES["rmsprop"].update(q, grad, u, lr=0.01, t=1, rho=rho)
        assert_same([p, v], [q, u])


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_loop_serves_as_many_threads_and_numbers_as_there_are(threads: int) -> None:
    before = torch.get_num_threads()
    assert updates_in_one_pass("sgd", torch.float64)
    for size in (2, 4 * PIECE, 9 * PIECE + 5):
        p, grad = (x.requires_grad_() for x in numbers("sgd", torch.float64, size))
        expected = p.detach().clone()
        try:
            torch.set_num_threads(threads)
            with torch.no_grad():
                update_in_one_pass("sgd", p, grad.detach(), [], lr=0.01, t=1.0, weight_decay=0.1)
                RULES["sgd"].update(expected, grad.detach(), lr=0.01, t=1, weight_decay=0.1)
        finally:
            torch.set_num_threads(before)
        assert_same([p.detach()], [expected])


@pytest.mark.usefixtures("compiler")
def test_a_weight_with_its_channels_innermost_is_updated_in_place_whatever_its_gradients_layout() -> None:
    p = torch.randn(256, 128, 3, 3, dtype=torch.float64).to(memory_format=torch.channels_last)
    grad, q, place = torch.randn(256, 128, 3, 3, dtype=torch.float64), p.clone(), p.data_ptr()
    v, u = torch.zeros_like(p), torch.zeros_like(p)
    update_in_one_pass("rmsprop", p, grad, [v], lr=0.01, t=1.0)
    RULES["rmsprop"].update(q, grad, u, lr=0.01, t=1)
    assert p.data_ptr() == place
    assert_same([p, v], [q, u])
    part, same = torch.zeros(4, 8, dtype=torch.float64)[:, :5], torch.zeros(4, 5, dtype=torch.float64)
    update_in_one_pass("sgd", part, torch.ones(4, 5, dtype=torch.float64), [], lr=0.01, t=1.0)  # not side by side
    RULES["sgd"].update(same, torch.ones(4, 5, dtype=torch.float64), lr=0.01, t=1)
    assert torch.equal(part, same)


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize("t", [1, 2, 1000])
def test_a_step_is_one_long_after_the_start_at_another_rate(name: str, t: int) -> None:
    rule, options = RULES[name], {k: v for k, v in OPTIONS.get(name, {}).items() if k != "weight_decay"}
    p, grad, *state = numbers(name, torch.float64, 99)
    q, _, *other = numbers(name, torch.float64, 99)
    assert rule.rate is not None
    rule.update(p, grad, *state, lr=0.01, t=t, **options)
    rule.update(q, grad, *other, lr=rule.rate(0.01, t, **options), t=math.inf, **options)
    assert_same([p, *state], [q, *other])


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_parameters_are_updated_together_as_each_would_be_alone(name: str, dtype: torch.dtype) -> None:
    for options in ({}, OPTIONS.get(name, {})):
        ours, theirs = ([numbers(name, dtype, size) for size in (1, 10, 288)] for _ in range(2))
        for t in (1.0, 2.0):
            ps, grads, *slots = zip(*ours, strict=True)
            states = list(zip(*slots, strict=True)) or [()] * len(ps)
            update_together(RULES[name], ps, grads, states, lr=0.01, t=t, **options)
            for p, grad, *state in theirs:
                update_in_pieces(RULES[name], p, grad, state, lr=0.01, t=t, **options)
        assert all(torch.equal(a, b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True))


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("name", ["rmsprop", "adam", "sgd"])
@pytest.mark.parametrize("loss", ["mse", "mae"])
def test_keras_traces_are_reproduced_in_one_pass(name: str, loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    index = next(i for i, case in enumerate(configurations()) if case[3:5] == (name, loss))
    net, losses = retrain(index)
    calls: list[str] = []

    def counted(*arguments: Any, **options: Any) -> None:
        calls.append(name)
        update_in_one_pass(*arguments, **options)

    def build(*arguments: Any, **options: Any) -> Any:
        optimizer = optimizers.build_optimizer(*arguments, **options)
        assert isinstance(optimizer, optimizers.FollowsRule)
        assert optimizer.in_one_pass()
        return optimizer

    monkeypatch.setattr(one_pass, "PIECE", 0)  # also the small ones
    monkeypatch.setattr(one_pass, "update_in_one_pass", counted)
    monkeypatch.setattr("test_keras_traces.build_optimizer", build)
    same_net, same_losses = retrain(index)
    assert len(calls) == 10 * len(list(net.parameters()))  # steps
    assert abs(losses - same_losses).max() < TOLERANCE
    for p, q in zip(net.parameters(), same_net.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=TOLERANCE)


class InvalidCxxCompiler(RuntimeError):  # noqa: N818
    """Named as torch's."""


def refused(*arguments: Any, **options: Any) -> Any:
    raise RuntimeError("inductor") from InvalidCxxCompiler("no compiler")


def failing(*arguments: Any, **options: Any) -> Any:
    raise OSError("No space left on device\nand more")


def other_arithmetic(*arguments: Any, **options: Any) -> Any:
    """Wrong for small gradients alone."""

    def loop(tensors: list[Tensor]) -> None:
        rate, p, grad, *rest = tensors
        g = grad.to(p.dtype)
        p.sub_(torch.where(g.abs() < 1e-6, 1.001 * g, g) * rate)
        for low in rest:
            low.copy_(p)

    return loop


@pytest.mark.usefixtures("nothing_compiled")
@pytest.mark.parametrize(
    ("compiler", "said"),
    [
        (refused, ""),
        (
            failing,
            "sgd: the update is not compiled (OSError: No space left on device); slower, with the same results\n",
        ),
        (other_arithmetic, "sgd: the update, compiled, computes something else; slower, with the same results\n"),
    ],
)
def test_without_a_compiler_that_works_torchs_operations_update(
    compiler: Any, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx_inner", compiler)
    assert not updates_in_one_pass("sgd", torch.float32)
    p, low = torch.ones(5), torch.ones(5, dtype=torch.bfloat16)
    update_in_one_pass("sgd", p, torch.ones(5, dtype=torch.bfloat16), [], lr=0.5, t=1.0, low=low)
    assert p.tolist() == low.tolist() == [0.5] * 5
    assert capsys.readouterr().out == 2 * said  # with a copy it is another loop


@pytest.mark.usefixtures("nothing_compiled")
@pytest.mark.parametrize("variable", ["TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE"])
def test_whoever_switches_torchs_compiler_off_switches_it_off(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    assert not updates_in_one_pass("sgd", torch.float32)


def test_a_rule_in_which_the_step_changes_more_than_the_rate_is_not_compiled() -> None:
    assert not updates_in_one_pass("adamw", torch.float32)
