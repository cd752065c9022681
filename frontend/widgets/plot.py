"""A live load figure: the number first, its last two minutes below it, one line of context."""

from __future__ import annotations

import tkinter as tk
from collections import deque
from collections.abc import Callable

from frontend.draw import Painter
from frontend.theme import Theme

SAMPLES = 120


class LoadPlot(tk.Canvas):
    """One card with a step plot.

    Args:
        master: The widget it lies in.
        theme: Colours, fonts and sizes.
        title: What is measured.
        color: Token of the plot.
        top: The value at the upper edge, from the samples shown.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        title: str,
        color: str,
        top: Callable[[float], float],
    ) -> None:
        super().__init__(master, highlightthickness=0, borderwidth=0)
        self.theme = theme
        self.title = title
        self.figure = ""
        self.caption = ""
        self.empty = "Waiting for the first figure"
        self.values: deque[float] = deque(maxlen=SAMPLES)
        self._color = color
        self._top = top
        self._painter = Painter(self, theme)
        theme.tint(self, background="bg")
        theme.on_change(self, self.redraw)
        self.bind("<Configure>", lambda event: self.redraw())

    def add(self, value: float, figure: str, caption: str) -> None:
        """Another sample; draw it with `redraw`."""
        self.values.append(max(0.0, value))
        self.figure = figure
        self.caption = caption

    def show_empty(self, words: str) -> None:
        """There is nothing to measure, and why."""
        self.values.clear()
        self.figure = ""
        self.caption = ""
        self.empty = words

    def redraw(self) -> None:
        """Draw figure, plot and words."""
        if self.winfo_width() <= 1:
            return
        p = self._painter
        p.clear()
        width, height = p.width, p.height
        p.card(0, 0, width, height)
        p.text(14, 18, self.title, "small", "text2")
        if not self.values:
            p.text(14, height / 2 + 8, self.empty, "small", "text3", clip=width - 24)
            return
        room = width - 28 - p.text_width(self.title, "small") - 8
        p.text(width - 14, 18, self.figure, "title", anchor="e", clip=max(10.0, room))
        has_caption = height >= 90
        low = height - (30 if has_caption else 12)
        values = [*([0.0] * (SAMPLES - len(self.values))), *self.values]
        top = max(1e-9, self._top(max(values)))
        # Two samples a column where the card is narrow: a column of less than a pixel says nothing.
        every = 2 if width < 260 else 1
        values = [max(values[at : at + every]) for at in range(0, len(values), every)]
        p.columns(14, 34, width - 28, max(8.0, low - 34), [v / top for v in values], self._color)
        if has_caption:
            p.text(14, height - 14, self.caption, "cap", "text3", clip=width - 28)
