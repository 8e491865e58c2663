"""Bias, max pooling and ReLU of stacked convolutions in one Triton kernel forwards, and one backwards, on a GPU.

`plain` is the same in torch's operations, which read and write the convolution's outputs nine times instead of twice.
The side of the pooled squares is 2, or 1 of a convolution that is not pooled.
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
_OFF = 4  # no pixel of the square: the ReLU is off
# In the memory [G,N,H,W,C] and [N,H,W,G,C]
_MEMBERS_OUTERMOST, _MEMBERS_INNERMOST = (0, 1, 3, 4, 2), (1, 3, 4, 0, 2)


@triton.jit
def _forward(
    y: tl.tensor, bias: tl.tensor, z: tl.tensor, chosen: tl.tensor, pixels: tl.tensor, channels: tl.tensor,
    width: tl.tensor, height: tl.tensor, y_member: tl.tensor, y_pixel: tl.tensor, z_member: tl.tensor,
    z_pixel: tl.tensor, side: tl.constexpr, rows: tl.constexpr, wide: tl.constexpr,
) -> None:  # fmt: skip
    """z = max(0, max over the pixels of a square of y, plus bias); `chosen` is the pixel, 0 to 3, or 4 where z is 0.

    y [G,N,H,W,K], bias [G,K], z and chosen [G,N,H/side,W/side,K]; y and z have a stride for the members and one for
    the pixels. `pixels` are those of z, N H/side W/side; NaN is passed on, as torch does.
    """
    g = tl.program_id(2)
    row, k = tl.program_id(0) * rows + tl.arange(0, rows), tl.program_id(1) * wide + tl.arange(0, wide)
    there = (row < pixels)[:, None] & (k < channels)[None, :]
    w, h = width // side, height // side
    corner = (row // (h * w) * height + row // w % h * side) * width + row % w * side
    at = y + g.to(tl.int64) * y_member + corner.to(tl.int64)[:, None] * y_pixel + k[None, :]
    best = tl.load(at, there).to(tl.float32)
    index = tl.zeros((rows, wide), tl.int32)
    for pixel in tl.static_range(1, side * side):
        other = tl.load(at + ((pixel // side) * width + pixel % side) * y_pixel, there).to(tl.float32)
        larger = (other > best) | (other != other)
        best, index = tl.where(larger, other, best), tl.where(larger, pixel, index)
    value = best + tl.load(bias + g * channels + k, k < channels).to(y.dtype.element_ty).to(tl.float32)[None, :]
    value = value.to(y.dtype.element_ty).to(tl.float32)
    off = value <= 0
    to = z + g.to(tl.int64) * z_member + row.to(tl.int64)[:, None] * z_pixel + k[None, :]
    tl.store(to, tl.where(off, 0.0, value), there)
    to = chosen + (g.to(tl.int64) * pixels + row)[:, None] * channels + k[None, :]
    tl.store(to, tl.where(off, 4, index).to(tl.uint8), there)


@triton.jit
def _backward(
    dz: tl.tensor, chosen: tl.tensor, dy: tl.tensor, sums: tl.tensor, pixels: tl.tensor, channels: tl.tensor,
    width: tl.tensor, height: tl.tensor, y_member: tl.tensor, y_pixel: tl.tensor, z_member: tl.tensor,
    z_pixel: tl.tensor, side: tl.constexpr, rows: tl.constexpr, wide: tl.constexpr,
) -> None:  # fmt: skip
    """dy is dz at the chosen pixel and 0 at the others; `sums` [G,programs,K] add up to the bias' gradient."""
    g, block = tl.program_id(2), tl.program_id(0)
    row, k = block * rows + tl.arange(0, rows), tl.program_id(1) * wide + tl.arange(0, wide)
    there = (row < pixels)[:, None] & (k < channels)[None, :]
    w, h = width // side, height // side
    corner = (row // (h * w) * height + row // w % h * side) * width + row % w * side
    source = dz + g.to(tl.int64) * z_member + row.to(tl.int64)[:, None] * z_pixel + k[None, :]
    gradient = tl.load(source, there, 0.0).to(tl.float32)
    source = chosen + (g.to(tl.int64) * pixels + row)[:, None] * channels + k[None, :]
    index = tl.load(source, there, 4).to(tl.int32)
    at = dy + g.to(tl.int64) * y_member + corner.to(tl.int64)[:, None] * y_pixel + k[None, :]
    for pixel in tl.static_range(0, side * side):
        to = at + ((pixel // side) * width + pixel % side) * y_pixel
        tl.store(to, tl.where(index == pixel, gradient, 0.0), there)
    total = tl.sum(tl.where(index == 4, 0.0, gradient), 0)
    tl.store(sums + (g * tl.num_programs(0) + block) * channels + k, total, k < channels)


def plain(y: Tensor, bias: Tensor, side: int = 2) -> Tensor:
    """ReLU of pooled y [G, N, C, H, W] plus bias [G, C] -> [G, N, C, H // side, W // side], by torch's operations."""
    y = y + bias[:, None, :, None, None].to(y.dtype)
    return torch.relu(max_pool(y) if side == 2 else y)


def pooled(y: Tensor, bias: Tensor, side: int = 2, *, outermost: bool = True) -> Tensor:
    """As `plain`, of y [G, N, C, H, W] that `fits`; to lie in the memory as [G, N, H, W, C] or [N, H, W, G, C]."""
    return _Pooled.apply(y, bias, side, outermost)  # pyright: ignore[reportReturnType] - what forward returns


def fits(x: Tensor) -> bool:
    """Whether x [G, N, C, H, W] lies in the memory as [G, N, H, W, C] or [N, H, W, G, C], as convolutions leave it."""
    return lies_outermost(x) or x.permute(_MEMBERS_INNERMOST).is_contiguous()


def lies_outermost(x: Tensor) -> bool:
    """Whether x [G, N, C, H, W] lies in the memory as [G, N, H, W, C]."""
    return x.permute(_MEMBERS_OUTERMOST).is_contiguous()


def strides(x: Tensor) -> tuple[int, int]:
    """Returns the strides of members and of pixels of x [G, N, C, H, W] that `fits`."""
    members, _, channels, *_ = x.shape
    return (x[0].numel(), channels) if lies_outermost(x) else (channels, members * channels)


def empty(like: Tensor, shape: tuple[int, ...], outermost: bool) -> Tensor:
    """Makes an empty [G, N, C, H, W], typed as `like`, in the memory [G, N, H, W, C] or [N, H, W, G, C]."""
    order = _MEMBERS_OUTERMOST if outermost else _MEMBERS_INNERMOST
    made = torch.empty([shape[d] for d in order], dtype=like.dtype, device=like.device)
    return made.permute([order.index(d) for d in range(5)])


class _Pooled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, bias: Tensor, side: int, outermost: bool) -> Tensor:
        members, images, channels, height, width = y.shape
        ctx.outermost, ctx.shape, ctx.side, ctx.kind = lies_outermost(y), y.shape, side, bias.dtype
        z = empty(y, (members, images, channels, height // side, width // side), outermost)
        chosen = torch.empty(z.shape, dtype=torch.uint8, device=z.device)
        grid, numbers = _launch(ctx)
        with torch.cuda.device_of(y):  # does nothing on a CPU, where Triton's interpreter computes
            _forward[grid](y, bias.contiguous(), z, chosen, *numbers, *_steps(ctx, y, z))
        ctx.save_for_backward(chosen)
        return z

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride] - of torch
        (chosen,), dz, side = ctx.saved_tensors, gradients[0], ctx.side
        members, _, channels, height, width = ctx.shape
        dz = dz if fits(dz) else dz.permute(_MEMBERS_OUTERMOST).contiguous().permute(0, 1, 4, 2, 3)
        dy = empty(dz, ctx.shape, ctx.outermost)
        if height % side or width % side:
            dy.zero_()  # the last row and column belong to no square
        grid, numbers = _launch(ctx)
        sums = torch.empty(members, grid[0], channels, dtype=torch.float32, device=dz.device)
        with torch.cuda.device_of(dz):
            _backward[grid](dz, chosen, dy, sums, *numbers, *_steps(ctx, dy, dz))
        return dy, sums.sum(1).to(ctx.kind), None, None


def _launch(ctx: Any) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """The grid of programs, and the numbers that the kernels are given before the strides."""
    members, images, channels, height, width = ctx.shape
    pixels = images * (height // ctx.side) * (width // ctx.side)
    grid = (triton.cdiv(pixels, _ROWS), triton.cdiv(channels, _CHANNELS), members)
    return grid, (pixels, channels, width, height)


def _steps(ctx: Any, y: Tensor, z: Tensor) -> tuple[int, ...]:
    """Strides of both sides, and the constants."""
    return *strides(y), *strides(z), ctx.side, _ROWS, _CHANNELS
