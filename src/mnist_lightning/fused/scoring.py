"""The losses of a stack's members, their gradients and the sums of their metrics in one Triton kernel, on a GPU.

`numerics/losses.py` and `numerics/metrics.py` have the formulas and are what the kernel is compared with.
"""

# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# pyright: reportCallIssue=false
# (what stands in a kernel is not Python's but Triton's)

from __future__ import annotations

import triton  # pyright: ignore[reportMissingTypeStubs] - it has none
import triton.language as tl  # pyright: ignore[reportMissingTypeStubs] - it has none
from torch import Tensor
from torch.cuda import device_of

KINDS = ("mse", "mae", "cross_entropy")  # a member's loss, as a number
_ROWS, _CLASSES = 32, 128  # images at a time; more classes are not served


@triton.jit
def _scores(
    logits: tl.tensor, labels: tl.tensor, kinds: tl.tensor, sums: tl.tensor, gradient: tl.tensor,
    members: tl.tensor, images: tl.tensor, classes: tl.tensor, of_member: tl.tensor, of_image: tl.tensor,
    of_class: tl.tensor, labels_of_member: tl.tensor, differentiate: tl.constexpr, rows: tl.constexpr,
    wide: tl.constexpr,
) -> None:  # fmt: skip
    """p = softmax(logits) [G,N,K], y one-hot; loss = mean (p - y)^2, mean |p - y| or mean -log p at the label.

    With u = 2 (p - y) or sign(p - y) the gradient is p (u - sum p u) / (N K); of the last loss it is (p - y) / N.
    Adds METRICS of each member's N images to `sums`, float64 [5,G].
    """
    g = tl.program_id(0)
    kind, k = tl.load(kinds + g), tl.arange(0, wide)
    loss, squares, sides = tl.zeros((rows,), tl.float64), tl.zeros((rows,), tl.float64), tl.zeros((rows,), tl.float64)
    absolutes, corrects = tl.zeros((rows,), tl.float64), tl.zeros((rows,), tl.float64)
    for start in range(0, images, rows):
        n = start + tl.arange(0, rows)
        there = (n < images)[:, None] & (k < classes)[None, :]
        at = g.to(tl.int64) * of_member + n[:, None] * of_image + k[None, :] * of_class
        x = tl.load(logits + at, there, float("-inf")).to(tl.float32)
        label = tl.load(labels + g * labels_of_member + n, n < images, 0).to(tl.int32)
        x -= tl.where(n < images, tl.max(x, 1), 0.0)[:, None]
        p = tl.exp(x)
        total = tl.where(n < images, tl.sum(p, 1), 1.0)
        p = p / total[:, None]
        one = k[None, :] == label[:, None]
        error = tl.where(there, p - tl.where(one, 1.0, 0.0), 0.0)
        surprise = tl.where(n < images, tl.log(total) - tl.sum(tl.where(one, x, 0.0), 1), 0.0)
        square, absolute = tl.sum(error * error, 1), tl.sum(tl.abs(error), 1)
        loss += tl.where(kind == 0, square, tl.where(kind == 1, absolute, surprise)).to(tl.float64)
        # the first of the largest is the label's; of NaN it is the first of all, as torch says
        chosen = tl.sum(tl.where(one, p, 0.0), 1)[:, None]
        before = tl.sum(((p > chosen) | ((p == chosen) & (k[None, :] < label[:, None]))).to(tl.int32), 1)
        right = tl.where(total == total, before == 0, label == 0) & (n < images)
        squares, absolutes = squares + square.to(tl.float64), absolutes + absolute.to(tl.float64)
        corrects += right.to(tl.float64)
        sides += tl.sum((((p > 0.5) == one) & there).to(tl.int32), 1).to(tl.float64)
        if differentiate:
            u = tl.where(kind == 0, 2 * error, (error > 0).to(tl.float32) - (error < 0).to(tl.float32))
            through = p * (u - tl.sum(p * u, 1)[:, None]) / (images * classes)
            d = tl.where(kind == 2, error / images, through)
            tl.store(gradient + at, d.to(gradient.dtype.element_ty), there)
    tl.store(sums + g, tl.load(sums + g) + tl.sum(loss) / tl.where(kind == 2, 1, classes))
    tl.store(sums + members + g, tl.load(sums + members + g) + tl.sum(squares) / classes)
    tl.store(sums + 2 * members + g, tl.load(sums + 2 * members + g) + tl.sum(absolutes) / classes)
    tl.store(sums + 3 * members + g, tl.load(sums + 3 * members + g) + tl.sum(corrects))
    tl.store(sums + 4 * members + g, tl.load(sums + 4 * members + g) + tl.sum(sides) / classes)


def fits(logits: Tensor) -> bool:
    """Whether the kernel takes such logits [G, N, K]."""
    return logits.shape[-1] <= _CLASSES


def add_scores(logits: Tensor, labels: Tensor, kinds: Tensor, sums: Tensor, gradient: Tensor | None) -> None:
    """Adds METRICS of logits [G, N, K] to `sums`, float64 [5, G]; `gradient` [G, N, K] receives that of the losses.

    Labels are int64 [N], or [G, N]; `kinds` int32 [G] are the members' losses, places in KINDS. The gradient has
    the strides of the logits.
    """
    (members, images, classes), labels = logits.shape, labels.contiguous()
    assert gradient is None or gradient.stride() == logits.stride()
    sizes = (members, images, classes, *logits.stride(), labels.stride(0) if labels.ndim == 2 else 0)
    constants = (gradient is not None, _ROWS, max(2, triton.next_power_of_2(classes)))
    tensors = (logits, labels, kinds, sums, logits if gradient is None else gradient)
    with device_of(logits):  # does nothing on a CPU, where Triton's interpreter computes
        _scores[(members,)](*tensors, *sizes, *constants)
