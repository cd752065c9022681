"""Which modules are switched on."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from backend.storage.tables import module_states as table


def states(connection: Connection) -> dict[str, bool]:
    """Name to enabled, for every module that was ever switched."""
    return {row.name: row.enabled for row in connection.execute(select(table))}


def put(connection: Connection, name: str, enabled: bool) -> None:
    """Remember that the module is on or off."""
    changed = connection.execute(update(table).where(table.c.name == name).values(enabled=enabled))
    if not changed.rowcount:
        connection.execute(insert(table).values(name=name, enabled=enabled))
