"""The window's line to the backend, against a real server on a real port."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
import uvicorn
from fastapi import FastAPI, File, Form, Request, UploadFile, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.websockets import WebSocketDisconnect

from backend.contracts.events import ChatDelta, ChatMessage, Event, LogLine
from frontend.client import (
    INBOX_LIMIT,
    LIVE_LIMIT,
    BackendClient,
    Connection,
    Failure,
    ForeignEvent,
    read_event,
)

TOKEN = "t" * 32


class Server:
    """A backend in miniature: what was asked of it, and what it will say."""

    def __init__(self) -> None:
        self.epoch = "one"
        self.events: list[dict[str, Any]] = []
        self.hellos: list[dict[str, Any]] = []
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.refuses_commands = False
        self.drop_after: int | None = None
        self.resets = False
        self.release = threading.Event()
        self.streams_ended = 0
        self.app = FastAPI()
        self._routes()

    def _routes(self) -> None:
        app = self.app

        @app.middleware("http")
        async def remember(request: Request, call_next: Any) -> Response:
            body = await request.body()
            self.seen.append((f"{request.method} {request.url.path}", dict(request.headers), body))
            answer: Response = await call_next(request)
            return answer

        @app.get("/value")
        async def value(n: int = 1) -> dict[str, int]:
            return {"n": n}

        @app.post("/echo")
        async def echo(request: Request) -> Any:
            return await request.json()

        @app.get("/missing")
        async def missing() -> JSONResponse:
            return JSONResponse({"code": "not_found", "message": "There is no moon."}, 404)

        @app.get("/page")
        async def page() -> PlainTextResponse:
            return PlainTextResponse("<html>")

        @app.get("/file")
        async def file() -> Response:
            return Response(b"\x00\x01\x02")

        @app.delete("/value", status_code=204)
        async def delete() -> Response:
            return Response(status_code=204)

        @app.get("/slow")
        async def slow() -> dict[str, int]:
            await asyncio.to_thread(self.release.wait, 10)
            return {}

        @app.post("/words")
        async def words(request: Request) -> Response:
            wanted = await request.json()
            if wanted.get("refused"):
                return JSONResponse({"code": "busy", "message": "Too many texts."}, 429)

            async def pieces() -> AsyncIterator[bytes]:
                try:
                    yield b"event: start\ndata: {}\n\n"
                    for text in ("Hello, ", "mo\u2026on."):
                        yield (
                            b"event: chunk\ndata: " + json.dumps({"text": text}).encode() + b"\n\n"
                        )
                        yield b": still here\n\n"
                    if wanted.get("endless"):
                        await asyncio.Event().wait()
                    yield b'event: final\ndata: {"tokens_used": 3}\n\n'
                finally:
                    self.streams_ended += 1

            return StreamingResponse(pieces(), media_type="text/event-stream")

        @app.post("/upload")
        async def upload(
            file: Annotated[UploadFile, File()], language: Annotated[str, Form()] = ""
        ) -> dict[str, Any]:
            return {
                "name": file.filename,
                "size": len(await file.read()),
                "language": language,
            }

        @app.websocket("/ws")
        async def stream(socket: WebSocket) -> None:
            if socket.headers.get("authorization") != f"Bearer {TOKEN}":
                await socket.close()
                return
            await socket.accept()
            hello = (await socket.receive_json())["hello"]
            self.hellos.append(hello)
            await socket.send_json(
                {"hello": {"seq": len(self.events), "epoch": self.epoch, "version": "9.9"}}
            )
            if self.resets:
                self.resets = False
                await socket.send_json({"reset": {"seq": 0, "epoch": self.epoch}})
            at = hello["since"] if hello["since"] is not None else len(self.events)
            tasks = [
                asyncio.create_task(self._send(socket, at)),
                asyncio.create_task(self._obey(socket)),
            ]
            done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in rest:
                task.cancel()
            await asyncio.gather(*done, *rest, return_exceptions=True)

    async def _send(self, socket: WebSocket, at: int) -> None:
        """Everything after ``at`` as one array each time, until told to drop the line."""
        while True:
            fresh = self.events[at:]
            if fresh:
                if self.drop_after is not None and at + len(fresh) > self.drop_after:
                    fresh = fresh[: self.drop_after - at]
                    self.drop_after = None
                    if fresh:
                        await socket.send_json(fresh)
                    await socket.close(1011)
                    return
                at += len(fresh)
                await socket.send_json(fresh if len(fresh) > 1 else fresh[0])
            await asyncio.sleep(0.002)

    async def _obey(self, socket: WebSocket) -> None:
        try:
            while True:
                found = await socket.receive_json()
                if self.refuses_commands:
                    await socket.send_json(
                        {"failed": found["id"], "code": "busy", "message": "Too many wait."}
                    )
                else:
                    await socket.send_json({"done": found["id"], "echo": found["do"]})
        except WebSocketDisconnect:
            return

    def publish(self, text: str) -> None:
        """A durable event happens."""
        event = ChatMessage(
            text=text,
            author="mika",
            origin="api",
            conversation_id="stage",
            seq=len(self.events) + 1,
        )
        self.events.append(event.envelope())


@contextmanager
def running(server: Server) -> Iterator[str]:
    config = uvicorn.Config(server.app, port=0, log_level="warning", lifespan="off")
    runner = uvicorn.Server(config)
    thread = threading.Thread(target=runner.run, daemon=True)
    thread.start()
    wait_for(lambda: runner.started)
    port = runner.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.release.set()
        runner.should_exit = True
        runner.force_exit = True
        thread.join(5)


def wait_for(true: Callable[[], bool], limit_s: float = 20.0) -> None:
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)


class Window:
    """What a window would have seen."""

    def __init__(self, client: BackendClient) -> None:
        self.client = client
        self.events: list[Event] = []
        self.connections: list[Connection] = []
        self.values: list[Any] = []
        self.failures: list[Failure] = []

    def drain(self) -> None:
        self.client.drain(1.0, self.events.append, self.connections.append)

    def until(self, true: Callable[[], bool]) -> None:
        def check() -> bool:
            self.drain()
            return true()

        wait_for(check)

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, ChatMessage)]


@contextmanager
def attached(
    url: str, *, token: str = TOKEN, backend_file: Path | None = None, connect: bool = True
) -> Iterator[Window]:
    client = BackendClient(url, token, backend_file=backend_file)
    window = Window(client)
    client.start()
    try:
        if connect:
            window.until(lambda: client.connection.state == "connected")
        yield window
    finally:
        client.close()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def window(server: Server) -> Iterator[Window]:
    with running(server) as url, attached(url) as made:
        yield made


def test_a_result_arrives_when_the_inbox_is_drained(window: Window) -> None:
    window.client.get("/value", window.values.append, params={"n": 7})
    wait_for(lambda: any(isinstance(item, tuple) for item in window.client.inbox))
    assert window.values == []
    window.drain()
    assert window.values == [{"n": 7}]


def test_a_body_is_sent_as_json_with_the_token(window: Window, server: Server) -> None:
    window.client.post("/echo", {"text": "おはよう"}, window.values.append)
    window.until(lambda: bool(window.values))
    assert window.values == [{"text": "おはよう"}]
    _, headers, _ = server.seen[-1]
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["x-luma-client"] == "window"
    assert headers["content-type"] == "application/json"


def test_a_refusal_brings_the_backends_code_and_words(window: Window) -> None:
    window.client.get("/missing", None, window.failures.append)
    window.until(lambda: bool(window.failures))
    assert window.failures == [Failure("not_found", "There is no moon.", 404)]


def test_an_answer_that_is_no_json_is_a_failure(window: Window) -> None:
    window.client.get("/page", window.values.append, window.failures.append)
    window.until(lambda: bool(window.failures))
    assert window.failures[0].code == "malformed"
    assert window.values == []


def test_an_empty_answer_is_none(window: Window) -> None:
    window.client.delete("/value", None, window.values.append)
    window.until(lambda: bool(window.values))
    assert window.values == [None]


def test_an_answer_in_pieces_arrives_piece_by_piece(window: Window, server: Server) -> None:
    window.client.stream("/words", {}, lambda name, data: window.values.append((name, data)))
    window.until(lambda: len(window.values) == 4)
    assert window.values == [
        ("start", {}),
        ("chunk", {"text": "Hello, "}),
        ("chunk", {"text": "mo\u2026on."}),
        ("final", {"tokens_used": 3}),
    ]
    assert server.seen[-1][1]["authorization"] == f"Bearer {TOKEN}"
    assert server.seen[-1][1]["x-luma-client"] == "window"


def test_a_cancelled_stream_ends_at_its_source_and_hands_over_nothing_more(
    window: Window, server: Server
) -> None:
    stream = window.client.stream(
        "/words", {"endless": True}, lambda name, data: window.values.append(name)
    )
    window.until(lambda: len(window.values) == 3)
    stream.cancel()
    window.until(lambda: server.streams_ended == 1)
    assert window.values == ["start", "chunk", "chunk"]
    window.client.get("/value", window.values.append)
    window.until(lambda: len(window.values) == 4)


def test_a_stream_that_is_refused_or_falls_silent_says_why(window: Window) -> None:
    def keep(name: str, data: Any) -> None:
        window.values.append(name)

    window.client.stream("/words", {"refused": True}, keep, window.failures.append)
    window.until(lambda: bool(window.failures))
    assert window.failures == [Failure("busy", "Too many texts.", 429)]
    window.client.stream("/words", {"endless": True}, keep, window.failures.append, timeout_s=0.2)
    window.until(lambda: len(window.failures) == 2)
    assert window.failures[1].code == "timeout"


def test_a_file_comes_back_as_bytes(window: Window) -> None:
    window.client.download("/file", window.values.append)
    window.until(lambda: bool(window.values))
    assert window.values == [b"\x00\x01\x02"]


def test_a_file_is_sent_with_its_name_and_fields(window: Window, tmp_path: Path) -> None:
    path = tmp_path / "mein Gruß.wav"
    path.write_bytes(b"x" * 1000)
    window.client.upload("/upload", [("file", path)], {"language": "de"}, window.values.append)
    window.until(lambda: bool(window.values))
    assert window.values == [{"name": "mein Gruß.wav", "size": 1000, "language": "de"}]


def test_a_file_that_is_gone_says_so(window: Window, tmp_path: Path) -> None:
    path = tmp_path / "gone.wav"
    window.client.upload("/upload", [("file", path)], None, None, window.failures.append)
    window.until(lambda: bool(window.failures))
    assert "gone.wav" in window.failures[0].message


def test_a_request_that_takes_too_long_fails(window: Window) -> None:
    window.client.get("/slow", None, window.failures.append, timeout_s=0.1)
    window.until(lambda: bool(window.failures))
    assert window.failures[0].code == "timeout"


def test_without_a_backend_requests_and_commands_fail_with_its_address() -> None:
    with attached("http://127.0.0.1:9", connect=False) as window:
        window.client.get("/value", None, window.failures.append)
        window.client.command("chat", {}, None, window.failures.append)
        window.until(lambda: len(window.failures) == 2)
        assert {failure.code for failure in window.failures} == {"unreachable"}
        assert "127.0.0.1:9" in window.failures[0].message


def test_events_arrive_in_order_alone_and_in_arrays(window: Window, server: Server) -> None:
    for number in range(200):
        server.publish(f"m{number}")
    window.until(lambda: len(window.events) == 200)
    assert window.texts == [f"m{number}" for number in range(200)]


def test_after_a_lost_line_nothing_is_missed_or_repeated(window: Window, server: Server) -> None:
    server.drop_after = 5
    for number in range(12):
        server.publish(f"m{number}")
    window.until(lambda: len(window.events) >= 12)
    assert window.texts == [f"m{number}" for number in range(12)]
    assert server.hellos[1]["since"] == 5
    assert server.hellos[1]["epoch"] == "one"
    states = [connection.state for connection in window.connections]
    assert states == ["connected", "lost", "connected"]
    assert [c.reset for c in window.connections if c.state == "connected"] == [True, False]


def test_what_the_server_repeats_is_shown_once(window: Window, server: Server) -> None:
    server.publish("once")
    window.until(lambda: len(window.events) == 1)
    server.events.append(dict(server.events[0]))
    server.publish("twice")
    window.until(lambda: "twice" in window.texts)
    assert window.texts == ["once", "twice"]


def test_another_database_asks_for_everything_again(window: Window, server: Server) -> None:
    server.publish("old")
    window.until(lambda: len(window.events) == 1)
    server.resets = True
    server.drop_after = 1
    server.publish("dropped")
    window.until(lambda: any(c.reset for c in window.connections[1:]))
    assert window.client.connection.state == "connected"


def test_a_wrong_token_is_said_and_not_called_a_lost_connection(server: Server) -> None:
    with running(server) as url, attached(url, token="wrong", connect=False) as window:
        window.until(lambda: window.client.connection.state == "refused")
        assert "token" in window.client.connection.detail


def test_a_backend_that_restarts_on_another_port_is_followed(
    server: Server, tmp_path: Path
) -> None:
    file = tmp_path / "backend.json"
    (tmp_path / "api_token").write_text(TOKEN, encoding="utf-8")
    with running(server) as first:
        file.write_text(json.dumps({"url": first}), encoding="utf-8")
        client = BackendClient(first, TOKEN, backend_file=file)
        window = Window(client)
        client.start()
        window.until(lambda: client._follows)
    try:
        second_server = Server()
        with running(second_server) as second:
            assert second != first
            file.write_text(json.dumps({"url": second}), encoding="utf-8")
            window.until(lambda: bool(second_server.hellos))
            window.until(lambda: client.connection.state == "connected")
            assert client.connection.url == second
    finally:
        client.close()


def test_another_programs_backend_file_is_not_followed(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "backend.json"
    file.write_text(json.dumps({"url": "http://127.0.0.1:1"}), encoding="utf-8")
    with running(server) as url, attached(url, backend_file=file) as window:
        server.drop_after = 0
        server.publish("x")
        window.until(lambda: len(server.hellos) == 2)
        assert window.client.base_url == url


def test_a_command_is_answered(window: Window) -> None:
    window.client.command("interrupt", {}, window.values.append)
    window.until(lambda: bool(window.values))
    assert window.values[0]["echo"] == "interrupt"


def test_a_refused_command_fails_with_its_reason(window: Window, server: Server) -> None:
    server.refuses_commands = True
    window.client.command("chat", {}, None, window.failures.append)
    window.until(lambda: bool(window.failures))
    assert window.failures == [Failure("busy", "Too many wait.")]


def test_closing_does_not_wait_for_requests(server: Server) -> None:
    with running(server) as url:
        client = BackendClient(url, TOKEN)
        client.start()
        wait_for(lambda: client.connection.state == "connected")
        client.get("/slow")
        wait_for(lambda: any(name == "GET /slow" for name, _, _ in server.seen))
        began = time.monotonic()
        client.close()
        assert time.monotonic() - began < 3.0
        assert client._thread is not None
        client._thread.join(5)  # a slow machine may need longer than closing waits
        assert not client._thread.is_alive()


# --- the inbox, without a server ---


def chat_message(seq: int) -> dict[str, Any]:
    return ChatMessage(
        text=f"m{seq}", author="a", origin="api", conversation_id="stage", seq=seq
    ).envelope()


def test_draining_stops_when_the_time_is_used_and_goes_on_later() -> None:
    client = BackendClient("http://127.0.0.1:1", TOKEN)
    for seq in range(1, 200):
        client._take(chat_message(seq))
    seen: list[Event] = []

    def slow(event: Event) -> None:
        seen.append(event)
        end = time.perf_counter() + 0.001
        while time.perf_counter() < end:
            pass

    first = client.drain(0.008, slow, lambda _: None)
    assert 1 <= first <= 9
    while client.inbox:
        client.drain(0.1, slow, lambda _: None)
    assert [event.seq for event in seen] == list(range(1, 200))


def test_a_callback_that_fails_does_not_stop_the_next(caplog: pytest.LogCaptureFixture) -> None:
    client = BackendClient("http://127.0.0.1:1", TOKEN)
    seen: list[Any] = []

    def broken(_: Any) -> None:
        raise ValueError("a bug in a tab")

    client.call_later(broken)
    client.call_later(seen.append, 1)
    client.drain(1.0, lambda _: None, lambda _: None)
    assert seen == [1]
    assert "a bug in a tab" in caplog.text


def test_a_window_that_stays_behind_loses_live_events_first() -> None:
    client = BackendClient("http://127.0.0.1:1", TOKEN)
    line = LogLine(logger="x", text="y").envelope()
    for _ in range(LIVE_LIMIT + 50):
        client._take(line)
    client._take(chat_message(1))
    assert client.dropped == 50
    assert len(client.inbox) == LIVE_LIMIT + 1


def test_a_window_that_is_hopelessly_behind_loads_everything_again() -> None:
    client = BackendClient("http://127.0.0.1:1", TOKEN)
    client.inbox.extend([(lambda _: None, None)] * INBOX_LIMIT)
    client._take(chat_message(1))
    asked: list[Connection] = []
    while client.inbox:
        client.drain(1.0, lambda _: None, asked.append)
    client.drain(1.0, lambda _: None, asked.append)
    assert [connection.reset for connection in asked] == [True]


def test_an_unknown_type_is_kept_with_its_sentence() -> None:
    envelope = {**chat_message(3), "type": "moon.rose", "message": "the moon rose"}
    event = read_event(envelope)
    assert isinstance(event, ForeignEvent)
    assert (event.type, event.seq, event.sentence()) == ("moon.rose", 3, "the moon rose")


def test_a_field_of_a_newer_backend_does_not_hurt() -> None:
    envelope = ChatDelta(text="hi", conversation_id="stage").envelope()
    envelope["data"]["tokens"] = 3
    event = read_event(envelope)
    assert isinstance(event, ChatDelta)
    assert event.text == "hi"


@pytest.mark.parametrize(
    "broken", [{}, {"type": 3}, {"type": "chat.delta"}, {"type": "x", "at": "never"}]
)
def test_what_is_no_event_is_left_out_or_kept_as_foreign(broken: dict[str, Any]) -> None:
    event = read_event(broken)
    assert event is None or isinstance(event, ForeignEvent)


def test_a_long_file_goes_in_pieces_and_tells_how_far_it_is(
    window: Window, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frontend.client.SENT_EVERY_S", 0.0)
    path = tmp_path / "long.wav"
    path.write_bytes(bytes(1_000_000))
    told: list[int] = []
    window.client.upload("/upload", [("file", path)], None, window.values.append, sent=told.append)
    window.until(lambda: bool(window.values))
    assert window.values[0]["size"] == 1_000_000
    assert len(told) > 10
    assert told == sorted(told)
    assert told[-1] == 1_000_000


def test_an_upload_can_be_stopped(window: Window, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(bytes(1_000_000))
    stopped = threading.Event()
    stopped.set()
    window.client.upload(
        "/upload",
        [("file", path)],
        None,
        window.values.append,
        window.failures.append,
        cancelled=stopped,
    )
    window.until(lambda: bool(window.failures))
    assert window.failures[0].code == "cancelled"
    assert not window.values
