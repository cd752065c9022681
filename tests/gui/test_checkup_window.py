"""The check-up's window: it says beforehand what it does, follows live, and leads to where a problem is mended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from backend.contracts.checkup import CheckLine, CheckState, CheckupReport, CheckupState
from backend.contracts.events import CheckupFinished, CheckupLine, CheckupStarted
from frontend.checkup_window import CheckupWindow
from frontend.client import Failure
from frontend.tabs.status import StatusTab
from frontend.theme import ThemeName
from tests.gui.stand import Stand, words_on

pytestmark = pytest.mark.gui

NAMES = ("microphone", "stt", "output", "disk")
DEVICES = {"sink": "speaker", "device": "Speakers (USB)", "devices": []}


def line(name: str, state: CheckState = "waiting", **more: Any) -> CheckLine:
    return CheckLine(name=name, title=name.title(), state=state, **more)


def report(state: CheckupState = "running", *lines: CheckLine, **more: Any) -> CheckupReport:
    return CheckupReport(
        id="r1",
        state=state,
        machine="Luma 1, Python 3.11, Somewhere",
        started_at=datetime(2026, 11, 21, tzinfo=UTC),
        lines=lines or tuple(line(name) for name in NAMES),
        **more,
    )


DONE = report(
    "done",
    line("microphone", "green", detail="1.5 s of sound", elapsed_ms=1_510),
    line(
        "stt", "red", detail="Whisper is not here.", fix="Download it.", tab="voice", elapsed_ms=4
    ),
    line(
        "output", "amber", detail="The stage is muted.", fix="Turn it up.", setting="OUTPUT_MUTED"
    ),
    line("disk", "left_out", detail="The check-up was cancelled."),
    verdict="Broken: Stt.",
)


def wire(made: CheckupReport) -> Any:
    return made.model_dump(mode="json")


@pytest.fixture
def stand() -> Iterator[Stand]:
    made = Stand(
        {
            "GET /api/status": {"services": []},
            "GET /api/turns": [],
            "GET /api/config": [],
            "GET /api/devices": DEVICES,
            "GET /api/doctor": wire(CheckupReport(verdict="Nothing was checked yet.")),
            "POST /api/doctor": wire(report()),
            "DELETE /api/doctor": wire(report("cancelled", verdict="Cancelled.")),
        }
    )
    yield made
    made.close()


def opened(stand: Stand) -> CheckupWindow:
    tab = stand.hold(StatusTab)
    tab.services.invoke("checkup")
    stand.settle()
    window = CheckupWindow.current()
    assert window is not None
    stand.settle(lambda: window.lines.winfo_width() > 1)
    return window


def posted(stand: Stand) -> list[Any]:
    return [body for name, body in stand.backend.asked if name == "POST /api/doctor"]


def test_nothing_begins_before_the_button_that_says_what_it_does(stand: Stand) -> None:
    window = opened(stand)
    assert posted(stand) == []
    assert window.start_button.text == "Check now (plays a sentence on Speakers (USB))"
    window.sound.invoke()
    assert window.start_button.text == "Check now (silent)"
    window.microphone.invoke()
    window.start_button.invoke()
    assert posted(stand) == [{"microphone": False, "sound": False}]


def test_lines_are_followed_live_and_counted(stand: Stand) -> None:
    window = opened(stand)
    window.start_button.invoke()
    window.start_button.invoke()
    stand.settle()
    assert len(posted(stand)) == 1, "one at a time"
    assert not window.start_button.enabled
    stand.feed(CheckupLine(checkup_id="r1", line=line("disk", "green", detail="59 GB free")))
    stand.feed(CheckupLine(checkup_id="r1", line=line("stt", "running")))
    stand.feed(CheckupLine(checkup_id="other", line=line("stt", "red", detail="of yesterday")))
    stand.settle()
    words = words_on(window.lines)
    assert {"59 GB free", "works", "checking", "waiting"} <= set(words)
    assert "of yesterday" not in words
    assert window.verdict.cget("text") == "Checking, 1 of 4 done."
    stand.backend.answers["GET /api/doctor"] = wire(DONE)
    stand.feed(
        CheckupFinished(checkup_id="r1", outcome="done", green=1, amber=1, red=1, verdict="")
    )
    stand.settle()
    assert window.verdict.cget("text") == "Broken: Stt."
    assert window.start_button.enabled
    assert window.start_button.text.startswith("Check again")


def test_every_line_says_its_state_in_a_word_and_what_to_do(stand: Stand) -> None:
    stand.backend.answers["GET /api/doctor"] = wire(DONE)
    window = opened(stand)
    words = words_on(window.lines)
    assert {"works", "broken", "look at it", "left out"} <= set(words)
    assert {"Whisper is not here.", "Download it.", "1.5 s", "4 ms"} <= set(words)


def test_a_fix_leads_to_where_it_can_be_done(stand: Stand) -> None:
    stand.backend.answers["GET /api/doctor"] = wire(DONE)
    window = opened(stand)
    window.lines.invoke("fix:stt")
    window.lines.invoke("fix:output")
    assert stand.shown == ["voice"]
    assert stand.settings == ["OUTPUT_MUTED"]
    assert not [key for key in window.lines.zone_keys() if key in ("fix:microphone", "fix:disk")]


def test_the_report_is_copied_as_text(stand: Stand) -> None:
    stand.backend.answers["GET /api/doctor"] = wire(DONE)
    window = opened(stand)
    window.event_generate("<Control-c>")
    text = window.clipboard_get()
    assert "BROKEN      Stt: Whisper is not here.\n            -> Download it." in text
    assert "2026-11-21" in text
    assert stand.notices == [("The report was copied; it holds no keys.", "ok")]


def test_escape_cancels_what_runs_and_then_closes(stand: Stand) -> None:
    window = opened(stand)
    window.start_button.invoke()
    stand.settle()
    assert window.cancel_button.winfo_ismapped()
    window.start_button.focus_force()
    window.event_generate("<Escape>")
    stand.settle()
    assert ("DELETE /api/doctor", None) in stand.backend.asked
    assert window.verdict.cget("text") == "Cancelled."
    assert not window.cancel_button.winfo_ismapped()
    window.event_generate("<Escape>")
    stand.settle()
    assert CheckupWindow._current is None


def test_a_refusal_is_shown_where_it_was_asked(stand: Stand) -> None:
    stand.backend.answers["POST /api/doctor"] = Failure(
        "conflict", "A turn is being answered.", 409
    )
    window = opened(stand)
    window.start_button.invoke()
    stand.settle()
    assert window.verdict.cget("text") == "A turn is being answered."
    assert window.start_button.enabled


def test_a_check_up_begun_elsewhere_is_followed_too(stand: Stand) -> None:
    window = opened(stand)
    stand.feed(CheckupStarted(report=report()))
    stand.settle()
    assert window.is_running
    assert {"Microphone", "Disk"} <= set(words_on(window.lines))


def test_the_keyboard_reaches_button_switches_and_fixes(stand: Stand) -> None:
    stand.backend.answers["GET /api/doctor"] = wire(DONE)
    window = opened(stand)
    window.start_button.focus_force()
    window.start_button.event_generate("<Return>")
    assert len(posted(stand)) == 1
    stand.settle()
    stand.feed(CheckupStarted(report=report("done", *DONE.lines)))
    stand.settle()
    window.lines.focus_force()
    window.lines.event_generate("<End>")
    window.lines.event_generate("<space>")
    assert stand.settings == ["OUTPUT_MUTED"]
    for control in (window.microphone, window.sound, window.copy_button, window.lines):
        assert str(control.cget("takefocus")) == "1"


def test_hostile_words_stay_in_their_lines(stand: Stand) -> None:
    evil = "\u202eevil\x00" + "W" * 600
    stand.backend.answers["GET /api/doctor"] = wire(
        report("done", line("x", "red", detail=evil, fix=evil, setting="X_Y"), line("y", "green"))
    )
    window = opened(stand)
    lines = window.lines
    for item in lines.find_all():
        box = lines.bbox(item)
        if box and str(lines.type(item)) == "text":
            assert box[2] <= lines.winfo_width() + 1


@pytest.mark.parametrize(("theme", "scale"), [("dark", 1.0), ("light", 2.0)])
def test_every_theme_and_size_shows_the_report(theme: ThemeName, scale: float) -> None:
    made = Stand(
        {"GET /api/doctor": wire(DONE), "GET /api/devices": DEVICES}, theme=theme, scale=scale
    )
    try:
        window = CheckupWindow.open(made, made.root)
        made.settle(lambda: "broken" in words_on(window.lines))
        for item in window.lines.find_all():
            box = window.lines.bbox(item)
            assert box is None or box[2] <= window.lines.winfo_width() + 2
    finally:
        made.close()
