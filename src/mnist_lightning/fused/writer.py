"""Writes files in the background while a GPU trains, in the order in which they were given."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

from torch import Tensor

from mnist_lightning.training.checkpoints import DurableCheckpoints

_AT_ONCE = 4  # files that are made and synced at once, where it may be
_MOST_WAITING = 64  # then whoever gives more waits: what is to be written is in the memory until it is


class Writer:
    """Does pieces of work one after the other, in a thread of its own, or at once where `background` is False.

    A context. What a piece of work raises reaches whoever gives the next one, or `wait`s, or leaves the context; what
    was given after it is dropped, as if the program had ended there. Left by an error, what was given before is done.
    """

    def __init__(self, *, background: bool) -> None:
        self.background = background
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(_MOST_WAITING)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._write, name="writer", daemon=True)

    def __enter__(self) -> Writer:
        if self.background:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.background:
            self._waiting.put(None)
            self._thread.join()
        if error is None:
            self._raise()

    def __call__(self, work: Callable[[], None]) -> None:
        """Does `work`, in its turn. Raises what an earlier piece of work has raised."""
        if not self.background:
            work()
            return
        self._raise()
        self._waiting.put(work)

    def together(self, works: Iterable[Callable[[], None]]) -> None:
        """Does pieces of work that do not need each other, several at a time; returns when everything is done.

        Raises what one of them has raised, when those that were begun have ended.
        """
        self.wait()
        if not self.background:
            for work in works:
                work()
            return
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            doing = [pool.submit(work) for work in works]
            try:
                for done in doing:
                    done.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def wait(self) -> None:
        """Returns when everything that was given is done. Raises what a piece of work has raised."""
        if self.background:
            self._waiting.join()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _write(self) -> None:
        while (work := self._waiting.get()) is not None:
            try:
                if self._error is None:
                    work()
            except BaseException as error:  # KeyboardInterrupt among them: it is for the training's thread
                self._error = error
            finally:
                self._waiting.task_done()


class QueuedCheckpoints(DurableCheckpoints):
    """Saves Lightning's checkpoints through a Writer; their tensors are copied before training goes on."""

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self.writer = writer

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, *args: Any, **kw: Any) -> None:
        kept = on_cpu(checkpoint) if self.writer.background else checkpoint
        self.writer(lambda: super(QueuedCheckpoints, self).save_checkpoint(kept, path, *args, **kw))


def on_cpu(values: Any) -> Any:
    """Copies the tensors [...] in nested dictionaries to the CPU; everything else is as it was."""
    if isinstance(values, Mapping):
        return {key: on_cpu(value) for key, value in values.items()}
    return values.detach().to("cpu", copy=True) if isinstance(values, Tensor) else values
