"""The study's metrics as sums over images, so that batches of any size add up exactly."""

from __future__ import annotations

import torch
from torch import Tensor

from mnist_lightning.numerics.losses import Loss, one_hot, probabilities

METRICS: tuple[str, ...] = ("loss", "mse", "mae", "accuracy", "binary_accuracy")


@torch.no_grad()
def metric_sums(logits: Tensor, labels: Tensor, loss: Loss) -> Tensor:
    """Sums METRICS over the N images, in float64: logits [N, K] -> [5], or [G, N, K] -> [5, G].

    Labels are [N], or [G, N] where the members of a stack see different images.

    Divided by the number of images: the mean loss; mean squared and absolute error of the softmax outputs; the
    share of images whose largest output is the label's (the first of equals, as in Keras); and Keras'
    `BinaryAccuracy`, the share of the K outputs on the right side of 0.5.
    """
    p = probabilities(logits)  # [..., N, K]
    wide = torch.float32 if p.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
    truth = one_hot(labels, p)
    error = p - truth
    correct = p.argmax(-1) == labels
    right_side = (p > 0.5) == (truth > 0.5)
    sums = (
        loss(logits, labels).to(wide) * labels.shape[-1],
        error.square().to(wide).mean(-1).sum(-1),
        error.abs().to(wide).mean(-1).sum(-1),
        correct.sum(-1),
        right_side.sum(dim=(-2, -1)).to(wide) / p.shape[-1],
    )
    return torch.stack([s.to(wide) for s in sums])
