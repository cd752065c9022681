"""Whose voice it is: the same one whatever is said and however loud, another one otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from backend.audio import espeak
from backend.audio.levels import from_pcm16
from backend.audio.resample import resample
from voice_trainer import speaker

RATE = 22_050
ONE = "The quick boat sails far away from the quiet island."
OTHER = "Nobody knows why the old clock in the kitchen stopped at noon."
MEN_AND_WOMEN = ("en-us+m1", "en-us+f2", "de+m4", "es+pedro", "fr+Alicia")  # learned from: none


def say(text: str, voice: str) -> np.ndarray:
    return from_pcm16(espeak.synthesize(text, voice).pcm)


@pytest.mark.parametrize("voice", MEN_AND_WOMEN)
def test_one_voice_saying_two_things_is_alike(voice):
    alike = speaker.similarity(
        speaker.embed(say(ONE, voice), RATE), speaker.embed(say(OTHER, voice), RATE)
    )
    assert alike > 0.85


def test_different_voices_are_not_alike():
    vectors = [speaker.embed(say(ONE, voice), RATE) for voice in MEN_AND_WOMEN]
    others = [
        speaker.similarity(vectors[a], vectors[b]) for a in range(len(vectors)) for b in range(a)
    ]
    assert max(others) < 0.8
    assert float(np.median(others)) < 0.5


def test_a_voice_is_itself():
    vector = speaker.embed(say(ONE, "en-us+f2"), RATE)
    assert speaker.distance(vector, vector) == 0
    assert speaker.similarity(vector, vector) > 0.98


def test_loudness_does_not_change_the_voice():
    sound = say(ONE, "en-us+m1")
    assert speaker.distance(speaker.embed(sound, RATE), speaker.embed(sound * 0.05, RATE)) < 0.05


def test_moderate_noise_changes_it_less_than_another_voice_does():
    sound = say(ONE, "en-us+m1")
    noise = np.random.default_rng(1).normal(0, sound.std() * 10 ** (-26 / 20), sound.size)
    clean = speaker.embed(sound, RATE)
    noisy = speaker.embed((sound + noise).astype(np.float32), RATE)
    assert speaker.similarity(clean, noisy) > 0.8
    assert speaker.distance(clean, noisy) < speaker.distance(
        clean, speaker.embed(say(ONE, "en-us+f2"), RATE)
    )


def test_the_rate_of_the_file_does_not_matter():
    sound = say(ONE, "en-us+f2")
    assert (
        speaker.distance(
            speaker.embed(sound, RATE), speaker.embed(resample(sound, RATE, 48_000), 48_000)
        )
        < 0.2
    )


def test_the_middle_of_several_clips_outvotes_a_stranger():
    own = [speaker.embed(say(text, "en-us+f2"), RATE) for text in (ONE, OTHER)]
    stranger = speaker.embed(say(ONE, "en-us+m1"), RATE)
    middle = speaker.mean_of([*own, own[0], stranger])
    assert speaker.distance(middle, own[0]) < speaker.distance(middle, stranger) / 2


@pytest.mark.parametrize(
    "samples",
    [np.zeros(RATE, np.float32), np.zeros(0, np.float32), np.full(RATE, np.nan, np.float32)],
)
def test_silence_has_no_voice(samples):
    with pytest.raises(speaker.TooLittleSpeechError):
        speaker.embed(samples, RATE)


def test_a_whisper_has_a_voice_too():
    assert np.isfinite(speaker.embed(say(ONE, "en-us+whisper"), RATE)).all()


def test_few_clips_tell_nothing_about_strangers():
    vectors = [speaker.embed(say(ONE, voice), RATE) for voice in MEN_AND_WOMEN]
    assert speaker.strangers(vectors) == []


def test_strangers_among_random_points_are_found_and_nobody_else():
    rng = np.random.default_rng(3)
    own = list(rng.normal(0, 1, (40, 32)))
    strangers = list(rng.normal(0, 1, (4, 32)) + 3)
    assert speaker.strangers([*own, *strangers]) == [40, 41, 42, 43]
    assert speaker.strangers(own) == []


def test_the_space_ships_small():
    assert speaker.SPACE.stat().st_size < 1_000_000
