"""Every event the program publishes.

An event is a fact that has happened, never a request. Its ``type`` is the name on the wire, in the ``events`` table, in
the Logs tab and in docs/EVENTS.md. Add an event here and nowhere else: socket, database, window and docs pick it up.

Durable events are stored, get a sequence number and can be resumed; live ones are sent only, and are the first to be
dropped when a subscriber is slow.
"""

from __future__ import annotations

from datetime import UTC, datetime
from random import getrandbits
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from backend.contracts.audience import (
    AudienceMessage,
    ChannelState,
    DispositionName,
    QueuedMessage,
    QueueRules,
    StreamState,
    Verdict,
    ViewerEvent,
)
from backend.contracts.autonomy import AutonomyState
from backend.contracts.avatar import AvatarShown, CueEntry, MouthTime, WordTime
from backend.contracts.checkup import CheckLine, CheckupReport
from backend.contracts.entities import ServiceInfo, Span, TurnOutcome
from backend.contracts.listening import DropReason, ListeningState
from backend.contracts.modes import ModeChange, ModeState
from backend.contracts.panic import PanicState
from backend.contracts.twitch import TwitchLogin

Severity = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

ENVELOPE = frozenset(
    {"seq", "id", "type", "at", "severity", "source", "turn_id", "job_id", "message"}
)

_NOT_OWN = set(ENVELOPE)


def wire_time(at: datetime) -> str:
    """A moment as it travels: UTC, ISO 8601, milliseconds ("2026-01-31T12:00:00.000Z")."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat(timespec="milliseconds")[:23] + "Z"


class Event(BaseModel):
    """What all events share.

    Attributes:
        type: Wire name, ``<noun>.<what happened>``.
        id: Unique id of this event.
        at: When it happened, UTC.
        severity: How much it matters to a person.
        source: The part that says so ("chat", "tts/piper").
        turn_id: The turn it belongs to, if any.
        job_id: The job it belongs to, if any.
        seq: Position in the stored stream; None for live events and before publishing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    durable: ClassVar[bool] = True

    type: str
    id: str = Field(default_factory=lambda: f"{getrandbits(128):032x}")
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    severity: Severity = "INFO"
    source: str = ""
    turn_id: str | None = None
    job_id: str | None = None
    seq: int | None = None

    def sentence(self) -> str:
        """The event in one readable sentence: the line of the Logs tab."""
        return self.type

    def own_data(self) -> dict[str, Any]:
        """The fields that are this event's own, ready for JSON."""
        return self.model_dump(mode="json", exclude=_NOT_OWN)

    def own_json(self) -> str:
        """The same as JSON text; a fifth of the time of `own_data` and encoding it."""
        return self.__pydantic_serializer__.to_json(self, exclude=_NOT_OWN).decode()

    def envelope(self, seq: int | None = None) -> dict[str, Any]:
        """The event as it goes over the wire and into the table."""
        return {
            "seq": seq if seq is not None else self.seq,
            "id": self.id,
            "type": self.type,
            "at": wire_time(self.at),
            "severity": self.severity,
            "source": self.source,
            "turn_id": self.turn_id,
            "job_id": self.job_id,
            "message": self.sentence(),
            "data": self.own_data(),
        }


class LiveEvent(Event):
    """An event that is sent only."""

    durable: ClassVar[bool] = False


# --- chat ---------------------------------------------------------------------------------------------------------


class ChatMessage(Event):
    """Somebody said something to the character."""

    type: Literal["chat.message"] = "chat.message"
    source: str = "chat"
    text: str
    author: str
    origin: str
    """Where it came from: "window", "api", "microphone", "client-ws", "twitch" …"""
    conversation_id: str
    character_id: str = ""

    def sentence(self) -> str:
        return f"{self.author}: {self.text}"


class ChatDelta(LiveEvent):
    """The next raw piece of a reply still being written; for the operator's window only."""

    type: Literal["chat.delta"] = "chat.delta"
    source: str = "llm"
    severity: Severity = "DEBUG"
    text: str
    conversation_id: str

    def sentence(self) -> str:
        return self.text


class ChatSentence(Event):
    """One sentence of the reply, cleaned: what may be shown to the public and is spoken."""

    type: Literal["chat.sentence"] = "chat.sentence"
    source: str = "chat"
    text: str
    n: int
    """Position in the reply, from 1."""
    emotion: str = ""
    conversation_id: str
    character_id: str = ""

    def sentence(self) -> str:
        return f"sentence {self.n}: {self.text}"


