"""The window itself: rail, header, status bar, commands, keys, theme, size, memory."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
import time
import tkinter as tk
import tkinter.font as tkfont
from collections.abc import Iterator
from pathlib import Path

import pytest

import frontend
from backend.contracts.events import (
    AvatarChanged,
    CharacterSwitched,
    DownloadFinished,
    DownloadProgress,
    ErrorOccurred,
    LogLine,
    SystemStatus,
    TrainingCompleted,
    TrainingFailed,
    TrainingProgress,
)
from frontend.client import Failure
from frontend.tabs.logs import LogsTab
from frontend.theme import DARK, LIGHT
from frontend.widgets.controls import RING, Button, Control
from frontend.widgets.popup import Picker
from frontend.widgets.rail import UNKNOWN
from tests.gui.scene import (
    AT,
    Scene,
    at,
    finished,
    playing,
    provider_setting,
    scene,
    silent,
    started,
    wire,
)

pytestmark = pytest.mark.gui


@pytest.fixture
def s(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as made:
        yield made


def picker(s: Scene) -> Picker:
    found = [child for child in s.window.root.winfo_children() if isinstance(child, Picker)]
    assert len(found) == 1, "no list is open"
    return found[0]


def descendants(widget: tk.Misc) -> Iterator[tk.Misc]:
    for child in widget.winfo_children():
        yield child
        yield from descendants(child)


def load(cpu: float = 0.23) -> SystemStatus:
    return SystemStatus(
        cpu=cpu, memory_bytes=412_000_000, memory_total_bytes=32 * 10**9, disk_free_bytes=10**11
    )


# --- starting and ending ---


def test_the_window_opens_without_heavy_libraries() -> None:
    code = """
import sys
from frontend.client import BackendClient
from frontend.gui import MainWindow
window = MainWindow(BackendClient("http://127.0.0.1:9", "x"), None)
window.root.update()
assert window.root.winfo_viewable()
heavy = {"numpy", "torch", "fastapi", "sqlalchemy", "soundfile", "pystray"} & set(sys.modules)
window.close()
print(sorted(heavy))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_only_the_tab_in_front_is_built(s: Scene) -> None:
    assert list(s.window.tabs) == ["chat"]
    s.window.show_tab("logs")
    assert list(s.window.tabs) == ["chat", "logs"]


def test_closing_ends_the_connection_at_once_and_twice_is_fine(tmp_path: Path) -> None:
    with scene(tmp_path) as s:
        began = time.monotonic()
        s.window.close()
        assert time.monotonic() - began < 1.0
        assert s.backend.closed
        s.window.close()


def test_a_request_to_close_from_elsewhere_is_obeyed(s: Scene) -> None:
    s.window.ask_to_close()
    s.window._tick()
    assert s.window.closed


def test_a_font_that_is_collected_asks_nothing_of_tk(s: Scene) -> None:
    """On another thread, as the collector is, each question waits a second for a window that has closed."""
    font = s.window.theme.font("body")
    font.__del__()
    assert font.name in tkfont.names(s.window.root)


def test_size_tab_theme_and_scale_come_back(tmp_path: Path) -> None:
    with scene(tmp_path) as s:
        s.window.show_tab("status")
        s.window.set_theme("light")
        s.window.set_scale(1.25)
        s.window.root.geometry("1100x720")
        s.settle(lambda: s.window.root.winfo_width() == 1100)
    kept = json.loads((tmp_path / "window.json").read_text())
    assert (kept["tab"], kept["theme"], kept["scale"]) == ("status", "light", 1.25)
    with scene(tmp_path) as s:
        s.settle()
        assert s.window.current == "status"
        assert (s.window.theme.name, s.window.theme.scale) == ("light", 1.25)
        assert (s.window.root.winfo_width(), s.window.root.winfo_height()) == (1100, 720)


