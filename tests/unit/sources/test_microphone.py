"""The microphone as a source: any device becomes frames of 16 kHz, and no fault of it is the end."""

from __future__ import annotations

import asyncio
import math
import threading
from array import array
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from backend.audio import wav
from backend.clients.microphone import FileMicrophones, InputDevice, OnProblem, OnSound
from backend.contracts.errors import EngineUnavailableError
from backend.sources import SOUND_SOURCES, microphone
from backend.sources.base import MicrophoneOptions, SoundLevel, SourceState
from backend.sources.microphone import MicrophoneSource


class Line:
    """An open fake; the test speaks into it."""

    def __init__(self, device: str, rate_hz: int, on_sound: OnSound, on_problem: OnProblem) -> None:
        self.device = device
        self.rate_hz = rate_hz
        self.on_sound = on_sound
        self.on_problem = on_problem
        self.is_closed = False

    async def close(self) -> None:
        self.is_closed = True

    def speak(self, seconds: float, size: int = 8_000) -> None:
        turn = 2 * math.pi * 440 / self.rate_hz
        samples = (round(size * math.sin(turn * n)) for n in range(round(seconds * self.rate_hz)))
        self.on_sound(array("h", samples).tobytes())


class Desk:
    """Where fake microphones are: those plugged in, by name with their rate; the first one is the system's."""

    def __init__(self, **plugged: int) -> None:
        self.plugged = plugged
        self.lines: list[Line] = []
        self.tries = 0
        self.changed = asyncio.Condition()

    async def listed(self) -> list[InputDevice]:
        return [InputDevice(name, n == 0, "fake") for n, name in enumerate(self.plugged)]

    async def open(self, name: str, on_sound: OnSound, on_problem: OnProblem) -> Line:
        self.tries += 1
        found = name or next(iter(self.plugged), "")
        async with self.changed:
            self.changed.notify_all()
            if found not in self.plugged:
                raise EngineUnavailableError(f"The microphone {found!r} is not there.")
            self.lines.append(Line(found, self.plugged[found], on_sound, on_problem))
        return self.lines[-1]

    async def has_moved(self, line: object) -> bool:
        assert isinstance(line, Line)
        return line.device != next(iter(self.plugged), line.device)

    async def opened(self, count: int) -> Line:
        await self.until(lambda: len(self.lines) >= count)
        return self.lines[count - 1]

    async def until(self, is_true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(is_true)


class Heard:
    """What a source hands over."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.levels: list[SoundLevel] = []
        self.states: list[SourceState] = []
        self._changed = asyncio.Event()

    def start(self, source: MicrophoneSource) -> None:
        source.start(self._frame, self.levels.append, self._state)

    def _frame(self, frame: bytes) -> None:
        self.frames.append(frame)
        self._changed.set()

    def _state(self, state: SourceState) -> None:
        self.states.append(state)
        self._changed.set()

    async def until(self, is_true: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not is_true():
                self._changed.clear()
                await self._changed.wait()


class Impatient(MicrophoneSource):
    """Notes its pauses; does not wait for them while the test lets it run."""

    def __init__(self, options: MicrophoneOptions) -> None:
        super().__init__(options)
        self.pauses: list[float] = []
        self.may_try = asyncio.Event()
        self.may_try.set()

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)
        await self.may_try.wait()


@pytest.fixture
def desk() -> Desk:
    return Desk(Built_in=48_000, USB=44_100)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def source(desk: Desk) -> AsyncIterator[Impatient]:
    made = Impatient(MicrophoneOptions(desk))
    yield made
    await made.stop()
    assert all(line.is_closed for line in desk.lines)


def test_it_is_found_by_its_name(desk: Desk) -> None:
    made = SOUND_SOURCES.create("microphone", MicrophoneOptions(desk))
    assert made.state == SourceState()


async def test_any_device_becomes_frames_of_16_khz(
    source: Impatient, desk: Desk, heard: Heard
) -> None:
    heard.start(source)
    line = await desk.opened(1)
    line.speak(1.0)
    await heard.until(lambda: len(heard.frames) >= 30)
    assert {len(frame) for frame in heard.frames} == {1024}
    assert source.state == SourceState(True, "Built_in", 48_000)
    assert heard.states == [source.state]


async def test_the_meter_and_the_gain_take_effect_at_once(
    source: Impatient, desk: Desk, heard: Heard
) -> None:
    heard.start(source)
    line = await desk.opened(1)
    await heard.until(lambda: source.state.is_open)
    line.speak(0.5)
    before = heard.levels[-1]
    source.set_gain(-6.0)
    line.speak(0.5)
    after = heard.levels[-1]
    assert before.level_dbfs - after.level_dbfs == pytest.approx(6, abs=0.2)
    assert not after.clipped
    source.set_gain(20.0)
    line.speak(0.5)
    assert heard.levels[-1].clipped
    source.set_frame_ms(10)
    heard.frames.clear()
    line.speak(0.2)
    assert {len(frame) for frame in heard.frames} == {320}


async def test_a_missing_device_is_told_once_and_tried_again_with_growing_pauses(
    source: Impatient, desk: Desk, heard: Heard
) -> None:
    source.set_device("Studio")
    heard.start(source)
    await desk.until(lambda: desk.tries >= 7)
    source.may_try.clear()
    assert [state.problem for state in heard.states] == ["The microphone 'Studio' is not there."]
    assert source.pauses[:6] == [1, 2, 4, 8, 10, 10]


async def test_a_device_that_comes_back_is_heard_again_at_its_new_rate(
    source: Impatient, desk: Desk, heard: Heard
) -> None:
    source.set_device("USB")
    heard.start(source)
    line = await desk.opened(1)
    await heard.until(lambda: source.state.is_open)
    line.speak(0.2)
    rate_hz = desk.plugged.pop("USB")
    line.on_problem("The microphone 'USB' stopped: it was pulled out or taken away.")
    await desk.until(lambda: desk.tries >= 4)
    assert line.is_closed
    assert source.state.problem
    desk.plugged["USB"] = 16_000
    assert rate_hz != 16_000
    back = await desk.opened(2)
    heard.frames.clear()
    await asyncio.sleep(0)
    back.speak(0.5)
    await heard.until(lambda: not source.state.problem)
    assert source.state == SourceState(True, "USB", 16_000)
    assert len(heard.frames) == 15
    problems = [state.problem for state in heard.states if state.problem]
    assert len(problems) == len(set(problems)) == 2  # that it went, and that it is not there


async def test_a_device_that_opens_and_gives_nothing_is_not_told_as_back(
    source: Impatient, desk: Desk, heard: Heard
) -> None:
    heard.start(source)
    for n in range(1, 5):
        line = await desk.opened(n)
        line.on_problem("The system's microphone gives no sound any more.")
    await desk.opened(5)
    assert [bool(state.problem) for state in heard.states] == [True] or [
        bool(state.problem) for state in heard.states
    ] == [False, True]
    assert sum(not line.is_closed for line in desk.lines) <= 1


async def test_another_device_is_used_at_once_also_while_waiting_for_the_old_one(
    desk: Desk, heard: Heard
) -> None:
    source = MicrophoneSource(MicrophoneOptions(desk, device="Studio"))
    heard.start(source)
    await heard.until(lambda: source.state.problem)
    source.set_device("USB")
    line = await desk.opened(1)
    line.speak(0.2)
    await heard.until(lambda: source.state.is_open)
    source.set_device("")
    other = await desk.opened(2)
    await heard.until(lambda: source.state.device == "Built_in")
    assert (line.is_closed, other.is_closed) == (True, False)
    await source.stop()
    assert other.is_closed


async def test_the_systems_choice_is_followed_and_a_chosen_name_is_not(
    source: Impatient, desk: Desk, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microphone, "MOVED_EVERY_S", 0.005)
    heard.start(source)
    first = await desk.opened(1)
    await heard.until(lambda: source.state.device == "Built_in")
    desk.plugged = {"Headset": 16_000, **desk.plugged}
    await heard.until(lambda: source.state.device == "Headset")
    assert first.is_closed
    assert [state.problem for state in heard.states] == ["", ""]
    source.set_device("USB")
    await heard.until(lambda: source.state.device == "USB")
    desk.plugged = {"Camera": 16_000, **desk.plugged}
    await asyncio.sleep(0.03)
    assert source.state.device == "USB"
    assert len(desk.lines) == 3


async def test_after_stop_nothing_is_handed_over(
    source: Impatient, desk: Desk, heard: Heard
) -> None:
    heard.start(source)
    line = await desk.opened(1)
    await heard.until(lambda: source.state.is_open)
    await source.stop()
    line.speak(0.5)
    assert heard.frames == []
    assert source.state == SourceState()
    heard.start(source)
    again = await desk.opened(2)
    await heard.until(lambda: source.state.is_open)
    again.speak(0.1)
    assert heard.frames


async def test_a_hundred_starts_and_stops_leave_nothing_behind(
    source: Impatient, desk: Desk, heard: Heard
) -> None:
    before = set(threading.enumerate())
    for _ in range(100):
        heard.start(source)
        await asyncio.sleep(0)
        await source.stop()
    assert all(line.is_closed for line in desk.lines)
    # The loop's own workers stay, at most six.
    assert not [one for one in set(threading.enumerate()) - before if "asyncio" not in one.name]
    assert [task for task in asyncio.all_tasks() if task.get_name() == "microphone"] == []


async def test_a_test_recording_is_what_was_said_with_the_gain(
    source: Impatient, desk: Desk
) -> None:
    source.set_gain(6.0)
    recording = asyncio.create_task(source.record(0.5))
    line = await desk.opened(1)
    while not recording.done():
        line.speak(0.1)
        await asyncio.sleep(0)
    audio = await recording
    assert (audio.rate_hz, audio.duration_s) == (16_000, 0.5)
    assert wav.level_dbfs(audio.pcm) == pytest.approx(
        20 * math.log10(8_000 / 32_768) - 3.01 + 6, abs=0.5
    )
    assert line.is_closed


async def test_a_test_recording_says_why_there_is_none(source: Impatient, desk: Desk) -> None:
    recording = asyncio.create_task(source.record(5.0))
    line = await desk.opened(1)
    line.on_problem("The system's microphone stopped.")
    with pytest.raises(EngineUnavailableError, match="stopped"):
        await recording
    assert line.is_closed
    source.set_device("Studio")
    with pytest.raises(EngineUnavailableError, match="'Studio' is not there"):
        await source.record(1.0)


async def test_a_file_plays_the_microphone_once_and_is_silent_then(
    tmp_path: Path, heard: Heard
) -> None:
    path = tmp_path / "hello.wav"
    path.write_bytes(wav.to_wav(b"\x00\x20" * 1600, 16_000))
    source = MicrophoneSource(
        MicrophoneOptions(FileMicrophones(path, speed=20, is_repeated=False), frame_ms=20)
    )
    heard.start(source)
    await heard.until(lambda: len(heard.frames) >= 40)
    await source.stop()
    loud = [any(frame) for frame in heard.frames]
    assert loud[:40] == [True] * 5 + [False] * 35
    assert [one.name for one in await source.devices()] == ["hello.wav"]
