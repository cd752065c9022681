"""Viewers: who is answered next, what became of each message, and their commands."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from backend.api.bodies import CommandBody, CommandChangeBody, DeleteMessagesBody
from backend.api.errors import FAILURES
from backend.api.state import Services, services
from backend.contracts.audience import (
    CustomCommand,
    Disposition,
    DispositionName,
    KnownCommand,
    MessageRecord,
    QueuedMessage,
    QueueRules,
    QueueState,
    StageSound,
)
from backend.contracts.errors import ConflictError, InvalidInputError, NotFoundError
from backend.storage.audience import Filter

router = APIRouter(prefix="/api", tags=["viewers"], responses=FAILURES)

Running = Annotated[Services, Depends(services)]
MessageId = Annotated[str, Path(min_length=1, max_length=128)]
CommandName = Annotated[str, Path(pattern=r"^[a-z0-9_]{1,32}$")]

NEXT = "next"
"""In place of a message's id: the one it is most likely about."""

PAGE = 1000
COLUMNS = (
    "seq",
    "at",
    "platform",
    "channel",
    "author",
    "viewer_id",
    "role",
    "bits",
    "text",
    "disposition",
    "reason",
    "rule",
    "into",
    "turn_id",
    "decided_at",
    "message_id",
)


class Deleted(BaseModel):
    """What a deletion met."""

    deleted: int
    """Messages that waited or were being answered and are gone."""


class PlayedSound(BaseModel):
    """A sound that is played, or waits until she is silent."""

    duration_s: float


@router.get("/queue")
async def queue(running: Running) -> QueueState:
    """Who waits, best first, and why each stands there; what waits for approval; what is being answered."""
    return running.audience.state()


@router.get("/queue/rules")
async def rules(running: Running) -> QueueRules:
    """By which rules viewers are answered."""
    return running.audience.rules


@router.put("/queue/rules")
async def put_rules(body: QueueRules, running: Running) -> QueueRules:
    """Answer viewers by other rules; what is left out gets its default. Kept."""
    return await running.audience.set_rules(body)


@router.post("/queue/delete")
async def delete_messages(body: DeleteMessagesBody, running: Running) -> Deleted:
    """A moderator deleted something elsewhere: it leaves the queue, and what is being said of it is cut."""
    return Deleted(deleted=delete(running, body))


@router.post("/queue/{message_id}/approve")
async def approve(message_id: MessageId, running: Running) -> Disposition:
    """Let a message in that waits for approval; `next` is the one that waits longest."""
    return await running.audience.approve(chosen(running, message_id, "approve"))


@router.post("/queue/{message_id}/skip")
async def skip(message_id: MessageId, running: Running) -> Disposition:
    """Do not answer a message; an answer that has begun is cut. `next` is what is being answered, or is next."""
    return running.audience.skip(chosen(running, message_id, "skip"))


@router.post("/queue/{message_id}/now")
async def answer_now(message_id: MessageId, running: Running) -> Disposition:
    """Answer a message next, whatever its rank; one that waits for approval too. `next` is the one that has waited longest."""
    return running.audience.now(chosen(running, message_id, "now"))


def chosen(running: Services, message_id: str, to: Literal["approve", "skip", "now"]) -> str:
    """The id of a message; a key on a desk knows none, and says `next`.

    Raises:
        NotFoundError: There is nothing to do it with.
    """
    if message_id != NEXT:
        return message_id
    state = running.audience.state()
    oldest = sorted(state.waiting, key=lambda each: each.message.at)
    found: Sequence[QueuedMessage]
    match to:
        case "approve":
            found = sorted(state.held, key=lambda each: each.message.at)
            why = "No message waits for approval."
        case "skip":
            found = (*(() if state.answering is None else (state.answering,)), *state.waiting)
            why = "Nothing is being answered, and nothing waits."
        case "now":
            found, why = oldest, "No message waits for an answer."
    if not found:
        raise NotFoundError(why)
    return found[0].message.id


def delete(running: Services, body: DeleteMessagesBody) -> int:
    """Hand a deletion to the desk; gives how many messages went."""
    return running.audience.delete(
        message_id=body.message_id,
        platform=body.platform,
        viewer_id=body.viewer_id,
        everything=body.everything,
    )


# --- what became of messages ---


