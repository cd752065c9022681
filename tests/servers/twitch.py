"""Twitch on this machine: OAuth with device codes, Helix, EventSub over WebSocket and anonymous chat, good and bad on purpose.

By hand: ``python -m tests.servers.twitch --channel kira --rate 2``, then the settings that it prints. Its controls answer at
``POST /control/NAME`` with the arguments as JSON (``chat``, ``follow``, ``raid``, ``drop`` …; `CONTROLS` lists them), and
``GET /control`` tells what it saw. What it answers follows Twitch's reference; what it does wrong is in the attributes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from tests.servers.listening import Listening

Json = dict[str, Any]

PUBLIC_CLIENT = "public-client-id"
SECRET_CLIENT = "confidential-client-id"
CLIENT_SECRET = "twitch-client-secret-4711"

SCOPES = {
    "channel.chat.message": {"user:read:chat"},
    "channel.chat.notification": {"user:read:chat"},
    "channel.chat.message_delete": {"user:read:chat"},
    "channel.chat.clear_user_messages": {"user:read:chat"},
    "channel.chat.clear": {"user:read:chat"},
    "channel.follow": {"moderator:read:followers"},
    "channel.subscribe": {"channel:read:subscriptions"},
    "channel.subscription.gift": {"channel:read:subscriptions"},
    "channel.subscription.message": {"channel:read:subscriptions"},
    "channel.raid": set(),
    "channel.update": set(),
    "stream.online": set(),
    "stream.offline": set(),
    "channel.cheer": {"bits:read"},
    "channel.channel_points_custom_reward_redemption.add": {"channel:read:redemptions"},
}
"""Kinds of subscription, and what a token needs for each."""
OWNERS_ONLY = ("channel.subscri", "channel.cheer", "channel.channel_points")
"""Kinds that only the channel's owner may subscribe to."""

CLOSES = {
    4000: "Internal server error",
    4001: "Client sent inbound traffic",
    4002: "Client failed ping-pong",
    4003: "Connection unused",
    4004: "Reconnect grace time expired",
    4005: "Network timeout",
    4006: "Network error",
    4007: "Invalid reconnect",
}


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody with a Twitch account."""

    id: str
    login: str
    name: str


@dataclass(slots=True)
class Token:
    """A login of an account at a client."""

    account: Account
    client_id: str
    scopes: tuple[str, ...]
    ends_s: float
    refresh: str = ""


@dataclass(slots=True)
class Device:
    """A login that waits for somebody to type its code."""

    code: str
    client_id: str
    scopes: tuple[str, ...]
    ends_s: float
    account: Account | None = None
    is_denied: bool = False


@dataclass(eq=False, slots=True)
class Session:
    """One EventSub connection."""

    id: str
    socket: web.WebSocketResponse
    subscriptions: dict[tuple[str, str], str] = field(default_factory=dict)
    """Kind and broadcaster to the subscription's id."""
    is_leaving: bool = False
    """Its place was taken after a session_reconnect."""
    token: str = ""
    beat_s: float = 0.0


