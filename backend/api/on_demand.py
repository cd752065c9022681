"""Text on demand, and words for her to say: POST /api/text-generation (plain and as events), POST /api/say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, aclosing
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from backend.api.bodies import CancelTextCommand, SayBody, TextBody, TextContext, TextRequestBody
from backend.api.errors import FAILURES, JsonResponse, encode, failure
from backend.api.state import Services, services
from backend.chat.conversations import TurnHandle
from backend.chat.on_demand import Context, Line, Options, Result, Wanted, Writing
from backend.contracts.errors import AppError, ConflictError

router = APIRouter(prefix="/api", tags=["text on demand"], responses=FAILURES)

Running = Annotated[Services, Depends(services)]

KEEPALIVE_S = 15.0
OPERATOR = "operator"
"""Origin of a turn whose words the operator has chosen."""
GONE = 499
"""Status in the log of a request whose client left; nobody receives it."""


class GeneratedText(BaseModel):
    """A text on demand."""

    text: str
    tokens_used: int
    """Of the prompt and the text."""
    prompt_tokens: int
    completion_tokens: int
    estimated: bool
    """Whoever wrote it did not count; the numbers are about right."""
    elapsed_ms: float
    model: str
    by: str
    """Engine and model."""
    finish: str
    """"stop", or "length" when it was cut."""
    emotion: str


class SaidTurn(BaseModel):
    """The turn in which she says it."""

    turn_id: str
    conversation_id: str


@router.post(
    "/text-generation",
    response_model=GeneratedText,
    responses={
        200: {
            "description": "The text; with stream=true the events start, chunk, error, final.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        502: {"description": "Nobody could write it."},
    },
)
async def generate(body: TextRequestBody, request: Request, running: Running) -> Response:
    """Write a text beside the talk: it enters no history and no memory. When its client leaves, the writing stops."""
    if body.stream:
        stack = AsyncExitStack()
        writing = await stack.enter_async_context(running.texts.write(wanted(body)))
        return TextStream(writing, stack)
    writer = asyncio.create_task(running.texts.generate(wanted(body)))
    leaving = asyncio.create_task(_disconnected(request.receive))
    try:
        await asyncio.wait({writer, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not writer.done():
            return Response(status_code=GONE)
        return JsonResponse(told(writer.result()).model_dump())
    finally:
        await _ended(writer, leaving)


@router.post("/say", status_code=202)
async def post_say(body: SayBody, running: Running) -> SaidTurn:
    """Have her say something word for word, as a turn of her own: heard, interruptible, and in the history as hers."""
    handle = await say(running, body)
    return SaidTurn(turn_id=handle.turn_id, conversation_id=handle.conversation_id)


async def say(running: Services, body: SayBody) -> TurnHandle:
    """Hand words to the chat."""
    return await running.chat.send(
        body.text,
        origin=OPERATOR,
        conversation_id=body.conversation_id,
        speak=body.speak,
        is_recital=True,
    )


def wanted(body: TextBody) -> Wanted:
    """A request as the service knows it."""
    context = body.context
    if isinstance(context, str):
        line = (Line("user", context.strip()),) if context.strip() else ()
        found = Context(lines=line)
    else:
        found = _context(context)
    options = body.options
    return Wanted(
        prompt=body.prompt,
        kind=body.kind,
        context=found,
        options=Options(options.max_length, options.temperature, options.style),
    )


def _context(given: TextContext) -> Context:
    character = given.character
    if isinstance(character, bool):
        character = None if character else ""
    return Context(
        conversation_id=given.conversation_id,
        turns=given.turns,
        lines=tuple(Line(line.role, line.text) for line in given.history),
        stream={
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in given.stream.items()
            if value is not None and value != ""
        },
        character=character,
    )


def told(result: Result) -> GeneratedText:
    """A text as clients see it."""
    return GeneratedText(
        text=result.text,
        tokens_used=result.tokens_used,
        prompt_tokens=result.prompt_tokens,
        completion_tokens=result.completion_tokens,
        estimated=result.is_estimated,
        elapsed_ms=result.elapsed_ms,
        model=result.model,
        by=result.by,
        finish=result.finish,
        emotion=result.emotion,
    )


class TextStream(Response):
    """A text as server-sent events; when its client leaves, whoever writes is stopped.

    Args:
        writing: The text.
        stack: What is held for it.
    """

    def __init__(self, writing: Writing, stack: AsyncExitStack) -> None:
        super().__init__(
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        del self.headers["content-length"]
        self._writing = writing
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events while watching for the client to leave."""
        async with self._stack:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            writer = asyncio.create_task(self._write(send))
            leaving = asyncio.create_task(_disconnected(receive))
            try:
                await asyncio.wait({writer, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if writer.done():
                    writer.result()
            finally:
                await _ended(writer, leaving)

    async def _write(self, send: Send) -> None:
        async with aclosing(_events(self._writing)) as events:
            async for frame in events:
                await send({"type": "http.response.body", "body": frame, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _events(writing: Writing) -> AsyncGenerator[bytes, None]:
    yield _event("start", {})
    pieces = writing.pieces()
    waiting: asyncio.Task[str | None] | None = None
    try:
        while True:
            if waiting is None:
                waiting = asyncio.create_task(_next(pieces))
            done, _ = await asyncio.wait({waiting}, timeout=KEEPALIVE_S)
            if not done:
                yield b": still here\n\n"
                continue
            text, waiting = waiting.result(), None
            if text is None:
                break
            yield _event("chunk", {"text": text})
        yield _event("final", told(writing.result()).model_dump())
    except AppError as error:
        yield _event("error", failure(error))
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await pieces.aclose()


class SocketTexts:
    """Texts that one socket of the event stream asked for: pieces go out as they come, and each can be stopped.

    Args:
        running: The backend.
        tell: Sends a message over the socket.
    """

    def __init__(
        self, running: Services, tell: Callable[[dict[str, Any]], Awaitable[None]]
    ) -> None:
        self._running = running
        self._tell = tell
        self._open: dict[bytes, asyncio.Task[GeneratedText]] = {}

    def begin(self, body: TextBody, name: object) -> Coroutine[Any, Any, dict[str, Any]]:
        """Write a text; its pieces are told as ``{"chunk": name, "text"}``, its whole is what this gives.

        Args:
            body: What is asked for.
            name: The id of the command; one of the same is refused while this one is written.
        """
        return self._follow(body, name, orjson.dumps(name))

    def cancel(self, body: CancelTextCommand) -> bool:
        """Stop one; False when none of that id is being written."""
        task = self._open.get(orjson.dumps(body.text))
        return task is not None and task.cancel()

    async def _follow(self, body: TextBody, name: object, key: bytes) -> dict[str, Any]:
        if key in self._open:
            raise ConflictError("A text of that id is being written already; give each its own.")
        task = self._open[key] = asyncio.create_task(self._write(body, name))
        try:
            await asyncio.wait({task})
            if task.cancelled():
                raise ConflictError("The text was cancelled.")
            return task.result().model_dump()
        finally:
            del self._open[key]
            await _ended(task)

    async def _write(self, body: TextBody, name: object) -> GeneratedText:
        async with self._running.texts.write(wanted(body)) as writing:
            async with aclosing(writing.pieces()) as pieces:
                async for text in pieces:
                    await self._tell({"chunk": name, "text": text})
            return told(writing.result())


def _event(name: str, data: object) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + encode(data) + b"\n\n"


async def _next(pieces: AsyncGenerator[str, None]) -> str | None:
    return await anext(pieces, None)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
