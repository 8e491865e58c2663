"""Loops that torch's compiler makes of a few operations, where this machine has a C++ compiler.

Not by `torch.compile`, which at each call looks for 0.1 ms whether what it has compiled still fits, and takes Python's
numbers for inputs: a function's graph has them as constants, and sizes and strides of any value.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from mnist_lightning.errors import one_line

# In this process; a loop has as many threads as torch has when it is called
_COMPILER: dict[str, Any] = {"compile_threads": 1, "cpp.dynamic_threads": True, "cpp_wrapper": False}
Loop = Callable[..., Any]


def compiled(what: str, function: Loop, given: Sequence[Tensor], is_right: Callable[[Loop], bool]) -> Loop | None:
    """Compiles a function of tensors [...]; None, and a line that names it as `what`, where that fails or is wrong.

    The function returns several tensors or None. Where there is no compiler, or nobody wants one, there is no line.
    Sizes of `given` that are equal stay equal, and so do strides; the larger they are, the more the compiler makes of
    threads and long registers.
    """
    if os.environ.get("TORCH_COMPILE_DISABLE") == "1" or os.environ.get("TORCHDYNAMO_DISABLE") == "1":
        return None  # torch's own switches
    try:
        with torch.no_grad(), _quiet():
            loop = _loop(function, given)
            if is_right(loop):
                return loop
            print(f"{what}, compiled, computes something else; slower, with the same results", flush=True)
    except Exception as error:  # no compiler, or one that fails, or no place for what it makes: there is no one type
        if not _has_no_compiler(error):
            why = one_line(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
            print(f"{what} is not compiled ({why:.120}); slower, with the same results", flush=True)
    return None


def _loop(function: Loop, given: Sequence[Tensor]) -> Loop:
    """The compiled function as it is within what torch puts around it, which takes 0.1 ms of a small network's step.

    That would tell autograd which tensors have changed: whoever calls the loop has to.
    """
    # half a second, for nothing where nothing is compiled
    from torch._guards import TracingContext, tracing
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx_inner
    from torch._inductor.decomposition import select_decomp_table
    from torch.func import functionalize
    from torch.fx.experimental.proxy_tensor import make_fx

    # a result is wanted, and a function without annotations: torch's cache cannot name those of a tuple
    pure = functionalize(lambda *tensors: function(*tensors) or ())
    graph = make_fx(pure, select_decomp_table(), tracing_mode="symbolic")(*given)
    inputs = [node.meta["val"] for node in graph.graph.nodes if node.op == "placeholder"]
    with config.patch(_COMPILER), tracing(TracingContext(inputs[0].fake_mode)):
        loop: Any = compile_fx_inner(graph, inputs, is_inference=True)
    return lambda *tensors: loop(list(tensors))


def _has_no_compiler(error: BaseException | None) -> bool:
    """Whether the error is, or comes from, that of torch's compiler which finds no C++ compiler."""
    while error is not None:
        if type(error).__name__ == "InvalidCxxCompiler" or "InvalidCxxCompiler" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back a warning of torch's compiler that a CUDA build has found no GPU."""
    logger = logging.getLogger("torch.utils.cpp_extension")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
