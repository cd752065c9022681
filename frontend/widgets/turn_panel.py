"""One turn in figures: time to first sound, how that compares, and each stage where it lies in time."""

from __future__ import annotations

import statistics
import tkinter as tk
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from backend.contracts.entities import Span
from frontend.draw import Painter
from frontend.theme import Theme
from frontend.widgets.conversation import before_sound, seconds_in_words
from frontend.widgets.tooltip import Tooltip

PAD = 20
SCROLLBAR = 8  # it lies right of the panel and is part of its margin
ROW = 33
SLOW = 1.5  # times the median
SLOW_MS = 50.0  # differences below this are not worth a warning

TITLES = {
    "endpointing": "End of speech",
    "queue": "Queue",
    "stt": "Speech to text",
    "prompt": "Prompt",
    "llm_first_token": "LLM first token",
    "first_sentence": "First sentence",
    "tts": "Voice",
    "first_audio": "To speaker",
    "speaking": "Speaking",
    "remaining_speech": "Remaining speech",
    "writing": "Writing",
}


@dataclass(frozen=True)
class TurnView:
    """What the panel shows.

    Attributes:
        title: "Turn 141".
        outcome: "done", "interrupted", "failed", "skipped"; empty while it runs.
        at: When it began, local time.
        origin: Where the message came from.
        words: Words in the reply.
        spans: Its stages.
        first_audio_ms: Time to the first sound, None without sound.
        total_ms: Whole time.
        error: Why it failed.
    """

    title: str
    outcome: str = ""
    at: datetime | None = None
    origin: str = ""
    words: int = 0
    spans: tuple[Span, ...] = ()
    first_audio_ms: float | None = None
    total_ms: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Comparison:
    """A turn against the usual.

    Attributes:
        difference_ms: First sound later (+) or earlier (-) than the median.
        cause: The stage that explains most of a slow turn; empty when it is not slow.
        medians: Usual milliseconds per stage name.
    """

    difference_ms: float | None
    cause: str
    medians: dict[str, float]


def compare(view: TurnView, others: Iterable[tuple[float | None, Sequence[Span]]]) -> Comparison:
    """Hold a turn against others (first audio, spans); at least three are needed to call something usual."""
    firsts: list[float] = []
    stages: dict[str, list[float]] = {}
    for first, spans in others:
        if first is not None:
            firsts.append(first)
        for span in before_sound(spans):
            stages.setdefault(span.name, []).append(span.duration_ms)
    medians = {name: statistics.median(ms) for name, ms in stages.items() if len(ms) >= 3}
    if view.first_audio_ms is None or len(firsts) < 3:
        return Comparison(None, "", medians)
    difference = view.first_audio_ms - statistics.median(firsts)
    over = {
        span.name: span.duration_ms - medians[span.name]
        for span in before_sound(view.spans)
        if span.name in medians
    }
    worst = max(over, key=lambda name: over[name], default="")
    cause = worst if difference > SLOW_MS and over.get(worst, 0) > SLOW_MS else ""
    return Comparison(difference, cause, medians)


