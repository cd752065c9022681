"""The window of microphone and sound: choosing, seeing the level, trying out; what is wrong and how to mend it."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.contracts.entities import ServiceInfo
from backend.contracts.events import ListeningChanged, ListeningLevel
from backend.contracts.listening import InputDeviceInfo, ListeningState
from backend.contracts.settings import SettingInfo
from frontend.client import Failure
from frontend.sound_window import SoundWindow
from frontend.widgets.popup import Picker
from tests.gui.scene import INPUTS, Scene, provider_setting, scene, wire

pytestmark = pytest.mark.gui

INPUT = "POST /api/audio/input"
TEST = "POST /api/audio/input/test"


@pytest.fixture
def s(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as made:
        made.window.state["microphone.told"] = True
        yield made


def opened(s: Scene) -> SoundWindow:
    s.settle(lambda: s.window.microphone.is_known)
    s.window.open_sound()
    s.settle()
    window = SoundWindow.current()
    assert window is not None
    return window


def words(widget: tk.Misc) -> str:
    """Everything that labels say in a window, as far as it is shown."""
    out = []
    for child in widget.winfo_children():
        if child.winfo_manager():
            if isinstance(child, tk.Label):
                out.append(str(child.cget("text")))
            out.append(words(child))
    return "\n".join(out)


def devices(inputs: list[InputDeviceInfo], **output: Any) -> dict[str, Any]:
    usual = {"sink": "speaker", "device": "", "volume": 0.7, "muted": False, "problem": ""}
    return {"outputs": [{"name": "Speakers"}], "output": usual | output, "inputs": wire(inputs)}


def test_it_opens_from_a_key_and_there_is_one_only(s: Scene) -> None:
    s.press("<Control-Shift-S>", s.chat.composer.text)
    first = SoundWindow.current()
    assert first is not None
    assert opened(s) is first
    s.press("<Escape>", first)
    assert SoundWindow._current is None


def test_the_first_line_in_sight_says_where_a_voice_goes(s: Scene) -> None:
    window = opened(s)
    assert "not recorded and not sent anywhere" in words(window)
    assert window._scroll.scrolled == 0


def test_a_microphone_is_chosen_by_name_and_the_systems_is_followed(s: Scene) -> None:
    window = opened(s)
    titles = [(choice.value, choice.title, choice.detail) for choice in window.device.choices]
    assert titles[0] == ("", "System default", "now Shure MV7")
    assert [title for _, title, _ in titles[1:]] == [one.name for one in INPUTS]
    window.device._chosen("Webcam C920")
    s.settle()
    assert s.backend.bodies(INPUT) == [{"device": "Webcam C920"}]
    window.device._chosen("")
    s.settle()
    assert s.backend.bodies(INPUT)[-1] == {"device": ""}


def test_a_chosen_microphone_that_is_gone_stays_in_the_list(s: Scene) -> None:
    s.backend.listening = ListeningState(device="Old headset")
    s.window.microphone.load()
    window = opened(s)
    assert window.device.choices[-1].title == "Old headset"
    assert window.device.choices[-1].detail == "not connected"


def test_without_a_microphone_it_says_what_to_do(tmp_path: Path) -> None:
    with scene(tmp_path, {"GET /api/devices": devices([])}) as s:
        assert "No microphone was found. Plug one in" in words(opened(s))


def test_the_system_s_microphone_is_marked_as_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scene(tmp_path, {"GET /api/devices": devices([InputDeviceInfo(name="Yeti")])}) as s:
        window = opened(s)
        window.device.open()
        s.settle()
        (found,) = [child for child in window.winfo_children() if isinstance(child, Picker)]
        marks: list[str] = []
        monkeypatch.setattr(found._painter, "icon", lambda x, y, name, *rest: marks.append(name))
        for choice in found.choices:
            found._draw_row(choice, False, 0, 40, 400)
        assert [name for name in marks if name == "check"] == ["check"]
        found.close()


def test_fifty_microphones_with_long_names_fit(tmp_path: Path) -> None:
    names = [
        f"Microphone {n} \U0001f3a4 \u30de\u30a4\u30af " + "very long " * 20 for n in range(50)
    ]
    many = [InputDeviceInfo(name=name) for name in names]
    with scene(tmp_path, {"GET /api/devices": devices(many)}) as s:
        window = opened(s)
        window.device.open()
        s.settle()
        (found,) = [child for child in window.winfo_children() if isinstance(child, Picker)]
        assert len(found.choices) == 51
        assert found.winfo_width() <= window.winfo_width()
        assert found.winfo_y() + found.winfo_height() <= window.winfo_height()
        found.close()


def test_a_problem_stands_in_the_window_with_a_way_to_try_again(s: Scene) -> None:
    problem = "Shure MV7 is used by another program. Close it there."
    s.backend.listening = ListeningState(mode="open", state="problem", problem=problem)
    s.window.microphone.load()
    window = opened(s)
    assert problem in words(window)
    before = len(s.backend.bodies("GET /api/devices"))
    window._try_again()
    s.settle()
    assert s.backend.bodies(INPUT) == [{"device": ""}]
    assert len(s.backend.bodies("GET /api/devices")) > before


def test_ways_to_listen_and_guards_are_chosen_with_their_sentence(s: Scene) -> None:
    window = opened(s)
    window.modes["push_to_talk"].invoke()
    s.settle()
    assert "Heard only while you hold F8" in words(window)
    window.guards["headphones"].invoke()
    s.settle()
    assert s.backend.bodies(INPUT) == [{"mode": "push_to_talk"}, {"guard": "headphones"}]
    assert window.guards["headphones"].on
    assert not window.guards["guard"].on
    assert "over loudspeakers she would hear herself" in words(window)


def test_a_change_from_elsewhere_is_shown(s: Scene) -> None:
    window = opened(s)
    state = ListeningState(mode="open", state="listening", muted=True, gain_db=12, guard="strict")
    s.say(ListeningChanged(listening=state))
    assert window.modes["open"].on
    assert window.mute_button.text == "Unmute"
    assert window.guards["strict"].on
    assert "+12 dB" in words(window)


def test_gain_is_in_whole_decibels_and_zero_is_easy_to_find(s: Scene) -> None:
    window = opened(s)
    window.gain._take(0.44)
    s.settle()
    window.gain._take(1.0)
    s.settle()
    assert [body["gain_db"] for body in s.backend.bodies(INPUT)] == [0.0, 40.0]


def test_clipping_is_said_for_as_long_as_one_needs_to_read_it(s: Scene) -> None:
    window = opened(s)
    s.say(ListeningChanged(listening=ListeningState(mode="open", state="listening")))
    s.say(ListeningLevel(level_dbfs=-3, peak_dbfs=0, clipped=True))
    s.say(ListeningLevel(level_dbfs=-20, peak_dbfs=-12))
    assert "Too loud: it clips" in words(window)
    window._clip_over()
    assert "Too loud" not in words(window)


# --- push-to-talk ---


def test_the_next_key_becomes_the_talk_key_unless_it_is_needed(s: Scene) -> None:
    window = opened(s)
    window.catch_key()
    s.press("<Key-a>", window.key_button)
    assert "needed for writing" in words(window)
    s.press("<F9>", window.key_button)
    assert window.key_button.text == "F9"
    assert s.window.talk_key.keysym == "F9"
    assert s.window.state["microphone.key"] == "F9"


def test_a_click_alone_brings_the_next_key_to_the_talk_key(s: Scene) -> None:
    window = opened(s)
    window.focus_force()
    s.settle()
    window.key_button.event_generate("<ButtonPress-1>", x=5, y=5)
    window.key_button.event_generate("<ButtonRelease-1>", x=5, y=5)
    s.settle()
    s.press("<F9>", window.focus_get())
    assert window.key_button.text == "F9"


def test_escape_keeps_the_old_key_and_the_window(s: Scene) -> None:
    window = opened(s)
    window.catch_key()
    s.press("<Escape>", window.key_button)
    assert window.winfo_exists()
    assert window.key_button.text == "F8"


def test_the_talk_key_can_be_tried_here(s: Scene) -> None:
    s.backend.listening = ListeningState(mode="push_to_talk", state="listening")
    s.window.microphone.load()
    window = opened(s)
    s.press("<KeyPress-F8>", window)
    assert s.backend.bodies("POST /api/listening/talk") == [{"down": True}]
    window.close()
    s.settle()
    assert s.backend.bodies("POST /api/listening/talk")[-1] == {"down": False}


# --- trying it out ---


def test_a_test_recording_ends_with_a_verdict(s: Scene) -> None:
    window = opened(s)
    for peak, verdict in (
        (-12.0, "good level"),
        (-0.2, "Too loud"),
        (-50.0, "Very quiet"),
        (-80.0, "Only silence"),
    ):
        window.test_button.invoke()
        assert "Say something" in words(window)
        assert not window.test_button.enabled
        s.say(ListeningLevel(level_dbfs=peak - 6, peak_dbfs=peak))
        window._tested({"url": "/api/audio/x/1", "seconds": 5})
        assert "Playing it back" in words(window)
        window._judge()
        assert verdict in words(window)
        assert window.test_button.enabled


def test_a_test_that_fails_says_why_and_can_be_repeated(s: Scene) -> None:
    s.backend.answers[TEST] = Failure("conflict", "The character is speaking. Wait.", 409)
    window = opened(s)
    window.test_button.invoke()
    s.settle()
    assert "The character is speaking. Wait." in words(window)
    assert window.test_button.enabled


def test_a_test_sound_is_her_own_voice(s: Scene) -> None:
    s.backend.answers["POST /api/tts"] = {"url": "/x"}
    window = opened(s)
    window.sound_button.invoke()
    s.settle()
    (body,) = s.backend.bodies("POST /api/tts")
    assert body["play"] is True
    assert window.sound_button.enabled


def test_a_loudspeaker_is_chosen_and_its_trouble_shown(tmp_path: Path) -> None:
    found = devices(INPUTS, device="Gone", problem="The loudspeaker is gone. Choose another one.")
    with scene(tmp_path, {"GET /api/devices": found}) as s:
        window = opened(s)
        assert "The loudspeaker is gone." in words(window)
        window.output._chosen("Speakers")
        assert s.backend.bodies("POST /api/audio/output") == [{"device": "Speakers"}]


# --- who reads ---


def test_a_basic_recogniser_leads_to_a_better_one(tmp_path: Path) -> None:
    chain = SettingInfo(
        name="STT_CHAIN", group="Hearing", meaning="m", kind="list", value=("whisper", "sphinx"),
        default=(), allowed="any",
    )  # fmt: skip
    services = [
        ServiceInfo(name="stt/whisper", title="Whisper", state="off"),
        ServiceInfo(name="stt/sphinx", title="Sphinx", state="ready"),
    ]
    answers = {
        "GET /api/config": wire([provider_setting(), chain]),
        "GET /api/status": {"services": wire(services)},
    }
    with scene(tmp_path, answers) as s:
        window = opened(s)
        assert "A Whisper model makes it better" in words(window)
        window.model_button.invoke()
        s.settle()
        assert SoundWindow._current is None
        assert s.window.current == "voice"
        assert s.window.tabs["voice"].page == "voices"  # type: ignore[attr-defined]  # the tab of voices


@pytest.mark.parametrize(("theme", "scale"), [("light", 1.0), ("dark", 2.0)])
def test_every_control_is_reached_by_the_keyboard(tmp_path: Path, theme: str, scale: float) -> None:
    with scene(tmp_path, theme=theme, scale=scale) as s:
        window = opened(s)
        stops: list[tk.Misc] = []
        at: tk.Misc | None = window.modes["off"]
        while at is not None and at not in stops:
            stops.append(at)
            at = at.tk_focusNext()
        wanted = [
            *window.modes.values(), *window.guards.values(), window.key_button, window.device, window.gain,
            window.test_button, window.output, window.volume, window.sound_button,
        ]  # fmt: skip
        assert [one for one in wanted if one not in stops] == []
        assert [stop for stop in stops if not getattr(stop, "label", "")] == []


def test_a_change_of_scale_or_theme_leaves_nothing_behind(s: Scene) -> None:
    opened(s)
    s.window.set_theme("light")
    s.settle()
    s.window.set_scale(1.5)
    s.settle()
    s.say(ListeningLevel(level_dbfs=-20, peak_dbfs=-12))
    s.say(ListeningChanged(listening=ListeningState(mode="open", state="listening")))
    assert not s.window.notices.texts, "a callback of a destroyed window would be told here"
