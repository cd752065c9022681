"""The chat page: text as it is written and heard, stop, history, voice in, hostile texts, a restart, phones, keys."""

from __future__ import annotations

import asyncio
import math
import struct
import time
import wave
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import APIResponse, Browser, Locator, Page, Route

from backend.contracts.errors import ProviderError
from backend.engines.llm.base import Delta, Prompt
from backend.engines.llm.echo import Echo
from tests.browser.conftest import FLAGS, Tab, chromium
from tests.integration.conftest import Served, serve

LONG = "One two three four five six seven eight nine ten. " * 6
HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script><b>bold</b> &amp; "quoted"'


@pytest.fixture
def tab(new_tab: Callable[..., Tab]) -> Tab:
    """A tab as wide as a laptop: the list of conversations stands beside the messages."""
    return new_tab(viewport={"width": 1280, "height": 800})


def chat(tab: Tab) -> Page:
    """The chat page of a browser that was let in, up to date."""
    page = tab.log_in("/webui/chat")
    page.locator("html[data-ready]").wait_for(state="attached")
    return page


def own_conversation(tab: Tab) -> Page:
    """The same in a new conversation, which the page plays itself."""
    page = chat(tab)
    page.get_by_role("button", name="New").click()
    page.locator("#sound", has_text="Heard on this page").wait_for()
    return page


