"""The guided recording: one sentence after the other, read aloud, checked at once, all of it by four keys.

Space starts and stops, Enter keeps and goes on, R throws the take away, Escape closes. The microphone belongs to the
backend; this window shows what it hears.
"""

from __future__ import annotations

import logging
import tkinter as tk
from typing import Any, Literal

from backend.contracts.training import Prompt, Recording
from frontend.client import Failure
from frontend.draw import Painter
from frontend.stage import read_models
from frontend.theme import FontName
from frontend.widgets.controls import Button, Dropdown, Meter
from frontend.widgets.level_meter import LevelMeter
from frontend.widgets.popup import Choice
from frontend.widgets.toplevel import OneWindow
from frontend.widgets.training.speaker_bar import language_name
from frontend.widgets.training.state import Cockpit

logger = logging.getLogger(__name__)

SIZE = (860, 560)
SMALLEST = (560, 440)
Phase = Literal["room", "listening", "read", "recording", "review"]
"""Noise check offered, noise check running, a sentence waits, is recorded, waits to be kept."""
TAKE = "take"
"""What the cockpit calls the take while it is heard."""
NOISE_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 60.0
LONG_TEXT = 120  # characters from which on a sentence is set smaller


def in_order(prompts: list[Prompt]) -> list[Prompt]:
    """Sentences as they are best read: those the doctor asks for, then new ones, then those that are there already."""
    return sorted(prompts, key=lambda one: (one.recorded, not one.suggested))


