"""Forget old turns, a little at a time; events have their own rule in `event_store`."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from backend.core import clock
from backend.storage import turns
from backend.storage.database import Database

PRUNE_SLICE = 500
PRUNE_PAUSE_S = 0.02


async def prune_turns(database: Database, max_age_days: float) -> list[str]:
    """Delete turns that are too old from history and trace; returns their ids, for whoever keeps their sounds."""
    before = clock.now() - timedelta(days=max_age_days)
    gone: list[str] = []
    while some := await database.write(
        lambda connection: turns.prune(connection, before, PRUNE_SLICE)
    ):
        gone += some
        await asyncio.sleep(PRUNE_PAUSE_S)
    return gone
