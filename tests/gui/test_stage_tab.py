"""The Stage tab: what is shown, asking for more, the conflict timeline by mouse and keyboard, and the links for OBS."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import thread_time
from typing import Any

import pytest

from backend.contracts.avatar import AvatarShown, CueEntry, Motion, MotionShown, Rig
from backend.contracts.entities import ServiceInfo
from backend.contracts.events import (
    AvatarChanged,
    AvatarCue,
    CharacterChanged,
    CharacterSwitched,
    PlaybackStarted,
    ServiceChanged,
)
from backend.contracts.settings import SettingInfo
from frontend.client import Failure
from frontend.widgets.timeline_view import MOST_BARS
from tests.gui.scene import Scene, provider_setting, scene, wire
from tests.gui.stand import words_on

pytestmark = pytest.mark.gui

RIG = Rig(
    id="hoshi",
    kind="puppet",
    title="Star fox",
    expressions=("neutral", "joy", "angry"),
    motions=(Motion(group="body", index=0, name="wave"), Motion(group="body", index=1, name="nod")),
)
SINK = SettingInfo(
    name="AUDIO_SINK",
    group="Speaking",
    meaning="Where she is heard.",
    kind="choice",
    value="speaker",
    default="speaker",
    allowed="",
    choices=("speaker", "overlay", "none"),
)


def now() -> datetime:
    return datetime.now(UTC)


def shown(**changes: Any) -> AvatarShown:
    return AvatarShown(**({"character_id": "hoshi", "rig": "hoshi"} | changes))


def entry(number: int, ago_s: float, outcome: str, name: str = "joy", **more: Any) -> CueEntry:
    fields: dict[str, Any] = {"kind": "expression", "owner": "chat", "character_id": "hoshi"}
    return CueEntry(
        id=number,
        at=now() - timedelta(seconds=ago_s),
        name=name,
        outcome=outcome,
        **(fields | more),
    )


ANSWERS: dict[str, Any] = {
    "GET /api/rigs": wire([RIG]),
    "GET /api/avatar/state": wire(shown()),
    "GET /api/avatar/timeline": [],
    "GET /api/overlay-token": {"token": "s3cret-overlay-token"},
    "GET /api/config": wire([provider_setting(), SINK]),
    "POST /api/expression": wire(shown()),
    "POST /api/motion": wire(shown()),
}


@pytest.fixture
def s(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path, ANSWERS, tab="stage") as made:
        made.settle(lambda: made.window.avatar.rig is not None)
        yield made


def stage(s: Scene) -> Any:
    return s.window.tabs["stage"]


# --- now ---


def test_what_is_shown_is_said_with_owner_priority_and_time_left(s: Scene) -> None:
    until = now() + timedelta(seconds=90)
    face = shown(
        expression="angry",
        owner="command",
        priority=10,
        until=until,
        motion=MotionShown(group="body", index=0, name="wave", owner="client:tablet", loop=True),
        waiting=(MotionShown(group="body", index=1, name="nod"),),
    )
    s.say(AvatarChanged(expression="angry", character_id="hoshi", shown=face))
    tab = stage(s)
    assert tab.face_words.cget("text") == "Angry"
    assert tab.owner_words._whole == "asked by a chat command, priority 10"
    assert tab.until_words._whole.startswith(("90 s left", "89 s left"))
    assert "wave, again and again, asked by a client tablet" in tab.motion_words._whole
    assert tab.queue_words._whole == "Next: nod"
    assert tab.faces.marked == "angry"
    assert tab.moves.marked == "wave"


def test_another_character_has_other_faces(s: Scene) -> None:
    owl = Rig(id="sumi", kind="picture", title="Owl", expressions=("neutral", "stern"))
    s.backend.answers["GET /api/rigs"] = wire([RIG, owl])
    s.backend.answers["GET /api/avatar/state"] = wire(shown(character_id="sumi", rig="sumi"))
    s.say(CharacterSwitched(character_id="sumi", name="Professor Sumi", conversation_id="stage"))
    s.settle(lambda: "stern" in stage(s).faces.names)
    assert stage(s).faces.names == ("neutral", "stern")
    assert stage(s).moves.names == ()
    assert "it has no motions" in stage(s).rig_words._whole


def test_a_character_with_another_rig_has_that_rigs_faces(s: Scene) -> None:
    broken = Rig(id="mine", kind="vrm", title="Mine", problem="a.vrm is no VRM file")
    s.backend.answers["GET /api/rigs"] = wire([RIG, broken])
    s.backend.answers["GET /api/avatar/state"] = wire(shown(rig="mine"))
    characters: Any = s.backend.answers["GET /api/characters"]
    s.backend.answers["GET /api/characters"] = [{**one, "rig": "mine"} for one in characters]
    s.say(CharacterChanged(character_id="hoshi", name="Hoshi Kitsune", change="updated"))
    s.settle(lambda: stage(s).rig_words._whole == "a.vrm is no VRM file")


def test_an_old_backend_says_so_in_words(tmp_path: Path) -> None:
    with scene(tmp_path, tab="stage") as s:
        s.settle(lambda: s.window.avatar.is_loaded)
        assert "older than this window" in stage(s).owner_words._whole
        # The faces of the character itself are still there to be pressed.
        assert "smug" in stage(s).faces.names


# --- asking ---


def test_a_face_is_asked_for_with_duration_priority_and_change(s: Scene) -> None:
    tab = stage(s)
    tab.duration._chosen("15000")
    tab.priority._chosen("50")
    tab.transition._chosen("ease-in-out")
    tab.faces.chips["joy"].invoke()
    s.settle()
    assert s.backend.bodies("POST /api/expression") == [
        {"expression_id": "joy", "duration": 15000.0, "priority": 50, "transition": "ease-in-out"}
    ]
    # What is marked is what is shown, not what was pressed.
    assert tab.faces.marked == "neutral"


def test_until_changed_sends_no_duration(s: Scene) -> None:
    stage(s).duration._chosen("0")
    stage(s).faces.chips["angry"].invoke()
    s.settle()
    assert s.backend.bodies("POST /api/expression") == [
        {"expression_id": "angry", "transition": "smooth"}
    ]


def test_a_motion_is_asked_for_once_or_again_and_again(s: Scene) -> None:
    tab = stage(s)
    tab.moves.chips["nod"].invoke()
    tab.loop.invoke()
    tab.moves.chips["wave"].invoke()
    s.settle()
    assert s.backend.bodies("POST /api/motion") == [
        {"motion_group": "body", "motion_index": 1, "loop": False},
        {"motion_group": "body", "motion_index": 0, "loop": True},
    ]


def test_release_is_there_while_something_is_wanted(s: Scene) -> None:
    tab = stage(s)
    assert not tab.release_button.enabled
    s.say(AvatarChanged(expression="joy", character_id="hoshi", shown=shown(owner="api")))
    s.backend.answers["POST /api/avatar/release"] = wire(shown())
    tab.release_button.invoke()
    s.settle()
    assert s.backend.bodies("POST /api/avatar/release") == [{"owner": ["window", "page"]}]
    assert not tab.release_button.enabled


def test_all_ends_what_others_want_too(s: Scene) -> None:
    tab = stage(s)
    assert not tab.rest_button.enabled
    s.say(AvatarChanged(expression="joy", character_id="hoshi", shown=shown(owner="chat")))
    s.backend.answers["POST /api/avatar/release"] = wire(shown())
    tab.rest_button.invoke()
    s.settle()
    assert s.backend.bodies("POST /api/avatar/release") == [{}]


def test_a_refusal_is_shown(s: Scene) -> None:
    s.backend.answers["POST /api/expression"] = Failure(
        "input", "Hoshi has no expression 'x'.", 422
    )
    stage(s).faces.chips["joy"].invoke()
    s.settle()
    assert s.window.notices.texts == ["Hoshi has no expression 'x'."]


# --- the timeline ---


def told(s: Scene, *lines: CueEntry) -> Any:
    s.say(*[AvatarCue(entry=line) for line in lines])
    s.settle(lambda: stage(s).lanes.drawn_bars >= 1)
    return stage(s)


def test_bars_appear_as_it_happens_with_who_wanted_them(s: Scene) -> None:
    tab = told(
        s,
        entry(1, 9, "shown"),
        entry(2, 6, "shown", "angry", owner="command", priority=10),
        entry(1, 6, "preempted", by="command"),
    )
    drawn = " ".join(words_on(tab.lanes))
    assert "joy" in drawn
    assert "a chat comm" in drawn
    assert [line.name for line in tab.list.lines] == ["joy", "angry", "joy"]
    s.say(
        PlaybackStarted(
            turn_id="t",
            n=1,
            text="Every fox",
            url="/x",
            duration_s=4,
            sink="speaker",
            conversation_id="stage",
            at=now() - timedelta(seconds=8),
        )
    )
    s.settle(lambda: any("Every" in words for words in words_on(tab.lanes)))


def test_the_keyboard_walks_through_bars_and_says_each_in_words(s: Scene) -> None:
    tab = told(
        s,
        entry(1, 9, "shown", turn_id="turn-7"),
        entry(1, 7, "expired", is_final=True),
        entry(2, 5, "refused", "flip", kind="motion", owner="api", reason="there is wave, nod"),
    )
    s.press("<Left>", tab.lanes)
    assert (
        tab.detail._whole
        == "Motion flip, asked by the API, priority 0, refused: there is wave, nod"
    )
    s.press("<Left>", tab.lanes)
    assert tab.detail._whole.startswith(
        "Expression joy, asked by her reply, priority 0, shown for 2.0 s"
    )
    # The list shows the same line.
    assert tab.list.lines[tab.list.current].name == "joy"
    s.press("<Down>", tab.lanes)
    assert tab.lanes.bar.name == "flip"
    s.press("<Up>", tab.lanes)
    s.backend.answers["GET /api/turns/turn-7"] = {}
    s.press("<Return>", tab.lanes)
    assert s.window.current == "chat"


def test_a_line_of_the_list_shows_its_bar(s: Scene) -> None:
    tab = told(s, entry(1, 9, "shown"), entry(2, 5, "shown", "angry"))
    tab.list.choose(1)
    s.settle()
    assert tab.lanes.bar.name == "joy"


def test_scrolling_back_stops_following_and_end_follows_again(s: Scene) -> None:
    tab = told(
        s, entry(1, 100, "shown"), entry(1, 98, "expired", is_final=True), entry(2, 2, "shown")
    )
    assert tab.lanes.is_following
    s.press("<Home>", tab.lanes)
    assert not tab.lanes.is_following
    first, last = tab.lanes.window_s()
    assert first < now().timestamp() - 100 < last
    assert tab.newest.winfo_manager() == "pack"
    s.press("<End>", tab.lanes)
    assert tab.lanes.is_following
    assert tab.newest.winfo_manager() == ""


def test_zoom_by_keys_and_by_the_list_agree(s: Scene) -> None:
    tab = stage(s)
    s.press("<plus>", tab.lanes)
    assert tab.lanes.span_s == 15
    assert tab.span.value == "15"
    tab.span._chosen("600")
    assert tab.lanes.span_s == 600


def test_what_is_read_stands_still_and_what_is_new_is_counted(s: Scene) -> None:
    tab = told(s, *[entry(n, 60 - n, "shown") for n in range(20)])
    s.settle(lambda: len(tab.list.lines) == 20)
    tab.list.choose(5)
    before = list(tab.list.lines)
    s.say(AvatarCue(entry=entry(99, 0, "shown", "angry")))
    s.settle(lambda: tab.fresh.text == "1 new")
    assert tab.list.lines == before
    tab.fresh.invoke()
    s.settle()
    assert tab.list.lines[0].name == "angry"
    assert tab.fresh.winfo_manager() == ""


def test_thousands_of_wishes_draw_only_what_is_in_sight(s: Scene) -> None:
    lines: list[CueEntry] = []
    for number in range(1500):
        lines += [
            entry(number, 1500 - number, "shown"),
            entry(number, 1499.5 - number, "expired", is_final=True),
        ]
    s.backend.answers["GET /api/avatar/timeline"] = wire(lines)
    s.window.avatar.load_timeline()
    tab = stage(s)
    s.settle(lambda: tab.lanes.drawn_bars > 0)
    tab.lanes.repaint()
    assert tab.lanes.drawn_bars <= 32
    tab.lanes.set_span(1800)
    took: list[float] = []
    for _ in range(5):
        began = thread_time()
        tab.lanes.repaint()
        took.append(thread_time() - began)
    assert tab.lanes.drawn_bars <= MOST_BARS
    assert min(took) < 0.05
    tab.list.repaint()
    assert len(tab.list.find_all()) < 200


def test_an_empty_stage_says_what_will_appear(s: Scene) -> None:
    tab = stage(s)
    tab.lanes.repaint()
    tab.list.repaint()
    assert any("Nothing yet" in words for words in words_on(tab.lanes))
    assert any("Nobody has asked" in words for words in words_on(tab.list))


def test_a_hidden_tab_does_not_draw(s: Scene) -> None:
    tab = told(s, entry(1, 5, "shown"))
    s.window.show_tab("chat")
    s.settle()
    version = tab._drawn_version
    s.say(AvatarCue(entry=entry(2, 0, "shown", "angry")))
    s.settle()
    assert tab._drawn_version == version
    s.window.show_tab("stage")
    s.settle(lambda: tab._drawn_version != version)


# --- links for the stream ---


def copied(s: Scene) -> str:
    return str(s.window.root.clipboard_get())


def test_the_overlay_link_is_copied_and_never_shown(s: Scene) -> None:
    card = stage(s).overlay
    card.copy_overlay.invoke()
    s.settle()
    assert copied(s) == "http://127.0.0.1:1/overlay?token=s3cret-overlay-token"
    assert "was copied" in s.window.notices.texts[0]
    assert "s3cret" not in " ".join(s.window.notices.texts)


def test_the_link_comes_from_the_palette_too(s: Scene) -> None:
    s.window._command("stage.overlay")
    s.settle()
    assert copied(s).startswith("http://127.0.0.1:1/overlay?token=")


def test_captions_carry_their_looks_in_the_link(s: Scene) -> None:
    card = stage(s).overlay
    card.styles["Size"]._chosen("large")
    card.styles["Letters"]._chosen("black")
    card.copy_captions.invoke()
    s.settle()
    link = "http://127.0.0.1:1/captions?token=s3cret-overlay-token"
    assert copied(s) == f"{link}&size=64&colour=111111&outline_colour=ffffff"


def test_new_links_are_made_only_after_it_was_said_what_that_does(s: Scene) -> None:
    card = stage(s).overlay
    s.backend.answers["POST /api/overlay-token/rotate"] = {"token": "new"}
    card.renew.invoke()
    s.settle()
    assert s.backend.bodies("POST /api/overlay-token/rotate") == []
    assert card._asked.winfo_manager() == "pack"
    card.renew_now.invoke()
    s.settle()
    assert s.backend.bodies("POST /api/overlay-token/rotate") == [{}]
    assert card._asked.winfo_manager() == ""


def test_her_voice_is_sent_to_the_overlay(s: Scene) -> None:
    card = stage(s).overlay
    s.settle(lambda: card.sink.value == "speaker")
    s.backend.answers["POST /api/config"] = {"changed": ["AUDIO_SINK"]}
    card.sink._chosen("overlay")
    s.settle()
    assert s.backend.bodies("POST /api/config") == [{"values": {"AUDIO_SINK": "overlay"}}]


def test_how_many_overlays_play_is_said_and_so_is_that_none_does(s: Scene) -> None:
    service = ServiceInfo(
        name="overlay-sound", title="Overlay", state="ready", detail="1 page can play the stage"
    )
    card = stage(s).overlay
    s.say(ServiceChanged(service=service))
    assert card.sub_words._whole == "1 page can play the stage"
    gone = service.model_copy(
        update={"state": "degraded", "error": "No overlay page is connected: nobody hears her."}
    )
    s.say(ServiceChanged(service=gone))
    assert card.sub_words._whole == ""
    assert card.sink_note._whole == "No overlay page is connected: nobody hears her."


def test_a_page_is_opened_with_a_link_that_logs_in(
    s: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    s.backend.answers["POST /api/login-link"] = {"url": "http://127.0.0.1:1/login?code=x"}
    stage(s).overlay.pages["/webui/control"].invoke()
    s.settle()
    assert s.backend.bodies("POST /api/login-link") == [{"page": "/webui/control"}]
    assert opened == ["http://127.0.0.1:1/login?code=x"]
