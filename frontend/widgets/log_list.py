"""The list of log rows: only the rows in sight are drawn, whatever the number behind them.

It shows a `LogView` and remembers by row id where it stands, so nothing moves under the pointer when rows come, go or are
filtered. It follows the newest row until the user scrolls up.
"""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from typing import Any, Literal

from PIL import ImageTk

from frontend.draw import shape
from frontend.theme import FontName, Theme
from frontend.widgets.focus import focused, frame_ring
from frontend.widgets.log_buffer import LogRow, LogView, as_line

ROW = 23
WHEEL_ROWS = 3
MARKS = 8
"""Marked places drawn per row."""
LETTERS = "DIWE"
COLORS = ("text3", "accent", "warn", "error")


class _Line:
    """The canvas items of one visible line; made once, changed when another row lies there."""

    __slots__ = (
        "box",
        "fill",
        "items",
        "letter",
        "marks",
        "message",
        "shown",
        "source",
        "time",
        "type",
    )

    def __init__(self, canvas: tk.Canvas, theme: Theme) -> None:
        def words(font: FontName, anchor: Literal["w", "e", "center"] = "w") -> int:
            return canvas.create_text(0, 0, font=theme.font(font), anchor=anchor)

        self.fill = canvas.create_rectangle(0, 0, 0, 0, width=0, state="hidden")
        self.marks = [
            canvas.create_rectangle(0, 0, 0, 0, width=0, state="hidden") for _ in range(MARKS)
        ]
        self.box = canvas.create_image(0, 0, anchor="center", state="hidden")
        self.time = words("monos")
        self.letter = words("monob", "center")
        self.source = words("small")
        self.type = words("monos")
        self.message = words("small")
        self.items = (self.time, self.letter, self.source, self.type, self.message)
        self.shown: object = None


