"""What every registered voice detector keeps."""

from __future__ import annotations

import math
import os
import random
import signal
import struct
from collections.abc import AsyncIterator

import pytest

from backend.audio import espeak
from backend.audio.resample import resample_pcm16
from backend.contracts.errors import EngineFailedError
from backend.core.workers import EngineHost
from backend.engines.vad import DETECTORS, silero
from backend.engines.vad.base import VAD
from backend.engines.vad.options import EnergyOptions, SileroOptions

RATE_HZ = 16000


@pytest.fixture
async def host() -> AsyncIterator[EngineHost]:
    host = EngineHost()
    yield host
    await host.stop()


@pytest.fixture(params=DETECTORS.names)
async def detector(request: pytest.FixtureRequest, host: EngineHost) -> VAD:
    options = {"energy": EnergyOptions(), "silero": SileroOptions(host, timeout_s=30)}
    return DETECTORS.create(request.param, options[request.param])


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


async def heard(detector: VAD, pcm: bytes, frames: int = 1) -> list[float]:
    size = detector.frame_samples * 2 * frames
    found = []
    for at in range(0, len(pcm) - size, size):
        found += await detector.probabilities(pcm[at : at + size])
    return found


async def test_speech_is_heard_where_it_is(detector: VAD, speech: bytes) -> None:
    second = bytes(2 * RATE_HZ)
    found = await heard(detector, second + speech + second)
    frames_s = detector.frame_samples / RATE_HZ
    before, after = round(0.9 / frames_s), round(0.9 / frames_s)
    assert max(found[:before]) < 0.5
    assert max(found[-after:]) < 0.5
    middle = found[before + 5 : -after - 5]
    assert sum(p > 0.5 for p in middle) > 0.6 * len(middle)


async def test_speech_is_heard_over_a_noisy_room(detector: VAD, speech: bytes) -> None:
    room = noise(len(speech) / 2 / RATE_HZ, 150)
    await heard(detector, noise(2, 150))
    found = await heard(detector, mixed(speech, room))
    assert sum(p > 0.5 for p in found) > 0.4 * len(found)


@pytest.mark.parametrize(
    "sound", [bytes(64000), noise(2, 3000), noise(2, 50), hum(2, 50), hum(2, 100)]
)
async def test_silence_noise_and_hum_are_no_speech(detector: VAD, sound: bytes) -> None:
    found = await heard(detector, sound)
    assert sum(p > 0.5 for p in found[15:]) == 0


async def test_a_broken_frame_is_left_out(detector: VAD) -> None:
    assert await detector.probabilities(b"") == []
    assert await detector.probabilities(b"\x01") == []
    assert len(await detector.probabilities(bytes(2 * detector.frame_samples + 7))) == 1


async def test_many_frames_at_once_say_the_same_as_one_by_one(detector: VAD, speech: bytes) -> None:
    one_by_one = await heard(detector, speech)
    detector.reset()
    together = await heard(detector, speech, frames=8)
    assert together == pytest.approx(one_by_one[: len(together)], abs=1e-4)


async def test_two_streams_do_not_disturb_each_other(
    detector: VAD, host: EngineHost, speech: bytes, request: pytest.FixtureRequest
) -> None:
    options = {"energy": EnergyOptions(), "silero": SileroOptions(host, timeout_s=30)}
    other = DETECTORS.create(detector.name, options[detector.name])
    alone = await heard(detector, speech)
    detector.reset()
    size = 2 * detector.frame_samples
    beside = []
    for at in range(0, len(speech) - size, size):
        beside += await detector.probabilities(speech[at : at + size])
        await other.probabilities(noise(0.032, 9000))
    assert beside == alone


async def test_reset_forgets_the_room(detector: VAD, speech: bytes) -> None:
    first = await heard(detector, speech)
    await heard(detector, noise(3, 5000))
    detector.reset()
    assert await heard(detector, speech) == first


async def test_the_model_goes_on_with_its_stream_after_its_process_was_killed(
    host: EngineHost, speech: bytes
) -> None:
    detector = DETECTORS.create("silero", SileroOptions(host, timeout_s=30))
    undisturbed = await heard(detector, speech)
    detector.reset()
    half = len(speech) // 2048 * 1024
    found = await heard(detector, speech[: half + 2])
    os.kill(int(host.health()[0].detail.split()[-1]), getattr(signal, "SIGKILL", signal.SIGTERM))
    try:
        found += await heard(detector, speech[half:])
    except EngineFailedError:  # the call that was under way when it died
        found += await heard(detector, speech[half:])
    assert found == undisturbed


async def test_the_simple_detector_takes_over_while_the_model_cannot_be_used(
    host: EngineHost, speech: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr(silero, "monotonic_s", lambda: now_s)
    monkeypatch.setattr(silero, "HOST", "backend.engines.vad.is_not_there")
    options = SileroOptions(host, instead=DETECTORS.create("energy", EnergyOptions()))
    detector = DETECTORS.create("silero", options)
    found = await heard(detector, bytes(32000) + speech)
    assert detector.name == "energy"
    assert sum(p > 0.5 for p in found) > 20
    monkeypatch.setattr(silero, "HOST", "backend.engines.vad.silero_host")
    now_s += options.retry_s
    assert max(await heard(detector, speech, frames=8)) > 0.9
    assert detector.name == "silero"
