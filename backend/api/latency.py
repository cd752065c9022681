"""Where the time of the last turns went: percentiles per stage."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from backend.contracts.entities import Turn


class StageLatency(BaseModel):
    """One stage over several turns.

    Attributes:
        stage: One of the six stages, "first_audio" (message to first sound) or "total".
        turns: How many turns had it.
        p50_ms, p95_ms: Percentiles by nearest rank.
    """

    stage: str
    turns: int
    p50_ms: float
    p95_ms: float
    max_ms: float


class Latency(BaseModel):
    """Percentiles per stage over the last turns that were answered."""

    turns: int
    stages: list[StageLatency]


STAGES = ("wait", "stt", "prompt", "llm", "tts", "playback")


def latency_of(turns: Sequence[Turn]) -> Latency:
    """Percentiles over those of ``turns`` that were answered to the end."""
    done = [turn for turn in turns if turn.outcome == "done"]
    rows: dict[str, list[float]] = {name: [] for name in (*STAGES, "first_audio", "total")}
    for turn in done:
        for name, duration_ms in stage_times(turn).items():
            rows[name].append(duration_ms)
        if turn.first_audio_ms is not None:
            rows["first_audio"].append(turn.first_audio_ms)
        rows["total"].append(turn.total_ms)
    return Latency(
        turns=len(done),
        stages=[
            StageLatency(
                stage=name,
                turns=len(values),
                p50_ms=round(percentile(values, 0.50), 3),
                p95_ms=round(percentile(values, 0.95), 3),
                max_ms=round(max(values), 3),
            )
            for name, values in rows.items()
            if values
        ],
    )


def stage_times(turn: Turn) -> dict[str, float]:
    """Milliseconds of a turn per stage, in the order in which the stages began."""
    times: dict[str, float] = {}
    for span in turn.spans:
        times[span.stage] = times.get(span.stage, 0.0) + span.duration_ms
    return times


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of ``values`` do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 1)  # ceiling
    return ordered[max(0, int(rank) - 1)]
