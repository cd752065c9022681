"""Percentiles over turns, and parts of files."""

from __future__ import annotations

import pytest

from backend.api.latency import latency_of, percentile
from backend.api.ranges import ranged
from backend.contracts.entities import Span, Turn
from backend.core.clock import now


def turn(llm_ms: float, outcome: str = "done", first_audio_ms: float | None = None) -> Turn:
    return Turn(
        id="t",
        conversation_id="stage",
        character_id="c",
        number=1,
        author="you",
        source="api",
        message="m",
        reply="r",
        outcome=outcome,  # type: ignore[arg-type]
        total_ms=llm_ms + 2,
        first_audio_ms=first_audio_ms,
        started_at=now(),
        spans=(
            Span(name="queue", stage="wait", start_ms=0, duration_ms=2),
            Span(name="llm_first_token", stage="llm", start_ms=2, duration_ms=llm_ms / 2),
            Span(
                name="first_sentence", stage="llm", start_ms=2 + llm_ms / 2, duration_ms=llm_ms / 2
            ),
        ),
    )


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.95) == 95
    assert percentile([7.0], 0.95) == 7
    assert percentile([3.0, 1.0], 0.5) == 1


def test_spans_of_a_stage_are_added_up_per_turn() -> None:
    found = latency_of([turn(float(n)) for n in range(1, 21)])
    llm = next(stage for stage in found.stages if stage.stage == "llm")
    assert (found.turns, llm.turns, llm.p50_ms, llm.p95_ms, llm.max_ms) == (20, 20, 10, 19, 20)


def test_turns_that_did_not_end_well_do_not_count() -> None:
    found = latency_of([turn(1000, "failed"), turn(1000, "interrupted"), turn(10)])
    assert found.turns == 1
    assert {stage.max_ms for stage in found.stages if stage.stage == "llm"} == {10}


def test_without_turns_there_is_nothing_to_tell() -> None:
    assert latency_of([]).stages == []


DATA = bytes(range(100))


@pytest.mark.parametrize(
    ("wanted", "status", "body", "content_range"),
    [
        ("", 200, DATA, None),
        ("bytes=0-9", 206, DATA[:10], "bytes 0-9/100"),
        ("bytes=90-", 206, DATA[90:], "bytes 90-99/100"),
        ("bytes=-5", 206, DATA[95:], "bytes 95-99/100"),
        ("bytes=-500", 206, DATA, "bytes 0-99/100"),
        ("bytes=50-5000", 206, DATA[50:], "bytes 50-99/100"),
        ("bytes=100-", 416, None, "bytes */100"),
        ("bytes=9-3", 416, None, "bytes */100"),
        ("bytes=-0", 416, None, "bytes */100"),
        ("bytes=0-1,5-6", 200, DATA, None),
        ("lines=1-2", 200, DATA, None),
        ("bytes=-", 200, DATA, None),
        ("bytes=a-b", 200, DATA, None),
    ],
)
def test_a_range_gives_that_part_and_nonsense_the_whole(
    wanted: str, status: int, body: bytes | None, content_range: str | None
) -> None:
    answer = ranged(DATA, wanted, "audio/wav", {})
    assert answer.status_code == status
    assert answer.headers.get("content-range") == content_range
    if body is not None:
        assert answer.body == body
        assert answer.headers["accept-ranges"] == "bytes"