class RecordWindow(OneWindow):
    """The window; one at a time.

    Args:
        cockpit: What is known of speakers, and the line to the backend.
    """

    @classmethod
    def open(cls, cockpit: Cockpit) -> RecordWindow:
        """Show it for the current speaker."""
        window = cls.one(lambda: cls(cockpit))
        window.sheet.focus_force()
        return window

    def __init__(self, cockpit: Cockpit) -> None:
        speaker = cockpit.speaker
        name = speaker.name if speaker is not None else ""
        title = f"Luma: recording {name}"[:80]
        super().__init__(cockpit.master, cockpit.app.theme, title, has_edge=True)
        self.cockpit = cockpit
        self.prompts: list[Prompt] = []
        self.number = 0
        """Place of the current sentence."""
        self.kept = 0
        self.phase: Phase = "room"
        self.problem = ""
        self.room = ""
        """What the noise check said."""
        self.is_busy = False
        t = self._theme
        self._build_head()
        self._build_foot()
        self.sheet = tk.Canvas(self, highlightthickness=0, borderwidth=0, takefocus=1)
        self.sheet.label = "Sentence to read"  # type: ignore[attr-defined]  # its name for people who cannot see it
        t.tint(self.sheet, background="bg")
        self.sheet.pack(fill="both", expand=True, padx=t.px(16))
        self._painter = Painter(self.sheet, t)
        self.sheet.bind("<Configure>", lambda _: self.draw())
        t.on_change(self.sheet, self.draw)
        for sequence, run in (
            ("<space>", self.start_or_stop),
            ("<Return>", self.keep),
            ("<KP_Enter>", self.keep),
            ("<r>", self.redo),
            ("<R>", self.redo),
            ("<p>", self.hear),
            ("<P>", self.hear),
            ("<Right>", lambda: self.walk(1)),
            ("<Left>", lambda: self.walk(-1)),
            ("<Escape>", self.close),
        ):
            self.bind(sequence, lambda _, run=run: self._ran(run))  # type: ignore[misc]  # a lambda that keeps its loop variable
        self._ends = [
            cockpit.watch(("recording",), lambda _: self._follow()),
            cockpit.watch(("level",), lambda _: self._show_level()),
            cockpit.watch(("playing",), lambda _: self._heard()),
        ]
        self._appear(SIZE, SMALLEST)
        self._load_prompts(speaker.language if speaker is not None else "")
        self._load_microphones()
        cockpit.load_recording()
        self._follow()

    # --- building

    def _build_head(self) -> None:
        t = self._theme
        head = tk.Frame(self)
        t.tint(head, background="bg")
        head.pack(fill="x", padx=t.px(13), pady=(t.px(10), 0))
        wanted = self.cockpit.app.state.get("voice.microphone")
        self.microphone = Dropdown(
            head, t, [], self._chose_microphone, value=wanted if isinstance(wanted, str) else "", width=250,
            height=28, label="Microphone", empty="The system's microphone",
        )  # fmt: skip
        self.microphone.pack(side="left")
        self.language = Dropdown(
            head, t, [], self._load_prompts, width=140, height=28, label="Language of the sentences"
        )
        self.language.pack(side="left")
        self.checking = Button(
            head,
            t,
            "Check the room",
            self.check_room,
            icon="volume",
            tip="Two seconds of silence: how quiet is it?",
        )
        self.checking.pack(side="right")

    def _build_foot(self) -> None:
        t = self._theme
        foot = self._foot(13, 10)
        self.main = Button(
            foot, t, "Record", self._main, icon="record", kind="accent", key="Space", height=34
        )
        self.main.pack(side="left")
        self.redoing = Button(foot, t, "Again", self.redo, icon="refresh", key="R", height=34)
        self.redoing.pack(side="left")
        self.hearing = Button(foot, t, "Hear", self.hear, icon="play", key="P", height=34)
        self.hearing.pack(side="left")
        self.skipping = Button(
            foot, t, "Skip", lambda: self.walk(1), icon="right", key="Right", height=34
        )
        self.skipping.pack(side="left")
        Button(foot, t, "Close", self.close, key="Esc", height=34).pack(side="right")
        level = tk.Frame(self)
        t.tint(level, background="bg")
        level.pack(side="bottom", fill="x", padx=t.px(16))
        self.meter = LevelMeter(level, t, width=400, height=16, step=8)
        self.meter.label = "Level of the microphone"
        self.meter.pack(fill="x")
        self.zones = tk.Canvas(level, height=t.px(20), highlightthickness=0, borderwidth=0)
        t.tint(self.zones, background="bg")
        self.zones.pack(fill="x")
        self._zone_painter = Painter(self.zones, t)
        self.zones.bind("<Configure>", lambda _: self._draw_zones())
        t.on_change(self.zones, self._draw_zones)

    # --- what is there

    @property
    def prompt(self) -> Prompt | None:
        """The current sentence."""
        return self.prompts[self.number] if self.number < len(self.prompts) else None

    def _load_prompts(self, language: str) -> None:
        def took(answer: Any) -> None:
            if not self._is_open:
                return
            self.prompts = in_order(read_models(Prompt, answer, "prompts"))
            self.number = 0
            codes = answer.get("languages") if isinstance(answer, dict) else None
            known = (
                [code for code in codes if isinstance(code, str)] if isinstance(codes, list) else []
            )
            spoken = self.prompts[0].language if self.prompts else language
            self.language.set_choices(
                [
                    Choice(code, language_name(code))
                    for code in dict.fromkeys([*known, spoken])
                    if code
                ],
                spoken,
            )
            self._show()

        def failed(failure: Failure) -> None:
            self.problem = failure.message
            self._show()

        params = {"language": language, "speaker": self.cockpit.speaker_id}
        self.cockpit.app.backend.get("/api/voice/prompts", took, failed, params=params)

    def _load_microphones(self) -> None:
        def took(answer: Any) -> None:
            if not self._is_open:
                return
            found = (
                [one for one in answer if isinstance(one, dict)] if isinstance(answer, list) else []
            )
            names = [str(one.get("name") or "") for one in found]
            own = next((str(one.get("name")) for one in found if one.get("is_default")), "")
            choices = [Choice("", "The system's microphone", own, "voice")]
            choices += [Choice(name, name, icon="voice") for name in dict.fromkeys(names) if name]
            self.microphone.set_choices(choices)
            if self.microphone.value not in names:
                self.microphone.set("")
            if not found:
                self.problem = "No microphone was found. Plug one in and open this window again."
                self._show()

        def failed(failure: Failure) -> None:
            if self._is_open:
                self.problem = failure.message
                self._show()

        self.cockpit.app.backend.get("/api/voice/record/devices", took, failed)

    def _follow(self) -> None:
        """Show what the backend says of the recording."""
        recording = self.cockpit.recording
        if recording.problem:
            self.problem = recording.problem
        if recording.state != "idle":
            self.phase = "recording" if recording.state == "recording" else "review"
        elif self.phase in ("recording", "review"):
            self.phase = "read"
        self._show()

    # --- what can be done

    def check_room(self) -> None:
        """Listen to the room for two seconds."""
        if self.is_busy or self.phase == "recording":
            return
        before: Phase = "read" if self.phase == "room" else self.phase
        self.phase, self.problem, self.is_busy = "listening", "", True

        def done(answer: Any) -> None:
            self.is_busy, self.phase = False, before
            if isinstance(answer, dict):
                level = answer.get("noise_dbfs")
                is_figure = isinstance(level, int | float)
                figure = f"{level:.0f} dB".replace("-", "\u2212") if is_figure else ""
                advice = str(answer.get("advice") or "")
                is_fine = bool(answer.get("ok", True))
                self.room = f"{figure}  {advice}".strip() if is_fine else figure
                self.problem = "" if is_fine else advice
            self._show()

        self._ask(
            "noise",
            {"device": self.microphone.value} if self.microphone.value else {},
            done,
            NOISE_TIMEOUT_S,
        )
        self._show()

    def start_or_stop(self) -> None:
        """Space: begin, or end, reading the sentence aloud."""
        if self.is_busy:
            return
        if self.phase == "room":
            self.check_room()
        elif self.phase == "recording":
            self.is_busy = True
            self._ask("stop", {}, self._took, STOP_TIMEOUT_S)
        elif self.phase == "read" and self.prompt is not None:
            self.is_busy, self.problem = True, ""
            body: dict[str, Any] = {"speaker": self.cockpit.speaker_id, "prompt_id": self.prompt.id}
            if self.microphone.value:
                body["device"] = self.microphone.value
            self._ask("start", body, self._took, NOISE_TIMEOUT_S)
        self._show()

    def keep(self) -> None:
        """Enter: keep the take and go on; before the first sentence, go on without listening to the room."""
        if self.is_busy:
            return
        if self.phase == "room":
            self.phase = "read"
            self._show()
        elif self.phase == "review":
            self.is_busy = True

            def done(_: Any) -> None:
                self.is_busy = False
                self.kept += 1
                prompt = self.prompt
                if prompt is not None:
                    fresh = prompt.model_copy(update={"recorded": True, "suggested": False})
                    self.prompts[self.number] = fresh
                self.cockpit.recording = Recording(state="idle")
                self.phase = "read"
                self._next_unread()
                self.cockpit.load_jobs()
                self._show()

            self._ask("keep", {}, done, STOP_TIMEOUT_S)

    def redo(self) -> None:
        """R: throw the take away; the sentence stays."""
        if self.phase in ("review", "recording") and not self.is_busy:
            self.is_busy = True
            self._ask("discard", {}, self._took, STOP_TIMEOUT_S)

    def hear(self) -> None:
        """P: hear the take that waits, or stop hearing it."""
        if self.cockpit.playing == TAKE:
            self.cockpit.stop()
        elif self.phase == "review":
            self.cockpit.play(TAKE, "/api/voice/record/play", {}, failed=self._failed)

    def walk(self, by: int) -> None:
        """Another sentence; a take that waits is decided first."""
        if self.phase in ("read", "room") and self.prompts and not self.is_busy:
            self.phase = "read"
            self.number = max(0, min(len(self.prompts) - 1, self.number + by))
            self._show()

    def close(self) -> None:
        """Escape: close; a take that was not kept is thrown away."""
        if self.phase in ("recording", "review"):
            self.cockpit.ask("POST", "/api/voice/record/discard", {}, None, lambda _: None)
            self.cockpit.recording = Recording(state="idle")
        self.destroy()
        self.cockpit.load_speakers()

    def _main(self) -> None:
        if self.phase == "review":
            self.keep()
        else:
            self.start_or_stop()

    def _next_unread(self) -> None:
        later = [*range(self.number + 1, len(self.prompts)), *range(self.number + 1)]
        self.number = next((n for n in later if not self.prompts[n].recorded), self.number)

    def _ask(self, what: str, body: dict[str, Any], done: Any, timeout_s: float) -> None:
        def answered(answer: Any) -> None:
            if self._is_open:
                done(answer)

        self.cockpit.ask(
            "POST", f"/api/voice/record/{what}", body, answered, self._failed, timeout_s=timeout_s
        )

    def _failed(self, failure: Failure) -> None:
        if self._is_open:
            self.is_busy = False
            self.problem = failure.message
            if self.phase == "listening":
                self.phase = "room"
            self._show()

    def _took(self, answer: Any) -> None:
        self.is_busy = False
        for found in read_models(Recording, [answer]):
            self.cockpit.recording = found
        self._follow()

    def _chose_microphone(self, name: str) -> None:
        self.cockpit.app.state["voice.microphone"] = name
        self.room, self.problem = "", ""
        if self.phase == "read":
            self.phase = "room"
        self._show()

    def _ran(self, run: Any) -> str:
        run()
        return "break"

    # --- drawing

    def _show(self) -> None:
        if not self._is_open:
            return
        phase = self.phase
        words, sign, key = {
            "room": ("Listen to the room", "volume", "Space"),
            "listening": ("Listening...", "clock", ""),
            "read": ("Record", "record", "Space"),
            "recording": ("Stop", "stop", "Space"),
            "review": ("Keep and go on", "check", "Enter"),
        }[phase]
        self.main.key = key
        self.main.set(words, sign, "danger" if phase == "recording" else "accent")
        self.main.enable(phase != "listening" and (phase != "read" or self.prompt is not None))
        self.redoing.enable(phase in ("review", "recording"))
        is_heard = self.cockpit.playing == TAKE
        self.hearing.set("Stop" if is_heard else "Hear", "stop" if is_heard else "play")
        self.hearing.enable(phase == "review")
        self.skipping.enable(phase in ("read", "room") and len(self.prompts) > 1)
        self.checking.enable(phase in ("read", "room"))
        if phase != "recording":
            self.meter.show(Meter.FLOOR_DB)
        self.draw()

    def _heard(self) -> None:
        is_heard = self.cockpit.playing == TAKE
        if is_heard != (self.hearing.text == "Stop"):
            self._show()

    def _show_level(self) -> None:
        level = self.cockpit.level
        if level is None or self.phase not in ("recording", "listening"):
            return
        self.meter.show(level.level_dbfs)
        if self.phase == "recording":
            tone = "error" if level.clipped else "text2"
            words = f"{level.elapsed_s:.1f} s"
            if level.clipped:
                words += "   too loud: move away from the microphone a little"
            items = self.sheet.find_withtag("elapsed")
            if items:
                self.sheet.itemconfigure(items[0], text=words, fill=self._theme.color(tone))

    def _draw_zones(self) -> None:
        p = self._zone_painter
        if self.zones.winfo_width() <= 1:
            return
        p.clear()
        width = p.width
        for share, words in ((0.17, "too quiet"), (0.6, "good"), (0.95, "too loud")):
            p.text(width * share, 10, words, "cap", "text3", "center")

    def draw(self) -> None:
        """Draw the sentence and what is to be done."""
        p = self._painter
        if not self._is_open or self.sheet.winfo_width() <= 1:
            return
        p.clear()
        width, height = p.width, p.height
        self._draw_progress(p, width)
        low = height - 84
        if self.problem:
            self._draw_problem(p, width, low)
        prompt = self.prompt
        middle = (44 + low) / 2
        if self.phase in ("room", "listening"):
            words = (
                "First, two seconds of silence."
                if self.phase == "room"
                else "Listening. Be quiet..."
            )
            p.text(width / 2, middle, words, "big", "text", "center", width=width - 40)
        elif prompt is not None:
            font: FontName = "big" if len(prompt.text) <= LONG_TEXT else "h1"
            p.text(
                width / 2,
                middle,
                prompt.text[:600],
                font,
                "text",
                "center",
                width=min(700.0, width - 40),
            )
            if prompt.suggested:
                p.chip(width / 2 - 70, 62, "brings missing sounds", "accent", "accent_soft")
            elif prompt.recorded:
                p.chip(width / 2 - 46, 62, "recorded already", "ok", "ok_soft")
        elif not self.problem:
            words = "There is no list of sentences for this language yet. Choose another one above."
            p.text(width / 2, middle, words, "body", "text2", "center", width=width - 80)
        if not self.problem:
            self._draw_state(p, width, low + 20)

    def _draw_progress(self, p: Painter, width: float) -> None:
        done = sum(one.recorded for one in self.prompts)
        total = len(self.prompts)
        if not total:
            return
        words = f"{done} of {total} sentences"
        wanted = sum(one.suggested for one in self.prompts)
        if wanted:
            words += f"  \u00b7  {wanted} suggested by the doctor come first"
        p.text(0, 22, words, "small", "text2", clip=width * 0.6)
        if self.room:
            p.text(width, 22, f"Room {self.room}", "cap", "text3", "e", clip=width * 0.38)
        p.box(0, 38, width, 4, "line", None, 2)
        if done:
            p.box(0, 38, max(4.0, width * done / total), 4, "accent", None, 2)

    def _draw_problem(self, p: Painter, width: float, low: float) -> None:
        item = p.text(44, low + 14, self.problem[:500], "small", "text", "nw", width=width - 64)
        box = self.sheet.bbox(item)
        high = (box[3] - box[1]) / self._theme.scale if box else 20.0
        p.box(0, low, width, max(44.0, high + 28), "warn_soft", None, 6)
        p.icon(24, low + 22, "warn", 16, "warn", 2)
        self.sheet.tag_raise(item)

    def _draw_state(self, p: Painter, width: float, y: float) -> None:
        check = self.cockpit.recording.check
        if self.phase == "review" and check is not None:
            sign, tone = ("check", "ok") if check.ok else ("warn", "warn")
            notes = list(check.notes) or [
                "It sounds fine." if check.ok else "Better record it again."
            ]
            figures = f"{check.duration_s:.1f} s  \u00b7  peak {check.peak_dbfs:.0f} dB  \u00b7  SNR {check.snr_db:.0f} dB"
            p.icon(14, y, sign, 16, tone, 2)
            p.text(32, y, "  ".join(notes), "body", tone, clip=width - 40)
            p.text(32, y + 26, figures.replace("-", "\u2212"), "cap", "text3", clip=width - 40)
            return
        words = {
            "room": "Space listens to how quiet the room is. Enter goes on without.",
            "listening": "",
            "read": "Press Space, wait half a second, and read it aloud as you would say it.",
            "recording": "0.0 s",
            "review": "",
        }[self.phase]
        tone = "error" if self.phase == "recording" else "text2"
        if self.phase == "recording":
            p.dot(width / 2 - 40, y, 5, "error")
            p.text(width / 2 - 26, y, words, "body", "text2", "w", tags="elapsed")
        elif self.prompts or self.phase in ("room", "listening"):
            p.text(width / 2, y, words, "body", tone, "center", clip=width - 20)
