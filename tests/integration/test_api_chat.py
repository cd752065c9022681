"""Talking over HTTP: whole replies, server-sent events, conversations, sounds."""

from __future__ import annotations

import io
import json
import time
import wave
from typing import Any

import httpx
import pytest

from tests.fakes import WritesText
from tests.integration.conftest import Served


def sse(lines: Any) -> list[tuple[str, dict[str, Any]]]:
    """Server-sent events, in order."""
    found: list[tuple[str, dict[str, Any]]] = []
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            found.append((name, json.loads(line.removeprefix("data: "))))
    return found


def say(api: httpx.Client, text: str, **more: Any) -> dict[str, Any]:
    answer = api.post("/api/chat", json={"message": text, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_message_brings_the_whole_reply_with_its_sounds(api: httpx.Client) -> None:
    reply = say(api, "Hello there. How are you today?")
    assert reply["reply"] == "Hello there. How are you today?"
    assert reply["outcome"] == "done"
    assert [sound["text"] for sound in reply["audio"]] == ["Hello there.", "How are you today?"]
    timings = reply["timings"]
    assert timings["total"] == pytest.approx(
        sum(v for k, v in timings.items() if k != "total"), abs=0.01
    )
    for sound in reply["audio"]:
        with wave.open(io.BytesIO(api.get(sound["url"]).content)) as file:
            assert file.getnframes() / file.getframerate() == pytest.approx(
                sound["duration_s"], abs=0.01
            )


def test_the_sounds_of_a_message_can_be_left_out(api: httpx.Client) -> None:
    assert say(api, "Quietly now.", speak=False)["audio"] == []


def test_a_streamed_reply_comes_piece_by_piece_in_order(api: httpx.Client) -> None:
    with api.stream(
        "POST", "/api/chat", json={"message": "One here. Two there.", "stream": True}
    ) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = sse(answer.iter_lines())
    names = [name for name, _ in events]
    assert names[0] == "start"
    assert names[-1] == "final"
    assert (
        "".join(data["text"] for name, data in events if name == "token").split()
        == "One here. Two there.".split()
    )
    assert [(d["n"], d["text"]) for name, d in events if name == "sentence"] == [
        (1, "One here."),
        (2, "Two there."),
    ]
    assert [d["n"] for name, d in events if name == "audio"] == [1, 2]
    final = events[-1][1]
    assert final["turn_id"] == events[0][1]["turn_id"]
    assert final["reply"] == "One here. Two there."
    assert api.get(f"/api/turns/{final['turn_id']}").json()["reply"] == final["reply"]


def test_a_wrong_streamed_request_fails_with_a_status_not_inside_the_stream(
    api: httpx.Client,
) -> None:
    answer = api.post(
        "/api/chat", json={"message": "x", "stream": True, "conversation_id": "nowhere"}
    )
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


def test_each_client_has_its_own_conversation_and_a_stranger_a_new_one(api: httpx.Client) -> None:
    first = api.post("/api/chat", json={"message": "a"}, headers={"X-Client-UID": "alpha"}).json()
    second = api.post("/api/chat", json={"message": "b"}, headers={"X-Client-UID": "alpha"}).json()
    other = api.post("/api/chat", json={"message": "c", "client_uid": "beta"}).json()
    nobody = [say(api, "d")["conversation_id"], say(api, "e")["conversation_id"]]
    assert first["conversation_id"] == second["conversation_id"]
    assert len({first["conversation_id"], other["conversation_id"], *nobody, "stage"}) == 5


def test_a_turn_says_whether_it_was_typed_in_the_window_or_sent_by_a_script(
    api: httpx.Client,
) -> None:
    sources = []
    for body in ({"message": "f"}, {"message": "g", "origin": "window"}):
        turn_id = api.post("/api/chat", json=body).json()["turn_id"]
        sources.append(api.get(f"/api/turns/{turn_id}").json()["source"])
    assert sources == ["api", "window"]
    assert api.post("/api/chat", json={"message": "h", "origin": "twitch"}).status_code == 422


def test_a_conversation_that_does_not_exist_is_a_404(api: httpx.Client) -> None:
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/history"),
        ("POST", "/clear"),
        ("POST", "/interrupt"),
    ):
        answer = api.request(method, f"/api/conversations/nowhere{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
    assert (
        api.post("/api/chat", json={"message": "x", "conversation_id": "nowhere"}).status_code
        == 404
    )


def test_history_is_read_in_pages_oldest_first(api: httpx.Client) -> None:
    here = api.post("/api/conversations", json={"title": "pages"}).json()["id"]
    for n in range(5):
        say(api, f"message {n}", conversation_id=here)
    last = api.get(f"/api/conversations/{here}/history", params={"limit": 2}).json()
    assert [turn["message"] for turn in last] == ["message 3", "message 4"]
    before = api.get(
        f"/api/conversations/{here}/history", params={"limit": 9, "before": last[0]["id"]}
    ).json()
    assert [turn["message"] for turn in before] == ["message 0", "message 1", "message 2"]
    newest_first = api.get("/api/turns", params={"conversation_id": here}).json()
    assert [turn["message"] for turn in newest_first] == [f"message {n}" for n in (4, 3, 2, 1, 0)]


def test_a_conversation_can_be_cleared_and_deleted(api: httpx.Client) -> None:
    here = say(api, "to be forgotten")["conversation_id"]
    assert api.post(f"/api/conversations/{here}/clear").status_code == 204
    assert api.get(f"/api/conversations/{here}/history").json() == []
    assert api.delete(f"/api/conversations/{here}").status_code == 204
    assert api.get(f"/api/conversations/{here}").status_code == 404


def test_switching_the_character_belongs_to_the_conversation(api: httpx.Client) -> None:
    ids = [character["id"] for character in api.get("/api/characters").json()]
    here = api.post("/api/conversations", json={"character_id": ids[0]}).json()
    stage = api.get("/api/conversations/stage").json()["character_id"]
    switched = api.post(
        "/api/switch_character", json={"conversation_id": here["id"], "character_id": ids[1]}
    )
    assert switched.json()["character_id"] == ids[1]
    assert api.get("/api/conversations/stage").json()["character_id"] == stage
    own = api.post(
        "/api/switch_character", json={"character_id": ids[2]}, headers={"X-Client-UID": "gamma"}
    ).json()
    assert own["client_uid"] == "gamma"
    assert (
        api.post("/api/chat", json={"message": "x"}, headers={"X-Client-UID": "gamma"}).json()[
            "character_id"
        ]
        == ids[2]
    )
    assert api.post("/api/switch_character", json={"character_id": "nobody"}).status_code == 404


def test_latency_is_told_per_stage(api: httpx.Client) -> None:
    say(api, "measure me")
    found = api.get("/api/turns/latency", params={"n": 10}).json()
    stages = {stage["stage"]: stage for stage in found["stages"]}
    assert {"llm", "tts", "total"} <= set(stages)
    assert all(0 <= s["p50_ms"] <= s["p95_ms"] <= s["max_ms"] for s in stages.values())


def test_a_sound_can_be_fetched_in_parts(api: httpx.Client) -> None:
    url = say(api, "Give me a part of this.")["audio"][0]["url"]
    whole = api.get(url)
    part = api.get(url, headers={"Range": "bytes=4-7"})
    assert part.status_code == 206
    assert part.content == whole.content[4:8]
    assert part.headers["content-range"] == f"bytes 4-7/{len(whole.content)}"
    assert api.get(url, headers={"Range": f"bytes={len(whole.content)}-"}).status_code == 416
    assert api.get("/api/audio/aaaaaaaa/1").status_code == 404


def test_a_client_that_leaves_a_streamed_reply_stops_its_turn(
    served: Served, api: httpx.Client
) -> None:
    engines = served.app.state.backend.engines
    echo, engines.llm = engines.llm, WritesText(["The first sentence. ", 30.0, "Never said."])
    with (
        served.client() as client,
        client.stream("POST", "/api/chat", json={"message": "go on", "stream": True}) as answer,
    ):
        lines = answer.iter_lines()
        turn_id = ""
        for line in lines:
            if line.startswith("data: "):
                turn_id = turn_id or json.loads(line[6:])["turn_id"]
            if line == "event: sentence":
                break
    engines.llm = echo
    for _ in range(100):
        found = api.get(f"/api/turns/{turn_id}")
        if found.status_code == 200:
            break
        time.sleep(0.05)
    assert found.json()["outcome"] == "interrupted"
    assert "Never said." not in found.json()["reply"]
