"""The control panel: every button does what it says and shows what is so, with a finger and with keys; panic is silent at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Tab
from tests.browser.test_chat_page import NAMELESS
from tests.integration.conftest import Served, serve

SMALLEST_TARGET_PX = 56


def control(tab: Tab) -> Page:
    """The control panel of a browser that was let in, up to date."""
    page = tab.log_in("/webui/control")
    page.locator("html[data-ready]").wait_for(state="attached")
    return page


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A backend whose stage takes as long as its sound does."""
    yield from serve(tmp_path_factory.mktemp("luma"), audio_sink="overlay")


@pytest.fixture(autouse=True)
def _as_it_was(served: Served) -> None:
    """One test leaves nothing to the next."""
    with served.client() as client:
        client.post("/api/resume")
        client.post("/api/avatar/release", json={})
        client.post("/api/audio/output", json={"muted": False, "volume": 1.0})
        client.post("/api/switch_character", json={"character_id": "hoshi"})


def test_a_face_is_held_until_it_is_tapped_again(tab: Tab, served: Served) -> None:
    page = control(tab)
    page.locator("#faces [data-id=joy]").click()
    page.locator("#faces [data-id=joy].held .state", has_text="held").wait_for()
    assert "shows joy" in page.locator("#now").inner_text()
    with served.client() as client:
        assert client.get("/api/avatar/state").json()["expression"] == "joy"
        page.locator("#faces [data-id=joy]").click()
        page.locator("#faces [data-id=neutral] .state", has_text="shown now").wait_for()
        assert client.get("/api/avatar/state").json()["expression"] == "neutral"


def test_what_others_show_is_seen_at_once(tab: Tab, served: Served) -> None:
    page = control(tab)
    with served.client() as client:
        client.post("/api/expression", json={"expression_id": "sad", "duration": 60_000})
    page.locator("#faces [data-id=sad].on .state", has_text="shown now").wait_for()
    assert page.locator("#faces [data-id='*']").get_attribute("aria-pressed") == "true"


def test_a_motion_plays_once_or_again_and_again(tab: Tab, served: Served) -> None:
    page = control(tab)
    page.locator("#motions [data-id=wave]").click()
    page.locator("#motions [data-id=wave] .state", has_text="plays now").wait_for()
    page.locator("#motions [data-id=wave] .state", has_text="plays now").wait_for(state="detached")
    page.locator("#motions [data-id='*']").click()
    page.locator("#motions [data-id=nod]").click()
    page.locator("#motions [data-id=nod].held").wait_for()
    page.locator("#motions [data-id=nod]").click()
    page.locator("#motions [data-id=nod]:not(.held)").wait_for()
    with served.client() as client:
        assert client.get("/api/avatar/state").json()["motion"] is None


def test_voice_and_volume_are_the_stages(tab: Tab, served: Served) -> None:
    page = control(tab)
    page.locator("#acts [data-id=voice]").click()
    page.locator("#acts [data-id=voice].off .state", has_text="muted").wait_for()
    page.get_by_role("slider", name="Volume").fill("40")
    page.locator("#volume-figure", has_text="40 %").wait_for()
    page.get_by_role("button", name="Quieter").click()
    page.locator("#volume-figure", has_text="35 %").wait_for()
    with served.client() as client:
        ends_s = time.monotonic() + 20
        while (now := client.get("/api/audio/output").json())["volume"] != 0.35:
            assert time.monotonic() < ends_s, now
        assert now["muted"]


def test_a_character_takes_the_stage_with_its_own_faces(tab: Tab, served: Served) -> None:
    page = control(tab)
    page.locator("#characters [data-id=nemu]").click()
    page.locator("#characters [data-id=nemu].on").wait_for()
    with served.client() as client:
        assert client.get("/api/conversations/stage").json()["character_id"] == "nemu"
        rig = client.get("/api/rigs/nemu").json()
    shown = page.locator("#faces [data-id]").evaluate_all(
        "(all) => all.map((one) => one.dataset.id)"
    )
    assert set(rig["expressions"]) <= set(shown)


def test_a_module_and_a_mode_are_switched(tab: Tab, served: Served) -> None:
    page = control(tab)
    page.locator("#modules [data-id=speak]").click()
    page.locator("#modules [data-id=speak].off .state", has_text="switched off").wait_for()
    page.locator("#modules [data-id=speak]").click()
    page.locator("#modules [data-id=speak].on").wait_for()
    page.locator("#modes [data-id=autonomous]").click()
    page.locator("#modes [data-id=autonomous] .state", has_text="answers now").wait_for()
    with served.client() as client:
        assert client.get("/api/mode").json()["mode"] == "autonomous"
        client.delete("/api/mode")


