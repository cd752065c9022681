"""What viewers wrote and what became of it; the queue's rules; commands of the streamer's own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError
from sqlalchemy import (
    Connection,
    Row,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from backend.contracts.audience import (
    FINAL,
    AudienceMessage,
    CustomCommand,
    Disposition,
    DispositionName,
    MessageRecord,
    QueueRules,
)
from backend.core import clock
from backend.storage import facts
from backend.storage.database import Database
from backend.storage.tables import audience_messages as table
from backend.storage.tables import chat_commands
from backend.storage.text import storable

logger = logging.getLogger(__name__)

RULES = "queue_rules"
PRUNE_SLICE = 2000
PRUNE_PAUSE_S = 0.02
SLICE = 500
"""Ids asked for in one statement: below what any database takes as parameters."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a message last, and the message where it is new."""

    disposition: Disposition
    message: AudienceMessage | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages are wanted; what is None or empty does not matter.

    Attributes:
        since: Written at or after it.
        author: Found in the author's name or equal to their id, upper and lower case alike.
        text: Found in what was written, or in the reason, likewise.
        before_seq: Only older than this place; after_seq: only newer.
    """

    since: datetime | None = None
    author: str = ""
    disposition: DispositionName | None = None
    platform: str = ""
    text: str = ""
    before_seq: int | None = None
    after_seq: int | None = None


def put(connection: Connection, items: Sequence[Kept]) -> None:
    """Store messages, or what became of them where they are stored already."""
    known: set[str] = set()
    ids = [item.disposition.message_id for item in items if item.message is not None]
    for start in range(0, len(ids), SLICE):
        some = ids[start : start + SLICE]
        known |= set(
            connection.scalars(select(table.c.message_id).where(table.c.message_id.in_(some)))
        )
    new: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    for item in items:
        if item.message is not None and item.message.id not in known:
            new.append({**_said(item.message), **_became(item.disposition)})
        else:
            changed.append({**_became(item.disposition), "its_id": item.disposition.message_id})
    if new:
        connection.execute(insert(table), new)
    if changed:
        connection.execute(update(table).where(table.c.message_id == bindparam("its_id")), changed)


def search(connection: Connection, wanted: Filter, limit: int) -> list[MessageRecord]:
    """Up to ``limit`` messages, newest first; oldest first when ``after_seq`` says where to go on from."""
    query = select(table)
    if wanted.since is not None:
        query = query.where(table.c.at >= wanted.since)
    if wanted.author:
        query = query.where(
            or_(
                func.lower(table.c.author).contains(wanted.author.lower(), autoescape=True),
                table.c.viewer_id == wanted.author,
            )
        )
    if wanted.disposition is not None:
        query = query.where(table.c.disposition == wanted.disposition)
    if wanted.platform:
        query = query.where(table.c.platform == wanted.platform)
    if wanted.text:
        part = wanted.text.lower()
        query = query.where(
            or_(
                func.lower(table.c.text).contains(part, autoescape=True),
                func.lower(table.c.reason).contains(part, autoescape=True),
            )
        )
    if wanted.before_seq is not None:
        query = query.where(table.c.seq < wanted.before_seq)
    if wanted.after_seq is not None:
        query = query.where(table.c.seq > wanted.after_seq).order_by(table.c.seq)
    else:
        query = query.order_by(table.c.seq.desc())
    return [_record(row) for row in connection.execute(query.limit(limit))]


def get(connection: Connection, message_id: str) -> MessageRecord | None:
    """One message; None when it is not kept."""
    row = connection.execute(select(table).where(table.c.message_id == message_id)).first()
    return None if row is None else _record(row)


def newest_ids(connection: Connection, limit: int) -> list[str]:
    """Ids of the newest messages, oldest first: they may be delivered again."""
    found = connection.scalars(select(table.c.message_id).order_by(table.c.seq.desc()).limit(limit))
    return list(found)[::-1]


def close_open(connection: Connection, now: datetime) -> list[tuple[str, DispositionName, str]]:
    """Give everything a final disposition that has none because Luma ended meanwhile; returns what it was given."""
    rows = connection.execute(
        select(table.c.message_id, table.c.disposition).where(
            table.c.disposition.not_in(sorted(FINAL))
        )
    ).all()
    closed: list[tuple[str, DispositionName, str]] = []
    for message_id, was in rows:
        if was == "answering":
            closed.append((message_id, "failed", "Luma ended while it was being answered"))
        else:
            closed.append((message_id, "too-old", "Luma ended while it waited"))
    if closed:
        connection.execute(
            update(table).where(table.c.message_id == bindparam("its_id")),
            [
                {"its_id": one, "disposition": name, "reason": reason, "decided_at": now}
                for one, name, reason in closed
            ],
        )
    return closed


def prune(connection: Connection, before: datetime, max_rows: int, slice_size: int) -> int:
    """Delete up to ``slice_size`` messages that are too old or too many; returns how many went."""
    last = connection.scalar(select(func.max(table.c.seq))) or 0
    first = connection.scalar(select(func.min(table.c.seq))) or 0
    old = connection.scalar(select(func.max(table.c.seq)).where(table.c.decided_at < before)) or 0
    limit = min(max(last - max_rows, old), first + slice_size - 1)
    return connection.execute(delete(table).where(table.c.seq <= limit)).rowcount


async def forget(database: Database, max_age_days: float, max_rows: int) -> int:
    """Delete messages that are too old or too many, a slice at a time; returns how many went."""
    before = clock.now() - timedelta(days=max_age_days)
    total = 0
    while gone := await database.write(
        lambda connection: prune(connection, before, max_rows, PRUNE_SLICE)
    ):
        total += gone
        await asyncio.sleep(PRUNE_PAUSE_S)
    return total


# --- rules ---


def rules(connection: Connection) -> QueueRules | None:
    """The queue's rules as they were set; None when they never were, or cannot be read any more."""
    stored = facts.get(connection, RULES)
    if stored is None:
        return None
    try:
        return QueueRules.model_validate_json(stored)
    except ValidationError as error:
        logger.warning("the stored rules of the queue cannot be read: %s", error)
        return None


