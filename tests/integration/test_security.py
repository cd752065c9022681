"""Nobody comes in who should not, on any route or socket; the routes come from the API's own description."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import websockets
from fastapi import FastAPI
from fastapi.routing import APIWebSocketRoute
from starlette.routing import BaseRoute
from websockets.sync.client import connect

from backend.guard import Access, Guard
from tests.integration.conftest import Served, serve

OPEN = {("GET", "/api/health")}
"""All that answers without a token. Adding to this list is a decision, not a formality."""

OVERLAY_MAY_READ = re.compile(
    r"/api/(avatars/[^/]+/[^/]+|audio/[^/]+/\d+|rigs/.+)|/overlay|/overlay/state|/captions|/web/.+"
)


@dataclass(frozen=True)
class Door:
    """One way in."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def doors(app: FastAPI) -> list[Door]:
    """Every HTTP operation that the description lists, every page beside it, every socket."""
    found = [
        Door(method.upper(), fill(path))
        for path, operations in app.openapi()["paths"].items()
        for method in operations
    ]
    found += [
        Door(method, fill(route.path))
        for route in routes_of(app.routes)
        if not isinstance(route, APIWebSocketRoute)
        for method in (getattr(route, "methods", None) or ())
        if method != "HEAD" and Door(method, fill(route.path)) not in found
    ]
    return found


def sockets(app: FastAPI) -> list[str]:
    """Paths of every WebSocket route."""
    return [route.path for route in routes_of(app.routes) if isinstance(route, APIWebSocketRoute)]


def routes_of(routes: list[BaseRoute]) -> Iterator[BaseRoute]:
    for route in routes:
        inner = getattr(route, "routes", None) or getattr(
            getattr(route, "original_router", None), "routes", None
        )
        if inner:
            yield from routes_of(inner)
        elif hasattr(route, "path"):
            yield route


def fill(path: str) -> str:
    """A path with values that fit its parameters."""
    return re.sub(r"{(\w+)}", lambda m: "1" if m[1] == "n" else "aaaaaaaa", path)


@dataclass(frozen=True)
class Case:
    """One way to try without being allowed to."""

    name: str
    headers: Callable[[Served], dict[str, str]]
    query: Callable[[Served], str] = lambda served: ""
    only_changes: bool = False


def own_origin(served: Served) -> dict[str, str]:
    return {"Origin": served.url}


def cookie(served: Served) -> dict[str, str]:
    """A session as a browser gets it."""
    with served.client() as client:
        link = client.post("/api/login-link").json()["url"]
    with served.stranger() as browser:
        answer = browser.get(link)
    assert answer.status_code == 303
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


