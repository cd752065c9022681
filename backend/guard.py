"""Who may come in: Host, Origin, token and limits, for HTTP and WebSocket, before any route runs.

A pure ASGI middleware, so nothing it refuses is parsed, routed or accepted. Every form of credential goes through
`Access.authenticate`; a refusal is ``{"code", "message"}`` like every other error. No credential is ever logged.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import html
import ipaddress
import logging
import re
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.core import clock
from backend.core.sessions import SessionFile

logger = logging.getLogger(__name__)

Caller = Literal["operator", "page", "client", "overlay", "nobody"]
"""operator: the API token. page: a browser with our cookie. client: an Open-LLM-VTuber client of this machine, without a
token. overlay: the overlay token. nobody: an open path."""

CALLER_KEY = "luma.caller"
"""Where the guard writes the `Caller` into the ASGI scope, for routes that show less to an overlay."""

HEALTH_PATH = "/api/health"
LOGIN_PATH = "/login"
PEOPLES_PAGES = re.compile(r"/login|/docs|/webui(?:/.*)?")
"""Addresses that a person opens in a browser: who may not is told so on a page, not in JSON."""

SOCKET_PATHS = ("/ws", "/client-ws")
OVERLAY_PAGES = ("/overlay", "/captions")
OVERLAY_SOUND = re.compile(r"/api/audio/[^/]+/[^/]+")
BLANK_PAGE = b"<!doctype html><title>Luma</title>"
OVERLAY_AGAIN_S = 10
"""An overlay that was refused asks again by itself: nobody stands beside OBS to reload it."""

OVERLAY_STATE = "/overlay/state"
OVERLAY_FILES = ("/web/", "/api/avatars/", "/api/rigs/")
"""Prefixes of the scripts, styles, pictures and avatars that an overlay page is made of."""

CLIENT_SOCKET = "/client-ws"
CLIENT_SOUND = "/asr"
CLIENT_FILES = ("/bg/", "/avatars/", "/live2d-models/")
"""Prefixes of the pictures and avatars that an Open-LLM-VTuber client fetches by plain GETs."""

UPLOAD_PATHS = re.compile(
    r"/asr|/api/(?:stt|characters/import|characters/[^/]+/picture|voices/import)"
)
RECORDINGS_PATH = "/api/voice/upload"

STOP_PATHS = re.compile(r"/api/(?:panic|resume|conversations/[^/]+/interrupt)")
"""Silence is asked for when things go wrong: a script that floods this machine's address must not use it up. What stops, and goes on,
counts for itself."""
SPARE_FOR_STOPS = 8
"""Open requests more, in all and per client, that only those may use."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
HOST = re.compile(
    r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)(?::(?P<port>\d{1,5}))?"
)

CREDENTIAL_HEADERS = frozenset({b"authorization", b"cookie", b"sec-websocket-protocol"})
FORWARDED_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""What a proxy adds: behind one, everybody seems to be on this machine."""

REASON = "<!-- reason -->"
SIGNED_OUT = "This browser is not logged in here, or it was logged out."

LOGIN_CODE_LIFE_S = 60.0
SESSION_LIFE_S = 30 * 24 * 3600.0
MAX_LOGIN_CODES = 16
MAX_SESSIONS = 32
MAX_KNOWN_CLIENTS = 1024
MAX_PATH_CHARS = 2048
NOTE_AGAIN_S = 60.0
PREFLIGHT_LIFE_S = 600

PAGE_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; font-src 'self' data:; connect-src 'self' blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
DATA_CSP = "default-src 'none'; frame-ancestors 'none'"

TOO_MANY_MESSAGES = 1008
FRAME_TOO_BIG = 1009
TOKEN_REPLACED = 4001
LOGGED_OUT = 4003


@dataclass(frozen=True, slots=True)
class Options:
    """What the guard lets through.

    Attributes:
        allowed_hosts: More Host names, "name" for any port or "name:port".
        origins: Web origins that may call the API, besides our own ("http://127.0.0.1:3000", "null", "file://").
        max_body_bytes: Largest request body.
        max_upload_bytes: Largest body on the upload routes.
        max_recordings_bytes: Largest body of recordings for a voice; they are hours long and go straight to disk.
        max_frame_bytes: Largest WebSocket message from a client.
        max_header_bytes: All header names and values together.
        max_query_bytes: Length of the query string.
        max_requests, max_sockets: Open at once, everybody together.
        max_requests_per_client, max_sockets_per_client: Open at once, per client address.
        requests_per_s, requests_burst: Requests of one client, on average and at once.
        messages_per_s, messages_burst: Messages on one socket, on average and at once.
        body_timeout_s: Longest wait for the next piece of a body.
    """

    allowed_hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    max_body_bytes: int = 1024 * 1024
    max_upload_bytes: int = 256 * 1024 * 1024
    max_recordings_bytes: int = 4096 * 1024 * 1024
    max_frame_bytes: int = 1024 * 1024
    max_header_bytes: int = 32 * 1024
    max_query_bytes: int = 8 * 1024
    max_requests: int = 256
    max_requests_per_client: int = 128
    max_sockets: int = 256
    max_sockets_per_client: int = 200
    requests_per_s: float = 200.0
    requests_burst: int = 400
    messages_per_s: float = 400.0
    messages_burst: int = 800
    body_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        for listed in (*self.origins, *self.allowed_hosts):
            if "*" in listed:
                raise ValueError(
                    f"{listed!r} is a wildcard; list each origin and host by name, so that no other page gets in."
                )


class Refusal(Exception):
    """Why somebody does not get in.

    Attributes:
        status: HTTP status.
        code: Stable, dotted name.
        message: What was wrong and what to do; holds no credential.
        headers: More response headers.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers

    @property
    def body(self) -> bytes:
        """As it goes over the wire."""
        return orjson.dumps({"code": self.code, "message": self.message})


