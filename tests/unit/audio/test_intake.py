"""Sound of any rate becomes frames of 16 kHz, and the meter says how loud it is."""

from __future__ import annotations

import numpy as np
import pytest

from backend.audio.intake import RATE_HZ, Intake
from backend.audio.levels import FloatArray, from_pcm16, level_dbfs, to_pcm16

FRAME = 512


def tone(hz: float, rate_hz: int, seconds: float = 1.0, size: float = 0.5) -> FloatArray:
    moments = np.arange(round(rate_hz * seconds)) / rate_hz
    return (size * np.sin(2 * np.pi * hz * moments)).astype(np.float32)


def through(intake: Intake, pcm: bytes, piece_bytes: int) -> bytes:
    frames = [
        frame
        for start in range(0, len(pcm), piece_bytes)
        for frame in intake.push(pcm[start : start + piece_bytes])
    ]
    assert {len(frame) for frame in frames} == {2 * intake.frame_samples}
    return b"".join(frames) + intake.end()


def loudest_hz(samples: FloatArray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * RATE_HZ / samples.size)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_a_tone_keeps_its_pitch_loudness_and_length_at_any_rate(rate_hz: int) -> None:
    pcm = to_pcm16(tone(440.0, rate_hz))
    heard = from_pcm16(through(Intake(rate_hz, FRAME), pcm, 2 * (rate_hz // 50)))
    assert heard.size == pytest.approx(RATE_HZ, abs=2)
    inside = heard[2000:-2000]
    assert loudest_hz(inside) == pytest.approx(440, abs=1.5)
    assert level_dbfs(inside) == pytest.approx(level_dbfs(tone(440.0, rate_hz)), abs=0.1)


@pytest.mark.parametrize("hz", [8_500, 12_000, 15_000])
def test_what_cannot_be_said_at_16_khz_does_not_fold_back(hz: float) -> None:
    heard = from_pcm16(through(Intake(48_000, FRAME), to_pcm16(tone(hz, 48_000)), 1920))
    assert level_dbfs(heard[2000:-2000]) < -85


def test_sound_is_at_most_a_frame_and_20_ms_behind() -> None:
    intake = Intake(48_000, 160)
    pcm = to_pcm16(tone(440.0, 48_000, 2.0))
    out = behind = 0.0
    for n in range(100):
        out += sum(map(len, intake.push(pcm[n * 1920 : (n + 1) * 1920]))) / 2 / RATE_HZ
        if n > 5:
            behind = max(behind, (n + 1) * 0.02 - out)
    assert behind <= 0.0315


def test_pieces_of_odd_length_lose_no_sample() -> None:
    pcm = to_pcm16(tone(440.0, RATE_HZ, 0.2))
    assert through(Intake(RATE_HZ, 160), pcm, 333) == pcm


def test_a_gain_makes_it_louder_and_is_cut_off_at_the_top() -> None:
    quiet = to_pcm16(tone(440.0, RATE_HZ, 0.5, size=0.1))
    intake = Intake(RATE_HZ, FRAME, gain_db=12.0)
    louder = from_pcm16(through(intake, quiet, 640))
    assert level_dbfs(louder) - level_dbfs(from_pcm16(quiet)) == pytest.approx(12, abs=0.05)
    assert not any(clipped for _, _, clipped in intake.levels)
    intake.set_gain(30.0)
    intake.levels.clear()
    samples = from_pcm16(through(intake, quiet, 640))
    assert float(np.abs(samples).max()) == pytest.approx(1.0, abs=0.001)
    assert all(clipped for _, _, clipped in intake.levels)


def test_the_meter_reads_20_times_a_second() -> None:
    intake = Intake(48_000, FRAME)
    through(intake, to_pcm16(tone(1000.0, 48_000)), 1920)
    assert 18 <= len(intake.levels) <= 20
    level, peak, clipped = intake.levels[10]
    assert level == pytest.approx(-9.03, abs=0.1)
    assert peak == pytest.approx(-6.02, abs=0.1)
    assert not clipped


def test_a_device_that_cuts_off_is_seen_although_the_resampler_rounds_it() -> None:
    square = np.sign(tone(100.0, 48_000)).astype(np.float32) * 0.9999
    intake = Intake(48_000, FRAME, gain_db=-12.0)
    through(intake, to_pcm16(square), 1920)
    assert all(clipped for _, _, clipped in intake.levels)


def test_silence_reads_as_silence() -> None:
    intake = Intake(RATE_HZ, FRAME)
    through(intake, bytes(2 * RATE_HZ), 640)
    assert set(intake.levels) == {(-120.0, -120.0, False)}


def test_another_length_of_frame_counts_from_the_next_one() -> None:
    intake = Intake(RATE_HZ, 160)
    assert [len(frame) for frame in intake.push(bytes(700))] == [320, 320]
    intake.frame_samples = 320
    assert [len(frame) for frame in intake.push(bytes(580))] == [640]
