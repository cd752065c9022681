"""Small facts about this database: its epoch, and whatever else is one value for the whole program."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from backend.storage.tables import database_facts as table


def get(connection: Connection, name: str) -> str | None:
    """The value of a fact, None when it was never stored."""
    found: str | None = connection.scalar(select(table.c.value).where(table.c.name == name))
    return found


def put(connection: Connection, name: str, value: str) -> None:
    """Store a fact."""
    changed = connection.execute(update(table).where(table.c.name == name).values(value=value))
    if not changed.rowcount:
        connection.execute(insert(table).values(name=name, value=value))