@dataclass(frozen=True, slots=True)
class Head:
    """A request's head, read once.

    Attributes:
        kind: "http" or "websocket".
        method: Upper case; "GET" for a WebSocket.
        path: Decoded path, the one routes are matched against.
        query: Raw query string.
        headers: Lower-case name to all its values.
        subprotocols: WebSocket subprotocols the client offers.
        client: Address of the peer.
        scheme: "http" or "https".
        port: Port of ours that was called, None when unknown.
    """

    kind: str
    method: str
    path: str
    query: str
    headers: Mapping[str, list[str]]
    subprotocols: tuple[str, ...]
    client: str
    scheme: str
    port: int | None

    @classmethod
    def of(cls, scope: Scope) -> Head:
        """The head of an ASGI scope."""
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        server = scope.get("server")
        return cls(
            kind=scope["type"],
            method=scope.get("method", "GET").upper(),
            path=scope["path"],
            query=scope.get("query_string", b"").decode("latin-1"),
            headers=headers,
            subprotocols=tuple(scope.get("subprotocols") or ()),
            client=(scope.get("client") or ("unknown", 0))[0],
            scheme="https" if scope.get("scheme") in ("https", "wss") else "http",
            port=server[1] if server else None,
        )

    def values(self, name: str) -> list[str]:
        """All values of a header."""
        return self.headers.get(name, [])

    def value(self, name: str) -> str:
        """A header that appears once; empty when it is missing.

        Raises:
            Refusal: If it appears more often.
        """
        found = self.values(name)
        if len(found) > 1:
            raise Refusal(
                400, "request.malformed", f"The header {name} is there {len(found)} times."
            )
        return found[0] if found else ""

    @property
    def is_safe(self) -> bool:
        """Whether the request changes nothing."""
        return self.kind == "http" and self.method in SAFE_METHODS

    @property
    def is_stop(self) -> bool:
        """Whether it asks for silence, or to go on after it."""
        return (
            self.kind == "http" and self.method == "POST" and bool(STOP_PATHS.fullmatch(self.path))
        )

    @property
    def own_origin(self) -> str:
        """The origin of a page that came from where this request went; only meaningful once the Host was checked."""
        return f"{self.scheme}://{self.value('host').lower()}"


@dataclass(slots=True)
class _LoginCode:
    digest: bytes
    page: str
    ends_at_s: float


@dataclass(slots=True)
class _Session:
    digest: bytes
    ends_at_s: float


@dataclass(frozen=True, slots=True)
class Entry:
    """Who came in, the subprotocol that carried the token, to be echoed, and a cookie for what the page loads."""

    caller: Caller
    subprotocol: str | None = None
    overlay_generation: int = 0
    session_generation: int = 0
    cookie: str = ""


