"""A list of equal rows in a card: only the rows in sight are drawn, one of them is current, keys act on it."""

from __future__ import annotations

import tkinter as tk
from abc import abstractmethod
from typing import Any

from frontend.theme import Theme
from frontend.widgets.focus import focused, frame_ring
from frontend.widgets.panel import Panel


class RowList(Panel):
    """Base of lists of any length; a subclass says how many rows there are and draws one.

    Attributes:
        current: Number of the current row.
    """

    row_height = 49.0

    def __init__(self, master: tk.Misc, theme: Theme, surface: str = "surface") -> None:
        super().__init__(master, theme, surface)
        self.current = 0
        self._offset = 0.0
        self._wanted: int | None = None
        self._grip: float | None = None
        for sequence, act in (
            ("<Up>", lambda event: self.walk(-1)),
            ("<Down>", lambda event: self.walk(1)),
            ("<Prior>", lambda event: self.walk(-self._page_rows())),
            ("<Next>", lambda event: self.walk(self._page_rows())),
            ("<Home>", lambda event: self.walk(-(10**9))),
            ("<End>", lambda event: self.walk(10**9)),
            ("<Return>", lambda event: self._keyed("<Return>")),
            ("<KP_Enter>", lambda event: self._keyed("<Return>")),
            ("<space>", lambda event: self._keyed("<space>")),
            ("<Delete>", lambda event: self._keyed("<Delete>")),
            ("<Left>", lambda event: "break"),
            ("<Right>", lambda event: "break"),
        ):
            self.bind(sequence, act)

    # --- for subclasses

    @abstractmethod
    def count(self) -> int:
        """How many rows there are."""

    @abstractmethod
    def paint_row(self, number: int, y: float, width: float) -> None:
        """Draw a row; its fill and zone are there already."""

    def act(self, number: int, key: str) -> None:
        """A key was pressed on a row: <Return>, <space> or <Delete>."""

    def fill_of(self, number: int) -> str | None:
        """Token of a row's fill; None for that of the list."""
        return "sel" if number == self.current else None

    def tip_of(self, number: int) -> str:
        """Words beside a row."""
        return ""

    def chosen(self, number: int) -> None:
        """Another row has become the current one."""

    # --- drawing

    def paint(self) -> None:
        count, high = self.count(), self.row_height
        self.current = max(0, min(self.current, count - 1))
        view = self.painter.height
        if self._wanted is not None:
            top = self._wanted * high
            if not self._offset <= top <= self._offset + view - high:
                # Far away: to the middle; one step further: just into sight.
                is_near = abs(top - self._offset) < 2 * view
                above = top < self._offset
                self._offset = (top if above else top + high - view) if is_near else top - view / 2
            self._wanted = None
        self._offset = max(0.0, min(self._offset, count * high - view))
        is_high = count * high > view
        width = self.painter.width - (12 if is_high else 0)
        first = int(self._offset // high)
        for number in range(first, min(count, int((self._offset + view) // high) + 1)):
            y = number * high - self._offset
            self.add_row(
                f"row:{number}", 0, y, width, high, lambda number=number: self.choose(number),  # type: ignore[misc]  # a lambda that keeps its loop variable
                fill=self.fill_of(number), tip=self.tip_of(number),
            )  # fmt: skip
            self.paint_row(number, y, width)
            if number == self.current and focused(self) is self:
                self.painter.rect(0, y, 3, high, "accent")
        if is_high:
            length = max(30.0, view * view / (count * high))
            top = (view - length) * self._offset / (count * high - view)
            self.painter.box(width + 4, top, 5, length, "line2", None, 3)

    def choose(self, number: int) -> None:
        """Make a row the current one."""
        self.current = number
        self.chosen(number)
        self.changed()

    def walk(self, by: int) -> str:
        """Move the current row, and bring it into sight."""
        self.is_quiet = False
        count = self.count()
        if count:
            number = max(0, min(count - 1, self.current + by))
            self.reveal(number)
            self.choose(number)
        return "break"

    def reveal(self, number: int) -> None:
        """Scroll so that a row is in sight."""
        self._wanted = number  # done when drawn: until then the height may not be known
        self.changed()

    def row_surface(self) -> str:
        return self.surface

    # --- inside

    def _page_rows(self) -> int:
        return max(1, int(self.painter.height // self.row_height) - 1)

    def _keyed(self, key: str) -> str:
        if self.count():
            self.act(self.current, key)
        return "break"

    def _ring(self) -> None:
        """The list as a whole has the focus; its current row is marked."""
        self.delete("ring")
        if not self.is_quiet and focused(self) is self:
            frame_ring(self, self.theme)

    def _scroll_by(self, length: float) -> None:
        before = self._offset
        most = max(0.0, self.count() * self.row_height - self.painter.height)
        self._offset = max(0.0, min(most, self._offset + length))
        if self._offset != before:
            self._hover(None)
            self.changed()

    def _pressed(self, event: Any) -> None:
        most = self.count() * self.row_height - self.painter.height
        if most > 0 and event.x >= self.winfo_width() - self.theme.px(12):
            self._hide_tip()
            self.focus_quietly()
            self._grip = float(event.y)
            self._drag_to(event.y)
            return
        super()._pressed(event)

    def _dragged(self, event: Any) -> None:
        if self._grip is not None:
            self._drag_to(event.y)

    def _released(self, event: Any) -> None:
        self._grip = None

    def _drag_to(self, y: int) -> None:
        view = self.painter.height
        share = y / self.theme.scale / max(1.0, view)
        self._scroll_by(share * self.count() * self.row_height - view / 2 - self._offset)
