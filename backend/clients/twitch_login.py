"""The login at Twitch: by a code that a person types on Twitch's page, or by tokens of the settings; kept, renewed, validated.

What Twitch gives to an application without a secret can be renewed once each time, so what came last is kept before anything else is
done with it, and one renewal is never cut short. Nothing of a token leaves through a state, an event or an error.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from backend.clients.twitch import Access, Application, DeviceCode, Granted
from backend.contracts.errors import AppError, InvalidInputError, ProviderError
from backend.contracts.twitch import TwitchLogin
from backend.core import clock
from backend.core.logs import REDACTOR
from backend.core.workers import run_in_thread

if TYPE_CHECKING:
    from backend.clients.twitch_api import TwitchApi

logger = logging.getLogger(__name__)

KEPT = "twitch_login"
READ = "user:read:chat"
WRITE = "user:write:chat"
SCOPES: dict[str, str] = {
    READ: "reading the chat",
    WRITE: "writing replies",
    "moderator:read:followers": "seeing who follows",
    "channel:read:redemptions": "seeing channel points",
}
"""What is asked for, and what needs it."""

CHECK_S = 3600.0
"""Twitch wants a token to be validated hourly."""
EARLY_S = 300.0
"""A token is renewed when it is good for no longer than this."""
SOON_S = 1.0
"""Shortest pause between two checks."""
AGAIN_S = 60.0
"""Pause after a check that Twitch did not answer."""
ENDLESS_S = 10 * 365 * 86_400.0
"""How long a token is good for of which Twitch says 0: it does not end."""
FORESEEN_S = 86_400.0
"""From when on the end of a login that cannot be renewed is said."""

NOBODY = (
    "Nobody has logged in; the chat is read without a login, and replies cannot be written there."
)
OVER = "The Twitch login has ended and cannot be renewed. Log in again."
NO_APPLICATION = (
    "TWITCH_CLIENT_ID is not set. Make an application at https://dev.twitch.tv/console (type: public), and enter its client id in"
    " Settings; or set TWITCH_OAUTH_TOKEN."
)


class TokenStore(Protocol):
    """Where secrets are kept; blocking. `config_secrets.SecretStore` is one."""

    def load(self) -> tuple[dict[str, str], tuple[str, ...]]:
        """Every secret by name, and what is to be said of those that could not be read."""
        ...

    def save(self, name: str, value: str) -> str:
        """Keep one, or forget it when it is empty; says where."""
        ...


@dataclass(frozen=True, slots=True)
class Given:
    """What the settings say."""

    application: Application = field(default_factory=Application)
    access: str = field(default="", repr=False)
    refresh: str = field(default="", repr=False)

    @property
    def mark(self) -> str:
        """Changes with the tokens and tells nothing of them; empty when there are none."""
        if not (self.access or self.refresh):
            return ""
        return hashlib.sha256(f"{self.access}\n{self.refresh}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class _Tokens:
    """The login as it is kept.

    Attributes:
        beside: Mark of the settings' tokens when it was kept: when those change, they count.
    """

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    client_id: str
    beside: str


async def _changes(event: asyncio.Event, wait_s: float) -> bool:
    """Wait for it no longer than this; whether it came."""
    with suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            await event.wait()
    return event.is_set()


class LoginOverError(AppError):
    """The login is good no more, and cannot be renewed."""

    code = "twitch.login_over"
    status = 409


class Login:
    """The login of this Luma. Belongs to the backend's loop.

    Args:
        api: The HTTP side, made when it is first needed.
        store: Where tokens are kept.
        given: What the settings say.
        on_change: Told of every new state.
        early_s: How long before its end a token is renewed.
        now_s: Seconds that only grow.
        changes: Waits for an event, or so many seconds.
    """

    def __init__(
        self,
        api: Callable[[], Awaitable[TwitchApi]],
        store: TokenStore,
        given: Given,
        on_change: Callable[[TwitchLogin], None] = lambda state: None,
        *,
        early_s: float = EARLY_S,
        now_s: Callable[[], float] = clock.monotonic_s,
        changes: Callable[[asyncio.Event, float], Awaitable[bool]] = _changes,
    ) -> None:
        self._api = api
        self._store = store
        self._given = given
        self._on_change = on_change
        self._early_s = early_s
        self._now_s = now_s
        self._changes = changes
        self._tokens: _Tokens | None = None
        self._is_loaded = False
        self._access: Access | None = None
        self._ends_s = 0.0
        self._checked_s = 0.0
        self._state = TwitchLogin(detail=NOBODY)
        self._changed = asyncio.Event()
        self._busy: asyncio.Task[Access] | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def state(self) -> TwitchLogin:
        """How it is."""
        return self._state

    @property
    def left_s(self) -> float:
        """How long the token is good for, as far as we know; 0 without one."""
        return max(0.0, self._ends_s - self._now_s()) if self._access else 0.0

    async def close(self) -> None:
        """End what is under way; a renewal is waited for, or its token would be lost."""
        self.cancel()
        busy = self._busy
        if busy is not None:
            with suppress(AppError, TimeoutError):
                async with asyncio.timeout(1.5):
                    await asyncio.shield(busy)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def use(self, given: Given) -> bool:
        """Take what the settings say now; whether another login counts than before."""
        before, self._given = self._given, given
        if before == given:
            return False
        if before.mark != given.mark or before.application != given.application:
            self._is_loaded = False
            self._forget()
            return True
        return False

    async def is_there(self) -> bool:
        """Whether somebody has logged in, as far as we know without asking Twitch."""
        await self._load()
        return self._tokens is not None

    # --- tokens ---

    async def access(self) -> Access:
        """A token that is good: validated within the last hour, renewed in time.

        Raises:
            LoginOverError: There is none, or it cannot be renewed.
            ProviderError: Twitch cannot be asked.
        """
        known = self._access
        now_s = self._now_s()
        if known is not None and now_s - self._checked_s < CHECK_S and not self._is_late(now_s):
            return known
        return await self._one_at_a_time(self._check)

    async def renewed(self, refused: str) -> Access:
        """A token in place of one that Twitch has refused.

        Raises:
            LoginOverError, ProviderError: As for `access`.
        """
        known = self._access
        if known is not None and known.token != refused:
            return known
        return await self._one_at_a_time(self._renew)

    async def take(self, token: str) -> Access:
        """Log in with a token that somebody brings, and keep it when it is good.

        Raises:
            InvalidInputError: It is not.
            ProviderError: Twitch cannot be asked.
        """
        token = token.strip().removeprefix("oauth:").strip()
        if not (0 < len(token) <= 500 and token.isascii() and token.isprintable()):
            raise InvalidInputError("This is no token of Twitch.")
        REDACTOR.add(token)
        await self._load()
        if self._tokens is not None and self._tokens.access == token:
            return await self.access()
        if await (await self._api()).validate(token) is None:
            raise InvalidInputError(
                "Twitch does not know this token, or it has expired. Log in again, or bring a new one."
            )
        self.cancel()
        await self._keep(_Tokens(token, "", "", self._given.mark))
        return await self._one_at_a_time(self._check)

    async def watch(self) -> None:
        """Validate and renew for ever, and say when the end is near. A task of whoever uses the login."""
        await self._load()
        while True:
            self._changed.clear()
            if await self._changes(self._changed, self._next_check_s()):
                continue  # another login, another wait
            while self._tokens is not None:
                try:
                    await self._one_at_a_time(self._check)
                    break
                except LoginOverError as error:
                    logger.warning("twitch: %s", error.message)
                    break
                except AppError as error:
                    logger.info("twitch: the login could not be checked: %s", error.message)
                    self._changed.clear()
                    await self._changes(self._changed, AGAIN_S)

    def _next_check_s(self) -> float:
        """Until Twitch is asked again: after an hour, before a token ends that can be renewed, when another one does."""
        if self._access is None:
            is_unknown = self._tokens is not None and self._state.state != "over"
            return 0.0 if is_unknown else CHECK_S
        now_s = self._now_s()
        # Twitch tells whole seconds, and 0 of what does not end: the last one is waited for.
        can = self._tokens is not None and bool(self._tokens.refresh)
        ends_s = self._ends_s - self._early_s if can else self._ends_s + 1
        return max(SOON_S, min(self._checked_s + CHECK_S, ends_s) - now_s)

    async def recheck(self) -> None:
        """Ask Twitch at once whether the login is good still."""
        with suppress(AppError):
            await self._one_at_a_time(self._check)

    async def _one_at_a_time(self, work: Callable[[], Coroutine[Any, Any, Access]]) -> Access:
        """Do it, or wait for who does it already; who waits may be cancelled, the work is not."""
        while self._busy is not None and not self._busy.done():
            await asyncio.wait((self._busy,))
            if not self._busy.cancelled() and self._busy.exception() is None:
                return self._busy.result()
        self._busy = self._spawn(work(), "twitch login")
        return await asyncio.shield(self._busy)

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            level = logging.DEBUG if isinstance(error, AppError) else logging.ERROR
            logger.log(level, "twitch: %s: %s", task.get_name(), type(error).__name__)

    def _is_late(self, now_s: float) -> bool:
        can = self._tokens is not None and bool(self._tokens.refresh)
        return self._ends_s - now_s <= (self._early_s if can else 0.0)

    async def _check(self) -> Access:
        await self._load()
        tokens = self._tokens
        if tokens is None:
            raise LoginOverError(NOBODY)
        if not tokens.access:
            return await self._renew()
        found = await (await self._api()).validate(tokens.access)
        if not self._counts(tokens):
            return await self._check()
        if found is None:
            return await self._renew()
        now_s = self._now_s()
        self._checked_s = now_s
        # 0 is what Twitch says of tokens that do not end.
        self._ends_s = now_s + (found.seconds or ENDLESS_S)
        if self._is_late(now_s) and tokens.refresh:
            return await self._renew()
        self._access = Access(
            tokens.access, found.user_id, found.login, found.client_id, found.scopes
        )
        self._tell_in(self._access)
        return self._access

    async def _renew(self) -> Access:
        await self._load()
        tokens = self._tokens
        if tokens is None or not tokens.refresh:
            raise self._over()
        try:
            granted = await (await self._api()).refresh(tokens.refresh)
        except ProviderError as error:
            if error.kind == "key" and self._counts(tokens):
                raise self._over() from None
            raise
        if not self._counts(tokens):
            for secret in (granted.access, granted.refresh):
                REDACTOR.add(secret)
            return await self._check()
        tokens = _Tokens(granted.access, granted.refresh, tokens.client_id, tokens.beside)
        await self._keep(tokens)
        found = await (await self._api()).validate(granted.access)
        if not self._counts(tokens):
            return await self._check()
        if found is None:
            raise self._over()
        now_s = self._now_s()
        self._checked_s, self._ends_s = (
            now_s,
            now_s + (granted.seconds or found.seconds or ENDLESS_S),
        )
        self._access = Access(
            granted.access, found.user_id, found.login, found.client_id, found.scopes
        )
        logger.info("twitch: the login of %s was renewed", found.login)
        self._tell_in(self._access)
        return self._access

    def _counts(self, tokens: _Tokens) -> bool:
        """Whether nobody has logged in or out, and no other token was set, since these were looked at."""
        return self._tokens == tokens and tokens.beside == self._given.mark

    def _over(self) -> LoginOverError:
        self._access = None
        if self._state.state != "waiting":
            detail = OVER if self._tokens is not None else NOBODY
            self._tell(TwitchLogin(state="over", user=self._state.user, detail=detail))
        return LoginOverError(OVER)

    # --- logging in ---

    async def begin(self) -> TwitchLogin:
        """Ask Twitch for a code; the state holds it, and where to type it. What is begun again counts.

        Raises:
            InvalidInputError: There is no application to log in to.
            ProviderError: Twitch cannot be asked, or does not know the application.
        """
        self.cancel()
        if not self._given.application.client_id:
            raise InvalidInputError(NO_APPLICATION)
        try:
            device = await (await self._api()).device_code(tuple(SCOPES))
        except ProviderError as error:
            if error.kind in ("request", "key"):
                raise InvalidInputError(
                    f"{error.message} Check TWITCH_CLIENT_ID: it is the id of an application of the type public."
                ) from None
            raise
        self.cancel()  # two that were begun at once: the later one counts
        self._tell(
            TwitchLogin(
                state="waiting",
                user=self._state.user,
                detail=f"Open {device.url} and type {device.user_code}.",
                code=device.user_code,
                url=device.url,
                code_ends_at=clock.now() + timedelta(seconds=device.seconds),
            )
        )
        self._waiting = self._spawn(self._wait(device), "twitch login waits")
        return self._state

    def cancel(self) -> None:
        """Wait no longer for somebody to type the code."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.cancel()
            if self._state.state == "waiting":
                self._tell_what_is()

    async def forget(self) -> TwitchLogin:
        """Log out: the token is made worthless at Twitch where it can be reached, and kept no more."""
        self.cancel()
        await self._load()
        tokens, self._tokens = self._tokens, None
        self._forget()
        await run_in_thread(self._store.save, KEPT, self._gone())
        if tokens is not None and tokens.access and tokens.access != self._given.access:
            try:
                await (await self._api()).revoke(tokens.access)
            except AppError as error:
                logger.info("twitch: the token could not be revoked: %s", error.message)
        self._tell_what_is()
        return self._state

    def _gone(self) -> str:
        """What is kept of a login that was forgotten: that the settings' tokens, if there are any, were too."""
        mark = self._given.mark
        return orjson.dumps({"beside": mark, "forgotten": True}).decode() if mark else ""

    async def _wait(self, device: DeviceCode) -> None:
        ends_s = self._now_s() + device.seconds
        interval_s = device.interval_s
        while self._now_s() < ends_s:
            await asyncio.sleep(interval_s)
            try:
                granted = await (await self._api()).device_token(device.device_code, tuple(SCOPES))
            except ProviderError as error:
                if error.kind == "key":
                    self._tell(TwitchLogin(state="failed", detail=error.message))
                    return
                if error.kind == "rate":
                    interval_s = min(30.0, interval_s * 2)
                continue  # Twitch or the network has trouble: the code is good for half an hour
            if granted is not None:
                await self._logged_in(granted)
                return
        self._tell(
            TwitchLogin(
                state="failed", detail="Nobody typed the code in time. Begin the login again."
            )
        )

    async def _logged_in(self, granted: Granted) -> None:
        client_id = self._given.application.client_id
        kept = _Tokens(granted.access, granted.refresh, client_id, self._given.mark)
        self._waiting = None  # nothing takes back what follows
        await self._keep(kept)
        try:
            await self._one_at_a_time(self._check)
        except AppError as error:
            self._tell(TwitchLogin(state="failed", detail=error.message))

    # --- what is kept ---

    async def _load(self) -> None:
        if self._is_loaded:
            return
        values, notices = await run_in_thread(self._store.load)
        for notice in notices:
            logger.warning("twitch: %s", notice)
        if self._is_loaded:
            return
        self._is_loaded = True
        mark = self._given.mark
        kept = _kept(values.get(KEPT, ""))
        if kept is not None and kept.get("beside", "") == mark:
            self._tokens = None
            if not kept.get("forgotten"):
                access, refresh = str(kept.get("access", "")), str(kept.get("refresh", ""))
                self._tokens = _Tokens(access, refresh, str(kept.get("client_id", "")), mark)
        elif mark:
            given = self._given
            access = given.access.removeprefix("oauth:")
            self._tokens = _Tokens(access, given.refresh, given.application.client_id, mark)
        else:
            self._tokens = None
        if self._tokens is not None:
            for secret in (self._tokens.access, self._tokens.refresh):
                REDACTOR.add(secret)
        self._tell_what_is()

    async def _keep(self, tokens: _Tokens) -> None:
        for secret in (tokens.access, tokens.refresh):
            REDACTOR.add(secret)
        self._forget()
        self._tokens = tokens
        self._is_loaded = True
        kept = {
            "access": tokens.access,
            "refresh": tokens.refresh,
            "client_id": tokens.client_id,
            "beside": tokens.beside,
        }
        try:
            await run_in_thread(self._store.save, KEPT, orjson.dumps(kept).decode())
        except OSError as error:
            logger.error("twitch: the login could not be kept: %s", error.strerror)

    def _forget(self) -> None:
        self._access = None
        self._ends_s = self._checked_s = 0.0

    # --- telling ---

    def _tell_in(self, access: Access) -> None:
        can_renew = self._tokens is not None and bool(self._tokens.refresh)
        left_s = self.left_s
        expires_at: datetime | None = None
        if left_s < 365 * 86_400:
            # Whole minutes, or every check would tell a change.
            expires_at = (clock.now() + timedelta(seconds=left_s)).replace(second=0, microsecond=0)
        missing = tuple(scope for scope in SCOPES if scope not in access.scopes)
        said = [f"Logged in as {access.login}."]
        if expires_at is not None and not can_renew:
            said.append(f"The login ends at {expires_at:%Y-%m-%d %H:%M} UTC and cannot be renewed.")
            if left_s < FORESEEN_S:
                said.append("Log in again before.")
        if missing:
            lacks = ", ".join(f"{SCOPES[scope]} ({scope})" for scope in missing)
            said.append(f"Not permitted: {lacks}.")
        new = TwitchLogin(
            state="in",
            user=access.login,
            detail=" ".join(said),
            expires_at=expires_at,
            is_renewable=can_renew,
            missing=missing,
        )
        if self._waiting is None:
            self._tell(new)

    def _tell_what_is(self) -> None:
        if self._access is not None:
            self._tell_in(self._access)
        elif self._tokens is not None:
            self._tell(TwitchLogin(state="in", detail="Logged in; not checked yet."))
        else:
            self._tell(TwitchLogin(detail=NOBODY))

    def _tell(self, state: TwitchLogin) -> None:
        if state != self._state:
            self._state = state
            self._changed.set()
            self._on_change(state)


def _kept(written: str) -> dict[str, object] | None:
    if not written:
        return None
    try:
        found = orjson.loads(written)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
