"""The overlay on a real page: it shows who is on stage, speaks with its sound, and comes back by itself."""

from __future__ import annotations

import io
import re
import secrets
import shutil
import statistics
from collections.abc import Callable, Iterator
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.conftest import Tab
from tests.browser.stagecraft import (
    bursts,
    hush,
    mouth_of_bursts,
    perform,
    put_on_stage,
)
from tests.integration.conftest import Served, serve

BUILTIN = ("hoshi", "nemu", "rivet", "sumi")
_turns = count(0xA0000000)


def new_turn() -> str:
    return f"{next(_turns):032x}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from serve(tmp_path_factory.mktemp("luma"), audio_sink="overlay")


def on_stage(tab: Tab, character_id: str) -> None:
    tab.page.locator(f"html[data-avatar={character_id}]").wait_for(state="attached")


# What the page shows and plays, again and again: [time, opening of the mouth, loudness at the output, its delay, the sound's own time].
LISTEN = """
(() => {
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to === this.context.destination && !this.context.tap) {
      const tap = this.context.createAnalyser();
      tap.fftSize = 256;
      tap.smoothingTimeConstant = 0;
      this.context.tap = tap;
      globalThis.tapped = this.context;
      connect.call(this, tap);
    }
    return connect.call(this, to, ...rest);
  };
  globalThis.frames = [];
  const wave = new Float32Array(256);
  const look = () => {
    const now = performance.now();
    let level = 0;
    if (globalThis.tapped) {
      globalThis.tapped.tap.getFloatTimeDomainData(wave);
      level = Math.sqrt(wave.reduce((sum, v) => sum + v * v, 0) / wave.length);
    }
    const mouth = globalThis.lumaStage?.voice.mouthAt(now) ?? {};
    const delay = (globalThis.tapped?.outputLatency ?? 0) * 1000;
    const own = (globalThis.tapped?.currentTime ?? 0) * 1000;
    globalThis.frames.push([now, Math.max(0, ...Object.values(mouth)), level, delay, own]);
    setTimeout(look, 2);
  };
  look();
})();
"""

# Pixels of the picture, and how many differ from those that were kept last.
COMPARE = """
(() => {
  let kept = null;
  globalThis.difference = () => {
    const canvas = document.querySelector("#stage canvas");
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let changed = 0;
    if (kept) for (let i = 0; i < pixels.length; i += 4) {
      changed += Math.abs(pixels[i] - kept[i]) + Math.abs(pixels[i + 1] - kept[i + 1])
        + Math.abs(pixels[i + 3] - kept[i + 3]) > 24;
    }
    kept = pixels;
    return changed;
  };
})();
"""


def edges(values: list[tuple[float, float]], threshold: float) -> list[float]:
    """Times at which a value rises over the threshold after it was below for a while."""
    found: list[float] = []
    quiet_since = values[0][0]
    for (_, before), (at, now) in pairwise(values):
        if now > threshold >= before and at - quiet_since > 120:
            found.append(at)
        if now > threshold:
            quiet_since = at
    return found


def test_the_overlay_speaks_in_time_with_its_sound_and_rests_after(
    new_tab: Callable[..., Tab], served: Served
) -> None:
    put_on_stage(served, "hoshi")
    tab = new_tab()
    tab.page.add_init_script(LISTEN)
    tab.open("/overlay")
    on_stage(tab, "hoshi")
    tab.connected()
    sound, mouth = bursts(6), mouth_of_bursts(6)
    for _ in range(4):  # again where the page stood still so often that little of it can be judged
        tab.page.evaluate("frames.length = 0")
        perform(served, ("one", sound, mouth), ("two", sound, mouth), turn=new_turn())
        tab.until("() => lumaStage.voice.positionAt(performance.now()) > 0")
        tab.until("() => lumaStage.voice.positionAt(performance.now()) === null", timeout_s=25)
        frames: list[list[float]] = tab.page.evaluate("frames")
        seen = edges([(at, opening) for at, opening, *_ in frames], 0.5)
        heard = edges([(at + delay, level) for at, _, level, delay, _ in frames], 0.02)
        last = frames[-1]
        # Without a gap: between the last burst of one sentence and the first of the next lie two pauses, no more. In the
        # sound's own time: on a busy machine all of it comes late.
        own = edges([(at, level) for _, _, level, _, at in frames], 0.02)
        # Nobody listened while the page stood still.
        deaf = [
            (before[-1], after[-1])
            for before, after in pairwise(frames)
            if after[-1] - before[-1] > 60
        ]
        gaps = [
            later - earlier
            for earlier, later in pairwise(own)
            if not any(earlier < end and begin < later for begin, end in deaf)
        ]
        if len(heard) >= 10 and len(gaps) >= 5:
            break
    assert len(heard) >= 10
    deviations = [min((eye - ear for eye in seen), key=abs) for ear in heard]
    assert abs(statistics.median(deviations)) <= 40, deviations
    assert last[1] == 0, "the mouth is at rest after the last word"
    assert len(gaps) >= 5, deaf
    assert statistics.median(gaps) == pytest.approx(500, abs=30)
    assert max(gaps) < 900


