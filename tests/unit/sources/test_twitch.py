"""A Twitch channel against the local Twitch: joining, reading, writing, and everything that goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from backend.clients.twitch import Addresses, Application, Waits
from backend.clients.twitch_login import KEPT, Given
from backend.contracts.audience import AudienceMessage, ChannelState, ViewerEvent
from backend.contracts.errors import (
    BusyError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    ProviderError,
)
from backend.contracts.events import (
    AnyEvent,
    ChannelChanged,
    ChannelWrote,
    ErrorOccurred,
    StreamChanged,
)
from backend.core.bus import EventBus
from backend.sources import CHAT_SOURCES
from backend.sources.base import ChatSource, TwitchOptions, TwitchSettings
from backend.sources.twitch import OTHERS, channel_of, parts_of
from config_secrets import SecretStore
from tests.servers.twitch import CLIENT_SECRET, PUBLIC_CLIENT, SECRET_CLIENT, TwitchServer

pytestmark = pytest.mark.slow  # many connections, each with its waits

QUICK = (0.01, 0.02, 0.05)


class Desk:
    """Remembers what it was handed."""

    def __init__(self) -> None:
        self.messages: list[AudienceMessage] = []
        self.events: list[ViewerEvent] = []
        self.deleted: list[dict[str, object]] = []
        self.writer: Any = None
        self._news = asyncio.Event()

    async def take(self, message: AudienceMessage) -> object:
        self.messages.append(message)
        self._news.set()
        return None

    async def did(self, event: ViewerEvent) -> None:
        self.events.append(event)
        self._news.set()

    def delete(self, **which: object) -> int:
        self.deleted.append(which)
        self._news.set()
        return 0

    def set_writer(self, write: Any, platform: str = "twitch") -> None:
        self.writer = write

    async def until(self, is_so: Callable[[], bool], timeout_s: float = 30.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not is_so():
                self._news.clear()
                await self._news.wait()

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.messages]


class Room:
    """A local Twitch, and a Luma's side of it."""

    def __init__(self, server: TwitchServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.desk = Desk()
        self.bus = EventBus()
        self.kept: list[str] = []
        self.sources: list[ChatSource] = []
        self.states: list[ChannelState] = []
        self.events: list[AnyEvent] = []
        self._news = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    def settings(
        self, access: str = "", refresh: str = "", client: str = PUBLIC_CLIENT, **more: Any
    ) -> TwitchSettings:
        found = self.server.settings
        values: dict[str, Any] = {
            "addresses": Addresses(
                found["twitch_helix_url"],
                found["twitch_oauth_url"],
                found["twitch_eventsub_url"],
                found["twitch_irc_url"],
            ),
            "given": Given(
                Application(client, CLIENT_SECRET if client == SECRET_CLIENT else ""),
                access,
                refresh,
            ),
            "waits": Waits(connect_s=1.0, answer_s=2.0),
            "backoff_s": QUICK,
            "stable_s": 0.5,
            **more,
        }
        return TwitchSettings(**values)

    async def source(self, settings: TwitchSettings) -> ChatSource:
        async def keep(channel: str) -> None:
            self.kept.append(channel)

        made = CHAT_SOURCES.create(
            "twitch",
            TwitchOptions(
                bus=self.bus,
                audience=self.desk,
                store=SecretStore(self.folder, use_keyring=False),
                settings=settings,
                names=lambda: ("Luma",),
                keep_channel=keep,
            ),
        )
        self.sources.append(made)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
            await asyncio.sleep(0)
        await made.start()
        return made

    async def joined(self, **more: Any) -> ChatSource:
        """A source that has joined #kira as kira."""
        access, refresh = self.server.log_in("kira")
        made = await self.source(self.settings(access, refresh, **more))
        await made.connect("kira")
        return made

    async def _read(self) -> None:
        with self.bus.subscribe() as heard:
            while True:
                for item in await heard.take():
                    event = item.event
                    self.events.append(event)
                    if isinstance(event, ChannelChanged):
                        self.states.append(event.channel)
                    self._news.set()

    async def until(self, is_so: Callable[[], bool], timeout_s: float = 30.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not is_so():
                self._news.clear()
                await self._news.wait()

    async def until_asked(self, what: str) -> None:
        await self.server.until(lambda: what in self.server.asked)

    async def close(self) -> None:
        for source in self.sources:
            await source.close()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with TwitchServer() as server:
        server.account("kira", "Kira")
        made = Room(server, tmp_path)
        yield made
        await made.close()
        assert server.errors == []


# --- joining ---


async def test_a_channel_is_joined_with_a_login_and_the_state_says_so(room: Room) -> None:
    source = await room.joined()
    state = source.state.channel
    assert (state.state, state.mode, state.channel, state.user) == (
        "joined",
        "login",
        "kira",
        "kira",
    )
    assert state.can_write
    assert "without" not in state.detail
    assert [kind for kind, _ in room.server.sessions[0].subscriptions] == [
        "channel.chat.message",
        "channel.chat.message_delete",
        "channel.chat.clear_user_messages",
        "channel.chat.clear",
        "channel.chat.notification",
        "channel.follow",
        "channel.channel_points_custom_reward_redemption.add",
        "channel.update",
        "stream.online",
        "stream.offline",
    ]
    assert room.kept == ["kira"]
    assert room.desk.writer is not None


async def test_a_newcomer_reads_a_chat_without_any_login(room: Room) -> None:
    source = await room.source(room.settings())
    state = (await source.connect("https://www.twitch.tv/Kira")).channel
    assert (state.state, state.mode, state.can_write) == ("joined", "anonymous", False)
    await room.server.chat("mia", "hello Luma", badges=["moderator/1", "subscriber/12"])
    await room.desk.until(lambda: bool(room.desk.messages))
    message = room.desk.messages[0]
    assert (message.text, message.viewer.role, message.mentions_us) == (
        "hello Luma",
        "moderator",
        True,
    )
    assert not [path for path in room.server.asked if "/helix" in path or "/oauth2" in path]
    with pytest.raises(ConflictError, match="without a login"):
        await source.write("hi")


@pytest.mark.parametrize("with_login", [True, False])
async def test_a_channel_that_does_not_exist_is_an_answer(room: Room, with_login: bool) -> None:
    access, _ = room.server.log_in("kira") if with_login else ("", "")
    source = await room.source(room.settings(access))
    with pytest.raises(NotFoundError, match="nobody_here"):
        await source.connect("nobody_here")
    assert source.state.channel.state == "failed"
    assert room.server.open_now == 0


async def test_a_token_that_is_brought_is_checked_and_kept(room: Room) -> None:
    source = await room.source(room.settings())
    with pytest.raises(InvalidInputError, match="does not know this token"):
        await source.connect("kira", "made-up-token")
    access, _ = room.server.log_in("kira")
    state = await source.connect("kira", f"oauth:{access}")
    assert (state.channel.mode, state.login.user) == ("login", "kira")
    assert "cannot be renewed" in state.login.detail
    assert access not in state.model_dump_json()
    await source.close()
    again = await room.source(room.settings())
    assert (await again.connect("kira")).channel.mode == "login"


async def test_a_server_that_is_not_there_fails_at_once_when_somebody_asks(room: Room) -> None:
    access, refresh = room.server.log_in("kira")
    settings = room.settings(access, refresh)
    source = await room.source(settings)
    await room.server.refuse()
    with pytest.raises(ProviderError) as caught:
        await source.connect("kira")
    assert caught.value.kind == "unreachable"
    assert access not in caught.value.message
    assert source.state.channel.state == "failed"


async def test_a_channel_of_the_settings_is_joined_as_soon_as_twitch_is_there(room: Room) -> None:
    await room.server.refuse()
    source = await room.source(room.settings(channel="kira"))
    await room.until(lambda: any(state.state == "reconnecting" for state in room.states))
    await room.server.listen()
    await room.until(lambda: source.state.channel.state == "joined")


async def test_joining_another_channel_leaves_the_first(room: Room) -> None:
    room.server.account("mia")
    source = await room.joined()
    state = (await source.connect("mia")).channel
    assert (state.channel, state.state) == ("mia", "joined")
    assert "channel points" not in state.detail, "only the owner may, so it is not asked for"
    assert "followers" in state.detail
    await room.server.chat("viewer", "in the old one")
    await room.server.chat("viewer", "in the new one", channel="mia")
    await room.desk.until(lambda: bool(room.desk.messages))
    assert room.desk.texts == ["in the new one"]
    assert room.server.most_at_once == 1


async def test_two_who_join_at_once_get_one_connection_and_both_an_answer(room: Room) -> None:
    room.server.account("mia")
    access, refresh = room.server.log_in("kira")
    source = await room.source(room.settings(access, refresh))
    room.server.slow_s["/helix/users"] = 0.05
    results = await asyncio.gather(
        source.connect("kira"), source.connect("mia"), return_exceptions=True
    )
    assert isinstance(results[0], ConflictError)
    assert source.state.channel.channel == "mia"
    assert room.server.most_at_once == 1


async def test_disconnecting_leaves_and_stays_away(room: Room) -> None:
    source = await room.joined()
    state = (await source.disconnect()).channel
    assert (state.state, state.detail) == ("off", "disconnected")
    await room.server.until(lambda: room.server.open_now == 0)
    assert room.desk.writer is None


async def test_nothing_is_joined_while_the_module_is_off(room: Room) -> None:
    source = await room.source(room.settings())
    await source.stop()
    with pytest.raises(ConflictError, match="switched off"):
        await source.connect("kira")
    assert source.health().state == "off"


# --- what viewers do ---


async def test_everything_about_a_message_arrives(room: Room) -> None:
    await room.joined()
    await room.server.chat(
        "mia",
        "@kira look Kappa 👋",
        badges=["vip/1"],
        emotes=["Kappa"],
        mentions=["kira"],
        bits=500,
        reply_to=("parent-1", "tom"),
        is_first=True,
        name="Mia ✨",
    )
    await room.desk.until(lambda: bool(room.desk.messages and room.desk.events))
    message = room.desk.messages[0]
    assert message.viewer.name == "Mia ✨"
    assert message.viewer.role == "vip"
    assert message.viewer.is_first
    assert message.text[message.emotes[0].start : message.emotes[0].end] == "Kappa"
    assert (message.bits, message.reply_to, message.mentions_us) == (500, "parent-1", True)
    assert not message.replies_to_us
    cheer = room.desk.events[0]
    assert (cheer.kind, cheer.amount) == ("cheer", 500)


@pytest.mark.parametrize("with_login", [True, False])
async def test_viewers_events_arrive_once_each(room: Room, with_login: bool) -> None:
    if with_login:
        await room.joined()
    else:
        await (await room.source(room.settings())).connect("kira")
    room.server.duplicates = 2
    await room.server.subscribe("a")
    await room.server.subscribe("b", months=7, text="seven already")
    await room.server.gift("c", count=5)
    await room.server.raid("d", viewers=120)
    wanted = [("subscribe", 1), ("subscribe", 7), ("gift", 5), ("raid", 120)]
    if with_login:
        await room.server.follow("e")
        await room.server.redeem("f", "Hydrate", text="drink", reward_id="r1")
        await room.server.chat("f", "with the reward", reward_id="r1")
        wanted += [("follow", 0), ("redeem", 0)]
    await room.server.chat("z", "end")
    await room.desk.until(lambda: "end" in room.desk.texts)
    assert [(event.kind, event.amount) for event in room.desk.events] == wanted
    assert room.desk.events[1].text == "seven already"
    if with_login:
        assert room.desk.events[-1].reward == "Hydrate"
        assert room.desk.messages[0].reward == "Hydrate"


async def test_title_game_and_followers_are_known_and_changes_told_at_once(room: Room) -> None:
    await room.server.update("Cozy  evening", "Tetris")
    room.server.followers["kira"] = 99
    source = await room.joined()
    await room.until(lambda: source.state.stream.followers == 99)
    stream = source.state.stream
    assert (stream.channel, stream.title, stream.game) == ("kira", "Cozy evening", "Tetris")
    assert (stream.is_live, stream.started_at) == (False, None)
    await room.server.follow("e")
    room.server.lists_lag = True
    await room.server.go_live(viewers=7)
    # The list of Twitch does not know of it yet when it is asked again.
    await room.until(lambda: source.state.stream.followers == 100)
    assert source.state.stream.is_live
    await room.server.update("Boss fight", "Chess")
    await room.until(lambda: source.state.stream.game == "Chess")
    stream = source.state.stream
    assert (stream.title, stream.is_live, stream.started_at is not None) == (
        "Boss fight",
        True,
        True,
    )
    await room.server.go_offline()
    await room.until(lambda: not source.state.stream.is_live)
    await source.disconnect()
    assert source.state.stream.channel == ""
    told = [event.stream for event in room.events if isinstance(event, StreamChanged)]
    assert [stream.is_live for stream in told].count(True) >= 2
    assert all(told[n] != told[n + 1] for n in range(len(told) - 1))


@pytest.mark.parametrize("path", ["channels", "streams", "channels/followers"])
async def test_what_cannot_be_known_of_a_stream_costs_nothing_else(room: Room, path: str) -> None:
    room.server.fail(f"GET /helix/{path}", 403, times=99)
    source = await room.joined()
    await room.until_asked(f"GET /helix/{path}")
    await room.server.chat("v", "hello")
    await room.desk.until(lambda: room.desk.texts == ["hello"])
    assert source.state.channel.state == "joined"


@pytest.mark.parametrize("with_login", [True, False])
async def test_deletions_bans_and_a_cleared_chat_arrive_after_their_messages(
    room: Room, with_login: bool
) -> None:
    if with_login:
        await room.joined()
    else:
        await (await room.source(room.settings())).connect("kira")
    message_id = await room.server.chat("mia", "rude")
    await room.server.delete(message_id, "mia")
    await room.server.ban("mia", seconds=600)
    await room.server.clear()
    await room.desk.until(lambda: len(room.desk.deleted) == 3)
    assert room.desk.texts == ["rude"]
    assert room.desk.deleted == [
        {"message_id": message_id},
        {"platform": "twitch", "viewer_id": room.server.account("mia").id},
        {"platform": "twitch", "everything": True},
    ]


@pytest.mark.parametrize("with_login", [True, False])
async def test_what_is_delivered_twice_is_taken_once(room: Room, with_login: bool) -> None:
    if with_login:
        await room.joined()
    else:
        await (await room.source(room.settings())).connect("kira")
    room.server.duplicates = 3
    await room.server.chat("mia", "one", message_id="m1")
    await room.server.chat("mia", "one again under its id", message_id="m1")
    await room.server.chat("mia", "two")
    await room.desk.until(lambda: "two" in room.desk.texts)
    assert room.desk.texts == ["one", "two"]


@pytest.mark.parametrize(
    "field",
    ["message_id", "badges", "color", "cheer", "reply", "chatter_user_id", "chatter_user_name"],
)
async def test_a_missing_field_costs_that_field_and_not_the_message(room: Room, field: str) -> None:
    await room.joined()
    room.server.missing = {field}
    await room.server.chat("mia", "still here", badges=["vip/1"])
    await room.desk.until(lambda: bool(room.desk.messages))
    assert room.desk.messages[0].text == "still here"
    assert room.desk.messages[0].viewer.id
    assert room.desk.messages[0].id


async def test_clocks_that_are_years_apart_change_nothing_but_the_date(room: Room) -> None:
    await room.joined()
    room.server.skew_s = -5 * 365 * 86_400
    await room.server.chat("mia", "from the past")
    room.server.skew_s = 5 * 365 * 86_400
    await room.server.chat("mia", "from the future")
    await room.desk.until(lambda: len(room.desk.messages) == 2)
    assert room.desk.texts == ["from the past", "from the future"]


async def test_nonsense_on_the_socket_is_left_alone(room: Room) -> None:
    source = await room.joined()
    for text in ("{", "[]", "null", "{}", '{"metadata": 5}', '{"metadata": {"message_type": []}}'):
        await room.server.raw(text)
    await room.server.raw('{"metadata": {"message_type": "notification"}, "payload": {"event": 1}}')
    await room.server.chat("mia", "and on")
    await room.desk.until(lambda: bool(room.desk.messages))
    assert source.state.channel.state == "joined"


# --- what goes wrong on the way ---


@pytest.mark.parametrize("code", [0, 4000, 4001, 4002, 4003, 4004, 4005, 4006, 4007])
async def test_a_lost_connection_is_told_and_made_again(room: Room, code: int) -> None:
    source = await room.joined()
    await room.server.drop(code=code)
    await room.until(lambda: room.states[-1].state == "reconnecting")
    await room.until(lambda: source.state.channel.state == "joined")
    await room.server.chat("mia", "back")
    await room.desk.until(lambda: room.desk.texts == ["back"])
    assert room.server.most_at_once == 1


async def test_a_server_that_falls_silent_is_left(room: Room) -> None:
    room.server.keepalive_s = 0.05
    source = await room.joined()
    room.server.is_silent = True
    await room.until(lambda: room.states[-1].state == "reconnecting")
    assert "no sign of life" in room.states[-1].detail
    room.server.is_silent = False
    await room.until(lambda: source.state.channel.state == "joined")
    assert room.server.most_at_once == 1


async def test_a_silent_chat_without_login_is_asked_and_then_left(room: Room) -> None:
    source = await room.source(room.settings(silent_s=0.1))
    await source.connect("kira")
    await room.server.until(lambda: any(line.startswith("PING") for line in room.server.heard))
    assert source.state.channel.state == "joined"
    room.server.is_silent = True
    await room.until(lambda: room.states[-1].state == "reconnecting")
    room.server.is_silent = False
    await room.until(lambda: source.state.channel.state == "joined")


async def test_moving_to_another_connection_loses_and_doubles_nothing(room: Room) -> None:
    source = await room.joined()
    room.server.slow_s["/ws"] = 0.05
    moved = room.server.connections
    await room.server.reconnect()
    wanted = [f"message {n}" for n in range(40)]
    for n, text in enumerate(wanted):
        await room.server.chat("mia", text)
        if n == 20:
            await room.server.until(lambda: room.server.connections > moved)
    await room.desk.until(lambda: wanted[-1] in room.desk.texts)
    assert room.desk.texts == wanted
    assert source.state.channel.state == "joined"
    assert "reconnecting" not in [state.state for state in room.states]
    assert room.server.most_at_once == 1
    assert room.server.asked.count("POST /helix/eventsub/subscriptions") == 1 + len(OTHERS)


async def test_a_move_that_fails_ends_in_a_new_connection(room: Room) -> None:
    source = await room.joined()
    room.server.knocks = 1
    await room.server.reconnect()
    await room.server.until(lambda: room.server.knocks == 0)
    await room.server.chat("mia", "on the old one")
    await room.desk.until(lambda: room.desk.texts == ["on the old one"])
    await room.server.drop(code=4004)
    await room.until(lambda: room.states[-1].state == "reconnecting")
    await room.until(lambda: source.state.channel.state == "joined")


async def test_a_move_to_somewhere_else_is_not_made(room: Room) -> None:
    source = await room.joined()
    await room.server.raw(
        '{"metadata": {"message_type": "session_reconnect"},'
        ' "payload": {"session": {"reconnect_url": "ws://169.254.169.254/latest"}}}'
    )
    await room.server.chat("mia", "stayed")
    await room.desk.until(lambda: room.desk.texts == ["stayed"])
    assert source.state.channel.state == "joined"
    assert room.server.connections == 1


async def test_the_plain_chat_connects_anew_when_twitch_asks_for_it(room: Room) -> None:
    source = await room.source(room.settings())
    await source.connect("kira")
    await room.server.reconnect()
    await room.until(lambda: room.states[-1].state == "reconnecting")
    await room.until(lambda: source.state.channel.state == "joined")
    assert room.server.most_at_once == 1


async def test_a_permission_taken_back_is_said_and_nothing_is_tried_again(room: Room) -> None:
    source = await room.joined()
    await room.server.revoke()
    await room.until(lambda: source.state.channel.state == "failed")
    assert "Log in again" in source.state.channel.detail
    assert room.server.connections == 1


async def test_losing_a_part_is_said_and_the_chat_goes_on(room: Room) -> None:
    source = await room.joined()
    await room.server.revoke("channel.follow", "version_removed")
    await room.until(lambda: "without followers" in source.state.channel.detail)
    assert source.state.channel.state == "joined"


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_channel_that_is_set_outlives_answers_that_fail(room: Room, status: int) -> None:
    access, refresh = room.server.log_in("kira")
    room.server.fail("POST /helix/eventsub/subscriptions", status)
    source = await room.source(room.settings(access, refresh, channel="kira"))
    await room.until(lambda: source.state.channel.state == "joined")
    assert room.server.most_at_once == 1


async def test_a_part_that_failed_for_a_moment_is_asked_for_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.sources.twitch.TRY_AGAIN_S", (0.01, 0.01, 0.01))
    real = room.server._subscribe
    failing = {"left": 1}

    async def flaky(request: Any) -> Any:
        body = await request.json()
        if body["type"] == "channel.follow" and failing["left"]:
            failing["left"] -= 1
            raise RuntimeError("on purpose")
        return await real(request)

    await room.server.refuse()
    room.server._subscribe = flaky  # type: ignore[method-assign]  # one kind of answer fails
    await room.server.listen()
    source = await room.joined()
    await room.until(lambda: "without" not in source.state.channel.detail)
    assert room.server.reading("channel.follow")
    room.server.errors.clear()


async def flaps(room: Room, count: int) -> None:
    """Every kind of interruption in turn, with messages and doubles between them."""
    source = await room.joined()
    server = room.server
    server.keepalive_s = 2.0
    wanted: list[str] = []
    for n in range(count):
        before = server.connections
        for k in range(3):
            wanted.append(f"{n}.{k}")
            server.duplicates = (n + k) % 2
            await server.chat(f"viewer_{k}", wanted[-1])
        match n % 4:
            case 0:
                await server.drop()
            case 1:
                await server.drop(code=4000 + n % 8)
            case 2:
                await server.reconnect()
            case 3:
                server.knocks = 1
                await server.drop(code=1001)
        wanted.append(f"{n}.late")
        if n % 4 == 2:
            await server.chat("viewer_9", wanted[-1])
        await server.until(
            lambda before=before: (
                server.connections > before  # type: ignore[misc]  # bound now
                and any(not s.is_leaving for s in server.reading())
                and server.open_now == 1
            )
        )
        if n % 4 != 2:
            await server.chat("viewer_9", wanted[-1])
    await room.desk.until(lambda: wanted[-1] in room.desk.texts)
    assert room.desk.texts == wanted
    assert server.most_at_once == 1
    await room.until(lambda: source.state.channel.state == "joined")


async def test_flapping_connections_lose_and_double_nothing(room: Room) -> None:
    await flaps(room, 16)


@pytest.mark.slow
async def test_two_hundred_flaps_lose_and_double_nothing(room: Room) -> None:
    await flaps(room, 200)


# --- writing ---


async def test_a_reply_is_written_and_does_not_come_back_as_a_message(room: Room) -> None:
    source = await room.joined()
    message_id = await room.server.chat("mia", "hello?")
    await room.desk.until(lambda: bool(room.desk.messages))
    await room.desk.writer(room.desk.messages[0], "Hello, Mia!")
    assert room.server.sent[0]["message"] == "Hello, Mia!"
    assert room.server.sent[0]["reply_parent_message_id"] == message_id
    written = await source.write("And good evening.")
    assert written.is_sent
    await room.server.chat("kira", "typed by the streamer")
    await room.server.chat("mia", "thanks", reply_to=(written.message_ids[0], "kira"))
    await room.desk.until(lambda: "thanks" in room.desk.texts)
    assert room.desk.texts == ["hello?", "typed by the streamer", "thanks"]
    assert room.desk.messages[-1].replies_to_us
    assert not room.desk.messages[-2].replies_to_us
    wrote = [one for one in room.events if isinstance(one, ChannelWrote)]
    assert [(one.author, one.text, one.reply_to) for one in wrote] == [
        ("kira", "Hello, Mia!", message_id),
        ("kira", "And good evening.", ""),
    ]


async def test_why_a_reply_was_dropped_is_shown(room: Room) -> None:
    source = await room.joined()
    room.server.drop_reason = ("channel_settings", "This room is in followers-only mode.")
    written = await source.write("Hello!")
    assert (written.is_sent, written.drop_reason) == (False, "channel_settings")
    assert "followers-only mode" in source.state.channel.detail
    await room.until(lambda: any(isinstance(event, ErrorOccurred) for event in room.events))
    room.server.drop_reason = None
    assert (await source.write("Hello again!")).is_sent
    assert "followers-only" not in source.state.channel.detail


async def test_what_twitch_takes_is_waited_for(room: Room) -> None:
    source = await room.joined()
    room.server.fail("POST /helix/chat/messages", 429, headers={"Ratelimit-Reset": "1"})
    # A moment long past: the clocks differ, so half a minute is taken, and the wait ends with the caller's patience.
    writing = asyncio.create_task(source.write("Hello!"))
    await room.server.until(lambda: room.server.asked.count("POST /helix/chat/messages") == 1)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not writing.done()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)


async def test_no_more_is_written_than_twitch_allows(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.sources.twitch.PER_WINDOW_OWNER", 3)
    monkeypatch.setattr("backend.sources.twitch.WINDOW_S", 0.2)
    room.server.echoes = False
    source = await room.joined()
    began_s = asyncio.get_running_loop().time()
    await asyncio.gather(*(source.write(f"message {n}") for n in range(7)))
    assert asyncio.get_running_loop().time() - began_s >= 0.4
    assert [said["message"] for said in room.server.sent] == [f"message {n}" for n in range(7)]


async def test_too_many_replies_are_refused_rather_than_kept(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.sources.twitch.PER_WINDOW_OWNER", 0)
    monkeypatch.setattr("backend.sources.twitch.LONGEST_WAIT_S", 0.1)
    source = await room.joined()
    source._sends.append(asyncio.get_running_loop().time())  # type: ignore[attr-defined]  # the limit is reached
    results = await asyncio.gather(
        *(source.write(f"message {n}") for n in range(25)), return_exceptions=True
    )
    assert all(isinstance(result, BusyError) for result in results)
    assert sum("25" not in str(result) for result in results) == 25
    assert room.server.sent == []


async def test_a_token_that_ended_while_writing_is_renewed(room: Room) -> None:
    source = await room.joined()
    room.server.expire("kira")
    assert (await source.write("Hello!")).is_sent
    assert source.state.channel.state == "joined"


async def test_a_login_without_the_permission_reads_and_says_why_it_does_not_write(
    room: Room,
) -> None:
    access, refresh = room.server.log_in("kira", scopes=["user:read:chat"])
    source = await room.source(room.settings(access, refresh))
    state = (await source.connect("kira")).channel
    assert not state.can_write
    assert "user:write:chat" in state.detail
    assert "followers" in state.detail
    with pytest.raises(ConflictError, match="user:write:chat"):
        await source.write("hello")


# --- the login ---


async def test_somebody_logs_in_with_a_code_while_the_chat_is_read(room: Room) -> None:
    room.server.interval_s = 0.05
    source = await room.source(room.settings())
    await source.connect("kira")
    login = await source.begin_login()
    assert (login.state, len(login.code)) == ("waiting", 8)
    assert login.code in login.url
    room.server.approve(login.code, "kira")
    await room.until(
        lambda: source.state.channel.mode == "login" and source.state.channel.state == "joined"
    )
    assert source.state.login.user == "kira"
    assert source.state.login.is_renewable
    assert room.server.most_at_once == 1
    kept = (room.folder / "secrets.yaml").stat()
    assert kept.st_mode & 0o777 == 0o600


async def test_a_refused_code_and_a_cancelled_login_are_said(room: Room) -> None:
    room.server.interval_s = 0.05
    source = await room.source(room.settings())
    login = await source.begin_login()
    room.server.deny(login.code)
    await room.until(lambda: source.state.login.state == "failed")
    login = await source.begin_login()
    assert source.cancel_login().state == "none"
    room.server.approve(login.code, "kira")
    await asyncio.sleep(0.15)
    assert source.state.login.state == "none"


async def test_trouble_on_the_way_does_not_end_a_login_by_code(room: Room) -> None:
    room.server.interval_s = 0.05
    source = await room.source(room.settings())
    login = await source.begin_login()
    room.server.fail("POST /oauth2/token", 500, times=2)
    room.server.approve(login.code, "kira")
    await room.until(lambda: source.state.login.state == "in")
    assert room.server.failures["POST /oauth2/token"].times == 0


@pytest.mark.parametrize("client", ["", "an-unknown-client"])
async def test_without_an_application_the_login_says_what_to_set(room: Room, client: str) -> None:
    source = await room.source(room.settings(client=client))
    with pytest.raises(InvalidInputError, match="TWITCH_CLIENT_ID"):
        await source.begin_login()


@pytest.mark.parametrize("client", [PUBLIC_CLIENT, SECRET_CLIENT])
async def test_a_token_is_renewed_before_it_ends_and_what_came_last_is_kept(
    room: Room, client: str
) -> None:
    access, refresh = room.server.log_in("kira", client_id=client, seconds=60)
    settings = room.settings(access, refresh, client=client)
    source = await room.source(settings)
    await source.connect("kira")
    assert room.server.asked.count("POST /oauth2/token") == 1
    await source.close()
    # The refresh token of the settings is used up; the one that was kept counts.
    again = await room.source(settings)
    assert (await again.connect("kira")).channel.state == "joined"
    assert KEPT in (room.folder / "secrets.yaml").read_text()


async def test_other_tokens_in_the_settings_count_more_than_those_that_were_kept(
    room: Room,
) -> None:
    first = room.server.log_in("kira", seconds=60)
    source = await room.source(room.settings(*first))
    await source.connect("kira")
    second = room.server.log_in("mia")
    source.use(room.settings(*second))
    await room.until(
        lambda: source.state.channel.user == "mia" and source.state.channel.state == "joined"
    )
    assert room.server.most_at_once == 1


async def test_a_login_that_cannot_be_renewed_is_over_and_says_so(room: Room) -> None:
    source = await room.joined()
    room.server.log_out("kira")
    await room.server.drop()
    await room.until(lambda: source.state.channel.state == "failed")
    assert source.state.login.state == "over"
    assert "Log in again" in source.state.channel.detail


async def test_the_end_of_a_login_is_foreseen(room: Room) -> None:
    access, _ = room.server.log_in("kira", with_refresh=False, seconds=3600)
    source = await room.source(room.settings(access))
    state = await source.connect("kira")
    assert state.channel.expires_at is not None
    assert "log in again before" in state.channel.detail
    await room.until(
        lambda: any(
            isinstance(event, ErrorOccurred) and event.code == "twitch.login_ends"
            for event in room.events
        )
    )


async def test_logging_out_revokes_the_token_and_reads_on_without_it(room: Room) -> None:
    room.server.interval_s = 0.05
    source = await room.source(room.settings())
    login = await source.begin_login()
    room.server.approve(login.code, "kira")
    await room.until(lambda: source.state.login.state == "in" and bool(source.state.login.user))
    await source.connect("kira")
    assert (await source.forget_login()).state == "none"
    await room.until(
        lambda: source.state.channel.mode == "anonymous" and source.state.channel.state == "joined"
    )
    assert room.server.tokens == {}
    assert "access" not in (room.folder / "secrets.yaml").read_text()


async def test_many_who_need_a_new_token_at_once_renew_it_once(room: Room) -> None:
    source = await room.joined()
    room.server.echoes = False
    room.server.expire("kira")
    login = source._login  # type: ignore[attr-defined]  # what the writers share
    old = (await login.access()).token
    await asyncio.gather(*(login.renewed(old) for _ in range(10)))
    assert room.server.asked.count("POST /oauth2/token") == 1


async def test_no_token_is_in_any_event_or_log(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    source = await room.joined()
    room.server.fail("POST /helix/chat/messages", 500)
    with pytest.raises(ProviderError):
        await source.write("Hello!")
    room.server.expire("kira")
    await source.write("Hello!")
    room.server.log_out("kira")
    with pytest.raises(Exception, match="Log in again"):
        await source.connect("kira")
    secrets = [*room.server.tokens, *room.server.refreshes]
    told = caplog.text + "".join(event.model_dump_json() for event in room.events)
    assert "access" + "0" not in told
    for secret in secrets:
        assert secret not in told
    import re

    assert not re.search(r"(access|refresh)[0-9a-f]{32}", told)


# --- small things ---


@pytest.mark.parametrize(
    "written", ["kira", "#Kira", "@KIRA ", "https://twitch.tv/kira?x=1", "m.twitch.tv/kira/videos"]
)
def test_a_channel_is_understood_however_it_is_written(written: str) -> None:
    assert channel_of(written) == "kira"


@pytest.mark.parametrize("written", ["", " ", "a b", "x" * 26, "käse", "a/../b#", "#", "\0", "a;b"])
def test_what_is_no_channel_is_refused(written: str) -> None:
    if written == "a/../b#":
        assert channel_of(written) == "a"
        return
    with pytest.raises(InvalidInputError):
        channel_of(written)


def test_long_texts_become_messages_that_twitch_takes() -> None:
    text = "word " * 180
    parts = parts_of(text)
    assert [len(part) <= 500 for part in parts] == [True, True]
    assert " ".join(parts) == text.strip()
    assert parts_of("x" * 5000)[-1].endswith("…")
    assert all(len(part) <= 500 for part in parts_of("x" * 5000))
    assert parts_of(" \n ") == []
