"""The event stream over real sockets: resume, filters, commands, and what a client may not do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from backend.contracts.events import ChatDelta, ChatSentence, ErrorOccurred
from tests.integration.conftest import Served


class Line:
    """A client of the stream that reads events one by one."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.waiting: list[dict[str, Any]] = []
        self.frames = 0

    async def say(self, value: object) -> None:
        await self.socket.send(orjson.dumps(value).decode())

    async def next(self) -> dict[str, Any]:
        while not self.waiting:
            async with asyncio.timeout(30):  # events come when the disk has them; it may be busy
                found = orjson.loads(await self.socket.recv())
            self.frames += 1
            self.waiting += found if isinstance(found, list) else [found]
        return self.waiting.pop(0)

    async def until(self, key: str, value: object = ...) -> dict[str, Any]:
        while True:
            found = await self.next()
            if key in found and value in (..., found[key]):
                return found

    async def events(self, count: int) -> list[dict[str, Any]]:
        return [await self.until("type") for _ in range(count)]


@contextlib.asynccontextmanager
async def line(
    served: Served, hello: dict[str, Any] | None = None, *, query: str = "", **options: Any
) -> AsyncIterator[Line]:
    if not query:
        options.setdefault("additional_headers", served.bearer)
    async with websockets.connect(
        served.socket_url + query,
        proxy=None,
        compression=None,
        max_size=None,
        open_timeout=30,
        close_timeout=0.1,
        **options,
    ) as socket:
        client = Line(socket)
        if hello is not None:
            await client.say({"hello": hello})
        yield client


def publish(served: Served, *texts: str, conversation: str = "stage") -> None:
    """Publish durable events in the backend's loop, as its parts do."""
    bus = backend_of(served).bus
    for n, text in enumerate(texts):
        bus.publish_from_thread(ChatSentence(text=text, n=n + 1, conversation_id=conversation))


def backend_of(served: Served) -> Any:
    return served.app.state.backend


def texts(events: list[dict[str, Any]]) -> list[str]:
    return [event["data"]["text"] for event in events]


async def read_to_the_end(client: Line) -> None:
    while True:
        async with asyncio.timeout(20):
            await client.socket.recv()


SENTENCES = ["chat.sentence"]


async def test_the_hello_tells_where_the_stream_stands(served: Served) -> None:
    async with line(served, {}) as client:
        hello = (await client.next())["hello"]
    assert hello["seq"] >= 1
    assert len(hello["epoch"]) >= 8
    assert hello["version"]


async def test_a_client_sees_what_happened_while_it_was_away_once_and_in_order(
    served: Served,
) -> None:
    async with line(served, {"types": SENTENCES}) as client:
        await client.next()
        publish(served, "one", "two")
        seen = await client.events(2)
    publish(served, "three", "four")
    async with line(served, {"types": SENTENCES, "since": seen[-1]["seq"]}) as client:
        publish(served, "five")
        later = await client.events(3)
    assert texts(seen + later) == ["one", "two", "three", "four", "five"]
    seqs = [event["seq"] for event in seen + later]
    assert seqs == sorted(set(seqs))


