"""The sink that overlay pages play for: it keeps the time, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import math
from array import array

import pytest

from backend.contracts.entities import Audio
from backend.outputs.base import OverlayOptions
from backend.outputs.overlay import STARTS_S, TICK_S, Overlay

RATE_HZ = 16_000


def tone(seconds: float, amplitude: float = 9000) -> Audio:
    wave = (
        round(amplitude * math.sin(2 * math.pi * 400 * n / RATE_HZ))
        for n in range(round(seconds * RATE_HZ))
    )
    return Audio(array("h", wave).tobytes(), RATE_HZ)


class Time:
    """Waiting takes no time here; the clock jumps instead, at times a little too far, as a busy loop does."""

    def __init__(self, late_s: float = 0.0) -> None:
        self.now_s = 1000.0
        self.late_s = late_s

    async def wait(self, stop: asyncio.Event, seconds: float) -> None:
        assert seconds > 0
        await asyncio.sleep(0)
        if not stop.is_set():
            self.now_s += seconds + self.late_s


class Room:
    """A sink with so many pages, and what it told."""

    def __init__(self, pages: int = 1, late_s: float = 0.0) -> None:
        self.pages = pages
        self.time = Time(late_s)
        self.counts: list[int] = []
        self.told: list[tuple[float, float, float]] = []
        self.sink = Overlay(
            OverlayOptions(
                listeners=lambda: self.pages,
                played_for=self.counts.append,
                now_s=lambda: self.time.now_s,
                wait=self.time.wait,
            )
        )

    def progress(self, position_s: float, level_dbfs: float) -> None:
        self.told.append((self.time.now_s, position_s, level_dbfs))


async def test_a_page_is_told_before_the_first_sample_sounds() -> None:
    room = Room()
    assert await room.sink.play(tone(0.3), room.progress) == pytest.approx(0.3)
    at_s, position_s, _ = room.told[0]
    assert position_s == pytest.approx(-STARTS_S)
    assert room.told[1][0] - at_s == pytest.approx(STARTS_S)
    assert room.told[1][1] == pytest.approx(0.0, abs=1e-6)
    assert room.time.now_s == pytest.approx(1000 + STARTS_S + 0.3)


async def test_positions_come_10_to_20_times_a_second_with_the_level_of_the_sound() -> None:
    room = Room(late_s=0.004)
    quiet = tone(1.0, 900)
    sound = Audio(tone(1.0).pcm + quiet.pcm, RATE_HZ)
    await room.sink.play(sound, room.progress)
    sounding = room.told[1:]
    assert 20 <= len(sounding) <= 41
    assert TICK_S <= 0.1
    loud = [level for _, position, level in sounding if position < 0.9]
    soft = [level for _, position, level in sounding if position > 1.05]
    assert loud == pytest.approx([-14.2] * len(loud), abs=0.5)
    assert soft == pytest.approx([-34.2] * len(soft), abs=0.5)


async def test_without_a_page_the_show_goes_on_in_real_time_and_nobody_waits() -> None:
    room = Room(pages=0)
    assert await room.sink.play(tone(0.3), room.progress) == pytest.approx(0.3)
    assert room.told[0][1] == 0.0
    assert room.time.now_s == pytest.approx(1000.3)
    assert room.counts == [0]
    assert room.sink.sounding(10) == []


async def test_an_announced_sentence_begins_where_the_one_before_ends() -> None:
    room = Room(late_s=0.01)
    first, second = tone(0.3), tone(0.2)
    playing = asyncio.create_task(room.sink.play(first, room.progress))
    await asyncio.sleep(0)
    await room.sink.follow(second)
    await playing
    room.told.clear()
    room.time.now_s += 0.004  # until the player hands it over
    await room.sink.play(second, room.progress)
    ends_s = 1000 + STARTS_S + 0.3
    at_s, position_s, _ = room.told[0]
    assert at_s - position_s == pytest.approx(ends_s)
    assert position_s >= 0


async def test_one_that_was_not_announced_gets_its_time_to_start() -> None:
    room = Room()
    await room.sink.play(tone(0.1), room.progress)
    room.told.clear()
    await room.sink.play(tone(0.1), room.progress)
    assert room.told[0][1] == pytest.approx(-STARTS_S)


async def test_a_stop_says_what_was_heard_and_forgets_what_was_to_follow() -> None:
    room = Room()
    second = tone(0.2)

    def progress(position_s: float, level_dbfs: float) -> None:
        room.progress(position_s, level_dbfs)
        if position_s >= 0.1:
            room.sink.stop()

    playing = asyncio.create_task(room.sink.play(tone(5.0), progress))
    await asyncio.sleep(0)
    await room.sink.follow(second)
    assert await playing == pytest.approx(0.1, abs=0.06)
    room.told.clear()
    await room.sink.play(second, room.progress)
    assert room.told[0][1] == pytest.approx(-STARTS_S)


async def test_a_stop_before_the_first_sample_means_nothing_was_heard() -> None:
    room = Room()
    playing = asyncio.create_task(room.sink.play(tone(5.0), room.progress))
    await asyncio.sleep(0)
    room.sink.stop()
    assert await playing == 0.0


async def test_the_echo_guard_knows_what_pages_play_as_loud_as_they_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = Room()
    monkeypatch.setattr("backend.outputs.recent.monotonic_s", lambda: room.time.now_s)
    sound = tone(0.5)
    await room.sink.play(sound, room.progress)
    (heard,) = room.sink.sounding(2)
    assert heard.at_s == pytest.approx(1000 + STARTS_S)
    assert heard.pcm == sound.pcm
    room.sink.set_volume(0.5)
    await room.sink.play(tone(0.5), room.progress)
    heard = room.sink.sounding(0.3)[-1]
    assert max(array("h", heard.pcm)) == pytest.approx(4500, abs=2)


async def test_what_follows_a_stopped_sentence_at_once_begins_when_pages_begin_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = Room()
    monkeypatch.setattr("backend.outputs.recent.monotonic_s", lambda: room.time.now_s)

    def stop_early(position_s: float, _level: float) -> None:
        if position_s > 0.2:
            room.sink.stop()

    await room.sink.play(tone(1.0), stop_early)
    asked_s, made = room.time.now_s, tone(1.0)
    await room.sink.play(made, room.progress)
    heard = room.sink.sounding(10)[-1]
    assert heard.at_s == pytest.approx(asked_s + STARTS_S)
    assert heard.pcm == made.pcm
    assert heard.is_sure


async def test_pages_that_come_and_go_are_counted_at_every_sentence() -> None:
    room = Room(pages=0)
    await room.sink.play(tone(0.1), room.progress)
    room.pages = 2
    await room.sink.play(tone(0.1), room.progress)
    assert room.counts == [0, 2]