def test_the_mouth_is_seen_to_move(new_tab: Callable[..., Tab], served: Served) -> None:
    put_on_stage(served, "hoshi")
    tab = new_tab()
    tab.page.add_init_script(COMPARE)
    tab.open("/overlay?sound=0&motion=calm")
    on_stage(tab, "hoshi")
    tab.connected()
    # Calm, and no blink within a few frames: all that changes is the mouth.
    perform(served, ("one", bursts(8), mouth_of_bursts(8)), turn=new_turn())
    tab.until("() => Object.keys(lumaStage.voice.mouthAt(performance.now())).length > 0")
    changes = []
    for _ in range(40):
        tab.page.wait_for_timeout(25)
        changes.append(tab.page.evaluate("difference()"))
    assert sum(changed > 200 for changed in changes) >= 4, changes
    hush(served)
    tab.until("() => lumaStage.voice.positionAt(performance.now()) === null")


def test_an_interruption_closes_the_mouth_and_stops_the_sound_at_once(
    new_tab: Callable[..., Tab], served: Served
) -> None:
    tab = new_tab()
    tab.page.add_init_script(LISTEN)
    tab.open("/overlay")
    tab.connected()
    long = bursts(1, sound_s=6.0)
    perform(served, ("long", long, mouth_of_bursts(1, sound_s=6.0)), turn=new_turn())
    tab.until("() => frames.at(-1)[2] > 0.02")
    hush(served)
    tab.until("() => lumaStage.voice.sentence === null")
    assert tab.page.evaluate("lumaStage.voice.mouthAt(performance.now())") == {}
    quiet = "() => frames.slice(-20).every(([, opening, level]) => opening === 0 && level < 0.001)"
    tab.until(quiet, timeout_s=2)


def test_a_page_that_opens_in_the_middle_of_a_sentence_is_in_its_middle(
    new_tab: Callable[..., Tab], served: Served
) -> None:
    perform(served, ("long", bursts(20), mouth_of_bursts(20)), turn=new_turn())
    tab = new_tab()
    tab.page.wait_for_timeout(700)
    tab.open("/overlay")
    tab.until("() => globalThis.lumaStage?.voice.positionAt(performance.now()) > 0.5")
    with served.client() as client:
        there = client.get("/overlay/state").json()["playing"]["position_s"]
        here = tab.page.evaluate("lumaStage.voice.positionAt(performance.now())")
    assert here == pytest.approx(there, abs=0.35)
    hush(served)


def test_volume_and_muting_reach_the_page(new_tab: Callable[..., Tab], served: Served) -> None:
    tab = new_tab()
    tab.page.add_init_script(LISTEN)
    tab.open("/overlay")
    tab.connected()
    perform(served, ("long", bursts(1, sound_s=8), mouth_of_bursts(1, sound_s=8)), turn=new_turn())
    tab.until("() => frames.at(-1)[2] > 0.2")
    with served.client() as client:
        client.post("/api/audio/output", json={"volume": 0.25}).raise_for_status()
        tab.until("() => frames.at(-1)[2] > 0.02 && frames.at(-1)[2] < 0.15")
        client.post("/api/audio/output", json={"muted": True}).raise_for_status()
        tab.until("() => frames.at(-1)[2] < 0.001")
        client.post("/api/audio/output", json={"volume": 1.0, "muted": False}).raise_for_status()
        tab.until("() => frames.at(-1)[2] > 0.2")
    hush(served)


