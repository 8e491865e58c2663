"""Computes the losses of G members at once, each with its own definition."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mnist_lightning.numerics.losses import LOSSES


class MemberLosses:
    """Computes losses [G] of logits [G, N, K] and labels [N] or [G, N], each by its member's own definition.

    A member's outputs go into its own loss only: not even a zero times a NaN of another's reaches its gradient.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(dict.fromkeys(names))
        self._members = [torch.tensor([i for i, n in enumerate(names) if n == name]) for name in self.names]
        self._back = torch.argsort(torch.cat(self._members))

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        if len(self.names) == 1:
            return LOSSES[self.names[0]](logits, labels)
        if self._back.device != logits.device:  # once, and never inside a captured step
            self._back = self._back.to(logits.device)
            self._members = [m.to(logits.device) for m in self._members]
        values = [
            LOSSES[name](logits.index_select(0, own), labels.index_select(0, own) if labels.ndim == 2 else labels)
            for name, own in zip(self.names, self._members, strict=True)
        ]
        return torch.cat(values).index_select(0, self._back)
