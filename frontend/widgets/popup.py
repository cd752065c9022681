"""A list that opens over the window: drop-down, character picker, command palette and menus are all this one.

It is a frame placed inside the window, not a window of its own: no window manager is needed, it cannot be left behind,
and it appears in screenshots. It holds the pointer while open (a click elsewhere closes it) and gives the focus back.
"""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from PIL import ImageTk

from frontend.draw import Painter
from frontend.theme import Theme
from frontend.widgets.focus import focused

ROW = 30
TALL_ROW = 46
MARGIN = 6


@dataclass(frozen=True)
class Choice:
    """One row.

    Attributes:
        value: What is handed back.
        title: What is shown.
        detail: A second, smaller line.
        icon: Name of an icon before the words.
        hint: Words at the right end, such as a key.
        picture: A picture instead of the icon.
        heading: True for a row that only names a group.
    """

    value: str
    title: str
    detail: str = ""
    icon: str = ""
    hint: str = ""
    picture: ImageTk.PhotoImage | None = field(default=None, compare=False)
    heading: bool = False


class Picker(tk.Frame):
    """An open list.

    Args:
        owner: The control it belongs to; it opens below it (above where there is more room).
        theme: The window's theme.
        choices: Its rows.
        command: Called with the chosen value after the list has closed.
        value: Marked with a check mark; None = no row is.
        search: Words of an empty search field; empty = no field.
        width: Design pixels; 0 = as wide as the owner or the longest row.
        at: "owner", or "top" for the upper middle of the window.
        place: A part of the owner it belongs to instead of the whole: x, y and height in real pixels.
    """

    def __init__(
        self,
        owner: tk.Misc,
        theme: Theme,
        choices: Sequence[Choice],
        command: Callable[[str], object],
        *,
        value: str | None = None,
        search: str = "",
        width: float = 0,
        at: Literal["owner", "top"] = "owner",
        place: tuple[int, int, int] | None = None,
    ) -> None:
        top = owner.winfo_toplevel()
        super().__init__(top, highlightthickness=1)
        self.choices = list(choices)
        self.shown: list[Choice] = []
        self.row = -1
        self._theme = theme
        self._command = command
        self._value = value
        self._owner = owner
        self._before = focused(top)
        self._at = at
        self._part = place
        self._offset = 0
        self._search: tk.Entry | None = None
        theme.tint(self, background="surface", highlightbackground="line2", highlightcolor="line2")
        self._width = theme.px(width) or self._natural_width()
        if search:
            self._add_search(search)
        self._canvas = tk.Canvas(self, highlightthickness=0, borderwidth=0, takefocus=1)
        theme.tint(self._canvas, background="surface")
        self._canvas.pack(fill="both", expand=True, padx=0, pady=theme.px(4))
        self._painter = Painter(self._canvas, theme)
        self._rows: list[tuple[int, int]] = []
        self._filter("")
        self._place()
        keys: tk.Misc = self._search or self._canvas
        keys.focus_force()
        for sequence, step in (("<Up>", -1), ("<Down>", 1), ("<Prior>", -8), ("<Next>", 8)):
            keys.bind(sequence, lambda _, step=step: self._move(step))  # type: ignore[misc]  # a lambda that keeps its loop variable
        keys.bind("<Return>", lambda _: self._take())
        keys.bind("<KP_Enter>", lambda _: self._take())
        keys.bind("<Escape>", lambda _: self.close())
        keys.bind("<Tab>", lambda _: self.close())
        if self._search is None:
            keys.bind("<space>", lambda _: self._take())
            keys.bind("<Key>", self._jump)
        self._canvas.bind("<Motion>", self._hover)
        self._canvas.bind("<ButtonRelease-1>", self._click)
        for sequence, step in (("<Button-4>", -2), ("<Button-5>", 2)):
            self._canvas.bind(sequence, lambda _, step=step: self._scroll(step))  # type: ignore[misc]  # a lambda that keeps its loop variable
        self._canvas.bind("<MouseWheel>", lambda event: self._scroll(-2 if event.delta > 0 else 2))
        self._canvas.bind("<Configure>", lambda _: self._draw())
        self.bind("<ButtonPress-1>", self._outside)
        top.update_idletasks()
        if self.winfo_viewable():
            self.grab_set()
        else:
            self.after(20, self._grab)

    def close(self) -> str:
        """Close without a choice."""
        self.grab_release()
        before = self._before
        self.destroy()
        if before is not None and before.winfo_exists():
            before.focus_set()
        return "break"

    def _grab(self) -> None:
        if self.winfo_exists() and self.winfo_viewable():
            self.grab_set()

    def _add_search(self, words: str) -> None:
        t = self._theme
        holder = tk.Frame(self)
        t.tint(holder, background="surface")
        holder.pack(fill="x", padx=t.px(12), pady=(t.px(10), t.px(4)))
        text = tk.StringVar(self)
        entry = self._search = tk.Entry(
            holder,
            textvariable=text,
            font=t.font("body"),
            relief="flat",
            highlightthickness=0,
            borderwidth=0,
        )
        entry.label = words  # type: ignore[attr-defined]  # its name for people who cannot see it
        t.tint(entry, background="surface", foreground="text", insertbackground="accent")
        entry.pack(fill="x", ipady=t.px(4))
        ghost = tk.Label(entry, text=words, font=t.font("body"), borderwidth=0, cursor="xterm")
        t.tint(ghost, background="surface", foreground="text3")
        ghost.place(x=t.px(2), rely=0.5, anchor="w")
        ghost.bind("<ButtonPress-1>", lambda _: entry.focus_set())
        line = tk.Frame(self, height=1)
        t.tint(line, background="line")
        line.pack(fill="x")

        def changed(*_: object) -> None:
            if text.get():
                ghost.place_forget()
            else:
                ghost.place(x=t.px(2), rely=0.5, anchor="w")
            self._filter(text.get())
            self._place()

        text.trace_add("write", changed)
        self._text = text

    def _natural_width(self) -> int:
        t = self._theme
        widest = 0
        for choice in self.choices:
            extra = 30 if choice.picture else 24 if choice.icon else 0
            words = max(t.measure(choice.title[:80], "small"), t.measure(choice.detail[:80], "cap"))
            hint = t.measure(choice.hint, "cap") + t.px(24) if choice.hint else 0
            widest = max(widest, words + hint + t.px(extra + 54))
        owner = self._owner.winfo_width()
        room = self._owner.winfo_toplevel().winfo_width() - t.px(16)
        return max(t.px(120), min(max(widest, owner), t.px(520), room))

    def _height(self, choice: Choice) -> int:
        return self._theme.px(TALL_ROW if choice.detail else 26 if choice.heading else ROW)

    def _filter(self, text: str) -> None:
        words = text.casefold().split()
        self.shown = [
            choice
            for choice in self.choices
            if all(word in f"{choice.title} {choice.detail}".casefold() for word in words)
            and not (words and choice.heading)
        ]
        if words:
            # Enter takes the first: what begins with the words is meant, not a Panic that mentions them.
            start = " ".join(words)
            self.shown.sort(key=lambda choice: not choice.title.casefold().startswith(start))
        chosen = [number for number, choice in enumerate(self.shown) if choice.value == self._value]
        usable = [number for number, choice in enumerate(self.shown) if not choice.heading]
        self.row = chosen[0] if chosen and not words else usable[0] if usable else -1
        self._offset = 0

    def _place(self) -> None:
        t = self._theme
        top = self._owner.winfo_toplevel()
        wanted = sum(self._height(choice) for choice in self.shown) or t.px(ROW)
        extra = t.px(8) + 2 + (t.px(49) if self._search else 0)
        if self._at == "top":
            x = (top.winfo_width() - self._width) // 2
            y = t.px(64)
            room = top.winfo_height() - y - t.px(40)
            high = min(wanted + extra, room, t.px(460))
        else:
            x = self._owner.winfo_rootx() - top.winfo_rootx()
            over = self._owner.winfo_rooty() - top.winfo_rooty()
            under = over + self._owner.winfo_height()
            if self._part is not None:
                left, above, tall = self._part
                x, over = x + left, over + above
                under = over + tall
            below = top.winfo_height() - under - t.px(8)
            high = min(wanted + extra, max(below, over - t.px(8)), t.px(640))
            y = under if high <= below else over - high
        x = max(t.px(4), min(x, top.winfo_width() - self._width - t.px(4)))
        self.place(x=x, y=max(0, y), width=self._width, height=high)
        self.lift()
        self.update_idletasks()
        self._see()
        self._draw()

    def _draw(self) -> None:
        p, t = self._painter, self._theme
        p.clear()
        self._rows = []
        wide = p.width
        y = 0
        bottom = self._canvas.winfo_height()
        if not self.shown:
            p.text(14, ROW / 2, "Nothing fits these words.", "small", "text3")
        for number, choice in enumerate(self.shown[self._offset :], self._offset):
            high = self._height(choice)
            if y >= bottom:
                break
            self._rows.append((y, number))
            self._draw_row(choice, number == self.row, y / t.scale, high / t.scale, wide)
            y += high
        total = len(self.shown)
        if self._offset or y > bottom:
            share = len(self._rows) / total
            span = p.height
            p.box(wide - 6, self._offset / total * span, 4, max(16, share * span), "line2", None, 2)

    def _draw_row(self, choice: Choice, current: bool, y: float, high: float, wide: float) -> None:
        p = self._painter
        if choice.heading:
            p.text(14, y + high / 2 + 2, choice.title, "cap", "text3", clip=wide - 28)
            return
        if current:
            p.box(MARGIN, y, wide - 2 * MARGIN, high, "sel", None, 6)
        x = 14.0
        middle = y + high / 2
        if choice.picture is not None:
            p.image(x, middle, choice.picture, "w")
            x += choice.picture.width() / self._theme.scale + 10
        elif choice.icon:
            p.icon(x + 8, middle, choice.icon, 16, "accent" if current else "text2")
            x += 26
        right = wide - 14
        if choice.hint:
            p.text(right, middle, choice.hint, "cap", "text3", "e")
            right -= p.text_width(choice.hint, "cap") + 10
        if choice.value == self._value:
            p.icon(right - 7, middle, "check", 14, "accent", 2)
            right -= 24
        if choice.detail:
            p.text(x, middle - 9, choice.title, "small", "text", clip=right - x)
            p.text(x, middle + 9, choice.detail, "cap", "text3", clip=right - x)
        else:
            p.text(x, middle, choice.title, "small", "text", clip=right - x)

    def _move(self, step: int) -> str:
        row = self.row
        while self.shown:
            row = max(0, min(len(self.shown) - 1, row + step))
            if not self.shown[row].heading:
                self.row = row
                break
            if row in (0, len(self.shown) - 1):
                break
            step = 1 if step > 0 else -1
        self._see()
        self._draw()
        return "break"

    def _see(self) -> None:
        """Scroll so that the current row is visible."""
        if self.row < 0:
            return
        bottom = self._canvas.winfo_height()
        self._offset = min(self._offset, self.row)
        while self._offset < self.row and bottom > 1:
            used = sum(self._height(c) for c in self.shown[self._offset : self.row + 1])
            if used <= bottom:
                break
            self._offset += 1

    def _scroll(self, step: int) -> str:
        total = sum(self._height(choice) for choice in self.shown)
        if total > self._canvas.winfo_height():
            last = len(self.shown) - 1
            self._offset = max(0, min(last, self._offset + step))
            while self._offset and (
                sum(self._height(c) for c in self.shown[self._offset - 1 :])
                <= self._canvas.winfo_height()
            ):
                self._offset -= 1
            self._draw()
        return "break"

    def _row_at(self, y: int) -> int:
        for top, number in reversed(self._rows):
            if y >= top:
                inside = y < top + self._height(self.shown[number])
                return number if inside and not self.shown[number].heading else -1
        return -1

    def _hover(self, event: tk.Event[tk.Misc]) -> None:
        row = self._row_at(event.y)
        if row >= 0 and row != self.row:
            self.row = row
            self._draw()

    def _click(self, event: tk.Event[tk.Misc]) -> None:
        row = self._row_at(event.y)
        if row >= 0 and 0 <= event.x < self._canvas.winfo_width():
            self.row = row
            self._take()

    def _jump(self, event: tk.Event[tk.Misc]) -> str | None:
        """A letter goes to the next row that begins with it."""
        letter = event.char.casefold()
        if not letter or not letter.isprintable():
            return None
        order = [*range(self.row + 1, len(self.shown)), *range(self.row + 1)]
        for number in order:
            choice = self.shown[number]
            if choice.title.casefold().startswith(letter) and not choice.heading:
                self.row = number
                self._see()
                self._draw()
                break
        return "break"

    def _take(self) -> str:
        if 0 <= self.row < len(self.shown):
            value = self.shown[self.row].value
            self.close()
            self._command(value)
        return "break"

    def _outside(self, event: tk.Event[tk.Misc]) -> None:
        inside = 0 <= event.x < self.winfo_width() and 0 <= event.y < self.winfo_height()
        if event.widget is self and not inside:
            self.close()
