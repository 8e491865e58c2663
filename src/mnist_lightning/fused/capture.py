"""Runs a training step as a CUDA graph: one launch instead of hundreds of kernels launched from Python."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP_STEPS = 3  # in the first steps libraries make their handles and plans, which a capture forbids


class CapturedStep:
    """Calls `step(rows)`, rows int64 [S, N]; on a GPU the calls after the first few replay a captured one.

    `step` must read nothing back from the device and must change its tensors in place. Batches of another shape
    than the first (the last of an epoch) are run without the graph, and so are all on a CPU.
    """

    def __init__(self, step: Callable[[Tensor], None]) -> None:
        self.step = step
        self.calls = 0
        self.rows: Tensor | None = None
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, rows: Tensor) -> None:
        if rows.device.type != "cuda" or (self.rows is not None and rows.shape != self.rows.shape):
            self.step(rows)
            return
        if self.rows is None:
            self.rows = rows.clone()
            self.stream = torch.cuda.Stream(rows.device)
        self.calls += 1
        if self.calls <= WARM_UP_STEPS:
            self._on_side_stream(rows)
            return
        if self.graph is None:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self.stream):  # nothing is computed while it is captured
                self.step(self.rows)
            self.graph = graph
        self.rows.copy_(rows)
        self.graph.replay()

    def _on_side_stream(self, rows: Tensor) -> None:
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self.step(rows)
        torch.cuda.current_stream().wait_stream(self.stream)
