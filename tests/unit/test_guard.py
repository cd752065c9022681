"""The guard: who gets in, who does not, and that nothing else slips by."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from backend.core.sessions import SessionFile
from backend.guard import (
    CALLER_KEY,
    LOGGED_OUT,
    Access,
    Guard,
    Head,
    Options,
    Refusal,
    cookie_name,
    overlay_cookie_name,
)

TOKEN = "t" * 40
OVERLAY = "o" * 40
HOST = ("Host", "127.0.0.1:8765")
BEARER = ("Authorization", f"Bearer {TOKEN}")
OWN = ("Origin", "http://127.0.0.1:8765")


class Inner:
    """An application that says who called and reads every body to its end."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.sockets_received: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                self.sockets_received.append(message)
                await send({"type": "websocket.send", "text": "seen"})
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"application/json")],
            }
        )
        await send(
            {
                "type": "http.response.body",
                "body": orjson.dumps({"who": scope[CALLER_KEY], "body": len(body)}),
            }
        )


class Answer:
    """What came out of the guard."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.messages = messages
        start = next((m for m in messages if m["type"].endswith("response.start")), None)
        self.status: int = start["status"] if start else 0
        self.headers = {k.decode(): v.decode() for k, v in start["headers"]} if start else {}
        self.body = b"".join(
            m.get("body", b"") for m in messages if m["type"].endswith("response.body")
        )
        self.accepted = next((m for m in messages if m["type"] == "websocket.accept"), None)
        self.closed = next((m for m in messages if m["type"] == "websocket.close"), None)

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.body)
        return found


class Door:
    """A guard before `Inner`, called with headers and bodies as a client would send them."""

    def __init__(
        self,
        options: Options | None = None,
        now_s: Callable[[], float] | None = None,
        *,
        lets_clients_in: bool = False,
    ) -> None:
        self.inner = Inner()
        clock = now_s or (lambda: 0.0)
        self.access = Access(TOKEN, OVERLAY, lambda: "n" * 40, now_s=clock)
        self.guard = Guard(
            self.inner,
            access=self.access,
            options=options,
            lets_clients_in=lambda: lets_clients_in,
            now_s=clock,
        )

    async def ask(
        self,
        *headers: tuple[str, str],
        method: str = "GET",
        path: str = "/api/status",
        query: str = "",
        body: tuple[bytes, ...] = (),
        kind: str = "http",
        frames: tuple[str | bytes, ...] = (),
        subprotocols: tuple[str, ...] = (),
        rejects_in_words: bool = True,
        peer: str = "127.0.0.1",
    ) -> Answer:
        sent: list[dict[str, Any]] = []
        if kind == "websocket":
            inbox: list[dict[str, Any]] = [{"type": "websocket.connect"}]
            inbox += [
                {"type": "websocket.receive", "text": f}
                if isinstance(f, str)
                else {"type": "websocket.receive", "bytes": f}
                for f in frames
            ]
            inbox.append({"type": "websocket.disconnect", "code": 1000})
        else:
            pieces = body or (b"",)
            inbox = [
                {"type": "http.request", "body": piece, "more_body": n < len(pieces) - 1}
                for n, piece in enumerate(pieces)
            ]

        async def receive() -> dict[str, Any]:
            return inbox.pop(0) if inbox else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": kind,
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in headers],
            "client": (peer, 50000),
            "server": ("127.0.0.1", 8765),
            "scheme": "ws" if kind == "websocket" else "http",
            "subprotocols": list(subprotocols),
            "extensions": {"websocket.http.response": {}} if rejects_in_words else {},
        }
        await self.guard(scope, receive, send)
        return Answer(sent)

    def log_in(self) -> tuple[str, str]:
        opened = self.access.redeem(self.access.login_code())
        assert opened is not None
        return ("Cookie", f"other=1; {cookie_name(8765)}={opened[0]}")


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "LOCALHOST:8765", "localhost", "[::1]:8765"])
async def test_every_name_of_this_machine_is_answered(door: Door, host: str) -> None:
    assert (await door.ask(("Host", host), BEARER)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8765",
        "127.0.0.1:1",
        "127.0.0.1.evil.example:8765",
        "localhost:99999999",
        "127.0.0.1:8765@evil.example",
        "",
        "localhost:8765, evil",
        "0.0.0.0:8765",
        "[::1",
        "localhost\t:8765",
        "127.0.0.1:8765 ",
    ],
)
async def test_any_other_host_is_refused_even_with_the_token(door: Door, host: str) -> None:
    answer = await door.ask(("Host", host), BEARER)
    assert answer.status in (400, 403)
    assert answer.json["code"] == "host.refused"
    assert door.inner.scopes == []


async def test_no_host_and_two_hosts_are_refused(door: Door) -> None:
    assert (await door.ask(BEARER)).status == 400
    assert (await door.ask(HOST, HOST, BEARER)).status == 400


async def test_a_listed_host_is_answered_on_any_port_or_on_the_listed_one() -> None:
    door = Door(Options(allowed_hosts=("luma.lan", "box:9000")))
    assert (await door.ask(("Host", "Luma.LAN:1234"), BEARER)).status == 200
    assert (await door.ask(("Host", "box:9000"), BEARER)).status == 200
    assert (await door.ask(("Host", "box:9001"), BEARER)).status == 403


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "file://",
        "http://evil.example",
        "http://127.0.0.1:3000",
        "https://127.0.0.1:8765",
        "http://localhost:8765",
        "",
    ],
)
async def test_a_foreign_origin_is_refused_even_with_the_token(door: Door, origin: str) -> None:
    answer = await door.ask(HOST, BEARER, ("Origin", origin))
    assert answer.status == 403
    assert answer.json["code"] == "origin.refused"
    socket = await door.ask(HOST, BEARER, ("Origin", origin), kind="websocket", path="/ws")
    assert socket.status == 403
    assert socket.accepted is None


async def test_our_own_origin_and_listed_ones_are_answered() -> None:
    door = Door(Options(origins=("null", "http://127.0.0.1:3000/", "file://")))
    for origin in ("null", "http://127.0.0.1:3000", "file://", "http://127.0.0.1:8765"):
        assert (await door.ask(HOST, BEARER, ("Origin", origin))).status == 200


def test_a_wildcard_origin_is_never_accepted() -> None:
    with pytest.raises(ValueError, match="wildcard"):
        Options(origins=("*",))


async def test_without_a_token_nothing_but_health_answers(door: Door) -> None:
    assert (await door.ask(HOST)).status == 401
    assert (await door.ask(HOST, path="/openapi.json")).status == 401
    assert (await door.ask(HOST, path="/nothing/here")).status == 401
    assert (await door.ask(HOST, path="/api/health")).json["who"] == "nobody"
    assert (await door.ask(HOST, path="/api/health", method="POST")).status == 401
    assert (await door.ask(("Host", "evil"), path="/api/health")).status == 403


@pytest.mark.parametrize(
    "value",
    [
        "Bearer wrong",
        "Bearer ",
        "Bearer",
        TOKEN,
        f"Basic {TOKEN}",
        f"Bearer {OVERLAY}",
        f"Bearer {TOKEN}x",
        "Bearer ü",
    ],
)
async def test_a_wrong_token_is_refused(door: Door, value: str) -> None:
    answer = await door.ask(HOST, ("Authorization", value))
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.body.decode()


async def test_two_authorization_headers_are_refused(door: Door) -> None:
    assert (await door.ask(HOST, BEARER, BEARER)).status == 400


async def test_a_wrong_header_is_not_rescued_by_a_good_cookie(door: Door) -> None:
    assert (await door.ask(HOST, door.log_in(), ("Authorization", "Bearer wrong"))).status == 401


async def test_a_stale_cookie_does_not_spoil_a_good_token(door: Door) -> None:
    assert (await door.ask(HOST, BEARER, ("Cookie", f"{cookie_name(8765)}=old"))).status == 200


async def test_the_token_in_the_address_opens_nothing(door: Door) -> None:
    assert (await door.ask(HOST, query=f"token={TOKEN}")).status == 401
    assert (
        await door.ask(HOST, query=f"token={TOKEN}", path="/ws", kind="websocket")
    ).status == 401


async def test_a_socket_takes_the_token_as_subprotocol_and_echoes_it(door: Door) -> None:
    offered = f"bearer.{TOKEN}"
    answer = await door.ask(HOST, kind="websocket", path="/ws", subprotocols=(offered,))
    assert answer.accepted is not None
    assert answer.accepted["subprotocol"] == offered
    answer = await door.ask(HOST, kind="websocket", path="/ws", subprotocols=("luma", offered))
    assert answer.accepted is not None
    assert answer.accepted["subprotocol"] == "luma"
    assert (
        await door.ask(HOST, kind="websocket", path="/ws", subprotocols=("bearer.wrong",))
    ).status == 401


async def test_a_socket_is_refused_before_it_is_accepted(door: Door) -> None:
    answer = await door.ask(HOST, kind="websocket", path="/ws")
    assert answer.status == 401
    assert answer.accepted is None
    answer = await door.ask(HOST, kind="websocket", path="/ws", rejects_in_words=False)
    assert answer.closed is not None
    assert answer.accepted is None
    assert door.inner.scopes == []


async def test_no_credential_goes_further_than_the_guard(door: Door) -> None:
    await door.ask(HOST, BEARER, door.log_in())
    await door.ask(HOST, kind="websocket", path="/ws", query=f"token={OVERLAY}&a=1")
    await door.ask(
        HOST,
        ("Sec-WebSocket-Protocol", f"bearer.{TOKEN}"),
        kind="websocket",
        path="/ws",
        subprotocols=(f"bearer.{TOKEN}",),
    )
    for scope in door.inner.scopes:
        text = repr(scope)
        assert TOKEN not in text
        assert OVERLAY not in text
        assert "luma_session" not in text
    assert door.inner.scopes[1]["query_string"] == b"a=1"


async def test_no_credential_is_logged(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    for headers in ((BEARER,), (("Authorization", "Bearer wrong-secret"),)):
        await door.ask(("Host", "evil.example"), *headers)
        await door.ask(HOST, *headers, query=f"token={OVERLAY}")
    assert "refused" in caplog.text
    for secret in (TOKEN, OVERLAY, "wrong-secret"):
        assert secret not in caplog.text


# --- pages -----------------------------------------------------------------------------------------------------------


async def test_a_login_link_opens_one_session_once(door: Door) -> None:
    code = door.access.login_code("/docs")
    answer = await door.ask(HOST, path="/login", query=f"code={code}")
    assert answer.status == 303
    assert answer.headers["location"] == "/docs"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    again = await door.ask(HOST, path="/login", query=f"code={code}")
    assert again.status == 401
    inside = await door.ask(HOST, ("Cookie", cookie.partition(";")[0]))
    assert inside.json["who"] == "page"


async def test_a_login_link_is_worth_nothing_after_a_minute() -> None:
    now = [0.0]
    door = Door(now_s=lambda: now[0])
    code = door.access.login_code()
    now[0] = 61.0
    assert (await door.ask(HOST, path="/login", query=f"code={code}")).status == 401


async def test_a_login_link_needs_our_host_and_no_foreign_origin(door: Door) -> None:
    code = door.access.login_code()
    assert (
        await door.ask(("Host", "evil.example"), path="/login", query=f"code={code}")
    ).status == 403
    assert (
        await door.ask(HOST, ("Origin", "http://evil.example"), path="/login", query=f"code={code}")
    ).status == 403
    assert (await door.ask(HOST, path="/login", query=f"code={code}")).status == 303


def test_a_login_link_leads_to_a_page_of_ours_only(door: Door) -> None:
    for page in ("//evil.example", "http://evil.example", "/\\evil.example", "docs", "/docs?x=1"):
        with pytest.raises(ValueError, match="not a page"):
            door.access.login_code(page)


JSON = ("Content-Type", "application/json")
PAGE = ("X-Luma-Page", "1")


async def test_a_session_may_change_things_from_our_own_page_with_json(door: Door) -> None:
    cookie = door.log_in()
    assert (await door.ask(HOST, cookie, OWN, JSON, PAGE, method="POST")).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        (JSON, PAGE),
        (OWN, JSON),
        (OWN, PAGE),
        (OWN, PAGE, ("Content-Type", "multipart/form-data; boundary=x")),
        (OWN, PAGE, ("Content-Type", "text/plain")),
        (OWN, PAGE, ("Content-Type", "application/x-www-form-urlencoded")),
        (OWN, JSON, PAGE, ("Sec-Fetch-Site", "same-site")),
        (OWN, JSON, PAGE, ("Sec-Fetch-Site", "cross-site")),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_cookie_alone_changes_nothing(door: Door, headers: Any, method: str) -> None:
    assert (await door.ask(HOST, door.log_in(), *headers, method=method)).status == 403
    assert door.inner.scopes == []


async def test_a_session_serves_our_own_origin_only_not_a_listed_one() -> None:
    door = Door(Options(origins=("http://127.0.0.1:3000",)))
    foreign = ("Origin", "http://127.0.0.1:3000")
    assert (await door.ask(HOST, door.log_in(), foreign)).status == 403
    assert (await door.ask(HOST, door.log_in(), foreign, JSON, PAGE, method="POST")).status == 403
    assert (
        await door.ask(HOST, door.log_in(), foreign, kind="websocket", path="/ws")
    ).status == 403
    assert (await door.ask(HOST, BEARER, foreign, method="POST")).status == 200


async def test_a_socket_takes_the_cookie_from_our_own_origin_only(door: Door) -> None:
    cookie = door.log_in()
    assert (await door.ask(HOST, cookie, OWN, kind="websocket", path="/ws")).accepted is not None
    assert (await door.ask(HOST, cookie, kind="websocket", path="/ws")).accepted is None


async def test_a_made_up_session_is_refused(door: Door) -> None:
    door.log_in()
    assert (await door.ask(HOST, ("Cookie", f"{cookie_name(8765)}=made-up"))).status == 401
    assert (await door.ask(HOST, ("Cookie", f"{cookie_name(8765)}="))).status == 401


async def test_sessions_end_by_age_and_on_demand() -> None:
    now = [0.0]
    door = Door(now_s=lambda: now[0])
    cookie = door.log_in()
    assert (await door.ask(HOST, cookie)).status == 200
    now[0] = 31 * 24 * 3600.0
    assert (await door.ask(HOST, cookie)).status == 401
    cookie = door.log_in()
    door.access.end_sessions()
    assert (await door.ask(HOST, cookie)).status == 401


def test_sessions_outlive_a_restart_as_digests_of_one_token_only(tmp_path: Path) -> None:
    path = tmp_path / "sessions.json"

    def begin(token: str = TOKEN) -> Access:
        return Access(token, OVERLAY, lambda: "n" * 40, kept=SessionFile(path))

    def lets_in(access: Access, session: str) -> bool:
        headers = {"host": ["127.0.0.1:8765"], "cookie": [f"{cookie_name(8765)}={session}"]}
        head = Head("http", "GET", "/docs", "", headers, (), "127.0.0.1", "http", 8765)
        try:
            return access.authenticate(head).caller == "page"
        except Refusal:
            return False

    first = begin()
    opened = first.redeem(first.login_code())
    assert opened is not None
    session = opened[0]
    assert session not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert lets_in(begin(), session)
    assert not lets_in(begin("another token of enough length"), session)
    begin().end_sessions()
    assert not lets_in(begin(), session)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"belongs_to": 1}', "\x00", '{"sessions": 3}'])
def test_a_broken_file_of_sessions_costs_a_login_and_no_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sessions.json"
    path.write_text(text)
    assert SessionFile(path).load("x") == {}


async def test_a_socket_closes_when_its_session_ends(door: Door) -> None:
    cookie, inner = door.log_in(), door.inner

    async def logs_out_meanwhile(scope: Any, receive: Any, send: Any) -> None:
        door.access.end_sessions()
        await inner(scope, receive, send)

    door.guard.app = logs_out_meanwhile
    answer = await door.ask(HOST, cookie, OWN, kind="websocket", path="/ws", frames=("hi",))
    assert answer.closed is not None
    assert answer.closed["code"] == LOGGED_OUT
    assert not inner.sockets_received


async def test_a_person_is_told_on_a_page_and_a_program_in_json(door: Door) -> None:
    door.guard = Guard(door.inner, access=door.access, signed_out="<p><!-- reason --></p>")
    html = ("Accept", "text/html,application/xhtml+xml")
    answer = await door.ask(HOST, html, path="/webui/chat")
    assert answer.status == 401
    assert answer.headers["content-type"].startswith("text/html")
    assert b"<p>This browser is not logged in here" in answer.body
    assert (await door.ask(HOST, html, path="/login", query="code=x")).status == 401
    for path, headers in (("/webui/chat", (HOST,)), ("/api/status", (HOST, html))):
        answer = await door.ask(*headers, path=path)
        assert answer.headers["content-type"] == "application/json"


# --- overlay ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/overlay",
        "/captions",
        "/api/audio/turn1/1",
        "/web/overlay.js",
        "/overlay/state",
        "/api/rigs/hoshi/files/rig.json",
        "/api/avatars/mika/happy.png",
    ],
)
async def test_the_overlay_token_opens_what_an_overlay_shows(door: Door, path: str) -> None:
    answer = await door.ask(HOST, path=path, query=f"token={OVERLAY}")
    assert answer.json["who"] == "overlay"
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_the_overlay_token_writes_nothing(door: Door, method: str) -> None:
    for path in ("/overlay", "/api/chat", "/api/audio/turn1/1", "/api/overlay/rotate"):
        assert (
            await door.ask(HOST, path=path, query=f"token={OVERLAY}", method=method)
        ).status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/api/status",
        "/api/config",
        "/docs",
        "/openapi.json",
        "/api/turns",
        "/api/audio/a/b/c",
        "/",
        "/overlay/x",
    ],
)
async def test_the_overlay_token_reads_nothing_else(door: Door, path: str) -> None:
    assert (await door.ask(HOST, path=path, query=f"token={OVERLAY}")).status == 403


def overlay_cookie(token: str = OVERLAY) -> tuple[str, str]:
    return "Cookie", f"{overlay_cookie_name(8765)}={token}"


@pytest.mark.parametrize("path", ["/overlay", "/captions"])
async def test_an_overlay_page_is_given_a_cookie_for_what_it_loads(door: Door, path: str) -> None:
    answer = await door.ask(HOST, path=path, query=f"token={OVERLAY}")
    cookie = answer.headers["set-cookie"]
    assert cookie == f"{overlay_cookie_name(8765)}={OVERLAY}; Path=/; HttpOnly; SameSite=Strict"
    again = await door.ask(HOST, overlay_cookie(), path="/web/avatar/stage.js")
    assert again.json["who"] == "overlay"
    assert "set-cookie" not in again.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/status"), ("GET", "/docs"), ("POST", "/api/chat"), ("POST", "/overlay")],
)
async def test_the_overlay_cookie_opens_nothing_else(door: Door, method: str, path: str) -> None:
    assert (await door.ask(HOST, overlay_cookie(), method=method, path=path)).status == 401


async def test_a_wrong_overlay_cookie_and_a_foreign_page_get_nothing(door: Door) -> None:
    wrong = await door.ask(HOST, overlay_cookie("x" * 40), path="/web/luma.js")
    assert wrong.status == 401
    foreign = ("Sec-Fetch-Site", "cross-site")
    answer = await door.ask(HOST, overlay_cookie(), foreign, path="/web/luma.js")
    assert answer.status == 403


async def test_an_overlay_cookie_ends_with_its_token(door: Door) -> None:
    door.access.rotate_overlay_token()
    assert (await door.ask(HOST, overlay_cookie(), path="/web/luma.js")).status == 401


async def test_a_refused_overlay_shows_nothing_on_stream_and_tries_again(door: Door) -> None:
    html = ("Accept", "text/html,application/xhtml+xml")
    answer = await door.ask(HOST, html, path="/overlay", query="token=" + "x" * 40)
    assert answer.status == 401
    assert answer.headers["content-type"].startswith("text/html")
    assert b"<body" not in answer.body
    assert b"token" not in answer.body.lower()
    assert answer.headers["refresh"] == "10"


async def test_the_overlay_token_counts_as_overlay_even_beside_the_real_one(door: Door) -> None:
    assert (
        await door.ask(HOST, BEARER, path="/api/status", query=f"token={OVERLAY}")
    ).status == 403


async def test_the_overlay_token_opens_the_event_stream_but_no_other_socket(door: Door) -> None:
    assert (
        await door.ask(HOST, kind="websocket", path="/ws", query=f"token={OVERLAY}")
    ).accepted is not None
    assert (
        await door.ask(HOST, kind="websocket", path="/client-ws", query=f"token={OVERLAY}")
    ).status == 403


async def test_a_rotated_overlay_token_ends_what_the_old_one_opened() -> None:
    door = Door()
    door.access = Access(TOKEN, OVERLAY, lambda: "n" * 40)
    rotated = asyncio.Event()

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await rotated.wait()
        await send({"type": "websocket.send", "text": "secret"})

    door.guard = Guard(inner, access=door.access)
    task = asyncio.create_task(
        door.ask(HOST, kind="websocket", path="/ws", query=f"token={OVERLAY}")
    )
    await asyncio.sleep(0)
    fresh = door.access.rotate_overlay_token()
    rotated.set()
    answer = await task
    assert answer.closed is not None
    assert answer.closed["code"] == 4001
    assert not any(m["type"] == "websocket.send" for m in answer.messages)
    assert (await door.ask(HOST, path="/overlay", query=f"token={OVERLAY}")).status == 401
    assert (await door.ask(HOST, path="/overlay", query=f"token={fresh}")).status != 401


# --- CORS ------------------------------------------------------------------------------------------------------------


async def test_a_preflight_is_answered_for_listed_origins_only() -> None:
    door = Door(Options(origins=("http://127.0.0.1:3000",)))
    wants = ("Access-Control-Request-Method", "POST")
    answer = await door.ask(HOST, ("Origin", "http://127.0.0.1:3000"), wants, method="OPTIONS")
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "http://127.0.0.1:3000"
    assert "access-control-allow-credentials" not in answer.headers
    foreign = await door.ask(HOST, ("Origin", "http://evil.example"), wants, method="OPTIONS")
    assert foreign.status == 403
    assert "access-control-allow-origin" not in foreign.headers
    assert (await door.ask(HOST, wants, method="OPTIONS")).status == 401
    assert door.inner.scopes == []


async def test_a_listed_page_can_read_answers_and_refusals() -> None:
    door = Door(Options(origins=("http://127.0.0.1:3000",)))
    listed = ("Origin", "http://127.0.0.1:3000")
    for headers in ((BEARER,), ()):
        answer = await door.ask(HOST, listed, *headers)
        assert answer.headers["access-control-allow-origin"] == "http://127.0.0.1:3000"
        assert answer.headers["vary"] == "Origin"


# --- limits ----------------------------------------------------------------------------------------------------------


async def test_a_body_that_says_it_is_too_large_is_refused_unread(door: Door) -> None:
    answer = await door.ask(HOST, BEARER, ("Content-Length", "99999999"), method="POST")
    assert answer.status == 413
    assert answer.json["code"] == "input.too_large"
    assert answer.headers["connection"] == "close"
    assert door.inner.scopes == []


async def test_a_body_that_grows_too_large_is_cut_off() -> None:
    door = Door(Options(max_body_bytes=10, max_upload_bytes=100))
    assert (await door.ask(HOST, BEARER, method="POST", body=(b"x" * 6, b"x" * 4))).json[
        "body"
    ] == 10
    assert (await door.ask(HOST, BEARER, method="POST", body=(b"x" * 6, b"x" * 5))).status == 413
    assert (
        await door.ask(HOST, BEARER, method="POST", path="/api/stt", body=(b"x" * 90,))
    ).status == 200
    assert (
        await door.ask(HOST, BEARER, method="POST", path="/api/stt", body=(b"x" * 60, b"x" * 60))
    ).status == 413


async def test_a_body_that_stops_coming_is_given_up() -> None:
    guard = Guard(
        Inner(),
        access=Access(TOKEN, OVERLAY, lambda: "n" * 40),
        options=Options(body_timeout_s=0.01),
    )
    sent: list[Any] = []

    async def never() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(k.lower().encode(), v.encode()) for k, v in (HOST, BEARER)]
    await guard(
        {
            "type": "http",
            "method": "POST",
            "path": "/api/chat",
            "query_string": b"",
            "headers": headers,
            "server": ("127.0.0.1", 8765),
            "client": ("127.0.0.1", 1),
            "scheme": "http",
        },
        never,
        send,
    )
    assert Answer(sent).status == 408


@pytest.mark.parametrize("value", ["abc", "-1", "+5", "1_0", "٣"])
async def test_a_content_length_that_is_no_number_is_refused(door: Door, value: str) -> None:
    answer = await door.ask(
        HOST, BEARER, ("Content-Length", value.encode().decode("latin-1")), method="POST"
    )
    assert answer.status == 400


async def test_long_headers_addresses_and_paths_are_refused(door: Door) -> None:
    assert (await door.ask(HOST, BEARER, ("X-Long", "x" * 40_000))).status == 431
    assert (await door.ask(HOST, BEARER, query="a=" + "x" * 9_000)).status == 414
    assert (await door.ask(HOST, BEARER, path="/" + "x" * 3_000)).status == 414


async def test_a_client_that_asks_too_often_is_told_when_to_come_back() -> None:
    now = [0.0]
    door = Door(Options(requests_per_s=10, requests_burst=3), now_s=lambda: now[0])
    assert [(await door.ask(HOST, BEARER)).status for _ in range(4)] == [200, 200, 200, 429]
    answer = await door.ask(HOST, BEARER)
    assert answer.headers["retry-after"] == "1"
    now[0] = 0.1
    assert (await door.ask(HOST, BEARER)).status == 200


async def test_strangers_cannot_use_up_what_the_operator_may_ask() -> None:
    door = Door(Options(requests_per_s=1, requests_burst=3))
    for _ in range(20):
        await door.ask(HOST)
    assert (await door.ask(HOST)).status == 429
    assert (await door.ask(HOST, BEARER)).status == 200


STOPS = ("/api/panic", "/api/resume", "/api/conversations/stage/interrupt")


@pytest.mark.parametrize("path", STOPS)
async def test_silence_can_be_asked_for_while_the_same_caller_asks_too_often(path: str) -> None:
    door = Door(Options(requests_per_s=1, requests_burst=3), now_s=lambda: 0.0)
    while (await door.ask(HOST, BEARER, method="POST", path="/api/chat")).status != 429:
        pass
    assert (await door.ask(HOST, BEARER, method="POST", path=path)).status == 200
    assert (await door.ask(HOST, BEARER, method="GET", path=path)).status == 429


async def test_asking_for_silence_has_a_limit_of_its_own() -> None:
    door = Door(Options(requests_per_s=1, requests_burst=3), now_s=lambda: 0.0)
    asked = [await door.ask(HOST, BEARER, method="POST", path="/api/panic") for _ in range(4)]
    assert [one.status for one in asked] == [200, 200, 200, 429]
    assert (await door.ask(HOST, BEARER, method="POST", path="/api/chat")).status == 200


@pytest.mark.parametrize("options", [Options(max_requests=1), Options(max_requests_per_client=1)])
async def test_silence_can_be_asked_for_while_every_place_is_taken(options: Options) -> None:
    door = Door(options)
    going, release = asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/api/chat":
            going.set()
            await release.wait()
        await Inner()(scope, receive, send)

    door.guard.app = slow
    first = asyncio.create_task(door.ask(HOST, BEARER, method="POST", path="/api/chat"))
    await going.wait()
    assert (await door.ask(HOST, BEARER)).status in (429, 503)
    assert (await door.ask(HOST, BEARER, method="POST", path="/api/panic")).status == 200
    release.set()
    assert (await first).status == 200


async def test_open_requests_and_sockets_are_counted() -> None:
    door = Door(Options(max_requests=1, max_sockets=1))
    going = asyncio.Event()
    release = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        going.set()
        await release.wait()
        await Inner()(scope, receive, send)

    door.guard.app = slow
    first = asyncio.create_task(door.ask(HOST, BEARER))
    await going.wait()
    assert (await door.ask(HOST, BEARER)).status == 503
    socket = asyncio.create_task(door.ask(HOST, BEARER, kind="websocket", path="/ws"))
    await asyncio.sleep(0)
    assert (await door.ask(HOST, BEARER, kind="websocket", path="/ws")).status == 503
    release.set()
    assert (await first).status == 200
    await socket
    assert (await door.ask(HOST, BEARER)).status == 200


async def test_one_client_cannot_take_every_connection() -> None:
    door = Door(Options(max_sockets=10, max_sockets_per_client=0))
    assert (await door.ask(HOST, BEARER, kind="websocket", path="/ws")).status == 429


@pytest.mark.parametrize("frame", ["x" * 11, b"x" * 11])
async def test_a_message_that_is_too_big_closes_the_socket(frame: str | bytes) -> None:
    door = Door(Options(max_frame_bytes=10))
    answer = await door.ask(
        HOST, BEARER, kind="websocket", path="/ws", frames=("fine", frame, "late")
    )
    assert answer.closed is not None
    assert answer.closed["code"] == 1009
    assert [m["text"] for m in door.inner.sockets_received] == ["fine"]


async def test_a_flood_of_messages_closes_the_socket() -> None:
    door = Door(Options(messages_per_s=1, messages_burst=3))
    answer = await door.ask(HOST, BEARER, kind="websocket", path="/ws", frames=("x",) * 10)
    assert answer.closed is not None
    assert answer.closed["code"] == 1008
    assert len(door.inner.sockets_received) == 3


async def test_every_answer_has_the_security_headers(door: Door) -> None:
    for answer in (
        await door.ask(HOST, BEARER),
        await door.ask(HOST),
        await door.ask(("Host", "evil.example")),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"


# --- Open-LLM-VTuber clients of this machine ---

CLIENT_DOORS = [
    ("websocket", "GET", "/client-ws"),
    ("http", "GET", "/bg/sea.jpg"),
    ("http", "HEAD", "/avatars/hoshi.png"),
    ("http", "GET", "/live2d-models/info"),
    ("http", "POST", "/asr"),
]


async def gets_in(door: Door, *headers: tuple[str, str], **where: Any) -> bool:
    answer = await door.ask(HOST, *headers, **where)
    return answer.status == 200 or answer.accepted is not None


@pytest.mark.parametrize(("kind", "method", "path"), CLIENT_DOORS)
async def test_clients_of_this_machine_come_in_only_when_they_are_wanted(
    kind: str, method: str, path: str
) -> None:
    where = {"kind": kind, "method": method, "path": path}
    assert not await gets_in(Door(), **where)
    door = Door(lets_clients_in=True)
    assert await gets_in(door, **where)
    assert door.inner.scopes[0][CALLER_KEY] == "client"
    assert await gets_in(door, peer="::1", **where)
    for peer in ("192.168.0.7", "203.0.113.9", "unknown", "::2"):
        assert not await gets_in(door, peer=peer, **where), peer
    for refused in (
        ("Authorization", "Bearer wrong"),
        ("Origin", "http://evil.example"),
        ("Origin", "file://"),
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Real-IP", "127.0.0.1"),
        ("Via", "1.1 proxy"),
    ):
        assert not await gets_in(door, refused, **where), refused
    assert not await gets_in(door, query="token=wrong", **where)
    assert not await gets_in(door, subprotocols=("bearer.wrong",), **where)


@pytest.mark.parametrize(
    ("kind", "method", "path"),
    [
        ("websocket", "GET", "/ws"),
        ("websocket", "GET", "/client-ws/"),
        ("http", "GET", "/client-ws"),
        ("http", "GET", "/asr"),
        ("http", "POST", "/bg/sea.jpg"),
        ("http", "DELETE", "/avatars/hoshi.png"),
        ("http", "GET", "/bg"),
        ("http", "GET", "/api/avatars/hoshi/joy.png"),
        ("http", "POST", "/api/stt"),
        ("http", "GET", "/api/status"),
    ],
)
async def test_they_come_in_nowhere_else(kind: str, method: str, path: str) -> None:
    door = Door(lets_clients_in=True)
    assert not await gets_in(door, kind=kind, method=method, path=path)
    assert door.inner.scopes == []


async def test_who_shows_the_token_is_no_mere_client() -> None:
    door = Door(lets_clients_in=True)
    assert await gets_in(door, BEARER, kind="websocket", path="/client-ws")
    assert door.inner.scopes[0][CALLER_KEY] == "operator"


async def test_behind_a_name_that_was_allowed_nobody_is_of_this_machine() -> None:
    door = Door(Options(allowed_hosts=("luma.example",)), lets_clients_in=True)
    answer = await door.ask(("Host", "luma.example"), kind="websocket", path="/client-ws")
    assert answer.status == 401


async def test_a_page_of_another_site_shows_no_picture_unless_files_are_listed() -> None:
    foreign = ("Sec-Fetch-Site", "cross-site")
    door = Door(lets_clients_in=True)
    assert not await gets_in(door, foreign, path="/bg/sea.jpg")
    assert await gets_in(door, ("Sec-Fetch-Site", "same-site"), path="/bg/sea.jpg")
    electron = Door(Options(origins=("file://",)), lets_clients_in=True)
    assert await gets_in(electron, foreign, path="/bg/sea.jpg")
    assert await gets_in(electron, ("Origin", "file://"), kind="websocket", path="/client-ws")
