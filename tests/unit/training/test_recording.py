"""The guided recording with microphones that misbehave."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from backend.clients.microphone import InputDevice, Microphone, OnProblem, OnSound
from backend.contracts.errors import EngineUnavailableError
from backend.training.recording import Recorder
from tests.fakes import Watch
from tests.voice_data import studio


class FakeMicrophone:
    """Open, gives what the test hands over, and knows whether it was closed."""

    rate_hz = 48_000
    device = "USB"

    def __init__(self, on_sound: OnSound) -> None:
        self.on_sound = on_sound
        self.is_closed = False

    async def close(self) -> None:
        self.is_closed = True


class FakeMicrophones:
    """One microphone; ``problem`` is told while it is being opened."""

    def __init__(self, problem: str = "") -> None:
        self.problem = problem
        self.opened: list[FakeMicrophone] = []

    async def listed(self) -> list[InputDevice]:
        return [InputDevice("USB", True)]

    async def open(self, name: str, on_sound: OnSound, on_problem: OnProblem) -> Microphone:
        self.opened.append(FakeMicrophone(on_sound))
        if self.problem:
            on_problem(self.problem)
        return self.opened[-1]

    async def has_moved(self, microphone: Microphone) -> bool:
        return False


def with_microphones(recorder: Recorder, microphones: FakeMicrophones) -> Recorder:
    recorder._microphones = microphones
    return recorder


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits 3 s."""
    monkeypatch.setattr("backend.training.recording.SILENT_S", 0.1)


async def test_a_microphone_that_never_gives_a_sample_ends_the_take_in_words(
    tmp_path: Path,
) -> None:
    microphones = FakeMicrophones()
    async with studio(tmp_path) as at:
        recorder = with_microphones(at.data.recorder, microphones)
        async with Watch(at.bus) as seen:
            await recorder.start("ann", "en-us-1", "USB")
            await seen.until("recording.changed", 2)
        assert recorder.now.state == "idle"
        assert "Nothing arrives from the microphone 'USB'" in recorder.now.problem
        assert recorder.now.prompt is not None
        async with asyncio.timeout(5):
            while not microphones.opened[0].is_closed:
                await asyncio.sleep(0)


async def test_a_microphone_that_gives_something_goes_on(tmp_path: Path) -> None:
    microphones = FakeMicrophones()
    async with studio(tmp_path) as at:
        recorder = with_microphones(at.data.recorder, microphones)
        await recorder.start("ann", "en-us-1")
        microphones.opened[0].on_sound(bytes(960))
        over = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, over.set)
        await over.wait()
        assert recorder.now.state == "recording"
        await recorder.discard()
        assert microphones.opened[0].is_closed


async def test_a_microphone_that_ends_while_it_is_opened_records_nothing(tmp_path: Path) -> None:
    microphones = FakeMicrophones("The microphone 'USB' stopped.")
    async with studio(tmp_path) as at:
        recorder = with_microphones(at.data.recorder, microphones)
        with pytest.raises(EngineUnavailableError, match="stopped"):
            await recorder.start("ann", "en-us-1")
        assert recorder.now.state == "idle"
        assert microphones.opened[0].is_closed
