"""The audience as the window knows it: what was written, what became of it, who waits, the channel, and what she may do unasked.

Kept true by events, loaded by REST once per connection. Everything is bounded, and taking in an event is a few microseconds, so
that a flood of messages costs the window only what it draws.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Literal
from unicodedata import category
from urllib.parse import quote

from backend.contracts.audience import (
    FINAL,
    AudienceMessage,
    ChannelState,
    DispositionName,
    MessageRecord,
    QueuedMessage,
    QueueRules,
    QueueState,
    StreamState,
    Viewer,
    ViewerEvent,
    ViewerEventKind,
)
from backend.contracts.autonomy import AutonomyState, DryRun
from backend.contracts.entities import STAGE
from backend.contracts.events import (
    AudienceDid,
    AudienceWrote,
    AutonomyActed,
    AutonomyChanged,
    ChannelChanged,
    ChannelWrote,
    ChatDisposition,
    ChatSentence,
    Event,
    QueueChanged,
    QueueRulesChanged,
    StreamChanged,
    TurnFinished,
    TurnStarted,
    TwitchLoginChanged,
)
from backend.contracts.twitch import TwitchLogin
from frontend.client import BackendClient, Failure
from frontend.stage import read_model, read_models

logger = logging.getLogger(__name__)

MOST_LINES = 2000
MOST_VIEWERS = 20_000
MOST_WAITS = 2000
MOST_TURNS = 500
LOADED = 200
BUCKET_S = 10.0
BUCKETS = 360  # an hour
RECENT_S = 600.0
"""What "lately" means for the figures."""
TOPIC_LINES = 500
MOST_TOPICS = 12
LEAST_WORD = 4
JOINER = "\u200d"
CONNECT_S = 45.0

Topic = Literal["lines", "queue", "channel", "autonomy"]
Part = Literal["queue", "dispositions", "twitch", "autonomy"]
Group = Literal["all", "answered", "waiting", "not-answered", "held"]

ANSWERED: frozenset[DispositionName] = frozenset({"answered", "merged", "command", "answering"})
WAITING: frozenset[DispositionName] = frozenset({"queued", "held"})

DID: dict[ViewerEventKind, str] = {
    "follow": "follows now",
    "subscribe": "has subscribed",
    "gift": "gives {amount} subscriptions",
    "raid": "raids with {amount} viewers",
    "cheer": "cheers {amount} bits",
    "redeem": "redeems a reward",
}

_FILLERS = frozenset(
    # Words that say nothing about what is talked of, in the languages most chats are written in.
    "about after again also another back been before being both came come could does doing dont down even from gets give going "
    "gonna good have hello here into just know like look made make many more most much must need never only other over really "
    "said same should some still such take than that thats their them then there these they thing think this those very want "
    "well went were what when where which while will with would yeah your youre aber alle auch dann dass denn doch eine einen "
    "einer haben hallo hier ihre kann mehr mein nicht noch oder sein sich sind soll über wenn werden wird pero para como esta "
    "este porque todo avec dans elle mais nous pour quel sans sont tout vous cette comme http https".split()
)


@dataclass(slots=True)
class Line:
    """A message and what became of it so far."""

    message: AudienceMessage
    disposition: DispositionName | None = None
    reason: str = ""
    rule: str = ""
    into: str = ""
    turn_id: str = ""
    waited_s: float | None = None
    """Until it began to be answered."""
    did: ViewerEventKind | None = None
    """Not a message, but something a viewer did: its text says what."""
    is_ours: bool = False
    """Written by this side: by the streamer as the bot, or as the answer to a command."""

    @property
    def group(self) -> Group:
        """Which of the filters of the live chat shows it."""
        if self.did is not None or self.is_ours:
            return "all"
        if self.disposition == "held":
            return "held"
        if self.disposition is None or self.disposition == "queued":
            return "waiting"
        return "answered" if self.disposition in ANSWERED else "not-answered"


@dataclass(frozen=True, slots=True)
class Look:
    """The chip of a line: words, icon, colour of both, colour behind them (tokens)."""

    words: str
    icon: str
    color: str
    fill: str = "raised"


@dataclass(slots=True)
class Bucket:
    """Ten seconds of chat."""

    number: int
    messages: int = 0
    decided: int = 0
    answered: int = 0
    stopped: int = 0
    waits: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Figures:
    """The numbers above the chat.

    Attributes:
        per_minute: Messages of the last minute.
        chatters: People who wrote in the last ten.
        decided, answered: Messages of the last ten minutes whose end is known, and those of them that got an answer.
        waits_s: How long answers let wait in these ten minutes.
        stopped: Messages that moderation stopped or held in them.
    """

    per_minute: int
    chatters: int
    decided: int
    answered: int
    waits_s: tuple[float, ...]
    stopped: int

    @property
    def share(self) -> float | None:
        """Share of messages that got an answer."""
        return self.answered / self.decided if self.decided else None


class Audience:
    """The facts and the requests that change them; Tk thread only.

    Args:
        client: Line to the backend.
        failed: Shows a failure to the user.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        client: BackendClient,
        failed: Callable[[Failure], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.lines: deque[Line] = deque()
        self.dropped = 0
        """Lines that went because there were too many; a list that stands still moves by them."""
        self.version = 0
        self.queue = QueueState()
        self.total_waiting = 0
        self.rules = QueueRules()
        self.channel: ChannelState | None = None
        self.stream: StreamState | None = None
        """Title, game, who watches; None where nobody tells."""
        self.login: TwitchLogin | None = None
        self.autonomy: AutonomyState | None = None
        self.autonomy_s = 0.0
        """When the state of autonomy came, by `clock`."""
        self.acted = ""
        """What she did last unasked, in words."""
        self.missing: dict[Part, str] = {}
        """Parts this backend does not have, or does not tell of, and why."""
        self.answering = ""
        """Id of the message that is being answered."""
        self.said: tuple[str, str] = ("", "")
        """The newest turn on the stage, and what of it she says."""
        self.clock = clock
        self._client = client
        self._failed = failed
        self._known: dict[str, Line] = {}
        self._numbers: OrderedDict[str, int] = OrderedDict()
        self._ranks: dict[str, int] = {}
        self._buckets: deque[Bucket] = deque(maxlen=BUCKETS)
        self._viewers: OrderedDict[str, float] = OrderedDict()
        self._listeners: list[tuple[frozenset[Topic], Callable[[], None]]] = []
        self._told: set[Topic] = set()

    def listen(self, topics: Iterable[Topic], callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after changes; returns what ends it."""
        entry = (frozenset(topics), callback)
        self._listeners.append(entry)
        return lambda: self._listeners.remove(entry) if entry in self._listeners else None

    # --- what is known

    def line(self, message_id: str) -> Line | None:
        """A line by the id of its message."""
        return self._known.get(message_id)

    def rank(self, message_id: str) -> int:
        """Its place in the queue from 1; 0 = none known."""
        return self._ranks.get(message_id, 0)

    def turn_number(self, turn_id: str) -> int:
        """The number people know a turn by; 0 = not known."""
        return self._numbers.get(turn_id, 0)

    @property
    def held_count(self) -> int:
        """Messages that wait for the streamer's word."""
        return len(self.queue.held)

    def figures(self) -> Figures:
        """The numbers of now."""
        now = self.clock()
        last = int(now // BUCKET_S)
        while self._viewers:
            first = next(iter(self._viewers))
            if now - self._viewers[first] <= RECENT_S:
                break
            del self._viewers[first]
        recent = [b for b in self._buckets if b.number > last - RECENT_S / BUCKET_S]
        waits = [wait for b in recent for wait in b.waits]
        return Figures(
            per_minute=sum(b.messages for b in recent if b.number > last - 60 / BUCKET_S),
            chatters=len(self._viewers),
            decided=sum(b.decided for b in recent),
            answered=sum(b.answered for b in recent),
            waits_s=tuple(sorted(waits[-MOST_WAITS:])),
            stopped=sum(b.stopped for b in recent),
        )

    def history(self, count: int, every: int = 1) -> list[Bucket]:
        """The last so many stretches of `every` buckets, oldest first; empty ones where nothing was written."""
        last = int(self.clock() // BUCKET_S)
        found: dict[int, Bucket] = {}
        for bucket in self._buckets:
            place = (last - bucket.number) // every
            if place < count:
                into = found.setdefault(place, Bucket(place))
                into.messages += bucket.messages
                into.decided += bucket.decided
                into.answered += bucket.answered
                into.stopped += bucket.stopped
                into.waits += bucket.waits
        return [found.get(place, Bucket(place)) for place in range(count - 1, -1, -1)]

    def topics(self) -> list[tuple[str, int]]:
        """What the newest messages are about: words, and how many people wrote them."""
        writers: dict[str, set[str]] = {}
        for line in list(self.lines)[-TOPIC_LINES:]:
            if line.did is not None or line.is_ours or line.disposition in ("filtered", "deleted"):
                continue
            for word in words_in(line.message.text):
                writers.setdefault(word, set()).add(line.message.viewer.id)
        counts = Counter({word: len(people) for word, people in writers.items() if len(people) > 1})
        return counts.most_common(MOST_TOPICS)

    # --- requests

    def load(self) -> None:
        """Ask for everything."""
        for part, path, then in (
            ("queue", "/api/queue", self._took_queue),
            ("twitch", "/api/twitch", self._took_channel),
            ("autonomy", "/api/autonomy", self._took_autonomy),
        ):
            self._get(part, path, then)  # type: ignore[arg-type]  # the names above are parts
        self._client.get("/api/queue/rules", self._took_rules, lambda _: None)
        self._client.get(
            "/api/dispositions",
            self._took_records,
            lambda failure: self._absent("dispositions", failure),
            params={"limit": LOADED},
        )

    def approve(self, message_id: str) -> None:
        """Let a held message in."""
        self._act(message_id, "approve")

    def skip(self, message_id: str) -> None:
        """Do not answer it."""
        self._act(message_id, "skip")

    def answer_now(self, message_id: str) -> None:
        """Answer it before all others."""
        self._act(message_id, "now")

    def load_autonomy(self) -> None:
        """Ask how she is, and what she may do next."""
        self._get("autonomy", "/api/autonomy", self._took_autonomy)

    def load_channel(self) -> None:
        """Ask how the channel and the login are."""
        self._get("twitch", "/api/twitch", self._took_channel)

    def took_login(self, value: Any) -> None:
        """Take the login out of an answer."""
        inner = value.get("login") if isinstance(value, dict) else None
        login = read_model(TwitchLogin, inner if isinstance(inner, dict) else value)
        if login is not None:
            self.login = login
            self._tell("channel")
            self.flush()

    def connect(
        self,
        channel: str,
        *,
        anonymous: bool,
        then: Callable[[], None],
        failed: Callable[[Failure], None],
    ) -> None:
        """Join a channel; the answer comes when it is joined or has failed."""

        def took(value: Any) -> None:
            self._took_channel(value)
            then()

        body = {"channel": channel, "anonymous": anonymous}
        self._client.post("/api/twitch/connect", body, took, failed, timeout_s=CONNECT_S)

    def disconnect(self) -> None:
        """Leave the channel."""
        self._client.post("/api/twitch/disconnect", {}, self._took_channel, self._failed)

    def switch_autonomy(self, is_on: bool) -> None:
        """Let her act unasked, or not."""
        self._client.post(
            "/api/modules/autonomy",
            {"enabled": is_on},
            lambda _: self._get("autonomy", "/api/autonomy", self._took_autonomy),
            self._failed,
        )

    def dry_run(
        self, then: Callable[[DryRun | None], None], failed: Callable[[Failure], None]
    ) -> None:
        """Ask what she would do now, and why."""
        self._client.post(
            "/api/autonomy/dry-run", {}, lambda value: then(read_model(DryRun, value)), failed
        )

    # --- events

    def on_event(self, event: Event) -> None:
        """Keep the facts true; listeners are told in `flush`."""
        match event:
            case AudienceWrote():
                self._wrote(event.said)
            case ChatDisposition():
                self._became(event)
            case QueueChanged():
                self._take_queue(
                    QueueState(
                        waiting=event.waiting,
                        held=event.held,
                        answering=self.queue.answering,
                        is_held=self.queue.is_held,
                        is_on=self.queue.is_on,
                    ),
                    event.total,
                )
            case QueueRulesChanged():
                self.rules = event.rules
                self._tell("queue")
            case ChannelChanged():
                self.channel = event.channel
                self.missing.pop("twitch", None)
                self._tell("channel")
            case StreamChanged():
                self.stream = event.stream if event.stream.channel else None
                self._tell("channel")
            case ChannelWrote():
                self._wrote_ourselves(event)
            case TwitchLoginChanged():
                self.login = event.login
                self._tell("channel")
            case AutonomyChanged():
                self.autonomy, self.autonomy_s = event.autonomy, self.clock()
                self.missing.pop("autonomy", None)
                self._tell("autonomy")
            case AutonomyActed():
                self.acted = event.detail or event.action
                self._tell("autonomy")
            case AudienceDid():
                self._did(event.what)
            case TurnStarted() if event.turn_id:
                self._number(event.turn_id, event.number)
                if event.conversation_id == STAGE:
                    self.said = (event.turn_id, "")
                    self._tell("queue")
            case TurnFinished() if event.turn_id:
                self._number(event.turn_id, event.number)
                if event.turn_id == self.said[0]:
                    self._tell("queue")
            case ChatSentence() if event.turn_id and event.turn_id == self.said[0]:
                self.said = (event.turn_id, f"{self.said[1]} {event.text}".strip()[-600:])
                self._tell("queue")

    def flush(self) -> None:
        """Tell the listeners what changed since the last time."""
        if not self._told:
            return
        told, self._told = self._told, set()
        for topics, callback in list(self._listeners):
            if topics & told:
                callback()

    # --- inside

    def _get(self, part: Part, path: str, then: Callable[[Any], None]) -> None:
        self._client.get(path, then, lambda failure: self._absent(part, failure))

    def _absent(self, part: Part, failure: Failure) -> None:
        if failure.status == 404:
            words = "This backend does not have it: it is older than this window. Update it."
        else:
            words = failure.message
        self.missing[part] = words
        logger.info("%s was not loaded: %s", part, failure.message)
        topics: dict[Part, Topic] = {
            "queue": "queue",
            "dispositions": "lines",
            "twitch": "channel",
            "autonomy": "autonomy",
        }
        self._tell(topics[part])
        self.flush()

    def _act(self, message_id: str, what: str) -> None:
        path = f"/api/queue/{quote(message_id, safe='')}/{what}"
        self._client.post(path, {}, None, self._failed)

    def _wrote(self, message: AudienceMessage) -> None:
        if message.id in self._known:
            return
        self._add(Line(message))
        self._bucket().messages += 1
        key = _key(message.viewer)
        self._viewers[key] = self.clock()
        self._viewers.move_to_end(key)
        if len(self._viewers) > MOST_VIEWERS:
            self._viewers.popitem(last=False)

    def _wrote_ourselves(self, event: ChannelWrote) -> None:
        one = f"ours:{event.message_id or event.id}"
        if one in self._known:
            return
        viewer = Viewer(platform=event.platform, id=f"ours:{event.author}", name=event.author)
        message = AudienceMessage(
            id=one,
            platform=event.platform,
            channel=event.channel,
            viewer=viewer,
            text=event.text,
            at=event.at,
        )
        self._add(Line(message, is_ours=True))

    def _did(self, what: ViewerEvent) -> None:
        """A line for what a viewer did; a cheer is a message already."""
        one = f"did:{what.id}"
        if what.kind == "cheer" or one in self._known:
            return
        words = DID[what.kind].format(amount=f"{what.amount:,}" if what.amount else "some")
        message = AudienceMessage(
            id=one,
            platform=what.platform,
            channel=what.channel,
            viewer=what.viewer,
            text=f"{words}: {what.text}" if what.text else words,
            at=what.at,
        )
        self._add(Line(message, did=what.kind))

    def _add(self, line: Line) -> None:
        self.lines.append(line)
        self._known[line.message.id] = line
        if len(self.lines) > MOST_LINES:
            del self._known[self.lines.popleft().message.id]
            self.dropped += 1
        self._tell("lines")

    def _became(self, event: ChatDisposition) -> None:
        name = event.disposition
        line = self._known.get(event.message_id)
        if name == "answering":
            self.answering = event.message_id
            self._tell("queue")
        elif event.message_id == self.answering:
            self.answering = ""
            self._tell("queue")
        bucket = self._bucket()
        was_final = line is not None and line.disposition in FINAL
        if name in FINAL and not was_final:
            bucket.decided += 1
            bucket.answered += name in ("answered", "merged", "command")
        if name in ("filtered", "held"):
            bucket.stopped += 1
        if line is None:
            return
        line.disposition, line.reason, line.rule = name, event.reason, event.rule
        line.into = event.into or line.into
        line.turn_id = event.turn_id or line.turn_id
        if name == "answering" and line.waited_s is None:
            line.waited_s = max(0.0, (event.at - line.message.at).total_seconds())
            bucket.waits.append(line.waited_s)
        self._tell("lines")

    def _bucket(self) -> Bucket:
        number = int(self.clock() // BUCKET_S)
        if not self._buckets or self._buckets[-1].number != number:
            self._buckets.append(Bucket(number))
        return self._buckets[-1]

    def _count(self, line: Line) -> None:
        """Put a message that was written before the window was there into the figures."""
        age_s = max(0.0, (datetime.now(UTC) - line.message.at).total_seconds())
        at_s = self.clock() - age_s
        number, last = int(at_s // BUCKET_S), int(self.clock() // BUCKET_S)
        if number <= last - BUCKETS:
            return
        bucket = next((one for one in self._buckets if one.number == number), None)
        if bucket is None:
            bucket = Bucket(number)
            self._buckets = deque(
                sorted((*self._buckets, bucket), key=lambda one: one.number), maxlen=BUCKETS
            )
        bucket.messages += 1
        if line.disposition in FINAL:
            bucket.decided += 1
            bucket.answered += line.disposition in ("answered", "merged", "command")
        bucket.stopped += line.disposition in ("filtered", "held")
        key = _key(line.message.viewer)
        if age_s <= RECENT_S and at_s > self._viewers.get(key, 0.0):
            self._viewers[key] = at_s

    def _number(self, turn_id: str, number: int) -> None:
        self._numbers[turn_id] = number
        if len(self._numbers) > MOST_TURNS:
            self._numbers.popitem(last=False)

    def _take_queue(self, state: QueueState, total: int) -> None:
        self.queue = state
        self.total_waiting = max(total, len(state.waiting))
        self._ranks = {item.message.id: place for place, item in enumerate(state.waiting, 1)}
        self.missing.pop("queue", None)
        self._tell("queue")
        self._tell("lines")

    def _took_queue(self, value: Any) -> None:
        state = read_model(QueueState, value)
        if state is not None:
            if state.answering is not None:
                self.answering = state.answering.message.id
            self._take_queue(state, len(state.waiting))
            self.flush()

    def _took_rules(self, value: Any) -> None:
        rules = read_model(QueueRules, value)
        if rules is not None:
            self.rules = rules
            self._tell("queue")
            self.flush()

    def _took_channel(self, value: Any) -> None:
        if not isinstance(value, dict):
            return
        inner = value.get("channel")
        state = read_model(ChannelState, inner if isinstance(inner, dict) else value)
        login = read_model(TwitchLogin, value.get("login"))
        stream = read_model(StreamState, value.get("stream"))
        self.stream = stream if stream is not None and stream.channel else None
        if state is not None:
            self.channel = state
            self.missing.pop("twitch", None)
        self.login = login or self.login
        self._tell("channel")
        self.flush()

    def _took_autonomy(self, value: Any) -> None:
        state = read_model(AutonomyState, value)
        if state is not None:
            self.autonomy, self.autonomy_s = state, self.clock()
            self.missing.pop("autonomy", None)
            self._tell("autonomy")
            self.flush()

    def _took_records(self, value: Any) -> None:
        """What was written before the window was there, or while it was not connected."""
        self.missing.pop("dispositions", None)
        lines = list(self.lines)
        for record in sorted(records_in(value), key=lambda record: record.seq):
            made, known = line_of(record), self._known.get(record.message_id)
            if known is None:
                lines.append(made)
                self._count(made)
                continue
            known.disposition, known.reason, known.rule = made.disposition, made.reason, made.rule
            known.into, known.turn_id = made.into, made.turn_id or known.turn_id
        lines.sort(key=lambda line: line.message.at)
        self._viewers = OrderedDict(sorted(self._viewers.items(), key=lambda seen: seen[1]))
        self.dropped += max(0, len(lines) - MOST_LINES)
        self.lines = deque(lines[-MOST_LINES:])
        self._known = {line.message.id: line for line in self.lines}
        self._tell("lines")
        self.flush()

    def _tell(self, topic: Topic) -> None:
        self._told.add(topic)
        self.version += 1


def _key(viewer: Viewer) -> str:
    return f"{viewer.platform}:{viewer.id}"


def records_in(value: Any) -> list[MessageRecord]:
    """Stored messages out of an answer."""
    return read_models(MessageRecord, value, "messages", "items", "dispositions")


def line_of(record: MessageRecord) -> Line:
    """A stored message as a line."""
    viewer = Viewer(
        platform=record.platform, id=record.viewer_id, name=record.author, role=record.role
    )
    message = AudienceMessage(
        id=record.message_id,
        platform=record.platform,
        channel=record.channel,
        viewer=viewer,
        text=record.text,
        at=record.at,
        bits=record.bits,
    )
    return Line(
        message,
        record.disposition,
        record.reason,
        record.rule,
        record.into,
        record.turn_id or "",
    )


def words_in(text: str) -> Iterator[str]:
    """Words of a message that may be a topic, each once, in small letters."""
    seen: set[str] = set()
    for word in text[:500].casefold().split():
        bare = word.strip(".,:;!?\"'()[]{}<>*_~#@…。、！？")
        if LEAST_WORD <= len(bare) <= 30 and bare.isalnum() and not bare.isdigit():
            if bare not in _FILLERS and bare not in seen:
                seen.add(bare)
                yield bare


def plain(text: str, most: int = 400) -> str:
    """Hostile text as one calm line: no marks that turn the direction, no towers of accents, no invisible letters."""
    kept: list[str] = []
    marks = 0
    for letter in text[:most]:
        kind = category(letter)
        if kind in ("Mn", "Me"):
            marks += 1
            if marks > 2:
                continue
        elif kind in ("Cf", "Cc", "Cs", "Co", "Cn", "Zl", "Zp"):
            if letter != JOINER:  # families of emoji hold together by it
                kept.append(" " if kind in ("Cc", "Zl", "Zp") else "")
                continue
        else:
            marks = 0
        kept.append(letter)
    return "".join(kept)


def look_of(line: Line, audience: Audience) -> Look:
    """The chip of a line."""
    if line.is_ours:
        return Look("written from here", "send", "accent")
    if line.did is not None:
        return Look(line.did, "heart" if line.did == "follow" else "star", "tts")
    match line.disposition:
        case None:
            return Look("just in", "clock", "text3")
        case "queued":
            place = audience.rank(line.message.id)
            if place == 1:
                return Look("next", "clock", "llm")
            return Look(f"queue {place}" if place else "waits", "clock", "text2")
        case "held":
            return Look(f"held: {line.rule}" if line.rule else "held", "info", "warn", "warn_soft")
        case "answering":
            return Look("answering now", "volume", "accent", "accent_soft")
        case "answered":
            number = audience.turn_number(line.turn_id)
            words = f"answered in turn {number}" if number else "answered"
            return Look(words, "chat", "ok", "ok_soft")
        case "merged":
            other = audience.line(line.into)
            words = f"merged into {other.message.viewer.name[:16]}" if other else "merged"
            return Look(words, "copy", "prompt")
        case "command":
            return Look("command done", "bolt", "stt")
        case "filtered":
            words = f"filtered: {line.rule}" if line.rule else "filtered"
            return Look(words, "shield", "error", "error_soft")
        case "rate-limited":
            return Look("writes too much", "clock", "text3")
        case "too-old":
            return Look("too old", "clock", "text3")
        case "deleted":
            return Look("deleted", "x", "text3")
        case "queue-full":
            return Look("queue full", "filter", "text3")
        case "skipped":
            return Look("skipped", "skip", "text3")
        case "failed":
            return Look("failed", "warn", "warn", "warn_soft")
        case "not-addressed":
            return Look("needs no answer", "check", "text3")


MEANINGS: dict[DispositionName, str] = {
    "queued": "It waits to be answered",
    "held": "It waits for your word: Allow lets it in, Drop does not",
    "answering": "She answers it now",
    "answered": "She answered it",
    "merged": "It was joined with a message like it",
    "command": "It was a command",
    "filtered": "Moderation stopped it",
    "rate-limited": "Its author writes too much",
    "too-old": "It waited too long",
    "deleted": "A moderator deleted it",
    "queue-full": "Too many messages waited",
    "skipped": "It was skipped",
    "failed": "Its answer failed",
    "not-addressed": "By the rules of the queue it needs no answer",
}


def why(line: Line, audience: Audience) -> str:
    """What became of a line and why, as a sentence."""
    if line.did is not None:
        return "Something a viewer did: her triggers may act on it."
    if line.is_ours:
        return "Luma wrote it into the chat: your words, or the answer to a command."
    if line.disposition is None:
        return "It has just come in."
    words = MEANINGS[line.disposition]
    if line.disposition == "queued":
        item = next((q for q in audience.queue.waiting if q.message.id == line.message.id), None)
        if item is not None:
            place = audience.rank(line.message.id)
            return f"Place {place} of {audience.total_waiting}: {reasons_of(item)}"
    if line.rule and line.disposition != "merged":  # its reason says it all
        words += f" by the rule {line.rule}"
    if line.reason:
        words += f": {reason_of(line.rule, line.reason)}"
    if line.waited_s is not None:
        words += f". It waited {seconds(line.waited_s)}"
    return words.rstrip(".") + "."


def reason_of(rule: str, reason: str) -> str:
    """A reason of moderation without the name of its rule in front: that is said already."""
    return reason.removeprefix(f"{rule}: ") if rule else reason


def reasons_of(item: QueuedMessage) -> str:
    """Why a message stands where it does."""
    words = ", ".join(item.reasons) or "nothing special about it"
    return f"{words}, {len(item.merged)} joined with it" if item.merged else words


def seconds(value: float) -> str:
    """A length of time, short."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    if value < 7200:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.0f} h"


def clock_words(value: float) -> str:
    """Seconds that are left, as a clock ("0:48", "1:02:10")."""
    whole = max(0, round(value))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"
