"""Whether a microphone hears more than a loudspeaker plays: simulated rooms, with and without somebody who speaks.

The speech is the embedded engine's, the room an exponentially falling answer, the loudspeaker bends loud sounds, two devices' clocks
differ, and there is noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from backend.audio import bands, echo, espeak
from backend.audio.levels import FloatArray, from_pcm16, to_pcm16
from backend.audio.resample import resample

RATE_HZ = 16_000
STRETCH, EXTRA = round(1.5 * RATE_HZ), round(0.65 * RATE_HZ)
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


def broken(
    played: FloatArray, microphone: FloatArray, seed: int, lost: float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """The same with an output that runs dry (5-80 ms, four times a second; told of up to 0.15 s too early or too late), and with a
    microphone that loses 10-60 ms so many times a second."""
    rng = np.random.default_rng(seed)
    size = played.size
    at_s = 0.7
    while at_s < size / RATE_HZ - 0.3:
        gap = round(rng.uniform(0.005, 0.08) * RATE_HZ)
        at = round(at_s * RATE_HZ)
        noise = rng.normal(0, 1e-3, gap).astype(np.float32)
        microphone = np.concatenate((microphone[:at], noise, microphone[at:]))[:size]
        told = max(at + round(rng.uniform(-0.1, 0.15) * RATE_HZ), 0)
        played = np.concatenate((played[:told], np.zeros(gap, np.float32), played[told:]))[:size]
        at_s += rng.exponential(0.25) + 0.05
    at_s = 0.8
    while lost and at_s < size / RATE_HZ - 0.3:
        gap, at = round(rng.uniform(0.01, 0.06) * RATE_HZ), round(at_s * RATE_HZ)
        silence = np.zeros(gap, np.float32)
        microphone = np.concatenate((microphone[:at], microphone[at + gap :], silence))
        at_s += rng.exponential(1 / lost) + 0.05
    return played, microphone


def judged(
    played: FloatArray,
    microphone: FloatArray,
    known: list[float] | None = None,
    *,
    is_sure: bool,
    from_s: float = 0.55,
    count: int = 100,
) -> list[bool]:
    """As `verdicts`, by all that is known."""
    pieces: list[list[object]] = [[to_pcm16(played), RATE_HZ, 0]]
    found = []
    for end in range(round(from_s * RATE_HZ), microphone.size, STEP)[:count]:
        first = max(0, end - STRETCH)
        pieces[0][2] = EXTRA - first
        stretch = to_pcm16(microphone[first:end])
        found.append(echo.judge(stretch, pieces, EXTRA, 128, known, is_sure=is_sure))
    return found


def arriving(played: FloatArray, microphone: FloatArray) -> list[float]:
    """How much of her arrives, as it is known after some sentences of hers."""
    found, _ = echo.observe(
        to_pcm16(microphone[2 * RATE_HZ : 2 * RATE_HZ + STRETCH]),
        [[to_pcm16(played), RATE_HZ, EXTRA - 2 * RATE_HZ]],
        EXTRA,
    )
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("place", "lost"), [(place, n % 2 * 3.0) for n, place in enumerate(PLACES)]
)
def test_she_is_nobody_else_on_a_computer_that_stutters(place: Place, lost: float) -> None:
    played, microphone = heard(place)
    known = arriving(played, microphone)
    stuttering = broken(played, microphone, round(place.delay_s * 100), lost)
    assert not any(judged(*stuttering, known, is_sure=False))


@pytest.mark.parametrize("place", [PLACES[5], Place(0.1, -30, noise_dbfs=-62)])
def test_somebody_louder_than_her_echo_is_heard_on_a_computer_that_stutters(place: Place) -> None:
    played, microphone = heard(place)
    known = arriving(played, microphone)
    found = judged(*heard(place, -20), known, is_sure=False, from_s=2.0, count=10)
    assert longest(found) >= LONG_ENOUGH


def test_nothing_of_her_arrives_in_a_microphone_that_does_not_hear_her() -> None:
    played, _ = heard(PLACES[0])
    quiet = np.random.default_rng(1).normal(0, 1e-3, played.size).astype(np.float32)
    assert max(arriving(played, quiet)) < 0.01
    _, likeness = echo.observe(
        to_pcm16(quiet[:STRETCH]), [[to_pcm16(played), RATE_HZ, EXTRA]], EXTRA
    )
    assert likeness < 0.5


def test_her_turned_up_voice_is_hers_though_less_of_it_used_to_arrive() -> None:
    played, microphone = heard(PLACES[0])
    known = [one / 1000 for one in arriving(played, microphone)]
    assert longest(judged(played, microphone, known, is_sure=True, from_s=1.5)) < 2


def test_a_short_stretch_can_be_judged() -> None:
    y, x = np.zeros((5, bands.BANDS)), np.zeros((70, bands.BANDS))
    found = bands.explained(y, x, 12, None)
    assert (found.excess, found.beyond) == (0, 0)
    assert bands.arrives(y, x) is None


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
    sure = judged(*heard(place, person_dbfs=-20), is_sure=True, from_s=2.0, count=10)
    assert sum(sure) >= LONG_ENOUGH


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
