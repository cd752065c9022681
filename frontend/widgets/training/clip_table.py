"""The table of clips: any number of rows of which only those in sight are drawn and loaded, several selected at once.

Letter keys act only while the rows have the keyboard; the foot names them.
"""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from backend.contracts.training import Clip
from frontend.widgets.controls import RING, Dropdown
from frontend.widgets.field import Field
from frontend.widgets.panel import Panel
from frontend.widgets.popup import Choice
from frontend.widgets.row_list import RowList
from frontend.widgets.training.clip_pages import Order
from frontend.widgets.training.state import Cockpit

HEAD = 42
TOOLS = 34
COLUMNS = 26
FOOT = 30
ONE_LINE = 600  # from here on search and status stand in the head
SHIFT, CONTROL = 0x1, 0x4  # bits of a Tk event's state
TONES = {"A": ("ok", "ok_soft"), "B": ("warn", "warn_soft"), "C": ("error", "error_soft")}
STATES = (
    Choice("", "All clips"),
    Choice("new", "Not decided"),
    Choice("accepted", "Accepted"),
    Choice("rejected", "Rejected"),
)


class ClipTable(Panel):
    """The card with search, columns and rows.

    Args:
        master: The widget it lies in.
        cockpit: What is known.
        edit: Put the keyboard into the transcript of the current clip.
        trim: Put it into the trim handles.
        split: Put it at the split cursor.
        record: Open the guided recording.
        choose_files: Ask for files to bring in.
    """

    def __init__(
        self,
        master: tk.Misc,
        cockpit: Cockpit,
        *,
        edit: Callable[[], object],
        trim: Callable[[], object],
        split: Callable[[], object],
        record: Callable[[], object],
        choose_files: Callable[[], object],
    ) -> None:
        t = cockpit.app.theme
        super().__init__(master, t)
        self.cockpit = cockpit
        self.clips = cockpit.clips
        self.edit, self.trim, self.split = edit, trim, split
        self._record, self._choose_files = record, choose_files
        self._question = self.clips.question
        self.is_dropping = False
        """Files are held over the page."""
        self.search = Field(
            self, t, placeholder="Search", icon="search", height=28, surface="surface",
            on_change=self.clips.want_text, label="Search the transcripts",
        )  # fmt: skip
        self.states = Dropdown(
            self, t, STATES, lambda value: self.clips.want(status=value), width=104, height=26, surface="surface",
            label="Which clips are shown",
        )  # fmt: skip
        self.rows = ClipRows(self)
        cockpit.watch(("clips", "selection", "playing", "speakers", "jobs"), self._told)

    def show_drop(self, on: bool) -> None:
        """Files are held over the page, or not any more."""
        if on != self.is_dropping:
            self.is_dropping = on
            self.changed()

    def figure_columns(self, width: float) -> list[tuple[str, Order, float]]:
        """Title, order and right edge of the columns of figures."""
        grade = self.grade_column(width)
        found: list[tuple[str, Order, float]] = [("Length", "duration", 0)]
        if width >= 440:
            found.append(("SNR", "snr", 0))
        if width >= 570:
            found.append(("Loudness", "loudness", 0))
        if width >= 720:
            found.append(("Match", "match", 0))
        placed = []
        right = grade - 22
        for title, order, _ in reversed(found):
            placed.append((title, order, right))
            right -= 76 if order == "loudness" else 62
        return placed[::-1]

    def grade_column(self, width: float) -> float:
        """Left edge of the grades."""
        return width - (122 if width >= 460 else 44)

    def paint(self) -> None:
        p = self.painter
        width, height = p.width, p.height
        clips = self.clips
        outline = "accent" if self.is_dropping else "line"
        p.box(
            0,
            0,
            width,
            height,
            "surface",
            outline,
            8,
            max(1, self.theme.px(2)) if self.is_dropping else 1,
        )
        p.text(16, 21, "Clips", "bodyb")
        if self.is_dropping:
            self._hide()
            p.icon(width / 2, height / 2 - 22, "upload", 24, "accent")
            words = "Drop recordings, folders or lists of transcripts"
            p.text(width / 2, height / 2 + 8, words, "body", "text", "center", clip=width - 40)
            return
        if not clips.is_loaded:
            self._hide()
            return
        if clips.is_empty:
            self._hide()
            self._paint_empty(width, height)
            return
        top = self._paint_head(width)
        if not clips.total:
            self.rows.place_forget()
            words = "No clip fits these filters."
            p.text(width / 2, height / 2 - 6, words, "small", "text2", "center")
            self._middle_button("all", height / 2 + 16, "Show all", self._show_all)
            return
        self._paint_columns(width, top)
        self._paint_foot(width, height)
        t = self.theme
        y = top + COLUMNS
        self.rows.place(
            x=1,
            y=t.px(y),
            width=max(1, t.px(width) - 2),
            height=max(1, t.px(height - FOOT) - t.px(y)),
        )

    def _paint_head(self, width: float) -> float:
        """Title, sums, filters; returns where the columns begin."""
        p, t, clips = self.painter, self.theme, self.clips
        question = clips.question
        right = width - 14
        for grade in ("C", "B", "A"):
            amount = clips.minutes.get(grade, 0.0)
            is_on = question.grade == grade
            count = clips.grades.get(grade, 0)
            words = f"{grade}  {count:,}"
            wide = p.text_width(words, "capb") + 18
            tone, soft = TONES[grade]
            tip = f"{count:,} clips of grade {grade}, {amount:.1f} min accepted. Press to see only these."
            press = partial(clips.want, grade="" if is_on else grade)
            zone = self.zone(
                f"grade:{grade}", right - wide, 11, wide, 20, press, tip=tip, radius=10
            )
            self._backing(zone, soft, tone if is_on else None, 10)
            p.text(right - wide / 2, 21, words, "capb", tone, "center")
            right -= wide + 6
        one_line = width >= ONE_LINE
        wide = self.states.winfo_reqwidth() / t.scale
        if one_line:
            right -= wide - 2 * RING + 2
            self.states.place(x=t.px(right - RING), y=t.px(21 - 13 - RING))
            field = 132.0
            right -= field + 8
            self.search.place(x=t.px(right), y=t.px(7), width=t.px(field), height=t.px(28))
        else:
            field = width - 28 - wide - 4
            self.search.place(x=t.px(14), y=t.px(HEAD - 2), width=t.px(field), height=t.px(28))
            self.states.place(x=t.px(width - 12 - wide), y=t.px(HEAD - 1 - RING))
        start = 26 + p.text_width("Clips", "bodyb")
        room = right - start - 10
        if question.ids:
            words = f"{clips.total} of them: {question.why}"
            link = p.text_width("Show all", "smallb") + 14
            p.text(start, 21.5, words, "small", "warn", clip=max(20.0, room - link))
            wide = min(p.text_width(words, "small"), max(20.0, room - link))
            self.link("all", start + wide + 8, 21, "Show all", self._show_all)
        else:
            minutes = sum(clips.minutes.values())
            what = "clip" if clips.total == 1 else "clips"
            length = f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
            words = f"{length} accepted  \u00b7  {clips.total:,} {what}"
            if p.text_width(words, "small") > room:
                words = f"{length}  \u00b7  {clips.total:,}"
            p.text(start, 21.5, words, "small", "text3", clip=max(10.0, room))
        return HEAD if one_line else HEAD + TOOLS

    def _paint_columns(self, width: float, top: float) -> None:
        p, question = self.painter, self.clips.question
        inner = width - 14

        def head(title: str, order: Order, x: float, *, is_figure: bool) -> None:
            is_on = question.order == order
            arrow = ("  \u2193" if question.descending else "  \u2191") if is_on else ""
            room = p.text_width(title + arrow, "cap") + 12
            left = x + 6 - room if is_figure else x - 6
            press = partial(self.clips.sort, order)
            zone = self.zone(f"sort:{order}", left, top, room, COLUMNS - 4, press, radius=4)
            self._backing(zone, None, None, 4)
            p.text(left + 6, top + 11, title + arrow, "cap", "text" if is_on else "text3")

        head("#", "id", 16, is_figure=False)
        head("Transcript", "transcript", 58, is_figure=False)
        for title, order, right in self.figure_columns(inner):
            head(title, order, right, is_figure=True)
        head("Grade", "grade", self.grade_column(inner), is_figure=False)
        p.line(0, top + COLUMNS - 1, width, top + COLUMNS - 1)

    def _paint_foot(self, width: float, height: float) -> None:
        p, clips = self.painter, self.clips
        p.line(0, height - FOOT, width, height - FOOT)
        count = len(clips.selected)
        keys = "Space play   A accept   R reject   E edit text   T trim   S split   Del delete   Ctrl A all"
        if clips.can_undo:
            keys += "   Ctrl Z undo"
        x, middle = 16.0, height - FOOT / 2
        if count:
            words = f"{count:,} selected"
            p.text(x, middle, words, "capb", "accent")
            x += p.text_width(words, "capb") + 14
        p.text(x, middle, keys, "cap", "text3", clip=max(10.0, width - 16 - x))

    def _paint_empty(self, width: float, height: float) -> None:
        p, clips = self.painter, self.clips
        middle = height / 2
        if clips.problem:
            p.icon(width / 2, middle - 34, "warn", 24, "text3")
            p.text(width / 2, middle - 14, clips.problem, "small", "text2", "n", width=width - 48)
            self._middle_button("retry", middle + 26, "Try again", clips.reload)
            return
        making = self.cockpit.running("process")
        if making is not None:
            p.icon(width / 2, middle - 34, "clock", 24, "text3")
            words = "Clips appear here while they are made."
            p.text(width / 2, middle - 12, words, "small", "text2", "n", width=width - 48)
            return
        p.icon(width / 2, middle - 44, "voice", 24, "text3")
        words = "No clips yet. Record ten sentences, about two minutes, or drop recordings here."
        p.text(width / 2, middle - 24, words, "small", "text2", "n", width=min(380.0, width - 48))
        self._middle_button("files", middle + 24, "Choose files", self._choose_files)

    def _middle_button(self, key: str, y: float, text: str, press: Callable[[], object]) -> None:
        wide = self.painter.text_width(text, "small") + 24
        self.button(key, (self.painter.width - wide) / 2, y, text, press)

    def _hide(self) -> None:
        for widget in (self.rows, self.search, self.states):
            widget.place_forget()

    def _show_all(self) -> None:
        self.search.set("")
        self.states.set("")
        self.clips.show_all()

    def _told(self, topic: str) -> None:
        if topic != "playing":
            question = self.clips.question
            if self.search.text.strip() != question.text.strip() and not question.text:
                self.search.set("")
            self.states.set(question.status)
            if question != self._question:
                self._question = question
                self.rows.reveal(0)
            self.changed()
        elif self.rows.heard == self.cockpit.playing:
            return
        self.rows.changed()


