"""Whether the database really keeps things, and how fast: a write that reaches the disk, read back, and its state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import Connection, select

from backend.core.clock import monotonic_s
from backend.storage import facts, tables
from backend.storage.database import Database

FACT = "checkup"
WHOLE_BYTES = 256 << 20
"""A larger file is not looked through: that would take seconds, and hold a reader as long."""


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """What was found.

    Attributes:
        write_ms: Until the disk itself had a value.
        read_ms: Until the same value was read back on another connection.
        is_same: Whether it was the same.
        size_bytes: Of the file; None for a database server.
        damage: Why it cannot be trusted; empty = nothing was found, None = too large to look.
        newest_at: When the newest stored event happened.
    """

    write_ms: float
    read_ms: float
    is_same: bool
    size_bytes: int | None
    damage: str | None
    newest_at: datetime | None


async def try_out(database: Database) -> DatabaseState:
    """Write a value to the disk, read it back, look through the file.

    Raises:
        StorageError: It refuses, with what to do.
    """
    mark = uuid4().hex
    began_s = monotonic_s()
    await database.write(lambda connection: facts.put(connection, FACT, mark), durable=True)
    written_s = monotonic_s()
    kept = await database.read(lambda connection: facts.get(connection, FACT))
    read_s = monotonic_s()
    path = database.path
    size = path.stat().st_size if path is not None else None
    damage: str | None = ""
    if size is not None:
        damage = await database.read(_damage) if size <= WHOLE_BYTES else None
    return DatabaseState(
        write_ms=(written_s - began_s) * 1000,
        read_ms=(read_s - written_s) * 1000,
        is_same=kept == mark,
        size_bytes=size,
        damage=damage,
        newest_at=await newest_event_at(database),
    )


async def newest_event_at(database: Database) -> datetime | None:
    """When the newest stored event happened, by the clock of that time."""

    def newest(connection: Connection) -> datetime | None:
        table = tables.events
        found = connection.scalar(select(table.c.timestamp).order_by(table.c.seq.desc()).limit(1))
        if found is None:
            return None
        at: datetime = found
        return at if at.tzinfo is not None else at.replace(tzinfo=UTC)

    return await database.read(newest)


def _damage(connection: Connection) -> str:
    found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    return "" if found == "ok" else str(found)
