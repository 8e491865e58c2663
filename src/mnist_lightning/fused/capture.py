"""Runs a training step as a CUDA graph: one launch instead of hundreds of kernels launched from Python."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mnist_lightning.errors import one_line
from mnist_lightning.training.runtime import is_out_of_memory

WARM_UP_STEPS = 3  # in the first steps libraries make their handles and plans, which a capture forbids


class CapturedStep:
    """Calls `step(rows)`, rows int64 [S, N]; on a GPU the calls after the first few replay a captured one.

    `step` must read nothing back from the device and must change its tensors in place. Batches of another shape
    than the first (the last of an epoch) are run without the graph, and so are all on a CPU, and all where the
    capture fails, which is said once: nothing was computed then.
    """

    def __init__(self, step: Callable[[Tensor], None]) -> None:
        self.step = step
        self.calls = 0
        self.refused = False
        self.rows: Tensor | None = None
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, rows: Tensor) -> None:
        other = self.rows is not None and rows.shape != self.rows.shape
        if rows.device.type != "cuda" or other or self.refused:
            self.step(rows)
            return
        if self.rows is None:
            self.rows = rows.clone()
            self.stream = torch.cuda.Stream(rows.device)
        self.calls += 1
        if self.calls <= WARM_UP_STEPS:
            _on(self.stream, lambda: self.step(rows))
            return
        if self.graph is None and not self._capture(self.rows):
            self.step(rows)
            return
        assert self.graph is not None
        self.rows.copy_(rows)
        self.graph.replay()

    def _capture(self, rows: Tensor) -> bool:
        graph = torch.cuda.CUDAGraph()
        try:
            with _capturing(graph, self.stream):
                self.step(rows)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            torch.cuda.synchronize(rows.device)
            self.refused = True
            print(
                one_line(f"the step is not captured ({type(error).__name__}: {error}); slower, with the same results")
            )
            return False
        self.graph = graph
        return True


def captured(work: Callable[[], None]) -> Callable[[], None]:
    """Returns what replays `work` as a graph on the current GPU; `work` itself where it cannot be captured."""
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    for _ in range(2):  # libraries make their handles and plans
        _on(stream, work)
    try:
        with _capturing(graph, stream):
            work()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        torch.cuda.synchronize()
        return work
    return graph.replay


def _capturing(graph: torch.cuda.CUDAGraph, stream: torch.cuda.Stream) -> torch.cuda.graph:
    """A context in which nothing is computed, but recorded; other threads may write files meanwhile."""
    return torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local")


def _on(stream: torch.cuda.Stream, work: Callable[[], None]) -> None:
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        work()
    torch.cuda.current_stream().wait_stream(stream)
