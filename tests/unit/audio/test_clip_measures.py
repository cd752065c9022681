"""Measures of clips: each fault is put into clean speech in a known amount and must be read back."""

import numpy as np
import pytest

from backend.audio import espeak
from backend.audio.clip_grade import LIMITS, grade
from backend.audio.clip_measures import bandwidth_hz, clipped_share, measure
from backend.audio.denoise import denoise, noise_power
from backend.audio.levels import from_pcm16, level_dbfs, to_pcm16
from backend.audio.resample import resample

TEXT = (
    "Hello there my friend, this is quite a long sentence. And another one after a pause, with the back of a cat."
    " Please call Stella, and ask her what she brought."
)
RATE_HZ = 22_050
VOICES = ("en-us", "en-gb+f4", "de+m3")


def speech(voice: str = "en-us"):
    silence = np.zeros(RATE_HZ // 3, np.float32)
    return np.concatenate((silence, from_pcm16(espeak.synthesize(TEXT, voice).pcm), silence))


def noise(size: int, dbfs: float, seed: int = 1):
    return (np.random.default_rng(seed).standard_normal(size) * 10 ** (dbfs / 20)).astype(
        np.float32
    )


def as_16_bit(samples):
    return from_pcm16(to_pcm16(samples))


def in_room(samples, seconds: float, rate_hz: int = RATE_HZ):
    """The sound in a room whose echo is as loud as the voice and falls by 60 dB in so long."""
    time_s = np.arange(round(1.2 * seconds * rate_hz)) / rate_hz
    tail = np.random.default_rng(3).standard_normal(time_s.size) * 10 ** (-3 * time_s / seconds)
    tail /= np.sqrt(np.sum(np.square(tail)))
    tail[0] += 1
    size = samples.size + tail.size
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)
    return wet[: samples.size].astype(np.float32)


@pytest.mark.parametrize("dbfs", [-70.0, -60.0, -50.0, -40.0])
def test_the_noise_floor_is_read_within_1_db(dbfs):
    clean = speech()
    assert measure(clean + noise(clean.size, dbfs), RATE_HZ)["noise_dbfs"] == pytest.approx(
        dbfs, abs=1.0
    )


def test_10_db_more_noise_reads_10_db_less_signal_to_noise():
    clean = speech()
    found = [
        measure(clean + noise(clean.size, dbfs), RATE_HZ)["snr_db"]
        for dbfs in (-60.0, -50.0, -40.0)
    ]
    assert np.diff(found) == pytest.approx([-10.0, -10.0], abs=1.0)


def test_rumble_that_is_filtered_away_later_is_no_noise():
    voice = speech()
    clean = voice + noise(voice.size, -70.0)
    rumble = 0.1 * np.sin(2 * np.pi * 20 * np.arange(clean.size) / RATE_HZ).astype(np.float32)
    assert measure(clean + rumble, RATE_HZ)["snr_db"] == pytest.approx(
        measure(clean, RATE_HZ)["snr_db"], abs=1.0
    )


def test_an_offset_is_read():
    assert measure(speech() + np.float32(0.1), RATE_HZ)["dc"] == pytest.approx(0.1, abs=0.002)


@pytest.mark.parametrize("voice", VOICES)
def test_clean_speech_is_not_called_clipped(voice):
    assert clipped_share(speech(voice)) == 0.0


@pytest.mark.parametrize("quieter", [1.0, 0.37])
def test_clipping_is_found_even_when_the_sound_was_made_quieter_afterwards(quieter):
    clean = speech()
    loud = clean / np.abs(clean).max() * 2
    share = float(np.mean(np.abs(loud) >= 1.0))
    clipped = as_16_bit(as_16_bit(np.clip(loud, -1, 1)) * np.float32(quieter))
    assert clipped_share(clipped) == pytest.approx(share, rel=0.2)


