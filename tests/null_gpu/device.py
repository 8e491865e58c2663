"""Talks to the null GPU from inside a process that runs on it, and stands in for cuDNN, which it has not."""

from __future__ import annotations

import collections
import ctypes
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

_runtime = ctypes.CDLL(str(Path(os.environ["NULL_GPU"]) / "libnullcuda.so"))
_runtime.nullcuda_note.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
_runtime.nullcuda_limit.argtypes = [ctypes.c_size_t]
_NAMES = ("launched", "captured", "synchronised", "h2d", "d2h", "replayed", "violations", "outside", "used", "peak")
_NAMES += ("bytes_h2d", "bytes_d2h")


def counts() -> dict[str, int]:
    """What was counted since `reset`: launches outside and inside captures, synchronisations, copies, replays, ..."""
    numbers = (ctypes.c_long * len(_NAMES))()
    _runtime.nullcuda_counts(numbers)
    return dict(zip(_NAMES, numbers, strict=True))


def reset() -> None:
    """Sets the counts to zero."""
    _runtime.nullcuda_reset()


def limit(num_bytes: int) -> None:
    """Gives the null GPU this much memory."""
    _runtime.nullcuda_limit(num_bytes)


def kernels(*, captured: bool) -> dict[str, int]:
    """How often each kernel was launched since `reset`, inside or outside captures."""
    length = _runtime.nullcuda_dump(int(captured), None, 0)
    text = ctypes.create_string_buffer(length)
    _runtime.nullcuda_dump(int(captured), text, length)
    lines = (line.split("\t", 1) for line in text.value.decode().splitlines())
    return collections.Counter({name: int(number) for number, name in lines})


def _note(name: str) -> None:
    _runtime.nullcuda_note(name.encode(), torch.cuda.current_stream().cuda_stream)


def _innermost(*tensors: Tensor) -> torch.memory_format:
    """The layout that cuDNN computes in: channels innermost if either tensor's strides say so."""
    return torch.channels_last if any(_says_innermost(t) for t in tensors) else torch.contiguous_format


def _says_innermost(t: Tensor) -> bool:
    """As torch asks of strides, which alone tell an image of one channel from one whose channels are innermost."""
    least, (sizes, strides) = 0, (t.shape, t.stride())
    if strides[1] == 0:
        return False
    for d in (1, 3, 2, 0):
        if sizes[d] == 0 or strides[d] < least or (d == 0 and least == strides[1]):
            return False
        least = strides[d] * max(1, sizes[d])
    return True


def _forward(
    x: Tensor,
    weight: Tensor,
    padding: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    *modes: bool,
) -> Tensor:
    layout = _innermost(x, weight)
    x, weight = (t.contiguous(memory_format=layout) for t in (x, weight))
    side = [(x.shape[2 + i] + 2 * padding[i] - weight.shape[2 + i]) // stride[i] + 1 for i in (0, 1)]
    _note(f"cudnn fprop groups={groups}")
    shape = (x.shape[0], weight.shape[0], *side)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)


def _backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    layout = _innermost(x, weight)
    x, gradient, weight = (t.contiguous(memory_format=layout) for t in (x, gradient, weight))
    of_x = of_weight = of_bias = None
    if mask[0]:
        of_x = torch.empty_like(x)
        _note(f"cudnn dgrad groups={groups}")
    if mask[1]:
        of_weight = torch.empty_like(weight)
        _note(f"cudnn wgrad groups={groups}")
    if mask[2]:
        of_bias = gradient.sum((0, 2, 3))
    return of_x, of_weight, of_bias


_library = torch.library.Library("aten", "IMPL")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that torch's own are replaced: that is what is meant
    _library.impl("cudnn_convolution", _forward, "CUDA")
    _library.impl("convolution_backward", _backward, "CUDA")
