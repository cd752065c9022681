"""The same sound is found again, other sounds are not."""

from __future__ import annotations

import numpy as np

from backend.audio import espeak
from backend.audio.levels import from_pcm16
from backend.audio.resample import resample
from voice_trainer.fingerprint import fingerprint, same_sounds
from voice_trainer.protocol import read_prompts

RATE = 22_050


def sounds(count: int) -> list[np.ndarray]:
    return [from_pcm16(espeak.synthesize(text).pcm) for text in read_prompts("en-us")[:count]]


def test_different_sentences_of_one_voice_are_not_the_same_sound():
    assert same_sounds([fingerprint(one, RATE) for one in sounds(12)]) == []


def test_a_quieter_shifted_or_resampled_copy_is_found():
    made = sounds(4)
    copies = [made[0] * 0.2, made[1][RATE // 3 :], resample(made[2], RATE, 16_000)]
    rates = [RATE, RATE, 16_000]
    prints = [fingerprint(one, RATE) for one in made]
    prints += [fingerprint(one, rate) for one, rate in zip(copies, rates, strict=True)]
    assert same_sounds(prints) == [(0, 4), (1, 5), (2, 6)]


def test_silence_and_clips_too_short_to_tell_are_nobodys_copy():
    quiet = np.zeros(RATE, np.float32)
    short = np.ones(10, np.float32)
    prints = [fingerprint(one, RATE) for one in (quiet, quiet, short, short)]
    assert same_sounds(prints) == []
    assert same_sounds([]) == []