class TurnPanel(tk.Canvas):
    """The upper part of the chat's inspector; as high as it needs to be.

    A stage whose wait a setting causes names it, and a click or Enter on it opens that setting.

    Args:
        setting_of: The setting that a span's detail names; empty when it names none.
        open_setting: Called with its name.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        surface: str,
        *,
        setting_of: Callable[[str], str],
        open_setting: Callable[[str], object],
    ) -> None:
        super().__init__(master, highlightthickness=0, borderwidth=0, height=theme.px(160))
        self.label = "Stages of the turn"
        self._setting_of = setting_of
        self._open_setting = open_setting
        self._current = -1
        self._theme = theme
        self._surface = surface
        self._painter = Painter(self, theme)
        self._view: TurnView | None = None
        self._comparison = Comparison(None, "", {})
        self._rows: list[tuple[float, Span]] = []
        self._tip = Tooltip(self, theme)
        self._over = -1
        theme.tint(self, background=surface)
        theme.on_change(self, self._draw)
        self.bind("<Configure>", lambda _: self._draw())
        self.bind("<Motion>", self._hover)
        self.bind("<Leave>", lambda _: self._left())
        self.bind("<ButtonRelease-1>", lambda _: self._open(self._over))
        for sequence in ("<Return>", "<KP_Enter>", "<space>"):
            self.bind(sequence, lambda _: self._open(self._current))
        for sequence, step in (("<Up>", -1), ("<Down>", 1)):
            self.bind(sequence, lambda _, step=step: self._walk(step))  # type: ignore[misc]  # a lambda that keeps its loop variable
        self.bind("<FocusIn>", lambda _: self._walk(0), add="+")
        self.bind("<FocusOut>", lambda _: self.delete("ring"), add="+")

    def show(self, view: TurnView | None, comparison: Comparison) -> None:
        """Show a turn, or how to choose one."""
        if (view, comparison) != (self._view, self._comparison):
            self._view, self._comparison = view, comparison
            self._draw()

    def _draw(self) -> None:
        p = self._painter
        if self.winfo_width() <= 1:
            return
        p.clear()
        self._rows = []
        width = p.width - 2 * PAD + SCROLLBAR
        bottom = self._empty(width) if self._view is None else self._turn(self._view, width)
        self.configure(takefocus=1 if self._stops() else 0)
        high = self._theme.px(bottom)
        if int(self.cget("height")) != high:
            self.configure(height=high)

    def _empty(self, width: float) -> float:
        p = self._painter
        p.icon(PAD + 12, 34, "clock", 24, "text3")
        p.text(PAD, 62, "No turn yet", "title", anchor="nw")
        words = "Say something: here you see how long each stage of the answer took."
        p.text(PAD, 86, words, "small", "text3", "nw", width=width)
        return 140

    def _turn(self, view: TurnView, width: float) -> float:
        p, t = self._painter, self._theme
        y = 24.0
        right = PAD + width
        p.text(PAD, y, view.title, "title")
        color = {"done": "ok", "interrupted": "warn", "failed": "error"}.get(view.outcome, "")
        if color:
            p.chip(right, y, view.outcome, color, f"{color}_soft", anchor="e")
        else:
            p.chip(right, y, view.outcome or "running", "accent", "accent_soft", anchor="e")
        y += 22
        facts = [f"{view.at:%H:%M:%S}" if view.at else "", view.origin]
        if view.words:
            facts.append(f"{view.words} word{'s' if view.words != 1 else ''}")
        line = "  \u00b7  ".join(fact for fact in facts if fact)
        p.text(PAD, y, line, "cap", "text3", clip=width)
        y += 26
        if view.error:
            item = p.text(PAD, y, view.error[:400], "small", "error", "nw", width=width)
            box = self.bbox(item)
            y += (box[3] - box[1]) / t.scale + 10
        spans = before_sound(view.spans)
        total = view.first_audio_ms or sum(span.duration_ms for span in spans)
        if not spans:
            if not view.outcome:
                p.text(PAD, y, "The stages follow when it is over.", "small", "text3", "nw")
                y += 30
            return y
        heard = view.first_audio_ms is not None
        p.text(PAD, y, "First audio" if heard else "Until the reply", "cap", "text3")
        p.text(PAD, y + 24, seconds_in_words(total), "big")
        self._difference(right, y)
        y += 58
        if view.first_audio_ms is not None:
            total = max(total, sum(span.duration_ms for span in spans))
        for span in spans:
            usual = self._comparison.medians.get(span.name)
            slow = usual is not None and (
                span.duration_ms > SLOW * usual and span.duration_ms - usual > SLOW_MS
            )
            title = TITLES.get(span.name, span.name.replace("_", " ").capitalize())
            p.text(PAD, y, title, "small", "text" if slow else "text2", clip=width - 80)
            ms = span.duration_ms
            figure = f"{ms:,.0f} ms" if ms >= 9.95 else f"{ms:.1f} ms"
            self._cause(span, y, PAD + p.text_width(title, "small") + 10, right - 64)
            p.text(right, y, figure, "monob" if slow else "monos", "warn" if slow else "text2", "e")
            p.rect(PAD, y + 12, width, 6, t.mix("line", self._surface, 0.2))
            if total > 0:
                start = min(width - 2, width * span.start_ms / total)
                length = max(2.0, min(width - start, width * span.duration_ms / total))
                p.rect(PAD + start, y + 12, length, 6, span.stage)
            self._rows.append((y, span))
            y += ROW
        whole = sum(span.duration_ms for span in view.spans)
        p.text(PAD, y, f"All stages sum to {whole:,.0f} ms", "cap", "text3", clip=width)
        return y + 18

    def _cause(self, span: Span, y: float, left: float, right: float) -> None:
        """The setting behind a wait, small, between its name and its figure."""
        name = self._setting_of(span.detail)
        if name and right - left > 30:
            self._painter.text(left, y, name, "monos", "text3", "w", clip=right - left)

    def _stops(self) -> list[int]:
        return [n for n, (_, span) in enumerate(self._rows) if self._setting_of(span.detail)]

    def _open(self, row: int) -> str:
        if 0 <= row < len(self._rows):
            name = self._setting_of(self._rows[row][1].detail)
            if name:
                self._tip.hide()
                self._open_setting(name)
        return "break"

    def _walk(self, step: int) -> str:
        """Up and Down go through the stages that have a setting."""
        self.delete("ring")
        stops = self._stops()
        if stops:
            at = stops.index(self._current) if self._current in stops else 0
            self._current = stops[max(0, min(len(stops) - 1, at + step))]
            t = self._theme
            y = t.px(self._rows[self._current][0])
            box = (t.px(PAD - 6), y - t.px(12), self.winfo_width() - t.px(6), y + t.px(21))
            color = t.color("accent")
            self.create_rectangle(*box, outline=color, width=max(2, t.px(2)), tags="ring")
        return "break"

    def _difference(self, right: float, y: float) -> None:
        p = self._painter
        difference = self._comparison.difference_ms
        if difference is None:
            return
        if abs(difference) < SLOW_MS:
            p.text(right, y + 16, "like your median", "small", "text2", "e")
            return
        where = "over" if difference > 0 else "under"
        color = "warn" if difference > 0 else "ok"
        sign = "+" if difference > 0 else "\u2212"
        words = f"{sign}{abs(difference) / 1000:.2f} s {where} median"
        p.text(right, y + 16, words, "small", color, "e")
        if self._comparison.cause:
            title = TITLES.get(self._comparison.cause, self._comparison.cause)
            p.text(right, y + 33, f"{title} is the cause", "cap", "text3", "e")

    def _hover(self, event: tk.Event[tk.Misc]) -> None:
        y = event.y / self._theme.scale
        found = next((n for n, (top, _) in enumerate(self._rows) if top - 8 <= y < top + 24), -1)
        if found == self._over:
            return
        self._over = found
        self._tip.hide()
        name = self._setting_of(self._rows[found][1].detail) if found >= 0 else ""
        self.configure(cursor="hand2" if name else "")
        if found >= 0:
            span = self._rows[found][1]
            usual = self._comparison.medians.get(span.name)
            words = [span.detail or TITLES.get(span.name, span.name)]
            if usual is not None:
                words.append(f"usually {usual:,.0f} ms")
            if name:
                words.append(f"click opens {name}")
            self._tip.text = "\n".join(words)
            self._tip.show_at(
                self.winfo_rootx() + self._theme.px(PAD),
                self.winfo_rooty() + self._theme.px(self._rows[found][0] + 22),
            )

    def _left(self) -> None:
        self._over = -1
        self._tip.hide()
