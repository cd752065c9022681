"""Sound in both directions: the same tone comes out that went in."""

from __future__ import annotations

import base64
import math
from array import array

import pytest

from backend.api.client_ws.sound import BURST_SAMPLES, SAMPLES_PER_S, Allowance, packed, pcm16
from backend.audio.wav import read_wav
from backend.contracts.entities import Audio


@pytest.mark.parametrize("count", [100, 20_000])
async def test_floats_become_the_same_sound_and_are_clipped(count: int) -> None:
    wave = [0.5 * math.sin(n / 7) for n in range(count)]
    samples = array("h", await pcm16([*wave, 1.5, -1.5, 1.0, -1.0, 0.0]))
    assert samples[:count].tolist() == [int(value * 32767) for value in wave]
    assert samples[count:].tolist() == [32767, -32768, 32767, -32768, 0]


@pytest.mark.parametrize("seconds", [0.5, 6.0])
async def test_a_sentence_is_a_whole_wav_with_a_loudness_per_20_ms(seconds: float) -> None:
    rate_hz = 16_000
    quiet, loud = (
        array("h", (round(level * math.sin(n / 5)) for n in range(round(rate_hz * seconds / 2))))
        for level in (4000, 16_000)
    )
    pcm = (quiet + loud).tobytes()
    text, volumes = await packed(Audio(pcm, rate_hz))
    assert read_wav(base64.b64decode(text)) == (pcm, rate_hz)
    assert len(volumes) == seconds * 50
    half = len(volumes) // 2
    assert max(volumes[half:]) == 1.0
    assert volumes[1] == pytest.approx(0.25, abs=0.03)


def test_sound_may_come_in_a_burst_and_then_twice_as_fast_as_it_is_spoken() -> None:
    allowance = Allowance(at_s=10.0)
    assert allowance.take(BURST_SAMPLES, 10.0)
    assert not allowance.take(1, 10.0)
    assert allowance.take(SAMPLES_PER_S, 11.0)
    assert not allowance.take(SAMPLES_PER_S, 11.5)
    assert allowance.take(BURST_SAMPLES, 10_000.0)
    assert not allowance.take(1, 10_000.0), "what was not used does not pile up"