def test_a_turn_on_stage_is_shown_and_stopped(tab: Tab, served: Served) -> None:
    page = control(tab)
    with served.client() as client:
        stop = page.locator("#acts [data-id=stop]")
        assert stop.is_disabled()
        say_something_long(served)
        page.locator("#now", has_text="Speaking").wait_for()
        stop.click()
        page.locator("#now", has_text="Quiet").wait_for()
        assert client.get("/api/turns?limit=1").json()[0]["outcome"] == "interrupted"


def say_something_long(served: Served) -> None:
    """Begin a turn on stage, in a thread of the server's: the request is not waited for."""
    chat = served.app.state.backend.chat
    loop = served.app.state.backend._loop
    text = "One two three four five six seven eight nine ten. " * 10
    asyncio.run_coroutine_threadsafe(chat.send(text, conversation_id="stage"), loop).result(10)


def test_panic_stops_everything_at_once_and_resume_restores_it(tab: Tab, served: Served) -> None:
    page = control(tab)
    page.locator("#faces [data-id=joy]").click()
    page.locator("#faces [data-id=joy].held").wait_for()
    say_something_long(served)
    page.locator("#now", has_text="Speaking").wait_for()
    player = served.app.state.backend.player
    page.keyboard.press("F12")
    page.get_by_role("button", name="Resume").wait_for()
    page.locator("#now", has_text="Stopped · shows neutral").wait_for()
    with served.client() as client:
        assert client.get("/api/panic").json()["by"] == "control panel"
        assert client.get("/api/listening").json()["muted"]
        assert not player.is_playing
        assert client.post("/api/chat", json={"message": "hello?"}).status_code == 409
        page.get_by_role("button", name="Resume").click()
        page.get_by_role("button", name="Panic").wait_for()
        page.locator("#faces [data-id=joy].held").wait_for()
        assert not client.get("/api/listening").json()["muted"]
        assert client.get("/api/audio/output").json()["volume"] == 1.0
        assert client.post("/api/chat", json={"message": "hello?"}).status_code == 200


def test_the_arrow_keys_go_through_a_group(tab: Tab) -> None:
    page = control(tab)
    page.locator("#faces [data-id='*']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    here = "document.activeElement.dataset.id"
    assert page.evaluate(here) == "joy"
    page.keyboard.press("End")
    page.keyboard.press("Home")
    assert page.evaluate(here) == "*"
    page.keyboard.press("ArrowDown")
    assert page.evaluate(here) != "*"
    page.keyboard.press("ArrowUp")
    assert page.evaluate(here) == "*"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.locator("#faces [data-id=neutral].held").wait_for()
    assert page.evaluate(here) == "neutral", "the focus stays where it was"


@pytest.mark.parametrize("size", [(768, 1024), (1024, 768), (360, 740), (740, 360)])
def test_every_target_is_large_enough_for_a_finger(
    new_tab: Callable[..., Tab], size: tuple[int, int]
) -> None:
    tab = new_tab(viewport={"width": size[0], "height": size[1]}, has_touch=True)
    page = control(tab)
    small = page.evaluate(
        """(least) => [...document.querySelectorAll("button, a, input")].filter((one) => one.checkVisibility())
             .map((one) => [one.id || one.dataset.id || one.textContent, one.getBoundingClientRect()])
             .filter(([, box]) => box.width < least || box.height < least)
             .map(([name, box]) => `${name} ${box.width} x ${box.height}`)""",
        SMALLEST_TARGET_PX,
    )
    assert small == []
    panic = page.get_by_role("button", name="Panic").bounding_box()
    assert panic is not None
    assert panic["y"] + panic["height"] <= size[1], "the red button is always in sight"


def test_every_control_has_a_name_and_its_state_in_words(tab: Tab) -> None:
    page = control(tab)
    assert page.evaluate(NAMELESS) == []
    stateless = page.evaluate(
        """() => [...document.querySelectorAll(".big.on, .big.off, .big.held")].filter((one) => !one.querySelector(".state").textContent)
             .map((one) => one.dataset.id)"""
    )
    assert stateless == []


def test_less_motion_is_respected(new_tab: Callable[..., Tab]) -> None:
    tab = new_tab(reduced_motion="reduce")
    page = tab.log_in("/webui/chat")
    page.locator("html[data-ready]").wait_for(state="attached")
    page.get_by_role("textbox", name="Message", exact=True).fill("One two three. Four five six.")
    page.keyboard.press("Enter")
    page.locator(".turn.live .caret").wait_for(state="attached")
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.caret')).animationName") == "none"
    )