@pytest.mark.parametrize(
    "state",
    [
        {"tab": "moon", "scale": "big", "size": ["a"], "theme": 3, "place": [1]},
        {"size": [10**6, -4], "place": [-9000, 99999], "scale": 77},
        {"tab": None, "size": None, "chat.inspector": "yes"},
    ],
)
def test_a_strange_memory_opens_a_usable_window(tmp_path: Path, state: dict[str, object]) -> None:
    (tmp_path / "window.json").write_text(json.dumps(state))
    with scene(tmp_path) as s:
        assert s.window.current == "chat"
        root = s.window.root
        assert 400 < root.winfo_width() <= root.winfo_screenwidth()
        assert 300 < root.winfo_height() <= root.winfo_screenheight()


# --- connection ---


def test_the_status_bar_says_where_it_is_connected(s: Scene) -> None:
    assert s.window.status.text_of("connection") == "Connected  127.0.0.1:1"
    s.backend.lose()
    s.settle()
    assert s.window.status.text_of("connection").startswith("Reconnecting")


def test_a_lost_backend_gets_a_banner_that_goes_when_it_is_back(s: Scene) -> None:
    s.backend.lose()
    s.settle()
    assert s.window._banner is None  # a quick restart shows none
    assert s.window._lost_since is not None
    s.window._show_banner(s.window._lost_since + 2)
    assert s.window._banner is not None
    s.backend.connect(reset=False)
    s.settle()
    assert s.window._banner is None


def test_after_a_restart_everything_is_asked_again(s: Scene) -> None:
    before = len(s.backend.asked)
    s.backend.lose()
    s.backend.connect(reset=False)
    s.settle()
    again = {name for name, _ in s.backend.asked[before:]}
    assert {"GET /api/characters", "GET /api/config", "GET /api/devices"} <= again
    assert "GET /api/conversations/stage/history" in again


def test_a_failure_is_shown_with_its_words(s: Scene) -> None:
    s.window.fail(Failure("conflict", "The port is locked.", 409))
    assert s.window.notices.texts == ["The port is locked."]


def test_while_disconnected_unreachable_is_not_repeated_as_a_notice(s: Scene) -> None:
    s.backend.lose()
    s.settle()
    s.window.fail(Failure("unreachable", "No answer."))
    assert s.window.notices.texts == []


# --- figures ---


def test_load_and_latency_stand_in_the_status_bar(s: Scene) -> None:
    s.say(load(), finished("a", 1), finished("b", 2))
    assert s.window.status.text_of("load") == "CPU 23 %   412 MB"
    assert s.window.status.text_of("turn") == "Last turn 0.85 s  \u00b7  p95 0.85 s"


def test_a_download_shows_its_progress_and_ends(s: Scene) -> None:
    s.say(
        DownloadProgress(
            model_id="whisper-base", received_bytes=64, total_bytes=100, eta_s=160, rate_bytes_s=1
        )
    )
    words = s.window.status.text_of("job")
    assert words == "Downloading whisper-base 64 %  \u00b7  2 min 40 s left"
    assert s.window._rail.entries["voice"].progress == 0.64
    s.say(DownloadFinished(model_id="whisper-base", outcome="failed", reason="offline"))
    assert s.window.status.text_of("job") == ""
    assert s.window._rail.entries["voice"].progress is None
    assert "offline" in s.window.notices.texts[0]


def test_a_job_of_unknown_length_moves_instead_of_standing_at_a_share(s: Scene) -> None:
    s.say(DownloadProgress(model_id="w", received_bytes=10, total_bytes=None))
    entry = s.window._rail.entries["voice"]
    assert entry.progress == UNKNOWN
    entry.redraw()
    first = entry.coords(entry._part)
    s.settle(lambda: entry.coords(entry._part) != first)


