"""The panic through every door, on a backend that really speaks into a sink, and the web pages' routes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.conftest import Served, serve
from tests.integration.test_stream import line

LONG = "One two three four five six seven eight nine ten. " * 10


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A backend whose stage takes as long as its sound does."""
    yield from serve(tmp_path_factory.mktemp("luma"), audio_sink="overlay")


@pytest.fixture(autouse=True)
def _goes_on(api: httpx.Client) -> Iterator[None]:
    yield
    api.post("/api/resume")
    api.post("/api/avatar/release", json={})


async def test_a_panic_over_the_socket_is_told_silent_and_answered_before_what_waits(
    served: Served, api: httpx.Client
) -> None:
    async with line(served, {"types": ["panic.*", "playback.*", "turn.finished"]}) as client:
        await client.say({"do": "chat", "id": 1, "message": LONG, "conversation_id": "stage"})
        await client.until("type", "playback.started")
        await client.say({"do": "panic", "id": 2, "by": "test"})
        # The answer does not wait for the disk, as events do: it may come before them.
        seen: dict[str, Any] = {}
        while not {"done", "playback.finished", "turn.finished"} <= seen.keys():
            found = await client.next()
            seen.setdefault(found.get("type", next(iter(found))), found)
        told = seen["panic.changed"]["data"]["panic"]
        assert (told["is_on"], told["by"], told["stopped"]) == (True, "test", 0)
        assert seen["playback.finished"]["data"]["interrupted"]
        assert seen["turn.finished"]["data"]["outcome"] == "interrupted"
        assert seen["done"]["panic"]["stopped"] == 1
        await client.say({"do": "chat", "id": 3, "message": "hello?", "conversation_id": "stage"})
        assert (await client.until("failed", 3))["code"] == "panic.on"
        await client.say({"do": "resume", "id": 4})
        assert not (await client.until("done", 4))["panic"]["is_on"]
    assert api.get("/api/panic").json()["is_on"] is False


async def test_a_panic_is_silent_within_100_ms(served: Served, api: httpx.Client) -> None:
    backend = served.app.state.backend
    waits_ms = []
    for _ in range(3):
        async with line(served, {"types": ["playback.*"]}) as client:
            await client.say({"do": "chat", "id": 1, "message": LONG, "conversation_id": "stage"})
            await client.until("type", "playback.started")
            loop = asyncio.get_running_loop()
            begun_s = loop.time()
            asking = asyncio.create_task(asyncio.to_thread(api.post, "/api/panic"))
            await client.until("type", "playback.finished")
            waits_ms.append((loop.time() - begun_s) * 1000)
            await asking
            assert backend.player.sink.sounding(0.0) == []
        api.post("/api/resume")
    # The fastest: a busy machine may hold up the test itself, and only ever adds to it.
    assert min(waits_ms) < 100, waits_ms


def test_resume_restores_the_face_the_loop_and_the_microphone(api: httpx.Client) -> None:
    api.post("/api/expression", json={"expression_id": "joy"})
    api.post("/api/motion", json={"motion": "wave", "loop": True})
    api.post("/api/panic", json={"by": "window"})
    api.post("/api/panic", json={"by": "window"})
    shown = api.get("/api/avatar/state").json()
    assert (shown["expression"], shown["motion"]) == ("neutral", None)
    assert api.get("/api/listening").json()["muted"]
    api.post("/api/resume")
    shown = api.get("/api/avatar/state").json()
    assert shown["expression"] == "joy"
    assert shown["motion"]["name"] == "wave"
    assert not api.get("/api/listening").json()["muted"]


def test_what_goes_on_in_a_conversation_and_its_title(api: httpx.Client) -> None:
    made = api.post("/api/conversations", json={}).json()
    path = f"/api/conversations/{made['id']}"
    assert api.get(f"{path}/now").json() == {"turn_id": None, "waiting": []}
    assert api.patch(path, json={"title": "Tea"}).json()["title"] == "Tea"
    assert api.get("/api/conversations/nobody/now").status_code == 404
    assert api.patch("/api/conversations/nobody", json={"title": ""}).status_code == 404


def test_where_the_stage_is_heard_can_be_asked(api: httpx.Client) -> None:
    assert api.get("/api/audio/output").json() == api.post("/api/audio/output", json={}).json()


@pytest.mark.parametrize("page", ["/webui/chat", "/webui/control"])
def test_a_link_for_a_page_leads_there_once(served: Served, api: httpx.Client, page: str) -> None:
    link = api.post("/api/login-link", json={"page": page, "valid_s": 300}).json()
    assert (link["valid_s"], link["also"]) == (300, [])
    with served.stranger() as browser:
        answer = browser.get(link["url"])
        assert answer.headers["location"] == page
        found = browser.get(page)
        assert found.status_code == 200
        assert "script-src 'self'" in found.headers["content-security-policy"]
        again = browser.get(page, headers={"If-None-Match": found.headers["etag"]})
        assert again.status_code == 304
        policy = again.headers["content-security-policy"]
        assert policy == found.headers["content-security-policy"], "the kept page keeps its policy"
        assert browser.get("/webui").headers["location"] == "/webui/chat"
        own = {"Origin": served.url, "X-Luma-Page": "1"}
        more = browser.post("/api/login-link", json={"page": page}, headers=own)
        assert more.status_code == 403, "a browser that is logged in logs no other in"
    with contextlib.suppress(httpx.HTTPError), served.stranger() as other:
        kind = other.get(link["url"], headers={"Accept": "text/html"})
        assert kind.status_code == 401
        assert "used already" in kind.text


def test_a_link_for_elsewhere_is_asked_for_pages_only(api: httpx.Client) -> None:
    assert api.post("/api/login-link", json={"page": "/etc/passwd"}).status_code == 422
    assert api.post("/api/login-link", json={"valid_s": 3600}).status_code == 422


def test_a_link_names_the_addresses_under_which_a_tablet_reaches_it(
    served: Served, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = served.app.state.services
    monkeypatch.setattr(services, "page_hosts", lambda: ("luma.lan", "luma.lan:8443"))
    link = api.post("/api/login-link", json={"page": "/webui/control"}).json()
    code = link["url"].partition("code=")[2]
    port = served.backend.port
    assert link["also"] == [
        f"http://luma.lan:{port}/login?code={code}",
        f"http://luma.lan:8443/login?code={code}",
    ]
