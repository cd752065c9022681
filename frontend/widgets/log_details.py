"""Everything about one log row: its sentence, what can be done, the facts, the whole event as JSON."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from typing import Any

from frontend.theme import Theme
from frontend.widgets.json_view import JsonView
from frontend.widgets.log_buffer import LEVELS, LogRow
from frontend.widgets.panel import Panel

TONES = (
    ("text2", "raised"),
    ("accent", "accent_soft"),
    ("warn", "warn_soft"),
    ("error", "error_soft"),
)
SENTENCE_LETTERS = 600
FACTS = (
    ("logger", "Logger"),
    ("code", "Code"),
    ("kind", "Kind"),
    ("engine", "Engine"),
    ("voice", "Voice"),
    ("character_id", "Character"),
    ("conversation_id", "Conversation"),
    ("model_id", "Model"),
)


class LogDetails(Panel):
    """The pane beside the list.

    Args:
        master: The widget it lies in.
        theme: Colours, fonts and sizes.
        open_turn: Called with a turn id.
        only_turn: Show only the rows of a turn id.
        copy: Put a text on the clipboard and say so.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        *,
        open_turn: Callable[[str], None],
        only_turn: Callable[[str], None],
        copy: Callable[[str, str], None],
    ) -> None:
        super().__init__(master, theme)
        self.row: LogRow | None = None
        self._envelope: dict[str, Any] = {}
        self._open_turn = open_turn
        self._only_turn = only_turn
        self._copy = copy
        self.json = JsonView(self, theme)

    def show(self, row: LogRow | None) -> None:
        """Show another row, or that none is chosen."""
        if row is self.row:
            return
        self.row = row
        self._envelope = row.envelope() if row else {}
        if row is not None:
            data = self._envelope.get("data")
            trace = data.get("traceback") if isinstance(data, dict) else None
            self.json.show(self._envelope, trace if isinstance(trace, str) else "")
        self.changed()

    def copy_json(self) -> None:
        """Put the whole event on the clipboard."""
        import json

        text = json.dumps(self._envelope, ensure_ascii=False, indent=2, default=str)
        self._copy(text, "The event was copied as JSON.")

    def paint(self) -> None:
        p = self.painter
        width, height = p.width, p.height
        p.card(0, 0, width, height)
        row = self.row
        if row is None:
            self.json.place_forget()
            p.icon(width / 2, height / 2 - 34, "logs", 24, "text3")
            p.text(
                width / 2, height / 2, "Choose a row to see all of it.", "small", "text2", "center"
            )
            p.text(
                width / 2,
                height / 2 + 22,
                "Up and Down move, End follows",
                "cap",
                "text3",
                "center",
            )
            return
        words, soft = TONES[row.level]
        level = LEVELS[row.level].lower()
        chip = p.chip(width - 14, 21, level, words, soft, "capb", anchor="e")
        p.text(16, 21, row.type, "bodyb", clip=width - chip - 44)
        text = (
            row.text if len(row.text) <= SENTENCE_LETTERS else row.text[:SENTENCE_LETTERS] + "..."
        )
        item = p.text(16, 42, text or row.type, "bodyb", anchor="nw", width=width - 32)
        box = self.bbox(item)
        bottom = (box[3] / self.theme.scale if box else 60) + 10
        # Below the list the pane is low: the JSON matters more than a long sentence.
        if bottom > height * 0.45:
            self.delete(item)
            p.text(16, 52, row.text, "bodyb", clip=width - 32)
            bottom = 72
        bottom = self._paint_actions(row, bottom, width)
        facts = self._facts(row)
        columns = 2 if width > 560 else 1
        room = max(0, int((height - bottom - 110) // 22)) * columns
        wide = (width - 32) / columns
        for number, (name, value) in enumerate(facts[: max(columns, room)]):
            x = 16 + (number % columns) * wide
            y = bottom + 11 + (number // columns) * 22
            p.text(x, y, name, "small", "text3")
            p.text(x + 104, y, value, "small", clip=wide - 112)
        shown = min(len(facts), max(columns, room))
        bottom += -(-shown // columns) * 22 + 10
        t = self.theme
        p.box(12, bottom, width - 24, height - bottom - 12, "bg", None, 6)
        self.json.place(
            x=t.px(14),
            y=t.px(bottom + 3),
            width=max(1, t.px(width - 28)),
            height=max(1, t.px(height - bottom - 18)),
        )

    def _paint_actions(self, row: LogRow, y: float, width: float) -> float:
        x = 16.0
        actions: list[tuple[str, str, str, Callable[[], None], str]] = []
        turn_id = row.turn_id
        if turn_id:
            actions.append(("turn", "Open turn", "open", lambda: self._open_turn(turn_id), ""))
            tip = "Show only the rows of this turn"
            actions.append(
                ("only", "Only this turn", "filter", lambda: self._only_turn(turn_id), tip)
            )
        actions.append(
            (
                "copy",
                "Copy",
                "copy",
                self.copy_json,
                "Copy the event as JSON; Ctrl+C in the list copies rows",
            )
        )
        for key, text, icon, press, tip in actions:
            wide = self.painter.text_width(text, "small") + 44
            if x + wide > width - 12:
                x, y = 16.0, y + 34
            x += self.button(key, x, y, text, press, icon=icon, tip=tip) + 6
        return y + 38

    def _facts(self, row: LogRow) -> list[tuple[str, str]]:
        facts = [("Time", f"{row.clock()}   {row.day()}"), ("Source", row.source or "-")]
        data = self._envelope.get("data")
        data = data if isinstance(data, dict) else {}
        if row.turn_id:
            facts.append(("Turn", row.turn_id))
        if self._envelope.get("job_id"):
            facts.append(("Job", str(self._envelope["job_id"])))
        if row.seq is not None:
            facts.append(("Sequence", f"{row.seq:,}"))
        facts += [(title, str(data[name])) for name, title in FACTS if data.get(name)]
        return facts