class LogList(tk.Canvas):
    """A virtual list of log rows.

    Args:
        master: The widget it lies in.
        theme: Colours, fonts and sizes.
        view: The rows.
        on_select: Called with the row id when another row is chosen.
        on_open: Called with the row id on Return and double click.
        on_scroll: Called when what is in sight or following has changed.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        view: LogView,
        *,
        on_select: Callable[[int], None],
        on_open: Callable[[int], None],
        on_scroll: Callable[[], None],
    ) -> None:
        super().__init__(master, highlightthickness=0, borderwidth=0, takefocus=1)
        self.theme = theme
        self.view = view
        self.following = True
        self.selected: int | None = None
        self.is_quiet = False
        """Whether the focus came without the keyboard, so that no ring need show where it is."""
        self._anchor: int | None = None
        self._on_select = on_select
        self._on_open = on_open
        self._on_scroll = on_scroll
        self._top_id = 0
        self._top = 0
        self._lines: list[_Line] = []
        self._hot: int | None = None
        self._boxes: dict[tuple[int, bool], ImageTk.PhotoImage] = {}
        self._grab: float | None = None
        self._pending: str | None = None
        self._fits: dict[tuple[str, str, int], str] = {}
        self._thumb = self.create_image(0, 0, anchor="nw", state="hidden")
        self._thumb_length = 0
        self._thumb_picture: ImageTk.PhotoImage | None = None
        for sequence, act in (
            ("<Configure>", lambda event: self.changed()),
            ("<Destroy>", lambda event: self._ended()),
            ("<ButtonPress-1>", self._pressed),
            ("<B1-Motion>", self._dragged),
            ("<ButtonRelease-1>", self._released),
            ("<Shift-ButtonPress-1>", self._extended),
            ("<Double-Button-1>", lambda event: self._open()),
            ("<Motion>", self._moved),
            ("<Leave>", self._left),
            (
                "<MouseWheel>",
                lambda event: self.scroll(-WHEEL_ROWS if event.delta > 0 else WHEEL_ROWS),
            ),
            ("<Button-4>", lambda event: self.scroll(-WHEEL_ROWS)),
            ("<Button-5>", lambda event: self.scroll(WHEEL_ROWS)),
            ("<Up>", lambda event: self._walk(-1)),
            ("<Down>", lambda event: self._walk(1)),
            ("<Shift-Up>", lambda event: self._walk(-1, extend=True)),
            ("<Shift-Down>", lambda event: self._walk(1, extend=True)),
            ("<Prior>", lambda event: self._walk(-max(1, self.rows_in_sight - 1))),
            ("<Next>", lambda event: self._walk(max(1, self.rows_in_sight - 1))),
            ("<Home>", lambda event: self._go_home()),
            ("<End>", lambda event: self.follow()),
            ("<Return>", lambda event: self._open()),
            ("<FocusIn>", lambda event: self.changed()),
            ("<FocusOut>", lambda event: self._lost_focus()),
        ):
            self.bind(sequence, act)
        theme.on_change(self, self.recolour)

    # --- what the tab calls

    def focus_quietly(self) -> None:
        """Take the keyboard; the ring shows with the first key."""
        self.is_quiet = True
        self.focus_set()

    def changed(self) -> None:
        """Draw again soon."""
        if self._pending is None:
            self._pending = self.after_idle(self.redraw)

    def recolour(self) -> None:
        """Colours changed."""
        self._boxes.clear()
        self._thumb_length = 0
        for line in self._lines:
            line.shown = None
        self.redraw()

    @property
    def rows_in_sight(self) -> int:
        """How many whole rows fit."""
        return max(1, (self.winfo_height() - self.theme.px(4)) // self.theme.px(ROW))

    @property
    def newer(self) -> int:
        """Rows below the last one in sight."""
        return max(0, len(self.view) - (self._top + self.rows_in_sight))

    @property
    def is_at_top(self) -> bool:
        """Whether the oldest row is in sight."""
        return self._top == 0

    def window_ms(self) -> tuple[int, int] | None:
        """The moments of the first and last row in sight; None when there is none."""
        count = len(self.view)
        if not count:
            return None
        first = min(self._top, count - 1)
        last = min(count - 1, self._top + self.rows_in_sight - 1)
        buffer = self.view.buffer
        return buffer[self.view.row_id(first)].at_ms, buffer[self.view.row_id(last)].at_ms

    def follow(self) -> str:
        """Go to the newest row and stay there."""
        self.following = True
        self.changed()
        self._on_scroll()
        return "break"

    def pause(self) -> None:
        """Stay where it is."""
        self.following = False
        self._remember()
        self._on_scroll()

    def scroll(self, rows: int) -> None:
        """Move by rows; upwards pauses, reaching the end follows again."""
        self._scroll_to(self._top + rows)

    def show_moment(self, at_ms: int) -> None:
        """Bring the first row at or after a moment to the top."""
        self._scroll_to(self.view.index_at(at_ms))

    def reveal(self, row_id: int, *, select: bool = True) -> None:
        """Bring a row into sight, in the middle if it is not there already."""
        index = self.view.index_of(row_id)
        if not self._top <= index < self._top + self.rows_in_sight:
            self._scroll_to(index - self.rows_in_sight // 2)
        if select:
            self.select(row_id)

    def select(self, row_id: int, *, extend: bool = False) -> None:
        """Choose a row; with ``extend`` everything from the one chosen before."""
        if not extend or self._anchor is None:
            self._anchor = row_id
        self.selected = row_id
        self.changed()
        self._on_select(row_id)

    def selected_rows(self) -> list[LogRow]:
        """The chosen rows, oldest first."""
        if self.selected is None:
            return []
        low, high = sorted(
            (self.selected, self._anchor if self._anchor is not None else self.selected)
        )
        view = self.view
        found = []
        for index in range(view.index_of(low), len(view)):
            row_id = view.row_id(index)
            if row_id > high:
                break
            found.append(view.buffer[row_id])
        return found

    def copied(self) -> str:
        """The chosen rows as lines of text."""
        return "\n".join(as_line(row) for row in self.selected_rows())

    # --- drawing

    def redraw(self) -> None:
        """Draw the rows in sight, touching only lines that show something else than before."""
        if self._pending is not None:
            self.after_cancel(self._pending)
            self._pending = None
        if self.winfo_width() <= 1:
            return
        t, view = self.theme, self.view
        count, fit = len(view), self.rows_in_sight
        last_top = max(0, count - fit)
        top = last_top if self.following else min(view.index_of(self._top_id), last_top)
        if not self.following and top == last_top and view.index_of(self._top_id) > last_top:
            top = last_top  # a filter took rows away below
        self._top = top
        if count and self.following:
            self._top_id = view.row_id(top)
        self.configure(background=t.color("surface"))
        lines = -(-self.winfo_height() // t.px(ROW))
        while len(self._lines) < lines:
            self._lines.append(_Line(self, t))
        low, high = self._range()
        for number, line in enumerate(self._lines):
            index = top + number
            if number >= lines or index >= count:
                self._clear(line)
                continue
            row_id = view.row_id(index)
            chosen = low <= row_id <= high
            self._draw(line, number, row_id, chosen, number == self._hot)
        self._draw_thumb(count, fit)
        self._draw_ring()

    def columns(self, width: int = 0) -> tuple[int, int, int | None, int | None, int]:
        """Left edges of time, level, source, type and message in pixels; None = too narrow for it."""
        px, width = self.theme.px, width or self.winfo_width()
        clock = self.theme.measure("00:00:00.000", "monos")
        level = px(15) + clock + px(16)
        at = level + px(18)
        source: int | None = None
        kind: int | None = None
        if width >= px(430):
            source, at = at, at + px(74)
        if width >= px(620):
            kind, at = at, at + px(158 if width >= px(700) else 140)
        return px(15), level, source, kind, at

    def _range(self) -> tuple[int, int]:
        if self.selected is None:
            return 0, -1
        anchor = self._anchor if self._anchor is not None else self.selected
        return min(self.selected, anchor), max(self.selected, anchor)

    def _draw(self, line: _Line, number: int, row_id: int, chosen: bool, hot: bool) -> None:
        t = self.theme
        search = self.view.search
        marked = search is not None and self.view.is_match(row_id)
        width = self.winfo_width()
        state = (row_id, chosen, hot, width, search if marked else None, t.name, t.scale)
        if line.shown == state:
            return
        line.shown = state
        row = self.view.buffer[row_id]
        px, color, put = t.px, t.color, self.itemconfigure
        height = px(ROW)
        top = number * height
        middle = top + height // 2
        x_time, x_level, x_source, x_type, x_message = self.columns()
        fill = "sel" if chosen else "error_soft" if row.level == 3 else "hover" if hot else ""
        if fill:
            shade = t.mix("surface", "hover", 0.6) if fill == "hover" else color(fill)
            self.coords(line.fill, 0, top, width, top + height)
            put(line.fill, fill=shade, state="normal")
        else:
            put(line.fill, state="hidden")
        loud = row.level >= 2
        if loud:
            put(line.box, image=self._level_box(row.level, chosen), state="normal")
            self.coords(line.box, x_level, middle)
        else:
            put(line.box, state="hidden")
        put(line.time, text=row.clock(), fill=color("text2" if chosen else "text3"), state="normal")
        put(line.letter, text=LETTERS[row.level], fill=color(COLORS[row.level]), state="normal")
        self.coords(line.time, x_time, middle)
        self.coords(line.letter, x_level, middle)
        if x_source is None:
            put(line.source, state="hidden")
        else:
            put(
                line.source,
                text=self._fitted(row.source, "small", px(66)),
                fill=color("text2"),
                state="normal",
            )
            self.coords(line.source, x_source, middle)
        if x_type is None:
            put(line.type, state="hidden")
        else:
            kind = self._fitted(row.type, "monos", x_message - x_type - px(8))
            put(
                line.type,
                text=kind,
                fill=color(COLORS[row.level] if loud else "text2"),
                state="normal",
            )
            self.coords(line.type, x_type, middle)
        dim = row.level == 0
        text = self._fitted(row.text, "small", width - x_message - px(18))
        put(
            line.message,
            text=text,
            fill=color("text3" if dim and not chosen else "text"),
            state="normal",
        )
        self.coords(line.message, x_message, middle)
        self._draw_marks(line, text if marked else "", x_message, top)

    def _draw_marks(self, line: _Line, text: str, x: int, top: int) -> None:
        t = self.theme
        places = self.view.search.places(text, MARKS) if text and self.view.search else []
        shade = t.mix("warn", "surface", 0.68)
        for number, mark in enumerate(line.marks):
            if number >= len(places):
                self.itemconfigure(mark, state="hidden")
                continue
            start, end = places[number]
            left = x + t.measure(text[:start], "small") if start else x
            right = x + t.measure(text[:end], "small")
            self.coords(mark, left - t.px(2), top + t.px(2), right + t.px(2), top + t.px(ROW - 2))
            self.itemconfigure(mark, fill=shade, state="normal")

    def _clear(self, line: _Line) -> None:
        if line.shown is None:
            return
        line.shown = None
        for item in (line.fill, line.box, *line.marks, *line.items):
            self.itemconfigure(item, state="hidden")

    def _level_box(self, level: int, chosen: bool) -> ImageTk.PhotoImage:
        found = self._boxes.get((level, chosen))
        if found is None:
            t = self.theme
            soft = "error_soft" if level == 3 else "warn_soft"
            side = t.px(17)
            found = shape(t, side, side, t.px(4), soft)
            self._boxes[level, chosen] = found
        return found

    def _fitted(self, text: str, font: FontName, width: int) -> str:
        """The text cut to a width; measured once per text, as measuring asks Tk."""
        key = (text, font, width)
        found = self._fits.get(key)
        if found is None:
            if len(self._fits) > 4_000:
                self._fits.clear()
            found = self._fits[key] = _cut(self.theme, text, font, max(1, width))
        return found

    def _draw_thumb(self, count: int, fit: int) -> None:
        t = self.theme
        if count <= fit:
            self.itemconfigure(self._thumb, state="hidden")
            return
        height = self.winfo_height()
        length = max(t.px(36), round(height * fit / count))
        if length != self._thumb_length:
            self._thumb_length = length
            self._thumb_picture = shape(t, t.px(5), length, t.px(3), "line2")
            self.itemconfigure(self._thumb, image=self._thumb_picture)
        top = round((height - length) * self._top / max(1, count - fit))
        self.coords(self._thumb, self.winfo_width() - t.px(8), top)
        self.itemconfigure(self._thumb, state="normal")
        self.tag_raise(self._thumb)

    def _draw_ring(self) -> None:
        self.delete("ring")
        t = self.theme
        if not self.is_quiet and focused(self) is self:
            frame_ring(self, t)
        if self.selected is not None and self.view.buffer.first <= self.selected:
            number = self.view.index_of(self.selected) - self._top
            is_here = 0 <= number < len(self._lines) and self._lines[number].shown is not None
            if is_here and self.view.index_of(self.selected) < len(self.view):
                top = number * t.px(ROW)
                self.create_rectangle(
                    0, top, t.px(3), top + t.px(ROW), fill=t.color("accent"), width=0, tags="ring"
                )

    # --- moving

    def _ended(self) -> None:
        if self._pending is not None:
            self.after_cancel(self._pending)
            self._pending = None

    def _remember(self) -> None:
        if len(self.view):
            self._top_id = self.view.row_id(min(self._top, len(self.view) - 1))

    def _scroll_to(self, index: int) -> None:
        last_top = max(0, len(self.view) - self.rows_in_sight)
        before = (self._top, self.following)
        self._top = max(0, min(index, last_top))
        self.following = self._top >= last_top
        self._remember()
        self.changed()
        if before != (self._top, self.following):
            self._on_scroll()

    def _lost_focus(self) -> None:
        self.is_quiet = False
        self.changed()

    def _walk(self, by: int, *, extend: bool = False) -> str:
        self.is_quiet = False
        view = self.view
        if not len(view):
            return "break"
        if self.selected is None:
            index = min(len(view) - 1, self._top + (self.rows_in_sight - 1 if by < 0 else 0))
        else:
            index = view.index_of(self.selected) + by
        index = max(0, min(len(view) - 1, index))
        if index < len(view) - 1 and self.following:
            self.pause()
        if index < self._top:
            self._scroll_to(index)
        elif index >= self._top + self.rows_in_sight:
            self._scroll_to(index - self.rows_in_sight + 1)
        self.select(view.row_id(index), extend=extend)
        return "break"

    def _go_home(self) -> str:
        self._scroll_to(0)
        if len(self.view):
            self.select(self.view.row_id(0))
        return "break"

    def _open(self) -> str:
        if self.selected is not None:
            self._on_open(self.selected)
        return "break"

    def _row_at(self, event: Any) -> int | None:
        index = self._top + event.y // self.theme.px(ROW)
        return self.view.row_id(index) if 0 <= index < len(self.view) else None

    def _pressed(self, event: Any) -> None:
        self.focus_quietly()
        is_thumb = event.x >= self.winfo_width() - self.theme.px(14)
        if is_thumb and len(self.view) > self.rows_in_sight:
            self._grab = event.y
            self._drag_to(event.y)
            return
        row_id = self._row_at(event)
        if row_id is not None:
            if self.following:
                self.pause()  # what is read must not run away
            self.select(row_id)

    def _extended(self, event: Any) -> str:
        row_id = self._row_at(event)
        if row_id is not None:
            self.select(row_id, extend=True)
        return "break"

    def _dragged(self, event: Any) -> None:
        if self._grab is not None:
            self._drag_to(event.y)

    def _released(self, event: Any) -> None:
        self._grab = None

    def _drag_to(self, y: int) -> None:
        room = max(1, self.winfo_height() - self._thumb_length)
        share = (y - self._thumb_length / 2) / room
        self._scroll_to(round(share * max(0, len(self.view) - self.rows_in_sight)))

    def _moved(self, event: Any) -> None:
        number = event.y // self.theme.px(ROW)
        if number != self._hot:
            self._hot = number
            self.changed()

    def _left(self, event: Any) -> None:
        self._hot = None
        self.changed()


def _cut(theme: Theme, text: str, font: FontName, width: int) -> str:
    """The text cut with "..." to a width, asking Tk as seldom as possible."""
    text = text.replace("\u2026", "...")
    face = theme.font(font)
    # No letter is narrower than a fifth of the font's size: more than this cannot fit anyway.
    most = max(8, round(width / max(1.0, abs(face.actual("size")) * 0.2)))
    whole = text
    text = text[:most]
    if len(whole) == len(text) and face.measure(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if face.measure(text[:middle] + "...") <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "..."
