"""G networks of one architecture as one network, whose layers' weights have a leading dimension G."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnist_lightning.fused.capture import captured
from mnist_lightning.fused.own_kernels import kernels_for
from mnist_lightning.numerics.model import ConvDenseNet, dense

Method = Callable[[Tensor, Tensor, Any], Tensor]  # input, weights, and biases; a convolution does without them, too
MemberTensors = Sequence[Tensor]


def _conv_loop(x: Tensor, weights: MemberTensors, biases: Sequence[Tensor | None]) -> Tensor:
    """A convolution per member. [N,C,H,W], seen by all, or [G,N,C,H,W] -> [G,N,C',H,W]."""
    # unbind, not x[g]: the gradient of an index is a whole tensor of zeros for each member
    # and with the channels innermost, so that the gradients are put side by side as the inputs are
    inputs = _unbound_innermost(x) if x.ndim == 5 else [x] * len(weights)
    outputs = [functional.conv2d(i, w, b, padding=1) for i, w, b in zip(inputs, weights, biases, strict=True)]
    # put side by side with the channels innermost, as they are made: plain copies
    return torch.stack([y.movedim(1, -1) for y in outputs]).movedim(-1, 2)


def _unbound_innermost(x: Tensor) -> list[Tensor]:
    """[G,A,C,H,W] -> G of [A,C,H,W], whose gradients are stacked in the memory [G,A,H,W,C]."""
    return [part.movedim(-1, 1) for part in x.movedim(2, -1).unbind(0)]


def _conv_shared(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """One ordinary convolution with G C' filters: only for an input [N,C,H,W] that all members see."""
    y = functional.conv2d(x, weight.flatten(0, 1), None if bias is None else bias.flatten(), padding=1)  # [N,GC',H,W]
    return y.unflatten(1, weight.shape[:2]).transpose(0, 1)


def _conv_grouped(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """One convolution in G groups. [G,N,C,H,W] -> [G,N,C',H,W], in the memory [N,H,W,G,C']: then no copy is needed."""
    members = len(weight)
    y = x.permute(1, 3, 4, 0, 2).flatten(3).movedim(-1, 1)  # [N,GC,H,W]
    y = functional.conv2d(y, weight.flatten(0, 1), None if bias is None else bias.flatten(), padding=1, groups=members)
    return y.unflatten(1, (members, -1)).transpose(0, 1)


def _conv_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """One product over all members by our own kernel. [G,N,C,H,W] -> [G,N,C',H,W]."""
    own = kernels_for(x)
    assert own is not None, "applicable without own kernels"
    return own.products.convolved(x, weight, bias)


def _dense_loop(x: Tensor, weights: MemberTensors, biases: MemberTensors) -> Tensor:
    """A matrix product per member. [G,N,A], weights [B,A] -> [G,N,B]."""
    return torch.stack([dense(i, w, b) for i, w, b in zip(x.unbind(0), weights, biases, strict=True)])


def _dense_batched(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One batched matrix product, as W x^T: so the gradient of W has the strides of W."""
    return torch.baddbmm(bias.unsqueeze(2), weight, x.transpose(1, 2)).transpose(1, 2)


class StackedLayer(nn.Module):
    """A layer of G members: weight [G, ...] and bias [G, ...], by one of several equal methods.

    `loop` is first: it computes each member as it would be computed alone, so a member's numbers do not depend on
    its neighbours, and on a CPU nothing is faster. It is taken wherever `method` does not fit the input.
    """

    together: ClassVar[dict[str, Method]]  # the other methods: all members in one operation
    loop: ClassVar[Callable[[Tensor, MemberTensors, Any], Tensor]]

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self._set(
            torch.stack([layer.weight.detach() for layer in layers]),  # pyright: ignore - of a plain layer
            torch.stack([layer.bias.detach() for layer in layers]),  # pyright: ignore - of a plain layer
        )
        self.method = "loop"
        self.members: slice | None = None  # who alone is computed, without gradients; None: everybody

    def _set(self, weight: Tensor, bias: Tensor) -> None:
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.leaves: list[MemberTensors] | None = None
        self.low: Tensor | None = None

    def keep(self, members: Tensor) -> None:
        """Keeps these members alone, int64 [G'], as new parameters."""
        self._set(self.weight.detach()[members], self.bias.detach()[members])

    def split(self) -> None:
        """Lets `loop` take each member's part as a tensor of its own, with its own gradient, in the same memory.

        The gradient of a whole parameter would be copied together from the members' gradients.
        """
        weight = self.weight if self.low is None else self.low
        self.leaves = [[part.detach().requires_grad_() for part in p] for p in (weight, self.bias)]

    def round(self) -> None:
        """Computes with a bfloat16 copy of the weights from now on, which whoever updates the weights keeps up.

        The values are those that autocast would make anew in each pass, from and into numbers twice as long.
        """
        self.low = self.weight.detach().bfloat16().requires_grad_()

    def forward(self, x: Tensor) -> Tensor:
        """Computes the layer of every member: [N, ...], seen by all, or [G, N, ...] -> [G, N, ...]."""
        return self.computed(x, self.biases())

    def biases(self) -> Tensor:
        """Returns the biases [G, B] of those who are computed."""
        return self.bias if self.members is None else self.bias[self.members]

    def computed(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Computes the layer with these biases [G, B], or with none: [N, ...] or [G, N, ...] -> [G, N, ...]."""
        weight = self.weight if self.low is None else self.low
        weight = weight if self.members is None else weight[self.members]
        if self.method in self.together and self.method in self.applicable(x):
            return self.together[self.method](x, weight, bias)
        leaves = self.leaves if self.members is None else None
        weights, biases = leaves or (self.unbound(weight), None if bias is None else bias.unbind(0))
        return type(self).loop(x, weights, [None] * len(weights) if bias is None or biases is None else biases)

    def unbound(self, weight: Tensor) -> MemberTensors:
        """Returns each member's part of a weight [G, ...], whose gradients are put together in its memory's order."""
        return weight.unbind(0)

    def applicable(self, x: Tensor) -> list[str]:
        """Returns the methods that take an input of this shape, [N, ...] or [G, N, ...]."""
        return ["loop", *self.together]


class StackedConv2d(StackedLayer):
    """A 3x3 convolution of G members: [N, C, H, W], seen by all, or [G, N, C, H, W] -> [G, N, C', H, W]."""

    together: ClassVar = {"grouped": _conv_grouped, "shared": _conv_shared, "product": _conv_product}
    loop = staticmethod(_conv_loop)

    def _set(self, weight: Tensor, bias: Tensor) -> None:
        # each member's with the channels innermost
        super()._set(weight.movedim(2, -1).contiguous().movedim(-1, 2), bias)

    def unbound(self, weight: Tensor) -> MemberTensors:
        return _unbound_innermost(weight)

    def applicable(self, x: Tensor) -> list[str]:
        if x.ndim == 4:
            return ["loop", "shared"]
        # a product of bfloat16, where there are weights of that type too, and not of images
        by_kernel = self.low is not None and x.dtype == self.low.dtype and kernels_for(x) is not None
        return ["loop", "grouped", *["product"] * by_kernel]


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

    def rectified(self, conv: nn.Module, x: Tensor) -> Tensor:
        """Convolves [N, C, H, W] or [G, N, C, H, W], and rectifies; on a GPU with bias and ReLU in one kernel."""
        y = self._by_kernel(conv, x, 1)
        return super().rectified(conv, x) if y is None else y

    def pooled(self, conv: nn.Module, x: Tensor) -> Tensor:
        """Convolves [G, N, C, H, W], pools and rectifies; on a GPU with bias, pooling and ReLU in one kernel."""
        y = self._by_kernel(conv, x, 2)
        return super().pooled(conv, x) if y is None else y

    def _by_kernel(self, conv: nn.Module, x: Tensor, side: int) -> Tensor | None:
        own = kernels_for(x)
        if own is None or not isinstance(conv, StackedConv2d):
            return None
        y = conv.computed(x, None)
        if not own.pooling.fits(y):
            return own.pooling.plain(y, conv.biases(), side)
        layers = [self.stem, *self.convs]
        following = layers[layers.index(conv) + 1 :][:1]
        outermost = not any(layer.method == "grouped" for layer in following)  # as the next convolution reads it
        return own.pooling.pooled(y, conv.biases(), side, outermost=outermost)

    def split(self) -> None:
        """Splits all layers; to be called again whenever the parameters are moved or replaced."""
        for layer in self.layers():
            layer.split()

    def round(self) -> None:
        """Computes with bfloat16 copies of the weights from now on; again whenever those are moved or replaced."""
        for layer in self.layers():
            layer.round()

    @torch.no_grad()
    def part(self, members: slice, images: Tensor) -> Tensor:
        """Computes logits [G', N, 10] of some members on images [N, 1, 28, 28] that they all see, without gradients."""
        try:
            for layer in self.layers():
                layer.members = members
            return self(images)
        finally:
            for layer in self.layers():
                layer.members = None

    def differentiable(self) -> list[MemberTensors]:
        """Returns what to differentiate, in the order of `parameters`: of each [G, ...] in one, or G of [...]."""
        tensors: list[MemberTensors] = []
        for layer in self.layers():
            tensors += layer.leaves or [[layer.weight if layer.low is None else layer.low], [layer.bias]]
        return tensors

    def low(self) -> list[Tensor | None]:
        """Returns the bfloat16 copies [G, ...] that must follow the parameters, in their order; None without one."""
        return [copy for layer in self.layers() for copy in (layer.low, None)]

    def layers(self) -> Iterator[StackedLayer]:
        """Iterates over the layers, in the order of `parameters`."""
        yield from (module for module in self.modules() if isinstance(module, StackedLayer))

    def choose_methods(self, images: Tensor, repeats: int = 5) -> dict[str, str]:
        """Sets each layer's fastest method for images [N, 1, 28, 28] or [G, N, 1, 28, 28]; returns {layer: method}.

        Timed is a pass of the whole network forwards and backwards, since a method decides in which order its
        output lies in the memory, too. On a GPU as it will run: as a captured graph.
        """
        with torch.no_grad():
            fitting = self._fitting(images)
        for layer, methods in fitting.items():
            layer.method = methods[-1]
        least = _time(self, images, repeats)
        for layer, methods in fitting.items():
            for method in methods[:-1]:
                before, layer.method = layer.method, method
                seconds = _time(self, images, repeats)
                least, layer.method = (seconds, method) if seconds < least else (least, before)
        return self.methods()

    def methods(self) -> dict[str, str]:
        """Returns {layer: method}."""
        return {name: module.method for name, module in self.named_modules() if isinstance(module, StackedLayer)}

    def take_methods(self, methods: dict[str, str]) -> None:
        """Sets each layer's method; one that is not named, or has none of that name, keeps its own."""
        for name, module in self.named_modules():
            if isinstance(module, StackedLayer) and methods.get(name) in ("loop", *module.together):
                module.method = methods[name]

    def _fitting(self, images: Tensor) -> dict[StackedLayer, list[str]]:
        """The methods that take each layer's input."""
        fitting: dict[StackedLayer, list[str]] = {}

        def note(layer: nn.Module, arguments: tuple[Tensor]) -> None:
            assert isinstance(layer, StackedLayer)
            fitting[layer] = layer.applicable(arguments[0])

        hooks = [layer.register_forward_pre_hook(note) for layer in self.layers()]
        self(images)
        for hook in hooks:
            hook.remove()
        return fitting


def _time(net: StackedNet, images: Tensor, repeats: int) -> float:
    """Measures the seconds of a pass of the network forwards and backwards, the fastest of several."""

    def both() -> None:
        wanted = [x for xs in net.differentiable() for x in xs]
        torch.autograd.grad(net(images).sum(), wanted)

    if images.device.type == "cuda":
        both, wait = captured(both), torch.cuda.synchronize
    else:
        wait = lambda: None  # noqa: E731 - nothing to wait for
    seconds = []
    for _ in range(repeats):
        wait()
        started = time.perf_counter()
        both()
        wait()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
