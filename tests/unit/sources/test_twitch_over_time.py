"""A Twitch channel over time: a state that is true within two seconds, and what is written when, how often, and how it differs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from backend.clients.twitch import MARGIN_S
from backend.clients.twitch_api import LONGEST_WAIT_S, _wait_s
from backend.contracts.audience import AudienceMessage, Viewer
from backend.contracts.errors import ProviderError
from backend.contracts.events import ErrorOccurred
from backend.core import clock
from backend.sources.base import ChatSource
from backend.sources.twitch import SAME
from tests.unit.sources.test_twitch import Room, room

__all__ = ["room"]  # the fixture

SAY = "POST /helix/chat/messages"
TRUE_WITHIN_S = 2.0
NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def state_of(source: ChatSource) -> str:
    return source.state.channel.state


# --- the state ---


async def closes(room: Room) -> None:
    await room.server.drop(code=4000)


async def vanishes(room: Room) -> None:
    await room.server.refuse()


async def hangs_up(room: Room) -> None:
    await room.server.drop()


async def revokes(room: Room) -> None:
    room.server.log_out("kira")
    await room.server.revoke()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("happens", "state"),
    [
        (closes, "reconnecting"),
        (hangs_up, "reconnecting"),
        (vanishes, "reconnecting"),
        (revokes, "failed"),
    ],
)
async def test_what_became_of_the_connection_is_told_within_two_seconds(
    room: Room, happens: Callable[[Room], Awaitable[None]], state: str
) -> None:
    source = await room.joined(backoff_s=(30.0,))
    began_s = asyncio.get_running_loop().time()
    await happens(room)
    await room.until(lambda: room.states[-1].state == state, TRUE_WITHIN_S)
    assert asyncio.get_running_loop().time() - began_s <= TRUE_WITHIN_S
    assert not source.state.channel.can_write
    assert room.desk.writer is None


@pytest.mark.slow
async def test_silence_is_told_within_two_seconds_of_the_sign_of_life_that_did_not_come(
    room: Room,
) -> None:
    room.server.keepalive_s = 0.2
    await room.joined()
    room.server.is_silent = True
    await room.until(
        lambda: room.states[-1].state == "reconnecting",
        room.server.keepalive_s + MARGIN_S + TRUE_WITHIN_S,
    )
    assert "no sign of life" in room.states[-1].detail


@pytest.mark.slow
async def test_a_network_that_is_gone_is_tried_until_it_is_back(room: Room) -> None:
    source = await room.joined()
    await room.server.refuse()
    tries = [state for state in room.states if state.detail == "connecting again"]
    await room.until(
        lambda: (
            len([state for state in room.states if state.detail == "connecting again"])
            >= len(tries) + 3
        )
    )
    assert state_of(source) == "reconnecting"
    await room.server.listen()
    await room.until(lambda: state_of(source) == "joined")
    await room.server.chat("mia", "back")
    await room.desk.until(lambda: room.desk.texts == ["back"])
    assert room.server.most_at_once == 1


@pytest.mark.slow
@pytest.mark.parametrize("jump", [timedelta(days=400), timedelta(days=-400)])
async def test_a_clock_that_is_set_changes_nothing_about_a_connection(
    room: Room, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    source = await room.joined()
    real = clock.now
    monkeypatch.setattr("backend.core.clock.now", lambda: real() + jump)
    await room.server.chat("mia", "one")
    assert (await source.write("Hello!")).is_sent
    await room.desk.until(lambda: "one" in room.desk.texts)
    await room.server.drop()
    await room.until(lambda: room.states[-1].state == "reconnecting")
    await room.until(lambda: state_of(source) == "joined")
    assert source.state.login.state == "in"
    assert room.server.asked.count("POST /oauth2/token") == 0


@pytest.mark.slow
async def test_a_channel_that_was_there_a_moment_ago_is_looked_for_again(room: Room) -> None:
    source = await room.joined()
    room.server.fail("GET /helix/users", 200, times=2, body={"data": []})
    await room.server.drop()
    await room.until(lambda: room.states[-1].state == "reconnecting")
    await room.until(lambda: state_of(source) == "joined")
    assert "failed" not in [state.state for state in room.states]


@pytest.mark.slow
async def test_a_connection_lost_before_anything_was_subscribed_to_is_made_again(
    room: Room,
) -> None:
    access, refresh = room.server.log_in("kira")
    room.server.slow_s["/helix/eventsub"] = 0.3
    source = await room.source(room.settings(access, refresh, channel="kira"))
    await room.server.until(lambda: "GET /ws" in room.server.asked)
    async with asyncio.timeout(10):
        while not room.server.sessions:
            await asyncio.sleep(0.001)
    await room.server.drop()
    room.server.slow_s.clear()
    await room.until(lambda: state_of(source) == "joined")
    assert "failed" not in [state.state for state in room.states]
    assert "POST /oauth2/token" not in room.server.asked  # the login had nothing to do with it


@pytest.mark.slow
async def test_a_permission_taken_back_ends_the_login_too(room: Room) -> None:
    source = await room.joined()
    room.server.log_out("kira")
    await room.server.revoke()
    await room.until(lambda: source.state.login.state == "over", TRUE_WITHIN_S)
    assert state_of(source) == "failed"


@pytest.mark.slow
async def test_a_login_that_ends_while_nobody_needs_it_is_told(room: Room) -> None:
    access, _ = room.server.log_in("kira", with_refresh=False, seconds=2)
    source = await room.source(room.settings(access))
    await source.connect("kira")
    await room.until(lambda: state_of(source) == "failed")
    assert source.state.login.state == "over"
    assert "Log in again" in source.state.channel.detail


# --- writing ---


@pytest.mark.slow
async def test_what_twitch_refuses_for_now_is_sent_when_it_says(room: Room) -> None:
    source = await room.joined()
    reset_s = int(datetime.now(UTC).timestamp()) + 1
    room.server.fail(SAY, 429, times=1, headers={"Ratelimit-Reset": str(reset_s)})
    assert (await source.write("Hello!")).is_sent
    assert datetime.now(UTC).timestamp() >= reset_s - 0.1  # two clocks
    assert room.server.asked.count(SAY) == 2
    assert [said["message"] for said in room.server.sent] == ["Hello!"]
    assert not any(isinstance(event, ErrorOccurred) for event in room.events)


@pytest.mark.slow
async def test_what_twitch_refuses_again_and_again_is_given_up_and_said(room: Room) -> None:
    source = await room.joined()
    soon = str(int(datetime.now(UTC).timestamp()))
    room.server.fail(SAY, 429, times=3, headers={"Ratelimit-Reset": soon})
    with pytest.raises(ProviderError) as failed:
        await source.write("Hello!")
    assert room.server.asked.count(SAY) == 3
    assert failed.value.kind == "rate"
    assert "the last reply was not written" in source.state.channel.detail


@pytest.mark.parametrize(
    ("written", "wait_s"),
    [
        (str(int(NOON.timestamp()) + 7), 7.0),
        (str(int(NOON.timestamp())), 0.5),
        (str(int(NOON.timestamp()) - 4), 0.5),  # over, for all we know
        ("1", 30.0),  # long past: the clocks differ
        (str(int(NOON.timestamp() + LONGEST_WAIT_S) + 100), 30.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("9" * 400, 30.0),
        ("٣٤", None),
    ],
)
def test_how_long_twitch_asks_to_wait_is_read_with_care(
    monkeypatch: pytest.MonkeyPatch, written: str, wait_s: float | None
) -> None:
    monkeypatch.setattr("backend.core.clock.now", lambda: NOON)
    assert _wait_s({"Ratelimit-Reset": written}) == wait_s


def asking(room: Room, login: str) -> AudienceMessage:
    account = room.server.account(login)
    return AudienceMessage(
        id=f"from-{login}",
        platform="twitch",
        viewer=Viewer(platform="twitch", id=account.id, login=login, name=account.name),
        text="!help",
        at=NOON,
    )


@pytest.mark.slow
async def test_the_same_answer_again_is_told_to_whom_it_is_or_held_back_and_said(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    source = await room.joined()
    monkeypatch.setattr("backend.core.clock.monotonic_s", lambda: now_s)
    for login in ("mia", "ben", "ben"):
        await room.desk.writer(asking(room, login), "Commands: !help")
    assert [said["message"] for said in room.server.sent] == [
        "Commands: !help",
        "@ben Commands: !help",
    ]
    now_s += 12
    again = await source.write("Commands: !help")
    assert (again.is_sent, again.drop_reason) == (False, SAME)
    assert "12 s ago" in again.detail
    assert room.server.asked.count(SAY) == 2
    assert source.state.channel.detail == room.states[-1].detail
    assert "not written" not in source.state.channel.detail
    now_s += 18
    room.server._lately.clear()  # Twitch's half a minute is over, too
    assert (await source.write("Commands: !help")).is_sent
    assert not any(isinstance(event, ErrorOccurred) for event in room.events)


@pytest.mark.slow
async def test_what_twitch_itself_takes_for_the_same_is_no_error(room: Room) -> None:
    source = await room.joined()
    room.server.drop_reason = (SAME, "Your message is identical to the previous one.")
    written = await source.write("Hello!")
    assert (written.is_sent, written.drop_reason) == (False, SAME)
    await room.desk.writer(asking(room, "mia"), "Hello!")
    assert not any(isinstance(event, ErrorOccurred) for event in room.events)
    assert "not written" not in source.state.channel.detail


@pytest.mark.slow
async def test_nobody_is_named_whose_name_may_not_be_shown(room: Room) -> None:
    await room.joined()
    hidden = asking(room, "mia")
    hidden = hidden.model_copy(
        update={"viewer": hidden.viewer.model_copy(update={"name": "viewer"})}
    )
    await room.desk.writer(hidden, "Commands: !help")
    await room.desk.writer(hidden, "Commands: !help")
    assert [said["message"] for said in room.server.sent] == ["Commands: !help"]


@pytest.mark.slow
@pytest.mark.parametrize("text", ["/ban mia", "!so evil", ".timeout mia 600", " ! /ban mia", "$x"])
async def test_a_reply_is_never_a_command(room: Room, text: str) -> None:
    await room.joined()
    await room.desk.writer(asking(room, "mia"), text)
    long = f"{'a' * 499} {text.strip()} again"
    await room.desk.writer(asking(room, "ben"), long)
    written = [said["message"] for said in room.server.sent]
    assert len(written) == 3
    assert all(one[0].isalnum() for one in written)
