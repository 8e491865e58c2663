"""The recipe of the Keras traces: inputs, initial weights, and Keras' tensor layouts turned into torch's."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mnist_lightning.numerics import model as model_module
from mnist_lightning.numerics.model import ConvDenseNet

BATCH, NUM_IMAGES, STEPS = 32, 256, 10


@cache
def traces() -> dict[str, Any]:
    with np.load(Path(__file__).parent / "keras_traces.npz") as archive:
        return dict(archive)


def configurations() -> list[tuple[int, int, int, str, str, float]]:
    """(num_channels, num_conv, num_dense, optimizer, loss, lr) of each of the 72 traces."""
    return [(int(c), int(k), int(d), o.lower(), loss, float(lr)) for c, k, d, o, loss, lr in traces()["configurations"]]


def inputs() -> tuple[Tensor, Tensor]:
    """uint8 images [256, 1, 28, 28] with some class structure, int64 labels [256]."""
    rng = np.random.default_rng([0, 1])
    labels = rng.integers(0, 10, NUM_IMAGES)
    prototypes = rng.random((10, 28, 28)) < 0.2
    images = (prototypes[labels] * 200 + rng.random((NUM_IMAGES, 28, 28)) * 55).astype(np.uint8)
    assert images.astype(np.int64).sum() == traces()["images_sum"]
    return torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels)


def keras_shapes(net: ConvDenseNet) -> list[tuple[int, ...]]:
    """Shapes of Keras' `get_weights()`: kernels [3, 3, in, out] and [in, out], each followed by its bias."""
    shapes: list[tuple[int, ...]] = []
    for module in (net.stem, *net.convs):
        shapes += [(3, 3, module.in_channels, module.out_channels), (module.out_channels,)]
    for module in (*net.denses, net.output):
        shapes += [(module.in_features, module.out_features), (module.out_features,)]
    return shapes


def load_initial_weights(net: ConvDenseNet) -> None:
    """Glorot uniform kernels drawn in Keras' order and layout, put where torch keeps them; biases zero."""
    rng = np.random.default_rng([0, 2])
    weights = []
    for shape in keras_shapes(net):
        if len(shape) == 1:
            weights.append(np.zeros(shape))
            continue
        limit = np.sqrt(6.0 / (np.prod(shape[:-2]) * (shape[-2] + shape[-1])))
        weights.append((rng.random(shape) * 2 - 1) * limit)
    last: Any = net.convs[-1].out_channels if len(net.convs) else net.stem.out_channels
    modules: list[Any] = [net.stem, *net.convs, *net.denses, net.output]
    side = model_module.IMAGE_SIZE >> len(net.convs)
    first_dense = True
    with torch.no_grad():
        for module in modules:
            kernel, bias = torch.from_numpy(weights.pop(0)), torch.from_numpy(weights.pop(0))
            if kernel.ndim == 4:
                kernel = kernel.permute(3, 2, 0, 1)
            elif first_dense:  # Keras flattens (h, w, c), torch (c, h, w)
                kernel = kernel.reshape(side, side, last, -1).permute(2, 0, 1, 3).reshape(kernel.shape).T
                first_dense = False
            else:
                kernel = kernel.T
            module.weight.copy_(kernel)
            module.bias.copy_(bias)
