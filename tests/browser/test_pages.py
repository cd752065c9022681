"""Pages and their files: who may load them, and that a page connects with what its address holds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.conftest import Tab
from tests.integration.conftest import Served


@pytest.mark.parametrize("path", ["/overlay", "/captions"])
def test_an_overlay_page_connects_with_the_token_in_its_address(tab: Tab, path: str) -> None:
    tab.open(path)
    tab.connected()


@pytest.mark.parametrize("path", ["/overlay", "/captions"])
def test_an_overlay_page_opens_with_a_session_too(tab: Tab, path: str) -> None:
    tab.log_in(path)
    tab.connected()


def test_the_overlay_cookie_reads_the_pages_parts_and_nothing_else(
    tab: Tab, served: Served
) -> None:
    page = tab.open("/overlay")
    tab.connected()
    tab.allow("401")
    asked = (
        """async (paths) => Promise.all(paths.map(async (path) => (await fetch(path)).status))"""
    )
    parts = ["/web/luma.js", "/overlay", "/captions"]
    assert page.evaluate(asked, parts) == [200, 200, 200]
    assert page.evaluate(asked, ["/api/status", "/api/events", "/api/overlay-token"]) == [401] * 3
    posted = "async () => (await fetch('/api/chat', {method: 'POST', body: '{}'})).status"
    assert page.evaluate(posted) == 401


def test_a_page_is_transparent(tab: Tab) -> None:
    page = tab.open("/captions")
    tab.connected()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgba(0, 0, 0, 0)"


def test_two_tabs_do_not_share_cookies(new_tab: Callable[..., Tab]) -> None:
    new_tab().open("/overlay")
    other = new_tab()
    other.allow("401")
    answer = other.page.goto(f"{other.served.url}/web/luma.js")
    assert answer is not None
    assert answer.status == 401
