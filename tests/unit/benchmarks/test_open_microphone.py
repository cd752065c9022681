"""What the soak of the open microphone calls growth."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from benchmarks.open_microphone import Sample, judge, slope

LENGTH_S = 600.0
REST = Sample(0, True, 300.0, 330.0, 390.0, 100.0, threads=53, handles=70, children=4, tasks=17)


def rests(per_hour_mb: float = 0.0, noise_mb: float = 0.5) -> list[Sample]:
    """A rest every 50 s, with memory that goes up and down by chance, and up."""
    dice = random.Random(1)
    return [
        replace(
            REST,
            at_s=at_s,
            own_mb=300 + per_hour_mb * at_s / LENGTH_S + dice.uniform(-noise_mb, noise_mb),
        )
        for at_s in range(50, 601, 50)
    ]


def test_memory_that_only_goes_up_and_down_does_not_grow() -> None:
    assert judge(rests(), LENGTH_S).faults == ()


def test_memory_that_grows_by_some_megabytes_an_hour_is_a_fault() -> None:
    found = judge(rests(per_hour_mb=6), LENGTH_S)
    assert found.growth_mb == pytest.approx(6, abs=2)
    assert "memory grows" in found.faults[0]
    assert judge(rests(per_hour_mb=6), LENGTH_S, wanted_mb=10).faults == ()


def test_what_the_first_minutes_take_is_no_growth() -> None:
    warming = [
        replace(one, own_mb=one.own_mb - 100, threads=20) if one.at_s <= 200 else one
        for one in rests()
    ]
    assert judge(warming, LENGTH_S).faults == ()
    assert judge(warming, LENGTH_S).ratio > 1.2


@pytest.mark.parametrize("name", ["threads", "handles", "children", "tasks"])
def test_one_thread_handle_child_or_coroutine_more_is_a_fault(name: str) -> None:
    samples = rests()
    samples[-1] = replace(samples[-1], **{name: getattr(REST, name) + 1})
    assert judge(samples, LENGTH_S).faults == (f"1 {name} more than before",)


def test_what_is_used_while_people_speak_is_no_growth() -> None:
    busy = [replace(one, is_rest=False, at_s=one.at_s + 10, threads=60) for one in rests()]
    samples = sorted([*rests(), *busy], key=lambda one: one.at_s)
    assert judge(samples, LENGTH_S).threads == 0


def test_the_slope_does_not_follow_single_outliers() -> None:
    times = [n / 10 for n in range(10)]
    values = [2 * at for at in times]
    values[3] = 50
    found, _ = slope(times, values)
    assert found == pytest.approx(2, abs=0.01)
