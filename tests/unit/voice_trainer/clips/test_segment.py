"""Cuts: in the pauses, never inside a word, and pieces of the wanted length."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from backend.audio import espeak
from backend.audio.levels import FloatArray, from_pcm16
from backend.audio.resample import resample
from voice_trainer.clips import segment
from voice_trainer.clips.segment import FRAMES_PER_S, RATE_HZ, Limits, find_speech, plan, whole

SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "Please call Stella, and ask her to bring these things with her from the store.",
    "What do you think about that?",
    "She sells sea shells by the sea shore, and the shells she sells are sea shells for sure.",
    "Good evening everybody, welcome to the stream.",
)
FRAME_S = 1 / FRAMES_PER_S


@cache
def said(text: str, voice: str = "en-us") -> tuple[FloatArray, float, float]:
    """Speech at 16 kHz, and where in it the first and the last sound lie."""
    spoken = espeak.synthesize(text, voice)
    samples = resample(from_pcm16(spoken.pcm), spoken.rate_hz, RATE_HZ)
    loud = np.flatnonzero(np.abs(samples) > 0.004)
    return samples, loud[0] / RATE_HZ, loud[-1] / RATE_HZ


def recording(
    pauses_s: list[float], voice: str = "en-us", noise: float = 0.0005
) -> tuple[FloatArray, list[tuple[float, float]]]:
    """Sentences with pauses between them, and where each lies, in seconds."""
    parts: list[FloatArray] = [np.zeros(RATE_HZ, np.float32)]
    spans: list[tuple[float, float]] = []
    for index, pause_s in enumerate(pauses_s):
        samples, first_s, last_s = said(SENTENCES[index % len(SENTENCES)], voice)
        at_s = sum(part.size for part in parts) / RATE_HZ
        spans.append((at_s + first_s, at_s + last_s))
        parts += [samples, np.zeros(round(pause_s * RATE_HZ), np.float32)]
    whole_sound = np.concatenate(parts)
    hiss = np.random.default_rng(1).standard_normal(whole_sound.size).astype(np.float32) * noise
    return whole_sound + hiss, spans


@pytest.mark.parametrize("voice", ["en-us", "en-gb+f4", "de+m3"])
def test_known_silence_is_found_to_the_frame(voice):
    # Speech that begins and stops at once, so that there is no doubt where silence begins.
    sharp: list[FloatArray] = []
    spans: list[tuple[float, float]] = []
    for text in SENTENCES:
        samples, _, _ = said(text, voice)
        loud = np.flatnonzero(np.abs(samples) > 0.1)
        sharp.append(np.zeros(round(1.5 * RATE_HZ), np.float32))
        at_s = sum(part.size for part in sharp) / RATE_HZ
        sharp.append(samples[loud[0] : loud[-1] + 1])
        spans.append((at_s, at_s + sharp[-1].size / RATE_HZ))
    sharp.append(np.zeros(RATE_HZ, np.float32))
    runs = segment.runs(find_speech(np.concatenate(sharp)).is_speech)
    for start_s, end_s in spans:
        assert min(abs(first * FRAME_S - start_s) for first, _ in runs) <= segment.FRAME / RATE_HZ
        assert min(abs(last * FRAME_S - end_s) for _, last in runs) <= segment.FRAME / RATE_HZ


@pytest.mark.parametrize("voice", ["en-us", "en-gb+f4", "de+m3"])
@pytest.mark.parametrize("pauses_s", [[0.15] * 10, [0.4] * 10, [0.8, 3.0] * 5])
def test_no_cut_lies_inside_a_sentence_when_there_are_pauses(voice, pauses_s):
    sound, spans = recording(pauses_s, voice)
    pieces = plan(find_speech(sound), Limits())
    assert pieces
    for piece in pieces:
        for cut_s in (piece.start_s, piece.end_s):
            inside = [
                (start_s, end_s)
                for start_s, end_s in spans
                if start_s + 0.03 < cut_s < end_s - 0.03
            ]
            assert not inside or _is_pause(sound, cut_s), (cut_s, inside)


def test_all_speech_is_in_a_piece():
    sound, spans = recording([0.3, 1.0, 0.15, 2.5, 0.6] * 3)
    pieces = plan(find_speech(sound), Limits())
    for start_s, end_s in spans:
        for at_s in np.arange(start_s + 0.02, end_s - 0.02, 0.05):
            assert any(one.start_s <= at_s <= one.end_s for one in pieces), at_s


@pytest.mark.parametrize("limits", [Limits(), Limits(1.0, 5.0, 7.0)])
def test_pieces_have_the_wanted_length(limits):
    sound, _ = recording([0.3, 0.5, 0.2, 0.7, 0.25] * 6)
    lengths = [one.end_s - one.start_s for one in plan(find_speech(sound), limits)]
    assert max(lengths) <= limits.never_s
    inside = [limits.shortest_s <= length <= limits.longest_s for length in lengths]
    assert sum(inside) / len(inside) > 0.9


def test_somebody_who_never_pauses_is_cut_all_the_same_and_at_a_quiet_place():
    sample, first_s, last_s = said(SENTENCES[3])
    speech_only = sample[round(first_s * RATE_HZ) : round(last_s * RATE_HZ)]
    sound = np.concatenate([speech_only] * 10)
    speech = find_speech(sound)
    pieces = plan(speech, Limits())
    assert max(one.end_s - one.start_s for one in pieces) <= 12.0
    assert sum(one.end_s - one.start_s for one in pieces) > sound.size / RATE_HZ * 0.95
    usual = float(np.median(speech.levels_dbfs))
    for one in pieces[:-1]:
        assert speech.levels_dbfs[min(round(one.end_s * 100), speech.levels_dbfs.size - 1)] < usual


def test_a_steady_tone_that_is_taken_for_a_voice_is_never_longer_than_allowed(monkeypatch):
    sound = 0.3 * np.sin(2 * np.pi * 150 * np.arange(60 * RATE_HZ) / RATE_HZ).astype(np.float32)
    levels = np.full(6000, -13.0)
    speech = segment.Speech(levels, np.ones(6000, bool), -60.0)
    assert max(one.end_s - one.start_s for one in plan(speech, Limits())) <= 12.0
    assert sound.size


def test_silence_noise_and_clicks_have_no_speech():
    chance = np.random.default_rng(2)
    clicks = np.zeros(10 * RATE_HZ, np.float32)
    clicks[:: RATE_HZ // 2] = 0.5
    for sound in (
        np.zeros(10 * RATE_HZ, np.float32),
        chance.standard_normal(10 * RATE_HZ).astype(np.float32) * 0.05,
        clicks,
        np.empty(0, np.float32),
        np.zeros(100, np.float32),
    ):
        speech = find_speech(sound)
        assert not speech.is_speech.any()
        assert plan(speech, Limits()) == []
        assert whole(speech) is None


def test_lanes_hear_what_one_lane_hears(monkeypatch):
    sound, _ = recording([0.3, 1.0, 0.6] * 6, noise=0.003)
    with_lanes = find_speech(sound).is_speech
    monkeypatch.setattr(segment, "LANES", 1)
    assert np.mean(with_lanes != find_speech(sound).is_speech) < 0.01


@pytest.mark.parametrize("noise", [0.001, 0.01])
def test_without_the_network_levels_find_the_same_sentences(monkeypatch, noise):
    sound, spans = recording([1.5] * 5, noise=noise)
    monkeypatch.setattr(segment, "_silero", lambda: None)
    pieces = plan(find_speech(sound), Limits())
    for start_s, end_s in spans:
        middle_s = (start_s + end_s) / 2
        assert any(one.start_s <= middle_s <= one.end_s for one in pieces)
    assert sum(one.end_s - one.start_s for one in pieces) < sum(b - a for a, b in spans) + 0.6 * 5


def test_one_sentence_as_a_whole_loses_only_its_ends():
    sound, spans = recording([0.9, 2.5, 2.0])
    one = whole(find_speech(sound))
    assert one is not None
    assert spans[0][0] - 0.2 < one.start_s < spans[0][0]
    assert spans[-1][1] < one.end_s < spans[-1][1] + 0.2


def _is_pause(sound: FloatArray, at_s: float) -> bool:
    """Whether 30 ms around a place are 25 dB below the loudest part of the sound around it."""
    middle = round(at_s * RATE_HZ)
    near = sound[max(middle - 240, 0) : middle + 240]
    wide = sound[max(middle - 8000, 0) : middle + 8000]
    return float(np.sqrt(np.mean(near**2))) < 0.06 * float(np.max(np.abs(wide)))
