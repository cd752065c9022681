"""The mode orphiq in a running backend: against a recorded server, and against another Luma."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.conftest import Served, serve
from tests.integration.vtuber import vtuber
from tests.servers.orphiq import SECRET, OrphiqServer
from tests.servers.thread import ServerThread

PLAIN = "Hi there, nice to meet you. Now I am sad! (thinking) Bye."


@pytest.fixture(scope="module")
def server() -> Iterator[OrphiqServer]:
    """A server that answers as the recorded one did."""
    made = OrphiqServer()
    with ServerThread(made):
        yield made


@pytest.fixture(autouse=True)
def answers_well(server: OrphiqServer) -> None:
    server.fault = ""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, server: OrphiqServer) -> Iterator[Served]:
    """A backend in whose mode it answers."""
    yield from serve(
        tmp_path_factory.mktemp("orphiq"),
        backend_mode="orphiq",
        orphiq_websocket_url=server.url,
        orphiq_sentence_timeout_s=1.0,
    )


@pytest.fixture(scope="module")
def luma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Another Luma, which repeats what it is told."""
    yield from serve(tmp_path_factory.mktemp("luma"))


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory, luma: Served) -> Iterator[Served]:
    """A Luma in whose mode the other one answers."""
    yield from serve(
        tmp_path_factory.mktemp("talker"),
        backend_mode="orphiq",
        orphiq_websocket_url=luma.url,
        orphiq_token=luma.token,
        llm_provider="persona",
    )