def test_a_training_shows_its_progress_on_every_tab_and_says_how_it_ended(s: Scene) -> None:
    s.say(TrainingProgress(job_id="j1", kind="train", state="align", progress=1.0))
    assert s.window.status.text_of("job") == "Finding the sounds 100 %"
    s.say(TrainingProgress(job_id="j1", kind="train", state="train", progress=0.64, eta_s=160))
    assert s.window.status.text_of("job") == "Training 64 %  \u00b7  2 min 40 s left"
    assert s.window._rail.entries["voice"].progress == 0.64
    s.say(TrainingProgress(job_id="j2", kind="process", state="process", progress=0.1))
    assert s.window.status.text_of("job").startswith("Training"), "the training stays in sight"
    s.say(TrainingCompleted(job_id="j1", kind="train", summary="mika-v1 speaks."))
    assert s.window.status.text_of("job") == ""
    assert s.window._rail.entries["voice"].progress is None
    s.say(TrainingFailed(job_id="j2", kind="process", code="disk", reason="The disk is full."))
    assert s.window.notices.texts == ["mika-v1 speaks.", "The disk is full."]


def test_errors_are_counted_on_the_logs_entry_until_it_is_opened(s: Scene) -> None:
    s.say(ErrorOccurred(code="x", reason="Broken. Mend it."), ErrorOccurred(code="y", reason="Z."))
    assert s.window._rail.entries["logs"].count == 2
    assert s.window.notices.texts == ["Broken. Mend it.", "Z."]
    s.window.show_tab("logs")
    assert s.window._rail.entries["logs"].count == 0


def test_a_tab_built_later_gets_the_log_lines_it_missed(s: Scene) -> None:
    s.say(LogLine(logger="x", text="something odd happened"))
    s.window.show_tab("logs")
    s.settle()
    logs = s.window.tabs["logs"]
    assert isinstance(logs, LogsTab)
    rows = [logs.buffer[row_id] for row_id in range(len(logs.buffer))]
    assert any("something odd happened" in row.text for row in rows)


# --- header ---


def test_the_header_names_who_is_on_and_her_mood(s: Scene) -> None:
    assert s.window.stage.character is not None
    assert s.window.stage.character.name == "Hoshi Kitsune"
    s.say(AvatarChanged(expression="smug", character_id="hoshi"))
    assert s.window.stage.expression == "smug"


def test_another_character_is_chosen_from_the_list(s: Scene) -> None:
    s.window.header.character.open()
    s.settle()
    titles = [choice.title for choice in picker(s).shown]
    assert titles[:2] == ["Hoshi Kitsune", "Professor Sumi"]
    s.press("<Down>")
    s.press("<Return>")
    assert s.backend.bodies("POST /api/switch_character") == [
        {"character_id": "sumi", "conversation_id": "stage"}
    ]
    s.say(CharacterSwitched(character_id="sumi", name="Professor Sumi", conversation_id="stage"))
    assert s.window.stage.character_id == "sumi"


def test_another_provider_is_chosen_from_the_list(s: Scene) -> None:
    s.backend.answers["POST /api/config"] = {"changed": ["LLM_PROVIDER"]}
    s.window.header.mode.open()
    s.settle()
    s.press("<Key-o>")
    s.press("<Return>")
    assert s.backend.bodies("POST /api/config") == [{"values": {"LLM_PROVIDER": "openai"}}]


def test_a_locked_provider_says_why(tmp_path: Path) -> None:
    locked = wire([provider_setting("set by the environment")])
    with scene(tmp_path, {"GET /api/config": locked}) as s:
        s.window.stage.choose_provider("openai")
        assert s.backend.bodies("POST /api/config") == []
        assert "set by the environment" in s.window.notices.texts[0]


def test_volume_is_sent_once_for_a_whole_drag(s: Scene) -> None:
    s.backend.answers["POST /api/audio/output"] = {}
    for step in range(10):
        s.window.stage.set_volume(0.3 + step / 100)
    s.settle(lambda: bool(s.backend.bodies("POST /api/audio/output")))
    assert s.backend.bodies("POST /api/audio/output") == [{"volume": 0.39, "muted": False}]


