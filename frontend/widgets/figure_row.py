"""The four figures above the live chat, each with its last ten minutes as a step plot."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from frontend.audience import Audience, Bucket, seconds
from frontend.theme import Theme
from frontend.widgets.latency import percentile
from frontend.widgets.panel import Panel

GAP = 12
COLUMNS, EVERY = 30, 2
"""Columns of a plot and the buckets in each: ten minutes."""
NARROW = 150
LEAST_PLOT = 32


@dataclass(frozen=True, slots=True)
class Figure:
    """One card: what, how much, in which words, and its plot."""

    title: str
    value: str
    caption: str
    color: str
    values: tuple[float, ...]
    tip: str


class FigureRow(Panel):
    """The cards.

    Args:
        master: Where it lives.
        theme: The window's theme.
        audience: Whose figures.
        opened: Called when one is pressed.
    """

    def __init__(
        self, master: tk.Misc, theme: Theme, audience: Audience, opened: Callable[[], object]
    ) -> None:
        super().__init__(master, theme)
        self.label = "Figures"
        self.figures: list[Figure] = []
        self._audience = audience
        self._opened = opened
        self.refresh()

    def refresh(self) -> None:
        """Work the figures out, and draw them where they changed."""
        figures = figures_of(self._audience)
        if figures != self.figures:
            self.figures = figures
            self.changed()

    def paint(self) -> None:
        p = self.painter
        count = len(self.figures)
        in_row = count if p.width >= 470 else 2
        rows = -(-count // in_row)
        wide = (p.width - (in_row - 1) * GAP) / in_row
        high = (p.height - (rows - 1) * GAP) / rows
        for number, figure in enumerate(self.figures):
            x = (number % in_row) * (wide + GAP)
            y = (number // in_row) * (high + GAP)
            p.card(x, y, wide, high)
            self.zone(f"figure:{number}", x, y, wide, high, self._opened, tip=figure.tip, radius=8)
            is_low = high < 70
            p.text(
                x + 14, y + (14 if is_low else 17), figure.title, "small", "text2", clip=wide - 20
            )
            room = wide - 24
            # The plot gives way to its figure.
            plot = min(80.0, wide * 0.44, wide - 34 - p.text_width(figure.value, "title"))
            if wide >= NARROW and figure.values and plot >= LEAST_PLOT:
                tall = 22 if is_low else 30
                p.columns(x + wide - plot - 14, y + 12, plot, tall, figure.values, figure.color)
                room = wide - plot - 34
            middle = y + high / 2 + (2 if is_low else 1)
            p.text(x + 14, middle, figure.value, "title", clip=room)
            low = y + high - (11 if is_low else 14)
            p.text(x + 14, low, figure.caption, "cap", "text3", clip=wide - 24)


def figures_of(audience: Audience) -> list[Figure]:
    """The four figures in words."""
    now = audience.figures()
    buckets = audience.history(COLUMNS, EVERY)
    waits = now.waits_s
    p50 = seconds(percentile(waits, 0.5)) if waits else ""
    p95 = seconds(percentile(waits, 0.95)) if waits else ""
    limit = audience.rules.max_wait_s
    share = now.share
    held = audience.held_count
    return [
        Figure(
            "Messages",
            f"{now.per_minute:,}/min",
            "nobody writes" if not now.chatters else people(now.chatters),
            "prompt",
            _scaled(buckets, lambda b: float(b.messages)),
            "Messages of the last minute; people who wrote in the last ten minutes",
        ),
        Figure(
            "Answered",
            "\u2013" if share is None else f"{share:.0%}".replace("%", " %"),
            f"{now.answered:,} of {now.decided:,}" if now.decided else "none yet",
            "ok",
            _scaled(buckets, lambda b: b.answered / b.decided if b.decided else 0.0, top=1.0)
            if now.decided
            else (),
            "Answered, merged into an answer, or done as a command, of all messages of ten minutes",
        ),
        Figure(
            "Wait p95",
            p95 or "\u2013",
            f"p50 {p50}, limit {seconds(limit)}" if p50 else f"limit {seconds(limit)}",
            "llm",
            _scaled(buckets, lambda b: percentile(b.waits, 0.95) if b.waits else 0.0),
            "From the message to the beginning of its answer, ten minutes; longer ones are too old",
        ),
        Figure(
            "Filtered",
            f"{now.stopped:,}",
            f"in 10 min, {held} held" if held else "in 10 min",
            "warn",
            _scaled(buckets, lambda b: float(b.stopped)),
            "Messages that moderation stopped or holds for your word",
        ),
    ]


def people(count: int) -> str:
    """How many people."""
    return "1 person" if count == 1 else f"{count:,} people"


def _scaled(
    buckets: Sequence[Bucket], value: Callable[[Bucket], float], top: float = 0.0
) -> tuple[float, ...]:
    values = [value(bucket) for bucket in buckets]
    most = top or max(values)
    return tuple(round(one / most, 3) for one in values) if most > 0 else ()