class ClipRows(RowList):
    """The rows."""

    row_height = 26.0

    def __init__(self, card: ClipTable) -> None:
        super().__init__(card, card.theme)
        self.card = card
        self.heard = ""
        clips = card.clips
        for sequence, run in (
            ("a", lambda: self._decide("accepted")),
            ("r", lambda: self._decide("rejected")),
            ("e", card.edit),
            ("t", card.trim),
            ("s", card.split),
            ("<Control-a>", clips.choose_all),
            ("<Control-z>", clips.undo),
            ("<Shift-Up>", lambda: self._stretch(-1)),
            ("<Shift-Down>", lambda: self._stretch(1)),
            ("<Shift-Prior>", lambda: self._stretch(-self._page_rows())),
            ("<Shift-Next>", lambda: self._stretch(self._page_rows())),
            ("<Shift-Home>", lambda: self._stretch(-(10**9))),
            ("<Shift-End>", lambda: self._stretch(10**9)),
            ("<Control-space>", lambda: clips.choose(self.current, "add")),
        ):
            for one in {sequence, sequence.upper() if len(sequence) == 1 else sequence}:
                self.bind(one, lambda _, run=run: self._ran(run))  # type: ignore[misc]  # a lambda that keeps its loop variable

    def count(self) -> int:
        return self.card.clips.total

    def paint(self) -> None:
        clips = self.card.clips
        self.current = clips.current
        if clips.is_moved:
            clips.is_moved = False
            self._wanted = clips.current
        self.heard = self.card.cockpit.playing
        super().paint()
        first = int(self._offset // self.row_height)
        clips.need(first, first + int(self.painter.height // self.row_height) + 2)

    def choose(self, number: int) -> None:
        self.current = number
        self.card.clips.choose(number)

    def act(self, number: int, key: str) -> None:
        clip = self.card.clips.at(number)
        if clip is None:
            return
        if key == "<space>":
            self.card.cockpit.play_clip(clip.id)
        elif key == "<Return>":
            self.card.edit()
        elif key == "<Delete>":
            self.card.clips.delete(self.card.clips.chosen())

    def fill_of(self, number: int) -> str | None:
        clip = self.card.clips.at(number)
        if clip is not None and clip.id in self.card.clips.selected:
            return "accent_soft"
        return "sel" if number == self.current else None

    def tip_of(self, number: int) -> str:
        clip = self.card.clips.at(number)
        if clip is None:
            return ""
        state = {"new": "not decided", "accepted": "accepted", "rejected": "rejected"}[clip.status]
        parts = [clip.transcript[:400], f"Clip {clip.id}, {state}", ", ".join(clip.reasons)]
        if clip.source:
            parts.append(f"{clip.source[:80]} from {clip.start_s:.1f} s")
        return "\n".join(part for part in parts if part)

    def paint_row(self, number: int, y: float, width: float) -> None:
        p, card = self.painter, self.card
        middle = y + self.row_height / 2
        clip = card.clips.at(number)
        inner = card.painter.width - 14
        if clip is None:
            p.text(58, middle, "...", "small", "text3")
            return
        is_heard = card.cockpit.playing == f"clip:{clip.id}"
        is_out = clip.status == "rejected"
        zone = self.zone(
            f"play:{number}", 8, y, 26, self.row_height, partial(self._play, number), tip="Hear it   Space", is_stop=False
        )  # fmt: skip
        self._backing(zone, None, None, 4)
        p.icon(21, middle, "stop" if is_heard else "play", 11, "accent" if is_heard else "text2")
        if clip.status != "new":
            mark, tone = ("x", "error") if is_out else ("check", "ok")
            p.icon(45, middle, mark, 11, tone, 2)
        columns = card.figure_columns(inner)
        left = columns[0][2] - 62
        words, color = clip.transcript, "text3" if is_out else "text"
        if not words:
            words, color = "needs text", "warn"
        p.text(58, middle, words, "small", color, clip=max(20.0, left - 66))
        for _, order, right in columns:
            p.text(
                right, middle, _figure(clip, order), "monos", "text3" if is_out else "text2", "e"
            )
        at = card.grade_column(inner)
        if clip.grade:
            tone, soft = TONES[clip.grade]
            p.box(at, middle - 9, 20, 18, soft, None, 4)
            p.text(at + 10, middle, clip.grade, "capb", tone, "center")
        room = width - at - 32
        if clip.reasons and room > 30:
            p.text(at + 27, middle, clip.reasons[0], "cap", "text3", clip=room)

    def _pressed(self, event: Any) -> None:
        held = int(event.state) & (SHIFT | CONTROL)
        zone = self._at(event)
        if held and zone is not None and zone.key.startswith("row:"):
            self._hide_tip()
            self.focus_quietly()
            number = int(zone.key.partition(":")[2])
            self.current = number
            how: Literal["add", "range"] = "range" if held & SHIFT else "add"
            self.card.clips.choose(number, how)
            return
        super()._pressed(event)

    def _play(self, number: int) -> None:
        self.choose(number)
        self.act(number, "<space>")

    def _stretch(self, by: int) -> None:
        self.is_quiet = False
        count = self.count()
        if count:
            number = max(0, min(count - 1, self.current + by))
            self.reveal(number)
            self.card.clips.choose(number, "range")

    def _decide(self, status: Literal["accepted", "rejected"]) -> None:
        """Accept or reject; with one clip go on to the next, so that a list is worked off by one key."""
        clips = self.card.clips
        ids = clips.chosen()
        clips.change(ids, status=status)
        if len(clips.selected) <= 1 and not clips.question.status:
            self.walk(1)

    def _ran(self, run: Callable[[], object]) -> str:
        run()
        return "break"


def _figure(clip: Clip, order: Order) -> str:
    """A measured figure with its unit, or a dash where it was not measured."""
    if order == "duration":
        return f"{clip.duration_s:.1f} s"
    names = {"snr": ("snr_db", ".0f"), "loudness": ("lufs", ".1f"), "match": ("match", ".2f")}
    name, shown = names[order]
    value = clip.measures.get(name)
    return "\u2013" if value is None else format(value, shown).replace("-", "\u2212")
