"""Servers on a thread of their own, for tests that are not inside a loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Protocol, Self, TypeVar

T = TypeVar("T")


class Listens(Protocol):
    """A server of any kind."""

    async def listen(self) -> None: ...

    async def refuse(self) -> None: ...


class ServerThread:
    """A loop in a thread that runs some servers."""

    def __init__(self, *servers: Listens) -> None:
        self._servers = servers
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the servers' loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def __enter__(self) -> Self:
        self._thread.start()
        for server in self._servers:
            self.call(server.listen())
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            self.call(server.refuse())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