class Access:
    """The credentials: API token, overlay token, one-time codes and the sessions made from them.

    Lives in the backend's loop.

    Args:
        token: The API token.
        overlay_token: The token in overlay addresses.
        make_overlay_token: Makes the next overlay token and keeps it over restarts.
        now_s: Monotonic time.
        kept: Where sessions outlive a restart; None = they end with the program.
    """

    def __init__(
        self,
        token: str,
        overlay_token: str,
        make_overlay_token: Callable[[], str],
        now_s: Callable[[], float] = clock.monotonic_s,
        kept: SessionFile | None = None,
    ) -> None:
        if len(token) < 16 or len(overlay_token) < 16:
            raise ValueError("a token is at least 16 characters long")
        self._token = _digest(token)
        self._overlay = _digest(overlay_token)
        self.overlay_token = overlay_token
        self.overlay_generation = 0
        self._make_overlay_token = make_overlay_token
        self._now_s = now_s
        self._codes: list[_LoginCode] = []
        self._sessions: list[_Session] = []
        self.session_generation = 0
        self._kept = kept
        self._kept_for = hmac.new(self._token, b"sessions", "sha256").hexdigest()
        if kept is not None:
            now, here_s = clock.now().timestamp(), self._now_s()
            self._sessions = [
                _Session(bytes.fromhex(digest), here_s + min(ends_at - now, SESSION_LIFE_S))
                for digest, ends_at in kept.load(self._kept_for).items()
                if re.fullmatch(r"[0-9a-f]{64}", digest)
            ]

    def login_code(self, page: str = "/docs", life_s: float = LOGIN_CODE_LIFE_S) -> str:
        """A code that opens one session on ``page``, once and within ``life_s``; for the link that the window opens."""
        if not re.fullmatch(r"/(?:[\w.-]+/?)*", page):
            raise ValueError(f"{page!r} is not a page of ours")
        code = secrets.token_urlsafe(32)
        self._forget_old()
        del self._codes[: max(0, len(self._codes) - MAX_LOGIN_CODES + 1)]
        self._codes.append(_LoginCode(_digest(code), page, self._now_s() + life_s))
        return code

    def redeem(self, code: str) -> tuple[str, str] | None:
        """Trade a code for a session and the page to show; None when it is unknown, used or too old."""
        self._forget_old()
        digest = _digest(code)
        found = [known for known in self._codes if hmac.compare_digest(known.digest, digest)]
        if not found:
            return None
        self._codes.remove(found[0])
        session = secrets.token_urlsafe(32)
        del self._sessions[: max(0, len(self._sessions) - MAX_SESSIONS + 1)]
        self._sessions.append(_Session(_digest(session), self._now_s() + SESSION_LIFE_S))
        self._keep_sessions()
        return session, found[0].page

    def rotate_overlay_token(self) -> str:
        """Replace the overlay token; overlays with the old one stop at once."""
        token = self._make_overlay_token()
        self.overlay_token = token
        self._overlay = _digest(token)
        self.overlay_generation += 1
        return token

    def end_sessions(self) -> None:
        """Log every page out; their sockets close."""
        self._sessions.clear()
        self.session_generation += 1
        self._keep_sessions()

    def _keep_sessions(self) -> None:
        if self._kept is not None:
            now, now_s = clock.now().timestamp(), self._now_s()
            self._kept.save(
                self._kept_for,
                {
                    session.digest.hex(): round(now + session.ends_at_s - now_s, 1)
                    for session in self._sessions
                },
            )

    def authenticate(self, head: Head) -> Entry:
        """Who is calling, whatever form the credential has.

        A header, a subprotocol and a query token are shown on purpose, so each one shown must be right and the weakest
        counts; a cookie comes along by itself, so it counts only when nothing else is shown.

        Raises:
            Refusal: 401 without a valid credential, 403 when a valid one may not do this.
        """
        authorization = head.value("authorization")
        offered = [name for name in head.subprotocols if name.startswith("bearer.")]
        in_query = [
            value
            for name, value in parse_qsl(head.query, keep_blank_values=True)
            if name == "token"
        ]
        shown = 0
        if authorization:
            shown += 1
            kind, _, token = authorization.partition(" ")
            if kind.lower() != "bearer" or not self._is_token(token.strip()):
                raise _unauthorized("The Authorization header does not hold the API token.")
        if offered:
            shown += 1
            if len(offered) > 1 or not self._is_token(offered[0].removeprefix("bearer.")):
                raise _unauthorized("The subprotocol bearer.… does not hold the API token.")
        if in_query:
            if len(in_query) > 1 or not self._is_overlay_token(in_query[0]):
                raise _unauthorized("The token in the address is not the overlay token.")
            _check_overlay(head)
            return Entry(
                "overlay",
                offered[0] if offered else None,
                overlay_generation=self.overlay_generation,
                cookie=_overlay_cookie(head, in_query[0]) if head.path in OVERLAY_PAGES else "",
            )
        if shown:
            return Entry("operator", offered[0] if offered else None)
        if self._has_session(head):
            _check_cookie_use(head)
            return Entry("page", session_generation=self.session_generation)
        if _is_for_overlay(head) and self._has_overlay_cookie(head):
            _check_cookie_use(head)
            return Entry("overlay", overlay_generation=self.overlay_generation)
        raise _unauthorized("This needs the API token: send Authorization: Bearer <token>.")

    def _is_token(self, presented: str) -> bool:
        return hmac.compare_digest(_digest(presented), self._token)

    def _is_overlay_token(self, presented: str) -> bool:
        return hmac.compare_digest(_digest(presented), self._overlay)

    def _has_session(self, head: Head) -> bool:
        self._forget_old()
        digests = _cookie_digests(head, cookie_name(head.port))
        # Each pair is compared: how long it takes says nothing about which one fits.
        fits = [
            hmac.compare_digest(session.digest, digest)
            for session in self._sessions
            for digest in digests[:4]
        ]
        return any(fits)

    def _has_overlay_cookie(self, head: Head) -> bool:
        digests = _cookie_digests(head, overlay_cookie_name(head.port))
        return any([hmac.compare_digest(digest, self._overlay) for digest in digests[:4]])

    def _forget_old(self) -> None:
        now_s = self._now_s()
        self._codes = [code for code in self._codes if code.ends_at_s > now_s]
        self._sessions = [session for session in self._sessions if session.ends_at_s > now_s]


