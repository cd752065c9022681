"""What attackers try against the running program: hostile providers, pages, files and sockets."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.integration.conftest import Served, serve
from tests.servers.thread import ServerThread
from tests.servers.wire import Request, Wire, WireServer

KEY = "Zqx7compat/4f9a+8b77=21"
"""Looks like no provider's keys, so that only knowing it can find it."""


class Parrot(WireServer):
    """A provider that puts the key it was sent into everything it says."""

    def __init__(self) -> None:
        super().__init__()
        self.how = ""

    async def answer(self, request: Request, wire: Wire) -> None:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        await WAYS[self.how](wire, key)


async def _refused(wire: Wire, key: str) -> None:
    await wire.json({"error": {"message": f"Wrong key {key}", "code": key}}, "401 Unauthorized")


async def _page(wire: Wire, key: str) -> None:
    await wire.whole("500 Oops", f"<title>no {key}</title>{key}".encode(), "text/html")


async def _hidden(wire: Wire, key: str) -> None:
    said = f"denied {key[:9]}\u200b{key[9:]} {key.upper()}"
    await wire.whole("403 No", said.encode(), "text/plain")


async def _elsewhere(wire: Wire, key: str) -> None:
    await wire.head("302 Found", {"Location": f"http://127.0.0.1:1/{key}/x?k={key}"}, chunked=False)


async def _in_user_name(wire: Wire, key: str) -> None:
    await wire.head("302 Found", {"Location": f"http://{key}:{key}@127.0.0.1:1/"}, chunked=False)


async def _round_and_round(wire: Wire, key: str) -> None:
    await wire.whole("307 Here", b"", "text/plain", {"Location": f"/{key}/x?k={key}"})


async def _in_the_stream(wire: Wire, key: str) -> None:
    error = json.dumps({"error": {"message": f"bad {key}", "code": key, "type": key}})
    await wire.whole("200 OK", f"data: {error}\n\n".encode(), "text/event-stream")


async def _no_http(wire: Wire, key: str) -> None:
    await wire.raw(f"{key} {key}\r\n\r\n".encode())
    wire.abort()


WAYS: dict[str, Callable[[Wire, str], Awaitable[None]]] = {
    "a 401 in JSON": _refused,
    "an error page": _page,
    "a key with a gap of no width, and in capitals": _hidden,
    "a redirect to another host": _elsewhere,
    "a redirect with a user name": _in_user_name,
    "redirects without end": _round_and_round,
    "an error inside the stream": _in_the_stream,
    "no HTTP": _no_http,
}


@pytest.fixture(scope="module")
def parrot() -> Iterator[Parrot]:
    """The provider."""
    server = Parrot()
    with ServerThread(server):
        yield server


@pytest.fixture(scope="module")
def betrayed(
    parrot: Parrot, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Served, Path]]:
    """A backend that thinks, speaks and hears through the parrot, and its folder."""
    folder = tmp_path_factory.mktemp("betrayed")
    url = f"{parrot.url}/v1"
    changes: dict[str, object] = {
        "llm_provider": "openai_compatible",
        "llm_retries": 0,
        "openai_compatible_url": url,
        "openai_compatible_key": KEY,
        "openai_compatible_model": "m",
        "tts_chain": ("openai_compatible", "tone"),
        "tts_openai_url": url,
        "tts_openai_key": KEY,
        "stt_chain": ("openai_compatible", "script"),
        "stt_openai_url": url,
        "stt_openai_key": KEY,
    }
    for served in serve(folder, **changes):
        yield served, folder


@pytest.mark.parametrize("how", WAYS)
def test_a_provider_that_repeats_the_key_gets_it_nowhere(
    parrot: Parrot, betrayed: tuple[Served, Path], how: str, caplog: pytest.LogCaptureFixture
) -> None:
    served, folder = betrayed
    parrot.how = how
    asked = len(parrot.requests)
    with (
        served.client() as api,
        connect(served.socket_url, additional_headers=served.bearer) as socket,
    ):
        socket.send(json.dumps({"hello": {"since": 0}}))
        # Another length of reply makes new engines: none of them rests from the last failure.
        more = {"values": {"LLM_MAX_TOKENS": 100 + list(WAYS).index(how)}}
        assert api.post("/api/config", json=more).status_code == 200
        said = [
            api.post("/api/chat", json={"message": "hi", "stream": True}).text,
            api.post("/api/tts", json={"text": f"say {how}"}).text,
            *(api.get(path).text for path in ("/api/status", "/api/config", "/api/turns")),
            api.get("/api/events", params={"limit": 2000}).text,
            api.get("/api/events/export").text,
        ]
        socket.send(json.dumps({"ping": how}))
        while "pong" not in (frame := str(socket.recv(10))):
            said.append(frame)
    assert any(request.headers.get("authorization") for request in list(parrot.requests)[asked:])
    for text in (*said, caplog.text):
        assert "zqx7" not in text.lower(), text[:2000]
    for file in folder.rglob("*"):
        if file.is_file():
            assert b"zqx7" not in file.read_bytes().lower(), file
