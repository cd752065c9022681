"""Distances are nothing to oneself, grow with difference, and pictures show frequencies where they are."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import pytest
from PIL import Image

from backend.audio import espeak
from backend.audio.levels import FloatArray, from_pcm16
from voice_trainer.evaluate import compare, picture

TEXTS = ("Good morning, everyone.", "We will play a new game tonight.")
RATE_HZ = 22_050


@cache
def said(voice: str, pitch: float = 50.0, words_per_minute: float = 175.0) -> list[FloatArray]:
    return [
        from_pcm16(
            espeak.synthesize(text, voice, pitch=pitch, words_per_minute=words_per_minute).pcm
        )
        for text in TEXTS
    ]


def test_a_recording_is_at_no_distance_from_itself() -> None:
    scores = compare(said("en-us"), said("en-us"), RATE_HZ)

    assert scores.mcd_db == pytest.approx(0.0, abs=0.05)
    assert scores.pitch_semitones == 0.0
    assert scores.duration_ratio == 1.0
    assert scores.similarity is not None
    assert scores.similarity > 0.9


def test_another_speaker_is_further_than_the_same_at_another_speed() -> None:
    slower = compare(said("en-us", words_per_minute=140), said("en-us"), RATE_HZ)
    other = compare(said("en-us+f4"), said("en-us"), RATE_HZ)

    assert slower.mcd_db is not None
    assert other.mcd_db is not None
    assert slower.mcd_db < other.mcd_db
    assert (slower.similarity or 0) > (other.similarity or 1)
    assert slower.duration_ratio == pytest.approx(175 / 140, abs=0.12)


def test_a_higher_voice_has_positive_semitones() -> None:
    scores = compare(said("en-us", pitch=80), said("en-us", pitch=40), RATE_HZ)

    assert scores.pitch_semitones is not None
    assert 2 < scores.pitch_semitones < 18


def test_loudness_is_no_distance() -> None:
    quiet = [one * np.float32(0.1) for one in said("en-us")]

    assert compare(quiet, said("en-us"), RATE_HZ).mcd_db == pytest.approx(0.0, abs=0.3)


def test_a_picture_has_low_frequencies_at_the_bottom_and_a_column_per_10_ms() -> None:
    times = np.arange(RATE_HZ) / RATE_HZ
    low = np.sin(2 * np.pi * 500 * times).astype(np.float32)

    with Image.open(io.BytesIO(picture(low, RATE_HZ))) as image:
        pixels = np.asarray(image)

    assert image.mode == "L"
    assert pixels.shape == (128, 101)
    loudest = pixels.astype(int).sum(axis=1).argmax()
    assert (127 - loudest) * 8000 / 128 == pytest.approx(500, abs=100)


def test_a_picture_of_silence_can_be_drawn() -> None:
    with Image.open(io.BytesIO(picture(np.zeros(2_000, np.float32), RATE_HZ))) as image:
        assert image.height == 128