def write(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def wait_until(page: Page, is_so: Callable[[], object]) -> None:
    ends_s = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < ends_s, "that never came"
        page.wait_for_timeout(15)


def last_reply(page: Page) -> Locator:
    return page.locator(".turn").last.locator(".them .said")


def bright(page: Page) -> str:
    return " ".join(page.locator(".turn").last.locator(".bright").all_text_contents()).strip()


async def slow_echo(engine: Echo, prompt: Prompt) -> AsyncGenerator[Delta, None]:
    """A model that takes 60 ms for a word."""
    for word in prompt.messages[-1].text.split(" "):
        await asyncio.sleep(0.06)
        yield Delta(word + " ")


def test_a_message_is_answered_word_by_word_and_heard_in_order(
    tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Echo, "stream", slow_echo)
    page = own_conversation(tab)
    page.evaluate(
        """() => { window.seen = []; new MutationObserver(() => window.seen.push(document.querySelector(".them .said")?.textContent ?? ""))
             .observe(document.getElementById("turns"), {subtree: true, childList: true, characterData: true}); }"""
    )
    write(page, "Good evening to all of you. How are you today?")
    page.locator(".bright", has_text="Good").first.wait_for()
    assert page.locator(".dim", has_text="today?").count() == 1, "the rest is still to come"
    page.locator(".turn:not(.live) .foot button").first.wait_for()
    tab.until("() => [...document.querySelectorAll('.dim')].every((dim) => dim.textContent === '')")
    seen = page.evaluate("() => window.seen")
    whole = "Good evening to all of you. How are you today?"
    pieces = [text.strip() for text in seen if text.strip() not in ("", whole)]
    assert len(set(pieces)) >= 4, pieces
    assert all(whole.startswith(text) for text in pieces), pieces
    assert last_reply(page).inner_text() == whole
    assert "first audio" in page.locator(".figure").first.inner_text()
    assert page.locator("#spoken p").all_text_contents() == [
        "Good evening to all of you.",
        "How are you today?",
    ]


def hold(page: Page, what: str) -> list[tuple[Route, APIResponse]]:
    """Let answers to an address wait that the backend gave at once; the test hands them on."""
    held: list[tuple[Route, APIResponse]] = []
    page.route(what, lambda route: held.append((route, route.fetch())))
    return held


def hand_on(page: Page, held: list[tuple[Route, APIResponse]]) -> None:
    for route, response in held:
        route.fulfill(response=response)
    held.clear()
    page.unroute_all()


def test_a_message_written_while_the_history_is_read_is_answered_and_heard(
    tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Echo, "stream", slow_echo)
    page = chat(tab)
    held = hold(page, "**/api/conversations/*/history*")
    page.get_by_role("button", name="New").click()
    page.locator("#sound", has_text="Heard on this page").wait_for()
    wait_until(page, lambda: bool(held))
    question = "Who keeps the lantern on the hill when all the others have gone to bed?"
    write(page, question)
    with tab.served.client() as client:
        here = page.url.partition("#")[2]
        wait_until(page, lambda: client.get(f"/api/conversations/{here}/now").json()["turn_id"])
    hand_on(page, held)
    page.locator(".bright", has_text=question).wait_for()
    assert page.locator(".strip").count() == 0, "it was called lost"
    page.locator(".foot .figure", has_text="first audio").wait_for()


def test_a_new_conversation_that_comes_late_does_not_take_the_key_to_talk_away(
    speaking_tab: Tab,
) -> None:
    page = chat(speaking_tab)
    held = hold(page, "**/api/conversations")
    page.get_by_role("button", name="New").click()
    page.get_by_role("button", name="Hold to talk").focus()
    wait_until(page, lambda: bool(held))
    hand_on(page, held)
    page.locator("#sound", has_text="Heard on this page").wait_for()
    page.keyboard.down("Space")
    page.get_by_role("button", name="Listening").wait_for()
    page.wait_for_timeout(300)
    assert page.get_by_role("button", name="Listening").is_visible()
    page.keyboard.up("Space")


def test_what_was_said_is_there_after_a_reload_and_so_is_the_draft(tab: Tab) -> None:
    page = own_conversation(tab)
    write(page, "Remember the lantern.")
    page.locator(".conversation.here .title", has_text="Remember the lantern.").wait_for()
    page.get_by_role("textbox", name="Message", exact=True).fill("not sent yet")
    page.reload()
    page.locator("html[data-ready]").wait_for(state="attached")
    assert page.locator(".said").all_inner_texts() == ["Remember the lantern."] * 2
    assert page.locator(".conversation.here .title").inner_text() == "Remember the lantern."
    assert page.get_by_role("textbox", name="Message", exact=True).input_value() == "not sent yet"
    assert "code=" not in page.url
    assert "login" not in page.url


def test_escape_stops_the_voice_and_only_what_was_heard_stays_bright(tab: Tab) -> None:
    page = own_conversation(tab)
    write(page, LONG)
    page.locator(".bright", has_text="three").first.wait_for()
    page.keyboard.press("Escape")
    page.locator(".status", has_text="dim words were not heard").wait_for()
    heard = bright(page)
    page.wait_for_timeout(400)
    assert bright(page) == heard
    assert 0 < len(heard) < len(LONG) / 2
    assert page.get_by_role("button", name="Stop").is_disabled()


def test_on_stage_the_page_shows_what_is_heard_and_says_where(tab: Tab) -> None:
    page = chat(tab)
    assert page.locator("#sound").inner_text() == "Heard on the overlay"
    write(page, "This is heard on the stage. And this comes later, word by word.")
    page.locator(".status", has_text="speaking sentence 1").wait_for()
    assert page.locator(".dim", has_text="word by word").count() == 1
    page.get_by_role("button", name="Stop").click()
    page.locator(".status", has_text="stopped").wait_for()


def test_markup_stays_text_wherever_it_comes_from(tab: Tab, served: Served) -> None:
    tab.page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    with served.client() as client:
        made = client.post("/api/conversations", json={"title": HOSTILE}).json()
        said = {"message": HOSTILE, "author": HOSTILE, "conversation_id": made["id"]}
        client.post("/api/chat", json=said)
    page = chat(tab)
    page.locator(f".conversation[data-id='{made['id']}'] .open").click()
    page.locator(".turn .who", has_text="<img").wait_for()
    write(page, HOSTILE)
    page.locator(".turn:not(.live)").nth(1).locator(".foot button").first.wait_for()
    assert last_reply(page).inner_text().startswith("<img src=x")
    foreign = page.locator(
        ".turn b, .turn script, .turn img:not(.face), #side b, #side img, header b"
    )
    assert foreign.count() == 0
    assert page.evaluate("[...document.querySelectorAll('[onerror]')].length") == 0
    with served.client() as client:
        client.delete(f"/api/conversations/{made['id']}")


def test_a_message_that_is_too_long_is_told_and_kept(tab: Tab) -> None:
    page = chat(tab)
    page.get_by_role("textbox", name="Message", exact=True).fill("a" * 10_000)
    assert "2,000 too many" in page.locator("#count").inner_text()
    assert page.get_by_role("button", name="Send").is_disabled()
    page.get_by_role("textbox", name="Message", exact=True).fill("b" * 8000)
    assert page.get_by_role("button", name="Send").is_enabled()
    page.get_by_role("textbox", name="Message", exact=True).fill("")


def test_a_typed_command_is_done_and_noted_and_begins_no_turn(tab: Tab) -> None:
    page = chat(tab)
    before = page.locator(".turn").count()
    write(page, "!motion wave")
    page.get_by_text("Hoshi Kitsune plays wave.").first.wait_for()
    write(page, "!motion <b>moonwalk</b>")
    page.get_by_text("no motion '<b>moonwalk</b>'").first.wait_for()
    assert page.locator(".turn").count() == before


def test_a_conversation_is_renamed_and_deleted_with_time_to_undo(tab: Tab, served: Served) -> None:
    page = own_conversation(tab)
    row = page.locator(".conversation.here")
    row.get_by_title("Rename").click()
    page.get_by_role("textbox", name="Title").fill("Tea at five")
    page.keyboard.press("Enter")
    page.locator(".conversation.here .title", has_text="Tea at five").wait_for()
    page.locator(".conversation.here").get_by_title("Delete").click()
    page.get_by_role("button", name="Undo").click()
    page.locator(".conversation .title", has_text="Tea at five").wait_for()
    with served.client() as client:
        titles = [one["title"] for one in client.get("/api/conversations").json()]
    assert "Tea at five" in titles


def test_without_a_voice_the_text_stands_as_it_is_written(tab: Tab, served: Served) -> None:
    page = chat(tab)
    with served.client() as client:
        client.post("/api/modules/speak", json={"enabled": False})
    write(page, "Without a voice.")
    page.locator(".figure", has_text="answered in").wait_for()
    assert last_reply(page).inner_text() == "Without a voice."
    with served.client() as client:
        client.post("/api/modules/speak", json={"enabled": True})


async def refused(engine: Echo, prompt: Prompt) -> AsyncGenerator[Delta, None]:
    """A provider that refuses the key."""
    raise ProviderError("Echo refuses the key. Set another one.", kind="key", provider="echo")
    yield Delta("")


def test_a_failing_provider_is_told_to_the_operator_and_not_spoken(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Echo, "stream", refused)
    running = serve(tmp_path)  # one of its own: a provider that failed is left alone for a while
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(15_000)
    try:
        tab = Tab(context, next(running))
        page = own_conversation(tab)
        write(page, "Are you there?")
        strip = page.locator(".turn .strip", has_text="Echo refuses the key.")
        strip.first.wait_for()
        assert strip.first.inner_text().endswith("Not spoken.")
        page.locator(".turn:not(.live)").wait_for()
        assert "refuses" not in last_reply(page).inner_text()
        assert "refuses" not in (page.locator("#spoken").text_content() or "")
        tab.check()
    finally:
        context.close()
        next(running, None)


def test_panic_silences_this_page_and_resume_goes_on(tab: Tab, served: Served) -> None:
    page = own_conversation(tab)
    write(page, LONG)
    page.locator(".bright", has_text="two").first.wait_for()
    with served.client() as client:
        client.post("/api/panic", json={"by": "window"})
    page.get_by_text("Everything is stopped (by window)").wait_for()
    heard = bright(page)
    page.wait_for_timeout(300)
    assert bright(page) == heard
    page.get_by_role("textbox", name="Message", exact=True).fill("hello?")
    assert page.get_by_role("button", name="Send").is_disabled()
    page.keyboard.press("F12")  # is on already: the key never ends a panic by mistake
    page.get_by_role("button", name="Resume").click()
    page.locator("#panic-banner").wait_for(state="hidden")
    page.keyboard.press("Tab")
    page.get_by_role("textbox", name="Message", exact=True).press("Enter")
    page.locator(".turn").last.locator(".them", has_text="hello?").wait_for()


def test_everything_can_be_done_with_the_keyboard(tab: Tab) -> None:
    page = chat(tab)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the message"
    page.keyboard.press("Enter")
    page.keyboard.type("By keys alone.")
    page.keyboard.press("Enter")
    page.locator(".turn").last.locator(".foot button").first.wait_for()
    reached: set[str] = set()
    page.locator("body").press("Home")
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(document.activeElement.id || document.activeElement.className || document.activeElement.tagName)"
            )
        )
        ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        inside = page.evaluate("document.activeElement.id")
        assert ring != "none" or inside in ("message", ""), f"no ring on {inside}"
    for wanted in ("new", "character", "sound", "panic", "message", "talk", "open-mic", "open"):
        assert any(wanted in found for found in reached), (wanted, reached)


