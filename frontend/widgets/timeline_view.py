"""The conflict timeline: lanes of faces, motions and sound over time; who wanted what, and what became of it.

Only what lies in the shown stretch of time is drawn. The top row of a lane is what was seen; below it lies what was not, and
shape and colour tell why: a low bar had to wait, an outlined one comes with a sentence that is not heard yet, a crossed one
never came to be seen.
"""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from datetime import datetime
from typing import Any

from frontend.theme import Theme
from frontend.timeline import LANES, ROWS, Bar, Lane, Piece, Timeline, owner_words
from frontend.widgets.focus import focused, frame_ring
from frontend.widgets.panel import Panel

GUTTER = 92
ROW = 20
BAR = 18
THIN = 4
"""Of what waits: below its words."""
LANE_GAP = 9
AXIS = 22
TOP = 4
SPANS_S = (5.0, 15.0, 30.0, 60.0, 180.0, 600.0, 1800.0)
USUAL_SPAN_S = 30.0
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200)
LABEL_ROOM = 84
AHEAD = 0.04
"""Share of the stretch that is kept free behind now, so that what begins is seen to begin."""

TITLES: dict[Lane, str] = {"expression": "Expressions", "motion": "Motions", "audio": "Her voice"}
MOST_BARS = 400
"""Bars drawn at most; more than these would lie on each other."""

HEIGHT = TOP + sum(ROWS.values()) * ROW + (len(LANES) - 1) * LANE_GAP + AXIS


