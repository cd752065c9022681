"""The sums behind the latency card."""

from __future__ import annotations

import pytest

from backend.contracts.entities import Span
from frontend.widgets.latency import TimedTurn, axis, in_words, percentile, verdict, waterfall


def turn(number: int, *times: tuple[str, str, float], speaking_ms: float = 3_000) -> TimedTurn:
    spans, at = [], 0.0
    for name, stage, ms in times:
        spans.append(Span(name=name, stage=stage, start_ms=at, duration_ms=ms, detail=f"by {name}"))
        at += ms
    spans.append(Span(name="speaking", stage="playback", start_ms=at, duration_ms=speaking_ms))
    return TimedTurn(f"t{number}", number, "done", at + speaking_ms, at, tuple(spans))


def usual(number: int, llm_ms: float = 200) -> TimedTurn:
    return turn(
        number, ("prompt", "prompt", 10), ("llm_first_token", "llm", llm_ms), ("tts", "tts", 100)
    )


def test_a_waterfall_ends_with_the_first_sound_and_keeps_its_order() -> None:
    rows = waterfall(usual(1), [usual(n) for n in range(5)])
    assert [row.title for row in rows] == ["Prompt", "LLM first token", "Voice"]
    assert [row.start_ms for row in rows] == [0, 10, 210]
    assert rows[1].detail == "by llm_first_token"


def test_a_turn_without_sound_shows_all_its_spans() -> None:
    silent = TimedTurn(
        "t", 1, "failed", 50, None, (Span(name="queue", stage="wait", start_ms=0, duration_ms=50),)
    )
    assert [row.title for row in waterfall(silent, [])] == ["Queue"]


def test_the_percentiles_are_of_the_same_span_of_the_other_turns() -> None:
    turns = [usual(n, llm_ms=100 + n) for n in range(1, 101)]
    row = waterfall(turns[0], turns)[1]
    assert (row.p50_ms, row.p95_ms) == (150, 195)


def test_a_row_is_slow_when_it_is_far_over_its_median() -> None:
    turns = [usual(n) for n in range(9)] + [usual(9, llm_ms=600)]
    assert [row.is_slow for row in waterfall(turns[-1], turns)] == [False, True, False]
    small = [turn(n, ("queue", "wait", 5)) for n in range(9)] + [turn(9, ("queue", "wait", 40))]
    assert not waterfall(small[-1], small)[0].is_slow, "35 ms are nothing to look at"


def test_one_turn_alone_has_nothing_to_compare_with() -> None:
    row = waterfall(usual(1), [usual(1)])[0]
    assert (row.p50_ms, row.p95_ms, row.is_slow) == (None, None, False)


def test_the_verdict_names_the_cause_and_what_is_behind_it() -> None:
    turns = [usual(n) for n in range(9)] + [usual(9, llm_ms=600)]
    assert verdict(turns[-1], turns) == (
        "400 ms slower than usual: LLM first token took 600 ms instead of 200 ms (by llm_first_token)"
    )
    assert verdict(turns[0], turns) == "as fast as usual"
    assert verdict(usual(99, llm_ms=50), turns) == "150 ms faster than usual"
    assert verdict(turns[0], turns[:2]) == ""


@pytest.mark.parametrize(
    ("longest", "ticks"),
    [
        (1118, [0, 250, 500, 750, 1000, 1250]),
        (4.2, [0, 1, 2, 3, 4, 5]),
        (0, [0, 1]),
        (95, [0, 20, 40, 60, 80, 100]),
    ],
)
def test_an_axis_has_few_round_steps(longest: float, ticks: list[float]) -> None:
    assert axis(longest) == ticks


def test_an_axis_reaches_the_longest_time_in_few_steps() -> None:
    for longest in (1, 7, 33, 412, 999, 1001, 87_654, 3.2e6):
        ticks = axis(longest)
        assert ticks[-1] >= longest
        assert len(ticks) <= 6


def test_times_read_like_times() -> None:
    assert [in_words(ms) for ms in (8.4, 999, 1000, 1250, 12_300)] == [
        "8 ms", "999 ms", "1 s", "1.25 s", "12.3 s",
    ]  # fmt: skip


def test_percentiles_are_by_nearest_rank() -> None:
    assert percentile([4, 1, 3, 2], 0.5) == 2
    assert percentile([7], 0.95) == 7
