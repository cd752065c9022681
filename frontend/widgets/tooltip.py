"""A line of words that appears beside a control after half a second of hovering or keyboard focus."""

from __future__ import annotations

import tkinter as tk
from typing import ClassVar

from frontend.theme import Theme

DELAY_MS = 500
FOCUS_MS = 4_000
"""How long it stays beside a control that has only the keyboard: unlike the pointer, that does not go away by itself."""

LONGEST = 600


class Tooltip:
    """Shows ``text`` for one widget; change `text` at any time, empty shows nothing.

    It is a label placed in the same window, so it needs no window manager and shows up in screenshots. One is shown at
    a time: where the pointer rests while the keyboard is elsewhere, the newer one counts.
    """

    _shown: ClassVar[Tooltip | None] = None

    def __init__(self, widget: tk.Misc, theme: Theme, text: str = "", wrap: float = 420) -> None:
        self._text = text
        self._widget = widget
        self._theme = theme
        self._wrap = wrap
        self._job: str | None = None
        self._label: tk.Label | None = None
        widget.bind("<Enter>", self._later, add="+")
        widget.bind("<FocusIn>", lambda _: self._later(stays_ms=FOCUS_MS), add="+")
        for sequence in ("<Leave>", "<FocusOut>", "<ButtonPress>", "<Key>", "<Destroy>", "<Unmap>"):
            widget.bind(sequence, self._hide, add="+")

    @property
    def text(self) -> str:
        """What it says."""
        return self._text

    @text.setter
    def text(self, text: str) -> None:
        if text == self._text:
            return
        self._text = text
        if self._label is not None and text:
            self._label.configure(text=text[:LONGEST])
        elif not text:
            self._hide()

    def show_at(self, x: int, y: int) -> None:
        """Show the text near a point of the screen now; for canvases with many spots."""
        self._hide()
        self._show(x, y)

    def hide(self) -> None:
        """Take it away."""
        self._hide()

    def _later(self, _event: object = None, stays_ms: int = 0) -> None:
        self._cancel()
        if self.text:
            self._job = self._widget.after(DELAY_MS, self._beside, stays_ms)

    def _beside(self, stays_ms: int) -> None:
        self._hide()
        widget = self._widget
        self._show(widget.winfo_rootx(), widget.winfo_rooty() + widget.winfo_height())
        if stays_ms:
            self._job = widget.after(stays_ms, self._hide)

    def _show(self, root_x: int, root_y: int) -> None:
        top = self._widget.winfo_toplevel()
        t = self._theme
        if not self.text or not top.winfo_viewable():
            return
        if Tooltip._shown is not None:
            Tooltip._shown.hide()
        Tooltip._shown = self
        label = self._label = tk.Label(
            top,
            text=self.text[:LONGEST],
            font=t.font("cap"),
            background=t.color("raised"),
            foreground=t.color("text"),
            highlightthickness=1,
            highlightbackground=t.color("line2"),
            padx=t.px(8),
            pady=t.px(4),
            justify="left",
            wraplength=t.px(self._wrap),
        )
        wide, high = label.winfo_reqwidth(), label.winfo_reqheight()
        x = root_x - top.winfo_rootx()
        y = root_y - top.winfo_rooty() + t.px(4)
        if y + high > top.winfo_height():  # above the widget instead
            y -= high + self._widget.winfo_height() + t.px(8)
        x = max(t.px(4), min(x, top.winfo_width() - wide - t.px(4)))
        label.place(x=x, y=max(0, y))
        label.lift()

    def _cancel(self) -> None:
        if self._job is not None:
            self._widget.after_cancel(self._job)
            self._job = None

    def _hide(self, _event: object = None) -> None:
        self._cancel()
        if self._label is not None:
            self._label.destroy()
            self._label = None
        if Tooltip._shown is self:
            Tooltip._shown = None
