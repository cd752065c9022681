"""Wire values of a live audience: who writes, what they write, what becomes of it, and what else viewers do."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, get_args

from pydantic import Field

from backend.contracts.entities import Wire

Role = Literal["broadcaster", "moderator", "vip", "subscriber", "viewer"]
"""What somebody may, most first; moderators may what subscribers may, and so on."""

ROLES: tuple[Role, ...] = ("broadcaster", "moderator", "vip", "subscriber", "viewer")

DispositionName = Literal[
    "queued",
    "held",
    "answering",
    "answered",
    "merged",
    "command",
    "filtered",
    "rate-limited",
    "too-old",
    "deleted",
    "queue-full",
    "skipped",
    "failed",
    "not-addressed",
]
"""What became of a message: waits; waits for the streamer's approval; is being answered now; was answered in a turn; was joined with
another; was a command; a rule stopped it; its author writes too much; waited too long; a moderator deleted it; too many wait; the streamer
skipped it; its turn failed; it was read, and the rules say that nothing need be answered."""

FINAL: frozenset[DispositionName] = frozenset(get_args(DispositionName)) - {
    "queued",
    "held",
    "answering",
}
"""Dispositions after which nothing more becomes of a message (one that was merged is deleted with the one it was joined with)."""

ViewerEventKind = Literal["follow", "subscribe", "gift", "raid", "cheer", "redeem"]

ModerationAction = Literal["allow", "mask", "replace", "hold", "ignore"]
"""Let through; with the words covered; a safe line instead; wait for approval; not at all."""


class Emote(Wire):
    """A picture in a message: characters ``start`` to ``end`` (exclusive) of its text."""

    id: str
    start: int = Field(ge=0)
    end: int = Field(ge=0)


class Viewer(Wire):
    """Who writes.

    Attributes:
        id: The platform's id, unique together with the platform.
        name: As shown; never trusted with layout or markup.
        login: The platform's login name, lower case; empty = not known.
        badges: The platform's badge names with their version ("subscriber/12").
        is_first: Their first message ever in this channel.
    """

    platform: str
    id: str
    name: str
    login: str = ""
    role: Role = "viewer"
    badges: tuple[str, ...] = ()
    is_first: bool = False


class AudienceMessage(Wire):
    """One message of a viewer, as it came.

    Attributes:
        id: The platform's message id; one id is one message, however often it arrives.
        at: When it was written, UTC.
        bits: Cheered with it.
        reply_to: Id of the message it replies to; empty = none.
        replies_to_us: It replies to something the character wrote.
        mentions_us: It names the character or the channel's bot.
        reward: Title of the channel points reward it came with; empty = none.
    """

    id: str
    platform: str
    channel: str = ""
    viewer: Viewer
    text: str
    at: datetime
    bits: int = Field(0, ge=0)
    emotes: tuple[Emote, ...] = ()
    reply_to: str = ""
    replies_to_us: bool = False
    mentions_us: bool = False
    reward: str = ""


class ViewerEvent(Wire):
    """Something a viewer did that is no message.

    Attributes:
        id: The platform's id of the event; one id is one event.
        amount: Bits, months, viewers of a raid, gifts; 0 = none.
        text: What they wrote with it.
        reward: Title of the channel points reward; empty = none.
    """

    id: str
    platform: str
    channel: str = ""
    kind: ViewerEventKind
    viewer: Viewer
    amount: int = Field(0, ge=0)
    text: str = ""
    reward: str = ""
    at: datetime


class Verdict(Wire):
    """What moderation says of a text.

    Attributes:
        rule: Name of the rule that decided; empty = none matched.
        text: What may go on: the text itself, masked, or the safe line; empty when nothing may.
        reason: In words, for the streamer.
    """

    action: ModerationAction = "allow"
    rule: str = ""
    text: str = ""
    reason: str = ""


class Disposition(Wire):
    """What became of a message, at a moment.

    Attributes:
        into: Id of the message it was merged into.
        turn_id: The turn that answers it.
    """

    message_id: str
    disposition: DispositionName
    reason: str = ""
    rule: str = ""
    into: str = ""
    turn_id: str | None = None
    at: datetime


class QueuedMessage(Wire):
    """A message that waits, and why it stands where it does.

    Attributes:
        score: What orders the queue, higher first.
        reasons: What made the score, in words ("cheer of 500 bits +40").
        merged: Ids of messages that were joined with it.
    """

    message: AudienceMessage
    score: float
    reasons: tuple[str, ...] = ()
    waited_s: float = Field(0, ge=0)
    merged: tuple[str, ...] = ()
    is_held: bool = False
    verdict: Verdict = Verdict()


class ChannelState(Wire):
    """How the connection to a chat platform is; true within 2 s.

    Attributes:
        mode: "login" = reads and writes as the user who logged in; "anonymous" = reads only.
        detail: In words: what it does, or what is wrong and what to do.
        expires_at: When the login ends without being renewed.
        can_write: Whether replies can be written.
    """

    platform: str
    state: Literal["off", "connecting", "joined", "reconnecting", "failed"]
    mode: Literal["login", "anonymous", "none"] = "none"
    channel: str = ""
    user: str = ""
    detail: str = ""
    since: datetime | None = None
    expires_at: datetime | None = None
    can_write: bool = False


class StreamState(Wire):
    """What a platform says of the stream itself.

    Attributes:
        channel: Whose; empty = nothing is known.
        title, game: In the streamer's words, and the platform's.
        started_at: Since when it is live.
        viewers: How many watch.
        followers: Of the channel in all; None = the platform does not say.
    """

    platform: str
    channel: str = ""
    is_live: bool = False
    title: str = ""
    game: str = ""
    started_at: datetime | None = None
    viewers: int = Field(0, ge=0)
    followers: int | None = Field(None, ge=0)


# --- the queue ---

Answered = Literal["all", "addressed"]


class QueuePoints(Wire):
    """How much each thing about a message lifts it; more goes first.

    Attributes:
        cheer: For a cheer of any size; `per_100_bits` comes on top, up to `most_bits`.
        asked_again: For each other viewer who wrote the same, up to `most_asked_again`.
        per_second: For each second it waits.
        just_answered: Taken off for each recent answer to the same viewer; half of an answer is forgotten after `forget_s` of the rules.
    """

    mention: float = Field(30, ge=-1000, le=1000)
    reply: float = Field(25, ge=-1000, le=1000)
    question: float = Field(20, ge=-1000, le=1000)
    cheer: float = Field(25, ge=-1000, le=1000)
    per_100_bits: float = Field(10, ge=0, le=1000)
    most_bits: float = Field(100, ge=0, le=10_000)
    reward: float = Field(30, ge=-1000, le=1000)
    broadcaster: float = Field(40, ge=-1000, le=1000)
    moderator: float = Field(15, ge=-1000, le=1000)
    vip: float = Field(12, ge=-1000, le=1000)
    subscriber: float = Field(10, ge=-1000, le=1000)
    first_time: float = Field(15, ge=-1000, le=1000)
    asked_again: float = Field(5, ge=0, le=1000)
    most_asked_again: float = Field(25, ge=0, le=10_000)
    per_second: float = Field(0.5, ge=0, le=100)
    just_answered: float = Field(25, ge=0, le=1000)


class QueueRules(Wire):
    """Who is answered, and in which order; the streamer sees and sets them.

    Attributes:
        is_on: Whether viewers are answered at all; off, messages are read and shown, no more.
        answers: "all", or only "addressed" messages: those with one of the marks that follow.
        mentions, replies, questions, cheers, rewards: Which marks count as addressing her, where only addressed ones are answered.
        skip_wordless: Messages of emotes and signs alone need no answer.
        most_waiting: Messages that wait at once; then the worst one goes.
        most_held: Messages that wait for approval at once.
        most_per_viewer: Messages of one viewer that wait at once; then their worst one goes.
        per_viewer, per_viewer_s: How many messages of one viewer are taken in how many seconds.
        max_wait_s: After this a message is too old; what waits alone may wait three times as long.
        max_wait_paid_answers: Cheers and rewards may wait longer than that, for as many answers, however long those take.
        max_held_s: The same for what waits for approval.
        merges: Whether the same from several viewers is answered once.
        merge_likeness: Share of their words that two messages must have in common to count as the same.
        forget_s: After this, half of an answer to a viewer is forgotten.
        writes_replies: Her reply is also written into the chat it came from.
        say_word_for_word: Moderators' "!say" is spoken as it stands; off, it is a prompt to her as from anybody.
        retries: A message whose turn failed gets back into the queue this many times.
    """

    is_on: bool = True
    answers: Answered = "all"
    mentions: bool = True
    replies: bool = True
    questions: bool = True
    cheers: bool = True
    rewards: bool = True
    skip_wordless: bool = True
    most_waiting: int = Field(50, ge=1, le=1000)
    most_held: int = Field(50, ge=1, le=500)
    most_per_viewer: int = Field(2, ge=1, le=100)
    per_viewer: int = Field(6, ge=1, le=1000)
    per_viewer_s: float = Field(30, ge=1, le=3600)
    max_wait_s: float = Field(18, ge=2, le=3600)
    max_wait_paid_answers: int = Field(9, ge=0, le=100)
    max_held_s: float = Field(300, ge=2, le=86_400)
    merges: bool = True
    merge_likeness: float = Field(0.8, ge=0.5, le=1)
    forget_s: float = Field(300, ge=1, le=86_400)
    writes_replies: bool = False
    say_word_for_word: bool = False
    retries: int = Field(1, ge=0, le=1)
    points: QueuePoints = QueuePoints()


class QueueState(Wire):
    """The whole queue, best first.

    Attributes:
        answering: What is being answered now.
        is_held: Nothing is answered until it is released (panic).
    """

    waiting: tuple[QueuedMessage, ...] = ()
    held: tuple[QueuedMessage, ...] = ()
    answering: QueuedMessage | None = None
    is_held: bool = False
    is_on: bool = True


class MessageRecord(Wire):
    """A message as it is kept, and what became of it last.

    Attributes:
        seq: Its place in time; pages go on from it.
        decided_at: When that became of it.
    """

    seq: int
    message_id: str
    platform: str
    channel: str
    viewer_id: str
    author: str
    role: Role
    text: str
    bits: int
    at: datetime
    disposition: DispositionName
    reason: str
    rule: str
    into: str
    turn_id: str | None
    decided_at: datetime


# --- commands ---

CommandAction = Literal["say", "prompt", "text", "expression", "motion", "sound", "scene"]
"""She says given words; she is asked something; words are written into the chat; a face; a motion; a sound file; a scene."""


class CustomCommand(Wire):
    """A command of the streamer's own.

    Attributes:
        name: The word behind the exclamation mark.
        aliases: Other words for it.
        role: Who may use it: this role and those above it.
        cooldown_s, user_cooldown_s: Seconds until anybody, until the same viewer, may use it again.
        value: What the action is about: words with {user} {args} {channel} {count} in them, the name of an expression,
            "group index" or the name of a motion, a file of the sounds folder, a scene.
        about: One line for !help.
    """

    name: str = Field(pattern=r"^[a-z0-9_]{1,32}$")
    aliases: tuple[Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}$")], ...] = Field(
        (), max_length=20
    )
    role: Role = "viewer"
    action: CommandAction
    value: str = Field(min_length=1, max_length=500)
    cooldown_s: float = Field(5, ge=0, le=86_400)
    user_cooldown_s: float = Field(15, ge=0, le=86_400)
    is_on: bool = True
    about: str = Field("", max_length=200)


class KnownCommand(Wire):
    """A command, and how it was used.

    Attributes:
        is_builtin: It comes with Luma and cannot be changed or deleted.
        usage: How it is written.
        uses: How often it was used.
    """

    command: CustomCommand
    is_builtin: bool = False
    usage: str = ""
    uses: int = 0


class StageSound(Wire):
    """A sound file that commands may play.

    Attributes:
        problem: Why it cannot be played; empty = nothing is known against it.
    """

    name: str
    bytes: int = Field(ge=0)
    problem: str = ""
