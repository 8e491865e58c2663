"""Losses on the softmax of the logits against one-hot labels, as Keras computes them.

Each serves one network, logits [N, K], and a stack of them, logits [G, N, K] with labels [N] shared by its
members, or [G, N]; the loss is a scalar or [G]. Members are never mixed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def probabilities(logits: Tensor) -> Tensor:
    """Softmax of logits [..., N, K], in at least float32: half precision loses the gradients of these losses."""
    return torch.softmax(logits, dim=-1, dtype=_wide(logits))  # [..., N, K]


def _wide(logits: Tensor) -> torch.dtype:
    return torch.float32 if logits.dtype in (torch.bfloat16, torch.float16) else logits.dtype


def one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """Turns labels [..., N] into one-hot rows [..., N, K] of `like`'s type and number of classes."""
    # not functional.one_hot, which looks through the labels for wrong ones on a CPU: 3 % of a small network's step
    return (labels.unsqueeze(-1) == torch.arange(like.shape[-1], device=labels.device)).to(like.dtype)


def mse(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over images and classes of (softmax - one-hot)^2: logits [N, K], labels [N] -> []; a stack's -> [G]."""
    p = probabilities(logits)
    return (p - one_hot(labels, p)).square().mean(dim=(-2, -1))


def mae(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over images and classes of |softmax - one-hot|: logits [N, K], labels [N] -> []; a stack's -> [G]."""
    p = probabilities(logits)
    return (p - one_hot(labels, p)).abs().mean(dim=(-2, -1))


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over images of -log softmax at the label: logits [N, K], labels [N] -> []; a stack's -> [G]."""
    log_p = torch.log_softmax(logits, dim=-1, dtype=_wide(logits))  # [..., N, K]
    index = labels.long().expand(log_p.shape[:-1]).unsqueeze(-1)
    return -log_p.gather(-1, index).squeeze(-1).mean(dim=-1)


LOSSES: dict[str, Loss] = {"mse": mse, "mae": mae, "cross_entropy": cross_entropy}


def _mse(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    p = probabilities(logits)
    error = p - one_hot(labels, p)
    return error.square().mean(), _of_softmax(error.mul_(2 / error.numel()), p)


def _mae(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    p = probabilities(logits)
    error = p - one_hot(labels, p)
    return error.abs().mean(), _of_softmax(error.sign_().mul_(1 / error.numel()), p)


def _of_softmax(gradient: Tensor, p: Tensor) -> Tensor:
    return torch.ops.aten._softmax_backward_data.default(gradient, p, -1, p.dtype)


def _cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    log_p = torch.log_softmax(logits, dim=-1, dtype=_wide(logits))
    gradient = one_hot(labels, log_p).mul_(-1 / len(labels))
    value = -log_p.gather(-1, labels.long().unsqueeze(-1)).squeeze(-1).mean(dim=-1)
    return value, torch.ops.aten._log_softmax_backward_data.default(gradient, log_p, -1, log_p.dtype)


# Of one network: (logits [N, K], labels [N]) -> the loss [] and its gradient by the logits [N, K], in at least float32.
# Autograd's numbers, bit for bit, by a third of its operations
WITH_GRADIENT: dict[Loss, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    mse: _mse,
    mae: _mae,
    cross_entropy: _cross_entropy,
}
