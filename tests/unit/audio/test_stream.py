"""Long files piece by piece: the same sound as read at once, whatever the format, channels and damage."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys

import numpy as np
import psutil
import pytest
import soundfile

from backend.audio.decode import decode
from backend.audio.errors import AudioError, AudioTooLargeError
from backend.audio.levels import level_dbfs
from backend.audio.stream import open_stream

RATE_HZ = 22_050


def tone(seconds: float, rate_hz: int = RATE_HZ, amplitude: float = 0.5):
    return (
        amplitude * np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate_hz)) / rate_hz)
    ).astype(np.float32)


def write(path, samples, rate_hz: int = RATE_HZ, kind: str = "WAV", subtype: str | None = None):
    soundfile.write(path, samples, rate_hz, format=kind, subtype=subtype)
    return path


def read(path, **how):
    with open_stream(path) as stream:
        return np.concatenate(list(stream.pieces(path.name, **how))), stream


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("piece_s", [0.5, 5.0])
def test_pieces_put_together_are_the_sound_read_at_once(tmp_path, kind, piece_s):
    path = write(tmp_path / "a", tone(3.3), kind=kind)
    found, stream = read(path, piece_s=piece_s)
    at_once = decode(path)
    assert stream.rate_hz == at_once.rate_hz == RATE_HZ
    assert found.size == at_once.samples.size
    assert np.allclose(found, at_once.samples, atol=1e-6)


def test_a_rate_above_48_khz_is_brought_down(tmp_path):
    found, stream = read(write(tmp_path / "a", tone(2.0, 96_000), 96_000))
    assert (stream.source_hz, stream.rate_hz) == (96_000, 48_000)
    assert found.size == pytest.approx(96_000, abs=2)
    assert float(np.argmax(np.abs(np.fft.rfft(found)))) / 2 == pytest.approx(220, abs=0.6)


@pytest.mark.parametrize(("left", "right"), [(1, 0), (0, 1), (1, -1), (1, 1), (1, 0.5)], ids=str)
def test_a_voice_is_heard_whichever_channel_it_is_in(tmp_path, left, right):
    stereo = np.stack([tone(2.0) * left, tone(2.0) * right], axis=1)
    found, _ = read(write(tmp_path / "a", stereo))
    assert level_dbfs(found) > level_dbfs(tone(2.0)) - 3


def test_clipping_is_found_where_it_is_even_in_one_channel_and_above_48_khz(tmp_path):
    clean = tone(6.0, 96_000, 0.4)
    broken = clean.copy()
    broken[3 * 96_000 : 4 * 96_000] = np.clip(tone(1.0, 96_000, 0.9), -0.45, 0.45)
    _, stream = read(write(tmp_path / "a", np.stack([clean, broken], axis=1), 96_000))
    assert stream.flat_tops
    assert all(3.0 <= at <= 4.0 for at, _ in stream.flat_tops)
    assert 0.3 < sum(length for _, length in stream.flat_tops) < 1.0


def test_a_file_that_breaks_off_gives_what_is_there_and_says_so(tmp_path):
    path = write(tmp_path / "a", tone(20.0), kind="FLAC")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = b"\xff" * (len(data) - len(data) // 2)
    path.write_bytes(data)
    found, stream = read(path)
    assert 0 < found.size <= 20 * RATE_HZ
    assert found.size < 20 * RATE_HZ or stream.problem


def test_samples_that_are_no_numbers_become_silence_and_too_many_are_refused(tmp_path):
    samples = tone(2.0)
    samples[::10] = np.nan
    found, _ = read(write(tmp_path / "a", samples, subtype="FLOAT"))
    assert np.isfinite(found).all()
    samples[:] = np.inf
    with pytest.raises(AudioError, match="not numbers"):
        read(write(tmp_path / "b", samples, subtype="FLOAT"))


def test_longer_than_wanted_is_refused_after_so_much(tmp_path):
    path = write(tmp_path / "a", tone(4.0))
    given = []
    with pytest.raises(AudioTooLargeError, match="longer than 2 s"), open_stream(path) as stream:
        given.extend(piece.size for piece in stream.pieces("a.wav", max_s=2.0, piece_s=1.0))
    assert 1 <= len(given) <= 3


@pytest.mark.parametrize("content", [b"", b"no sound" * 50])
def test_what_is_no_sound_is_refused_with_the_name_it_was_sent_under(tmp_path, content):
    path = tmp_path / "0001"
    path.write_bytes(content)
    with (
        pytest.raises(AudioError, match=r"sent\.wav") as caught,
        open_stream(path, name="sent.wav"),
    ):
        pass
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes")
def test_links_pipes_and_folders_are_not_opened(tmp_path):
    (tmp_path / "link").symlink_to(write(tmp_path / "sound.wav", tone(1.0)))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        with pytest.raises(AudioError, match="no plain file"), open_stream(tmp_path / name):
            pass
    with pytest.raises(AudioError, match="cannot be opened"), open_stream(tmp_path / "gone"):
        pass


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_m4a_comes_through_ffmpeg_and_leaves_no_process_when_left_early(tmp_path):
    target = io.BytesIO()
    soundfile.write(target, tone(30.0), RATE_HZ, format="WAV")
    path = tmp_path / "a.m4a"
    command = ["ffmpeg", "-v", "error", "-i", "pipe:0", "-c:a", "aac", str(path)]
    subprocess.run(command, input=target.getvalue(), check=True)
    found, stream = read(path)
    assert stream.rate_hz == 48_000
    assert found.size / 48_000 == pytest.approx(30.0, abs=0.15)
    assert float(np.argmax(np.abs(np.fft.rfft(found[:48_000])))) == pytest.approx(220, abs=1)
    with open_stream(path) as stream:
        next(stream.pieces("a.m4a", piece_s=0.2))
    assert not [one for one in psutil.Process().children() if "ffmpeg" in one.name()]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_a_broken_m4a_is_refused_in_words(tmp_path):
    path = tmp_path / "0001"
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(1000))
    with (
        pytest.raises(AudioError, match="song cannot be read") as caught,
        open_stream(path, name="song") as stream,
    ):
        list(stream.pieces("song"))
    assert str(tmp_path) not in str(caught.value)
