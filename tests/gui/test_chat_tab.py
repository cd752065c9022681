"""The Chat tab in a real window: writing, streaming, hearing, history, turns, faults."""

from __future__ import annotations

import time
import tkinter as tk
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backend.contracts.entities import STAGE, ServiceInfo
from backend.contracts.events import (
    ChatDisposition,
    ChatMessage,
    ChatNotice,
    ConversationChanged,
    ErrorOccurred,
    ServiceChanged,
    TurnRetried,
)
from backend.contracts.listening import ListeningState
from backend.contracts.settings import SettingInfo
from frontend.client import Failure
from frontend.widgets.controls import Button, Chip
from frontend.widgets.conversation import KEPT, Message
from tests.gui.scene import (
    AT,
    SLOW,
    Scene,
    asked,
    at,
    delta,
    finished,
    playing,
    provider_setting,
    ready,
    remembered,
    scene,
    sentence,
    silent,
    started,
    stored_turn,
    whole_turn,
    wire,
)

pytestmark = pytest.mark.gui

HISTORY = "GET /api/conversations/stage/history"


@pytest.fixture
def s(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as made:
        yield made


def dim(s: Scene, key: str) -> str:
    """The words of a reply that are shown as still to come."""
    view = s.chat.view
    text = view.text
    out = ""
    for tag in ("todo", "draft"):
        ranges = text.tag_ranges(tag)
        for start, end in zip(ranges[::2], ranges[1::2], strict=True):
            if text.compare(start, ">=", view.mark("t", key)) and text.compare(
                end, "<=", view.mark("n", key)
            ):
                out += text.get(start, end)
    return out


def body(s: Scene, key: str) -> str:
    """The words of a reply as they stand in the widget."""
    view = s.chat.view
    words: str = view.text.get(view.mark("t", key), view.mark("n", key))
    return words


def message(s: Scene, key: str) -> Message:
    found: Message = s.chat.view.messages[key]
    return found


def write(s: Scene, text: str) -> None:
    s.chat.composer.put(text)
    s.press("<Return>", s.chat.composer.text)


# --- writing ---


def test_enter_sends_to_the_stage_and_empties_the_composer(s: Scene) -> None:
    write(s, "Hello there!")
    assert s.backend.commands == [
        ("chat", {"message": "Hello there!", "conversation_id": STAGE, "origin": "window"})
    ]
    assert s.chat.composer.words == ""


def test_shift_enter_makes_a_new_line_and_the_box_grows_to_six(s: Scene) -> None:
    text = s.chat.composer.text
    text.focus_force()
    for number in range(9):
        text.insert("insert", str(number))
        s.press("<Shift-Return>", text)
    assert s.backend.commands == []
    assert s.chat.composer.words.count("\n") == 9
    assert int(text.cget("height")) == 6


def test_nothing_and_spaces_are_not_sent(s: Scene) -> None:
    for words in ("", "   ", "\n\n"):
        write(s, words)
    assert s.backend.commands == []
    s.chat.composer.put("")
    assert not s.chat.composer.send_button.enabled


def test_up_and_down_walk_through_what_was_sent_and_keep_the_unsent(s: Scene) -> None:
    write(s, "first")
    write(s, "second")
    s.chat.composer.put("not sent")
    composer = s.chat.composer
    seen = []
    for key in ("<Up>", "<Up>", "<Up>", "<Down>", "<Down>"):
        s.press(key, composer.text)
        seen.append(composer.words)
    assert seen == ["second", "first", "first", "second", "not sent"]


def test_up_inside_a_longer_text_moves_the_cursor(s: Scene) -> None:
    write(s, "sent")
    s.chat.composer.put("one\ntwo")
    s.press("<Up>", s.chat.composer.text)
    assert s.chat.composer.words == "one\ntwo"
    assert s.chat.composer.text.index("insert").startswith("1.")


def test_a_message_that_was_refused_comes_back(s: Scene) -> None:
    s.backend.refuses = Failure("busy", "Too many messages wait.")
    write(s, "precious words")
    assert s.chat.composer.words == "precious words"
    assert "Too many messages wait." in s.window.notices.texts[0]


def test_without_a_connection_the_message_stays_in_the_box(s: Scene) -> None:
    s.backend.lose()
    s.settle()
    write(s, "precious words")
    assert s.chat.composer.words == "precious words"
    assert s.backend.commands == []


def test_stop_is_offered_while_something_is_said(s: Scene) -> None:
    stop = s.chat.composer.stop_button
    assert not stop.winfo_manager()
    s.say(started("a", 1))
    assert stop.winfo_manager() == "pack"
    s.backend.answers["POST /api/conversations/stage/interrupt"] = {"interrupted": True}
    stop.invoke()
    assert s.backend.bodies("POST /api/conversations/stage/interrupt") == [{}]
    s.say(finished("a", 1))
    assert not stop.winfo_manager()


# --- an empty chat ---


def test_an_empty_chat_greets_and_a_suggestion_is_sent(s: Scene) -> None:
    labels = [w.cget("text") for w in s.chat._empty.winfo_children() if isinstance(w, tk.Label)]
    assert "Hoshi Kitsune" in labels
    assert "There you are! What do they call you?" in labels  # no [joy], no markup
    buttons = [w for w in s.chat._empty.winfo_children() if isinstance(w, Button)]
    buttons[0].invoke()
    assert s.backend.commands[0][1]["message"] == buttons[0].text
    s.say(asked("a", "Hi"))
    assert s.chat._empty is None


# --- streaming ---


def test_a_reply_streams_in_dim_and_becomes_sentences(s: Scene) -> None:
    s.say(asked("a", "Hi"), started("a", 1))
    assert message(s, "r:a").state == "Thinking"
    assert "Thinking" in s.shown
    s.say(delta("a", "[joy] Hello "), delta("a", "there! How"))
    assert body(s, "r:a") == "Hello there! How"
    assert dim(s, "r:a") == "Hello there! How"
    s.say(sentence("a", 1, "Hello there!", "joy"))
    assert body(s, "r:a") == "Hello there! How"
    assert message(s, "r:a").state == "Writing"
    assert "joy" in s.shown  # the emotion stands as a chip beside the name


def test_heard_words_turn_bright_one_after_the_other(s: Scene) -> None:
    s.say(asked("a", "Hi"), started("a", 1), sentence("a", 1, "One two three."))
    s.say(sentence("a", 2, "Four five six."), ready("a", 1, "One two three."))
    assert dim(s, "r:a") == "One two three. Four five six."
    s.say(playing("a", 1, "One two three."), at("a", 1, 0.8))
    assert dim(s, "r:a") == " three. Four five six."
    assert "Speaking sentence 1" in s.shown
    s.say(playing("a", 2, "Four five six."), at("a", 2, 2.0))
    assert dim(s, "r:a") == ""
    s.say(silent("a", "One two three. Four five six."), finished("a", 1))
    assert body(s, "r:a") == "One two three. Four five six."
    assert "Speaking" not in s.shown


def test_emoji_do_not_shift_what_is_bright(s: Scene) -> None:
    s.say(asked("a", "Hi"), started("a", 1), sentence("a", 1, "🍵🦊 tea fox."))
    s.say(sentence("a", 2, "Later."), playing("a", 1, "x"), at("a", 1, 2.0))
    assert dim(s, "r:a") == " Later."
    assert body(s, "r:a") == "🍵🦊 tea fox. Later."


def test_an_interrupted_reply_keeps_dim_what_nobody_heard(s: Scene) -> None:
    s.say(asked("a", "Hi"), started("a", 1), sentence("a", 1, "One two."))
    s.say(sentence("a", 2, "Three four."), playing("a", 1, "One two."), at("a", 1, 2.0))
    s.say(silent("a", "One two.", interrupted=True), finished("a", 1, "interrupted"))
    assert dim(s, "r:a") == " Three four."
    assert "interrupted" in s.shown
    s.say(remembered("a", "One two."))
    assert body(s, "r:a") == "One two."


def test_a_reply_that_is_played_again_can_be_stopped_and_keeps_its_looks(s: Scene) -> None:
    s.say(*whole_turn("a", 1, "Hi", ["Hello there!"]))
    s.say(playing("a", 1, "Hello there!"), at("a", 1, 1.0))
    assert "Playing again" in s.shown
    assert dim(s, "r:a") == ""
    view = s.chat.view
    x, y, wide, high = view.text.bbox(view.text.tag_ranges("act:stop:r:a")[0])
    for sequence in ("<ButtonPress-1>", "<ButtonRelease-1>"):
        view.text.event_generate(sequence, x=x + wide // 2, y=y + high // 2)
    s.settle()
    assert s.backend.bodies("POST /api/audio/stop") == [None]
    s.say(silent("a", "Hello there!", interrupted=True))
    assert "Playing again" not in s.shown
    assert "first audio" in s.shown


def test_a_reply_without_sound_is_bright_at_its_end(s: Scene) -> None:
    s.say(asked("a", "Hi"), started("a", 1), sentence("a", 1, "Silent words."))
    s.say(finished("a", 1))
    assert dim(s, "r:a") == ""


def test_a_message_sent_meanwhile_stands_below_and_the_reply_goes_on(s: Scene) -> None:
    s.say(asked("a", "First"), started("a", 1), sentence("a", 1, "One."))
    s.say(asked("b", "Second"), sentence("a", 2, "Two."))
    assert list(s.chat.view.messages) == ["u:a", "r:a", "u:b"]
    assert body(s, "r:a") == "One. Two."
    words = s.shown
    assert words.index("Two.") < words.index("Second")


def test_a_turn_that_runs_when_the_window_opens_is_joined(s: Scene) -> None:
    s.say(sentence("a", 2, "In the middle."), playing("a", 2, "In the middle."))
    assert body(s, "r:a") == "In the middle."
    assert message(s, "r:a").author == "Hoshi Kitsune"


def test_other_conversations_are_not_shown(s: Scene) -> None:
    other = ChatMessage(
        text="private", author="x", origin="api", conversation_id="other", turn_id="z"
    )
    s.say(other)
    assert "private" not in s.shown


def test_a_turn_id_of_any_form_is_shown(s: Scene) -> None:
    for turn in ("a-1", "b 2", "c+3", "d.4", "-5c"):
        s.say(*whole_turn(turn, 1, f"question {turn}", ["Hello!", "Bye!"]))
        assert body(s, f"r:{turn}") == "Hello! Bye!"


def test_lines_and_very_long_words_are_kept_as_written(s: Scene) -> None:
    words = "one\ntwo\n\nthree " + "x" * 300 + "\x00end"
    s.say(asked("a", words))
    assert "one\ntwo\n\nthree" in s.shown
    assert "x" * 300 + "end" in s.shown


def test_a_strange_name_and_emotion_do_not_break_the_line(s: Scene) -> None:
    s.say(asked("a", "hi", author="W" * 500 + "\n\t[x]"), started("a", 1))
    s.say(sentence("a", 1, "Yes.", "e" * 300), finished("a", 1))
    assert "..." in s.shown
    assert body(s, "r:a") == "Yes."


# --- faults ---


def test_a_provider_failure_is_a_strip_for_the_operator(s: Scene) -> None:
    s.say(asked("a", "Hi"), started("a", 1))
    s.say(
        TurnRetried(
            turn_id="a",
            engine="openrouter",
            next_engine="persona",
            kind="rate",
            reason="OpenRouter rate limit (429), retry in 12 s",
            conversation_id=STAGE,
        )
    )
    strips = [m for m in s.chat.view.messages.values() if m.kind == "strip"]
    assert len(strips) == 1
    assert "429" in strips[0].text
    assert strips[0].text.endswith("Not spoken.")
    assert body(s, "r:a") == ""


def test_a_failed_turn_says_so_in_its_place(s: Scene) -> None:
    s.say(asked("a", "Hi"), started("a", 1))
    s.say(
        ErrorOccurred(
            turn_id="a", code="provider.failed", reason="The key is wrong.", conversation_id=STAGE
        ),
        finished("a", 1, "failed", ()),
    )
    assert body(s, "r:a") == "No reply."
    assert [m.text for m in s.chat.view.messages.values() if m.kind == "strip"] == [
        "The key is wrong. Not spoken."
    ]


def test_a_message_that_is_not_answered_says_why(s: Scene) -> None:
    s.say(
        asked("a", "Hi"),
        ChatDisposition(
            message_id="a",
            turn_id="a",
            disposition="queue-full",
            reason="32 messages wait already",
            conversation_id=STAGE,
        ),
    )
    assert "32 messages wait already" in next(
        m.text for m in s.chat.view.messages.values() if m.kind == "strip"
    )


def test_what_came_of_a_typed_command_is_noted(s: Scene) -> None:
    s.say(ChatNotice(command="motion", text="Hoshi plays wave.", conversation_id=STAGE))
    notes = [m.text for m in s.chat.view.messages.values() if m.kind == "note"]
    assert notes == ["Hoshi plays wave."]


def test_the_same_failure_told_twice_stands_there_once(s: Scene) -> None:
    s.say(asked("a", "Hi"), started("a", 1))
    for engine in ("openrouter", "persona"):
        s.say(
            TurnRetried(
                turn_id="a",
                engine="openrouter",
                next_engine=engine,
                kind="rate",
                reason="OpenRouter rate limit (429)",
                conversation_id=STAGE,
            )
        )
    s.say(
        ErrorOccurred(
            turn_id="a",
            code="provider.failed",
            reason="OpenRouter rate limit (429).",
            conversation_id=STAGE,
        ),
        ErrorOccurred(
            turn_id="a", code="tts.failed", reason="Piper has no voice.", conversation_id=STAGE
        ),
    )
    assert [m.text for m in s.chat.view.messages.values() if m.kind == "strip"] == [
        "OpenRouter rate limit (429). Not spoken.",
        "Piper has no voice. Not spoken.",
    ]


def test_a_message_typed_while_she_speaks_says_that_it_waits(s: Scene) -> None:
    s.say(asked("a", "Hi"))
    assert "waits" not in s.chat.composer.hint
    s.say(started("a", 1), asked("b", "And you?"))
    assert "your message waits its turn. Esc stops her" in s.chat.composer.hint


def test_nothing_that_can_read_is_said_as_long_as_it_is_so(s: Scene) -> None:
    chain = SettingInfo(
        name="STT_CHAIN",
        group="Hearing",
        meaning="Recognisers.",
        kind="list",
        value=("sphinx",),
        default=("sphinx",),
        allowed="",
    )
    s.backend.answers["GET /api/config"] = wire([provider_setting(), chain])
    gone = ServiceInfo(
        name="stt/sphinx", title="Sphinx", state="failed", error="pocketsphinx is not installed."
    )
    s.window.stage.load_settings()
    s.backend.listening = ListeningState(mode="open", state="listening")
    s.window.microphone.load()
    s.say(ServiceChanged(service=gone))
    strip = s.chat._deaf
    assert strip is not None
    assert strip.winfo_viewable()
    s.say(ServiceChanged(service=gone.model_copy(update={"state": "ready", "error": ""})))
    assert s.chat._deaf is None


# --- turns ---


def test_a_finished_turn_shows_its_time_and_actions(s: Scene) -> None:
    s.say(*whole_turn("a", 1, "Hi", ["Hello!"]))
    assert "first audio 0.85 s" in s.shown
    assert "7 stages" in s.shown


def test_the_chosen_turn_is_held_against_the_others(s: Scene) -> None:
    for number in range(1, 6):
        s.say(*whole_turn(f"t{number}", number, "Hi", ["Hello!"]))
    s.say(*whole_turn("slow", 6, "Hi", ["Hello!"], parts=SLOW))
    panel = s.chat.inspector.turn
    words = [
        panel.itemcget(item, "text") for item in panel.find_all() if panel.type(item) == "text"
    ]
    assert "Turn 6" in words
    assert "1.22 s" in words
    assert "+0.37 s over median" in words
    assert "LLM first token is the cause" in words


def test_a_turn_is_opened_from_another_tab(s: Scene) -> None:
    s.say(*whole_turn("a", 1, "Hi", ["Hello!"]), *whole_turn("b", 2, "Hi", ["Bye!"]))
    s.window.show_tab("status")
    s.window.open_turn("a")
    s.settle()
    assert s.window.current == "chat"
    assert s.chat._chosen == "a"
    s.say(*whole_turn("c", 3, "More", ["Yes."]))
    assert s.chat._chosen == "a"  # what the user looks at stays


def test_a_turn_that_is_not_here_is_loaded(s: Scene) -> None:
    s.backend.answers["GET /api/turns/old"] = wire(stored_turn(7, "x", "y", id="old"))
    s.window.open_turn("old")
    s.settle(lambda: s.chat._chosen == "old")
    s.window.open_turn("gone")
    s.settle()
    assert "not there" in s.window.notices.texts[0]


def test_copy_play_and_open_work_from_the_keyboard(s: Scene) -> None:
    s.backend.answers["POST /api/turns/a/play"] = {}
    s.say(*whole_turn("a", 1, "Hi", ["Hello there!"]))
    view = s.chat.view
    s.press("<Up>", view.text)
    s.press("<Down>", view.text)
    s.press("<Key-c>", view.text)
    assert s.window.root.clipboard_get() == "Hello there!"
    s.press("<space>", view.text)
    assert s.backend.bodies("POST /api/turns/a/play") == [None]
    s.chat._chosen = ""
    s.press("<Return>", view.text)
    assert s.chat._chosen == "a"


def test_a_click_on_an_action_does_it(s: Scene) -> None:
    s.backend.answers["POST /api/turns/a/play"] = {}
    s.say(*whole_turn("a", 1, "Hi", ["Hello there!"]))
    view = s.chat.view
    start = view.text.tag_ranges("act:play:r:a")[0]
    x, y, wide, high = view.text.bbox(start)
    for sequence in ("<ButtonPress-1>", "<ButtonRelease-1>"):
        view.text.event_generate(sequence, x=x + wide // 2, y=y + high // 2)
    s.settle()
    assert s.backend.bodies("POST /api/turns/a/play") == [None]


# --- history ---


def page(first: int, last: int) -> Any:
    return wire([stored_turn(n, f"question {n}", f"answer {n}.") for n in range(first, last + 1)])


def test_what_was_said_before_is_loaded(tmp_path: Path) -> None:
    with scene(tmp_path, {HISTORY: page(1, 3)}) as s:
        assert [m for m in s.chat.view.messages if m[0] == "r"] == ["r:t1", "r:t2", "r:t3"]
        assert "answer 3." in s.shown
        assert s.chat._chosen == "t3"
        s.press("<Up>", s.chat.composer.text)
        assert s.chat.composer.words == "question 3"


def test_scrolling_to_the_oldest_loads_older_ones_and_keeps_the_place(tmp_path: Path) -> None:
    def history(params: dict[str, Any]) -> Any:
        return page(1, 40) if params.get("before") == "t41" else page(41, 100)

    with scene(tmp_path, {HISTORY: history}) as s:
        assert s.backend.bodies(HISTORY) == [{"limit": 60}]
        s.settle()
        s.press("<Home>", s.chat.view.text)
        s.settle(lambda: "r:t1" in s.chat.view.messages)
        assert s.backend.bodies(HISTORY)[1] == {"limit": 60, "before": "t41"}
        keys = [key for key in s.chat.view.messages if key.startswith("r:")]
        assert keys == [f"r:t{n}" for n in range(1, 101)]
        assert s.shown.index("answer 1.") < s.shown.index("answer 41.")
        assert s.chat.view.text.yview()[0] > 0.1  # what was visible did not jump away


def test_a_reconnection_shows_nothing_twice_and_loses_nothing(tmp_path: Path) -> None:
    with scene(tmp_path, {HISTORY: page(1, 2)}) as s:
        s.say(asked("t3", "question 3"), started("t3", 3), sentence("t3", 1, "answer 3."))
        s.backend.lose()
        s.backend.connect(reset=False)
        s.settle()
        assert [key for key in s.chat.view.messages if key[0] == "r"] == ["r:t1", "r:t2", "r:t3"]
        s.say(sentence("t3", 1, "answer 3."), sentence("t3", 2, "And more."), finished("t3", 3))
        assert body(s, "r:t3") == "answer 3. And more."
        s.backend.answers[HISTORY] = page(1, 3)
        s.backend.connect(reset=True)
        s.settle()
        assert s.shown.count("answer 3.") == 1


def test_clearing_empties_the_chat_and_greets_again(s: Scene) -> None:
    s.say(*whole_turn("a", 1, "Hi", ["Hello!"]))
    s.backend.answers["POST /api/conversations/stage/clear"] = None
    s.chat.clear()
    s.say(ConversationChanged(conversation_id=STAGE, change="cleared"))
    assert s.chat.view.messages == {}
    assert s.chat._empty is not None


# --- many messages ---


def test_only_the_newest_are_kept_in_the_widget(s: Scene) -> None:
    for number in range(KEPT):
        s.backend.say(asked(f"m{number}", f"message {number}"))
    s.settle(lambda: not s.backend.inbox, 20)
    for number in range(KEPT, KEPT + 40):
        s.backend.say(asked(f"m{number}", f"message {number}"))
    s.settle(lambda: not s.backend.inbox, 20)
    assert len(s.chat.view.messages) == KEPT
    assert "message 39\n" not in s.shown
    assert s.shown.count("message ") == KEPT
    marks = [mark for mark in s.chat.view.text.mark_names() if mark.startswith("b:")]
    assert len(marks) == KEPT


def test_reading_back_pauses_and_counts_what_is_new(s: Scene) -> None:
    for number in range(40):
        s.backend.say(asked(f"m{number}", f"message {number}"))
    s.settle(lambda: not s.backend.inbox, 10)
    view = s.chat.view
    s.press("<Prior>", view.text)
    place = view.text.yview()[0]
    assert not view.at_end()
    s.say(asked("x", "new one"), asked("y", "new two"))
    assert view._newest.text == "2 new"
    assert view._newest.winfo_manager() == "place"
    assert abs(view.text.yview()[0] - place) < 0.1
    s.press("<End>", view.text)
    assert view.at_end()
    assert not view._newest.winfo_manager()


@pytest.mark.parametrize("turns", [200, pytest.param(1500, marks=pytest.mark.slow)])
def test_thousands_of_messages_stay_fluent(s: Scene, turns: int) -> None:
    for number in range(turns):
        s.backend.say(*whole_turn(f"t{number}", number, f"question {number}", ["Yes.", "No."]))
    took = []
    while s.backend.inbox:
        began = time.thread_time()  # the machine may be busy with others
        s.window.work()
        took.append(time.thread_time() - began)
        s.window.root.update()
    took.sort()
    assert took[len(took) // 2] < 0.033  # half the ticks are well inside two redraws
    assert took[-1] < 0.25  # and none freezes the window
    began = time.thread_time()
    for _ in range(20):
        s.chat.view.text.yview_scroll(-3, "units")
        s.window.root.update()
    assert (time.thread_time() - began) / 20 < 0.02


def test_a_theme_switch_keeps_messages_place_and_dim_words(s: Scene) -> None:
    s.say(*whole_turn("a", 1, "Hi", ["Hello!"]))
    s.say(asked("b", "Two"), started("b", 2), sentence("b", 1, "One two."), delta("b", "Thr"))
    before, dimmed = s.shown, dim(s, "r:b")
    s.window.set_theme("light")
    s.settle()
    assert s.shown == before
    assert dim(s, "r:b") == dimmed == "One two. Thr"
    s.say(sentence("b", 2, "Three."))
    assert body(s, "r:b").startswith("One two. Three.")


# --- files ---


def test_an_audio_file_becomes_words_in_the_composer(s: Scene, tmp_path: Path) -> None:
    file = tmp_path / "mein gruß.wav"
    file.write_bytes(b"RIFF")
    s.backend.answers["POST /api/stt"] = {"text": " tell me a story ", "language": "en"}
    s.chat.composer.put("Please")
    s.chat._dropped("{" + str(file) + "}")
    s.settle()
    assert s.backend.bodies("POST /api/stt") == [{"files": [("file", file)], "fields": {}}]
    assert s.chat.composer.words == "Please tell me a story"


def test_a_file_that_is_no_audio_is_refused_with_its_name(s: Scene) -> None:
    s.chat._dropped("{/tmp/holiday photo.png}")
    assert s.window.notices.texts == ["holiday photo.png is no audio file."]
    assert s.backend.bodies("POST /api/stt") == []


def test_a_file_in_which_nobody_speaks_is_said(s: Scene, tmp_path: Path) -> None:
    s.backend.answers["POST /api/stt"] = {"text": "  "}
    s.chat.transcribe(tmp_path / "noise.wav")
    s.settle()
    assert s.window.notices.texts == ["Nobody speaks in this file."]


# --- the panel at the right ---


def test_an_expression_chip_shows_the_face_for_a_while(s: Scene) -> None:
    s.backend.answers["POST /api/expression"] = {}
    chips = [w for w in s.chat.inspector._chips.winfo_children() if isinstance(w, Chip)]
    assert [chip.text for chip in chips] == ["neutral", "joy", "smug", "shy", "angry", "sleepy"]
    chips[2].invoke()
    assert s.backend.bodies("POST /api/expression") == [{"expression_id": "smug", "duration": 5000}]


def test_the_output_device_is_chosen_in_the_panel(s: Scene) -> None:
    s.backend.answers["POST /api/audio/output"] = {
        "device": "Virtual Cable (stream)",
        "volume": 0.72,
        "muted": False,
    }
    dropdown = s.chat.inspector._device
    assert [choice.title for choice in dropdown.choices] == [
        "System default",
        "Virtual Cable (stream)",
    ]
    dropdown.open()
    s.settle()
    s.press("<Down>")
    s.press("<Return>")
    assert s.backend.bodies("POST /api/audio/output") == [{"device": "Virtual Cable (stream)"}]
    assert s.window.stage.device == "Virtual Cable (stream)"


def test_below_1120_pixels_the_panel_lies_over_the_messages(tmp_path: Path) -> None:
    with scene(tmp_path, size=(1000, 700)) as s:
        assert not s.chat.inspector.winfo_manager()
        assert s.chat._left.winfo_width() == s.chat.winfo_width()
        s.press("<Control-i>", s.chat.composer.text)
        assert s.chat.inspector.winfo_manager() == "place"
        assert s.chat._left.winfo_width() == s.chat.winfo_width()
        s.press("<Control-i>", s.chat.composer.text)
        assert not s.chat.inspector.winfo_manager()


def test_a_hidden_panel_stays_hidden_after_a_restart(tmp_path: Path) -> None:
    with scene(tmp_path) as s:
        s.chat.toggle_inspector()
    with scene(tmp_path) as s:
        s.settle()
        assert not s.chat.inspector.winfo_manager()


def test_faces_are_fetched_once_and_fall_back_to_the_neutral_one(s: Scene) -> None:
    for number in range(5):
        s.say(*whole_turn(f"t{number}", number, "Hi", ["Hello!"], "smug"))
    wanted = [name for name, _ in s.backend.asked if "/avatars/hoshi/" in name]
    assert sorted(set(wanted)) == [
        "GET /api/avatars/hoshi/neutral.png",
        "GET /api/avatars/hoshi/smug.png",
    ]
    assert len(wanted) == 2


def test_messages_of_earlier_days_have_their_date(tmp_path: Path) -> None:
    turns = [
        stored_turn(1, "a", "b", started_at=AT - timedelta(days=40)),
        stored_turn(2, "c", "d", started_at=AT),
    ]
    with scene(tmp_path, {HISTORY: wire(turns)}) as s:
        notes = [m.text for m in s.chat.view.messages.values() if m.kind == "note"]
        assert len(notes) == 2
        assert all("2026" in note or note == "Today" for note in notes)
