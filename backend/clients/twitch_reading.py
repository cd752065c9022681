"""What Twitch tells of its viewers, as values of `backend.contracts.audience`. Pure, and nothing of Twitch's is believed.

A field that is missing costs that field and not the event; every length is bounded; every pass over a text is linear.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from backend.contracts.audience import (
    AudienceMessage,
    Emote,
    Role,
    Viewer,
    ViewerEvent,
    ViewerEventKind,
)

PLATFORM = "twitch"
MOST_TEXT = 2_000
"""Letters of a message; Twitch allows 500."""
MOST_NAME = 100
MOST_ID = 128
"""Letters of an id, as many as are kept; Twitch's have 36."""
MOST_BADGES = 20
MOST_EMOTES = 100
MOST_AMOUNT = 1_000_000_000

_ROLES: Mapping[str, Role] = {
    "broadcaster": "broadcaster",
    "moderator": "moderator",
    "lead_moderator": "moderator",
    "vip": "vip",
    "subscriber": "subscriber",
    "founder": "subscriber",
}
_ORDER: tuple[Role, ...] = ("broadcaster", "moderator", "vip", "subscriber")


@dataclass(frozen=True, slots=True)
class Us:
    """Who we are in that chat.

    Attributes:
        user_id: Whom we write as; empty = nobody.
        login: Their login name.
        names: What else the character is called, in lower case.
        is_owner: The channel is theirs, so that what is said to them is not always said to the character.
    """

    user_id: str = ""
    login: str = ""
    names: tuple[str, ...] = ()
    is_owner: bool = False


@dataclass(frozen=True, slots=True)
class Deleted:
    """A moderator took it away: one message, all of a viewer, or (both empty) everything."""

    message_id: str = ""
    user_id: str = ""


Told = AudienceMessage | ViewerEvent | Deleted


def read_event(
    kind: str, event: Mapping[str, Any], *, told_id: str, at: datetime, channel: str, us: Us
) -> Iterator[Told]:
    """What an EventSub notification says; nothing when it is of no interest or cannot be read.

    Args:
        kind: Of the subscription.
        event: What it carries.
        told_id: Id of the notification, for events that have none of their own.
        at: When.
        channel: Login name of whose chat it is.
        us: Who we are there.
    """
    told_id = told_id[:MOST_ID]
    match kind:
        case "channel.chat.message":
            message = _message(event, told_id, at, channel, us)
            if message is not None:
                yield message
                if message.bits:
                    yield cheer_of(message)
        case "channel.chat.notification":
            yield from _notice(event, told_id, at, channel, us)
        case "channel.chat.message_delete":
            if message_id := text_of(event.get("message_id"), MOST_ID):
                yield Deleted(message_id=message_id)
        case "channel.chat.clear_user_messages":
            if user_id := text_of(event.get("target_user_id"), MOST_ID):
                yield Deleted(user_id=user_id)
        case "channel.chat.clear":
            yield Deleted()
        case "channel.follow":
            viewer = _viewer(event, "user")
            # Who leaves and comes back has followed once.
            yield _did("follow", f"follow:{viewer.id}", viewer, at, channel)
        case "channel.channel_points_custom_reward_redemption.add":
            reward = mapping_of(event.get("reward"))
            yield _did(
                "redeem",
                text_of(event.get("id"), MOST_ID) or told_id,
                _viewer(event, "user"),
                at,
                channel,
                text=text_of(event.get("user_input")),
                reward=text_of(reward.get("title"), MOST_NAME),
            )


def cheer_of(message: AudienceMessage) -> ViewerEvent:
    """The cheer that a message is."""
    return ViewerEvent(
        id=f"cheer:{message.id}",
        platform=PLATFORM,
        channel=message.channel,
        kind="cheer",
        viewer=message.viewer,
        amount=message.bits,
        text=message.text,
        at=message.at,
    )


def _message(
    event: Mapping[str, Any], told_id: str, at: datetime, channel: str, us: Us
) -> AudienceMessage | None:
    said = mapping_of(event.get("message"))
    parts = [mapping_of(part) for part in list_of(said.get("fragments"), 1000)]
    text = text_of(said.get("text")) or text_of("".join(text_of(p.get("text")) for p in parts))
    if not text:
        return None
    emotes: list[Emote] = []
    mentioned = False
    at_letter = 0
    for part in parts:
        length = len(text_of(part.get("text")))
        emote = text_of(mapping_of(part.get("emote")).get("id"), MOST_ID)
        if emote and length and at_letter + length <= len(text) and len(emotes) < MOST_EMOTES:
            emotes.append(Emote(id=emote, start=at_letter, end=at_letter + length))
        named = text_of(mapping_of(part.get("mention")).get("user_id"), MOST_ID)
        mentioned = mentioned or bool(us.user_id and named == us.user_id)
        at_letter += length
    reply = mapping_of(event.get("reply"))
    return AudienceMessage(
        id=text_of(event.get("message_id"), MOST_ID) or told_id,
        platform=PLATFORM,
        channel=channel,
        viewer=_viewer(
            event, "chatter_user", is_first=text_of(event.get("message_type")) == "user_intro"
        ),
        text=text,
        at=at,
        bits=amount_of(mapping_of(event.get("cheer")).get("bits")),
        emotes=tuple(emotes),
        reply_to=text_of(reply.get("parent_message_id"), MOST_ID),
        replies_to_us=bool(us.user_id and not us.is_owner)
        and text_of(reply.get("parent_user_id"), MOST_ID) == us.user_id,
        mentions_us=mentioned or is_named(text, us),
        reward=text_of(event.get("channel_points_custom_reward_id"), MOST_ID),
    )


