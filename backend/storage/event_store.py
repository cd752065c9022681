"""The bus's memory: stores what it publishes, and answers what happened since, or when, or about what."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from backend.core import clock
from backend.core.bus import EventBus, Published
from backend.storage import events
from backend.storage.database import Database
from backend.storage.events import Envelope, Filter

PRUNE_SLICE = 2000
"""Events deleted in one transaction: about 10 ms, so nobody who writes waits long."""
PRUNE_PAUSE_S = 0.02


class EventStore:
    """Stored events of one database.

    Args:
        database: Where they lie; open.
        bus: Whose events they are.
    """

    def __init__(self, database: Database, bus: EventBus) -> None:
        self._database = database
        self._bus = bus

    @property
    def epoch(self) -> str:
        """Identity of the numbering; on another one a client starts over."""
        return self._database.epoch

    async def persist(self, items: list[Published]) -> None:
        """Store events; for `EventBus.bind`."""
        await self._database.write(lambda connection: events.insert(connection, items))

    async def last_seq(self) -> int:
        """Number of the newest stored event; where a new bus goes on."""
        return await self._database.read(events.last_seq)

    async def first_seq(self) -> int:
        """Number of the oldest event still kept; a client that knows less must start over."""
        return await self._database.read(events.first_seq)

    async def since(self, seq: int, limit: int = 1000) -> list[Envelope]:
        """Up to ``limit`` stored events after that number, oldest first."""
        return await self._database.read(lambda connection: events.since(connection, seq, limit))

    async def search(self, wanted: Filter, limit: int = 200) -> list[Envelope]:
        """Up to ``limit`` events that match, newest first; oldest first with ``after_seq``.

        What was published before the call is found.
        """
        await self._bus.flush()
        return await self._database.read(
            lambda connection: events.search(connection, wanted, limit)
        )

    async def prune(self, max_age_days: float, max_rows: int) -> int:
        """Delete events that are too old or too many, a slice at a time; returns how many went."""
        before = clock.now() - timedelta(days=max_age_days)
        total = 0
        while gone := await self._database.write(
            lambda connection: events.prune(connection, before, max_rows, PRUNE_SLICE)
        ):
            total += gone
            await asyncio.sleep(PRUNE_PAUSE_S)
        return total
