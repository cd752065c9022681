"""Whose a wish for the avatar is: the guard and a header say so, no body does; and a release ends what the owners named wanted."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.integration.conftest import Served


@pytest.fixture
def api(served: Served) -> Iterator[httpx.Client]:
    with served.client() as client:
        client.post("/api/avatar/release")
        yield client
        client.post("/api/avatar/release")


@pytest.mark.parametrize(
    ("headers", "owner"),
    [
        ({}, "api"),
        ({"X-Luma-Client": "window"}, "window"),
        ({"X-Luma-Client": "panic"}, "api"),
        ({"X-Luma-Client": "Window, panic"}, "api"),
    ],
)
def test_the_timeline_tells_the_window_from_a_script(
    api: httpx.Client, headers: dict[str, str], owner: str
) -> None:
    shown = api.post("/api/expression", json={"expression_id": "joy"}, headers=headers).json()
    assert shown["owner"] == owner
    shown = api.post("/api/motion", json={"motion": "wave"}, headers=headers).json()
    assert shown["motion"]["owner"] == owner
    said = api.post("/api/expression", json={"expression_id": "joy", "owner": "chat"})
    assert said.status_code == 422


def test_a_browsers_wish_is_the_pages_whatever_it_calls_itself(
    api: httpx.Client, served: Served
) -> None:
    link = api.post("/api/login-link", json={"page": "/webui/control"}).json()["url"]
    with httpx.Client(base_url=served.url) as browser:
        browser.get(link)
        shown = browser.post(
            "/api/expression",
            json={"expression_id": "joy"},
            headers={"Origin": served.url, "X-Luma-Page": "1", "X-Luma-Client": "window"},
        ).json()
    assert shown["owner"] == "page"


def test_release_ends_what_several_owners_asked_for_and_leaves_the_rest(api: httpx.Client) -> None:
    window = {"X-Luma-Client": "window"}
    api.post("/api/expression", json={"expression_id": "sad"})
    api.post("/api/expression", json={"expression_id": "joy"}, headers=window)
    api.post("/api/motion", json={"motion": "dance", "loop": True}, headers=window)
    shown = api.post("/api/avatar/release", json={"owner": ["window", "page"]}).json()
    assert (shown["expression"], shown["owner"], shown["motion"]) == ("sad", "api", None)
    for wrong in ([], ["x" * 65], ["a"] * 17, {"owner": "api"}):
        assert api.post("/api/avatar/release", json={"owner": wrong}).status_code == 422
