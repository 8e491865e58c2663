"""Copies of the weights in bfloat16, kept by the optimizer, so that no step has to make them.

Under autocast each step rounds the float32 weights to bfloat16, computes with the result, and widens the gradients
again: 24 bytes a weight and step, where the update itself moves 20. An update in one pass that reads the narrow
gradients and writes the copies moves 20 in all (RMSprop). The numbers are those of autocast.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mnist_lightning.numerics.by_hand import ByHand
from mnist_lightning.numerics.losses import Loss
from mnist_lightning.numerics.model import ConvDenseNet
from mnist_lightning.numerics.pooling import compiled_pooling


class Copies(ByHand):
    """A network that computes with bfloat16 copies of its float32 weights, which receive the gradients in their place.

    The numbers are those of the network under autocast. Set it as `copies` of the optimizer, which then keeps the
    copies up. A weight that somebody else has changed is copied anew.
    """

    def __init__(self, net: ConvDenseNet) -> None:
        self._own: list[Tensor] = list(net.parameters())
        self._low = [p.detach().to(torch.bfloat16) for p in self._own]
        self._of = dict(zip(self._own, self._low, strict=True))
        self._versions = [p._version for p in self._own]
        super().__init__(net, self._low, compiled_pooling())

    def loss(self, images: Tensor, labels: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """Computes the loss [] over float images [N, C, H, W] and labels [N], and the logits [N, K]."""
        for p, low, version in zip(self._own, self._low, self._versions, strict=True):
            if p._version != version:
                low.copy_(p.detach())
        self.are_current()
        return super().loss(images, labels, loss)

    def of(self, p: Tensor) -> Tensor | None:
        """The copy of a weight p [...], with its gradient [...]; None for a tensor that has none."""
        return self._of.get(p)

    def are_current(self) -> None:
        """Notes that the copies have the numbers that the weights have now, and no gradients."""
        self._versions = [p._version for p in self._own]
        for low in self._low:
            low.grad = None
