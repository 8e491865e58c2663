"""The study's network: convolutions with pooling, dense layers, ten logits; Keras initialisation."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from mnist_lightning.config import (
    IMAGE_SIZE,
    MNIST,
    NUM_CLASSES,
    ImageSize,
    ModelConfig,
    Shape,
    check_values,
    vanishing,
)
from mnist_lightning.errors import ConfigError

Layer = TypeVar("Layer", bound=nn.Module)


class ConvDenseNet(nn.Module):
    """One 3x3 convolution, `num_conv` more with 2x2 max pooling, `num_dense` hidden layers, one output layer.

    The first convolution has `num_channels` filters and each later one twice as many as the one before. Hidden
    layer i of n has int(2000 (n - i) / (n + 1)) units, i from 0. Everything but the output is followed by ReLU;
    the outputs are logits, the softmax belongs to the losses. Source: section 7.1 of the study.

    Kernels are Glorot uniform and biases zero, as Keras makes them: U(-a, a) with a = sqrt(6 / (fan in + fan out)),
    from Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010). `seed`
    fixes them without touching torch's global generator. Raises ConfigError (a ValueError) for sizes out of range,
    among them a `num_conv` whose pooling leaves no pixel.

    `in_channels`, `image_size` (one number, or height and width) and `num_classes` are MNIST's unless given.
    Shape: float images [N, C, H, W], of MNIST [N, 1, 28, 28] -> logits [N, K], of MNIST [N, 10]. A stack of G networks
    (fused/stacked.py) inherits `forward`: its layers take a further leading dimension.

    >>> import torch
    >>> net = ConvDenseNet(num_channels=4, num_conv=1, num_dense=1, seed=0)
    >>> net(torch.zeros(3, 1, 28, 28)).shape
    torch.Size([3, 10])
    """

    def __init__(
        self,
        num_channels: int = 32,
        num_conv: int = 2,
        num_dense: int = 1,
        *,
        seed: int | None = None,
        in_channels: int = 1,
        image_size: ImageSize = IMAGE_SIZE,
        num_classes: int = NUM_CLASSES,
    ) -> None:
        super().__init__()
        check_values(ModelConfig, num_channels=num_channels, num_conv=num_conv, num_dense=num_dense)
        shape = Shape.of(in_channels, image_size, num_classes)
        if problems := vanishing(num_conv, shape):
            raise ConfigError(problems)
        channels = [num_channels * 2**i for i in range(num_conv + 1)]
        self.stem = _empty(nn.Conv2d, in_channels, channels[0], 3, padding=1)
        self.convs = nn.ModuleList(
            _empty(nn.Conv2d, before, after, 3, padding=1) for before, after in pairwise(channels)
        )
        pixels = (shape.height >> num_conv) * (shape.width >> num_conv)  # 28, 14, 7, 3, 1: pooling floors
        widths = [channels[-1] * pixels, *dense_widths(num_dense)]
        self.denses = nn.ModuleList(_empty(Dense, before, after) for before, after in pairwise(widths))
        self.output = _empty(Dense, widths[-1], num_classes)
        initialise(self, seed)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - a stub is missing

    def forward(self, images: Tensor) -> Tensor:
        """Computes logits [N, K] of float images [N, C, H, W]; in a stack [G, N, K]."""
        # `by_hand.ByHand` does the same, and goes back
        x = self.rectified(self.stem, channels_innermost(images))  # [N,C,H,W]
        for conv in self.convs:
            x = self.pooled(conv, x)  # [N,2C,H/2,W/2]
        x = x.flatten(-3)
        for layer in self.denses:
            x = torch.relu(layer(x))
        return self.output(x)  # [N,K]

    def rectified(self, conv: nn.Module, x: Tensor) -> Tensor:
        """Convolves [N, C, H, W] and rectifies -> [N, C', H, W]; in a stack with a leading [G]."""
        return torch.relu(conv(x))

    def pooled(self, conv: nn.Module, x: Tensor) -> Tensor:
        """Convolves [N, C, H, W], pools and rectifies -> [N, C', H // 2, W // 2]; in a stack with a leading [G].

        ReLU after the pooling: the same values and gradients from a quarter of the elements.
        """
        return torch.relu(max_pool(conv(x)))


class Dense(nn.Linear):
    """nn.Linear, as W x^T on a CPU: for small batches its products are the faster ones, forwards and backwards."""

    def forward(self, input: Tensor) -> Tensor:
        """[N, A] -> [N, B]."""
        return dense(input, self.weight, self.bias)


def dense(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A dense layer: inputs [N, A], weight [B, A], bias [B] -> [N, B].

    Of 64 x 6272 by 6272 x 1666 the forward product takes 12.3 ms so and 18.4 ms by nn.functional.linear, that of the
    inputs' gradient 11.9 and 20.9 ms (two threads of an AMD EPYC, medians of 9). Exported, to run anywhere, it is the
    plain layer.
    """
    if x.device.type == "cpu" and x.ndim == 2 and not torch.compiler.is_exporting():
        return torch.addmm(bias.unsqueeze(1), weight, x.t()).t()
    return nn.functional.linear(x, weight, bias)


def channels_innermost(images: Tensor) -> Tensor:
    """Returns the images [..., C, H, W] with strides that make a convolution's output have its channels innermost.

    On a CPU torch pools such outputs 10 to 20 times faster, and convolves them no slower (benchmarks/layouts.py). A
    single channel fits both layouts, so the strides must say which is meant. Exported they are as they come.
    """
    if torch.compiler.is_exporting():
        return images
    if images.shape[-3] != 1:
        return images.movedim(-3, -1).contiguous().movedim(-1, -3)
    return images.squeeze(-3).unsqueeze(-1).movedim(-1, -3)


def max_pool(x: Tensor) -> Tensor:
    """2x2 max pooling: [..., C, H, W] -> [..., C, H // 2, W // 2]."""
    if x.ndim == 4:
        return nn.functional.max_pool2d(x, 2)
    if x.ndim == 5 and x.stride(0) < x.stride(1):  # a stack [G,N,C,H,W] in the memory [N,H,W,G,C]: without a copy
        y = nn.functional.max_pool2d(x.transpose(0, 1).flatten(1, 2), 2)
        return y.unflatten(1, (x.shape[0], -1)).transpose(0, 1)
    return nn.functional.max_pool2d(x.flatten(0, -4), 2).unflatten(0, x.shape[:-3])


def _empty(kind: type[Layer], *sizes: int, **options: int) -> Layer:
    """Makes a layer without initial values: torch would draw them from the global generator, for nothing."""
    return skip_init(
        kind,  # pyright: ignore[reportReturnType] - skip_init returns what it is given
        *sizes,
        device=torch.get_default_device(),
        **options,
    )


def dense_widths(num_dense: int) -> list[int]:
    """Units of the hidden dense layers by the study's formula: 1: [1000], 3: [1500, 1000, 500]."""
    return [int(2000 * (num_dense - i) / (num_dense + 1)) for i in range(num_dense)]


@torch.no_grad()
def initialise(model: nn.Module, seed: int | None = None) -> None:
    """Glorot uniform kernels, U(-a, a) with a = sqrt(6 / (fan_in + fan_out)), and zero biases, in place.

    Source: Glorot and Bengio 2010, Keras' default. A fan counts the kernel's receptive field. Without a seed
    the numbers come from torch's global generator. Drawn on the CPU: a seed means the same on every device.
    """
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)) and not module.weight.is_meta:
            kernel = torch.empty(module.weight.shape, dtype=module.weight.dtype, device="cpu")
            module.weight.copy_(nn.init.xavier_uniform_(kernel, generator=generator))
            if module.bias is not None:
                module.bias.zero_()


def count_parameters(model: nn.Module) -> int:
    """Counts trainable parameters, as Keras' `count_params` does for this network."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@cache
def parameters_of(num_channels: int, num_conv: int, num_dense: int, shape: Shape = MNIST) -> int:
    """Counts the parameters of a network of this size, for such images, without making it. Raises ConfigError."""
    with torch.device("meta"):
        return count_parameters(ConvDenseNet(num_channels, num_conv, num_dense, **shape.arguments()))