class ChatResponse(Event):
    """The whole reply as it is remembered: only what was spoken when the turn was interrupted."""

    type: Literal["chat.response"] = "chat.response"
    source: str = "chat"
    text: str
    emotion: str = ""
    conversation_id: str
    character_id: str = ""

    def sentence(self) -> str:
        return self.text


class ChatDisposition(Event):
    """What became of a message."""

    type: Literal["chat.disposition"] = "chat.disposition"
    source: str = "chat"
    message_id: str
    disposition: DispositionName
    reason: str = ""
    rule: str = ""
    """Of moderation, where one decided."""
    into: str = ""
    """Id of the message it was merged into."""
    conversation_id: str = ""

    def sentence(self) -> str:
        return f"message {self.message_id[:8]} {self.disposition}" + (
            f": {self.reason}" if self.reason else ""
        )


class ChatNotice(LiveEvent):
    """What came of a command that the operator typed in place of a message: there is no turn for it."""

    type: Literal["chat.notice"] = "chat.notice"
    source: str = "chat"
    command: str
    text: str
    is_refused: bool = False
    conversation_id: str = ""

    def sentence(self) -> str:
        return f"!{self.command}: {self.text}"


class AudienceWrote(LiveEvent):
    """A viewer wrote in a chat; what becomes of it is told by `chat.disposition` under its id."""

    type: Literal["audience.wrote"] = "audience.wrote"
    source: str = "audience"
    said: AudienceMessage

    def sentence(self) -> str:
        return f"{self.said.viewer.name}: {self.said.text}"


class AudienceDid(Event):
    """A viewer followed, subscribed, raided, cheered or redeemed a reward."""

    type: Literal["audience.did"] = "audience.did"
    source: str = "audience"
    what: ViewerEvent

    def sentence(self) -> str:
        amount = f" ({self.what.amount:,})" if self.what.amount else ""
        return f"{self.what.viewer.name}: {self.what.kind}{amount}"


class QueueChanged(LiveEvent):
    """Who is answered next; told at most four times a second, the newest state always in the end.

    Attributes:
        waiting: The first of the queue, best first.
        held: What waits for the streamer's approval.
        total: How many wait, those not listed included.
    """

    type: Literal["queue.changed"] = "queue.changed"
    source: str = "queue"
    waiting: tuple[QueuedMessage, ...] = ()
    held: tuple[QueuedMessage, ...] = ()
    total: int = 0

    def sentence(self) -> str:
        return f"{self.total} wait, {len(self.held)} held"


class QueueRulesChanged(Event):
    """Viewers are answered by other rules."""

    type: Literal["queue.rules_changed"] = "queue.rules_changed"
    source: str = "queue"
    rules: QueueRules

    def sentence(self) -> str:
        return "the queue has other rules" if self.rules.is_on else "viewers are not answered"


class CommandUsed(Event):
    """A viewer used a command, or was refused it."""

    type: Literal["command.used"] = "command.used"
    source: str = "command"
    command: str
    viewer: str
    text: str
    """What came of it, in one short sentence."""
    is_refused: bool = False
    message_id: str = ""

    def sentence(self) -> str:
        return f"{self.viewer}: !{self.command}: {self.text}"


class CommandsChanged(Event):
    """There are other commands; ask /api/commands which."""

    type: Literal["commands.changed"] = "commands.changed"
    source: str = "command"
    command: str
    change: Literal["saved", "deleted"]

    def sentence(self) -> str:
        return f"!{self.command} {self.change}"


class ChannelChanged(Event):
    """The connection to a chat platform is another one."""

    type: Literal["channel.changed"] = "channel.changed"
    source: str = "channel"
    channel: ChannelState

    def sentence(self) -> str:
        state = self.channel
        return f"{state.platform} {state.state}" + (f": {state.detail}" if state.detail else "")


class StreamChanged(Event):
    """The stream began or ended, has another title or game, or other numbers."""

    type: Literal["stream.changed"] = "stream.changed"
    source: str = "channel"
    severity: Severity = "DEBUG"
    stream: StreamState

    def sentence(self) -> str:
        now = self.stream
        state = f"live for {now.viewers:,}" if now.is_live else "not live"
        return f"{now.channel or now.platform}: {state}" + (f", {now.title}" if now.title else "")


class ChannelWrote(Event):
    """One of us has written into a chat: a command's answer, or the streamer as the bot. It does not come back as a viewer's message."""

    type: Literal["channel.wrote"] = "channel.wrote"
    source: str = "channel"
    platform: str
    channel: str
    author: str
    """Login name it was written under."""
    text: str
    message_id: str = ""
    """The platform's; empty where it gives none."""
    reply_to: str = ""
    """Id of the message it answers."""

    def sentence(self) -> str:
        return f"{self.author}: {self.text}"


