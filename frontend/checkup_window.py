"""The check-up: one button tries the whole live path, a report says line by line what works and what to do.

Nothing begins before the button is pressed; what it will do (open the microphone, play a sentence on which device) is in
the button and the two switches beside it.
"""

from __future__ import annotations

import tkinter as tk
from typing import Any, Literal, Protocol

from backend.contracts.checkup import (
    STATE_WORDS,
    CheckLine,
    CheckState,
    CheckupReport,
    report_text,
)
from backend.contracts.events import CheckupFinished, CheckupLine, CheckupStarted, Event
from frontend.client import BackendClient, Failure
from frontend.stage import read_model
from frontend.theme import Theme
from frontend.widgets.controls import Button, Switch, Words
from frontend.widgets.panel import Panel
from frontend.widgets.toplevel import OneWindow

SIZE = (760, 720)
SMALLEST = (640, 360)
PATH = "/api/doctor"
LOOKS: dict[CheckState, tuple[str, str]] = {
    "waiting": ("clock", "text3"),
    "running": ("refresh", "accent"),
    "green": ("check", "ok"),
    "amber": ("warn", "warn"),
    "red": ("x", "error"),
    "left_out": ("skip", "text3"),
}
"""State to icon and colour; the word beside it says the same."""
WORD_WIDTH = 84
TEXT_AT = 40
DEVICE_CHARS = 28


class Owner(Protocol):
    """What the check-up needs of the main window."""

    @property
    def backend(self) -> BackendClient:
        """Line to the backend."""

    @property
    def theme(self) -> Theme:
        """Colours, fonts, sizes."""

    def show_tab(self, name: str) -> None:
        """Bring a tab to the front."""

    def open_settings(self, field: str = "") -> None:
        """Open the settings window, scrolled to a setting."""

    def notify(self, text: str, severity: Literal["info", "ok", "warn", "error"] = "info") -> None:
        """Say something for a few seconds."""


