"""The few addresses of the page, and what each answers. None is a path: what is served is in memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from mnist_lightning.errors import DataError, one_line
from mnist_lightning.serve.drawing import LARGEST, as_address, image_of
from mnist_lightning.serve.guard import App, BodyError, Guard, body_of
from mnist_lightning.serve.networks import MOST, Networks
from mnist_lightning.serve.overview import Overview
from mnist_lightning.serve.worker import SupersededError, Worker

# address -> package, file, type
_RESOURCES = {
    "/": ("serve", "page.html", "text/html"),
    "/serve.css": ("serve", "page.css", "text/css"),
    "/serve.js": ("serve", "page.js", "text/javascript"),
    "/canvas.js": ("serve", "canvas.js", "text/javascript"),
    "/report.css": ("report", "page.css", "text/css"),
    "/echarts.js": ("report", "echarts/echarts.min.js", "text/javascript"),
}


class Page:
    """What is behind the addresses: the state of a directory, and its networks, each asked in a thread of its own."""

    def __init__(self, root: Path) -> None:
        self.overview, self.networks = Overview(root), Networks(root)
        self.looking, self.reading = Worker("overview"), Worker("networks")
        self._look: asyncio.Task[bytes] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether one of the threads is at work."""
        return self.looking.is_busy or self.reading.is_busy

    async def state(self, request: Request) -> Response:
        """The state of the sweep, or that it is what the page has."""
        if self._look is None or self._look.done():  # whoever asks meanwhile gets the same answer
            self._look = asyncio.create_task(self.looking.call(self.overview.look))
        body = await asyncio.shield(self._look)
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        return Response(body, media_type="application/json", headers={"etag": tag})

    async def answer(self, request: Request) -> Response:
        """What the chosen runs' networks say of the drawing that was sent, and the image they saw."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "image/png":
            return _line(415, "send a PNG")
        names = [name for name in request.query_params.get("runs", "").split(",") if name]
        if len(names) > MOST or len(names) != len(set(names)):
            return _line(400, f"choose at most {MOST} runs, each once")
        try:
            png = await body_of(request.receive, LARGEST)
            runs = self.overview.runs
            return JSONResponse(await self.reading.call(lambda: self._said(png, [runs.get(name) for name in names])))
        except BodyError as error:
            return _line(error.status, str(error))
        except DataError as error:
            return _line(422, str(error))
        except SupersededError:
            return _line(409, "a newer drawing is being read")

    def _said(self, png: bytes, runs: Sequence[Path | None]) -> dict[str, Any]:
        image = image_of(png)
        said = self.networks.answer(runs, image)
        return {"seen": as_address(image) if image is not None else None, "answers": said}


def _line(status: int, line: str) -> PlainTextResponse:
    return PlainTextResponse(one_line(line) + "\n", status, {"connection": "close"} if status == 413 else None)


def make_app(page: Page, port: int) -> App:
    """The whole of the server as an ASGI application, which lets nobody but its own page ask."""
    routes = [Route("/state", page.state, methods=["GET"]), Route("/answer", page.answer, methods=["POST"])]
    routes += [Route(address, _resource(*where), methods=["GET"]) for address, where in _RESOURCES.items()]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    return Guard(app, port)  # pyright: ignore[reportArgumentType] - starlette's names for the same types


def _resource(package: str, name: str, media_type: str) -> Any:
    content = (files(f"mnist_lightning.{package}") / name).read_bytes()

    async def give(request: Request) -> Response:
        return Response(content, media_type=media_type)

    return give
