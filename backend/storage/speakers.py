"""People (and machines) whose recordings are here."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy import delete as sql_delete

from backend.storage.tables import speakers as table
from backend.storage.text import storable


@dataclass(frozen=True, slots=True)
class SpeakerRow:
    """A speaker as stored; see `backend.contracts.training.Speaker`."""

    id: str
    name: str
    language: str
    created_at: datetime
    updated_at: datetime
    consent: str = ""
    consent_at: datetime | None = None
    synthetic: bool = False


def list_all(connection: Connection) -> list[SpeakerRow]:
    """Every speaker, by name."""
    rows = connection.execute(select(table).order_by(table.c.name, table.c.id))
    return [_speaker(row) for row in rows]


def put(connection: Connection, speaker: SpeakerRow) -> None:
    """Store a new or changed speaker."""
    values = {one.name: getattr(speaker, one.name) for one in fields(speaker)}
    values = {
        key: storable(each) if isinstance(each, str) else each for key, each in values.items()
    }
    changed = connection.execute(update(table).where(table.c.id == speaker.id).values(values))
    if not changed.rowcount:
        connection.execute(insert(table).values(values))


def delete(connection: Connection, speaker_id: str) -> bool:
    """Forget a speaker; False when there was none."""
    return bool(connection.execute(sql_delete(table).where(table.c.id == speaker_id)).rowcount)


def _speaker(row: Row[Any]) -> SpeakerRow:
    return SpeakerRow(**{one.name: row._mapping[one.name] for one in fields(SpeakerRow)})
