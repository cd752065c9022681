"""Twitch's HTTP side, Helix and OAuth, through twitchio; imported when it is first used, in a worker thread.

Requests are built by twitchio and sent here: to the addresses of the settings, with what is secret in the body and never in an
address, without redirects, and with bounds on time and size. twitchio's exceptions name addresses and tokens; none leaves this file.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
from twitchio import eventsub
from twitchio.authentication import OAuth, Scopes
from twitchio.exceptions import HTTPException
from twitchio.http import Route

from backend.clients.twitch import (
    Account,
    Addresses,
    Application,
    Broadcast,
    DeviceCode,
    Granted,
    Sent,
    Validated,
    Waits,
    check_address,
    provider,
)
from backend.clients.twitch_reading import MOST_ID, MOST_NAME
from backend.contracts.errors import ProviderError, ProviderFailure
from backend.core import clock
from backend.core.http import kind_of, redact, stalled, unreachable
from backend.core.network import ssl_context

MOST_BYTES = 1 << 20
LONGEST_WAIT_S = 60.0
SKEW_S = 5.0
"""So far clocks may differ and still mean the same moment."""

SUBSCRIPTIONS: Mapping[str, type[eventsub.SubscriptionPayload]] = {
    "channel.chat.message": eventsub.ChatMessageSubscription,
    "channel.chat.notification": eventsub.ChatNotificationSubscription,
    "channel.chat.message_delete": eventsub.ChatMessageDeleteSubscription,
    "channel.chat.clear_user_messages": eventsub.ChatClearUserMessagesSubscription,
    "channel.chat.clear": eventsub.ChatClearSubscription,
    "channel.update": eventsub.ChannelUpdateSubscription,
    "stream.online": eventsub.StreamOnlineSubscription,
    "stream.offline": eventsub.StreamOfflineSubscription,
    "channel.follow": eventsub.ChannelFollowSubscription,
    "channel.channel_points_custom_reward_redemption.add": eventsub.ChannelPointsRedeemAddSubscription,
}


class _Refused(HTTPException):
    """An answer that is no success, and how long it asks to wait."""

    def __init__(self, status: int, said: str, wait_s: float | None) -> None:
        super().__init__("refused", status=status, extra=said)
        self.said = said
        self.wait_s = wait_s


class _Http(OAuth):
    """twitchio's requests, sent our way."""

    def __init__(
        self, session: aiohttp.ClientSession, addresses: Addresses, application: Application
    ) -> None:
        super().__init__(
            client_id=application.client_id,
            client_secret=application.client_secret or None,
            session=session,
        )
        self._addresses = addresses
        self.client_of: OrderedDict[str, str] = OrderedDict()
        """Token to the application it was given to, which each request names."""

    async def request(self, route: Route) -> Any:
        headers = {**route.headers, "User-Agent": self.user_agent, "Client-Id": self.client_id}
        setting = "TWITCH_OAUTH_URL" if route.use_id else "TWITCH_HELIX_URL"
        base = self._addresses.oauth if route.use_id else self._addresses.helix
        url = check_address(base, setting, ("https", "http")).rstrip("/") + "/" + route.path
        query = urlsplit(route.url).query
        body: bytes | None = None
        if route.use_id and route.method == "POST":
            body = query.encode()  # it holds secrets, and addresses are logged on their way
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif query:
            url += f"?{query}"
        if route.token_for:
            headers["Authorization"] = f"Bearer {route.token_for}"
            headers["Client-Id"] = self.client_of.get(route.token_for, self.client_id)
        if route.json:
            body = orjson.dumps(route.json)
            headers["Content-Type"] = "application/json"
        assert self._session is not None
        async with self._session.request(
            route.method, url, headers=headers, data=body, allow_redirects=False
        ) as answer:
            content = bytearray()
            async for piece in answer.content.iter_chunked(65_536):
                content += piece
                if len(content) > MOST_BYTES:
                    raise _Refused(500, "an answer far too long", None)
            if not 200 <= answer.status < 300:
                raise _Refused(answer.status, _said_in(bytes(content)), _wait_s(answer.headers))
            if not content:
                return None
            try:
                return orjson.loads(bytes(content))
            except orjson.JSONDecodeError:
                raise _Refused(500, "an answer that is no JSON", None) from None


