"""Who answers: the chip in the header and the window of modes."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backend.contracts.events import ModeChanged
from backend.contracts.modes import ModeChange, ModeHealth, ModeState
from backend.contracts.settings import SettingInfo
from frontend.client import Failure
from frontend.mode_window import ModeWindow
from tests.gui.scene import Scene, provider_setting, scene, wire

pytestmark = pytest.mark.gui

AT = datetime(2026, 3, 14, 20, 14, 2, tzinfo=UTC)
GONE = "The server at ws://127.0.0.1:9 did not answer within 5 s."
HEALTH = (
    ModeHealth(mode="orphiq", is_available=False, is_resting=True, next_probe_s=12, detail=GONE),
    ModeHealth(mode="external-api", is_available=True, detail="openrouter, model x"),
    ModeHealth(mode="autonomous", is_available=True, detail="The built-in persona"),
)
CHANGE = ModeChange(
    at=AT, before="orphiq", after="external-api", reason="orphiq did not answer", is_automatic=True
)
ADDRESS = SettingInfo(
    name="ORPHIQ_WEBSOCKET_URL",
    group="Modes",
    meaning="Address of the server.",
    kind="text",
    value="",
    default="",
    allowed="text",
)
BACKEND_MODE = SettingInfo(
    name="BACKEND_MODE",
    group="Modes",
    meaning="Who answers.",
    kind="choice",
    value="orphiq",
    default="auto",
    allowed="",
    choices=("auto", "orphiq", "external-api", "autonomous"),
)


def state(mode: Any = "external-api", chosen: Any = "external-api", **more: Any) -> ModeState:
    return ModeState(mode=mode, chosen=chosen, modes=HEALTH, **more)


@pytest.fixture
def s(tmp_path: Path) -> Iterator[Scene]:
    answers = {
        "GET /api/mode": wire(state()),
        "GET /api/config": wire([provider_setting(), BACKEND_MODE, ADDRESS]),
        "PUT /api/mode": wire(state()),
        "DELETE /api/mode": wire(state()),
        "DELETE /api/mode?conversation_id=stage": wire(state()),
        "POST /api/config": {"changed": ["ORPHIQ_WEBSOCKET_URL"]},
    }
    with scene(tmp_path, answers) as made:
        made.settle(lambda: made.window.modes.here is not None and bool(made.window.stage.settings))
        yield made


def opened(s: Scene) -> ModeWindow:
    s.window.open_modes()
    s.settle()
    window = ModeWindow.current()
    assert window is not None
    return window


def fallback(s: Scene) -> None:
    standing_in = state(chosen="orphiq", reason="orphiq did not answer", history=(CHANGE,))
    s.say(ModeChanged(change=CHANGE, state=standing_in))


# --- the chip ---


def test_the_chip_names_the_mode_and_turns_amber_when_another_stands_in(s: Scene) -> None:
    chip = s.window.header.mode
    assert chip.words.startswith("External API")
    assert not chip._is_amber
    fallback(s)
    assert chip.words == "External API stands in"
    assert chip._is_amber
    assert "in place of Orphiq server: orphiq did not answer" in chip.tooltip.text


def test_the_chip_opens_the_window_and_its_arrow_the_list(s: Scene) -> None:
    chip = s.window.header.mode
    s.press("<Return>", chip)
    assert ModeWindow._current is not None
    s.press("<Escape>", ModeWindow._current)
    assert ModeWindow._current is None
    chip.open()
    s.settle()
    s.press("<Down>")
    s.press("<Return>")
    sent = s.backend.bodies("PUT /api/mode")
    assert sent == [{"mode": "autonomous", "running": "finish", "by": "window"}]


def test_without_modes_the_chip_shows_who_writes(tmp_path: Path) -> None:
    with scene(tmp_path) as s:
        s.settle(lambda: bool(s.window.modes.trouble))
        assert s.window.header.mode.words == "Built-in persona"
        window = opened(s)
        assert "knows no modes" in window.verdict._whole
        assert not window.cards["autonomous"].use_button.enabled


# --- the window ---


def test_each_mode_says_how_it_is_and_what_is_missing(s: Scene) -> None:
    window = opened(s)
    assert window.cards["orphiq"].state_words._whole == "does not answer, tried again in 12 s"
    assert window.cards["orphiq"].detail.cget("text") == GONE
    assert window.cards["external-api"].state_words._whole == "answers now"
    assert window.cards["autonomous"].state_words._whole == "ready"
    window.cards["orphiq"].count_down()
    assert window.cards["orphiq"].state_words._whole == "does not answer, tried again in 11 s"


def test_a_mode_is_chosen_for_the_stage_and_the_running_reply_is_stopped(s: Scene) -> None:
    window = opened(s)
    window.scopes["here"].invoke()
    window.endings["cancel"].invoke()
    window.cards["autonomous"].use_button.invoke()
    s.settle()
    assert s.backend.bodies("PUT /api/mode") == [
        {
            "mode": "autonomous",
            "running": "cancel",
            "by": "window",
            "conversation_id": "stage",
        }
    ]


def test_the_stage_can_follow_everywhere_again_and_luma_can_choose(s: Scene) -> None:
    window = opened(s)
    assert window.follow.winfo_manager() == ""
    window.automatic.invoke()
    s.settle()
    assert len(s.backend.bodies("DELETE /api/mode")) == 1
    own = state("autonomous", "autonomous", is_own=True, conversation_id="stage")
    s.say(ModeChanged(change=CHANGE.model_copy(update={"conversation_id": "stage"}), state=own))
    assert window.follow.winfo_manager() == "pack"
    assert window.verdict._whole.startswith("On the stage: Autonomous answers")
    window.follow.invoke()
    s.settle()
    assert len(s.backend.bodies("DELETE /api/mode?conversation_id=stage")) == 1


def test_a_choice_that_is_refused_says_why(s: Scene) -> None:
    window = opened(s)
    s.backend.answers["PUT /api/mode"] = Failure(
        "conflict", "ORPHIQ_WEBSOCKET_URL is empty. Set it to the server's address.", 409
    )
    window.cards["orphiq"].use_button.invoke()
    s.settle()
    assert window.verdict._whole.startswith("ORPHIQ_WEBSOCKET_URL is empty")


def test_a_fallback_and_its_reason_stand_at_the_top_and_in_the_history(s: Scene) -> None:
    window = opened(s)
    fallback(s)
    assert "because Orphiq server does not work. Orphiq did not answer." in window.verdict._whole
    assert window.cards["external-api"].state_words._whole == "stands in"
    assert [change.reason for change in window.history.changes] == ["orphiq did not answer"]
    assert "by itself" in window.history.tip_of(0)


def test_settings_of_a_mode_are_saved_and_it_is_tried_at_once(s: Scene) -> None:
    window = opened(s)
    card = window.cards["orphiq"]
    card.unfold()
    s.settle()
    assert list(card.rows) == ["ORPHIQ_WEBSOCKET_URL"]
    card.rows["ORPHIQ_WEBSOCKET_URL"]._typed("ws://127.0.0.1:12393/client-ws")
    assert card.save_button.enabled
    s.backend.answers["POST /api/mode/test"] = {"detail": "It answers.", "elapsed_ms": 41.0}
    card.save_button.invoke()
    s.settle()
    assert s.backend.bodies("POST /api/config") == [
        {"values": {"ORPHIQ_WEBSOCKET_URL": "ws://127.0.0.1:12393/client-ws"}}
    ]
    assert s.backend.bodies("POST /api/mode/test") == [{"mode": "orphiq"}]
    assert "It answers. (41 ms)" in card.answer.cget("text")


def test_a_test_that_fails_says_what_to_do(s: Scene) -> None:
    card = opened(s).cards["external-api"]
    s.backend.answers["POST /api/mode/test"] = Failure("key", "The key is wrong. Set another.", 502)
    card.try_button.invoke()
    s.settle()
    assert card.answer.cget("text") == "The key is wrong. Set another."
    assert card.try_button.enabled


def test_closing_with_unsaved_settings_says_so(s: Scene) -> None:
    window = opened(s)
    card = window.cards["orphiq"]
    card.unfold()
    card.rows["ORPHIQ_WEBSOCKET_URL"]._typed("ws://127.0.0.1:1/client-ws")
    window.close()
    assert s.window.notices.texts == ["1 setting not saved."]


def test_everything_in_the_window_has_a_name(s: Scene) -> None:
    window = opened(s)
    unnamed = []

    def look(widget: tk.Misc) -> None:
        for child in widget.winfo_children():
            stops = "takefocus" in child.keys() and str(child.cget("takefocus")) == "1"
            if stops and not getattr(child, "label", ""):
                unnamed.append(str(child))
            look(child)

    look(window)
    assert unnamed == []
