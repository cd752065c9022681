"""Text on demand and words to say, through every door of a running backend."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import websockets

from tests.integration.conftest import Served, serve
from tests.integration.vtuber import vtuber
from tests.servers.llm import LlmServer
from tests.servers.thread import ServerThread

REPLY = "<think>hm</think>[joy] Gulls own the harbour. They always did. Nobody asked the ferries."
PLAIN = "Gulls own the harbour. They always did. Nobody asked the ferries."


@pytest.fixture(scope="module")
def llm() -> Iterator[LlmServer]:
    server = LlmServer(reply=REPLY)
    with ServerThread(server):
        yield server


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, llm: LlmServer) -> Iterator[Served]:
    yield from serve(
        tmp_path_factory.mktemp("luma"),
        llm_provider="openai_compatible",
        openai_compatible_url=f"{llm.url}/v1",
        openai_compatible_model="small-1",
        text_requests_per_minute=10_000,
    )


@pytest.fixture
def api(served: Served) -> Iterator[httpx.Client]:
    with served.client() as client:
        yield client


@pytest.fixture(autouse=True)
def writes_at_once(llm: LlmServer) -> None:
    llm.reply, llm.token_s, llm.fault = REPLY, 0.0, ""


def until(is_true: Callable[[], object], timeout_s: float = 30.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < end_s, "it never happened"
        time.sleep(0.02)


def events(lines: Iterator[str]) -> list[tuple[str, dict[str, Any]]]:
    """Server-sent events by name."""
    found, name = [], ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            found.append((name, json.loads(line.removeprefix("data: "))))
    return found


# --- REST ---


def test_a_text_comes_with_what_it_took_and_stays_out_of_every_history(
    api: httpx.Client,
) -> None:
    body = {
        "prompt": "gulls",
        "options": {"max_length": 50, "temperature": 0.3, "style": "formal"},
        "context": {"turns": 3, "stream": {"title": "Late night", "viewers": 12}},
    }
    answer = api.post("/api/text-generation", json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["text"] == "Gulls own the harbour. They always did."
    assert found["finish"] == "length"
    assert found["emotion"] == "joy"
    assert found["model"] == "small-1"
    assert found["tokens_used"] > 0
    assert found["elapsed_ms"] > 0
    assert api.get("/api/conversations/stage/history").json() == []
    assert api.get("/api/turns").json() == []


def test_the_model_is_told_style_length_and_stream_as_they_were_asked_for(
    api: httpx.Client, llm: LlmServer
) -> None:
    body = {
        "prompt": "gulls",
        "options": {"max_length": 77, "temperature": 0.3, "style": "calm"},
        "context": {"stream": {"game": "Go"}, "history": [{"text": "earlier"}], "character": False},
    }
    api.post("/api/text-generation", json=body)
    asked = llm.requests[-1].json
    assert asked["temperature"] == 0.3
    system = asked["messages"][0]["content"]
    for words in ("At most 77 characters", "calmly", "game: Go", "short texts for a streamer"):
        assert words in system
    said = "\n".join(message["content"] for message in asked["messages"][1:])
    assert said.split() == ["earlier", "gulls"]


def test_as_events_the_pieces_are_the_text(api: httpx.Client) -> None:
    with api.stream(
        "POST", "/api/text-generation", json={"prompt": "gulls", "stream": True}
    ) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        found = events(stream.iter_lines())
    names = [name for name, _ in found]
    assert names == ["start", "chunk", "chunk", "chunk", "final"]
    assert "".join(data["text"] for name, data in found if name == "chunk") == PLAIN
    assert found[-1][1]["text"] == PLAIN


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"prompt": " "}, 422),
        ({"prompt": "x", "options": {"max_length": 0}}, 422),
        ({"prompt": "x", "options": {"style": "rude"}}, 422),
        ({"prompt": "x", "context": {"conversation_id": "nope"}}, 404),
        ({"prompt": "x", "context": {"character": "nobody"}}, 404),
        ({"prompt": "x", "stream": True, "context": {"character": "nobody"}}, 404),
    ],
)
def test_a_callers_mistake_is_said_before_anything_begins(
    api: httpx.Client, body: dict[str, Any], status: int
) -> None:
    answer = api.post("/api/text-generation", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_when_the_client_leaves_the_provider_is_left_too(
    api: httpx.Client, llm: LlmServer, stream: bool
) -> None:
    llm.reply, llm.token_s = "word " * 2000, 0.05
    before = len(llm.requests)
    body = {"prompt": "gulls", "stream": stream, "options": {"max_length": 8000}}
    with httpx.Client(base_url=api.base_url, headers=api.headers, trust_env=False) as short:
        if stream:
            with short.stream("POST", "/api/text-generation", json=body, timeout=10):
                until(lambda: len(llm.requests) > before)
        else:
            with pytest.raises(httpx.ReadTimeout):
                short.post("/api/text-generation", json=body, timeout=0.5)
    until(lambda: llm.writing == 0)


# --- the event stream ---


@asynccontextmanager
async def event_stream(served: Served) -> AsyncIterator[Any]:
    async with websockets.connect(
        served.socket_url, additional_headers=served.bearer, proxy=None
    ) as socket:
        await socket.send(json.dumps({"hello": {"types": ["none"], "batch": False}}))
        await socket.recv()
        yield socket


async def told(socket: Any, name: str) -> list[dict[str, Any]]:
    """What comes up to the first message that has this in it."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(15):
        while not found or name not in found[-1]:
            found.append(json.loads(await socket.recv()))
    return found


