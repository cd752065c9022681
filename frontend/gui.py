"""The window: rail, header, tabs, status bar; it empties the client's inbox between redraws.

Every 20 ms it hands out what has arrived for at most 8 ms, then lets the tabs draw once. A tab is built when it is first
shown and kept; what it missed comes by REST.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
import tkinter as tk
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, runtime_checkable

from backend.contracts.entities import STAGE, Turn
from backend.contracts.events import (
    CharacterChanged,
    DownloadFinished,
    DownloadProgress,
    ErrorOccurred,
    Event,
    LogLine,
    SystemStatus,
    TrainingCompleted,
    TrainingFailed,
    TrainingProgress,
    TrainingState,
    TurnFinished,
)
from frontend.audience import Audience
from frontend.avatar import Avatar
from frontend.client import BackendClient, Connection, Failure
from frontend.commands import GROUPS, OTHER_KEYS, Command
from frontend.microphone import MUTE_KEY, TALK_KEY, Microphone, where_words_go
from frontend.modes import Modes
from frontend.pictures import Avatars
from frontend.stage import Stage, read_models
from frontend.tabs import Notice, Tab
from frontend.theme import (
    SCALES,
    Theme,
    ThemeName,
    be_dpi_aware,
    default_scale,
    system_theme,
)
from frontend.widgets.controls import Words, picture_label
from frontend.widgets.conversation import seconds_in_words
from frontend.widgets.focus import focused
from frontend.widgets.header import Header
from frontend.widgets.notices import Notices
from frontend.widgets.popup import Choice, Picker
from frontend.widgets.rail import UNKNOWN, Rail, RailTab
from frontend.widgets.status_bar import HEIGHT as STATUS_HEIGHT
from frontend.widgets.status_bar import StatusBar
from frontend.widgets.talk import HeldKey, key_name, why_not
from frontend.widgets.text_keys import teach_text_keys
from frontend.window_state import read_state, write_state

logger = logging.getLogger(__name__)

TICK_MS = 20
DRAIN_S = 0.008  # half a 60 Hz redraw, so typing never lags behind a burst of events
HIDDEN_FLUSH_S = 0.5
FIGURES_S = 0.5  # the status bar's numbers
LOST_GRACE_S = 1.5  # a restart shorter than this shows no banner
KEPT_LIVE = 3000  # log lines and load figures kept for a tab that is built later
KEPT_TURNS = 200
TICKS_KEPT = 5000
SMALLEST = (720, 480)
FIRST_SIZE = (1280, 800)
IDLE_STATES = ("done", "failed", "cancelled", "interrupted", "paused")
COMPOSER_HEIGHT = 96  # notices stay clear of Send


@runtime_checkable
class HasPanes(Protocol):
    """A tab that says where F6 goes inside it."""

    def panes(self) -> list[tk.Misc]:
        """Widgets that take the focus, in reading order."""
        ...


def tab_list() -> list[RailTab]:
    """The tabs there are, in order."""
    return [
        RailTab("chat", "Chat", "chat", "Ctrl+1"),
        RailTab("voice", "Voice", "voice", "Ctrl+2"),
        RailTab("stage", "Stage", "person", "Ctrl+3"),
        RailTab("stream", "Stream", "stream", "Ctrl+4"),
        RailTab("logs", "Logs", "logs", "Ctrl+5"),
        RailTab("status", "Status", "status", "Ctrl+6"),
    ]


class MainWindow:
    """The one window; also the `App` its tabs see.

    Args:
        client: Line to the backend; started here, closed with the window.
        state_path: Where the window remembers itself; None = nowhere.
        root: What it is built in; None = a new one.
    """

    def __init__(
        self, client: BackendClient, state_path: Path | None = None, root: tk.Tk | None = None
    ) -> None:
        be_dpi_aware()
        self.backend = client
        self.state: dict[str, Any] = read_state(state_path) if state_path else {}
        self._state_path = state_path
        self.root = root if root is not None else tk.Tk(className="Luma")
        self.root.withdraw()
        self.root.title("Luma")
        self.root.report_callback_exception = self._callback_failed
        scale = self.state.get("scale")
        self.theme = Theme(
            self.root,
            self._theme_name(),
            float(scale) if scale in SCALES else default_scale(self.root),
        )
        self.microphone = Microphone(client, self.fail)
        self.stage = Stage(client, self.fail, self.root.after, self.microphone.took_devices)
        self.avatar = Avatar(client, self.stage, self.fail)
        self.modes = Modes(client, self.stage, self.fail)
        self.audience = Audience(client, self.fail)
        self.avatars = Avatars(client, self.theme)
        self.stage.listen(("panic",), self._show_panic)
        self.drafts: dict[str, dict[tuple[str, ...], object]] = {}
        """Changes of characters that are not saved yet, by id; the characters window keeps them here."""
        self.ticks: deque[float] = deque(maxlen=TICKS_KEPT)
        """Seconds each of the window's own ticks took; the load benchmark reads them."""
        self.closed = False
        self.current = ""
        self.tabs: dict[str, Tab] = {}
        self._live: deque[Event] = deque(maxlen=KEPT_LIVE)
        self._turns: deque[TurnFinished] = deque(maxlen=KEPT_TURNS)
        self._job: tuple[str, float | None] = ("", None)
        self._unseen_errors = 0
        self._received = (time.monotonic(), 0)
        self._hidden_flush = 0.0
        self._figures = 0.0
        self._lost_since: float | None = time.monotonic()
        self._tick_job: str | None = None
        self._stop_asked = threading.Event()
        self._tray: Any = None
        self.commands = self._make_commands()
        self._restore_size()
        self._build()
        self._bind_keys()
        self._watch_microphone()
        self.root.protocol("WM_DELETE_WINDOW", self.close)
        self._draw_icon()
        first = self.state.get("tab")
        names = [tab.name for tab in tab_list()]
        self.show_tab(first if first in names else "chat")
        client.start()
        self.root.deiconify()
        self._tick_job = self.root.after(1, self._tick)

    # --- what tabs may use ----------------------------------------------------------------------------------------

    def show_tab(self, name: str) -> None:
        """Bring a tab to the front, building it if needed."""
        if name == self.current:
            return
        tab = self.tabs.get(name) or self._build_tab(name)
        if tab is None:
            return
        if self.current in self.tabs:
            old = self.tabs[self.current]
            old.on_hide()
            self._frame(old).pack_forget()
        self.current = name
        self.state["tab"] = name
        self._frame(tab).pack(in_=self._page, fill="both", expand=True)
        self._rail.show(name)
        if name == "logs":
            self._unseen_errors = 0
            self.set_badge("logs", 0)
        tab.flush()
        tab.on_show()

    def open_turn(self, turn_id: str) -> None:
        """Show one turn with its stages in the Chat tab."""
        self.show_tab("chat")
        from frontend.tabs.chat import ChatTab

        chat = self.tabs["chat"]
        assert isinstance(chat, ChatTab)
        chat.open_turn(turn_id)

    def notify(self, text: str, severity: Notice = "info") -> None:
        """Say something for a few seconds; errors stay until dismissed."""
        self.notices.show(text, severity)

    def fail(self, failure: Failure) -> None:
        """Show why a request did not work; a lost connection is shown by the banner already."""
        if failure.code != "unreachable" or self._lost_since is None:
            self.notify(failure.message, "error" if failure.status >= 500 else "warn")

    def set_badge(self, name: str, count: int = 0, *, progress: float | None = None) -> None:
        """Mark a tab's rail entry."""
        self._rail.entries[name].set_badge(count, progress)

    def open_settings(self, field: str = "") -> None:
        """Open the settings window, scrolled to a setting."""
        from frontend.settings_window import SettingsWindow

        SettingsWindow.open(self, field)

    def open_sound(self) -> None:
        """Open the window of microphone and loudspeaker."""
        from frontend.sound_window import SoundWindow

        SoundWindow.open(self)

    def open_modes(self) -> None:
        """Open the window of modes: who answers, and why."""
        from frontend.mode_window import ModeWindow

        ModeWindow.open(self)

    def open_twitch(self) -> None:
        """Open the window of Twitch: join a channel, log in."""
        from frontend.twitch_window import TwitchWindow

        TwitchWindow.open(self)

    def open_rules(self, page: str = "", item: str = "") -> None:
        """Open the window of rules: queue, moderation, commands, triggers; at one of them where it is named."""
        from frontend.rules_window import RulesWindow

        RulesWindow.open(self, page, item)

    def open_on_demand(self) -> None:
        """Open the window of text on demand."""
        from frontend.on_demand_window import OnDemandWindow

        OnDemandWindow.open(self)

    def open_models(self) -> None:
        """Show the models that can be downloaded."""
        self.show_tab("voice")
        from frontend.tabs.voice import VoiceTab

        voice = self.tabs["voice"]
        assert isinstance(voice, VoiceTab)
        voice.show_page("voices")

    def open_checkup(self) -> None:
        """Open the check-up of the live path."""
        self.show_tab("status")
        from frontend.tabs.status import StatusTab

        status = self.tabs["status"]
        assert isinstance(status, StatusTab)
        status.open_checkup()

    def set_talk_key(self, keysym: str) -> None:
        """Hold another key to talk."""
        self.state["microphone.key"] = keysym
        self.talk_key.change(keysym)
        self.microphone.set_key_name(key_name(keysym))
        self._save()

    def open_characters(self, character_id: str = "") -> None:
        """Open the characters window, at a character where one is named."""
        from frontend.character_window import CharacterWindow

        CharacterWindow.open(self, character_id)

    # --- theme, size, life ----------------------------------------------------------------------------------------

    def set_theme(self, choice: str) -> None:
        """Switch to "dark", "light" or "system"."""
        self.state["theme"] = choice
        name = self._theme_name()
        if name != self.theme.name:
            self.avatars.drop_pictures()
            self.theme.change(name)
            for tab in self.tabs.values():
                tab.on_theme()
        self._save()

    def set_scale(self, scale: float) -> None:
        """Draw everything at another size (1 to 2.5); the window is built anew."""
        if scale == self.theme.scale:
            return
        self.state["scale"] = scale
        current, self.current = self.current, ""
        for child in self.root.winfo_children():
            child.destroy()
        self.tabs.clear()
        self.avatars.drop_pictures()
        self.theme.change(scale=scale)
        self._build()
        self.show_tab(current)
        self._show_connection(self.backend.connection)
        self._save()

    def run(self) -> int:
        """Show the window until it is closed; the process' exit code."""
        self.root.mainloop()
        return 0

    def ask_to_close(self) -> None:
        """Close the window soon; may be called from any thread and from a signal handler."""
        self._stop_asked.set()

    def close(self) -> None:
        """Close the window, remember it, and end the connection."""
        if self.closed:
            return
        self.closed = True
        self._remember_size()
        self._save()
        if self._tick_job is not None:
            self.root.after_cancel(self._tick_job)
        if self._tray is not None:
            self._tray.stop()
        self.root.withdraw()
        self.backend.close()
        self.root.destroy()

    def _theme_name(self) -> ThemeName:
        wanted = self.state.get("theme", "system")
        if wanted == "light":
            return "light"
        return (system_theme() or "dark") if wanted == "system" else "dark"

    def _restore_size(self) -> None:
        px, root = self.theme.px, self.root
        screen = root.winfo_screenwidth(), root.winfo_screenheight()
        size = self.state.get("size")
        if not (
            isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) for n in size)
        ):
            size = [px(FIRST_SIZE[0]), px(FIRST_SIZE[1])]
        wide = max(min(size[0], screen[0]), min(px(SMALLEST[0]), screen[0]))
        high = max(min(size[1], screen[1]), min(px(SMALLEST[1]), screen[1]))
        geometry = f"{wide}x{high}"
        place = self.state.get("place")
        if isinstance(place, list) and len(place) == 2 and all(isinstance(n, int) for n in place):
            # A screen that is gone must not take the window with it.
            if -wide // 2 < place[0] < screen[0] - 80 and 0 <= place[1] < screen[1] - 80:
                geometry += f"+{max(0, place[0])}+{place[1]}"
        root.geometry(geometry)
        root.minsize(min(px(SMALLEST[0]), screen[0]), min(px(SMALLEST[1]), screen[1]))
        if self.state.get("zoomed"):
            try:
                root.state("zoomed")
            except tk.TclError:
                logger.debug("this window manager has no zoomed state")

    def _remember_size(self) -> None:
        try:
            self.state["zoomed"] = self.root.state() == "zoomed"
        except tk.TclError:
            return
        if not self.state["zoomed"] and self.root.winfo_width() > 1:
            self.state["size"] = [self.root.winfo_width(), self.root.winfo_height()]
            self.state["place"] = [self.root.winfo_x(), self.root.winfo_y()]

    def _save(self) -> None:
        if self._state_path is not None:
            write_state(self._state_path, self.state)

    def _draw_icon(self) -> None:
        from PIL import Image, ImageTk

        from frontend.draw import icon_image, rounded_box

        tile = rounded_box(64, 64, 14, "#15171C", None, 1)
        tile.alpha_composite(icon_image("spark", 48, "#57C8FF", 3).convert("RGBA"), (8, 8))
        self._icon = ImageTk.PhotoImage(
            tile.resize((64, 64), Image.Resampling.LANCZOS), master=self.root
        )
        self.root.iconphoto(True, self._icon)  # type: ignore[arg-type]  # a PhotoImage of Pillow serves as well

    # --- building -------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        root, theme = self.root, self.theme
        self._rail = Rail(
            root,
            theme,
            tab_list(),
            show_tab=self.show_tab,
            open_menu=self.open_menu,
            switch_theme=self._switch_theme,
            open_settings=self.open_settings,
        )
        self._rail.pack(side="left", fill="y")
        self.status = StatusBar(
            root,
            theme,
            {
                "keys": self.open_keys,
                "commands": self.open_palette,
                "turn": lambda: self.show_tab("status"),
                "events": lambda: self.show_tab("logs"),
                "load": lambda: self.show_tab("status"),
                "gpu": lambda: self.show_tab("status"),
                "job": lambda: self.show_tab("voice"),
            },
        )
        self.status.pack(side="bottom", fill="x")
        self.header = Header(
            root,
            theme,
            self.stage,
            self.microphone,
            self.avatars,
            self.modes,
            open_settings=self.open_settings,
            open_modes=self.open_modes,
            open_sound=self.open_sound,
            edit_characters=self.open_characters,
            stop=self.stop_speaking,
        )
        self.header.pack(side="top", fill="x")
        self._banner: tk.Frame | None = None
        self._panic_strip: tk.Frame | None = None
        self._page = tk.Frame(root)
        theme.tint(self._page, background="bg")
        self._page.pack(fill="both", expand=True)
        self.notices = Notices(root, theme, STATUS_HEIGHT + COMPOSER_HEIGHT)
        self.status.put("keys", "F1  Keys", tip="All keys   F1")
        self.status.put("commands", "Ctrl K  Commands", tip="All commands   Ctrl+K")
        self._show_connection(self.backend.connection)
        self._show_turns()
        self._show_panic()

    def _build_tab(self, name: str) -> Tab | None:
        began = time.perf_counter()
        tab = self._make_tab(name)
        self.tabs[name] = tab
        for event in self._live:
            tab.on_event(event)
        if self.backend.connection.state == "connected":
            tab.on_connected()
        logger.debug("tab %s built in %.0f ms", name, (time.perf_counter() - began) * 1000)
        return tab

    def _make_tab(self, name: str) -> Tab:
        # Imported here, so that a tab costs nothing before it is looked at.
        if name == "chat":
            from frontend.tabs.chat import ChatTab

            return ChatTab(self._page, self)
        if name == "voice":
            from frontend.tabs.voice import VoiceTab

            return VoiceTab(self._page, self)
        if name == "stage":
            from frontend.tabs.stage import StageTab

            return StageTab(self._page, self)
        if name == "stream":
            from frontend.tabs.stream import StreamTab

            return StreamTab(self._page, self)
        if name == "logs":
            from frontend.tabs.logs import LogsTab

            return LogsTab(self._page, self)
        from frontend.tabs.status import StatusTab

        return StatusTab(self._page, self)

    @staticmethod
    def _frame(tab: Tab) -> tk.Frame:
        assert isinstance(tab, tk.Frame)
        return tab

    # --- the tick -------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """One round: hand out what arrived, let the tabs draw, be back in 20 ms."""
        if self._stop_asked.is_set():
            self.close()
            return
        began = time.perf_counter()
        try:
            self.work()
        finally:
            self.ticks.append(time.perf_counter() - began)
            if not self.closed:
                self._tick_job = self.root.after(TICK_MS, self._tick)

    def work(self) -> None:
        """Hand out what has arrived and draw; tests call it instead of waiting for the timer."""
        handed = self.backend.drain(DRAIN_S, self._on_event, self._on_connection)
        now = time.monotonic()
        if handed:
            self.microphone.flush()
            self.audience.flush()
        if handed and self.current in self.tabs:
            self.tabs[self.current].flush()
        if now - self._hidden_flush >= HIDDEN_FLUSH_S:
            self._hidden_flush = now
            for name, tab in self.tabs.items():
                if name != self.current:
                    tab.flush()
        if now - self._figures >= FIGURES_S:
            self._figures = now
            self._show_rate(now)
            self._show_banner(now)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, LogLine | SystemStatus):
            self._live.append(event)
        self.stage.on_event(event)
        self.microphone.on_event(event)
        self.avatar.on_event(event)
        self.modes.on_event(event)
        self.audience.on_event(event)
        for tab in self.tabs.values():
            tab.on_event(event)
        match event:
            case SystemStatus():
                self._show_load(event)
            case TurnFinished():
                self._turns.append(event)
                self._show_turns()
            case DownloadProgress():
                self._show_download(event)
            case DownloadFinished():
                self._job = ("", None)
                self.status.put("job", "")
                self.set_badge("voice", 0, progress=None)
                if event.outcome == "failed":
                    self.notify(event.sentence(), "error")
                elif event.outcome == "done":
                    self.notify(f"{event.model_id} is here.", "ok")
            case TrainingProgress():
                self._show_training(event)
            case TrainingState() if event.state in IDLE_STATES:
                self._end_training(event.job_id)
            case TrainingCompleted() | TrainingFailed():
                self._end_training(event.job_id)
                if isinstance(event, TrainingFailed):
                    self.notify(event.reason, "error")
                elif event.kind == "train":
                    self.notify(event.summary, "ok")
            case CharacterChanged():
                self.avatars.forget(event.character_id)
            case ErrorOccurred() if not event.turn_id:
                self.notify(event.reason, "error")
        if event.severity == "ERROR" and self.current != "logs":
            self._unseen_errors += 1
            self.set_badge("logs", self._unseen_errors)

    def _on_connection(self, connection: Connection) -> None:
        self._show_connection(connection)
        if connection.state != "connected":
            if self._lost_since is None:
                self._lost_since = time.monotonic()
                self.stage.lost()
                self.microphone.lost()
            return
        self._lost_since = None
        self._show_banner(time.monotonic())
        self.stage.load()
        self.microphone.load()
        self.modes.load()
        self.avatar.load()
        self.audience.load()
        self.backend.get("/api/turns", self._took_turns, params={"limit": 50})
        for tab in self.tabs.values():
            tab.on_connected()

    # --- status bar -----------------------------------------------------------------------------------------------

    def _show_connection(self, connection: Connection) -> None:
        address = connection.url.split("//")[-1]
        match connection.state:
            case "connected":
                version = f"  \u00b7  Luma {connection.version}" if connection.version else ""
                words, dot, tip = f"Connected  {address}", "ok", f"{connection.url}{version}"
            case "connecting":
                words, dot, tip = f"Connecting  {address}", "text3", connection.url
            case "refused":
                words, dot, tip = "Not allowed", "error", connection.detail
            case _:
                words, dot, tip = f"Reconnecting  {address}", "warn", connection.detail
        self.status.put("connection", words, dot=dot, tip=tip)

    def _show_rate(self, now: float) -> None:
        then, before = self._received
        received = self.backend.received
        if now - then >= 1.0:
            rate = (received - before) / (now - then)
            self._received = (now, received)
            tip = "Events received from the backend"
            if self.backend.dropped:
                tip += f"; {self.backend.dropped:,} live ones dropped by this window"
            self.status.put("events", f"{rate:,.0f} events/s", tip=tip)

    def _show_load(self, status: SystemStatus) -> None:
        memory = f"{status.memory_bytes / 1e6:,.0f} MB"
        self.status.put(
            "load", f"CPU {status.cpu:.0%}".replace("%", " %") + f"   {memory}", tip="Luma's load"
        )
        if status.gpu is not None:
            self.status.put("gpu", f"GPU {status.gpu:.0%}".replace("%", " %"), tip=status.gpu_name)

    def _show_turns(self) -> None:
        firsts = [t.first_audio_ms for t in self._turns if t.first_audio_ms is not None]
        if not firsts:
            totals = [t.total_ms for t in self._turns if t.outcome == "done"]
            self.status.put("turn", f"Last turn {seconds_in_words(totals[-1])}" if totals else "")
            return
        recent = sorted(firsts[-50:])
        p95 = recent[min(len(recent) - 1, round(0.95 * (len(recent) - 1)))]
        self.status.put(
            "turn",
            f"Last turn {seconds_in_words(firsts[-1])}  \u00b7  p95 {seconds_in_words(p95)}",
            tip="From message to first sound; p95 over the last 50 turns",
        )

    def _show_download(self, event: DownloadProgress) -> None:
        share = event.received_bytes / event.total_bytes if event.total_bytes else None
        self._job = (event.model_id, share)
        words = f"Downloading {event.model_id} {_figure(share)}{_left(event.eta_s)}"
        self.status.put("job", words, dot="warn")
        self.set_badge("voice", 0, progress=share if share is not None else UNKNOWN)

    def _show_training(self, event: TrainingProgress) -> None:
        """A job of voice training is told like a download; one of both is shown, a training before all else."""
        if self._job[0] and self._job[0] != event.job_id and event.kind != "train":
            return
        self._job = (event.job_id or "", event.progress)
        what = {"process": "Making clips", "doctor": "Examining clips"}.get(event.kind, "Training")
        if event.kind == "train":  # every phase counts from 0 to 100 %
            what = {
                "queued": "Starting the training",
                "preflight": "Checking before the training",
                "prepare": "Reading the clips",
                "align": "Finding the sounds",
                "export": "Making the voice",
                "verify": "Trying the voice",
            }.get(event.state, what)
        words = f"{what} {_figure(event.progress)}{_left(event.eta_s)}"
        self.status.put("job", words, dot="warn", tip=event.verdict or event.note)
        share = event.progress if event.progress is not None else UNKNOWN
        self.set_badge("voice", 0, progress=share)

    def _end_training(self, job_id: str | None) -> None:
        if job_id and self._job[0] == job_id:
            self._job = ("", None)
            self.status.put("job", "")
            self.set_badge("voice", 0, progress=None)

    def _took_turns(self, value: Any) -> None:
        known = {turn.turn_id for turn in self._turns}
        found = read_models(Turn, value, "turns", "items")
        newest = next((turn for turn in found if turn.conversation_id == STAGE), None)
        if newest is not None:
            self.stage.note_engine(newest.spans)
        for turn in reversed(found):
            if turn.id not in known:
                self._turns.append(
                    TurnFinished(
                        turn_id=turn.id,
                        number=turn.number,
                        outcome=turn.outcome,
                        total_ms=turn.total_ms,
                        first_audio_ms=turn.first_audio_ms,
                        spans=turn.spans,
                        conversation_id=turn.conversation_id,
                    )
                )
        self._show_turns()

    def _show_banner(self, now: float) -> None:
        """A strip under the header while the backend does not answer."""
        lost = self._lost_since is not None and now - self._lost_since > LOST_GRACE_S
        if not lost:
            if self._banner is not None:
                self._banner.destroy()
                self._banner = None
            return
        words = self.backend.connection.detail or "Starting the backend..."
        if self._banner is None:
            theme = self.theme
            self._banner = tk.Frame(self.root)
            theme.tint(self._banner, background="warn_soft")
            mark = picture_label(self._banner, theme, "warn", 16, "warn", "warn_soft")
            mark.pack(side="left", padx=(theme.px(16), theme.px(8)), pady=theme.px(8))
            self._banner_words = Words(self._banner, theme, "", "small", "text", "warn_soft")
            self._banner_words.pack(side="left", fill="x", expand=True)
            self._banner.pack(side="top", fill="x", after=self.header)
        self._banner_words.show(words)

    def _show_panic(self) -> None:
        """A strip under the header while everything is stopped: it explains why nobody answers."""
        panic = self.stage.panic
        if not panic.is_on:
            if self._panic_strip is not None:
                self._panic_strip.destroy()
                self._panic_strip = None
            return
        if self._panic_strip is not None:
            return
        theme = self.theme
        strip = self._panic_strip = tk.Frame(self.root)
        theme.tint(strip, background="error_soft")
        picture_label(strip, theme, "hand", 16, "error", "error_soft").pack(
            side="left", padx=(theme.px(16), theme.px(8)), pady=theme.px(8)
        )
        by = {"window": "", "control": " from the control page"}.get(panic.by, f" by {panic.by}")
        words = (
            f"Everything is stopped{by}: nobody answers, her voice and the microphone are silent."
        )
        Words(strip, theme, f"{words} Resume goes on.", "small", "text", "error_soft").pack(
            side="left", fill="x", expand=True
        )
        strip.pack(side="top", fill="x", after=self.header)

    # --- commands -------------------------------------------------------------------------------------------------

    def _make_commands(self) -> list[Command]:
        control = "Control"
        made = [
            Command(
                "file.attach",
                "Transcribe an audio file...",
                "File",
                self._attach,
                "Ctrl+O",
                (f"<{control}-o>",),
                "clip",
            ),
            Command(
                "file.settings",
                "Settings",
                "File",
                self.open_settings,
                "Ctrl+,",
                (f"<{control}-comma>",),
                "gear",
            ),
            Command(
                "file.characters",
                "Make, edit and import characters",
                "File",
                self.open_characters,
                "Ctrl+E",
                (f"<{control}-e>",),
                "edit",
            ),
            Command(
                "file.close",
                "Close the window",
                "File",
                self.close,
                "Ctrl+Q",
                (f"<{control}-q>",),
                "x",
            ),
            Command("edit.copy", "Copy the selection", "Edit", self._copy, "Ctrl+C", (), "copy"),
            Command(
                "edit.find", "Search", "Edit", self._find, "Ctrl+F", (f"<{control}-f>",), "search"
            ),
            Command(
                "edit.write",
                "Write a message",
                "Edit",
                self._write,
                "Ctrl+L",
                (f"<{control}-l>",),
                "edit",
            ),
            Command("edit.clear", "Clear the conversation", "Edit", self._clear, icon="trash"),
        ]
        for number, tab in enumerate(tab_list(), 1):
            made.append(
                Command(
                    f"tab.{tab.name}",
                    f"{tab.title} tab",
                    "View",
                    lambda name=tab.name: self.show_tab(name),  # type: ignore[misc]  # a lambda that keeps its loop variable
                    tab.key,
                    (f"<{control}-Key-{number}>",),
                    tab.icon,
                )
            )
        made += [
            Command(
                "view.palette",
                "Commands",
                "View",
                self.open_palette,
                "Ctrl+K",
                (f"<{control}-k>",),
                "search",
            ),
            Command(
                "view.inspector",
                "Show or hide the turn's details",
                "View",
                self._inspector,
                "Ctrl+I",
                (f"<{control}-i>",),
                "panel",
            ),
            Command(
                "view.character",
                "Change the character",
                "View",
                self._characters,
                "Ctrl+Shift+C",
                (f"<{control}-Shift-C>", f"<{control}-Shift-c>"),
                "person",
            ),
            Command(
                "view.stop",
                "Stop speaking",
                "View",
                self.stop_speaking,
                "Esc",
                ("<Escape>",),
                "stop",
            ),
            Command(
                "view.mute",
                "Mute or unmute",
                "View",
                lambda: self.stage.set_muted(not self.stage.muted),
                "Ctrl+M",
                (f"<{control}-m>",),
                "volume",
            ),
            Command("view.pane", "Next pane", "View", self.next_pane, "F6", ("<F6>",), "right"),
            Command(
                "view.theme",
                "Switch between dark and light",
                "View",
                self._switch_theme,
                "Ctrl+T",
                (f"<{control}-t>",),
                "moon",
            ),
            Command(
                "view.system",
                "Theme of the system",
                "View",
                lambda: self.set_theme("system"),
                icon="moon",
            ),
            Command(
                "view.larger",
                "Larger",
                "View",
                lambda: self._zoom(1),
                "Ctrl++",
                (f"<{control}-plus>", f"<{control}-equal>", f"<{control}-KP_Add>"),
                "plus",
            ),
            Command(
                "view.smaller",
                "Smaller",
                "View",
                lambda: self._zoom(-1),
                "Ctrl+-",
                (f"<{control}-minus>", f"<{control}-KP_Subtract>"),
                "search",
            ),
            Command(
                "view.scale",
                "Size of the screen's setting",
                "View",
                self._default_scale,
                "Ctrl+0",
                (f"<{control}-Key-0>",),
                "search",
            ),
            Command(
                "stage.panic",
                "Panic: stop every reply, her voice and the microphone",
                "Stage",
                self.stage.stop_everything,
                "F12",
                ("<F12>",),
                "hand",
                anywhere=True,
            ),
            Command(
                "stage.resume",
                "Resume after a panic",
                "Stage",
                self.stage.go_on,
                "Shift+F12",
                ("<Shift-F12>",),
                "play",
                anywhere=True,
            ),
            Command(
                "stage.avatar",
                "Avatar: faces, motions, and who wanted what",
                "Stage",
                lambda: self.show_tab("stage"),
                icon="person",
            ),
            Command(
                "stage.modes",
                "Modes: who answers, and why",
                "Stage",
                self.open_modes,
                "Ctrl+Shift+A",
                (f"<{control}-Shift-A>", f"<{control}-Shift-a>"),
                "spark",
            ),
            Command(
                "stream.twitch",
                "Twitch: join a channel, log in",
                "Stream",
                self.open_twitch,
                "Ctrl+Shift+T",
                (f"<{control}-Shift-T>", f"<{control}-Shift-t>"),
                "stream",
            ),
            Command(
                "stream.queue",
                "Queue: who is answered, and in which order",
                "Stream",
                lambda: self.open_rules("queue"),
                "Ctrl+Shift+R",
                (f"<{control}-Shift-R>", f"<{control}-Shift-r>"),
                "filter",
            ),
            Command(
                "stream.moderation",
                "Moderation: what may come in and go out",
                "Stream",
                lambda: self.open_rules("moderation"),
                icon="shield",
            ),
            Command(
                "stream.commands",
                "Commands of viewers",
                "Stream",
                lambda: self.open_rules("commands"),
                icon="bolt",
            ),
            Command(
                "stream.triggers",
                "Triggers: when she acts unasked",
                "Stream",
                lambda: self.open_rules("triggers"),
                icon="clock",
            ),
            Command(
                "stage.text",
                "Text on demand: say this, rewrite, greet",
                "Stage",
                self.open_on_demand,
                "Ctrl+G",
                (f"<{control}-g>",),
                "edit",
            ),
            Command(
                "stage.overlay",
                "Copy the overlay link for OBS",
                "Stage",
                lambda: self._copy_link("overlay"),
                icon="copy",
            ),
            Command(
                "stage.captions",
                "Copy the captions link for OBS",
                "Stage",
                lambda: self._copy_link("captions"),
                icon="copy",
            ),
            Command(
                "stage.chat",
                "Chat page in the browser",
                "Stage",
                lambda: self._overlay().open_page("/webui/chat"),
                icon="open",
            ),
            Command(
                "stage.control",
                "Control page in the browser, for a tablet",
                "Stage",
                lambda: self._overlay().open_page("/webui/control"),
                icon="open",
            ),
            Command(
                "mic.mute",
                "Mute or unmute the microphone",
                "Microphone",
                self.microphone.toggle_mute,
                MUTE_KEY,
                (f"<{control}-Shift-M>", f"<{control}-Shift-m>"),
                "mic_muted",
            ),
            Command(
                "mic.open",
                "Open the microphone, or close it",
                "Microphone",
                self.microphone.toggle_open,
                "Ctrl+Shift+O",
                (f"<{control}-Shift-O>", f"<{control}-Shift-o>"),
                "mic_live",
            ),
            Command(
                "mic.talk",
                "Push to talk: heard while the key is held",
                "Microphone",
                lambda: self.microphone.choose_mode("push_to_talk"),
                icon="mic_on",
            ),
            Command(
                "mic.off",
                "Switch the microphone off",
                "Microphone",
                lambda: self.microphone.choose_mode("off"),
                icon="voice",
            ),
            Command(
                "mic.window",
                "Microphone and sound",
                "Microphone",
                self.open_sound,
                "Ctrl+Shift+S",
                (f"<{control}-Shift-S>", f"<{control}-Shift-s>"),
                "volume",
            ),
            Command("help.keys", "Keys", "Help", self.open_keys, "F1", ("<F1>",), "info"),
            Command(
                "help.checkup",
                "Check-up: try everything from microphone to speaker",
                "Help",
                self.open_checkup,
                icon="status",
            ),
            Command("help.about", "About Luma", "Help", self._about, icon="spark"),
            Command("help.docs", "API page in the browser", "Help", self._api_page, icon="open"),
        ]
        return made

    def _bind_keys(self) -> None:
        teach_text_keys(self.root)
        for command in self.commands:
            for sequence in command.bind:
                if command.anywhere:
                    self.root.bind_all(sequence, lambda _, run=command.run: self._run_anywhere(run))  # type: ignore[misc]  # a lambda that keeps its loop variable
                else:
                    self.root.bind(sequence, lambda _, run=command.run: self._run(run))  # type: ignore[misc]  # a lambda that keeps its loop variable
        self.root.bind("<F10>", lambda _: self._run(lambda: self.open_menu(self._rail.menu_button)))
        # Tk's own Control keys in text fields would act as well: they are ours here.
        for sequence in (
            "<Control-o>",
            "<Control-k>",
            "<Control-t>",
            "<Control-i>",
            "<Control-f>",
            "<Control-e>",
        ):
            self.root.unbind_class("Text", sequence)
        for sequence in ("<Control-k>", "<Control-t>", "<Control-f>", "<Control-e>"):
            self.root.unbind_class("Entry", sequence)

    def _watch_microphone(self) -> None:
        """The key of push-to-talk, and one kind sentence before anything is heard for the first time."""
        wanted = self.state.get("microphone.key")
        keysym = wanted if isinstance(wanted, str) and not why_not(wanted) else TALK_KEY
        self.talk_key = HeldKey(self.root, keysym, self._talk)
        self.microphone.set_key_name(key_name(keysym))
        self.microphone.listen(("listening",), self._tell_where_words_go)

    def _talk(self, down: bool) -> None:
        if not (down and str(self.root.tk.call("grab", "current", "."))):
            self.microphone.hold(down)

    def _tell_where_words_go(self) -> None:
        is_on = self.microphone.is_known and self.microphone.now.mode != "off"
        if is_on and not self.state.get("microphone.told") and self.stage.settings:
            self.state["microphone.told"] = True
            words, is_away = where_words_go(self.stage.settings)
            self.notify(words, "warn" if is_away else "info")

    def _run(self, run: Callable[[], object]) -> str | None:
        # Keys pressed in another toplevel (settings) or in an open list belong to it.
        focus = focused(self.root)
        if focus is not None and focus.winfo_toplevel() is not self.root:
            return None
        if str(self.root.tk.call("grab", "current", ".")):
            return None
        run()
        return "break"

    @staticmethod
    def _run_anywhere(run: Callable[[], object]) -> str:
        run()
        return "break"

    def stop_speaking(self) -> None:
        """Stop the reply and its sound."""
        if self.stage.answering:
            self.stage.interrupt()

    def open_menu(self, owner: tk.Misc) -> None:
        """The menu: all commands by group."""
        choices: list[Choice] = []
        for group in GROUPS:
            choices.append(Choice(f"#{group}", group, heading=True))
            choices += [
                Choice(command.name, command.title, icon=command.icon, hint=command.key)
                for command in self.commands
                if command.group == group
            ]
        Picker(owner, self.theme, choices, self._command, width=320)

    def open_palette(self) -> None:
        """All commands, characters and scales, to be found by typing."""
        choices = [
            Choice(command.name, command.title, icon=command.icon, hint=command.key)
            for command in self.commands
            if command.name != "view.palette"
        ]
        choices += [
            Choice(f"character:{c.id}", f"Talk to {c.name}", icon="person")
            for c in self.stage.characters
            if c.id != self.stage.character_id
        ]
        choices += [
            Choice(f"scale:{scale}", f"Scale {scale * 100:.0f} %", icon="search")
            for scale in SCALES
            if scale != self.theme.scale
        ]
        Picker(
            self.header,
            self.theme,
            choices,
            self._command,
            search="What do you want to do?",
            width=520,
            at="top",
        )

    def open_keys(self) -> None:
        """All keys."""
        choices: list[Choice] = []
        for group in GROUPS:
            rows = [c for c in self.commands if c.group == group and c.key]
            if rows:
                choices.append(Choice(f"#{group}", group, heading=True))
                choices += [Choice(c.name, c.title, icon=c.icon, hint=c.key) for c in rows]
        last = ""
        talk = ("Talking", self.microphone.key, "Heard while it is held (push to talk)")
        for group, key, what in (talk, *OTHER_KEYS):
            if group != last:
                choices.append(Choice(f"#{group}", group, heading=True))
                last = group
            choices.append(Choice(f"key:{key}", what, hint=key))
        Picker(
            self.header,
            self.theme,
            choices,
            self._command,
            search="Find a key",
            width=520,
            at="top",
        )

    def next_pane(self) -> None:
        """Move the focus to the next part of the window."""
        tab = self.tabs[self.current]
        inner = tab.panes() if isinstance(tab, HasPanes) else [self._first_stop(self._frame(tab))]
        stops: list[tk.Misc] = [
            self._rail.entries[self.current],
            self.header.character,
            *(widget for widget in inner if widget is not None),
        ]
        focus = focused(self.root)
        at = -1
        for number, stop in enumerate(stops):
            if focus is not None and (focus is stop or str(focus).startswith(f"{stop}.")):
                at = number
        if at < 0 and focus is not None:
            groups: list[tk.Misc] = [self._rail, self.header, self._frame(tab)]
            for number, group in enumerate(groups):
                if str(focus).startswith(str(group)):
                    at = number
        for stop in stops[at + 1 :] + stops[: at + 1]:
            if (
                stop.winfo_viewable()
            ):  # one that is not would keep the focus where it is, and F6 with it
                stop.focus_set()
                return

    def _first_stop(self, frame: tk.Misc) -> tk.Misc:
        found = frame.tk_focusNext()
        return found if found is not None else frame

    def _command(self, name: str) -> None:
        kind, _, rest = name.partition(":")
        if kind == "character" and rest:
            self.stage.switch_character(rest)
        elif kind == "scale" and rest:
            self.set_scale(float(rest))
        else:
            for command in self.commands:
                if command.name == name:
                    command.run()

    def _chat(self) -> Any:
        self.show_tab("chat")
        return self.tabs["chat"]

    def _overlay(self) -> Any:
        """The card of links; it is built with its tab."""
        tab: Any = self.tabs.get("stage") or self._build_tab("stage")
        return tab.overlay

    def _copy_link(self, page: Literal["overlay", "captions"]) -> None:
        card = self._overlay()
        (card.copy_overlay if page == "overlay" else card.copy_captions).invoke()

    def _characters(self) -> None:
        self.header.character.open()

    def _attach(self) -> None:
        self._chat().attach()

    def _write(self) -> None:
        """The Stream tab has a line of its own; everywhere else it is the chat's."""
        tab: Any = self.tabs.get("stream") if self.current == "stream" else None
        (tab if tab is not None else self._chat()).focus_composer()

    def _inspector(self) -> None:
        self._chat().toggle_inspector()

    def _clear(self) -> None:
        self._chat().clear()

    def _find(self) -> None:
        """Search: the Logs tab has the search field."""
        self.show_tab("logs")
        found = self.tabs["logs"]
        find = getattr(found, "find", None)
        if callable(find):
            find()

    def _copy(self) -> None:
        focus = focused(self.root)
        if focus is not None:
            focus.event_generate("<<Copy>>")

    def _switch_theme(self) -> None:
        self.set_theme("light" if self.theme.name == "dark" else "dark")

    def _zoom(self, step: int) -> None:
        nearest = min(range(len(SCALES)), key=lambda i: abs(SCALES[i] - self.theme.scale))
        self.set_scale(SCALES[max(0, min(len(SCALES) - 1, nearest + step))])

    def _default_scale(self) -> None:
        self.set_scale(default_scale(self.root))
        self.state.pop("scale", None)

    def _about(self) -> None:
        version = self.backend.connection.version
        self.notify(f"Luma {version}. The desktop command center for AI VTubers. GPL-3.0-or-later.")

    def _api_page(self) -> None:
        import webbrowser

        def took(value: Any) -> None:
            if isinstance(value, dict):
                webbrowser.open(str(value.get("url", "")))

        self.backend.post("/api/login-link", {"page": "/docs"}, took, self.fail)

    def _callback_failed(
        self,
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType | None,
    ) -> None:
        """A callback of the window raised: say so, and go on."""
        if issubclass(kind, KeyboardInterrupt):
            self.close()
            return
        logger.error("the window failed", exc_info=(kind, error, trace))
        if not self.closed:
            self.notify(
                f"Something went wrong in the window: {error}. The log has the details.", "error"
            )

    def start_tray(self) -> None:
        """Show an icon in the system tray where there is one."""
        from frontend.tray import Tray

        self._tray = Tray(
            show=lambda: self.backend.call_later(lambda _: self._raise()),
            stop_speaking=lambda: self.backend.call_later(lambda _: self.stop_speaking()),
            quit_window=self.ask_to_close,
        )
        self._tray.start()

    def _raise(self) -> None:
        self.root.deiconify()
        self.root.lift()
        self.root.focus_force()


def _figure(share: float | None) -> str:
    """A share in words."""
    return "" if share is None else f"{share:.0%}".replace("%", " %")


def _left(seconds: float | None) -> str:
    """What is left of a job, in words."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"  \u00b7  {minutes} min {rest:02d} s left" if minutes else f"  \u00b7  {rest} s left"


def run_window(
    url: str, token: str, state_path: Path, *, stop: Callable[[MainWindow], object] | None = None
) -> int:
    """Show the window until it is closed.

    Args:
        url: Where the backend is.
        token: Its API token.
        state_path: Where the window remembers itself; a backend.json beside it is followed when the backend restarts on
            another port.
        stop: Called with the window once it is visible, so that the caller can close it (``window.ask_to_close``).

    Returns:
        The process' exit code.
    """
    client = BackendClient(url, token, backend_file=state_path.parent / "backend.json")
    window = MainWindow(client, state_path)
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, lambda *_: window.ask_to_close())
    if stop is not None:
        stop(window)
    window.root.after(1500, window.start_tray)
    return window.run()
