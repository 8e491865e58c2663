"""A 3x3 convolution of all members as one product by Triton kernels, on a GPU: forwards, and for each gradient.

With a pixel's neighbour by s, s = (-1,-1) ... (1,1), 0 outside of the image:

    y[g,q,f] = sum over s and c of x[g,q+s,c] w[g,f,s,c]
    dx[g,q,c] = sum over s and f of dy[g,q-s,f] w[g,f,s,c]: the same kernel, with the weight's axes exchanged
    dw[g,f,s,c] = sum over q of dy[g,q,f] x[g,q+s,c]

Neighbours are read where they lie: nothing is copied before the product. Sums are of float32. `stacked.py`'s `loop` is
the same in torch's operations.
"""

# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportCallIssue=false
# (what stands in a kernel is not Python's but Triton's)

from __future__ import annotations

from typing import Any

import torch
import triton  # pyright: ignore[reportMissingTypeStubs] - it has none
import triton.language as tl  # pyright: ignore[reportMissingTypeStubs] - it has none
from torch import Tensor

from mnist_lightning.fused.pooling import empty, fits, lies_outermost, strides

_PIXELS, _CHANNELS, _DEPTH = 128, 128, 64  # of a program's result, and summed over at a time
OPTIONS = {"num_warps": 8, "num_stages": 3}


