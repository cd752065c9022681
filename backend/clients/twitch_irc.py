"""A channel's chat without any login: Twitch's IRC over WebSocket, as one of the nameless readers it calls justinfan.

It reads and never writes. Lines are cut and read in one pass each, and nothing in them is believed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from random import SystemRandom

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from backend.clients.twitch import Waits, close_socket, open_socket, provider
from backend.clients.twitch_reading import (
    MOST_BADGES,
    MOST_EMOTES,
    MOST_ID,
    MOST_NAME,
    MOST_TEXT,
    PLATFORM,
    Deleted,
    Told,
    Us,
    amount_of,
    cheer_of,
    is_named,
    viewer_of,
)
from backend.contracts.audience import AudienceMessage, Emote, ViewerEvent, ViewerEventKind
from backend.contracts.errors import NotFoundError, ProviderError
from backend.core.clock import now
from backend.core.http import stalled

logger = logging.getLogger(__name__)

MOST_LINE = 16_384
"""Tags may have 8,191 bytes, the rest 512."""
MOST_LINES = 500
"""Lines read of one frame."""
MOST_TAGS = 100
SILENT_S = 10.0
"""Silence after which the server is asked whether it lives, and again until it counts as gone."""

_dice = SystemRandom()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of IRC.

    Attributes:
        tags: By name, unescaped.
        sender: Nick of who sent it.
        command: In upper case.
        params: The last one may hold spaces.
    """

    tags: Mapping[str, str]
    sender: str
    command: str
    params: tuple[str, ...]

    @property
    def last(self) -> str:
        """What was said."""
        return self.params[-1] if self.params else ""


def parse(text: str) -> Line:
    """A line, whatever it is; one without a command has an empty one."""
    rest = text[:MOST_LINE]
    tags: dict[str, str] = {}
    if rest.startswith("@"):
        written, _, rest = rest[1:].partition(" ")
        for pair in written.split(";", MOST_TAGS)[:MOST_TAGS]:
            name, _, value = pair.partition("=")
            tags[name] = _unescaped(value)
    rest = rest.lstrip(" ")
    sender = ""
    if rest.startswith(":"):
        source, _, rest = rest[1:].partition(" ")
        sender = source.partition("!")[0]
    head, colon, said = rest.lstrip(" ").partition(" :")
    words = head.split(maxsplit=20)
    params = [*words[1:], said] if colon else words[1:]
    return Line(tags, sender, words[0].upper() if words else "", tuple(params))


def _unescaped(value: str) -> str:
    if "\\" not in value:
        return value
    letters: list[str] = []
    following = iter(value)
    for letter in following:
        if letter == "\\":
            letter = next(following, "")
            letter = {":": ";", "s": " ", "r": "\r", "n": "\n"}.get(letter, letter)
        letters.append(letter)
    return "".join(letters)


def read_line(line: Line, *, channel: str, us: Us) -> Iterator[Told]:
    """What a line says of the viewers; nothing when it is of no interest."""
    tags = line.tags
    match line.command:
        case "PRIVMSG":
            message = _message(line, channel, us)
            if message is not None:
                yield message
                if message.bits:
                    yield cheer_of(message)
        case "CLEARMSG":
            if message_id := tags.get("target-msg-id", "")[:MOST_ID]:
                yield Deleted(message_id=message_id)
        case "CLEARCHAT":
            # Without a viewer everything is gone.
            if len(line.params) < 2:
                yield Deleted()
            elif user_id := tags.get("target-user-id", "")[:MOST_ID]:
                yield Deleted(user_id=user_id)
        case "USERNOTICE":
            yield from _notice(line, channel, us)


def _message(line: Line, channel: str, us: Us) -> AudienceMessage | None:
    tags = line.tags
    text = line.last
    if text.startswith("\x01ACTION ") and text.endswith("\x01"):
        text = text[8:-1]  # places of emotes are counted without the frame
    text = text[:MOST_TEXT]
    if not text or not tags.get("id"):
        return None
    badges = tags.get("badges", "").split(",", MOST_BADGES)[:MOST_BADGES]
    return AudienceMessage(
        id=tags["id"][:MOST_ID],
        platform=PLATFORM,
        channel=channel,
        viewer=viewer_of(
            tags.get("user-id", "")[:MOST_ID],
            line.sender[:MOST_NAME],
            tags.get("display-name", "")[:MOST_NAME].strip(),
            [badge[:200] for badge in badges if badge],
            is_first=tags.get("first-msg") == "1",
        ),
        text=text,
        at=_time(tags.get("tmi-sent-ts", "")),
        bits=amount_of(tags.get("bits", "")),
        emotes=_emotes(tags.get("emotes", ""), len(text)),
        reply_to=tags.get("reply-parent-msg-id", "")[:MOST_ID],
        mentions_us=is_named(text, us),
        reward=tags.get("custom-reward-id", "")[:MOST_ID],
    )


def _notice(line: Line, channel: str, us: Us) -> Iterator[Told]:
    tags = line.tags
    kind: ViewerEventKind
    amount = 1
    match tags.get("msg-id"):
        case "sub" | "resub" | "primepaidupgrade" | "giftpaidupgrade" | "anongiftpaidupgrade":
            kind = "subscribe"
            amount = amount_of(tags.get("msg-param-cumulative-months", "")) or 1
        case "submysterygift":
            kind = "gift"
            amount = amount_of(tags.get("msg-param-mass-gift-count", "")) or 1
        case "subgift" if not tags.get("msg-param-community-gift-id"):  # those were told together
            kind = "gift"
        case "raid":
            kind = "raid"
            amount = amount_of(tags.get("msg-param-viewerCount", ""))
        case "announcement":
            sender = Line(tags, tags.get("login", ""), line.command, line.params)
            message = _message(sender, channel, us)
            if message is not None:
                yield message
            return
        case _:
            return
    if not tags.get("id"):
        return
    badges = tags.get("badges", "").split(",", MOST_BADGES)[:MOST_BADGES]
    yield ViewerEvent(
        id=tags["id"][:MOST_ID],
        platform=PLATFORM,
        channel=channel,
        kind=kind,
        viewer=viewer_of(
            tags.get("user-id", "")[:MOST_ID],
            tags.get("login", "")[:MOST_NAME],
            tags.get("display-name", "")[:MOST_NAME].strip(),
            [badge[:200] for badge in badges if badge],
        ),
        amount=amount,
        text=line.last[:MOST_TEXT] if len(line.params) > 1 else "",
        at=_time(tags.get("tmi-sent-ts", "")),
    )


