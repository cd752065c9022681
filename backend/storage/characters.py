"""Characters in the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy import delete as sql_delete

from backend.contracts.entities import Character
from backend.core import clock
from backend.storage.tables import characters as table
from backend.storage.text import storable, storable_json

# Columns of their own; every other field of a character lies in `details`.
_COLUMNS = (
    "id",
    "name",
    "profile",
    "personality",
    "avatar_url",
    "builtin",
    "created_at",
    "updated_at",
)


def list_all(connection: Connection) -> list[Character]:
    """Every character, by name."""
    rows = connection.execute(select(table).order_by(table.c.name, table.c.id))
    return [_character(row) for row in rows]


def get(connection: Connection, character_id: str) -> Character | None:
    """One character, None when there is no such."""
    row = connection.execute(select(table).where(table.c.id == character_id)).first()
    return None if row is None else _character(row)


def put(connection: Connection, character: Character) -> Character:
    """Store a new or changed character; missing times are set to now. Returns it as stored."""
    moment = clock.now()
    stored = character.model_copy(
        update={
            "created_at": character.created_at or moment,
            "updated_at": character.updated_at or moment,
        }
    )
    fields = stored.model_dump(mode="json", exclude=set(_COLUMNS))
    values: dict[str, Any] = {
        "id": stored.id,
        "name": storable(stored.name),
        "profile": storable(stored.profile),
        "personality": storable_json(stored.personality.model_dump(mode="json")),
        "avatar_url": storable(stored.avatar_url),
        "details": storable_json(fields),
        "builtin": stored.builtin,
        "created_at": stored.created_at,
        "updated_at": stored.updated_at,
    }
    changed = connection.execute(update(table).where(table.c.id == stored.id).values(values))
    if not changed.rowcount:
        connection.execute(insert(table).values(values))
    return stored


def delete(connection: Connection, character_id: str) -> bool:
    """Remove a character; False when there was none."""
    return bool(connection.execute(sql_delete(table).where(table.c.id == character_id)).rowcount)


def _character(row: Row[Any]) -> Character:
    values = row._mapping
    # A field that a newer version stored and this one does not know must not make the character unreadable.
    details = {
        key: each for key, each in values["details"].items() if key in Character.model_fields
    }
    return Character.model_validate(details | {name: values[name] for name in _COLUMNS})
