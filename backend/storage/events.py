"""Stored events: written in batches, read again by number or by filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Row, Select, Text, and_, cast, delete, func, or_, select
from sqlalchemy import insert as sql_insert

from backend.contracts.events import Severity, wire_time
from backend.core.bus import LEVELS, Published
from backend.storage import sqlite
from backend.storage.tables import events as table

Envelope = dict[str, Any]
"""An event as `Event.envelope` makes it."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are wanted; what is None or empty does not matter.

    Attributes:
        types: Any of these types; "chat.*" is a whole group.
        severity: At least this severe.
        since, until: When it happened; ``until`` is not included.
        text: Found in the message or in the data, upper and lower case alike.
        after_seq, before_seq: Only newer, only older than this number.
    """

    types: tuple[str, ...] = ()
    severity: Severity | None = None
    turn_id: str | None = None
    job_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""
    after_seq: int | None = None
    before_seq: int | None = None


def insert(connection: Connection, items: Sequence[Published]) -> None:
    """Store events that have a number."""
    if connection.dialect.name == "sqlite":
        values: list[object] = []
        for item in items:
            # One flat list: a tuple kept for every row would set the garbage collector off every few hundred.
            values += _sqlite_row(item)
        sqlite.insert_rows(connection, table, values)
    else:
        connection.execute(sql_insert(table), [_values(item) for item in items])


def since(connection: Connection, seq: int, limit: int) -> list[Envelope]:
    """Up to ``limit`` events after that number, oldest first."""
    rows = connection.execute(
        select(table).where(table.c.seq > seq).order_by(table.c.seq).limit(limit)
    )
    return [_envelope(row) for row in rows]


def search(connection: Connection, wanted: Filter, limit: int) -> list[Envelope]:
    """Up to ``limit`` events, newest first; oldest first when ``after_seq`` says where to go on from."""
    query = _matching(wanted)
    newest_first = wanted.after_seq is None
    query = query.order_by(table.c.seq.desc() if newest_first else table.c.seq).limit(limit)
    return [_envelope(row) for row in connection.execute(query)]


def last_seq(connection: Connection) -> int:
    """Number of the newest event, 0 when there is none."""
    return connection.scalar(select(func.max(table.c.seq))) or 0


def first_seq(connection: Connection) -> int:
    """Number of the oldest event still kept, 0 when there is none."""
    return connection.scalar(select(func.min(table.c.seq))) or 0


def prune(connection: Connection, before: datetime | None, max_rows: int, slice_size: int) -> int:
    """Delete up to ``slice_size`` of the oldest events that are too old or too many; returns how many went.

    The newest one always stays: its number says where the next goes on.
    """
    last = last_seq(connection)
    first = first_seq(connection)
    if not last:
        return 0
    limit = last - max_rows
    if before is not None:
        # Numbers and times grow together: the newest event that is too old ends the range.
        limit = max(
            limit,
            connection.scalar(
                select(table.c.seq)
                .where(table.c.timestamp < before)
                .order_by(table.c.timestamp.desc(), table.c.seq.desc())
                .limit(1)
            )
            or 0,
        )
    limit = min(limit, last - 1, first + slice_size - 1)
    return connection.execute(delete(table).where(table.c.seq <= limit)).rowcount


def _values(item: Published) -> dict[str, Any]:
    event = item.event
    return {
        "seq": item.seq,
        "id": event.id,
        "event_type": event.type,
        "message": item.message,
        "data": orjson.Fragment(item.data),
        "timestamp": event.at,
        "severity": event.severity,
        "source": event.source,
        "turn_id": event.turn_id,
        "job_id": event.job_id,
    }


def _sqlite_row(item: Published) -> tuple[object, ...]:
    """The columns in the table's order, as SQLAlchemy's types would store them."""
    event = item.event
    return (
        item.seq,
        event.id,
        event.type,
        item.message,
        item.data,
        sqlite.stored_time(event.at),
        event.severity,
        event.source,
        event.turn_id,
        event.job_id,
    )


def _matching(wanted: Filter) -> Select[Any]:
    conditions = []
    if wanted.types:
        conditions.append(
            or_(
                *(
                    table.c.event_type.startswith(each[:-1], autoescape=True)
                    if each.endswith("*")
                    else table.c.event_type == each
                    for each in wanted.types
                )
            )
        )
    if wanted.severity is not None:
        lowest = LEVELS[wanted.severity]
        conditions.append(
            table.c.severity.in_([name for name, level in LEVELS.items() if level >= lowest])
        )
    if wanted.turn_id is not None:
        conditions.append(table.c.turn_id == wanted.turn_id)
    if wanted.job_id is not None:
        conditions.append(table.c.job_id == wanted.job_id)
    if wanted.since is not None:
        conditions.append(table.c.timestamp >= wanted.since)
    if wanted.until is not None:
        conditions.append(table.c.timestamp < wanted.until)
    if wanted.text:
        text = wanted.text.lower()
        conditions.append(
            or_(
                func.lower(table.c.message).contains(text, autoescape=True),
                func.lower(cast(table.c.data, Text)).contains(text, autoescape=True),
            )
        )
    if wanted.after_seq is not None:
        conditions.append(table.c.seq > wanted.after_seq)
    if wanted.before_seq is not None:
        conditions.append(table.c.seq < wanted.before_seq)
    return select(table).where(and_(True, *conditions))


def _envelope(row: Row[Any]) -> Envelope:
    return {
        "seq": row.seq,
        "id": row.id,
        "type": row.event_type,
        "at": wire_time(row.timestamp),
        "severity": row.severity,
        "source": row.source,
        "turn_id": row.turn_id,
        "job_id": row.job_id,
        "message": row.message,
        "data": row.data,
    }
