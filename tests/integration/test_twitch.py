"""Twitch in a running backend: over REST, the event stream and compatible clients, against the local Twitch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import orjson
import pytest
import websockets

from backend.chat.moderation.profile import shipped_words
from tests.integration.conftest import Served, serve
from tests.integration.vtuber import vtuber
from tests.servers.thread import ServerThread
from tests.servers.twitch import PUBLIC_CLIENT, TwitchServer


class Twitch:
    """A local Twitch on a thread of its own."""

    def __init__(self, server: TwitchServer, thread: ServerThread) -> None:
        self.server = server
        self._thread = thread

    def do(self, work: Any) -> Any:
        return self._thread.call(work)

    def until(self, is_so: Callable[[], bool]) -> None:
        self.do(self.server.until(is_so))


@pytest.fixture(scope="module")
def twitch() -> Iterator[Twitch]:
    server = TwitchServer()
    server.interval_s = 0.05
    server.account("kira", "Kira")
    server.account("mia", "Mia")
    with ServerThread(server) as thread:
        yield Twitch(server, thread)
    assert server.errors == []


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, twitch: Twitch) -> Iterator[Served]:
    yield from serve(
        tmp_path_factory.mktemp("twitch"),
        twitch_client_id=PUBLIC_CLIENT,
        **twitch.server.settings,
    )


@pytest.fixture(autouse=True)
def nobody_is_there(api: httpx.Client) -> Iterator[None]:
    yield
    api.post("/api/twitch/disconnect")
    api.delete("/api/twitch/login")


def log_in(api: httpx.Client, twitch: Twitch, who: str = "kira") -> None:
    login = api.post("/api/twitch/login").json()
    assert login["state"] == "waiting"
    twitch.server.approve(login["code"], who)
    wait(lambda: api.get("/api/twitch/login").json()["user"] == who)


def wait(is_so: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.02)


def test_a_login_by_code_joins_and_answers_a_viewer(api: httpx.Client, twitch: Twitch) -> None:
    log_in(api, twitch)
    state = api.post("/api/twitch/connect", json={"channel": "#Kira"}).json()
    assert (state["channel"]["state"], state["channel"]["mode"]) == ("joined", "login")
    message_id = twitch.do(twitch.server.chat("mia", "Luma, how are you?", mentions=[]))
    wait(
        lambda: any(
            record["message_id"] == message_id for record in api.get("/api/dispositions").json()
        )
    )


def test_channels_and_tokens_that_are_wrong_are_answers_without_the_token(
    api: httpx.Client, twitch: Twitch
) -> None:
    log_in(api, twitch)
    answer = api.post("/api/twitch/connect", json={"channel": "nobody_is_called_that"})
    assert answer.status_code == 404
    answer = api.post("/api/twitch/connect", json={"channel": "a b"})
    assert answer.status_code == 422
    secret = "verysecrettoken" * 4
    answer = api.post("/api/twitch/connect", json={"channel": "kira", "token": secret})
    assert answer.status_code == 422
    assert secret not in answer.text
    answer = api.post("/api/twitch/connect", json={"channel": "kira", "tokn": 5})
    assert answer.status_code == 422
    assert secret not in api.get("/api/events", params={"limit": 200}).text


def test_the_streamer_writes_into_the_chat_what_moderation_lets_out(
    api: httpx.Client, twitch: Twitch
) -> None:
    answer = api.post("/api/twitch/say", json={"text": "hello"})
    assert answer.status_code == 409  # nobody has connected
    log_in(api, twitch)
    api.post("/api/twitch/connect", json={"channel": "kira"})
    before = len(twitch.server.sent)
    answer = api.post("/api/twitch/say", json={"text": " Back in five! "})
    assert answer.json()["is_sent"]
    assert [sent["message"] for sent in twitch.server.sent[before:]] == ["Back in five!"]
    (wrote,) = api.get("/api/events", params={"type": "channel.wrote"}).json()
    assert (wrote["data"]["author"], wrote["data"]["text"]) == ("kira", "Back in five!")
    assert all("Back in five" not in one["text"] for one in api.get("/api/dispositions").json())
    refused = api.post("/api/twitch/say", json={"text": "You are all whores, kill yourself."})
    assert refused.status_code == 422
    assert "Moderation keeps it out of the chat" in refused.json()["message"]
    api.post("/api/panic")
    held = api.post("/api/twitch/say", json={"text": "hello"})
    api.post("/api/resume")
    assert held.status_code == 409
    assert "panic" in held.json()["message"]
    assert len(twitch.server.sent) == before + 1


def test_the_chat_can_be_read_without_the_login_where_there_is_one(
    api: httpx.Client, twitch: Twitch
) -> None:
    log_in(api, twitch)
    state = api.post("/api/twitch/connect", json={"channel": "kira", "anonymous": True}).json()
    assert state["channel"]["mode"] == "anonymous"
    assert api.get("/api/twitch").json()["channel"]["channel"] == "kira"


async def test_the_state_is_told_within_two_seconds_of_a_drop(
    served: Served, api: httpx.Client, twitch: Twitch
) -> None:
    async with websockets.connect(
        served.socket_url, additional_headers=served.bearer, proxy=None
    ) as socket:
        await socket.send(
            orjson.dumps({"hello": {"types": ["channel.changed"], "batch": False}}).decode()
        )
        await socket.recv()
        await socket.send(
            orjson.dumps({"do": "twitch_connect", "id": 1, "channel": "kira"}).decode()
        )
        states = [""]  # who asked may be answered before the events are out
        while True:
            told = orjson.loads(await socket.recv())
            if told.get("done") == 1:
                assert told["twitch"]["channel"]["state"] == "joined"
                break
            states.append(told["data"]["channel"]["state"])
        began_s = time.monotonic()
        twitch.do(twitch.server.drop())
        while states[-1] != "reconnecting":
            told = orjson.loads(await socket.recv())
            states.append(told["data"]["channel"]["state"])
        assert time.monotonic() - began_s < 2
        while states[-1] != "joined":
            told = orjson.loads(await socket.recv())
            states.append(told["data"]["channel"]["state"])
        await socket.send(orjson.dumps({"do": "twitch_disconnect", "id": 2}).decode())
        while orjson.loads(await socket.recv()).get("done") != 2:
            pass


async def test_a_compatible_client_joins_sees_the_chat_and_leaves(
    served: Served, twitch: Twitch
) -> None:
    access, _ = twitch.server.log_in("kira")
    async with vtuber(served) as client:
        await client.say("twitch-connect", token=access, channel="kira")
        told = await client.until("twitch-connected")
        assert told == {"type": "twitch-connected", "channel": "kira"}
        twitch.do(twitch.server.chat("mia", "<b>hi</b> there", name="Mia"))
        told = await client.until("twitch-chat")
        assert (told["username"], told["message"]) == ("Mia", "<b>hi</b> there")
        assert told["timestamp"].startswith("20")
        await client.say("twitch-disconnect")
        told = await client.until("twitch-disconnected")
        assert told["channel"] == "kira"
        await client.say("twitch-connect", token="wrong", channel="kira")
        assert "does not know this token" in await client.error()


async def test_a_compatible_client_is_shown_what_moderation_lets_through(
    served: Served, twitch: Twitch
) -> None:
    slur = shipped_words("slurs")[0].strip("*")
    access, _ = twitch.server.log_in("kira")
    async with vtuber(served) as client:
        await client.say("twitch-connect", token=access, channel="kira")
        await client.until("twitch-connected")
        twitch.do(twitch.server.chat("eve", f"you {slur}", name="Eve"))
        twitch.do(twitch.server.chat("zoe", "mail me at zoe@example.com please", name="Zoe"))
        told = await client.until("twitch-chat")
        assert told["username"] == "Zoe"
        assert "zoe@example.com" not in told["message"]
        assert told["message"].startswith("mail me at ***")
