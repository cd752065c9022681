"""Warping to the embedded voice, tested on engine voices whose phoneme times are known."""

from __future__ import annotations

import numpy as np
import pytest

from backend.audio import espeak
from backend.audio.levels import from_pcm16
from voice_trainer.align.dtw import (
    RATE_HZ,
    RIGHT_BELOW,
    UNLIKE,
    align,
    log_mel,
    match_cost,
    warp,
)
from voice_trainer.text.phonemes import is_spoken, starts_s

SENTENCES = {
    "en-us": "Hello stream, welcome back! Today we are testing the new voice together.",
    "de": "Guten Tag, ich heiße Müller. Können Sie mich hören?",
    "es": "Hoy vamos a jugar a un juego nuevo con todos vosotros.",
    "ja": "こんにちは、みなさん、おげんきですか。",
}
OTHER = "The quick brown fox jumps over the lazy dog, and then it sleeps."


def spoken(text: str, voice: str, *, words_per_minute: float, pitch: float, lead_s: float = 0.0):
    """Another engine voice with silence and a little noise around it, its rate, and its phoneme times."""
    rendering = espeak.synthesize(text, voice, words_per_minute=words_per_minute, pitch=pitch)
    around = np.zeros(int(lead_s * rendering.rate_hz), np.float32)
    samples = np.concatenate([around, from_pcm16(rendering.pcm), around])
    noise = np.random.default_rng(1).standard_normal(samples.size).astype(np.float32)
    return samples + noise * np.float32(5e-4), rendering.rate_hz, rendering.phonemes


@pytest.mark.parametrize("language", SENTENCES)
def test_phonemes_of_another_speaker_are_found_within_two_frames(language: str) -> None:
    text = SENTENCES[language]
    samples, rate_hz, events = spoken(
        text, f"{language}+f2", words_per_minute=140, pitch=70, lead_s=0.4
    )

    found = align(text, samples, rate_hz, language)

    true_s = np.array(starts_s(found.phonemes, events)) + 0.4
    is_sound = [is_spoken(symbol) for symbol in found.phonemes.symbols]
    errors_ms = np.abs(found.starts_s - true_s)[is_sound] * 1000
    assert np.median(errors_ms) < 10
    assert np.mean(errors_ms) < 20


def test_durations_fill_the_clip_and_begin_with_its_silence() -> None:
    text = SENTENCES["en-us"]
    samples, rate_hz, _ = spoken(text, "en-us+m3", words_per_minute=175, pitch=40, lead_s=0.5)
    frames = samples.size // 220 + 1

    durations = align(text, samples, rate_hz, "en-us").durations(frames, 220 / rate_hz)

    assert durations.sum() == frames
    assert (durations >= 0).all()
    assert durations[0] * 220 / rate_hz == pytest.approx(0.5, abs=0.03)


def test_a_right_transcript_costs_less_than_a_wrong_one_or_half_of_it() -> None:
    text = SENTENCES["en-us"]
    samples, rate_hz, _ = spoken(text, "en-us+f2", words_per_minute=150, pitch=65)

    right = match_cost(text, samples, rate_hz, "en-us")
    wrong = match_cost(OTHER, samples, rate_hz, "en-us")
    half = match_cost(text[: len(text) // 2], samples, rate_hz, "en-us")

    assert right < RIGHT_BELOW - 0.04
    assert wrong > RIGHT_BELOW + 0.04
    assert half > right + 0.1


def test_more_text_than_anybody_can_say_is_unlike_without_being_aligned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    samples, rate_hz = np.ones(32_000, np.float32), 16_000
    monkeypatch.setattr("voice_trainer.align.dtw._best", lambda *_: pytest.fail("it was aligned"))

    assert match_cost("so much text " * 150, samples, rate_hz, "en-us") == UNLIKE


@pytest.mark.parametrize("samples", [np.zeros(16_000, np.float32), np.zeros(0, np.float32)])
def test_silence_fits_no_transcript(samples: np.ndarray) -> None:
    assert match_cost("Hello.", samples, 16_000, "en-us") == UNLIKE


def test_a_transcript_without_words_fits_nothing() -> None:
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1

    assert match_cost("...", noise, 16_000, "en-us") == UNLIKE


def test_a_clip_of_over_a_minute_is_refused() -> None:
    with pytest.raises(ValueError, match="cut it into pieces"):
        match_cost("Hello.", np.ones(61 * 8_000, np.float32), 8_000, "en-us")


def test_a_tone_lies_in_the_band_of_its_frequency() -> None:
    times = np.arange(RATE_HZ) / RATE_HZ
    silence = np.zeros(RATE_HZ, np.float32)
    low, high = (np.sin(2 * np.pi * hz * times).astype(np.float32) for hz in (300, 5000))

    frames = log_mel(np.concatenate([low, silence, high]))

    assert frames.shape == (3 * RATE_HZ // 160 + 1, 80)
    assert frames[50, :40].argmax() < 8
    assert frames[250, :40].argmax() > 30


def test_a_clip_warped_to_itself_at_half_speed_is_stretched_evenly() -> None:
    frames = np.random.default_rng(2).standard_normal((50, 40)).astype(np.float32)

    found = warp(frames, np.repeat(frames, 2, axis=0))

    assert found.cost == pytest.approx(0.0, abs=1e-5)
    assert found.edges.tolist() == list(range(0, 101, 2))
