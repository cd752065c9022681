"""What all servers of the tests are: open inside `async with`, and waited for by what has come to them."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self


class Listening(ABC):
    """A server; whoever is one sets `_changed` when something has come."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    @abstractmethod
    async def listen(self) -> None:
        """Begin to accept connections."""

    @abstractmethod
    async def refuse(self) -> None:
        """Accept no connection any more, and drop those that are open."""

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()

    async def until(self, is_so: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Wait until something is true of what came."""
        async with asyncio.timeout(timeout_s):
            while not is_so():
                self._changed.clear()
                await self._changed.wait()
