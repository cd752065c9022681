"""What became of every request to the avatar, as bars over time beside the sound: the model of the conflict timeline.

Plain data without a widget. Lines of the timeline (`CueEntry`) and the playback events make bars; a bar is cut into
pieces wherever its state changed. The top row of a lane is what was seen, one thing at a time; what was not lies below it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from backend.contracts.avatar import CueEntry, CueOutcome
from backend.contracts.entities import STAGE
from backend.contracts.events import Event, PlaybackFinished, PlaybackStarted

Lane = Literal["expression", "motion", "audio"]
Phase = Literal["scheduled", "shown", "waiting", "lost"]
"""Made with a sentence that is not heard yet; seen or heard; yields to something else; never came to be seen."""

LANES: tuple[Lane, ...] = ("expression", "motion", "audio")
ROWS: dict[Lane, int] = {"expression": 4, "motion": 3, "audio": 1}
"""Rows of a lane: what is seen, then what is not; what does not fit lies in the last, and is in the list in any case."""

KEPT_BARS = 4000
KEPT_LINES = 3000
MARK_S = 0.4
"""Length of what has none: refused, or thrown away without having been seen."""

PHASES: dict[CueOutcome, Phase | None] = {
    "scheduled": "scheduled",
    "shown": "shown",
    "resumed": "shown",
    "waiting": "waiting",
    "preempted": "waiting",
    "expired": None,
    "finished": None,
    "released": None,
    "refused": None,
    "dropped": None,
}
"""What a line begins; None: it is the last one of its request."""

OUTCOMES: dict[CueOutcome, str] = {
    "scheduled": "with its sentence",
    "shown": "shown",
    "waiting": "waits",
    "preempted": "pre-empted",
    "resumed": "shown again",
    "expired": "its time was over",
    "finished": "played to its end",
    "released": "let go",
    "refused": "refused",
    "dropped": "dropped",
}

OWNERS = {
    "chat": "her reply",
    "api": "the API",
    "window": "the window",
    "page": "a control page",
    "command": "a chat command",
    "client": "a client",
    "autonomy": "autonomy",
}


def owner_words(owner: str) -> str:
    """Who asked, in words; names nobody knows stay as they are."""
    head, _, rest = owner.partition(":")
    known = OWNERS.get(head)
    return f"{known} {rest}".strip() if known else owner or "nobody"


@dataclass(slots=True)
class Piece:
    """A part of a bar in which its state was the same; seconds since 1970, without an end while it lasts."""

    phase: Phase
    start_s: float
    end_s: float | None = None
    by: str = ""
    reason: str = ""
    row: int = 0


@dataclass(slots=True)
class Bar:
    """One request, or one sentence that was heard."""

    key: str
    lane: Lane
    name: str
    owner: str
    priority: int = 0
    turn_id: str = ""
    sentence: int | None = None
    outcome: str = ""
    """What the last line said of it."""
    pieces: list[Piece] = field(default_factory=list)

    @property
    def start_s(self) -> float:
        """When it is first known of."""
        return self.pieces[0].start_s

    @property
    def end_s(self) -> float | None:
        """When it was over; None while it lasts."""
        return self.pieces[-1].end_s

    def sentence_of(self, now_s: float) -> str:
        """The whole bar in words."""
        last = self.pieces[-1]
        length = max(0.0, (last.end_s or now_s) - self.start_s)
        if self.lane == "audio":
            heard = "" if self.outcome != "interrupted" else ", interrupted"
            return f"Heard for {seconds(length)}{heard}: \u201c{self.name}\u201d"
        what = "Expression" if self.lane == "expression" else "Motion"
        parts = [f"{what} {self.name}, asked by {owner_words(self.owner)}"]
        parts.append(f"priority {self.priority}")
        if self.sentence is not None:
            parts.append(f"sentence {self.sentence}")
        seen = sum(
            (piece.end_s or now_s) - piece.start_s
            for piece in self.pieces
            if piece.phase == "shown"
        )
        if seen > 0:
            parts.append(f"shown for {seconds(seen)}")
        taken = [piece for piece in self.pieces if piece.by]
        if taken:
            parts.append(f"{by_words(taken[-1].by, taken[-1].reason)}")
        words = OUTCOMES.get(self.outcome, self.outcome)  # type: ignore[call-overload]  # outcomes of a newer backend stay as they are
        if self.outcome not in ("shown", "preempted"):
            parts.append(words)
        reason = next(
            (piece.reason for piece in reversed(self.pieces) if piece.reason and not piece.by), ""
        )
        return ", ".join(parts) + (f": {reason}" if reason else "")


def by_words(by: str, name: str) -> str:
    """What a request had to yield to, in words."""
    return (
        f"pre-empted by {name} of {owner_words(by)}" if name else f"pre-empted by {owner_words(by)}"
    )


def seconds(length_s: float) -> str:
    """A length in words."""
    if length_s < 60:
        return f"{length_s:.1f} s"
    minutes, rest = divmod(round(length_s), 60)
    return f"{minutes} min {rest:02d} s"


class Timeline:
    """Bars and lines of one character; Tk thread only.

    Attributes:
        lines: Every line, oldest first.
        total: Lines ever taken, also those no longer kept.
        version: Grows with every change.
    """

    def __init__(self) -> None:
        self.lines: deque[CueEntry] = deque(maxlen=KEPT_LINES)
        self.total = 0
        self.version = 0
        self._bars: deque[Bar] = deque(maxlen=KEPT_BARS)
        self._by_key: dict[str, Bar] = {}
        self._taken: dict[Lane, list[str]] = {lane: [""] * ROWS[lane] for lane in LANES}
        self._seen: set[tuple[int, str, float]] = set()

    def clear(self) -> None:
        """Forget everything."""
        self.lines.clear()
        self._bars.clear()
        self._by_key.clear()
        self._seen.clear()
        self._taken = {lane: [""] * ROWS[lane] for lane in LANES}
        self.version += 1

    def load(self, entries: Iterable[CueEntry]) -> None:
        """What the backend remembers instead of what is known of expressions and motions; sound stays."""
        sound = [bar for bar in self._bars if bar.lane == "audio"]
        self.clear()
        for bar in sound:
            self._keep(bar)
        for entry in sorted(entries, key=lambda one: (one.at, one.id)):
            self.add(entry)

    def add(self, entry: CueEntry) -> None:
        """One more line; one that is known already changes nothing."""
        at = entry.at.timestamp()
        mark = (entry.id, entry.outcome, at)
        if mark in self._seen:
            return
        if len(self._seen) > 2 * KEPT_LINES:
            self._seen = {(one.id, one.outcome, one.at.timestamp()) for one in self.lines}
        self._seen.add(mark)
        self.lines.append(entry)
        self.total += 1
        self.version += 1
        key = f"{entry.kind}:{entry.id}"
        bar = self._by_key.get(key)
        phase = PHASES.get(entry.outcome)
        if bar is None or bar.end_s is not None:
            bar = Bar(
                key,
                entry.kind,
                entry.name,
                entry.owner,
                entry.priority,
                entry.turn_id or "",
                entry.sentence,
                outcome=entry.outcome,
            )
            self._begin(bar, phase or "lost", at, entry)
            if not phase or entry.is_final:
                bar.pieces[-1].end_s = at if phase else at + MARK_S
                self._free(bar)
            self._keep(bar)
            return
        bar.outcome = entry.outcome
        last = bar.pieces[-1]
        if phase == last.phase and not entry.is_final:
            last.by, last.reason = entry.by or last.by, entry.reason or last.reason
            return
        last.end_s = max(at, last.start_s)
        self._free(bar)
        if phase is not None and not entry.is_final:
            self._begin(bar, phase, last.end_s, entry)
            return
        last.reason = entry.reason or last.reason
        last.by = entry.by or last.by
        if all(piece.phase != "shown" for piece in bar.pieces):
            self._begin(bar, "lost", last.end_s, entry)
            bar.pieces[-1].end_s = last.end_s + MARK_S
            self._free(bar)

    def on_event(self, event: Event) -> bool:
        """The sound that goes with it; whether it changed anything."""
        match event:
            case PlaybackStarted(conversation_id=where) if where == STAGE and event.sink != "none":
                self._end_sound(event.at.timestamp(), event.turn_id or "")
                key = f"audio:{event.turn_id}:{event.n}:{event.at.timestamp():.3f}"
                bar = Bar(key, "audio", event.text, "", 0, event.turn_id or "", event.n)
                bar.pieces.append(Piece("shown", event.at.timestamp()))
                self._taken["audio"][0] = key
                self._keep(bar)
            case PlaybackFinished(conversation_id=where) if where == STAGE:
                if not self._end_sound(
                    event.at.timestamp(), "", "interrupted" if event.interrupted else "finished"
                ):
                    return False
            case _:
                return False
        self.version += 1
        return True

    def between(self, first_s: float, last_s: float, now_s: float) -> list[Bar]:
        """The bars that touch a stretch of time, in the order of their starts."""
        return [
            bar
            for bar in self._bars
            if bar.start_s < last_s and (bar.end_s if bar.end_s is not None else now_s) >= first_s
        ]

    def bars(self) -> list[Bar]:
        """All bars that are kept, in the order in which they came."""
        return list(self._bars)

    def bar_of(self, entry: CueEntry) -> Bar | None:
        """The bar a line belongs to, while it is kept."""
        return self._by_key.get(f"{entry.kind}:{entry.id}")

    @property
    def is_open(self) -> bool:
        """Whether something lasts, so that bars grow."""
        return any(any(rows) for rows in self._taken.values())

    @property
    def last_s(self) -> float:
        """When something was last known to happen; 0 = never."""
        ends = [bar.end_s or bar.pieces[-1].start_s for bar in list(self._bars)[-20:]]
        return max(ends, default=0.0)

    def _end_sound(self, at_s: float, _turn_id: str, outcome: str = "finished") -> bool:
        key = self._taken["audio"][0]
        bar = self._by_key.get(key)
        if bar is None or bar.end_s is not None:
            return False
        bar.pieces[-1].end_s = max(at_s, bar.start_s)
        bar.outcome = outcome
        self._free(bar)
        return True

    def _keep(self, bar: Bar) -> None:
        if len(self._bars) == KEPT_BARS:
            oldest = self._bars[0]
            if self._by_key.get(oldest.key) is oldest:
                del self._by_key[oldest.key]
            self._free(oldest)
        self._bars.append(bar)
        self._by_key[bar.key] = bar

    def _begin(self, bar: Bar, phase: Phase, at_s: float, entry: CueEntry) -> None:
        """One more piece of a bar: seen in the top row, else in the first row below that is free."""
        rows = self._taken[bar.lane]
        row = 0
        if phase != "shown":
            row = next((n for n, key in enumerate(rows) if n and not key), len(rows) - 1)
        bar.pieces.append(Piece(phase, at_s, None, entry.by, entry.reason, row))
        if not rows[row] or not row:
            rows[row] = bar.key

    def _free(self, bar: Bar) -> None:
        rows = self._taken[bar.lane]
        for number, key in enumerate(rows):
            if key == bar.key:
                rows[number] = ""
