"""What the watch of the loop calls a stall, and whose fault it is."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from benchmarks.loop_stall import _own_ms
from benchmarks.watching.sitecustomize import Beat

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="only this system tells who waited for a core"
)


def test_waiting_for_a_core_is_nobodys_stall() -> None:
    assert _own_ms(0.080, 0.004, 0.002, 0.070, 0.0) == pytest.approx(10)
    assert _own_ms(0.080, 0.004, 0.002, 0.030, 0.050) == pytest.approx(6)


def test_what_the_process_computed_counts_whatever_else_waited() -> None:
    assert _own_ms(0.080, 0.060, 0.010, 0.500, 0.500) == pytest.approx(70)
    assert _own_ms(0.010, 0.060, 0.010, 0.0, 0.0) == pytest.approx(10)


def test_a_call_that_blocks_counts_though_nobody_computed() -> None:
    assert _own_ms(0.080, 0.001, 0.0, 0.0, 0.0) == pytest.approx(80)


async def test_a_blocked_loop_is_seen_with_the_line_that_blocks_it() -> None:
    watch = Beat(asyncio.get_running_loop())
    while len(watch.beats) < 3:
        await asyncio.sleep(0.005)

    def stumble() -> None:
        time.sleep(0.4)  # the stall that is to be seen

    stumble()
    beats = len(watch.beats)
    while len(watch.beats) < beats + 3:
        await asyncio.sleep(0.005)
    await asyncio.to_thread(watch.end)

    longest = max(watch.beats)
    assert longest[0] > 0.39
    worst = max(watch.stalls, key=lambda one: float(str(one["late_ms"])))
    assert "stumble" in str(worst["loop"])
