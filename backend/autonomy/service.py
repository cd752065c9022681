"""Autonomy: the module that lets her act unasked.

It listens to the bus (viewers, chat, turns, voices), lets the scheduler decide, has a line written and does it on the stage,
one thing at a time. What must survive a crash is stored before anything is said: nothing is said twice because of one.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from random import SystemRandom
from typing import Any, Protocol

from backend.autonomy.actions import ORIGIN, Actions, Done, Floor, Stage
from backend.autonomy.chatter import Chatter, is_insult, is_praise, plain
from backend.autonomy.content import Around, Content, Writer, Written
from backend.autonomy.personality import PAUSE_S, Happening, Temper
from backend.autonomy.said import Said
from backend.autonomy.scheduler import Chosen, Moment, Occasion, Scheduler
from backend.autonomy.triggers import group_of, is_set_off, reached, rules_from
from backend.avatar.cues import Cues
from backend.contracts.audience import AudienceMessage, StreamState, ViewerEvent
from backend.contracts.autonomy import (
    AutonomyState,
    ByViewer,
    Deed,
    DryRun,
    Feeling,
    Group,
    Keyword,
    Milestone,
    Rate,
    Topic,
    Trigger,
    TriggerRules,
)
from backend.contracts.entities import STAGE, Character, ServiceInfo
from backend.contracts.errors import AppError, ConflictError, NotFoundError
from backend.contracts.events import (
    AnyEvent,
    AudienceDid,
    AudienceWrote,
    AutonomyActed,
    AutonomyChanged,
    CharacterChanged,
    CharacterSwitched,
    ChatDisposition,
    ChatMessage,
    ChatResponse,
    ErrorOccurred,
    ModerationActed,
    PanicChanged,
    QueueChanged,
    SceneCalled,
    StreamChanged,
    TurnFinished,
    TurnStarted,
    UtteranceDropped,
    UtteranceStarted,
    UtteranceTranscribed,
)
from backend.core import clock
from backend.core.background import Background
from backend.core.bus import EventBus
from backend.storage import facts
from backend.storage.database import Database

logger = logging.getLogger(__name__)

TICK_S = 1.0
TELL_S = 1.0
"""Between two `autonomy.changed`, at least …"""
TELL_AGAIN_S = 10.0
"""… and at most, where only times have changed."""
TOLD = 12
"""Triggers in `autonomy.changed`; GET /api/autonomy has all."""
STORE_S = 5.0
MANNER_S = 10.0
"""How long replies are told the same of how she feels: a mood that flickers between two words would help nobody."""
POLL_S = 0.25
LEVELS_S = 1.0
SILENCE_S = 120.0
"""Each time so much silence has passed, it works on her."""
LIMIT = 4_000
MOST_NAMED = 500
RULES = "autonomy.triggers"
STATE = "autonomy.state"

TAKEN = "the message it was about was taken back"

PASSED = frozenset(
    {"queued", "answering", "answered", "merged", "not-addressed", "too-old", "queue-full"}
)
"""Dispositions of messages that moderation let through."""
TAKEN_BACK = frozenset({"filtered", "deleted"})

WANTED = (
    AudienceDid
    | AudienceWrote
    | CharacterChanged
    | CharacterSwitched
    | ChatDisposition
    | ChatMessage
    | ChatResponse
    | ModerationActed
    | PanicChanged
    | QueueChanged
    | StreamChanged
    | TurnFinished
    | TurnStarted
    | UtteranceDropped
    | UtteranceStarted
    | UtteranceTranscribed
)


class Store(Protocol):
    """Where rules and state are kept."""

    async def get(self, name: str) -> str | None:
        """What is kept under a name."""
        ...

    async def put(self, name: str, value: str) -> None:
        """Keep it; returns when it would survive a power cut."""
        ...


class StoredFacts:
    """In the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> str | None:
        """See `Store`."""
        return await self._database.read(lambda c: facts.get(c, name))

    async def put(self, name: str, value: str) -> None:
        """See `Store`."""
        await self._database.write(lambda c: facts.put(c, name, value), durable=True)