@triton.jit
def _convolve(
    x: tl.tensor, w: tl.tensor, y: tl.tensor, x_member: tl.tensor, x_pixel: tl.tensor, y_member: tl.tensor,
    y_pixel: tl.tensor, pixels: tl.tensor, width: tl.tensor, height: tl.tensor, before: tl.tensor, after: tl.tensor,
    channels: tl.tensor, w_before: tl.tensor, w_after: tl.tensor, sign: tl.constexpr, rows: tl.constexpr,
    wide: tl.constexpr, deep: tl.constexpr,
) -> None:  # fmt: skip
    """y[g,q,a] = sum over s and b of x[g,q + sign s,b] w[g,s,b,a], b of `before`, a of `after`."""
    g = tl.program_id(2).to(tl.int64)
    q, a = tl.program_id(0) * rows + tl.arange(0, rows), tl.program_id(1) * wide + tl.arange(0, wide)
    i, j = q // width % height, q % width
    at = x + g * x_member + q.to(tl.int64)[:, None] * x_pixel
    weights = w + g * 9 * before * after + a[None, :] * w_after
    total = tl.zeros((rows, wide), tl.float32)
    blocks = tl.cdiv(before, deep)
    for step in range(9 * blocks):
        s, b = step // blocks, step % blocks * deep + tl.arange(0, deep)
        down, right = sign * (s // 3 - 1), sign * (s % 3 - 1)
        inside = (q < pixels) & (i + down >= 0) & (i + down < height) & (j + right >= 0) & (j + right < width)
        there = inside[:, None] & (b < before)[None, :]
        seen = tl.load(at + (down * width + right) * x_pixel + b[None, :], there, 0.0)
        there = (b < before)[:, None] & (a < after)[None, :]
        factors = tl.load(weights + s * channels + b[:, None] * w_before, there, 0.0)
        total = tl.dot(seen, factors, total, input_precision="ieee")
    to = y + g * y_member + q.to(tl.int64)[:, None] * y_pixel + a[None, :]
    tl.store(to, total.to(y.dtype.element_ty), (q < pixels)[:, None] & (a < after)[None, :])


@triton.jit
def _weights(
    x: tl.tensor, dy: tl.tensor, dw: tl.tensor, x_member: tl.tensor, x_pixel: tl.tensor, y_member: tl.tensor,
    y_pixel: tl.tensor, pixels: tl.tensor, width: tl.tensor, height: tl.tensor, channels: tl.tensor,
    filters: tl.tensor, tall: tl.constexpr, wide: tl.constexpr, deep: tl.constexpr,
) -> None:  # fmt: skip
    """dw[g,f,s,c] = sum over q of dy[g,q,f] x[g,q + s,c]."""
    g, s = tl.program_id(2).to(tl.int64), tl.program_id(0) % 9
    f = tl.program_id(1) * tall + tl.arange(0, tall)
    c = tl.program_id(0) // 9 * wide + tl.arange(0, wide)
    down, right = s // 3 - 1, s % 3 - 1
    at = x + g * x_member + (down * width + right) * x_pixel + c[None, :]
    given = dy + g * y_member + f[None, :]
    total = tl.zeros((tall, wide), tl.float32)
    for start in range(0, pixels, deep):
        q = start + tl.arange(0, deep)
        i, j = q // width % height + down, q % width + right
        inside = (q < pixels) & (i >= 0) & (i < height) & (j >= 0) & (j < width)
        seen = tl.load(at + q.to(tl.int64)[:, None] * x_pixel, inside[:, None] & (c < channels)[None, :], 0.0)
        there = (q < pixels)[:, None] & (f < filters)[None, :]
        gradient = tl.load(given + q.to(tl.int64)[:, None] * y_pixel, there, 0.0)
        total = tl.dot(tl.trans(gradient), seen, total, input_precision="ieee")
    to = dw + ((g * filters + f)[:, None] * 9 + s) * channels + c[None, :]
    tl.store(to, total.to(dw.dtype.element_ty), (f < filters)[:, None] & (c < channels)[None, :])


def convolved(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution of every member: [G, N, C, H, W] -> [G, N, C', H, W], as `loop`; in the memory [G, N, H, W, C'].

    Weights [G, C', C, 3, 3] lie in the memory as [G, C', 3, 3, C].
    """
    x = x if fits(x) else x.movedim(2, -1).contiguous().movedim(-1, 2)
    y: Any = _Convolved.apply(x, weight)
    return y if bias is None else y + bias[:, None, :, None, None].to(y.dtype)


def block(channels: int) -> int:
    """How many channels of so many a program takes: a power of 2 from 16."""
    return min(_CHANNELS, max(16, triton.next_power_of_2(channels)))


class _Convolved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        y = empty(x, (*x.shape[:2], weight.shape[1], *x.shape[3:]), True)
        _launch(x, weight, y, 1)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride] - of torch
        (x, weight), dy = ctx.saved_tensors, gradients[0]
        dy = dy if fits(dy) else dy.movedim(2, -1).contiguous().movedim(-1, 2)
        dx = dw = None
        if ctx.needs_input_grad[0]:
            dx = empty(x, x.shape, lies_outermost(x))
            _launch(dy, weight, dx, -1)
        if ctx.needs_input_grad[1]:
            members, filters, channels, *_ = weight.shape
            dw = torch.empty(members, filters, 3, 3, channels, dtype=weight.dtype, device=x.device)
            tall, wide = block(filters), block(channels)
            grid = (9 * triton.cdiv(channels, wide), triton.cdiv(filters, tall), members)
            numbers = (*strides(x), *strides(dy), *_sizes(x), channels, filters, tall, wide, _DEPTH)
            with torch.cuda.device_of(x):
                _weights[grid](x, dy, dw, *numbers, **OPTIONS)
            dw = dw.movedim(-1, 2)
        return dx, dw


def _launch(x: Tensor, weight: Tensor, y: Tensor, sign: int) -> None:
    """Convolves x into y; with sign -1 backwards, a gradient of outputs into one of inputs."""
    members, filters, channels, *_ = weight.shape
    before, after = (channels, filters) if sign == 1 else (filters, channels)
    steps = (1, 9 * channels) if sign == 1 else (9 * channels, 1)
    sizes, wide = _sizes(x), block(after)
    grid = (triton.cdiv(sizes[0], _PIXELS), triton.cdiv(after, wide), members)
    numbers = (*strides(x), *strides(y), *sizes, before, after, channels, *steps)
    constants = (sign, _PIXELS, wide, min(_DEPTH, block(before)))
    # does nothing on a CPU, where Triton's interpreter computes
    with torch.cuda.device_of(x):
        _convolve[grid](x, weight, y, *numbers, *constants, **OPTIONS)


def _sizes(x: Tensor) -> tuple[int, int, int]:
    """Pixels of all images, and an image's width and height, of x [G, N, C, H, W]."""
    return x.shape[1] * x.shape[3] * x.shape[4], x.shape[4], x.shape[3]
