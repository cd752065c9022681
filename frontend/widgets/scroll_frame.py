"""A frame that scrolls when its content is higher than its place."""

from __future__ import annotations

import tkinter as tk

from frontend.theme import Theme
from frontend.widgets.controls import Scrollbar
from frontend.widgets.focus import focused


class ScrollFrame(tk.Frame):
    """Put widgets into `inner`; the wheel and the keyboard focus scroll it."""

    def __init__(self, master: tk.Misc, theme: Theme, surface: str = "bg") -> None:
        super().__init__(master)
        theme.tint(self, background=surface)
        self._canvas = tk.Canvas(self, highlightthickness=0, borderwidth=0, yscrollincrement=1)
        theme.tint(self._canvas, background=surface)
        bar = Scrollbar(self, theme, self._canvas.yview, surface=surface, width=8)
        bar.pack(side="right", fill="y")
        self._canvas.pack(side="left", fill="both", expand=True)
        self._canvas.configure(yscrollcommand=bar.set)
        self.inner = tk.Frame(self._canvas)
        theme.tint(self.inner, background=surface)
        self._window = self._canvas.create_window(0, 0, window=self.inner, anchor="nw")
        self._theme = theme
        self._canvas.bind("<Configure>", lambda e: self._fit(e.width))
        self.inner.bind("<Configure>", lambda _: self._measure())
        top = self.winfo_toplevel()
        for sequence in ("<Button-4>", "<Button-5>", "<MouseWheel>"):
            top.bind(sequence, self._wheel, add="+")
        top.bind("<FocusIn>", self._focused, add="+")

    def see(self, widget: tk.Misc) -> None:
        """Scroll until a widget inside is visible."""
        self.update_idletasks()
        top = widget.winfo_rooty() - self.inner.winfo_rooty()
        bottom = top + widget.winfo_height()
        first = self._canvas.canvasy(0)
        high = self._canvas.winfo_height()
        total = max(1, self.inner.winfo_reqheight())
        if top < first:
            self._canvas.yview_moveto(max(0, top - self._theme.px(12)) / total)
        elif bottom > first + high:
            self._canvas.yview_moveto((bottom + self._theme.px(12) - high) / total)

    def to_top(self) -> None:
        """Scroll to the beginning."""
        self._canvas.yview_moveto(0.0)

    @property
    def scrolled(self) -> float:
        """Pixels scrolled away at the top."""
        return float(self._canvas.canvasy(0))

    def scroll_to(self, scrolled: float) -> None:
        """Scroll to where it was `scrolled` before, once the content put in since has its size."""
        self.update_idletasks()
        self._canvas.yview_moveto(scrolled / max(1, self.inner.winfo_reqheight()))

    def _fit(self, width: int) -> None:
        self._canvas.itemconfigure(self._window, width=width)
        self._measure()

    def _measure(self) -> None:
        high = self.inner.winfo_reqheight()
        self._canvas.configure(scrollregion=(0, 0, 1, high))
        if high <= self._canvas.winfo_height():
            self._canvas.yview_moveto(0.0)

    def _holds(self, widget: object) -> bool:
        return str(widget).startswith(f"{self.inner}.") or widget in (self.inner, self._canvas)

    def _wheel(self, event: tk.Event[tk.Misc]) -> None:
        if not self.winfo_exists() or not self._holds(event.widget):
            return
        if self.inner.winfo_reqheight() <= self._canvas.winfo_height():
            return
        step = self._theme.px(48)
        up = event.num == 4 or event.delta > 0
        self._canvas.yview_scroll(-step if up else step, "units")

    def _focused(self, event: tk.Event[tk.Misc]) -> None:
        if not self.winfo_exists() or event.widget is self._canvas or not self._holds(event.widget):
            return
        # Tk tells the frames around the focus as well: scrolling to them would hide what is above.
        if focused(self) is event.widget:
            self.see(event.widget)