class TwitchLoginChanged(LiveEvent):
    """The login at Twitch is another one, waits for its code, or nears its end; no token is ever in it."""

    type: Literal["twitch.login"] = "twitch.login"
    source: str = "twitch"
    login: TwitchLogin

    def sentence(self) -> str:
        return f"login {self.login.state}" + (f": {self.login.detail}" if self.login.detail else "")


class ModerationActed(Event):
    """A rule covered, replaced, held or stopped a text; the text itself is not in the event."""

    type: Literal["moderation.acted"] = "moderation.acted"
    source: str = "moderation"
    severity: Severity = "WARNING"
    direction: Literal["in", "out"]
    verdict: Verdict
    message_id: str = ""
    conversation_id: str = ""

    def sentence(self) -> str:
        way = "a message" if self.direction == "in" else "what she wanted to say"
        return (
            f"{self.verdict.action} {way}: {self.verdict.rule or 'no rule'} ({self.verdict.reason})"
        )


class AutonomyActed(Event):
    """She did something unasked.

    Attributes:
        trigger: Id of what made her.
        action: What she did: "says", "shows", "moves", "scene", joined by "+"; "nothing" when nothing came of it.
        detail: What she said, or why nothing came of it.
    """

    type: Literal["autonomy.acted"] = "autonomy.acted"
    source: str = "autonomy"
    trigger: str
    action: str
    detail: str = ""

    def sentence(self) -> str:
        return f"{self.trigger} → {self.action}" + (f": {self.detail}" if self.detail else "")


class AutonomyChanged(LiveEvent):
    """How she feels, and what she may do next unasked; at most once a second."""

    type: Literal["autonomy.changed"] = "autonomy.changed"
    source: str = "autonomy"
    severity: Severity = "DEBUG"
    autonomy: AutonomyState

    def sentence(self) -> str:
        now = self.autonomy
        return now.mood.words + (f", doing {now.acting}" if now.acting else "")


class SceneCalled(Event):
    """A scene was called for, by a command or unasked; programs outside that know scenes (a script for OBS) switch to it."""

    type: Literal["scene.called"] = "scene.called"
    source: str = "autonomy"
    scene: str
    by: str
    """The command with its mark ("!kitchen"), or "autonomy"."""
    viewer: str = ""
    """Who used the command."""
    message_id: str = ""
    """In which message."""

    def sentence(self) -> str:
        who = f"{self.viewer}'s {self.by}" if self.viewer else self.by
        return f"scene {self.scene}, called by {who}"


class CharacterSwitched(Event):
    """A conversation has another active character."""

    type: Literal["character.switched"] = "character.switched"
    source: str = "chat"
    character_id: str
    name: str
    conversation_id: str

    def sentence(self) -> str:
        return f"{self.name} is on"


class CharacterChanged(Event):
    """A character was made, edited or deleted; ask /api/characters for what it is now."""

    type: Literal["character.changed"] = "character.changed"
    source: str = "chat"
    character_id: str
    name: str
    change: Literal["created", "updated", "deleted"]

    def sentence(self) -> str:
        return f"{self.name} {self.change}"


class ConversationChanged(Event):
    """A conversation was made, renamed, cleared or deleted."""

    type: Literal["conversation.changed"] = "conversation.changed"
    source: str = "chat"
    conversation_id: str
    change: Literal["created", "renamed", "cleared", "deleted"]

    def sentence(self) -> str:
        return f"conversation {self.conversation_id} {self.change}"


# --- turn ---------------------------------------------------------------------------------------------------------


class TurnStarted(Event):
    """A message left the queue and is being answered."""

    type: Literal["turn.started"] = "turn.started"
    source: str = "chat"
    number: int
    origin: str
    conversation_id: str
    character_id: str
    queued: int = 0
    """Messages still waiting in this conversation."""

    def sentence(self) -> str:
        return f"turn {self.number} from {self.origin}, {self.queued} waiting"


class TurnStage(LiveEvent):
    """A stage of the running turn has ended; the stored spans are in turn.finished."""

    type: Literal["turn.stage"] = "turn.stage"
    source: str = "chat"
    severity: Severity = "DEBUG"
    span: Span

    def sentence(self) -> str:
        return f"{self.span.name} took {self.span.duration_ms:.0f} ms"


