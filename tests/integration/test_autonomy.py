"""Autonomy through a running backend: rules, dry runs, and what she does when viewers come."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from backend.contracts.audience import Viewer, ViewerEvent
from backend.core import clock
from tests.integration.conftest import Served, serve

RAID = {
    "id": "raid",
    "title": "Raid welcome",
    "when": {"kind": "viewer", "does": "raid", "at_least": 5},
    "do": {"texts": ["Welcome {viewer}, all {amount} of you!"], "scene": "party"},
    "cooldown_s": 0,
    "priority": 90,
}
OFTEN = {
    "id": "often",
    "when": {"kind": "every", "minutes": 600},
    "do": {"prompt": "Say something about the sea."},
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from serve(
        tmp_path_factory.mktemp("luma"),
        modules_on=("speak", "memory", "avatar", "autonomy"),
        autonomy_timezone="Europe/Berlin",
    )


@pytest.fixture
def api(served: Served) -> Iterator[httpx.Client]:
    with served.client() as client:
        yield client


@pytest.fixture(autouse=True)
def rules(api: httpx.Client) -> None:
    assert api.put("/api/triggers", json={"triggers": [RAID, OFTEN]}).status_code == 200


def until(is_true: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    end_s = time.monotonic() + timeout_s
    while not (found := is_true()):
        assert time.monotonic() < end_s, "it never happened"
        time.sleep(0.02)
    return found


def raid(served: Served, name: str, viewers: int = 20) -> None:
    """A raid, as whoever is connected to a platform hands it to the desk."""
    backend = served.app.state.backend
    event = ViewerEvent(
        id=f"raid of {name}",
        platform="twitch",
        kind="raid",
        viewer=Viewer(platform="twitch", id=name, name=name),
        amount=viewers,
        at=clock.now(),
    )
    asyncio.run_coroutine_threadsafe(backend.audience.did(event), backend._loop).result(10)


def acted(api: httpx.Client, words: str) -> dict[str, Any] | None:
    found = api.get("/api/events", params={"type": "autonomy.acted", "limit": 20}).json()
    return next((one for one in found if words in one["data"]["detail"]), None)


def test_a_raid_is_welcomed_on_stage_and_told(api: httpx.Client, served: Served) -> None:
    raid(served, "Nori")
    told = until(lambda: acted(api, "Welcome Nori, all 20 of you!"))
    assert told["data"]["trigger"] == "raid"
    assert told["data"]["action"] == "says+scene"
    mine = api.get(f"/api/turns/{told['turn_id']}").json()
    assert (mine["source"], mine["message"]) == ("autonomy", "")
    assert mine["reply"] == "Welcome Nori, all 20 of you!"
    state = api.get("/api/autonomy").json()
    row = next(one for one in state["triggers"] if one["id"] == "raid")
    assert row["fired"] >= 1
    assert row["last"].startswith("Welcome Nori")


def test_a_raid_that_is_too_small_is_not_welcomed(api: httpx.Client, served: Served) -> None:
    raid(served, "Tiny", viewers=4)
    raid(served, "Big", viewers=6)
    until(lambda: acted(api, "Welcome Big"))
    assert acted(api, "Tiny") is None


def test_she_is_silent_during_a_panic_and_says_why(api: httpx.Client, served: Served) -> None:
    api.post("/api/panic", json={"by": "test"})
    try:
        raid(served, "Panicked")
        until(
            lambda: (
                "everything is stopped by the panic" in api.get("/api/autonomy").json()["reasons"]
            )
        )
        refused = api.post("/api/autonomy/act", json={"trigger": "raid"})
        assert refused.status_code == 409
        assert "panic" in refused.text
        assert acted(api, "Panicked") is None
    finally:
        api.post("/api/resume", json={"by": "test"})
    until(lambda: acted(api, "Welcome Panicked"))


def test_a_dry_run_says_what_she_would_do_and_does_nothing(api: httpx.Client) -> None:
    found = api.post("/api/autonomy/dry-run", json={"trigger": "raid"}).json()
    assert found["text"] == "Welcome friend, all so many of you!"
    assert "calls the scene party" in found["would"]
    assert found["why"].startswith("on a raid of at least 5 viewers")
    nothing = api.post("/api/autonomy/dry-run").json()
    assert nothing["would"] == "nothing"
    assert {one["id"] for one in nothing["triggers"]} == {"raid", "often"}
    assert acted(api, "friend") is None


def test_a_dry_run_can_have_a_line_written(api: httpx.Client) -> None:
    plain = api.post("/api/autonomy/dry-run", json={"trigger": "often"}).json()
    assert (plain["text"], plain["prompt"][:28]) == ("", "Say something about the sea.")
    written = api.post("/api/autonomy/dry-run", json={"trigger": "often", "write": True}).json()
    assert "sea" in written["text"]


def test_wrong_triggers_are_refused_in_words(api: httpx.Client) -> None:
    wrong = {**RAID, "do": {"texts": ["Hello {everybody}"]}}
    refused = api.put("/api/triggers", json={"triggers": [wrong]})
    assert refused.status_code == 422
    assert "{everybody} is no placeholder" in refused.text
    twice = api.put("/api/triggers", json={"triggers": [RAID, RAID]})
    assert "two triggers are called 'raid'" in twice.text
    assert len(api.get("/api/triggers").json()["triggers"]) == 2


def test_the_event_stream_takes_the_same_commands(served: Served) -> None:
    with connect(served.socket_url, additional_headers=served.bearer) as socket:
        socket.send(json.dumps({"hello": {}}))

        def ask(command: str, **fields: object) -> dict[str, Any]:
            socket.send(json.dumps({"do": command, "id": command, **fields}))
            while True:
                answer = json.loads(socket.recv(timeout=10))
                if isinstance(answer, dict) and answer.get("done") == command:
                    return answer

        told = ask("autonomy_dry_run", trigger="raid")
        assert told["dry_run"]["trigger"] == "raid"
        rules = ask("triggers", rules={"triggers": [RAID]})
        assert [one["id"] for one in rules["rules"]["triggers"]] == ["raid"]
        assert ask("autonomy_act", trigger="raid")["autonomy"]["acting"] == "raid"


@pytest.mark.slow
def test_rules_and_counts_are_there_after_a_restart(tmp_path: Path) -> None:
    for served in serve(tmp_path):
        with served.client() as api:
            assert not api.get("/api/autonomy").json()["is_on"]
            api.post("/api/modules/autonomy", json={"enabled": True})
            api.put("/api/triggers", json={"triggers": [RAID]})
            raid(served, "Before")
            until(lambda: acted(api, "Welcome Before"))
    for served in serve(tmp_path):
        with served.client() as api:
            state = api.get("/api/autonomy").json()
            assert [(one["id"], one["fired"]) for one in state["triggers"]] == [("raid", 1)]
            assert state["is_on"]
            off = api.post("/api/modules/autonomy", json={"enabled": False}).json()
            assert off["state"] == "off"


def test_her_mood_colours_replies_on_the_stage_alone_while_the_module_is_on(
    api: httpx.Client, served: Served
) -> None:
    manner = served.app.state.backend.runner.manner
    feels = api.post("/api/autonomy/dry-run", json={}).json()["feels"]
    assert feels.startswith("Right now you feel ")
    assert manner("stage").startswith("Right now you feel ")
    assert manner("another") == ""
    api.post("/api/modules/autonomy", json={"enabled": False})
    try:
        assert manner("stage") == ""
    finally:
        api.post("/api/modules/autonomy", json={"enabled": True})
