"""bf16-mixed on a processor without bf16: float32 arithmetic on numbers rounded to bf16.

Hardware multiplies bf16 numbers exactly and adds up in float32; what it reads and writes is rounded. So rounding the
inputs, weights and outputs of convolutions and dense layers, and their gradients, to bf16 around a float32 product is
the same arithmetic up to the order of additions, and ten times as fast as torch's own emulation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnist_lightning.numerics.model import Dense


class _Rounded(torch.autograd.Function):
    """To bf16 and back, and so its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.bfloat16().float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] - one output
        return gradient.bfloat16().float()


def _round(x: Tensor | None) -> Any:
    return None if x is None else _Rounded.apply(x)


@contextmanager
def emulated_bf16() -> Iterator[None]:
    """Meanwhile the network's convolutions and dense layers compute as under `torch.autocast(dtype=torch.bfloat16)`."""

    def convolve(layer: nn.Conv2d, x: Tensor) -> Tensor:
        return _round(functional.conv2d(_round(x), _round(layer.weight), _round(layer.bias), padding=layer.padding))

    def multiply(layer: nn.Linear, x: Tensor) -> Tensor:
        return _round(functional.linear(_round(x), _round(layer.weight), _round(layer.bias)))

    with patch.object(nn.Conv2d, "forward", convolve), patch.object(Dense, "forward", multiply):
        yield
