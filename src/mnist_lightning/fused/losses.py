"""Computes the losses of G members at once, each with its own definition."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mnist_lightning.fused.own_kernels import kernels_for
from mnist_lightning.numerics.losses import LOSSES
from mnist_lightning.numerics.metrics import metric_sums


class MemberLosses:
    """Computes losses [G] of logits [G, N, K] and labels [N] or [G, N], each by its member's own definition.

    A member's outputs go into its own loss only: not even a zero times a NaN of another's reaches its gradient.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.of_member = list(names)
        self._kinds: Tensor | None = None  # the same for a kernel, on its device
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

    def differentiated(self, logits: Tensor, labels: Tensor, sums: Tensor) -> tuple[Tensor, Tensor | None]:
        """Adds METRICS to `sums`, float64 [5, G]; returns what is to be differentiated: the sum of the losses.

        On a GPU one kernel has done it up to the logits: then it is they, and their gradients beside them.
        """
        gradient = torch.empty_like(logits)  # its strides are theirs
        if self._by_kernel(logits.detach(), labels, sums, gradient):
            return logits, gradient
        sums.add_(metric_sums(logits.detach(), labels, self))
        return self(logits, labels).sum(), None

    def add_scores(self, logits: Tensor, labels: Tensor, sums: Tensor) -> None:
        """Adds METRICS of logits [G, N, K] and labels [N] or [G, N] to `sums`, float64 [5, G]."""
        if not self._by_kernel(logits, labels, sums, None):
            sums.add_(metric_sums(logits, labels, self))

    def _by_kernel(self, logits: Tensor, labels: Tensor, sums: Tensor, gradient: Tensor | None) -> bool:
        own = kernels_for(logits)
        if own is None or not own.scoring.fits(logits) or not set(self.names) <= set(own.scoring.KINDS):
            return False
        if self._kinds is None:  # once, and never inside a captured step
            kinds = [own.scoring.KINDS.index(name) for name in self.of_member]
            self._kinds = torch.tensor(kinds, dtype=torch.int32, device=logits.device)
        own.scoring.add_scores(logits, labels, self._kinds, sums, gradient)
        return True
