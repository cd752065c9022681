"""A tiny HTTP/1.1 server whose every byte is decided by the caller; real servers are too polite to test against."""

from __future__ import annotations

import asyncio
import contextlib
import json
from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.servers.listening import Listening


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


class Wire:
    """The connection under an answer."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.chunked = False

    async def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def head(
        self, status: str = "200 OK", headers: dict[str, str] | None = None, *, chunked: bool = True
    ) -> None:
        """The head of an answer; without ``chunked`` and content-length the body ends with the connection."""
        lines = [f"HTTP/1.1 {status}", *(f"{k}: {v}" for k, v in (headers or {}).items())]
        self.chunked = chunked
        if chunked:
            lines.append("Transfer-Encoding: chunked")
        await self.raw(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def piece(self, data: bytes) -> None:
        """A piece of the body."""
        if data:
            await self.raw(b"%x\r\n%s\r\n" % (len(data), data) if self.chunked else data)

    async def end(self) -> None:
        """The end of the body."""
        if self.chunked:
            await self.raw(b"0\r\n\r\n")
        else:
            self._writer.close()

    async def whole(
        self, status: str, body: bytes, content_type: str, headers: dict[str, str] | None = None
    ) -> None:
        """A complete answer."""
        length = {"Content-Type": content_type, "Content-Length": str(len(body))}
        await self.head(status, {**length, **(headers or {})}, chunked=False)
        await self.raw(body)

    async def json(self, value: object, status: str = "200 OK") -> None:
        """A complete answer in JSON."""
        await self.whole(status, json.dumps(value).encode(), "application/json")

    def abort(self) -> None:
        """Drop the connection on the floor."""
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has left; the server itself never gives up."""
        await self._writer.wait_closed()


Handler = Callable[[Request, Wire], Awaitable[None]]


class WireServer(Listening):
    """Listens on loopback and gives every request to `answer`."""

    def __init__(self, port: int = 0) -> None:
        super().__init__()
        self.port = port
        self.requests: deque[Request] = deque(maxlen=2000)
        self.connections = 0
        self.errors: list[Exception] = []
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Address of the server, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @abstractmethod
    async def answer(self, request: Request, wire: Wire) -> None:
        """Answer one request; the connection is kept unless `Wire` closed it."""

    async def listen(self) -> None:
        """Begin to accept connections, on the same port as before."""
        if self._server is None:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", self.port, limit=1 << 20
            )
            self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Accept no connection any more, and drop those that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._writers):
            writer.transport.abort()
        for task in tuple(self._open):
            task.cancel()
        if self._open:
            await asyncio.wait(self._open, timeout=2)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self._writers.add(writer)
        self.connections += 1
        try:
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                self._changed.set()
                answering = asyncio.create_task(self.answer(request, Wire(writer)))
                leaving = asyncio.create_task(_left(reader))
                try:
                    # A client that has gone ends even an answer that would hang for ever.
                    await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    answering.cancel()
                    leaving.cancel()
                results = await asyncio.gather(answering, leaving, return_exceptions=True)
                failure = results[0]
                if isinstance(failure, Exception) and not isinstance(failure, ConnectionError):
                    self.errors.append(failure)  # a mistake of this server, not a behaviour
                if isinstance(failure, BaseException) or writer.is_closing():
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()


async def _left(reader: asyncio.StreamReader) -> None:
    # at_eof alone is not set until something is read; the clients here never pipeline, so there is nothing to lose.
    while not reader.at_eof() and reader.exception() is None:
        await asyncio.sleep(0.02)


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    lines = head.decode("latin-1").split("\r\n")
    method, path, _ = lines[0].split(" ", 2)
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name:
            headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)
