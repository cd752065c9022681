"""Clips for training voices, and which voices were made of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy import delete as sql_delete

from backend.contracts.errors import NotFoundError
from backend.storage.tables import clip_models
from backend.storage.tables import training_data as table
from backend.storage.text import storable, storable_json

IDS_PER_QUERY = 500
MOST_IDS = IDS_PER_QUERY
"""SQLite takes 32,766 values in a statement, PostgreSQL 65,535; a page of ids needs far fewer."""

SORTED_BY = {
    "id": table.c.id,
    "transcript": func.lower(table.c.transcript),
    "duration": table.c.duration,
    "snr": table.c.snr_db,
    "loudness": table.c.loudness,
    "grade": table.c.quality,
    "match": table.c.match_cost,
}
SortedBy = Literal["id", "transcript", "duration", "snr", "loudness", "grade", "match"]


@dataclass(frozen=True, slots=True)
class ClipRow:
    """One piece of training sound; see `backend.contracts.training.Clip` for what travels.

    Attributes:
        id: None until it is stored.
        uid: Names its file; None in rows of a time before clips had files of ours.
        filename: "<uid>.wav" in the folder of clips, or whatever an old row says.
        deleted_at: It was deleted and can be brought back by undo.
        job_id: The processing that made it.
    """

    filename: str
    duration_s: float
    created_at: datetime
    id: int | None = None
    uid: str | None = None
    transcript: str = ""
    speaker: str = ""
    emotion: str = ""
    grade: str = ""
    source: str = ""
    start_s: float = 0.0
    end_s: float = 0.0
    status: str = "new"
    language: str = ""
    text_from: str = ""
    reasons: tuple[str, ...] = ()
    measures: dict[str, float] = field(default_factory=dict)
    sha256: str = ""
    edited: bool = False
    upload_id: str = ""
    job_id: str = ""
    prompt_id: str = ""
    deleted_at: datetime | None = None
    updated_at: datetime | None = None


_COLUMNS = {"duration_s": "duration", "grade": "quality"}
"""Where a field's column has the name that the plan gave it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which clips: those that fit everything that is given."""

    speaker: str = ""
    status: str = ""
    grade: str = ""
    text: str = ""
    """Part of the transcript or of the file it was cut from."""
    ids: tuple[int, ...] = ()
    """Only these, at most `MOST_IDS`; empty = all."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Over all clips that fit a question."""

    total: int
    accepted: int
    minutes: dict[str, float]
    """Accepted minutes per grade ("" = not graded)."""
    grades: dict[str, int] = field(default_factory=dict)
    """Clips per grade, whatever their status."""
    waiting: int = 0
    """Neither accepted nor rejected."""


def page(
    connection: Connection,
    wanted: Wanted,
    *,
    sort: SortedBy = "id",
    descending: bool = False,
    offset: int = 0,
    limit: int = 1000,
) -> list[ClipRow]:
    """Clips that fit, in order; what was not measured comes last."""
    key = SORTED_BY[sort]
    order: list[ColumnElement[Any]] = [key.desc() if descending else key.asc()]
    if sort in ("snr", "loudness", "match"):
        order.insert(0, key.is_(None))
    elif sort == "grade":
        order.insert(0, table.c.quality == "")
    query = _fitting(select(table), wanted).order_by(*order, table.c.id).offset(offset).limit(limit)
    return [_clip(row) for row in connection.execute(query)]


def sums(connection: Connection, wanted: Wanted) -> Sums:
    """How many fit, how many of them are accepted, and how long those are."""
    query = _fitting(
        select(table.c.status, table.c.quality, func.count(), func.sum(table.c.duration)), wanted
    ).group_by(table.c.status, table.c.quality)
    total = accepted = waiting = 0
    minutes: dict[str, float] = {}
    grades: dict[str, int] = {}
    for status, grade, count, seconds in connection.execute(query):
        total += count
        waiting += count if status == "new" else 0
        grades[grade] = grades.get(grade, 0) + count
        if status == "accepted":
            accepted += count
            minutes[grade] = round((seconds or 0.0) / 60, 3)
    return Sums(total, accepted, minutes, grades, waiting)