class TurnRetried(Event):
    """A provider failed before its first token; it is tried again, or the next engine takes over."""

    type: Literal["turn.retried"] = "turn.retried"
    source: str = "llm"
    severity: Severity = "WARNING"
    engine: str
    next_engine: str
    kind: str
    reason: str
    wait_s: float = 0.0
    conversation_id: str = ""

    def sentence(self) -> str:
        what = (
            "trying again" if self.engine == self.next_engine else f"{self.next_engine} takes over"
        )
        return f"{self.reason} ({what})"


class TurnFinished(Event):
    """A turn ended, whatever the reason."""

    type: Literal["turn.finished"] = "turn.finished"
    source: str = "chat"
    number: int
    outcome: TurnOutcome
    total_ms: float
    first_audio_ms: float | None = None
    spans: tuple[Span, ...] = ()
    conversation_id: str
    character_id: str = ""

    def sentence(self) -> str:
        return f"turn {self.number} {self.outcome} in {self.total_ms:,.0f} ms"


# --- listening ----------------------------------------------------------------------------------------------------


class ListeningChanged(Event):
    """The microphone was opened, closed, muted, set otherwise, or has a problem."""

    type: Literal["listening.changed"] = "listening.changed"
    source: str = "listening"
    listening: ListeningState

    def sentence(self) -> str:
        now = self.listening
        return f"microphone: {now.problem or now.state}" + (", muted" if now.muted else "")


class ListeningLevel(LiveEvent):
    """How loud the microphone is; at most 20 a second."""

    type: Literal["listening.level"] = "listening.level"
    source: str = "listening"
    severity: Severity = "DEBUG"
    level_dbfs: float
    peak_dbfs: float
    speech: float = 0.0
    """Probability of speech, 0-1."""
    clipped: bool = False

    def sentence(self) -> str:
        return f"microphone {self.level_dbfs:.0f} dB"


class UtteranceStarted(LiveEvent):
    """Somebody began to speak."""

    type: Literal["utterance.started"] = "utterance.started"
    source: str = "listening"
    utterance_id: str
    origin: str = "microphone"
    over_speech: bool = False
    """The character was speaking."""
    conversation_id: str

    def sentence(self) -> str:
        return "somebody speaks" + (" while she does" if self.over_speech else "")


class UtteranceEnded(LiveEvent):
    """Nobody speaks any more; what was said is being read."""

    type: Literal["utterance.ended"] = "utterance.ended"
    source: str = "listening"
    utterance_id: str
    duration_s: float
    silence_ms: float
    """How much silence it took."""
    conversation_id: str

    def sentence(self) -> str:
        return f"{self.duration_s:.1f} s of speech, {self.silence_ms:.0f} ms of silence"


class UtterancePartial(LiveEvent):
    """What was read so far; the next one replaces it."""

    type: Literal["utterance.partial"] = "utterance.partial"
    source: str = "stt"
    utterance_id: str
    text: str
    origin: str = "microphone"
    conversation_id: str

    def sentence(self) -> str:
        return f"“{self.text} …”"


class UtteranceTranscribed(Event):
    """A stretch of speech was read."""

    type: Literal["utterance.transcribed"] = "utterance.transcribed"
    source: str = "stt"
    text: str
    language: str = ""
    engine: str
    duration_s: float
    elapsed_ms: float
    origin: str = "file"
    utterance_id: str = ""
    conversation_id: str = ""

    def sentence(self) -> str:
        return f"“{self.text}” ({self.engine}, {self.elapsed_ms:.0f} ms)"


class UtteranceDropped(Event):
    """A stretch of speech led to no message, and why."""

    type: Literal["utterance.dropped"] = "utterance.dropped"
    source: str = "listening"
    severity: Severity = "DEBUG"
    utterance_id: str
    reason: DropReason
    text: str = ""
    """What was read, when something was."""
    detail: str = ""
    """In words, with the setting that decided."""
    duration_s: float = 0.0
    origin: str = "microphone"
    conversation_id: str

    def sentence(self) -> str:
        what = f"“{self.text}”" if self.text else f"{self.duration_s:.1f} s of sound"
        return f"{what} not taken: {self.detail or self.reason}"


# --- voice --------------------------------------------------------------------------------------------------------


class SpeechReady(Event):
    """One sentence of a reply has become sound."""

    type: Literal["speech.ready"] = "speech.ready"
    source: str = "tts"
    n: int
    text: str
    url: str
    duration_s: float
    engine: str
    voice: str
    elapsed_ms: float
    cached: bool = False
    mouth: tuple[MouthTime, ...] = ()
    """Shapes of the mouth in the time of its sound; empty when nobody knows them."""
    conversation_id: str

    def sentence(self) -> str:
        how = "cache" if self.cached else f"{self.elapsed_ms:.0f} ms"
        return f"sentence {self.n}: {self.duration_s:.1f} s by {self.engine}/{self.voice} ({how})"


