"""POST /api/chat: one message in, the reply out, whole or as it is written (server-sent events)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, ExitStack
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from backend.api.bodies import ChatBody, MessageBody
from backend.api.errors import FAILURES, JsonResponse, encode
from backend.api.latency import stage_times
from backend.api.state import Services, services
from backend.chat.conversations import TurnHandle
from backend.contracts.entities import STAGE, Turn
from backend.contracts.errors import EngineFailedError
from backend.contracts.events import (
    AnyEvent,
    ChatDelta,
    ChatSentence,
    ErrorOccurred,
    SpeechReady,
    TurnFinished,
    TurnRetried,
    TurnStarted,
)
from backend.core.bus import Subscription

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/api", tags=["chat"], responses=FAILURES)

KEEPALIVE_S = 15.0
FOLLOW_S = 60.0
"""How long a turn whose client left is still watched for, so that it is not made for nobody."""


class Sound(BaseModel):
    """One sentence as sound."""

    url: str
    text: str
    duration_s: float


class ChatReply(BaseModel):
    """The whole reply."""

    turn_id: str
    conversation_id: str
    character_id: str
    reply: str
    emotion: str
    outcome: str
    error: str
    audio: list[Sound]
    timings: dict[str, float]
    """Milliseconds per stage up to the last sound made, and their "total"; GET /api/turns/{id} adds playback."""
    first_audio_ms: float | None


def reply_of(turn: Turn) -> ChatReply:
    """A finished turn as clients see it."""
    timings = {
        name: round(duration_ms, 3)
        for name, duration_ms in stage_times(turn).items()
        if name != "playback"
    }
    return ChatReply(
        turn_id=turn.id,
        conversation_id=turn.conversation_id,
        character_id=turn.character_id,
        reply=turn.reply,
        emotion=turn.emotion,
        outcome=turn.outcome,
        error=turn.error,
        audio=[
            Sound(url=sentence.url, text=sentence.text, duration_s=sentence.duration_s)
            for sentence in turn.sentences
            if sentence.url is not None
        ],
        timings={**timings, "total": round(sum(timings.values()), 3)},
        first_audio_ms=turn.first_audio_ms,
    )


async def whole_reply(handle: TurnHandle) -> ChatReply:
    """Wait for a turn's end.

    Raises:
        EngineFailedError: Nothing could be said at all.
    """
    turn = await handle.result()
    if turn.outcome == "failed" and not turn.reply:
        raise EngineFailedError(turn.error or "No engine could answer; Status says why.")
    return reply_of(turn)


@router.post(
    "/chat",
    response_model=ChatReply,
    responses={
        200: {
            "description": "The reply; with stream=true the events start, token, sentence, audio, retry, error, final.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        502: {"description": "No engine could answer."},
    },
)
async def chat(
    body: ChatBody,
    running: Annotated[Services, Depends(services)],
    x_client_uid: Annotated[str, Header(alias="X-Client-UID", max_length=128)] = "",
) -> Response:
    """Say something to the character.

    Without a conversation_id the message belongs to the conversation of X-Client-UID, or to a new one. The conversation
    "stage" is the one that is heard on the stage.
    """
    if not body.stream:
        handle = await send(running, body, x_client_uid)
        return JsonResponse((await whole_reply(handle)).model_dump())
    with ExitStack() as stack:
        mine = _Mine()
        subscription = stack.enter_context(mine.events(running))
        handle = await send(running, body, x_client_uid, mine)
        return TurnStream(running, handle, subscription, stack.pop_all())


class _Mine:
    """Picks the events of one turn, from the moment its id is known."""

    turn_id = ""

    def events(self, running: Services) -> AbstractContextManager[Subscription]:
        return running.bus.subscribe(wanted=lambda event: event.turn_id == self.turn_id)

    def __call__(self, turn_id: str) -> None:
        self.turn_id = turn_id


async def send(
    running: Services, body: MessageBody, client_uid: str = "", before: _Mine | None = None
) -> TurnHandle:
    """Hand the message to the chat."""
    return await running.chat.send(
        body.message,
        author=body.author,
        origin=body.origin,
        conversation_id=body.conversation_id,
        client_uid=client_uid or body.client_uid,
        character_id=body.character_id,
        speak=body.speak,
        before=before,
        may_command=body.author in ("you", running.user_name()),
    )


class TurnStream(Response):
    """A turn as server-sent events; when its client leaves, a turn off stage is stopped."""

    def __init__(
        self, running: Services, handle: TurnHandle, subscription: Subscription, stack: ExitStack
    ) -> None:
        super().__init__(
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        del self.headers["content-length"]
        self._running = running
        self._handle = handle
        self._subscription = subscription
        self._stack = stack
        self._has_begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events while watching for the client to leave."""
        with self._stack:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            writing = asyncio.create_task(self._write(send))
            leaving = asyncio.create_task(_disconnected(receive))
            try:
                await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if writing.done():
                    writing.result()
                    return
            finally:
                for task in (writing, leaving):
                    task.cancel()
                await asyncio.gather(writing, leaving, return_exceptions=True)
            await self._give_up()

    async def _write(self, send: Send) -> None:
        async for told in self._events():
            text = b"".join(
                b"event: " + name.encode() + b"\ndata: " + encode(data) + b"\n\n"
                for name, data in told
            )
            await send(
                {
                    "type": "http.response.body",
                    "body": text or b": still here\n\n",
                    "more_body": True,
                }
            )
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _events(self) -> AsyncIterator[list[tuple[str, dict[str, object]]]]:
        """What is to be told, as much at a time as there is; nothing as a sign of life."""
        ids: dict[str, object] = {
            "turn_id": self._handle.turn_id,
            "conversation_id": self._handle.conversation_id,
        }
        yield [("start", ids)]
        is_over = False
        while not is_over:
            try:
                async with asyncio.timeout(KEEPALIVE_S):
                    items = await self._subscription.take()
            except TimeoutError:
                yield []
                continue
            if not items:
                break  # this client reads too slowly for the pieces; the whole still comes
            batch: list[tuple[str, dict[str, object]]] = []
            for item in items:
                event = item.event
                if isinstance(event, TurnStarted):
                    self._has_begun = True
                if isinstance(event, TurnFinished):
                    is_over = True
                elif (told := _told(event)) is not None:
                    batch.append(told)
            if batch:
                yield batch
            if self._handle.done.done():
                is_over = True  # a message that was dropped while it waited never begins
        turn = await self._handle.result()
        if turn.outcome == "failed" and not turn.error:
            yield [("error", {"code": "engine.failed", "message": "No engine could answer."})]
        yield [("final", reply_of(turn).model_dump())]

    async def _give_up(self) -> None:
        if self._handle.conversation_id == STAGE or self._handle.done.done():
            return
        try:
            async with asyncio.timeout(FOLLOW_S):
                while not self._has_begun and (items := await self._subscription.take()):
                    self._has_begun = any(isinstance(item.event, TurnStarted) for item in items)
        except TimeoutError:
            return  # others are served first, for long: let it run, it is a turn like any other
        if not self._handle.done.done():
            logger.info("turn %s: its client left, stopping it", self._handle.turn_id)
            await self._running.chat.interrupt(self._handle.conversation_id)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _told(event: AnyEvent) -> tuple[str, dict[str, object]] | None:
    match event:
        case ChatDelta():
            return "token", {"text": event.text}
        case ChatSentence():
            return "sentence", {"n": event.n, "text": event.text, "emotion": event.emotion}
        case SpeechReady():
            return "audio", {
                "n": event.n,
                "url": event.url,
                "text": event.text,
                "duration_s": event.duration_s,
            }
        case TurnRetried():
            return "retry", {
                "engine": event.engine,
                "next_engine": event.next_engine,
                "kind": event.kind,
                "message": event.reason,
                "wait_s": event.wait_s,
            }
        case ErrorOccurred():
            return "error", {"code": event.code, "kind": event.kind, "message": event.reason}
        case _:
            return None