def sums_by_speaker(connection: Connection) -> dict[str, Sums]:
    """The same for every speaker that has clips."""
    query = (
        select(
            table.c.speaker,
            table.c.status,
            table.c.quality,
            func.count(),
            func.sum(table.c.duration),
        )
        .where(table.c.deleted_at.is_(None))
        .group_by(table.c.speaker, table.c.status, table.c.quality)
    )
    found: dict[str, Sums] = {}
    for speaker, status, grade, count, seconds in connection.execute(query):
        old = found.get(speaker, Sums(0, 0, {}))
        minutes = dict(old.minutes)
        if status == "accepted":
            minutes[grade] = round(minutes.get(grade, 0.0) + (seconds or 0.0) / 60, 3)
        found[speaker] = Sums(
            old.total + count, old.accepted + (count if status == "accepted" else 0), minutes
        )
    return found


def list_all(connection: Connection, *, deleted: bool = False) -> list[ClipRow]:
    """Every clip in the order they came; ``deleted`` adds those that undo could bring back."""
    query = select(table).order_by(table.c.id)
    if not deleted:
        query = query.where(table.c.deleted_at.is_(None))
    return [_clip(row) for row in connection.execute(query)]


def of_speaker(connection: Connection, speaker: str, *, deleted: bool = False) -> list[ClipRow]:
    """Every clip of one speaker, in the order they came."""
    query = select(table).where(table.c.speaker == speaker).order_by(table.c.id)
    if not deleted:
        query = query.where(table.c.deleted_at.is_(None))
    return [_clip(row) for row in connection.execute(query)]


def of_job(connection: Connection, job_id: str) -> list[ClipRow]:
    """Every clip that a processing made and that is still there, in the order they came."""
    query = select(table).where(table.c.job_id == job_id, table.c.deleted_at.is_(None))
    return [_clip(row) for row in connection.execute(query.order_by(table.c.id))]


def of_uploads(connection: Connection, upload_ids: Collection[str]) -> dict[str, int]:
    """How many clips there are of each upload; those without any are left out."""
    found: dict[str, int] = {}
    for part in _parts(list(upload_ids)):
        query = (
            select(table.c.upload_id, func.count())
            .where(table.c.upload_id.in_(part), table.c.deleted_at.is_(None))
            .group_by(table.c.upload_id)
        )
        found.update({row[0]: row[1] for row in connection.execute(query)})
    return found


def by_ids(connection: Connection, ids: Collection[int]) -> list[ClipRow]:
    """The clips of these ids that are there, in the order of their ids; deleted ones are not there."""
    found: list[ClipRow] = []
    for part in _parts(sorted(set(ids))):
        query = select(table).where(table.c.id.in_(part), table.c.deleted_at.is_(None))
        found += [_clip(row) for row in connection.execute(query.order_by(table.c.id))]
    return found


def by_uids(connection: Connection, uids: Collection[str]) -> list[ClipRow]:
    """The clips of these uids, deleted ones too."""
    found: list[ClipRow] = []
    for part in _parts(sorted(set(uids))):
        found += [
            _clip(row) for row in connection.execute(select(table).where(table.c.uid.in_(part)))
        ]
    return found


def put(connection: Connection, clip: ClipRow) -> ClipRow:
    """Store a new clip (without id) or a changed one; returns it with its id.

    Raises:
        NotFoundError: If it has an id that is not stored.
    """
    values = _values(clip)
    if clip.id is None:
        made = connection.execute(insert(table).values(values)).inserted_primary_key
        assert made is not None
        return _with_id(clip, made[0])
    if not connection.execute(update(table).where(table.c.id == clip.id).values(values)).rowcount:
        raise NotFoundError(f"There is no training clip {clip.id}.")
    return clip


