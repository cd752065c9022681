"""What every registered voice detector keeps."""

from __future__ import annotations

import math
import random
import struct

import pytest

from backend.audio import espeak
from backend.audio.resample import resample_pcm16
from backend.engines.vad import DETECTORS
from backend.engines.vad.base import VAD
from backend.engines.vad.options import EnergyOptions

RATE_HZ = 16000


@pytest.fixture(params=DETECTORS.names)
def detector(request: pytest.FixtureRequest) -> VAD:
    return DETECTORS.create(request.param, {"energy": EnergyOptions()}[request.param])


@pytest.fixture(scope="module")
def speech() -> bytes:
    said = espeak.synthesize("Hello there, would you open the door for me please?")
    return resample_pcm16(said.pcm, said.rate_hz, RATE_HZ)


def noise(seconds: float, loudness: float) -> bytes:
    chance = random.Random(3)
    count = int(seconds * RATE_HZ)
    return struct.pack(f"<{count}h", *(round(chance.gauss(0, loudness)) for _ in range(count)))


def hum(seconds: float, frequency_hz: float) -> bytes:
    count = int(seconds * RATE_HZ)
    step = 2 * math.pi * frequency_hz / RATE_HZ
    return struct.pack(f"<{count}h", *(round(8000 * math.sin(step * n)) for n in range(count)))


def mixed(one: bytes, two: bytes) -> bytes:
    pairs = zip(struct.iter_unpack("<h", one), struct.iter_unpack("<h", two), strict=False)
    return b"".join(struct.pack("<h", max(-32768, min(32767, a + b))) for (a,), (b,) in pairs)


def heard(detector: VAD, pcm: bytes) -> list[float]:
    size = detector.frame_samples * 2
    return [
        detector.speech_probability(pcm[at : at + size]) for at in range(0, len(pcm) - size, size)
    ]


def test_speech_is_heard_where_it_is(detector: VAD, speech: bytes) -> None:
    second = bytes(2 * RATE_HZ)
    found = heard(detector, second + speech + second)
    frames_s = detector.frame_samples / RATE_HZ
    before, after = round(0.9 / frames_s), round(0.9 / frames_s)
    assert max(found[:before]) < 0.5
    assert max(found[-after:]) < 0.5
    middle = found[before + 5 : -after - 5]
    assert sum(p > 0.5 for p in middle) > 0.6 * len(middle)


def test_speech_is_heard_over_a_noisy_room(detector: VAD, speech: bytes) -> None:
    room = noise(len(speech) / 2 / RATE_HZ, 150)
    heard(detector, noise(2, 150))
    found = heard(detector, mixed(speech, room))
    assert sum(p > 0.5 for p in found) > 0.4 * len(found)


@pytest.mark.parametrize(
    "sound", [bytes(64000), noise(2, 3000), noise(2, 50), hum(2, 50), hum(2, 100)]
)
def test_silence_noise_and_hum_are_no_speech(detector: VAD, sound: bytes) -> None:
    found = heard(detector, sound)
    assert sum(p > 0.5 for p in found[15:]) == 0


def test_a_broken_frame_is_no_speech(detector: VAD) -> None:
    assert detector.speech_probability(b"") == 0
    assert detector.speech_probability(b"\x01") == 0


def test_reset_forgets_the_room(detector: VAD, speech: bytes) -> None:
    first = heard(detector, speech)
    heard(detector, noise(3, 5000))
    detector.reset()
    assert heard(detector, speech) == first
