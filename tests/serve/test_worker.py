"""The thread in which drawings are read, and what of a body is read at all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mnist_lightning.serve.guard import BodyError, body_of
from mnist_lightning.serve.worker import SupersededError, Worker


def test_one_call_is_done_at_a_time_and_of_those_that_wait_the_newest_wins() -> None:
    async def scene() -> list[Any]:
        worker, go, begun = Worker("test"), threading.Event(), threading.Event()
        done: list[str] = []

        def slow() -> str:
            begun.set()
            go.wait(10)
            return "first"

        first = asyncio.create_task(worker.call(slow))
        await asyncio.to_thread(begun.wait, 10)
        assert worker.is_busy
        others = [asyncio.create_task(worker.call(lambda name=name: done.append(name))) for name in ("second", "third")]
        await asyncio.sleep(0)
        go.set()
        told = await asyncio.gather(first, *others, return_exceptions=True)
        assert done == ["third"]
        return told

    first, second, third = asyncio.run(scene())
    assert (first, third) == ("first", None)
    assert isinstance(second, SupersededError)


def test_an_error_goes_to_whoever_called_and_the_next_call_is_done() -> None:
    async def scene() -> int:
        worker = Worker("test")
        with pytest.raises(ZeroDivisionError):
            await worker.call(lambda: 1 // 0)
        return await worker.call(lambda: 1)

    assert asyncio.run(scene()) == 1


def read(*parts: dict[str, Any], most: int = 10, seconds: float = 5.0) -> bytes:
    async def messages() -> AsyncIterator[dict[str, Any]]:
        for part in parts:
            yield part
        await asyncio.Event().wait()

    async def scene() -> bytes:
        source = messages()
        return await body_of(source.__anext__, most, seconds)

    return asyncio.run(scene())


def part(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_is_read_to_its_end_and_no_further_than_its_limit_and_its_time() -> None:
    assert read(part(b"12345"), part(b"67890", more=False)) == b"1234567890"
    for status, line, parts in (
        (413, "more than 10 bytes", [part(b"123456")] * 2),
        (400, "cut off", [part(b"1"), {"type": "http.disconnect"}]),
        (408, "too slow", [part(b"1")]),
    ):
        with pytest.raises(BodyError, match=f"^{line}$") as raised:
            read(*parts, seconds=0.05)
        assert raised.value.status == status
