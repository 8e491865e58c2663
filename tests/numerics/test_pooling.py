"""The compiled pooling is torch's, bit for bit, or is not used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from mnist_lightning.numerics import pooling
from mnist_lightning.numerics.pooling import CompiledPooling, Pooling, compiled_pooling


@pytest.fixture(autouse=True)
def made_anew() -> Iterator[None]:
    compiled_pooling.cache_clear()
    yield
    compiled_pooling.cache_clear()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "size",
    [(64, 8, 28, 28), (32, 16, 14, 14), (7, 6, 7, 7), (5, 2, 3, 3), (1, 24, 2, 9), (2, 4, 5, 4), (9, 40, 26, 31)],
)
def test_values_and_gradients_are_torchs(size: tuple[int, int, int, int], threads: int) -> None:
    ours = compiled_pooling()
    if not isinstance(ours, CompiledPooling):
        pytest.skip("there is no C++ compiler that works")
    drawn = torch.Generator().manual_seed(sum(size))
    n, c, h, w = size
    x = (4 * torch.randn(n, h, w, c, generator=drawn)).round().bfloat16().movedim(-1, 1)  # many equal ones
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        (y, kept), (z, others) = ours.forward(x), Pooling().forward(x)
        grad = torch.randn(z.shape, generator=drawn).bfloat16()  # its channels are not innermost
        mine, torchs = ours.backward(grad, kept), Pooling().backward(grad, others)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(y, z)
    assert torch.equal(mine, torchs)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert mine.is_contiguous(memory_format=torch.channels_last)


def the_last_of_equals(x: Any) -> Any:
    whole = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
    y, winner = pooling._forward(whole.flip(1, 2))
    return y.flip(1, 2), torch.where(winner < 4, 3 - winner, winner).flip(1, 2)


@pytest.mark.parametrize(
    ("name", "wrong", "said"),
    [
        ("_forward", the_last_of_equals, "the pooling, compiled, computes something else"),
        (
            "_backward",
            lambda grad, winner, *corners: None,
            "the gradient of the pooling, compiled, computes something else",
        ),
    ],
)
def test_a_loop_that_computes_something_else_is_not_used(
    name: str, wrong: Any, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not isinstance(compiled_pooling(), CompiledPooling):
        pytest.skip("there is no C++ compiler that works")
    compiled_pooling.cache_clear()
    right = pooling.compiled
    monkeypatch.setattr(
        pooling,
        "compiled",
        lambda what, function, *rest: right(what, wrong if function.__name__ == name else function, *rest),
    )
    assert type(compiled_pooling()) is Pooling
    assert capsys.readouterr().out == f"{said}; slower, with the same results\n"


def test_without_a_compiler_torchs_operations_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "1")
    assert type(compiled_pooling()) is Pooling
