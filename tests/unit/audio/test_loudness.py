"""Loudness, true peaks and the high-pass, on tones and speech."""

import numpy as np
import pytest

from backend.audio import espeak
from backend.audio.highpass import highpass
from backend.audio.levels import from_pcm16, level_dbfs
from backend.audio.loudness import TRUE_PEAK_DBFS, lufs, to_lufs, true_peak_dbfs
from backend.audio.resample import resample

RATES = (16_000, 22_050, 44_100, 48_000)


def tone(hz: float, rate_hz: int, seconds: float = 2.0, amplitude: float = 0.5):
    return (
        amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)
    ).astype(np.float32)


def pitch_hz(samples, rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    return float(np.argmax(spectrum)) * rate_hz / samples.size


@pytest.mark.parametrize("rate_hz", RATES)
def test_a_full_scale_tone_of_997_hz_reads_minus_3_01(rate_hz):
    assert lufs(tone(997, rate_hz, 5.0, 1.0), rate_hz) == pytest.approx(-3.01, abs=0.05)


@pytest.mark.parametrize("rate_hz", RATES)
def test_speech_reads_what_the_reference_meter_reads(rate_hz):
    pyloudnorm = pytest.importorskip("pyloudnorm")
    spoken = espeak.synthesize("A sentence with a pause. And then, after it, another one follows.")
    samples = resample(from_pcm16(spoken.pcm), spoken.rate_hz, rate_hz)
    reference = pyloudnorm.Meter(rate_hz).integrated_loudness(samples.astype(np.float64))
    assert lufs(samples, rate_hz) == pytest.approx(reference, abs=0.15)


def test_silence_does_not_make_speech_quieter():
    sound = tone(997, 48_000)
    silence = np.zeros(10 * 48_000, np.float32)
    assert lufs(np.concatenate((sound, silence)), 48_000) == pytest.approx(
        lufs(sound, 48_000), abs=0.6
    )


def test_a_sound_shorter_than_a_block_is_read_as_a_whole():
    assert lufs(tone(997, 48_000, 0.2, 1.0), 48_000) == pytest.approx(-3.01, abs=0.1)


def test_silence_and_nothing_have_no_loudness():
    assert lufs(np.zeros(48_000, np.float32), 48_000) == -120.0
    assert lufs(np.empty(0, np.float32), 48_000) == -120.0


def test_the_true_peak_between_samples_is_found():
    # A quarter of the rate, 45 degrees off: every sample is 0.707 of the real peak.
    phase = 2 * np.pi * 0.25 * np.arange(48_000) + np.pi / 4
    samples = (0.9 * np.sin(phase)).astype(np.float32)
    assert true_peak_dbfs(samples, 48_000) == pytest.approx(20 * np.log10(0.9), abs=0.1)


@pytest.mark.parametrize("target", [-30.0, -23.0])
def test_speech_comes_out_as_loud_as_wanted(target):
    spoken = espeak.synthesize("How loud is this sentence going to be in the end?")
    samples = from_pcm16(spoken.pcm)
    made, gain_db = to_lufs(samples, spoken.rate_hz, target)
    assert lufs(made, spoken.rate_hz) == pytest.approx(target, abs=0.05)
    assert gain_db == pytest.approx(target - lufs(samples, spoken.rate_hz), abs=0.05)


def test_a_click_keeps_a_sound_below_the_ceiling_instead_of_being_cut():
    samples = tone(220, 48_000, amplitude=0.01)
    samples[24_000] = 0.5
    made, _ = to_lufs(samples, 48_000, -10.0)
    assert true_peak_dbfs(made, 48_000) <= TRUE_PEAK_DBFS + 0.05
    assert np.argmax(made) == 24_000
    assert made[24_000] / made[1_000] == pytest.approx(samples[24_000] / samples[1_000], rel=1e-3)


def test_silence_is_not_amplified():
    made, gain_db = to_lufs(np.full(48_000, 1e-5, np.float32), 48_000, -23.0)
    assert gain_db == 0.0
    assert float(np.abs(made).max()) < 2e-5


@pytest.mark.parametrize("rate_hz", RATES)
def test_a_voice_passes_the_high_pass_and_rumble_does_not(rate_hz):
    voice = tone(220, rate_hz)
    made = highpass(voice, rate_hz)
    assert pitch_hz(made, rate_hz) == pytest.approx(220, abs=0.5)
    assert level_dbfs(made) == pytest.approx(level_dbfs(voice), abs=0.1)
    assert level_dbfs(highpass(tone(30, rate_hz), rate_hz)) < level_dbfs(tone(30, rate_hz)) - 40


def test_the_high_pass_moves_nothing_in_time():
    click = np.zeros(48_000, np.float32)
    click[20_000] = 1.0
    made = highpass(click, 48_000)
    assert np.argmax(np.abs(made)) == 20_000
    assert np.allclose(made[20_001:20_500], made[19_999:19_500:-1], atol=1e-6)


def test_an_offset_goes_without_a_thump_at_the_ends():
    voice = tone(220, 22_050)
    made = highpass(voice + np.float32(0.3), 22_050)
    assert abs(float(made.mean())) < 1e-3
    assert float(np.abs(made - highpass(voice, 22_050)).max()) < 1e-4


@pytest.mark.parametrize("length", [0, 1, 2, 5, 100])
def test_the_shortest_sounds_pass_through(length):
    assert highpass(np.full(length, 0.1, np.float32), 48_000).size == length
