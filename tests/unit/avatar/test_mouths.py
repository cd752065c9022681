"""The mouth of a sentence is there in time, whatever the voice tells."""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import AsyncIterator
from typing import Any

import pytest

from backend.audio import espeak
from backend.avatar import mouths as module
from backend.avatar.mouths import Mouths
from backend.avatar.visemes import from_phonemes
from backend.contracts.entities import Audio, PhonemeTime, Speech, VoiceChoice
from backend.contracts.errors import EngineFailedError
from backend.core.workers import EngineHost

OPEN = {"aa", "E", "ih", "oh", "ou"}


def hum(seconds: float) -> Audio:
    wave = (
        round(9000 * math.sin(2 * math.pi * 220 * n / 16_000))
        for n in range(round(seconds * 16_000))
    )
    return Audio(array("h", [0] * 8_000).tobytes() + array("h", wave).tobytes(), 16_000)


class NoHost(EngineHost):
    """An engine host that never answers, or fails; it has no processes."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error
        self.asked = 0
        self.warmed = 0

    async def call(
        self, function: str, /, *args: Any, timeout_s: float = 5.0, **kwargs: Any
    ) -> Any:
        self.asked += 1
        if self.error is not None:
            raise self.error
        await asyncio.Event().wait()

    def warm(self, calls: Any) -> None:
        self.warmed += 1


class Says:
    """A voice."""

    def __init__(self, speech: Speech) -> None:
        self.speech = speech

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        return self.speech


async def test_phonemes_are_enough_and_nobody_is_asked() -> None:
    spoken = espeak.synthesize("Maybe my brother bought it.")
    phonemes = tuple(PhonemeTime(*one) for one in spoken.phonemes)
    audio = Audio(spoken.pcm, spoken.rate_hz)
    host = NoHost()
    mouth = await Mouths(host).of(audio, phonemes)
    plain = from_phonemes(phonemes, audio.duration_s)
    assert [one.viseme for one in mouth] == [one.viseme for one in plain]
    assert any(a.weight < b.weight for a, b in zip(mouth, plain, strict=True))
    assert host.asked == 0


@pytest.mark.parametrize("error", [None, EngineFailedError("it crashed")])
async def test_when_the_sound_is_not_read_in_time_its_loudness_moves_the_mouth(
    error: Exception | None,
) -> None:
    mouth = await Mouths(NoHost(error), wait_s=0.01).of(hum(0.5))
    assert [one.viseme for one in mouth] == ["sil", "aa"]
    assert mouth[1].start_s == pytest.approx(0.5, abs=0.05)


async def test_silence_has_no_mouth() -> None:
    assert await Mouths(NoHost(), wait_s=0.01).of(Audio(bytes(16_000), 16_000)) == ()
    silence = Says(Speech(Audio(bytes(16_000), 16_000), "silence", "silence"))
    host = NoHost()
    assert (await Mouths(host).voice(silence).synthesize("…", VoiceChoice())).mouth == ()
    assert host.asked == 0


async def test_a_long_sentence_is_worked_out_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LONG_S", 0.1)
    mouth = await Mouths(NoHost()).of(hum(0.5), (PhonemeTime("a", 0.5, 1.0),))
    assert [one.viseme for one in mouth] == ["sil", "aa"]


async def test_a_voice_speaks_with_its_mouth_and_stays_the_same_voice() -> None:
    said = Says(
        Speech(hum(0.5), "x", "y", (PhonemeTime("m", 0.5, 0.7), PhonemeTime("a", 0.7, 1.0)))
    )
    made = Mouths(NoHost())
    voice = made.voice(said)
    assert made.voice(said) is voice
    assert made.voice(Says(said.speech)) is not voice
    speech = await voice.synthesize("ma", VoiceChoice())
    assert [one.viseme for one in speech.mouth] == ["sil", "PP", "aa"]
    assert speech.audio is said.speech.audio


async def test_the_process_is_started_while_a_voice_speaks_that_needed_it_before() -> None:
    host = NoHost()
    voice = Mouths(host, wait_s=0.01).voice(Says(Speech(hum(0.1), "x", "y")))
    await voice.synthesize("one", VoiceChoice())
    assert host.warmed == 0
    await voice.synthesize("two", VoiceChoice())
    await voice.synthesize("three", VoiceChoice())
    assert host.warmed == 1


@pytest.fixture
async def host() -> AsyncIterator[EngineHost]:
    one = EngineHost()
    yield one
    await one.stop()


async def test_without_phonemes_the_sound_is_read_in_the_engine_host(host: EngineHost) -> None:
    spoken = espeak.synthesize("Maybe my brother bought a blue moped.", "en-us+m1")
    audio = Audio(spoken.pcm, spoken.rate_hz)
    mouth = await Mouths(host, wait_s=20).of(audio)
    shapes = {one.viseme for one in mouth}
    assert len(shapes & OPEN) >= 3
    assert mouth[0].start_s == 0
    assert mouth[-1].end_s == pytest.approx(audio.duration_s, abs=0.001)