def _emotes(written: str, length: int) -> tuple[Emote, ...]:
    """As "25:0-4,12-16/1902:6-10": places count letters, the end included."""
    found: list[Emote] = []
    for one in written.split("/", MOST_EMOTES)[:MOST_EMOTES]:
        emote, _, places = one.partition(":")
        for place in places.split(",", MOST_EMOTES)[:MOST_EMOTES]:
            first, _, last = place.partition("-")
            start, end = amount_of(first), amount_of(last) + 1
            if emote and place and start < end <= length and len(found) < MOST_EMOTES:
                found.append(Emote(id=emote[:MOST_ID], start=start, end=end))
    return tuple(sorted(found, key=lambda emote: emote.start))


def _time(written: str) -> datetime:
    ms = int(written) if written.isascii() and written.isdigit() and len(written) <= 14 else 0
    return datetime.fromtimestamp(ms / 1000, UTC) if ms else now()


class AnonymousChat:
    """One connection to the chat of one channel.

    Args:
        url: Where.
        channel: Login name of its owner.
        waits: How patient we are.
        silent_s: Silence after which the server is asked whether it lives.
    """

    def __init__(self, url: str, channel: str, waits: Waits, *, silent_s: float = SILENT_S) -> None:
        self._url = url
        self._channel = channel
        self._waits = waits
        self._silent_s = silent_s
        self._socket: ClientConnection | None = None
        self._early: list[Line] = []

    async def open(self) -> None:
        """Connect and join.

        Raises:
            InvalidInputError: The address is none.
            NotFoundError: There is no such channel.
            ProviderError: unreachable, stalled, server, malformed.
        """
        socket = await open_socket(self._url, "TWITCH_IRC_URL", self._waits, most_queued=64)
        try:
            nick = f"justinfan{_dice.randrange(10_000, 90_000)}"
            for command in (
                "CAP REQ :twitch.tv/tags twitch.tv/commands",
                f"NICK {nick}",
                f"JOIN #{self._channel}",
            ):
                await socket.send(f"{command}\r\n")
            is_greeted = False
            try:
                async with asyncio.timeout(self._waits.connect_s):
                    while True:
                        joined = False
                        for line in _lines(await socket.recv()):
                            is_greeted = is_greeted or line.command == "001"
                            if joined:
                                self._early.append(line)
                            joined = joined or line.command in ("ROOMSTATE", "366")
                            await self._answer(socket, line)
                        if joined:
                            break
            except TimeoutError:
                if is_greeted:
                    raise NotFoundError(
                        f"Twitch has no chat of a channel {self._channel!r}: it does not exist, or it is suspended."
                        " Check its name."
                    ) from None
                what = f"it did not say hello within {self._waits.connect_s:.3g} s"
                raise stalled(provider("TWITCH_IRC_URL"), what) from None
            except ConnectionClosed:
                raise _ended() from None
        except BaseException:
            await close_socket(socket)
            raise
        self._socket = socket

    async def close(self) -> None:
        """End it. Safe when it is not open."""
        socket, self._socket = self._socket, None
        if socket is not None:
            await close_socket(socket)

    async def lines(self) -> AsyncGenerator[Line, None]:
        """What comes, until the connection ends. Leave early only inside ``aclosing``.

        Raises:
            ProviderError: stalled (no sign of life), unreachable (it ended, or asks to be left).
        """
        socket = self._socket
        assert socket is not None, "open() comes first"
        for line in self._early:
            yield line
        self._early = []
        is_asked = False
        while True:
            try:
                async with asyncio.timeout(self._silent_s):
                    text = await socket.recv()
                is_asked = False
            except TimeoutError:
                if is_asked:
                    what = f"it sent no sign of life for {2 * self._silent_s:.3g} s"
                    raise stalled(provider("TWITCH_IRC_URL"), what) from None
                is_asked = True
                try:
                    await socket.send("PING :luma\r\n")
                except ConnectionClosed:
                    raise _ended() from None
                continue
            except ConnectionClosed:
                raise _ended() from None
            for line in _lines(text):
                try:
                    await self._answer(socket, line)
                except ConnectionClosed:
                    raise _ended() from None
                if line.command == "RECONNECT":
                    raise ProviderError(
                        "Twitch asks to connect anew.", kind="unreachable", provider="twitch"
                    )
                yield line

    async def _answer(self, socket: ClientConnection, line: Line) -> None:
        if line.command == "PING":
            await socket.send(f"PONG :{line.last[:200]}\r\n")


def _lines(text: str | bytes) -> list[Line]:
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    # Not splitlines(): a viewer may write the other letters that end lines.
    lines = text.replace("\r\n", "\n").split("\n", MOST_LINES)[:MOST_LINES]
    return [parse(line) for line in lines if line]


def _ended() -> ProviderError:
    return ProviderError(
        "Twitch ended the connection to the chat.", kind="unreachable", provider="twitch"
    )
