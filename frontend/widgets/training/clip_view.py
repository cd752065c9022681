"""The chosen clip: waveform above spectrogram, playhead through both, trim and split on them, its words below.

The picture is one canvas whose items stay; while the clip plays only the playhead and the columns it passes change.
"""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from PIL import Image, ImageTk

from backend.contracts.training import Clip
from frontend.client import Failure
from frontend.draw import Painter
from frontend.theme import Theme
from frontend.widgets.controls import RING, Button
from frontend.widgets.field import Field
from frontend.widgets.focus import focused
from frontend.widgets.panel import Panel
from frontend.widgets.training.clip_table import TONES
from frontend.widgets.training.spectrogram import coloured
from frontend.widgets.training.state import Cockpit

Mode = Literal["", "trim", "split"]
COLUMN = 3  # design pixels from one column of the waveform to the next
STEP_S = 0.01
LEAST_S = 0.2  # what may be left by a trim, or at either side of a split
GRIP = 8  # design pixels within which a handle is caught
ASK_MS = 70  # a held arrow key asks for no picture on its way
ZOOMS = (1, 2, 4, 8)
MOST_GAIN = (
    4.0  # a quiet clip is drawn this much higher at most, so that silence still looks silent
)
LONGEST_REASON = 28
CUT_SHARE = 0.7  # how far what a trim takes away fades into the ground
GOOD_MATCH, BAD_MATCH = 0.40, 0.45
CUT = " | "
"""Where a transcript is parted while the clip is split."""