JSON = {"Content-Type": "application/json"}
REFUSED = [
    Case("another Host", lambda s: {**s.bearer, "Host": "evil.example"}),
    Case(
        "another Host on our port", lambda s: {**s.bearer, "Host": f"evil.example:{s.backend.port}"}
    ),
    Case("a Host that begins like ours", lambda s: {**s.bearer, "Host": "127.0.0.1.evil.example"}),
    Case("our Host on another port", lambda s: {**s.bearer, "Host": "127.0.0.1:1"}),
    Case("an address of the network as Host", lambda s: {**s.bearer, "Host": "192.168.0.10"}),
    Case(
        "a foreign Origin with the token", lambda s: {**s.bearer, "Origin": "http://evil.example"}
    ),
    Case(
        "a local page of another port with the token",
        lambda s: {**s.bearer, "Origin": "http://127.0.0.1:1"},
    ),
    Case("the null Origin with the token", lambda s: {**s.bearer, "Origin": "null"}),
    Case("a file as Origin with the token", lambda s: {**s.bearer, "Origin": "file://"}),
    Case(
        "an extension as Origin with the token",
        lambda s: {**s.bearer, "Origin": "chrome-extension://abc"},
    ),
    Case("no token", lambda s: {}),
    Case("no token from our own page", own_origin),
    Case("a wrong token", lambda s: {"Authorization": "Bearer " + "x" * 43}),
    Case("most of the token", lambda s: {"Authorization": f"Bearer {s.token[:-1]}"}),
    Case("the token as Basic", lambda s: {"Authorization": f"Basic {s.token}"}),
    Case("the token in the address", lambda s: {}, lambda s: f"token={s.token}"),
    Case(
        "the token as a cookie",
        lambda s: {"Cookie": f"token={s.token}; Authorization=Bearer {s.token}"},
    ),
    Case("the overlay token as Bearer", lambda s: {"Authorization": f"Bearer {s.overlay_token}"}),
    Case("a wrong overlay token", lambda s: {}, lambda s: "token=" + "x" * 43),
    Case("a made-up session", lambda s: {"Cookie": f"luma_session_{s.backend.port}=made-up"}),
    Case("a session from a foreign page", lambda s: {**cookie(s), "Origin": "http://evil.example"}),
    Case(
        "a session from another local page", lambda s: {**cookie(s), "Sec-Fetch-Site": "same-site"}
    ),
    Case(
        "a session without Origin",
        lambda s: {**cookie(s), **JSON, "X-Luma-Page": "1"},
        only_changes=True,
    ),
    Case(
        "a session without X-Luma-Page",
        lambda s: {**cookie(s), **own_origin(s), **JSON},
        only_changes=True,
    ),
    Case(
        "a session with a form",
        lambda s: {
            **cookie(s),
            **own_origin(s),
            "X-Luma-Page": "1",
            "Content-Type": "multipart/form-data; boundary=b",
        },
        only_changes=True,
    ),
    Case(
        "a session with plain text",
        lambda s: {**cookie(s), **own_origin(s), "X-Luma-Page": "1", "Content-Type": "text/plain"},
        only_changes=True,
    ),
]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A backend that does not slow the battery down."""
    yield from serve(tmp_path_factory.mktemp("battery"), api_requests_per_minute=1_000_000)


def is_from_here(served: Served, headers: dict[str, str]) -> bool:
    """Whether Host and Origin are ours, so that what is open to all is open to it."""
    return "Host" not in headers and headers.get("Origin", served.url) == served.url


def let_in(served: Served, app: FastAPI, case: Case) -> list[str]:
    """Doors that did not refuse the case; empty when all is well."""
    headers, query = case.headers(served), case.query(served)
    open_doors = []
    with served.stranger() as client:
        for door in doors(app):
            if (door.method, door.path) in OPEN and is_from_here(served, headers):
                continue
            if case.only_changes and door.method in ("GET", "HEAD"):
                continue
            answer = client.request(
                door.method,
                door.path + (f"?{query}" if query else ""),
                headers=headers,
                content=b"{}" if door.method != "GET" else None,
            )
            if answer.status_code not in (400, 401, 403) or set(answer.json()) != {
                "code",
                "message",
            }:
                open_doors.append(f"{door}: {answer.status_code} {answer.text[:80]}")
            elif answer.json()["code"] not in (
                "auth.required",
                "auth.forbidden",
                "host.refused",
                "origin.refused",
            ):
                open_doors.append(
                    f"{door}: refused by the route, not by the guard: {answer.text[:80]}"
                )
        if not case.only_changes:
            open_doors += [
                f"socket {path}"
                for path in sockets(app)
                if accepts(served, path + (f"?{query}" if query else ""), headers)
            ]
    return open_doors


def accepts(served: Served, path: str, headers: dict[str, str], **options: object) -> bool:
    """Whether a socket opens; a refusal must come before that, as an HTTP status."""
    url = served.url.replace("http://", "ws://") + path
    if host := headers.get("Host"):
        # The name in the address becomes the Host header; the connection itself goes to the backend.
        url = f"ws://{host}{path}"
        headers = {name: value for name, value in headers.items() if name != "Host"}
        options = {
            **options,
            "sock": socket.create_connection(("127.0.0.1", served.backend.port), timeout=5),
        }
    try:
        with connect(url, additional_headers=headers, proxy=None, open_timeout=5, **options):  # type: ignore[arg-type]
            return True
    except websockets.InvalidStatus as refused:
        if refused.response.status_code in (400, 401, 403):
            return False
        raise


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_every_door_is_closed_to(guarded: Served, case: Case) -> None:
    assert len(doors(guarded.app)) > 40
    assert "/ws" in sockets(guarded.app)
    assert let_in(guarded, guarded.app, case) == []


def test_the_overlay_token_opens_only_what_the_audience_sees(guarded: Served) -> None:
    query = f"token={guarded.overlay_token}"
    with guarded.stranger() as client:
        for door in doors(guarded.app):
            if (door.method, door.path) in OPEN:
                continue
            answer = client.request(door.method, f"{door.path}?{query}")
            if door.method == "GET" and OVERLAY_MAY_READ.fullmatch(door.path):
                assert answer.status_code != 401
            else:
                assert answer.status_code == 403, door
                assert answer.json()["code"] == "auth.forbidden", door
    for path in sockets(guarded.app):
        assert accepts(guarded, f"{path}?{query}", {}) == (path == "/ws")


def test_the_overlay_token_does_not_open_the_sounds_of_others(guarded: Served) -> None:
    with guarded.client() as operator, guarded.stranger() as overlay:
        private = operator.post("/api/chat", json={"message": "a secret"}).json()["audio"][0]["url"]
        public = operator.post(
            "/api/chat", json={"message": "hello", "conversation_id": "stage"}
        ).json()["audio"][0]["url"]
        token = {"token": guarded.overlay_token}
        assert overlay.get(private, params=token).status_code == 403
        assert overlay.get(public, params=token).status_code == 200


def test_who_has_the_token_is_never_refused_by_the_guard(guarded: Served) -> None:
    ways = [
        guarded.bearer,
        {**guarded.bearer, **own_origin(guarded)},
        {**guarded.bearer, "Host": f"LOCALHOST:{guarded.backend.port}"},
    ]
    for headers in ways:
        with guarded.stranger() as client:
            for door in doors(guarded.app):
                if door.path in ("/api/logout", "/api/overlay-token/rotate"):
                    continue  # they would spoil the other tests' credentials
                answer = client.request(door.method, door.path, headers=headers)
                assert answer.status_code not in (401, 403), (door, answer.text)
                assert answer.status_code < 500 or answer.status_code == 503, (door, answer.text)
        for path in sockets(guarded.app):
            assert accepts(guarded, path, headers)


def test_our_own_page_may_do_everything_but_upload(guarded: Served) -> None:
    session = cookie(guarded)
    page = {**session, **own_origin(guarded), **JSON, "X-Luma-Page": "1"}
    with guarded.stranger() as client:
        for door in doors(guarded.app):
            if door.path in ("/api/logout", "/api/overlay-token/rotate", "/api/login-link"):
                continue  # the last one is the token's alone: tests/integration/test_panic.py
            headers = session if door.method == "GET" else page
            answer = client.request(door.method, door.path, headers=headers)
            assert answer.status_code not in (401, 403), (door, answer.text)
    assert accepts(guarded, "/ws", {**session, **own_origin(guarded)})
    assert not accepts(guarded, "/ws", session)
    assert not accepts(guarded, "/ws", {**session, "Origin": "http://evil.example"})


def test_a_browser_may_send_the_token_as_subprotocol(guarded: Served) -> None:
    assert accepts(guarded, "/ws", own_origin(guarded), subprotocols=[f"bearer.{guarded.token}"])
    assert not accepts(guarded, "/ws", {}, subprotocols=["bearer.wrong"])
    assert not accepts(
        guarded, "/ws", {"Origin": "http://evil.example"}, subprotocols=[f"bearer.{guarded.token}"]
    )


@pytest.mark.slow  # every way in, on every route
def test_the_battery_finds_a_route_that_is_not_guarded(
    guarded: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The battery is worth something only if it can fail: let one path past the guard and see it caught."""
    admit = Guard._admit

    def forgetful(self: Guard, scope: object, head: object) -> object:
        if getattr(head, "path", "") == "/api/turns":
            from backend.guard import Entry

            return Entry("operator")
        return admit(self, scope, head)  # type: ignore[arg-type]

    monkeypatch.setattr(Guard, "_admit", forgetful)
    for case in REFUSED:
        if not case.only_changes:
            assert [found.split(":")[0] for found in let_in(guarded, guarded.app, case)] == [
                "GET /api/turns"
            ], case.name


