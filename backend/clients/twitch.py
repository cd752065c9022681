"""Twitch's EventSub over WebSocket, and the values that go to and come from Twitch; its HTTP side is `backend.clients.twitch_api`.

The socket is read here and not by twitchio 3.3.2, whose reader loses an event that lacks a field, loses what was sent on an old
connection while it moves to a new one, measures silence by the wall clock, and connects again by itself.
Nothing is decided here: a connection is opened, read, moved when Twitch asks for it, and closed; whoever reads it decides what next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit, urlunsplit

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from backend.contracts.errors import InvalidInputError, ProviderError, ProviderFailure
from backend.core.addresses import origin_of
from backend.core.http import USER_AGENT, Provider, redact, stalled, unreachable
from backend.core.network import (
    AddressRefusedError,
    ConnectError,
    checked_addresses,
    reason_of,
    ssl_context,
)
from backend.core.workers import run_in_thread

logger = logging.getLogger(__name__)

MOST_FRAME_BYTES = 1 << 20
KEEPALIVE_S = 10
"""The shortest that Twitch offers; it is what a silent end of the connection takes to be noticed."""
MARGIN_S = 2.0
"""How late a keepalive may be."""
MOST_NONSENSE = 100
"""Frames that say nothing until a connection is left."""

CLOSES = {
    4000: "an error inside Twitch",
    4001: "Twitch says that something was sent to it",
    4002: "a ping was not answered",
    4003: "nothing was subscribed to in time",
    4004: "the move to another connection took too long",
    4005: "a network timeout",
    4006: "a network error",
    4007: "the address for the move was wrong",
}


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where Twitch is."""

    helix: str = "https://api.twitch.tv/helix/"
    oauth: str = "https://id.twitch.tv/"
    eventsub: str = "wss://eventsub.wss.twitch.tv/ws"
    irc: str = "wss://irc-ws.chat.twitch.tv:443"


@dataclass(frozen=True, slots=True)
class Waits:
    """Longest waits, in seconds.

    Attributes:
        connect_s: For a connection, and again for the first words on it.
        answer_s: For the answer to a request.
        move_s: For the new connection when Twitch asks to move; it gives 30 s.
    """

    connect_s: float = 5.0
    answer_s: float = 10.0
    move_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Application:
    """Whom Twitch knows us as."""

    client_id: str = ""
    client_secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody at Twitch."""

    id: str
    login: str
    name: str


@dataclass(frozen=True, slots=True)
class Granted:
    """A token that Twitch gave."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    seconds: float