class SoundCanvas(tk.Canvas):
    """Waveform and spectrogram of one clip.

    Args:
        master: The card.
        theme: Colours, fonts and sizes.
        apply: Called with the mode when Enter is pressed.
        leave: Called when Escape is pressed.
        moved: Called when a handle or the split cursor has moved.
        play: Called on Space.
        zoomed: Called when another part is to be shown.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        *,
        apply: Callable[[], object],
        leave: Callable[[], object],
        moved: Callable[[], object],
        play: Callable[[], object],
        zoomed: Callable[[], object],
    ) -> None:
        super().__init__(master, highlightthickness=0, borderwidth=0, takefocus=1)
        self.theme = theme
        self.label = "Waveform and spectrogram"
        self.mode: Mode = ""
        self.duration_s = 0.0
        self.start_s = self.end_s = self.split_s = 0.0
        self.zoom = 1
        self.position_s: float | None = None
        self._first_s = 0.0
        self._low: Sequence[float] = ()
        self._high: Sequence[float] = ()
        self._picture: ImageTk.PhotoImage | None = None
        self._images: tuple[Image.Image, Image.Image] | None = None
        """The spectrogram as it is, and dimmed."""
        self._pictures: list[ImageTk.PhotoImage] = []
        """The same for Tk, from the first trim on: `_picture` is put together of both."""
        self._lit = (0, 0)
        """From where to where it is not dimmed, pixels."""
        self._note = ""
        self._painter = Painter(self, theme)
        self._columns: list[int] = []
        self._bright = 0
        self._handle: Literal["start", "end", "split", ""] = ""
        self._held = False
        self._moved, self._zoomed = moved, zoomed
        self._job: str | None = None
        self._make_job: str | None = None
        theme.tint(self, background="bg")
        theme.on_change(self, self.redraw_soon)
        self.bind("<Configure>", lambda _: self.redraw_soon())
        self.bind("<Destroy>", lambda _: self._ended())
        self.bind("<ButtonPress-1>", self._pressed)
        self.bind("<B1-Motion>", self._dragged)
        self.bind("<ButtonRelease-1>", lambda _: self._let_go())
        self.bind("<Motion>", self._hovered)
        for sequence in ("<FocusIn>", "<FocusOut>"):
            self.bind(sequence, lambda _: self._ring())
        for sequence, run in (
            ("<Left>", lambda: self._step(-STEP_S)),
            ("<Right>", lambda: self._step(STEP_S)),
            ("<Shift-Left>", lambda: self._step(-10 * STEP_S)),
            ("<Shift-Right>", lambda: self._step(10 * STEP_S)),
            ("<Up>", self._other_handle),
            ("<Down>", self._other_handle),
            ("<Return>", apply),
            ("<KP_Enter>", apply),
            ("<Escape>", leave),
            ("<space>", play),
            ("<plus>", lambda: self.set_zoom(1)),
            ("<KP_Add>", lambda: self.set_zoom(1)),
            ("<equal>", lambda: self.set_zoom(1)),
            ("<minus>", lambda: self.set_zoom(-1)),
            ("<KP_Subtract>", lambda: self.set_zoom(-1)),
        ):
            self.bind(sequence, lambda _, run=run: self._ran(run))  # type: ignore[misc]  # a lambda that keeps its loop variable
        self.bind("<Control-Button-4>", lambda event: self._ran(lambda: self.set_zoom(1, event.x)))
        self.bind("<Control-Button-5>", lambda event: self._ran(lambda: self.set_zoom(-1, event.x)))
        self.bind(
            "<Control-MouseWheel>",
            lambda event: self._ran(lambda: self.set_zoom(1 if event.delta > 0 else -1, event.x)),
        )

    # --- what is shown

    def show(self, duration_s: float) -> None:
        """Another clip; its columns and picture come later."""
        self.duration_s = duration_s
        self.start_s, self.end_s, self.split_s = 0.0, duration_s, duration_s / 2
        self.mode, self.zoom, self._first_s, self.position_s = "", 1, 0.0, None
        self._low = self._high = ()
        self._picture, self._images, self._pictures, self._note = None, None, [], ""
        self.redraw_soon()

    def show_columns(self, low: Sequence[float], high: Sequence[float]) -> None:
        """The waveform, lowest and highest value of each column in [-1, 1], over the whole clip."""
        self._low, self._high = low, high
        self.redraw_soon()

    def show_picture(self, image: Image.Image, dim: Image.Image) -> None:
        """The spectrogram of the part in sight, and the same dimmed for what a trim takes away."""
        self._images, self._pictures, self._note = (image, dim), [], ""
        self._picture = ImageTk.PhotoImage(image, master=self)
        self._lit = (0, image.width)
        self.redraw_soon()

    def _make_picture(self) -> None:
        """Hand one of the two pictures to Tk: each takes up to 5 ms at 200 %, so keys come in between."""
        self._make_job = None
        if self._images is not None and len(self._pictures) < len(self._images):
            image = self._images[len(self._pictures)]
            self._pictures.append(ImageTk.PhotoImage(image, master=self))
            self._dim_cut()

    def show_note(self, note: str) -> None:
        """Why there is no spectrogram."""
        self._picture, self._images, self._pictures, self._note = None, None, [], note
        self.redraw_soon()

    def _dim_cut(self) -> None:
        """Dim what a trim takes away; only the strips that have changed are copied."""
        if self._images is None or self._picture is None:
            return
        wide, high = self._picture.width(), self._picture.height()
        wanted = (0, wide)
        if self.mode == "trim":
            first, last = (round(self._x(at_s)) for at_s in (self.start_s, self.end_s))
            wanted = max(0, min(wide, first)), max(0, min(wide, last + 1))
        if wanted == self._lit:
            return
        if len(self._pictures) < len(self._images):
            if self._make_job is None:
                self._make_job = self.after(1, self._make_picture)
            return
        bright, dark = self._pictures
        for number in (0, 1):
            old, new = self._lit[number], wanted[number]
            left, right = min(old, new), max(old, new)
            source = bright if (new < old) == (number == 0) else dark
            if left < right:
                self.tk.call(
                    str(self._picture), "copy", str(source), "-from", left, 0, right, high, "-to", left, 0
                )  # fmt: skip
        self._lit = wanted

    def set_mode(self, mode: Mode) -> None:
        """Show trim handles or the split cursor."""
        self.mode = mode
        self._handle = {"trim": "start", "split": "split", "": ""}[mode]  # type: ignore[assignment]  # one of the literals
        if mode == "trim" and self.end_s <= self.start_s:
            self.start_s, self.end_s = 0.0, self.duration_s
        self.redraw_soon()

    def set_zoom(self, step: int, x: int | None = None) -> None:
        """Show more or less at once; the place under ``x`` (pixels), or what is worked on, stays in sight."""
        place = ZOOMS.index(self.zoom)
        zoom = ZOOMS[max(0, min(len(ZOOMS) - 1, place + step))]
        if zoom == self.zoom or not self.duration_s:
            return
        at_s = self.time_at(x) if x is not None else self._looked_at()
        share = (at_s - self._first_s) / self.span_s if x is not None else 0.5
        self.zoom = zoom
        self._first_s = max(0.0, min(self.duration_s - self.span_s, at_s - share * self.span_s))
        self._zoomed()
        self.redraw_soon()

    @property
    def span_s(self) -> float:
        """Seconds in sight."""
        return self.duration_s / self.zoom

    @property
    def part(self) -> tuple[float, float]:
        """The part in sight as shares of the clip."""
        if not self.duration_s:
            return 0.0, 1.0
        first = self._first_s / self.duration_s
        return first, min(1.0, first + 1 / self.zoom)

    def wave_height(self) -> int:
        """Pixels of the waveform; the spectrogram has the rest."""
        return round(self.winfo_height() * 0.42)

    def picture_size(self) -> tuple[int, int]:
        """Pixels of the spectrogram."""
        gap = self.theme.px(6)
        return self.winfo_width(), max(1, self.winfo_height() - self.wave_height() - gap)

    def column_count(self) -> int:
        """Columns over the whole clip at this zoom."""
        return max(1, self.winfo_width() // max(1, self.theme.px(COLUMN))) * self.zoom

    def move_to(self, position_s: float | None) -> None:
        """Move the playhead; None = nothing plays."""
        self.position_s = position_s
        if position_s is None:
            self.delete("playhead")
            self._paint_past(0.0)
            return
        x = self._x(position_s)
        if self.find_withtag("playhead"):
            self.coords("playhead", x, 0, x, self.winfo_height())
        else:
            self.create_line(
                x, 0, x, self.winfo_height(), fill=self.theme.color("text"),
                width=max(1, self.theme.px(1)), tags="playhead",
            )  # fmt: skip
        self._paint_past(position_s)

    # --- drawing

    def redraw_soon(self) -> None:
        """Draw once before Tk goes idle."""
        if self._job is None:
            self._job = self.after_idle(self.redraw)

    def redraw(self) -> None:
        """Draw everything."""
        self._stop()
        width, height = self.winfo_width(), self.winfo_height()
        if width <= 1:
            return
        p, t = self._painter, self.theme
        p.clear()
        wave, top = self.wave_height(), height - self.picture_size()[1]
        self.create_rectangle(0, wave, width, top, fill=t.color("surface"), width=0)
        self.create_line(0, wave // 2, width, wave // 2, fill=t.color("line2"), dash=(2, 2))
        self._paint_columns(wave)
        if self._picture is not None:
            self.create_image(0, top, image=self._picture, anchor="nw")
            p.text(4, (top / t.scale) + 9, "8 kHz", "cap", "text2")
            p.text(4, height / t.scale - 9, "0", "cap", "text2")
        elif self._note:
            middle = (top + height) / 2 / t.scale
            p.text(p.width / 2, middle, self._note, "cap", "text3", "center", clip=p.width - 24)
        if self.zoom > 1:
            first, last = self.part
            self.create_rectangle(
                first * width,
                height - t.px(3),
                last * width,
                height,
                fill=t.color("accent"),
                width=0,
            )
        self._paint_handles()
        if self.position_s is not None:
            self.move_to(self.position_s)
        self._ring()

    def _paint_columns(self, wave: int) -> None:
        t = self.theme
        count = len(self._high)
        self._columns, self._bright = [], 0
        if not count or not self.duration_s:
            return
        first, last = (round(share * count) for share in self.part)
        shown = max(1, last - first)
        loudest = max(0.01, *map(abs, self._low), *map(abs, self._high))
        middle, reach = wave / 2, (wave / 2 - t.px(3)) * min(MOST_GAIN, 1 / loudest)
        step = self.winfo_width() / shown
        thick = max(1, round(min(t.px(2), step)))
        for number in range(first, last):
            x = round((number - first + 0.5) * step)
            high = max(1.0, self._high[number] * reach)
            low = max(1.0, -self._low[number] * reach)
            self._columns.append(
                self.create_line(
                    x, middle - high, x, middle + low, width=thick, fill=t.color("text3")
                )
            )
        self._colour_columns()

    def _colour_columns(self) -> None:
        """Kept columns in the accent, cut ones grey; those already heard are brighter."""
        t = self.theme
        calm, cut = t.mix("accent", "bg", 0.45), t.color("line2")
        bright = t.color("accent")
        heard = self.position_s
        for number, item in enumerate(self._columns):
            at_s = self._first_s + (number + 0.5) / len(self._columns) * self.span_s
            is_cut = self.mode == "trim" and not self.start_s <= at_s <= self.end_s
            is_bright = heard is None or at_s <= heard
            self.itemconfigure(item, fill=cut if is_cut else bright if is_bright else calm)
        self._bright = len(self._columns) if heard is None else self._column_at(heard)

    def _column_at(self, at_s: float) -> int:
        share = (at_s - self._first_s) / self.span_s if self.span_s else 0.0
        return max(0, min(len(self._columns), int(share * len(self._columns))))

    def _paint_past(self, position_s: float) -> None:
        if self.position_s is None or not self._columns:
            self._colour_columns()
            return
        upto = self._column_at(position_s)
        if upto < self._bright or self.mode == "trim":
            self._colour_columns()
            return
        bright = self.theme.color("accent")
        for number in range(self._bright, upto):
            self.itemconfigure(self._columns[number], fill=bright)
        self._bright = upto

    def _paint_handles(self) -> None:
        self.delete("handle")
        self._dim_cut()
        t, height = self.theme, self.winfo_height()
        marks: tuple[tuple[str, float], ...] = ()
        if self.mode == "trim":
            marks = (("start", self.start_s), ("end", self.end_s))
        elif self.mode == "split":
            marks = (("split", self.split_s),)
        for name, at_s in marks:
            x = self._x(at_s)
            tone = t.color("warn")
            self.create_line(
                x, 0, x, height, fill=tone, dash=(4, 3), width=max(1, t.px(1)), tags="handle"
            )
            half = t.px(5 if name == self._handle else 4)
            self.create_rectangle(
                x - half, 0, x + half, t.px(10), fill=tone, width=0, tags="handle"
            )
            words = f"{at_s:.2f} s"
            is_right = x > self.winfo_width() - t.px(60)
            self._painter.text(
                x / t.scale + (-9 if is_right else 9), 8, words, "cap", "warn", "e" if is_right else "w", tags="handle"
            )  # fmt: skip

    def _ring(self) -> None:
        self.delete("ring")
        if focused(self) is self:
            line = max(2, self.theme.px(2))
            self.create_rectangle(
                line // 2, line // 2, self.winfo_width() - line // 2 - 1, self.winfo_height() - line // 2 - 1,
                outline=self.theme.color("accent"), width=line, tags="ring",
            )  # fmt: skip

    # --- hands on it

    def time_at(self, x: float) -> float:
        """Seconds at a place in pixels."""
        return self._first_s + max(0.0, min(1.0, x / max(1, self.winfo_width()))) * self.span_s

    def _x(self, at_s: float) -> float:
        share = (at_s - self._first_s) / self.span_s if self.span_s else 0.0
        return share * (self.winfo_width() - 1)

    def _looked_at(self) -> float:
        if self._handle:
            return {"start": self.start_s, "end": self.end_s, "split": self.split_s}[self._handle]
        return self.position_s if self.position_s is not None else self._first_s + self.span_s / 2

    def _near(self, x: float) -> Literal["start", "end", "split", ""]:
        reach = self.theme.px(GRIP)
        if self.mode == "split":
            return "split"
        if self.mode == "trim":
            to_start, to_end = abs(x - self._x(self.start_s)), abs(x - self._x(self.end_s))
            if min(to_start, to_end) <= reach:
                return "start" if to_start <= to_end else "end"
        return ""

    def _hovered(self, event: Any) -> None:
        self.configure(cursor="sb_h_double_arrow" if self._near(event.x) else "")

    def _pressed(self, event: Any) -> None:
        self.focus_set()
        caught = self._near(event.x)
        if self.mode == "trim" and not caught:  # beside both: the nearer one comes to the pointer
            at_s = self.time_at(event.x)
            caught = "start" if abs(at_s - self.start_s) < abs(at_s - self.end_s) else "end"
        if caught:
            self._handle, self._held = caught, True
            self._dragged(event)

    def _dragged(self, event: Any) -> None:
        if self._held:
            self._put(self.time_at(event.x))

    def _let_go(self) -> None:
        self._held = False

    def _other_handle(self) -> None:
        if self.mode == "trim":
            self._handle = "end" if self._handle == "start" else "start"
            self._paint_handles()

    def _step(self, by_s: float) -> None:
        if self._handle:
            self._put(self._looked_at() + by_s)
        elif self.zoom > 1:
            most = self.duration_s - self.span_s
            self._first_s = max(
                0.0, min(most, self._first_s + (0.25 if by_s > 0 else -0.25) * self.span_s)
            )
            self._zoomed()
            self.redraw_soon()

    def _put(self, at_s: float) -> None:
        whole = self.duration_s
        if self._handle == "start":
            self.start_s = max(0.0, min(at_s, self.end_s - LEAST_S))
        elif self._handle == "end":
            self.end_s = min(whole, max(at_s, self.start_s + LEAST_S))
        elif self._handle == "split":
            self.split_s = max(LEAST_S, min(at_s, whole - LEAST_S))
        self._paint_handles()
        if self.mode == "trim":
            self._colour_columns()
        self._moved()

    def _ran(self, run: Callable[[], object]) -> str:
        run()
        return "break"

    def _stop(self) -> None:
        if self._job is not None:
            self.after_cancel(self._job)
            self._job = None

    def _ended(self) -> None:
        self._stop()
        if self._make_job is not None:
            self.after_cancel(self._make_job)
            self._make_job = None


class ClipView(Panel):
    """The card.

    Args:
        master: The widget it lies in.
        cockpit: What is known.
        back: Give the keyboard back to the table.
    """

    def __init__(self, master: tk.Misc, cockpit: Cockpit, back: Callable[[], object]) -> None:
        t = cockpit.app.theme
        super().__init__(master, t)
        self.cockpit = cockpit
        self.clip: Clip | None = None
        self._back = back
        self._ask_job: str | None = None
        self._asked: tuple[object, ...] = ()
        self._mark: tuple[object, ...] = ()
        self._parted_by_hand = False
        self.sound = SoundCanvas(
            self, t, apply=self.apply, leave=self.leave, moved=self._handle_moved, play=self.play, zoomed=self._ask_soon
        )  # fmt: skip
        self.words = Field(
            self, t, placeholder="What is said in this clip", height=32, surface="surface", font="body",
            label="Transcript", on_change=self._typed, on_enter=lambda _: self._entered(),
        )  # fmt: skip
        self.words.entry.bind("<Escape>", lambda _: self._ran(self.leave))
        self.words.entry.bind("<FocusOut>", lambda _: self._save_words(), add="+")

        def button(text: str, run: Callable[[], object], icon: str = "", **rest: Any) -> Button:
            return Button(self, t, text, run, icon=icon, surface="surface", height=28, **rest)

        self.playing = button("Play", self.play, "play", kind="soft", tip="Hear it   Space")
        self.trimming = button("Trim", partial(self.begin, "trim"), tip="Cut off the edges   T")
        self.splitting = button(
            "Split", partial(self.begin, "split"), tip="Make two clips of it   S"
        )
        self.denoising = button(
            "Denoise", self._denoise, tip="Take steady noise out; the original is kept"
        )
        self.before = button("Before", self._play_before, "play", tip="Hear it as it was before")
        self.restoring = button(
            "Restore", partial(self._work, "restore"), tip="Back to the sound from before"
        )
        self.rejecting = button(
            "Reject", partial(self._decide, "rejected"), "x", color="error", tip="Leave it out   R"
        )
        self.accepting = button(
            "Accept", partial(self._decide, "accepted"), "check", color="ok", tip="Use it   A"
        )
        self.applying = button("Apply", self.apply, "check", kind="soft", key="Enter")
        self.leaving = button("Cancel", self.leave, key="Esc")
        cockpit.watch(("clips", "selection"), lambda _: self.follow())
        cockpit.watch(("playing",), lambda _: self._play_moved())
        t.on_change(self, self._recoloured)
        self.follow()

    # --- what is shown

    def follow(self) -> None:
        """Show the table's current clip as it is now."""
        clip = self.cockpit.clips.clip
        if clip is None and self.cockpit.clips.total:
            return  # its page is on the way
        mark = (clip.id, clip.duration_s, clip.edited, clip.updated_at) if clip is not None else ()
        old, self.clip = self.clip, clip
        if mark != self._mark:
            self._mark = mark
            self.sound.show(clip.duration_s if clip is not None else 0.0)
            self._asked = ()
            self._ask_soon()
        if clip is not None and (
            old is None or old.id != clip.id or old.transcript != clip.transcript
        ):
            if self.sound.mode != "split":
                self.words.set(clip.transcript)
        self._play_moved()
        self.changed()

    def edit(self) -> None:
        """Put the keyboard into the transcript."""
        if self.clip is not None:
            self.words.entry.focus_set()
            self.words.entry.select_range(0, "end")
            self.words.entry.icursor("end")

    def begin(self, mode: Mode) -> None:
        """Trim or split; the keyboard goes to the handles."""
        clip = self.clip
        if clip is None or clip.duration_s < 2 * LEAST_S:
            return
        self._save_words()
        self.sound.set_mode(mode)
        self._parted_by_hand = False
        if mode == "split":
            self._part_words()
        self.sound.focus_set()
        self.changed()

    def apply(self) -> None:
        """Do what the handles say."""
        clip, sound = self.clip, self.sound
        if clip is None or not sound.mode:
            return
        pages = self.cockpit.clips
        if sound.mode == "trim":
            if sound.end_s - sound.start_s < clip.duration_s - 0.001:
                body = {"start_s": round(sound.start_s, 3), "end_s": round(sound.end_s, 3)}
                pages.work_on(clip.id, "trim", body)
        else:
            fields: dict[str, Any] = {"at_s": round(sound.split_s, 3)}
            if clip.transcript:
                first, cut, second = self.words.text.partition(CUT.strip())
                if cut:
                    fields["transcripts"] = [first.strip(), second.strip()]
            pages.work_on(clip.id, "split", fields)
        self.leave()

    def leave(self) -> None:
        """Leave trimming or splitting; from the words, back to the table with them as they were."""
        clip = self.clip
        if self.sound.mode:
            self.sound.start_s, self.sound.end_s = 0.0, self.sound.duration_s
            self.sound.set_mode("")
        if clip is not None:
            self.words.set(clip.transcript)
        self._back()
        self.changed()

    def play(self) -> None:
        """Play the clip, or stop it."""
        if self.clip is not None:
            self.cockpit.play_clip(self.clip.id)

    def paint(self) -> None:
        p, t = self.painter, self.theme
        width, height = p.width, p.height
        clip = self.clip
        p.card(0, 0, width, height)
        if clip is None:
            self._hide()
            if self.cockpit.clips.is_loaded:
                p.icon(width / 2, height / 2 - 18, "voice", 24, "text3")
                words = "The chosen clip is shown here: heard, trimmed and corrected."
                p.text(
                    width / 2,
                    height / 2 + 8,
                    words,
                    "small",
                    "text3",
                    "n",
                    width=min(360.0, width - 48),
                )
            return
        right = width - 14
        if clip.grade:
            tone, soft = TONES[clip.grade]
            reason = clip.reasons[0] if clip.reasons else ""
            reason = (
                reason
                if len(reason) <= LONGEST_REASON
                else reason[: LONGEST_REASON - 2].rstrip() + "..."
            )
            words = f"{clip.grade}  {reason}" if reason else clip.grade
            right -= p.chip(right, 21, words, tone, soft, font="capb", anchor="e") + 8
            self.zone("grade", right, 8, width - right, 26, None, tip="\n".join(clip.reasons))
        number = f"clip {clip.id:03d}" + ("  \u00b7  changed" if clip.edited else "")
        wide = p.text_width(number, "small")
        title = clip.transcript or "No transcript yet"
        room = right - 16 - wide - 14
        p.text(16, 21, title, "bodyb", clip=max(40.0, room))
        shown = min(p.text_width(title, "bodyb"), max(40.0, room))
        p.text(26 + shown, 21.5, number, "small", "text3", clip=max(10.0, right - 26 - shown))
        low = height - 12 - 28
        words_y = low - 10 - 32
        self.sound.place(
            x=t.px(14),
            y=t.px(40),
            width=max(1, t.px(width - 28)),
            height=max(1, t.px(words_y - 8) - t.px(40)),
        )
        match = clip.measures.get("match")
        label, tone = self._match_words(match)
        wide = p.text_width(label, "cap") + 12 if label else 0.0
        self.words.place(
            x=t.px(14), y=t.px(words_y), width=max(1, t.px(width - 28 - wide)), height=t.px(32)
        )
        if label:
            p.text(width - 14, words_y + 16, label, "cap", tone, "e")
            tip = "How far the words are from the sound: right ones lie near 0.34, wrong ones above 0.45"
            self.zone("match", width - 14 - wide, words_y, wide, 32, None, tip=tip)
        self._paint_buttons(clip, low, width)

    def _paint_buttons(self, clip: Clip, y: float, width: float) -> None:
        t, p = self.theme, self.painter
        heard = self.cockpit.playing
        is_playing = heard == f"clip:{clip.id}"
        self.playing.set("Stop" if is_playing else "Play", "stop" if is_playing else "play")
        is_before = heard == f"before:{clip.id}"
        self.before.set("Stop" if is_before else "Before", "stop" if is_before else "play")
        mode = self.sound.mode
        if mode:
            left, right = [self.playing, self.applying, self.leaving], []
        else:
            left = [self.playing, self.trimming, self.splitting]
            left += [self.before, self.restoring] if clip.edited else [self.denoising]
            right = [self.accepting, self.rejecting]
        self.accepting.kind = "soft" if clip.status == "accepted" else "ghost"
        self.accepting.color = "ok"
        self.accepting.set("Accepted" if clip.status == "accepted" else "Accept")
        self.rejecting.set("Rejected" if clip.status == "rejected" else "Reject")

        def wide(button: Button) -> float:
            return button.winfo_reqwidth() / t.scale - 2 * RING

        for button in self._buttons():
            if button not in left and button not in right:
                button.place_forget()
        total = sum(wide(one) + 7 for one in (*left, *right)) + 28
        for button in right if total > width else ():
            button.set("")  # the icon says it where the words do not fit
        x = 14.0
        for button in left:
            button.place(x=t.px(x - RING), y=t.px(y - RING))
            x += wide(button) + 7
        end = width - 14
        for button in right:
            end -= wide(button)
            button.place(x=t.px(end - RING), y=t.px(y - RING))
            end -= 7
        if mode:
            words = (
                "Left and Right move the handle, Up takes the other one"
                if mode == "trim"
                else "The line parts the sound, the mark | parts the words"
            )
            p.text(x + 8, y + 14, words, "cap", "text3", clip=max(10.0, width - 20 - x))

    def _match_words(self, match: float | None) -> tuple[str, str]:
        if self.sound.mode == "split" or match is None:
            return "", "text3"
        tone = "ok" if match < GOOD_MATCH else "warn" if match < BAD_MATCH else "error"
        word = "match" if match < BAD_MATCH else "words differ"
        return f"{word} {match:.2f}", tone

    def _buttons(self) -> tuple[Button, ...]:
        return (
            self.playing, self.trimming, self.splitting, self.denoising, self.before, self.restoring, self.rejecting,
            self.accepting, self.applying, self.leaving,
        )  # fmt: skip

    def _hide(self) -> None:
        for widget in (self.sound, self.words, *self._buttons()):
            widget.place_forget()

    # --- pictures

    def _ended(self) -> None:
        super()._ended()
        if self._ask_job is not None:
            self.after_cancel(self._ask_job)
            self._ask_job = None

    def _ask_soon(self) -> None:
        if self._ask_job is not None:
            self.after_cancel(self._ask_job)
        self._ask_job = self.after(ASK_MS, self._ask)

    def _ask(self) -> None:
        """Ask for the waveform and the spectrogram in the size they are shown in."""
        self._ask_job = None
        clip, sound = self.clip, self.sound
        if clip is None or sound.winfo_width() <= 1:
            return
        size = sound.picture_size()
        wanted = (self._mark, sound.column_count(), size, sound.part, self.theme.name)
        if wanted == self._asked:
            return
        self._asked = wanted
        name, part, ground = self.theme.name, sound.part, self.theme.color("bg")

        def took_columns(answer: Any) -> None:
            if self._asked == wanted and isinstance(answer, dict):
                low, high = answer.get("low"), answer.get("high")
                if isinstance(low, list) and isinstance(high, list) and 0 < len(low) == len(high):
                    sound.show_columns(low, high)

        def took_picture(data: bytes) -> None:
            if self._asked == wanted:
                self.cockpit.work(lambda: made(data), show)

        def made(data: bytes) -> tuple[Image.Image, Image.Image]:
            image = coloured(data, *size, name, part)
            return image, Image.blend(image, Image.new("RGB", image.size, ground), CUT_SHARE)

        def show(pictures: tuple[Image.Image, Image.Image]) -> None:
            if self._asked == wanted and self.winfo_exists():
                sound.show_picture(*pictures)

        def failed(failure: Failure) -> None:
            if self._asked == wanted:
                sound.show_note(failure.message)

        safe = f"/api/voice/clips/{clip.id}"
        backend = self.cockpit.app.backend
        backend.get(f"{safe}/peaks", took_columns, params={"columns": sound.column_count()})
        wide = min(4000, size[0] * sound.zoom)
        high = min(512, size[1])
        backend.download(f"{safe}/spectrogram?width={wide}&height={high}", took_picture, failed)

    def repaint(self) -> None:
        super().repaint()
        if self.clip is not None and self.sound.winfo_manager():
            self._ask_soon()  # another size wants other pictures; the old ones stay meanwhile

    def _recoloured(self) -> None:
        self.changed()
        self._ask_soon()

    def _play_moved(self) -> None:
        clip, cockpit = self.clip, self.cockpit
        mine = clip is not None and cockpit.playing in (f"clip:{clip.id}", f"before:{clip.id}")
        if mine:
            self.sound.move_to(min(cockpit.position_s, self.sound.duration_s))
        elif self.sound.position_s is not None:
            self.sound.move_to(None)
        words = "Stop" if mine and cockpit.playing.startswith("clip:") else "Play"
        if words != self.playing.text or (clip is not None and clip.edited):
            self.changed()

    # --- words

    def _typed(self, text: str) -> None:
        if self.sound.mode == "split":
            self._parted_by_hand = True

    def _entered(self) -> None:
        if self.sound.mode == "split":
            self.apply()
            return
        self._save_words()
        self._back()

    def _save_words(self) -> None:
        clip = self.clip
        if clip is None or self.sound.mode == "split":
            return
        text = " ".join(self.words.text.split())
        if text != clip.transcript:
            self.clip = clip.model_copy(update={"transcript": text})
            self.cockpit.clips.change([clip.id], transcript=text)

    def _part_words(self) -> None:
        """Part the words where the cursor parts the sound, at the nearest space."""
        clip = self.clip
        if clip is None or not clip.transcript or self._parted_by_hand:
            return
        text = clip.transcript
        wanted = round(len(text) * self.sound.split_s / max(0.01, clip.duration_s))
        spaces = [number for number, letter in enumerate(text) if letter == " "]
        at = min(spaces, key=lambda number: abs(number - wanted)) if spaces else len(text)
        self.words.set(text[:at] + CUT + text[at:].strip())

    def _handle_moved(self) -> None:
        if self.sound.mode == "split":
            self._part_words()

    # --- actions

    def _decide(self, status: Literal["accepted", "rejected"]) -> None:
        if self.clip is not None:
            self.cockpit.clips.change([self.clip.id], status=status)

    def _denoise(self) -> None:
        self._work("denoise")

    def _work(self, what: str) -> None:
        if self.clip is not None:
            self.cockpit.clips.work_on(self.clip.id, what, {})

    def _play_before(self) -> None:
        if self.clip is not None:
            self.cockpit.play_clip(self.clip.id, before=True)

    def _ran(self, run: Callable[[], object]) -> str:
        run()
        return "break"
