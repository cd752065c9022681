"""GET /ws: the event stream, and commands coming back on the same socket.

A client says where it stopped; it gets every stored event since then and the live ones after, without gap or duplicate:
the stored ones are read up to the number that was committed when its subscription opened, and the subscription begins
right behind it. Whoever stays behind is dropped with 4008, and nobody waits for him.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, WebSocket
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.websockets import WebSocketDisconnect, WebSocketState

from backend.api.bodies import Body
from backend.api.commands import AVATAR_ORDERS, COMMANDS, SOUND_ORDERS, TEXT_ORDERS, Reply
from backend.api.errors import encode, failure, readable
from backend.api.on_demand import SocketTexts
from backend.api.owner import owner_of
from backend.api.socket_sound import SocketSound
from backend.api.state import Services, socket_services
from backend.contracts.entities import STAGE
from backend.contracts.errors import AppError, BusyError, ForbiddenError, InvalidInputError
from backend.contracts.events import AvatarCue, Event, Severity
from backend.core.bus import LEVELS, Published, Subscription
from backend.core.clock import monotonic_s

logger = logging.getLogger(__name__)
router = APIRouter()

BEHIND = 4008
BAD_HELLO = 4400

HELLO_TIMEOUT_S = 10.0
SEND_TIMEOUT_S = 20.0
PAGE = 1000
QUEUE_LIMIT = 4000
"""Events that may wait for one client: 4 s of the busiest stream the window is built for."""

FRAME_BYTES = 256 * 1024
MOST_WAITING_COMMANDS = 32
MOST_OPEN_REPLIES = 8
JOINED_KEPT = 64

SOUND_FAULT_EVERY_S = 1.0
"""A client that sends wrong frames sends many; it is told once a second."""

OVERLAY_TYPES = ("playback.*", "avatar.*", "chat.sentence")


class Wanted(BaseModel):
    """What a client wants to see."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    types: tuple[Annotated[str, StringConstraints(min_length=1, max_length=64)], ...] | None = (
        Field(None, max_length=64)
    )
    severity: Severity = "DEBUG"
    batch: bool = True


class Hello(Wanted):
    """The first message of a client."""

    since: int | None = Field(None, ge=0, le=2**53)
    epoch: str | None = Field(None, max_length=128)
    plays: bool = False
    """Whether the client plays the stage's sound when AUDIO_SINK is overlay."""


@dataclass(slots=True)
class Filter:
    """Which events pass; remembers its answer per type, so a type is matched once."""

    types: tuple[str, ...] | None
    severity: Severity
    is_overlay: bool
    on_stage: Callable[[], str] = lambda: ""
    """Id of the character on stage: of avatars an overlay sees that one's alone."""

    def __post_init__(self) -> None:
        self._lowest = LEVELS[self.severity]
        self._known: dict[str, bool] = {}

    _lowest: int = 0
    _known: dict[str, bool] | None = None

    def live(self, event: Event) -> bool:
        """Whether an event of the bus passes."""
        if LEVELS[event.severity] < self._lowest or not self.type_passes(event.type):
            return False
        if not self.is_overlay:
            return True
        if event.type.startswith("avatar."):
            # What was refused shows nothing, and names what somebody typed.
            if isinstance(event, AvatarCue) and event.entry.outcome == "refused":
                return False
            whose = event.entry if isinstance(event, AvatarCue) else event
            return self._is_on_stage(getattr(whose, "character_id", ""))
        return getattr(event, "conversation_id", STAGE) == STAGE

    def stored(self, envelope: dict[str, Any]) -> bool:
        """Whether an envelope from the database passes."""
        if LEVELS[envelope["severity"]] < self._lowest or not self.type_passes(envelope["type"]):
            return False
        if not self.is_overlay:
            return True
        data = envelope["data"]
        if envelope["type"].startswith("avatar."):
            return self._is_on_stage(data.get("character_id", ""))
        return bool(data.get("conversation_id", STAGE) == STAGE)

    def _is_on_stage(self, character_id: str) -> bool:
        there = self.on_stage()
        return not there or character_id == there

    def type_passes(self, name: str) -> bool:
        """Whether events of this type pass."""
        assert self._known is not None
        known = self._known.get(name)
        if known is None:
            known = self.types is None or any(fnmatchcase(name, glob) for glob in self.types)
            if self.is_overlay:
                known = known and any(fnmatchcase(name, glob) for glob in OVERLAY_TYPES)
            self._known[name] = known
        return known


