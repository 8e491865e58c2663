"""Copies of the weights in bfloat16, kept by the optimizer, so that no step has to make them.

Under autocast each step rounds the float32 weights to bfloat16, computes with the result, and widens the gradients
again: 24 bytes a weight and step, where the update itself moves 20. An update in one pass that reads the narrow
gradients and writes the copies moves 20 in all (RMSprop). The numbers are those of autocast.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Copies:
    """A network that computes with bfloat16 copies of its float32 weights, which receive the gradients in their place.

    Only for networks that autocast would compute in bfloat16 throughout. Call it in the place of the network, and set
    it as `copies` of the optimizer, which then keeps the copies up. A weight that somebody else has changed is copied
    anew.
    """

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        # where each parameter stands: it is exchanged there for its copy for the time of a call
        self._places = [(m, n) for m in net.modules() for n, p in m._parameters.items() if p is not None]
        self._weights: list[Tensor] = [p for m in net.modules() for p in m._parameters.values() if p is not None]
        self._low = [_rounded(p) for p in self._weights]
        self._of = dict(zip(self._weights, self._low, strict=True))
        self._versions = [p._version for p in self._weights]

    def __call__(self, images: Tensor) -> Any:
        """Computes what the network would: float images [N, C, H, W] -> logits [N, K]."""
        for p, low, version in zip(self._weights, self._low, self._versions, strict=True):
            if p._version != version:
                low.data.copy_(p.data)
        self.are_current()
        try:
            self._exchange(self._low)
            return self.net(images)
        finally:
            self.give_back()

    def give_back(self) -> None:
        """Lets the network have its own weights again; it has, but for an interrupt just then."""
        self._exchange(self._weights)

    def _exchange(self, tensors: list[Any]) -> None:
        for (module, name), tensor in zip(self._places, tensors, strict=True):
            module._parameters[name] = tensor  # `setattr` takes Parameters only

    def of(self, p: Tensor) -> Tensor | None:
        """The copy of a weight p [...], with its gradient [...]; None for a tensor that has none."""
        return self._of.get(p)

    def are_current(self) -> None:
        """Notes that the copies have the numbers that the weights have now, and no gradients."""
        self._versions = [p._version for p in self._weights]
        for low in self._low:
            low.grad = None


def _rounded(p: Tensor) -> Tensor:
    return p.detach().to(torch.bfloat16).requires_grad_(p.requires_grad)