def test_mute_is_sent_and_shown(s: Scene) -> None:
    s.backend.answers["POST /api/audio/output"] = {"volume": 0.72, "muted": True, "device": ""}
    s.window.header.mute.invoke()
    s.settle()
    assert s.backend.bodies("POST /api/audio/output") == [{"muted": True}]
    assert s.window.header.mute.icon == "muted"
    assert s.window.header.mute.label == "Unmute"


def test_the_meter_follows_the_sound_and_falls_at_its_end(s: Scene) -> None:
    s.say(started("a", 1), playing("a", 1, "Hi."), at("a", 1, 0.5, -14.0))
    assert s.window.header.meter.level_db == -14.0
    s.say(silent("a", "Hi."))
    assert s.window.header.meter.level_db == -60.0


def test_stop_works_only_while_something_is_said(s: Scene) -> None:
    stop = s.window.header.stop_button
    assert not stop.enabled
    s.window.stop_speaking()
    assert s.backend.bodies("POST /api/conversations/stage/interrupt") == []
    s.say(started("a", 1))
    assert stop.enabled
    s.backend.answers["POST /api/conversations/stage/interrupt"] = {"interrupted": True}
    s.press("<Escape>")
    assert s.backend.bodies("POST /api/conversations/stage/interrupt") == [{}]
    s.say(finished("a", 1))
    assert not stop.enabled


# --- keys and commands ---


@pytest.mark.parametrize(
    ("key", "tab"),
    [("2", "voice"), ("3", "stage"), ("4", "stream"), ("5", "logs"), ("6", "status")],
)
def test_control_and_a_number_open_a_tab_and_come_back(s: Scene, key: str, tab: str) -> None:
    s.press(f"<Control-Key-{key}>")
    assert s.window.current == tab
    s.press("<Control-Key-1>", s.window.root)
    assert s.window.current == "chat"


def test_the_palette_finds_and_runs_a_command(s: Scene) -> None:
    s.press("<Control-k>")
    search = s.window.root.focus_get()
    assert isinstance(search, tk.Entry)
    search.insert(0, "status tab")
    s.settle()
    assert [choice.title for choice in picker(s).shown] == ["Status tab"]
    s.press("<Return>")
    assert s.window.current == "status"


def test_the_palette_puts_first_what_begins_with_the_words(s: Scene) -> None:
    s.press("<Control-k>")
    search = s.window.root.focus_get()
    assert isinstance(search, tk.Entry)
    search.insert(0, "microphone")
    s.settle()
    titles = [choice.title for choice in picker(s).shown]
    assert titles[0] == "Microphone and sound"
    assert any(title.startswith("Panic") for title in titles[1:])


def test_the_palette_offers_characters_and_sizes(s: Scene) -> None:
    s.window.open_palette()
    titles = [choice.title for choice in picker(s).choices]
    assert "Talk to Professor Sumi" in titles
    assert "Scale 200 %" in titles


def test_escape_closes_a_list_and_gives_the_focus_back(s: Scene) -> None:
    composer = s.chat.composer.text
    composer.focus_force()
    s.settle()
    s.window.open_keys()
    s.settle()
    s.press("<Escape>")
    assert s.window.root.focus_get() is composer
    assert not [c for c in s.window.root.winfo_children() if isinstance(c, Picker)]


def test_escape_in_a_list_does_not_stop_the_voice(s: Scene) -> None:
    s.say(started("a", 1))
    s.window.open_keys()
    s.settle()
    s.press("<Escape>")
    assert s.backend.bodies("POST /api/conversations/stage/interrupt") == []


def test_words_that_fit_nothing_show_an_empty_list_that_does_nothing(s: Scene) -> None:
    s.window.open_palette()
    s.settle()
    search = s.window.root.focus_get()
    assert isinstance(search, tk.Entry)
    search.insert(0, "qqqq")
    s.settle()
    assert picker(s).shown == []
    s.press("<Return>")
    s.press("<Down>")
    picker(s).close()


