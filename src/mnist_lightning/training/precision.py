"""The precision of a training where none is asked for: bfloat16 where the hardware is faster in it."""

from __future__ import annotations

import platform
import time
from functools import cache

import torch

from mnist_lightning.config import RunConfig
from mnist_lightning.numerics.losses import mse
from mnist_lightning.numerics.model import ConvDenseNet
from mnist_lightning.training.runtime import keep_memory, keep_to_share

_X86 = ("x86_64", "amd64", "i386", "i686", "x86")
_STEPS = 4  # in turns; the first of each is not counted
# bf16 must take less than this share of float32's time: it pays with digits, and noise must not decide, since a run
# that goes on after an interrupt asks again
_SHARE = 0.75


def precision_of(config: RunConfig) -> str:
    """The precision that a run has here, in Lightning's words."""
    given = str(config.trainer.precision)
    return fastest_precision(str(config.trainer.accelerator)) if given == "auto" else given


def fastest_precision(accelerator: str) -> str:
    """Chooses bf16-mixed where the hardware multiplies bf16 matrices faster than float32 ones, otherwise 32-true.

    Of a processor that torch cannot tell this of, by a second's measurement, once a process. benchmarks/precision.py
    measures that both learn the same.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    elif accelerator == "cpu" or (accelerator == "auto" and not torch.backends.mps.is_available()):
        # private, and not in every version; they know nothing of other processors than Intel's and AMD's
        asked = [getattr(torch.cpu, f"_is_{unit}_supported", None) for unit in ("amx_tile", "avx512_bf16")]
        if platform.machine().lower() in _X86 and all(asked):
            supported = any(ask() for ask in asked if ask is not None)
        else:
            supported = bf16_is_faster()
    else:
        supported = False
    return "bf16-mixed" if supported else "32-true"


@cache
def bf16_is_faster() -> bool:
    """Whether training steps of a small network of the study's take less time in bf16-mixed here; about a second."""
    keep_memory()
    keep_to_share()
    net, images, labels = ConvDenseNet(32, 2, 1, seed=0), torch.linspace(0, 1, 50_176), torch.arange(64) % 10
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(_STEPS):
        for low, taken in seconds.items():
            started = time.perf_counter()
            with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16, enabled=low):
                loss = mse(net(images.view(64, 1, 28, 28)), labels)
            loss.backward()
            net.zero_grad()
            taken.append(time.perf_counter() - started)
    return min(seconds[True][1:]) < _SHARE * min(seconds[False][1:])