def test_health_says_nothing_but_ok(guarded: Served) -> None:
    with guarded.stranger() as client:
        answer = client.get("/api/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}
    assert "server" not in answer.headers


def test_a_token_that_was_rotated_is_worth_nothing(guarded: Served) -> None:
    old = guarded.overlay_token
    with (
        guarded.client() as client,
        guarded.stranger() as overlay,
        connect(f"{guarded.socket_url}?token={old}", proxy=None),
    ):
        new = client.post("/api/overlay-token/rotate").json()["token"]
        guarded.overlay_token = new
        assert overlay.get("/api/avatars/x/y.png", params={"token": old}).status_code == 401
        assert overlay.get("/api/avatars/x/y.png", params={"token": new}).status_code == 404
        assert client.get("/api/overlay-token").json() == {"token": new}


def test_a_login_link_works_once_and_logs_in_one_browser(guarded: Served) -> None:
    with guarded.client() as client, guarded.stranger() as browser:
        link = client.post("/api/login-link").json()["url"]
        assert browser.get("/docs").status_code == 401
        assert browser.get(link).headers["location"] == "/docs"
        assert browser.get("/docs").status_code == 200
        assert browser.get("/openapi.json").status_code == 200
    with guarded.stranger() as another:
        assert another.get(link).status_code == 401


def test_logging_out_ends_every_session(guarded: Served) -> None:
    session = cookie(guarded)
    with guarded.client() as client, guarded.stranger() as browser:
        assert browser.get("/api/status", headers=session).status_code == 200
        assert client.post("/api/logout").status_code == 204
        assert browser.get("/api/status", headers=session).status_code == 401


def test_large_bodies_are_refused_with_and_without_a_length(guarded: Served) -> None:
    with guarded.client() as client:
        answer = client.post(
            "/api/chat", content=b'{"message":"' + b"x" * 2_000_000 + b'"}', headers=JSON
        )
        assert answer.status_code == 413

        def pieces() -> Iterator[bytes]:
            yield b'{"message":"'
            for _ in range(40):
                yield b"x" * 65536

        answer = client.post("/api/chat", content=pieces(), headers=JSON)
        assert answer.status_code == 413
        assert answer.json()["code"] == "input.too_large"
        assert client.get("/api/status").status_code == 200


def test_a_listed_web_page_may_call_with_the_token_and_no_other_page(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    for served in serve(tmp_path_factory.mktemp("cors"), cors_origins=("http://127.0.0.1:3000",)):
        with served.stranger() as client:
            ask = {"Origin": "http://127.0.0.1:3000", "Access-Control-Request-Method": "POST"}
            answer = client.options("/api/chat", headers=ask)
            assert answer.status_code == 204
            assert answer.headers["access-control-allow-origin"] == "http://127.0.0.1:3000"
            answer = client.get(
                "/api/status", headers={**served.bearer, "Origin": "http://127.0.0.1:3000"}
            )
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == "http://127.0.0.1:3000"
            assert (
                client.options(
                    "/api/chat", headers={**ask, "Origin": "http://evil.example"}
                ).status_code
                == 403
            )


def test_no_answer_tells_a_secret(guarded: Served) -> None:
    with guarded.client() as client:
        for door in doors(guarded.app):
            if door.method == "GET" and door.path not in ("/api/overlay-token",):
                body = client.get(door.path).content
                assert guarded.token.encode() not in body, door
                assert guarded.overlay_token.encode() not in body, door


def test_tokens_have_to_be_long() -> None:
    with pytest.raises(ValueError, match="16 characters"):
        Access("short", "x" * 40, lambda: "n" * 40)
