"""Jobs of voice training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy import delete as sql_delete

from backend.contracts.training import Job
from backend.storage.tables import training_jobs as table
from backend.storage.text import storable, storable_json


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job as it is kept.

    Attributes:
        job: What everybody may see of it.
        memory: What whoever runs it must still know after a restart (JSON).
    """

    job: Job
    memory: dict[str, Any] = field(default_factory=dict)


def list_all(
    connection: Connection,
    kind: str | None = None,
    speaker: str | None = None,
    limit: int = 500,
) -> list[StoredJob]:
    """Jobs, the newest first; those of one kind or one speaker."""
    query = select(table).order_by(table.c.created_at.desc(), table.c.id.desc()).limit(limit)
    if kind is not None:
        query = query.where(table.c.kind == kind)
    if speaker is not None:
        query = query.where(table.c.speaker == speaker)
    return [_stored(row) for row in connection.execute(query)]


def of_speaker(connection: Connection, speaker: str) -> list[StoredJob]:
    """Every job about a speaker: it is the job's own, or named in ``speakers`` of its memory."""
    found = []
    for row in connection.execute(select(table)):
        others = dict(row.memory).get("speakers")
        if row.speaker == speaker or (isinstance(others, list) and speaker in others):
            found.append(_stored(row))
    return found


def in_states(connection: Connection, states: Iterable[str]) -> list[StoredJob]:
    """Jobs in one of these states, the oldest first."""
    query = select(table).where(table.c.state.in_(list(states)))
    return [_stored(row) for row in connection.execute(query.order_by(table.c.created_at))]


def get(connection: Connection, job_id: str) -> StoredJob | None:
    """One job, None when there is no such."""
    row = connection.execute(select(table).where(table.c.id == job_id)).first()
    return None if row is None else _stored(row)


def put(connection: Connection, stored: StoredJob) -> None:
    """Store a new or changed job."""
    job = stored.job
    values = {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "name": storable(job.name),
        "speaker": storable(job.speaker),
        "details": storable_json(job.model_dump(mode="json")),
        "memory": storable_json(stored.memory),
        "created_at": job.created_at,
        "ended_at": job.ended_at,
    }
    changed = connection.execute(update(table).where(table.c.id == job.id).values(values))
    if not changed.rowcount:
        connection.execute(insert(table).values(values))


def delete(connection: Connection, job_id: str) -> bool:
    """Forget a job (its folder is the caller's); False when there was none."""
    return bool(connection.execute(sql_delete(table).where(table.c.id == job_id)).rowcount)


def _stored(row: Row[Any]) -> StoredJob:
    return StoredJob(Job.model_validate(row.details), dict(row.memory))