class PlaybackStarted(Event):
    """A sentence began to leave the sink, or is about to."""

    type: Literal["playback.started"] = "playback.started"
    source: str = "playback"
    n: int
    text: str
    url: str
    duration_s: float
    sink: str
    mouth: tuple[MouthTime, ...] = ()
    """Shapes of the mouth in the time of its sound: an overlay knows no other event that has them."""
    words: tuple[WordTime, ...] = ()
    """Its words in the time of its sound, for captions."""
    starts_in_s: float = 0.0
    """Seconds from `at` until the first sample sounds; negative when it has begun already."""
    volume: float = Field(1.0, ge=0, le=1)
    """How loud it is to be played by a page that plays it; 0 = muted."""
    conversation_id: str

    def sentence(self) -> str:
        if self.sink == "none":
            return f"sentence {self.n} is shown, not heard: AUDIO_SINK is none"
        return f"speaking sentence {self.n} on {self.sink}"


class PlaybackPosition(LiveEvent):
    """How far the sentence being spoken has come, and how loud it is right now."""

    type: Literal["playback.position"] = "playback.position"
    source: str = "playback"
    severity: Severity = "DEBUG"
    n: int
    position_s: float
    duration_s: float
    level_dbfs: float
    conversation_id: str

    def sentence(self) -> str:
        return f"sentence {self.n} at {self.position_s:.1f} s"


class PlaybackFinished(Event):
    """The sink has fallen silent."""

    type: Literal["playback.finished"] = "playback.finished"
    source: str = "playback"
    heard: str
    """The text whose sound left the sink."""
    interrupted: bool = False
    conversation_id: str

    def sentence(self) -> str:
        return "interrupted" if self.interrupted else "finished speaking"


class PlaybackNext(LiveEvent):
    """The sentence that follows the one that sounds is ready: whoever plays it can fetch it now."""

    type: Literal["playback.next"] = "playback.next"
    source: str = "playback"
    severity: Severity = "DEBUG"
    n: int
    url: str
    duration_s: float
    conversation_id: str

    def sentence(self) -> str:
        return f"sentence {self.n} is next"


class PlaybackDucked(LiveEvent):
    """The sound went down because somebody speaks, or came up again because it was nothing."""

    type: Literal["playback.ducked"] = "playback.ducked"
    source: str = "playback"
    is_ducked: bool
    conversation_id: str

    def sentence(self) -> str:
        return "quieter: somebody speaks" if self.is_ducked else "loud again"


class PlaybackVolume(LiveEvent):
    """The stage is louder or quieter from now on: the volume as set, muting, ducking and panic together."""

    type: Literal["playback.volume"] = "playback.volume"
    source: str = "playback"
    severity: Severity = "DEBUG"
    volume: float = Field(ge=0, le=1)

    def sentence(self) -> str:
        return f"volume {self.volume:.0%}"


class AudioProcessed(Event):
    """A file was decoded and measured."""

    type: Literal["audio.processed"] = "audio.processed"
    source: str = "audio"
    filename: str
    duration_s: float
    rate_hz: int

    def sentence(self) -> str:
        return f"{self.filename}: {self.duration_s:.1f} s at {self.rate_hz} Hz"


# --- avatar -------------------------------------------------------------------------------------------------------


class AvatarChanged(Event):
    """What the avatar shows now."""

    type: Literal["avatar.changed"] = "avatar.changed"
    source: str = "avatar"
    expression: str
    motion: str = ""
    owner: str = ""
    character_id: str
    shown: AvatarShown | None = None
    """All of it, for whoever draws it."""

    def sentence(self) -> str:
        return f"expression {self.expression}" + (f", motion {self.motion}" if self.motion else "")


class AvatarStaged(Event):
    """Somebody else is on stage, or who is there was edited: overlays load the avatar again."""

    type: Literal["avatar.staged"] = "avatar.staged"
    source: str = "avatar"
    character_id: str
    name: str

    def sentence(self) -> str:
        return f"{self.name} is on stage"


class AvatarCue(LiveEvent):
    """Something became of a request for an expression or motion: a line of the conflict timeline."""

    type: Literal["avatar.cue"] = "avatar.cue"
    source: str = "avatar"
    severity: Severity = "DEBUG"
    entry: CueEntry

    def sentence(self) -> str:
        entry = self.entry
        by = f" by {entry.by}" if entry.by else ""
        return f"{entry.kind} {entry.name} of {entry.owner}: {entry.outcome}{by}"