def _notice(
    event: Mapping[str, Any], told_id: str, at: datetime, channel: str, us: Us
) -> Iterator[Told]:
    notice = text_of(event.get("notice_type"), 100)
    detail = mapping_of(event.get(notice))
    own_id = text_of(event.get("message_id"), MOST_ID) or told_id
    viewer = _viewer(event, "chatter_user")
    text = text_of(mapping_of(event.get("message")).get("text"))
    match notice:
        case "sub" | "prime_paid_upgrade" | "gift_paid_upgrade":
            yield _did("subscribe", own_id, viewer, at, channel, amount=1, text=text)
        case "resub":
            months = amount_of(detail.get("cumulative_months")) or 1
            yield _did("subscribe", own_id, viewer, at, channel, amount=months, text=text)
        case "community_sub_gift":
            count = amount_of(detail.get("total")) or 1
            yield _did("gift", own_id, viewer, at, channel, amount=count)
        case "sub_gift" if not detail.get("community_gift_id"):  # those were told together
            yield _did("gift", own_id, viewer, at, channel, amount=1)
        case "raid":
            viewers = amount_of(detail.get("viewer_count"))
            yield _did("raid", own_id, viewer, at, channel, amount=viewers)
        case "announcement":
            message = _message(event, told_id, at, channel, us)
            if message is not None:
                yield message


def _did(
    kind: ViewerEventKind,
    own_id: str,
    viewer: Viewer,
    at: datetime,
    channel: str,
    *,
    amount: int = 0,
    text: str = "",
    reward: str = "",
) -> ViewerEvent:
    return ViewerEvent(
        id=own_id,
        platform=PLATFORM,
        channel=channel,
        kind=kind,
        viewer=viewer,
        amount=amount,
        text=text,
        reward=reward,
        at=at,
    )


def _viewer(event: Mapping[str, Any], prefix: str, *, is_first: bool = False) -> Viewer:
    badges: list[str] = []
    for found in list_of(event.get("badges"), MOST_BADGES):
        badge = mapping_of(found)
        if name := text_of(badge.get("set_id"), 100):
            badges.append(f"{name}/{text_of(badge.get('id'), 100)}")
    return viewer_of(
        text_of(event.get(f"{prefix}_id"), MOST_ID),
        text_of(event.get(f"{prefix}_login"), MOST_NAME),
        text_of(event.get(f"{prefix}_name"), MOST_NAME),
        badges,
        is_first=is_first,
    )


def viewer_of(
    user_id: str, login: str, name: str, badges: list[str], *, is_first: bool = False
) -> Viewer:
    """A viewer, whatever of them is known."""
    login = login.lower()
    held = {_ROLES.get(badge.partition("/")[0]) for badge in badges}
    role: Role = next((one for one in _ORDER if one in held), "viewer")
    return Viewer(
        platform=PLATFORM,
        id=user_id or login or "anonymous",
        name=name or login or "Anonymous",
        login=login,
        role=role,
        badges=tuple(badges[:MOST_BADGES]),
        is_first=is_first,
    )


def is_named(text: str, us: Us) -> bool:
    """Whether a text has one of our names as a word of its own."""
    folded = text.casefold()
    names = (*us.names, us.login) if us.login and not us.is_owner else us.names
    return any(_has_word(folded, name.casefold()) for name in names if name)


def _has_word(text: str, name: str) -> bool:
    at = text.find(name)
    while at >= 0:
        end = at + len(name)
        before = text[at - 1] if at else " "
        after = text[end] if end < len(text) else " "
        if not (before.isalnum() or before == "_" or after.isalnum() or after == "_"):
            return True
        at = text.find(name, end)
    return False


def time_of(written: str, otherwise: datetime) -> datetime:
    """A moment as Twitch writes it, in UTC; another one where it is none."""
    try:
        found = datetime.fromisoformat(written[:40])
        return found.astimezone(UTC) if found.tzinfo is not None else otherwise
    except (ValueError, OverflowError):
        return otherwise


def text_of(value: object, most: int = MOST_TEXT) -> str:
    """A text, cut; empty for what is none."""
    return value[:most] if isinstance(value, str) else ""


def mapping_of(value: object) -> Mapping[str, Any]:
    """An object; empty for what is none."""
    return value if isinstance(value, dict) else {}


def list_of(value: object, most: int) -> list[Any]:
    """A list, cut; empty for what is none."""
    return list(islice(value, most)) if isinstance(value, list) else []


def amount_of(value: object) -> int:
    """A count that is not negative; 0 for what is none."""
    if isinstance(value, str):
        value = int(value) if len(value) <= 12 and value.isascii() and value.isdigit() else 0
    if not isinstance(value, int) or isinstance(value, bool):
        return 0
    return max(0, min(value, MOST_AMOUNT))
