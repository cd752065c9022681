"""The live chat: one line per message with what became of it; only the lines in sight are drawn.

It follows the newest line until somebody scrolls up or moves the pointer over it: nothing moves under a pointer.
"""

from __future__ import annotations

import tkinter as tk
import zlib
from collections.abc import Callable
from typing import Any

from backend.contracts.audience import AudienceMessage
from frontend.audience import Audience, Group, Line, look_of, plain, why
from frontend.theme import Theme
from frontend.widgets.focus import focused
from frontend.widgets.row_list import RowList

ROW_HEIGHT = 29
STILL_S = 3.0
"""How long the list stands still after the pointer has moved over it."""
NARROW = 520
FAR = 1e9  # further than any list is long: drawing takes it back to the end
NAME_COLOURS = ("stt", "prompt", "llm", "tts", "warn", "accent")
DIM = ("filtered", "deleted", "rate-limited", "too-old", "queue-full", "skipped", "not-addressed")
ROLE_WORDS = {"broadcaster": "HOST", "moderator": "MOD", "vip": "VIP", "subscriber": "SUB"}


class LiveChat(RowList):
    """The lines.

    Args:
        master: Where it lives.
        theme: The window's theme.
        audience: Whose lines.
        opened: Called with the turn that answered a line.
        moved: Called when another line is the current one, or the list follows or stands still.
        empty: Words, words of the button and what it does, for a list without lines.
    """

    row_height = float(ROW_HEIGHT)

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        audience: Audience,
        *,
        opened: Callable[[str], object],
        moved: Callable[[], object],
        empty: Callable[[], tuple[str, str, Callable[[], object] | None]],
    ) -> None:
        super().__init__(master, theme)
        self.label = "Live chat, newest last"
        self.rows: list[Line] = []
        self.group: Group = "all"
        self.is_following = True
        self._audience = audience
        self._opened = opened
        self._moved_to = moved
        self._empty = empty
        self._seen = 0
        self._near_s = -STILL_S
        self._hot_row = -1
        self.bind("<Motion>", self._near, add="+")
        self.bind("<Leave>", lambda _: self._left(), add="+")
        self.bind("<FocusIn>", lambda _: self._entered(), add="+")
        self.bind("<Key-a>", lambda _: self._decide(audience.approve))
        self.bind("<Key-n>", lambda _: self._decide(audience.answer_now))

    # --- what the tab calls

    @property
    def fresh(self) -> int:
        """Lines that came and are below what is shown."""
        return 0 if self.is_following else max(0, self._total() - self._seen)

    @property
    def line(self) -> Line | None:
        """The current line."""
        return self.rows[self.current] if 0 <= self.current < len(self.rows) else None

    def show_group(self, group: Group) -> None:
        """Show only some lines."""
        self.group = group
        self.rows = []
        self.follow()

    def follow(self) -> None:
        """Go to the newest line, and stay there."""
        self.is_following = True
        self._near_s = -STILL_S
        self.refresh()

    def refresh(self) -> None:
        """Take what came."""
        if self.is_following and self._audience.clock() - self._near_s < STILL_S and self.rows:
            self.changed()  # what became of the lines in sight is shown nevertheless
            return
        top = int(self._offset // self.row_height)
        first = self.rows[top] if top < len(self.rows) else None
        chosen = self.line
        lines = self._audience.lines
        if self.group == "all":
            self.rows = list(lines)
        else:
            self.rows = [line for line in lines if line.group == self.group]
        if self.is_following:
            self._seen = self._total()
            self._offset = FAR
            self.current = len(self.rows) - 1 if focused(self) is self else self.current
        else:
            places = {id(line): number for number, line in enumerate(self.rows)}
            rest = self._offset - top * self.row_height
            if first is not None:
                self._offset = places.get(id(first), 0) * self.row_height + rest
            self.current = places.get(id(chosen), self.current)
        self.changed()

    # --- for the list

    def count(self) -> int:
        return len(self.rows)

    def fill_of(self, number: int) -> str | None:
        line = self.rows[number]
        if line.disposition == "answering":
            return "sel"
        if line.disposition == "held":
            return self.theme.mix("surface", "warn_soft", 0.6)
        return "sel" if number == self.current and focused(self) is self else None

    def tip_of(self, number: int) -> str:
        line = self.rows[number]
        text = plain(line.message.text)
        return f"{plain(line.message.viewer.name, 60)}: {text}\n{why(line, self._audience)}"

    def chosen(self, number: int) -> None:
        self._settle()
        self._moved_to()

    def act(self, number: int, key: str) -> None:
        line = self.rows[number]
        if key == "<Delete>":
            self._decide(self._audience.skip)
        elif key == "<Return>" and line.turn_id:
            self._opened(line.turn_id)

    def walk(self, by: int) -> str:
        done = super().walk(by)
        self._settle()
        if by > 10**6:
            self.follow()
        return done

    def paint_row(self, number: int, y: float, width: float) -> None:
        p, line = self.painter, self.rows[number]
        message = line.message
        middle = y + ROW_HEIGHT / 2
        is_narrow = width < NARROW
        is_hot = number in (self._hot_row, self.current if focused(self) is self else -1)
        right = width - 10
        if line.disposition == "answering":
            p.rect(0, y, 3, ROW_HEIGHT, "accent")
        right -= self._paint_actions(line, right, y, is_hot)
        look = look_of(line, self._audience)
        most = max(60.0, width * 0.3) if is_narrow else 190.0
        words = look.words
        while p.text_width(words, "cap") > most and len(words) > 4:
            words = words[:-4].rstrip() + "..."
        right -= p.chip(
            right, middle, words, look.color, look.fill, icon=look.icon, height=21, anchor="e"
        )
        x = 12.0
        if not is_narrow:
            p.text(x, middle, f"{message.at.astimezone():%H:%M:%S}", "monos", "text3")
            x += 68
        for badge, color in badges_of(message):
            if is_narrow and badge != "1st":
                continue
            x += p.chip(x, middle, badge, color, "raised", "capb", height=19, pad=6) + 5
        name = plain(message.viewer.name, 60)
        is_dim = line.disposition in DIM
        room = max(40.0, min(150.0, (right - x) * 0.4))
        color = "text3" if is_dim else colour_of(message.viewer.id or name)
        p.text(x, middle, name, "smallb", color, clip=room)
        x += min(room, p.text_width(name, "smallb")) + 8
        text = "message removed" if line.disposition == "deleted" else plain(message.text)
        if right - x > 24:
            color = "text3" if is_dim else "tts" if line.did is not None else "text"
            p.text(x, middle, text, "small", color, clip=right - x - 10)

    def paint(self) -> None:
        super().paint()
        if self.rows:
            return
        p = self.painter
        words, button, press = self._empty()
        top = max(40.0, p.height / 2 - 50)
        p.icon(p.width / 2, top, "chat", 24, "text3")
        item = p.text(
            p.width / 2, top + 22, words, "small", "text2", "n", width=min(460, p.width - 40)
        )
        if button and press is not None:
            low = self.bbox(item)
            below = (low[3] / self.theme.scale if low else top + 60) + 12
            wide = p.text_width(button, "smallb") + 28
            self.button(
                "empty", (p.width - wide) / 2, below, button, press, kind="accent", width=wide
            )

    # --- inside

    def _paint_actions(self, line: Line, right: float, y: float, is_hot: bool) -> float:
        """Buttons of a line at its right end; returns the room they took."""
        one, ask = line.message.id, self._audience
        before = right
        if line.disposition == "held":
            right -= 4 + self.button(
                f"allow:{one}", right, y + 3, "Allow", lambda: ask.approve(one),
                height=23, anchor="e", color="ok", tip="Let it in   A", width=58,
            )  # fmt: skip
            right -= 8 + self.button(
                f"drop:{one}", right, y + 3, "Drop", lambda: ask.skip(one),
                height=23, anchor="e", color="error", tip="Do not let it in   Delete", width=58,
            )  # fmt: skip
        elif line.disposition == "queued" and is_hot:
            right -= 4 + self.button(
                f"now:{one}", right, y + 3, "Now", lambda: ask.answer_now(one),
                height=23, anchor="e", tip="Answer it before all others   N", width=50,
            )  # fmt: skip
            right -= 8 + self.button(
                f"skip:{one}", right, y + 3, "Skip", lambda: ask.skip(one),
                height=23, anchor="e", tip="Do not answer it   Delete", width=50,
            )  # fmt: skip
        elif line.disposition == "answered" and line.turn_id and is_hot:
            right -= 8 + self.button(
                f"open:{one}", right, y + 3, "Open", lambda: self._opened(line.turn_id),
                height=23, anchor="e", tip="Show the turn in the Chat tab   Enter", width=54,
            )  # fmt: skip
        return before - right

    def _decide(self, decide: Callable[[str], object]) -> str:
        line = self.line
        if line is not None and line.disposition in ("held", "queued"):
            decide(line.message.id)
        return "break"

    def _total(self) -> int:
        return self._audience.dropped + len(self._audience.lines)

    def _is_low(self) -> bool:
        return self._offset >= len(self.rows) * self.row_height - self.painter.height - 2

    def _settle(self) -> None:
        """It follows while its end is in sight."""
        was = self.is_following
        at_end = self._wanted is None and self._is_low()
        self.is_following = at_end or self.current >= len(self.rows) - 1
        if was and not self.is_following:
            self._seen = self._total()
        self._moved_to()

    def _near(self, event: Any) -> None:
        self._near_s = self._audience.clock()
        row = int((event.y / self.theme.scale + self._offset) // self.row_height)
        if row != self._hot_row:
            self._hot_row = row
            self.changed()

    def _left(self) -> None:
        self._hot_row = -1
        self._near_s = -STILL_S
        self.changed()

    def _entered(self) -> None:
        if self.is_following and self.rows:
            self.current = len(self.rows) - 1
        self._moved_to()
        self.changed()

    def _scroll_by(self, length: float) -> None:
        super()._scroll_by(length)
        was = self.is_following
        self.is_following = self._is_low()
        if was and not self.is_following:
            self._seen = self._total()
        if was != self.is_following:
            self._moved_to()


def badges_of(message: AudienceMessage) -> list[tuple[str, str]]:
    """Small words before a name, with their colours: what it cost, who writes, whether for the first time."""
    found: list[tuple[str, str]] = []
    if message.bits:
        found.append((f"{message.bits:,} bits", "warn"))
    if message.reward:
        found.append((plain(message.reward, 14), "warn"))
    if message.viewer.is_first:
        found.append(("1st", "warn"))
    role = ROLE_WORDS.get(message.viewer.role)
    if role:
        found.append((role, "text2"))
    return found[:2]


def colour_of(name: str) -> str:
    """The colour of a name: always the same for one person."""
    return NAME_COLOURS[zlib.crc32(name.encode("utf-8", "replace")) % len(NAME_COLOURS)]