def cookie_name(port: int | None) -> str:
    """Name of the session cookie; browsers share cookies between ports, so two backends need two names."""
    return f"luma_session_{port or 0}"


def overlay_cookie_name(port: int | None) -> str:
    """Name of the cookie that carries the overlay token to the scripts and pictures of an overlay page."""
    return f"luma_overlay_{port or 0}"


def _overlay_cookie(head: Head, token: str) -> str:
    """What an overlay page is given besides itself.

    A module's own imports and a model's textures are addresses without the token, so for these the browser has to bring it
    along. It opens what the token in the address opens, nothing else.
    """
    secure = "; Secure" if head.scheme == "https" else ""
    name = overlay_cookie_name(head.port)
    return f"{name}={token}; Path=/; HttpOnly; SameSite=Strict{secure}"


def _cookie_digests(head: Head, name: str) -> list[bytes]:
    return [
        _digest(value)
        for header in head.values("cookie")
        for key, _, value in (part.strip().partition("=") for part in header.split(";"))
        if key == name
    ]


def _digest(secret: str) -> bytes:
    # Equal lengths whatever was presented, so that the comparison's time shows nothing about the secret.
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _unauthorized(message: str) -> Refusal:
    return Refusal(401, "auth.required", message, ((b"www-authenticate", b"Bearer"),))


def _is_for_overlay(head: Head) -> bool:
    if head.kind == "websocket":
        return head.path == "/ws"
    return head.method in ("GET", "HEAD") and (
        head.path in OVERLAY_PAGES
        or head.path == OVERLAY_STATE
        or head.path.startswith(OVERLAY_FILES)
        or OVERLAY_SOUND.fullmatch(head.path) is not None
    )


def _check_overlay(head: Head) -> None:
    if not _is_for_overlay(head):
        raise Refusal(
            403,
            "auth.forbidden",
            "The overlay token opens the overlay and captions pages, their event stream and the stage's sounds only.",
        )


def _check_cookie_use(head: Head) -> None:
    """A cookie is sent by the browser, not by the page: make sure that it was our page that asked."""
    origin = head.value("origin")
    site = head.value("sec-fetch-site")
    if (origin and origin.lower() != head.own_origin) or site not in ("", "same-origin", "none"):
        raise Refusal(403, "origin.refused", "A session works only for pages of this backend.")
    if head.is_safe:
        return
    if not origin:
        raise Refusal(403, "origin.refused", "A request with a session must say its Origin.")
    if head.kind == "websocket":
        return
    if head.value("content-type").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(
            403,
            "auth.forbidden",
            "A session may send JSON only (Content-Type: application/json); anything else needs the API token.",
        )
    if not head.value("x-luma-page"):
        raise Refusal(
            403, "auth.forbidden", "A change made with a session needs the header X-Luma-Page."
        )


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float

    def take(self, now_s: float, rate: float, burst: float) -> float:
        """Take one; returns the seconds to wait, 0 when there was one."""
        self.tokens = min(burst, self.tokens + (now_s - self.at_s) * rate)
        self.at_s = now_s
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) / rate


