"""The login at Twitch over time, on a clock that a test moves: validated, renewed, ended, and changed while something is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backend.clients.twitch import Addresses, Application, Waits
from backend.clients.twitch_api import make_api
from backend.clients.twitch_login import AGAIN_S, CHECK_S, EARLY_S, Given, Login, LoginOverError
from backend.contracts.twitch import TwitchLogin
from config_secrets import SecretStore
from tests.servers.twitch import PUBLIC_CLIENT, TwitchServer

pytestmark = pytest.mark.slow  # requests to a local server

VALIDATE, TOKEN = "GET /oauth2/validate", "POST /oauth2/token"


class Time:
    """A clock that a test moves, Twitch's along with it."""

    def __init__(self, server: TwitchServer) -> None:
        self.now_s = 1000.0
        self.asleep = asyncio.Event()
        self._server = server
        self._moved = asyncio.Event()

    async def changes(self, event: asyncio.Event, wait_s: float) -> bool:
        until_s = self.now_s + wait_s
        while not event.is_set() and self.now_s < until_s:
            waits = [asyncio.create_task(one.wait()) for one in (event, self._moved)]
            self.asleep.set()
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for each in waits:
                each.cancel()
        return event.is_set()

    async def pass_by(self, seconds: float) -> None:
        """Let time go by while whoever waits does nothing but wait."""
        async with asyncio.timeout(10):
            await self.asleep.wait()
        self.asleep.clear()
        self.now_s += seconds
        for token in self._server.tokens.values():
            token.ends_s -= seconds
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


class Room:
    """A login, and the Twitch it is at."""

    def __init__(self, server: TwitchServer, folder: Path) -> None:
        self.server = server
        self.time = Time(server)
        self.told: list[TwitchLogin] = []
        self.store = SecretStore(folder, use_keyring=False)
        self._made: list[Login] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def login(self, access: str = "", refresh: str = "") -> Login:
        found = self.server.settings
        addresses = Addresses(found["twitch_helix_url"], found["twitch_oauth_url"])
        application = Application(PUBLIC_CLIENT)
        self.api = await make_api(addresses, application, Waits(connect_s=1.0, answer_s=2.0))

        async def api() -> object:
            return self.api

        made = Login(
            api,  # type: ignore[arg-type]  # it is a TwitchApi, whose class is imported late
            self.store,
            Given(application, access, refresh),
            self.told.append,
            now_s=lambda: self.time.now_s,
            changes=self.time.changes,
        )
        self._made.append(made)
        return made

    def watched(self, login: Login) -> None:
        self._tasks.append(asyncio.create_task(login.watch()))

    async def asked(self, what: str, count: int) -> None:
        await self.server.until(lambda: self.server.asked.count(what) >= count)
        assert self.server.asked.count(what) == count

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for login in self._made:
            await login.close()
            await self.api.close()


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with TwitchServer() as server:
        made = Room(server, tmp_path)
        yield made
        await made.close()
        assert server.errors == []


async def test_a_token_is_validated_at_the_start_and_every_hour(room: Room) -> None:
    login = await room.login(*room.server.log_in("kira", seconds=10 * CHECK_S))
    room.watched(login)
    await room.asked(VALIDATE, 1)
    for hours in range(2, 5):
        await room.time.pass_by(CHECK_S - 1)
        await room.time.pass_by(0)
        assert room.server.asked.count(VALIDATE) == hours - 1
        await room.time.pass_by(1)
        await room.asked(VALIDATE, hours)
    assert room.server.asked.count(TOKEN) == 0
    assert login.state.state == "in"


async def test_a_token_is_renewed_before_it_ends_though_nobody_needs_it(room: Room) -> None:
    login = await room.login(*room.server.log_in("kira", seconds=CHECK_S / 2))
    room.watched(login)
    await room.asked(VALIDATE, 1)
    await room.time.pass_by(CHECK_S / 2 - EARLY_S - 2)
    await room.time.pass_by(0)
    assert room.server.asked.count(TOKEN) == 0
    await room.time.pass_by(3)
    await room.asked(TOKEN, 1)
    await room.time.pass_by(0)
    assert login.state.state == "in"
    assert login.left_s > CHECK_S