class ModeChanged(Event):
    """Somebody else answers from now on, by choice or because the one before failed."""

    type: Literal["mode.changed"] = "mode.changed"
    source: str = "modes"
    change: ModeChange
    state: ModeState

    def sentence(self) -> str:
        change = self.change
        return f"mode {change.before} → {change.after}: {change.reason}"


class PanicChanged(Event):
    """Everything stops at once, or goes on; whoever plays sounds himself falls silent."""

    type: Literal["panic.changed"] = "panic.changed"
    source: str = "panic"
    panic: PanicState

    def sentence(self) -> str:
        now = self.panic
        if not now.is_on:
            return f"{now.by} says to go on"
        turns = f", {now.stopped} turn{'s'[: now.stopped != 1]} stopped" if now.stopped else ""
        return f"panic by {now.by}{turns}"


# --- voice training -----------------------------------------------------------------------------------------------


class ClipsChanged(Event):
    """Clips were made, changed or removed; who shows them asks again."""

    type: Literal["clips.changed"] = "clips.changed"
    source: str = "training"
    speaker: str
    ids: tuple[int, ...] = ()
    what: str

    def sentence(self) -> str:
        return self.what


class SpeakerChanged(Event):
    """A speaker was added, changed or removed."""

    type: Literal["speaker.changed"] = "speaker.changed"
    source: str = "training"
    speaker: str
    what: str = "changed"

    def sentence(self) -> str:
        return f"speaker {self.speaker} {self.what}"


class DoctorReported(Event):
    """The doctor has examined a dataset."""

    type: Literal["doctor.reported"] = "doctor.reported"
    source: str = "training"
    speaker: str
    problems: int
    warnings: int
    verdict: str

    def sentence(self) -> str:
        return self.verdict


class RecordingChanged(LiveEvent):
    """The guided recording began, ended or cannot go on; the details are at /api/voice/record."""

    type: Literal["recording.changed"] = "recording.changed"
    source: str = "training"
    state: str
    problem: str = ""

    def sentence(self) -> str:
        return self.problem or f"recording: {self.state}"


class RecordingLevel(LiveEvent):
    """How loud the microphone is while the guided recording listens."""

    type: Literal["recording.level"] = "recording.level"
    source: str = "training"
    level_dbfs: float
    peak_dbfs: float
    elapsed_s: float
    clipped: bool = False

    def sentence(self) -> str:
        return f"{self.level_dbfs:.0f} dB"


class TrainingStarted(Event):
    """A job of voice training began: processing, examining or training."""

    type: Literal["training.started"] = "training.started"
    source: str = "training"
    kind: str
    name: str = ""
    speaker: str = ""

    def sentence(self) -> str:
        return f"{self.kind} {self.name or self.speaker} started"


class TrainingState(Event):
    """A job reached another state."""

    type: Literal["training.state"] = "training.state"
    source: str = "training"
    kind: str
    state: str
    reason: str = ""

    def sentence(self) -> str:
        return self.reason or f"{self.kind}: {self.state}"


class TrainingProgress(LiveEvent):
    """How far a job is; at most four a second."""

    type: Literal["training.progress"] = "training.progress"
    source: str = "training"
    kind: str
    state: str
    progress: float | None = None
    step: int = 0
    steps: int | None = None
    loss: float | None = None
    losses: dict[str, float] = Field(default_factory=dict)
    steps_per_s: float | None = None
    eta_s: float | None = None
    memory_mb: float | None = None
    verdict: str = ""
    note: str = ""

    def sentence(self) -> str:
        share = "" if self.progress is None else f" {self.progress:.0%}"
        return f"{self.state}{share}" + (f", step {self.step}" if self.step else "")


class TrainingCheckpoint(Event):
    """A checkpoint was saved, or its scores are known."""

    type: Literal["training.checkpoint"] = "training.checkpoint"
    source: str = "training"
    checkpoint_id: str
    step: int
    is_best: bool = False
    what: str = "saved"

    def sentence(self) -> str:
        return f"checkpoint at step {self.step} {self.what}" + (
            ", the best so far" if self.is_best else ""
        )


class TrainingSample(Event):
    """The test sentence was spoken by the current weights."""

    type: Literal["training.sample"] = "training.sample"
    source: str = "training"
    checkpoint_id: str = ""
    step: int
    url: str
    text: str

    def sentence(self) -> str:
        return f"step {self.step} says: {self.text}"


class TrainingWarning(Event):
    """A job goes on, but something should be known."""

    type: Literal["training.warning"] = "training.warning"
    source: str = "training"
    severity: Severity = "WARNING"
    reason: str

    def sentence(self) -> str:
        return self.reason


