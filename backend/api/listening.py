"""The microphone: chosen, muted, tried and talked through; and what outside programs have heard and read."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import uuid4

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from backend.api.bodies import IngestAsrBody, IngestChatBody, InputBody, InputTestBody, TalkBody
from backend.api.errors import FAILURES
from backend.api.state import Services, services
from backend.chat.conversations import VIEWERS, TurnHandle
from backend.contracts.audience import AudienceMessage, DispositionName, Viewer
from backend.contracts.entities import STAGE
from backend.contracts.errors import NotFoundError
from backend.contracts.listening import ListeningState
from backend.core.clock import now

router = APIRouter(prefix="/api", tags=["listening"], responses=FAILURES)

Running = Annotated[Services, Depends(services)]


class Tested(BaseModel):
    """A test recording that is being played back."""

    url: str
    seconds: float


class Ingested(BaseModel):
    """What became of what was sent."""

    disposition: Literal["partial", "taken_back"] | DispositionName
    """Read along with; without words, no message; or what became of the message so far."""
    turn_id: str | None
    """The turn it became; its reply comes as events. Of a viewer's message on stage `chat.disposition` tells it later."""
    conversation_id: str
    message_id: str = ""
    """Names a viewer's message on stage, in `chat.disposition` and in GET /api/dispositions."""
    reason: str = ""


@router.get("/listening")
async def how_it_listens(running: Running) -> ListeningState:
    """How the microphone is: mode, device, muted or not, and what is wrong."""
    return running.hearing.state()


@router.post("/audio/input")
async def set_input(body: InputBody, running: Running) -> ListeningState:
    """Choose the microphone and how it is listened to; remembered."""
    if body.device and body.device != running.hearing.state().device:
        known = [one.name for one in await running.hearing.devices()]
        if body.device not in known:
            raise NotFoundError(
                f"There is no microphone {body.device!r}; there are {', '.join(sorted(known)) or 'none'}."
            )
    return await running.hearing.set(
        mode=body.mode,
        muted=body.muted,
        device=body.device,
        gain_db=body.gain_db,
        guard=body.guard,
    )


@router.post("/audio/input/test")
async def try_input(running: Running, body: InputTestBody | None = None) -> Tested:
    """Record some seconds, begin to play them back, and say where they can be fetched."""
    seconds = (body or InputTestBody()).seconds
    return Tested(url=await running.hearing.record_test(seconds), seconds=seconds)


@router.post("/listening/talk")
async def talk(body: TalkBody, running: Running) -> ListeningState:
    """The key of push-to-talk went down or up."""
    running.hearing.talk(body.down)
    return running.hearing.state()


@router.post("/ingest/asr")
async def take_transcript(body: IngestAsrBody, running: Running) -> Ingested:
    """Take what another program has read of what the operator says, as if it had been heard here."""
    await running.chat.conversation(body.conversation_id)
    handle = await running.hearing.ingest(
        body.text,
        is_final=body.is_final,
        conversation_id=body.conversation_id,
        origin="asr",
        utterance_id=body.utterance_id,
        author=body.author or "you",
        language=body.language,
    )
    if handle is None:
        return Ingested(
            disposition="taken_back" if body.is_final else "partial",
            turn_id=None,
            conversation_id=body.conversation_id,
        )
    return _taken(running, handle)


@router.post("/ingest/chat")
async def take_chat(body: IngestChatBody, running: Running) -> Ingested:
    """Take what a viewer wrote; author and platform stay beside it, and it is never taken for the operator's word.

    On stage it goes through the queue of viewers: moderated, ranked, answered when its turn comes. When this answers, the message
    and what became of it so far are kept.
    """
    message = _message(body)
    if body.conversation_id == STAGE:
        became = await running.audience.take(message)
        await running.audience.stored()
        return Ingested(
            disposition=became.disposition,
            turn_id=became.turn_id,
            conversation_id=STAGE,
            message_id=became.message_id,
            reason=became.reason,
        )
    await running.chat.conversation(body.conversation_id)
    verdict = await running.audience.check(message)
    if verdict.action in ("ignore", "hold"):
        return Ingested(
            disposition="filtered",
            turn_id=None,
            conversation_id=body.conversation_id,
            reason=verdict.reason,
        )
    handle = await running.chat.send(
        body.message if verdict.action == "allow" else verdict.text,
        author=running.audience.shown(message).viewer.name,
        origin=VIEWERS + body.platform,
        conversation_id=body.conversation_id,
    )
    return _taken(running, handle)


def _message(body: IngestChatBody) -> AudienceMessage:
    return AudienceMessage(
        id=body.message_id or uuid4().hex,
        platform=body.platform,
        viewer=Viewer(
            platform=body.platform,
            id=body.author_id or body.author,
            name=body.author,
            role=body.role,
            is_first=body.is_first,
        ),
        text=body.message,
        at=now(),
        bits=body.bits,
        reward=body.reward,
        mentions_us=body.mentions_us,
        replies_to_us=body.replies_to_us,
    )


def _taken(running: Services, handle: TurnHandle) -> Ingested:
    # What was just sent is the last one that waits, when anything does.
    waits = running.chat.queue_length(handle.conversation_id) > 1 or running.chat.is_busy(
        handle.conversation_id
    )
    is_running = running.chat.running_turn(handle.conversation_id) == handle.turn_id
    return Ingested(
        disposition="queued" if waits and not is_running else "answering",
        turn_id=handle.turn_id,
        conversation_id=handle.conversation_id,
    )
