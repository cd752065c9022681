"""Where everything that viewers do arrives, and leaves again as turns, commands and dispositions.

The shell around `backend.chat.queue`: it asks moderation, does commands, hands the best message to the chat whenever the stage
is free, tells what became of every message and keeps it. Nothing it does waits for the disk; `stored` does.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Protocol

from backend.chat.alike import names_one_of
from backend.chat.conversations import LONGEST_MESSAGE_CHARS, VIEWERS, Chat
from backend.chat.queue import SEEN_KEPT, ChatQueue, End, Fate, Removal, Taken
from backend.chat.viewers import named, presented, shown_name
from backend.contracts.audience import (
    FINAL,
    AudienceMessage,
    Disposition,
    DispositionName,
    Emote,
    MessageRecord,
    QueueRules,
    QueueState,
    Verdict,
    Viewer,
    ViewerEvent,
)
from backend.contracts.entities import STAGE, Turn
from backend.contracts.errors import AppError, ConflictError, NotFoundError
from backend.contracts.events import (
    AudienceDid,
    AudienceWrote,
    ChatDisposition,
    CommandUsed,
    ModerationActed,
    QueueChanged,
    QueueRulesChanged,
    Severity,
)
from backend.core import clock
from backend.core.background import Background
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s
from backend.storage import audience as rows
from backend.storage.database import Database

logger = logging.getLogger(__name__)

TICK_S = 0.25
"""How often ages are looked at and the queue is told: four times a second."""
STORE_S = 0.2
"""How long messages gather before they are stored together."""
STORE_AT_ONCE = 1000
UNSTORED_KEPT = 20_000
"""Messages that wait in memory while the disk is full: a minute and a half at 200 a second."""
LATEST_KEPT = 5_000
TURNS_KEPT = 1_000
TOLD = 30
"""Messages listed in `queue.changed`; GET /api/queue lists all."""
MOST_ARRIVING = 256
"""Messages that moderation or a command may be busy with at once; whoever comes then would be answered too late."""
LONGEST_FLOOR_S = 45.0
"""After that somebody who speaks without an end is noise, and viewers are answered again."""
WRITES_WAITING = 20
"""Replies that may wait to be written into a chat."""

LOUD: dict[DispositionName, Severity] = {
    "answered": "INFO",
    "command": "INFO",
    "held": "INFO",
    "filtered": "INFO",
    "deleted": "INFO",
    "skipped": "INFO",
    "failed": "WARNING",
}
"""What matters to somebody who reads the log; everything else is told at DEBUG: there are hundreds a second."""

Writer = Callable[[AudienceMessage, str], Awaitable[None]]
"""Writes into the chat a message came from, as a reply to it."""


class Moderates(Protocol):
    """What moderation is asked."""

    def check_in(
        self, text: str, viewer: Viewer, emotes: Sequence[Emote] = ()
    ) -> Verdict | Awaitable[Verdict]:
        """What becomes of what a viewer wrote; ``emotes`` are the pictures in it."""
        ...


class Outcome(Protocol):
    """What came of a command of a viewer."""

    @property
    def command(self) -> str:
        """Its name."""
        ...

    @property
    def text(self) -> str:
        """In one short sentence."""
        ...

    @property
    def is_refused(self) -> bool:
        """Nothing was done."""
        ...

    @property
    def answer(self) -> str:
        """To be written into the chat."""
        ...

    @property
    def prompt(self) -> str:
        """To be answered by her, as a message of its viewer."""
        ...

    @property
    def recital(self) -> str:
        """To be said by her, word for word."""
        ...


class Commands(Protocol):
    """What does commands."""

    def is_command(self, text: str) -> bool:
        """Whether a text is written as one, known or not."""
        ...

    async def run(self, text: str, message: AudienceMessage) -> Outcome | None:
        """Do it; None when there is no command of that name."""
        ...


class _GoneError(Exception):
    """A message was deleted or skipped before anything of its answer began."""


class AudienceDesk:
    """The one door for viewers; all methods are for the backend's loop.

    Args:
        bus: Where `audience.*`, `chat.disposition` and `queue.changed` go.
        database: Where messages and dispositions are kept.
        chat: Answers.
        names: What she is called; a message with such a name mentions her.
        operator: What the operator is called; no viewer is.
        person_speaks: Whether somebody on this side speaks just now: viewers wait.
        shown_name: A viewer's name as it may be said, shown and written; nothing behind this door knows another one.
        now_s: Seconds that only grow.
    """

    def __init__(
        self,
        *,
        bus: EventBus,
        database: Database,
        chat: Chat,
        names: Callable[[], Iterable[str]] = tuple,
        operator: Callable[[], str] = lambda: "you",
        person_speaks: Callable[[], bool] = lambda: False,
        shown_name: Callable[[Viewer], str] = lambda viewer: viewer.name,
        now_s: Callable[[], float] = monotonic_s,
    ) -> None:
        self.queue = ChatQueue()
        self.moderator: Moderates | None = None
        self.commands: Commands | None = None
        self._bus = bus
        self._database = database
        self._chat = chat
        self._names = names
        self._operator = operator
        self._person_speaks = person_speaks
        self._shown_name = shown_name
        self._now_s = now_s
        self._writers: dict[str, Writer] = {}
        self._writing: dict[asyncio.Task[None], AudienceMessage] = {}
        """Replies on their way into a chat, and to what each replies."""
        self._arriving: dict[str, AudienceMessage] = {}
        """Messages that nothing has become of yet."""
        self._recitals: dict[str, str] = {}
        self._turns: OrderedDict[str, tuple[AudienceMessage, str]] = OrderedDict()
        """The latest messages that had a turn, and its id: a moderator may delete them afterwards."""
        self._events: OrderedDict[str, None] = OrderedDict()
        self._latest: OrderedDict[str, Disposition] = OrderedDict()
        self._unstored: dict[str, rows.Kept] = {}
        self._storing = asyncio.Lock()
        self._store_wake = asyncio.Event()
        self._cannot_store = False
        self._wake = asyncio.Event()
        self._is_news = False
        self._told_s = self._ticked_s = float("-inf")
        self._floor_s: float | None = None
        self._turn_id = ""
        self._tasks = Background(logger)
        self._is_closing = False

    # --- start and end ---

    async def open(self) -> None:
        """Take up the rules, and give a final disposition to what a crash left without one."""
        rules = await self._database.read(rows.rules)
        if rules is not None:
            self.queue.use(rules, self._now_s())
        for message_id in await self._database.read(lambda c: rows.newest_ids(c, SEEN_KEPT)):
            self.queue.is_new(message_id)
        closed = await self._database.write(lambda c: rows.close_open(c, clock.now()), durable=True)
        for message_id, name, reason in closed:
            self._publish(Fate(message_id, name, reason))
        self._chat.when_free(self._may_be_free)
        self._tasks.spawn(self._run(), "answering viewers")
        self._tasks.spawn(self._store_all_along(), "keeping what viewers write")

    async def close(self) -> None:
        """Skip what waits and store everything."""
        self._is_closing = True
        self._settle(self.queue.empty("Luma was stopped"))
        for message in list(self._arriving.values()):
            self._arrived(message, [Fate(message.id, "skipped", "Luma was stopped")])
        await self._tasks.close()
        await self.stored()

    # --- coming in ---

    def take(self, message: AudienceMessage) -> Coroutine[Any, Any, Disposition]:
        """Take a message, once however often it is delivered; what became of it so far.

        It is known from this call on: a deletion that follows finds it, also before anybody awaits what this returns. It has
        not been stored yet: call `stored` before telling anybody outside that it was taken.
        """
        return self._taken(message.id, self._begun(message))

    def _begun(self, message: AudienceMessage) -> AudienceMessage | None:
        """The message as it goes on from here; None when it goes nowhere."""
        if self._is_closing or not self.queue.is_new(message.id):
            return None
        message = self.shown(message)
        if not message.mentions_us and names_one_of(message.text, self._names()):
            message = message.model_copy(update={"mentions_us": True})
        self._bus.publish(AudienceWrote(said=message))
        fate = self.queue.admit(message, self._now_s())
        if fate is None and len(self._arriving) >= MOST_ARRIVING:
            why = f"{MOST_ARRIVING} messages are being looked at already"
            fate = Fate(message.id, "queue-full", why, "moderation")
        if fate is not None:
            self._settle([fate], message)
            return None
        self._arriving[message.id] = message
        return message

    async def _taken(self, message_id: str, message: AudienceMessage | None) -> Disposition:
        if message is not None:
            with self._ending(message):
                verdict = await self._verdict(message)
                if verdict.action == "ignore":
                    reason = verdict.reason or "moderation stopped it"
                    self._arrived(message, [Fate(message.id, "filtered", reason, verdict.rule)])
                else:
                    # What other rules have covered stays covered in what is held.
                    text = message.text
                    if verdict.action != "allow" and (verdict.text or verdict.action != "hold"):
                        text = verdict.text
                    await self._route(message, text, verdict)
        return self._known(message_id)

    @contextmanager
    def _ending(self, message: AudienceMessage) -> Iterator[None]:
        """Whatever happens inside, something becomes of the message."""
        try:
            yield
        finally:
            why = "Luma was stopped, or whoever sent it went away, while it was looked at"
            self._arrived(message, [Fate(message.id, "skipped", why)])

    def _arrived(self, message: AudienceMessage, fates: list[Fate]) -> None:
        """What became of an arriving message; nothing to do where something else has become of it meanwhile."""
        if self._arriving.pop(message.id, None) is not None:
            self._settle(fates, message)

    async def check(self, message: AudienceMessage) -> Verdict:
        """What moderation says of a message that does not go through the queue."""
        return await self._verdict(self.shown(message))

    def shown(self, message: AudienceMessage) -> AudienceMessage:
        """A message as it may be said and shown, its author's name too; its words are `check`'s business."""
        return presented(named(message, self._shown_name(message.viewer)), self._operator())

    async def did(self, event: ViewerEvent) -> None:
        """Take something else that a viewer did, once however often it is delivered."""
        key = f"{event.platform} {event.id}"
        if key in self._events:
            return
        self._events[key] = None
        while len(self._events) > LATEST_KEPT:
            self._events.popitem(last=False)
        name = shown_name(self._shown_name(event.viewer), event.platform, self._operator())
        viewer = event.viewer.model_copy(update={"name": name})
        self._bus.publish(AudienceDid(what=event.model_copy(update={"viewer": viewer})))

    async def _verdict(self, message: AudienceMessage) -> Verdict:
        if self.moderator is None:
            return Verdict(text=message.text)
        try:
            found = self.moderator.check_in(message.text, message.viewer, message.emotes)
            verdict = found if isinstance(found, Verdict) else await found
        except Exception:
            logger.exception("moderation failed on a message of %s", message.platform)
            verdict = Verdict(
                action="hold",
                rule="moderation",
                reason="moderation failed; the log says why. Approve it or skip it",
            )
        if verdict.action != "allow":
            self._bus.publish(
                ModerationActed(
                    direction="in",
                    verdict=verdict.model_copy(update={"text": ""}),
                    message_id=message.id,
                    conversation_id=STAGE,
                )
            )
        return verdict

    async def _route(self, message: AudienceMessage, text: str, verdict: Verdict) -> None:
        """To whoever does commands, or into the queue."""
        if message.id not in self._arriving:
            return  # deleted while moderation thought
        commands = self.commands
        if verdict.action == "hold" or commands is None or not commands.is_command(text):
            self._arrived(
                message, self.queue.offer(message, self._now_s(), text=text, verdict=verdict)
            )
            return
        if self.queue.is_stopped:
            why = "everything is stopped by the panic, and commands do nothing"
            self._arrived(message, [Fate(message.id, "skipped", why, "panic")])
            return
        try:
            outcome = await commands.run(text, message)
        except Exception:
            # A bug of ours costs this command, not the chat.
            logger.exception("a command of %s failed", message.platform)
            self._arrived(message, [Fate(message.id, "failed", "the command failed inside Luma")])
            return
        if outcome is None:
            why = "there is no such command here; another program may answer it"
            self._arrived(message, [Fate(message.id, "not-addressed", why, "commands")])
            return
        self._bus.publish(
            CommandUsed(
                command=outcome.command,
                viewer=message.viewer.name,
                text=outcome.text,
                is_refused=outcome.is_refused,
                message_id=message.id,
            )
        )
        if message.id not in self._arriving:
            return  # deleted while the command was done: nothing of it is said or written
        if outcome.answer:
            self.write(message, outcome.answer)
        if not outcome.prompt and not outcome.recital:
            fate = Fate(message.id, "command", outcome.text, f"!{outcome.command}")
            self._arrived(message, [fate])
            return
        if outcome.recital:
            self._recitals[message.id] = outcome.recital
        fates = self.queue.offer(
            message,
            self._now_s(),
            text=outcome.recital or outcome.prompt,
            verdict=verdict,
            is_command=True,
            merges=not outcome.recital,
        )
        self._arrived(message, fates)

    # --- steering ---

    def delete(
        self,
        *,
        message_id: str = "",
        platform: str = "",
        viewer_id: str = "",
        everything: bool = False,
    ) -> int:
        """A moderator deleted something; what is being said of it is cut at once.

        Args:
            message_id: One message.
            platform: Of the viewer, or of the chat that was cleared; empty = any chat.
            viewer_id: All of this viewer's.
            everything: The whole chat.

        Returns:
            How many messages that had arrived, waited or were being answered are gone.
        """

        def is_meant(each: AudienceMessage) -> bool:
            is_theirs = (platform, viewer_id) == (each.viewer.platform, each.viewer.id)
            is_cleared = everything and platform in ("", each.platform)
            return message_id == each.id or is_theirs or is_cleared

        arriving = [each for each in self._arriving.values() if is_meant(each)]
        for each in arriving:
            self._arrived(each, [Fate(each.id, "deleted", "by a moderator")])
        for task, answered in self._writing.items():
            if is_meant(answered):
                task.cancel()
        if not everything:  # a cleared chat is a clean screen, not an evening that was not
            for each, turn_id in [one for one in self._turns.values() if is_meant(one[0])]:
                del self._turns[each.id]
                if each.id != message_id:
                    self._deleted_late(each.id)
                self._tasks.spawn(self._forget(turn_id), "forgetting what was deleted")
        if message_id:
            removal = self.queue.delete(message_id)
        elif viewer_id:
            removal = self.queue.delete_viewer(platform, viewer_id, self._now_s())
        elif everything:
            removal = self.queue.delete_all(platform)
        else:
            return 0
        self._removed(removal, forget=True)
        known = self._latest.get(message_id)
        if known is not None and known.disposition != "deleted":
            self._deleted_late(message_id)
        return len(arriving) + len(removal.fates)

    def _deleted_late(self, message_id: str) -> None:
        """Tell that a message which has its end already is deleted: nobody is to quote it any more."""
        reason = "a moderator deleted it"
        self._bus.publish(
            ModerationActed(
                direction="in",
                verdict=Verdict(action="ignore", rule="deleted", reason=reason),
                message_id=message_id,
                conversation_id=STAGE,
            )
        )

    async def approve(self, message_id: str) -> Disposition:
        """Let a held message in.

        Raises:
            NotFoundError: None of that id is held.
        """
        held = self.queue.held(message_id)
        if held is None:
            raise NotFoundError(f"No message {message_id[:64]!r} waits for approval.")
        message, text = held
        if self.commands is not None and self.commands.is_command(text):
            self.queue.let_out(message_id)
            self._arriving[message_id] = message
            with self._ending(message):
                await self._route(message, text, Verdict(text=text))
        else:
            self._settle(self.queue.approve(message_id, self._now_s()) or [])
        return self._known(message_id)

    def skip(self, message_id: str) -> Disposition:
        """Do not answer a message; the answer is cut when it has begun.

        Raises:
            NotFoundError: None of that id waits.
        """
        removal = self.queue.skip(message_id)
        if removal is None:
            raise NotFoundError(f"No message {message_id[:64]!r} waits or is being answered.")
        self._removed(removal, forget=False)
        return self._known(message_id)

    def now(self, message_id: str) -> Disposition:
        """Answer a message next, a held one too.

        Raises:
            NotFoundError: None of that id waits.
            ConflictError: It is a held command, which is done and not answered.
        """
        held = self.queue.held(message_id)
        if held is not None and self.commands is not None and self.commands.is_command(held[1]):
            raise ConflictError("This is a command: approve it, and it is done at once.")
        fates = self.queue.put_first(message_id, self._now_s())
        if fates is None:
            raise NotFoundError(f"No message {message_id[:64]!r} waits.")
        self._settle(fates)
        return self._known(message_id)

    def hold(self) -> None:
        """Answer nobody until `release`; what comes meanwhile waits, and nobody grows older."""
        self.queue.stop(self._now_s())
        self._news()

    def release(self) -> None:
        """Answer again."""
        self.queue.go_on(self._now_s())
        self._news()

    async def set_rules(self, rules: QueueRules) -> QueueRules:
        """Go on by other rules, and keep them."""
        await self._database.write(lambda c: rows.put_rules(c, rules), durable=True)
        self._settle(self.queue.use(rules, self._now_s()))
        self._bus.publish(QueueRulesChanged(rules=rules))
        self._news()
        return rules

    @property
    def rules(self) -> QueueRules:
        """Who is answered, and in which order."""
        return self.queue.rules

    def state(self) -> QueueState:
        """The whole queue."""
        return self.queue.state(self._now_s())

    def set_writer(self, write: Writer | None, platform: str = "twitch") -> None:
        """Say who writes into a platform's chat; None = nobody can."""
        if write is None:
            self._writers.pop(platform, None)
        else:
            self._writers[platform] = write

    def can_write(self, platform: str) -> bool:
        """Whether somebody writes into that platform's chat."""
        return platform in self._writers

    def write(self, message: AudienceMessage, text: str) -> bool:
        """Have something written as a reply to a message; False when nobody can, or too much waits."""
        write = self._writers.get(message.platform)
        if write is None or len(self._writing) >= WRITES_WAITING:
            return False
        task = self._tasks.spawn(self._write(write, message, text), "writing into a chat")
        self._writing[task] = message
        task.add_done_callback(self._writing.pop)
        return True

    async def _write(self, write: Writer, message: AudienceMessage, text: str) -> None:
        try:
            await write(message, text)
        except AppError as error:
            logger.warning("the reply was not written into %s: %s", message.platform, error.message)
        except Exception:
            logger.exception("the reply was not written into %s", message.platform)

    # --- looking back ---

    async def search(self, wanted: rows.Filter, limit: int) -> list[MessageRecord]:
        """Messages and what became of them, newest first; what was taken before the call is found."""
        await self.stored()
        return await self._database.read(lambda c: rows.search(c, wanted, limit))

    async def stored(self) -> None:
        """Wait until everything that was taken so far is on disk; logs when the disk refuses."""
        async with self._storing:
            while self._unstored:
                if not await self._store_some():
                    return

    async def prune(self, max_age_days: float, max_rows: int) -> int:
        """Forget messages that are too old or too many, a slice at a time; how many went."""
        return await rows.forget(self._database, max_age_days, max_rows)

    # --- answering ---

    def _may_be_free(self, conversation_id: str) -> None:
        if conversation_id == STAGE:
            self._wake.set()

    async def _run(self) -> None:
        """Answer whoever is next, and tell how the queue is."""
        while True:
            is_quiet = not self.queue.has_any and not self._is_news
            with suppress(TimeoutError):
                async with asyncio.timeout(None if is_quiet else TICK_S):
                    await self._wake.wait()
            self._wake.clear()
            try:
                self._step()
            except Exception:
                logger.exception("the queue of viewers stumbled; it goes on")
                await asyncio.sleep(TICK_S)

    def _step(self) -> None:
        now_s, told_s = self._now_s(), asyncio.get_running_loop().time()
        is_next = (
            len(self.queue) > 0
            and not self.queue.is_answering
            and self._has_floor(now_s)
            and self._chat.is_free(STAGE)
        )
        if is_next or told_s - self._ticked_s >= TICK_S:
            self._ticked_s = told_s
            self._settle(self.queue.tick(now_s))
        if is_next:
            taken = self.queue.take(now_s)
            if taken is not None:
                self._is_news = True
                self._tasks.spawn(self._answer(taken), "answering a viewer")
        # The clock of the loop: how often it is told has nothing to do with how old messages are.
        if self._is_news and told_s - self._told_s >= TICK_S:
            self._told_s = told_s
            self._is_news = False
            state = self.queue.state(now_s, TOLD)
            self._bus.publish(
                QueueChanged(waiting=state.waiting, held=state.held, total=len(self.queue))
            )

    def _has_floor(self, now_s: float) -> bool:
        """Whether nobody on this side speaks."""
        if not self._person_speaks():
            self._floor_s = None
            return True
        if self._floor_s is None:
            self._floor_s = now_s
        return now_s - self._floor_s > LONGEST_FLOOR_S

    async def _answer(self, taken: Taken) -> None:
        message = taken.message
        how: End = "failed"
        reason, turn_id, turn = "", None, None
        recital = self._recitals.get(message.id, "")

        def begins(turn_id: str) -> None:
            if self.queue.answering != message.id:
                raise _GoneError
            self._turn_id = turn_id

        try:
            handle = await self._chat.send(
                (recital or taken.text)[:LONGEST_MESSAGE_CHARS],
                author=_author(taken),
                origin=VIEWERS + message.platform,
                conversation_id=STAGE,
                is_recital=bool(recital),
                is_followed=True,
                before=begins,
            )
            turn_id = handle.turn_id
            waited = f"after {taken.waited_s:.1f} s"
            self._settle([Fate(message.id, "answering", waited, turn_id=turn_id)])
            turn = await handle.result()
            how, reason = _end_of(turn)
        except _GoneError:
            pass  # what became of it was told when it was deleted
        except AppError as error:
            reason = error.message
        except Exception:
            logger.exception("a viewer's message could not be answered")
            reason = "it failed inside Luma; the log says where"
        was = self.queue.answering
        self._turn_id = ""
        if was and turn_id is not None:
            self._turns[message.id] = message, turn_id
            while len(self._turns) > TURNS_KEPT:
                self._turns.popitem(last=False)
        self._settle(self.queue.end(how, self._now_s(), reason=reason, turn_id=turn_id))
        if turn is not None and was and how == "answered" and self.rules.writes_replies:
            if turn.reply and not recital:
                self.write(message, turn.reply)
        self._wake.set()

    def _removed(self, removal: Removal, *, forget: bool) -> None:
        self._settle(list(removal.fates))
        if removal.is_answering and self._turn_id:
            self._tasks.spawn(self._cut(self._turn_id, forget=forget), "cutting an answer")

    async def _cut(self, turn_id: str, *, forget: bool) -> None:
        if not forget and self._chat.running_turn(STAGE) == turn_id:
            await self._chat.interrupt(STAGE)
        elif not await self._chat.withdraw(turn_id) and forget:
            await self._forget(turn_id)  # it ended in this very moment

    async def _forget(self, turn_id: str) -> None:
        try:
            await self._chat.forget_turn(turn_id)
        except AppError as error:
            logger.error("turn %s is not forgotten: %s", turn_id, error.message)

    # --- telling and keeping ---

    def _known(self, message_id: str) -> Disposition:
        known = self._latest.get(message_id)
        if known is not None:
            return known
        if self._is_closing:
            return Disposition(
                message_id=message_id,
                disposition="skipped",
                reason="Luma is stopping",
                at=clock.now(),
            )
        return Disposition(
            message_id=message_id,
            disposition="skipped",
            reason="it came before; GET /api/dispositions says what became of it",
            at=clock.now(),
        )

    def _settle(self, fates: list[Fate], message: AudienceMessage | None = None) -> None:
        """Tell what became of messages, and remember to store it; ``message`` is the new one among them."""
        for fate in fates:
            became = self._publish(fate)
            self._latest[fate.message_id] = became
            self._latest.move_to_end(fate.message_id)
            if fate.disposition in FINAL:
                self._recitals.pop(fate.message_id, None)
            new = message if message is not None and message.id == fate.message_id else None
            waits = self._unstored.pop(fate.message_id, None)
            self._unstored[fate.message_id] = rows.Kept(
                became, new or (waits.message if waits is not None else None)
            )
        while len(self._latest) > LATEST_KEPT:
            self._latest.popitem(last=False)
        if fates:
            self._store_wake.set()
            self._news()

    def _publish(self, fate: Fate) -> Disposition:
        became = Disposition(
            message_id=fate.message_id,
            disposition=fate.disposition,
            reason=fate.reason,
            rule=fate.rule,
            into=fate.into,
            turn_id=fate.turn_id,
            at=clock.now(),
        )
        self._bus.publish(
            ChatDisposition(
                message_id=fate.message_id,
                disposition=fate.disposition,
                reason=fate.reason,
                rule=fate.rule,
                into=fate.into,
                turn_id=fate.turn_id,
                conversation_id=STAGE,
                severity=LOUD.get(fate.disposition, "DEBUG"),
            )
        )
        return became

    def _news(self) -> None:
        self._is_news = True
        self._wake.set()

    async def _store_all_along(self) -> None:
        while True:
            await self._store_wake.wait()
            await asyncio.sleep(STORE_S)
            self._store_wake.clear()
            try:
                await self.stored()
            except Exception:
                logger.exception("what viewers write was not stored; it is tried again")

    async def _store_some(self) -> bool:
        some = [self._unstored.pop(one) for one in list(self._unstored)[:STORE_AT_ONCE]]
        is_stored = False
        try:
            await self._database.write(partial(rows.put, items=some))
            is_stored = True
        except AppError as error:
            if not self._cannot_store:
                self._cannot_store = True
                logger.error("what viewers write cannot be stored: %s", error.message)
        finally:
            # Also when this is cancelled: to store the same twice does no harm.
            if not is_stored:
                self._store_again(some)
        if is_stored and self._cannot_store:
            self._cannot_store = False
            logger.warning("what viewers write is stored again")
        return is_stored

    def _store_again(self, some: list[rows.Kept]) -> None:
        for kept in some:
            newer = self._unstored.get(kept.disposition.message_id)
            if newer is None:
                self._unstored[kept.disposition.message_id] = kept
            elif newer.message is None and kept.message is not None:
                self._unstored[kept.disposition.message_id] = rows.Kept(
                    newer.disposition, kept.message
                )
        while len(self._unstored) > UNSTORED_KEPT:
            del self._unstored[next(iter(self._unstored))]


def _author(taken: Taken) -> str:
    name = taken.message.viewer.name
    if not taken.others:
        return name
    return f"{name} and {taken.others} {'other' if taken.others == 1 else 'others'}"


def _end_of(turn: Turn) -> tuple[End, str]:
    match turn.outcome:
        case "done":
            return "answered", ""
        case "failed":
            return (
                ("answered", "not to its end: " + turn.error)
                if turn.reply
                else (
                    "failed",
                    turn.error,
                )
            )
        case "interrupted" if turn.reply:
            return "answered", "interrupted"
        case _:
            return "skipped", "interrupted before anything of the answer was heard"
