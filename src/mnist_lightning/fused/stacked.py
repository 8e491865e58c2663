"""G networks of one architecture as one network, whose layers' weights have a leading dimension G."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from mnist_lightning.numerics.model import ConvDenseNet, dense

Method = Callable[[Tensor, Tensor, Tensor], Tensor]
MemberTensors = Sequence[Tensor]


def _conv_loop(x: Tensor, weights: MemberTensors, biases: MemberTensors) -> Tensor:
    """A convolution per member. [N,C,H,W], seen by all, or [G,N,C,H,W] -> [G,N,C',H,W]."""
    # unbind, not x[g]: the gradient of an index is a whole tensor of zeros for each member
    inputs = x.unbind(0) if x.ndim == 5 else [x] * len(weights)
    outputs = [functional.conv2d(i, w, b, padding=1) for i, w, b in zip(inputs, weights, biases, strict=True)]
    # put side by side with the channels innermost, as they are made: plain copies
    return torch.stack([y.movedim(1, -1) for y in outputs]).movedim(-1, 2)


def _conv_shared(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One ordinary convolution with G C' filters: only for an input [N,C,H,W] that all members see."""
    y = functional.conv2d(x, weight.flatten(0, 1), bias.flatten(), padding=1)  # [N,GC',H,W]
    return y.unflatten(1, weight.shape[:2]).transpose(0, 1)


def _conv_grouped(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One convolution in G groups. [G,N,C,H,W] -> [G,N,C',H,W]."""
    members = len(weight)
    y = x.transpose(0, 1).flatten(1, 2)  # [N,GC,H,W]
    y = functional.conv2d(y, weight.flatten(0, 1), bias.flatten(), padding=1, groups=members)
    return y.unflatten(1, (members, -1)).transpose(0, 1)


def _dense_loop(x: Tensor, weights: MemberTensors, biases: MemberTensors) -> Tensor:
    """A matrix product per member. [G,N,A], weights [B,A] -> [G,N,B]."""
    return torch.stack([dense(i, w, b) for i, w, b in zip(x.unbind(0), weights, biases, strict=True)])


def _dense_batched(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One batched matrix product."""
    return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))


class StackedLayer(nn.Module):
    """A layer of G members: weight [G, ...] and bias [G, ...], by one of several equal methods.

    `loop` is first: it computes each member as it would be computed alone, so a member's numbers do not depend on
    its neighbours, and on a CPU nothing is faster.
    """

    together: ClassVar[dict[str, Method]]  # the other methods: all members in one operation
    loop: ClassVar[Callable[[Tensor, MemberTensors, MemberTensors], Tensor]]

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self._set(
            torch.stack([layer.weight.detach() for layer in layers]),  # pyright: ignore - of a plain layer
            torch.stack([layer.bias.detach() for layer in layers]),  # pyright: ignore - of a plain layer
        )
        self.method = "loop"

    def _set(self, weight: Tensor, bias: Tensor) -> None:
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.leaves: list[MemberTensors] | None = None

    def keep(self, members: Tensor) -> None:
        """Keeps these members alone, int64 [G'], as new parameters."""
        self._set(self.weight.detach()[members], self.bias.detach()[members])

    def split(self) -> None:
        """Lets `loop` take each member's part as a tensor of its own, with its own gradient, in the same memory.

        The gradient of a whole parameter would be copied together from the members' gradients.
        """
        self.leaves = [[part.detach().requires_grad_() for part in p] for p in (self.weight, self.bias)]

    def forward(self, x: Tensor) -> Tensor:
        """Computes the layer of every member: [N, ...], seen by all, or [G, N, ...] -> [G, N, ...]."""
        if self.method == "loop":
            weights, biases = self.leaves or (self.weight.unbind(0), self.bias.unbind(0))
            return type(self).loop(x, weights, biases)
        return self.together[self.method](x, self.weight, self.bias)

    def applicable(self, x: Tensor) -> list[str]:
        """Returns the methods that take an input of this shape, [N, ...] or [G, N, ...]."""
        return ["loop", *self.together]


class StackedConv2d(StackedLayer):
    """A 3x3 convolution of G members: [N, C, H, W], seen by all, or [G, N, C, H, W] -> [G, N, C', H, W]."""

    together: ClassVar = {"grouped": _conv_grouped, "shared": _conv_shared}
    loop = staticmethod(_conv_loop)

    def _set(self, weight: Tensor, bias: Tensor) -> None:
        # each member's with the channels innermost
        super()._set(weight.movedim(2, -1).contiguous().movedim(-1, 2), bias)

    def applicable(self, x: Tensor) -> list[str]:
        return ["loop", "shared"] if x.ndim == 4 else ["loop", "grouped"]


class StackedLinear(StackedLayer):
    """A dense layer of G members: [G, N, A] -> [G, N, B]."""

    together: ClassVar = {"batched": _dense_batched}
    loop = staticmethod(_dense_loop)


class StackedNet(ConvDenseNet):
    """The networks as one: float images [N, 1, 28, 28] for all, or [G, N, 1, 28, 28], -> logits [G, N, 10].

    Its state has ConvDenseNet's names, with a leading dimension G. Raises ValueError for networks of different sizes.
    """

    def __init__(self, members: Sequence[ConvDenseNet]) -> None:
        nn.Module.__init__(self)
        if len({tuple(p.shape for p in member.parameters()) for member in members}) != 1:
            raise ValueError("only networks of one architecture can be stacked, and at least one")
        self.stem = StackedConv2d([m.stem for m in members])
        self.convs = nn.ModuleList(StackedConv2d(layers) for layers in zip(*(m.convs for m in members), strict=True))
        self.denses = nn.ModuleList(StackedLinear(layers) for layers in zip(*(m.denses for m in members), strict=True))
        self.output = StackedLinear([m.output for m in members])

    def split(self) -> None:
        """Splits all layers; to be called again whenever the parameters are moved or replaced."""
        for layer in self.layers():
            layer.split()

    def part(self, members: slice, images: Tensor) -> Tensor:
        """Computes logits [G', N, 10] of some members on images [N, 1, 28, 28] that they all see, without gradients."""
        weights = {name: p[members] for name, p in self.named_parameters()}
        leaves = [layer.leaves for layer in self.layers()]
        try:
            for layer in self.layers():
                layer.leaves = None
            with torch.no_grad():
                return functional_call(self, weights, (images,))
        finally:
            for layer, kept in zip(self.layers(), leaves, strict=True):
                layer.leaves = kept

    def differentiable(self) -> list[MemberTensors]:
        """Returns what to differentiate, in the order of `parameters`: of each [G, ...] in one, or G of [...]."""
        tensors: list[MemberTensors] = []
        for layer in self.layers():
            tensors += layer.leaves or [[layer.weight], [layer.bias]]
        return tensors

    def layers(self) -> Iterator[StackedLayer]:
        """Iterates over the layers, in the order of `parameters`."""
        yield from (module for module in self.modules() if isinstance(module, StackedLayer))

    def choose_methods(self, images: Tensor, repeats: int = 5) -> dict[str, str]:
        """Sets each layer's fastest method for images [N, 1, 28, 28] or [G, N, 1, 28, 28]; returns {layer: method}.

        All methods are timed.
        """
        inputs: dict[nn.Module, Tensor] = {}

        def note(layer: nn.Module, arguments: tuple[Tensor]) -> None:
            inputs[layer] = arguments[0]

        hooks = [layer.register_forward_pre_hook(note) for layer in self.layers()]
        with torch.no_grad():
            self(images)
        for hook in hooks:
            hook.remove()
        for layer in self.layers():
            seconds = {}
            for method in layer.applicable(inputs[layer]):
                layer.method = method
                seconds[method] = min(_time(layer, inputs[layer]) for _ in range(repeats))
            layer.method = min(seconds, key=seconds.__getitem__)
        return {name: module.method for name, module in self.named_modules() if isinstance(module, StackedLayer)}


def _time(layer: StackedLayer, x: Tensor) -> float:
    """Measures the seconds of a forward and a backward pass."""
    x = x.detach().requires_grad_(x.ndim != 4)  # the images need no gradient
    synchronize = torch.cuda.synchronize if x.device.type == "cuda" else lambda: None
    synchronize()
    started = time.perf_counter()
    y = layer(x)
    torch.autograd.grad(y.sum(), [layer.weight, layer.bias, *([x] if x.requires_grad else [])])
    synchronize()
    return time.perf_counter() - started
