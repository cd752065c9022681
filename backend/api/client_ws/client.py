"""One Open-LLM-VTuber client, from its connection to its end.

Its messages are obeyed in the order in which they came; what takes as long as a turn or a reading goes on beside them.
Each client has a conversation of its own, which is never heard on the stage.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
from fastapi import WebSocket
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect, WebSocketState

from backend.api.avatar import transition_of
from backend.api.bodies import TextBody, TwitchConnectBody
from backend.api.client_door import Door, identify
from backend.api.client_ws import histories, messages
from backend.api.client_ws.backgrounds import backgrounds
from backend.api.client_ws.models import model_of
from backend.api.client_ws.outbox import Outbox
from backend.api.client_ws.sound import RATE_HZ, Allowance, pcm16
from backend.api.client_ws.texts import text_body
from backend.api.client_ws.turns import BY_ITSELF, ORIGIN, Turns
from backend.api.errors import failure, readable
from backend.api.on_demand import told, wanted
from backend.api.state import Services
from backend.api.twitch import connect as connect_twitch
from backend.chat.conversations import TurnHandle
from backend.contracts.entities import STAGE, Character, Conversation
from backend.contracts.errors import (
    AppError,
    BusyError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
)
from backend.contracts.listening import DropReason
from backend.contracts.modes import MODES, ModeName
from backend.core.background import Background
from backend.core.clock import monotonic_s
from backend.listening.ear import Ear

logger = logging.getLogger(__name__)

BEHIND = 4008
SEND_TIMEOUT_S = 20.0
MOST_TASKS = 64
MOST_READINGS = 8

CONNECTED = "Connection established"
SPEAKS_BY_ITSELF = "AI wants to speak something..."
NOT_ANSWERED = "The character could not answer; Luma's window says why."
NOT_LOOKED_AT = "Pictures are not looked at yet; the words alone are answered."
NOT_UNDERSTOOD = {
    "too_short": "Nothing was heard: it was too short for speech.",
    "muted": "Nothing was heard: the microphone is muted in Luma.",
    "recogniser": "What was said could not be read; Luma's window says why.",
}
NOTHING_HEARD = "Nothing was heard: no words were understood."

FOR_THE_TRUSTED = frozenset(
    {
        "expression-command",
        "motion-command",
        "set-backend-mode",
        "get-backend-mode",
        "text-generation-request",
        "text-generation-cancel",
        "twitch-connect",
        "twitch-disconnect",
    }
)
"""What reaches further than the client's own conversation."""


