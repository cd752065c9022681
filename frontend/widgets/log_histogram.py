"""Rows over time as columns, with warnings and errors as ticks and the window of the list marked; drag to jump."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from frontend.draw import Painter
from frontend.theme import Theme
from frontend.widgets.focus import focused
from frontend.widgets.log_buffer import LogBuffer

HEIGHT = 48
SPANS = (
    (60, "last minute"),
    (300, "last 5 min"),
    (900, "last 15 min"),
    (3_600, "last hour"),
    (21_600, "last 6 h"),
    (86_400, "last 24 h"),
)
PITCH = 6


class LogHistogram(tk.Canvas):
    """Columns of row counts up to now.

    Args:
        master: The widget it lies in.
        theme: Colours, fonts and sizes.
        buffer: The rows.
        on_jump: Called with the moment (milliseconds) that was clicked or dragged to.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        buffer: LogBuffer,
        on_jump: Callable[[int], None],
    ) -> None:
        super().__init__(master, highlightthickness=0, borderwidth=0, takefocus=1)
        self.theme = theme
        self.buffer = buffer
        self.window: tuple[int, int] | None = None
        self.span = 2
        self._on_jump = on_jump
        self._painter = Painter(self, theme)
        self._end_ms = 0
        for sequence, act in (
            ("<Configure>", lambda event: self.redraw()),
            ("<ButtonPress-1>", self._pressed),
            ("<B1-Motion>", self._jump),
            ("<MouseWheel>", lambda event: self.zoom(-1 if event.delta > 0 else 1)),
            ("<Button-4>", lambda event: self.zoom(-1)),
            ("<Button-5>", lambda event: self.zoom(1)),
            ("<plus>", lambda event: self.zoom(-1)),
            ("<KP_Add>", lambda event: self.zoom(-1)),
            ("<minus>", lambda event: self.zoom(1)),
            ("<KP_Subtract>", lambda event: self.zoom(1)),
            ("<Left>", lambda event: self._walk(-1)),
            ("<Right>", lambda event: self._walk(1)),
            ("<FocusIn>", lambda event: self.redraw()),
            ("<FocusOut>", lambda event: self.redraw()),
        ):
            self.bind(sequence, act)
        theme.on_change(self, self.redraw)

    def zoom(self, by: int) -> None:
        """Show a shorter (-1) or longer (1) time."""
        self.span = max(0, min(len(SPANS) - 1, self.span + by))
        self.redraw()

    def redraw(self) -> None:
        """Draw the columns as they are now."""
        if self.winfo_width() <= 1:
            return
        t, p = self.theme, self._painter
        p.clear()
        self.configure(background=t.color("bg"))
        width, height = p.width, p.height
        has_focus = focused(self) is self
        p.box(
            0,
            0,
            width,
            height,
            "surface",
            "accent" if has_focus else "line",
            8,
            2 if has_focus else 1,
        )
        inner = width - 24
        count = max(1, int(inner / PITCH))
        seconds, title = SPANS[self.span]
        self._end_ms = int(datetime.now(UTC).timestamp() * 1000)
        columns = self.buffer.histogram(count, seconds, self._end_ms)
        most = max((column[0] for column in columns), default=0)
        bottom = height - 6
        shade = t.mix("accent", "surface", 0.55)
        for number, (rows, warnings, errors) in enumerate(columns):
            if not rows:
                continue
            # A square root keeps a quiet minute visible beside a burst.
            level = max(2.0, 30 * (rows / most) ** 0.5)
            x = 12 + number * PITCH
            p.rect(x, bottom - level, PITCH - 2, level, shade)
            if errors:
                p.rect(x, bottom - level - 7, PITCH - 2, 7, "error")
            elif warnings:
                p.rect(x, bottom - level - 4, PITCH - 2, 4, "warn")
        p.text(12, 11, title, "cap", "text3")
        if not most:
            p.text(width / 2, height / 2, f"Nothing in the {title}.", "cap", "text3", "center")
        self.mark(self.window)

    def mark(self, window: tuple[int, int] | None) -> None:
        """Mark the moments of the first and last row in sight."""
        self.window = window
        self.delete("window")
        p = self._painter
        inner = p.width - 24
        if window is None or inner <= 0:
            return
        span_ms = SPANS[self.span][0] * 1000
        begin = self._end_ms - span_ms
        shares = [min(1.0, max(0.0, (moment - begin) / span_ms)) for moment in window]
        left, right = (12 + inner * share for share in shares)
        right = max(right, left + 3)
        height = p.height
        p.rect(left, 1, 1, height - 2, "accent", tags="window")
        p.rect(right, 1, 1, height - 2, "accent", tags="window")
        p.rect(left, height - 3, right - left + 1, 2, "accent", tags="window")

    def _pressed(self, event: Any) -> None:
        self.focus_set()
        self._jump(event)

    def _jump(self, event: Any) -> None:
        inner = self._painter.width - 24
        share = min(1.0, max(0.0, (event.x / self.theme.scale - 12) / max(1.0, inner)))
        span_ms = SPANS[self.span][0] * 1000
        self._on_jump(round(self._end_ms - span_ms + share * span_ms))

    def _walk(self, by: int) -> str:
        if self.window is not None:
            step = max(1_000, SPANS[self.span][0] * 1000 // 60)
            self._on_jump(self.window[0] + by * step)
        return "break"
