"""A chip with two parts: what is at the left acts, the arrow at the right opens a list."""

from __future__ import annotations

import tkinter as tk
from abc import abstractmethod
from collections.abc import Callable, Sequence

from frontend.draw import Painter
from frontend.theme import Theme
from frontend.widgets.controls import RING, Control

ARROW = 22
HEIGHT = 28


class SplitChip(Control):
    """The chip; Space and Enter press it, Down opens its list.

    Args:
        master: Where it lives.
        theme: The window's theme.
        width: Design pixels without the ring, until it knows its words.
        label: What it is called.
        tip: Tooltip.
        ends: Called when it is gone: it listens no longer.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        width: float,
        *,
        label: str,
        tip: str = "",
        ends: Sequence[Callable[[], object]],
    ) -> None:
        super().__init__(master, theme, width, HEIGHT, label=label, tip=tip)
        self.configure(cursor="hand2")
        self.bind("<ButtonPress-1>", self._clicked)
        for sequence in ("<space>", "<Return>", "<KP_Enter>"):
            self.bind(sequence, lambda _: self.press())
        self.bind("<Down>", lambda _: self.open())
        self.bind("<Destroy>", lambda _: [end() for end in ends], add="+")

    @abstractmethod
    def press(self) -> str:
        """What a click at the left does."""

    @abstractmethod
    def open(self) -> str:
        """Show the list."""

    def ring_radius(self) -> float:
        return HEIGHT / 2 + RING

    def paint_arrow(self, p: Painter, w: float, h: float) -> None:
        """Draw what opens the list."""
        p.icon(RING + w - 14, RING + h / 2, "down", 13, "text3")

    def _clicked(self, event: tk.Event[tk.Misc]) -> None:
        self.focus_set()
        if event.x > self.winfo_width() - self.theme.px(ARROW + RING):
            self.open()
        else:
            self.press()
