"""HTTP/1.1 over kept-alive connections that looks at every address before it connects to it.

Written on asyncio and httptools (the parser uvicorn uses, in C), because a request is on the way to the first sound of
every turn: 0.09 ms of it here, 0.7 ms with httpx. Closing never waits, so a cancelled request leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from typing import Any, cast
from urllib.parse import quote, urlsplit

import httptools

from backend.core import clock
from backend.core.addresses import origin_of, reach_of

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Host and port to IP literals, in the order to try them."""

Origin = tuple[str, str, int]
"""Scheme, host and port."""

MAX_OVERHEAD_BYTES = 65_536
"""What may come without a byte of content in it: a head, chunk sizes, trailers."""
MAX_BUFFERED_BYTES = 262_144
"""Content that may wait for its reader; the server is made to wait beyond it."""
_SAFE = "!$%&'()*+,-./:;=?@_~[]|"
"""Letters of a request's target that go out as they are: an address that is already encoded is not encoded again."""


class AddressRefusedError(Exception):
    """The name leads to an address that must not be contacted."""


class ConnectError(Exception):
    """No connection; says why."""


class PoolFullError(Exception):
    """Too many requests are open at once."""


class ClosedError(Exception):
    """The connection ended before the answer did."""


class ProtocolError(Exception):
    """What came is no HTTP/1 answer."""


class Connections:
    """Opens connections and keeps them for the next request to the same origin.

    Args:
        may_be_private: Whether the operator has named this host and port, so that it may be on this network.
        resolve: Name lookup; None uses the system's.
        most: Requests open at once, and connections kept.
        keep_s: How long an idle connection is kept.
    """

    def __init__(
        self,
        may_be_private: Callable[[str, int], bool],
        resolve: Resolve | None = None,
        *,
        most: int,
        keep_s: float,
    ) -> None:
        self._may_be_private = may_be_private
        self._resolve = resolve or _system_resolve
        self._most = most
        self._keep_s = keep_s
        self._free = asyncio.Semaphore(most)
        self._idle: OrderedDict[_Connection, float] = OrderedDict()  # longest idle first
        self._tls: ssl.SSLContext | None = None
        self._tls_lock = asyncio.Lock()

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        connect_s: float,
    ) -> Response:
        """Send a request and wait for the answer's head; close what is returned.

        A kept connection may have been closed by its server in the moment in which it is used again: then the request
        is sent once more on a new one.

        Raises:
            ValueError: The address is none.
            AddressRefusedError, ConnectError, PoolFullError, ClosedError, ProtocolError: As they say.
        """
        origin = origin_of(url)
        request = _request(method, url, origin, headers, body)
        await self._acquire(connect_s)
        try:
            connection = self._kept(origin)
            if connection is not None:
                try:
                    return await self._ask(connection, request, method)
                except ClosedError:
                    if connection.has_answered:
                        raise
            return await self._ask(await self._open(origin, connect_s), request, method)
        except BaseException:
            self._free.release()
            raise

    def close(self) -> None:
        """Close what is kept; requests that are open end by themselves."""
        self._keep_s = 0.0
        while self._idle:
            self._idle.popitem()[0].abort()

    async def _acquire(self, wait_s: float) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout(wait_s):
                await self._free.acquire()
        except TimeoutError:
            raise PoolFullError(f"{self._most} requests are already open") from None

    async def _ask(self, connection: _Connection, request: bytes, method: str) -> Response:
        try:
            await connection.ask(request, is_head=method == "HEAD")
        except BaseException:
            connection.abort()
            raise
        return Response(self, connection)

    def _kept(self, origin: Origin) -> _Connection | None:
        oldest_s = clock.monotonic_s() - self._keep_s
        for connection, since_s in list(self._idle.items()):
            if since_s < oldest_s or not connection.is_usable:
                del self._idle[connection]
                connection.abort()
        for connection in reversed(
            self._idle
        ):  # the one used last is the least likely to be closed
            if connection.origin == origin:
                del self._idle[connection]
                return connection
        return None

    def _done(self, connection: _Connection) -> None:
        self._free.release()
        connection.take()  # an answer that had come whole, but was not read
        if not connection.is_usable or not self._keep_s:
            connection.abort()
            return
        self._idle[connection] = clock.monotonic_s()
        if len(self._idle) > self._most:
            self._idle.popitem(last=False)[0].abort()

    async def _open(self, origin: Origin, connect_s: float) -> _Connection:
        scheme, host, port = origin
        addresses = await checked_addresses(
            host,
            port,
            may_be_private=self._may_be_private(host, port),
            connect_s=connect_s,
            resolve=self._resolve,
        )
        tls: dict[str, Any] = {}
        if scheme == "https":
            tls = {"ssl": await self._context(), "server_hostname": _ascii(host)}
        loop = asyncio.get_running_loop()
        failure = ConnectError(f"the name {host!r} has no address")
        for address in addresses:
            try:
                # Each address gets the whole time: the caller's own deadline bounds them together.
                async with asyncio.timeout(connect_s):
                    _, connection = await loop.create_connection(
                        lambda: _Connection(origin, self._forget), address, port, **tls
                    )
                    return connection
            except TimeoutError:
                failure = ConnectError(f"{address} did not answer within {connect_s:.3g} s")
            except OSError as error:  # among them ssl.SSLError
                failure = ConnectError(reason_of(error))
        raise failure

    async def _context(self) -> ssl.SSLContext:
        async with self._tls_lock:
            if self._tls is None:
                self._tls = await asyncio.to_thread(ssl_context)
        return self._tls

    def _forget(self, connection: _Connection) -> None:
        self._idle.pop(connection, None)


