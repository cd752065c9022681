"""Talking with the character through the window: what is shown of the microphone, and how it is held, opened and muted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.contracts.entities import STAGE
from backend.contracts.events import (
    ChatMessage,
    ListeningChanged,
    ListeningLevel,
    PlaybackDucked,
    UtteranceDropped,
    UtteranceEnded,
    UtterancePartial,
    UtteranceStarted,
    UtteranceTranscribed,
)
from backend.contracts.listening import ListeningState
from backend.contracts.settings import SettingInfo
from frontend.widgets.composer import HINT
from frontend.widgets.popup import Picker
from tests.gui.scene import (
    Scene,
    asked,
    at,
    finished,
    playing,
    ready,
    scene,
    sentence,
    spans,
    started,
)

pytestmark = pytest.mark.gui

OPEN = ListeningState(
    state="listening", mode="open", device_now="Shure MV7", rate_hz=48_000, vad="silero"
)
INPUT = "POST /api/audio/input"
TALK = "POST /api/listening/talk"


@pytest.fixture
def s(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as made:
        made.window.state["microphone.told"] = True
        made.settle(lambda: made.window.microphone.is_known)
        yield made


def listens(s: Scene, **changes: Any) -> None:
    """The microphone is like this now."""
    s.backend.listening = OPEN.model_copy(update=changes)
    s.say(ListeningChanged(listening=s.backend.listening))


def begins(name: str = "u1", **changes: Any) -> UtteranceStarted:
    return UtteranceStarted(utterance_id=name, conversation_id=STAGE, **changes)


def partly(text: str, name: str = "u1") -> UtterancePartial:
    return UtterancePartial(utterance_id=name, text=text, conversation_id=STAGE)


def ended(name: str = "u1") -> UtteranceEnded:
    return UtteranceEnded(utterance_id=name, duration_s=1.5, silence_ms=600, conversation_id=STAGE)


def read(text: str, name: str = "u1") -> UtteranceTranscribed:
    return UtteranceTranscribed(
        text=text, engine="whisper base", duration_s=1.5, elapsed_ms=160, origin="microphone",
        utterance_id=name, conversation_id=STAGE,
    )  # fmt: skip


def dropped(detail: str = "too short: 120 ms, ASR_MIN_SPEECH_MS=200", **f: Any) -> UtteranceDropped:
    fields = {"utterance_id": "u1", "reason": "too_short", "conversation_id": STAGE, **f}
    return UtteranceDropped(detail=detail, **fields)


def heard(turn: str, text: str) -> ChatMessage:
    return asked(turn, text, origin="microphone")


def level(db: float = -20.0, **changes: Any) -> ListeningLevel:
    return ListeningLevel(level_dbfs=db, peak_dbfs=db + 6, **changes)


def pickers(s: Scene) -> list[Picker]:
    return [child for child in s.window.root.winfo_children() if isinstance(child, Picker)]


# --- the header ---


def test_a_problem_is_in_the_tooltip_with_its_fix(s: Scene) -> None:
    listens(s, state="problem", problem="Shure MV7 is busy. Close the other program.")
    assert "Close the other program" in s.window.header.microphone.tooltip.text


def test_the_tooltip_names_the_mute_key_only_where_it_mutes(s: Scene) -> None:
    tip = s.window.header.microphone.tooltip
    listens(s)
    assert tip.text.endswith("Ctrl+Shift+M mutes")
    listens(s, muted=True)
    assert tip.text.endswith("Ctrl+Shift+M unmutes")
    for changes in (
        {"mode": "off", "state": "off"},
        {"state": "problem", "problem": "It is busy."},
    ):
        listens(s, **changes)
        assert "Ctrl" not in tip.text


def test_the_ways_to_listen_are_explained_in_full(s: Scene) -> None:
    listens(s)
    s.window.header.microphone.open()
    s.settle()
    (found,) = pickers(s)
    room = found.winfo_width() - s.window.theme.px(40 + 14 + 24 + 10)
    for choice in found.choices:
        assert s.window.theme.measure(choice.detail, "cap") <= room, choice.detail


def test_the_header_does_not_move_when_somebody_begins_to_speak(s: Scene) -> None:
    listens(s)
    wide = s.window.header.microphone.winfo_reqwidth()
    for state in ("hearing", "reading", "listening"):
        listens(s, state=state)
        assert s.window.header.microphone.winfo_reqwidth() == wide


def test_a_click_mutes_and_the_next_unmutes(s: Scene) -> None:
    listens(s)
    s.window.header.microphone.press()
    assert s.window.microphone.look.word == "Muted", "at once, not when the backend has answered"
    s.settle()
    s.window.header.microphone.press()
    s.settle()
    assert s.backend.bodies(INPUT) == [{"muted": True}, {"muted": False}]
    assert s.window.microphone.look.word == "Listening"


def test_a_click_on_a_closed_microphone_offers_the_ways_to_listen(s: Scene) -> None:
    s.window.header.microphone.press()
    s.settle()
    (found,) = pickers(s)
    assert [c.title for c in found.choices][:3] == ["Off", "Push to talk", "Open microphone"]
    found.close()
    s.window.header.microphone._chosen("open")
    s.settle()
    assert s.backend.bodies(INPUT) == [{"mode": "open"}]


def test_the_key_mutes_from_the_message_field(s: Scene) -> None:
    listens(s)
    s.press("<Control-Shift-M>", s.chat.composer.text)
    assert s.backend.bodies(INPUT) == [{"muted": True}]
    assert s.chat.composer.words == ""


def test_the_level_touches_only_the_bars_that_change(s: Scene) -> None:
    listens(s)
    chip = s.window.header.microphone
    s.say(level(-30))
    items = chip.find_all()
    colours = [str(chip.itemcget(bar, "fill")) for bar in chip._bars]  # type: ignore[no-untyped-call]
    s.say(level(-22))
    assert chip.find_all() == items, "nothing was drawn anew"
    now = [str(chip.itemcget(bar, "fill")) for bar in chip._bars]  # type: ignore[no-untyped-call]
    assert sum(a != b for a, b in zip(colours, now, strict=True)) == 1


def test_a_burst_of_levels_is_drawn_once_and_keeps_the_clipping(s: Scene) -> None:
    listens(s)
    drawn: list[tuple[float, bool]] = []
    microphone = s.window.microphone
    microphone.listen(("level",), lambda: drawn.append((microphone.level_db, microphone.clipped)))
    for n in range(20):
        microphone.on_event(level(-60 + n, clipped=n == 3))
    microphone.flush()
    assert drawn == [(-41.0, True)]
    s.say(level(-30))
    assert drawn[1:] == [(-30.0, False)]


def test_a_level_costs_far_less_than_a_frame(s: Scene) -> None:
    listens(s)
    s.window.open_sound()
    s.settle()
    microphone = s.window.microphone
    took = []
    for n in range(20):
        microphone.on_event(level(-60 + 50 * (n % 2)))
        began = time.thread_time()
        microphone.flush()
        took.append(time.thread_time() - began)
    assert min(took) < 0.008


def test_a_lost_backend_shows_no_live_microphone(s: Scene) -> None:
    listens(s, state="hearing")
    s.say(begins(), partly("are you"))
    s.backend.lose()
    s.settle()
    assert s.window.header.microphone.words == "Microphone"
    assert "are you" not in s.shown


# --- talking ---


def test_holding_the_button_of_a_closed_microphone_opens_it_for_talking(s: Scene) -> None:
    button = s.chat.composer.talk_button
    button.press()
    s.settle(lambda: bool(s.backend.bodies(TALK)))
    button.release()
    s.settle(lambda: len(s.backend.bodies(TALK)) == 2)
    assert s.backend.bodies(INPUT) == [{"mode": "push_to_talk"}]
    assert s.backend.bodies(TALK) == [{"down": True}, {"down": False}]


def test_a_click_never_talks(s: Scene) -> None:
    listens(s, mode="push_to_talk")
    button = s.chat.composer.talk_button
    button.press()
    button.release()
    s.settle()
    assert s.backend.bodies(TALK) == []
    assert s.backend.bodies(INPUT) == [{"mode": "open"}]


def test_a_button_that_is_held_and_left_is_let_go(s: Scene) -> None:
    listens(s, mode="push_to_talk")
    button = s.chat.composer.talk_button
    button.focus_force()
    button.press()
    s.settle(lambda: s.backend.bodies(TALK) == [{"down": True}])
    s.chat.composer.text.focus_force()
    s.settle(lambda: s.backend.bodies(TALK)[-1] == {"down": False})
    assert s.backend.bodies(INPUT) == [], "leaving is no click"


def test_a_click_on_the_button_opens_the_microphone_and_closes_it(s: Scene) -> None:
    button = s.chat.composer.talk_button
    for _ in range(2):
        button.press()
        button.release()
        s.settle()
    assert s.backend.bodies(INPUT) == [{"mode": "open"}, {"mode": "off"}]


def test_the_key_talks_while_it_is_held_and_writes_nothing(s: Scene) -> None:
    listens(s, mode="push_to_talk")
    text = s.chat.composer.text
    s.press("<KeyPress-F8>", text)
    assert s.window.header.microphone.words == "Talk now"
    for _ in range(3):  # X11 repeats a held key as release and press
        text.event_generate("<KeyRelease-F8>")
        text.event_generate("<KeyPress-F8>")
    s.settle()
    assert s.backend.bodies(TALK) == [{"down": True}]
    text.event_generate("<KeyRelease-F8>")
    s.settle(lambda: len(s.backend.bodies(TALK)) == 2)
    assert s.backend.bodies(TALK)[-1] == {"down": False}
    assert s.chat.composer.words == ""


def test_the_talk_key_is_remembered(tmp_path: Path) -> None:
    with scene(tmp_path) as s:
        s.window.set_talk_key("Pause")
        assert s.window.microphone.key == "Pause"
    with scene(tmp_path) as s:
        assert s.window.talk_key.keysym == "Pause"


# --- what is being said ---


def test_words_appear_while_they_are_said_and_the_message_replaces_them(s: Scene) -> None:
    listens(s, state="hearing")
    s.say(begins(), partly("and make the"))
    view = s.chat.view
    assert "and make the ..." in s.shown
    assert "speaking" in s.shown
    start = view.text.search("and make", "1.0")
    assert "draft" in view.text.tag_names(start), "still dim"
    s.say(partly("and make the ending cosy"))
    assert "and make the ending cosy ..." in s.shown
    assert s.shown.count("and make") == 1
    s.say(ended())
    assert "being read" in s.shown
    s.say(read("And make the ending cosy."), heard("t", "And make the ending cosy."))
    assert s.shown.count("nd make the ending cosy") == 1
    assert "from the microphone" in s.shown
    assert "whisper base 0.16 s" in s.shown
    start = view.text.search("And make", "1.0")
    assert "draft" not in view.text.tag_names(start)


def test_what_is_said_during_a_reply_stands_below_it_and_the_reply_goes_on(s: Scene) -> None:
    s.say(
        asked("a", "Hi."), started("a", 1), sentence("a", 1, "One two."), ready("a", 1, "One two.")
    )
    s.say(begins(over_speech=True), partly("wait"), sentence("a", 2, "Three four."))
    assert s.shown.index("Three four.") < s.shown.index("wait ...")
    s.say(read("Wait."), heard("b", "Wait."), started("b", 2), sentence("b", 1, "Yes?"))
    assert s.shown.index("Three four.") < s.shown.index("Wait.") < s.shown.index("Yes?")


def test_a_cough_shows_no_message(s: Scene) -> None:
    s.say(begins(), dropped())
    assert not s.chat.view.messages


def test_speech_without_words_yet_shows_after_a_moment(s: Scene) -> None:
    s.say(begins())
    assert not s.chat.view.messages
    s.settle(lambda: "live:u1" in s.chat.view.messages)
    assert "..." in s.shown
    s.say(dropped())
    assert not s.chat.view.messages


def test_any_words_can_be_said_and_said_again(s: Scene) -> None:
    for words in (
        "\U0001f98a foxes \U0001f98a\U0001f98a again",
        "おはよう、今日はいい天気ですね。" * 12,
        "word " * 400,
        "x" * 3000,
        "a\nb\nc",
        "{curly} [brackets] $money \\",
    ):
        s.say(begins())
        for end in (5, 20, len(words)):
            s.say(partly(words[:end]))
        text = s.chat.view.messages["live:u1"].text
        assert text in s.shown
        s.say(read("Short."), heard(f"t{len(words)}", "Short."))
        assert words[:5] not in s.shown
        assert "Short." in s.shown


def test_a_long_partial_is_shown_within_a_frame(s: Scene) -> None:
    s.say(begins(), partly("word " * 500))
    s.backend.say(partly("word " * 501))
    began = time.thread_time()
    s.window.work()
    assert time.thread_time() - began < 0.016


def test_other_conversations_are_not_heard_here(s: Scene) -> None:
    s.say(UtterancePartial(utterance_id="x", text="not yours", conversation_id="other"))
    assert not s.window.microphone.live


def test_live_words_survive_a_theme_switch_and_a_reload(s: Scene) -> None:
    listens(s, state="hearing")
    s.say(begins(), partly("still here"))
    s.window.set_theme("light")
    s.settle()
    assert "still here" in s.shown
    s.backend.connect()
    s.settle()
    assert "still here" in s.shown


# --- what was not taken ---


def test_speech_that_was_not_taken_says_why_and_becomes_a_count(s: Scene) -> None:
    composer = s.chat.composer
    s.say(begins(), dropped())
    assert composer.hint == "Not taken: too short: 120 ms, ASR_MIN_SPEECH_MS=200"
    assert not composer.dropped_button.winfo_manager()
    composer._fade("")
    s.settle()
    assert composer.hint == HINT
    assert composer.dropped_button.text == "1 not taken"
    s.say(dropped(utterance_id="u2"), dropped(utterance_id="u3"))
    composer._fade("")
    assert composer.dropped_button.text == "3 not taken"


def test_what_was_not_taken_is_listed_and_leads_to_its_setting(s: Scene) -> None:
    s.say(dropped(), dropped("", reason="phantom", text="Thank you for watching", utterance_id="b"))
    composer = s.chat.composer
    composer._fade("")
    opened: list[str] = []
    s.window.open_settings = opened.append  # type: ignore[method-assign,assignment]  # only the name matters here
    composer.dropped_button.invoke()
    s.settle()
    (found,) = pickers(s)
    rows = [choice for choice in found.choices if not choice.heading]
    assert "Thank you for watching" in rows[0].title
    assert rows[1].value == "ASR_MIN_SPEECH_MS"
    found.row = 2
    found._take()
    assert opened == ["ASR_MIN_SPEECH_MS"]
    assert not composer.dropped_button.winfo_manager(), "who has looked needs no count"


# --- barge-in ---


def test_ducking_is_said_beside_what_she_speaks(s: Scene) -> None:
    s.say(started("a", 1), sentence("a", 1, "One two three."), ready("a", 1, "x"))
    s.say(playing("a", 1, "One two three."), at("a", 1, 0.5))
    assert "Speaking sentence 1" in s.shown
    s.say(PlaybackDucked(is_ducked=True, conversation_id=STAGE))
    assert "Quieter while you speak" in s.shown
    s.say(PlaybackDucked(is_ducked=False, conversation_id=STAGE))
    assert "Speaking sentence 1" in s.shown


def test_a_sound_that_is_no_reply_makes_no_message(s: Scene) -> None:
    s.say(playing("test-recording", 1, "test recording"), at("test-recording", 1, 0.5))
    assert not s.chat.view.messages


# --- where the time went ---


def setting(name: str, value: Any = "x") -> SettingInfo:
    return SettingInfo(
        name=name, group="Hearing", meaning="m", kind="text", value=value, default="", allowed="any"
    )


def test_a_wait_names_the_setting_behind_it_and_a_click_opens_it(s: Scene) -> None:
    silence = setting("ASR_SILENCE_MS")
    s.window.stage.settings = {silence.name: silence}
    parts = list(spans(("endpointing", "wait", 600), ("stt", "stt", 160), ("tts", "tts", 200)))
    parts[0] = parts[0].model_copy(update={"detail": "ASR_SILENCE_MS=600, not a finished sentence"})
    s.say(heard("a", "Hi."), started("a", 1), finished("a", 1, parts=tuple(parts)))
    opened: list[str] = []
    s.window.open_settings = opened.append  # type: ignore[method-assign,assignment]  # only the name matters here
    panel = s.chat.inspector.turn
    shown = [
        panel.itemcget(item, "text") for item in panel.find_all() if panel.type(item) == "text"
    ]
    assert "End of speech" in shown
    assert "ASR_SILENCE_MS" in shown
    y = round(panel._rows[0][0] * s.window.theme.scale)
    panel.event_generate("<Motion>", x=40, y=y)
    panel.event_generate("<ButtonRelease-1>", x=40, y=y)
    s.press("<Return>", panel)
    assert opened == ["ASR_SILENCE_MS"] * 2


def test_the_first_opening_says_where_a_voice_goes(tmp_path: Path) -> None:
    with scene(tmp_path) as s:
        s.window.microphone.choose_mode("open")
        s.settle()
        assert any("not recorded" in text for text in s.window.notices.texts)
        assert s.window.state["microphone.told"] is True