@dataclass(slots=True)
class Failure:
    """An answer that is wrong on purpose."""

    status: int
    times: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class TwitchServer(Listening):
    """Twitch, as far as a chat client sees it.

    Attributes:
        keepalive_s: Silence after which it says that it lives; told in its welcome.
        unused_s: A connection without a subscription is closed after that (4003).
        duplicates: How often every notification is sent once more.
        skew_s: How far its clock is ahead.
        is_silent: Says nothing at all on sockets, as when the network is gone and nobody noticed.
        missing: Names of fields that it leaves out of every event.
        drop_reason: Code and words with which it drops every message that is sent.
        slow_s: Wait before each answer, by beginning of the path ("/helix").
        failures: Wrong answers to come, by method and path ("POST /helix/chat/messages").
        knocks: Refuses the next so many WebSocket connections.
        token_s: How long a token is good for.
        interval_s: Pause between two questions that a device is told.
        echoes: What is sent comes back as a message, as on Twitch.
        sends_per_30_s: How many messages may be sent.
        most_at_once: The most chat connections ever open together; one whose place was taken by a reconnect is not counted.
        shows: What a channel sends, by its login: title, game_name, started_at (empty = it is not live), viewer_count.
        followers: How many follow a channel, by its login.
        lists_lag: GET /helix/streams goes on as before when a stream begins or ends, as it does for a while on Twitch.
        sent: Every message that was accepted, with what came along.
        asked: Method and path of every request.
        heard: Lines that IRC clients sent.
    """

    def __init__(self, *, port: int = 0) -> None:
        super().__init__()
        self.port = port
        self.keepalive_s = 10.0
        self.unused_s = 10.0
        self.grace_s = 30.0
        self.duplicates = 0
        self.skew_s = 0.0
        self.is_silent = False
        self.missing: set[str] = set()
        self.drop_reason: tuple[str, str] | None = None
        self.slow_s: dict[str, float] = {}
        self.failures: dict[str, Failure] = {}
        self.knocks = 0
        self.token_s = 14_400.0
        self.interval_s: float = 5
        self.echoes = True
        self.sends_per_30_s = 20
        self.is_refresh_single_use = True
        self.gives_refresh = True
        self.most_at_once = 0
        self.connections = 0
        self.shows: dict[str, Json] = {}
        self.followers: dict[str, int] = {}
        self.lists_lag = False
        self._listed: dict[str, str] = {}
        self.sent: list[Json] = []
        self.asked: list[str] = []
        self.heard: list[str] = []
        self.errors: list[Exception] = []
        self.accounts: dict[str, Account] = {}
        self.tokens: dict[str, Token] = {}
        self.refreshes: dict[str, Token] = {}
        self.devices: dict[str, Device] = {}
        self.sessions: list[Session] = []
        self.listeners: dict[web.WebSocketResponse, str] = {}
        """IRC sockets and the channel each is in, empty before it joined."""
        self._awaited: dict[str, Session] = {}
        self._ids = itertools.count(1000)
        self._sends: deque[float] = deque()
        self._lately: deque[tuple[float, str, str]] = deque(maxlen=50)
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None

    # --- from beginning to end ---

    @property
    def base(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """The settings that lead a Luma here, by field name."""
        ws = self.base.replace("http", "ws", 1)
        return {
            "twitch_helix_url": f"{self.base}/helix/",
            "twitch_oauth_url": f"{self.base}/",
            "twitch_eventsub_url": f"{ws}/ws",
            "twitch_irc_url": f"{ws}/irc",
        }

    async def listen(self) -> None:
        """Begin to accept connections, on the same port as before."""
        if self._runner is not None:
            return
        app = web.Application(middlewares=[self._before])
        app.add_routes(
            [
                web.post("/oauth2/device", self._device),
                web.post("/oauth2/token", self._token),
                web.get("/oauth2/validate", self._validate),
                web.post("/oauth2/revoke", self._revoke),
                web.get("/activate", self._activate),
                web.get("/helix/users", self._users),
                web.get("/helix/channels", self._channels),
                web.get("/helix/streams", self._streams),
                web.get("/helix/channels/followers", self._followers),
                web.post("/helix/eventsub/subscriptions", self._subscribe),
                web.post("/helix/chat/messages", self._message),
                web.get("/ws", self._eventsub),
                web.get("/irc", self._irc),
                web.get("/control", self._seen),
                web.post("/control/{name}", self._control),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def refuse(self) -> None:
        """Accept no connection any more, and drop those that are open."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        await self.drop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await runner.cleanup()

    @property
    def open_now(self) -> int:
        """Chat connections that are open, without one whose place was taken."""
        return sum(not s.is_leaving for s in self.sessions) + len(self.listeners)

    def reading(self, kind: str = "channel.chat.message") -> list[Session]:
        """The sessions that get events of a kind."""
        return [s for s in self.sessions if any(k == kind for k, _ in s.subscriptions)]

    # --- accounts ---

    def account(self, login: str, name: str = "") -> Account:
        """The account of that login, made when there is none."""
        login = login.lower()
        if login not in self.accounts:
            self.accounts[login] = Account(str(next(self._ids)), login, name or login)
        return self.accounts[login]

    def log_in(
        self,
        login: str,
        *,
        client_id: str = PUBLIC_CLIENT,
        scopes: Iterable[str] | None = None,
        seconds: float | None = None,
        with_refresh: bool = True,
    ) -> tuple[str, str]:
        """A token for somebody, and what it is refreshed with."""
        every = {scope for needed in SCOPES.values() for scope in needed} | {"user:write:chat"}
        granted = tuple(sorted(every if scopes is None else scopes))
        access = f"access{uuid.uuid4().hex}"
        refresh = f"refresh{uuid.uuid4().hex}" if with_refresh and self.gives_refresh else ""
        ends_s = time.monotonic() + (self.token_s if seconds is None else seconds)
        token = Token(self.account(login), client_id, granted, ends_s, refresh)
        self.tokens[access] = token
        if refresh:
            self.refreshes[refresh] = token
        return access, refresh

    def expire(self, login: str) -> None:
        """Somebody's tokens are over; they can be refreshed."""
        for token in self.tokens.values():
            if token.account.login == login:
                token.ends_s = 0.0

    def log_out(self, login: str) -> None:
        """Somebody has taken the permission back: nothing of theirs is good any more."""
        for table in (self.tokens, self.refreshes):
            for key in [k for k, token in table.items() if token.account.login == login]:
                del table[key]

    def approve(self, user_code: str, login: str) -> None:
        """Somebody types the code."""
        self._device_of(user_code).account = self.account(login)

    def deny(self, user_code: str) -> None:
        """Somebody refuses."""
        self._device_of(user_code).is_denied = True

    def _device_of(self, user_code: str) -> Device:
        return next(device for device in self.devices.values() if device.code == user_code)

    # --- what viewers do ---

    async def chat(
        self,
        login: str,
        text: str,
        *,
        channel: str = "kira",
        badges: Sequence[str] = (),
        bits: int = 0,
        reply_to: tuple[str, str] | None = None,
        emotes: Sequence[str] = (),
        mentions: Sequence[str] = (),
        reward_id: str = "",
        is_first: bool = False,
        message_id: str = "",
        name: str = "",
    ) -> str:
        """Somebody writes; returns the message's id.

        Args:
            badges: As "subscriber/12".
            reply_to: Id of a message, and login of who wrote it.
            emotes: Words of the text that are pictures.
            mentions: Logins that the text names with an @.
        """
        who, where = self.account(login, name), self.account(channel)
        message_id = message_id or str(uuid.uuid4())
        parts: list[Json] = []
        for word in text.split(" "):
            if parts:
                parts.append({"type": "text", "text": " "})
            one: Json = {"type": "text", "text": word, "cheermote": None, "emote": None}
            one["mention"] = None
            if word in emotes:
                one["type"] = "emote"
                one["emote"] = {"id": f"emote-{word}", "emote_set_id": "0", "format": ["static"]}
            elif word.lstrip("@").lower() in mentions:
                named = self.account(word.lstrip("@"))
                one["type"] = "mention"
                one["mention"] = _user(named, "user")
            parts.append(one)
        event = {
            **_user(where, "broadcaster_user"),
            **_user(who, "chatter_user"),
            "message_id": message_id,
            "message": {"text": text, "fragments": parts},
            "color": "#FF69B4",
            "badges": [
                {"set_id": set_id, "id": version, "info": ""}
                for set_id, _, version in (badge.partition("/") for badge in badges)
            ],
            "message_type": "user_intro" if is_first else "text",
            "cheer": {"bits": bits} if bits else None,
            "reply": None,
            "channel_points_custom_reward_id": reward_id or None,
            "channel_points_animation_id": None,
            "source_broadcaster_user_id": None,
            "source_message_id": None,
            "source_badges": None,
            "is_source_only": None,
        }
        if reply_to is not None:
            parent = self.account(reply_to[1])
            event["reply"] = {
                "parent_message_id": reply_to[0],
                "parent_message_body": "…",
                **_user(parent, "parent_user"),
                "thread_message_id": reply_to[0],
                **_user(parent, "thread_user"),
            }
        await self.notify("channel.chat.message", event)
        tags = {
            "badges": ",".join(badges),
            "bits": str(bits) if bits else "",
            "display-name": who.name,
            "first-msg": str(int(is_first)),
            "emotes": _irc_emotes(text, emotes),
            "id": message_id,
            "room-id": where.id,
            "tmi-sent-ts": str(int(self._now().timestamp() * 1000)),
            "user-id": who.id,
            "custom-reward-id": reward_id,
        }
        if reply_to is not None:
            parent = self.account(reply_to[1])
            tags |= {"reply-parent-msg-id": reply_to[0], "reply-parent-user-id": parent.id}
        await self._irc_tell(
            where.login,
            tags,
            f":{login}!{login}@{login}.tmi.twitch.tv PRIVMSG #{where.login} :{text}",
        )
        return message_id

    async def follow(self, login: str, *, channel: str = "kira") -> None:
        """Somebody follows."""
        self.followers[channel] = self.followers.get(channel, 0) + 1
        event = {**_user(self.account(login), "user"), "followed_at": self._stamp()}
        await self.notify("channel.follow", self._at(channel, event))

    async def update(self, title: str, game: str, *, channel: str = "kira") -> None:
        """The channel has another title and game."""
        self._show(channel).update(title=title, game_name=game)
        event = {"title": title, "language": "en", "category_id": "1", "category_name": game}
        await self.notify("channel.update", self._at(channel, event))

    async def go_live(self, *, viewers: int = 1, channel: str = "kira") -> None:
        """The stream begins."""
        began = self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
        self._show(channel).update(started_at=began, viewer_count=viewers)
        if not self.lists_lag:
            self._listed[channel] = began
        event = {"id": str(next(self._ids)), "type": "live", "started_at": began}
        await self.notify("stream.online", self._at(channel, event))

    async def go_offline(self, *, channel: str = "kira") -> None:
        """It ends."""
        self._show(channel).update(started_at="", viewer_count=0)
        if not self.lists_lag:
            self._listed[channel] = ""
        await self.notify("stream.offline", self._at(channel, {}))

    def _show(self, channel: str) -> Json:
        empty = {"title": "", "game_name": "", "started_at": "", "viewer_count": 0}
        return self.shows.setdefault(channel, empty)

    async def subscribe(
        self, login: str, *, months: int = 1, text: str = "", channel: str = "kira"
    ) -> None:
        """Somebody subscribes, or goes on."""
        kind = "sub" if months <= 1 else "resub"
        detail = {"sub_tier": "1000", "is_prime": False, "duration_months": 1}
        if kind == "resub":
            detail |= {"cumulative_months": months, "streak_months": None, "is_gift": False}
        await self._notice(login, kind, detail, text=text, channel=channel)
        tags = {"msg-id": kind, "msg-param-cumulative-months": str(months)}
        await self._irc_notice(login, channel, tags, text)

    async def gift(self, login: str, *, count: int = 1, channel: str = "kira") -> None:
        """Somebody pays for subscriptions of others: one notice for all, and one for each."""
        gift_id = str(uuid.uuid4())
        detail: Json = {"id": gift_id, "total": count, "sub_tier": "1000", "cumulative_total": None}
        await self._notice(login, "community_sub_gift", detail, channel=channel)
        tags = {"msg-id": "submysterygift", "msg-param-mass-gift-count": str(count)}
        tags["msg-param-community-gift-id"] = gift_id
        await self._irc_notice(login, channel, tags)
        for n in range(count):
            lucky = self.account(f"lucky_{n}")
            one = {"duration_months": 1, "cumulative_total": None, "sub_tier": "1000"}
            one |= {**_user(lucky, "recipient_user"), "community_gift_id": gift_id}
            await self._notice(login, "sub_gift", one, channel=channel)
            tags = {"msg-id": "subgift", "msg-param-recipient-id": lucky.id}
            tags["msg-param-community-gift-id"] = gift_id
            await self._irc_notice(login, channel, tags)

    async def raid(self, login: str, *, viewers: int = 10, channel: str = "kira") -> None:
        """Somebody brings their viewers."""
        who = self.account(login)
        detail = {**_user(who, "user"), "viewer_count": viewers, "profile_image_url": ""}
        await self._notice(login, "raid", detail, channel=channel)
        to = _user(self.account(channel), "to_broadcaster_user")
        await self.notify(
            "channel.raid", {**_user(who, "from_broadcaster_user"), **to, "viewers": viewers}
        )
        tags = {"msg-id": "raid", "msg-param-viewerCount": str(viewers)}
        await self._irc_notice(login, channel, tags)

    async def redeem(
        self, login: str, title: str, *, text: str = "", reward_id: str = "", channel: str = "kira"
    ) -> None:
        """Somebody spends channel points."""
        reward = {"id": reward_id or str(uuid.uuid4()), "title": title, "cost": 100, "prompt": ""}
        event = {
            "id": str(uuid.uuid4()),
            **_user(self.account(login), "user"),
            "user_input": text,
            "status": "unfulfilled",
            "reward": reward,
            "redeemed_at": self._stamp(),
        }
        kind = "channel.channel_points_custom_reward_redemption.add"
        await self.notify(kind, self._at(channel, event))

    async def delete(self, message_id: str, login: str, *, channel: str = "kira") -> None:
        """A moderator deletes a message."""
        target = _user(self.account(login), "target_user")
        event = self._at(channel, {**target, "message_id": message_id})
        await self.notify("channel.chat.message_delete", event)
        tags = {"login": login, "target-msg-id": message_id}
        await self._irc_tell(channel, tags, f":tmi.twitch.tv CLEARMSG #{channel} :…")

    async def ban(self, login: str, *, seconds: int = 0, channel: str = "kira") -> None:
        """A moderator bans somebody, or times them out: all they wrote is gone."""
        event = self._at(channel, _user(self.account(login), "target_user"))
        await self.notify("channel.chat.clear_user_messages", event)
        tags = {"target-user-id": self.account(login).id}
        if seconds:
            tags["ban-duration"] = str(seconds)
        await self._irc_tell(channel, tags, f":tmi.twitch.tv CLEARCHAT #{channel} :{login}")

    async def clear(self, *, channel: str = "kira") -> None:
        """A moderator wipes the whole chat."""
        await self.notify("channel.chat.clear", self._at(channel, {}))
        await self._irc_tell(channel, {}, f":tmi.twitch.tv CLEARCHAT #{channel}")

    async def _notice(
        self, login: str, kind: str, detail: Json, *, text: str = "", channel: str
    ) -> None:
        event = {
            **_user(self.account(login), "chatter_user"),
            "chatter_is_anonymous": False,
            "color": "",
            "badges": [],
            "system_message": f"{login}: {kind}",
            "message_id": str(uuid.uuid4()),
            "message": {"text": text, "fragments": []},
            "notice_type": kind,
            kind: detail,
        }
        await self.notify("channel.chat.notification", self._at(channel, event))

    def _at(self, channel: str, event: Json) -> Json:
        return {**_user(self.account(channel), "broadcaster_user"), **event}

    async def notify(self, kind: str, event: Json) -> None:
        """Tell every session that subscribed to the kind for that channel."""
        where = str(event.get("broadcaster_user_id") or event.get("to_broadcaster_user_id"))
        told = {name: value for name, value in event.items() if name not in self.missing}
        for session in list(self.sessions):
            subscription = session.subscriptions.get((kind, where))
            if subscription is None or session.is_leaving or self.is_silent:
                continue
            message_id = str(uuid.uuid4())
            metadata = self._metadata("notification", message_id)
            metadata |= {"subscription_type": kind, "subscription_version": "1"}
            frame = {
                "metadata": metadata,
                "payload": {"subscription": _described(subscription, kind, where), "event": told},
            }
            for _ in range(1 + self.duplicates):
                await self._tell(session, frame)

    # --- what goes wrong on sockets ---

    async def drop(self, *, code: int = 0) -> None:
        """End every chat connection: with a close code, or with none at all."""
        sockets = [session.socket for session in self.sessions] + list(self.listeners)
        for socket in sockets:
            if code:
                await socket.close(code=code, message=CLOSES.get(code, "").encode())
            else:
                with contextlib.suppress(OSError, RuntimeError):
                    transport = socket._req.transport if socket._req is not None else None
                    if transport is not None:
                        transport.close()  # after what was written
        self.sessions = []
        self.listeners.clear()
        self._changed.set()

    async def reconnect(self) -> None:
        """Ask every session to move to another connection, as Twitch does before a server is restarted."""
        for session in [s for s in self.sessions if not s.is_leaving]:
            key = uuid.uuid4().hex
            self._awaited[key] = session
            described = self._session(session.id, "reconnecting")
            described |= {
                "keepalive_timeout_seconds": None,
                "reconnect_url": self.settings["twitch_eventsub_url"] + f"?reconnect={key}",
            }
            await self._tell(
                session,
                {
                    "metadata": self._metadata("session_reconnect"),
                    "payload": {"session": described},
                },
            )
            self._spawn(self._end_of_grace(session))
        for socket in list(self.listeners):
            await socket.send_str(":tmi.twitch.tv RECONNECT\r\n")

    async def revoke(
        self, kind: str = "channel.chat.message", status: str = "authorization_revoked"
    ) -> None:
        """Take a subscription back."""
        for session in self.sessions:
            for (of, where), subscription in list(session.subscriptions.items()):
                if of != kind:
                    continue
                del session.subscriptions[(of, where)]
                described = {**_described(subscription, kind, where), "status": status}
                metadata = self._metadata("revocation")
                metadata |= {"subscription_type": kind, "subscription_version": "1"}
                await self._tell(
                    session, {"metadata": metadata, "payload": {"subscription": described}}
                )

    async def raw(self, text: str) -> None:
        """A frame as it is, to every EventSub session."""
        for session in list(self.sessions):
            await session.socket.send_str(text)

    def fail(
        self,
        what: str,
        status: int,
        *,
        times: int = 1,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Answer the next requests ("POST /helix/chat/messages") wrongly."""
        self.failures[what] = Failure(status, times, body, headers or {})

    async def _end_of_grace(self, session: Session) -> None:
        await asyncio.sleep(self.grace_s)
        if session in self.sessions:
            await session.socket.close(code=4004, message=CLOSES[4004].encode())

    # --- EventSub ---

    async def _eventsub(self, request: web.Request) -> web.StreamResponse:
        if self.knocks:
            self.knocks -= 1
            return web.Response(status=503)
        socket = web.WebSocketResponse(heartbeat=None)
        await socket.prepare(request)
        self.connections += 1
        session = Session(uuid.uuid4().hex, socket)
        key = request.query.get("reconnect")
        if key is not None:
            before = self._awaited.pop(key, None)
            if before is None or before not in self.sessions:
                await socket.close(code=4007, message=CLOSES[4007].encode())
                return socket
            before.is_leaving = True
            session.id, session.subscriptions = before.id, before.subscriptions
        self.sessions.append(session)
        self._count()
        described = self._session(session.id, "connected")
        welcome = {"metadata": self._metadata("session_welcome"), "payload": {"session": described}}
        keeper = asyncio.create_task(self._beat(session, is_new=key is None))
        try:
            await self._tell(session, welcome)
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    await socket.close(code=4001, message=CLOSES[4001].encode())
        finally:
            keeper.cancel()
            if session in self.sessions:
                self.sessions.remove(session)
            self._changed.set()
        return socket

    async def _beat(self, session: Session, *, is_new: bool) -> None:
        began_s = time.monotonic()
        while True:
            await asyncio.sleep(min(self.keepalive_s, self.unused_s) / 2)
            now_s = time.monotonic()
            if is_new and not session.subscriptions and now_s - began_s > self.unused_s:
                await session.socket.close(code=4003, message=CLOSES[4003].encode())
                return
            if now_s - session.beat_s >= self.keepalive_s / 2 and not session.is_leaving:
                frame = {"metadata": self._metadata("session_keepalive"), "payload": {}}
                await self._tell(session, frame)

    async def _tell(self, session: Session, frame: Json) -> None:
        if self.is_silent or session.socket.closed:
            return
        session.beat_s = time.monotonic()
        with contextlib.suppress(ConnectionError, RuntimeError):
            await session.socket.send_str(orjson.dumps(frame).decode())

    def _session(self, session_id: str, status: str) -> Json:
        return {
            "id": session_id,
            "status": status,
            "connected_at": self._stamp(),
            "keepalive_timeout_seconds": self.keepalive_s,
            "reconnect_url": None,
        }

    def _metadata(self, kind: str, message_id: str = "") -> Json:
        return {
            "message_id": message_id or str(uuid.uuid4()),
            "message_type": kind,
            "message_timestamp": self._stamp(),
        }

    # --- IRC ---

    async def _irc(self, request: web.Request) -> web.StreamResponse:
        if self.knocks:
            self.knocks -= 1
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connections += 1
        self.listeners[socket] = ""
        self._count()
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    for line in str(message.data).splitlines():
                        self.heard.append(line)
                        await self._irc_obey(socket, line)
                        self._changed.set()
        finally:
            self.listeners.pop(socket, None)
            self._changed.set()
        return socket

    async def _irc_obey(self, socket: web.WebSocketResponse, line: str) -> None:
        command, _, rest = line.partition(" ")
        lines: list[str] = []
        match command:
            case "CAP":
                lines = [f":tmi.twitch.tv CAP * ACK {rest.removeprefix('REQ ')}"]
            case "NICK":
                nick = rest
                lines = [
                    f":tmi.twitch.tv {number} {nick} :{text}"
                    for number, text in (("001", "Welcome, GLHF!"), ("376", ">"))
                ]
            case "JOIN" if rest.lstrip("#") in self.accounts:
                channel = rest.lstrip("#")
                self.listeners[socket] = channel
                nick = "justinfan12345"
                lines = [
                    f":{nick}!{nick}@{nick}.tmi.twitch.tv JOIN #{channel}",
                    f"@room-id={self.account(channel).id};slow=0 :tmi.twitch.tv ROOMSTATE #{channel}",
                    f":{nick}.tmi.twitch.tv 366 {nick} #{channel} :End of /NAMES list",
                ]
            case "PING":
                lines = [f":tmi.twitch.tv PONG tmi.twitch.tv {rest}"]
            case _:
                return
        if not self.is_silent:
            await socket.send_str("".join(one + "\r\n" for one in lines))

    async def _irc_tell(self, channel: str, tags: dict[str, str], line: str) -> None:
        if self.is_silent:
            return
        written = ";".join(f"{name}={_escaped(value)}" for name, value in tags.items())
        text = f"@{written} {line}\r\n" if written else f"{line}\r\n"
        for socket, where in list(self.listeners.items()):
            if where == channel:
                for _ in range(1 + self.duplicates):
                    with contextlib.suppress(ConnectionError, RuntimeError):
                        await socket.send_str(text)

    async def _irc_notice(
        self, login: str, channel: str, tags: dict[str, str], text: str = ""
    ) -> None:
        who = self.account(login)
        common = {"id": str(uuid.uuid4()), "user-id": who.id, "login": login}
        common |= {"display-name": who.name, "tmi-sent-ts": "0"}
        line = f":tmi.twitch.tv USERNOTICE #{channel}" + (f" :{text}" if text else "")
        await self._irc_tell(channel, {**common, **tags}, line)

    def _count(self) -> None:
        self.most_at_once = max(self.most_at_once, self.open_now)
        self._changed.set()

    # --- OAuth ---

    async def _device(self, request: web.Request) -> web.Response:
        said = await _said(request)
        client_id = said.get("client_id", "")
        if client_id not in (PUBLIC_CLIENT, SECRET_CLIENT):
            return _refused(400, "invalid client")
        scopes = tuple(said.get("scopes", "").split())
        code = "".join(random.choices("ABCDEFGHJKLMNPQRSTVWXYZ", k=8))  # a code is no secret
        device_code = uuid.uuid4().hex
        self.devices[device_code] = Device(code, client_id, scopes, time.monotonic() + 1800)
        return web.json_response(
            {
                "device_code": device_code,
                "expires_in": 1800,
                "interval": self.interval_s,
                "user_code": code,
                "verification_uri": f"{self.base}/activate?device-code={code}",
            }
        )

    async def _token(self, request: web.Request) -> web.Response:
        said = await _said(request)
        client_id = said.get("client_id", "")
        match said.get("grant_type", ""):
            case "urn:ietf:params:oauth:grant-type:device_code":
                device = self.devices.get(said.get("device_code", ""))
                if device is None or device.client_id != client_id:
                    return _refused(400, "invalid device code")
                if device.is_denied:
                    return _refused(400, "access_denied")
                if device.account is None:
                    return _refused(400, "authorization_pending")
                del self.devices[said["device_code"]]
                return self._granted(device.account, client_id, device.scopes)
            case "refresh_token":
                before = self.refreshes.get(said.get("refresh_token", ""))
                if before is None or before.client_id != client_id:
                    return _refused(400, "Invalid refresh token")
                if client_id == SECRET_CLIENT and said.get("client_secret") != CLIENT_SECRET:
                    return _refused(403, "invalid client secret")
                if self.is_refresh_single_use:
                    del self.refreshes[before.refresh]
                return self._granted(before.account, client_id, before.scopes)
        return _refused(400, "invalid grant type")

    def _granted(self, account: Account, client_id: str, scopes: tuple[str, ...]) -> web.Response:
        access, refresh = self.log_in(account.login, client_id=client_id, scopes=scopes)
        answer: Json = {
            "access_token": access,
            "expires_in": int(self.token_s),
            "scope": list(scopes),
            "token_type": "bearer",
        }
        if refresh:
            answer["refresh_token"] = refresh
        return web.json_response(answer)

    async def _validate(self, request: web.Request) -> web.Response:
        token = self._bearer(request)
        if token is None:
            return _refused(401, "invalid access token")
        return web.json_response(
            {
                "client_id": token.client_id,
                "login": token.account.login,
                "scopes": list(token.scopes),
                "user_id": token.account.id,
                "expires_in": int(token.ends_s - time.monotonic()),
            }
        )

    async def _revoke(self, request: web.Request) -> web.Response:
        said = await _said(request)
        if self.tokens.pop(said.get("token", ""), None) is None:
            return _refused(400, "Invalid token")
        return web.Response()

    async def _activate(self, request: web.Request) -> web.Response:
        """The page on which a person types the code; by hand it lets in whoever comes."""
        try:
            self.approve(request.query.get("device-code", ""), request.query.get("as", "kira"))
        except StopIteration:
            return web.Response(status=404, text="There is no such code.")
        return web.Response(text="Luma may come in.")

    def _bearer(self, request: web.Request) -> Token | None:
        value = request.headers.get("Authorization", "").partition(" ")[2]
        token = self.tokens.get(value)
        return token if token is not None and token.ends_s > time.monotonic() else None

    # --- Helix ---

    async def _users(self, request: web.Request) -> web.Response:
        token = self._helix_token(request)
        if token is None:
            return _refused(401, "Invalid OAuth token")
        logins = request.query.getall("login", [])
        ids = request.query.getall("id", [])
        found = [
            account
            for account in self.accounts.values()
            if account.login in logins or account.id in ids
        ]
        if not logins and not ids:
            found = [token.account]
        data = [{"id": a.id, "login": a.login, "display_name": a.name, "type": ""} for a in found]
        return web.json_response({"data": data})

    def _whose(self, request: web.Request, name: str) -> Account | None:
        asked = request.query.get(name, "")
        return next((one for one in self.accounts.values() if one.id == asked), None)

    async def _channels(self, request: web.Request) -> web.Response:
        if self._helix_token(request) is None:
            return _refused(401, "Invalid OAuth token")
        whose = self._whose(request, "broadcaster_id")
        if whose is None:
            return web.json_response({"data": []})
        shown = self._show(whose.login)
        told = {"broadcaster_id": whose.id, "broadcaster_login": whose.login, "tags": []}
        told |= {"title": shown["title"], "game_id": "1", "game_name": shown["game_name"]}
        return web.json_response({"data": [told]})

    async def _streams(self, request: web.Request) -> web.Response:
        if self._helix_token(request) is None:
            return _refused(401, "Invalid OAuth token")
        whose = self._whose(request, "user_id")
        began = self._listed.get(whose.login, "") if whose is not None else ""
        if whose is None or not began:
            return web.json_response({"data": [], "pagination": {}})
        shown = self._show(whose.login)
        told = {"id": "1", "user_id": whose.id, "user_login": whose.login, "type": "live"}
        told |= {**shown, "started_at": began}
        return web.json_response({"data": [told], "pagination": {}})

    async def _followers(self, request: web.Request) -> web.Response:
        if self._helix_token(request) is None:
            return _refused(401, "Invalid OAuth token")
        whose = self._whose(request, "broadcaster_id")
        total = self.followers.get(whose.login, 0) if whose is not None else 0
        return web.json_response({"total": total, "data": [], "pagination": {}})

    async def _subscribe(self, request: web.Request) -> web.Response:
        token = self._helix_token(request)
        if token is None:
            return _refused(401, "Invalid OAuth token")
        body = await request.json()
        kind, condition = body["type"], body["condition"]
        session = next(
            (s for s in self.sessions if s.id == body["transport"].get("session_id")), None
        )
        if session is None:
            return _refused(
                400, "websocket transport session does not exist or has already disconnected"
            )
        if kind not in SCOPES:
            return _refused(400, f"invalid subscription type: {kind}")
        where = (
            condition.get("broadcaster_user_id") or condition.get("to_broadcaster_user_id") or ""
        )
        if all(account.id != where for account in self.accounts.values()):
            return _refused(400, "The broadcaster does not exist")
        reader = condition.get("user_id") or condition.get("moderator_user_id")
        is_owner = token.account.id == where
        if (
            not SCOPES[kind] <= set(token.scopes)
            or (kind.startswith(OWNERS_ONLY) and not is_owner)
            or (reader is not None and reader != token.account.id)
            or (kind == "channel.follow" and not is_owner)
        ):
            return _refused(403, "subscription missing proper authorization")
        if (kind, where) in session.subscriptions:
            return _refused(409, "subscription already exists")
        session.subscriptions[(kind, where)] = subscription = str(uuid.uuid4())
        session.token = request.headers.get("Authorization", "")
        self._changed.set()
        described = _described(subscription, kind, where)
        return web.json_response(
            {"data": [described], "total": 1, "total_cost": 0, "max_total_cost": 10}, status=202
        )

    async def _message(self, request: web.Request) -> web.Response:
        token = self._helix_token(request)
        if token is None:
            return _refused(401, "Invalid OAuth token")
        body = await request.json()
        text = str(body.get("message", ""))
        if "user:write:chat" not in token.scopes:
            return _refused(401, "Missing scope: user:write:chat")
        if body.get("sender_id") != token.account.id:
            return _refused(401, "The ID in sender_id must match the user ID in the token")
        if not text or len(text) > 500:
            return _refused(422, "The message must be 1 to 500 characters")
        now_s = time.monotonic()
        while self._sends and now_s - self._sends[0] > 30:
            self._sends.popleft()
        if len(self._sends) >= self.sends_per_30_s:
            reset = int(datetime.now(UTC).timestamp() + 30 - (now_s - self._sends[0])) + 1
            return _refused(429, "Too Many Requests", {"Ratelimit-Reset": str(reset)})
        self._sends.append(now_s)
        where = str(body.get("broadcaster_id"))
        reason = self.drop_reason
        if any(now_s - at < 30 and (to, said) == (where, text) for at, to, said in self._lately):
            reason = reason or ("msg_duplicate", "Your message is identical to the previous one.")
        if reason is not None:
            told = {"code": reason[0], "message": reason[1]}
            return web.json_response(
                {"data": [{"message_id": "", "is_sent": False, "drop_reason": told}]}
            )
        self._lately.append((now_s, where, text))
        message_id = str(uuid.uuid4())
        self.sent.append({**body, "message_id": message_id, "by": token.account.login})
        self._changed.set()
        channel = next((a.login for a in self.accounts.values() if a.id == where), "")
        if self.echoes and channel:
            # On Twitch too the message may be seen before its sender is answered.
            await self.chat(token.account.login, text, channel=channel, message_id=message_id)
        return web.json_response(
            {"data": [{"message_id": message_id, "is_sent": True, "drop_reason": None}]}
        )

    def _helix_token(self, request: web.Request) -> Token | None:
        token = self._bearer(request)
        if token is None or request.headers.get("Client-Id") != token.client_id:
            return None
        return token

    # --- before every answer, and by hand ---

    @property
    def _before(self) -> Any:
        @web.middleware
        async def before(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            what = f"{request.method} {request.path}"
            self.asked.append(what)
            self._changed.set()
            for start, seconds in self.slow_s.items():
                if request.path.startswith(start):
                    await asyncio.sleep(seconds)
            failure = self.failures.get(what)
            if failure is not None and failure.times > 0:
                failure.times -= 1
                if isinstance(failure.body, bytes):
                    return web.Response(
                        status=failure.status, body=failure.body, headers=failure.headers
                    )
                told = failure.body or {"status": failure.status, "message": "on purpose"}
                return web.json_response(told, status=failure.status, headers=failure.headers)
            try:
                return await handler(request)
            except (web.HTTPException, ConnectionError, asyncio.CancelledError):
                raise
            except Exception as error:
                self.errors.append(error)  # a mistake of this server, not a behaviour
                raise

        return before

    async def _seen(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "sessions": len(self.sessions),
                "irc": len(self.listeners),
                "most_at_once": self.most_at_once,
                "connections": self.connections,
                "sent": self.sent[-100:],
                "accounts": len(self.accounts),
                "devices": [device.code for device in self.devices.values()],
            }
        )

    async def _control(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        arguments = await request.json() if request.can_read_body else {}
        if name == "set":
            for key, value in arguments.items():
                if key not in KNOBS:
                    return _refused(404, f"there is {', '.join(KNOBS)}")
                setattr(self, key, set(value) if key == "missing" else value)
            return web.json_response({})
        if name not in CONTROLS:
            return _refused(404, f"there is {', '.join(CONTROLS)}")
        done = getattr(self, name)(**arguments)
        return web.json_response({"done": await done if asyncio.iscoroutine(done) else done})

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.skew_s)

    def _stamp(self) -> str:
        # Nanoseconds, as Twitch writes them.
        return self._now().strftime("%Y-%m-%dT%H:%M:%S.%f") + "123Z"


CONTROLS = (
    "chat follow subscribe gift raid redeem update go_live go_offline delete ban clear drop reconnect revoke raw"
    " fail approve deny expire log_out"
).split()
"""What POST /control/NAME does."""
KNOBS = (
    "keepalive_s duplicates skew_s is_silent missing drop_reason knocks token_s echoes sends_per_30_s slow_s"
).split()
"""What POST /control/set sets."""


def _user(account: Account, prefix: str) -> Json:
    return {
        f"{prefix}_id": account.id,
        f"{prefix}_login": account.login,
        f"{prefix}_name": account.name,
    }


def _described(subscription: str, kind: str, where: str) -> Json:
    return {
        "id": subscription,
        "status": "enabled",
        "type": kind,
        "version": "1",
        "cost": 0,
        "condition": {"broadcaster_user_id": where},
        "transport": {"method": "websocket", "session_id": "…"},
        "created_at": "2026-01-01T00:00:00Z",
    }


def _irc_emotes(text: str, emotes: Sequence[str]) -> str:
    found: dict[str, list[str]] = {}
    at = 0
    for word in text.split(" "):
        if word in emotes:
            found.setdefault(f"emote-{word}", []).append(f"{at}-{at + len(word) - 1}")
        at += len(word) + 1
    return "/".join(f"{emote}:{','.join(places)}" for emote, places in found.items())


def _escaped(value: str) -> str:
    for plain, written in (
        ("\\", "\\\\"),
        (";", "\\:"),
        (" ", "\\s"),
        ("\r", "\\r"),
        ("\n", "\\n"),
    ):
        value = value.replace(plain, written)
    return value


async def _said(request: web.Request) -> dict[str, str]:
    """What a request says, in its address or as a form."""
    form = await request.post()
    return {**request.query, **{name: str(value) for name, value in form.items()}}


def _refused(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"status": status, "message": message}, status=status, headers=headers)


async def _by_hand(arguments: argparse.Namespace) -> None:
    server = TwitchServer(port=arguments.port)
    server.account(arguments.channel)
    access, refresh = server.log_in(arguments.channel)
    async with server:
        values = {
            **server.settings,
            "twitch_client_id": PUBLIC_CLIENT,
            "twitch_channel": arguments.channel,
            "twitch_oauth_token": access,
            "twitch_refresh_token": refresh,
        }
        for name, value in values.items():
            print(f"{name.upper()}={value}", flush=True)  # noqa: T201 - for whoever started it by hand
        if not arguments.rate:
            await asyncio.Event().wait()
        for n in itertools.count():
            await server.chat(f"viewer_{n % 20}", f"message {n}, hello!", channel=arguments.channel)
            await asyncio.sleep(1 / arguments.rate)


def main() -> None:
    """Serve until Ctrl+C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8790)
    parser.add_argument("--channel", default="kira")
    parser.add_argument("--rate", type=float, default=0.0, help="messages a second by themselves")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_by_hand(parser.parse_args()))


if __name__ == "__main__":
    main()