async def test_the_end_of_a_login_that_cannot_be_renewed_is_said_before_and_when_it_comes(
    room: Room,
) -> None:
    access, _ = room.server.log_in("kira", with_refresh=False, seconds=25.5 * CHECK_S)
    login = await room.login(access)
    room.watched(login)
    await room.asked(VALIDATE, 1)
    await room.time.pass_by(0)
    assert "cannot be renewed" in login.state.detail
    assert "Log in again before" not in login.state.detail
    for hours in range(2, 4):
        await room.time.pass_by(CHECK_S)
        await room.asked(VALIDATE, hours)
    await room.time.pass_by(0)
    assert "Log in again before" in login.state.detail
    for _ in range(23):
        await room.time.pass_by(CHECK_S)
    await room.time.pass_by(0)
    assert login.state.state == "in"
    await room.time.pass_by(CHECK_S / 2 + 2)
    await room.time.pass_by(0)
    assert room.told[-1].state == "over"
    assert "Log in again" in login.state.detail
    with pytest.raises(LoginOverError):
        await login.access()


async def test_a_check_that_twitch_does_not_answer_is_made_again_after_a_minute(room: Room) -> None:
    login = await room.login(*room.server.log_in("kira"))
    room.server.fail(VALIDATE, 503, times=2)
    room.watched(login)
    await room.asked(VALIDATE, 1)
    await room.time.pass_by(AGAIN_S)
    await room.asked(VALIDATE, 2)
    await room.time.pass_by(AGAIN_S)
    await room.asked(VALIDATE, 3)
    await room.time.pass_by(0)
    assert (login.state.state, login.state.user) == ("in", "kira")


async def test_a_login_that_was_taken_back_is_noticed_within_the_hour(room: Room) -> None:
    login = await room.login(*room.server.log_in("kira"))
    room.watched(login)
    await room.asked(VALIDATE, 1)
    room.server.log_out("kira")
    await room.time.pass_by(CHECK_S)
    await room.time.pass_by(0)
    assert login.state.state == "over"


async def test_who_logs_out_while_the_token_is_renewed_stays_out(room: Room) -> None:
    login = await room.login(*room.server.log_in("kira"))
    old = (await login.access()).token
    room.server.slow_s["/oauth2/token"] = 0.1
    renewing = asyncio.create_task(login.renewed(old))
    await room.asked(TOKEN, 1)
    assert (await login.forget()).state == "none"
    with pytest.raises(LoginOverError):
        await renewing
    assert not await login.is_there()
    assert login.state.state == "none"
    assert "access" not in str(room.store.load()[0])


async def test_a_token_that_is_brought_while_another_one_is_checked_counts(room: Room) -> None:
    login = await room.login(*room.server.log_in("kira"))
    other, _ = room.server.log_in("mia")
    await login.is_there()
    room.server.slow_s["/oauth2/validate"] = 0.1
    taking = asyncio.create_task(login.take(other))
    await room.asked(VALIDATE, 1)
    room.server.slow_s["/oauth2/validate"] = 0.4
    checking = asyncio.create_task(login.access())
    assert (await taking).login == "mia"
    await checking
    assert (await login.access()).login == login.state.user == "mia"


async def test_tokens_that_are_set_while_another_one_is_renewed_count(room: Room) -> None:
    login = await room.login(*room.server.log_in("kira"))
    old = (await login.access()).token
    room.server.slow_s["/oauth2/token"] = 0.1
    renewing = asyncio.create_task(login.renewed(old))
    await room.asked(TOKEN, 1)
    login.use(Given(Application(PUBLIC_CLIENT), *room.server.log_in("mia")))
    assert (await renewing).login == "mia"
    assert (await login.access()).login == login.state.user == "mia"


async def test_a_login_is_not_over_because_one_that_was_replaced_cannot_be_renewed(
    room: Room,
) -> None:
    login = await room.login(*room.server.log_in("kira"))
    old = (await login.access()).token
    room.server.log_out("kira")
    room.server.slow_s["/oauth2/token"] = 0.1
    renewing = asyncio.create_task(login.renewed(old))
    await room.asked(TOKEN, 1)
    login.use(Given(Application(PUBLIC_CLIENT), *room.server.log_in("mia")))
    await asyncio.gather(renewing, return_exceptions=True)
    assert (await login.access()).login == "mia"
    assert "over" not in [state.state for state in room.told]
