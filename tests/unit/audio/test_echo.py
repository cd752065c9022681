"""Whether a microphone hears more than a loudspeaker plays: simulated rooms, with and without somebody who speaks.

The speech is the embedded engine's, the room an exponentially falling answer, the loudspeaker bends loud sounds, two devices' clocks
differ, and there is noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from backend.audio import echo, espeak
from backend.audio.levels import FloatArray, from_pcm16, to_pcm16
from backend.audio.resample import resample

RATE_HZ = 16_000
STRETCH, EXTRA = round(1.5 * RATE_HZ), round(0.45 * RATE_HZ)
STEP = 2048  # 128 ms: every second verdict of the real thing
LONG_ENOUGH = 3
"""Verdicts in a row: about BARGE_IN_MS."""


@cache
def say(text: str, voice: str) -> FloatArray:
    made = espeak.synthesize(text, voice)
    samples = resample(from_pcm16(made.pcm), made.rate_hz, RATE_HZ)
    return samples / np.float32(np.sqrt(np.mean(samples**2)))


def hers() -> FloatArray:
    return say("I have been thinking about the sea all day, and about the little boat.", "en-us+f3")


def somebody() -> FloatArray:
    return say("Wait, I wanted to say something else.", "en-us+m3")


@dataclass(frozen=True)
class Place:
    """Where loudspeaker and microphone are.

    Attributes:
        delay_s: From one to the other.
        gain_db: On that way.
        reverb_s: Time in which the room's answer falls by 60 dB.
        direct_db: Direct sound over all that the room gives back.
        noise_dbfs: In the room.
        drive: How much the loudspeaker bends.
        drift_ppm: How much faster one device's clock runs.
    """

    delay_s: float
    gain_db: float
    reverb_s: float = 0.3
    direct_db: float = 3.0
    noise_dbfs: float = -60.0
    drive: float = 0.0
    drift_ppm: float = 0.0


PLACES = (
    Place(0.03, -3),
    Place(0.05, -12, reverb_s=0.5, direct_db=0),
    Place(0.2, -20, noise_dbfs=-50),
    Place(0.35, -8, reverb_s=0.4, drive=2.0),
    Place(0.1, -16, drift_ppm=60),
    Place(0.15, -28, noise_dbfs=-58),
)


def heard(place: Place, person_dbfs: float | None = None) -> tuple[FloatArray, FloatArray]:
    """What was played, and what the microphone hears: her from 0.5 s on, from 2 s on somebody with her."""
    rng = np.random.default_rng(7)
    played = np.concatenate((np.zeros(RATE_HZ // 2), hers() * 0.1, np.zeros(RATE_HZ // 4)))
    sound = np.tanh(place.drive * played) / place.drive if place.drive else played
    times = np.arange(played.size) * (1 + place.drift_ppm * 1e-6)
    sound = np.interp(times, np.arange(played.size), sound)
    count = round(place.reverb_s * RATE_HZ)
    answer = rng.normal(0, 1, count) * 10 ** (-3 * np.arange(count) / count)
    answer[:32] = 0
    answer *= 10 ** (-place.direct_db / 20) / np.sqrt(np.sum(answer**2))
    answer[0] = 1
    room = np.convolve(sound, answer)[: played.size] * 10 ** (place.gain_db / 20)
    late = round(place.delay_s * RATE_HZ)
    microphone = np.concatenate((np.zeros(late), room))[: played.size]
    microphone += rng.normal(0, 10 ** (place.noise_dbfs / 20), played.size)
    if person_dbfs is not None:
        person = somebody()[: played.size - 2 * RATE_HZ] * 10 ** (person_dbfs / 20)
        microphone[2 * RATE_HZ : 2 * RATE_HZ + person.size] += person
    return played.astype(np.float32), np.clip(microphone, -1, 1).astype(np.float32)


def verdicts(played: FloatArray, microphone: FloatArray, from_s: float = 0.5) -> list[bool]:
    """Whether somebody speaks, every 128 ms; before it there was only the room's noise."""
    played = np.concatenate((np.zeros(STRETCH + EXTRA, np.float32), played))
    noise = np.random.default_rng(3).normal(0, 0.001, STRETCH).astype(np.float32)
    microphone = np.concatenate((noise, microphone))
    return [
        echo.is_more(microphone[end : end + STRETCH], played[end : end + STRETCH + EXTRA], 128)
        for end in range(round(from_s * RATE_HZ), microphone.size - STRETCH, STEP)
    ]


def longest(found: list[bool]) -> int:
    """Most verdicts in a row for somebody."""
    best = now = 0
    for one in found:
        now = now + 1 if one else 0
        best = max(best, now)
    return best


@pytest.mark.parametrize("place", PLACES)
def test_her_own_voice_is_nobody(place: Place) -> None:
    assert longest(verdicts(*heard(place))) < 2


@pytest.mark.parametrize("place", PLACES)
def test_somebody_who_speaks_with_her_is_heard(place: Place) -> None:
    found = verdicts(*heard(place, person_dbfs=-20), from_s=2.0)
    assert longest(found[:10]) >= LONG_ENOUGH


def test_a_voice_much_quieter_than_hers_is_heard_in_a_calm_room() -> None:
    found = verdicts(*heard(Place(0.05, -12), person_dbfs=-32), from_s=2.0)
    assert sum(found) >= LONG_ENOUGH


def test_without_her_everything_is_somebody() -> None:
    person = np.concatenate((np.zeros(RATE_HZ, np.float32), somebody() * np.float32(0.1)))
    found = verdicts(np.zeros(person.size, np.float32), person, from_s=1.3)
    assert sum(found) > 0.7 * len(found)


def test_silence_and_steady_noise_are_nobody() -> None:
    rng = np.random.default_rng(1)
    played = (hers() * 0.1).astype(np.float32)
    for level in (0.0, 0.003):
        noise = rng.normal(0, 1, played.size).astype(np.float32) * np.float32(level)
        assert not any(verdicts(played, noise, from_s=1.6))


def test_what_was_played_may_come_in_pieces_at_another_rate() -> None:
    played, microphone = heard(Place(0.1, -6))
    at_22k = resample(played, RATE_HZ, 22_050)
    end = round(3.0 * RATE_HZ)
    begins = end - STRETCH - EXTRA
    first, second = at_22k[: 2 * 22_050], at_22k[2 * 22_050 :]
    pieces: list[list[object]] = [
        [to_pcm16(first), 22_050, -begins],
        [to_pcm16(second), 22_050, 2 * RATE_HZ - begins],
    ]
    stretch = to_pcm16(microphone[end - STRETCH : end])
    far = [[to_pcm16(first), 22_050, 10**6]]
    assert not echo.judge(stretch, pieces, EXTRA, 128, None, is_sure=True)
    assert echo.judge(stretch, [], EXTRA, 128, None, is_sure=True)
    assert echo.judge(stretch, far, EXTRA, 128, None, is_sure=True)
    assert not echo.judge(stretch, far, EXTRA, 128, None, is_sure=False)
