"""Requests to providers: one client with kept-alive connections, bounded in time and size, that says who failed and why.

All failures leave as ProviderError, with the secrets of the request taken out of whatever the server said.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from html import escape
from typing import Any
from unicodedata import category
from urllib.parse import quote, urljoin

import orjson

from backend.contracts.errors import EngineUnavailableError, ProviderError, ProviderFailure
from backend.core import clock
from backend.core.addresses import origin_of
from backend.core.network import (
    AddressRefusedError,
    ClosedError,
    ConnectError,
    Connections,
    PoolFullError,
    ProtocolError,
    Resolve,
    Response,
)

logger = logging.getLogger(__name__)

USER_AGENT = "Luma/0.1"
MAX_CONNECTIONS = 32
KEEP_S = 120.0
"""How long an idle connection is kept; servers mostly close earlier, which is noticed and repaired."""
MAX_REDIRECTS = 5
MAX_REFUSAL_BYTES = 16_384
"""What is read of an error page."""
EXCERPT_S = 2.0
"""Longest wait for one: the status alone already says that it failed."""
QUOTED_CHARS = 300
"""What of it is shown."""

_CREDENTIALS = frozenset({"authorization", "x-api-key", "api-key", "cookie", "proxy-authorization"})
_SECRET_SHAPES = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf|ghp|AIza)[-_][A-Za-z0-9*_\-]{8,}|(?i:\bbearer\s+)[^\s\"',}]{6,}"
)


@dataclass(frozen=True, slots=True)
class Provider:
    """Whom a request goes to, and which settings the operator can change about it.

    Attributes:
        name: Registry name ("openrouter").
        title: Name for people ("OpenRouter").
        key_setting: The setting with its key, empty when it has none ("OPENROUTER_API_KEY").
        url_setting: The setting with its address.
        model_setting: The setting with its model.
        secrets: Texts that must never appear in a message.
    """

    name: str
    title: str
    key_setting: str = ""
    url_setting: str = ""
    model_setting: str = ""
    secrets: tuple[str, ...] = field(default=(), repr=False)


NOBODY = Provider("", "")
"""For an address that belongs to no provider yet."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Longest waits, in seconds.

    Attributes:
        connect_s: Name lookup, connection and TLS.
        head_s: From the start until the whole answer's head is there; a head sent byte by byte gains nothing.
        between_s: Between two pieces of the body.
        total_s: For the whole body, counting only the waiting.
    """

    connect_s: float = 5.0
    head_s: float = 30.0
    between_s: float = 20.0
    total_s: float = 180.0


WARM = Timeouts(connect_s=3.0, head_s=3.0, between_s=1.0, total_s=1.0)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Answer:
    """The head of an answer, and its body as it comes; header names in lower case."""

    def __init__(
        self, provider: Provider, url: str, response: Response, timeouts: Timeouts
    ) -> None:
        self.provider = provider
        self.status = response.status
        self.headers = response.headers
        self.url = url
        self._response = response
        self._timeouts = timeouts

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body's pieces.

        Raises:
            ProviderError: stalled, server (closed in the middle), or malformed (compressed though not asked for).
        """
        provider, timeouts = self.provider, self._timeouts
        if self.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            raise ProviderError(
                f"{provider.title} sent a compressed answer that was not asked for.",
                kind="malformed",
                provider=provider.name,
            )
        response = self._response
        waited_s = 0.0
        while True:
            if ready := response.ready():
                yield ready
                continue
            allowed_s = min(timeouts.between_s, timeouts.total_s - waited_s)
            began_s = clock.monotonic_s()
            try:
                async with asyncio.timeout(allowed_s):
                    piece = await response.read()
            except TimeoutError:
                raise stalled(provider, f"nothing came for {allowed_s:.3g} s") from None
            except ClosedError as error:
                raise cut(provider) from error
            waited_s += clock.monotonic_s() - began_s
            if not piece:
                return
            yield piece

    async def body(self, limit: int) -> bytes:
        """The whole body.

        Raises:
            ProviderError: As for `pieces`; malformed when it is larger than ``limit`` bytes.
        """
        gathered = bytearray()
        async with aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                gathered += piece
                if len(gathered) > limit:
                    raise ProviderError(
                        f"{self.provider.title} answered with more than {limit:,} bytes.",
                        kind="malformed",
                        provider=self.provider.name,
                    )
        return bytes(gathered)

    async def excerpt(self, limit: int = MAX_REFUSAL_BYTES) -> bytes:
        """The beginning of the body, however it ends: for error pages, which are allowed to be broken."""
        gathered = bytearray()
        try:
            async with asyncio.timeout(EXCERPT_S), aclosing(self.pieces()) as pieces:
                async for piece in pieces:
                    gathered += piece
                    if len(gathered) >= limit:
                        break
        except (ProviderError, TimeoutError) as error:
            logger.debug("%s: error page cut: %s", self.provider.name, error)
        return bytes(gathered[:limit])


