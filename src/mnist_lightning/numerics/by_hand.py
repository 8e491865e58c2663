"""A `ConvDenseNet` forwards and backwards, layer by layer, for training on a processor without torch's autograd.

A small network's step is for a twelfth what autograd notes down, and what modules, autocast and a loss of many small
operations cost. The operations here are those that autograd would run, or one that does what two of them do, and so the
numbers are its numbers, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mnist_lightning.numerics.losses import WITH_GRADIENT, Loss
from mnist_lightning.numerics.model import ConvDenseNet, channels_innermost
from mnist_lightning.numerics.pooling import Pooling, relu_backward

_convolution_backward = torch.ops.aten.convolution_backward.default
_ONE, _NO = [1, 1], [0, 0]
# The study's convolutions: stride, padding, dilation, not transposed, no padding of the output, groups
_SAME: Any = (_ONE, _ONE, _ONE, False, _NO, 1)
_LOOK_EACH = 32  # steps: at each it would take 2 % of a small network's
_ONEDNN = torch._C._ConvBackend.Mkldnn  # pyright: ignore[reportAttributeAccessIssue] - unknown to torch's own stubs


class ByHand:
    """Computes a network's loss, and then its weights' gradients; those they have are gone then.

    `weights` [...] are those to compute with in the place of the network's own, in the order of its parameters.
    """

    def __init__(self, net: ConvDenseNet, weights: Sequence[Tensor] | None = None) -> None:
        self.pooling = Pooling()
        self._weights = list(net.parameters()) if weights is None else weights
        layers = list(zip(self._weights[::2], self._weights[1::2], strict=True))  # of weight and bias
        self._convs, self._denses = layers[: 1 + len(net.convs)], layers[1 + len(net.convs) :]
        self._kept: list[Any] = []  # what the way back needs of each layer
        self._shape = torch.Size()
        self._gradient: Tensor | None = None  # of the logits
        self._is_written_out = False  # or differentiated by autograd
        self._steps = 0
        self._are_moderate = False  # the first convolution's weights, when last looked at

    def loss(self, images: Tensor, labels: Tensor, loss: Loss, *, are_pixels: bool = False) -> tuple[Tensor, Tensor]:
        """Computes the loss [] over float images [N, C, H, W] and labels [N], and the logits [N, K].

        Faster where the images `are_pixels`, numbers from 0 to 1.
        """
        for weight in self._weights:
            weight.grad = None
        logits = self.logits(images, are_pixels=are_pixels)
        with_gradient = WITH_GRADIENT.get(loss)
        self._is_written_out = with_gradient is not None
        if with_gradient is not None:
            with torch.no_grad():
                value, self._gradient = with_gradient(logits, labels)
        else:
            self._gradient = None
            logits.requires_grad_().register_hook(self._take)  # in the memory order in which it comes
            # of a view: the loss may itself differentiate by the logits, or hang hooks on them
            value = loss(logits.view_as(logits), labels)
        return value, logits.detach()

    def _take(self, gradient: Tensor) -> None:
        self._gradient = gradient

    def backward(self, loss: Tensor) -> None:
        """Computes the gradients of the weights, and of whatever else the loss [] was made of.

        Once after each `loss`.
        """
        if not self._is_written_out:
            loss.backward()
        if self._gradient is not None:  # a loss may leave the logits alone
            self._backward(self._gradient)

    @torch.no_grad()
    def logits(self, images: Tensor, *, are_pixels: bool = False) -> Tensor:
        """Computes the logits [N, K] of float images [N, C, H, W]."""
        x = channels_innermost(images.to(self._weights[0].dtype))
        self._kept = []
        for i, (weight, bias) in enumerate(self._convs):
            if i:
                y = torch.convolution(x, weight, bias, *_SAME)  # [N,C',H,W]
                z, kept = self.pooling.forward(y)
            else:
                z = kept = self._rectified(x, weight, bias, are_pixels=are_pixels)
            self._kept.append((x, kept))
            x = z
        self._shape = x.shape
        x = x.flatten(1)
        for i, (weight, bias) in enumerate(self._denses):
            self._kept.append(x)
            y = torch.addmm(bias.unsqueeze(1), weight, x.t())  # [B,N], as `model.dense` has it
            x = (y if i + 1 == len(self._denses) else y.relu_()).t()
        return x

    def _rectified(self, x: Tensor, weight: Tensor, bias: Tensor, *, are_pixels: bool) -> Tensor:
        """ReLU of a convolution of images [N, C, H, W]: by oneDNN in one pass over the result, where it would do both.

        There it makes zeros of NaN, which should be seen: so only of pixels, and while the weights make none. That is
        looked at now and then, and a weight that has become NaN remains so.
        """
        if self._steps % _LOOK_EACH == 0:
            self._are_moderate = _is_moderate(weight) and _is_moderate(bias)
        self._steps += 1
        if are_pixels and self._are_moderate and torch._C._select_conv_backend(x, weight, bias, *_SAME) == _ONEDNN:
            return torch.ops.mkldnn._convolution_pointwise.default(x, weight, bias, _ONE, _ONE, _ONE, 1, "relu", [], "")
        return torch.convolution(x, weight, bias, *_SAME).relu_()

    @torch.no_grad()
    def _backward(self, grad: Tensor) -> None:
        """Takes the gradient of the logits [N, K] back to all weights."""
        grad = grad.to(self._weights[0].dtype).t()  # [K,N]
        for i in reversed(range(len(self._denses))):
            (weight, bias), x = self._denses[i], self._kept.pop()
            bias.grad, weight.grad = grad.sum(1), grad.mm(x)
            if i:
                grad = relu_backward(weight.t().mm(grad), x.t(), 0)  # [A,N]
        # the product that autograd takes for inputs which lie in the memory as these do, image by image
        grad = grad.t().mm(self._denses[0][0]).reshape(self._shape)
        for i in reversed(range(len(self._convs))):
            (weight, bias), (x, kept) = self._convs[i], self._kept.pop()
            grad = self.pooling.backward(grad, kept) if i else relu_backward(grad, kept, 0)
            grad, of_weight, bias.grad = _convolution_backward(
                grad, x, weight, [len(bias)], *_SAME, [i > 0, True, True]
            )
            if of_weight.stride() != weight.stride():  # torch's fused optimizers want the same order in the memory
                of_weight = torch.empty_like(weight).copy_(of_weight)
            weight.grad = of_weight


def _is_moderate(x: Tensor) -> bool:
    """Whether the squares of the numbers of x [...] have a sum, which those of NaN, infinite and huge ones have not."""
    return math.isfinite(torch.linalg.vector_norm(x).item())
