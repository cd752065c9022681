"""A Twitch channel: what its viewers write and do goes to the desk, replies go back; joined again whatever happens to the network.

One task, the keeper, owns the one connection: it joins, reads until that ends, waits, and joins again. With a login it reads EventSub
and writes through Helix; without one it reads the plain chat. Twitch delivers at least once, so everything passes by its id once.
Durations are measured on a clock that no one sets; Twitch's and the computer's own are shown and never reckoned with.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict, deque
from collections.abc import Coroutine, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from backend.clients.twitch import Access, Account, Broadcast, EventSub, Frame
from backend.clients.twitch_irc import AnonymousChat, read_line
from backend.clients.twitch_login import WRITE, Login, LoginOverError
from backend.clients.twitch_reading import (
    PLATFORM,
    Deleted,
    Told,
    Us,
    read_event,
    text_of,
    time_of,
)
from backend.contracts.audience import AudienceMessage, ChannelState, StreamState, ViewerEvent
from backend.contracts.entities import ServiceInfo
from backend.contracts.errors import (
    AppError,
    BusyError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    ProviderError,
)
from backend.contracts.events import (
    ChannelChanged,
    ChannelWrote,
    ErrorOccurred,
    StreamChanged,
    TwitchLoginChanged,
)
from backend.contracts.twitch import TwitchLogin, TwitchState, Written
from backend.core import clock
from backend.core.background import Background
from backend.core.workers import run_in_thread
from backend.sources.base import TwitchOptions, TwitchSettings

if TYPE_CHECKING:
    from backend.clients.twitch_api import TwitchApi

logger = logging.getLogger(__name__)

CHAT = "channel.chat.message"
OTHERS: Mapping[str, str] = {
    "channel.chat.message_delete": "deleted messages",
    "channel.chat.clear_user_messages": "bans and timeouts",
    "channel.chat.clear": "a cleared chat",
    "channel.chat.notification": "subscriptions, gifts and raids",
    "channel.follow": "followers",
    "channel.channel_points_custom_reward_redemption.add": "channel points",
    "channel.update": "changes of title and game",
    "stream.online": "the beginning of the stream",
    "stream.offline": "the end of the stream",
}
"""What is subscribed to beside the chat itself: without it the rest goes on."""
OWNERS_ONLY = frozenset({"channel.channel_points_custom_reward_redemption.add"})
TRY_AGAIN_S = (2.0, 10.0, 60.0)
"""Pauses before what Twitch did not take for a reason of its own is asked for again."""

STREAM_S = 60.0
"""How often it is asked how many watch and follow."""
SETTLES_S = 180.0
"""For so long Twitch's lists may not know yet what its events have told of a stream that began or ended."""

JOIN_S = 20.0
"""Longest wait of whoever asks to join."""
SEEN_KEPT = 20_000
SENT_KEPT = 500
MOST_TAKING = 1000
"""Messages that may be on their way into the desk; then the connection waits. The desk takes fewer at once by itself."""
AT_ONCE = 4
SLICE_S = 0.004
"""Messages, and seconds of reading, after which everybody else on the loop has a turn."""

WINDOW_S = 30.0
PER_WINDOW = 20
PER_WINDOW_OWNER = 100
"""Messages that Twitch takes in 30 s, and from a channel's owner."""
MOST_WAITING = 20
LONGEST_WAIT_S = 60.0
SAME_S = 30.0
"""For so long Twitch does not show the same text again, and says `SAME`."""
SAME = "msg_duplicate"
NOT_FIRST = "/.!$ "
"""What a reply may not begin with: to Twitch, or to another program that reads the chat, it could be a command of the streamer."""
MOST_LETTERS = 500
MOST_PARTS = 3