class Joiner:
    """Pending events as one frame, made once for all clients that wait for the same ones."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[int, ...], tuple[list[Published], str]] = OrderedDict()

    def text(self, items: list[Published]) -> str:
        """``[event, event …]``, or the event alone."""
        if len(items) == 1:
            return items[0].wire.decode()
        key = tuple(map(id, items))
        made = self._made.get(key)
        if made is None:
            text = (b"[" + b",".join([item.wire for item in items]) + b"]").decode()
            # The items are kept with the text: as long as they live, nothing else has their ids.
            made = self._made[key] = (items, text)
            if len(self._made) > JOINED_KEPT:
                self._made.popitem(last=False)
        return made[1]


class _Over(Exception):
    """The socket is to be closed; code 0 when the client has left."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@router.websocket("/ws")
async def stream(socket: WebSocket) -> None:
    """Events out, commands in."""
    await Client(socket, socket_services(socket)).serve()


_joiner = Joiner()


class Client:
    """One socket from hello to its end."""

    def __init__(self, socket: WebSocket, services: Services) -> None:
        self._socket = socket
        self._services = services
        self._is_overlay = socket.scope.get("luma.caller") == "overlay"
        self._owner = owner_of(socket)
        self._batch = True
        self._filter = Filter(None, "DEBUG", self._is_overlay, services.chat.active_character)
        self._commands: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MOST_WAITING_COMMANDS)
        self._replies: set[asyncio.Task[None]] = set()
        self._urgent: asyncio.Task[None] | None = None
        self._sound = SocketSound(services)
        self._texts = SocketTexts(services, self._send_json)
        self._sound_fault_s = -SOUND_FAULT_EVERY_S

    async def serve(self) -> None:
        """Speak until one side ends it."""
        await self._socket.accept()
        over = _Over(0)
        try:
            try:
                async with asyncio.timeout(HELLO_TIMEOUT_S):
                    hello = await self._read_hello()
            except TimeoutError:
                raise _Over(BAD_HELLO, "no hello came") from None
            with self._services.bus.subscribe(
                limit=QUEUE_LIMIT, committed=True, wanted=self._filter.live
            ) as subscription:
                # Nothing is awaited between these lines: what is committed by now is read from the database, what
                # comes later arrives by the subscription.
                boundary = self._services.bus.committed_seq
                listens = self._services.listeners.joined() if hello.plays else nullcontext()
                with listens:
                    await self._talk(hello, boundary, subscription)
        except* _Over as group:
            over = next(_leaves(group))
        finally:
            await self._sound.close()
            for task in self._replies:
                task.cancel()
        if over.code and self._socket.client_state is WebSocketState.CONNECTED:
            try:
                async with asyncio.timeout(1):
                    await self._socket.close(over.code, over.reason)
            except (TimeoutError, RuntimeError, WebSocketDisconnect):
                logger.debug("a client did not take its close frame")

    async def _read_hello(self) -> Hello:
        message = await self._receive()
        found = self._parse(message)
        if not isinstance(found, dict) or "hello" not in found:
            await self._send_json(
                {
                    "failed": None,
                    "code": "hello.missing",
                    "message": 'The first message must be a hello, like {"hello": {"since": null}}.',
                }
            )
            raise _Over(BAD_HELLO, "the first message must be a hello")
        try:
            hello = Hello.model_validate(found["hello"] if found["hello"] is not None else {})
        except ValidationError as error:
            await self._send_json(
                {
                    "failed": None,
                    "code": "input.invalid",
                    "message": readable(error.errors(include_url=False)),
                }
            )
            raise _Over(BAD_HELLO, "the hello cannot be used") from None
        self._want(hello)
        return hello

    def _want(self, wanted: Wanted) -> None:
        self._filter = Filter(
            wanted.types,
            wanted.severity,
            self._is_overlay,
            self._services.chat.active_character,
        )
        self._batch = wanted.batch

    async def _talk(self, hello: Hello, boundary: int, subscription: Subscription) -> None:
        bus, database = self._services.bus, self._services.database
        await self._send_json(
            {
                "hello": {
                    "seq": boundary,
                    "epoch": database.epoch,
                    "version": self._socket.app.version,
                }
            }
        )
        since = hello.since
        if since is not None or hello.epoch is not None:
            why = ""
            if hello.epoch is not None and hello.epoch != database.epoch:
                why = "the database is another one"
            elif since is not None and since > bus.seq:
                why = f"event {since} does not exist, the newest is {bus.seq}"
            elif since is not None and since < await self._services.events.first_seq() - 1:
                why = f"events after {since} are not kept any more"
            if why:
                await self._send_json(
                    {"reset": {"seq": boundary, "epoch": database.epoch, "reason": why}}
                )
                since = None
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write(since, boundary, subscription))
            tasks.create_task(self._read(subscription))
            tasks.create_task(self._obey())

    # --- out ---

    async def _write(self, since: int | None, boundary: int, subscription: Subscription) -> None:
        if since is not None:
            await self._replay(since, boundary)
        while items := await subscription.take():
            await self._send_events(items)
        if subscription.overflowed:
            raise _Over(BEHIND, "too slow: connect again with the last seq you saw")
        raise _Over(1001, "the backend stops")

    async def _replay(self, since: int, boundary: int) -> None:
        """Everything stored after ``since`` up to ``boundary``, page by page."""
        while since < boundary:
            envelopes = await self._services.events.since(since, PAGE)
            if not envelopes:
                return
            since = envelopes[-1]["seq"]
            pieces = [
                orjson.dumps(envelope)
                for envelope in envelopes
                if envelope["seq"] <= boundary and self._filter.stored(envelope)
            ]
            if self._batch:
                for start, end in _frames(pieces):
                    await self._send((b"[" + b",".join(pieces[start:end]) + b"]").decode())
            else:
                for piece in pieces:
                    await self._send(piece.decode())

    async def _send_events(self, items: list[Published]) -> None:
        if not self._batch:
            for item in items:
                await self._send(item.wire.decode())
            return
        if len(items) <= 64:
            await self._send(_joiner.text(items))
            return
        for start, end in _frames([item.wire for item in items]):
            await self._send(_joiner.text(items[start:end]))

    async def _send_json(self, value: object) -> None:
        await self._send(encode(value).decode())

    async def _send(self, text: str) -> None:
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._socket.send({"type": "websocket.send", "text": text})
        except TimeoutError:
            raise _Over(BEHIND, "nothing was read for too long") from None
        except (RuntimeError, OSError, WebSocketDisconnect):  # closed meanwhile
            raise _Over(0) from None

    # --- in ---

    async def _receive(self) -> dict[str, Any]:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise _Over(0)
        return dict(message)

    def _parse(self, message: dict[str, Any]) -> Any:
        text = message.get("text")
        if text is None:
            return None
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return None

    async def _read(self, subscription: Subscription) -> None:
        while True:
            message = await self._receive()
            if (pcm := message.get("bytes")) is not None:
                await self._hear(pcm)
                continue
            found = self._parse(message)
            if isinstance(found, dict) and "ping" in found:
                await self._send_json({"pong": found["ping"]})
            elif isinstance(found, dict) and "subscribe" in found:
                await self._subscribe(found["subscribe"], subscription)
            elif isinstance(found, dict) and "do" in found:
                await self._take(found)
            else:
                await self._send_json(
                    {
                        "failed": found.get("id") if isinstance(found, dict) else None,
                        "code": "request.malformed",
                        "message": 'A message is JSON with "subscribe", "ping" or "do" in it.',
                    }
                )

    async def _hear(self, pcm: bytes) -> None:
        try:
            if self._is_overlay:
                raise ForbiddenError("The overlay token reads only; it sends no sound.")
            self._sound.feed(pcm)
        except AppError as error:
            now_s = monotonic_s()
            if now_s - self._sound_fault_s >= SOUND_FAULT_EVERY_S:
                self._sound_fault_s = now_s
                await self._send_json({"failed": None, **failure(error)})

    async def _subscribe(self, value: object, subscription: Subscription) -> None:
        try:
            wanted = Wanted.model_validate(value)
        except ValidationError as error:
            await self._send_json(
                {
                    "failed": None,
                    "code": "input.invalid",
                    "message": readable(error.errors(include_url=False)),
                }
            )
            return
        self._want(wanted)
        subscription.wanted = self._filter.live
        await self._send_json({"subscribed": wanted.model_dump(mode="json")})

    async def _take(self, command: dict[str, Any]) -> None:
        if self._is_overlay:
            error: AppError = ForbiddenError("The overlay token reads only; it gives no commands.")
            await self._fail(command, error)
            return
        if _is_urgent(command) and self._urgent is None:
            self._urgent = asyncio.create_task(self._obey_now(command))
            return
        try:
            self._commands.put_nowait(command)
        except asyncio.QueueFull:
            await self._fail(
                command,
                BusyError(f"{MOST_WAITING_COMMANDS} commands wait already; wait for an answer."),
            )
        else:
            if _is_about_sound(command):
                self._sound.expect_order()

    async def _obey(self) -> None:
        """Carry commands out in the order in which they came."""
        while True:
            await self._obey_one(await self._commands.get())

    async def _obey_now(self, command: dict[str, Any]) -> None:
        """Carry one out beside those that wait."""
        try:
            await self._obey_one(command)
        except _Over:
            return  # the reader sees it too, and ends the socket
        finally:
            self._urgent = None

    async def _obey_one(self, command: dict[str, Any]) -> None:
        is_about_sound = _is_about_sound(command)
        try:
            if is_about_sound:
                self._sound.begin_order()
            reply = await self._carry_out(command)
        except AppError as error:
            await self._fail(command, error)
        except Exception:
            # A bug in one command must not take the stream down.
            logger.exception("command %r failed", str(command.get("do"))[:40])
            await self._send_json(
                {
                    "failed": command.get("id"),
                    "code": "internal",
                    "message": "Something went wrong inside Luma; the log says what.",
                }
            )
        else:
            await self._reply(command, reply)
        finally:
            if is_about_sound:
                self._sound.end_order()

    async def _carry_out(self, command: dict[str, Any]) -> Reply:
        name = command["do"]
        if isinstance(name, str):
            if (order := SOUND_ORDERS.get(name)) is not None:
                return await order.run(self._sound, _request(order.body, command))
            if (text := TEXT_ORDERS.get(name)) is not None:
                asked = _request(text.body, command)
                return await text.run(self._texts, asked, command.get("id"))
            if (wish := AVATAR_ORDERS.get(name)) is not None:
                return await wish.run(self._services, _request(wish.body, command), self._owner)
            if (found := COMMANDS.get(name)) is not None:
                return await found.run(self._services, _request(found.body, command))
        names = ", ".join(sorted({*AVATAR_ORDERS, *COMMANDS, *SOUND_ORDERS, *TEXT_ORDERS}))
        raise InvalidInputError(f"There is no command {str(name)[:40]!r}; there are {names}.")

    async def _reply(self, command: dict[str, Any], reply: Reply) -> None:
        if isinstance(reply, dict):
            await self._send_json({"done": command.get("id"), **reply})
            return
        if len(self._replies) >= MOST_OPEN_REPLIES:
            reply.close()
            await self._fail(
                command, BusyError(f"{MOST_OPEN_REPLIES} replies are still being waited for.")
            )
            return
        task = asyncio.create_task(self._reply_later(command, reply))
        self._replies.add(task)
        task.add_done_callback(self._replies.discard)

    async def _reply_later(self, command: dict[str, Any], reply: Awaitable[dict[str, Any]]) -> None:
        try:
            await self._send_json({"done": command.get("id"), **await reply})
        except _Over:
            return  # the reader sees it too, and ends the socket
        except AppError as error:
            await self._fail(command, error)

    async def _fail(self, command: dict[str, Any], error: AppError) -> None:
        await self._send_json({"failed": command.get("id"), **failure(error)})


def _request(body: type[Body], command: dict[str, Any]) -> Body:
    given = {key: value for key, value in command.items() if key not in ("do", "id")}
    try:
        return body.model_validate(given)
    except ValidationError as error:
        raise InvalidInputError(readable(error.errors(include_url=False))) from None


def _is_urgent(command: dict[str, Any]) -> bool:
    name = command["do"]
    return isinstance(name, str) and name in COMMANDS and COMMANDS[name].is_urgent


def _is_about_sound(command: dict[str, Any]) -> bool:
    name = command["do"]
    return isinstance(name, str) and name in SOUND_ORDERS


def _frames(pieces: list[bytes]) -> list[tuple[int, int]]:
    """Ranges of ``pieces`` that make frames of a size that a client can take in one go."""
    ranges: list[tuple[int, int]] = []
    start = size = 0
    for n, piece in enumerate(pieces):
        if size and size + len(piece) > FRAME_BYTES:
            ranges.append((start, n))
            start, size = n, 0
        size += len(piece)
    if start < len(pieces):
        ranges.append((start, len(pieces)))
    return ranges


def _leaves(group: BaseExceptionGroup[_Over]) -> Iterator[_Over]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