class Response:
    """An answer whose head is there; read the body to its end and the connection is used again."""

    def __init__(self, owner: Connections, connection: _Connection) -> None:
        self.status = connection.status
        self.headers: Mapping[str, str] = connection.headers
        self._owner = owner
        self._connection: _Connection | None = connection

    def ready(self) -> bytes:
        """What of the body has come and was not read yet; empty when that is nothing."""
        return self._connection.take() if self._connection is not None else b""

    async def read(self) -> bytes:
        """The next piece of the body; empty at its end.

        Raises:
            ClosedError: The connection ended, or broke HTTP's rules, inside the body.
        """
        return await self._connection.read() if self._connection is not None else b""

    def close(self) -> None:
        """Give the connection back, or close it when the body was not read to its end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._owner._done(connection)


class _Connection(asyncio.Protocol):
    """One connection; one request at a time. Also what the parser calls back."""

    def __init__(self, origin: Origin, forget: Callable[[_Connection], None]) -> None:
        self.origin = origin
        self.status = 0
        self.headers: dict[str, str] = {}
        self.has_answered = False
        self._forget = forget
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._overhead = 0
        self._is_head = False
        self._has_head = False
        self._is_complete = True
        self._is_paused = False
        self._keeps = True
        self._failure: Exception | None = None

    @property
    def is_usable(self) -> bool:
        """Whether another request may be sent."""
        transport = self._transport
        return (
            transport is not None
            and not transport.is_closing()
            and self._is_complete
            and self._keeps
            and self._failure is None
            and not transport.get_write_buffer_size()
        )

    async def ask(self, request: bytes, *, is_head: bool) -> None:
        """Send a request; returns when the answer's head is there."""
        if self._transport is None or self._transport.is_closing():
            raise ClosedError("the connection was closed")
        parser = self._parser = httptools.HttpResponseParser(self)
        # Small speech servers on microcontrollers end their lines with a bare line feed.
        parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)
        self.status, self.headers = 0, {}
        self.has_answered = self._has_head = self._is_complete = False
        self._keeps = True
        self._is_head = is_head
        self._overhead = 0
        self._transport.write(request)
        while not self._has_head:
            if self._failure is not None:
                raise self._failure
            await self._wait()

    def take(self) -> bytes:
        """Everything that was buffered."""
        if not self._pieces:
            return b""
        found = self._pieces.popleft() if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._buffered = 0
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        return found

    async def read(self) -> bytes:
        """The next bytes of the body, empty at its end."""
        while not self._pieces:
            if self._is_complete:
                return b""
            if self._failure is not None:
                raise ClosedError(str(self._failure)) from self._failure
            await self._wait()
        return self.take()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, failure: Exception) -> None:
        self._failure = self._failure or failure
        self._wake()
        self.abort()

    # --- called by asyncio ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(
            asyncio.Transport, transport
        )  # uvloop's is none of asyncio's classes

    def data_received(self, data: bytes) -> None:
        if self._is_complete or self._parser is None:
            # More than was asked for: whatever comes next on this connection could not be told apart from it.
            self._keeps = False
            self._forget(self)
            self.abort()
            return
        self.has_answered = True
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self._is_complete:  # only what came after it was wrong
                self._keeps = False
            else:
                self._fail(ProtocolError(str(error)))
                return
        if self._overhead > MAX_OVERHEAD_BYTES and not self._is_complete:
            self._fail(ProtocolError(f"more than {MAX_OVERHEAD_BYTES:,} bytes without content"))
        elif self._buffered > MAX_BUFFERED_BYTES and not self._is_paused and self._transport:
            self._is_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        return False  # close

    def connection_lost(self, error: Exception | None) -> None:
        self._forget(self)
        if not self._is_complete:
            ends_here = self._has_head and not (
                "content-length" in self.headers
                or "chunked" in self.headers.get("transfer-encoding", "").lower()
            )
            if ends_here and error is None:  # HTTP/1.0: the body is as long as the connection
                self._is_complete = True
            else:
                self._failure = self._failure or ClosedError("the connection was closed")
        self._keeps = False
        self._wake()

    # --- called by the parser ---

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or a trailer, which is not looked at."""
        if self._has_head:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        before = self.headers.get(key)
        self.headers[key] = text if before is None else f"{before}, {text}"

    def on_headers_complete(self) -> None:
        """The head is there; one that only announces another is left out."""
        assert self._parser is not None
        if self._is_complete:  # a second answer to one request
            self._keeps = False
            return
        self.status = self._parser.get_status_code()
        if 100 <= self.status < 200:
            self.headers = {}
            return
        self._has_head = True
        if self._is_head:  # its headers speak of a body that does not come
            self._keeps = self._parser.should_keep_alive()
            self._is_complete = True
        self._wake()

    def on_body(self, body: bytes) -> None:
        """A piece of the body, without its framing."""
        if self._is_complete:
            self._keeps = False
            return
        self._overhead = 0
        self._pieces.append(body)
        self._buffered += len(body)
        self._wake()

    def on_message_complete(self) -> None:
        """The end of the body."""
        if not self._has_head or self._is_complete:
            return
        assert self._parser is not None
        self._keeps = self._parser.should_keep_alive()
        self._is_complete = True
        self._wake()


async def checked_addresses(
    host: str,
    port: int,
    *,
    may_be_private: bool,
    connect_s: float,
    resolve: Resolve | None = None,
) -> list[str]:
    """The addresses of a name, none of which is one that must not be contacted; connect to these, not to the name.

    Args:
        host: Name or address.
        port: Where it is connected to.
        may_be_private: Whether the operator has named this host, so that it may be on this network.
        connect_s: Longest wait for the name.
        resolve: Name lookup; None uses the system's.

    Raises:
        AddressRefusedError, ConnectError: As they say.
    """
    try:
        async with asyncio.timeout(connect_s):
            addresses = await (resolve or _system_resolve)(_ascii(host), port)
    except TimeoutError:
        raise ConnectError(f"the name {host!r} was not resolved in time") from None
    except (OSError, ValueError) as error:  # a name that cannot be encoded is a ValueError
        raise ConnectError(f"the name {host!r} does not exist or DNS is down") from error
    for address in addresses:
        reach = reach_of(address)
        if reach == "forbidden":
            raise AddressRefusedError(
                f"{host} is {address}, a link-local or metadata address, which is never contacted"
            )
        if reach == "private" and not may_be_private:
            raise AddressRefusedError(
                f"{host} is {address}, inside this network, and no setting names that host"
            )
    return addresses


def _request(
    method: str, url: str, origin: Origin, headers: Mapping[str, str], body: bytes | None
) -> bytes:
    scheme, host, port = origin
    parts = urlsplit(url)
    target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_SAFE)
    name = f"[{host}]" if ":" in host else _ascii(host)
    if port != (443 if scheme == "https" else 80):
        name = f"{name}:{port}"
    lines = [f"{method} {target} HTTP/1.1", f"host: {name}", "accept: */*"]
    if any(key.lower() == "accept" for key in headers):
        lines.pop()
    lines += [f"{key}: {value}" for key, value in headers.items()]
    if body is not None or method in ("POST", "PUT", "PATCH"):
        lines.append(f"content-length: {len(body or b'')}")
    return "\r\n".join((*lines, "\r\n")).encode("latin-1") + (body or b"")


def _ascii(host: str) -> str:
    """The name as DNS and the server know it.

    Raises:
        ValueError: It is none.
    """
    name = host if host.isascii() else host.encode("idna").decode()
    if not name.isprintable() or " " in name:
        raise ValueError(f"{host!r} is no host name")
    return name


def reason_of(error: OSError) -> str:
    """Words for a failed connection."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ssl.SSLError):
        said = str(error)
        return f"its certificate is not valid: {said}" if "CERTIFICATE" in said.upper() else said
    return error.strerror or str(error) or type(error).__name__


def ssl_context() -> ssl.SSLContext:
    """Certificates of the system, and certifi's, so that a bare Python finds some."""
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


async def _system_resolve(host: str, port: int) -> list[str]:
    try:
        return [str(ip_address(host.partition("%")[0]))]
    except ValueError:
        pass
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # IPv4 first: local servers mostly listen there only, and on Windows a refused ::1 costs two seconds.
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
