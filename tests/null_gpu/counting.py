"""Counts what a training step of a group does on the null GPU: nodes, bytes, synchronisations, seconds by a model.

Bytes are those of each operation's inputs and outputs, read and written once: facts. Seconds are a roofline of an H200
with the constants below: a model, good to some 30 %.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mnist_lightning import RunConfig
from mnist_lightning.fused import kernels, pooling, products, scoring
from mnist_lightning.fused.engine import EVALUATED_STEPS, FusedClassifier
from mnist_lightning.fused.stacked import StackedLayer
from mnist_lightning.numerics import model
from null_gpu import device
from null_gpu.group import classifier

BANDWIDTH = 3.8e12  # bytes a second, of 4.8 by the data sheet
CACHE = 5e12  # bytes a second of the second cache, through which the programs of a product read their parts
WIDE, NARROW = 330e12, 170e12  # operations a second of a convolution with above and below 4 GFLOP a member
GROUPED = (
    250e12  # the same of a small one in groups, where cuDNN has a good kernel for it; it may be three times slower
)
UPDATE = 0.9  # of the bandwidth that an update kernel reaches
NODE = 1.2e-6  # seconds between two nodes of a graph
LEAST = 2e-6  # seconds of the smallest kernel
CLASSES = ("optimizer", "convolution", "dense", "casts", "copies", "pool, ReLU, bias", "loss, metrics")
_VIEWS = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "lift_fresh", "_unsafe_view"}
_VIEWS |= {"is_same_size", "_reshape_alias", "detach", "alias"}


def num_bytes(t: Tensor) -> int:
    """Bytes of the memory that a tensor [...] covers: what is repeated by a stride of 0 counts once."""
    count = t.element_size() if t.numel() else 0
    for size, stride in zip(t.shape, t.stride(), strict=True):
        count *= size if stride else 1
    return count


class _Launched:
    """`kernel[grid](*arguments)`, counted by `how(grid, *arguments)`."""

    def __init__(self, how: Any) -> None:
        self.how = how

    def __getitem__(self, grid: Any) -> Any:
        return lambda *arguments, **options: self.how(grid, *arguments)


class Counted(TorchDispatchMode):
    """Adds up operations, bytes and modelled seconds of all that runs on the GPU, by CLASSES."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: collections.Counter[str] = collections.Counter()
        self.bytes: collections.Counter[str] = collections.Counter()
        self.seconds: dict[str, float] = dict.fromkeys(CLASSES, 0.0)
        self.updating = False
        self.by_kernel = 0  # numbers that our own kernels have updated

    def add(self, kind: str, seconds: float, count: int, nodes: int = 1) -> None:
        self.seconds[kind] += max(seconds, LEAST * nodes) + NODE * nodes
        self.bytes[kind] += count
        self.nodes[kind] += nodes

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        ins, outs = ([t for t in tree_leaves(x) if isinstance(t, Tensor) and t.is_cuda] for x in ((args, kwargs), out))
        if not func.is_view and name not in _VIEWS and (ins or outs):
            self._count(name, args, ins, outs)
        return out

    def _count(self, name: str, args: Any, ins: Sequence[Tensor], outs: Sequence[Tensor]) -> None:
        count = sum(map(num_bytes, [*ins, *outs]))
        if name in ("fill_", "zero_", "full", "zeros", "ones", "arange"):
            count = sum(map(num_bytes, outs))
        elif name == "copy_":
            count = num_bytes(args[0]) + num_bytes(args[1])
        if name == "convolution":
            self._convolution(args[0], args[1], outs[0], args[2] is not None)
        elif name == "convolution_backward":
            self._backward(args)
        elif name in ("bmm", "baddbmm", "mm", "addmm"):
            self.add("dense", count / (3.4e12 if "b" in name else 1.2e12), count)
        else:
            self.add(self._class(name), count / BANDWIDTH * (1.4 if "pool" in name else 1), count)

    def _class(self, name: str) -> str:
        if self.updating:
            return "optimizer"
        if name == "_to_copy":
            return "casts"
        if name in ("stack", "cat", "clone", "copy_"):
            return "copies"
        return CLASSES[5] if "pool" in name or name in ("relu", "threshold_backward") else CLASSES[6]

    def _convolution(self, x: Tensor, weight: Tensor, y: Tensor, biased: bool) -> None:
        seconds, memory = self._product(x, weight, y)
        stem = weight.shape[1] == 1
        self.add("convolution", memory / BANDWIDTH * 2 if stem else max(seconds, memory / BANDWIDTH), memory)
        if biased:
            self.add(CLASSES[5], 2 * num_bytes(y) / BANDWIDTH, 2 * num_bytes(y))
        self._turned(x)

    def _backward(self, args: Any) -> None:
        dy, x, weight, mask = args[0], args[1], args[2], args[-1]
        seconds, memory = self._product(x, weight, dy)
        stem = weight.shape[1] == 1
        if mask[0]:
            self.add("convolution", max(seconds, memory / BANDWIDTH), memory)
        slow = memory / BANDWIDTH * 3 if stem else max(seconds / 0.7, memory / BANDWIDTH)
        self.add("convolution", slow, memory)
        if mask[2]:
            self.add(CLASSES[5], num_bytes(dy) / BANDWIDTH, num_bytes(dy), 2)
        self._turned(x, dy)

    def _product(self, x: Tensor, weight: Tensor, y: Tensor) -> tuple[float, int]:
        operations, members = 2 * 9 * y.numel() * weight.shape[1], x.shape[1] // weight.shape[1]
        rate = WIDE if operations / members > 4e9 else NARROW if members == 1 else GROUPED
        return operations / rate, num_bytes(x) + num_bytes(weight) + num_bytes(y)

    def _turned(self, *tensors: Tensor) -> None:
        """What cuDNN copies first, to have the channels innermost."""
        for t in tensors:
            if not t.is_contiguous(memory_format=torch.channels_last):
                self.add("copies", 2 * num_bytes(t) / BANDWIDTH * 1.3, 2 * num_bytes(t))

    def once(self, kind: str, count: int) -> _Launched:
        """Stands in for a kernel whose first `count` arguments are read or written once."""

        def how(grid: Any, *arguments: Any) -> None:
            size = sum(num_bytes(t) for t in arguments[:count])
            self.add(kind, size / BANDWIDTH / UPDATE, size)

        return _Launched(how)

    def product(self, terms: int) -> _Launched:
        """Stands in for a kernel of `products.py`, whose last constants are a program's rows, columns and depth.

        The argument at `terms` says how many numbers each of its sums has, in ninths if it is a convolution.
        """

        def how(grid: tuple[int, ...], *arguments: Any) -> None:
            memory, (rows, wide, deep) = sum(num_bytes(t) for t in arguments[:3]), arguments[-3:]
            steps = grid[0] * grid[1] * grid[2] * -(-arguments[terms] // deep) * (9 if terms == 10 else 1)
            read = 2 * steps * (rows + wide) * deep  # of two bytes each
            operations = 2 * steps * rows * wide * deep
            self.add("convolution", max(operations / WIDE, read / CACHE, memory / BANDWIDTH), memory)

        return _Launched(how)

    def update(self, name: str, p: Tensor, g: Tensor, state: Sequence[Tensor], made: Any, low: Any, **_: Any) -> None:
        """Stands in for `kernels.step`: each number is read and written once."""
        count = num_bytes(g) + 2 * sum(map(num_bytes, (p, *state))) + (0 if low is None else num_bytes(low))
        self.add("optimizer", count / BANDWIDTH / UPDATE, count)
        self.by_kernel += p.numel()


@contextmanager
def counted(module: FusedClassifier) -> Iterator[Counted]:
    """Counts what the module's steps do, updates by our own kernels included."""
    mode = Counted()
    update = module.optimizer.update

    def updating(*args: Any) -> None:
        mode.updating = True
        update(*args)
        mode.updating = False

    with (
        mode,
        mock.patch.object(kernels, "step", mode.update),
        mock.patch.object(pooling, "_forward", mode.once(CLASSES[5], 4)),
        mock.patch.object(pooling, "_backward", mode.once(CLASSES[5], 4)),
        mock.patch.object(scoring, "_scores", mode.once(CLASSES[6], 5)),
        mock.patch.object(products, "_convolve", mode.product(10)),
        mock.patch.object(products, "_weights", mode.product(7)),
        mock.patch.object(module.optimizer, "update", updating),
    ):
        yield mode


METHODS = {
    "together": {"stem": "shared", "convs": "grouped", "denses": "batched"},
    "product": {"stem": "shared", "convs": "product", "denses": "batched"},
    "loop": {"stem": "shared", "convs": "loop", "denses": "batched"},
}


def steps(configs: Sequence[RunConfig]) -> dict[str, Any]:
    """What one step of a group does, {METHODS: see `step`}."""
    said = {}
    for name, methods in METHODS.items():
        said[name] = step(configs, methods)
        torch.cuda.empty_cache()
    return said


def step(configs: Sequence[RunConfig], methods: dict[str, str]) -> dict[str, Any]:
    """What one step of a group does, with a method for each kind of layer: `stem`, `convs`, `denses`."""
    with mock.patch.object(model, "initialise"), torch.device("cuda"):  # the weights are not looked at
        module = classifier(configs, {"stem": "loop"})
    for name, layer in module.net.named_modules():
        if isinstance(layer, StackedLayer):
            layer.method = methods["denses" if name == "output" else name.split(".")[0]]
    rows = next(iter(module.rows))
    module.step(rows)  # what is made at the first step
    with counted(module) as mode:
        module.step(rows)
    for _ in range(3):
        module.captured(rows)
    device.reset()
    module.captured(rows)
    said = device.counts()
    device.reset()
    module.captured(rows)
    replayed = device.counts()
    module.evaluate(module.dataset.val)  # the images are brought there
    device.reset()
    module.evaluate(module.dataset.val)
    evaluated = device.counts()
    batches = -(-len(module.dataset.val) // (EVALUATED_STEPS * module.rows.batch_size))
    return {
        "evaluation": {
            "launches of a batch": evaluated["launched"] / batches,
            "synchronisations": evaluated["synchronised"],
            "bytes brought to the GPU": evaluated["bytes_h2d"],
        },
        "nodes": said["captured"],
        "violations": said["violations"] + said["outside"],
        "synchronisations": replayed["synchronised"],
        "launches": replayed["launched"],
        "gigabytes": {kind: mode.bytes[kind] / 1e9 for kind in CLASSES},
        "milliseconds": {kind: mode.seconds[kind] * 1e3 for kind in CLASSES},
        "share_of_kernels": mode.by_kernel / sum(p.numel() for p in module.net.parameters()),
    }