class HttpClient:
    """Requests that leave this machine, or go to a server on it.

    Private addresses are reachable only on hosts passed to `trust`: what the operator has set. Text from anybody else
    (a link in a chat) belongs to another instance that trusts nobody. Nothing is read from proxy variables.

    Args:
        resolve: Name lookup; None uses the system's.
    """

    def __init__(self, resolve: Resolve | None = None) -> None:
        self._trusted: set[tuple[str, int]] = set()
        self._connections = Connections(
            lambda host, port: (host, port) in self._trusted,
            resolve,
            most=MAX_CONNECTIONS,
            keep_s=KEEP_S,
        )

    def trust(self, url: str) -> None:
        """Note that the operator has set ``url``: its host and port may be on this machine or network.

        Raises:
            EngineUnavailableError: If it is no http(s) address.
        """
        try:
            _, host, port = origin_of(url)
        except ValueError as error:
            raise EngineUnavailableError(
                f"{_bare(url, NOBODY)!r} cannot be used as an address: {error}."
            ) from error
        self._trusted.add((host, port))

    async def warm(self, url: str) -> bool:
        """Open a connection to ``url``'s host; True when it answered. Sends no key."""
        provider = Provider("warm-up", url)
        try:
            async with self.open(provider, "HEAD", url, timeouts=WARM) as answer:
                await answer.body(0)  # only a body read to its end leaves the connection usable
                return True
        except (ProviderError, EngineUnavailableError) as error:
            logger.debug("could not warm %s: %s", url, error)
            return False

    @asynccontextmanager
    async def open(
        self,
        provider: Provider,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,  # any value orjson can write
        body: bytes | None = None,
        timeouts: Timeouts = Timeouts(),
    ) -> AsyncIterator[Answer]:
        """Send a request; inside the block its head is there and the body can be read.

        The answer's status is the caller's to judge (`refusal`). Redirects are followed to the same origin, and by GET
        and HEAD to others, without credentials; whatever carries a body stays where it was sent.

        Raises:
            ProviderError: unreachable, stalled, server (closed without an answer), request (a refused redirect).
        """
        sent = {"user-agent": USER_AGENT, "accept-encoding": "identity", **(headers or {})}
        if json is not None:
            body = orjson.dumps(json)
            sent.setdefault("content-type", "application/json")
        _check_headers(provider, sent)
        began_s = clock.monotonic_s()
        for _ in range(MAX_REDIRECTS + 1):
            left_s = timeouts.head_s - (clock.monotonic_s() - began_s)
            response = await self._send(provider, method, url, sent, body, timeouts, left_s)
            try:
                target = response.headers.get("location")
                if response.status not in (301, 302, 303, 307, 308) or not target:
                    yield Answer(provider, url, response, timeouts)
                    return
            finally:
                response.close()
            target = urljoin(url, target)
            sent = _redirected(provider, method, url, target, sent, response.status)
            url = target
        raise ProviderError(
            f"{provider.title} redirected more than {MAX_REDIRECTS} times, last to {_bare(url, provider)}.",
            kind="malformed",
            provider=provider.name,
        )

    async def fetch(
        self,
        provider: Provider,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,  # any value orjson can write
        body: bytes | None = None,
        timeouts: Timeouts = Timeouts(),
        max_bytes: int = 8 << 20,
    ) -> Fetched:
        """Send a request and read the whole answer, up to ``max_bytes``.

        Raises:
            ProviderError: As for `open` and `Answer.body`; and by kind when the status is not 2xx.
        """
        async with self.open(
            provider, method, url, headers=headers, json=json, body=body, timeouts=timeouts
        ) as answer:
            if not 200 <= answer.status < 300:
                raise refusal(provider, answer.status, answer.headers, await answer.excerpt())
            return Fetched(answer.status, answer.headers, await answer.body(max_bytes))

    async def close(self) -> None:
        """Close every connection."""
        self._connections.close()

    async def _send(
        self,
        provider: Provider,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        timeouts: Timeouts,
        left_s: float,
    ) -> Response:
        try:
            origin_of(url)
        except ValueError as error:
            raise EngineUnavailableError(
                f"{provider.title} cannot be asked at {_bare(url, provider)!r}: {error}."
                + (f" Correct {provider.url_setting}." if provider.url_setting else "")
            ) from error
        try:
            async with asyncio.timeout(left_s):
                return await self._connections.send(
                    method, url, headers, body, connect_s=timeouts.connect_s
                )
        except TimeoutError:
            raise stalled(provider, f"it did not answer within {timeouts.head_s:.3g} s") from None
        except (AddressRefusedError, ConnectError, ValueError) as error:
            raise unreachable(provider, url, str(error)) from error
        except PoolFullError as error:
            raise stalled(provider, str(error)) from error
        except ProtocolError as error:
            raise ProviderError(
                f"{provider.title} does not speak HTTP at {_bare(url, provider)}."
                + _check(provider.url_setting),
                kind="malformed",
                provider=provider.name,
            ) from error
        except ClosedError as error:
            raise ProviderError(
                f"{provider.title} closed the connection without an answer.",
                kind="server",
                provider=provider.name,
            ) from error