_CHANNEL = re.compile(r"[a-z0-9_]{1,25}")
_ADDRESS = re.compile(r"(?:https?://)?(?:www\.|m\.)?twitch\.tv/", re.IGNORECASE)
_dice = SystemRandom()


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is to be joined."""

    channel: str
    is_asked: bool
    """Somebody waits for the answer: the first failure is the last."""
    is_anonymous: bool = False
    """Without the login, even where there is one."""


class _Final(AppError):
    """Trying again is of no use until somebody does something."""

    code = "twitch.over"
    status = 409


class TwitchChat:
    """A channel of Twitch, as `backend.sources.base.ChatSource`; the module "twitch"."""

    name = "twitch"

    def __init__(self, options: TwitchOptions) -> None:
        self._bus = options.bus
        self._audience = options.audience
        self._names = options.names
        self._keep_channel = options.keep_channel
        self._on_message = options.on_message
        self._settings = options.settings
        self._login = Login(
            self._api, options.store, options.settings.given, on_change=self._login_changed
        )
        self._api_made: TwitchApi | None = None
        self._api_busy = asyncio.Lock()
        self._is_on = False
        self._channel = ChannelState(platform=PLATFORM, state="off", detail="switched off")
        self._changing = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None
        self._wish = _Wish("", False)
        self._joined: asyncio.Future[None] | None = None
        self._joining = 0
        """Of those who asked to join, how many wait: nothing is joined anew behind their backs."""
        self._watcher: asyncio.Task[None] | None = None
        self._tasks = Background(logger)
        self._taking: set[asyncio.Task[Any]] = set()
        self._in_this_turn = 0
        self._turn_s = 0.0
        self._us = Us()
        self._owner = Account("", "", "")
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._rewards: OrderedDict[str, str] = OrderedDict()
        self._sent_ids: OrderedDict[str, None] = OrderedDict()
        self._on_the_way: list[str] = []
        self._sends: deque[float] = deque()
        self._written: deque[tuple[float, str]] = deque(maxlen=PER_WINDOW_OWNER)
        """When which text was written, as long as Twitch would not show it again."""
        self._blocked_s = 0.0
        self._writing = asyncio.Lock()
        self._waiting = 0
        self._drop = ""
        self._base_detail = ""
        self._stream = StreamState(platform=PLATFORM)
        self._live_told: tuple[Broadcast, float] | None = None
        self._ask_again = asyncio.Event()

    # --- the module ---

    async def start(self) -> None:
        """Be on, and join the channel that is set."""
        self._is_on = True
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._login.watch(), name="twitch login watch")
        if self._settings.channel:
            try:
                wish = _Wish(channel_of(self._settings.channel), is_asked=False)
            except InvalidInputError as error:
                self._tell("failed", detail=error.message)
                return
            async with self._changing:
                await self._leave()
                self._begin(wish)
        else:
            self._tell("off", detail="No channel is set: name one, and its chat is read.")

    async def stop(self) -> None:
        """Leave and be off."""
        self._is_on = False
        async with self._changing:
            await self._leave()
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
        self._tell("off", detail="switched off")

    async def close(self) -> None:
        """End everything."""
        await self.stop()
        await self._login.close()
        for task in self._taking:
            task.cancel()
        await self._tasks.close()
        await asyncio.gather(*self._taking, return_exceptions=True)
        api, self._api_made = self._api_made, None
        if api is not None:
            await api.close()

    def health(self) -> ServiceInfo:
        """The connection in words."""
        state = self._channel
        is_failed = state.state == "failed"
        where = f"#{state.channel}: " if state.channel else ""
        return ServiceInfo(
            name=self.name,
            title="Twitch",
            enabled=self._is_on,
            state="off"
            if not self._is_on
            else "failed"
            if is_failed
            else "starting"
            if state.state == "connecting"
            else "degraded"
            if state.state == "reconnecting"
            else "ready",
            detail="" if is_failed else where + state.detail,
            error=where + state.detail if is_failed else "",
        )

    @property
    def state(self) -> TwitchState:
        """The connection and the login."""
        return TwitchState(channel=self._channel, login=self._login.state, stream=self._stream)

    def use(self, settings: TwitchSettings) -> None:
        """Take what the settings say now; who is connected stays so until the login or the addresses are others."""
        before, self._settings = self._settings, settings
        if before == settings:
            return
        is_another = before.addresses != settings.addresses or before.waits != settings.waits
        is_another = is_another or before.given.application != settings.given.application
        is_another_login = self._login.use(settings.given)
        if is_another or is_another_login:
            self._tasks.spawn(self._renew_connection(is_another), "twitch as it is set")
        elif self._is_on and before.channel != settings.channel != self._wish.channel:
            self._tasks.spawn(self._rejoin_set(), "twitch joins another channel")

    async def look(self) -> TwitchState:
        """The same, once it is known whether somebody has logged in."""
        await self._login.is_there()
        return self.state

    # --- joining and leaving ---

    async def connect(
        self, channel: str = "", token: str = "", *, is_anonymous: bool = False
    ) -> TwitchState:
        """Join, and say how that went."""
        if not self._is_on:
            raise ConflictError('The module "twitch" is switched off; switch it on.')
        wanted = channel_of(channel or self._settings.channel)
        self._joining += 1
        try:
            await self._join(_Wish(wanted, is_asked=True, is_anonymous=is_anonymous), token)
        finally:
            self._joining -= 1
        if self._keep_channel is not None and wanted != self._settings.channel:
            try:
                await self._keep_channel(wanted)
            except AppError as error:
                logger.info("twitch: the channel is not remembered: %s", error.message)
        return self.state

    async def _join(self, wish: _Wish, token: str) -> None:
        wanted = wish.channel
        if token:
            await self._login.take(token)
        async with self._changing:
            await self._leave()
            joined = self._begin(wish)
        try:
            async with asyncio.timeout(JOIN_S):
                await asyncio.shield(joined)
        except TimeoutError:
            await self._give_up(wish, f"#{wanted} was not joined within {JOIN_S:g} s. Try again.")
            raise ProviderError(
                f"Twitch hangs: #{wanted} was not joined within {JOIN_S:g} s. Try again.",
                kind="stalled",
                provider="twitch",
            ) from None
        except asyncio.CancelledError:
            if joined.cancelled():
                raise ConflictError("Something else was asked of Twitch meanwhile.") from None
            raise

    async def disconnect(self) -> TwitchState:
        """Leave."""
        async with self._changing:
            await self._leave()
            self._wish = _Wish("", False)
            self._tell("off", detail="disconnected" if self._is_on else "switched off")
        return self.state

    def _begin(self, wish: _Wish) -> asyncio.Future[None]:
        joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        joined.add_done_callback(_looked_at)
        self._wish, self._joined = wish, joined
        self._drop = ""
        self._written.clear()
        self._tell("connecting", channel=wish.channel, detail="joining")
        self._keeper = self._tasks.spawn(self._keep_joined(wish, joined), "twitch")
        return joined

    async def _leave(self) -> None:
        """End the connection; when this returns there is none."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        if self._joined is not None:
            self._joined.cancel()  # who waits for it learns that something else was asked
        self._tell_stream(StreamState(platform=PLATFORM))
        self._live_told = None
        self._audience.set_writer(None)

    async def _give_up(self, wish: _Wish, why: str) -> None:
        async with self._changing:
            if self._wish is wish:
                await self._leave()
                self._tell("failed", channel=wish.channel, detail=why)

    async def _renew_connection(self, is_another_place: bool) -> None:
        async with self._changing:
            wish = self._wish
            await self._leave()
            if is_another_place:
                api, self._api_made = self._api_made, None
                if api is not None:
                    await api.close()
            if self._is_on and wish.channel:
                self._begin(replace(wish, is_asked=False))

    async def _rejoin_set(self) -> None:
        if self._is_on:
            await self.start()

    async def _keep_joined(self, wish: _Wish, joined: asyncio.Future[None]) -> None:
        attempt = 0
        was_joined = False
        try:
            while True:
                began_s: float | None = None

                def told(mode: str) -> None:
                    nonlocal began_s, was_joined
                    began_s, was_joined = clock.monotonic_s(), True
                    if not joined.done():
                        joined.set_result(None)
                    logger.info("twitch: joined #%s (%s)", wish.channel, mode)

                try:
                    if not wish.is_anonymous and await self._login.is_there():
                        await self._as_user(wish, told)
                    else:
                        await self._as_nobody(wish, told)
                except (
                    ProviderError,
                    LoginOverError,
                    _Final,
                    NotFoundError,
                    InvalidInputError,
                ) as error:
                    is_asked = wish.is_asked and not joined.done()
                    if was_joined and isinstance(error, NotFoundError):
                        # It was there a moment ago: Twitch has trouble, or it comes back.
                        error = ProviderError(error.message, kind="server", provider="twitch")
                    if not isinstance(error, ProviderError) or error.kind == "key" or is_asked:
                        self._tell("failed", channel=wish.channel, detail=error.message)
                        if not joined.done():
                            joined.set_exception(error)
                        return
                    why = error
                except Exception as error:
                    logger.exception("twitch: the connection failed")
                    if not joined.done() and wish.is_asked:
                        self._tell(
                            "failed",
                            channel=wish.channel,
                            detail="Something went wrong inside Luma; the log says what.",
                        )
                        joined.set_exception(error)
                        return
                    why = ProviderError(
                        "Something went wrong inside Luma; the log says what.",
                        kind="malformed",
                        provider="twitch",
                    )
                if began_s is not None and clock.monotonic_s() - began_s >= self._settings.stable_s:
                    attempt = 0
                pauses = self._settings.backoff_s
                pause_s = pauses[min(attempt, len(pauses) - 1)] * _dice.uniform(0.8, 1.2)
                pause_s = max(pause_s, min(why.retry_after_s or 0.0, 60.0))
                attempt += 1
                self._tell(
                    "reconnecting",
                    channel=wish.channel,
                    detail=f"{why.message} Connecting again in {pause_s:.1f} s.",
                )
                await asyncio.sleep(pause_s)
                self._tell("reconnecting", channel=wish.channel, detail="connecting again")
        finally:
            if not joined.done():
                joined.cancel()

    # --- with a login ---

    async def _as_user(self, wish: _Wish, told: Any) -> None:
        access = await self._login.access()
        api = await self._api()
        try:
            owner = await api.account(access.token, wish.channel)
        except ProviderError as error:
            if error.kind != "key":
                raise
            access = await self._login.renewed(access.token)
            owner = await api.account(access.token, wish.channel)
        if owner is None:
            raise NotFoundError(f"There is no channel {wish.channel!r} on Twitch. Check its name.")
        self._owner = owner
        self._us = Us(access.user_id, access.login, self._known_names(), access.user_id == owner.id)
        socket = EventSub(self._settings.addresses.eventsub, self._settings.waits)
        more: asyncio.Task[None] | None = None
        about: asyncio.Task[None] | None = None
        try:
            session_id = await socket.open()
            access, lacking = await self._subscribe(access, session_id, owner)
            self._tell_joined(access, lacking)
            told("login")
            if lacking:
                more = asyncio.create_task(self._subscribe_later(session_id, owner, lacking))
            about = asyncio.create_task(self._watch_stream(owner), name="twitch: the stream")
            async with aclosing(socket.frames()) as frames:
                async for frame in frames:
                    await self._frame(frame, owner.login)
                    await self._breathe()
        finally:
            beside = [task for task in (more, about) if task is not None]
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await socket.close()

    async def _subscribe(
        self, access: Access, session_id: str, owner: Account
    ) -> tuple[Access, dict[str, ProviderError]]:
        """Have the session told of everything; what lacks, and why. Without the chat it is a failure."""
        api = await self._api()

        async def ask(kind: str) -> None:
            await api.subscribe(
                access.token,
                session_id,
                kind,
                broadcaster_id=owner.id,
                user_id=access.user_id,
            )

        try:
            await ask(CHAT)
        except ProviderError as error:
            if error.kind not in ("key", "request"):
                raise
            # The token may have ended; a permission that lacks is told apart by trying a new one.
            access = await self._login.renewed(access.token)
            try:
                await ask(CHAT)
            except ProviderError as again:
                if again.kind in ("key", "request"):
                    raise _Final(
                        f"The chat of #{owner.login} may not be read: {again.message}"
                    ) from None
                raise
        kinds = [kind for kind in OTHERS if kind not in OWNERS_ONLY or access.user_id == owner.id]
        results = await asyncio.gather(*(ask(kind) for kind in kinds), return_exceptions=True)
        lacking: dict[str, ProviderError] = {}
        for kind, result in zip(kinds, results, strict=True):
            if isinstance(result, ProviderError):
                lacking[kind] = result
            elif isinstance(result, BaseException):
                raise result
        return access, lacking

    async def _subscribe_later(
        self, session_id: str, owner: Account, lacking: dict[str, ProviderError]
    ) -> None:
        """Ask again for what Twitch did not take for a reason that passes."""
        for pause_s in TRY_AGAIN_S:
            if not any(error.retryable for error in lacking.values()):
                return
            await asyncio.sleep(pause_s)
            for kind in [kind for kind, error in lacking.items() if error.retryable]:
                try:
                    access = await self._login.access()
                    await (await self._api()).subscribe(
                        access.token,
                        session_id,
                        kind,
                        broadcaster_id=owner.id,
                        user_id=access.user_id,
                    )
                    del lacking[kind]
                except ProviderError as error:
                    lacking[kind] = error
                except LoginOverError:
                    return
            self._tell_joined(await self._login.access(), lacking)

    def _tell_joined(self, access: Access, lacking: Mapping[str, AppError]) -> None:
        detail = f"reads and writes as {access.login}"
        if WRITE not in access.scopes:
            detail = (
                f"reads as {access.login}; replies may not be written ({WRITE} was not permitted)"
            )
        if lacking:
            detail += "; without " + ", ".join(OTHERS[kind] for kind in lacking)
        self._base_detail = detail
        self._tell(
            "joined",
            mode="login",
            channel=self._owner.login,
            user=access.login,
            detail=self._with_warnings(detail),
            can_write=WRITE in access.scopes,
        )

    def _with_warnings(self, detail: str) -> str:
        login = self._login.state
        said = [detail]
        if login.state == "in" and not login.is_renewable and login.expires_at is not None:
            said.append(
                f"the login ends at {login.expires_at:%Y-%m-%d %H:%M} UTC, log in again before"
            )
        if self._drop:
            said.append(self._drop)
        return "; ".join(said)

    async def _frame(self, frame: Frame, channel: str) -> None:
        if frame.what == "revocation":
            self._revoked(frame)
            return
        # Ids of notifications and of messages are told apart: both may come twice.
        if frame.id and not self._is_new(f"told:{frame.id}"):
            return
        at = time_of(frame.at, clock.now())
        if frame.kind.startswith("channel.channel_points"):
            self._learn_reward(frame.event)
        if frame.kind in ("channel.update", "stream.online", "stream.offline"):
            self._told_of_stream(frame, channel)
            return
        for told in read_event(
            frame.kind, frame.event, told_id=frame.id, at=at, channel=channel, us=self._us
        ):
            await self._hand_on(told)

    def _revoked(self, frame: Frame) -> None:
        why = {
            "authorization_revoked": "the permission was taken back, or the password has changed. Log in again",
            "user_removed": "the account is gone. Log in with another one",
            "version_removed": "Twitch has given up this kind of event. Update Luma",
        }.get(frame.status, f"{frame.status or 'no reason given'}. Connect again")
        if frame.kind == CHAT or frame.status == "authorization_revoked":
            self._tasks.spawn(self._login.recheck(), "twitch asks about the login")
            raise _Final(f"Twitch took the subscription to the chat back: {why}.")
        what = OTHERS.get(frame.kind, frame.kind[:100])
        self._base_detail += f"; without {what}"
        self._change(detail=self._with_warnings(self._base_detail))
        self._warn("twitch.revoked", f"Twitch tells no more of {what}: {why}.")

    def _learn_reward(self, event: Mapping[str, Any]) -> None:
        reward = event.get("reward")
        if isinstance(reward, dict):
            reward_id, title = reward.get("id"), reward.get("title")
            if isinstance(reward_id, str) and isinstance(title, str):
                self._rewards[reward_id[:200]] = title[:100]
                while len(self._rewards) > 200:
                    self._rewards.popitem(last=False)

    # --- the stream itself ---

    async def _watch_stream(self, owner: Account) -> None:
        """Ask about the stream again and again: nobody tells how many watch and follow, and an event may be missed."""
        while True:
            self._ask_again.clear()
            try:
                access = await self._login.access()
                api = await self._api()
                shown = await api.broadcast(access.token, owner.id)
                self._tell_stream(self._stream_of(owner.login, shown, self._stream.followers))
                followers = await api.followers(access.token, owner.id)
                self._tell_stream(self._stream.model_copy(update={"followers": followers}))
            except (ProviderError, LoginOverError, InvalidInputError) as error:
                logger.debug("twitch: the stream is not known: %s", error.message)
            except Exception:
                logger.exception("twitch: what it says of the stream was not understood")
            with suppress(TimeoutError):
                async with asyncio.timeout(STREAM_S):
                    await self._ask_again.wait()

    def _told_of_stream(self, frame: Frame, channel: str) -> None:
        """An event says it at once; Helix follows."""
        event, now = frame.event, self._stream
        title, game = now.title, now.game
        if frame.kind == "channel.update":
            title = text_of(event.get("title"), 200) or title
            game = text_of(event.get("category_name"), 200)
            began = now.started_at.isoformat() if now.started_at is not None else ""
        else:
            began = ""
            if frame.kind == "stream.online":
                began = text_of(event.get("started_at"), 40) or clock.now().isoformat()
            self._live_told = Broadcast(started_at=began), clock.monotonic_s()
        shown = Broadcast(title, game, began, now.viewers if began else 0)
        self._tell_stream(self._stream_of(channel, shown, now.followers))
        self._ask_again.set()

    def _stream_of(self, channel: str, shown: Broadcast, followers: int | None) -> StreamState:
        told = self._live_told
        if told is not None and clock.monotonic_s() - told[1] < SETTLES_S:
            if shown.is_live != told[0].is_live:
                shown = replace(shown, started_at=told[0].started_at, viewers=0)
        began = time_of(shown.started_at, clock.now()) if shown.is_live else None
        return StreamState(
            platform=PLATFORM,
            channel=channel,
            is_live=shown.is_live,
            title=" ".join(shown.title.split()),
            game=" ".join(shown.game.split()),
            started_at=began,
            viewers=shown.viewers,
            followers=followers,
        )

    def _tell_stream(self, stream: StreamState) -> None:
        if stream != self._stream:
            self._stream = stream
            self._bus.publish(StreamChanged(stream=stream))

    # --- without one ---

    async def _as_nobody(self, wish: _Wish, told: Any) -> None:
        self._us = Us(names=self._known_names())
        settings = self._settings
        chat = AnonymousChat(
            settings.addresses.irc, wish.channel, settings.waits, silent_s=settings.silent_s
        )
        try:
            await chat.open()
            self._tell(
                "joined",
                mode="anonymous",
                channel=wish.channel,
                detail="reads without a login; log in to write replies and to see followers and channel points",
            )
            told("without a login")
            async with aclosing(chat.lines()) as lines:
                async for line in lines:
                    for found in read_line(line, channel=wish.channel, us=self._us):
                        await self._hand_on(found)
                    await self._breathe()
        finally:
            await chat.close()

    # --- handing on ---

    async def _hand_on(self, told: Told) -> None:
        match told:
            case Deleted(message_id="", user_id=""):
                self._audience.delete(platform=PLATFORM, everything=True)
            case Deleted(message_id=message_id, user_id=""):
                self._audience.delete(message_id=message_id)
            case Deleted(user_id=user_id):
                self._audience.delete(platform=PLATFORM, viewer_id=user_id)
            case ViewerEvent():
                if self._is_new(f"did:{told.id}"):
                    await self._take(self._audience.did(told))
            case AudienceMessage():
                if self._is_new(f"message:{told.id}") and not self._is_own(told):
                    message = self._completed(told)
                    self._on_message(message)
                    await self._take(self._audience.take(message))

    def _completed(self, message: AudienceMessage) -> AudienceMessage:
        changes: dict[str, object] = {}
        if message.reply_to in self._sent_ids:
            changes["replies_to_us"] = True
        if message.reward in self._rewards:
            changes["reward"] = self._rewards[message.reward]
        return message.model_copy(update=changes) if changes else message

    def _is_own(self, message: AudienceMessage) -> bool:
        """Whether we wrote it: it may be seen before Twitch has answered who sent it."""
        if message.id in self._sent_ids:
            return True
        return message.viewer.id == self._us.user_id and message.text in self._on_the_way

    async def _take(self, work: Coroutine[Any, Any, object]) -> None:
        """Have the desk go on with something; it may be slow, and what follows (a deletion) must not wait for it.

        The desk knows of it already, since ``work`` was made: no deletion comes before its message.
        """
        task = asyncio.create_task(work)
        self._taking.add(task)
        task.add_done_callback(self._taken)
        self._in_this_turn += 1
        while len(self._taking) >= MOST_TAKING:
            await asyncio.wait(self._taking, return_when=asyncio.FIRST_COMPLETED)

    async def _breathe(self) -> None:
        """Let everybody else have a turn, when enough was read since the last one.

        Not after every message: where the machine is slow, so are turns, and a deletion must not stand behind hundreds of them.
        """
        loop = asyncio.get_running_loop()
        if self._in_this_turn >= AT_ONCE or loop.time() - self._turn_s > SLICE_S:
            await asyncio.sleep(0)
            self._turn_s, self._in_this_turn = loop.time(), 0

    def _taken(self, task: asyncio.Task[Any]) -> None:
        self._taking.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("twitch: a message was not taken", exc_info=error)

    def _is_new(self, key: str) -> bool:
        if key in self._seen:
            return False
        self._seen[key] = None
        while len(self._seen) > SEEN_KEPT:
            self._seen.popitem(last=False)
        return True

    def _known_names(self) -> tuple[str, ...]:
        nick = self._settings.nick
        return tuple(name.casefold() for name in (*self._names(), nick) if name)

    # --- writing ---

    async def write(self, text: str, *, reply_to: str = "") -> Written:
        """Write, in parts when it is long, each as soon as Twitch takes it."""
        return await self._write(parts_of(text), reply_to)

    async def _write(self, parts: list[str], reply_to: str, to: str = "") -> Written:
        """Write these parts; the first one to somebody by name, if Twitch would not show it again otherwise."""
        if self._channel.mode != "login" or not self._channel.can_write:
            raise ConflictError(
                "Nothing can be written into the Twitch chat now: "
                + (self._channel.detail or "it is not connected")
                + "."
            )
        if not parts:
            raise InvalidInputError("There is nothing to write.")
        if self._waiting >= MOST_WAITING:
            raise BusyError(f"{MOST_WAITING} replies wait to be written into the Twitch chat.")
        self._waiting += 1
        sent: list[str] = []
        try:
            async with asyncio.timeout(LONGEST_WAIT_S):
                async with self._writing:  # one after another, in the order in which they came
                    for part in parts:
                        if not sent and to and self._said_s(part) is not None:
                            part = f"@{to} {part}"[:MOST_LETTERS]
                        if (said_s := self._said_s(part)) is not None:
                            return Written(
                                is_sent=False,
                                message_ids=tuple(sent),
                                drop_reason=SAME,
                                detail=f"The same was written {said_s:.0f} s ago, and Twitch does not show it"
                                f" again within {SAME_S:g} s; it was not sent.",
                            )
                        done = await self._send(part, reply_to if not sent else "")
                        if not done.is_sent:
                            return Written(
                                is_sent=False,
                                message_ids=tuple(sent),
                                drop_reason=done.code,
                                detail=done.reason,
                            )
                        sent.append(done.message_id)
                        self._bus.publish(
                            ChannelWrote(
                                platform=PLATFORM,
                                channel=self._channel.channel,
                                author=self._us.login,
                                text=part,
                                message_id=done.message_id,
                                reply_to=reply_to if len(sent) == 1 else "",
                            )
                        )
        except TimeoutError:
            raise BusyError(
                f"The reply was not written within {LONGEST_WAIT_S:g} s: Twitch takes {PER_WINDOW} messages in {WINDOW_S:g} s."
            ) from None
        finally:
            self._waiting -= 1
        return Written(is_sent=True, message_ids=tuple(sent))

    async def _reply(self, message: AudienceMessage, text: str) -> None:
        # Each part is a message of its own, and none may be a command.
        parts = [bare for part in parts_of(text) if (bare := part.lstrip(NOT_FIRST))]
        viewer = message.viewer
        to = viewer.name if viewer.name.lower() == viewer.login else ""
        done = await self._write(parts, message.id, to)
        if done.drop_reason == SAME:
            logger.info("twitch: a reply was left out: %s", done.detail)

    def _said_s(self, text: str) -> float | None:
        """How many seconds ago the same was written; None when Twitch would show it."""
        now_s = clock.monotonic_s()
        same = [at_s for at_s, said in self._written if said == text and now_s - at_s < SAME_S]
        return now_s - same[-1] if same else None

    async def _send(self, text: str, reply_to: str) -> Any:
        access = await self._login.access()
        api = await self._api()
        self._on_the_way.append(text)
        try:
            for attempt in range(3):
                await self._turn_to_send()
                try:
                    sent = await api.send(
                        access.token,
                        text,
                        broadcaster_id=self._owner.id,
                        sender_id=access.user_id,
                        reply_to=reply_to,
                    )
                    break
                except ProviderError as error:
                    if error.kind == "rate" and attempt < 2:
                        wait_s = error.retry_after_s if error.retry_after_s is not None else 5.0
                        self._blocked_s = clock.monotonic_s() + wait_s
                    elif error.kind == "key" and attempt < 1:
                        access = await self._login.renewed(access.token)
                    else:
                        self._dropped("", error.message)
                        raise
            if sent.is_sent:
                if sent.message_id:
                    self._sent_ids[sent.message_id] = None
                    while len(self._sent_ids) > SENT_KEPT:
                        self._sent_ids.popitem(last=False)
                if self._drop:
                    self._drop = ""
                    self._change(detail=self._with_warnings(self._base_detail))
            elif sent.code != SAME:
                self._dropped(sent.code, sent.reason)
            if sent.is_sent or sent.code == SAME:
                self._written.append((clock.monotonic_s(), text))
            return sent
        finally:
            # What was sent may be seen a moment after the answer.
            asyncio.get_running_loop().call_later(10.0, self._arrived, text)

    def _arrived(self, text: str) -> None:
        with suppress(ValueError):
            self._on_the_way.remove(text)

    async def _turn_to_send(self) -> None:
        """Wait until Twitch's limit allows one more."""
        most = PER_WINDOW_OWNER if self._us.is_owner else PER_WINDOW
        while True:
            now_s = clock.monotonic_s()
            while self._sends and now_s - self._sends[0] >= WINDOW_S:
                self._sends.popleft()
            wait_s = self._blocked_s - now_s
            if len(self._sends) >= most:
                wait_s = max(wait_s, self._sends[0] + WINDOW_S - now_s)
            if wait_s <= 0:
                self._sends.append(now_s)
                return
            await asyncio.sleep(wait_s)

    def _dropped(self, code: str, reason: str) -> None:
        words = reason or "no reason given"
        self._drop = f"the last reply was not written: {words}" + (f" ({code})" if code else "")
        self._change(detail=self._with_warnings(self._base_detail))
        self._warn(
            "twitch.dropped",
            f"A reply was not written into the Twitch chat: {words}"
            + (f" ({code})." if code else "."),
        )

    # --- the login ---

    async def begin_login(self) -> TwitchLogin:
        """Begin a login by code."""
        return await self._login.begin()

    def cancel_login(self) -> TwitchLogin:
        """Wait no longer."""
        self._login.cancel()
        return self._login.state

    async def forget_login(self) -> TwitchLogin:
        """Log out."""
        state = await self._login.forget()
        if self._channel.mode == "login" or self._channel.state == "failed":
            await self._renew_connection(False)
        return state

    def _login_changed(self, login: TwitchLogin) -> None:
        self._bus.publish(TwitchLoginChanged(login=login))
        channel = self._channel
        if login.state == "in" and login.user and channel.state == "joined":
            if channel.mode == "anonymous":
                # Somebody has logged in: from now on as them.
                self._tasks.spawn(self._join_as_user(), "twitch with the login")
            else:
                self._change(
                    detail=self._with_warnings(self._base_detail), expires_at=login.expires_at
                )
        elif login.state == "in" and login.user and channel.state == "failed" and self._is_on:
            self._tasks.spawn(self._join_as_user(), "twitch with the login")
        elif login.state == "over" and channel.mode == "login":
            self._tasks.spawn(self._give_up(self._wish, login.detail), "twitch without the login")
        if login.state in ("over", "failed"):
            self._warn("twitch.login", login.detail)
        elif (
            login.state == "in"
            and login.expires_at is not None
            and not login.is_renewable
            and (login.expires_at - clock.now()).total_seconds() < 86_400
        ):
            self._warn("twitch.login_ends", login.detail)

    async def _join_as_user(self) -> None:
        state = self._channel
        if self._joining or self._wish.is_anonymous:
            return
        if state.mode == "anonymous" or state.state == "failed":
            await self._renew_connection(False)

    async def _api(self) -> TwitchApi:
        async with self._api_busy:
            if self._api_made is None:
                # twitchio takes 0.2 s to import.
                module = await run_in_thread(import_module, "backend.clients.twitch_api")
                settings = self._settings
                self._api_made = await module.make_api(
                    settings.addresses, settings.given.application, settings.waits
                )
            return self._api_made

    # --- telling ---

    def _tell(
        self,
        state: Any,
        *,
        mode: Any = "none",
        channel: str = "",
        user: str = "",
        detail: str = "",
        can_write: bool = False,
    ) -> None:
        before = self._channel
        since = before.since if before.state == state and before.since else clock.now()
        login = self._login.state
        new = ChannelState(
            platform=PLATFORM,
            state=state,
            mode=mode,
            channel=channel,
            user=user,
            detail=detail,
            since=since,
            expires_at=login.expires_at if mode == "login" else None,
            can_write=can_write,
        )
        self._set(new)

    def _change(self, **changes: object) -> None:
        if self._channel.state == "joined":
            self._set(self._channel.model_copy(update=changes))

    def _set(self, new: ChannelState) -> None:
        if new == self._channel:
            return
        if new.can_write != self._channel.can_write:
            self._audience.set_writer(self._reply if new.can_write else None)
        self._channel = new
        self._bus.publish(ChannelChanged(channel=new))

    def _warn(self, code: str, reason: str) -> None:
        self._bus.publish(
            ErrorOccurred(source="twitch", severity="WARNING", code=code, reason=reason)
        )


