"""Latency: the last turns as a strip of stacked bars, and the waterfall of one of them against its usual times."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from functools import partial

from frontend.theme import FontName, Theme
from frontend.widgets.latency import (
    TARGET_MS,
    Row,
    TimedTurn,
    axis,
    in_words,
    percentile,
    verdict,
    waterfall,
)
from frontend.widgets.panel import Panel

TURNS = 40
LABEL = 124
FIGURES = 62


class LatencyCard(Panel):
    """The card.

    Args:
        master: The widget it lies in.
        theme: Colours, fonts and sizes.
        open_turn: Called with a turn id.
        retry: Load again after a failure.
        setting_of: The setting that a stage's detail names; empty when it names none.
        open_setting: Called with its name.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        *,
        open_turn: Callable[[str], None],
        retry: Callable[[], None],
        setting_of: Callable[[str], str] = lambda _: "",
        open_setting: Callable[[str], object] = lambda _: None,
    ) -> None:
        super().__init__(master, theme)
        self.turns: list[TimedTurn] = []
        self.problem = ""
        self.is_loaded = False
        self._chosen: str | None = None
        self._open_turn = open_turn
        self._retry = retry
        self._setting_of = setting_of
        self._open_setting = open_setting
        self.bind("<Left>", lambda event: self._walk(-1))
        self.bind("<Right>", lambda event: self._walk(1))

    def show(self, turns: list[TimedTurn], problem: str = "") -> None:
        """Show these turns, oldest first."""
        self.turns = turns[-TURNS:]
        self.problem = problem
        self.is_loaded = True
        self.changed()

    def add(self, turn: TimedTurn) -> None:
        """A turn has ended; the newest is chosen unless the person chose another."""
        others = [known for known in self.turns if known.id != turn.id]
        self.turns = [*others[1 - TURNS :], turn]
        self.is_loaded = True
        self.changed()

    @property
    def chosen(self) -> TimedTurn | None:
        """The turn whose waterfall is shown."""
        for turn in self.turns:
            if turn.id == self._chosen:
                return turn
        return self.turns[-1] if self.turns else None

    def choose(self, turn_id: str | None) -> None:
        """Show the waterfall of a turn; None shows the newest, now and later."""
        self._chosen = turn_id
        self.changed()

    def choose_slowest(self) -> None:
        """Show the turn that kept somebody waiting longest."""
        self.choose(max(self.turns, key=lambda turn: turn.waited_ms).id)

    def paint(self) -> None:
        p = self.painter
        width, height = p.width, p.height
        turn = self.chosen
        sub = ""
        if turn is not None:
            parts = [
                f"turn {turn.number}",
                turn.source,
                turn.outcome if turn.outcome != "done" else "",
                f"{self.turns.index(turn) + 1} of {len(self.turns)}",
            ]
            sub = ", ".join(part for part in parts if part)
        p.card(0, 0, width, height)
        p.text(16, 21, "Latency", "bodyb")
        if turn is None:
            self._paint_empty(width, height)
            return
        left = self._paint_buttons(width, turn)
        start = 26 + p.text_width("Latency", "bodyb")
        p.text(start, 21.5, sub, "small", "text3", clip=max(10.0, left - start - 8))
        strip = 62 if height > 260 else 44
        self._paint_strip(turn, 16, 44, width - 32, strip)
        self._paint_waterfall(turn, 44 + strip + 8, width, height)

    def _paint_buttons(self, width: float, turn: TimedTurn) -> float:
        place = self.turns.index(turn)
        x = width - 14
        can_go_on = place < len(self.turns) - 1
        x -= self.button(
            "next", x, 8, icon="right", press=(lambda: self._walk(1)) if can_go_on else None,
            height=26, width=28, anchor="e", tip="Next turn",
        )  # fmt: skip
        x -= 4 + self.button(
            "previous", x - 4, 8, icon="left", press=(lambda: self._walk(-1)) if place else None,
            height=26, width=28, anchor="e", tip="Turn before",
        )  # fmt: skip
        if width > 360:
            x -= 6 + self.button(
                "slowest", x - 6, 8, "Slowest", self.choose_slowest, icon="clock", height=26, anchor="e"
            )  # fmt: skip
        if width > 460:
            x -= 6 + self.button(
                "open", x - 6, 8, "Open", lambda: self._open_turn(turn.id), icon="open", height=26,
                anchor="e", tip="Show this turn in the chat",
            )  # fmt: skip
        return x

    def _paint_empty(self, width: float, height: float) -> None:
        p = self.painter
        middle = height / 2
        if not self.is_loaded:
            p.text(width / 2, middle, "Loading the last turns.", "small", "text3", "center")
            return
        p.icon(width / 2, middle - 30, "warn" if self.problem else "clock", 24, "text3")
        words = self.problem or "No turns yet. Say something, and see where the time went."
        p.text(width / 2, middle - 8, words, "small", "text2", "n", width=width - 48)
        if self.problem:
            wide = p.text_width("Try again", "small") + 24
            self.button("retry", (width - wide) / 2, middle + 36, "Try again", self._retry)

    def _paint_strip(
        self, chosen: TimedTurn, x: float, y: float, width: float, height: float
    ) -> None:
        p = self.painter
        waits = [turn.waited_ms for turn in self.turns]
        # One turn of a minute must not flatten the others: the scale follows the 95th percentile.
        usual = percentile(waits, 0.95)
        is_far_below = usual < TARGET_MS / 4
        top = max(1.0, usual * 1.2) if is_far_below else max(TARGET_MS * 1.25, usual * 1.1)
        step = width / TURNS
        first = TURNS - len(self.turns)
        for number, turn in enumerate(self.turns):
            left = x + (first + number) * step
            self.zone(
                f"turn:{turn.id}", left, y - 2, step, height + 6, partial(self.choose, turn.id),
                tip=f"Turn {turn.number}: {in_words(turn.waited_ms)}", is_stop=False,
            )  # fmt: skip
            if turn is chosen:
                p.box(left - 1, y - 2, step, height + 6, "sel", None, 3)
            floor = y + height
            for span in turn.waiting_spans():
                high = min(span.duration_ms / top * height, floor - y)
                if high >= 0.4:
                    p.rect(left + 1, floor - high, max(2.0, step - 4), high, span.stage)
                floor -= high
            # Where there are no spans to stack, the wait itself is still worth a bar.
            if floor == y + height:
                high = max(1.0, min(1.0, turn.waited_ms / top) * height)
                p.rect(left + 1, floor - high, max(2.0, step - 4), high, "wait")
            if turn.outcome == "failed":
                p.rect(left + 1, y + height + 2, max(2.0, step - 4), 2, "error")
        if is_far_below:
            words = f"all far below the target of {in_words(TARGET_MS)}"
            p.text(x, y + 6, words, "cap", "text3", clip=max(40.0, first * step - 8))
            return
        target = y + height - TARGET_MS / top * height
        p.line(x, target, x + width, target, "warn", 1, (3, 4))
        p.text(x, target - 8, f"target {in_words(TARGET_MS)}", "cap", "warn")

    def _paint_waterfall(self, turn: TimedTurn, y: float, width: float, height: float) -> None:
        p = self.painter
        rows = waterfall(turn, self.turns)
        words = verdict(turn, self.turns)
        foot = 26 if words and height - y > 150 else 8
        if not rows:
            p.text(16, y + 24, "This turn has no timings.", "small", "text3")
            return
        columns = 3 if width > 470 else 1
        right = width - 16 - columns * FIGURES
        left = 16 + (LABEL if width > 400 else 104)
        bar = max(20.0, right - 14 - left)
        end = max(row.start_ms + row.ms for row in rows)
        longest = max([end, *(row.start_ms + min(row.p95_ms or 0, end) for row in rows)])
        ticks = axis(longest, 5 if bar > 300 else 3 if bar > 150 else 2)
        total = ticks[-1]
        for place, title in enumerate(("p95", "p50", "this")[-columns:]):
            p.text(width - 16 - place * FIGURES, y + 10, title, "cap", "text3", "e")
        room = height - foot - (y + 22)
        step = max(15.0, min(31.0, room / len(rows)))
        shown = rows[: max(1, int(room / step + 0.01))]  # six sixths of a room are six rows
        bottom = y + 22 + step * len(shown)
        for tick in ticks:
            at = left + bar * tick / total
            p.line(at, y + 20, at, bottom)
            p.text(at, y + 10, in_words(tick) if tick else "0", "cap", "text3", "center")
        for number, row in enumerate(shown):
            middle = y + 22 + step * (number + 0.5)
            self._paint_row(row, number, middle, step, left, bar / total, width, columns)
        if foot > 20:
            slow = any(row.is_slow for row in rows)
            p.text(16, height - 16, words, "cap", "warn" if slow else "text3", clip=width - 32)

    def _paint_row(
        self,
        row: Row,
        number: int,
        middle: float,
        step: float,
        left: float,
        scale: float,
        width: float,
        columns: int,
    ) -> None:
        p = self.painter
        name = self._setting_of(row.detail)
        self.zone(
            f"row:{number}", 8, middle - step / 2, width - 16, step,
            partial(self._open_setting, name) if name else None,
            tip=f"{row.detail}\nopens {name}" if name else row.detail, radius=4,
        )  # fmt: skip
        if row.is_slow:
            p.box(8, middle - step / 2 + 1, width - 16, step - 2, "warn_soft", None, 4)
        p.text(16, middle, row.title, "small", clip=left - 24)
        at = left + row.start_ms * scale
        wide = max(2.0, row.ms * scale)
        high = 10 if step > 18 else 7
        behind = "warn_soft" if row.is_slow else "surface"
        if row.p95_ms is not None:
            room = p.width - 16 - columns * FIGURES - 14 - at
            thin = self.theme.mix(row.stage, behind, 0.55)
            p.rect(at, middle + high / 2, max(1.0, min(row.p95_ms * scale, room)), 2, thin)
        if wide > 5:
            p.box(at, middle - high / 2 - 1, wide, high, row.stage, None, 2)
        else:
            p.rect(at, middle - high / 2 - 1, wide, high, row.stage)
        edge = p.width - 16 - columns * FIGURES
        if row.p50_ms is not None and at + row.p50_ms * scale < edge:
            p.rect(at + row.p50_ms * scale - 1, middle - high / 2 - 2, 2, high + 4, "text")
        figures = [_figure(row.p95_ms), _figure(row.p50_ms), _figure(row.ms)][-columns:]
        for place, figure in enumerate(figures):
            x = width - 16 - place * FIGURES
            is_this = place == columns - 1
            font: FontName = "monob" if is_this and row.is_slow else "mono"
            color = "warn" if is_this and row.is_slow else "text" if is_this else "text2"
            p.text(x, middle, figure, font, color, "e")

    def _walk(self, by: int) -> str:
        turn = self.chosen
        if turn is not None:
            place = self.turns.index(turn) + by
            if 0 <= place < len(self.turns):
                is_newest = place == len(self.turns) - 1
                self.choose(None if is_newest else self.turns[place].id)
        return "break"


def _figure(ms: float | None) -> str:
    if ms is None:
        return "-"
    return f"{ms:,.0f}" if ms >= 10 else f"{ms:.1f}"
