"""Conversations and what was said in them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, insert, select, update
from sqlalchemy import delete as sql_delete

from backend.contracts.entities import ChatLog, Conversation
from backend.storage.tables import chat_logs, turns
from backend.storage.tables import conversations as table
from backend.storage.text import storable


def list_all(connection: Connection, client_uid: str | None = None) -> list[Conversation]:
    """Every conversation, or those of one client; the one used last comes first."""
    query = _query().order_by(table.c.updated_at.desc(), table.c.id)
    if client_uid is not None:
        query = query.where(table.c.client_uid == client_uid)
    return [_conversation(row) for row in connection.execute(query)]


def get(connection: Connection, conversation_id: str) -> Conversation | None:
    """One conversation, None when there is no such."""
    row = connection.execute(_query().where(table.c.id == conversation_id)).first()
    return None if row is None else _conversation(row)


def put(connection: Connection, conversation: Conversation) -> None:
    """Store a new or changed conversation; its number of turns is counted, not stored."""
    values = {
        "id": conversation.id,
        "character_id": conversation.character_id,
        "client_uid": storable(conversation.client_uid),
        "title": storable(conversation.title)[:200],
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
    }
    changed = connection.execute(update(table).where(table.c.id == conversation.id).values(values))
    if not changed.rowcount:
        connection.execute(insert(table).values(values))


def touch(connection: Connection, conversation_id: str, at: datetime) -> None:
    """Say that the conversation was used at that moment."""
    connection.execute(update(table).where(table.c.id == conversation_id).values(updated_at=at))


def clear(connection: Connection, conversation_id: str) -> list[str]:
    """Forget everything said in the conversation and keep it; returns the ids of the turns that went."""
    gone = connection.scalars(
        select(turns.c.id).where(turns.c.conversation_id == conversation_id)
    ).all()
    for each in (chat_logs, turns):
        connection.execute(sql_delete(each).where(each.c.conversation_id == conversation_id))
    return list(gone)


def delete(connection: Connection, conversation_id: str) -> bool:
    """Remove a conversation and everything said in it; False when there was none."""
    clear(connection, conversation_id)
    gone = connection.execute(sql_delete(table).where(table.c.id == conversation_id))
    return bool(gone.rowcount)


def history(
    connection: Connection, conversation_id: str, limit: int, character_id: str | None = None
) -> list[ChatLog]:
    """The last ``limit`` messages and replies of a conversation, or of one character in it, oldest of them first."""
    query = (
        select(chat_logs, turns.c.outcome, turns.c.origin)
        .join(turns, turns.c.id == chat_logs.c.turn_id)
        .where(chat_logs.c.conversation_id == conversation_id)
    )
    if character_id is not None:
        query = query.where(chat_logs.c.character_id == character_id)
    rows = connection.execute(query.order_by(chat_logs.c.id.desc()).limit(limit)).all()
    return [_chat_log(row) for row in reversed(rows)]


def histories(
    connection: Connection, owner: str, character_id: str, limit: int
) -> list[tuple[Conversation, ChatLog]]:
    """Conversations in which something was said, each with the last of it; the one used last comes first.

    Args:
        connection: Where to read.
        owner: A client's uid, or the beginning of those of a group, ending in "-".
        character_id: Only those that talk with this character.
        limit: How many at most.
    """
    newest = (
        select(func.max(chat_logs.c.id))
        .where(chat_logs.c.conversation_id == table.c.id)
        .correlate(table)
        .scalar_subquery()
    )
    found = connection.execute(
        _query()
        .add_columns(newest.label("newest"))
        .where(_is_of(owner), table.c.character_id == character_id, newest.is_not(None))
        .order_by(table.c.updated_at.desc(), table.c.id)
        .limit(limit)
    ).all()
    logs = {
        row.id: _chat_log(row)
        for row in connection.execute(
            select(chat_logs, turns.c.outcome, turns.c.origin)
            .join(turns, turns.c.id == chat_logs.c.turn_id)
            .where(chat_logs.c.id.in_([row.newest for row in found]))
        )
    }
    return [
        (Conversation.model_validate({k: v for k, v in row._mapping.items() if k != "newest"}), log)
        for row in found
        if (log := logs.get(row.newest)) is not None
    ]


def count_of(connection: Connection, owner: str) -> int:
    """How many conversations a client, or a group of clients, has; ``owner`` as for `histories`."""
    return connection.scalar(select(func.count()).select_from(table).where(_is_of(owner))) or 0


def _is_of(owner: str) -> ColumnElement[bool]:
    if owner.endswith("-"):
        return table.c.client_uid.startswith(owner, autoescape=True)
    return table.c.client_uid == owner


def _query() -> Select[Any]:
    count = (
        select(func.count())
        .select_from(turns)
        .where(turns.c.conversation_id == table.c.id)
        .scalar_subquery()
    )
    return select(table, count.label("turns"))


def _conversation(row: Row[Any]) -> Conversation:
    return Conversation.model_validate(dict(row._mapping))


def _chat_log(row: Row[Any]) -> ChatLog:
    return ChatLog(
        id=row.id,
        turn_id=row.turn_id,
        conversation_id=row.conversation_id,
        character_id=row.character_id,
        author=row.author,
        message=row.user_message,
        reply=row.character_response,
        emotion=row.emotion,
        audio_file=row.audio_file,
        outcome=row.outcome,
        at=row.timestamp,
        origin=row.origin,
    )
