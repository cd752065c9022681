"""Conversations and what was said in them; turns and how long each stage took."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel

from backend.api.bodies import ConversationBody, InterruptBody, TitleBody
from backend.api.errors import FAILURES
from backend.api.latency import Latency, latency_of
from backend.api.state import Services, services
from backend.contracts.entities import STAGE, Conversation, Turn
from backend.contracts.errors import NotFoundError
from backend.storage import turns as turn_rows

router = APIRouter(prefix="/api", tags=["conversations"], responses=FAILURES)

Running = Annotated[Services, Depends(services)]
ConversationId = Annotated[str, Path(min_length=1, max_length=128)]
TurnId = Annotated[str, Path(min_length=1, max_length=64)]
Limit = Annotated[int, Query(ge=1, le=500)]


class ConversationNow(BaseModel):
    """What goes on in a conversation."""

    turn_id: str | None
    """The turn that runs."""
    waiting: list[str]
    """Turns whose messages wait, the next first."""


class Interrupted(BaseModel):
    """Whether something was being said."""

    interrupted: bool


@router.get("/conversations")
async def list_conversations(running: Running) -> list[Conversation]:
    """All conversations, the stage first, then the newest."""
    return await running.chat.conversations()


@router.post("/conversations", status_code=201)
async def create_conversation(
    running: Running,
    body: ConversationBody | None = None,
    x_client_uid: Annotated[str, Header(alias="X-Client-UID", max_length=128)] = "",
) -> Conversation:
    """Start a conversation; with X-Client-UID it becomes that client's own."""
    body = body or ConversationBody()
    return await running.chat.create(
        character_id=body.character_id, client_uid=x_client_uid, title=body.title
    )


@router.get("/conversations/{conversation_id}")
async def get_conversation(conversation_id: ConversationId, running: Running) -> Conversation:
    """One conversation."""
    return await running.chat.conversation(conversation_id)


@router.patch("/conversations/{conversation_id}")
async def rename_conversation(
    conversation_id: ConversationId, body: TitleBody, running: Running
) -> Conversation:
    """Call it otherwise."""
    return await running.chat.rename(conversation_id, body.title)


@router.get("/conversations/{conversation_id}/now")
async def conversation_now(conversation_id: ConversationId, running: Running) -> ConversationNow:
    """What is being answered there and what waits: the turns that its history does not have yet."""
    await running.chat.conversation(conversation_id)
    return ConversationNow(
        turn_id=running.chat.running_turn(conversation_id),
        waiting=running.chat.waiting_turns(conversation_id),
    )


@router.delete("/conversations/{conversation_id}", status_code=204)
async def delete_conversation(conversation_id: ConversationId, running: Running) -> Response:
    """Delete a conversation with what was said in it; the stage is cleared instead."""
    await running.chat.delete(conversation_id)
    return Response(status_code=204)


@router.post("/conversations/{conversation_id}/clear", status_code=204)
async def clear_conversation(conversation_id: ConversationId, running: Running) -> Response:
    """Forget what was said; the conversation stays."""
    await running.chat.clear(conversation_id)
    return Response(status_code=204)


@router.get("/conversations/{conversation_id}/history")
async def conversation_history(
    conversation_id: ConversationId,
    running: Running,
    limit: Limit = 50,
    before: Annotated[str | None, Query(max_length=64, description="Id of a turn.")] = None,
) -> list[Turn]:
    """Its turns, oldest first; before gives the page before that turn."""
    await running.chat.conversation(conversation_id)
    found = await recent_turns(running, limit, conversation_id, before)
    return found[::-1]


@router.post("/conversations/{conversation_id}/interrupt")
async def interrupt_conversation(
    conversation_id: ConversationId, running: Running, body: InterruptBody | None = None
) -> Interrupted:
    """Stop the running turn; history keeps only what was heard."""
    body = body or InterruptBody()
    await running.chat.conversation(conversation_id)
    return Interrupted(interrupted=await interrupt(running, conversation_id, body))


async def interrupt(running: Services, conversation_id: str, body: InterruptBody) -> bool:
    """Stop what is said in a conversation; on the stage also what is played again."""
    stopped = await running.chat.interrupt(
        conversation_id, heard=body.heard, waiting_too=body.waiting_too
    )
    replayed = conversation_id == STAGE and running.player.stop_playing_again()
    return stopped or replayed


@router.get("/turns")
async def list_turns(
    running: Running,
    limit: Limit = 50,
    conversation_id: Annotated[str | None, Query(max_length=128)] = None,
    before: Annotated[str | None, Query(max_length=64, description="Id of a turn.")] = None,
) -> list[Turn]:
    """Turns, newest first, with the spans of their stages."""
    return await recent_turns(running, limit, conversation_id, before)


@router.get("/turns/latency")
async def turn_latency(
    running: Running,
    n: Annotated[int, Query(ge=1, le=1000, description="How many of the last turns.")] = 50,
    conversation_id: Annotated[str | None, Query(max_length=128)] = None,
) -> Latency:
    """How long the stages of the last turns took: p50 and p95 of each."""
    return latency_of(await recent_turns(running, n, conversation_id, None))


@router.get("/turns/{turn_id}")
async def get_turn(turn_id: TurnId, running: Running) -> Turn:
    """One turn: message, reply, sounds, and where its time went."""
    found = await running.database.read(lambda connection: turn_rows.get(connection, turn_id))
    if found is None:
        raise NotFoundError(f"There is no turn {turn_id!r}, or it is not kept any more.")
    return found


async def recent_turns(
    running: Services, limit: int, conversation_id: str | None, before: str | None
) -> list[Turn]:
    """Stored turns, newest first."""
    return await running.database.read(
        lambda connection: turn_rows.recent(
            connection, limit, conversation_id=conversation_id, before=before
        )
    )


async def conversation_of(
    running: Services, client_uid: str, *, character_id: str | None = None
) -> Conversation:
    """The client's own conversation, made when it has none."""
    for conversation in await running.chat.conversations():
        if conversation.client_uid == client_uid:
            return conversation
    return await running.chat.create(character_id=character_id, client_uid=client_uid)
