"""The server in this process: whom it waits for, and how long."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason='pip install "mnist-lightning[serve]"')

from mnist_lightning.serve import server
from mnist_lightning.serve.app import Page
from mnist_lightning.serve.port import own_socket


@pytest.mark.parametrize(
    "before", [b"", b"GET /serve.css HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n"], ids=["first", "next"]
)
@pytest.mark.parametrize("begun", [b"", b"GET /state HTTP/1.1\r\nHost: "])
def test_a_request_that_is_begun_and_not_ended_is_cut_off_and_the_server_goes_on_until_a_signal(
    before: bytes, begun: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_HEAD_TIMEOUT", 0.3)
    monkeypatch.setattr(server, "_IDLE_TIMEOUT", 1)

    async def scene() -> int:
        listening = own_socket(0)
        port = listening.getsockname()[1]
        serving = asyncio.create_task(server._until_a_signal(Page(tmp_path), listening))
        reading, writing = await asyncio.open_connection("127.0.0.1", port)
        if before:
            writing.write(before % port)
            assert (await reading.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        writing.write(begun)
        with contextlib.suppress(ConnectionResetError):
            await asyncio.wait_for(reading.read(), 20)
        writing.close()
        reading, writing = await asyncio.open_connection("127.0.0.1", port)
        writing.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % port)
        assert (await asyncio.wait_for(reading.read(), 20)).startswith(b"HTTP/1.1 200 OK")
        writing.close()
        os.kill(os.getpid(), signal.SIGTERM)
        return await asyncio.wait_for(serving, 20)

    assert asyncio.run(scene()) == 143