@pytest.mark.parametrize("hz", [50, 100, 220, 1000])
@pytest.mark.parametrize("amplitude", [0.05, 0.3, 0.9])
def test_a_pure_tone_has_round_tops(hz, amplitude):
    wave = amplitude * np.sin(2 * np.pi * hz * np.arange(48_000) / 48_000)
    assert clipped_share(as_16_bit(wave.astype(np.float32))) == 0.0


@pytest.mark.parametrize("narrow_hz", [8_000, 16_000])
def test_sound_of_a_low_rate_is_noticed_in_a_file_of_48_khz(narrow_hz):
    narrow = resample(speech(), RATE_HZ, narrow_hz)
    wide = as_16_bit(resample(narrow, narrow_hz, 48_000))
    assert bandwidth_hz(wide, 48_000) == pytest.approx(narrow_hz / 2, rel=0.06)


def test_sound_up_to_the_end_has_the_whole_band():
    assert bandwidth_hz(noise(48_000, -20.0), 48_000) > 23_500


def test_silence_has_no_bandwidth_and_no_figures_that_are_not_numbers():
    assert bandwidth_hz(np.zeros(48_000, np.float32), 48_000) == 0.0
    for samples in (np.zeros(48_000, np.float32), np.zeros(10, np.float32)):
        assert all(np.isfinite(value) for value in measure(samples, 48_000).values())


@pytest.mark.parametrize("voice", VOICES)
def test_a_reverberant_room_reads_longer_than_a_dry_one(voice):
    clean = speech(voice)
    room = noise(clean.size, -80.0)
    dry = measure(clean + room, RATE_HZ).get("echo_s", 0.0)
    wet = measure(in_room(clean, 0.8) + room, RATE_HZ)["echo_s"]
    assert dry < 0.34 < wet
    assert "room echo" in grade({"echo_s": wet})[1]


def test_the_gate_lowers_noise_and_leaves_clean_speech_alone():
    clean = speech()
    noisy = clean + noise(clean.size, -45.0)
    made = denoise(noisy, RATE_HZ)
    assert made.size == noisy.size
    assert level_dbfs(made[:5000]) < level_dbfs(noisy[:5000]) - 12
    error_before, error_after = level_dbfs(noisy - clean), level_dbfs(made - clean)
    assert error_after < error_before - 2
    assert level_dbfs(denoise(clean, RATE_HZ) - clean) < level_dbfs(clean) - 60


def test_noise_can_be_learned_from_a_pause():
    clean = speech()
    hiss = noise(clean.size, -45.0)
    learned = noise_power(hiss[: RATE_HZ // 2], RATE_HZ)
    made = denoise(clean + hiss, RATE_HZ, learned)
    assert level_dbfs(made - clean) < level_dbfs(hiss) - 2
    assert noise_power(hiss[:100], RATE_HZ) is None


def test_a_tone_keeps_its_pitch_through_the_gate():
    tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    made = denoise(np.concatenate((np.zeros(RATE_HZ, np.float32), tone)), RATE_HZ)[RATE_HZ:]
    assert float(np.argmax(np.abs(np.fft.rfft(made)))) == pytest.approx(220, abs=1)


def test_a_clip_without_faults_gets_an_a():
    clean = speech()[: 5 * RATE_HZ]
    letter, reasons = grade(measure(clean + noise(clean.size, -75.0), RATE_HZ))
    assert (letter, reasons) == ("A", ())


def test_the_worst_reason_comes_first_and_decides():
    assert grade({"snr_db": 25.0, "clipped": 0.1, "duration_s": 4.0}) == ("C", ("clipped", "noise"))


def test_what_was_not_measured_counts_for_nothing():
    assert grade({}) == ("A", ())


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.reason)
def test_every_limit_gets_worse_in_one_direction(limit):
    step = abs(limit.poor - limit.fair)
    values = [limit.fair - step / 2, (limit.fair + limit.poor) / 2, limit.poor + step / 2]
    if not limit.high_is_bad:
        values = [limit.fair + step / 2, (limit.fair + limit.poor) / 2, limit.poor - step / 2]
    assert [limit.grade(value) for value in values] == ["A", "B", "C"]