def say(api: httpx.Client, text: str, conversation_id: str = "stage") -> dict[str, Any]:
    body = {"message": text, "conversation_id": conversation_id}
    answer = api.post("/api/chat", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def new(api: httpx.Client) -> str:
    return str(api.post("/api/conversations", json={}).json()["id"])


async def test_a_server_answers_with_its_words_and_its_voice(
    served: Served, server: OrphiqServer
) -> None:
    with served.client() as client:
        reply = await asyncio.to_thread(say, client, "hello")
        assert reply["outcome"] == "done", reply
        assert reply["reply"] == PLAIN, "tags are cues, and no part of what is shown"
        assert reply["emotion"] in ("joy", "sad", "sadness")
        sounds = [await asyncio.to_thread(client.get, each["url"]) for each in reply["audio"]]
        assert len(sounds) == 4
        assert {sound.content[24:28] for sound in sounds} == {(24_000).to_bytes(4, "little")}
        turn = client.get(f"/api/turns/{reply['turn_id']}").json()
        assert any("orphiq" in span["detail"] for span in turn["spans"])
    await asyncio.to_thread(_until, lambda: server.said("frontend-playback-complete"))


def test_an_error_of_the_server_is_answered_by_the_next_mode_and_never_spoken(
    served: Served, server: OrphiqServer, api_of: httpx.Client
) -> None:
    for fault in ("error", "spoken error", "nothing"):
        server.fault = fault
        reply = say(api_of, "are you well?", new(api_of))
        assert reply["outcome"] == "done", (fault, reply)
        assert SECRET not in reply["reply"]
        assert "well" in reply["reply"], "the echo repeats it"
        api_of.put("/api/mode", json={"mode": "orphiq"})


@pytest.fixture
def api_of(served: Served) -> Iterator[httpx.Client]:
    with served.client() as client:
        yield client


def test_a_server_that_breaks_off_in_the_middle_ends_the_reply_there(
    api_of: httpx.Client, server: OrphiqServer
) -> None:
    server.fault = "breaks off"
    api_of.put("/api/mode", json={"mode": "orphiq"})
    reply = say(api_of, "hello", new(api_of))
    assert reply["reply"] == "Hi there,"
    assert "closed the connection" in reply["error"]
    server.fault = ""
    api_of.put("/api/mode", json={"mode": "orphiq"})
    assert say(api_of, "hello", new(api_of))["reply"] == PLAIN


def test_luma_talks_to_luma_and_each_conversation_is_one_there(
    talker: Served, luma: Served
) -> None:
    with talker.client() as mine, luma.client() as theirs:
        one, two = new(mine), new(mine)
        for n in range(2):
            for where, word in ((one, "First"), (two, "Second")):
                reply = say(mine, f"{word} {n}. And on.", where)
                assert reply["outcome"] == "done", reply
                assert reply["reply"] == f"{word} {n}. And on."
                assert len(reply["audio"]) == 2
        _until(lambda: len(_conversations(theirs)) == 2)
        for each in _conversations(theirs):
            turns = _turns(theirs, each["id"])
            said = {turn["message"].split()[0] for turn in turns}
            assert len(said) == 1, "two memories never mix"
            assert {turn["outcome"] for turn in turns} == {"done"}


def test_luma_keeps_of_a_cut_reply_what_was_heard_at_the_other(
    talker: Served, luma: Served
) -> None:
    with talker.client() as mine, luma.client() as theirs:
        where = new(mine)
        long = " ".join(f"Sentence number {n} goes on for a while." for n in range(12))
        with mine.stream(
            "POST", "/api/chat", json={"message": long, "conversation_id": where, "stream": True}
        ) as stream:
            for line in stream.iter_lines():
                if line == "event: audio":
                    break
        _until(lambda: _turns(mine, where))
        assert say(mine, "Again.", where)["reply"] == "Again."
        own = _turns(mine, where)[-1]
        _until(lambda: _turn_of(theirs, long) is not None)
        other = _turn_of(theirs, long)
        assert other is not None
        assert own["outcome"] == other["outcome"] == "interrupted"
        assert len(other["reply"]) <= len(long)


def _turn_of(api: httpx.Client, message: str) -> dict[str, Any] | None:
    for each in _conversations(api):
        for turn in _turns(api, each["id"]):
            if turn["message"] == message:
                return turn
    return None


def _turns(api: httpx.Client, conversation_id: str) -> list[dict[str, Any]]:
    """Newest first."""
    answer = api.get("/api/turns", params={"conversation_id": conversation_id})
    found: list[dict[str, Any]] = answer.json()
    return found


def _conversations(api: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get("/api/conversations").json()
    return [each for each in found if each["id"] != "stage" and each["turns"]]


def test_text_on_demand_is_written_by_the_other_luma_and_remembered_by_neither(
    talker: Served, luma: Served
) -> None:
    with talker.client() as mine, luma.client() as theirs:
        before = [len(mine.get("/api/turns").json()), len(theirs.get("/api/turns").json())]
        answer = mine.post("/api/text-generation", json={"prompt": "Gulls. And ferries."})
        assert answer.status_code == 200, answer.text
        assert answer.json()["text"] == "Gulls. And ferries."
        assert "ws://127.0.0.1" in answer.json()["by"]
        after = [len(mine.get("/api/turns").json()), len(theirs.get("/api/turns").json())]
        assert before == after


def test_a_server_that_is_set_while_luma_runs_answers_the_next_turn(
    talker: Served, luma: Served, server: OrphiqServer
) -> None:
    with talker.client() as api:
        where = new(api)
        assert say(api, "Through Luma.", where)["reply"] == "Through Luma."
        url = {"values": {"ORPHIQ_WEBSOCKET_URL": server.url, "ORPHIQ_TOKEN": "its own"}}
        assert api.post("/api/config", json=url).status_code == 200
        _until(lambda: say(api, "And now?", where)["reply"] == PLAIN)
        assert server.headers[-1]["authorization"] == "Bearer its own"
        back = {"values": {"ORPHIQ_WEBSOCKET_URL": luma.url, "ORPHIQ_TOKEN": luma.token}}
        assert api.post("/api/config", json=back).status_code == 200
        _until(lambda: say(api, "Back again.", where)["reply"] == "Back again.")


async def test_the_protocol_is_the_same_through_two_backends(talker: Served) -> None:
    async with vtuber(talker) as client:
        turn = await client.ask("Hello through two. It works.")
        assert [m["display_text"]["text"] for m in turn if m["type"] == "audio"] == [
            "Hello through two. ",
            "It works. ",
        ]


def _until(is_true: Any, timeout_s: float = 30.0) -> None:
    import time

    end_s = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < end_s, "it never happened"
        time.sleep(0.02)
