"""The settings window: editing, locks, faults, secrets, saving."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.contracts.settings import SettingInfo, SettingKind
from config import Settings, load_settings
from config_store import SettingsStore
from frontend.client import Failure
from frontend.setting_names import TITLES
from frontend.settings_window import SettingsWindow, heading_of, title_of
from frontend.widgets.controls import Dropdown, Switch
from frontend.widgets.field import Field
from tests.gui.scene import Scene, provider_setting, scene, wire

pytestmark = pytest.mark.gui


def setting(name: str, group: str, kind: SettingKind, value: Any, **fields: Any) -> SettingInfo:
    base: dict[str, Any] = {"meaning": f"What {name} means.", "default": value, "allowed": "any"}
    return SettingInfo(name=name, group=group, kind=kind, value=value, **{**base, **fields})


SETTINGS = [
    provider_setting(),
    setting("LLM_MAX_TOKENS", "Thinking", "integer", 512, lowest=1, highest=32768),
    setting("LLM_VISION_MODEL", "Thinking", "text", ""),
    setting("OPENAI_API_KEY", "Providers", "secret", "\u2022\u2022\u2022\u20223f9c", secret=True),
    setting("API_PORT", "Server", "integer", 8765, locked="set by the command line"),
    setting("LOCAL_CLIENTS", "Server", "switch", False, restart_needed=True),
    setting("TTS_CHAIN", "Speaking", "list", ("piper", "embedded")),
]


@pytest.fixture
def s(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path, {"GET /api/config": wire(SETTINGS)}) as made:
        yield made


def opened(s: Scene, field: str = "") -> SettingsWindow:
    s.window.open_settings(field)
    window = SettingsWindow.current()
    assert window is not None
    s.settle(lambda: bool(window.settings))
    return window


def type_into(s: Scene, window: SettingsWindow, name: str, text: str) -> None:
    control = window.rows[name].control
    assert isinstance(control, Field)
    control.entry.delete(0, "end")
    control.entry.insert(0, text)
    s.settle()


def test_every_group_the_backend_names_is_there(s: Scene) -> None:
    window = opened(s)
    assert list(window._groups) == ["Window", "Thinking", "Providers", "Server", "Speaking"]
    for name in window._groups:
        window._groups[name].invoke()
        s.settle()
        if name != "Window":
            wanted = [one.name for one in SETTINGS if one.group == name]
            assert list(window.rows) == wanted


def test_a_named_setting_opens_at_its_place_with_the_focus(s: Scene) -> None:
    window = opened(s, "LLM_MAX_TOKENS")
    assert window.shown_group == "Thinking"
    control = window.rows["LLM_MAX_TOKENS"].control
    assert isinstance(control, Field)
    s.settle(lambda: window.focus_get() is control.entry)


def test_there_is_one_window_only(s: Scene) -> None:
    first = opened(s)
    assert opened(s, "TTS_CHAIN") is first


def test_changes_are_sent_together_on_save_only(s: Scene) -> None:
    s.backend.answers["POST /api/config"] = {"changed": ["LLM_MAX_TOKENS"], "restart_needed": []}
    window = opened(s, "LLM_MAX_TOKENS")
    type_into(s, window, "LLM_MAX_TOKENS", "600")
    window.rows["LLM_PROVIDER"].control._chosen("openai")  # type: ignore[attr-defined]
    window.show_setting("TTS_CHAIN")
    type_into(s, window, "TTS_CHAIN", "embedded, piper")
    assert s.backend.bodies("POST /api/config") == []
    window.save()
    s.settle()
    assert s.backend.bodies("POST /api/config") == [
        {
            "values": {
                "LLM_MAX_TOKENS": 600,
                "LLM_PROVIDER": "openai",
                "TTS_CHAIN": ["embedded", "piper"],
            }
        }
    ]
    assert window.pending == {}
    assert s.window.notices.texts == ["Saved."]


def test_typing_the_old_value_again_is_no_change(s: Scene) -> None:
    window = opened(s, "LLM_MAX_TOKENS")
    type_into(s, window, "LLM_MAX_TOKENS", "600")
    assert window._save_button.enabled
    type_into(s, window, "LLM_MAX_TOKENS", "512")
    assert window.pending == {}
    assert not window._save_button.enabled


def test_a_wrong_number_stays_in_its_row_and_cannot_be_saved(s: Scene) -> None:
    window = opened(s, "LLM_MAX_TOKENS")
    for text in ("many", "0", "99999999"):
        type_into(s, window, "LLM_MAX_TOKENS", text)
        row = window.rows["LLM_MAX_TOKENS"]
        assert row.trouble
        assert row._note.cget("text") == row.trouble
        assert not window._save_button.enabled
    type_into(s, window, "LLM_MAX_TOKENS", "600")
    assert window._save_button.enabled


def test_a_locked_setting_shows_its_reason_and_takes_nothing(s: Scene) -> None:
    window = opened(s, "API_PORT")
    row = window.rows["API_PORT"]
    assert "set by the command line" in row._note.cget("text")
    assert isinstance(row.control, Field)
    assert row.control.entry.cget("state") == "disabled"


def test_a_key_is_never_shown_and_can_be_replaced_or_forgotten(s: Scene) -> None:
    window = opened(s, "OPENAI_API_KEY")
    control = window.rows["OPENAI_API_KEY"].control
    assert isinstance(control, Field)
    assert control.text == ""
    assert control.entry.cget("show") == "\u2022"
    type_into(s, window, "OPENAI_API_KEY", "sk-new")
    assert window.pending == {"OPENAI_API_KEY": "sk-new"}
    type_into(s, window, "OPENAI_API_KEY", "")
    assert window.pending == {}
    window.rows["OPENAI_API_KEY"]._keep(None, reset=True)
    assert window.pending == {"OPENAI_API_KEY": None}
    assert "forgotten" in window.rows["OPENAI_API_KEY"]._note.cget("text")


def test_what_the_backend_refuses_is_said_and_kept(s: Scene) -> None:
    s.backend.answers["POST /api/config"] = Failure(
        "input.invalid", "LLM_MAX_TOKENS is 600; at most 512 here.", 422
    )
    window = opened(s, "LLM_MAX_TOKENS")
    type_into(s, window, "LLM_MAX_TOKENS", "600")
    window.save()
    s.settle()
    assert "at most 512" in window.rows["LLM_MAX_TOKENS"].trouble
    assert window.pending == {"LLM_MAX_TOKENS": 600}


def test_what_waits_for_a_restart_is_said(s: Scene) -> None:
    s.backend.answers["POST /api/config"] = {
        "changed": ["LOCAL_CLIENTS"],
        "restart_needed": ["LOCAL_CLIENTS"],
    }
    window = opened(s, "LOCAL_CLIENTS")
    control = window.rows["LOCAL_CLIENTS"].control
    assert isinstance(control, Switch)
    control.invoke()
    window.save()
    s.settle()
    assert "LOCAL_CLIENTS take effect after a restart" in s.window.notices.texts[0]


def test_undo_brings_the_old_values_back(s: Scene) -> None:
    window = opened(s, "LLM_MAX_TOKENS")
    type_into(s, window, "LLM_MAX_TOKENS", "600")
    window._revert_button.invoke()
    s.settle()
    control = window.rows["LLM_MAX_TOKENS"].control
    assert isinstance(control, Field)
    assert control.text == "512"


def test_search_finds_by_name_and_meaning(s: Scene) -> None:
    window = opened(s)
    window._search.entry.insert(0, "max tokens")
    s.settle()
    assert list(window.rows) == ["LLM_MAX_TOKENS"]
    window._search.entry.delete(0, "end")
    s.settle()
    assert window.shown_group == "Window"


def test_saving_keeps_what_was_searched_and_says_so_and_a_group_ends_the_search(s: Scene) -> None:
    s.backend.answers["POST /api/config"] = {"restart_needed": []}
    window = opened(s)
    window._search.entry.insert(0, "max tokens")
    s.settle()
    type_into(s, window, "LLM_MAX_TOKENS", "256")
    window.save()
    s.settle()
    assert list(window.rows) == ["LLM_MAX_TOKENS"]
    assert window._summary.cget("text") == "Saved."
    window._groups["Server"].invoke()
    s.settle()
    assert window._search.text == ""
    assert list(window.rows) == ["API_PORT", "LOCAL_CLIENTS"]


def test_closing_with_changes_says_they_are_lost(s: Scene) -> None:
    window = opened(s, "LLM_MAX_TOKENS")
    type_into(s, window, "LLM_MAX_TOKENS", "600")
    window.close()
    assert s.window.notices.texts == ["1 setting not saved."]
    assert SettingsWindow._current is None


def test_theme_and_size_act_at_once(s: Scene) -> None:
    window = opened(s)
    s.window.set_theme("light")
    assert s.window.theme.name == "light"
    dropdown = next(
        child for child in _all(window) if isinstance(child, Dropdown) and child.label == "Size"
    )
    dropdown._chosen("1.5")
    s.settle(lambda: SettingsWindow._current is not None)
    assert s.window.theme.scale == 1.5


def _all(widget: Any) -> Iterator[Any]:
    for child in widget.winfo_children():
        yield child
        yield from _all(child)


HEARING = [
    setting("STT_CHAIN", "Hearing", "list", ("whisper", "sphinx")),
    setting("ASR_FRAME_MS", "Hearing", "integer", 32),
    setting("ASR_SILENCE_MS", "Hearing", "integer", 600),
    setting("BARGE_IN", "Hearing", "switch", True),
    setting("ASR_MODE", "Hearing", "choice", "off", choices=("off", "push_to_talk", "open")),
    setting("ASR_OF_TOMORROW", "Hearing", "integer", 1),
]


def test_settings_of_hearing_stand_under_headings_in_the_order_one_looks(tmp_path: Path) -> None:
    with scene(tmp_path, {"GET /api/config": wire(HEARING)}) as s:
        window = opened(s, "ASR_SILENCE_MS")
        assert list(window.rows) == [
            "ASR_MODE", "ASR_SILENCE_MS", "BARGE_IN", "STT_CHAIN", "ASR_FRAME_MS", "ASR_OF_TOMORROW",
        ]  # fmt: skip
        shown = {name: title_of(row.setting) for name, row in window.rows.items()}
        assert shown["ASR_SILENCE_MS"] == "Silence that ends it (ms)"
        assert shown["ASR_OF_TOMORROW"] == "Of tomorrow"
        mode = window.rows["ASR_MODE"].control
        assert isinstance(mode, Dropdown)
        assert [choice.title for choice in mode.choices] == [
            "Off",
            "Push to talk",
            "Open microphone",
        ]


def test_every_name_given_to_a_setting_of_hearing_is_a_setting() -> None:
    assert {name.lower() for name in TITLES} <= set(Settings.model_fields)


def test_each_setting_of_a_live_audience_has_a_name_of_its_own_under_its_heading(
    tmp_path: Path,
) -> None:
    groups = {"TWITCH": "Twitch", "MODERATION": "Moderation", "AUTONOMY": "Autonomy"}
    groups["AUTONOMOUS"] = "Modes"
    shown: dict[str, str] = {}
    for each in SettingsStore(load_settings({"data_dir": tmp_path})).describe():
        first, *rest = each.name.split("_")
        if first in groups:
            assert each.group == groups[first]
            assert each.name in TITLES
            shown[each.name] = title_of(each)
        elif first == "LLM" and rest[0] in groups:
            assert heading_of(each) == f"Role: {rest[0].lower()}"
            assert rest[0].lower() not in title_of(each).lower()
    assert len(shown) >= 20
    assert len(set(shown.values())) == len(shown)
