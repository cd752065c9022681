"""HTTP on the wire: what ends an answer, what may be used again, and what is no answer at all."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from backend.core import network
from backend.core.network import (
    ClosedError,
    ConnectError,
    Connections,
    PoolFullError,
    ProtocolError,
    Response,
)
from tests.servers.wire import Request, Wire, WireServer

Page = Callable[[Request, Wire], Awaitable[None]]


class OnePage(WireServer):
    """Answers everything with one function."""

    page: Page

    async def answer(self, request: Request, wire: Wire) -> None:
        await self.page(request, wire)


@pytest.fixture
async def server() -> AsyncIterator[OnePage]:
    async with OnePage() as server:
        yield server
    assert not server.errors


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    connections = Connections(lambda host, port: True, most=3, keep_s=60)
    yield connections
    connections.close()


async def _ask(connections: Connections, url: str, method: str = "GET") -> Response:
    async with asyncio.timeout(2):
        return await connections.send(method, url, {}, None, connect_s=1)


async def _whole(response: Response) -> bytes:
    found = bytearray()
    async with asyncio.timeout(2):
        while piece := await response.read():
            found += piece
    response.close()
    return bytes(found)


def _raw(data: bytes) -> Page:
    async def page(_: Request, wire: Wire) -> None:
        await wire.raw(data)

    return page


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1;x=y\r\ni\r\n0\r\n\r\n", b"hi"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nDigest: x\r\n\r\n", b"hi"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", b"hi"),
    ],
    ids=["length", "chunked", "trailer", "continue", "no content", "bare line feeds"],
)  # fmt: skip
async def test_a_connection_whose_answer_ended_is_used_again(
    connections: Connections, server: OnePage, answer: bytes, body: bytes
) -> None:
    server.page = _raw(answer)
    for _ in range(2):
        assert await _whole(await _ask(connections, server.url)) == body
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi and more",
    ],
    ids=["close", "HTTP/1.0", "a second answer", "rubbish"],
)
async def test_a_connection_that_says_more_or_closes_is_not_used_again(
    connections: Connections, server: OnePage, answer: bytes
) -> None:
    server.page = _raw(answer)
    for _ in range(2):
        assert await _whole(await _ask(connections, server.url)) == b"hi"
    assert server.connections == 2


async def test_the_answer_to_head_ends_with_its_head(
    connections: Connections, server: OnePage
) -> None:
    server.page = _raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    assert await _whole(await _ask(connections, server.url, "HEAD")) == b""
    assert await _whole(await _ask(connections, server.url, "HEAD")) == b""
    assert server.connections == 1


async def test_a_body_without_length_ends_with_the_connection(
    connections: Connections, server: OnePage
) -> None:
    async def page(_: Request, wire: Wire) -> None:
        await wire.head("200 OK", chunked=False)
        await wire.piece(b"to the end")
        await wire.end()

    server.page = page
    assert await _whole(await _ask(connections, server.url)) == b"to the end"


@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhi",
    ],
)
async def test_a_body_that_is_cut_is_not_taken_for_whole(
    connections: Connections, server: OnePage, begun: bytes
) -> None:
    async def page(_: Request, wire: Wire) -> None:
        await wire.raw(begun)
        wire._writer.close()

    server.page = page
    response = await _ask(connections, server.url)
    with pytest.raises(ClosedError):
        await _whole(response)
    response.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail.test ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 40_000,
    ],
    ids=["mail", "two lengths", "upgrade", "endless header", "endless headers"],
)
async def test_what_is_no_answer_is_refused(
    connections: Connections, server: OnePage, answer: bytes
) -> None:
    server.page = _raw(answer)
    with pytest.raises(ProtocolError):
        await _ask(connections, server.url)


async def test_an_answer_left_early_closes_its_connection(
    connections: Connections, server: OnePage
) -> None:
    left = asyncio.Event()

    async def page(_: Request, wire: Wire) -> None:
        await wire.head()
        await wire.piece(b"first")
        try:
            await wire.gone()
        finally:  # the server ends an answer whose client has gone
            left.set()

    server.page = page
    response = await _ask(connections, server.url)
    assert await response.read() == b"first"
    response.close()
    async with asyncio.timeout(2):
        await left.wait()


async def test_a_cancelled_request_closes_its_connection_and_frees_its_place(
    connections: Connections, server: OnePage
) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def page(_: Request, wire: Wire) -> None:
        asked.set()
        try:
            await wire.gone()
        finally:
            left.set()

    server.page = page
    for _ in range(4):  # one more than there are places
        asked.clear()
        left.clear()
        task = asyncio.create_task(_ask(connections, server.url))
        async with asyncio.timeout(2):
            await asked.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await left.wait()


async def test_no_more_requests_than_allowed_are_open_at_once(
    connections: Connections, server: OnePage
) -> None:
    async def page(_: Request, wire: Wire) -> None:
        await wire.head()
        await wire.gone()

    server.page = page
    open_ones = [await _ask(connections, server.url) for _ in range(3)]
    with pytest.raises(PoolFullError):
        await connections.send("GET", server.url, {}, None, connect_s=0.01)
    open_ones[0].close()
    open_ones[0] = await _ask(connections, server.url)
    for response in open_ones:
        response.close()


async def test_a_slow_reader_makes_the_server_wait(
    connections: Connections, server: OnePage
) -> None:
    sent = 0

    async def page(request: Request, wire: Wire) -> None:
        nonlocal sent
        await wire.head("200 OK", {"Content-Length": "50000000"}, chunked=False)
        for _ in range(500):
            await wire.raw(bytes(100_000))
            sent += 1

    server.page = page
    response = await _ask(connections, server.url)
    before = -1
    while sent != before:  # until the pipe between us is full
        before = sent
        for _ in range(200):
            await asyncio.sleep(0)
    assert sent < 250
    assert len(await _whole(response)) == 50_000_000


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/a b?c=d e#f", "/a%20b?c=d%20e"),
        ("/ä%20b", "/%C3%A4%20b"),
        ("", "/"),
        ("?q=1", "/?q=1"),
    ],
)
async def test_an_address_is_sent_encoded_once(
    connections: Connections, server: OnePage, path: str, sent: str
) -> None:
    server.page = _raw(b"HTTP/1.1 204 No Content\r\n\r\n")
    (await _ask(connections, server.url + path)).close()
    assert server.requests[0].path == sent
    assert server.requests[0].headers["host"] == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize("host", ["a b", "a" * 70 + ".test", "\u00e4" * 70 + ".test"])
async def test_what_is_no_host_name_is_refused(connections: Connections, host: str) -> None:
    with pytest.raises((ConnectError, ValueError)):
        await _ask(connections, f"http://{host}/")


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes its certificate with openssl")
async def test_https_checks_the_certificate_and_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=voice.test",
         "-addext", "subjectAltName=DNS:voice.test"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(certificate, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline() not in (b"\r\n", b""):
            pass
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsafe")
        writer.close()

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=ours)
    port = server.sockets[0].getsockname()[1]
    strangers = Connections(lambda host, port: True, resolve, most=2, keep_s=9)
    with pytest.raises(ConnectError, match="certificate is not valid"):
        await _ask(strangers, f"https://voice.test:{port}/")

    system = network.ssl_context

    def with_ours() -> ssl.SSLContext:
        context = system()
        context.load_verify_locations(certificate)
        return context

    monkeypatch.setattr(network, "ssl_context", with_ours)
    friends = Connections(lambda host, port: True, resolve, most=2, keep_s=9)
    assert await _whole(await _ask(friends, f"https://voice.test:{port}/")) == b"safe"
    with pytest.raises(ConnectError, match="certificate is not valid"):
        await _ask(friends, f"https://other.test:{port}/")
    server.close()
    await server.wait_closed()


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not for Windows")
def test_it_works_the_same_under_uvloop() -> None:
    import uvloop

    async def talk() -> None:
        async with OnePage() as server:
            server.page = _raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
            connections = Connections(lambda host, port: True, most=3, keep_s=60)
            for _ in range(2):
                assert await _whole(await _ask(connections, server.url)) == b"hi"
            assert server.connections == 1
            await server.refuse()
            with pytest.raises(ConnectError, match="refused"):
                await _ask(connections, server.url)
            connections.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(talk())
