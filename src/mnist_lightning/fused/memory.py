"""Estimates how many members fit into a device's memory."""

from __future__ import annotations

import os

import torch

from mnist_lightning.config import RunConfig, Shape
from mnist_lightning.data.datasets import shape_of
from mnist_lightning.numerics.model import dense_widths, parameters_of
from mnist_lightning.training.trainer import one_device

# Weights, their best, gradients, two states of the optimizer, and one more while gradients are put together
_COPIES_OF_WEIGHTS = 6
# Each layer's outputs as they are, pooled or rectified, stacked, and again as gradients
_COPIES_OF_OUTPUTS = 4
_SHARE_OF_FREE = 0.7  # of the free memory: the rest is for the libraries' work space and for our estimate's error


def largest_group(config: RunConfig, free: int | None = None) -> int:
    """Returns how many members like this configuration fit into `free` bytes (default: what its device has free)."""
    free = free_bytes(config) if free is None else free
    return max(1, int(_SHARE_OF_FREE * free) // bytes_per_member(config))


def bytes_per_member(config: RunConfig) -> int:
    """Estimates, from above, the bytes that one member of a group needs for training."""
    m = config.model
    width = 8 if config.trainer.precision == "64-true" else 4
    shape = shape_of(config.data)
    outputs = config.data.batch_size * _outputs_per_image(m.num_channels, m.num_conv, m.num_dense, shape)
    weights = parameters_of(m.num_channels, m.num_conv, m.num_dense, shape)
    return width * (_COPIES_OF_WEIGHTS * weights + _COPIES_OF_OUTPUTS * outputs)


def _outputs_per_image(num_channels: int, num_conv: int, num_dense: int, shape: Shape) -> int:
    """Counts the outputs of all layers for one image: the stem, each later convolution before its pooling, denses."""
    pixels = [(shape.height >> i) * (shape.width >> i) for i in range(num_conv + 1)]
    convs = sum(num_channels * 2 ** (i + 1) * pixels[i] for i in range(num_conv))
    return num_channels * pixels[0] + convs + sum(dense_widths(num_dense))


def free_bytes(config: RunConfig) -> int:
    """Returns the free memory of the GPU that the configuration will use, or of this machine."""
    if device_type(config) == "cuda":
        return torch.cuda.mem_get_info(device_index(config))[0]
    try:
        with open("/proc/meminfo") as file:
            sizes = dict(line.split(":") for line in file)
        return int(sizes["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # not Linux: all but what others may have is a guess
        names = getattr(os, "sysconf_names", {})
        if {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= names.keys():
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
        return 4 * 2**30


def device_type(config: RunConfig) -> str:
    """Returns `cuda` or `cpu`, as Lightning will choose."""
    asked = str(config.trainer.accelerator)
    return "cuda" if asked in ("auto", "gpu", "cuda") and torch.cuda.is_available() else "cpu"


def device_index(config: RunConfig) -> int:
    """Returns the number of the GPU that a group will use: the first that `trainer.devices` names, otherwise 0."""
    devices = one_device(config.trainer.devices)
    return int(devices[0]) if isinstance(devices, list) else 0