class CheckupWindow(OneWindow):
    """The window; one at a time.

    Args:
        app: The main window.
        master: A widget of the window it lies over.
    """

    @classmethod
    def open(cls, app: Owner, master: tk.Misc) -> CheckupWindow:
        """Show it with the last report."""
        window = cls.one(lambda: cls(app, master))
        window.start_button.focus_force()
        return window

    @classmethod
    def tell(cls, event: Event) -> None:
        """Hand an event to the open window, if there is one."""
        window = cls.current()
        if window is not None:
            window.on_event(event)

    @classmethod
    def connected(cls) -> None:
        """The backend answers again: what happened meanwhile is in its report."""
        window = cls.current()
        if window is not None:
            window.load()

    def __init__(self, app: Owner, master: tk.Misc) -> None:
        super().__init__(master, app.theme, "Luma check-up", has_edge=True)
        self.app = app
        self.report = CheckupReport()
        self.device = ""
        """Where the sentence would be played; empty before it is known."""
        self.problem = ""
        self.is_asking = False
        t = app.theme
        head = self._row(pady=(14, 4))
        self.title_words = Words(head, t, "Check-up", "h1")
        self.title_words.pack(fill="x")
        self.verdict = Words(head, t, "", "small", "text2")
        self.verdict.pack(fill="x", pady=(t.px(2), 0))
        choices = self._row(pady=(4, 8))
        self.microphone = Switch(
            choices,
            t,
            "Microphone (open for 1.5 s)",
            lambda _: self._show(),
            on=True,
            surface="bg",
            tip="Nothing of it is read or kept.",
        )
        self.microphone.pack(side="left", padx=(0, t.px(16)))
        self.sound = Switch(
            choices,
            t,
            "Test sound",
            lambda _: self._show(),
            on=True,
            surface="bg",
            tip="One sentence on the stage's device: whoever hears the stage hears it.",
        )
        self.sound.pack(side="left")
        foot = self._foot(13, 10)
        self.start_button = Button(foot, t, "Check now", self.start, kind="accent", icon="play")
        self.start_button.pack(side="right")
        self.cancel_button = Button(foot, t, "Cancel", self.cancel, icon="stop", key="Esc")
        self.copy_button = Button(
            foot,
            t,
            "Copy report",
            self.copy,
            icon="copy",
            tip="As text, without keys and tokens   Ctrl+C",
        )
        self.copy_button.pack(side="left")
        self.lines = _Lines(self)
        self.lines.pack(fill="both", expand=True, padx=t.px(16))
        self.bind("<Control-c>", lambda _: self.copy())
        self.bind("<Control-C>", lambda _: self.copy())
        self._appear(SIZE, SMALLEST)
        self._show()
        self.load()

    # --- what others call

    def on_event(self, event: Event) -> None:
        """Follow a check-up, whoever began it."""
        match event:
            case CheckupStarted():
                self._take(event.report)
            case CheckupLine() if event.checkup_id == self.report.id:
                self.lines.change(event.line)
            case CheckupFinished():
                self.load()

    def load(self) -> None:
        """Ask for the last report, and where the sentence would be played."""
        self.app.backend.get(PATH, self._took, self._failed)
        self.app.backend.get("/api/devices", self._took_devices)

    def start(self) -> None:
        """Begin a check-up."""
        if self.is_running or self.is_asking:
            return
        self.is_asking = True
        self.problem = ""
        self._show()
        body = {"microphone": self.microphone.on, "sound": self.sound.on}
        self.app.backend.post(PATH, body, self._took, self._failed)

    def cancel(self) -> None:
        """Stop the running one."""
        if self.is_running:
            self.app.backend.delete(PATH, None, self._took, self._failed)

    def copy(self) -> None:
        """Put the report on the clipboard."""
        if not self.report.lines:
            return
        self.clipboard_clear()
        self.clipboard_append(report_text(self.report))
        self.app.notify("The report was copied; it holds no keys.", "ok")

    @property
    def is_running(self) -> bool:
        """Whether a check-up runs."""
        return self.report.state == "running"

    # --- inside

    def _row(self, pady: tuple[float, float]) -> tk.Frame:
        t = self._theme
        row = tk.Frame(self)
        t.tint(row, background="bg")
        row.pack(fill="x", padx=t.px(16), pady=(t.px(pady[0]), t.px(pady[1])))
        return row

    def _escape(self) -> None:
        if self.is_running:
            self.cancel()
        else:
            self.close()

    def _took(self, value: Any) -> None:
        report = read_model(CheckupReport, value)
        if self.winfo_exists() and report is not None:
            self.is_asking = False
            # Lines that came by event while the answer was on its way are newer.
            if not (report.id == self.report.id and report.state == "running"):
                self._take(report)
            self._show()

    def _failed(self, failure: Failure) -> None:
        if self.winfo_exists():
            self.is_asking = False
            self.problem = failure.message
            self._show()

    def _took_devices(self, value: Any) -> None:
        if not self.winfo_exists() or not isinstance(value, dict):
            return
        if value.get("sink") == "none":
            self.device = ""
        else:
            self.device = str(value.get("device") or "the system's output")
        self._show()

    def _take(self, report: CheckupReport) -> None:
        self.report = report
        self.lines.show(report.lines)
        self._show()

    def _show(self) -> None:
        if self.is_running or self.is_asking:
            done = sum(line.state not in ("waiting", "running") for line in self.report.lines)
            words, colour = f"Checking, {done} of {len(self.report.lines)} done.", "accent"
        elif self.problem:
            words, colour = self.problem, "error"
        elif self.report.state == "never":
            words, colour = (
                "Tries the live path from microphone to speaker, in half a minute at most.",
                "text2",
            )
        else:
            red, amber = self.report.count("red"), self.report.count("amber")
            words = self.report.verdict
            colour = "error" if red else "warn" if amber else "ok"
            if self.report.state == "cancelled":
                colour = "text2"
        self.verdict.show(words, colour)
        again = "Check again" if self.report.lines else "Check now"
        device = (
            self.device
            if len(self.device) <= DEVICE_CHARS
            else f"{self.device[: DEVICE_CHARS - 3]}..."
        )
        what = f" (plays a sentence on {device})" if self.sound.on and device else ""
        what = what or (" (plays a sentence)" if self.sound.on else " (silent)")
        self.start_button.set(text=again + what)
        self.start_button.enable(not self.is_running and not self.is_asking)
        self.copy_button.enable(bool(self.report.lines))
        if self.is_running:
            self.cancel_button.pack(side="right", padx=self._theme.px(4))
        else:
            self.cancel_button.pack_forget()

    def mend(self, line: CheckLine) -> None:
        """Go where a line can be mended."""
        if line.tab:
            self.app.show_tab(line.tab)
        else:
            self.app.open_settings(line.setting)