def channel_of(written: str) -> str:
    """The login name of a channel, however it was written: with #, @, or as an address.

    Raises:
        InvalidInputError: It is none.
    """
    text = _ADDRESS.sub("", written.strip()[:200], count=1).split("/")[0].split("?")[0]
    name = text.strip("#@ ").lower()
    if not _CHANNEL.fullmatch(name):
        raise InvalidInputError(
            f"{written[:60]!r} is no channel of Twitch: letters, digits and _, at most 25 of them."
            if written.strip()
            else "No channel is named. Say which, or set TWITCH_CHANNEL."
        )
    return name


def parts_of(text: str) -> list[str]:
    """A text as messages that Twitch takes: cut at spaces where there are some, at most `MOST_PARTS`, the last one ends with "…"."""
    rest = " ".join(text[: MOST_LETTERS * (MOST_PARTS + 1)].split())
    parts: list[str] = []
    while rest and len(parts) < MOST_PARTS:
        if len(rest) <= MOST_LETTERS:
            return [*parts, rest]
        cut = rest.rfind(" ", MOST_LETTERS // 2, MOST_LETTERS + 1)
        cut = cut if cut > 0 else MOST_LETTERS
        parts.append(rest[:cut])
        rest = rest[cut:].lstrip()
    if rest and parts:
        parts[-1] = parts[-1][: MOST_LETTERS - 1] + "…"
    return parts


def _looked_at(future: asyncio.Future[None]) -> None:
    """Nobody need ask how it went."""
    if not future.cancelled():
        future.exception()
