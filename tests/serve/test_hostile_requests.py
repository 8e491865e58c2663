"""Whatever is sent to the page's server, it answers its own page alone, gives no file away, and goes on."""

from __future__ import annotations

import http.client
import io
import json
import random
import socket
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from urllib.parse import quote

import pytest
from PIL import Image, ImageDraw

from serving import Serving, served, with_networks

SECRET = "the-content-of-a-file-outside"
ADDRESSES = ("/", "/serve.js", "/canvas.js", "/serve.css", "/report.css", "/echarts.js", "/state")
TRAVERSALS = (
    "../secret.txt",
    "../../secret.txt",
    "../../../../../../etc/passwd",
    "..\\..\\secret.txt",
    "....//....//secret.txt",
    "plan.json",
    "./plan.json",
    "RUN/result.json",
    "secret.txt\0.js",
    "/etc/passwd",
    "//etc/passwd",
    "file:///etc/passwd",
    "..;/secret.txt",
    "~/.ssh/id_rsa",
    "%00/secret.txt",
    "serve.js/../../secret.txt",
    "serve.js/",
    "SERVE.JS",
    "__main__.py",
    "page.html",
    "../__main__.py",
    "C:\\windows\\win.ini",
    "proc/self/environ",
    "..%2f..%2fsecret.txt",
    ".",
    "..",
    "",
)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    home = tmp_path_factory.mktemp("hostile")
    (home / "secret.txt").write_text(SECRET)
    root = with_networks(home / "sweep", 2, 1)
    (root / "secret.txt").write_text(SECRET)
    (root / "link").symlink_to(home / "secret.txt")
    with served(root) as found:
        yield found


