"""Conversations: who talks with whom, one turn at a time each, and what is kept of it.

Every conversation has its own queue, history and active character; nothing is shared between clients. The stage is the
one conversation that is heard on the stage's sink. A turn is stored before anybody is told that it is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from uuid import uuid4
from weakref import WeakValueDictionary

from backend.chat.ahead import Prepared
from backend.chat.characters import Characters
from backend.chat.commands import Commands, Notice
from backend.chat.history import KEPT_EXCHANGES, History
from backend.chat.prompt import VIEWERS as ORIGIN_OF_VIEWERS
from backend.chat.prompt import Exchange
from backend.chat.trace import Trace
from backend.chat.turn import Answer, Audience, Lead, Request, TurnRunner
from backend.contracts.entities import STAGE, Conversation, Turn
from backend.contracts.errors import (
    AppError,
    BusyError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    StorageError,
)
from backend.contracts.events import (
    CharacterSwitched,
    ChatDisposition,
    ChatMessage,
    ChatNotice,
    ChatResponse,
    ConversationChanged,
    ErrorOccurred,
    TurnFinished,
    TurnStarted,
)
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s, now
from backend.core.context import TurnContext, current_turn
from backend.storage import conversations as conversation_rows
from backend.storage import turns as turn_rows
from backend.storage.database import Database

logger = logging.getLogger(__name__)

HELD = (
    "Everything is stopped by the panic, and nothing is answered. Press Resume, and say it again."
)

VIEWERS = ORIGIN_OF_VIEWERS
"""Begins the origin of what viewers write, so that no name of a platform is taken for the operator's window or microphone."""

WITHDRAWN = "(deleted by a moderator)"
"""Kept in place of a message that was taken back while it was being answered."""

LONGEST_MESSAGE_CHARS = 8_000
LONGEST_AUTHOR_CHARS = 100
QUEUE_LIMIT = 32
"""Messages that may wait in one conversation."""

UNSTORED_KEPT = 500
"""Turns that wait in memory while the disk is full: an evening's talk, some MB."""

OPEN_LANES = 64
"""Conversations kept in memory; older idle ones are read again when somebody speaks."""


class HeldError(ConflictError):
    """Nothing is answered until somebody says to go on."""

    code = "panic.on"


@dataclass(slots=True)
class _Waiting:
    turn_id: str
    text: str
    author: str
    origin: str
    speak: bool
    received_s: float
    received_at: datetime
    done: asyncio.Future[Turn]
    lead: tuple[Lead, ...] = ()
    prepared: Prepared | None = None
    is_recital: bool = False
    is_withdrawn: bool = False
    """It is to be forgotten."""
    is_followed: bool = False
    """Whoever sent it tells what becomes of it."""

    @property
    def message(self) -> str:
        """What was said to her; nothing where she was only given words to say."""
        if self.is_withdrawn:
            return WITHDRAWN
        return "" if self.is_recital else self.text

    @property
    def is_viewers(self) -> bool:
        """Whether it waits behind whatever a person on this side says."""
        return self.origin.startswith(VIEWERS)


@dataclass(slots=True)
class _Lane:
    """One conversation at work."""

    conversation: Conversation
    history: History
    number: int
    waiting: deque[_Waiting] = field(default_factory=deque)
    worker: asyncio.Task[None] | None = None
    turn: asyncio.Task[None] | None = None
    current: _Waiting | None = None
    heard: str | None = None
    """What the client that interrupted says was heard."""
    still: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the conversation changes character, is cleared or deleted: no turn begins meanwhile."""
    is_deleted: bool = False
    prepared: Prepared | None = None
    """A reply begun ahead; the newest one."""


@dataclass(frozen=True, slots=True)
class TurnHandle:
    """A message that was taken; its turn runs or waits."""

    turn_id: str
    conversation_id: str
    done: asyncio.Future[Turn]
    notice: Notice | None = None
    """What came of it, when it was a command: then there is no turn."""

    async def result(self) -> Turn:
        """Wait for the turn's end; leaving early does not stop it."""
        return await asyncio.shield(self.done)


