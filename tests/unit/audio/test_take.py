"""What is said about a take."""

from __future__ import annotations

import numpy as np
import pytest

from backend.audio import espeak
from backend.audio.levels import FloatArray, from_pcm16, to_pcm16
from backend.audio.take import check, room_noise

TEXT = "The lantern refused to go out tonight."
RATE_HZ = 22_050


def take(
    *, level: float = 1.0, noise: float = 0.001, before_s: float = 0.4, after_s: float = 0.4
) -> FloatArray:
    """A sentence in a room with some noise."""
    said = espeak.synthesize(TEXT)
    assert said.rate_hz == RATE_HZ
    voice = from_pcm16(said.pcm)
    loud = np.flatnonzero(np.abs(voice) > 0.02)
    voice = voice[loud[0] : loud[-1]] * level
    padded = np.pad(voice, (round(before_s * RATE_HZ), round(after_s * RATE_HZ)))
    chance = np.random.default_rng(1)
    return np.asarray(padded + noise * chance.standard_normal(padded.size), np.float32)


def notes(samples: FloatArray, text: str = TEXT) -> str:
    return " ".join(check(to_pcm16(samples), RATE_HZ, text)["notes"])


def test_a_good_take_is_good() -> None:
    told = check(to_pcm16(take()), RATE_HZ, TEXT)
    assert told["ok"], told["notes"]
    assert told["notes"] == []
    assert told["noise_dbfs"] == pytest.approx(-60, abs=4)
    assert told["snr_db"] > 30


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (take(level=8.0), "clipped"),
        (take(level=0.02, noise=0.0001), "far too quiet"),
        (take(noise=0.03), "noise behind the voice"),
        (take(before_s=0.0), "beginning is cut off"),
        (take()[: int(np.argmax(np.abs(take()))) + 200], "end is cut off"),
        (np.zeros(RATE_HZ, np.float32), "Nothing came"),
        (np.empty(0, np.float32), "Nothing came"),
        (0.01 * np.random.default_rng(2).standard_normal(2 * RATE_HZ), "Nobody spoke"),
        (np.tile(take(), 14), "s long"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_take_says_what_is_wrong(samples: FloatArray, said: str) -> None:
    told = check(to_pcm16(np.asarray(samples, np.float32)), RATE_HZ, TEXT)
    assert not told["ok"]
    assert said in " ".join(told["notes"])


def test_half_a_sentence_is_noticed() -> None:
    assert "shorter than the sentence" in notes(take(), TEXT * 4)
    assert notes(take(), "雪越下越大，我们女生都穿了两双袜子。" * 4) == ""


@pytest.mark.parametrize(
    ("level", "ok", "said"),
    [(0.0003, True, "quiet"), (0.005, True, "some noise"), (0.05, False, "loud")],
)
def test_a_room_is_judged_by_its_noise(level: float, ok: bool, said: str) -> None:
    noise = level * np.random.default_rng(3).standard_normal(2 * RATE_HZ)
    told = room_noise(to_pcm16(noise.astype(np.float32)), RATE_HZ)
    assert told["ok"] is ok
    assert said in told["advice"]
    assert told["noise_dbfs"] == pytest.approx(20 * np.log10(level), abs=3)


def test_a_room_in_which_somebody_speaks_is_asked_again() -> None:
    assert "spoke" in room_noise(to_pcm16(take(before_s=1.5)), RATE_HZ)["advice"]
    assert "nothing at all" in room_noise(bytes(2 * RATE_HZ), RATE_HZ)["advice"]
