"""The audience in plots: messages and answers of an hour, how long answers let wait, topics, and what became of messages."""

from __future__ import annotations

import tkinter as tk
from collections import Counter
from collections.abc import Callable, Sequence

from frontend.audience import Audience, plain, seconds
from frontend.theme import Theme
from frontend.widgets.latency import percentile
from frontend.widgets.panel import Panel

COLUMNS, EVERY = 60, 6
"""Columns and the ten seconds in each: an hour of minutes."""
STEPS_S = (1, 2, 3, 5, 8, 12, 20, 30, 60)
"""Upper edges of the columns of waits."""
PLOT = 132.0
TOPIC_ROW = 24.0
WORDS = {
    "answered": ("answered", "ok"),
    "merged": ("merged", "prompt"),
    "command": ("commands", "stt"),
    "filtered": ("filtered", "error"),
    "held": ("held", "warn"),
    "queued": ("waiting", "text2"),
    "answering": ("being answered", "accent"),
    "rate-limited": ("wrote too much", "text3"),
    "too-old": ("too old", "text3"),
    "deleted": ("deleted", "text3"),
    "queue-full": ("queue full", "text3"),
    "skipped": ("skipped", "text3"),
    "failed": ("failed", "warn"),
    "not-addressed": ("need no answer", "text3"),
}


class AudiencePlots(Panel):
    """The page.

    Args:
        master: Where it lives.
        theme: The window's theme.
        audience: What is plotted.
        export: Saves all messages to a file.
    """

    def __init__(
        self, master: tk.Misc, theme: Theme, audience: Audience, export: Callable[[], object]
    ) -> None:
        super().__init__(master, theme, "surface")
        self.label = "Audience in plots"
        self.progress_words = ""
        self._audience = audience
        self._export = export

    def say(self, words: str) -> None:
        """Words beside the button of the export."""
        self.progress_words = words
        self.changed()

    def paint(self) -> None:
        p, audience = self.painter, self._audience
        wide = p.width - 20
        buckets = audience.history(COLUMNS, EVERY)
        two = wide >= 560
        half = (wide - 24) / 2 if two else wide
        most = max((b.messages for b in buckets), default=0)
        self._plot(
            8, 8, half, "Messages a minute", f"{most:,} at most",
            [b.messages / max(1, most) for b in buckets] if most else [], "prompt",
            "the last hour", "Nobody has written since this window is open.",
        )  # fmt: skip
        waits = [percentile(b.waits, 0.5) if b.waits else 0.0 for b in buckets]
        top = max(waits, default=0.0)
        x, y = (8 + half + 24, 8.0) if two else (8.0, 8 + PLOT + 16)
        self._plot(
            x, y, half, "Median wait", f"{seconds(top)} at most" if top else "",
            [w / top for w in waits] if top else [], "llm",
            "the last hour", "No message has been answered since this window is open.",
        )  # fmt: skip
        y += PLOT + 16
        left = self._paint_waits(8, y, half)
        right = self._paint_outcomes(x if two else 8.0, y if two else left + 8, half)
        y = max(left, right) + 8
        y = self._paint_topics(8, y, wide - 8)
        p.text(8, y + 24, "All messages as a table", "smallb")
        self.button(
            "export", wide, y + 10, "Export CSV...", self._export, icon="download", anchor="e",
            tip="Every stored message with what became of it, for a spreadsheet",
        )  # fmt: skip
        words = self.progress_words or "who wrote what, when, and what became of it"
        at = 24 + p.text_width("All messages as a table", "smallb")
        p.text(at, y + 24.5, words, "small", "text3", clip=max(20.0, wide - at - 150))
        self.content_height = y + 48

    def _plot(
        self,
        x: float,
        y: float,
        wide: float,
        title: str,
        figure: str,
        values: Sequence[float],
        color: str,
        caption: str,
        empty: str,
    ) -> None:
        p = self.painter
        p.text(x, y + 12, title, "smallb", clip=wide * 0.62)
        p.text(x + wide, y + 12, figure, "cap", "text2", "e")
        low = y + PLOT - 22
        p.line(x, low, x + wide, low)
        if values:
            p.columns(x, y + 28, wide, low - y - 28, values, color)
            p.text(x, low + 12, "60 min ago", "cap", "text3")
            p.text(x + wide, low + 12, "now", "cap", "text3", "e")
        else:
            p.text(x + wide / 2, y + 50, empty, "small", "text3", "n", width=wide - 20)
            p.text(x, low + 12, caption, "cap", "text3")

    def _paint_waits(self, x: float, y: float, wide: float) -> float:
        """How many answers let wait how long; returns where it ends."""
        p, waits = self.painter, self._audience.figures().waits_s
        p.text(x, y + 12, "Waits until an answer", "smallb")
        if waits:
            words = f"p50 {seconds(percentile(waits, 0.5))}, p95 {seconds(percentile(waits, 0.95))}"
            p.text(x + wide, y + 12, words, "cap", "text2", "e")
        counts = [0] * (len(STEPS_S) + 1)
        for wait in waits:
            counts[next((n for n, s in enumerate(STEPS_S) if wait <= s), len(STEPS_S))] += 1
        most = max(1, *counts)
        step = wide / len(counts)
        low = y + 92
        limit = self._audience.rules.max_wait_s
        p.line(x, low, x + wide, low)
        for number, count in enumerate(counts):
            high = 56 * count / most
            is_late = number == len(STEPS_S) or STEPS_S[number] > limit
            if count:
                p.rect(
                    x + number * step + 2, low - high, step - 4, high, "warn" if is_late else "llm"
                )
            words = f"{STEPS_S[number]}" if number < len(STEPS_S) else "more"
            p.text(x + (number + 0.5) * step, low + 11, words, "cap", "text3", "center")
        p.text(x + wide, low + 27, "seconds", "cap", "text3", "e")
        return low + 36

    def _paint_outcomes(self, x: float, y: float, wide: float) -> float:
        """What became of the lines in the window; returns where it ends."""
        p = self.painter
        counts = Counter(line.disposition for line in self._audience.lines if line.disposition)
        total = sum(counts.values())
        p.text(x, y + 12, "What became of messages", "smallb")
        p.text(x + wide, y + 12, f"the newest {total:,}" if total else "", "cap", "text2", "e")
        if not total:
            p.text(x, y + 38, "Nothing yet.", "small", "text3")
            return y + 60
        rows = counts.most_common(5)
        at = y + 34
        for name, count in rows:
            words, color = WORDS.get(name, (name, "text3"))
            p.text(x, at, words, "small", "text2", clip=110)
            bar = wide - 120 - 56
            p.box(x + 116, at - 3, max(4.0, bar * count / total), 6, color, None, 3)
            p.text(x + wide, at, f"{count / total:.0%}".replace("%", " %"), "small", "text2", "e")
            at += 20
        return at

    def _paint_topics(self, x: float, y: float, wide: float) -> float:
        """What is talked of; returns where it ends."""
        p = self.painter
        p.text(x, y + 12, "Topics", "smallb")
        topics = self._audience.topics()
        p.text(x + wide, y + 12, "how many people used a word lately", "cap", "text3", "e")
        at, y = x, y + 38
        if not topics:
            p.text(x, y, "Words that several people use appear here.", "small", "text3")
        for word, count in topics:
            words = f"{plain(word, 30)}  {count}"
            need = p.text_width(words, "small") + 20
            if at + need > x + wide and at > x:
                at, y = x, y + 28
            at += p.chip(at, y, words, "text", "raised", "small", height=23, pad=10) + 8
        return y + 18