async def test_resuming_in_the_middle_of_a_flood_leaves_no_gap_and_no_duplicate(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """Clients come and go while thousands of events are published and stored."""
    total = 3000
    async with line(served, {"types": SENTENCES}) as first:
        start = (await first.next())["hello"]["seq"]

    async def flood() -> None:
        for n in range(0, total, 50):
            publish(served, *(f"flood {n + i}" for i in range(50)))
            await asyncio.sleep(0.002)

    flooding = asyncio.create_task(flood())
    seen: list[str] = []
    since = start
    while len(seen) < total:
        async with line(
            served, {"types": SENTENCES, "since": since, "batch": len(seen) % 2 == 0}
        ) as client:
            for event in await client.events(min(211, total - len(seen))):
                assert event["seq"] > since
                since = event["seq"]
                seen.append(event["data"]["text"])
    await flooding
    assert seen == [f"flood {n}" for n in range(total)]
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_pending_events_come_in_one_frame_unless_single_ones_are_asked_for(
    served: Served,
) -> None:
    many = [f"batch {n}" for n in range(200)]
    for batch, most in ((True, 100), (False, 10_000)):
        async with line(served, {"types": SENTENCES, "batch": batch}) as client:
            await client.next()
            client.frames = 0
            publish(served, *many)
            assert texts(await client.events(200)) == many
            assert client.frames <= most
            assert batch or client.frames == 200


async def test_another_epoch_or_a_number_from_the_future_resets_the_client(served: Served) -> None:
    async with line(served, {"since": 0, "epoch": "another database"}) as client:
        await client.next()
        reset = (await client.next())["reset"]
        assert "another" in reset["reason"]
    async with line(served, {"since": 2**40, "types": SENTENCES}) as client:
        hello = (await client.next())["hello"]
        reset = (await client.next())["reset"]
        assert reset["seq"] == hello["seq"]
        publish(served, "after the reset")
        assert texts(await client.events(1)) == ["after the reset"]


async def test_only_wanted_types_and_severities_come(served: Served) -> None:
    async with line(served, {"types": ["error.*"], "severity": "WARNING"}) as client:
        await client.next()
        bus = backend_of(served).bus
        bus.publish_from_thread(ErrorOccurred(code="a", reason="quiet", severity="INFO"))
        publish(served, "not wanted")
        bus.publish_from_thread(ErrorOccurred(code="b", reason="loud", severity="ERROR"))
        assert (await client.until("type"))["data"]["reason"] == "loud"
        await client.say({"subscribe": {"types": ["chat.*"]}})
        await client.until("subscribed")
        publish(served, "wanted now")
        assert texts(await client.events(1)) == ["wanted now"]


async def test_stored_events_are_filtered_like_live_ones(served: Served) -> None:
    async with line(served, {"types": SENTENCES}) as client:
        since = (await client.next())["hello"]["seq"]
    bus = backend_of(served).bus
    bus.publish_from_thread(ErrorOccurred(code="x", reason="hidden"))
    publish(served, "shown")
    async with line(served, {"types": SENTENCES, "since": since}) as client:
        assert texts(await client.events(1)) == ["shown"]


async def test_a_ping_is_answered_with_its_number(served: Served) -> None:
    async with line(served, {}) as client:
        await client.say({"ping": 42})
        assert (await client.until("pong"))["pong"] == 42


@pytest.mark.parametrize(
    "first",
    [
        '{"do": "chat", "id": 1, "message": "x"}',
        "no json",
        "[]",
        '{"hello": {"since": -1}}',
        '{"hello": {"types": "chat.*"}}',
        '{"hello": 5}',
    ],
)
async def test_without_a_proper_hello_the_socket_closes_and_says_why(
    served: Served, first: str
) -> None:
    async with line(served) as client:
        await client.socket.send(first)
        found = await client.next()
        assert found["code"] in ("hello.missing", "input.invalid")
        assert found["message"]
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await client.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4400


async def test_a_chat_command_is_taken_and_its_turn_follows_as_events(served: Served) -> None:
    async with line(served, {"types": ["chat.response", "turn.finished"]}) as client:
        await client.say({"do": "chat", "id": 7, "message": "good morning"})
        done = await client.until("done", 7)
        response = await client.until("type", "chat.response")
        assert response["turn_id"] == done["turn_id"]
        assert response["data"]["text"] == "good morning"
        assert response["data"]["conversation_id"] == done["conversation_id"]


async def test_a_chat_command_that_waits_brings_the_whole_reply(served: Served) -> None:
    async with line(served, {"types": []}) as client:
        await client.say({"do": "chat", "id": "a", "message": "good evening", "wait": True})
        done = await client.until("done", "a")
        assert done["reply"] == "good evening"
        assert done["timings"]["total"] > 0


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ({"do": "dance"}, "input.invalid"),
        ({"do": 5}, "input.invalid"),
        ({"do": "chat"}, "input.invalid"),
        ({"do": "chat", "message": ""}, "input.invalid"),
        ({"do": "chat", "message": "x", "conversation_id": "nowhere"}, "not_found"),
        ({"do": "chat", "message": "x", "surprise": 1}, "input.invalid"),
        ({"do": "interrupt", "conversation_id": "nowhere"}, "not_found"),
        ({"do": "switch_character", "character_id": "nobody"}, "not_found"),
        ({"do": "expression", "expression_id": "no such face"}, "input.invalid"),
        ({"do": "volume", "volume": 2}, "input.invalid"),
        ({"do": "module", "name": "nothing", "enabled": True}, "not_found"),
    ],
)
async def test_a_command_that_cannot_be_carried_out_fails_in_words(
    served: Served, command: dict[str, Any], code: str
) -> None:
    async with line(served, {"types": []}) as client:
        await client.say({**command, "id": 3})
        failed = await client.until("failed", 3)
        assert failed["code"] == code
        assert failed["message"]
        await client.say({"ping": 1})
        await client.until("pong", 1)


async def test_commands_do_what_the_routes_do(served: Served, api: httpx.Client) -> None:
    async with line(served, {"types": ["avatar.changed", "character.switched"]}) as client:
        character = api.get("/api/avatar/state").json()["character_id"]
        await client.say({"do": "expression", "id": 1, "expression_id": "joy", "duration": 60000})
        shown = await client.until("done", 1)
        assert (shown["expression"], shown["owner"]) == ("joy", "api")
        assert api.get("/api/avatar/state").json()["expression"] == "joy"
        await client.say({"do": "expression", "id": 2, "expression_id": "neutral"})
        await client.until("done", 2)
        await client.say({"do": "volume", "id": 3, "volume": 0.25})
        assert (await client.until("done", 3))["volume"] == 0.25
        other = next(c["id"] for c in api.get("/api/characters").json() if c["id"] != character)
        await client.say({"do": "switch_character", "id": 4, "character_id": other})
        await client.until("done", 4)
        assert api.get("/api/conversations/stage").json()["character_id"] == other
        await client.say({"do": "interrupt", "id": 5})
        assert (await client.until("done", 5))["interrupted"] is False