NAMELESS = """() => [...document.querySelectorAll("button, input, select, textarea, a, summary, meter, nav, main")]
  .filter((one) => one.checkVisibility())
  .filter((one) => !(one.getAttribute("aria-label") || one.textContent.trim() || one.labels?.length || one.getAttribute("aria-labelledby")))
  .map((one) => one.outerHTML)"""


def test_every_control_has_a_name_and_ids_are_unique(tab: Tab) -> None:
    page = own_conversation(tab)
    write(page, "Names, please.")
    page.locator(".turn:not(.live) .foot button").first.wait_for()
    assert page.evaluate(NAMELESS) == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))
    assert page.locator("[aria-live=polite]").count() == 1
    assert page.evaluate("document.documentElement.lang") == "en"


@pytest.mark.parametrize(("width", "height"), [(360, 740), (640, 400), (320, 568)])
@pytest.mark.parametrize("path", ["/webui/chat", "/webui/control"])
def test_nothing_scrolls_sideways_on_a_phone_or_at_200_percent(
    new_tab: Callable[..., Tab], path: str, width: int, height: int
) -> None:
    tab = new_tab(viewport={"width": width, "height": height}, device_scale_factor=2)
    with tab.served.client() as client:  # what the run before this one wrote is still spoken
        client.post("/api/conversations/stage/interrupt", json={"waiting_too": True})
    page = tab.log_in(path)
    page.locator("html[data-ready]").wait_for(state="attached")
    if path == "/webui/chat":
        write(page, "W" * 400)
        page.locator(".turn .bar").first.wait_for()
    wide = """() => [document.documentElement, document.body, ...document.querySelectorAll("main, header, footer, #page")]
      .filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => `${one.tagName} ${one.scrollWidth} > ${one.clientWidth}`)"""
    assert page.evaluate(wide) == []
    cut = page.evaluate(
        "() => [...document.querySelectorAll('header *, footer *')].filter((one) => one.checkVisibility() && !one.closest('.unseen'))"
        ".filter((one) => one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 80))"
    )
    assert cut == []


