"""Chips set in lines, like words: as many as there are, one of them marked."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence

from frontend.theme import Theme
from frontend.widgets.controls import Chip

LONGEST = 20


class ChipFlow(tk.Frame):
    """A chip per name; pressing one calls ``command`` with its name.

    Args:
        master: Where it lives.
        theme: The window's theme.
        command: Called with the name that was pressed.
        surface: Token of what lies behind.
        tip: Words beside a chip, made of its name.
        width: Design pixels it is thought to have before it is shown.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        command: Callable[[str], object],
        *,
        surface: str,
        tip: Callable[[str], str] = lambda name: "",
        width: float = 280,
    ) -> None:
        super().__init__(master, height=1)
        self.names: tuple[str, ...] = ()
        self.marked = ""
        self.chips: dict[str, Chip] = {}
        self._theme = theme
        self._command = command
        self._surface = surface
        self._tip = tip
        self._width = width
        self._usable = True
        theme.tint(self, background=surface)
        self.bind("<Configure>", lambda _: self._flow())

    def show(self, names: Sequence[str], marked: str = "") -> None:
        """Offer these names; ``marked`` is the one that holds now."""
        if tuple(names) != self.names:
            self.names = tuple(names)
            for chip in self.chips.values():
                chip.destroy()
            self.chips = {}
            for name in self.names:
                chip = Chip(
                    self,
                    self._theme,
                    name[:LONGEST],
                    lambda _, name=name: self._pressed(name),  # type: ignore[misc]  # a lambda that keeps its loop variable
                    surface=self._surface,
                    tip=self._tip(name),
                )
                chip.enable(self._usable)
                self.chips[name] = chip
            self._flow()
        self.mark(marked)

    def mark(self, name: str) -> None:
        """Another one holds now."""
        self.marked = name
        for key, chip in self.chips.items():
            chip.set(key == name)

    def enable(self, usable: bool) -> None:
        """Let the chips be pressed or not."""
        self._usable = usable
        for chip in self.chips.values():
            chip.enable(usable)

    def _pressed(self, name: str) -> None:
        self.mark(self.marked)  # what holds is told by events, not by the press
        self._command(name)

    def _flow(self) -> None:
        room = self.winfo_width()
        if room <= 1:
            room = self._theme.px(self._width)
        x = y = high = 0
        for chip in self.chips.values():
            wide, high = chip.winfo_reqwidth(), chip.winfo_reqheight()
            if x and x + wide > room:
                x, y = 0, y + high
            chip.place(x=x, y=y)
            x += wide
        if int(self.cget("height")) != max(1, y + high):
            self.configure(height=max(1, y + high))
