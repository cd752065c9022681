"""Levels, rates and where somebody speaks, tested with signals."""

from __future__ import annotations

import numpy as np
import pytest

from backend.audio import espeak
from backend.audio.levels import (
    FloatArray,
    frame_levels_dbfs,
    from_pcm16,
    level_dbfs,
    peak_dbfs,
    to_pcm16,
)
from backend.audio.resample import Resampler, resample, resample_pcm16
from backend.audio.vad import has_speech, speech_spans

RATE_HZ = 16000


def tone(frequency_hz: float, seconds: float = 1.0, rate_hz: int = RATE_HZ) -> FloatArray:
    at = np.arange(int(seconds * rate_hz)) / rate_hz
    return np.sin(2 * np.pi * frequency_hz * at).astype(np.float32)


def spoken(text: str, voice: str = "en-us") -> FloatArray:
    said = espeak.synthesize(text, voice)
    return resample(from_pcm16(said.pcm), said.rate_hz, RATE_HZ)


def noise(seconds: float, level: float, seed: int = 1) -> FloatArray:
    chance = np.random.default_rng(seed)
    return chance.normal(0, level, int(seconds * RATE_HZ)).astype(np.float32)


def silence(seconds: float) -> FloatArray:
    return np.zeros(int(seconds * RATE_HZ), np.float32)


def test_a_full_scale_sine_reads_minus_three() -> None:
    assert level_dbfs(tone(200)) == pytest.approx(-3.01, abs=0.01)
    assert peak_dbfs(tone(200) * 0.5) == pytest.approx(-6.02, abs=0.01)
    assert level_dbfs(silence(1)) == level_dbfs(np.empty(0, np.float32)) == float("-inf")
    assert peak_dbfs(silence(1)) == float("-inf")


def test_frames_follow_a_step_in_level() -> None:
    both = np.concatenate([tone(200) * 0.1, tone(200)])
    levels = frame_levels_dbfs(both, 400, 160)
    assert levels[10] == pytest.approx(-23.01, abs=0.1)
    assert levels[-10] == pytest.approx(-3.01, abs=0.1)
    assert frame_levels_dbfs(silence(0.01), 400, 160).size == 0


def test_pcm_and_floats_are_each_other_s_inverse_and_clip() -> None:
    pcm = np.array([-32768, -1, 0, 1, 32767], "<i2").tobytes()
    assert to_pcm16(from_pcm16(pcm)) == pcm
    wild = np.array([2.0, -2.0, np.nan, np.inf], np.float32)
    assert np.frombuffer(to_pcm16(wild), "<i2").tolist() == [32767, -32768, 0, 32767]


@pytest.mark.parametrize(("from_hz", "to_hz"), [(48000, 16000), (22050, 16000), (8000, 24000)])
def test_resampling_keeps_pitch_level_and_length(from_hz: int, to_hz: int) -> None:
    out = resample(tone(220, 2.0, from_hz), from_hz, to_hz)
    spectrum = np.abs(np.fft.rfft(out * np.hanning(out.size)))
    assert float(np.argmax(spectrum)) * to_hz / out.size == pytest.approx(220, abs=1)
    assert out.size == pytest.approx(2 * to_hz, abs=2)
    assert level_dbfs(out) == pytest.approx(-3.01, abs=0.1)
    pcm = to_pcm16(tone(220, 2.0, from_hz))
    assert len(resample_pcm16(pcm, from_hz, to_hz)) == pytest.approx(4 * to_hz, abs=8)
    assert resample_pcm16(pcm, from_hz, from_hz) is pcm


def test_piece_by_piece_gives_what_the_whole_gives() -> None:
    whole = tone(220, 1.0, 48000)
    stream = Resampler(48000, RATE_HZ)
    pieces = [stream.push(piece) for piece in np.array_split(whole, 7)]
    pieces.append(stream.push(np.empty(0, np.float32), is_last=True))
    assert np.allclose(np.concatenate(pieces), resample(whole, 48000, RATE_HZ), atol=1e-3)


@pytest.mark.parametrize("voice", ["en-us", "en-us+f3", "en-us+whisper", "de", "ja"])
def test_speech_is_found_where_it_is(voice: str) -> None:
    speech = spoken("Hello there, this is one sentence.", voice)
    clip = np.concatenate([silence(1), speech, silence(1)]) + noise(2, 0.0005).mean()
    spans = speech_spans(clip, RATE_HZ)
    assert spans
    assert spans[0][0] == pytest.approx(1.0, abs=0.35)
    assert spans[-1][1] == pytest.approx(1 + speech.size / RATE_HZ, abs=0.6)


def test_two_sentences_in_a_noisy_room_are_two_stretches() -> None:
    speech = spoken("Hello there, this is one sentence.")
    clip = np.concatenate([silence(1), speech, silence(2), speech, silence(1)])
    chance = np.random.default_rng(2)
    spans = speech_spans((clip + chance.normal(0, 0.003, clip.size)).astype(np.float32), RATE_HZ)
    assert len(spans) == 2
    assert spans[0][1] < 1 + speech.size / RATE_HZ + 0.5
    assert spans[1][0] > 2.5 + speech.size / RATE_HZ


@pytest.mark.parametrize(
    "sound",
    [
        silence(2),
        noise(2, 0.1),
        noise(2, 0.002),
        np.cumsum(noise(2, 0.001)).astype(np.float32),
        np.concatenate([silence(1), noise(1, 0.1)]),
        tone(50, 2) * 0.3,
        tone(220, 2) * 0.3,
        np.concatenate([silence(1), np.full(80, 0.9, np.float32), silence(1)]),
        np.empty(0, np.float32),
        np.zeros(3, np.float32),
    ],
    ids=["zeros", "noise", "hiss", "rumble", "fan", "hum", "beep", "click", "nothing", "three"],
)
def test_what_is_no_speech_is_none(sound: FloatArray) -> None:
    assert speech_spans(sound, RATE_HZ) == []


def test_pcm_of_any_rate_is_judged() -> None:
    said = espeak.synthesize("Hello there.")
    assert has_speech(said.pcm, said.rate_hz)
    assert not has_speech(bytes(48000), 48000)
    assert not has_speech(b"", 16000)