@dataclass(slots=True)
class _Open:
    total: int = 0
    by_client: Counter[str] = field(default_factory=Counter)

    def enter(self, client: str, most: int, most_per_client: int) -> bool:
        if self.total >= most or self.by_client[client] >= most_per_client:
            return False
        self.total += 1
        self.by_client[client] += 1
        return True

    def leave(self, client: str) -> None:
        self.total -= 1
        self.by_client[client] -= 1
        if not self.by_client[client]:
            del self.by_client[client]


class Guard:
    """ASGI middleware; the outermost one.

    Args:
        app: What it guards.
        access: The credentials.
        options: What it lets through.
        lets_clients_in: Whether Open-LLM-VTuber clients of this machine need no token; asked for each of them.
        signed_out: The page that tells a person at a browser why it does not open, with `REASON` in it for the words; None =
            it is told in JSON.
        now_s: Monotonic time.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        options: Options | None = None,
        lets_clients_in: Callable[[], bool] = lambda: False,
        signed_out: str | None = None,
        now_s: Callable[[], float] = clock.monotonic_s,
    ) -> None:
        self.app = app
        self.access = access
        self._lets_clients_in = lets_clients_in
        self._signed_out = signed_out
        self.options = options or Options()
        self._origins = frozenset(
            origin.lower() if origin.endswith("://") else origin.lower().rstrip("/")
            for origin in self.options.origins
        )
        self._hosts = frozenset(host.lower() for host in self.options.allowed_hosts)
        self._now_s = now_s
        self._buckets: OrderedDict[tuple[str, Caller, bool], _Bucket] = OrderedDict()
        self._noted: dict[tuple[str, str], float] = {}
        self._requests = _Open()
        self._sockets = _Open()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or hand on with the caller's name in the scope."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        head = Head.of(scope)
        is_socket = head.kind == "websocket"
        opened = self._sockets if is_socket else self._requests
        try:
            entry = self._admit(scope, head)
            most = self.options.max_sockets if is_socket else self.options.max_requests
            per_client = (
                self.options.max_sockets_per_client
                if is_socket
                else self.options.max_requests_per_client
            )
            if head.is_stop:
                most, per_client = most + SPARE_FOR_STOPS, per_client + SPARE_FOR_STOPS
            if entry.caller != "nobody" and not opened.enter(head.client, most, per_client):
                raise Refusal(
                    503 if opened.total >= most else 429,
                    "busy",
                    f"Too many {'sockets' if is_socket else 'requests'} are open; close one or try again in a second.",
                    ((b"retry-after", b"1"),),
                )
        except _Answered as answer:
            await _respond(send, answer.status, b"", self._headers(head, answer.headers))
            return
        except Refusal as refusal:
            self._note(head, refusal)
            await self._refuse(scope, head, receive, send, refusal)
            return
        try:
            inner = {
                **scope,
                CALLER_KEY: entry.caller,
                # Nobody behind the guard needs the credential, so nobody can log it.
                "query_string": _without_token(scope.get("query_string", b"")),
                "headers": [
                    (name, value)
                    for name, value in scope["headers"]
                    if name not in CREDENTIAL_HEADERS
                ],
                "subprotocols": [
                    name for name in head.subprotocols if not name.startswith("bearer.")
                ],
            }
            if is_socket:
                await self._run_socket(inner, entry, receive, send)
            else:
                await self._run_request(inner, head, entry, receive, send)
        finally:
            if entry.caller != "nobody":
                opened.leave(head.client)

    def _note(self, head: Head, refusal: Refusal) -> None:
        """Log a refusal; one kind from one client once in a while, so that nobody can fill the log."""
        key, now_s = (head.client, refusal.code), self._now_s()
        is_news = now_s - self._noted.get(key, -NOTE_AGAIN_S) >= NOTE_AGAIN_S
        if is_news:
            if len(self._noted) >= MAX_KNOWN_CLIENTS:
                self._noted.clear()
            self._noted[key] = now_s
        logger.log(
            logging.INFO if is_news else logging.DEBUG,
            "refused %s %r from %s: %s",
            head.method,
            head.path[:200],
            head.client,
            refusal.code,
        )

    def _admit(self, scope: Scope, head: Head) -> Entry:
        """Every check, cheapest first.

        Raises:
            Refusal: With the reason.
            _Answered: When the guard itself has the answer (preflight, login).
        """
        self._check_size(scope, head)
        self._check_host(head)
        is_preflight = (
            head.method == "OPTIONS"
            and head.kind == "http"
            and "origin" in head.headers
            and "access-control-request-method" in head.headers
        )
        self._check_origin(head)
        if is_preflight:
            self._spend(head, "nobody")
            raise self._preflight(head)
        if head.kind == "http" and head.method in ("GET", "HEAD"):
            if head.path == HEALTH_PATH:
                self._spend(head, "nobody")
                return Entry("nobody")
            if head.path == LOGIN_PATH and head.method == "GET":
                self._spend(head, "nobody")
                raise self._log_in(head)
        try:
            entry = self.access.authenticate(head)
        except Refusal:
            if not self._is_client_of_this_machine(head):
                self._spend(head, "nobody")
                raise
            entry = Entry("client")
        self._spend(head, entry.caller)
        return entry

    def _check_size(self, scope: Scope, head: Head) -> None:
        size = sum(len(name) + len(value) for name, value in scope["headers"])
        if size > self.options.max_header_bytes:
            raise Refusal(
                431,
                "input.too_large",
                f"The headers hold {size:,} bytes; at most {self.options.max_header_bytes:,} are read.",
            )
        if len(head.query) > self.options.max_query_bytes or len(head.path) > MAX_PATH_CHARS:
            raise Refusal(
                414,
                "input.too_large",
                f"The address is too long; its query may hold {self.options.max_query_bytes:,} bytes.",
            )
        if head.kind == "http":
            length = head.value("content-length")
            if length and not (length.isascii() and length.isdigit()):
                raise Refusal(400, "request.malformed", "Content-Length is not a number.")
            if length and int(length) > self._body_limit(head):
                raise self._too_large(head)

    def _body_limit(self, head: Head) -> int:
        if UPLOAD_PATHS.fullmatch(head.path):
            return self.options.max_upload_bytes
        if head.path == RECORDINGS_PATH:
            return self.options.max_recordings_bytes
        return self.options.max_body_bytes

    def _too_large(self, head: Head) -> Refusal:
        return Refusal(
            413,
            "input.too_large",
            f"The body is too large: {head.path[:200]} takes at most {self._body_limit(head):,} bytes.",
        )

    def _check_host(self, head: Head) -> None:
        hosts = head.values("host")
        if len(hosts) != 1:
            raise Refusal(
                400, "host.refused", f"A request needs one Host header; this one has {len(hosts)}."
            )
        host = hosts[0].lower()
        match = HOST.fullmatch(host)
        if match is None:
            raise Refusal(400, "host.refused", "The Host header is not a name with a port.")
        name, port = match["name"], match["port"]
        if host in self._hosts or name in self._hosts:
            return
        right_port = port is None or head.port is None or int(port) == head.port
        if name in LOOPBACK_NAMES and right_port:
            return
        raise Refusal(
            403,
            "host.refused",
            f"This backend does not answer to the Host {host[:100]!r}. Add it to ALLOWED_HOSTS if it is yours.",
        )

    def _check_origin(self, head: Head) -> None:
        if "origin" not in head.headers:
            return
        origin = head.value("origin").lower()
        if origin == head.own_origin or origin in self._origins:
            return
        raise Refusal(
            403,
            "origin.refused",
            f"Pages from {origin[:100]!r} may not call this backend. Add it to CORS_ORIGINS if it is yours.",
        )

    def _is_client_of_this_machine(self, head: Head) -> bool:
        """Whether it comes in without a credential; one that was shown and is wrong stays wrong."""
        if not self._lets_clients_in() or not _is_for_clients(head):
            return False
        if not _is_loopback(head.client) or any(head.values(name) for name in FORWARDED_HEADERS):
            return False
        match = HOST.fullmatch(head.value("host").lower())
        if match is None or match["name"] not in LOOPBACK_NAMES:
            return False
        if head.values("authorization") or any(
            name.startswith("bearer.") for name in head.subprotocols
        ):
            return False
        if any(name == "token" for name, _ in parse_qsl(head.query, keep_blank_values=True)):
            return False
        # A picture in a page says no Origin: only a page of a file, when files are listed, may be of another site.
        is_foreign = head.value("sec-fetch-site").lower() == "cross-site"
        return "origin" in head.headers or not is_foreign or "file://" in self._origins

    def _spend(self, head: Head, caller: Caller) -> None:
        key = (head.client, caller, head.is_stop)
        now_s = self._now_s()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(float(self.options.requests_burst), now_s)
            if len(self._buckets) > MAX_KNOWN_CLIENTS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        wait_s = bucket.take(now_s, self.options.requests_per_s, self.options.requests_burst)
        if wait_s:
            seconds = int(wait_s) + 1
            raise Refusal(
                429,
                "busy",
                f"Too many requests: at most {self.options.requests_per_s:g} a second. Try again in {seconds} s.",
                ((b"retry-after", str(seconds).encode()),),
            )

    def _preflight(self, head: Head) -> _Answered:
        return _Answered(
            204,
            (
                (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
                (
                    b"access-control-allow-headers",
                    b"Authorization, Content-Type, Range, X-Client-UID, X-Luma-Page",
                ),
                (b"access-control-max-age", str(PREFLIGHT_LIFE_S).encode()),
            ),
        )

    def _log_in(self, head: Head) -> _Answered:
        codes = [value for name, value in parse_qsl(head.query) if name == "code"]
        opened = self.access.redeem(codes[0]) if len(codes) == 1 else None
        if opened is None:
            raise _unauthorized(
                "This link was used already, or it is too old. Open the page from Luma's window again."
            )
        session, page = opened
        cookie = f"{cookie_name(head.port)}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age={SESSION_LIFE_S:.0f}"
        if head.scheme == "https":
            cookie += "; Secure"
        return _Answered(303, ((b"location", page.encode()), (b"set-cookie", cookie.encode())))

    def _headers(
        self, head: Head, present: tuple[tuple[bytes, bytes], ...] | list[tuple[bytes, bytes]]
    ) -> list[tuple[bytes, bytes]]:
        """``present`` and the headers every answer has; what a route set itself stays."""
        names = {name.lower() for name, _ in present}
        content_type = next(
            (value for name, value in present if name.lower() == b"content-type"), b""
        )
        is_page = content_type.startswith(b"text/html")
        added = [
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"x-frame-options", b"DENY"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"content-security-policy", (PAGE_CSP if is_page else DATA_CSP).encode()),
            (b"cache-control", b"no-store"),
        ]
        origin = head.values("origin")
        if len(origin) == 1 and origin[0].lower() in self._origins:
            added.append((b"access-control-allow-origin", origin[0].encode("latin-1")))
            added.append((b"access-control-expose-headers", b"Content-Disposition, Retry-After"))
        if self._origins:
            added.append((b"vary", b"Origin"))
        return [*present, *((name, value) for name, value in added if name not in names)]

    async def _refuse(
        self, scope: Scope, head: Head, receive: Receive, send: Send, refusal: Refusal
    ) -> None:
        body, content_type, more = refusal.body, b"application/json", refusal.headers
        if (
            head.kind == "http"
            and head.path in OVERLAY_PAGES
            and any("text/html" in accepted for accepted in head.values("accept"))
        ):
            # It would be read on stream: nothing to see, and another try a little later.
            body, content_type = BLANK_PAGE, b"text/html; charset=utf-8"
            more = (*more, (b"refresh", str(OVERLAY_AGAIN_S).encode()))
        elif (
            self._signed_out is not None
            and refusal.status == 401
            and head.kind == "http"
            and head.method == "GET"
            and PEOPLES_PAGES.fullmatch(head.path)
            and any("text/html" in accepted for accepted in head.values("accept"))
        ):
            why = SIGNED_OUT if head.path != LOGIN_PATH else refusal.message
            body = self._signed_out.replace(REASON, html.escape(why)).encode()
            content_type = b"text/html; charset=utf-8"
        headers = self._headers(
            head, [*more, (b"content-type", content_type), (b"connection", b"close")]
        )
        if head.kind == "http":
            await _respond(send, refusal.status, body, headers)
            return
        await receive()  # websocket.connect; nothing may be sent before it
        if "websocket.http.response" in scope.get("extensions", {}):
            await _respond(
                send, refusal.status, refusal.body, headers, kind="websocket.http.response"
            )
        else:
            await send({"type": "websocket.close", "code": TOO_MANY_MESSAGES})

    async def _run_request(
        self, scope: Scope, head: Head, entry: Entry, receive: Receive, send: Send
    ) -> None:
        limit = self._body_limit(head)
        seen = 0
        complete = started = False
        failure: Refusal | None = None

        async def limited_receive() -> Message:
            nonlocal seen, complete, failure
            if failure is not None:
                return {"type": "http.disconnect"}
            if complete:
                return await receive()
            try:
                async with asyncio.timeout(self.options.body_timeout_s):
                    message = await receive()
            except TimeoutError:
                failure = Refusal(
                    408,
                    "request.timeout",
                    f"Nothing of the body came for {self.options.body_timeout_s:g} s.",
                )
                return {"type": "http.disconnect"}
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                complete = not message.get("more_body", False)
                if seen > limit:
                    failure = self._too_large(head)
                    return {"type": "http.disconnect"}
            return message

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if failure is not None and not started:
                return  # the route's view of a body that was cut off; ours follows below
            if message["type"] == "http.response.start":
                started = True
                headers = self._headers(head, list(message.get("headers", [])))
                if entry.cookie:
                    headers.append((b"set-cookie", entry.cookie.encode("latin-1")))
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, limited_receive, guarded_send)
        if failure is not None and not started:
            await self._refuse(scope, head, receive, send, failure)

    async def _run_socket(self, scope: Scope, entry: Entry, receive: Receive, send: Send) -> None:
        bucket = _Bucket(float(self.options.messages_burst), self._now_s())
        is_over = False

        def is_logged_out() -> bool:
            return (
                entry.caller == "page"
                and entry.session_generation != self.access.session_generation
            )

        async def close(code: int, reason: str) -> Message:
            nonlocal is_over
            if not is_over:
                is_over = True
                await send({"type": "websocket.close", "code": code, "reason": reason})
            return {"type": "websocket.disconnect", "code": code}

        async def limited_receive() -> Message:
            if is_over:
                return {"type": "websocket.disconnect", "code": TOO_MANY_MESSAGES}
            message = await receive()
            if message["type"] != "websocket.receive":
                return message
            if is_logged_out():
                return await close(LOGGED_OUT, "this browser was logged out")
            text = message.get("text")
            size = len(text) if text is not None else len(message.get("bytes") or b"")
            if size > self.options.max_frame_bytes:
                return await close(
                    FRAME_TOO_BIG, f"a message holds at most {self.options.max_frame_bytes:,} bytes"
                )
            if bucket.take(self._now_s(), self.options.messages_per_s, self.options.messages_burst):
                return await close(
                    TOO_MANY_MESSAGES, f"at most {self.options.messages_per_s:g} messages a second"
                )
            return message

        async def guarded_send(message: Message) -> None:
            nonlocal is_over
            if is_over:
                return
            if (
                entry.caller == "overlay"
                and entry.overlay_generation != self.access.overlay_generation
            ):
                await close(TOKEN_REPLACED, "the overlay token was replaced")
                return
            if is_logged_out():
                await close(LOGGED_OUT, "this browser was logged out")
                return
            if message["type"] == "websocket.accept":
                message = {**message, "subprotocol": _echo(message, scope, entry)}
            elif message["type"] == "websocket.close":
                is_over = True
            await send(message)

        await self.app(scope, limited_receive, guarded_send)


def _is_for_clients(head: Head) -> bool:
    """Whether it is something that an unmodified Open-LLM-VTuber client asks for."""
    if head.kind == "websocket":
        return head.path == CLIENT_SOCKET
    if head.path == CLIENT_SOUND:
        return head.method == "POST"
    return head.method in ("GET", "HEAD") and head.path.startswith(CLIENT_FILES)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


class _Answered(Exception):
    """The guard has the answer itself."""

    def __init__(self, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers


def _echo(message: Message, scope: Scope, entry: Entry) -> str | None:
    """A browser drops a socket unless one of the subprotocols it offered comes back."""
    if message.get("subprotocol"):
        return str(message["subprotocol"])
    if "luma" in (scope.get("subprotocols") or ()):
        return "luma"  # offered beside the token, so that the token need not travel twice
    return entry.subprotocol


def _without_token(query: bytes) -> bytes:
    if b"token" not in query:
        return query
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    return urlencode([pair for pair in pairs if pair[0] != "token"], encoding="latin-1").encode()


async def _respond(
    send: Send,
    status: int,
    body: bytes,
    headers: list[tuple[bytes, bytes]],
    kind: str = "http.response",
) -> None:
    start: dict[str, Any] = {
        "type": f"{kind}.start",
        "status": status,
        "headers": [*headers, (b"content-length", str(len(body)).encode())],
    }
    await send(start)
    await send({"type": f"{kind}.body", "body": body})