class TimelineView(Panel):
    """The lanes; one focus stop.

    Left and Right go from bar to bar in time, Up and Down between lanes, plus and minus zoom, End follows the newest.

    Args:
        master: Where it lives.
        theme: The window's theme.
        timeline: What is drawn.
        now_s: The backend's time, seconds since 1970.
        chosen: Called with the bar that was chosen, None when none is.
        opened: Called with a bar on Enter or a second press.
        moved: Called when it follows the newest again, or no longer.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        timeline: Timeline,
        now_s: Callable[[], float],
        *,
        chosen: Callable[[Bar | None], object],
        opened: Callable[[Bar], object],
        moved: Callable[[], object],
    ) -> None:
        super().__init__(master, theme, "surface")
        self.timeline = timeline
        self.span_s = USUAL_SPAN_S
        self.selected = ""
        self.label = "Timeline of the avatar"
        self.drawn_bars = 0
        self._now_s = now_s
        self._chosen = chosen
        self._opened = opened
        self._moved_to = moved
        self._end_s: float | None = None
        self._pan: tuple[int, float] | None = None
        self._words_end: dict[tuple[Lane, int], float] = {}
        """Where words of a row end, while it is drawn: what lies on them gets none."""
        self._words: list[tuple[float, float, str, str, float]] = []
        for sequence, act in (
            ("<Left>", lambda _: self.walk(-1)),
            ("<Right>", lambda _: self.walk(1)),
            ("<Up>", lambda _: self.change_lane(-1)),
            ("<Down>", lambda _: self.change_lane(1)),
            ("<Home>", lambda _: self.walk(-(10**9))),
            ("<End>", lambda _: self.follow()),
            ("<Prior>", lambda _: self.scroll(-0.8)),
            ("<Next>", lambda _: self.scroll(0.8)),
            ("<plus>", lambda _: self.zoom(-1)),
            ("<KP_Add>", lambda _: self.zoom(-1)),
            ("<minus>", lambda _: self.zoom(1)),
            ("<KP_Subtract>", lambda _: self.zoom(1)),
            ("<Return>", lambda _: self._open()),
            ("<KP_Enter>", lambda _: self._open()),
            ("<space>", lambda _: self._open()),
            ("<Button-4>", lambda _: self.scroll(-0.15)),
            ("<Button-5>", lambda _: self.scroll(0.15)),
            ("<MouseWheel>", lambda event: self.scroll(-0.15 if event.delta > 0 else 0.15)),
        ):
            self.bind(sequence, act)

    # --- what others call

    @property
    def is_following(self) -> bool:
        """Whether its right end is now."""
        return self._end_s is None

    def window_s(self) -> tuple[float, float]:
        """The stretch of time that is shown, seconds since 1970."""
        end = self._now_s() + self.span_s * AHEAD if self._end_s is None else self._end_s
        return end - self.span_s, end

    def follow(self) -> str:
        """Show the newest, and go with it."""
        self._end_s = None
        self._moved_to()
        self.changed()
        return "break"

    def scroll(self, share: float) -> str:
        """Move by a share of what is shown; at the newest end it follows again."""
        _, end = self.window_s()
        self._set_end(end + share * self.span_s)
        return "break"

    def zoom(self, step: int) -> str:
        """Show more (1) or less (-1) time."""
        near = min(range(len(SPANS_S)), key=lambda n: abs(SPANS_S[n] - self.span_s))
        self.set_span(SPANS_S[max(0, min(len(SPANS_S) - 1, near + step))])
        return "break"

    def set_span(self, span_s: float) -> None:
        """Show another length of time, around the chosen bar where there is one in sight."""
        first, last = self.window_s()
        bar = self.bar
        if self._end_s is not None:
            middle = (first + last) / 2
            if bar is not None and first <= bar.start_s <= last:
                middle = bar.start_s
            self._end_s = middle + span_s / 2
        self.span_s = span_s
        self._moved_to()
        self.changed()

    @property
    def bar(self) -> Bar | None:
        """The chosen bar."""
        return next((bar for bar in self.timeline.bars() if bar.key == self.selected), None)

    def select(self, bar: Bar | None, *, tell: bool = True) -> None:
        """Choose a bar and bring it into sight."""
        self.selected = bar.key if bar is not None else ""
        if bar is not None:
            first, last = self.window_s()
            end = bar.end_s if bar.end_s is not None else self._now_s()
            if end < first or bar.start_s > last:
                self._set_end(bar.start_s + self.span_s * 0.6)
        if tell:
            self._chosen(bar)
        self.changed()

    def walk(self, by: int) -> str:
        """Choose the next or previous bar in time."""
        self.is_quiet = False
        bars = sorted(self.timeline.bars(), key=lambda one: one.start_s)
        if bars:
            at = next((n for n, bar in enumerate(bars) if bar.key == self.selected), None)
            if at is None:
                at = len(bars) if by < 0 else len(bars) - 2
            self.select(bars[max(0, min(len(bars) - 1, at + by))])
        return "break"

    def change_lane(self, by: int) -> str:
        """Choose the bar of the lane above or below that is nearest in time."""
        self.is_quiet = False
        bar = self.bar
        if bar is None:
            return self.walk(-1)
        shown = self.timeline.between(*self.window_s(), self._now_s())
        at = LANES.index(bar.lane) + by
        while 0 <= at < len(LANES):
            found = [one for one in shown if one.lane == LANES[at]]
            if found:
                self.select(min(found, key=lambda one: abs(one.start_s - bar.start_s)))
                break
            at += by
        return "break"

    # --- drawing

    def paint(self) -> None:
        p = self.painter
        wide, now = p.width, self._now_s()
        first, last = self.window_s()
        tops = self._lanes(wide)
        self._axis(first, last, wide)
        shown = self.timeline.between(first, last, now)
        self.drawn_bars = 0
        self._words_end = {}
        edges: dict[tuple[Lane, int], float] = {}
        for bar in shown[-MOST_BARS:]:
            self._bar(bar, first, last, now, wide, tops, edges)
        for x, y, words, color, room in self._words:  # above all bars
            p.text(x, y, words, "cap", color, clip=room)
        self._words = []
        if first <= now <= last:
            x = self._x(now, first, wide)
            p.line(x, TOP, x, HEIGHT - AXIS, "accent", 1, tags="now")
        if not shown:
            words = (
                "Nothing in this stretch of time. End shows the newest."
                if self.timeline.bars()
                else "Nothing yet: a face, a motion or a spoken sentence appears here as it happens."
            )
            middle = TOP + (HEIGHT - AXIS - TOP) / 2
            p.text(GUTTER + (wide - GUTTER) / 2, middle, words, "small", "text3", "center")

    def _lanes(self, wide: float) -> dict[Lane, float]:
        p = self.painter
        tops: dict[Lane, float] = {}
        y = float(TOP)
        for lane in LANES:
            high = ROWS[lane] * ROW
            tops[lane] = y
            p.rect(GUTTER, y - 2, wide - GUTTER, high + 2, "bg")
            p.text(6, y + ROW / 2 - 1, TITLES[lane], "cap", "text2")
            y += high + LANE_GAP
        return tops

    def _axis(self, first: float, last: float, wide: float) -> None:
        p = self.painter
        most = max(1.0, (wide - GUTTER) / LABEL_ROOM)
        step = next((s for s in STEPS_S if self.span_s / s <= most), STEPS_S[-1])
        at = (int(first) // step + 1) * step
        while at < last:
            x = self._x(at, first, wide)
            p.line(x, TOP, x, HEIGHT - AXIS + 3, "line")
            words = f"{datetime.fromtimestamp(at).astimezone():%H:%M:%S}"
            if GUTTER + 24 < x < wide - 26:
                p.text(x, HEIGHT - AXIS / 2 + 2, words, "monos", "text3", "center")
            at += step

    def _bar(
        self,
        bar: Bar,
        first: float,
        last: float,
        now: float,
        wide: float,
        tops: dict[Lane, float],
        edges: dict[tuple[Lane, int], float],
    ) -> None:
        drawn = False
        for number, piece in enumerate(bar.pieces):
            end = piece.end_s if piece.end_s is not None else now
            if end < first or piece.start_s > last:
                continue
            y = tops[bar.lane] + piece.row * ROW
            left = max(GUTTER, self._x(max(piece.start_s, first), first, wide))
            right = min(wide, max(left + 3, self._x(min(end, last), first, wide)))
            place = (bar.lane, piece.row)
            is_chosen = bar.key == self.selected
            if right - left <= 3 and right - edges.get(place, -9.0) < 2 and not is_chosen:
                continue  # thinner than can be seen, on top of the one before
            edges[place] = max(right, edges.get(place, right))
            drawn = True
            self._piece(bar, piece, left, y, right - left)
            self.zone(
                f"{bar.key}#{number}",
                left,
                y,
                max(6.0, right - left),
                BAR,
                lambda: self._pressed_bar(bar),
                tip=bar.sentence_of(now),
                radius=3,
            )
            if is_chosen:
                self._mark(left, y, right - left)
        self.drawn_bars += drawn

    def _piece(self, bar: Bar, piece: Piece, left: float, y: float, room: float) -> None:
        p, t = self.painter, self.theme
        words, color, middle = bar.name, "text", y + BAR / 2 - 0.5
        match piece.phase:
            case "shown" if bar.lane == "audio":
                tone = "playback" if bar.outcome != "interrupted" else "wait"
                p.rect(left, y, max(2.0, room - 1), BAR, tone)  # sentences follow each other
                color = "bg"
            case "shown":
                p.rect(left, y, room, BAR, t.mix("ok_soft", "ok", 0.12))
                p.rect(left, y, min(3.0, room), BAR, "ok")
                words += f"  \u00b7  {owner_words(bar.owner)}"
            case "waiting":
                p.rect(left, y + BAR - THIN, room, THIN, t.mix("warn_soft", "warn", 0.45))
                p.rect(left, y + BAR - THIN, min(3.0, room), THIN, "warn")
                middle = y + (BAR - THIN) / 2 - 0.5
                words += f"  \u00b7  {owner_words(bar.owner)}"
            case "scheduled":
                self.create_rectangle(
                    t.px(left),
                    t.px(y + 1),
                    max(t.px(left) + 2, t.px(left + room) - 1),
                    t.px(y + BAR) - 2,
                    outline=t.color("text3"),
                    dash=(3, 3),
                )
                color = "text2"
            case "lost":
                p.rect(left, y, room, BAR, "error_soft")
                p.icon(left + min(8.0, max(3.0, room / 2)), y + BAR / 2, "x", 11, "error", 2)
                return
        place = (bar.lane, piece.row)
        if room > 28 and left + 2 >= self._words_end.get(place, 0.0):
            self._words.append((left + 6, middle, words, color, room - 10))
            self._words_end[place] = left + min(room, p.text_width(words, "cap") + 10)

    def _mark(self, x: float, y: float, width: float) -> None:
        t = self.theme
        line = max(2, t.px(2))
        self.create_rectangle(
            t.px(x) - 1,
            t.px(y) - 1,
            t.px(x + width) + 1,
            t.px(y + BAR) + 1,
            outline=t.color("accent"),
            width=line,
        )

    def _x(self, at_s: float, first_s: float, wide: float) -> float:
        return GUTTER + (at_s - first_s) / self.span_s * (wide - GUTTER)

    # --- inside

    def _set_end(self, end_s: float) -> None:
        newest = self._now_s() + self.span_s * AHEAD
        was = self._end_s
        self._end_s = None if end_s >= newest - 0.001 else end_s
        if (was is None) != (self._end_s is None):
            self._moved_to()
        self._hover(None)
        self.changed()

    def _pressed_bar(self, bar: Bar) -> None:
        if bar.key == self.selected:
            self._opened(bar)
        else:
            self.select(bar)

    def _open(self) -> str:
        bar = self.bar
        if bar is None:
            self.walk(-1)
        else:
            self._opened(bar)
        return "break"

    def _pressed(self, event: Any) -> None:
        self._hide_tip()
        self.focus_quietly()
        self._pan = (event.x, self.window_s()[1])
        zone = self._at(event)
        if zone is not None and zone.press is not None:
            zone.press()

    def _dragged(self, event: Any) -> None:
        if self._pan is not None:
            x, end = self._pan
            room = max(1.0, self.winfo_width() - self.theme.px(GUTTER))
            moved = x - event.x
            if abs(moved) >= self.theme.px(4) or self._end_s is not None:
                self._set_end(end + moved / room * self.span_s)

    def _released(self, event: Any) -> None:
        self._pan = None

    def _ring(self) -> None:
        """The lanes as a whole have the focus; the chosen bar is marked by itself."""
        self.delete("ring")
        if not self.is_quiet and focused(self) is self:
            frame_ring(self, self.theme)

    def repaint(self) -> None:
        super().repaint()
        self.configure(takefocus=1)


def spans() -> list[tuple[float, str]]:
    """The lengths of time there are, in words."""
    return [(s, f"{s:.0f} s" if s < 60 else f"{s / 60:.0f} min") for s in SPANS_S]
