"""One thing at a time, off the event loop, of which the newest wins."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class SupersededError(Exception):
    """A newer call has taken the place of this one, which was still waiting."""


class Worker:
    """A thread that does one call after the other; of those that wait only the newest is done.

    It is a daemon: whoever ends the process does not wait for torch to be imported. Calls come from one event loop.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._work = threading.Condition()
        self._waiting: tuple[Callable[[], Any], asyncio.Future[Any]] | None = None
        self._thread: threading.Thread | None = None
        self.is_busy = False

    async def call(self, function: Callable[[], Answer]) -> Answer:
        """What the function returns, or raises. Raises SupersededError if another call came before it was begun."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        with self._work:
            superseded, self._waiting = self._waiting, (function, future)
            self._work.notify()
        if superseded and not superseded[1].done():
            superseded[1].set_exception(SupersededError)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        return await future

    def _run(self) -> None:
        while True:
            with self._work:
                self.is_busy = False
                while self._waiting is None:
                    self._work.wait()
                (function, future), self._waiting, self.is_busy = self._waiting, None, True
            try:
                tell, told = _answer, function()
            except BaseException as error:  # whoever called it says so
                tell, told = _complain, error
            try:
                future.get_loop().call_soon_threadsafe(tell, future, told)
            except RuntimeError:  # the loop has ended meanwhile
                return


def _answer(future: asyncio.Future[Any], answer: Any) -> None:
    if not future.done():  # nobody waits any more
        future.set_result(answer)


def _complain(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))
