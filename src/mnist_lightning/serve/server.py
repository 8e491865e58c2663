"""The server: uvicorn on a socket of ours, until a signal ends it at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mnist_lightning.serve.app import Page, make_app

_HEAD_TIMEOUT = 10.0  # seconds for the head of a request
_IDLE_TIMEOUT = 5  # seconds that a connection is kept between two requests
_LAST_WORK = 0.2  # seconds that a thread may take to its end


class _Patient(H11Protocol):
    """HTTP as uvicorn speaks it, to whoever sends a request within seconds."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._late = self.loop.call_later(_HEAD_TIMEOUT, transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        is_waiting = self.conn.their_state is h11.IDLE  # for the rest of a head
        if self._late is not None and not is_waiting:
            self._late.cancel()
            self._late = None
        elif self._late is None and is_waiting:
            self._late = self.loop.call_later(_HEAD_TIMEOUT, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._late is not None:
            self._late.cancel()


class _Server(uvicorn.Server):
    """Leaves the signals to us: uvicorn waits for open connections."""

    def capture_signals(self) -> Any:
        return contextlib.nullcontext()


def serve(root: Path, listening: socket.socket) -> int:
    """Serves the page of a directory until a signal comes; the exit code for that.

    Where a thread is still at work then, as one that imports torch, the process ends here and now: it has written
    nothing that could be lost.
    """
    page = Page(root)
    code = asyncio.run(_until_a_signal(page, listening))
    deadline = time.monotonic() + _LAST_WORK
    while page.is_busy and time.monotonic() < deadline:
        time.sleep(0.01)
    if page.is_busy:
        sys.stdout.flush()
        os._exit(code)
    return code


async def _until_a_signal(page: Page, listening: socket.socket) -> int:
    app = make_app(page, listening.getsockname()[1])
    config = uvicorn.Config(
        app,  # pyright: ignore[reportArgumentType] - uvicorn's names for the same types
        http=_Patient,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE_TIMEOUT,
    )
    loop = asyncio.get_running_loop()
    signalled: asyncio.Future[int] = loop.create_future()
    serving = asyncio.create_task(_Server(config).serve([listening]))
    with _signals(lambda number: loop.call_soon_threadsafe(_note, signalled, number)):
        await asyncio.wait({serving, signalled}, return_when=asyncio.FIRST_COMPLETED)
    listening.close()
    if not signalled.done():  # it never ends by itself
        serving.result()
    return 128 + signalled.result()


def _note(signalled: asyncio.Future[int], number: int) -> None:
    if not signalled.done():
        signalled.set_result(number)


@contextmanager
def _signals(tell: Any) -> Iterator[None]:
    """Has Ctrl-C and its like told, unless they are ignored, as nohup wants it."""
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    heeded = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, _: tell(number)) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
