"""Who is answered next: rank, words, why it stands there, how long it has waited; answer it now or skip it."""

from __future__ import annotations

import tkinter as tk
from typing import Any

from backend.contracts.audience import QueuedMessage
from frontend.audience import Audience, plain, reasons_of, seconds
from frontend.theme import Theme
from frontend.widgets.focus import focused
from frontend.widgets.row_list import RowList

ROW_HEIGHT = 41


class QueueList(RowList):
    """The queue, best first.

    Attributes:
        max_wait_s: After this a message is too old; the bar at its right is full then.
    """

    row_height = float(ROW_HEIGHT)

    def __init__(self, master: tk.Misc, theme: Theme, audience: Audience) -> None:
        super().__init__(master, theme)
        self.label = "Queue, next first"
        self.rows: tuple[QueuedMessage, ...] = ()
        self.max_wait_s = 20.0
        self._audience = audience
        self._came_s = 0.0
        self._hot_row = -1
        self.bind("<Motion>", self._near, add="+")
        self.bind("<Leave>", lambda _: self._left(), add="+")
        self.bind("<Key-n>", lambda _: self._keyed("<Return>"))

    def refresh(self) -> None:
        """Take the queue as it is now; the chosen message stays chosen."""
        rows = self._audience.queue.waiting
        if rows is self.rows:
            return
        chosen = self.rows[self.current].message.id if self.current < len(self.rows) else ""
        self.rows, self._came_s = rows, self._audience.clock()
        ids = [item.message.id for item in rows]
        if chosen in ids and focused(self) is self:
            self.current = ids.index(chosen)
        self.changed()

    def count(self) -> int:
        return len(self.rows)

    def fill_of(self, number: int) -> str | None:
        return "sel" if number == self.current and focused(self) is self else None

    def tip_of(self, number: int) -> str:
        item = self.rows[number]
        return (
            f"{plain(item.message.viewer.name, 60)}: {plain(item.message.text)}\n"
            f"{item.score:.0f} points: {reasons_of(item)}"
        )

    def act(self, number: int, key: str) -> None:
        one = self.rows[number].message.id
        if key == "<Return>":
            self._audience.answer_now(one)
        elif key == "<Delete>":
            self._audience.skip(one)

    def paint_row(self, number: int, y: float, width: float) -> None:
        p, item = self.painter, self.rows[number]
        one = item.message.id
        is_hot = number in (self._hot_row, self.current if focused(self) is self else -1)
        right = width - 6
        if is_hot or (number == 0 and self._hot_row < 0 and focused(self) is not self):
            right -= 4 + self.button(
                f"now:{one}", right, y + 7, "Now", lambda: self._audience.answer_now(one),
                kind="accent" if number == 0 else "ghost", width=52, height=26, anchor="e",
                tip="Answer it before all others   Enter",
            )  # fmt: skip
            if is_hot:
                right -= 4 + self.button(
                    f"skip:{one}", right, y + 7, "", lambda: self._audience.skip(one),
                    icon="x", width=28, height=26, anchor="e", tip="Do not answer it   Delete",
                )  # fmt: skip
        else:
            waited = item.waited_s + self._audience.clock() - self._came_s
            share = min(1.0, waited / max(1.0, self.max_wait_s))
            p.box(right - 56, y + 19, 56, 4, "line", None, 2)
            color = "warn" if share > 0.8 else "llm"
            p.box(right - 56, y + 19, max(4.0, 56 * share), 4, color, None, 2)
            right -= 60
        p.text(16, y + ROW_HEIGHT / 2, str(number + 1), "smallb", "text3", "center")
        room = max(40.0, right - 42)
        name = plain(item.message.viewer.name, 60)
        most = min(room * 0.45, 140.0)
        p.text(32, y + 13, name, "smallb", "text", clip=most)
        at = 32 + min(most, p.text_width(name, "smallb")) + 8
        p.text(at, y + 13, words_of(item), "small", "text2", clip=max(8.0, right - at - 8))
        words = f"{seconds(item.waited_s)}: {reasons_of(item)}"
        p.text(32, y + 30, words, "cap", "text3", clip=room)

    def paint(self) -> None:
        super().paint()
        if self.rows:
            return
        p, audience = self.painter, self._audience
        words = audience.missing.get("queue") or (
            "Nobody waits. Messages to answer line up here, with the reason for their place."
        )
        p.text(p.width / 2, 16, words, "small", "text3", "n", width=p.width - 24)

    def _near(self, event: Any) -> None:
        row = int((event.y / self.theme.scale + self._offset) // self.row_height)
        if row != self._hot_row:
            self._hot_row = row
            self.changed()

    def _left(self) -> None:
        self._hot_row = -1
        self.changed()


def words_of(item: QueuedMessage) -> str:
    """What she is told of a message: covered where moderation covers it."""
    is_covered = item.verdict.action in ("mask", "replace") and item.verdict.text
    return plain(item.verdict.text if is_covered else item.message.text)