class _Over(Exception):
    """The socket is to be closed; code 0 when the client has left."""

    def __init__(self, code: int = 0, reason: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Obeyed:
    """One type of message: what it carries, and what is done about it."""

    body: type[messages.Said]
    run: Callable[[Client, Any], Awaitable[None]]


class Client:
    """One socket."""

    OBEYED: ClassVar[dict[str, Obeyed]] = {}

    def __init__(self, socket: WebSocket, running: Services) -> None:
        headers = socket.headers
        self._socket = socket
        self._running = running
        self._door: Door = running.clients
        self.identity = identify(
            headers.get("x-client-uid", ""),
            headers.get("origin", ""),
            is_trusted=socket.scope.get("luma.caller") != "client",
        )
        self._outbox = Outbox()
        self._turns = Turns(self._outbox)
        self._over: asyncio.Future[_Over] = asyncio.get_running_loop().create_future()
        self._conversation: Conversation | None = None
        self._is_made_here = False
        self._character_id = ""
        self._mode: ModeName | None = None
        self._microphone: Ear | None = None
        self._stream: Ear | None = None
        self._has_sound = False
        self._readings = 0
        self._why_nothing = NOTHING_HEARD
        self._allowance = Allowance(at_s=monotonic_s())
        self._has_told_of_pictures = False
        self._tasks = Background(logger)
        self._text: asyncio.Task[None] | None = None
        self._twitch: asyncio.Task[None] | None = None

    # --- from beginning to end ---

    async def serve(self) -> None:
        """Speak until one side ends it."""
        await self._socket.accept()
        if not self._door.enter(self):
            await self._socket.close(1013, "too many clients are connected")
            return
        sides = [
            asyncio.create_task(self._read(), name=f"client {self.identity.uid} in"),
            asyncio.create_task(self._write(), name=f"client {self.identity.uid} out"),
        ]
        try:
            ends: list[asyncio.Future[Any]] = [*sides, self._over]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            over = self._over.result() if self._over.done() else _ended(sides)
        finally:
            for task in sides:
                task.cancel()
            await self._tasks.close()
            await asyncio.gather(*sides, return_exceptions=True)
            await self._put_away()
            self._door.leave(self)
        if over.code and self._socket.client_state is WebSocketState.CONNECTED:
            try:
                async with asyncio.timeout(1):
                    await self._socket.close(over.code, over.reason)
            except (TimeoutError, RuntimeError, WebSocketDisconnect):
                logger.debug("client %s did not take its close frame", self.identity.uid)

    def tell(self, message: dict[str, object]) -> None:
        """Send it something."""
        self._outbox.put(message)

    def dismiss(self, code: int, reason: str) -> None:
        """Have it leave."""
        if not self._over.done():
            self._over.set_result(_Over(code, reason))

    async def _write(self) -> None:
        while (text := await self._outbox.take()) is not None:
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await self._socket.send({"type": "websocket.send", "text": text})
            except TimeoutError:
                raise _Over(BEHIND, "nothing was read for too long") from None
            except (RuntimeError, OSError, WebSocketDisconnect):  # closed meanwhile
                raise _Over from None
        raise _Over(BEHIND, "too slow: too much waited to be read")

    async def _read(self) -> None:
        await self._welcome()
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise _Over
            try:
                await self._take(message)
            except AppError as error:
                self.tell(messages.error(failure(error)["message"]))
            except ValidationError as error:
                self.tell(messages.error(readable(error.errors(include_url=False))))
            except Exception:
                # A bug in one message must not end the conversation.
                logger.exception("client %s: a message failed", self.identity.uid)
                self.tell(messages.error("Something went wrong inside Luma; the log says what."))

    async def _take(self, message: Mapping[str, Any]) -> None:
        if message.get("bytes") is not None:
            sound = message["bytes"]
            if len(sound) % 2:
                raise InvalidInputError(
                    f"A binary frame holds PCM16 sound, two bytes a sample, not {len(sound):,} bytes."
                )
            await self._hear(sound)
            return
        try:
            found = orjson.loads(message.get("text") or "")
        except orjson.JSONDecodeError:
            raise InvalidInputError("A message is JSON; this is none.") from None
        kind = found.get("type") if isinstance(found, dict) else None
        if not isinstance(kind, str):
            raise InvalidInputError('A message is a JSON object with a "type".')
        if kind in FOR_THE_TRUSTED and not self.identity.is_trusted:
            raise InvalidInputError(
                f"{kind} needs the API token; without it a client talks, listens and keeps its own histories."
            )
        obeyed = self.OBEYED.get(kind)
        if obeyed is None:
            raise InvalidInputError(
                f"There is no message {kind[:40]!r}; there are {', '.join(sorted(self.OBEYED))}."
            )
        await obeyed.run(self, obeyed.body.model_validate(found))

    async def _welcome(self) -> None:
        """What a client is told when it connects."""
        if not self.identity.owner.endswith("-"):
            known = await histories.latest(self._running, self.identity)
            if known is not None and known.id not in self._door.in_use:
                self._adopt(known)
        self.tell(messages.group_update([], is_owner=False))
        self.tell(messages.full_text(CONNECTED))
        await self._configuration()
        self._tell_group()
        self.tell(messages.control("start-mic"))

    def _spawn(self, work: Coroutine[Any, Any, None], what: str) -> None:
        if len(self._tasks) >= MOST_TASKS:
            # Each turn that waits has one; the conversation's own queue is shorter than this.
            work.close()
            return
        self._tasks.spawn(work, f"client {self.identity.uid}: {what}")

    # --- its conversation ---

    async def _character(self) -> Character:
        """Whom it talks with."""
        running = self._running
        wanted = self._character_id
        if self._conversation is not None:
            wanted = (await running.chat.conversation(self._conversation.id)).character_id
        if not wanted:
            wanted = (await running.chat.conversation(STAGE)).character_id
        try:
            return await running.characters.get(wanted)
        except NotFoundError:  # deleted meanwhile
            return await running.characters.default()

    async def _own(self) -> Conversation:
        """Its conversation, made when it has none."""
        if self._conversation is None:
            await self._begin()
        assert self._conversation is not None
        return self._conversation

    async def _begin(self) -> Conversation:
        """A new conversation, in which it talks from now on."""
        running = self._running
        await histories.check_room(running, self.identity)
        character = await self._character()
        await self._put_away()
        made = await running.chat.create(
            character_id=character.id, client_uid=self.identity.uid, title="Open-LLM-VTuber client"
        )
        self._adopt(made)
        self._is_made_here = True
        if self._mode is not None:
            try:
                await self._choose(self._mode, made)
            except AppError as error:  # it is not set up any more
                self._mode = None
                self.tell(messages.error(failure(error)["message"]))
        return made

    def _adopt(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._is_made_here = False
        self._character_id = conversation.character_id
        self._door.in_use[conversation.id] = self
        self._running.chat.attend(conversation.id, self._turns)

    async def _put_away(self) -> None:
        """Let go of the conversation: no turn for nobody, no ear, and nothing stays of one in which nothing was said."""
        conversation, self._conversation = self._conversation, None
        if conversation is None:
            return
        chat = self._running.chat
        await self._close_ears()
        # The same client may have connected again and taken it over.
        is_own = self._door.in_use.get(conversation.id) is self
        if self._turns.is_showing or (is_own and chat.queue_length(conversation.id)):
            await self._interrupt(conversation.id, None, waiting_too=is_own)
        self._turns.close()
        chat.leave(conversation.id, self._turns)
        if not is_own:
            return
        del self._door.in_use[conversation.id]
        try:
            if self._is_made_here and not (await chat.conversation(conversation.id)).turns:
                await chat.delete(conversation.id)
        except AppError as error:
            logger.debug("client %s: %s", self.identity.uid, error.message)

    async def _configuration(self, *, with_uid: bool = True) -> None:
        character = await self._character()
        uid = self.identity.uid if with_uid else None
        title = titles(await self._running.characters.list())[character.id]
        model = await model_of(self._running.rigs, character)
        # Faces are numbers of the model that the client has been told of, until it is told of another one.
        self._turns.face = model.face
        self.tell(messages.configuration(title, character.id, uid, model.info))

    # --- talking ---

    async def _say(self, said: messages.TextInput) -> None:
        self._look(said)
        conversation = await self._own()
        await self._send(said.text, conversation, ORIGIN)

    async def _send(self, text: str, conversation: Conversation, origin: str) -> None:
        handle = await self._running.chat.send(
            text,
            origin=origin,
            conversation_id=conversation.id,
            before=self._turns.typed.add,
            may_command=self.identity.is_trusted and origin == ORIGIN,
        )
        if handle.notice is not None:
            self._turns.typed.discard(handle.turn_id)
            self.tell(messages.full_text(handle.notice.text))
            self._turns.not_understood()
            return
        self._spawn(self._follow(handle), "seeing a turn to its end")

    async def _follow(self, handle: TurnHandle) -> None:
        """See a turn to its end; an error is told in words that give nothing of a provider away."""
        turn = await handle.result()
        self._turns.typed.discard(handle.turn_id)
        if turn.outcome == "failed" or turn.error:
            self.tell(messages.error(NOT_ANSWERED))
        self._turns.stored(handle.turn_id, is_reading=self._readings > 0)

    async def _speak_by_itself(self, said: messages.AiSpeak) -> None:
        conversation = await self._own()
        if not self._running.modes.speaks_unasked("idle", conversation.id):
            return  # AUTONOMOUS_TRIGGERS does not name it
        if self._turns.is_open or self._running.chat.queue_length(conversation.id):
            return  # it speaks already
        self.tell(messages.full_text(SPEAKS_BY_ITSELF))
        how_long = (
            f" for {said.idle_time:.0f} seconds" if said.idle_time and said.idle_time > 0 else ""
        )
        await self._send(
            f"It has been quiet{how_long}. Tell me something.", conversation, BY_ITSELF
        )

    def _look(self, said: messages.WithPictures) -> None:
        if said.images and not self._has_told_of_pictures:
            self._has_told_of_pictures = True
            self.tell(messages.error(NOT_LOOKED_AT))

    async def _be_interrupted(self, said: messages.Interrupt) -> None:
        conversation = self._conversation
        if conversation is None:
            return
        if self._readings:
            await self._close_ears()
            self._turns.not_understood()
        if self._turns.is_showing:
            heard = None if said.text is None else self._turns.spelled(said.text)
            await self._interrupt(conversation.id, heard)
            for other in self._door.others(self):
                other.tell({"type": "interrupt-signal", "text": heard or ""})

    async def _interrupt(
        self, conversation_id: str, heard: str | None, *, waiting_too: bool = False
    ) -> None:
        """Stop the turn that is shown; the client has fallen silent by itself."""
        self._turns.is_asked_to_stop = True
        try:
            await self._running.chat.interrupt(
                conversation_id, heard=heard, waiting_too=waiting_too
            )
        finally:
            self._turns.is_asked_to_stop = False

    async def _played(self, said: messages.Nothing) -> None:
        self._turns.acknowledged()

    async def _playing(self, said: messages.PlayStart) -> None:
        if said.display_text is None:
            return
        shown = self._turns.started(said.display_text.text)
        if shown is None:
            return  # none of ours: nothing that a client makes up is shown to others
        for other in self._door.others(self):
            other.tell(messages.audio(None, [], shown, forwarded=True))

    # --- its microphone ---

    async def _piece(self, said: messages.Sound) -> None:
        await self._hear(await pcm16(said.audio))

    async def _streamed(self, said: messages.Sound) -> None:
        """Sound of which nobody says where it ends: that is found out here."""
        sound = await pcm16(said.audio)
        self._allow(sound)
        if self._stream is None or self._stream.is_closed:
            self._stream = await self._open_ear(auto_end=True)
        self._stream.feed(sound)

    async def _hear(self, sound: bytes) -> None:
        self._allow(sound)
        if self._microphone is None or self._microphone.is_closed:
            self._readings = 0
            self._microphone = await self._open_ear(auto_end=False)
        self._has_sound = True
        self._microphone.feed(sound)

    def _allow(self, sound: bytes) -> None:
        if not self._allowance.take(len(sound) // 2, monotonic_s()):
            raise InvalidInputError(
                "Too much sound came at once; send at most 2 minutes of it, then no faster than twice real time."
            )

    async def _open_ear(self, *, auto_end: bool) -> Ear:
        conversation = await self._own()
        ear = await self._running.hearing.open_ear(
            conversation.id, origin=ORIGIN, rate_hz=RATE_HZ, auto_end=auto_end
        )
        ear.on_message = self._understood
        ear.on_dropped = self._not_understood
        return ear

    def _understood(self, handle: TurnHandle) -> None:
        self._spawn(self._follow(handle), "seeing a turn to its end")

    def _not_understood(self, reason: DropReason, detail: str) -> None:
        self._why_nothing = NOT_UNDERSTOOD.get(reason, NOTHING_HEARD)

    async def _heard_all(self, said: messages.MicEnd) -> None:
        self._look(said)
        ear = self._microphone
        if ear is None or ear.is_closed or not self._has_sound:
            if self._stream is None:
                self._turns.give_up(NOTHING_HEARD)
            # Else where it ended was found out here; the client repeats what it was told.
            return
        if self._readings >= MOST_READINGS:
            raise BusyError(f"{MOST_READINGS} utterances are being read already.")
        self._has_sound = False
        self._readings += 1
        self._turns.open()
        self._spawn(self._understand(ear), "reading what it said")
        await asyncio.sleep(0)  # what is heard from here on belongs to the next utterance

    async def _understand(self, ear: Ear) -> None:
        handle = await ear.end()
        if ear is not self._microphone:
            return  # it was closed meanwhile: nobody waits for this any more
        self._readings -= 1
        why, self._why_nothing = self._why_nothing, NOTHING_HEARD
        if handle is None:
            self._turns.give_up(why)
        if not self._readings and not self._has_sound:
            self._microphone = None  # others may need one
            await ear.close()

    async def _close_ears(self) -> None:
        ears = (self._microphone, self._stream)
        self._microphone = self._stream = None
        self._has_sound = False
        self._readings = 0
        for ear in ears:
            if ear is not None:
                await ear.close()

    # --- histories ---

    async def _list_histories(self, said: messages.Nothing) -> None:
        found = await histories.listed(self._running, self.identity, await self._character())
        self.tell({"type": "history-list", "histories": found})

    async def _new_history(self, said: messages.Nothing) -> None:
        made = await self._begin()
        self.tell({"type": "new-history-created", "history_uid": made.id})

    async def _set_history(self, said: messages.HistoryWanted) -> None:
        found = await histories.owned(self._running, self.identity, said.history_uid)
        if found is None:
            raise NotFoundError(f"There is no history {said.history_uid[:64]!r}.")
        if self._door.in_use.get(found.id, self) is not self:
            raise ConflictError("Another client talks in this history right now.")
        if self._conversation is None or self._conversation.id != found.id:
            before = await self._character()
            await self._put_away()
            self._adopt(found)
            if found.character_id != before.id:
                await self._configuration(with_uid=False)
        character = await self._character()
        said_in_it = await histories.spoken(self._running, found.id, character)
        self.tell({"type": "history-data", "messages": said_in_it})

    async def _delete_history(self, said: messages.HistoryWanted) -> None:
        found = await histories.owned(self._running, self.identity, said.history_uid)
        success = found is not None and self._door.in_use.get(found.id, self) is self
        if found is not None and success:
            if self._conversation is not None and self._conversation.id == found.id:
                self._is_made_here = False
                await self._put_away()
            await self._running.chat.delete(found.id)
        self.tell({"type": "history-deleted", "success": success, "history_uid": said.history_uid})

    # --- configurations ---

    async def _list_configs(self, said: messages.Nothing) -> None:
        names = titles(await self._running.characters.list())
        configs = [{"filename": f"{uid}.yaml", "name": name} for uid, name in names.items()]
        self.tell({"type": "config-files", "configs": configs})

    async def _switch_config(self, said: messages.SwitchConfig) -> None:
        """Another character, for this client alone; a history that was begun stays with the one it was with."""
        try:
            if not said.file.endswith(".yaml"):
                raise InvalidInputError(
                    f"There is no configuration {said.file[:80]!r}; fetch-configs lists them."
                )
            character = await self._running.characters.get(said.file.removesuffix(".yaml"))
        except AppError as error:
            self.tell(messages.error(failure(error)["message"]))
            # The client has unloaded its model and waits for one.
            await self._configuration(with_uid=False)
            return
        if character.id != (await self._character()).id:
            await self._put_away()
            self._character_id = character.id
        await self._configuration(with_uid=False)
        self.tell({"type": "config-switched", "message": f"Switched to config: {said.file}"})

    async def _tell_configuration(self, said: messages.Nothing) -> None:
        await self._configuration()

    async def _list_backgrounds(self, said: messages.Nothing) -> None:
        found = await backgrounds(self._door.backgrounds)
        self.tell({"type": "background-files", "files": found})

    async def _heartbeat(self, said: messages.Nothing) -> None:
        self.tell({"type": "heartbeat-ack"})

    # --- groups ---

    async def _invite(self, said: messages.Invite) -> None:
        success, words, changed = self._door.invite(self, said.invitee_uid)
        self._tell_result(success, words, changed)

    async def _remove(self, said: messages.Remove) -> None:
        success, words, changed = self._door.remove(self, said.target_uid)
        self._tell_result(success, words, changed)

    def _tell_result(self, success: bool, words: str, changed: list[Any]) -> None:
        self.tell({"type": "group-operation-result", "success": success, "message": words})
        for member in changed:
            members, is_owner = self._door.standing(member)
            member.tell(messages.group_update(members, is_owner=is_owner))

    async def _group_info(self, said: messages.Nothing) -> None:
        self._tell_group()

    def _tell_group(self) -> None:
        members, is_owner = self._door.standing(self)
        self.tell(messages.group_update(members, is_owner=is_owner))

    # --- who answers ---

    async def _set_mode(self, said: messages.SetMode) -> None:
        """Who answers this client, also in the histories that it begins from now on; nobody else's mode changes."""
        mode = next((each for each in MODES if each == said.mode), None)
        if mode is None:
            raise InvalidInputError(
                f"There is no mode {said.mode!r}; there are {', '.join(MODES)}."
            )
        conversation = await self._own()
        await self._choose(mode, conversation)
        self._mode = mode
        self.tell({"type": "backend-mode-set", "mode": mode})

    async def _choose(self, mode: ModeName, conversation: Conversation) -> None:
        await self._running.modes.set(
            mode, conversation_id=conversation.id, reason=f"chosen by client {self.identity.uid}"
        )

    async def _tell_mode(self, said: messages.Nothing) -> None:
        where = self._conversation.id if self._conversation is not None else None
        state = await self._running.modes.state(where)
        available = [each.mode for each in state.modes if each.is_available]
        self.tell({"type": "backend-mode", "mode": state.mode, "available": available})

    # --- Twitch ---

    async def _connect_twitch(self, said: messages.TwitchConnect) -> None:
        """Join a channel for everybody here; told when that is done, and what comes meanwhile does not wait."""
        if self._twitch is not None and not self._twitch.done():
            raise BusyError("A channel of Twitch is being joined already.")
        self._twitch = self._tasks.spawn(
            self._join_twitch(said), f"client {self.identity.uid}: joining a channel"
        )

    async def _join_twitch(self, said: messages.TwitchConnect) -> None:
        body = TwitchConnectBody(channel=said.channel, token=said.token)
        try:
            state = await connect_twitch(self._running, body)
        except AppError as error:
            self.tell(messages.error(failure(error)["message"]))
        else:
            self.tell({"type": "twitch-connected", "channel": state.channel.channel})

    async def _disconnect_twitch(self, said: messages.Nothing) -> None:
        channel = self._running.twitch.state.channel.channel
        await self._running.twitch.disconnect()
        self.tell({"type": "twitch-disconnected", "channel": channel})

    # --- text on demand ---

    async def _write_text(self, said: messages.TextWanted) -> None:
        if self._text is not None and not self._text.done():
            # Nothing in these messages says to which text a piece belongs.
            raise BusyError("A text is being written already; one comes after the other here.")
        where = self._conversation.id if self._conversation is not None else STAGE
        body = text_body(said, where)
        self._text = self._tasks.spawn(
            self._send_text(body), f"client {self.identity.uid}: writing a text"
        )

    async def _send_text(self, body: TextBody) -> None:
        try:
            async with self._running.texts.write(wanted(body)) as writing:
                async with aclosing(writing.pieces()) as pieces:
                    async for text in pieces:
                        await self._outbox.room()
                        self.tell(messages.text_chunk(text))
                result = told(writing.result()).model_dump()
            self.tell({"type": "text-generation-response", **result, "is_complete": True})
        except AppError as error:
            self.tell(messages.error(failure(error)["message"]))
        except Exception:
            # A bug in one text must not end the conversation.
            logger.exception("client %s: a text failed", self.identity.uid)
            self.tell(messages.error("Something went wrong inside Luma; the log says what."))

    async def _cancel_text(self, said: messages.Nothing) -> None:
        if self._text is not None and self._text.cancel():
            self.tell(messages.error("The text was cancelled."))

    # --- faces ---

    async def _express(self, said: messages.Expression) -> None:
        transition = transition_of(said.transition)
        shown = self._running.cues.express(
            await self._character(),
            said.expression_id,
            owner="client",
            duration_ms=said.duration,
            priority=said.priority,
            transition=transition,
        )
        result = {
            "status": "success",
            "expression_id": said.expression_id,
            "duration": said.duration,
            "priority": said.priority,
            "transition": transition,
            "shown": shown.expression,
        }
        self.tell({"type": "expression-ack", "expression_id": said.expression_id, "result": result})

    async def _move(self, said: messages.PlayMotion) -> None:
        if (said.motion is None) == (said.motion_group is None):
            raise InvalidInputError(
                "motion-command needs motion_group and motion_index, or motion (a name)."
            )
        shown = self._running.cues.perform(
            await self._character(),
            owner="client",
            group=said.motion_group,
            index=said.motion_index,
            name=said.motion,
            loop=said.loop,
            priority=said.priority,
        )
        result = {
            "status": "success",
            "loop": said.loop,
            "priority": said.priority,
            "shown": shown.motion.name if shown.motion is not None else None,
        }
        asked = {"motion_group": said.motion_group, "motion_index": said.motion_index}
        if said.motion is not None:
            asked = {"motion": said.motion}
        self.tell({"type": "motion-ack", **asked, "result": result})


Client.OBEYED.update(
    {
        "text-input": Obeyed(messages.TextInput, Client._say),
        "mic-audio-data": Obeyed(messages.Sound, Client._piece),
        "mic-audio-end": Obeyed(messages.MicEnd, Client._heard_all),
        "raw-audio-data": Obeyed(messages.Sound, Client._streamed),
        "ai-speak-signal": Obeyed(messages.AiSpeak, Client._speak_by_itself),
        "interrupt-signal": Obeyed(messages.Interrupt, Client._be_interrupted),
        "frontend-playback-complete": Obeyed(messages.Nothing, Client._played),
        "audio-play-start": Obeyed(messages.PlayStart, Client._playing),
        "fetch-history-list": Obeyed(messages.Nothing, Client._list_histories),
        "fetch-and-set-history": Obeyed(messages.HistoryWanted, Client._set_history),
        "create-new-history": Obeyed(messages.Nothing, Client._new_history),
        "delete-history": Obeyed(messages.HistoryWanted, Client._delete_history),
        "fetch-configs": Obeyed(messages.Nothing, Client._list_configs),
        "switch-config": Obeyed(messages.SwitchConfig, Client._switch_config),
        "fetch-backgrounds": Obeyed(messages.Nothing, Client._list_backgrounds),
        "request-init-config": Obeyed(messages.Nothing, Client._tell_configuration),
        "heartbeat": Obeyed(messages.Nothing, Client._heartbeat),
        "add-client-to-group": Obeyed(messages.Invite, Client._invite),
        "remove-client-from-group": Obeyed(messages.Remove, Client._remove),
        "request-group-info": Obeyed(messages.Nothing, Client._group_info),
        "set-backend-mode": Obeyed(messages.SetMode, Client._set_mode),
        "get-backend-mode": Obeyed(messages.Nothing, Client._tell_mode),
        "twitch-connect": Obeyed(messages.TwitchConnect, Client._connect_twitch),
        "twitch-disconnect": Obeyed(messages.Nothing, Client._disconnect_twitch),
        "text-generation-request": Obeyed(messages.TextWanted, Client._write_text),
        "text-generation-cancel": Obeyed(messages.Nothing, Client._cancel_text),
        "expression-command": Obeyed(messages.Expression, Client._express),
        "motion-command": Obeyed(messages.PlayMotion, Client._move),
    }
)


def titles(characters: Sequence[Character]) -> dict[str, str]:
    """Name of each character by its id; clients find a configuration by it, so a name that two have is made plain."""
    counts = Counter(each.name for each in characters)
    return {
        each.id: each.name if counts[each.name] == 1 else f"{each.name} ({each.id})"
        for each in characters
    }


def _ended(sides: list[asyncio.Task[None]]) -> _Over:
    """Why one of the two sides has ended."""
    for task in sides:
        if task.done() and not task.cancelled():
            error = task.exception()
            if isinstance(error, _Over):
                return error
            if error is not None:
                logger.error("a client's socket failed", exc_info=error)
                return _Over(1011, "something went wrong inside Luma")
    return _Over()
