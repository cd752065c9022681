"""Answers of Twitch's HTTP side that are none: whatever comes, it is a failure in words or a sane value."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from backend.clients.twitch import Addresses, Application, Waits
from backend.clients.twitch_api import TwitchApi, make_api
from backend.contracts.errors import ProviderError
from tests.servers.twitch import PUBLIC_CLIENT, TwitchServer

pytestmark = pytest.mark.slow  # requests to a local server

Asks = Callable[[TwitchApi], Awaitable[object]]

ASKED: dict[str, tuple[str, Asks]] = {
    "device": ("POST /oauth2/device", lambda api: api.device_code(("user:read:chat",))),
    "token": ("POST /oauth2/token", lambda api: api.device_token("code", ("user:read:chat",))),
    "refresh": ("POST /oauth2/token", lambda api: api.refresh("refresh-secret-1")),
    "validate": ("GET /oauth2/validate", lambda api: api.validate("access-secret-1")),
    "account": ("GET /helix/users", lambda api: api.account("access-secret-1", "kira")),
    "send": (
        "POST /helix/chat/messages",
        lambda api: api.send(
            "access-secret-1", "hi", broadcaster_id="1", sender_id="1", reply_to=""
        ),
    ),
}
NONSENSE: list[Any] = [
    None, True, 7, "text", [], [[]], {}, {"data": None}, {"data": 5}, {"data": "x"}, {"data": [None]}, {"data": ["x"]}, {"data": [{}]},
    {"data": [{"login": None}]}, {"data": [{"is_sent": 1, "drop_reason": "x"}]}, {"access_token": []}, {"access_token": ""},
    {"access_token": "a", "expires_in": "soon"}, {"access_token": "a", "expires_in": 1e99}, {"user_id": [], "login": {}},
    {"user_id": "1", "login": "k", "client_id": "c", "expires_in": -1}, {"user_id": "1", "login": "k", "client_id": "c", "scopes": 5},
    {"device_code": "d", "user_code": "u", "verification_uri": "https://x/", "expires_in": None},
]  # fmt: skip


@pytest.fixture
async def server() -> AsyncIterator[TwitchServer]:
    async with TwitchServer() as made:
        yield made


@pytest.fixture
async def api(server: TwitchServer) -> AsyncIterator[TwitchApi]:
    found = server.settings
    made = await make_api(
        Addresses(found["twitch_helix_url"], found["twitch_oauth_url"]),
        Application(PUBLIC_CLIENT),
        Waits(connect_s=1.0, answer_s=2.0),
    )
    yield made
    await made.close()


@pytest.mark.parametrize("what", ASKED)
async def test_nonsense_is_a_failure_in_words_and_names_no_token(
    server: TwitchServer, api: TwitchApi, what: str
) -> None:
    path, asks = ASKED[what]
    for body in NONSENSE:
        for status in (200, 401, 500):
            server.fail(path, status, body=body)
            try:
                told = repr(await asks(api))
            except ProviderError as error:
                told = f"{error} {error.__cause__!r}"
            assert "secret" not in told


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "file:///etc/passwd", "ms-settings:", "//x", "", "https:"]
)
async def test_a_page_to_log_in_at_is_a_page(
    server: TwitchServer, api: TwitchApi, url: str
) -> None:
    answer = {
        "device_code": "d",
        "user_code": "ABCDEFGH",
        "verification_uri": url,
        "expires_in": 1800,
        "interval": 5,
    }
    server.fail("POST /oauth2/device", 200, body=answer)
    with pytest.raises(ProviderError, match="the code for the login"):
        await api.device_code(("user:read:chat",))


async def test_names_are_cut(server: TwitchServer, api: TwitchApi) -> None:
    long = "k" * 100_000
    server.fail(
        "GET /oauth2/validate",
        200,
        body={"user_id": long, "login": long, "client_id": "c", "expires_in": 1, "scopes": []},
    )
    found = await api.validate("a")
    assert found is not None
    assert (len(found.user_id), len(found.login)) == (128, 100)
    server.fail(
        "GET /helix/users", 200, body={"data": [{"login": "k", "id": long, "display_name": long}]}
    )
    account = await api.account("a", "k")
    assert account is not None
    assert (len(account.id), len(account.name)) == (128, 100)
