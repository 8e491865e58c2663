"""Bias, 2x2 max pooling and ReLU of stacked convolutions in one Triton kernel forwards, and one backwards, on a GPU.

`plain` is the same in torch's operations, which read and write the convolution's outputs nine times instead of twice.
"""

# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# (what stands in a kernel is not Python's but Triton's)

from __future__ import annotations

from typing import Any

import torch
import triton  # pyright: ignore[reportMissingTypeStubs] - it has none
import triton.language as tl  # pyright: ignore[reportMissingTypeStubs] - it has none
from torch import Tensor

from mnist_lightning.numerics.model import max_pool

_ROWS, _CHANNELS = 32, 64  # pooled pixels and channels of a program
_OFF = 4  # no pixel of the four: the ReLU is off


@triton.jit
def _forward(
    y: tl.tensor, bias: tl.tensor, z: tl.tensor, chosen: tl.tensor, pixels: tl.tensor, channels: tl.tensor,
    width: tl.tensor, height: tl.tensor, rows: tl.constexpr, wide: tl.constexpr,
) -> None:  # fmt: skip
    """z = max(0, max over four pixels of y, plus bias); `chosen` is the pixel, 0 to 3, or 4 where z is 0.

    y [B,N,H,W,K], bias [B,K], z and chosen [B,N,H/2,W/2,K]; `pixels` are N H/2 W/2; NaN is passed on, as torch does.
    """
    outer = tl.program_id(2)
    row, k = tl.program_id(0) * rows + tl.arange(0, rows), tl.program_id(1) * wide + tl.arange(0, wide)
    there = (row < pixels)[:, None] & (k < channels)[None, :]
    w2, h2 = width // 2, height // 2
    image, i, j = row // (h2 * w2), row // w2 % h2, row % w2
    images = pixels // (h2 * w2)
    corner = ((outer * images + image).to(tl.int64) * height + 2 * i) * width + 2 * j
    at = corner[:, None] * channels + k[None, :]
    best = tl.load(y + at, there).to(tl.float32)
    index = tl.zeros((rows, wide), tl.int32)
    for pixel in tl.static_range(1, 4):
        other = tl.load(y + at + ((pixel // 2) * width + pixel % 2) * channels, there).to(tl.float32)
        larger = (other > best) | (other != other)
        best, index = tl.where(larger, other, best), tl.where(larger, pixel, index)
    value = best + tl.load(bias + outer * channels + k, k < channels).to(y.dtype.element_ty).to(tl.float32)[None, :]
    value = value.to(y.dtype.element_ty).to(tl.float32)
    off = value <= 0
    to = (outer * pixels + row).to(tl.int64)[:, None] * channels + k[None, :]
    tl.store(z + to, tl.where(off, 0.0, value), there)
    tl.store(chosen + to, tl.where(off, 4, index).to(tl.uint8), there)


@triton.jit
def _backward(
    dz: tl.tensor, chosen: tl.tensor, dy: tl.tensor, sums: tl.tensor, pixels: tl.tensor, channels: tl.tensor,
    width: tl.tensor, height: tl.tensor, rows: tl.constexpr, wide: tl.constexpr,
) -> None:  # fmt: skip
    """dy is dz at the chosen pixel and 0 at the others; `sums` [B,programs,K] add up to the bias' gradient."""
    outer, block = tl.program_id(2), tl.program_id(0)
    row, k = block * rows + tl.arange(0, rows), tl.program_id(1) * wide + tl.arange(0, wide)
    there = (row < pixels)[:, None] & (k < channels)[None, :]
    w2, h2 = width // 2, height // 2
    image, i, j = row // (h2 * w2), row // w2 % h2, row % w2
    images = pixels // (h2 * w2)
    corner = ((outer * images + image).to(tl.int64) * height + 2 * i) * width + 2 * j
    at = corner[:, None] * channels + k[None, :]
    source = (outer * pixels + row).to(tl.int64)[:, None] * channels + k[None, :]
    gradient = tl.load(dz + source, there, 0.0).to(tl.float32)
    index = tl.load(chosen + source, there, 4).to(tl.int32)
    for pixel in tl.static_range(0, 4):
        to = dy + at + ((pixel // 2) * width + pixel % 2) * channels
        tl.store(to, tl.where(index == pixel, gradient, 0.0), there)
    total = tl.sum(tl.where(index == 4, 0.0, gradient), 0)
    tl.store(sums + (outer * tl.num_programs(0) + block) * channels + k, total, k < channels)


def plain(y: Tensor, bias: Tensor) -> Tensor:
    """ReLU of the pooled y [G, N, C, H, W] plus bias [G, C] -> [G, N, C, H // 2, W // 2], by torch's operations."""
    return torch.relu(max_pool(y + bias[:, None, :, None, None].to(y.dtype)))


def pooled(y: Tensor, bias: Tensor) -> Tensor:
    """As `plain`: y [G, N, C, H, W] with its channels innermost, bias [G, C] -> [G, N, C, H // 2, W // 2]."""
    return _Pooled.apply(y, bias)  # pyright: ignore[reportReturnType] - what forward returns


def fits(y: Tensor) -> bool:
    """Whether y [G, N, C, H, W] lies in the memory as [G, N, H, W, C] or [N, H, W, G, C], as convolutions leave it."""
    return any(y.permute(order).is_contiguous() for order in (_MEMBERS_OUTERMOST, _MEMBERS_INNERMOST))


_MEMBERS_OUTERMOST, _MEMBERS_INNERMOST = (0, 1, 3, 4, 2), (1, 3, 4, 0, 2)


class _Pooled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, bias: Tensor) -> Tensor:
        members, images, channels, height, width = y.shape
        ctx.outermost = y.permute(_MEMBERS_OUTERMOST).is_contiguous()
        ctx.sizes = members, images, channels, height, width
        z = _like(ctx, y, height // 2, width // 2)
        chosen = torch.empty_like(z, dtype=torch.uint8)
        grid, numbers = _launch(ctx)
        with torch.cuda.device_of(y):  # does nothing on a CPU, where Triton's interpreter computes
            _forward[grid](y, bias.contiguous(), z, chosen, *numbers)
        ctx.save_for_backward(chosen)
        ctx.kind = bias.dtype
        return z

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride] - of torch
        (chosen,), dz = ctx.saved_tensors, gradients[0]
        members, _, channels, height, width = ctx.sizes
        order = _MEMBERS_OUTERMOST if ctx.outermost else _MEMBERS_INNERMOST
        dz = dz.permute(order).contiguous()
        dy = _like(ctx, dz, height, width)
        if height % 2 or width % 2:
            dy.zero_()  # the last row and column belong to no four pixels
        grid, numbers = _launch(ctx)
        sums = torch.empty(grid[2], grid[0], numbers[1], dtype=torch.float32, device=dz.device)
        with torch.cuda.device_of(dz):
            _backward[grid](dz, chosen, dy, sums, *numbers)
        return dy, sums.sum(1).view(members, channels).to(ctx.kind)


def _like(ctx: Any, x: Tensor, height: int, width: int) -> Tensor:
    """An empty [G,N,C,height,width] in the memory's order of y."""
    members, images, channels, *_ = ctx.sizes
    shape = (members, images, channels, height, width)
    order = _MEMBERS_OUTERMOST if ctx.outermost else _MEMBERS_INNERMOST
    empty = torch.empty([shape[d] for d in order], dtype=x.dtype, device=x.device)
    return empty.permute([order.index(d) for d in range(5)])


def _launch(ctx: Any) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """The grid of programs, and the numbers that the kernels are given."""
    members, images, channels, height, width = ctx.sizes
    outer, inner = (members, channels) if ctx.outermost else (1, members * channels)
    pixels = images * (height // 2) * (width // 2)
    grid = (triton.cdiv(pixels, _ROWS), triton.cdiv(inner, _CHANNELS), outer)
    return grid, (pixels, inner, width, height, _ROWS, _CHANNELS)