def asked(
    it: Serving, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """The status and the body of an ordinary request, with further headers."""
    connection = http.client.HTTPConnection("127.0.0.1", it.port, timeout=30)
    connection.putrequest(method, path, skip_host="Host" in (headers or {}))
    for name, value in (headers or {}).items():
        connection.putheader(name, value)
    if body:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    reply = connection.getresponse()
    told = reply.status, reply.read()
    connection.close()
    return told


def digit() -> bytes:
    sheet = Image.new("L", (280, 280), "white")
    ImageDraw.Draw(sheet).line([(80, 50), (190, 50), (130, 230)], "black", 24)
    return png_of(sheet)


def png_of(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(width: int, height: int, *before: bytes) -> bytes:
    """A PNG of a few kB that says it has so many pixels, and unpacks to ten million bytes."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + b"".join(before)
        + chunk(b"IDAT", zlib.compress(bytes(10**7)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({"Host": "evil.example"}, True),
        ({"Host": "127.0.0.1"}, True),
        ({"Host": "127.0.0.1:1"}, True),
        ({"Host": "localhost.evil.example:{port}"}, True),
        ({"Host": "evil@127.0.0.1:{port}"}, True),
        ({"Host": "[::1]:{port}"}, True),
        ({"Host": "localhost:{port}"}, False),
        ({"Origin": "http://evil.example"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": "https://127.0.0.1:{port}"}, True),
        ({"Origin": "http://127.0.0.1:{port}.evil.example"}, True),
        ({"Origin": "http://localhost:3000"}, True),
        ({"Origin": "http://127.0.0.1:{port}"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
    ],
)
def test_who_asks_by_another_name_or_from_another_page_is_refused(
    serving: Serving, headers: dict[str, str], refused: bool
) -> None:
    told = {name: value.format(port=serving.port) for name, value in headers.items()}
    for method, path in (("GET", "/"), ("GET", "/state"), ("GET", "/echarts.js"), ("POST", "/answer")):
        drawn = digit() if method == "POST" else b""
        status, body = asked(serving, method, path, drawn, told | ({"Content-Type": "image/png"} if drawn else {}))
        assert status == (403 if refused else 200), body
        assert not refused or body.startswith(b"refused: ")
        assert not refused or body.count(b"\n") == 1


def test_a_link_on_another_page_opens_this_one_and_nothing_else(serving: Serving) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert asked(serving, "GET", "/", headers=link)[0] == 200
    assert asked(serving, "GET", "/state", headers=link)[0] == 403


def test_every_answer_has_the_policy_that_keeps_other_content_out(serving: Serving) -> None:
    for path in (*ADDRESSES, "/nothing", "/answer"):
        connection = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=30)
        connection.request("GET", path)
        reply = connection.getresponse()
        policy = reply.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cache-Control"] == "no-store"
        assert "Server" not in reply.headers
        connection.close()


def test_what_is_no_drawing_is_a_line(serving: Serving) -> None:
    def answer(body: bytes, runs: str = "", kind: str = "image/png") -> tuple[int, str]:
        status, told = asked(serving, "POST", f"/answer?runs={runs}", body, {"Content-Type": kind})
        return status, told.decode().strip()

    assert answer(b"GIF89a") == (422, "the drawing: no readable PNG; draw it anew")
    assert answer(digit()[:-200]) == (422, "the drawing: no readable PNG; draw it anew")
    for side in (1500, 10_000, 60_000):
        assert answer(bomb(side, side)) == (422, "the drawing: more than 2,097,152 pixels; send a smaller PNG")
    assert answer(digit(), kind="text/plain") == (415, "send a PNG")
    assert answer(digit(), ",".join(map(str, range(9)))) == (400, "choose at most 8 runs, each once")
    assert answer(b"x" * (2**20 + 1)) == (413, "more than 1,048,576 bytes")
    status, told = answer(digit(), "../../secret")
    assert (status, json.loads(told)["answers"]) == (200, [{"problem": "no such run is here any more"}])
    status, told = answer(png_of(Image.new("L", (280, 280), "white")))
    assert (status, json.loads(told)) == (200, {"seen": None, "answers": []})


def hostile(rng: random.Random, port: int) -> Iterator[tuple[bytes, bool]]:
    """What is sent, and whether the connection is then cut off without waiting for an answer; without an end."""
    host = f"Host: 127.0.0.1:{port}\r\n"
    end = f"{host}Connection: close\r\n\r\n"
    png = digit()
    methods = (
        "HEAD",
        "PUT",
        "DELETE",
        "PATCH",
        "OPTIONS",
        "TRACE",
        "CONNECT",
        "POST",
        "GETT",
        "\x00",
        "PROPFIND",
        "get",
    )
    lines = (
        "Host: evil",
        "Content-Length: -1",
        "Content-Length: 99999999999999",
        "Content-Length: 1\r\nContent-Length: 2",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Transfer-Encoding: gzip",
        "Expect: 100-continue",
        "Upgrade: websocket",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==",
        "Range: bytes=0-,0-,0-",
        "X-Forwarded-Host: evil",
        "X-Original-URL: /../secret.txt",
        "If-None-Match: " + '"' * 500,
        "Cookie: " + "a" * 9000,
        "X: " + "b" * 70_000,
        "\r\n".join(f"X{i}: {i}" for i in range(3000)),
        "A\x00B: 1",
        ": nameless",
        "Folded: a\r\n b",
        "no colon",
        "Content-Encoding: gzip",
        "Accept: " + "*/*," * 500,
        "Origin: http://[",
        "Sec-Fetch-Site: \xff",
    )
    while True:
        for traversal in TRAVERSALS:
            for written in (traversal, quote(traversal, safe=""), quote(quote(traversal, safe=""), safe="")):
                overlong = written.replace("%2F", "%c0%af").replace("..", "%u002e%u002e")
                for path in (f"/{written}", f"/static/{overlong}"):
                    yield f"GET {path} HTTP/1.1\r\n{end}".encode("latin-1", "replace"), False
            yield f"GET /state?path={quote(traversal)} HTTP/1.1\r\n{end}".encode(), False
            head = f"POST /answer?runs={quote(traversal)} HTTP/1.1\r\nContent-Type: image/png\r\n"
            yield f"{head}Content-Length: {len(png)}\r\n{end}".encode() + png, False
        for method in methods:
            for path in (*ADDRESSES, "/answer", "*", "http://evil/"):
                yield f"{method} {path} HTTP/1.1\r\n{end}".encode("latin-1"), False
        for line in lines:
            for method, path in (("GET", "/"), ("POST", "/answer")):
                yield (
                    f"{method} {path} HTTP/1.1\r\n{line}\r\n{end}".encode("latin-1"),
                    "Length" in line or "Enc" in line,
                )
        for size in (0, 1, 100, 2**16):
            drawn = [rng.randbytes(size), png[:size], b"\x89PNG\r\n\x1a\n" + rng.randbytes(size)]
            spoiled = bytearray(png)
            for _ in range(20):
                spoiled[rng.randrange(8, len(png))] = rng.randrange(256)
            text = chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(10**7)))
            drawn += [bytes(spoiled), bomb(60_000, 60_000), bomb(1000, 1000), bomb(1, 1, text), bomb(0, 0)]
            for body in drawn:
                head = (
                    f"POST /answer HTTP/1.1\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n{end}".encode()
                )
                yield head + body, False
                yield head + body[: len(body) // 2], True
            chunked = (
                f"POST /answer HTTP/1.1\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n{end}".encode()
            )
            yield chunked + b"%x\r\n" % size + bytes(size) + b"\r\nZZ\r\n", False
            yield chunked + (b"10000\r\n" + bytes(2**16) + b"\r\n") * 20, True
        for start in (
            b"\x16\x03\x01",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET /\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"\0" * 9,
            b"\r\n" * 99,
        ):
            yield start + rng.randbytes(64), True
        yield b"GET " + b"/a" * 40_000 + b" HTTP/1.1\r\n", False
        yield rng.randbytes(rng.randrange(1, 3000)), True


def sent(port: int, request: bytes, is_cut_off: bool) -> bytes:
    """What comes back for these bytes until the server closes; nothing is waited for where they are cut off."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection, suppress(ConnectionError):
        connection.sendall(request)
        while not is_cut_off and (part := connection.recv(2**16)):
            answer += part
    return answer


def test_a_thousand_hostile_requests_neither_end_it_nor_get_a_file_and_afterwards_it_answers(serving: Serving) -> None:
    slow = []
    for start in (
        b"",
        b"GET /",
        b"POST /answer HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 5\r\n\r\n1" % serving.port,
    ):
        slow += [socket.create_connection(("127.0.0.1", serving.port)) for _ in range(10)]
        for connection in slow[-10:]:
            connection.sendall(start)
    requests = hostile(random.Random(0), serving.port)
    inside = [b"root:x:", SECRET.encode(), b'"run_name"', b'"fingerprint"', b"import annotations"]
    statuses = set()
    for number in range(1000):
        request, is_cut_off = next(requests)
        answer = sent(serving.port, request, is_cut_off)
        assert not [text for text in inside if text in answer], (number, request[:200])
        assert b"Traceback" not in answer
        assert b" 500 " not in answer[:20], (number, request[:300], answer)
        statuses.add(answer[9:12])
    assert {b"200", b"400", b"403", b"404", b"405", b"415", b"422"} <= statuses
    assert serving.process.poll() is None
    assert serving.state()["planned"] == 2
    status, told = asked(serving, "POST", "/answer", digit(), {"Content-Type": "image/png"})
    assert status == 200
    assert json.loads(told)["seen"].startswith("data:image/png;base64,")
    for connection in slow:
        connection.close()
    assert serving.end() == (130, "", "")
