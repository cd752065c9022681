"""The backend's thread: starts, tells why it cannot, and stops in time whatever clients do."""

from __future__ import annotations

import asyncio
import http.client
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from backend.server import BackendError, BackendThread, PortTakenError, open_socket
from config import Settings

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class SmallApp:
    """An ASGI application that greets, and on /hang never answers; notes what happened to it."""

    def __init__(self, *, fails: str = "", slow_stop_s: float = 0.0) -> None:
        self.fails = fails
        self.slow_stop_s = slow_stop_s
        self.log: list[str] = []

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            self.log.append("socket")
            await asyncio.Event().wait()
        else:
            if scope["path"] == "/hang":
                self.log.append("hanging")
                await asyncio.Event().wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"hello"})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        if self.fails:
            raise RuntimeError(self.fails)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.sleep(self.slow_stop_s)
        self.log.append("stopped")
        await send({"type": "lifespan.shutdown.complete"})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(api_port=0, data_dir=tmp_path)


@pytest.fixture
def backend(settings: Settings) -> Iterator[tuple[BackendThread, SmallApp]]:
    app = SmallApp()
    with BackendThread(settings, make_app=lambda: app) as thread:
        yield thread, app


def get(thread: BackendThread, path: str = "/", timeout_s: float = 20.0) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", thread.port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def wait_for(what: str, log: list[str], count: int = 1) -> None:
    deadline = time.monotonic() + 20
    while log.count(what) < count:
        assert time.monotonic() < deadline, log
        time.sleep(0.005)


def test_it_answers_when_started_and_not_when_stopped(
    backend: tuple[BackendThread, SmallApp],
) -> None:
    thread, app = backend
    assert get(thread) == (200, b"hello")
    assert thread.is_running
    assert thread.stop()
    assert app.log == ["stopped"]
    assert not thread.is_running
    with pytest.raises(ConnectionRefusedError):
        get(thread)


def test_who_comes_early_waits_instead_of_being_refused(settings: Settings) -> None:
    thread = BackendThread(settings, make_app=SmallApp)
    with socket.create_connection(("127.0.0.1", thread.port), timeout=5) as early:
        early.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        thread.start()
        answer = b""
        while piece := early.recv(1000):
            answer += piece
        assert b"hello" in answer
    assert thread.stop()


def test_hanging_requests_and_sockets_do_not_delay_the_end(
    backend: tuple[BackendThread, SmallApp],
) -> None:
    thread, app = backend
    clients = [socket.create_connection(("127.0.0.1", thread.port)) for _ in range(6)]
    for client in clients[:2]:
        client.sendall(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
    for client in clients[2:4]:
        client.sendall(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
    clients[4].sendall(b"GET / HT")  # half a request, and the last one never says anything
    wait_for("hanging", app.log, 2)
    wait_for("socket", app.log, 2)
    begun = time.monotonic()
    assert thread.stop()
    assert time.monotonic() - begun < 3
    assert app.log[-1] == "stopped"
    for client in clients:
        client.close()


def test_an_application_that_does_not_end_is_left_behind(settings: Settings) -> None:
    app = SmallApp(slow_stop_s=3.0)
    thread = BackendThread(settings, make_app=lambda: app)
    thread.start()
    begun = time.monotonic()
    assert not thread.stop(timeout_s=0.3)
    assert time.monotonic() - begun < 2.0
    assert thread.wait_ended(20)


def test_a_start_that_fails_says_why(settings: Settings) -> None:
    thread = BackendThread(settings, make_app=lambda: SmallApp(fails="the database is on fire"))
    with pytest.raises(BackendError, match="the database is on fire"):
        thread.start()
    assert "the database is on fire" in thread.failure()

    def broken() -> SmallApp:
        raise ImportError("no module named voice")

    thread = BackendThread(settings, make_app=broken)
    with pytest.raises(BackendError, match="no module named voice"):
        thread.start()


def test_a_start_that_takes_too_long_is_given_up(settings: Settings) -> None:
    class Sleepy(SmallApp):
        async def _live(self, receive: Receive, send: Send) -> None:
            await asyncio.sleep(1)
            await super()._live(receive, send)

    thread = BackendThread(settings, make_app=Sleepy)
    with pytest.raises(BackendError, match=r"not ready after 0\.05 s"):
        thread.start(timeout_s=0.05)
    assert thread.wait_ended(5)


def test_stopping_before_starting_frees_the_port(settings: Settings) -> None:
    thread = BackendThread(settings, make_app=SmallApp)
    assert thread.stop()
    open_socket("127.0.0.1", thread.port).close()


def test_a_taken_port_is_named_with_a_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"Port {port} on 127.0.0.1 is taken.*--port"):
            open_socket("127.0.0.1", port)
        moved = open_socket("127.0.0.1", port, may_move=True)
        assert moved.getsockname()[1] != port
        moved.close()


def test_the_port_is_ours_before_the_server_runs() -> None:
    with open_socket("127.0.0.1", 0) as first, pytest.raises(PortTakenError):
        open_socket("127.0.0.1", first.getsockname()[1])


def test_an_address_of_another_machine_is_refused() -> None:
    for host in ("192.0.2.1", "no such host"):
        with pytest.raises(BackendError, match="is no address of this machine"):
            open_socket(host, 0)


def test_addresses_are_written_as_a_browser_wants_them(tmp_path: Path) -> None:
    thread = BackendThread(Settings(api_host="0.0.0.0", api_port=0, data_dir=tmp_path))
    assert thread.url == f"http://127.0.0.1:{thread.port}"
    thread.stop()
    try:
        thread = BackendThread(Settings(api_host="::1", api_port=0, data_dir=tmp_path))
    except BackendError:
        pytest.skip("no IPv6 here")
    assert thread.url.startswith("http://[::1]:")
    thread.stop()
