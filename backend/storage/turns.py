"""Turns: what was said, and how long every stage took."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, delete, func, insert, or_, select, update

from backend.contracts.entities import Turn
from backend.contracts.errors import NotFoundError
from backend.storage.tables import chat_logs
from backend.storage.tables import turns as table
from backend.storage.text import storable, storable_json


def put(connection: Connection, turn: Turn) -> None:
    """Store a turn and its row of the history; storing it again replaces both and keeps its place."""
    fields = turn.model_dump(mode="json", include={"spans", "sentences"})
    values: dict[str, Any] = {
        "id": turn.id,
        "conversation_id": turn.conversation_id,
        "character_id": turn.character_id,
        "number": turn.number,
        "origin": storable(turn.source)[:32],
        "author": storable(turn.author)[:200],
        "outcome": turn.outcome,
        "error": storable(turn.error),
        "first_audio_ms": turn.first_audio_ms,
        "total_ms": turn.total_ms,
        "spans": storable_json(fields["spans"]),
        "sentences": storable_json(fields["sentences"]),
        "started_at": turn.started_at,
    }
    said: dict[str, Any] = {
        "turn_id": turn.id,
        "conversation_id": turn.conversation_id,
        "character_id": turn.character_id,
        "author": values["author"],
        "user_message": storable(turn.message),
        "character_response": storable(turn.reply),
        "audio_file": next((each.url for each in turn.sentences if each.url), None),
        "emotion": storable(turn.emotion)[:64],
        "timestamp": turn.started_at,
    }
    changed = connection.execute(update(table).where(table.c.id == turn.id).values(values))
    if changed.rowcount:
        connection.execute(update(chat_logs).where(chat_logs.c.turn_id == turn.id).values(said))
    else:
        connection.execute(insert(table).values(values))
        connection.execute(insert(chat_logs).values(said))


def take_back(connection: Connection, turn_id: str, instead: str) -> bool:
    """Keep no more what was said in a turn; False when there is none."""
    turn = get(connection, turn_id)
    if turn is None:
        return False
    put(connection, turn.model_copy(update={"message": instead, "reply": ""}))
    return True


def get(connection: Connection, turn_id: str) -> Turn | None:
    """One turn, None when there is no such."""
    row = connection.execute(_query().where(table.c.id == turn_id)).first()
    return None if row is None else _turn(row)


def recent(
    connection: Connection,
    limit: int,
    conversation_id: str | None = None,
    before: str | None = None,
) -> list[Turn]:
    """The last turns, newest first.

    Args:
        connection: Where to read.
        limit: How many at most.
        conversation_id: Only of this conversation.
        before: Id of a turn: only older ones, for the next page.

    Raises:
        NotFoundError: If there is no turn ``before``.
    """
    query = _query().order_by(table.c.started_at.desc(), table.c.id.desc()).limit(limit)
    if conversation_id is not None:
        query = query.where(table.c.conversation_id == conversation_id)
    if before is not None:
        at = connection.scalar(select(table.c.started_at).where(table.c.id == before))
        if at is None:
            raise NotFoundError(f"There is no turn {before!r} to go back from.")
        query = query.where(
            or_(table.c.started_at < at, and_(table.c.started_at == at, table.c.id < before))
        )
    return [_turn(row) for row in connection.execute(query)]


def latest_number(connection: Connection, conversation_id: str) -> int:
    """Number of the conversation's last turn, 0 when it has none."""
    return (
        connection.scalar(
            select(func.max(table.c.number)).where(table.c.conversation_id == conversation_id)
        )
        or 0
    )


def prune(connection: Connection, before: datetime, slice_size: int) -> list[str]:
    """Forget up to ``slice_size`` of the oldest turns from before that moment; returns their ids."""
    gone = list(
        connection.scalars(
            select(table.c.id)
            .where(table.c.started_at < before)
            .order_by(table.c.started_at)
            .limit(slice_size)
        )
    )
    if not gone:
        return []
    connection.execute(delete(chat_logs).where(chat_logs.c.turn_id.in_(gone)))
    connection.execute(delete(table).where(table.c.id.in_(gone)))
    return gone


def _query() -> Select[Any]:
    return select(
        table,
        chat_logs.c.user_message,
        chat_logs.c.character_response,
        chat_logs.c.emotion,
    ).join(chat_logs, chat_logs.c.turn_id == table.c.id)


def _turn(row: Row[Any]) -> Turn:
    return Turn(
        id=row.id,
        conversation_id=row.conversation_id,
        character_id=row.character_id,
        number=row.number,
        author=row.author,
        source=row.origin,
        message=row.user_message,
        reply=row.character_response,
        emotion=row.emotion,
        outcome=row.outcome,
        error=row.error,
        first_audio_ms=row.first_audio_ms,
        total_ms=row.total_ms,
        started_at=row.started_at,
        spans=row.spans,
        sentences=row.sentences,
    )