class TrainingCompleted(Event):
    """A job has succeeded; a training's voice has been verified."""

    type: Literal["training.completed"] = "training.completed"
    source: str = "training"
    kind: str
    name: str = ""
    speaker: str = ""
    summary: str

    def sentence(self) -> str:
        return self.summary


class TrainingFailed(Event):
    """A job has failed; the reason says what to do."""

    type: Literal["training.failed"] = "training.failed"
    source: str = "training"
    severity: Severity = "ERROR"
    kind: str
    code: str
    reason: str

    def sentence(self) -> str:
        return self.reason


# --- models -------------------------------------------------------------------------------------------------------


class ModelSaved(Event):
    """A verified voice or model lies on disk."""

    type: Literal["model.saved"] = "model.saved"
    source: str = "library"
    model_id: str
    name: str
    path: str

    def sentence(self) -> str:
        return f"{self.name} is ready to use"


class ModelLoaded(Event):
    """An engine has its model in memory."""

    type: Literal["model.loaded"] = "model.loaded"
    source: str = "engine"
    engine: str
    name: str
    elapsed_ms: float

    def sentence(self) -> str:
        return f"{self.engine} loaded {self.name} in {self.elapsed_ms:.0f} ms"


class ModelFailed(Event):
    """A model could not be loaded or verified."""

    type: Literal["model.failed"] = "model.failed"
    source: str = "engine"
    severity: Severity = "WARNING"
    engine: str
    name: str
    reason: str

    def sentence(self) -> str:
        return self.reason


class ModelRemoved(Event):
    """A voice or model was deleted from disk."""

    type: Literal["model.removed"] = "model.removed"
    source: str = "library"
    model_id: str
    name: str

    def sentence(self) -> str:
        return f"{self.name} was deleted"


class DownloadProgress(LiveEvent):
    """A download went on."""

    type: Literal["download.progress"] = "download.progress"
    source: str = "library"
    severity: Severity = "DEBUG"
    model_id: str
    received_bytes: int
    total_bytes: int | None
    rate_bytes_s: float = 0.0
    eta_s: float | None = None

    def sentence(self) -> str:
        return f"{self.model_id}: {self.received_bytes:,} of {self.total_bytes or 0:,} bytes"


class DownloadFinished(Event):
    """A download ended; ``reason`` says why it did not succeed."""

    type: Literal["download.finished"] = "download.finished"
    source: str = "library"
    model_id: str
    outcome: Literal["done", "cancelled", "failed"]
    reason: str = ""

    def sentence(self) -> str:
        return f"download of {self.model_id} {self.outcome}" + (
            f": {self.reason}" if self.reason else ""
        )


# --- system -------------------------------------------------------------------------------------------------------


class SystemStatus(LiveEvent):
    """The machine's load, about once a second."""

    type: Literal["system.status"] = "system.status"
    source: str = "system"
    severity: Severity = "DEBUG"
    cpu: float
    """0-1 over all cores."""
    memory_bytes: int
    """This program with its children."""
    memory_total_bytes: int
    disk_free_bytes: int
    disk_write_bytes_s: float = 0.0
    gpu: float | None = None
    gpu_memory_bytes: int | None = None
    gpu_memory_total_bytes: int | None = None
    gpu_name: str = ""
    events_per_s: float = 0.0

    def sentence(self) -> str:
        return f"CPU {self.cpu:.0%}, memory {self.memory_bytes / 1e6:.0f} MB"


class ServiceChanged(Event):
    """A module or engine changed its state."""

    type: Literal["service.changed"] = "service.changed"
    source: str = "system"
    service: ServiceInfo

    def sentence(self) -> str:
        text = f"{self.service.title}: {self.service.state}"
        return f"{text}, {self.service.error}" if self.service.error else text


class ConfigChanged(Event):
    """Settings were changed; the values are at /api/config."""

    type: Literal["config.changed"] = "config.changed"
    source: str = "config"
    names: tuple[str, ...]
    restart_needed: bool = False

    def sentence(self) -> str:
        return f"changed {', '.join(self.names)}" + (
            ", takes effect after a restart" if self.restart_needed else ""
        )


class CheckupStarted(LiveEvent):
    """The live path is being checked; the lines are still waiting."""

    type: Literal["checkup.started"] = "checkup.started"
    source: str = "doctor"
    report: CheckupReport

    def sentence(self) -> str:
        return f"checking {len(self.report.lines)} parts"


class CheckupLine(LiveEvent):
    """One line of the check-up began or ended."""

    type: Literal["checkup.line"] = "checkup.line"
    source: str = "doctor"
    checkup_id: str
    line: CheckLine

    def sentence(self) -> str:
        return f"{self.line.title}: {self.line.detail or self.line.state}"