def test_a_browser_that_is_not_logged_in_is_told_kindly_how(tab: Tab, served: Served) -> None:
    tab.allow("401")
    page = tab.page
    page.goto(f"{served.url}/webui/chat")
    assert page.get_by_role("heading").inner_text() == "Please come in through Luma's window"
    page.goto(f"{served.url}/login?code=used")
    assert "used already" in page.locator("main").inner_text()


def test_logging_out_ends_the_page_with_words(tab: Tab, served: Served) -> None:
    tab.allow("401")
    tab.allow("WebSocket")
    page = chat(tab)
    with served.client() as client:
        client.post("/api/logout")
        client.post("/api/expression", json={"expression_id": "joy", "duration": 200})
    page.get_by_role("alertdialog", name="You are logged out").wait_for()


def tone_wav(path: Path) -> Path:
    """A second and a half of a warbling tone, then as long nothing; Chromium plays it again and again."""
    rate = 48_000
    samples = [
        int(
            12_000
            * math.sin(2 * math.pi * (180 + 40 * math.sin(n / 3000)) * n / rate)
            * (0.6 + 0.4 * math.sin(n / 2400))
        )
        if n < rate * 3 // 2
        else 0
        for n in range(rate * 4)
    ]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return path


@pytest.fixture
def speaking_tab(browser: Browser, tmp_path: Path, served: Served) -> Iterator[Tab]:
    """A tab of a browser whose microphone hears a file."""
    said = tone_wav(tmp_path / "said.wav")
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={said}"]
    other = browser.browser_type.launch(executable_path=chromium(), args=flags)
    try:
        context = other.new_context(permissions=["microphone"])
        context.set_default_timeout(20_000)
        tab = Tab(context, served)
        yield tab
        tab.check()
    finally:
        other.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A backend that tells speech by its level: what a test says is no voice."""
    yield from serve(
        tmp_path_factory.mktemp("luma"),
        audio_sink="overlay",
        asr_vad="energy",
        asr_partials=False,
        asr_guard="headphones",
    )


def test_an_open_microphone_is_heard_and_answered(speaking_tab: Tab) -> None:
    page = own_conversation(speaking_tab)
    page.get_by_role("button", name="Open mic").click()
    page.get_by_role("button", name="Mic is open").wait_for()
    page.locator(".you .said", has_text="Hello there.").first.wait_for()
    assert page.locator(".you .origin").first.inner_text() == "spoken on a page"
    page.locator(".them .bright", has_text="Hello there.").first.wait_for()
    speaking_tab.until("() => document.getElementById('level').value > 0.3")
    page.get_by_role("button", name="Mic is open").click()
    page.get_by_role("button", name="Open mic").wait_for()
    assert page.locator("#level").is_hidden()


def test_push_to_talk_sends_what_was_said_while_it_was_held(speaking_tab: Tab) -> None:
    page = own_conversation(speaking_tab)
    page.get_by_role("button", name="Hold to talk").focus()
    page.keyboard.down("Space")
    page.get_by_role("button", name="Listening").wait_for()
    speaking_tab.until("() => document.getElementById('level').value > 0.3")
    page.wait_for_timeout(1000)
    page.keyboard.up("Space")
    page.locator(".you .said", has_text="Hello there.").wait_for()


def test_why_something_was_not_answered_is_said(speaking_tab: Tab, served: Served) -> None:
    page = own_conversation(speaking_tab)
    with served.client() as client:
        client.post("/api/config", json={"values": {"ASR_MIN_SPEECH_MS": 2000}})
    page.get_by_role("button", name="Hold to talk").focus()
    page.keyboard.down("Control")
    page.keyboard.down("Space")
    page.get_by_role("button", name="Listening").wait_for()
    page.wait_for_timeout(300)
    page.keyboard.up("Space")
    page.keyboard.up("Control")
    page.locator(".strip", has_text="Not answered:").wait_for()
    with served.client() as client:
        client.post("/api/config", json={"values": {"ASR_MIN_SPEECH_MS": None}})


def test_switching_hearing_off_closes_the_microphone_with_words(
    speaking_tab: Tab, served: Served
) -> None:
    page = own_conversation(speaking_tab)
    page.get_by_role("button", name="Open mic").click()
    page.get_by_role("button", name="Mic is open").wait_for()
    with served.client() as client:
        client.post("/api/modules/hear", json={"enabled": False})
        page.locator(".strip", has_text="Speech to text was switched off").wait_for()
        page.get_by_role("button", name="Open mic").wait_for()
        client.post("/api/modules/hear", json={"enabled": True})


def test_a_page_without_a_microphone_says_what_to_do(tab: Tab) -> None:
    page = own_conversation(tab)
    page.evaluate(
        """() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("no", "NotFoundError"); }; }"""
    )
    page.get_by_role("button", name="Open mic").click()
    page.locator(".strip", has_text="This device has no microphone").wait_for()
    assert page.get_by_role("button", name="Open mic").get_attribute("aria-pressed") == "false"


def test_a_restart_of_the_backend_loses_nothing_and_needs_no_login(
    browser: Browser, tmp_path: Path
) -> None:
    running = serve(tmp_path)
    served = next(running)
    port = served.backend.port
    context = browser.new_context()
    context.set_default_timeout(20_000)
    tab = Tab(context, served)
    tab.allow("WebSocket|Failed to load resource|luma:")
    try:
        page = own_conversation(tab)
        write(page, "Said before the restart.")
        page.locator(".turn:not(.live) .foot button").first.wait_for()
        page.get_by_role("textbox", name="Message", exact=True).fill("written meanwhile")
        next(running, None)
        page.get_by_text("Luma does not answer.").wait_for()
        assert page.get_by_role("button", name="Send").is_disabled()
        running = serve(tmp_path, api_port=port)
        served = next(running)
        tab.connected()
        page.locator("#banner").wait_for(state="hidden")
        assert page.locator(".said").all_inner_texts() == ["Said before the restart."] * 2
        page.get_by_role("textbox", name="Message", exact=True).press("Enter")
        page.locator(".turn").last.locator(".bright", has_text="written meanwhile").wait_for()
        tab.check()
    finally:
        context.close()
        next(running, None)
