"""Moderation through the doors of a running backend: rules by REST and socket, speech by POST /api/say, and who gets what."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import httpx
import pytest
import websockets.sync.client

from backend.api.stream import OVERLAY_TYPES
from tests.integration.conftest import Served, serve

MINE = {
    "name": "mine",
    "rules": [
        {
            "name": "own",
            "kind": "words",
            "words": ["badword"],
            "incoming": "mask",
            "outgoing": "mask",
        }
    ],
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from serve(tmp_path_factory.mktemp("luma"), llm_provider="echo")


@pytest.fixture
def api(served: Served) -> Iterator[httpx.Client]:
    with served.client() as client:
        yield client
        client.put("/api/moderation", json={"name": "standard", "family": False})


def test_a_profile_is_written_tried_chosen_and_deleted(api: httpx.Client) -> None:
    state = api.get("/api/moderation").json()
    assert state["profile"]["name"] == "standard"
    assert {each["name"] for each in state["profiles"]} >= {"off", "relaxed", "standard", "family"}
    state = api.put("/api/moderation", json={"profile": MINE, "family": True}).json()
    assert (state["profile"]["name"], state["family"]) == ("mine", True)
    tried = api.post("/api/moderation/try", json={"text": "a b4dword"}).json()
    assert tried["verdict"]["text"] == "a *******"
    assert tried["found"][0]["pieces"] == ["b4dword"]
    other = {"text": "evil dot com", "profile": "standard"}
    assert api.post("/api/moderation/try", json=other).json()["verdict"]["action"] == "hold"
    assert api.delete("/api/moderation/mine").status_code == 409
    assert api.put("/api/moderation", json={"name": "off"}).json()["profile"]["name"] == "off"
    assert api.delete("/api/moderation/mine").status_code == 200
    assert api.get("/api/moderation/mine").status_code == 404


def test_what_cannot_be_used_is_refused_and_changes_nothing(api: httpx.Client) -> None:
    before = api.get("/api/moderation").json()["profile"]["name"]
    for body in (
        {"name": "nothing"},
        {"name": "../x"},
        {"profile": {"name": "mine", "rules": [{"name": "a", "kind": "wrods"}]}},
        {"profile": {"name": "m", "rules": [{"name": "a", "kind": "pattern", "patterns": ["(a"]}]}},
        {"profile": MINE, "name": "other"},
    ):
        response = api.put("/api/moderation", json=body)
        assert response.status_code in (404, 422), body
        assert response.json()["message"]
    assert api.get("/api/moderation").json()["profile"]["name"] == before


def test_words_to_say_are_moderated_and_the_overlay_never_sees_them(
    served: Served, api: httpx.Client
) -> None:
    api.put("/api/moderation", json={"profile": MINE})
    address = f"{served.socket_url}?token={served.overlay_token}"
    with websockets.sync.client.connect(address) as overlay:
        overlay.send(json.dumps({"hello": {"batch": False}}))
        overlay.recv(timeout=5)
        said = api.post(
            "/api/say", json={"text": "What a bad w0rd, my friends. Good night."}
        ).json()
        seen = []
        until = time.monotonic() + 10
        while time.monotonic() < until:
            event = json.loads(overlay.recv(timeout=10))
            seen.append(event)
            if event["type"] == "chat.sentence" and "Good night" in event["data"]["text"]:
                break
    whole = json.dumps(seen)
    assert "w0rd" not in whole
    assert "chat.delta" not in whole
    assert all(event["type"].startswith(("playback", "avatar", "chat.sentence")) for event in seen)
    assert not any("delta" in glob for glob in OVERLAY_TYPES)
    while True:
        turns = api.get("/api/turns").json()
        found = [turn for turn in turns if turn["id"] == said["turn_id"]]
        if found:
            break
        time.sleep(0.05)
    assert found[0]["reply"] == "What a *** ****, my friends. Good night."
    events = api.get("/api/events", params={"type": "moderation.acted"}).text
    assert '"own"' in events
    assert "w0rd" not in events
