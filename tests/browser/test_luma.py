"""The connection that all pages share: commands, REST, resuming, resets, and lip-sync with a loudspeaker's clock."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from backend.contracts.entities import STAGE, Audio
from backend.contracts.events import ChatSentence
from backend.outputs.base import Progress
from tests.browser.conftest import Tab
from tests.browser.stagecraft import (
    await_in_backend,
    bursts,
    hush,
    in_backend,
    mouth_of_bursts,
    perform,
    put_on_stage,
    tell,
)
from tests.fakes import ManualSink
from tests.integration.conftest import Served

_turns = count(0xC0000000)

OPEN = """async (options) => {
  const { Luma } = await import("/web/luma.js");
  globalThis.heard = [];
  globalThis.states = [];
  globalThis.readies = [];
  globalThis.luma = new Luma(options);
  luma.on("chat.sentence", (event) => heard.push([event.data.text, event.replayed]));
  luma.onState((state) => states.push(state));
  luma.onReady((how) => { readies.push(how.reset); });
  luma.start();
}"""


def ready(tab: Tab, times: int = 1) -> None:
    tab.until("(times) => readies.length >= times", times)


def sentence(served: Served, text: str) -> None:
    turn = f"{next(_turns):032x}"
    tell(served, ChatSentence(text=text, n=1, conversation_id=STAGE, turn_id=turn))


def test_a_page_with_a_session_gives_commands_and_is_told_why_one_is_refused(
    tab: Tab, served: Served
) -> None:
    page = tab.log_in("/captions")
    page.evaluate(OPEN, {"types": []})
    ready(tab)
    ended = """async ([name, fields]) => {
      try { return await luma.command(name, fields); } catch (error) { return [error.name, error.code, error.message]; }
    }"""
    done = page.evaluate(ended, ["chat", {"text": "hello", "message": "hello", "speak": False}])
    assert isinstance(done, dict) or done[1] == "input.invalid"
    refused = page.evaluate(ended, ["dance", {}])
    assert refused[:2] == ["LumaError", "input.invalid"]
    assert "dance" in refused[2]
    page.evaluate("luma.close()")
    lost = page.evaluate(ended, ["chat", {}])
    assert lost[1] == "connection.lost"


def test_rest_speaks_json_and_says_what_was_wrong(tab: Tab) -> None:
    tab.allow("404|422")
    page = tab.log_in("/captions")
    page.evaluate(OPEN, {"types": []})
    asked = """async ([verb, ...rest]) => {
      try { return await luma[verb](...rest); } catch (error) { return [error.code, error.status, error.message]; }
    }"""
    assert page.evaluate(asked, ["get", "/api/health"]) == {"status": "ok"}
    assert page.evaluate(asked, ["get", "/api/characters/nobody"])[:2] == ["not_found", 404]
    shown = page.evaluate(asked, ["post", "/api/expression", {"expression_id": "joy"}])
    assert shown["expression"] == "joy"
    refused = page.evaluate(asked, ["post", "/api/expression", {"expression_id": "purple"}])
    assert refused[0] == "input.invalid"
    assert "purple" in refused[2]
    elsewhere = "() => { try { return luma.url('//example.com/x'); } catch (e) { return e.code; } }"
    assert page.evaluate(elsewhere) == "input.invalid"


def test_with_the_overlay_token_a_page_only_reads(tab: Tab) -> None:
    tab.allow("403")
    page = tab.open("/captions")
    page.evaluate(OPEN, {"types": ["chat.sentence"]})
    ready(tab)
    assert page.evaluate("luma.isReadOnly")
    refused = "() => luma.command('chat', {text: 'x'}).catch((error) => error.code)"
    assert page.evaluate(refused) == "auth.forbidden"
    posted = "() => luma.post('/api/chat', {message: 'x'}).catch((error) => error.status)"
    assert page.evaluate(posted) == 403


def test_missed_events_come_once_after_a_lost_connection_when_a_page_resumes(
    tab: Tab, served: Served
) -> None:
    page = tab.log_in("/captions")
    page.evaluate(OPEN, {"types": ["chat.sentence"], "resume": True})
    ready(tab)
    sentence(served, "one")
    tab.until("() => heard.length === 1")
    page.evaluate("luma.close()")
    sentence(served, "two")
    sentence(served, "three")
    await_in_backend(served, lambda backend: backend.bus.flush())
    page.evaluate("luma.start()")
    ready(tab, 2)
    sentence(served, "four")
    tab.until("() => heard.length >= 4")
    assert page.evaluate("heard") == [
        ["one", False],
        ["two", True],
        ["three", True],
        ["four", False],
    ]
    assert page.evaluate("readies") == ["", ""]


def test_a_page_that_does_not_resume_reads_anew_and_hears_no_old_event(
    tab: Tab, served: Served
) -> None:
    page = tab.log_in("/captions")
    page.evaluate(OPEN, {"types": ["chat.sentence"]})
    ready(tab)
    page.evaluate("luma.close()")
    sentence(served, "while it was away")
    await_in_backend(served, lambda backend: backend.bus.flush())
    page.evaluate("luma.start()")
    ready(tab, 2)
    sentence(served, "now")
    tab.until("() => heard.length >= 1")
    assert page.evaluate("heard") == [["now", False]]


def test_events_wait_until_the_page_is_ready_for_them(tab: Tab, served: Served) -> None:
    page = tab.log_in("/captions")
    page.evaluate(
        """async () => {
          const { Luma } = await import("/web/luma.js");
          globalThis.order = [];
          globalThis.luma = new Luma({ types: ["chat.sentence"] });
          luma.onReady(async () => {
            order.push("begins");
            await new Promise((done) => { globalThis.goOn = done; });
            order.push("ready");
          });
          luma.on("chat.sentence", (event) => order.push(event.data.text));
          luma.start();
        }"""
    )
    tab.until("() => !!globalThis.goOn")
    sentence(served, "early")
    page.wait_for_timeout(150)
    page.evaluate("goOn()")
    tab.until("() => order.length === 3")
    assert page.evaluate("order") == ["begins", "ready", "early"]


def test_a_listener_that_fails_costs_the_others_nothing(tab: Tab, served: Served) -> None:
    tab.allow("clumsy")
    page = tab.log_in("/captions")
    page.evaluate(OPEN, {"types": ["chat.sentence"]})
    page.evaluate(
        """() => {
          luma.on("*", () => { throw new Error("clumsy"); });
          luma.on("chat.*", (event) => { globalThis.last = event.data.text; });
        }"""
    )
    ready(tab)
    sentence(served, "heard all the same")
    tab.until("() => globalThis.last === 'heard all the same'")


class Loudspeaker(ManualSink):
    """A sink that takes as long as the sound, and tells its position now and then, like a device."""

    name = "speaker"

    def __init__(self) -> None:
        super().__init__()
        self.began: list[float] = []

    async def play(self, audio: Audio, progress: Progress) -> float:
        begun_s = time.monotonic()
        self.began.append(time.time())
        while (position_s := time.monotonic() - begun_s) < audio.duration_s:
            progress(position_s, -20.0)
            await asyncio.sleep(0.06)
        return audio.duration_s


def test_the_mouth_keeps_time_with_a_loudspeaker_elsewhere(
    new_tab: Callable[..., Tab], served: Served
) -> None:
    """The page plays nothing then: its clock is what `playback.position` says."""
    put_on_stage(served, "hoshi")
    sink = Loudspeaker()

    def use(backend: Any) -> None:
        backend.player.sink = sink

    in_backend(served, use)
    tab = new_tab()
    page = tab.open("/overlay")
    page.locator("html[data-avatar=hoshi]").wait_for(state="attached")
    tab.connected()
    page.evaluate(
        """() => {
          globalThis.openings = [];
          let before = 0;
          const look = () => {
            const now = performance.now();
            const open = lumaStage.voice.mouthAt(now).aa ?? 0;
            if (open > 0.5 && before <= 0.5) openings.push(performance.timeOrigin + now);
            before = open;
            setTimeout(look, 2);
          };
          look();
        }"""
    )
    perform(served, ("bursts", bursts(16), mouth_of_bursts(16)), turn=f"{next(_turns):032x}")
    tab.until("() => lumaStage.voice.positionAt(performance.now()) > 7.9", timeout_s=30)
    hush(served)
    openings: list[float] = page.evaluate("openings")
    assert len(openings) >= 8  # a page that is starved of the processor may miss some
    begun_ms = sink.began[0] * 1000
    sounds = [begun_ms + 250 + 500 * n for n in range(16)]
    late = [min((at - sound for sound in sounds), key=abs) for at in openings]
    assert abs(statistics.median(late)) <= 40, late


def test_captions_without_sound_are_read_one_after_the_other(tab: Tab, served: Served) -> None:
    def silent(backend: Any) -> None:
        sink = ManualSink()
        sink.name = "none"
        backend.player.sink = sink

    in_backend(served, silent)
    tab.open("/captions?fade=0")
    tab.connected()
    sound = Audio(b"\x00\x00" * 800, 8000)
    perform(served, ("First line.", sound, ()), turn=f"{next(_turns):032x}")
    tab.until("() => document.querySelector('.caption-text').textContent === 'First line.'")
    assert tab.page.locator(".word:not(.heard)").count() == 0
    hush(served)
