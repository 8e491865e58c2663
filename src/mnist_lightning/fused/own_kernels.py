"""Whether our own kernels can be used here: they need Triton, which comes with torch's builds for GPUs, and a GPU."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor


class OwnKernels(NamedTuple):
    """The modules with our own kernels."""

    updates: ModuleType
    pooling: ModuleType
    products: ModuleType
    scoring: ModuleType


def kernels_for(x: Tensor) -> OwnKernels | None:
    """Returns our own kernels where they can compute with x [...]: on a GPU, but not in float64."""
    return own_kernels() if x.device.type == "cuda" and x.dtype != torch.float64 else None


@cache
def own_kernels() -> OwnKernels | None:
    """Returns our own kernels, tried out on the current GPU; None where they cannot be used, which is said once."""
    try:
        from mnist_lightning.fused import kernels, pooling, products, scoring

        ones = torch.ones(1, 16, device="cuda")
        kernels.step("sgd", ones, ones.clone(), [], kernels.Rates(ones[:, 0], None, None), None)
        pooling.pooled(torch.ones(1, 1, 2, 2, 16, device="cuda").movedim(-1, 2), ones)
    except Exception as error:  # no Triton, no compiler for it, a GPU that it does not know
        print(f"own kernels cannot be used ({type(error).__name__}); slower, with the same results", flush=True)
        return None
    return OwnKernels(kernels, pooling, products, scoring)