class TwitchApi:
    """Helix and OAuth. All methods in the backend's loop; they raise ProviderError and InvalidInputError alone.

    Args:
        addresses: Where.
        application: Whom Twitch knows us as.
        waits: How patient we are.
        tls: Certificates.
    """

    def __init__(
        self, addresses: Addresses, application: Application, waits: Waits, tls: Any
    ) -> None:
        session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=waits.answer_s, connect=waits.connect_s),
            connector=aiohttp.TCPConnector(ssl=tls, limit=16),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._session = session
        self._http = _Http(session, addresses, application)
        self._addresses = addresses
        self._waits = waits

    async def close(self) -> None:
        """End what is open."""
        await self._session.close()

    # --- OAuth ---

    async def device_code(self, scopes: tuple[str, ...]) -> DeviceCode:
        """Begin a login that a person ends on a page of Twitch."""
        told = await self._ask(self._http.device_code_flow(scopes=Scopes(list(scopes))), oauth=True)
        try:
            return DeviceCode(
                device_code=str(told["device_code"]),
                user_code=str(told["user_code"])[:40],
                url=_page(told["verification_uri"]),
                seconds=_number(told["expires_in"]),
                interval_s=max(0.05, _number(told.get("interval", 5))),
            )
        except (KeyError, TypeError, ValueError):
            raise _malformed("the code for the login") from None

    async def device_token(self, device_code: str, scopes: tuple[str, ...]) -> Granted | None:
        """The token, None as long as the person has not decided.

        Raises:
            ProviderError: key = the person said no, or the code is good no more.
        """
        # Asked once; twitchio's own method asks for ever, and ends with a ValueError when the person says no.
        params = self._http._create_params(
            {
                "scopes": Scopes(list(scopes)).urlsafe(),
                "device_code": device_code,
                "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
            },
            device_code=True,
        )
        route = Route("POST", "/oauth2/token", use_id=True, params=params)
        try:
            told = await self._ask(self._http.request_json(route), oauth=True, keeps_refusal=True)
        except _Refused as error:
            said = error.said.lower()
            if error.status == 400 and said in ("authorization_pending", "slow_down"):
                return None
            if error.status in (400, 401, 403):
                raise ProviderError(
                    "Twitch gave no token: the code was refused, or it is too old. Begin the login again.",
                    kind="key",
                    provider="twitch",
                ) from None
            raise _failed(error) from None
        return _granted(told)

    async def refresh(self, refresh: str) -> Granted:
        """A new token for an old one; the old ones may be good no more from then on.

        Raises:
            ProviderError: key = it cannot be renewed any more.
        """
        try:
            told = await self._ask(
                self._http.refresh_token(refresh), oauth=True, keeps_refusal=True
            )
        except _Refused as error:
            if error.status in (400, 401, 403):
                raise ProviderError(
                    f"Twitch does not renew the login ({redact(error.said, limit=100)}). Log in again.",
                    kind="key",
                    provider="twitch",
                ) from None
            raise _failed(error) from None
        return _granted(told, refresh)

    async def validate(self, token: str) -> Validated | None:
        """What Twitch says of a token; None when it is good no more."""
        try:
            told = await self._ask(self._http.validate_token(token), oauth=True, keeps_refusal=True)
        except _Refused as error:
            if error.status in (400, 401, 403):
                return None
            raise _failed(error) from None
        try:
            found = Validated(
                user_id=str(told["user_id"] or "")[:MOST_ID],
                login=str(told["login"] or "")[:MOST_NAME],
                client_id=str(told["client_id"])[:MOST_ID],
                scopes=frozenset(str(scope) for scope in (told.get("scopes") or ())),
                seconds=_number(told["expires_in"]),
            )
        except (KeyError, TypeError, ValueError):
            raise _malformed("what it says of the token") from None
        if not found.user_id or not found.login:
            raise ProviderError(
                "This token belongs to an application, not to a person. Log in with your account.",
                kind="request",
                provider="twitch",
            )
        self._http.client_of[token] = found.client_id
        while len(self._http.client_of) > 8:
            self._http.client_of.popitem(last=False)
        return found

    async def revoke(self, token: str) -> None:
        """Make a token worthless."""
        await self._ask(self._http.revoke_token(token), oauth=True)

    # --- Helix ---

    async def account(self, token: str, login: str) -> Account | None:
        """Whom a login name belongs to."""
        told = await self._ask(self._http.get_users(logins=[login], token_for=token))
        try:
            for user in told["data"]:
                if str(user["login"]).lower() == login:
                    name = str(user.get("display_name") or login)[:MOST_NAME]
                    return Account(str(user["id"])[:MOST_ID], login, name)
        except (KeyError, TypeError, AttributeError):
            raise _malformed("the channel") from None
        return None

    async def broadcast(self, token: str, channel_id: str) -> Broadcast:
        """What a channel shows."""
        params: dict[str, Any] = {"broadcaster_id": channel_id}
        about = _first(await self._get("channels", params, token))
        params = {"user_id": channel_id, "type": "live", "first": 1}
        live = _first(await self._get("streams", params, token))
        viewers = live.get("viewer_count")
        return Broadcast(
            title=str(live.get("title") or about.get("title") or "")[:200],
            game=str(live.get("game_name") or about.get("game_name") or "")[:200],
            started_at=str(live.get("started_at") or "")[:40],
            viewers=viewers if isinstance(viewers, int) and 0 < viewers < 1e9 else 0,
        )

    async def followers(self, token: str, channel_id: str) -> int | None:
        """How many follow a channel; None where Twitch does not say."""
        params: dict[str, Any] = {"broadcaster_id": channel_id, "first": 1}
        told = await self._get("channels/followers", params, token)
        total = told.get("total") if isinstance(told, dict) else None
        return total if isinstance(total, int) and 0 <= total < 1e12 else None

    async def _get(self, path: str, params: dict[str, Any], token: str) -> Any:
        route = Route("GET", path, params=params, token_for=token)
        return await self._ask(self._http.request_json(route))

    async def subscribe(
        self, token: str, session_id: str, kind: str, *, broadcaster_id: str, user_id: str
    ) -> None:
        """Have a session told of a kind of events of a channel; that it is told already is no failure."""
        who = {"broadcaster_user_id": broadcaster_id, "user_id": user_id}
        if kind in ("channel.update", "stream.online", "stream.offline"):
            who = {"broadcaster_user_id": broadcaster_id}
        elif kind == "channel.follow":
            who = {"broadcaster_user_id": broadcaster_id, "moderator_user_id": user_id}
        wanted = SUBSCRIPTIONS[kind](**who)
        try:
            await self._ask(
                self._http.create_eventsub_subscription(
                    type=eventsub.SubscriptionType(kind),
                    version=wanted.version,
                    condition=wanted.condition,
                    transport={"method": "websocket", "session_id": session_id},
                    token_for=token,
                ),
                keeps_refusal=True,
            )
        except _Refused as error:
            if error.status == 400 and "session" in error.said.lower():
                # Not for want of permission: the connection ended meanwhile, and another one may have it.
                raise ProviderError(
                    "Twitch ended the connection before anything was subscribed to on it.",
                    kind="unreachable",
                    provider="twitch",
                ) from None
            if error.status != 409:
                raise _failed(error) from None

    async def send(
        self, token: str, text: str, *, broadcaster_id: str, sender_id: str, reply_to: str
    ) -> Sent:
        """Write a message of at most 500 characters."""
        told = await self._ask(
            self._http.post_chat_message(
                broadcaster_id, sender_id, text, token, reply_to_message_id=reply_to or None
            )
        )
        try:
            data = told["data"][0]
            why = data.get("drop_reason") or {}
            if isinstance(why, list):  # seen in the reference's own example
                why = why[0] if why else {}
            return Sent(
                message_id=str(data.get("message_id") or ""),
                is_sent=data["is_sent"] is True,
                code=str(why.get("code") or "")[:100],
                reason=redact(str(why.get("message") or ""), limit=300),
            )
        except (KeyError, IndexError, TypeError, AttributeError):
            raise _malformed("what became of the message") from None

    async def _ask(self, request: Any, *, oauth: bool = False, keeps_refusal: bool = False) -> Any:
        """Send a request; every failure as ours. Nothing of twitchio's is chained: it may hold a token."""
        who = provider("TWITCH_OAUTH_URL" if oauth else "TWITCH_HELIX_URL")
        try:
            return await request
        except _Refused as error:
            if keeps_refusal:
                raise
            raise _failed(error) from None
        except HTTPException:
            raise _malformed("its answer") from None
        except TimeoutError:
            raise stalled(who, f"no answer for {self._waits.answer_s:.3g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            url = self._addresses.oauth if oauth else self._addresses.helix
            raise unreachable(who, url, type(error).__name__) from None
        except (KeyError, TypeError, AttributeError):
            raise _malformed("its answer") from None


async def make_api(addresses: Addresses, application: Application, waits: Waits) -> TwitchApi:
    """The API; certificates are read in a thread."""
    is_secure = any(url.startswith("https:") for url in (addresses.helix, addresses.oauth))
    tls = await asyncio.to_thread(ssl_context) if is_secure else True
    return TwitchApi(addresses, application, waits, tls)


def _first(told: Any) -> Mapping[str, Any]:
    """The first of what a list holds; nothing where there is none."""
    data = told.get("data") if isinstance(told, dict) else None
    if not isinstance(data, list):
        raise _malformed("the stream")
    return data[0] if data and isinstance(data[0], dict) else {}


def _granted(told: Any, refresh: str = "") -> Granted:
    try:
        access = str(told["access_token"])
        if not access:
            raise ValueError("empty")
        seconds = _number(told.get("expires_in", 0))
        return Granted(access, str(told.get("refresh_token") or refresh), seconds)
    except (KeyError, TypeError, ValueError):
        raise _malformed("the token") from None


def _page(value: object) -> str:
    """An address that a browser may be sent to."""
    url = str(value)[:500]
    if urlsplit(url).scheme not in ("https", "http") or not urlsplit(url).hostname:
        raise ValueError("no page")
    return url


def _number(value: object) -> float:
    number = float(str(value))
    if not 0 <= number < 1e9:
        raise ValueError("out of range")
    return number


def _said_in(content: bytes) -> str:
    try:
        told = orjson.loads(content)
    except orjson.JSONDecodeError:
        return ""
    said = told.get("message") if isinstance(told, dict) else None
    return said[:300] if isinstance(said, str) else ""


def _wait_s(headers: Mapping[str, str]) -> float | None:
    """How long Twitch asks to wait. It names a moment: where the two clocks differ too much, half a minute is taken."""
    written = headers.get("Ratelimit-Reset", "").strip()[:12]
    if not (written.isascii() and written.isdigit()):
        return None
    wait_s = int(written) - clock.now().timestamp()
    return max(0.5, wait_s) if -SKEW_S <= wait_s <= LONGEST_WAIT_S else 30.0


def _failed(error: _Refused) -> ProviderError:
    said = redact(error.said, limit=200)
    kind: ProviderFailure = kind_of(error.status, said)
    do = {
        "key": "Log in again, or with an account that may.",
        "rate": "Too much was asked in a short time; it is tried again later.",
        "server": "Twitch has trouble; it is tried again.",
        "malformed": "Check TWITCH_HELIX_URL and TWITCH_OAUTH_URL.",
    }.get(kind, "")
    return ProviderError(
        f"Twitch answered {error.status}{f' (“{said}”)' if said else ''}. {do}".strip(),
        kind=kind,
        provider="twitch",
        retry_after_s=error.wait_s,
    )


def _malformed(what: str) -> ProviderError:
    return ProviderError(
        f"Twitch sent {what} in a form that cannot be read.", kind="malformed", provider="twitch"
    )
