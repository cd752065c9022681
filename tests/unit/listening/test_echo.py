"""Her voice at the microphone, with the engine host that computes and an ear that acts: nobody is interrupted by an echo."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backend.audio import espeak
from backend.audio.levels import from_pcm16, to_pcm16
from backend.audio.resample import resample
from backend.core.workers import EngineHost
from backend.engines.vad import DETECTORS
from backend.engines.vad.options import SileroOptions
from backend.listening import ear as ear_module
from backend.listening import echo
from backend.listening.echo import Echo, says_the_same
from backend.outputs.base import Sounding
from tests.fakes import Watch
from tests.listening_room import Room, room_in

RATE_HZ = 16_000
LATE = round(0.12 * RATE_HZ)
NOW_S = 1000.0


def at_16k(text: str, voice: str) -> bytes:
    made = espeak.synthesize(text, voice)
    return to_pcm16(resample(from_pcm16(made.pcm), made.rate_hz, RATE_HZ))


def mixed(*sounds: tuple[bytes, int, float]) -> bytes:
    """Sounds laid over each other, each from a sample on and with a gain."""
    import numpy as np

    length = max(len(pcm) // 2 + at for pcm, at, _ in sounds)
    total = np.random.default_rng(1).normal(0, 0.0005, length)
    for pcm, at, gain in sounds:
        total[at : at + len(pcm) // 2] += from_pcm16(pcm) * gain
    return to_pcm16(np.clip(total, -1, 1).astype(np.float32))


@pytest.fixture(scope="module")
def hers() -> bytes:
    return at_16k("I have been thinking about the sea all day, and about the boat.", "en-us+f3")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """One number: what time it is for an ear."""
    now = [NOW_S]
    monkeypatch.setattr(ear_module, "monotonic_s", lambda: now[0])
    return now


@pytest.fixture
async def room(tmp_path: Path, clock: list[float]) -> AsyncIterator[Room]:
    async with room_in(tmp_path) as room:
        options = SileroOptions(room.host, timeout_s=30)
        room.detector = lambda: DETECTORS.create("silero", options)
        yield room


async def listen(room: Room, sound: bytes, hers: bytes, hers_at: int) -> Watch:
    """Have an ear follow a sound that ends now, while hers left the output from a sample of it on."""
    began_s = NOW_S - len(sound) / 2 / RATE_HZ
    room.sink.left = [Sounding(hers, RATE_HZ, began_s + hers_at / RATE_HZ)]
    ear = room.ear(hears_her=True)
    async with Watch(room.bus) as seen:
        ear.feed(sound)
        while ear.waiting_s:
            await asyncio.sleep(0.01)
        await seen.settle()
    return seen


async def test_her_own_echo_is_nobody(room: Room, hers: bytes) -> None:
    sound = mixed((bytes(2 * RATE_HZ), 0, 0.0), (hers, RATE_HZ + LATE, 0.3))
    seen = await listen(room, sound, hers, RATE_HZ)
    assert not seen.of("utterance.started")


async def test_somebody_who_speaks_over_her_is_heard_and_interrupts(
    room: Room, hers: bytes, clock: list[float]
) -> None:
    await room.let_her_speak()
    somebody = at_16k("Wait, I wanted to say something else.", "en-us+m3")
    sound = mixed((hers, RATE_HZ + LATE, 0.15), (somebody, round(2.5 * RATE_HZ), 0.5))
    room.sink.left = [Sounding(hers, RATE_HZ, NOW_S + 1)]
    ear = room.ear(hears_her=True)
    async with Watch(room.bus) as seen:
        for end in range(2048, len(sound), 2048):
            clock[0] = NOW_S + end / 2 / RATE_HZ
            ear.feed(sound[end - 2048 : end])
            while ear.waiting_s:
                await asyncio.sleep(0.001)
        await seen.until("turn.finished")


async def test_without_a_sound_of_hers_nothing_is_compared(
    room: Room, hers: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(echo, "HOST", "backend.audio.is_not_there")
    seen = await listen(room, mixed((hers, RATE_HZ, 0.3)), b"", 0)
    assert seen.of("utterance.started")


async def test_while_nothing_can_be_compared_she_is_not_interrupted(
    hers: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(echo, "HOST", "backend.audio.is_not_there")
    host = EngineHost()
    guard = Echo(host, lambda seconds: [Sounding(hers, RATE_HZ, NOW_S - 1)])
    verdict = await guard.judge(hers[:16384], 16, NOW_S, "guard", is_speech=True)
    await host.stop()
    assert verdict == "late"


@pytest.mark.parametrize(
    ("heard", "said", "expected"),
    [
        ("is a long story about", "This is a long story, about bears.", True),
        ("this is a wrong story about bears", "This is a long story about bears.", True),
        ("what is the weather like", "This is a long story about bears.", False),
        ("a story", "This is a long story.", False),
        ("", "This is a long story.", False),
        ("this is a long story", "", False),
    ],
)
def test_her_own_words_are_known(heard: str, said: str, expected: bool) -> None:
    assert says_the_same(heard, said) is expected


async def judged(
    guard: Echo, sound: bytes, *, is_sure: bool = True, late_s: float = 0.0
) -> list[str]:
    """A sound that ends at `NOW_S`, judged as it comes: what was found each 64 ms."""
    step = 2048
    ends = range(step, len(sound) + 1, step)
    return [
        await guard.judge(
            sound[end - step : end],
            2,
            NOW_S - (len(sound) - end) / 2 / RATE_HZ,
            "guard",
            is_speech=True,
            is_sure=is_sure,
            late_s=late_s,
        )
        for end in ends
    ]


@pytest.fixture
async def host() -> AsyncIterator[EngineHost]:
    running = EngineHost()
    yield running
    await running.stop()


def left(hers: bytes, sound: bytes, at: int, *, is_sure: bool = True) -> Sounding:
    """Her sentence, as it left the output at a sample of what is heard."""
    return Sounding(hers, RATE_HZ, NOW_S - len(sound) / 2 / RATE_HZ + at / RATE_HZ, is_sure)


@pytest.mark.parametrize("is_known_by", ["microphone", "output"])
async def test_a_stuttering_output_or_microphone_makes_nobody_of_her(
    host: EngineHost, hers: bytes, is_known_by: str
) -> None:
    piece = RATE_HZ // 4
    late = (0, 60, 20, 80, 10, 45)  # ms, another gap every quarter of a second
    cuts = [hers[2 * at : 2 * (at + piece)] for at in range(0, len(hers) // 2, piece)]
    sound = mixed(
        *(
            (cut, LATE + n * piece + late[n % len(late)] * RATE_HZ // 1000, 0.3)
            for n, cut in enumerate(cuts)
        )
    )
    began_s = NOW_S - len(sound) / 2 / RATE_HZ
    pieces = [
        Sounding(cut, RATE_HZ, began_s + n * piece / RATE_HZ, is_known_by == "microphone")
        for n, cut in enumerate(cuts)
    ]
    guard = Echo(host, lambda seconds: pieces)
    found = await judged(guard, sound, is_sure=is_known_by == "output")
    assert set(found) <= {"hers"}


async def test_with_headphones_somebody_is_heard_though_times_are_a_guess(
    host: EngineHost, hers: bytes
) -> None:
    somebody = at_16k("Wait, I wanted to say something else.", "en-us+m3")
    sound = mixed((hers, 0, 0.0), (somebody, 3 * RATE_HZ, 0.3))
    one = left(hers, sound, 0)
    guard = Echo(host, lambda seconds: [one])
    found = await judged(guard, sound, is_sure=False)
    begins = 3 * RATE_HZ // 1024
    assert "somebody" not in found[:begins]
    assert found[begins : begins + 20].count("somebody") >= 10
    assert not guard.is_found


async def test_her_voice_is_found_in_a_microphone_that_hears_it_and_forgotten_with_it(
    host: EngineHost, hers: bytes
) -> None:
    sound = mixed((hers, LATE, 0.3))
    one = left(hers, sound, 0)
    guard = Echo(host, lambda seconds: [one])
    found = await judged(guard, sound)
    assert "somebody" not in found
    assert guard.is_found


async def test_what_is_judged_seconds_late_is_compared_with_what_was_played_then(
    host: EngineHost, hers: bytes
) -> None:
    asked: list[float] = []

    def sounds(seconds: float) -> list[Sounding]:
        asked.append(seconds)
        return [left(hers, hers, 0)]

    found = await judged(Echo(host, sounds), hers, late_s=3.0)
    assert set(found) == {"late"}
    assert min(asked) > 3 + echo.STRETCH_S + echo.MOST_DELAY_S
    assert set(await judged(Echo(host, sounds), hers, late_s=60.0)) == {"late"}
