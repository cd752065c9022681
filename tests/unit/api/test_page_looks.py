"""What the operator's pages promise without a browser: colours that can be read, limits that are the backend's, no script inside."""

from __future__ import annotations

import re

import pytest

from backend.api.pages import WEB
from backend.chat.conversations import LONGEST_MESSAGE_CHARS

SHEET = (WEB / "webui.css").read_text("utf-8")
PAGES = sorted(path for path in WEB.glob("*.html"))

PAIRS = [
    *(
        (text, ground, 4.5)
        for ground in ("bg", "surface", "rail", "raised", "hover")
        for text in ("text", "text-2")
    ),
    *(("text-3", ground, 4.5) for ground in ("bg", "surface", "rail")),
    ("text-2", "selected", 4.5),
    ("accent", "bg", 4.5),
    ("accent", "surface", 4.5),
    ("accent", "accent-soft", 4.5),
    ("on-accent", "accent", 4.5),
    ("on-panic", "panic", 4.5),
    *((state, f"{state}-soft", 4.5) for state in ("ok", "warn", "error", "emotion")),
    *((stage, "surface", 3.0) for stage in ("wait", "stt", "prompt", "llm", "tts", "playback")),
]


def tokens(*, dark: bool) -> dict[str, str]:
    """The colours of one scheme; what the dark one does not name is the light one's."""
    light, rest = SHEET.split("@media (prefers-color-scheme: dark)", 1)
    found = dict(re.findall(r"--([\w-]+): (#[0-9A-F]{6})", light))
    if dark:
        found |= dict(re.findall(r"--([\w-]+): (#[0-9A-F]{6})", rest.split("*, *::before")[0]))
    return found


def luminance(colour: str) -> float:
    """Source: WCAG 2.2, relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground", "least"), PAIRS, ids=lambda value: str(value))
def test_every_colour_can_be_read_on_its_ground(
    text: str, ground: str, least: float, dark: bool
) -> None:
    colours = tokens(dark=dark)
    assert contrast(colours[text], colours[ground]) >= least, (colours[text], colours[ground])


def test_the_pages_know_how_long_a_message_may_be() -> None:
    script = (WEB / "chat.js").read_text("utf-8")
    assert f"const MOST_CHARS = {LONGEST_MESSAGE_CHARS};" in script


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_has_a_script_or_a_handler_inside(page: object) -> None:
    text = (WEB / getattr(page, "name", "")).read_text("utf-8")
    assert not re.search(r"<script(?![^>]*\ssrc=\"/)", text)
    assert not re.search(r"\son\w+\s*=", text)
    assert not re.search(r"(?:src|href)=\"(?!/|#|data:,)", text), "nothing comes from elsewhere"


@pytest.mark.parametrize(
    "name",
    [path.name for path in sorted(WEB.glob("c*.js")) if path.name.startswith(("chat", "control"))]
    + ["webui.js"],
)
def test_no_text_becomes_markup(name: str) -> None:
    script = (WEB / name).read_text("utf-8")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", script
    )