class CheckupFinished(Event):
    """A check-up has ended; the lines are at /api/doctor."""

    type: Literal["checkup.finished"] = "checkup.finished"
    source: str = "doctor"
    checkup_id: str
    outcome: Literal["done", "cancelled"]
    green: int
    amber: int
    red: int
    verdict: str

    def sentence(self) -> str:
        return self.verdict


class LimitWarning(Event):
    """A limit is near."""

    type: Literal["limit.warning"] = "limit.warning"
    source: str = "limits"
    severity: Severity = "WARNING"
    limit: str
    used: float
    allowed: float

    def sentence(self) -> str:
        return f"{self.limit}: {self.used:g} of {self.allowed:g} used"


class LimitReached(Event):
    """A limit is used up."""

    type: Literal["limit.reached"] = "limit.reached"
    source: str = "limits"
    severity: Severity = "WARNING"
    limit: str
    reset_at: datetime | None = None

    def sentence(self) -> str:
        return f"{self.limit} is used up"


class LimitReset(Event):
    """A limit is open again."""

    type: Literal["limit.reset"] = "limit.reset"
    source: str = "limits"
    limit: str

    def sentence(self) -> str:
        return f"{self.limit} is open again"


class ErrorOccurred(Event):
    """Something failed that the operator should know about; never spoken, never shown on stream."""

    type: Literal["error.occurred"] = "error.occurred"
    severity: Severity = "ERROR"
    code: str
    reason: str
    """What happened, with which value, and what to do."""
    kind: str = ""
    """For providers: key, quota, rate, request, unreachable, server, malformed, stalled."""
    engine: str = ""
    conversation_id: str = ""

    def sentence(self) -> str:
        return self.reason


class LogLine(LiveEvent):
    """A line of the log, secrets removed."""

    type: Literal["log.line"] = "log.line"
    logger: str
    text: str
    traceback: str = ""

    def sentence(self) -> str:
        return self.text


AnyEvent = Annotated[
    ChatMessage
    | ChatDelta
    | ChatSentence
    | ChatResponse
    | ChatDisposition
    | AudienceWrote
    | AudienceDid
    | QueueChanged
    | QueueRulesChanged
    | CommandUsed
    | CommandsChanged
    | ChannelChanged
    | StreamChanged
    | ChannelWrote
    | TwitchLoginChanged
    | ModerationActed
    | AutonomyActed
    | AutonomyChanged
    | SceneCalled
    | ChatNotice
    | CharacterSwitched
    | CharacterChanged
    | ConversationChanged
    | TurnStarted
    | TurnStage
    | TurnRetried
    | TurnFinished
    | ListeningChanged
    | ListeningLevel
    | UtteranceStarted
    | UtteranceEnded
    | UtterancePartial
    | UtteranceTranscribed
    | UtteranceDropped
    | SpeechReady
    | PlaybackStarted
    | PlaybackPosition
    | PlaybackFinished
    | PlaybackNext
    | PlaybackDucked
    | PlaybackVolume
    | AudioProcessed
    | AvatarStaged
    | AvatarChanged
    | AvatarCue
    | ClipsChanged
    | SpeakerChanged
    | DoctorReported
    | RecordingChanged
    | RecordingLevel
    | TrainingStarted
    | TrainingState
    | TrainingProgress
    | TrainingCheckpoint
    | TrainingSample
    | TrainingWarning
    | TrainingCompleted
    | TrainingFailed
    | ModelSaved
    | ModelLoaded
    | ModelFailed
    | ModelRemoved
    | DownloadProgress
    | DownloadFinished
    | SystemStatus
    | ServiceChanged
    | ConfigChanged
    | ModeChanged
    | PanicChanged
    | CheckupStarted
    | CheckupLine
    | CheckupFinished
    | LimitWarning
    | LimitReached
    | LimitReset
    | ErrorOccurred
    | LogLine,
    Field(discriminator="type"),
]

EVENT_TYPES: tuple[type[Event], ...] = get_args(get_args(AnyEvent)[0])
"""Every event class, in the order of this file."""

_ADAPTER: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)


def parse_event(envelope: dict[str, Any]) -> AnyEvent:
    """Read one event from its wire envelope (already decoded from JSON).

    Raises:
        pydantic.ValidationError: If the type is unknown or a field is wrong.
        KeyError: If it is no envelope at all.
    """
    fields = {name: envelope.get(name) for name in ENVELOPE - {"message"}}
    return _ADAPTER.validate_python({**envelope["data"], **fields})