async def wanted_messages(
    since: Annotated[datetime | None, Query(description="Written at or after it.")] = None,
    author: Annotated[
        str, Query(max_length=200, description="In the author's name, or the whole id.")
    ] = "",
    disposition: Annotated[DispositionName | None, Query()] = None,
    platform: Annotated[str, Query(max_length=32)] = "",
    text: Annotated[
        str, Query(max_length=200, description="In the message or in the reason.")
    ] = "",
    before: Annotated[
        int | None, Query(ge=0, le=2**53, description="Only older than this seq.")
    ] = None,
    after: Annotated[
        int | None, Query(ge=0, le=2**53, description="Only newer than this seq; oldest first.")
    ] = None,
) -> Filter:
    """The filter that the query describes."""
    if since is not None:
        try:
            since = since.replace(tzinfo=UTC) if since.tzinfo is None else since.astimezone(UTC)
        except OverflowError:
            raise InvalidInputError("since lies outside the years 1 to 9999.") from None
    return Filter(
        since=since,
        author=author.replace("\x00", ""),
        disposition=disposition,
        platform=platform.replace("\x00", ""),
        text=text.replace("\x00", ""),
        before_seq=before,
        after_seq=after,
    )


Wanted = Annotated[Filter, Depends(wanted_messages)]


@router.get(
    "/dispositions", response_description="Messages, newest first; oldest first with after."
)
async def dispositions(
    wanted: Wanted, running: Running, limit: Annotated[int, Query(ge=1, le=2000)] = 200
) -> list[MessageRecord]:
    """What viewers wrote and what became of it. The next page: before or after the seq of the last one."""
    return await running.audience.search(wanted, limit)


@router.get(
    "/dispositions/export",
    response_class=StreamingResponse,
    responses={200: {"description": "One message per line.", "content": {"text/csv": {}}}},
)
async def export(wanted: Wanted, running: Running) -> StreamingResponse:
    """All messages that match as CSV, oldest first."""
    return StreamingResponse(
        _lines(running, wanted),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="luma-messages.csv"'},
    )


async def _lines(running: Services, wanted: Filter) -> AsyncIterator[bytes]:
    # The mark is what Excel needs to read the rest as UTF-8.
    yield b"\xef\xbb\xbf" + (",".join(COLUMNS) + "\r\n").encode()
    after = wanted.after_seq or 0
    while page := await running.audience.search(replace(wanted, after_seq=after), PAGE):
        after = page[-1].seq
        out = io.StringIO()
        lines = csv.writer(out)
        for record in page:
            values = record.model_dump(mode="json")
            lines.writerow([_cell(values[name]) for name in COLUMNS])
        yield out.getvalue().encode()


def _cell(value: object) -> object:
    """A value that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return "" if value is None else value


# --- commands ---


@router.get("/commands")
async def commands(running: Running) -> list[KnownCommand]:
    """Every command viewers have, those that come with Luma first."""
    return running.viewer_commands.all()


@router.get("/commands/{name}")
async def command(name: CommandName, running: Running) -> KnownCommand:
    """One command."""
    return running.viewer_commands.get(name)


@router.post("/commands", status_code=201)
async def add_command(body: CommandBody, running: Running) -> KnownCommand:
    """Add a command of your own."""
    known = {each.command.name for each in running.viewer_commands.all()}
    if body.name in known:
        raise ConflictError(f"There is a command !{body.name} already; change it by PUT.")
    return await running.viewer_commands.put(CustomCommand(**body.model_dump()))


@router.put("/commands/{name}")
async def put_command(name: CommandName, body: CommandChangeBody, running: Running) -> KnownCommand:
    """Change a command, or add it; what is left out gets its default. Of those that come with Luma the action stays."""
    return await running.viewer_commands.put(CustomCommand(name=name, **body.model_dump()))


@router.delete("/commands/{name}", status_code=204)
async def delete_command(name: CommandName, running: Running) -> None:
    """Delete a command; one that comes with Luma is as it came again."""
    await running.viewer_commands.delete(name)


@router.get("/sounds")
async def sounds(running: Running) -> list[StageSound]:
    """Sound files that commands may play: those of the folder `sounds` in the data folder."""
    return await running.stage_sounds.all()


@router.post("/sounds/{name}/play", status_code=202)
async def play_sound(
    name: Annotated[str, Path(min_length=1, max_length=128)], running: Running
) -> PlayedSound:
    """Play one on the stage, as soon as nothing is said there."""
    return PlayedSound(duration_s=round(await running.stage_sounds.play(name), 3))
