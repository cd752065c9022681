"""Clips for training voices."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy import delete as sql_delete

from backend.contracts.entities import TrainingClip
from backend.contracts.errors import NotFoundError
from backend.storage.tables import training_data as table
from backend.storage.text import storable


def list_all(
    connection: Connection, speaker: str | None = None, after_id: int = 0, limit: int = 1000
) -> list[TrainingClip]:
    """Clips in the order they came, or those of one speaker; ``after_id`` asks for the next page."""
    query = select(table).where(table.c.id > after_id).order_by(table.c.id).limit(limit)
    if speaker is not None:
        query = query.where(table.c.speaker == speaker)
    return [_clip(row) for row in connection.execute(query)]


def get(connection: Connection, clip_id: int) -> TrainingClip | None:
    """One clip, None when there is no such."""
    row = connection.execute(select(table).where(table.c.id == clip_id)).first()
    return None if row is None else _clip(row)


def put(connection: Connection, clip: TrainingClip) -> TrainingClip:
    """Store a new clip (without id) or a changed one; returns it with its id.

    Raises:
        NotFoundError: If it has an id that is not stored.
    """
    values = {
        "filename": storable(clip.filename),
        "transcript": storable(clip.transcript),
        "duration": clip.duration_s,
        "speaker": storable(clip.speaker),
        "emotion": storable(clip.emotion),
        "quality": storable(clip.quality),
        "created_at": clip.created_at,
    }
    if clip.id is None:
        made = connection.execute(insert(table).values(values)).inserted_primary_key
        assert made is not None
        return clip.model_copy(update={"id": made[0]})
    if not connection.execute(update(table).where(table.c.id == clip.id).values(values)).rowcount:
        raise NotFoundError(f"There is no training clip {clip.id}.")
    return clip


def delete(connection: Connection, clip_id: int) -> bool:
    """Forget a clip (its file is the caller's); False when there was none."""
    return bool(connection.execute(sql_delete(table).where(table.c.id == clip_id)).rowcount)


def _clip(row: Row[Any]) -> TrainingClip:
    return TrainingClip(
        id=row.id,
        filename=row.filename,
        transcript=row.transcript,
        duration_s=row.duration,
        speaker=row.speaker,
        emotion=row.emotion,
        quality=row.quality,
        created_at=row.created_at,
    )