def _check_headers(provider: Provider, headers: Mapping[str, str]) -> None:
    for value in headers.values():
        if not (value.isascii() and value.isprintable()):
            raise EngineUnavailableError(
                f"A header for {provider.title} has a line break or a letter outside ASCII in it."
                + _check(provider.key_setting)
            )


def _redirected(
    provider: Provider,
    method: str,
    url: str,
    target: str,
    headers: dict[str, str],
    status: int,
) -> dict[str, str]:
    """Headers for the next hop, or the refusal to make it."""
    try:
        here, there = origin_of(url), origin_of(target)
    except ValueError as error:
        raise ProviderError(
            f"{provider.title} redirected to {_bare(target, provider)!r}: {error}.",
            kind="malformed",
            provider=provider.name,
        ) from error
    safe = method in ("GET", "HEAD")
    if here == there and (safe or status in (307, 308)):
        return headers
    if safe and not (here[0] == "https" and there[0] == "http"):
        return {name: value for name, value in headers.items() if name.lower() not in _CREDENTIALS}
    setting = (
        f" If that is right, set {provider.url_setting} to it." if provider.url_setting else ""
    )
    raise ProviderError(
        f"{provider.title} redirected to {_bare(target, provider)} ({status}); a message is not sent on to"
        f" another place.{setting}",
        kind="request",
        provider=provider.name,
    )


# --- failures -----------------------------------------------------------------------------------------------------


def stalled(provider: Provider, what: str) -> ProviderError:
    """Nothing came for too long; ``what`` says for what."""
    return ProviderError(f"{provider.title} hangs: {what}.", kind="stalled", provider=provider.name)


def cut(provider: Provider) -> ProviderError:
    """The connection ended inside the answer."""
    return ProviderError(
        f"{provider.title} closed the connection in the middle of its answer.",
        kind="server",
        provider=provider.name,
    )


def unreachable(provider: Provider, url: str, reason: str) -> ProviderError:
    """No connection."""
    what = f" Start it, or correct {provider.url_setting}." if provider.url_setting else ""
    why = redact(reason, provider.secrets)
    return ProviderError(
        f"{provider.title} cannot be reached at {_bare(url, provider)} ({why}).{what}",
        kind="unreachable",
        provider=provider.name,
    )


_QUOTA_WORDS = re.compile(
    r"insufficient[_ ](?:quota|credits|balance|funds)|exceeded your current quota|billing|out of credits"
    r"|credit balance",
    re.IGNORECASE,
)
_RATE_WORDS = re.compile(r"rate[_ -]?limit|too many requests", re.IGNORECASE)


def kind_of(status: int, text: str = "") -> ProviderFailure:
    """Why a request failed, from its status and what the server says."""
    if status in (402, 403, 429) and _QUOTA_WORDS.search(text):
        return "quota"
    if status == 400 and "credit balance" in text:
        return "quota"
    if status == 403 and _RATE_WORDS.search(text):
        return "rate"
    if status in (401, 403):
        return "key"
    if status == 402:
        return "quota"
    if status == 429:
        return "rate"
    if status in (408, 425) or status >= 500:
        return "server"
    if 400 <= status < 500:
        return "request"
    return "malformed"