def test_every_command_has_a_place_and_its_keys_work_in_a_text_field(s: Scene) -> None:
    names = [command.name for command in s.window.commands]
    assert len(names) == len(set(names))
    bound = [sequence for command in s.window.commands for sequence in command.bind]
    assert len(bound) == len(set(bound))
    s.chat.composer.text.focus_force()
    s.press("<Control-t>", s.chat.composer.text)
    assert s.window.theme.name == "light"
    s.press("<Control-i>", s.chat.composer.text)
    assert s.chat.composer.words == ""


def test_the_menu_shows_all_groups(s: Scene) -> None:
    s.press("<F10>")
    headings = [choice.title for choice in picker(s).choices if choice.heading]
    assert headings == ["File", "Edit", "View", "Stage", "Stream", "Microphone", "Help"]
    picker(s).close()


def test_f6_walks_through_the_parts_of_the_window(s: Scene) -> None:
    s.chat.composer.text.focus_force()
    s.settle()
    seen = []
    for _ in range(4):
        s.press("<F6>")
        seen.append(s.window.root.focus_get())
    rail, header = s.window._rail.entries["chat"], s.window.header.character
    assert seen == [rail, header, s.chat.view.text, s.chat.composer.text]


def test_f6_goes_past_a_pane_that_is_not_shown(s: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = tk.Frame(s.window.root, takefocus=1)
    composer = s.chat.composer.text
    monkeypatch.setattr(s.chat, "panes", lambda: [s.chat.view.text, hidden, composer])
    s.chat.view.text.focus_force()
    s.settle()
    s.press("<F6>")
    assert s.window.root.focus_get() is composer


def test_every_focus_stop_has_a_name(s: Scene) -> None:
    for name in ("chat", "logs", "status", "voice"):
        s.window.show_tab(name)
        s.settle()
    nameless = [
        str(widget)
        for widget in descendants(s.window.root)
        if isinstance(widget, Control | tk.Entry | tk.Text)
        and str(widget.cget("takefocus")) not in ("0", "")
        and not getattr(widget, "label", "")
    ]
    assert nameless == []


def test_the_focus_ring_is_drawn_in_the_accent(s: Scene) -> None:
    button = s.window.header.mute
    before = len(button.find_all())
    button.focus_force()
    s.settle()
    assert button.focused
    assert len(button.find_all()) == before + 1


@pytest.mark.parametrize("key", ["<space>", "<Return>"])
def test_buttons_work_from_the_keyboard(s: Scene, key: str) -> None:
    pressed: list[int] = []
    button = Button(s.window.root, s.window.theme, "Go", lambda: pressed.append(1))
    button.place(x=300, y=300)
    s.settle()
    s.press(key, button)
    button.enable(False)
    s.press(key, button)
    assert pressed == [1]


def test_a_button_released_elsewhere_does_nothing(s: Scene) -> None:
    pressed: list[int] = []
    button = Button(s.window.root, s.window.theme, "Go", lambda: pressed.append(1))
    button.place(x=300, y=300)
    s.settle()
    button.event_generate("<ButtonPress-1>", x=5, y=5)
    button.event_generate("<ButtonRelease-1>", x=500, y=5)
    button.event_generate("<ButtonPress-1>", x=5, y=5)
    button.event_generate("<ButtonRelease-1>", x=6, y=6)
    s.settle()
    assert pressed == [1]


# --- looks ---


def test_a_theme_switch_reaches_every_plain_widget(s: Scene) -> None:
    for name in ("logs", "status", "voice", "stage", "chat"):
        s.window.show_tab(name)
        s.settle()
    s.window.set_theme("light")
    s.settle()
    dark_only = {color.lower() for color in DARK.values()} - {c.lower() for c in LIGHT.values()}
    left = []
    for name in ("logs", "status", "voice", "stage", "chat"):
        s.window.show_tab(name)
        s.settle()
        left += [
            (str(widget), str(widget.cget("background")))
            for widget in descendants(s.window.root)
            if widget.winfo_viewable()
            and "background" in widget.keys()
            and str(widget.cget("background")).lower() in dark_only
        ]
    assert left == []


@pytest.mark.parametrize("scale", [1.0, 2.0, 2.5])
def test_controls_grow_with_the_scale(tmp_path: Path, scale: float) -> None:
    with scene(tmp_path, scale=scale, size=(int(900 * scale), int(600 * scale))) as s:
        high = s.window.header.stop_button.winfo_reqheight()
        assert high == round((30 + 2 * RING) * scale)


def test_a_change_of_scale_keeps_tab_and_words(s: Scene) -> None:
    s.say(*[finished("a", 1)])
    s.window.set_scale(1.5)
    s.settle()
    assert s.window.current == "chat"
    assert s.window.header.stop_button.winfo_reqheight() == round((30 + 2 * RING) * 1.5)
    assert s.window.status.text_of("connection").startswith("Connected")


@pytest.mark.parametrize("width", [720, 900, 1119, 1600])
def test_nothing_sticks_out_of_the_window(tmp_path: Path, width: int) -> None:
    with scene(tmp_path, size=(width, 600)) as s:
        s.settle()
        right = s.window.root.winfo_rootx() + s.window.root.winfo_width()
        out = [
            str(widget)
            for widget in (*s.window.header.winfo_children(), *s.chat.winfo_children())
            if widget.winfo_viewable() and widget.winfo_rootx() + widget.winfo_width() > right + 1
        ]
        assert out == []


def test_notices_go_by_themselves_but_errors_stay(s: Scene) -> None:
    s.window.notify("Copied.", "ok")
    s.window.notify("It is broken. Mend it.", "error")
    s.window.notify("It is broken. Mend it.", "error")
    assert s.window.notices.texts == ["Copied.", "It is broken. Mend it."]
    for number in range(9):
        s.window.notify(f"n{number}", "error")
    assert len(s.window.notices.texts) == 4
    s.window.notices.clear()
    assert s.window.notices.texts == []


def test_a_bug_in_a_callback_is_shown_and_the_window_goes_on(
    s: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise ValueError("oh no")

    s.window.root.after(1, broken)
    s.settle(lambda: bool(s.window.notices.texts))
    assert "oh no" in s.window.notices.texts[0]
    assert "oh no" in caplog.text
    s.window.show_tab("status")
    assert s.window.current == "status"


def test_no_widget_takes_a_name_that_tk_uses_itself() -> None:
    taken: list[str] = []
    for module in pkgutil.walk_packages(frontend.__path__, "frontend."):
        for name, kind in vars(importlib.import_module(module.name)).items():
            if not (inspect.isclass(kind) and issubclass(kind, tk.Misc)):
                continue
            if kind.__module__ != module.name:
                continue
            ours = {
                key
                for base in kind.__mro__
                if base.__module__.startswith("frontend")
                for key in vars(base)
                if not key.startswith("__")
            }
            theirs = {
                key for base in kind.__mro__ if base.__module__ == "tkinter" for key in vars(base)
            }
            taken += [f"{name}.{key}" for key in sorted(ours & theirs)]
    assert taken == []


def test_time_is_kept_in_local_hours() -> None:
    assert AT.astimezone().utcoffset() is not None


def test_while_the_backend_is_away_who_answers_is_not_shown_as_well(s: Scene) -> None:
    assert s.window.header.mode.dot == "ok"
    s.backend.lose()
    s.settle()
    assert s.window.header.mode.dot == "text3"
    s.backend.connect()
    s.settle()
    assert s.window.header.mode.dot == "ok"