class _Lines(Panel):
    """The report, in a canvas that scrolls."""

    def __init__(self, window: CheckupWindow) -> None:
        super().__init__(window, window.app.theme, "bg")
        self.window = window
        self.shown: list[CheckLine] = []

    def show(self, lines: tuple[CheckLine, ...]) -> None:
        """Show a report."""
        self.shown = list(lines)
        self.changed()

    def change(self, line: CheckLine) -> None:
        """One line is different now."""
        names = [known.name for known in self.shown]
        if line.name in names:
            self.shown[names.index(line.name)] = line
            self.window.report = self.window.report.model_copy(update={"lines": tuple(self.shown)})
            self.window._show()
            self.changed()

    def paint(self) -> None:
        p = self.painter
        if not self.shown:
            words = (
                "Microphone, voice detector, speech to text, language model, voice and sound output are tried with the"
                " same code that a turn uses; database, disk, graphics card, port, models, clock, settings and"
                " libraries are looked at."
            )
            p.icon(p.width / 2, 40, "status", 24, "text3")
            p.text(p.width / 2, 66, words, "small", "text2", "n", width=min(520, p.width - 40))
            return
        y = 0.0
        for line in self.shown:
            y += self._paint_line(line, y, p.width - 12)
        self.content_height = y + 4

    def _paint_line(self, line: CheckLine, y: float, width: float) -> float:
        p = self.painter
        icon, tone = LOOKS[line.state]
        is_bad = line.state in ("red", "amber")
        dim = line.state in ("waiting", "left_out")
        right = width - 8
        action = ""
        if is_bad and (line.tab or line.setting):
            action = "Open the tab" if line.tab else "Fix"
        room = right - TEXT_AT
        at = y + 27
        drawn: list[int] = []
        if line.detail:
            drawn.append(
                p.text(
                    TEXT_AT, at, line.detail, "cap", "text3" if dim else "text2", "nw", width=room
                )
            )
            at = self._below(drawn[-1], at)
        if line.fix:
            drawn.append(p.text(TEXT_AT, at, line.fix, "capb", "text", "nw", width=room))
            at = self._below(drawn[-1], at)
        height = max(36.0, at - y + 6)
        if line.state == "red":
            p.box(0, y, width, height - 4, "error_soft", None, 6)
            for item in drawn:
                self.tag_raise(item)
        p.icon(18, y + 15, icon, 15, tone, 2)
        p.text(TEXT_AT, y + 15, line.title, "smallb", "text2" if dim else "text", clip=room * 0.5)
        if action:
            # One filled button: the first that is broken is the next step.
            first = next((one.name for one in self.shown if one.state == "red"), "")
            right -= self.button(
                f"fix:{line.name}",
                right,
                y + 3,
                action,
                lambda: self.window.mend(line),
                kind="accent" if line.name == first else "soft",
                height=24,
                anchor="e",
                tip=line.fix,
            )
            right -= 10
        word = STATE_WORDS[line.state]
        p.text(right, y + 15, word, "smallb", tone, "e")
        if line.elapsed_ms is not None:
            p.text(right - WORD_WIDTH, y + 15, _seconds(line.elapsed_ms), "monos", "text3", "e")
        return height

    def _below(self, item: int, at: float) -> float:
        box = self.bbox(item)
        return at + ((box[3] - box[1]) / self.theme.scale if box else 17) + 2


def _seconds(ms: float) -> str:
    return f"{ms:.0f} ms" if ms < 1_000 else f"{ms / 1000:.1f} s"
