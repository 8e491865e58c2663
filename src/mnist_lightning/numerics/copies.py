"""A network by hand in bfloat16: the numbers of autocast, with copies of the weights that last from step to step.

Under autocast each step rounds the float32 weights to bfloat16, computes with the result, and widens the gradients
again: 24 bytes a weight and step, where the update itself moves 20. An update in one pass that reads the narrow
gradients and writes the copies moves 20 in all (RMSprop).
"""

from __future__ import annotations

import torch
from torch import Tensor

from mnist_lightning.numerics.by_hand import ByHand
from mnist_lightning.numerics.losses import Loss
from mnist_lightning.numerics.model import ConvDenseNet


class Rounded(ByHand):
    """A network that computes with its float32 weights rounded to bfloat16 at each step, as autocast does."""

    def __init__(self, net: ConvDenseNet) -> None:
        self._own: list[Tensor] = list(net.parameters())
        self._low = [p.detach().to(torch.bfloat16) for p in self._own]
        super().__init__(net, self._low)

    def loss(self, images: Tensor, labels: Tensor, loss: Loss, *, are_pixels: bool = False) -> tuple[Tensor, Tensor]:
        """As `ByHand.loss`, of images [N, C, H, W] and labels [N]."""
        for p in self._own:
            p.grad = None
        self._round()
        return super().loss(images, labels, loss, are_pixels=are_pixels)

    @torch.no_grad()
    def _round(self) -> None:
        for p, low in zip(self._own, self._low, strict=True):
            low.copy_(p)

    def backward(self, loss: Tensor) -> None:
        """As `ByHand.backward`, of a loss []; the weights have the gradients, in float32."""
        super().backward(loss)
        for p, low in zip(self._own, self._low, strict=True):
            p.grad, low.grad = None if low.grad is None else low.grad.to(p.dtype), None


class Copies(Rounded):
    """The same with copies that an optimizer keeps up, as its `copies`: they have the gradients, the weights none.

    A weight that somebody else has changed is rounded anew.
    """

    def __init__(self, net: ConvDenseNet) -> None:
        super().__init__(net)
        self._of = dict(zip(self._own, self._low, strict=True))
        self._versions = [p._version for p in self._own]

    def _round(self) -> None:
        if any(p._version != version for p, version in zip(self._own, self._versions, strict=True)):
            super()._round()
            self.are_current()

    def backward(self, loss: Tensor) -> None:
        """As `ByHand.backward`, of a loss []; the copies have the gradients then."""
        ByHand.backward(self, loss)

    def are_current(self) -> None:
        """Notes that the copies have the numbers that the weights have now, and no gradients."""
        self._versions = [p._version for p in self._own]
        for low in self._low:
            low.grad = None

    def of(self, p: Tensor) -> Tensor | None:
        """The copy of a weight p [...], with its gradient [...]; None for a tensor that has none."""
        return self._of.get(p)
