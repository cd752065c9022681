"""Rigs of kind vrm and live2d, drawn by a real Chromium: every face, mouth shape and motion is seen in the pixels.

A renderer lives by the moments it is told, so the tests move its clock. The Live2D model and the core that understands it are
made here (tests/live2d_model.py).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import Page

from backend.avatar import live2d, vrm
from backend.avatar.rig_file import RigMotion
from tests import live2d_model
from tests.browser.conftest import Tab
from tests.browser.stagecraft import put_on_stage
from tests.integration.conftest import Served, serve

Pixels = npt.NDArray[np.int16]

SIZE = (400, 600)
NOTICED = 24
"""Of 255: a pixel that differs by more is another colour, not another rounding."""

OPEN = """async ([kind, rig, calm, settings]) => {
  if (settings) rig.settings_url = URL.createObjectURL(new Blob([settings]));
  document.getElementById("place")?.remove();
  const place = document.createElement("div");
  place.id = "place";
  Object.assign(place.style, {position: "fixed", inset: "0", width: "400px", height: "600px"});
  document.body.append(place);
  const renderer = (await import(`/web/avatar/${kind}.js`)).create();
  renderer.calm = calm;
  window.stood?.dispose();
  window.stood = renderer;
  await renderer.load(rig, place);
  window.moment = performance.now() + 100;
  return place.childElementCount;
}"""
TICK = "([steps, ms]) => { for (let n = 0; n < steps; n += 1) stood.tick(moment += ms); }"
LOST = """async (kind) => {
  const canvas = document.querySelector("#place canvas");
  const found = canvas.getContext(kind).getExtension("WEBGL_lose_context");
  const told = (name) => new Promise((done) => canvas.addEventListener(name, done, {once: true}));
  const gone = told("webglcontextlost");
  found.loseContext();
  await gone;
  stood.tick(moment += 20);
  const back = told("webglcontextrestored");
  setTimeout(() => found.restoreContext(), 50);
  await back;
  stood.tick(moment += 20);
}"""

PAINTED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


class Standing:
    """One rig on a page."""

    def __init__(self, tab: Tab, rig: dict[str, Any]) -> None:
        self.tab = tab
        self.rig = rig
        self.page: Page = tab.open("/captions")
        self.page.set_viewport_size({"width": SIZE[0], "height": SIZE[1]})

    def open(self, *, calm: bool = True, settings: dict[str, object] | None = None) -> None:
        """Show it; a rig that is shown already goes."""
        told = json.dumps(settings) if settings is not None else ""
        assert self.page.evaluate(OPEN, [self.rig["kind"], self.rig, calm, told]) == 1

    def tick(self, steps: int = 1, ms: float = 20) -> None:
        """Move its clock on, frame by frame."""
        self.page.evaluate(TICK, [steps, ms])

    def face(self, name: str, transition: str = "instant", ms: float = 0) -> None:
        self.page.evaluate("(given) => stood.setExpression(...given)", [name, transition, ms])

    def mouth(self, **weights: float) -> None:
        self.page.evaluate("(weights) => stood.setMouth(weights)", weights)

    def play(self, name: str | None, *, loop: bool = False) -> None:
        motion = next((each for each in self.rig["motions"] if each["name"] == name), None)
        assert (motion is None) == (name is None), name
        self.page.evaluate(
            "([motion, loop]) => stood.playMotion(motion, {loop})",
            [motion, loop],
        )

    def picture(self) -> Pixels:
        """What is seen: (height, width, RGBA)."""
        return picture_of(self.page)

    def quiet(self) -> None:
        """Let hair come to rest and the first blink pass; the next one is more than two seconds away."""
        self.tick(28, 66)


def picture_of(page: Page) -> Pixels:
    """What is seen: (height, width, RGBA)."""
    page.evaluate(PAINTED)
    data = page.screenshot(omit_background=True)
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")).astype(np.int16)


def changed(before: Pixels, after: Pixels) -> int:
    """How many pixels differ."""
    return int((np.abs(before - after).max(axis=2) > NOTICED).sum())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A backend with a Live2D model of the user's, and the core."""
    folder = tmp_path_factory.mktemp("luma")
    rigs = folder / "data" / "rigs"
    live2d_model.write(rigs / "mimi")
    live2d_model.put_core(rigs)
    yield from serve(folder)


