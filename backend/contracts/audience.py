"""Wire values of a live audience: who writes, what they write, what becomes of it, and what else viewers do."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

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

FINAL: frozenset[DispositionName] = frozenset(
    {
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
    }
)
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
    """

    id: str
    platform: str
    channel: str = ""
    kind: ViewerEventKind
    viewer: Viewer
    amount: int = Field(0, ge=0)
    text: str = ""
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
