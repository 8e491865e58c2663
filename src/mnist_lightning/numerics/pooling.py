"""2x2 max pooling with ReLU and its gradient, on a processor: by torch's operations, or by compiled loops.

torch pools channels by as many as fit into a long register, and other numbers of them one by one; of each four pixels
it keeps 8 bytes to know the largest by. The loops keep one.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from mnist_lightning.numerics.compiled import Loop, compiled

_pool = torch.ops.aten.max_pool2d_with_indices.default
_pool_backward = torch.ops.aten.max_pool2d_with_indices_backward.default
relu_backward = torch.ops.aten.threshold_backward.default
_SIDES = [2, 2]
_NONE = 4.0  # the number of no pixel of four: ReLU gives zero


class Pooling:
    """Pools and rectifies images [N, C, H, W], whose channels are innermost in the memory, by torch's operations."""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        """Images [N, C, H, W] -> [N, C, H // 2, W // 2], and what `backward` needs."""
        y, index = _pool(x, _SIDES)
        return y.relu_(), (x, y, index)

    def backward(self, grad: Tensor, kept: Any) -> Tensor:
        """Takes the gradient of the result [N, C, H // 2, W // 2] back to the images [N, C, H, W]."""
        x, y, index = kept
        return _pool_backward(relu_backward(grad, y, 0), x, _SIDES, _SIDES, [0, 0], [1, 1], False, index)


class CompiledPooling(Pooling):
    """The same by compiled loops: the same numbers but for the sign of a zero, and gradients where there are NaN."""

    def __init__(self, there: Loop, back: Loop) -> None:
        self._there, self._back = there, back

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        """As `Pooling.forward`, images [N, C, H, W] -> [N, C, H // 2, W // 2]."""
        y, winner = self._there(x.movedim(1, -1).contiguous())
        return y.movedim(-1, 1), (x.shape, winner)

    def backward(self, grad: Tensor, kept: Any) -> Tensor:
        """As `Pooling.backward`, [N, C, H // 2, W // 2] -> [N, C, H, W]."""
        (images, channels, height, width), winner = kept
        whole = height % 2 == width % 2 == 0  # otherwise the last row or column gets no gradient
        make = torch.empty if whole else torch.zeros
        result = make((images, height, width, channels), dtype=grad.dtype)
        self._back(grad.movedim(1, -1).contiguous(), winner, *_corners(result))
        return result.movedim(-1, 1)


def _corners(x: Tensor) -> list[Tensor]:
    """The four pixels of each window of images [N, H, W, C], in the order in which the first of equals is taken."""
    (n, height, width, c), (image, row, column, channel) = x.shape, x.stride()
    size, stride, start = (n, height // 2, width // 2, c), (image, 2 * row, 2 * column, channel), x.storage_offset()
    return [x.as_strided(size, stride, start + i * row + j * column) for i in (0, 1) for j in (0, 1)]


def _forward(x: Tensor) -> tuple[Tensor, Tensor]:
    """The rectified largest of images [N, H, W, C], and which it is: 0 to 3, or `_NONE` where it is not above zero."""
    a, b, c, d = (corner.float() for corner in _corners(x))
    top, bottom = torch.maximum(a, b), torch.maximum(c, d)
    largest = torch.maximum(top, bottom)
    winner = torch.where(top >= bottom, torch.where(a >= b, 0.0, 1.0), torch.where(c >= d, 2.0, 3.0))
    winner = torch.where(largest <= 0, _NONE, winner)
    return torch.relu(largest).to(x.dtype), winner.to(torch.uint8)


def _backward(grad: Tensor, winner: Tensor, *corners: Tensor) -> None:
    for i, corner in enumerate(corners):  # compared as floats: of bytes the compiler makes slow masks
        corner.copy_(torch.where(winner.float() == i, grad.float(), 0.0))


@cache
def compiled_pooling() -> Pooling:
    """The compiled loops, for bfloat16, where this machine can make them; torch's operations elsewhere."""
    # no two of these numbers are equal, or an even image's, so that nothing is taken for equal
    x = torch.randn(61, 27, 23, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    there = compiled("the pooling", _forward, [x], lambda loop: _agrees(CompiledPooling(loop, _backward)))
    if there is None:
        return Pooling()
    apart = [torch.empty_strided(c.shape, c.stride(), dtype=x.dtype).copy_(c) for c in _corners(x)]
    given = [*there(x), *apart]
    back = compiled("the gradient of the pooling", _backward, given, lambda loop: _agrees(CompiledPooling(there, loop)))
    return Pooling() if back is None else CompiledPooling(there, back)


def _agrees(ours: Pooling) -> bool:
    """Whether it does what torch does, of images of many sizes, with equal pixels and with infinite ones."""
    generator = torch.Generator().manual_seed(0)
    for n, c, h, w in ((64, 8, 28, 28), (3, 16, 14, 14), (2, 37, 7, 5), (1, 2, 3, 2), (2, 64, 2, 3)):
        x = torch.randint(-3, 4, (n, h, w, c), generator=generator).bfloat16()
        x[torch.rand(x.shape, generator=generator) < 0.01] = torch.inf
        x = x.movedim(-1, 1)
        (y, kept), (z, others) = ours.forward(x), Pooling().forward(x)
        grad = torch.randn(z.shape, generator=generator).bfloat16()
        if not torch.equal(y, z) or not torch.equal(ours.backward(grad, kept), Pooling().backward(grad, others)):
            return False
    return True
