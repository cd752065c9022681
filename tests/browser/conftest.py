"""A real Chromium on the pages of a real backend; every file here is `slow`.

Tests are plain functions: Playwright's synchronous interface keeps a loop of its own in the thread that pytest-asyncio
would use. What goes wrong on a page fails its test: an uncaught error, an error on the console, a request that leaves the
backend's address. A test that provokes such a thing says so with `allow`.
"""

from __future__ import annotations

import re
import shutil
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    Request,
    sync_playwright,
)

from tests.integration.conftest import Served, serve

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--enable-unsafe-swiftshader",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")
HERE = Path(__file__).parent
SIZE = (800, 900)


def chromium() -> str | None:
    """Where Chromium is, None when there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is here as slow, and skip it where there is no Chromium."""
    there = chromium() is not None
    reason = f"no Chromium on PATH as {', '.join(NAMES)}: sudo apt install chromium"
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.slow)
            if not there:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One Chromium for all files here."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        yield found
        found.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One backend for a file of tests; a file that needs other settings has a fixture of this name of its own."""
    yield from serve(tmp_path_factory.mktemp("luma"))


class Tab:
    """A page and what went wrong on it.

    Attributes:
        page: Playwright's page.
        served: The backend it belongs to.
        problems: Errors of the page and on its console, and requests to elsewhere.
        lines: All lines of the console.
    """

    def __init__(self, context: BrowserContext, served: Served) -> None:
        self.context = context
        self.served = served
        self.problems: list[str] = []
        self.lines: list[str] = []
        self._allowed: list[re.Pattern[str]] = []
        self.page = context.new_page()
        self.page.on("pageerror", self._page_error)
        self.page.on("console", self._console)
        context.on("request", self._request)

    def open(self, path: str, *, token: str | None = None) -> Page:
        """Open an overlay page with the overlay token, or the one given."""
        joint = "&" if "?" in path else "?"
        value = self.served.overlay_token if token is None else token
        self.page.goto(f"{self.served.url}{path}{joint}token={value}")
        return self.page

    def log_in(self, path: str) -> Page:
        """Open a page as the window does: by a one-time link that makes a session."""
        code = self.served.app.state.backend.access.login_code(path)
        self.page.goto(f"{self.served.url}/login?code={code}")
        return self.page

    def connected(self) -> None:
        """Wait until the page's connection stands (`data-state` of its root element)."""
        self.page.locator("html[data-state=open]").wait_for(state="attached")

    def until(self, script: str, argument: object = None, *, timeout_s: float = 30.0) -> Any:
        """Wait until an expression or function is true on the page, and return what it gives.

        Playwright's own `wait_for_function` needs eval, which the pages' content policy forbids.
        """
        ends_s = time.monotonic() + timeout_s
        while not (found := self.page.evaluate(script, argument)):
            assert time.monotonic() < ends_s, f"never true: {script}"
            self.page.wait_for_timeout(15)
        return found

    def allow(self, pattern: str) -> None:
        """Expect a problem: a regular expression that its text matches."""
        self._allowed.append(re.compile(pattern))

    def check(self) -> None:
        """Fail when something went wrong that nobody expected."""
        found = [
            text
            for text in self.problems
            if not any(pattern.search(text) for pattern in self._allowed)
        ]
        assert not found, "\n".join(found)

    def _page_error(self, error: Error) -> None:
        self.problems.append(f"uncaught: {error.message}\n{error.stack or ''}")

    def _console(self, message: ConsoleMessage) -> None:
        self.lines.append(f"{message.type}: {message.text}")
        if message.type == "error":
            where = message.location
            self.problems.append(f"console: {message.text} ({where['url']}:{where['lineNumber']})")

    def _request(self, request: Request) -> None:
        address = urllib.parse.urlsplit(request.url)
        if address.scheme in ("data", "blob"):
            return
        if f"http://{address.netloc}" != self.served.url.lower():
            self.problems.append(f"a request left the backend: {request.url}")


@pytest.fixture
def new_tab(browser: Browser, served: Served) -> Iterator[Callable[..., Tab]]:
    """Opens tabs, each with cookies of its own, on this file's backend or another (``served``).

    Options are those of a browser's context (`color_scheme="dark"` …).
    """
    tabs: list[Tab] = []

    def make(served: Served = served, **options: object) -> Tab:
        options.setdefault("viewport", {"width": SIZE[0], "height": SIZE[1]})
        context = browser.new_context(**options)  # type: ignore[arg-type]  # whatever it takes
        context.set_default_timeout(15_000)
        tab = Tab(context, served)
        tabs.append(tab)
        return tab

    yield make
    try:
        for tab in tabs:
            tab.check()
    finally:
        for tab in tabs:
            tab.context.close()


@pytest.fixture
def tab(new_tab: Callable[..., Tab]) -> Tab:
    """One tab."""
    return new_tab()
