"""Stored events: filtered, page by page, or as a file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response, StreamingResponse

from backend.api.errors import FAILURES, JsonResponse
from backend.api.state import Services, services
from backend.contracts.errors import InvalidInputError
from backend.contracts.events import Severity
from backend.storage.events import Filter

router = APIRouter(prefix="/api", tags=["events"], responses=FAILURES)

PAGE = 1000
MOST_TYPES = 64


async def wanted_events(
    types: Annotated[
        list[Annotated[str, Query(min_length=1, max_length=64)]] | None,
        Query(alias="type", max_length=MOST_TYPES, description='"chat.message", or "chat.*".'),
    ] = None,
    severity: Annotated[Severity | None, Query(description="At least this severe.")] = None,
    turn_id: Annotated[str | None, Query(max_length=64)] = None,
    job_id: Annotated[str | None, Query(max_length=64)] = None,
    since: Annotated[datetime | None, Query(description="From this moment on.")] = None,
    until: Annotated[datetime | None, Query(description="Before this moment.")] = None,
    text: Annotated[str, Query(max_length=200, description="In the message or the data.")] = "",
    after: Annotated[
        int | None, Query(ge=0, le=2**53, description="Only newer than this seq; oldest first.")
    ] = None,
    before: Annotated[
        int | None, Query(ge=0, le=2**53, description="Only older than this seq.")
    ] = None,
) -> Filter:
    """The filter that the query describes."""
    for one in types or []:
        if "*" in one[:-1]:
            raise InvalidInputError(f"type is a name or a group like chat.*, not {one!r}.")
    return Filter(
        types=tuple(types or ()),
        severity=severity,
        turn_id=turn_id,
        job_id=job_id,
        since=_aware(since, "since"),
        until=_aware(until, "until"),
        text=text.replace("\x00", ""),
        after_seq=after,
        before_seq=before,
    )


def _aware(moment: datetime | None, name: str) -> datetime | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidInputError(f"{name} lies outside the years 1 to 9999.") from None


Wanted = Annotated[Filter, Depends(wanted_events)]
Running = Annotated[Services, Depends(services)]


@router.get(
    "/events",
    response_model=list[dict[str, Any]],
    response_description="Envelopes, newest first; oldest first with after.",
)
async def list_events(
    wanted: Wanted, running: Running, limit: Annotated[int, Query(ge=1, le=2000)] = 200
) -> Response:
    """Stored events. The next page: before (older) or after (newer) the seq of the last one."""
    return JsonResponse(await running.events.search(wanted, limit))


@router.get(
    "/events/export",
    response_class=StreamingResponse,
    responses={200: {"description": "One event per line.", "content": {"application/jsonl": {}}}},
)
async def export_events(wanted: Wanted, running: Running) -> StreamingResponse:
    """Stored events as JSON lines, oldest first."""
    return StreamingResponse(
        _lines(running, wanted),
        media_type="application/jsonl",
        headers={"Content-Disposition": 'attachment; filename="luma-events.jsonl"'},
    )


async def _lines(running: Services, wanted: Filter) -> AsyncIterator[bytes]:
    after = wanted.after_seq or 0
    while True:
        page = await running.events.search(
            Filter(
                types=wanted.types,
                severity=wanted.severity,
                turn_id=wanted.turn_id,
                job_id=wanted.job_id,
                since=wanted.since,
                until=wanted.until,
                text=wanted.text,
                after_seq=after,
                before_seq=wanted.before_seq,
            ),
            PAGE,
        )
        if not page:
            return
        after = page[-1]["seq"]
        yield b"".join(orjson.dumps(envelope) + b"\n" for envelope in page)