def refusal(
    provider: Provider, status: int, headers: Mapping[str, str], body: bytes
) -> ProviderError:
    """The error for an answer that is no 2xx: which provider, which status, what it said, what to do."""
    said = said_in(body)
    kind = kind_of(status, said)
    wait_s = retry_after_s(headers) if kind in ("rate", "server", "quota") else None
    return failed(provider, kind, said, f"{status}", wait_s)


def failed(
    provider: Provider,
    kind: ProviderFailure,
    said: str,
    status: str = "",
    wait_s: float | None = None,
) -> ProviderError:
    """The error for a failure that the server has put into words."""
    title = provider.title
    what, do = {
        "key": (
            f"{title} refused the key",
            f" Set {provider.key_setting} in .env or in Settings." if provider.key_setting else "",
        ),
        "quota": (f"{title} has no credit left for this key", " Add credit at the provider."),
        "rate": (
            f"{title} gets too many requests",
            f" It asks to wait {wait_s:.3g} s." if wait_s is not None else " Wait a moment.",
        ),
        "request": (
            f"{title} did not accept the request",
            _check(*filter(None, (provider.model_setting, provider.url_setting))),
        ),
        "unreachable": (f"{title} cannot be reached", _check(provider.url_setting)),
        "server": (f"{title} has a problem of its own", " It may pass; try again later."),
        "malformed": (
            f"{title} gave an answer that was not understood",
            _check(provider.url_setting),
        ),
        "stalled": (f"{title} hangs", ""),
    }[kind]
    shown = redact(said, provider.secrets)
    # The status may be a word of the server's own too: an error code inside a stream.
    code = redact(status, provider.secrets, 80)
    details = ": ".join(part for part in (code, f"“{shown}”" if shown else "") if part)
    return ProviderError(
        f"{what}{f' ({details})' if details else ''}.{do}",
        kind=kind,
        provider=provider.name,
        retry_after_s=wait_s,
    )


def said_in(body: bytes) -> str:
    """The server's own words in an error body: JSON's message, a page's title, or its text. Not yet redacted."""
    try:
        found = message_in(orjson.loads(body))
    except orjson.JSONDecodeError:
        found = ""
    text = found or body.decode("utf-8", "replace")
    if not found and "<" in text:
        title = re.search(r"<title[^>]*>(.{1,500}?)</title", text, re.IGNORECASE | re.DOTALL)
        text = title[1] if title else re.sub(r"<[^>]{0,500}>", " ", text)
    # What has no width goes without a gap: in the middle of a key it would hide the key from who takes keys out.
    seen = (c if c.isprintable() else "" if category(c) == "Cf" else " " for c in text)
    return " ".join("".join(seen).split())


def message_in(value: object) -> str:
    """The message inside the shapes errors come in: {"error": {"message"}}, {"error": "…"}, {"detail"}, {"message"}."""
    for _ in range(4):
        match value:
            case str():
                return value
            case {"error": inner} | {"message": inner} | {"detail": inner}:
                value = inner
            case [first, *_]:
                value = first
            case {"msg": inner}:
                value = inner
            case _:
                return ""
    return value if isinstance(value, str) else ""


def redact(text: str, secrets: Sequence[str] = (), limit: int = QUOTED_CHARS) -> str:
    """``text`` without ``secrets`` and whatever looks like a key, cut to ``limit`` letters."""
    for secret in sorted(secrets, key=len, reverse=True):
        # Also as it reads in an address or a page.
        for form in {secret, quote(secret), quote(secret, safe=""), escape(secret)} - {""}:
            text = re.sub(re.escape(form), "[key]", text, flags=re.IGNORECASE)
    text = _SECRET_SHAPES.sub("[key]", text)
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def retry_after_s(
    headers: Mapping[str, str], now: Callable[[], datetime] = clock.now
) -> float | None:
    """Seconds the server asks us to wait: Retry-After as seconds or HTTP date, or retry-after-ms; None if it does not."""
    if (exact := headers.get("retry-after-ms", "").strip()).isdecimal():
        return int(exact[:12]) / 1000
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", value, re.ASCII):
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - now()).total_seconds())


def _check(*settings: str) -> str:
    names = [name for name in settings if name]
    return f" Check {' and '.join(names)}." if names else ""


def _bare(url: str, provider: Provider) -> str:
    """The address without what may hold a secret."""
    bare = re.sub(r"(?<=://)[^/]*@", "", url.partition("?")[0].partition("#")[0])
    return redact(bare, provider.secrets, limit=200)
