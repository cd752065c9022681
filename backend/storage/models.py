"""Models and voices that were trained or imported here."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy import delete as sql_delete

from backend.contracts.entities import ModelRecord
from backend.storage.tables import clip_models
from backend.storage.tables import models as table
from backend.storage.text import storable, storable_json


def list_all(connection: Connection, kind: str | None = None) -> list[ModelRecord]:
    """Every model, or those of one kind; the newest first."""
    query = select(table).order_by(table.c.created_at.desc(), table.c.id)
    if kind is not None:
        query = query.where(table.c.kind == kind)
    return [_model(row) for row in connection.execute(query)]


def get(connection: Connection, model_id: str) -> ModelRecord | None:
    """One model, None when there is no such."""
    row = connection.execute(select(table).where(table.c.id == model_id)).first()
    return None if row is None else _model(row)


def put(connection: Connection, model: ModelRecord) -> None:
    """Store a new or changed model."""
    values = model.model_dump() | {
        "name": storable(model.name),
        "model_path": storable(model.model_path),
        "details": storable_json(model.model_dump(mode="json", include={"details"})["details"]),
    }
    changed = connection.execute(update(table).where(table.c.id == model.id).values(values))
    if not changed.rowcount:
        connection.execute(insert(table).values(values))


def delete(connection: Connection, model_id: str) -> bool:
    """Forget a model and what it was made from (its files are the caller's); False when there was none."""
    name = select(table.c.name).where(table.c.id == model_id).scalar_subquery()
    connection.execute(sql_delete(clip_models).where(clip_models.c.model == name))
    return bool(connection.execute(sql_delete(table).where(table.c.id == model_id)).rowcount)


def _model(row: Row[Any]) -> ModelRecord:
    return ModelRecord.model_validate(dict(row._mapping))