def test_the_overlay_follows_who_is_on_stage_and_what_is_shown(
    new_tab: Callable[..., Tab], served: Served
) -> None:
    put_on_stage(served, "hoshi")
    tab = new_tab()
    tab.page.add_init_script(COMPARE)
    tab.open("/overlay?motion=calm")
    tab.connected()
    for character_id in ("sumi", "rivet", "nemu"):
        put_on_stage(served, character_id)
        on_stage(tab, character_id)
    with served.client() as client:
        tab.page.evaluate("difference()")
        answer = client.post("/api/expression", json={"expression_id": "surprised"})
        assert answer.status_code == 200, answer.text
        tab.page.wait_for_timeout(500)
        assert tab.page.evaluate("difference()") > 2000
        motion = {"motion_group": "gesture", "motion_index": 0}
        assert client.post("/api/motion", json=motion).status_code == 200
        moved = 0
        for _ in range(12):
            tab.page.wait_for_timeout(60)
            moved = max(moved, tab.page.evaluate("difference()"))
        assert moved > 500
        client.post("/api/expression", json={"expression_id": "neutral"})


def test_the_page_is_transparent_around_the_character(tab: Tab, served: Served) -> None:
    put_on_stage(served, "hoshi")
    page = tab.open("/overlay")
    on_stage(tab, "hoshi")
    page.wait_for_timeout(300)
    picture = Image.open(io.BytesIO(page.screenshot(omit_background=True))).convert("RGBA")
    alpha = picture.getchannel("A")
    width, height = picture.size
    corners = [(1, 1), (width - 2, 1), (1, height - 2), (width - 2, height - 2)]
    assert [alpha.getpixel(corner) for corner in corners] == [0, 0, 0, 0]
    assert alpha.getpixel((width // 2, height // 2)) == 255
    assert page.evaluate("document.body.innerText.trim()") == ""


def test_a_replaced_token_ends_the_overlay_without_a_word_and_it_keeps_trying(
    new_tab: Callable[..., Tab], served: Served
) -> None:
    tab = new_tab()
    tab.allow("401|WebSocket connection to .* failed: HTTP Authentication")
    page = tab.open("/overlay")
    tab.connected()
    with served.client() as client:
        client.post("/api/overlay-token/rotate").raise_for_status()
        # The old socket is closed with the next event that is sent on it.
        client.post("/api/expression", json={"expression_id": "joy"}).raise_for_status()
    served.overlay_token = (
        served.app.state.backend.access.overlay_token  # for the tests that follow
    )
    page.locator("html:not([data-state=open])").wait_for(state="attached")
    before = len(tab.problems)
    tab.page.wait_for_timeout(2500)
    assert len(tab.problems) > before, "it tries again"
    assert page.evaluate("document.body.innerText.trim()") == ""
    page.reload()
    assert page.evaluate("document.body.innerText.trim()") == ""


def test_an_avatar_that_cannot_be_drawn_says_nothing_on_stream(
    new_tab: Callable[..., Tab], served: Served, tmp_path: Path
) -> None:
    own = served.app.state.backend.engines.settings.data_dir / "rigs" / "broken"
    own.mkdir(parents=True)
    rig = '{"format": 1, "title": "Broken", "kind": "puppet", "puppet": {"canvas": [0, 0, 10, 10], "parts": []}}'
    (own / "rig.json").write_text(rig)
    put_on_stage(served, "hoshi")
    with served.client() as client:
        client.get("/api/rigs").raise_for_status()
        made = client.post("/api/characters", json={"name": "Broken"})
        assert made.status_code in (200, 201), made.text
        whose = made.json()["id"]
        client.patch(f"/api/characters/{whose}", json={"rig": "broken"}).raise_for_status()
    tab = new_tab()
    tab.open("/overlay")
    tab.connected()
    put_on_stage(served, whose)
    tab.page.locator("html[data-avatar=missing]").wait_for(state="attached")
    assert tab.page.evaluate("document.body.innerText.trim()") == ""
    assert any("Broken cannot be shown" in line for line in tab.lines)
    shutil.rmtree(own)
    put_on_stage(served, "hoshi")
    on_stage(tab, "hoshi")


def test_the_overlay_survives_a_restart_of_the_backend(
    new_tab: Callable[..., Tab], tmp_path: Path
) -> None:
    starts = serve(tmp_path)
    first = next(starts)
    port = int(first.url.rpartition(":")[2])
    tab = new_tab(served=first)
    tab.allow("ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|WebSocket connection")
    page = tab.open("/overlay")
    tab.connected()
    tab.page.locator("html[data-avatar]").wait_for(state="attached")
    assert next(starts, None) is None  # stopped
    page.locator("html[data-state=closed]").wait_for(state="attached")
    again = serve(tmp_path, api_port=port)
    second = next(again)
    try:
        assert second.url == first.url
        tab.connected()
        put_on_stage(second, "sumi")
        on_stage(tab, "sumi")
    finally:
        page.close()
        assert next(again, None) is None


# --- every face, mouth and motion ---------------------------------------------------------------------------------------

PUPPET = """async (id) => {
  const { create } = await import("/web/avatar/puppet.js");
  const place = document.createElement("div");
  place.style.cssText = "position:fixed;left:0;top:0;width:400px;height:480px";
  document.body.append(place);
  const rig = await (await fetch(`/api/rigs/${id}`)).json();
  const renderer = create();
  await renderer.load(rig, place);
  const canvas = place.querySelector("canvas");
  const context = canvas.getContext("2d");
  let now = 1e6;
  const pixels = () => context.getImageData(0, 0, canvas.width, canvas.height).data;
  const changed = (a, b) => {
    let count = 0;
    for (let i = 0; i < a.length; i += 4) {
      count += Math.abs(a[i] - b[i]) + Math.abs(a[i + 1] - b[i + 1]) + Math.abs(a[i + 2] - b[i + 2])
        + Math.abs(a[i + 3] - b[i + 3]) > 30;
    }
    return count;
  };
  renderer.calm = true; // only what is asked for moves
  const at = (ms) => { now += ms; renderer.tick(now); return pixels(); };
  const found = { rig, faces: {}, mouths: {}, motions: {}, rests: {} };
  const rest = at(0);
  found.empty = rest.every((value) => value === 0);
  const seen = [];
  for (const name of rig.expressions) {
    renderer.setExpression(name, "instant", 0);
    const face = at(1);
    found.faces[name] = Math.min(...seen.map((other) => changed(face, other)), 1e9);
    seen.push(face);
  }
  renderer.setExpression("neutral", "instant", 0);
  for (const name of rig.visemes) {
    renderer.setMouth(name === "sil" ? {} : { [name]: 1 });
    found.mouths[name] = changed(at(1), rest);
  }
  renderer.setMouth({});
  const still = at(1);
  for (const motion of rig.motions) {
    renderer.playMotion(motion, { loop: false });
    at(0);
    const steps = [0.15, 0.35, 0.55, 0.8].map(() => changed(at(motion.duration_ms / 5), still));
    found.motions[motion.name] = Math.max(...steps);
    at(motion.duration_ms);
    found.rests[motion.name] = changed(at(200), still);
  }
  // Smooth: in the middle of the way it is neither the one nor the other face.
  renderer.setExpression("joy", "smooth", 400);
  at(0);
  const middle = at(200);
  found.middle = [changed(middle, still), changed(middle, at(400))];
  renderer.setExpression("neutral", "instant", 0);
  at(1);
  // A loop goes on, and ends when it is told to.
  renderer.playMotion(rig.motions[0], { loop: true });
  at(0);
  const moving = [1, 2, 3].map(() => changed(at(rig.motions[0].duration_ms + 333), still));
  renderer.playMotion(null, {});
  at(1);
  found.loop = [Math.max(...moving), changed(at(1000), still)];
  renderer.dispose();
  found.left = place.children.length;
  return found;
}"""


@pytest.mark.parametrize("character_id", BUILTIN)
def test_every_expression_mouth_and_motion_of_a_puppet_is_seen(tab: Tab, character_id: str) -> None:
    tab.open("/captions")
    tab.connected()
    found: dict[str, Any] = tab.page.evaluate(PUPPET, character_id)
    rig = found["rig"]
    assert rig["kind"] == "puppet"
    assert not rig["problem"]
    assert not found["empty"]
    assert len(found["faces"]) >= 8
    assert min(found["faces"].values()) > 60, "each face differs from each other one"
    assert len(rig["visemes"]) == 15
    shapes = {name: changed for name, changed in found["mouths"].items() if name != "sil"}
    assert min(shapes.values()) > 25, shapes
    assert len(set(shapes.values())) >= 6, "at least six shapes of the mouth"
    assert len(found["motions"]) >= 4
    assert {"wave", "nod", "shake", "jump"} <= set(found["motions"])
    assert min(found["motions"].values()) > 400, found["motions"]
    assert max(found["rests"].values()) < 400, "after a motion it stands as before"
    assert min(found["middle"]) > 60
    assert found["loop"][0] > 400
    assert found["loop"][1] < 400
    assert found["left"] == 0


BLINKS = """async (id) => {
  const { create } = await import("/web/avatar/puppet.js");
  const place = document.createElement("div");
  place.style.cssText = "position:fixed;left:0;top:0;width:300px;height:360px";
  document.body.append(place);
  const rig = await (await fetch(`/api/rigs/${id}`)).json();
  const renderer = create();
  renderer.calm = true;
  await renderer.load(rig, place);
  const canvas = place.querySelector("canvas");
  const context = canvas.getContext("2d");
  const row = () => context.getImageData(0, canvas.height * 0.3, canvas.width, canvas.height * 0.25).data;
  let now = 1e6;
  renderer.tick(now);
  const open = row();
  let blinks = 0;
  let wasShut = false;
  for (let frame = 0; frame < 1200; frame += 1) {
    now += 25;
    renderer.tick(now);
    const pixels = row();
    let changed = 0;
    for (let i = 0; i < pixels.length; i += 16) changed += Math.abs(pixels[i] - open[i]) > 30;
    const isShut = changed > 20;
    if (isShut && !wasShut) blinks += 1;
    wasShut = isShut;
  }
  renderer.dispose();
  return blinks;
}"""


@pytest.mark.parametrize("character_id", BUILTIN)
def test_a_puppet_blinks_a_few_times_in_half_a_minute(tab: Tab, character_id: str) -> None:
    tab.open("/captions")
    tab.connected()
    assert 4 <= tab.page.evaluate(BLINKS, character_id) <= 16


def test_idling_moves_and_reduced_motion_does_not(
    new_tab: Callable[..., Tab], served: Served
) -> None:
    put_on_stage(served, "hoshi")
    changes = {}
    for preference in ("no-preference", "reduce"):
        tab = new_tab(reduced_motion=preference)
        tab.page.add_init_script(COMPARE)
        tab.open("/overlay")
        on_stage(tab, "hoshi")
        tab.page.evaluate("difference()")
        found = []
        for _ in range(8):
            tab.page.wait_for_timeout(90)
            found.append(tab.page.evaluate("difference()"))
        changes[preference] = statistics.median(found)
    assert changes["no-preference"] > 100
    assert changes["reduce"] == 0


def test_no_token_is_in_the_page_or_its_log(tab: Tab, served: Served) -> None:
    page = tab.open("/overlay?captions=1")
    tab.connected()
    assert served.overlay_token not in page.content()
    assert not any(served.overlay_token in line for line in tab.lines)
    assert page.evaluate("document.cookie") == ""


def test_a_picture_character_hops_with_its_voice_and_changes_faces(tab: Tab) -> None:
    """Characters without a puppet show their pictures."""
    tab.open("/captions")
    tab.connected()
    found = tab.page.evaluate(
        """async () => {
          const { create } = await import("/web/avatar/picture.js");
          const place = document.createElement("div");
          place.style.cssText = "position:fixed;left:0;top:0;width:300px;height:300px";
          document.body.append(place);
          const renderer = create();
          const rig = { url: "/api/avatars/hoshi/", expressions: ["neutral", "joy"], motions: [] };
          await renderer.load(rig, place);
          let now = 1e5;
          renderer.tick(now);
          const quiet = place.firstElementChild.style.transform;
          renderer.setMouth({ aa: 1 });
          renderer.tick((now += 100));
          const loud = place.firstElementChild.style.transform;
          renderer.setExpression("joy", "smooth", 200);
          for (let n = 0; n < 40 && place.querySelectorAll("img").length < 2; n += 1) {
            await new Promise((done) => setTimeout(done, 25));
          }
          await new Promise((done) => setTimeout(done, 200));
          renderer.tick((now += 100));
          const half = [...place.querySelectorAll("img")].map((image) => Number(image.style.opacity));
          renderer.tick((now += 400));
          const whole = [...place.querySelectorAll("img")].map((image) => Number(image.style.opacity));
          renderer.setExpression("<img src=x onerror=alert(1)>", "instant", 0);
          renderer.dispose();
          return { quiet, loud, half, whole, left: place.children.length };
        }"""
    )
    lift = [
        float(m) for m in re.findall(r"translateY\((-?[\d.]+)%", found["quiet"] + found["loud"])
    ]
    assert lift[1] < lift[0] - 1
    assert found["half"] == [1, 1]
    assert found["whole"] == [0, 1]
    assert found["left"] == 0


def test_a_stranger_learns_nothing_of_the_stage(new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()
    tab.allow("401")
    page = tab.open("/overlay", token=secrets.token_urlsafe(32))
    assert page.evaluate("document.body.innerText.trim()") == ""
    assert page.evaluate("document.scripts.length") == 0