def put_back(connection: Connection, clip: ClipRow) -> ClipRow:
    """Store a clip as it was, whether its row is still there or not; returns it with its id.

    That is the one it had, unless the clips have got other ids since: a lost database is made again from their manifest.
    """
    query = select(table.c.id).where(
        table.c.uid == clip.uid if clip.uid is not None else table.c.id == clip.id
    )
    here = connection.scalar(query)
    if here is not None:
        return put(connection, _with_id(clip, here))
    if connection.scalar(select(table.c.id).where(table.c.id == clip.id)) is not None:
        return put(connection, replace(clip, id=None))
    connection.execute(insert(table).values(_values(clip) | {"id": clip.id}))
    return clip


def delete(connection: Connection, clip_ids: Iterable[int]) -> int:
    """Forget clips for good (their files are the caller's); returns how many there were."""
    gone = 0
    for part in _parts(sorted(set(clip_ids))):
        gone += connection.execute(sql_delete(table).where(table.c.id.in_(part))).rowcount
    return gone


# --- voices made of clips ---


def link(connection: Connection, model: str, uids: Iterable[str]) -> None:
    """Remember that a voice was trained from these clips; what was said of that voice before is replaced."""
    connection.execute(sql_delete(clip_models).where(clip_models.c.model == model))
    rows = [{"model": storable(model), "clip_uid": uid} for uid in sorted(set(uids))]
    if rows:
        connection.execute(insert(clip_models), rows)


def unlink(connection: Connection, uids: Iterable[str]) -> None:
    """Forget which voices these clips went into."""
    for part in _parts(sorted(set(uids))):
        connection.execute(sql_delete(clip_models).where(clip_models.c.clip_uid.in_(part)))


def models_of(connection: Connection, uids: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The voices each clip went into, by uid; clips of none are left out."""
    found: dict[str, list[str]] = {}
    for part in _parts(sorted(set(uids))):
        query = (
            select(clip_models)
            .where(clip_models.c.clip_uid.in_(part))
            .order_by(clip_models.c.model)
        )
        for row in connection.execute(query):
            found.setdefault(row.clip_uid, []).append(row.model)
    return {uid: tuple(names) for uid, names in found.items()}


# --- rows ---


def _fitting(query: Select[Any], wanted: Wanted) -> Select[Any]:
    rules: list[ColumnElement[bool]] = [table.c.deleted_at.is_(None)]
    if wanted.speaker:
        rules.append(table.c.speaker == wanted.speaker)
    if wanted.status:
        rules.append(table.c.status == wanted.status)
    if wanted.grade:
        rules.append(table.c.quality == wanted.grade)
    if wanted.ids:
        rules.append(table.c.id.in_(wanted.ids[:MOST_IDS]))
    if text := storable(wanted.text).strip().lower():
        rules.append(
            or_(
                func.lower(table.c.transcript).contains(text, autoescape=True),
                func.lower(table.c.source).contains(text, autoescape=True),
            )
        )
    return query.where(and_(*rules))


def _parts(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[at : at + IDS_PER_QUERY] for at in range(0, len(values), IDS_PER_QUERY))


def _values(clip: ClipRow) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for one in fields(clip):
        value = getattr(clip, one.name)
        if isinstance(value, str):
            value = storable(value)
        elif isinstance(value, tuple | dict):
            value = storable_json(value)
        values[_COLUMNS.get(one.name, one.name)] = value
    del values["id"]
    measures = clip.measures
    return values | {
        "snr_db": measures.get("snr_db"),
        "loudness": measures.get("lufs"),
        "match_cost": measures.get("match"),
    }


def _with_id(clip: ClipRow, clip_id: int) -> ClipRow:
    values = {one.name: getattr(clip, one.name) for one in fields(clip)}
    return ClipRow(**(values | {"id": clip_id}))


def _clip(row: Row[Any]) -> ClipRow:
    values = row._mapping
    found = {one.name: values[_COLUMNS.get(one.name, one.name)] for one in fields(ClipRow)}
    return ClipRow(**(found | {"reasons": tuple(found["reasons"])}))
