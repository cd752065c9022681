"""The httpx transport that looks at every address before it connects to it.

Imported on first use only: httpx costs 0.08 s.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable

import httpcore
import httpx

from backend.core.addresses import reach_of

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Host and port to IP literals, in the order to try them."""


class AddressRefusedError(Exception):
    """The name leads to an address that must not be contacted."""


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Resolves a name, refuses what may not be reached, and connects to exactly the address it has checked.

    Args:
        may_be_private: Whether the operator has named this host and port, so that it may be on this network.
        resolve: Name lookup; None uses the system's.
    """

    def __init__(
        self, may_be_private: Callable[[str, int], bool], resolve: Resolve | None = None
    ) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._may_be_private = may_be_private
        self._resolve = resolve or _system_resolve
        self.connections = 0

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that answers."""
        self.connections += 1
        try:
            addresses = await asyncio.wait_for(self._resolve(host.strip("[]"), port), timeout)
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"the name {host!r} was not resolved in time") from None
        except OSError as error:
            raise httpcore.ConnectError(
                f"the name {host!r} does not exist or DNS is down"
            ) from error
        for address in addresses:
            reach = reach_of(address)
            if reach == "forbidden":
                raise AddressRefusedError(
                    f"{host} is {address}, a link-local or metadata address, which is never contacted"
                )
            if reach == "private" and not self._may_be_private(host, port):
                raise AddressRefusedError(
                    f"{host} is {address}, inside this network, and no setting names that host"
                )
        failure: Exception = httpcore.ConnectError(f"the name {host!r} has no address")
        for address in addresses:
            try:
                # Each address gets the whole time: the caller's own deadline bounds them together.
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never: no provider lives in a file."""
        raise AddressRefusedError(f"{path} is a socket file")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx's own transport over a pool that connects through `GuardedBackend`.

    httpx has no argument for the network backend, so its pool is put in place here.
    """

    def __init__(self, backend: GuardedBackend, *, max_connections: int, keep_s: float) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context(),
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=keep_s,
            http1=True,
            http2=False,
            network_backend=backend,
        )


def ssl_context() -> ssl.SSLContext:
    """Certificates of the system, and certifi's, so that a bare Python finds some."""
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


async def _system_resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # IPv4 first: local servers mostly listen there only, and on Windows a refused ::1 costs two seconds.
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
