"""A page that scrolls as a whole when the window is lower than its cards need.

Cards are children of `body`, placed by the owner's ``arrange(width, height)``, which returns the height it used. A wheel
turned over a card that has nothing to scroll itself moves the page.
"""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from typing import Any

from frontend.theme import Theme
from frontend.widgets.controls import Scrollbar

Arrange = Callable[[float, float], float]


class ScrollPage(tk.Frame):
    """The page; ``arrange`` gets its size in design pixels and returns the height needed."""

    def __init__(self, master: tk.Misc, theme: Theme, arrange: Arrange) -> None:
        super().__init__(master, borderwidth=0, highlightthickness=0)
        self.theme = theme
        self.body = tk.Frame(self, borderwidth=0, highlightthickness=0)
        self._arrange = arrange
        self._offset = 0
        self._needed = 0
        self._job: str | None = None
        self._bar = Scrollbar(self, theme, self._bar_moved)
        theme.tint(self, background="bg")
        theme.tint(self.body, background="bg")
        self.bind("<Configure>", lambda event: self.arrange_soon())
        self.bind("<Destroy>", self._ended)

    def arrange_soon(self) -> None:
        """Place the cards again before Tk goes idle; many calls make one."""
        if self._job is None:
            self._job = self.after_idle(self.arrange)

    def arrange(self) -> None:
        """Place the cards now."""
        if self._job is not None:
            self.after_cancel(self._job)
            self._job = None
        width, height = self.winfo_width(), self.winfo_height()
        if width <= 1:
            return
        scale = self.theme.scale
        self._needed = max(height, self.theme.px(self._arrange(width / scale, height / scale)))
        self._move(self._offset)

    def watch_wheel(self) -> None:
        """Let the wheel move the page from every card; call when all cards are there."""
        tag = f"ScrollPage{id(self)}"
        self.bind_class(
            tag, "<MouseWheel>", lambda event: self.scroll(-60 if event.delta > 0 else 60)
        )
        self.bind_class(tag, "<Button-4>", lambda event: self.scroll(-60))
        self.bind_class(tag, "<Button-5>", lambda event: self.scroll(60))
        self.bind_class(tag, "<FocusIn>", lambda event: self.see(event.widget))

        def mark(widget: tk.Misc) -> None:
            if tag not in widget.bindtags():
                widget.bindtags((*widget.bindtags(), tag))
            for child in widget.winfo_children():
                mark(child)

        mark(self.body)

    def scroll(self, length: float) -> None:
        """Move by design pixels."""
        self._move(self._offset + self.theme.px(length))

    def see(self, widget: tk.Misc) -> None:
        """Bring the card that holds a widget into sight, from its top where it is higher than the page.

        A widget that can be seen as a whole moves nothing.
        """
        above = widget.winfo_rooty() - self.winfo_rooty()
        if above >= 0 and above + widget.winfo_height() <= self.winfo_height():
            return
        card = widget
        while card.master is not None and card.master is not self.body:
            card = card.master
        if card.master is not self.body:
            return
        top, bottom = card.winfo_y(), card.winfo_y() + card.winfo_height()
        if top < self._offset:
            self._move(top - self.theme.px(12))
        elif bottom > self._offset + self.winfo_height():
            edge = self.theme.px(12)
            self._move(min(top - edge, bottom - self.winfo_height() + edge))

    def _move(self, offset: int) -> None:
        view = self.winfo_height()
        self._offset = max(0, min(offset, self._needed - view))
        self.body.place(x=0, y=-self._offset, width=self.winfo_width(), height=self._needed)
        if self._needed > view:
            wide = self.theme.px(10)
            self._bar.place(x=self.winfo_width() - wide, y=0, width=wide, height=view)
            tk.Misc.tkraise(self._bar)  # a canvas' own raises its items
            self._bar.set(self._offset / self._needed, (self._offset + view) / self._needed)
        else:
            self._bar.place_forget()

    def _bar_moved(self, what: str, amount: Any, *_unit: object) -> None:
        if what == "moveto":
            self._move(round(float(amount) * self._needed))
        else:
            self.scroll(40 * float(amount))

    def _ended(self, event: Any) -> None:
        if event.widget is self and self._job is not None:
            self.after_cancel(self._job)


def put(theme: Theme, widget: tk.Widget, x: float, y: float, width: float, height: float) -> None:
    """Place a widget by design pixels."""
    px = theme.px
    widget.place(
        x=px(x),
        y=px(y),
        width=max(1, px(x + width) - px(x)),
        height=max(1, px(y + height) - px(y)),
    )
