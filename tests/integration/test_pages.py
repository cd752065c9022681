"""The pages' files and the overlay's state, as a browser gets them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import httpx
import pytest

from backend.contracts.entities import STAGE, Audio
from backend.contracts.events import AvatarStaged
from backend.playback.player import SpokenPiece
from tests.fakes import ManualSink, Watch
from tests.integration.conftest import Served, serve

T = TypeVar("T")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from serve(tmp_path_factory.mktemp("luma"))


def inside(served: Served, work: Coroutine[Any, Any, T]) -> T:
    backend = served.app.state.backend
    return asyncio.run_coroutine_threadsafe(work, backend._loop).result(20)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/web/luma.js", "text/javascript"),
        ("/web/overlay.css", "text/css"),
        ("/web/avatar/stage.js", "text/javascript"),
        ("/overlay", "text/html"),
        ("/captions", "text/html"),
    ],
)
def test_a_file_of_a_page_is_asked_for_again_by_its_tag(
    api: httpx.Client, path: str, kind: str
) -> None:
    first = api.get(path)
    assert first.status_code == 200
    assert first.headers["content-type"].startswith(kind)
    assert first.headers["cache-control"] == "private, no-cache"
    assert first.headers["referrer-policy"] == "no-referrer"
    again = api.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    other = api.get(path, headers={"If-None-Match": '"another"'})
    assert other.content == first.content


@pytest.mark.parametrize(
    "path",
    [
        "/web/",
        "/web/nothing.js",
        "/web/overlay.html",
        "/web/..%2Fpages.py",
        "/web/%2e%2e/%2e%2e/config.py",
        "/web/%2Fetc%2Fpasswd",
        "/web/vendor/README.md",
        "/web/luma.js%00.css",
        "/web/avatar",
        "/web/" + "a" * 300,
        "/web/" + "\N{GRINNING FACE}" * 100 + ".js",
        "/web/control.html/",
        "/web/control.html%2F.",
        "/web/vendor/..%2Fchat.html%2F",
    ],
)
def test_nothing_but_the_pages_files_is_served(api: httpx.Client, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code in (404, 422)
    assert "content-security-policy" in answer.headers


def test_a_page_holds_no_script_of_its_own(api: httpx.Client) -> None:
    for path in ("/overlay", "/captions"):
        text = api.get(path).text
        assert "<script>" not in text
        assert "style=" not in text
        assert "http://" not in text
        assert "https://" not in text


def test_the_overlay_state_says_who_is_on_stage_and_what_is_shown(
    served: Served, api: httpx.Client
) -> None:
    api.post("/api/switch_character", json={"character_id": "hoshi"}).raise_for_status()
    api.post("/api/expression", json={"expression_id": "joy"}).raise_for_status()
    with served.stranger() as overlay:
        state = overlay.get("/overlay/state", params={"token": served.overlay_token}).json()
        assert overlay.get("/overlay/state").status_code == 401
    assert state["character"] == {"id": "hoshi", "name": "Hoshi Kitsune"}
    assert state["rig"]["kind"] == "puppet"
    assert state["shown"]["expression"] == "joy"
    assert state["sink"] == "none"
    assert state["volume"] == 1
    assert state["playing"] is None


def begin(
    served: Served, piece: SpokenPiece, turn_id: str, conversation_id: str, heard_s: float = 0
) -> ManualSink:
    """She says a sentence on a sink of the test; ``heard_s`` seconds of it have been heard."""
    backend = served.app.state.backend
    sink = ManualSink()

    async def play() -> None:
        backend.player.sink = sink
        async with Watch(backend.bus) as seen:
            backend.player.play_again([piece], turn_id, conversation_id)
            await seen.until("playback.started")
            if heard_s:
                await sink.advance(heard_s)
                await seen.until("playback.position", 2)

    inside(served, play())
    return sink


def end(served: Served, sink: ManualSink) -> None:
    """She has said it."""

    async def wait() -> None:
        async with Watch(served.app.state.backend.bus) as seen:
            await sink.advance(5)
            await seen.until("playback.finished")

    inside(served, wait())


def test_the_overlay_state_knows_the_middle_of_a_sentence(
    served: Served, api: httpx.Client
) -> None:
    audio = Audio(b"\x01\x00" * 16000, 8000)
    piece = SpokenPiece(3, "One two.", audio, "/api/audio/ab/3")
    sink = begin(served, piece, "ab" * 16, STAGE, heard_s=0.5)
    playing = api.get("/overlay/state").json()["playing"]
    assert (playing["n"], playing["text"], playing["sink"]) == (3, "One two.", "manual")
    assert 0.5 <= playing["position_s"] <= 2.0
    assert playing["duration_s"] == 2.0
    assert [word["end"] for word in playing["words"]] == [3, 8]
    end(served, sink)
    assert api.get("/overlay/state").json()["playing"] is None


def test_what_another_conversation_says_is_not_on_the_overlay(
    served: Served, api: httpx.Client
) -> None:
    audio = Audio(b"\x01\x00" * 8000, 8000)
    piece = SpokenPiece(1, "Private.", audio, "/api/audio/cd/1")
    sink = begin(served, piece, "cd" * 16, "private")
    assert api.get("/overlay/state").json()["playing"] is None
    end(served, sink)


def test_overlays_are_told_who_goes_on_stage_and_when_that_one_is_edited(
    served: Served, api: httpx.Client
) -> None:
    backend = served.app.state.backend

    async def watched() -> Watch:
        watch = Watch(backend.bus)
        await watch.__aenter__()
        return watch

    seen = inside(served, watched())
    api.post("/api/switch_character", json={"character_id": "sumi"}).raise_for_status()
    made = api.post("/api/characters", json={"name": "Elsewhere"}).json()
    api.patch(f"/api/characters/{made['id']}", json={"profile": "not on stage"}).raise_for_status()
    api.patch("/api/characters/sumi", json={"profile": "on stage"}).raise_for_status()
    inside(served, seen.until("avatar.staged", 2))
    inside(served, seen.__aexit__())
    staged = [event for event in seen.events if isinstance(event, AvatarStaged)]
    assert [(event.character_id, event.name) for event in staged] == [
        ("sumi", "Professor Sumi"),
        ("sumi", "Professor Sumi"),
    ]


def test_the_description_of_all_routes_is_written_once(served: Served, api: httpx.Client) -> None:
    first = api.get("/openapi.json")
    assert first.headers["content-type"] == "application/json"
    assert first.json() == served.app.openapi()
    assert api.get("/openapi.json").content == first.content
