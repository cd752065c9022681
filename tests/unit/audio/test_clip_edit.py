"""Edits of one clip, and its pictures, from file to file."""

import hashlib
import io

import numpy as np
import pytest

from backend.audio import clip_edit, picture
from backend.audio.clip_edit import TARGET_LUFS
from backend.audio.errors import AudioError
from backend.audio.levels import from_pcm16, to_pcm16
from backend.audio.loudness import lufs
from backend.audio.wav import read_wav, to_wav

RATE_HZ = 22_050


def write_tones(path, *tones_hz: float, seconds: float = 1.0):
    """One second of each tone after the other."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    samples = np.concatenate([0.2 * np.sin(2 * np.pi * hz * time_s) for hz in tones_hz])
    path.write_bytes(to_wav(to_pcm16(samples.astype(np.float32)), RATE_HZ))
    return str(path)


def sound(path):
    pcm, rate_hz = read_wav(path.read_bytes())
    assert rate_hz == RATE_HZ
    return from_pcm16(pcm)


def pitch_hz(samples) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples)))) * RATE_HZ / samples.size


def test_a_trim_keeps_what_lies_between_the_times(tmp_path):
    path = write_tones(tmp_path / "a.wav", 220, 440, 880)
    told = clip_edit.trim(path, str(tmp_path / "b.wav"), 1.0, 2.0)
    kept = sound(tmp_path / "b.wav")
    assert told["duration_s"] == 1.0
    assert kept.size == RATE_HZ
    assert pitch_hz(kept) == pytest.approx(440, abs=1)
    assert told["sha256"] == hashlib.sha256((tmp_path / "b.wav").read_bytes()).hexdigest()
    assert lufs(kept, RATE_HZ) == pytest.approx(TARGET_LUFS, abs=0.5)
    assert told["grade"] in "ABC"
    assert told["measures"]["duration_s"] == 1.0


def test_a_cut_makes_no_click(tmp_path):
    path = write_tones(tmp_path / "a.wav", 220)
    clip_edit.trim(path, path, 0.1013, 0.9)
    kept = sound(tmp_path / "a.wav")
    assert abs(kept[0]) < 0.001
    assert abs(kept[-1]) < 0.001


def test_what_only_the_source_could_tell_is_kept_and_the_match_is_not(tmp_path):
    path = write_tones(tmp_path / "a.wav", 220, 440)
    before = {"clipped": 0.5, "bandwidth_hz": 4000.0, "match": 0.33, "lufs": -1.0}
    told = clip_edit.trim(path, path, 0.0, 1.5, before)
    assert told["measures"]["clipped"] == 0.5
    assert told["measures"]["bandwidth_hz"] == 4000.0
    assert "match" not in told["measures"]
    assert told["measures"]["lufs"] == pytest.approx(TARGET_LUFS, abs=0.5)
    assert told["reasons"][0] in ("clipped", "narrow band")


def test_a_split_gives_both_halves(tmp_path):
    path = write_tones(tmp_path / "a.wav", 220, 440)
    first, second = clip_edit.split(
        path, str(tmp_path / "1.wav"), str(tmp_path / "2.wav"), 1.0, {"rate_hz": 48000.0}
    )
    assert pitch_hz(sound(tmp_path / "1.wav")) == pytest.approx(220, abs=1)
    assert pitch_hz(sound(tmp_path / "2.wav")) == pytest.approx(440, abs=1)
    assert first["duration_s"] + second["duration_s"] == pytest.approx(2.0)
    assert second["measures"]["rate_hz"] == 48000.0


def test_denoising_says_so_among_the_measures(tmp_path):
    hiss = np.random.default_rng(1).standard_normal(2 * RATE_HZ).astype(np.float32) * 0.003
    tone = 0.2 * np.sin(2 * np.pi * 220 * np.arange(RATE_HZ) / RATE_HZ)
    hiss[:RATE_HZ] += tone.astype(np.float32)
    path = tmp_path / "a.wav"
    path.write_bytes(to_wav(to_pcm16(hiss), RATE_HZ))
    before = clip_edit.remeasure(str(path))
    after = clip_edit.denoise(str(path), str(tmp_path / "b.wav"))
    assert after["measures"]["denoised"] == 1.0
    assert after["measures"]["snr_db"] > before["measures"]["snr_db"] + 10


@pytest.mark.parametrize(("start_s", "end_s"), [(0.5, 0.6), (2.0, 3.0), (0.9, 0.1)])
def test_a_trim_that_leaves_nothing_is_refused_with_its_times(tmp_path, start_s, end_s):
    path = write_tones(tmp_path / "a.wav", 220)
    with pytest.raises(AudioError, match=r"less than 0\.3 s"):
        clip_edit.trim(path, path, start_s, end_s)
    assert sound(tmp_path / "a.wav").size == RATE_HZ


def test_times_that_are_no_numbers_are_refused(tmp_path):
    path = write_tones(tmp_path / "a.wav", 220)
    with pytest.raises(AudioError, match="times in seconds"):
        clip_edit.trim(path, path, float("nan"), 1.0)


def test_a_missing_clip_is_named(tmp_path):
    with pytest.raises(AudioError, match=r"gone\.wav"):
        clip_edit.remeasure(str(tmp_path / "gone.wav"))


def test_peaks_follow_the_waveform(tmp_path):
    path = write_tones(tmp_path / "a.wav", 220)
    found = picture.peaks(path, 50)
    assert found["duration_s"] == 1.0
    assert len(found["low"]) == len(found["high"]) == 50
    assert max(found["high"]) == pytest.approx(0.2, abs=0.001)
    assert min(found["low"]) == pytest.approx(-0.2, abs=0.001)


def test_more_columns_than_samples_are_drawn_too(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(to_wav(to_pcm16(np.array([0.1, -0.5, 0.9], np.float32)), RATE_HZ))
    found = picture.peaks(str(path), 9)
    assert len(found["high"]) == 9
    assert (max(found["high"]), min(found["low"])) == (0.9, -0.5)


def test_a_spectrogram_is_bright_where_the_tone_is(tmp_path):
    from PIL import Image

    path = write_tones(tmp_path / "a.wav", 1000, 6000)
    image = Image.open(io.BytesIO(picture.spectrogram_png(path, 200, 80)))
    assert (image.size, image.mode) == ((200, 80), "L")
    grey = np.asarray(image)
    # 80 rows for 8 kHz, low ones at the bottom: 1 kHz lies 10 rows above the bottom, 6 kHz 60.
    assert abs(79 - int(np.argmax(grey[:, 50])) - 10) <= 1
    assert abs(79 - int(np.argmax(grey[:, 150])) - 60) <= 1
    assert grey.max() == 255
    assert grey[10, 50] < 60


def test_a_picture_larger_than_the_sound_is_still_a_picture(tmp_path):
    from PIL import Image

    path = tmp_path / "a.wav"
    path.write_bytes(to_wav(to_pcm16(np.zeros(20, np.float32)), RATE_HZ))
    image = Image.open(io.BytesIO(picture.spectrogram_png(str(path), 300, 700)))
    assert image.size == (300, 700)
    assert np.asarray(image).max() == 0
