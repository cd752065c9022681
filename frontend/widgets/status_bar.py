"""The bar at the bottom: connection, last turn, events, jobs; at the right load and key hints.

One canvas. Texts change at most four times a second, and only those that differ are touched. Parts with a command can be
clicked; each has a key as well.
"""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from dataclasses import dataclass

from frontend.draw import Painter
from frontend.theme import Theme
from frontend.widgets.tooltip import Tooltip

HEIGHT = 26
NARROW = 1120  # design pixels; below, only connection and jobs stay at the left
LEFT = ("connection", "turn", "events", "job")
RIGHT = ("keys", "commands", "gpu", "load")  # from the edge inwards


@dataclass
class _Part:
    text: str = ""
    dot: str = ""
    tip: str = ""
    color: str = ""


class StatusBar(tk.Canvas):
    """The status bar; `put` changes a part, the rest happens by itself."""

    def __init__(
        self, master: tk.Misc, theme: Theme, commands: dict[str, Callable[[], object]]
    ) -> None:
        super().__init__(master, height=theme.px(HEIGHT), highlightthickness=0, borderwidth=0)
        self._theme = theme
        self._painter = Painter(self, theme)
        self._commands = commands
        self._parts = {name: _Part() for name in (*LEFT, *RIGHT)}
        self._spots: list[tuple[float, float, str]] = []
        self._job: str | None = None
        self._tip = Tooltip(self, theme)
        self._over = ""
        theme.tint(self, background="rail")
        theme.on_change(self, self._draw)
        self.bind("<Configure>", lambda _: self._soon())
        self.bind("<ButtonRelease-1>", self._click)
        self.bind("<Motion>", self._hover)
        self.bind("<Destroy>", lambda _: self._cancel(), add="+")

    def put(self, name: str, text: str, *, dot: str = "", tip: str = "", color: str = "") -> None:
        """Show other words in a part ("connection", "turn", "events", "job", "load", "gpu", "keys", "commands")."""
        part = _Part(text, dot, tip, color)
        if self._parts[name] != part:
            self._parts[name] = part
            self._soon()

    def text_of(self, name: str) -> str:
        """What a part shows."""
        return self._parts[name].text

    def _soon(self) -> None:
        if self._job is None:
            self._job = self.after_idle(self._draw)

    def _cancel(self) -> None:
        if self._job is not None:
            self.after_cancel(self._job)
            self._job = None

    def _draw(self) -> None:
        self._cancel()
        p = self._painter
        if self.winfo_width() <= 1:
            return
        p.clear()
        self._spots = []
        width = p.width
        p.line(0, 0, width, 0)
        middle = HEIGHT / 2
        right = width - 14
        narrow = width + 72 < NARROW
        for name in RIGHT:
            part = self._parts[name]
            if not part.text or (narrow and name in ("commands", "gpu")):
                continue
            wide = p.text_width(part.text, "cap")
            p.text(right, middle, part.text, "cap", part.color or "text3", "e")
            self._spots.append((right - wide - 8, right + 8, name))
            right -= wide + 22
        x = 14.0
        for name in LEFT:
            part = self._parts[name]
            if not part.text or (narrow and name in ("turn", "events")):
                continue
            room = right - x - 20
            if room < 60:
                break
            start = x
            if x > 14:
                p.line(x, 7, x, 19, "line2")
                x += 14
            if part.dot:
                p.dot(x + 3, middle, 3.5, part.dot)
                x += 14
            shown = min(p.text_width(part.text, "cap"), room)
            p.text(x, middle, part.text, "cap", part.color or "text2", clip=room)
            x += shown + 14
            self._spots.append((start, x, name))

    def _spot(self, x: float) -> str:
        at = x / self._theme.scale
        return next((name for left, right, name in self._spots if left <= at < right), "")

    def _hover(self, event: tk.Event[tk.Misc]) -> None:
        name = self._spot(event.x)
        if name != self._over:
            self._over = name
            self._tip.hide()
            self.configure(cursor="hand2" if name in self._commands else "")
            tip = self._parts[name].tip if name else ""
            self._tip.text = tip

    def _click(self, event: tk.Event[tk.Misc]) -> None:
        command = self._commands.get(self._spot(event.x))
        if command is not None:
            command()
