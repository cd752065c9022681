"""Bring the tables to what this version of the program expects.

A migration is a file ``NNNN_what.py`` in ``versions``; its number is its revision, the highest is the head. A new database is
made from `tables` at once and stamped with the head, so Alembic is imported only when there is something to migrate.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, insert, inspect, select

from backend.contracts.errors import StorageForeignError
from backend.storage import tables
from backend.storage.migrations import revisions

logger = logging.getLogger(__name__)

BACKUPS_KEPT = 3

# Alembic's own table, as it makes it.
_stamp = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), primary_key=True, nullable=False),
)


def bring_up_to_date(engine: Engine, versions: Path, back_up: Callable[[str], None]) -> None:
    """Create or migrate the tables; the whole change is one transaction, so a kill leaves the old ones.

    Args:
        engine: Of a connection that may write.
        versions: Where the migrations are.
        back_up: Called with the old revision before anything is changed.

    Raises:
        StorageForeignError: If a newer Luma or another program made the database; nothing is changed.
    """
    known = revisions(versions)
    head = known[-1]
    with engine.connect() as connection:
        stored = _stored(connection)
    if stored == head:
        return
    if stored is None:
        with engine.begin() as connection:
            tables.metadata.create_all(connection, checkfirst=False)
            _stamp.create(connection)
            connection.execute(insert(_stamp).values(version_num=head))
        return
    if stored not in known:
        raise StorageForeignError(
            f"The database has the revision {stored!r}, this Luma knows {known[0]} to {head}. It was made"
            " by a newer version: update Luma, or start with another data folder."
        )
    back_up(stored)
    logger.info("migrating the database from %s to %s", stored, head)
    from backend.storage.migrations.upgrade import upgrade

    with engine.begin() as connection:
        upgrade(connection, versions)


def _stored(connection: Connection) -> str | None:
    """The database's revision, None when it is empty."""
    present = set(inspect(connection).get_table_names())
    if _stamp.name in present:
        found: str | None = connection.scalar(select(_stamp.c.version_num))
        if found is not None:
            return found
    ours = sorted(present & set(tables.metadata.tables))
    if ours:
        raise StorageForeignError(
            f"The database already has tables of these names that Luma did not make: {', '.join(ours)}."
            " Give Luma a database of its own in DATABASE_URL."
        )
    return None