@dataclass(frozen=True, slots=True)
class Options:
    """How she acts unasked.

    Attributes:
        gap_s: Between things that no viewer set off; talkative moods shorten it.
        share: While viewers wait: so many things of her own for each of their answers.
        zone: Of times of day; None = this machine's.
    """

    gap_s: float = 45.0
    share: float = 0.25
    zone: tzinfo | None = None


class Autonomy:
    """The module "autonomy"; everything for the backend's loop.

    Args:
        bus: Listened to, and told.
        stage: Where she speaks.
        cues: Her avatar.
        writer: Who writes lines.
        store: Where rules and state are kept.
        character: Who is on stage, as the mode of the moment plays her.
        speaks_unasked: Whether the mode lets a group of triggers make her speak.
        floor: Who has the stage.
        moves: Whether the module "avatar" is on.
        is_sounding: Whether her voice is heard on stage.
        stream_now: What is known of the stream; changes come by event.
        options: How she acts.
        dice: Gives a number from 0 to below 1.
        moment: Both clocks.
        sleep: How to wait, for tests.
    """

    name = "autonomy"

    def __init__(
        self,
        *,
        bus: EventBus,
        stage: Stage,
        cues: Cues,
        writer: Writer,
        store: Store,
        character: Callable[[], Awaitable[Character]],
        speaks_unasked: Callable[[Group], bool],
        floor: Floor,
        moves: Callable[[], bool] = lambda: True,
        is_sounding: Callable[[], bool] = lambda: False,
        stream_now: Callable[[], StreamState | None] = lambda: None,
        options: Options | None = None,
        dice: Callable[[], float] | None = None,
        moment: Callable[[], Moment] = lambda: Moment(clock.monotonic_s(), clock.now()),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.is_on = False
        self._bus = bus
        self._store = store
        self._character = character
        self._speaks_unasked = speaks_unasked
        self._stream_now = stream_now
        self._moment = moment
        self._sleep = sleep
        self.floor = floor
        dice = dice or SystemRandom().random
        self.stream: dict[str, str] = {}
        """Facts of the stream that whoever is connected knows ("game", "title", "live")."""
        self._began: tuple[str, datetime] | None = None
        """Channel and moment of the stream that runs."""
        self._counting_from = moment().wall
        self._most_followers = ("", 0)
        """Of a channel."""
        self._manner: tuple[float, str] = (float("-inf"), "")
        self._options = options or Options()
        self._said = Said()
        self._chatter = Chatter()
        self._content = Content(writer, self._said, dice)
        self._actions = Actions(
            stage, cues, moves=moves, call_scene=self._call_scene, floor=floor, is_sounding=is_sounding
        )  # fmt: skip
        self._scheduler = Scheduler(dice, self._options.zone)
        self.rules = TriggerRules()
        self._temper = Temper(Character(id="luma", name="Luma").personality, moment().mono_s)
        self._silent_s = moment().mono_s
        self._is_open = False
        self._acting: asyncio.Task[None] | None = None
        self._tasks = Background(logger)
        self._wake = asyncio.Event()
        self._is_dirty = False
        self._stored_s = 0.0
        self._told: tuple[float, object] = (float("-inf"), None)
        self._levels_s = float("-inf")
        self._named: OrderedDict[str, tuple[AudienceMessage, frozenset[str]]] = OrderedDict()
        """Messages with a keyword, of which moderation has not said anything yet."""
        self._is_withdrawn = False
        """What is being done is about a message that was deleted."""
        self._last = ""
        self._saying = ""
        """What she is about to say: not heard to its end, and said all the same."""
        self.use(self._options)

    # --- the module ---

    async def open(self) -> None:
        """Read rules and state; for the program's start, whether the module is on or not."""
        now = self._moment()
        self.rules = rules_from(await self._store.get(RULES))
        self._scheduler.use(self.rules, now)
        self._watch()
        self._temper = Temper((await self._character()).personality, now.mono_s)
        kept = await self._store.get(STATE)
        if kept is not None:
            self._load(kept, now)
        self._is_open = True

    async def start(self) -> None:
        """Be on: she acts by herself from now on."""
        if not self._is_open:
            await self.open()
        self.is_on = True
        now = self._moment()
        self._scheduler.heard(now)
        if (stream := self._stream_now()) is not None:
            self._streams(stream, now)
        self._temper.become((await self._character()).personality, now.mono_s)
        self._tasks.spawn(self._follow(), "what autonomy hears of")
        self._tasks.spawn(self._run(), "acting unasked")

    async def stop(self) -> None:
        """Be off: what she says unasked is cut, and how she is, is stored."""
        was_on, self.is_on = self.is_on, False
        if self._acting is not None:
            await self._actions.cut()
            self._acting.cancel()
        await self._tasks.close()
        if was_on:
            await self._keep_state()

    def health(self) -> ServiceInfo:
        """On and what she feels, or off."""
        count = sum(trigger.is_on for trigger in self.rules.triggers)
        detail = "switched off"
        if self.is_on:
            detail = f"{self._temper.state(self._moment().mono_s).words}; {count} triggers"
        return ServiceInfo(
            name=self.name,
            title="Autonomy",
            enabled=self.is_on,
            state="ready" if self.is_on else "off",
            detail=detail,
        )

    def use(self, options: Options) -> None:
        """Settings were changed."""
        self._options = options
        self.floor.share = options.share
        if options.zone != self._scheduler.zone:
            self._scheduler.use_zone(options.zone)

    # --- asked by people ---

    async def set_rules(self, rules: TriggerRules) -> TriggerRules:
        """Go by other triggers from now on, and keep them."""
        await self._store.put(RULES, rules.model_dump_json())
        self.rules = rules
        self._scheduler.use(rules, self._moment())
        self._watch()
        self._wake.set()
        return rules

    def state(self, most: int | None = None) -> AutonomyState:
        """How she feels, and what she may do next."""
        now = self._moment()
        self._scheduler.gap_s = self._temper.gap_s(self._options.gap_s)
        running = self._scheduler.running
        reasons = [] if self.is_on else ["the module autonomy is switched off"]
        if (why_not := self.floor.why_not(now.mono_s)) and running is None:
            reasons.append(why_not)
        return AutonomyState(
            is_on=self.is_on,
            mood=self._temper.state(now.mono_s),
            chat=self._chatter.climate(now.mono_s),
            acting=running.trigger.id if running is not None else "",
            reasons=tuple(reasons),
            triggers=tuple(self._scheduler.states(now, self._against)[:most]),
            last=self._last,
        )

    async def dry_run(self, trigger_id: str = "", *, write: bool = False) -> DryRun:
        """What she would do now and why, or what one trigger would have her do; nothing happens.

        Args:
            trigger_id: Only this one, as if it had been set off; empty = whatever comes first.
            write: Have a line written; else a template is shown, and what a model would be asked.

        Raises:
            NotFoundError: There is no such trigger.
        """
        now = self._moment()
        states = self.state().triggers
        if trigger_id:
            chosen = self._scheduler.example(trigger_id, now)
            if chosen is None:
                raise self._unknown(trigger_id)
        else:
            chosen = self._scheduler.peek(now, self._against)
        if chosen is None:
            why = next((f"{one.title}: {one.reasons[0]}" for one in states if one.reasons), "")
            self._temper.settle(now.mono_s)
            return DryRun(
                would="nothing",
                why=why or "no trigger is switched on",
                feels=self._temper.hint(),
                triggers=states,
            )
        trigger = chosen.trigger
        around = await self._around()
        text = self._content.example(chosen, around)
        if write and trigger.do.speaks:
            written = await self._content.write(chosen, around)
            text = written.text if written is not None else ""
        state = next((one for one in states if one.id == trigger.id), None)
        against = [*([] if self.is_on else ["the module autonomy is switched off"])]
        against += [self.floor.why_not(now.mono_s)] if self.floor.why_not(now.mono_s) else []
        against += state.reasons if state is not None else ()
        why = chosen.why + (f"; against it: {', '.join(against)}" if against else "")
        rest = tuple(one for one in states if one.id != trigger.id)
        return DryRun(
            trigger=trigger.id,
            would=_in_words(trigger.do, text),
            why=why,
            text=text,
            prompt=self._content.prompt(chosen, around),
            feels=around.hint,
            triggers=(*((state,) if state is not None else ()), *rest),
        )

    def act(self, trigger_id: str) -> None:
        """Have one trigger set off now, by hand: the dice and its cooldown are not asked, the stage is.

        Raises:
            NotFoundError: There is no such trigger.
            ConflictError: The module is off, or she cannot act right now; says why.
        """
        now = self._moment()
        chosen = self._scheduler.example(trigger_id, now)
        if chosen is None:
            raise self._unknown(trigger_id)
        if not self.is_on:
            raise ConflictError("The module autonomy is switched off. Switch it on first.")
        if self._acting is not None:
            raise ConflictError("She is doing something already. Wait until it is over.")
        if why_not := self.floor.why_not(now.mono_s):
            raise ConflictError(f"Not now: {why_not}.")
        self._begin(self._scheduler.begin(chosen, now))

    @property
    def manner(self) -> str:
        """How she feels, for the system text of her replies on the stage; empty while the module is off."""
        if not self.is_on:
            return ""
        now_s = self._moment().mono_s
        told_s, words = self._manner
        if now_s - told_s >= MANNER_S:
            self._temper.settle(now_s)
            words = self._temper.hint()
            self._manner = now_s, words
        return words

    # --- deciding ---

    async def step(self) -> None:
        """Let time pass once: decide, begin, tell and keep what is due."""
        now = self._moment()
        self._scheduler.gap_s = self._temper.gap_s(self._options.gap_s)
        if now.mono_s - self._silent_s >= SILENCE_S:
            self._silent_s = now.mono_s
            self._temper.react("silence", now.mono_s)
        if now.mono_s - self._levels_s >= LEVELS_S:
            self._levels_s = now.mono_s
            self._look_at_chat(now)
        self._is_dirty |= self._scheduler.tick(now)
        if self._acting is None and not self.floor.why_not(now.mono_s):
            chosen = self._scheduler.choose(now, self._against)
            if chosen is not None:
                self._begin(chosen)
        self._tell(now)
        if self._is_dirty and now.mono_s - self._stored_s >= STORE_S:
            await self._keep_state()

    async def acted(self) -> None:
        """Wait until what she does now is over."""
        if self._acting is not None:
            await asyncio.wait([self._acting])

    async def _run(self) -> None:
        while True:
            try:
                await self.step()
            except Exception:
                logger.exception("autonomy stumbled; it goes on")
            try:
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()
                # What comes in one burst is decided on together.
                await asyncio.sleep(POLL_S)
            except TimeoutError:
                pass
            self._wake.clear()

    def _begin(self, chosen: Chosen) -> None:
        self._acting = self._tasks.spawn(self._act(chosen), f"acting unasked: {chosen.trigger.id}")
        self._acting.add_done_callback(self._acted)

    def _acted(self, _: asyncio.Task[None]) -> None:
        self._acting = None
        self._wake.set()

    async def _act(self, chosen: Chosen) -> None:
        """Write it, wait for the stage, do it, and say what came of it."""
        done = Done(False, "nothing", "stopped")
        try:
            # Before anything is heard: after a crash it counts as done.
            await self._keep_state()
            done = await self._do(chosen)
        except AppError as error:
            done = Done(False, "nothing", error.message)
        finally:
            now = self._moment()
            trigger = chosen.trigger
            self._last = f"{trigger.name}: {done.detail}"[:300]
            self._scheduler.end(now, is_done=done.is_done, detail=done.detail, again=done.again)
            self._is_dirty = True
            if not done.again:
                self._bus.publish(
                    AutonomyActed(
                        trigger=trigger.id,
                        action=done.action,
                        detail=done.detail[:1000],
                        turn_id=done.turn_id or None,
                        severity="INFO" if done.is_done else "DEBUG",
                    )
                )

    async def _do(self, chosen: Chosen) -> Done:
        self._is_withdrawn = False
        deed = chosen.trigger.do
        line = Written("", "")
        if deed.speaks:
            written = await self._content.write(chosen, await self._around())
            if written is None:
                return Done(False, "nothing", "there was nothing new to say")
            line = written
        self._saying = line.text
        try:
            if line.text:
                await self._keep_state()  # before it is heard
            character = await self._character()
            # Somebody may have begun to speak while it was written: looked at last, right before it is done.
            while why_not := self.floor.why_not(self._moment().mono_s):
                if self._moment().mono_s >= chosen.until_s:
                    return Done(False, "nothing", f"its moment went by: {why_not}")
                await self._sleep(POLL_S)
            if not self.is_on:
                return Done(False, "nothing", "the module was switched off")
            if self._is_withdrawn:
                return Done(False, "nothing", TAKEN)
            self.floor.took()
            done = await self._actions.do(deed, line.text, line.emotion, character)
            # Cut before it was heard: not to be tried again.
            is_cut = self._is_withdrawn and done.again
            return Done(False, "nothing", TAKEN, turn_id=done.turn_id) if is_cut else done
        finally:
            self._saying = ""

    async def _around(self) -> Around:
        now = self._moment()
        character = await self._character()
        self._temper.settle(now.mono_s)
        return Around(
            at=now.wall,
            name=character.name,
            hint=self._temper.hint(),
            style=self._temper.style,
            climate=self._chatter.climate(now.mono_s),
            lines=self._chatter.lines(),
            stream=self.stream,
        )

    def _against(self, trigger: Trigger) -> str:
        group = group_of(trigger.when)
        if trigger.do.speaks and not self._speaks_unasked(group):
            return f"AUTONOMOUS_TRIGGERS does not name {group}"
        return ""

    def _unknown(self, trigger_id: str) -> NotFoundError:
        there = ", ".join(trigger.id for trigger in self.rules.triggers[:40])
        return NotFoundError(
            f"There is no trigger {trigger_id[:48]!r}; there are {there or 'none'}."
        )

    # --- hearing of things ---

    async def _follow(self) -> None:
        while True:
            with self._bus.subscribe(
                limit=LIMIT, wanted=lambda event: isinstance(event, WANTED)
            ) as heard:
                async for event in heard:
                    try:
                        self.hear(event)
                    except Exception:
                        logger.exception("autonomy stumbled over %s; it goes on", event.type)
            # More came than it could take: what was missed is missed.

    def hear(self, event: AnyEvent) -> None:
        """Take a fact."""
        now = self._moment()
        match event:
            case AudienceWrote():
                self._wrote(event.said, now)
            case AudienceDid():
                self._did(event.what, now)
            case ChatDisposition():
                if event.disposition in PASSED:
                    self._chatter.passed(event.message_id)
                    self._passed(event.message_id, now)
                elif event.disposition in TAKEN_BACK:
                    self._chatter.took_back(event.message_id)
                    self._take_back(event.message_id)
            case ModerationActed():
                if event.direction == "in" and event.verdict.action in (
                    "mask",
                    "replace",
                    "ignore",
                ):
                    self._chatter.took_back(event.message_id)
                    self._named.pop(event.message_id, None)
            case QueueChanged():
                self.floor.viewers_wait(event.total)
            case UtteranceStarted() if event.conversation_id == STAGE:
                self.floor.speaks(event.utterance_id, now.mono_s)
                self._tasks.spawn(self._actions.give_way(), "giving way")
                self._talk(now)
            case UtteranceDropped() | UtteranceTranscribed():
                self.floor.spoke(event.utterance_id, now.mono_s)
            case ChatMessage() if event.conversation_id == STAGE and event.origin != ORIGIN:
                self._react("talk", now)
                self._talk(now)
            case TurnStarted() if event.conversation_id == STAGE:
                self.floor.turn_began(event.origin)
                if event.turn_id == self._actions.turn_id and self.floor.somebody_speaks(
                    now.mono_s
                ):
                    self._tasks.spawn(self._actions.give_way(), "giving way")
            case TurnFinished() if event.conversation_id == STAGE:
                self.floor.turn_ended(now.mono_s)
                self._talk(now)
                self._wake.set()
            case ChatResponse() if event.conversation_id == STAGE:
                self._said.add(event.text, now.wall)
            case StreamChanged():
                self._streams(event.stream, now)
            case PanicChanged():
                self._wake.set()
            case CharacterChanged():
                self._tasks.spawn(self._become(), "becoming somebody else")
            case CharacterSwitched() if event.conversation_id == STAGE:
                self._tasks.spawn(self._become(), "becoming somebody else")

    def _talk(self, now: Moment) -> None:
        self._silent_s = now.mono_s
        self._scheduler.heard(now)

    def _wrote(self, message: AudienceMessage, now: Moment) -> None:
        before = dict(self._chatter.counts)
        words = self._chatter.wrote(message, now.mono_s)
        self._is_dirty = True
        self._silent_s = now.mono_s
        self._scheduler.heard(now)
        if message.mentions_us or message.replies_to_us:
            if is_insult(words):
                self._react("insult", now)
            elif is_praise(words):
                self._react("praise", now)
        if any(
            isinstance(trigger.when, Keyword) and self._chatter.has_word(trigger.id, words)
            for trigger in self.rules.triggers
        ):
            # Nothing comes of it before moderation has let it through.
            self._named[message.id] = message, words
            while len(self._named) > MOST_NAMED:
                self._named.popitem(last=False)
        self._count(dict(before), now)

    def _passed(self, message_id: str, now: Moment) -> None:
        """Moderation has nothing against a message: keywords in it count."""
        message, words = self._named.pop(message_id, (None, frozenset()))
        if message is None:
            return
        text = message.text.casefold()
        for trigger in self.rules.triggers:
            if isinstance(trigger.when, Keyword) and self._chatter.has_word(trigger.id, words):
                wanted = trigger.when.words
                word = next((each for each in wanted if each.casefold() in text), wanted[0])
                facts = {"viewer": message.viewer.name, "text": message.text, "word": word}
                if self._scheduler.set_off(trigger.id, Occasion(facts, message_id), now):
                    self._wake.set()

    def _take_back(self, message_id: str) -> None:
        """A message was stopped or deleted: what she says because of it is cut, or never begun."""
        self._named.pop(message_id, None)
        if self._scheduler.forget(message_id):
            self._is_withdrawn = True
            self._tasks.spawn(self._actions.cut(), "taking back what was deleted")

    def _did(self, event: ViewerEvent, now: Moment) -> None:
        before = dict(self._chatter.counts)
        self._chatter.did(event)
        self._react(event.kind, now, event.amount)
        facts = {"viewer": event.viewer.name, "text": event.text}
        if event.amount:
            facts["amount"] = f"{event.amount:,}"
        for trigger in self.rules.triggers:
            if isinstance(trigger.when, ByViewer) and is_set_off(trigger.when, event):
                if self._scheduler.set_off(trigger.id, Occasion(facts), now):
                    self._wake.set()
        self._count(before, now)

    def _streams(self, stream: StreamState, now: Moment) -> None:
        """The platform says how the stream is."""
        if not stream.channel:
            self.stream = {}
            return
        facts = {"game": stream.game, "title": stream.title}
        facts["live"] = "yes" if stream.is_live else "not yet, or not any more"
        self.stream = {name: plain(value, 200) for name, value in facts.items() if value}
        if stream.is_live and stream.started_at is not None:
            began = stream.started_at
            if self._began != (stream.channel, began):
                self._began = stream.channel, began
                self._temper.streams_since(now.mono_s - _passed_s(began, now.wall))
            if self._counting_from < began:
                # What was counted before it began belongs to another one. The platform's clock may be ahead of ours.
                self._chatter.begin_stream()
                self._counting_from = max(now.wall, began)
                self._is_dirty = True
        if stream.followers is not None:
            self._told_followers(stream.channel, stream.followers, now)

    def _told_followers(self, channel: str, count: int, now: Moment) -> None:
        before = dict(self._chatter.counts)
        self._chatter.counts["followers"] = count
        known, most = self._most_followers
        if known != channel:
            # How many there were before nobody knows.
            self._most_followers = channel, count
        elif before["followers"] or most:
            self._count(before, now)

    def _count(self, before: dict[Any, int], now: Moment) -> None:
        """See whether a milestone was reached."""
        after = self._chatter.counts
        # Who leaves and comes back makes no number again.
        channel, most = self._most_followers
        before["followers"] = max(before["followers"], most)
        self._most_followers = channel, max(most, after["followers"])
        for trigger in self.rules.triggers:
            if isinstance(when := trigger.when, Milestone):
                number = reached(when, before[when.of], after[when.of])
                if number is not None:
                    self._react("milestone", now)
                    self._scheduler.set_off(trigger.id, Occasion({"count": f"{number:,}"}), now)
                    self._wake.set()

    def _look_at_chat(self, now: Moment) -> None:
        """Whether conditions hold: how fast the chat is, about what, in which mood."""
        rate = self._chatter.per_minute(now.mono_s)
        mood = self._chatter.mood(now.mono_s)
        for trigger in self.rules.triggers:
            occasion = Occasion()
            match trigger.when:
                case Rate() as when:
                    if when.crossing == "above":
                        is_high = rate > when.per_minute
                    else:
                        is_high = 0 < self._chatter.counts["messages"] and rate < when.per_minute
                case Feeling() as when:
                    is_high = mood == when.mood
                case Topic() as when:
                    is_high = (
                        self._chatter.hits(trigger.id, when.within_s, now.mono_s) >= when.mentions
                    )
                    occasion = Occasion({"topic": when.words[0], "word": when.words[0]})
                case _:
                    continue
            self._scheduler.level(trigger.id, is_high, occasion, now)

    def _watch(self) -> None:
        self._chatter.watch(
            {
                trigger.id: trigger.when
                for trigger in self.rules.triggers
                if isinstance(trigger.when, Keyword | Topic)
            }
        )

    async def _become(self) -> None:
        self._temper.become((await self._character()).personality, self._moment().mono_s)

    def _react(self, what: Happening, now: Moment, amount: int = 1) -> None:
        self._temper.react(what, now.mono_s, amount)
        self._is_dirty = True

    def _call_scene(self, scene: str) -> None:
        self._bus.publish(SceneCalled(scene=scene, by=self.name))

    # --- telling and keeping ---

    def _tell(self, now: Moment) -> None:
        told_s, told = self._told
        if now.mono_s - told_s < TELL_S:
            return
        state = self.state(TOLD)
        sign = (
            state.mood.words,
            round(state.mood.valence, 1),
            round(state.mood.energy, 1),
            state.acting,
            state.reasons,
            state.last,
            tuple((one.id, one.readiness, one.reasons, one.fired) for one in state.triggers),
        )
        if sign == told and now.mono_s - told_s < TELL_AGAIN_S:
            return
        self._told = (now.mono_s, sign)
        self._bus.publish(AutonomyChanged(autonomy=state))

    async def _keep_state(self) -> None:
        """Store what must survive a crash; a full disk costs the memory of it, not the show."""
        now = self._moment()
        self._is_dirty, self._stored_s = False, now.mono_s
        saying = [[now.wall.isoformat(), self._saying]] if self._saying else []
        value = {
            "schedule": self._scheduler.dump(now),
            "temper": self._temper.dump(now.mono_s),
            "said": [*self._said.dump(), *saying],
            "chatter": self._chatter.dump(),
            "counting": {"at": self._counting_from.isoformat()},
            "most_followers": list(self._most_followers),
        }
        try:
            await self._store.put(STATE, json.dumps(value))
        except AppError as error:
            logger.warning("how she is could not be stored: %s", error.message)
            self._bus.publish(
                ErrorOccurred(
                    source="autonomy",
                    severity="WARNING",
                    code=error.code,
                    reason=f"What she did unasked is forgotten after a crash: {error.message}",
                )
            )

    def _load(self, kept: str, now: Moment) -> None:
        try:
            value = json.loads(kept)
            schedule = value["schedule"]
            self._scheduler.load(schedule, now)
            then = Scheduler.kept_at(schedule)
            since_s = (now.wall - then).total_seconds() if then is not None else 0.0
            self._temper.load(value["temper"], now.mono_s, since_s)
            self._said.load(value["said"])
            if then is not None and since_s < PAUSE_S:
                self._chatter.load(value.get("chatter", {}))
                self._counting_from = Scheduler.kept_at(value.get("counting", {})) or then
            channel, most = value.get("most_followers", ("", 0))
            self._most_followers = str(channel), int(most)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            logger.warning("how she was could not be read, she begins anew: %s", error)


def _passed_s(then: datetime, now: datetime) -> float:
    return max(0.0, (now - then).total_seconds())


def _in_words(deed: Deed, text: str) -> str:
    """What a deed is, for people."""
    parts = []
    if text:
        parts.append(f"says: {text}")
    elif deed.prompt:
        parts.append("says what a model writes about: " + deed.prompt[:200])
    if deed.expression:
        parts.append(f"shows {deed.expression}")
    if deed.motion:
        parts.append(f"plays {deed.motion}")
    if deed.scene:
        parts.append(f"calls the scene {deed.scene}")
    return "; ".join(parts)