async def test_sound_without_an_open_microphone_is_refused_clearly(served: Served) -> None:
    async with line(served, {"types": []}) as client:
        await client.next()
        await client.socket.send(b"\x00" * 640)
        assert (await client.next())["code"] == "listen.off"
        await client.say({"ping": 1})
        await client.until("pong", 1)


@pytest.mark.parametrize("junk", ["", "nonsense", "[1,2]", '"text"', "{}", '{"what": 1}', "\u0000"])
async def test_junk_is_answered_not_fatal(served: Served, junk: str) -> None:
    async with line(served, {"types": []}) as client:
        await client.next()
        await client.socket.send(junk)
        assert (await client.next())["code"] == "request.malformed"
        await client.say({"ping": 1})
        await client.until("pong", 1)


@pytest.mark.slow  # fills the buffers of the system
async def test_a_client_that_does_not_read_is_dropped_with_4008_and_nobody_waits_for_it(
    served: Served,
) -> None:
    big = "x" * 4000
    async with (
        line(served, {"types": SENTENCES}) as quick,
        line(served, {"types": SENTENCES}, max_queue=1) as stuck,
    ):
        await quick.next()
        await stuck.next()
        got = 0
        for _ in range(30):  # 30 x 500 x 4 kB: more than the sockets' buffers and the queue hold
            publish(served, *([big] * 500))
            got += len(await quick.events(500))
        assert got == 15_000
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await read_to_the_end(stuck)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4008


async def test_a_client_that_leaves_takes_its_subscription_along(served: Served) -> None:
    bus = backend_of(served).bus
    before = set(bus._committed)
    async with line(served, {}) as client:
        await client.next()
        # Those of tests before this one may be on their way out.
        mine = set(bus._committed) - before
        assert len(mine) == 1
    for _ in range(100):
        if not mine & set(bus._committed):
            break
        await asyncio.sleep(0.02)
    assert not mine & set(bus._committed)


async def test_an_overlay_is_not_told_what_somebody_typed_that_she_does_not_have(
    served: Served, api: httpx.Client
) -> None:
    async with line(
        served, {"types": ["avatar.*"]}, query=f"?token={served.overlay_token}"
    ) as client:
        await client.next()
        refused = api.post("/api/expression", json={"expression_id": "badword"})
        assert refused.status_code == 422
        api.post("/api/expression", json={"expression_id": 0, "duration": 0})
        seen: list[str] = []
        while not seen or '"shown"' not in seen[-1]:
            seen.append(str(await client.next()).replace("'", '"'))
    assert "badword" not in "".join(seen)


async def sentences(client: Line, count: int) -> list[str]:
    """The next sentences that an overlay is told; the avatar on stage may move in between."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        (event,) = await client.events(1)
        assert event["type"] == "chat.sentence" or event["type"].startswith("avatar."), event
        if event["type"] == "chat.sentence":
            found.append(event)
    return texts(found)


async def test_an_overlay_sees_only_what_the_audience_may_and_commands_nothing(
    served: Served,
) -> None:
    async with line(served, {"types": ["*"]}, query=f"?token={served.overlay_token}") as client:
        since = (await client.next())["hello"]["seq"]
        bus = backend_of(served).bus
        bus.publish_from_thread(ErrorOccurred(code="x", reason="a key is wrong"))
        bus.publish_from_thread(ChatDelta(text="raw", conversation_id="stage"))
        publish(served, "private", conversation="somebody-else")
        publish(served, "public")
        assert await sentences(client, 1) == ["public"]
        await client.say({"do": "chat", "id": 1, "message": "hello"})
        assert (await client.until("failed", 1))["code"] == "auth.forbidden"
        await client.say({"subscribe": {"types": ["*"]}})
        await client.until("subscribed")
        bus.publish_from_thread(ErrorOccurred(code="x", reason="still hidden"))
        publish(served, "public again")
        assert await sentences(client, 1) == ["public again"]
    async with line(served, {"since": since}, query=f"?token={served.overlay_token}") as client:
        await client.next()
        publish(served, "the end")
        assert await sentences(client, 3) == ["public", "public again", "the end"]


async def test_a_client_that_vanishes_in_the_middle_of_a_burst_is_no_error(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    bus = backend_of(served).bus
    before = len(bus._committed)
    for _ in range(5):
        async with line(served, {"types": SENTENCES, "batch": False}) as client:
            await client.next()
            publish(served, *["x" * 2000] * 1500)
            await client.events(1)
            client.socket.transport.abort()
    for _ in range(200):
        if len(bus._committed) <= before:
            break
        await asyncio.sleep(0.02)
    assert len(bus._committed) <= before  # an earlier client may have gone meanwhile
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
