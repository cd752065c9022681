"""The conflict timeline as a list: every line in words, newest first; for the keyboard, for reading, and for copying.

It stands still while somebody reads it: a line that comes meanwhile is counted, and shown when the list is back at its top.
"""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable

from backend.contracts.avatar import CueEntry, CueOutcome
from frontend.theme import Theme
from frontend.timeline import OUTCOMES, Timeline, owner_words
from frontend.widgets.row_list import RowList

ROW_HEIGHT = 26
LOOKS: dict[CueOutcome, tuple[str, str]] = {
    "scheduled": ("clock", "text2"),
    "shown": ("check", "ok"),
    "resumed": ("check", "ok"),
    "waiting": ("pause", "warn"),
    "preempted": ("hand", "warn"),
    "expired": ("clock", "text3"),
    "finished": ("check", "text3"),
    "released": ("check", "text3"),
    "refused": ("x", "error"),
    "dropped": ("x", "error"),
}
"""Outcome to icon and colour; the words beside it say the same."""


class CueList(RowList):
    """The lines of a timeline.

    Args:
        master: Where it lives.
        theme: The window's theme.
        timeline: What is listed.
        picked: Called with the line that was chosen.
        opened: Called with a line on Enter.
        held: Called when the number of lines not shown yet has changed.
    """

    row_height = float(ROW_HEIGHT)

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        timeline: Timeline,
        *,
        picked: Callable[[CueEntry], object],
        opened: Callable[[CueEntry], object],
        held: Callable[[int], object],
    ) -> None:
        super().__init__(master, theme)
        self.timeline = timeline
        self.label = "What became of each request, newest first"
        self.lines: list[CueEntry] = []
        self._picked = picked
        self._opened = opened
        self._held = held
        self._shown_total = 0
        self._is_near = False
        self.bind("<Enter>", lambda _: self._near(True), add="+")
        self.bind("<Leave>", lambda _: self._near(False), add="+")

    @property
    def waiting(self) -> int:
        """Lines that came and are not shown yet."""
        return self.timeline.total - self._shown_total

    def refresh(self, *, force: bool = False) -> None:
        """Take what came, unless somebody reads."""
        is_read = self._offset > 0 or self.current > 0 or self._is_near
        if force or not self.lines or not is_read or not self.timeline.lines:
            self._shown_total = self.timeline.total
            self.lines = list(reversed(self.timeline.lines))
            if force:
                self.current = 0
                self._offset = 0.0
        self._held(self.waiting)
        self.changed()

    def show_entry(self, entry: CueEntry) -> None:
        """Make a line the current one, where it is listed."""
        if entry not in self.lines:
            self.refresh(force=True)
        if entry in self.lines:
            self.current = self.lines.index(entry)
            self.reveal(self.current)

    def count(self) -> int:
        return len(self.lines)

    def chosen(self, number: int) -> None:
        self._picked(self.lines[number])

    def act(self, number: int, key: str) -> None:
        if key in ("<Return>", "<space>"):
            self._opened(self.lines[number])

    def tip_of(self, number: int) -> str:
        return line_words(self.lines[number])

    def paint_row(self, number: int, y: float, width: float) -> None:
        p = self.painter
        entry = self.lines[number]
        middle = y + ROW_HEIGHT / 2
        icon, color = LOOKS.get(entry.outcome, ("info", "text2"))
        p.text(10, middle, f"{entry.at.astimezone():%H:%M:%S.%f}"[:12], "monos", "text3")
        p.icon(110, middle, icon, 13, color, 2)
        p.text(124, middle, OUTCOMES.get(entry.outcome, entry.outcome), "cap", color, clip=120)
        name = "face" if entry.kind == "expression" else "motion"
        p.text(250, middle, name, "cap", "text3", clip=50)
        p.text(298, middle, entry.name, "smallb", clip=96)
        at = 400.0
        words = f"{owner_words(entry.owner)}, priority {entry.priority}"
        if entry.by:
            words += f"; {_yields_to(entry)}"
        if entry.sentence is not None:
            words += f"; sentence {entry.sentence}"
        if entry.reason and not entry.by:
            words += f"; {entry.reason}"
        if width - at > 40:
            p.text(at, middle, words, "cap", "text2", clip=width - at - 10)

    def paint(self) -> None:
        super().paint()
        if not self.lines:
            p = self.painter
            p.icon(p.width / 2, p.height / 2 - 16, "person", 24, "text3")
            words = (
                "Nobody has asked for a face or a motion yet. Press one above, or let her speak."
            )
            p.text(p.width / 2, p.height / 2 + 6, words, "small", "text2", "n", width=p.width - 40)

    def _near(self, is_near: bool) -> None:
        self._is_near = is_near
        if not is_near:
            self.refresh()


def line_words(entry: CueEntry) -> str:
    """A line as one sentence."""
    kind = "Expression" if entry.kind == "expression" else "Motion"
    words = f"{entry.at.astimezone():%H:%M:%S}  {kind} {entry.name} of {owner_words(entry.owner)}"
    words += f" ({entry.priority}): {OUTCOMES.get(entry.outcome, entry.outcome)}"
    if entry.by:
        words += f", {_yields_to(entry)}"
    elif entry.reason:
        words += f", {entry.reason}"
    return words


def _yields_to(entry: CueEntry) -> str:
    return (
        f"to {entry.reason} of {owner_words(entry.by)}"
        if entry.reason
        else f"to {owner_words(entry.by)}"
    )
