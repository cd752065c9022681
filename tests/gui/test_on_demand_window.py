"""Text on demand: asking, seeing it come, changing it, having it said; and Panic, from every field."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backend.contracts.events import PanicChanged
from backend.contracts.panic import PanicState
from frontend.client import Failure
from frontend.on_demand_window import OnDemandWindow, facts_words
from tests.gui.scene import Scene, scene

pytestmark = pytest.mark.gui

ASK = "POST /api/text-generation"
SAY = "POST /api/say"
PANIC = "POST /api/panic"


@pytest.fixture
def s(tmp_path: Path) -> Iterator[Scene]:
    answers = {
        SAY: {"turn_id": ""},
        PANIC: {"is_on": True, "by": "window"},
        "POST /api/resume": {"is_on": False, "by": "window"},
    }
    with scene(tmp_path, answers) as made:
        yield made


def opened(s: Scene, prompt: str = "") -> OnDemandWindow:
    s.press("<Control-g>", s.chat.composer.text)
    window = OnDemandWindow.current()
    assert window is not None
    window.prompt.text.insert("1.0", prompt)
    s.settle()
    return window


def answer(s: Scene, *pieces: str, **final: Any) -> None:
    _, piece, _ = s.backend.streams[-1]
    for text in pieces:
        piece("text", {"text": text})
    if final:
        piece("final", final)
    s.settle()


def test_words_come_as_they_are_written_and_end_with_their_figures(s: Scene) -> None:
    window = opened(s, "Thank the raid")
    s.press("<Control-Return>", window.prompt.text)
    assert window.is_writing
    answer(s, "Twelve of you. ", "Come in.")
    assert window.text == "Twelve of you. Come in."
    assert window.cancel_button.winfo_manager() == "pack"
    answer(s, text="Twelve of you. Come in.", tokens_used=31, elapsed_ms=840.0, model="qwen3")
    assert not window.is_writing
    assert window.facts._whole == "31 tokens  \u00b7  0.8 s  \u00b7  qwen3"
    assert window.cancel_button.winfo_manager() == ""


def test_what_she_may_know_and_how_she_writes_go_along(s: Scene) -> None:
    window = opened(s, "Say hello")
    window.history.invoke()
    window.persona.invoke()
    window.about.set("Lighthouse night")
    window.style._chosen("formal")
    window.length._chosen("700")
    window.write()
    s.settle()
    (body,) = s.backend.bodies(ASK)
    assert body["prompt"] == "Say hello"
    assert body["context"] == {
        "turns": 0,
        "character": "",
        "stream": {"title": "Lighthouse night"},
    }
    assert body["options"] == {"max_length": 700, "temperature": 0.8, "style": "formal"}


def test_quick_actions_greet_and_rewrite_by_key(s: Scene) -> None:
    window = opened(s, "Kaede")
    s.press("<Control-g>", window.prompt.text)
    assert s.backend.bodies(ASK)[-1]["kind"] == "greet"
    assert s.backend.bodies(ASK)[-1]["prompt"] == "Kaede"
    answer(s, text="Hello Kaede!", tokens_used=4)
    s.press("<Control-r>", window.prompt.text)
    assert s.backend.bodies(ASK)[-1]["kind"] == "rewrite"
    assert s.backend.bodies(ASK)[-1]["prompt"] == "Hello Kaede!"


def test_cancel_keeps_what_was_written_and_takes_nothing_more(s: Scene) -> None:
    window = opened(s, "A long story")
    window.write()
    answer(s, "Once upon ")
    stream, piece, _ = s.backend.streams[-1]
    s.press("<Escape>", window.prompt.text)
    assert stream.is_cancelled
    piece("text", {"text": "a time"})
    assert window.text == "Once upon"
    assert OnDemandWindow._current is window
    s.press("<Escape>", window)
    assert OnDemandWindow._current is None


def test_say_this_says_what_stands_there_also_when_it_was_changed(s: Scene) -> None:
    window = opened(s, "x")
    window.write()
    answer(s, text="Hello.", tokens_used=1)
    window.result.set("Hello, moon.")
    s.press("<Control-s>", window.result.text)
    (body,) = s.backend.bodies(SAY)
    assert body["text"] == "Hello, moon."
    assert window.progress._whole == "She says it now."


def test_words_can_be_said_without_being_written_by_her(s: Scene) -> None:
    window = opened(s, "Back in five minutes.")
    window.say_button.invoke()
    s.settle()
    assert [body["text"] for body in s.backend.bodies(SAY)] == ["Back in five minutes."]


def test_a_failure_is_said_and_the_prompt_stays(s: Scene) -> None:
    window = opened(s, "Hello")
    window.write()
    _, _, failed = s.backend.streams[-1]
    assert failed is not None
    failed(Failure("busy", "More than 30 texts were asked for in a minute.", 429))
    s.settle()
    assert window.progress._whole == "More than 30 texts were asked for in a minute."
    assert window.prompt.words == "Hello"
    assert not window.is_writing


def test_it_says_that_nothing_enters_the_chat_and_sends_nothing_there(s: Scene) -> None:
    window = opened(s, "Hello")
    window.write()
    answer(s, text="Hi.", tokens_used=1)
    assert s.backend.commands == []
    assert s.chat.view.messages == {}


def test_choices_are_there_again_the_next_time(s: Scene) -> None:
    window = opened(s, "Hello")
    window.style._chosen("calm")
    window.write()
    window.close()
    again = opened(s)
    assert again.style.value == "calm"
    assert again.prompt.words == ""


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"tokens_used": 1, "elapsed_ms": 90.0, "model": ""}, "1 token  \u00b7  0.1 s"),
        ({"tokens_used": None}, "2.0 s"),
        ({"tokens_used": True, "model": 7}, "2.0 s"),
    ],
)
def test_figures_are_said_as_far_as_they_are_known(data: dict[str, Any], words: str) -> None:
    assert facts_words(data, 2.0) == words


# --- panic ---


def test_f12_stops_everything_from_any_window_and_resume_stands_in_its_place(s: Scene) -> None:
    window = opened(s, "Hello")
    header = s.window.header
    place = header.panic.winfo_rootx(), header.panic.winfo_width()
    s.press("<F12>", window.prompt.text)
    assert s.backend.bodies(PANIC) == [{"by": "window"}]
    assert header.panic.winfo_manager() == ""
    assert (header.resume.winfo_rootx(), header.resume.winfo_width()) == place
    strip = s.window._panic_strip
    assert strip is not None
    header.resume.invoke()
    s.settle()
    assert s.window._panic_strip is None
    assert header.panic.winfo_manager() == "grid"


@pytest.mark.parametrize("tab", ["chat", "stage", "logs"])
def test_f12_works_on_every_tab_also_over_an_open_list(s: Scene, tab: str) -> None:
    s.window.show_tab(tab)
    s.settle()
    s.press("<Control-k>")
    s.press("<F12>")
    assert len(s.backend.bodies(PANIC)) == 1


def test_a_second_f12_never_resumes(s: Scene) -> None:
    for _ in range(3):
        s.press("<F12>")
    assert len(s.backend.bodies(PANIC)) == 3
    assert s.backend.bodies("POST /api/resume") == []


def test_a_panic_from_elsewhere_is_shown_with_who_it_was(s: Scene) -> None:
    panic = PanicState(is_on=True, by="control", since=datetime.now(UTC))
    s.say(PanicChanged(panic=panic))
    strip = s.window._panic_strip
    assert strip is not None
    words = [
        str(child.cget("text"))
        for child in strip.winfo_children()
        if child.winfo_class() == "Label"
    ]
    assert any("from the control page" in text for text in words)
    s.say(PanicChanged(panic=PanicState(by="control")))
    assert s.window._panic_strip is None


def test_when_panic_cannot_be_asked_the_reply_stops_and_she_is_muted(s: Scene) -> None:
    s.backend.answers[PANIC] = Failure("not_found", "Not there.", 404)
    s.press("<F12>")
    assert s.backend.bodies("POST /api/conversations/stage/interrupt") == [{}]
    assert s.backend.bodies("POST /api/audio/output") == [{"muted": True}]
    assert "voice muted" in " ".join(s.window.notices.texts)