def put_rules(connection: Connection, given: QueueRules) -> None:
    """Keep the queue's rules."""
    facts.put(connection, RULES, given.model_dump_json())


# --- commands ---


def commands(connection: Connection) -> list[tuple[CustomCommand, int]]:
    """All of them by name, and how often each was used; what cannot be read any more is left out."""
    return list(_commands(connection))


def _commands(connection: Connection) -> Iterator[tuple[CustomCommand, int]]:
    for row in connection.execute(select(chat_commands).order_by(chat_commands.c.name)):
        try:
            yield CustomCommand.model_validate(row.details), row.uses
        except ValidationError as error:
            logger.warning("the stored command %s cannot be read: %s", row.name, error)


def put_command(connection: Connection, command: CustomCommand, now: datetime) -> None:
    """Keep a command, or what it was changed to."""
    values: dict[str, Any] = {"details": command.model_dump(mode="json"), "updated_at": now}
    changed = connection.execute(
        update(chat_commands).where(chat_commands.c.name == command.name).values(values)
    )
    if not changed.rowcount:
        connection.execute(insert(chat_commands).values(name=command.name, uses=0, **values))


def delete_command(connection: Connection, name: str) -> bool:
    """Forget a command; False when there is none of that name."""
    return bool(
        connection.execute(delete(chat_commands).where(chat_commands.c.name == name)).rowcount
    )


def put_uses(connection: Connection, uses: dict[str, int]) -> None:
    """Keep how often commands were used."""
    if uses:
        connection.execute(
            update(chat_commands).where(chat_commands.c.name == bindparam("its_name")),
            [{"its_name": name, "uses": count} for name, count in uses.items()],
        )


def _said(message: AudienceMessage) -> dict[str, Any]:
    return {
        "message_id": message.id,
        "platform": message.platform[:32],
        "channel": storable(message.channel)[:100],
        "viewer_id": storable(message.viewer.id)[:128],
        "author": storable(message.viewer.name)[:200],
        "role": message.viewer.role,
        "text": storable(message.text),
        "bits": min(message.bits, 2**31 - 1),
        "at": message.at,
    }


def _became(became: Disposition) -> dict[str, Any]:
    return {
        "disposition": became.disposition,
        "reason": storable(became.reason),
        "rule": storable(became.rule)[:200],
        "into_id": became.into,
        "turn_id": became.turn_id,
        "decided_at": became.at,
    }


def _record(row: Row[Any]) -> MessageRecord:
    return MessageRecord(
        seq=row.seq,
        message_id=row.message_id,
        platform=row.platform,
        channel=row.channel,
        viewer_id=row.viewer_id,
        author=row.author,
        role=row.role,
        text=row.text,
        bits=row.bits,
        at=row.at,
        disposition=row.disposition,
        reason=row.reason,
        rule=row.rule,
        into=row.into_id,
        turn_id=row.turn_id,
        decided_at=row.decided_at,
    )
