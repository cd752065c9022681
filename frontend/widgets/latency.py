"""The sums behind the latency card: what a turn's time went into, and how that compares with the turns before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backend.contracts.entities import Span, StageName, Turn
from backend.contracts.events import TurnFinished

TARGET_MS = 1_200.0
"""From message to first sound; longer feels like waiting in a conversation."""
SLOW_RATIO = 1.5
SLOW_MS = 50.0
TITLES = {
    "endpointing": "End of speech",
    "received": "Received",
    "queue": "Queue",
    "stt": "Speech to text",
    "prompt": "Prompt",
    "llm_first_token": "LLM first token",
    "first_sentence": "First sentence",
    "tts": "Voice",
    "first_audio": "To speaker",
    "speaking": "Speaking",
    "playback": "Playback",
}


@dataclass(frozen=True, slots=True)
class TimedTurn:
    """A turn, as far as its time goes."""

    id: str
    number: int
    outcome: str
    total_ms: float
    first_audio_ms: float | None
    spans: tuple[Span, ...]
    source: str = ""

    @classmethod
    def of_turn(cls, turn: Turn) -> TimedTurn:
        """From a stored turn."""
        return cls(
            turn.id,
            turn.number,
            turn.outcome,
            turn.total_ms,
            turn.first_audio_ms,
            turn.spans,
            turn.source,
        )

    @classmethod
    def of_event(cls, event: TurnFinished, source: str = "") -> TimedTurn:
        """From the event of its end."""
        return cls(
            event.turn_id or "",
            event.number,
            event.outcome,
            event.total_ms,
            event.first_audio_ms,
            event.spans,
            source,
        )

    @property
    def waited_ms(self) -> float:
        """How long the person waited: to the first sound, or to the end where nothing was spoken."""
        return self.first_audio_ms if self.first_audio_ms is not None else self.total_ms

    def waiting_spans(self) -> list[Span]:
        """The spans before the first sound; all of them where there was none."""
        if self.first_audio_ms is None:
            return [span for span in self.spans if span.duration_ms > 0]
        end = self.first_audio_ms + 0.5
        return [
            span
            for span in self.spans
            if span.start_ms + span.duration_ms <= end and span.duration_ms > 0
        ]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the waterfall.

    Attributes:
        title: What the time went into.
        stage: Its colour.
        start_ms, ms: Where it lies in the turn.
        p50_ms, p95_ms: Of the same span in the turns before; None when there is none to compare with.
        detail: The setting or provider behind it.
        is_slow: Whether it took clearly longer than usual.
    """

    title: str
    stage: StageName
    start_ms: float
    ms: float
    p50_ms: float | None
    p95_ms: float | None
    detail: str
    is_slow: bool


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 1)
    return ordered[max(0, int(rank) - 1)]


def title_of(name: str) -> str:
    """A span's name for a person."""
    return TITLES.get(name) or name.replace("_", " ").capitalize()


def waterfall(turn: TimedTurn, turns: Iterable[TimedTurn]) -> list[Row]:
    """The lines of a turn's waterfall, with the percentiles over ``turns``."""
    times: dict[str, list[float]] = {}
    for other in turns:
        for span in other.waiting_spans():
            times.setdefault(span.name, []).append(span.duration_ms)
    rows = []
    for span in turn.waiting_spans():
        known = times.get(span.name, [])
        p50 = percentile(known, 0.50) if len(known) > 1 else None
        p95 = percentile(known, 0.95) if len(known) > 1 else None
        rows.append(
            Row(
                title=title_of(span.name),
                stage=span.stage,
                start_ms=span.start_ms,
                ms=span.duration_ms,
                p50_ms=p50,
                p95_ms=p95,
                detail=span.detail,
                is_slow=is_slow(span.duration_ms, p50),
            )
        )
    return rows


def is_slow(ms: float, p50_ms: float | None) -> bool:
    """Whether a time is so far over the usual one that a person should look."""
    return p50_ms is not None and ms > SLOW_RATIO * p50_ms and ms - p50_ms > SLOW_MS


def axis(longest_ms: float, most: int = 5) -> list[float]:
    """Round numbers from 0 to beyond the longest time, at most ``most`` steps."""
    if longest_ms <= 0:
        return [0.0, 1.0]
    step = 1.0
    while True:
        for factor in (1, 2, 2.5, 3, 5):
            if step * factor * most >= longest_ms:
                size = step * factor
                count = max(1, int(-(-longest_ms // size)))
                return [size * number for number in range(count + 1)]
        step *= 10


def in_words(ms: float) -> str:
    """A time for an axis or a figure: 300 ms, 1.2 s."""
    if ms < 1_000:
        return f"{ms:.0f} ms"
    return f"{ms / 1000:.2f}".rstrip("0").rstrip(".") + " s"


def verdict(turn: TimedTurn, turns: Sequence[TimedTurn]) -> str:
    """How a turn compares with the others, in words; "" when there is nothing to compare with."""
    others = [other.waited_ms for other in turns if other.id != turn.id]
    if len(others) < 3:
        return ""
    median = percentile(others, 0.5)
    difference = turn.waited_ms - median
    if abs(difference) < max(30.0, 0.05 * median):
        return "as fast as usual"
    if difference < 0:
        return f"{in_words(-difference)} faster than usual"
    slow = [row for row in waterfall(turn, turns) if row.p50_ms is not None]
    cause = max(slow, key=lambda row: row.ms - (row.p50_ms or 0), default=None)
    words = f"{in_words(difference)} slower than usual"
    if cause is None or cause.p50_ms is None or cause.ms <= cause.p50_ms:
        return words
    because = (
        f"{words}: {cause.title} took {in_words(cause.ms)} instead of {in_words(cause.p50_ms)}"
    )
    return because + (f" ({cause.detail})" if cause.detail else "")
