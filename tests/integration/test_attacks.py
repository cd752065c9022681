"""What attackers try against the running program: hostile providers, pages, files and sockets."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from backend import server
from tests.integration.conftest import Served, serve, settings_for
from tests.integration.program import Program
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


def test_openais_key_goes_to_nobody_elses_speech_server(parrot: Parrot, tmp_path: Path) -> None:
    parrot.how = "a 401 in JSON"
    parrot.requests.clear()
    url = f"{parrot.url}/v1"
    for served in serve(
        tmp_path, openai_api_key=KEY, tts_openai_url=url, tts_chain=("openai_compatible", "tone")
    ):
        with served.client() as api:
            assert api.post("/api/tts", json={"text": "hello"}).status_code == 200
    assert parrot.requests
    assert not any(KEY in str(request.headers) for request in parrot.requests)


# --- before a request is there ---


def raw(served: Served) -> socket.socket:
    """A bare connection."""
    return socket.create_connection(("127.0.0.1", served.backend.port), timeout=10)


def is_closed(connection: socket.socket) -> bool:
    """Whether the backend ends the connection, within the connection's timeout."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A backend that waits only half a second for a request's head."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "HEAD_S", 0.5)
        patch.setattr(server, "SPARE_CONNECTIONS", 40)
        yield from serve(tmp_path_factory.mktemp("impatient"), api_max_connections=10)


@pytest.mark.parametrize("said", [b"", b"GET /api/health HT", b"GET / HTTP/1.1\r\nHost: a\r\nX: "])
def test_who_does_not_finish_a_request_is_not_waited_for(impatient: Served, said: bytes) -> None:
    with raw(impatient) as connection:
        connection.sendall(said)
        assert is_closed(connection)


def test_a_kept_connection_is_not_kept_by_empty_lines(impatient: Served) -> None:
    with raw(impatient) as connection:
        connection.sendall(
            f"GET /api/health HTTP/1.1\r\nHost: {impatient.url[7:]}\r\n\r\n".encode()
        )
        assert b"200 OK" in connection.recv(4096)
        connection.sendall(b"\r\n")
        assert is_closed(connection)


def test_a_slow_answer_and_an_open_socket_are_not_taken_for_silence(impatient: Served) -> None:
    with (
        impatient.client() as api,
        connect(impatient.socket_url, additional_headers=impatient.bearer) as ws,
    ):
        ws.send(json.dumps({"hello": {"types": ["no.such"]}}))
        for _ in range(3):
            assert api.get("/api/health").status_code == 200
            threading.Event().wait(0.3)
        ws.send(json.dumps({"ping": 1}))
        assert "hello" in str(ws.recv(5))
        assert "pong" in str(ws.recv(5))


def test_a_head_without_end_is_cut_off_before_it_fills_the_memory(impatient: Served) -> None:
    with raw(impatient) as connection:
        sent = 0
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"GET /api/health HTTP/1.1\r\n")
            while sent < 64 << 20:
                connection.sendall(b"X: " + b"a" * 65536 + b"\r\n")
                sent += 65536
        assert sent < 16 << 20
        assert is_closed(connection)


def test_a_socket_with_a_header_that_is_too_long_is_closed(impatient: Served) -> None:
    with raw(impatient) as connection:
        connection.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {impatient.url[7:]}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nX: {'a' * 20000}\r\n\r\n".encode()
        )
        assert is_closed(connection)


def test_more_connections_than_there_is_room_for_are_closed_and_room_comes_back(
    impatient: Served,
) -> None:
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(raw(impatient)) for _ in range(80)]
        assert all(is_closed(connection) for connection in crowd)
    with impatient.client() as api:
        assert api.get("/api/status").status_code == 200


def test_refused_sockets_and_broken_requests_fill_no_log(
    impatient: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with raw(impatient) as connection:
        connection.sendall(b"\x16\x03\x01 no HTTP at all\r\n\r\n")
        assert is_closed(connection)
    with pytest.raises(InvalidStatus):
        connect(impatient.socket_url)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# --- inside one ---


@pytest.mark.parametrize("depth", [300, 900, 5000])
def test_deeply_nested_json_is_the_callers_mistake(impatient: Served, depth: int) -> None:
    body = '{"message": ' + "[" * depth + "]" * depth + "}"
    with impatient.client() as api:
        answer = api.post("/api/chat", content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert answer.json()["code"] in ("input.invalid", "request.malformed")


@pytest.mark.parametrize("key", ["ping", "id"])
def test_deeply_nested_json_does_not_end_a_socket(impatient: Served, key: str) -> None:
    with connect(impatient.socket_url, additional_headers=impatient.bearer) as ws:
        ws.send(json.dumps({"hello": {"types": ["no.such"]}}))
        ws.recv(5)
        deep = "[" * 900 + "]" * 900
        ws.send(f'{{"do": "nothing", "{key}": {deep}}}')
        assert json.loads(ws.recv(5))
        ws.send(json.dumps({"ping": 1}))
        assert json.loads(ws.recv(5)) == {"pong": 1}


# --- other users of this machine ---


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
@pytest.mark.slow
def test_nothing_that_is_kept_can_be_read_by_other_users(tmp_path: Path) -> None:
    data = tmp_path / "data"
    environment = {"TTS_CHAIN": "tone", "LLM_PROVIDER": "echo", "LUMA_ENV_FILE": ""}
    with Program(data, "--headless", "--port", "0", environment=environment) as program:
        assert program.ask("POST", "/api/chat", {"message": "a secret"})[0] == 200
        assert program.ask("POST", "/api/config", {"values": {"USER_NAME": "me"}})[0] == 200
        program.stop()
    kept = [data, *data.rglob("*"), *(tmp_path / "logs").rglob("*")]
    assert {path.name for path in kept} >= {"luma.db", "settings.yaml", "api_token", "audio"}
    assert [path for path in kept if path.stat().st_mode & 0o077] == []


# --- files ---


def test_nothing_is_named_like_a_windows_device(impatient: Served) -> None:
    card = {"file": ("con.json", json.dumps({"name": "CON"}))}
    with impatient.client() as api:
        made = api.post("/api/characters/import", files=card)
        assert made.status_code == 201
        assert made.json()["id"] not in ("con", "CON")
        for name in ("con", "nul", "com1", "../api_token", "a/b", ".."):
            answer = api.post(
                f"/api/characters/{made.json()['id']}/picture",
                files={"file": ("a.png", b"\x89PNG\r\n\x1a\n")},
                data={"expression": name},
            )
            assert answer.status_code == 422
            assert "cannot name an expression" in answer.json()["message"]


def test_a_certificate_that_is_missing_is_named(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, tls_cert=tmp_path / "no.pem", tls_key=tmp_path / "no.key")
    with pytest.raises(server.BackendError, match=r"TLS_CERT names the file .*no\.pem"):
        server.BackendThread(settings).start()