async def test_over_the_event_stream_pieces_carry_the_id_of_their_command(served: Served) -> None:
    async with event_stream(served) as socket:
        await socket.send(json.dumps({"do": "generate_text", "id": 7, "prompt": "gulls"}))
        found = await told(socket, "done")
        assert "".join(each["text"] for each in found if each.get("chunk") == 7) == PLAIN
        assert (found[-1]["done"], found[-1]["text"]) == (7, PLAIN)


async def test_over_the_event_stream_a_text_can_be_cancelled(
    served: Served, llm: LlmServer
) -> None:
    llm.reply, llm.token_s = "word " * 2000, 0.05
    async with event_stream(served) as socket:
        await socket.send(json.dumps({"do": "generate_text", "id": "a", "prompt": "gulls"}))
        await asyncio.to_thread(until, lambda: llm.writing)
        await socket.send(json.dumps({"do": "cancel_text", "id": 8, "text": "a"}))
        found = [*await told(socket, "done"), *await told(socket, "failed")]
        assert {"done": 8, "cancelled": True} in found
        assert next(each for each in found if "failed" in each)["failed"] == "a"
    await asyncio.to_thread(until, lambda: llm.writing == 0)


# --- compatible clients ---


async def test_a_compatible_client_gets_pieces_and_the_whole(served: Served) -> None:
    async with vtuber(served) as client:
        await client.say(
            "text-generation-request",
            prompt="gulls",
            context={"chatHistory": [{"role": "user", "text": "hi"}], "unknown": 1},
            options={"maxLength": 40, "style": "casual"},
        )
        last = await client.until("text-generation-response")
        pieces = [m for m in client.seen if m["type"] == "text-generation-chunk"]
        assert all(not piece["is_complete"] for piece in pieces)
        assert last["is_complete"]
        assert last["text"] == "Gulls own the harbour. They always did."
        assert "".join(piece["text"] for piece in pieces).strip() == last["text"]
        assert last["model"] == "small-1"
        assert not await client.nothing_more(), "no turn came of it"


async def test_a_compatible_client_may_take_its_text_back_and_asks_for_one_at_a_time(
    served: Served, llm: LlmServer
) -> None:
    llm.reply, llm.token_s = "word " * 2000, 0.05
    async with vtuber(served) as client:
        await client.say("text-generation-request", prompt="gulls")
        await client.say("text-generation-request", prompt="ferries")
        assert "one comes after the other" in await client.error()
        await client.say("text-generation-cancel")
        assert "cancelled" in await client.error()
    await asyncio.to_thread(until, lambda: llm.writing == 0)


async def test_a_client_that_leaves_stops_its_text(served: Served, llm: LlmServer) -> None:
    llm.reply, llm.token_s = "word " * 2000, 0.05
    async with vtuber(served) as client:
        await client.say("text-generation-request", prompt="gulls")
        await asyncio.to_thread(until, lambda: llm.writing)
    await asyncio.to_thread(until, lambda: llm.writing == 0)


# --- words to say ---


def test_she_says_given_words_on_stage_as_a_turn_of_her_own(
    api: httpx.Client, llm: LlmServer
) -> None:
    before = len(llm.requests)
    answer = api.post("/api/say", json={"text": "[joy] Back in five minutes. Do not go!"})
    assert answer.status_code == 202, answer.text
    turn_id = answer.json()["turn_id"]
    until(lambda: api.get(f"/api/turns/{turn_id}").status_code == 200)
    turn = api.get(f"/api/turns/{turn_id}").json()
    assert turn["reply"] == "Back in five minutes. Do not go!"
    assert (turn["message"], turn["source"], turn["outcome"]) == ("", "operator", "done")
    assert all(sentence["url"] for sentence in turn["sentences"])
    assert len(llm.requests) == before, "nobody writes it"
    api.post("/api/conversations/stage/clear")


async def test_over_the_event_stream_she_says_them_too(served: Served) -> None:
    async with event_stream(served) as socket:
        await socket.send(json.dumps({"do": "say", "id": 3, "text": "Hello everybody."}))
        found = await told(socket, "done")
        assert found[-1]["conversation_id"] == "stage"


@pytest.mark.parametrize(
    ("body", "status"),
    [({"text": ""}, 422), ({"text": "x", "conversation_id": "nope"}, 404), ({"say": "x"}, 422)],
)
def test_what_cannot_be_said_is_refused(
    api: httpx.Client, body: dict[str, Any], status: int
) -> None:
    assert api.post("/api/say", json=body).status_code == status
