"""Who may ask: the page itself, on this machine. Everything else gets one line and no more."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from mnist_lightning.errors import one_line

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

BODY_TIMEOUT = 10.0  # seconds for a whole body
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class BodyError(Exception):
    """A body that is too large, too slow or cut off; `status` is what to answer."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


class Guard:
    """Lets through to `app` only what the page of this very server asks for; every answer gets the safe headers.

    A foreign name in Host is how a page elsewhere would reach this machine (DNS rebinding), a foreign Origin or
    Sec-Fetch-Site is that page asking: 403.
    """

    def __init__(self, app: App, port: int) -> None:
        self.app = app
        names = ("127.0.0.1", "localhost")
        self.hosts = {f"{name}:{port}" for name in names} | (set(names) if port == 80 else set())
        self.origins = {f"http://{host}" for host in self.hosts}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers one request, as ASGI has it."""
        if scope["type"] != "http":
            return
        begun = False

        async def safely(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                ours = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                theirs = [header for header in message.get("headers", []) if header[0].lower().decode() not in _HEADERS]
                message = {**message, "headers": [*theirs, *ours]}
            await send(message)

        if refusal := self.refusal(scope):
            await answer(safely, 403, refusal)
            return
        try:
            await self.app(scope, receive, safely)
        except Exception as error:  # a bug, which must not end the page of a sweep
            what = f"{type(error).__name__}: {error}"
            print(one_line(f"mnist-lightning: error: {scope['path']}: a bug of ours ({what})"), file=sys.stderr)
            if not begun:
                await answer(safely, 500, "an error of this server; see where it was started")

    def refusal(self, scope: Message) -> str:
        """Why a request is refused; empty where it is not."""
        told: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            told.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip().lower())
        if len(told.get("host", [])) != 1 or told["host"][0] not in self.hosts:
            return "refused: this page is only for the machine it runs on, by the address that was printed"
        if any(origin not in self.origins for origin in told.get("origin", [])):
            return "refused: asked by another page"
        sites = set(told.get("sec-fetch-site", [])) - {"same-origin", "none"}
        is_link = scope["method"] == "GET" and scope["path"] == "/" and told.get("sec-fetch-mode") == ["navigate"]
        if sites and not (is_link and told.get("sec-fetch-dest") == ["document"]):
            return "refused: asked by another page"
        return ""


async def answer(send: Send, status: int, line: str) -> None:
    """Sends a line of text as the whole answer."""
    body = f"{line}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def body_of(receive: Receive, most: int, seconds: float = BODY_TIMEOUT) -> bytes:
    """The body of a request, of at most `most` bytes, as it comes. Raises BodyError."""
    content = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise BodyError(400, "cut off")
                content += message.get("body", b"")
                if len(content) > most:
                    raise BodyError(413, f"more than {most:,} bytes")
                if not message.get("more_body"):
                    return bytes(content)
    except TimeoutError:
        raise BodyError(408, "too slow") from None