class Chat:
    """Everything that can be done with conversations; all methods are for the backend's loop."""

    def __init__(
        self,
        *,
        bus: EventBus,
        database: Database,
        characters: Characters,
        runner: TurnRunner,
        default_character: str = "",
        user_name: Callable[[], str] = lambda: "you",
        commands: Commands | None = None,
        on_deleted: Callable[[str], None] = lambda conversation_id: None,
    ) -> None:
        self._bus = bus
        self._database = database
        self._characters = characters
        self._runner = runner
        self._default_character = default_character
        self._user_name = user_name
        self._commands = commands
        self._on_deleted = on_deleted
        self._lanes: OrderedDict[str, _Lane] = OrderedDict()
        self._opening: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._unstored: OrderedDict[str, Turn] = OrderedDict()
        self._audiences: dict[str, Audience] = {}
        self._closing = False
        self._is_held = False
        self._when_free: list[Callable[[str], None]] = []
        self.thinks_ahead = True

    # --- talking ---

    async def prepare(
        self,
        text: str,
        *,
        author: str = "you",
        conversation_id: str = STAGE,
        speak: bool = True,
    ) -> Prepared | None:
        """Begin to answer a message that may not be complete yet; nobody sees, hears or keeps any of it.

        Hand the outcome to `send` with the message; what is not taken within some seconds is thrown away. There is one in
        a conversation at a time: another text replaces it, the same one gives the one that runs.

        Returns:
            None when the setting THINK_AHEAD is off, or a turn runs or waits there. A turn that is being interrupted is
            waited for: what was heard of it belongs to what is answered.

        Raises:
            NotFoundError: There is no such conversation.
        """
        text = clean(text)
        if not self.thinks_ahead or not text or len(text) > LONGEST_MESSAGE_CHARS:
            return None
        author = self._author(author)
        lane = await self._lane(conversation_id)
        item, turn = lane.current, lane.turn
        if item is not None and (turn is None or turn.done() or turn.cancelling()):
            await asyncio.wait([item.done], timeout=2)
        if self._is_engaged(lane):
            return None
        character = await self._characters.get(lane.conversation.character_id)
        if self._is_engaged(lane):
            return None
        known = lane.prepared
        if known is not None:
            if known.is_usable and known.fits(text, author, speak=speak):
                return known
            known.cancel()
        lane.prepared = self._runner.prepare(
            text,
            author,
            character=character,
            history=lane.history.newest(),
            conversation_id=conversation_id,
            speak=speak,
        )
        return lane.prepared

    def _is_engaged(self, lane: _Lane) -> bool:
        """Whether a reply there would not be the next thing that happens."""
        busy = lane.current is not None or bool(lane.waiting) or lane.still.locked()
        return busy or lane.is_deleted or self._closing or self._is_held

    async def send(
        self,
        text: str,
        *,
        author: str = "you",
        origin: str = "api",
        conversation_id: str | None = None,
        client_uid: str = "",
        character_id: str | None = None,
        speak: bool = True,
        before: Callable[[str], None] | None = None,
        spoken_s: float | None = None,
        lead: tuple[Lead, ...] = (),
        prepared: Prepared | None = None,
        may_command: bool = False,
        is_recital: bool = False,
        is_followed: bool = False,
    ) -> TurnHandle:
        """Take a message; it is answered when its turn comes.

        Args:
            text: What was said.
            author: Who said it.
            origin: Where it came from ("window", "api", "client-ws" …).
            conversation_id: Which conversation; None = the client's own, or a new one.
            client_uid: Names a client whose own conversation is meant.
            character_id: Switch the conversation to this character first.
            speak: Whether to make sound.
            before: Called with the turn's id before anything of it is published, to start listening for it; what it raises
                takes the message back.
            spoken_s: Monotonic time at which its speaker fell silent; the turn's time counts from there.
            lead: What happened between that and now.
            prepared: What `prepare` began for this message; thrown away when it turns out to be for another one.
            may_command: The operator typed it: "!motion wave" is done, not answered.
            is_recital: It is no message: she says it word for word, and remembers that she did.
            is_followed: Whoever sends it tells what becomes of it, under an id of its own.

        Raises:
            InvalidInputError: The text is empty or too long.
            NotFoundError: There is no such conversation or character.
            BusyError: Too many messages wait in this conversation.
        """
        received_s, received_at = monotonic_s(), now()
        text = clean(text)
        if not text:
            raise InvalidInputError("The message is empty: write something to say.")
        if len(text) > LONGEST_MESSAGE_CHARS:
            raise InvalidInputError(
                f"The message has {len(text):,} characters; at most {LONGEST_MESSAGE_CHARS:,} are taken."
            )
        author = self._author(author)
        lane = await self._lane_for(conversation_id, client_uid, character_id)
        if character_id and character_id != lane.conversation.character_id:
            await self.switch_character(lane.conversation.id, character_id)
            # It may have been put away and opened again meanwhile.
            lane = await self._lane(lane.conversation.id)
        if self._closing:
            raise ConflictError("Luma is stopping; nothing new is answered.")
        if self._is_held:
            raise HeldError(HELD)
        conversation = lane.conversation
        if may_command and text[0] == "!" and self._commands is not None:
            character = await self._characters.get(conversation.character_id)
            if (notice := self._commands.run(text, character)) is not None:
                return self._noticed(notice, text, author, origin, conversation, before)
        if len(lane.waiting) >= QUEUE_LIMIT:
            if not is_followed:
                self._bus.publish(
                    ChatDisposition(
                        message_id=uuid4().hex,
                        disposition="queue-full",
                        reason=f"{QUEUE_LIMIT} messages wait already",
                        conversation_id=conversation.id,
                        severity="WARNING",
                    )
                )
            raise BusyError(
                f"{QUEUE_LIMIT} messages wait already in this conversation. Wait for an answer, or interrupt it."
            )
        if lane.prepared is not None and lane.prepared is not prepared:
            lane.prepared.cancel()
        lane.prepared = None
        if prepared is not None and not (
            prepared.is_usable
            and prepared.conversation_id == conversation.id
            and prepared.fits(text, author, speak=speak)
            and not self._is_engaged(lane)
        ):
            prepared.cancel()
            prepared = None
        item = _Waiting(
            turn_id=prepared.turn_id if prepared is not None else uuid4().hex,
            text=text,
            author=author,
            origin=origin,
            speak=speak,
            received_s=received_s if spoken_s is None else spoken_s,
            received_at=received_at,
            done=asyncio.get_running_loop().create_future(),
            lead=lead,
            prepared=prepared,
            is_recital=is_recital,
            is_followed=is_followed,
        )
        if before is not None:
            before(item.turn_id)
        if not is_recital:
            self._bus.publish(
                ChatMessage(
                    text=text,
                    author=author,
                    origin=origin,
                    turn_id=item.turn_id,
                    conversation_id=conversation.id,
                    character_id=conversation.character_id,
                )
            )
        before_it = len(lane.waiting) + (lane.current is not None)
        if before_it and not is_followed:
            self._bus.publish(
                ChatDisposition(
                    message_id=item.turn_id,
                    disposition="queued",
                    reason=f"{before_it} before it",
                    turn_id=item.turn_id,
                    conversation_id=conversation.id,
                )
            )
        _line_up(lane.waiting, item)
        if lane.worker is None or lane.worker.done():
            lane.worker = asyncio.create_task(self._work(lane), name=f"lane {conversation.id}")
        return TurnHandle(item.turn_id, conversation.id, item.done)

    def _noticed(
        self,
        notice: Notice,
        text: str,
        author: str,
        origin: str,
        conversation: Conversation,
        before: Callable[[str], None] | None,
    ) -> TurnHandle:
        """A command was done: told in place of a turn, and neither answered nor remembered."""
        turn_id = uuid4().hex
        if before is not None:
            before(turn_id)
        self._bus.publish(
            ChatNotice(
                command=notice.command,
                text=notice.text,
                is_refused=notice.is_refused,
                turn_id=turn_id,
                conversation_id=conversation.id,
            )
        )
        done: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        done.set_result(
            Turn(
                id=turn_id,
                conversation_id=conversation.id,
                character_id=conversation.character_id,
                number=0,
                author=author,
                source=origin,
                message=text,
                reply="" if notice.is_refused else notice.text,
                outcome="skipped" if notice.is_refused else "done",
                error=notice.text if notice.is_refused else "",
                total_ms=0,
                started_at=now(),
            )
        )
        return TurnHandle(turn_id, conversation.id, done, notice)

    async def interrupt(
        self, conversation_id: str = STAGE, *, heard: str | None = None, waiting_too: bool = False
    ) -> bool:
        """Stop the running turn; return whether there was one.

        Args:
            conversation_id: Where.
            heard: What the client says was heard, for clients that play for themselves.
            waiting_too: Also drop the messages that wait.
        """
        lane = self._lanes.get(conversation_id)
        if lane is None:
            return False
        if waiting_too:
            while lane.waiting:
                self._skip(lane, lane.waiting.pop())
        turn, item = lane.turn, lane.current
        if item is None:
            return False
        runs = turn is not None and not turn.done()
        if turn is not None and runs:
            lane.heard = clean(heard) if heard is not None else None
            # First: writing and speaking may take a while to end.
            self._runner.hush(item.turn_id)
            turn.cancel()
        # A turn that has ended already is still being stored: what follows may rely on it.
        await asyncio.wait([item.done], timeout=2)
        return runs

    async def withdraw(self, turn_id: str, conversation_id: str = STAGE) -> bool:
        """Take a message back: it is cut while it is answered, not answered when it waits, and not remembered.

        Returns:
            Whether it was there.
        """
        lane = self._lanes.get(conversation_id)
        if lane is None:
            return False
        if lane.current is not None and lane.current.turn_id == turn_id:
            lane.current.is_withdrawn = True
            await self.interrupt(conversation_id)
            return True
        for item in lane.waiting:
            if item.turn_id == turn_id:
                item.is_withdrawn = True
                lane.waiting.remove(item)
                self._skip(lane, item)
                return True
        return False

    async def forget_turn(self, turn_id: str, conversation_id: str = STAGE) -> bool:
        """Remember no more what was said in a turn that has ended, neither the message nor the reply.

        Returns:
            Whether there is one.
        """
        lane = self._lanes.get(conversation_id)
        if lane is not None:
            lane.history.forget(turn_id)
        if (unstored := self._unstored.get(turn_id)) is not None:
            self._unstored[turn_id] = _withdrawn(unstored)
            return True
        return await self._database.write(
            lambda c: turn_rows.take_back(c, turn_id, WITHDRAWN), durable=True
        )

    async def hold(self) -> int:
        """Stop every turn, drop what waits, and take nothing until `let_go`; gives how many turns were stopped."""
        self._is_held = True
        lanes = list(self._lanes.values())
        for lane in lanes:
            if lane.prepared is not None:
                lane.prepared.cancel()
                lane.prepared = None
        stopped = await asyncio.gather(
            *(self.interrupt(lane.conversation.id, waiting_too=True) for lane in lanes)
        )
        return sum(stopped)

    def let_go(self) -> None:
        """Answer again."""
        self._is_held = False
        self._tell_free(STAGE)

    def attend(self, conversation_id: str, audience: Audience) -> None:
        """Have ``audience`` hear the replies of a conversation off stage from the next turn on, in place of who did."""
        self._audiences[conversation_id] = audience

    def leave(self, conversation_id: str, audience: Audience) -> None:
        """Have it hear them no more; nothing to do when another has taken its place."""
        if self._audiences.get(conversation_id) is audience:
            del self._audiences[conversation_id]

    def is_free(self, conversation_id: str = STAGE) -> bool:
        """Whether what is sent there now is answered at once: no turn runs or waits, and nothing holds it."""
        lane = self._lanes.get(conversation_id)
        if lane is None:
            return not (self._closing or self._is_held)
        return not self._is_engaged(lane)

    def when_free(self, tell: Callable[[str], None]) -> None:
        """Have a conversation's id told whenever it may have become free; `is_free` says whether it has."""
        self._when_free.append(tell)

    def is_busy(self, conversation_id: str = STAGE) -> bool:
        """Whether a turn runs there."""
        lane = self._lanes.get(conversation_id)
        return lane is not None and lane.current is not None

    def busy(self) -> list[str]:
        """Conversations in which a turn runs."""
        return [where for where, lane in self._lanes.items() if lane.current is not None]

    def is_busy_anywhere(self) -> bool:
        """Whether a turn runs in any conversation."""
        return any(lane.current is not None for lane in self._lanes.values())

    def running_turn(self, conversation_id: str = STAGE) -> str | None:
        """Id of the turn that runs there."""
        lane = self._lanes.get(conversation_id)
        return lane.current.turn_id if lane is not None and lane.current is not None else None

    def waiting_turns(self, conversation_id: str = STAGE) -> list[str]:
        """Ids of the turns whose messages wait there, the next first."""
        lane = self._lanes.get(conversation_id)
        return [item.turn_id for item in lane.waiting] if lane is not None else []

    def queue_length(self, conversation_id: str = STAGE) -> int:
        """Messages that wait there."""
        lane = self._lanes.get(conversation_id)
        return len(lane.waiting) if lane is not None else 0

    def active_character(self, conversation_id: str = STAGE) -> str:
        """Id of the character an open conversation talks with; empty when it is not open."""
        lane = self._lanes.get(conversation_id)
        return lane.conversation.character_id if lane is not None else ""

    # --- conversations ---

    async def conversations(self) -> list[Conversation]:
        """All conversations, the stage first, then the newest."""
        await self.open_stage()
        found = await self._database.read(conversation_rows.list_all)
        return sorted(found, key=lambda c: (c.id != STAGE, -c.updated_at.timestamp()))

    async def conversation(self, conversation_id: str) -> Conversation:
        """One conversation.

        Raises:
            NotFoundError: There is none of that id.
        """
        if conversation_id == STAGE:
            return (await self._lane(STAGE)).conversation
        lane = self._lanes.get(conversation_id)
        if lane is not None:
            return lane.conversation
        found = await self._database.read(lambda c: conversation_rows.get(c, conversation_id))
        if found is None:
            raise NotFoundError(f"There is no conversation {conversation_id[:64]!r}.")
        return found

    async def open_stage(self) -> Conversation:
        """The stage, made when it does not exist yet."""
        return (await self._lane(STAGE)).conversation

    async def create(
        self, *, character_id: str | None = None, client_uid: str = "", title: str = ""
    ) -> Conversation:
        """Start a conversation.

        Raises:
            NotFoundError: There is no such character.
        """
        return (await self._begin(character_id, client_uid, title, durable=True)).conversation

    async def clear(self, conversation_id: str) -> None:
        """Forget what was said, its turns included; the conversation stays."""
        lane = await self._lane(conversation_id)
        async with lane.still:
            await self.interrupt(conversation_id, waiting_too=True)
            lane.history.clear()
            await self._database.write(
                lambda c: conversation_rows.clear(c, conversation_id), durable=True
            )
            self._forget_unstored(conversation_id)
        self._bus.publish(ConversationChanged(conversation_id=conversation_id, change="cleared"))

    async def delete(self, conversation_id: str) -> None:
        """Delete a conversation with what was said in it; the stage is cleared instead."""
        if conversation_id == STAGE:
            await self.clear(STAGE)
            return
        lane = await self._lane(conversation_id)
        async with lane.still:
            lane.is_deleted = True  # nothing new is taken from here on
            try:
                await self.interrupt(conversation_id, waiting_too=True)
                await self._database.write(
                    lambda c: conversation_rows.delete(c, conversation_id), durable=True
                )
            finally:
                self._lanes.pop(conversation_id, None)
            self._forget_unstored(conversation_id)
            self._on_deleted(conversation_id)
        self._bus.publish(ConversationChanged(conversation_id=conversation_id, change="deleted"))

    async def rename(self, conversation_id: str, title: str) -> Conversation:
        """Give the conversation another title; none = it is called by its time.

        Raises:
            NotFoundError: There is no such conversation.
        """
        lane = await self._lane(conversation_id)
        async with lane.still:
            title = " ".join(clean(title).split())[:200]
            renamed = lane.conversation.model_copy(update={"title": title})
            await self._database.write(lambda c: conversation_rows.put(c, renamed), durable=True)
            # A turn may have ended meanwhile and counted itself.
            lane.conversation = lane.conversation.model_copy(update={"title": title})
        self._bus.publish(ConversationChanged(conversation_id=conversation_id, change="renamed"))
        return lane.conversation

    async def switch_character(self, conversation_id: str, character_id: str) -> Conversation:
        """Give the conversation to another character; each character keeps its own memory of it.

        Raises:
            NotFoundError: There is no such character or conversation.
        """
        character = await self._characters.get(character_id)
        lane = await self._lane(conversation_id)
        async with lane.still:
            if lane.conversation.character_id == character.id:
                return lane.conversation
            await self.interrupt(conversation_id)
            conversation = lane.conversation.model_copy(
                update={"character_id": character.id, "updated_at": now()}
            )
            await self._database.write(
                lambda c: conversation_rows.put(c, conversation), durable=True
            )
            lane.history = await self._read_history(conversation)
            lane.conversation = conversation
        self._bus.publish(
            CharacterSwitched(
                character_id=character.id, name=character.name, conversation_id=conversation.id
            )
        )
        return conversation

    async def turns(
        self, conversation_id: str, limit: int = 50, before: str | None = None
    ) -> list[Turn]:
        """Turns of a conversation, newest first; ``before`` a turn's id for the next page."""
        return await self._database.read(
            lambda c: turn_rows.recent(c, limit, conversation_id=conversation_id, before=before)
        )

    async def start(self) -> None:
        """Open the stage so that the first turn costs no more than the tenth."""
        await self.open_stage()

    async def stop(self) -> None:
        """Interrupt everything and store what was said."""
        self._closing = True
        lanes = list(self._lanes.values())
        ahead = [lane.prepared for lane in lanes if lane.prepared is not None]
        await asyncio.gather(*(prepared.close() for prepared in ahead))
        await asyncio.gather(
            *(self.interrupt(lane.conversation.id, waiting_too=True) for lane in lanes)
        )
        workers = [
            lane.worker for lane in lanes if lane.worker is not None and not lane.worker.done()
        ]
        if workers:
            await asyncio.wait(workers, timeout=2)
        await self._store_late()

    # --- inside ---

    async def _work(self, lane: _Lane) -> None:
        """Answer what waits in one conversation, one after the other."""
        try:
            await self._answer_all(lane)
        finally:
            self._tell_free(lane.conversation.id)

    def _tell_free(self, conversation_id: str) -> None:
        for tell in self._when_free:
            tell(conversation_id)

    async def _answer_all(self, lane: _Lane) -> None:
        while True:
            async with lane.still:
                if not lane.waiting:
                    return
                item = lane.waiting.popleft()
                lane.number += 1
                lane.heard = None
                lane.current = item
            answer = Answer(Trace(item.received_s))
            lane.turn = asyncio.create_task(
                self._answer(lane, item, lane.number, answer), name=f"turn {item.turn_id}"
            )
            await asyncio.wait([lane.turn])
            if lane.turn.cancelled():
                answer.outcome = "interrupted"
            lane.turn = None
            try:
                await self._conclude(lane, item, lane.number, answer)
            except Exception as error:
                # Whoever waits for this turn, and those behind it, must not wait for ever.
                logger.exception("turn %s could not be concluded", item.turn_id)
                if not item.done.done():
                    item.done.set_exception(error)
                    item.done.exception()  # nobody may be waiting: it was logged
            finally:
                lane.current = None

    async def _answer(self, lane: _Lane, item: _Waiting, number: int, answer: Answer) -> None:
        conversation = lane.conversation
        current_turn.set(TurnContext(item.turn_id, conversation.id))
        try:
            character = await self._characters.get(conversation.character_id)
            self._bus.publish(
                TurnStarted(
                    number=number,
                    origin=item.origin,
                    turn_id=item.turn_id,
                    conversation_id=conversation.id,
                    character_id=character.id,
                    queued=len(lane.waiting),
                )
            )
            request = Request(
                turn_id=item.turn_id,
                conversation_id=conversation.id,
                number=number,
                character=character,
                text=item.text,
                author=item.author,
                origin=item.origin,
                speak=item.speak,
                on_stage=conversation.id == STAGE,
                received_s=item.received_s,
                lead=item.lead,
                audience=self._audiences.get(conversation.id),
                prepared=item.prepared,
                is_recital=item.is_recital,
            )
            await self._runner.run(request, lane.history.newest(), answer)
        except Exception as error:
            # A bug of ours costs this turn, not the conversation.
            logger.exception("turn %s failed", item.turn_id)
            answer.outcome = "failed"
            answer.error = answer.error or (
                error.message
                if isinstance(error, AppError)
                else f"The turn failed inside Luma ({type(error).__name__}); the log says where."
            )
            self._bus.publish(
                ErrorOccurred(
                    source="chat",
                    code="turn.failed",
                    reason=answer.error,
                    turn_id=item.turn_id,
                    conversation_id=conversation.id,
                )
            )

    async def _conclude(self, lane: _Lane, item: _Waiting, number: int, answer: Answer) -> None:
        """Remember, store, and tell; in this order."""
        conversation = lane.conversation
        reply = answer.reply
        if answer.outcome == "interrupted":
            if lane.heard is not None:
                reply = lane.heard
            await answer.tell_heard(reply)
        if not answer.trace.spans:
            answer.trace.mark("queue", "wait", "interrupted before it began")
        said = Exchange(item.author, item.message, reply, item.is_viewers, item.turn_id)
        if item.is_withdrawn:
            reply = ""
        elif reply or answer.outcome != "failed":
            lane.history.append(said)
        turn = Turn(
            id=item.turn_id,
            conversation_id=conversation.id,
            character_id=conversation.character_id,
            number=number,
            author=item.author,
            source=item.origin,
            message=item.message,
            reply=reply,
            emotion=answer.emotion,
            outcome=answer.outcome,
            error=answer.error,
            first_audio_ms=answer.first_audio_ms,
            total_ms=answer.trace.total_ms,
            started_at=item.received_at,
            spans=answer.trace.spans,
            sentences=tuple(answer.spoken),
        )
        lane.conversation = conversation.model_copy(
            update={"updated_at": now(), "turns": conversation.turns + 1}
        )
        await self._store(turn)
        if item.is_withdrawn and turn.message != WITHDRAWN:  # while it was being stored
            lane.history.forget(item.turn_id)
            reply = ""
            turn = _withdrawn(turn)
            await self._store(turn)
        if reply:
            self._bus.publish(
                ChatResponse(
                    text=reply,
                    emotion=answer.emotion,
                    turn_id=item.turn_id,
                    conversation_id=conversation.id,
                    character_id=turn.character_id,
                )
            )
        self._bus.publish(
            TurnFinished(
                number=number,
                outcome=answer.outcome,
                total_ms=round(turn.total_ms, 3),
                first_audio_ms=turn.first_audio_ms,
                spans=turn.spans,
                turn_id=item.turn_id,
                conversation_id=conversation.id,
                character_id=turn.character_id,
            )
        )
        if not item.done.done():
            item.done.set_result(turn)

    async def _store(self, turn: Turn) -> None:
        """Store a turn; while the disk does not take it the talk goes on, the operator is told once, and it is kept."""
        try:
            await self._database.write(lambda c: turn_rows.put(c, turn), durable=True)
        except StorageError as error:
            is_first = not self._unstored
            self._unstored[turn.id] = turn
            if len(self._unstored) > UNSTORED_KEPT:
                self._unstored.popitem(last=False)
            if is_first:
                self._tell_unstored(
                    turn, f"What is said is not stored until this is mended: {error.message}"
                )
        except Exception as error:
            logger.exception("turn %s could not be stored", turn.id)
            self._tell_unstored(
                turn, f"This turn could not be stored ({type(error).__name__}); the log says more."
            )
        else:
            await self._store_late()

    async def _store_late(self) -> None:
        """Store what had to wait, one by one: a turn that cannot be stored must not hold the others up."""
        if not self._unstored:
            return
        waiting = list(self._unstored.values())
        for turn in waiting:
            if turn.id not in self._unstored:
                continue  # stored or forgotten by another conversation meanwhile
            try:
                await self._database.write(partial(turn_rows.put, turn=turn))
            except StorageError as error:
                logger.warning("%d turns still wait to be stored: %s", len(self._unstored), error)
                return
            except Exception:
                logger.exception("turn %s could not be stored", turn.id)
            self._unstored.pop(turn.id, None)
        logger.warning("turns are stored again, also %d that had to wait", len(waiting))

    def _tell_unstored(self, turn: Turn, reason: str) -> None:
        self._bus.publish(
            ErrorOccurred(
                source="storage",
                code="turn.not_stored",
                reason=reason,
                turn_id=turn.id,
                conversation_id=turn.conversation_id,
            )
        )

    def _forget_unstored(self, conversation_id: str) -> None:
        for turn in list(self._unstored.values()):
            if turn.conversation_id == conversation_id:
                del self._unstored[turn.id]

    def _author(self, author: str) -> str:
        if author == "you":
            author = self._user_name()
        return clean(author).replace("\n", " ")[:LONGEST_AUTHOR_CHARS] or "you"

    def _skip(self, lane: _Lane, item: _Waiting) -> None:
        """Drop a message that waits."""
        if item.prepared is not None:
            item.prepared.cancel()
        lane.number += 1
        if not item.is_followed:
            self._bus.publish(
                ChatDisposition(
                    message_id=item.turn_id,
                    disposition="deleted",
                    reason="interrupted before it was answered",
                    turn_id=item.turn_id,
                    conversation_id=lane.conversation.id,
                )
            )
        trace = Trace(item.received_s)
        trace.mark("queue", "wait", "interrupted before it began")
        if not item.done.done():
            item.done.set_result(
                Turn(
                    id=item.turn_id,
                    conversation_id=lane.conversation.id,
                    character_id=lane.conversation.character_id,
                    number=lane.number,
                    author=item.author,
                    source=item.origin,
                    message=item.message,
                    reply="",
                    outcome="skipped",
                    total_ms=trace.total_ms,
                    started_at=item.received_at,
                    spans=trace.spans,
                )
            )

    async def _lane_for(
        self, conversation_id: str | None, client_uid: str, character_id: str | None
    ) -> _Lane:
        if conversation_id is not None:
            return await self._lane(conversation_id)
        # Not durable: its row is stored, and as safe from a power cut as the turn that follows.
        if not client_uid:
            return await self._begin(character_id, "", "", durable=False)
        # Two first messages of a client at once begin one conversation, not two.
        async with self._opening.setdefault(f"client {client_uid}", asyncio.Lock()):
            own = await self._database.read(lambda c: conversation_rows.list_all(c, client_uid))
            if not own:
                return await self._begin(character_id, client_uid, "", durable=False)
        return await self._lane(own[0].id)

    async def _begin(
        self, character_id: str | None, client_uid: str, title: str, *, durable: bool
    ) -> _Lane:
        """A new conversation, open: nothing has to be read for its first turn."""
        conversation = await self._create(
            uuid4().hex, character_id, client_uid, title, durable=durable
        )
        return self._keep(_Lane(conversation, History([]), 0))

    async def _lane(self, conversation_id: str) -> _Lane:
        lane = self._lanes.get(conversation_id)
        if lane is not None:
            if lane.is_deleted:
                raise NotFoundError(f"Conversation {conversation_id[:64]!r} is being deleted.")
            self._lanes.move_to_end(conversation_id)
            return lane
        async with self._opening.setdefault(conversation_id, asyncio.Lock()):
            return await self._open(conversation_id)

    async def _open(self, conversation_id: str) -> _Lane:
        if (lane := self._lanes.get(conversation_id)) is not None:
            return lane
        conversation, number = await self._database.read(
            lambda c: (
                conversation_rows.get(c, conversation_id),
                turn_rows.latest_number(c, conversation_id),
            )
        )
        if conversation is None:
            if conversation_id != STAGE:
                raise NotFoundError(f"There is no conversation {conversation_id[:64]!r}.")
            conversation = await self._create(STAGE, None, "", "On stage", durable=True)
        history = await self._read_history(conversation)
        return self._keep(_Lane(conversation, history, number))

    def _keep(self, lane: _Lane) -> _Lane:
        """Have it open; the ones that rest longest make room."""
        self._lanes[lane.conversation.id] = lane
        for old in list(self._lanes.values()):
            if len(self._lanes) <= OPEN_LANES:
                break
            rests = (old.worker is None or old.worker.done()) and not old.still.locked()
            if rests and old is not lane and old.conversation.id != STAGE:
                del self._lanes[old.conversation.id]
        return lane

    async def _create(
        self,
        conversation_id: str,
        character_id: str | None,
        client_uid: str,
        title: str,
        *,
        durable: bool,
    ) -> Conversation:
        wanted = character_id or self._default_character
        character = (
            await self._characters.get(wanted) if wanted else await self._characters.default()
        )
        moment = now()
        conversation = Conversation(
            id=conversation_id,
            character_id=character.id,
            title=title[:200],
            client_uid=client_uid[:128],
            created_at=moment,
            updated_at=moment,
        )
        await self._database.write(
            lambda c: conversation_rows.put(c, conversation), durable=durable
        )
        self._bus.publish(ConversationChanged(conversation_id=conversation_id, change="created"))
        return conversation

    async def _read_history(self, conversation: Conversation) -> History:
        logs = await self._database.read(
            lambda c: conversation_rows.history(
                c, conversation.id, KEPT_EXCHANGES, character_id=conversation.character_id
            )
        )
        return History(
            [
                Exchange(
                    log.author,
                    log.message,
                    log.reply,
                    log.origin.startswith(VIEWERS),
                    log.turn_id,
                )
                for log in logs
            ]
        )


def _withdrawn(turn: Turn) -> Turn:
    """The turn as it is kept when its message was taken back."""
    return turn.model_copy(update={"message": WITHDRAWN, "reply": ""})


def _line_up(waiting: deque[_Waiting], item: _Waiting) -> None:
    """Put a message behind the others; a viewer's waits behind everybody else's, whenever that came."""
    place = len(waiting)
    while not item.is_viewers and place and waiting[place - 1].is_viewers:
        place -= 1
    waiting.insert(place, item)


def clean(text: str) -> str:
    """Text as it may be stored and shown: no control characters but line breaks, no surrounding space."""
    return "".join(
        char
        for char in text
        if char in "\n\t" or (char.isprintable() or ord(char) in (0x200D, 0xFE0F))
    ).strip()