@dataclass(frozen=True, slots=True)
class Validated:
    """What Twitch says of a token."""

    user_id: str
    login: str
    client_id: str
    scopes: frozenset[str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Access:
    """A token that is good, and whose it is."""

    token: str = field(repr=False)
    user_id: str
    login: str
    client_id: str
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """A login that waits for a person."""

    device_code: str = field(repr=False)
    user_code: str
    url: str
    seconds: float
    interval_s: float


@dataclass(frozen=True, slots=True)
class Sent:
    """What Twitch says of a message."""

    message_id: str
    is_sent: bool
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Broadcast:
    """What a channel shows.

    Attributes:
        started_at: As Twitch wrote it; empty = it is not live.
    """

    title: str = ""
    game: str = ""
    started_at: str = ""
    viewers: int = 0

    @property
    def is_live(self) -> bool:
        """Whether anything is sent."""
        return bool(self.started_at)


@dataclass(frozen=True, slots=True)
class Frame:
    """Something that Twitch told.

    Attributes:
        id: The same when the same is told twice.
        at: When, as Twitch wrote it.
        kind: Of the subscription ("channel.chat.message").
        event: What happened.
        status: Of the subscription; other than "enabled" when it was taken back.
    """

    what: Literal["notification", "revocation"]
    id: str
    at: str
    kind: str
    event: Mapping[str, Any]
    status: str = ""


def provider(setting: str) -> Provider:
    """Whom failures name, and the setting that holds the address."""
    return Provider("twitch", "Twitch", key_setting="TWITCH_OAUTH_TOKEN", url_setting=setting)


class _Connect(connect):
    """Connects where it was told to, and nowhere else: a redirect is a refusal."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def check_address(url: str, setting: str, schemes: tuple[str, ...]) -> str:
    """The address, when it is one.

    Raises:
        InvalidInputError: It is none, with what to do.
    """
    text = url.strip()
    try:
        parts = urlsplit(text)
        if parts.scheme not in schemes:
            raise ValueError(f"it must start with {schemes[0]}:// and name a host")
        secure = parts.scheme in ("wss", "https")
        origin_of(urlunsplit(parts._replace(scheme="https" if secure else "http")))
    except ValueError as error:
        shown = redact(text.partition("?")[0].rpartition("@")[2], limit=120)
        raise InvalidInputError(f"{setting} is {shown!r}, which cannot be used: {error}.") from None
    return text


async def open_socket(
    url: str, setting: str, waits: Waits, *, most_queued: int
) -> ClientConnection:
    """A WebSocket connection.

    Raises:
        InvalidInputError: The address is none.
        ProviderError: unreachable, rate, server.
    """
    parts = urlsplit(check_address(url, setting, ("wss", "ws")))
    who = provider(setting)
    is_secure = parts.scheme == "wss"
    host, port = parts.hostname or "", parts.port or (443 if is_secure else 80)
    more: dict[str, Any] = {}
    if is_secure:
        more = {"ssl": await run_in_thread(ssl_context), "server_hostname": host}
    failure: Exception = ConnectError(f"the name {host!r} has no address")
    try:
        addresses = await checked_addresses(
            host, port, may_be_private=True, connect_s=waits.connect_s, resolve=None
        )
    except (AddressRefusedError, ConnectError) as error:
        raise unreachable(who, url, str(error)) from error
    for address in addresses:
        try:
            return await _Connect(
                url,
                host=address,
                port=port,
                user_agent_header=USER_AGENT,
                proxy=None,
                compression=None,
                open_timeout=waits.connect_s,
                ping_interval=None,  # Twitch ends a connection on which anything but a pong is sent
                close_timeout=0.5,
                max_size=MOST_FRAME_BYTES,
                max_queue=most_queued,
                **more,
            )
        except InvalidStatus as error:
            status = error.response.status_code
            kind: ProviderFailure = "rate" if status == 429 else "server"
            raise ProviderError(
                f"Twitch answered {status} where {setting} leads and opens no WebSocket; it is tried again.",
                kind=kind,
                provider="twitch",
            ) from error
        except TimeoutError:
            failure = ConnectError(f"{address} did not answer within {waits.connect_s:.3g} s")
        except OSError as error:
            failure = ConnectError(reason_of(error))
        except (WebSocketException, ValueError) as error:
            failure = ConnectError(f"it speaks no WebSocket there: {error}")
    raise unreachable(who, url, str(failure)) from failure


async def close_socket(socket: ClientConnection) -> None:
    """Close it, politely for a moment."""
    with suppress(WebSocketException, OSError, TimeoutError):
        async with asyncio.timeout(1):
            await socket.close()


class EventSub:
    """One EventSub session, on one connection after another when Twitch asks to move.

    Args:
        url: Where.
        waits: How patient we are.
    """

    def __init__(self, url: str, waits: Waits) -> None:
        self._url = url
        self._waits = waits
        self._socket: ClientConnection | None = None
        self._silence_s = KEEPALIVE_S + MARGIN_S
        self._nonsense = 0

    async def open(self) -> str:
        """Connect; the session's id, for what is to be subscribed to within 10 s.

        Raises:
            InvalidInputError: The address is none.
            ProviderError: unreachable, stalled, server.
        """
        parts = urlsplit(self._url)
        asked = urlencode({"keepalive_timeout_seconds": KEEPALIVE_S})
        query = f"{parts.query}&{asked}" if parts.query else asked
        self._socket, session_id = await self._welcomed(urlunsplit(parts._replace(query=query)))
        return session_id

    async def close(self) -> None:
        """End it. Safe when it is not open."""
        socket, self._socket = self._socket, None
        if socket is not None:
            await close_socket(socket)

    async def frames(self) -> AsyncGenerator[Frame, None]:
        """What Twitch tells, in order and as often as it tells it, until the connection ends. Leave early only inside ``aclosing``.

        Raises:
            ProviderError: stalled (no keepalive), unreachable (it ended), malformed.
        """
        moving: asyncio.Task[tuple[ClientConnection, str]] | None = None
        try:
            while True:
                socket = self._socket
                assert socket is not None, "open() comes first"
                if moving is None:
                    text = await self._receive(socket)
                else:
                    text, is_over = await self._receive_or_move(socket, moving)
                    if is_over:
                        new = self._moved(moving)
                        moving = None
                        if new is None:
                            continue
                        # What came on the old connection comes first, and then it is closed: no gap, and nothing out of order.
                        async for rest in self._drain(socket):
                            found = _read(rest)
                            if isinstance(found, Frame):
                                yield found
                        self._socket = new
                        continue
                found = _read(text)
                if isinstance(found, Frame):
                    self._nonsense = 0
                    yield found
                elif isinstance(found, str):
                    self._nonsense = 0
                    url = self._checked_move(found)
                    if url and moving is None:
                        moving = asyncio.create_task(self._welcomed(url), name="twitch moves")
                elif found is None:
                    self._nonsense += 1
                    if self._nonsense > MOST_NONSENSE:
                        raise ProviderError(
                            f"Twitch sent {MOST_NONSENSE} messages that say nothing; the connection was left.",
                            kind="malformed",
                            provider="twitch",
                        )
        finally:
            if moving is not None:
                await _abandon(moving)

    async def _receive(self, socket: ClientConnection) -> str | bytes:
        try:
            async with asyncio.timeout(self._silence_s):
                return await socket.recv()
        except TimeoutError:
            what = f"it sent no sign of life for {self._silence_s:.3g} s"
            raise stalled(provider("TWITCH_EVENTSUB_URL"), what) from None
        except ConnectionClosed as error:
            raise _ended(error) from None

    async def _receive_or_move(
        self, socket: ClientConnection, moving: asyncio.Task[tuple[ClientConnection, str]]
    ) -> tuple[str | bytes, bool]:
        """The next frame of the old connection, or that the new one is there."""
        receiving = asyncio.create_task(self._receive(socket))
        try:
            await asyncio.wait((receiving, moving), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            receiving.cancel()
            raise
        if receiving.done():
            error = receiving.exception()
            if error is None:
                return receiving.result(), False
            # The old connection is gone: only the new one can help.
            if not isinstance(error, ProviderError):
                raise error
            with suppress(ProviderError, InvalidInputError):
                await asyncio.shield(moving)
            if moving.exception() is not None:
                raise error
            return "", True
        receiving.cancel()  # loses nothing: what it would have received stays there
        await asyncio.wait((receiving,))
        if not receiving.cancelled() and receiving.exception() is None:
            return receiving.result(), False
        return "", True

    def _moved(self, moving: asyncio.Task[tuple[ClientConnection, str]]) -> ClientConnection | None:
        error = moving.exception()
        if error is None:
            return moving.result()[0]
        # The old connection is read until Twitch ends it; then whoever reads connects anew.
        logger.info("twitch: could not move to another connection: %s", error)
        return None

    async def _drain(self, socket: ClientConnection) -> AsyncGenerator[str | bytes, None]:
        await close_socket(socket)
        with suppress(ConnectionClosed, TimeoutError):
            while True:
                async with asyncio.timeout(1):
                    text = await socket.recv()
                yield text

    async def _welcomed(self, url: str) -> tuple[ClientConnection, str]:
        """A new connection on which Twitch has said welcome, and its session."""
        socket = await open_socket(url, "TWITCH_EVENTSUB_URL", self._waits, most_queued=64)
        try:
            async with asyncio.timeout(self._waits.connect_s):
                welcome = _json(await socket.recv())
            session = _dict(_dict(welcome.get("payload")).get("session"))
            session_id = session.get("id")
            if _dict(welcome.get("metadata")).get("message_type") != "session_welcome" or not (
                isinstance(session_id, str) and 0 < len(session_id) <= 500
            ):
                raise ProviderError(
                    "What answers at TWITCH_EVENTSUB_URL does not say welcome as Twitch does.",
                    kind="malformed",
                    provider="twitch",
                )
            seconds = session.get("keepalive_timeout_seconds")
            if isinstance(seconds, int | float) and 0 < seconds <= 600:
                self._silence_s = seconds + MARGIN_S
            return socket, session_id
        except TimeoutError:
            await close_socket(socket)
            what = f"it did not say welcome within {self._waits.connect_s:.3g} s"
            raise stalled(provider("TWITCH_EVENTSUB_URL"), what) from None
        except ConnectionClosed as error:
            await close_socket(socket)
            raise _ended(error) from None
        except BaseException:
            await close_socket(socket)
            raise

    def _checked_move(self, url: str) -> str:
        """The address Twitch asks to move to; empty when it leads elsewhere than to Twitch."""
        ours = urlsplit(self._url)
        try:
            theirs = urlsplit(url)
        except ValueError:
            theirs = urlsplit("")
        host = (theirs.hostname or "").lower()
        known = (ours.hostname or "").lower()
        is_kin = known.endswith(".twitch.tv") and host.endswith(".twitch.tv")
        if theirs.scheme == ours.scheme and (host == known or is_kin):
            return url
        logger.warning("twitch: asked to move to %s, which is not Twitch; stayed", host[:80])
        return ""


async def _abandon(moving: asyncio.Task[tuple[ClientConnection, str]]) -> None:
    moving.cancel()
    with suppress(asyncio.CancelledError, ProviderError, InvalidInputError):
        socket, _ = await moving
        await close_socket(socket)


def _ended(error: ConnectionClosed) -> ProviderError:
    code = error.rcvd.code if error.rcvd is not None else 0
    why = CLOSES.get(code, f"code {code}" if code else "without a word")
    return ProviderError(
        f"Twitch ended the connection ({why}).", kind="unreachable", provider="twitch"
    )


def _read(text: str | bytes) -> Frame | str | bool | None:
    """A frame; where to move to; True for a sign of life; None for what is nothing."""
    told = _json(text)
    metadata, payload = _dict(told.get("metadata")), _dict(told.get("payload"))
    match metadata.get("message_type"):
        case "session_keepalive" | "session_welcome":
            return True
        case "session_reconnect":
            url = _dict(payload.get("session")).get("reconnect_url")
            return url if isinstance(url, str) else None
        case "notification" | "revocation" as what:
            subscription = _dict(payload.get("subscription"))
            kind = subscription.get("type") or metadata.get("subscription_type")
            if not isinstance(kind, str):
                return None
            return Frame(
                what=what,
                id=_text(metadata.get("message_id")),
                at=_text(metadata.get("message_timestamp")),
                kind=kind,
                event=_dict(payload.get("event")),
                status=_text(subscription.get("status")),
            )
    return None


def _json(text: str | bytes) -> Mapping[str, Any]:
    try:
        return _dict(orjson.loads(text))
    except orjson.JSONDecodeError:
        return {}


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value[:500] if isinstance(value, str) else ""
