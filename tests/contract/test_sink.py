"""What every place where sound goes keeps, whoever plays it."""

from __future__ import annotations

import asyncio
import sys
from array import array
from collections.abc import AsyncIterator
from typing import Any

import pytest

from backend.contracts.entities import Audio
from backend.outputs import SINKS
from backend.outputs.base import OverlayOptions, Sink
from tests.fake_sounddevice import Binding

RATE_HZ = 16_000


def tone(seconds: float) -> Audio:
    return Audio(array("h", [4000, -4000] * int(seconds * RATE_HZ / 2)).tobytes(), RATE_HZ)


@pytest.fixture(params=SINKS.names)
async def sink(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Sink]:
    monkeypatch.setitem(sys.modules, "sounddevice", Binding())
    options: Any = OverlayOptions(listeners=lambda: 1) if request.param == "overlay" else None
    one: Sink = SINKS.create(request.param, options)
    yield one
    await one.close()


def nothing(_position_s: float, _level_dbfs: float) -> None:
    pass


async def test_a_sound_is_played_to_its_end(sink: Sink) -> None:
    assert await sink.play(tone(0.2), nothing) == pytest.approx(0.2, abs=0.001)


async def test_positions_grow_within_the_sound_and_come_before_its_end_only(sink: Sink) -> None:
    told: list[tuple[float, float]] = []
    await sink.play(tone(0.2), lambda position, level: told.append((position, level)))
    count = len(told)
    positions = [position for position, _ in told if position >= 0]
    assert positions == sorted(positions)
    assert all(0 <= position <= 0.2 for position in positions)
    assert sum(position < 0 for position, _ in told) <= 1
    assert all(position >= 0 for position, _ in told[1:])
    assert all(-120 <= level <= 0 for _, level in told)
    await asyncio.sleep(0)
    assert len(told) == count


async def test_a_stop_ends_it_and_what_was_to_follow(sink: Sink) -> None:
    first, second = tone(5.0), tone(0.1)
    playing = asyncio.create_task(sink.play(first, nothing))
    await asyncio.sleep(0)
    await sink.follow(second)
    sink.stop()
    async with asyncio.timeout(2):
        heard_s = await playing
    # A sink without sound has been through with it at once.
    assert heard_s < 2.5 or sink.name == "none"
    assert await sink.play(second, nothing) == pytest.approx(0.1, abs=0.001)


async def test_sounds_follow_each_other(sink: Sink) -> None:
    first, second = tone(0.12), tone(0.1)
    playing = asyncio.create_task(sink.play(first, nothing))
    await asyncio.sleep(0)
    await sink.follow(second)
    assert await playing == pytest.approx(0.12, abs=0.001)
    assert await sink.play(second, nothing) == pytest.approx(0.1, abs=0.001)


async def test_whoever_waits_may_leave_and_the_next_sound_plays(sink: Sink) -> None:
    playing = asyncio.create_task(sink.play(tone(5.0), nothing))
    await asyncio.sleep(0)
    playing.cancel()
    await asyncio.wait([playing])
    sink.stop()
    assert await sink.play(tone(0.1), nothing) == pytest.approx(0.1, abs=0.001)


async def test_nothing_sounds_before_anything_was_played(sink: Sink) -> None:
    assert sink.sounding() == []
    sink.stop()
    sink.set_volume(0.5)
    await sink.follow(tone(0.1))
    await sink.set_device("")
    assert isinstance(await sink.devices(), list)


async def test_silence_has_no_level(sink: Sink) -> None:
    levels: list[float] = []
    sink.set_volume(0.0)
    await sink.play(tone(0.1), lambda _position, level: levels.append(level))
    assert all(level <= -100 for level in levels)