def rig_of(served: Served, rig_id: str) -> dict[str, Any]:
    with served.client() as client:
        answer = client.get(f"/api/rigs/{rig_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture
def nori(tab: Tab, served: Served) -> Standing:
    """The VRM figure that ships."""
    return Standing(tab, rig_of(served, "nori"))


@pytest.fixture
def mimi(tab: Tab, served: Served) -> Standing:
    """The Live2D model."""
    return Standing(tab, rig_of(served, "mimi"))


# --- VRM ---


def test_a_vrm_stands_on_a_transparent_ground(nori: Standing) -> None:
    nori.open()
    nori.tick()
    picture = nori.picture()
    assert (picture[:40, :, 3] == 0).all(), "above her"
    assert picture[-1, 180:220, 3].min() == 255, "she reaches down to the lower edge"
    share = (picture[:, :, 3] == 255).mean()
    assert 0.2 < share < 0.8
    assert nori.page.locator("#place canvas").get_attribute("aria-hidden") == "true"


def test_each_face_of_a_vrm_is_another_one(nori: Standing) -> None:
    nori.open(settings={"vrm": {"framing": "face"}})
    nori.quiet()
    rest = nori.picture()
    nori.tick(2)
    assert changed(rest, nori.picture()) < 20, "nothing moves by itself"
    seen = {"neutral": rest}
    for name in nori.rig["expressions"]:
        nori.face(name)
        nori.tick()
        picture = nori.picture()
        for other, before in seen.items():
            if other != name:
                assert changed(before, picture) > 150, (name, other)
        seen[name] = picture
    nori.face("neutral")
    nori.tick()
    assert changed(rest, nori.picture()) < 60, "and back"


def test_a_face_comes_over_in_its_time(nori: Standing) -> None:
    nori.open(settings={"vrm": {"framing": "face"}})
    nori.quiet()
    rest = nori.picture()
    nori.face("surprised", "smooth", 200)
    nori.tick(1, 20)
    nori.tick(5, 20)
    half = nori.picture()
    nori.tick(6, 20)
    whole = nori.picture()
    nori.tick(1)
    assert changed(whole, nori.picture()) < 20
    assert 60 < changed(rest, half)
    assert 60 < changed(half, whole)


def test_each_mouth_shape_of_a_vrm_opens_it_and_lips_close_it(nori: Standing) -> None:
    nori.open(settings={"vrm": {"framing": "face"}})
    nori.quiet()
    rest = nori.picture()
    vowels = []
    for viseme in nori.rig["visemes"]:
        nori.mouth(**{viseme: 1})
        nori.tick()
        picture = nori.picture()
        if viseme in ("sil", "PP"):
            assert changed(rest, picture) < 20, viseme
        else:
            assert changed(rest, picture) > 40, viseme
        if viseme in ("aa", "E", "ih", "oh", "ou"):
            vowels.append(picture)
    for n, one in enumerate(vowels):
        assert all(changed(one, other) > 60 for other in vowels[n + 1 :])
    nori.mouth(aa=1, PP=1)
    nori.tick()
    assert changed(rest, nori.picture()) < 20


@pytest.mark.parametrize("motion", vrm.MOTIONS, ids=lambda motion: motion.name)
def test_each_motion_of_a_vrm_moves_it_and_ends(nori: Standing, motion: RigMotion) -> None:
    nori.open()
    nori.quiet()
    rest = nori.picture()
    nori.play(motion.name)
    nori.tick(1)
    moved = 0
    part_ms = motion.duration_ms / 5
    for _ in range(4):
        nori.tick(4, part_ms / 4)
        moved = max(moved, changed(rest, nori.picture()))
    assert moved > 1500
    nori.tick(4, part_ms / 2)
    nori.tick(16, 100)
    assert changed(rest, nori.picture()) < moved / 3


def test_a_looping_motion_goes_on_until_it_is_ended(nori: Standing) -> None:
    nori.open()
    nori.quiet()
    rest = nori.picture()
    nori.play("cheer", loop=True)
    nori.tick(1)
    nori.tick(68, 100)  # in the middle of the fourth time
    assert changed(rest, nori.picture()) > 1500
    nori.play(None)
    nori.tick(30, 100)
    assert changed(rest, nori.picture()) < 1500


def test_a_vrm_breathes_and_sways_by_itself(nori: Standing) -> None:
    nori.open(calm=False)
    nori.quiet()
    rest = nori.picture()
    nori.tick(12, 100)
    assert changed(rest, nori.picture()) > 200


def test_a_vrm_blinks_also_where_nothing_else_moves(nori: Standing) -> None:
    nori.open(settings={"vrm": {"framing": "face"}})
    nori.quiet()
    awake = nori.picture()
    seen = []
    while not seen or (max(seen) < 800 and len(seen) < 90):
        nori.tick(1, 70)
        seen.append(changed(awake, nori.picture()))
    assert max(seen) > 800, "the eyes shut"
    nori.tick(5, 70)
    assert changed(awake, nori.picture()) < 100, "and open again"


def test_the_settings_of_a_vrm_frame_it(nori: Standing) -> None:
    wide = []
    for framing in ("full", "upper", "face"):
        nori.open(settings={"vrm": {"framing": framing}})
        nori.tick()
        seen = nori.picture()[:, :, 3] > 0
        row = seen[int(SIZE[1] * 0.55)]
        wide.append(int(row.sum()))
    assert wide[0] < wide[1] < wide[2], "from the whole figure to the face everything gets larger"


def test_frames_beyond_the_rate_are_not_drawn(nori: Standing) -> None:
    nori.open(settings={"vrm": {"fps": 30}})
    counted = """([ms, count]) => {
      const {WebGL2RenderingContext: kind} = window;
      const draw = kind.prototype.drawElements;
      let frames = 0;
      let last = 0;
      kind.prototype.drawElements = function (...given) { if (last !== moment) frames += 1; last = moment;
        return draw.apply(this, given); };
      for (let n = 0; n < count; n += 1) stood.tick(moment += ms);
      kind.prototype.drawElements = draw;
      return frames;
    }"""
    assert nori.page.evaluate(counted, [1000 / 120, 120]) == pytest.approx(30, abs=1)


def test_a_lost_picture_comes_back(nori: Standing) -> None:
    nori.open()
    nori.quiet()
    before = nori.picture()
    nori.page.evaluate(LOST, "webgl2")
    assert changed(before, nori.picture()) < 60
    assert any("comes back by itself" in line for line in nori.tab.lines)


def test_disposing_leaves_nothing(nori: Standing) -> None:
    for _ in range(20):  # more than the contexts that a page may have
        nori.open()
    nori.tick()
    assert nori.picture()[:, :, 3].any()
    nori.page.evaluate("() => stood.dispose()")
    assert nori.page.locator("#place canvas").count() == 0


WITHOUT_WEBGL = """() => {
  const get = HTMLCanvasElement.prototype.getContext;
  HTMLCanvasElement.prototype.getContext = function (kind, ...given) {
    return kind.startsWith("webgl") ? null : get.call(this, kind, ...given);
  };
}"""


@pytest.mark.parametrize("name", ["nori", "mimi"])
def test_without_webgl_it_says_so(name: str, request: pytest.FixtureRequest) -> None:
    standing: Standing = request.getfixturevalue(name)
    standing.tab.allow("WebGL")
    standing.page.evaluate(WITHOUT_WEBGL)
    with pytest.raises(Exception, match="no WebGL"):
        standing.open()
    assert standing.page.locator("#place canvas").count() == 0


def test_a_file_that_is_no_vrm_is_refused(nori: Standing) -> None:
    nori.rig = {**nori.rig, "url": "/web/avatar/vrm.js"}
    with pytest.raises(Exception, match=r"Error"):
        nori.open()


def test_the_page_has_the_motions_that_the_backend_lists(nori: Standing) -> None:
    listed = nori.page.evaluate(
        "async () => Object.entries((await import('/web/avatar/vrm.js')).MOTIONS).map(([name, {ms}]) => [name, ms])"
    )
    assert listed == [[motion.name, motion.duration_ms] for motion in vrm.MOTIONS]


# --- Live2D ---

COLOURS = live2d_model.COLOURS


def at(picture: Pixels, x: float, y: float) -> tuple[int, ...]:
    """The colour at a place of the model (4 wide, 6 high, its middle is 0)."""
    red, green, blue, alpha = picture[round((3 - y) * 100), round((x + 2) * 100)]
    return (int(red), int(green), int(blue)) if alpha == 255 else (int(alpha),)


def is_near(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(found) == len(wanted) and all(
        abs(a - b) <= 3 for a, b in zip(found, wanted, strict=True)
    )


def shows(picture: Pixels, x: float, y: float, colour: str) -> bool:
    return is_near(at(picture, x, y), COLOURS[colour])


def test_a_live2d_model_is_drawn_in_its_order_and_colours(mimi: Standing) -> None:
    mimi.open()
    mimi.tick()
    picture = mimi.picture()
    for x, y, colour in [
        (0.0, -2.2, "blue"),
        (0.0, 1.7, "skin"),
        (0.8, 1.0, "white"),
        (0.5, 1.0, "black"),
        (0.0, 2.4, "brown"),
        (-1.5, -2.0, "green"),
        (0.0, 0.1, "red"),
    ]:
        assert shows(picture, x, y, colour), (x, y, colour, at(picture, x, y))
    assert at(picture, -1.9, 2.9) == (0,), "nothing is where no shape is"


def test_masks_cut_what_is_seen(mimi: Standing) -> None:
    mimi.open()
    mimi.tick()
    picture = mimi.picture()
    assert shows(picture, 0.25, 1.0, "skin"), "the pupil reaches beyond the white of the eye"
    assert shows(picture, 0.35, 1.0, "black")
    assert shows(picture, -0.95, 1.0, "skin")
    assert shows(picture, -0.85, 1.0, "black")
    # A mask turned round: seen where the body is not.
    assert shows(picture, 0.8, -1.5, "blue")
    assert shows(picture, 1.3, -1.5, "orange")


def test_blending_tints_and_hidden_shapes(mimi: Standing) -> None:
    mimi.open()
    mimi.tick()
    picture = mimi.picture()
    blue, grey = COLOURS["blue"], COLOURS["grey"]
    added = tuple(min(255, a + b) for a, b in zip(blue, grey, strict=True))
    multiplied = tuple(round(a * b / 255) for a, b in zip(blue, grey, strict=True))
    assert is_near(at(picture, -0.7, -2.7), added)
    assert is_near(at(picture, 0.3, -2.7), multiplied)
    assert is_near(at(picture, -0.2, -1.3), (51, 255, 51))
    assert at(picture, 1.5, -2.6) == (0,), "not visible"
    assert at(picture, 1.5, 0.0) == (0,), "seen from behind"


@pytest.mark.parametrize(
    ("expression", "x", "y", "before", "after"),
    [
        ("Happy", 0.9, 0.45, "skin", "pink"),
        ("Narrow", 0.8, 1.3, "white", "skin"),
        ("Gape", 0.0, 0.3, "skin", "red"),
    ],
)
def test_each_expression_changes_what_it_says(
    mimi: Standing, expression: str, x: float, y: float, before: str, after: str
) -> None:
    mimi.open()
    mimi.tick()
    assert shows(mimi.picture(), x, y, before)
    mimi.face(expression)
    mimi.tick()
    assert shows(mimi.picture(), x, y, after)
    mimi.face("neutral", "ease-in-out", 100)
    mimi.tick(8)
    assert shows(mimi.picture(), x, y, before)


def test_an_expression_comes_over_in_its_time(mimi: Standing) -> None:
    mimi.open()
    mimi.tick()
    mimi.face("Happy", "smooth", 200)
    mimi.tick(1)
    mimi.tick(5)
    half = at(mimi.picture(), 0.9, 0.45)
    skin, pink = COLOURS["skin"], COLOURS["pink"]
    assert is_near(half, tuple(round((a + b) / 2) for a, b in zip(skin, pink, strict=True)))


def test_the_mouth_opens_and_widens_with_what_is_said(mimi: Standing) -> None:
    mimi.open()
    mimi.tick()
    heights = {}
    for viseme in live2d.VISEMES:
        mimi.mouth(**{viseme: 1})
        mimi.tick()
        red = np.abs(mimi.picture()[:, :, :3] - np.array(COLOURS["red"])).max(axis=2) <= 3
        heights[viseme] = (int(red.any(axis=1).sum()), int(red.any(axis=0).sum()))
    rest = heights["sil"]
    assert heights["PP"] == rest
    assert all(high > rest[0] for name, (high, _) in heights.items() if name not in ("sil", "PP"))
    assert heights["aa"][0] == max(high for high, _ in heights.values())
    assert heights["ih"][1] > rest[1] > heights["ou"][1], "wide for ee, round for oo"
    mimi.mouth()
    mimi.page.evaluate("() => stood.setSpeaking(0.9)")
    mimi.tick()
    assert shows(mimi.picture(), 0.0, 0.3, "red"), "loudness alone opens it too"


def test_a_motion_moves_switches_parts_and_ends(mimi: Standing) -> None:
    mimi.open()
    mimi.tick(3)
    assert shows(mimi.picture(), -1.5, -2.0, "green")
    assert at(mimi.picture(), -1.5, 0.0) == (0,), "the other arm is hidden"
    mimi.play("wave")
    mimi.tick(1)
    mimi.tick(35)  # 0.7 s: the curve is held at 1, so the arm is 0.8 higher
    picture = mimi.picture()
    assert at(picture, -1.5, -2.0) == (0,)
    assert shows(picture, -1.5, 1.2, "yellow")
    assert at(picture, -1.5, -0.5) == (0,)
    mimi.tick(60)
    picture = mimi.picture()
    assert shows(picture, -1.5, -2.0, "green")
    assert at(picture, -1.5, 0.0) == (0,)


def test_a_motion_moves_the_lids_and_the_gaze(mimi: Standing) -> None:
    mimi.open()
    mimi.play("look")
    mimi.tick(1)
    mimi.tick(20)  # 0.4 s, before the step back
    picture = mimi.picture()
    assert shows(picture, 0.35, 1.1, "white"), "the pupil has moved to her left"
    assert shows(picture, 0.85, 1.1, "black")
    assert shows(picture, 0.8, 1.36, "skin"), "the lids are lower by the model's own curve"


def test_a_looping_motion_is_repeated(mimi: Standing) -> None:
    mimi.open()
    mimi.play("wave", loop=True)
    mimi.tick(1)
    mimi.tick(round((1.5 * 2 + 0.7) / 0.02))
    assert shows(mimi.picture(), -1.5, 1.2, "yellow")
    mimi.play(None)
    mimi.tick(10)
    assert shows(mimi.picture(), -1.5, -2.0, "green")


def test_a_live2d_model_idles_and_its_hair_follows(mimi: Standing) -> None:
    mimi.open(calm=False)
    mimi.tick(1)
    seen = []
    for _ in range(6):
        mimi.tick(15)
        seen.append(mimi.picture())
    assert all(changed(one, other) > 40 for one, other in pairwise(seen))
    brown = [
        np.argwhere(np.abs(each[:, :, :3] - np.array(COLOURS["brown"])).max(axis=2) <= 3)[
            :, 1
        ].min()
        for each in seen
    ]
    assert max(brown) - min(brown) >= 3, "physics moves the hair"


def test_the_eyes_blink(mimi: Standing) -> None:
    mimi.open()
    mimi.tick(66)
    assert shows(mimi.picture(), 0.8, 1.3, "white")
    lids = []
    for _ in range(12):
        mimi.tick(2)
        lids.append(shows(mimi.picture(), 0.8, 1.3, "skin"))
    assert any(lids), "they shut"
    assert not lids[-1], "and open again"


def test_a_lost_picture_of_a_live2d_model_comes_back(mimi: Standing) -> None:
    mimi.open()
    mimi.tick()
    before = mimi.picture()
    mimi.page.evaluate(LOST, "webgl")
    assert changed(before, mimi.picture()) < 20


def test_disposing_releases_the_model(mimi: Standing) -> None:
    mimi.open()
    mimi.page.evaluate("() => stood.dispose()")
    released = "() => [Live2DCubismCore.Model.released, Live2DCubismCore.Moc.released]"
    assert mimi.page.evaluate(released) == [1, 1]
    assert mimi.page.locator("#place canvas").count() == 0


def test_settings_place_a_live2d_model(mimi: Standing) -> None:
    mimi.open(settings={"live2d": {"scale": 0.5, "x": 0.25, "y": 0}})
    mimi.tick()
    seen = np.argwhere(mimi.picture()[:, :, 3] > 0)
    assert seen[:, 0].min() > 290, "half as high, on the lower edge"
    assert seen[:, 0].max() == SIZE[1] - 1
    assert seen[:, 1].min() > 180, "moved a quarter to the right"


def test_without_the_core_the_rig_says_what_to_do(
    served: Served, mimi: Standing, tmp_path: Path
) -> None:
    rigs = served.app.state.backend.rigs
    core = rigs._own / live2d.CORE
    kept = core.rename(tmp_path / "kept.js")
    try:
        served.app.state.backend.rigs._looked_s = None
        problem = rig_of(served, "mimi")["problem"]
        assert "Cubism SDK" in problem
        assert str(rigs._own) in problem
        mimi.tab.allow("404|Refused to execute script")
        with pytest.raises(Exception, match=r"docs/rigs\.md"):
            mimi.open()
    finally:
        kept.rename(core)
    served.app.state.backend.rigs._looked_s = None
    assert rig_of(served, "mimi")["problem"] == ""
    mimi.open()


# --- on the overlay ---


@pytest.fixture
def wears(served: Served) -> Iterator[Callable[[str], None]]:
    """Has Hoshi, on stage, wear a rig; afterwards her own again."""

    def wear(rig_id: str) -> None:
        with served.client() as client:
            client.get("/api/rigs").raise_for_status()
            answer = client.patch("/api/characters/hoshi", json={"rig": rig_id})
            assert answer.status_code == 200, answer.text

    put_on_stage(served, "hoshi")
    yield wear
    wear("")


@pytest.mark.parametrize(("rig_id", "face"), [("nori", "love"), ("mimi", "Happy")])
def test_the_overlay_shows_a_model_and_what_is_asked_of_it(
    new_tab: Callable[..., Tab],
    served: Served,
    wears: Callable[[str], None],
    rig_id: str,
    face: str,
) -> None:
    wears(rig_id)
    tab = new_tab(reduced_motion="reduce", viewport={"width": SIZE[0], "height": SIZE[1]})
    page = tab.open("/overlay")
    page.locator(f"html[data-avatar={rig_id}]").wait_for(state="attached")
    page.wait_for_timeout(500)
    rest = picture_of(page)
    assert rest[:, :, 3].any()
    with served.client() as client:
        shown = client.post("/api/expression", json={"expression_id": face}).json()
        assert (shown["expression"], shown["rig"]) == (face, rig_id)
        page.wait_for_timeout(600)
        faces = []
        for _ in range(3):  # longer than a blink
            faces.append(changed(rest, picture_of(page)))
            page.wait_for_timeout(200)
        assert min(faces) > 100
        motion = rig_of(served, rig_id)["motions"][0]["name"]
        assert client.post("/api/motion", json={"motion": motion}).status_code == 200
        client.post("/api/avatar/release").raise_for_status()


def test_without_webgl_the_overlay_shows_her_pictures(
    tab: Tab, wears: Callable[[str], None]
) -> None:
    wears("nori")
    tab.allow("WebGL")
    tab.page.add_init_script(f"({WITHOUT_WEBGL})()")
    page = tab.open("/overlay")
    page.locator("html[data-avatar=pictures]").wait_for(state="attached")
    assert page.locator(".rig").count() == 1
    assert page.locator("canvas").count() == 0
    assert page.evaluate("document.body.innerText.trim()") == "", "nothing but her on stream"
    assert any("no WebGL" in line for line in tab.lines)


def test_without_the_core_the_overlay_shows_her_pictures_until_it_is_there(
    tab: Tab,
    new_tab: Callable[..., Tab],
    served: Served,
    wears: Callable[[str], None],
    tmp_path: Path,
) -> None:
    rigs = served.app.state.backend.rigs
    core = rigs._own / live2d.CORE
    kept = core.rename(tmp_path / "kept.js")
    rigs._looked_s = None  # a second has passed
    try:
        wears("mimi")
        page = tab.open("/overlay")
        page.locator("html[data-avatar=pictures]").wait_for(state="attached")
        for _ in range(100):
            if any("cannot be shown" in line for line in tab.lines):
                break
            page.wait_for_timeout(100)
        assert any("Luma's window says why" in line for line in tab.lines), tab.lines
        assert not any("Cubism" in line for line in tab.lines), "what is wrong is for the operator"
        assert page.evaluate("document.body.innerText.trim()") == ""
        other = new_tab()
        other.log_in("/webui/control")
        words = other.page.locator("#rig-problem")
        words.wait_for(state="visible")
        assert "Cubism SDK" in words.inner_text()
    finally:
        kept.rename(core)
    page.locator("html[data-avatar=mimi]").wait_for(state="attached")
    assert page.locator("canvas").count() == 1
    assert page.locator(".rig").count() == 1
