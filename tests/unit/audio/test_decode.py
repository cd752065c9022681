"""Sound files from strangers: read when they are sound, refused in words when they are not, bounded always."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.audio import decode, wav
from backend.audio.errors import AudioError, AudioTooLargeError
from backend.audio.levels import FloatArray, frame_levels_dbfs, level_dbfs
from backend.contracts.errors import InvalidInputError, TooLargeError
from backend.core.sound import decode_audio
from backend.core.workers import EngineHost


def tone(seconds: float = 1.0, rate_hz: int = 48000, frequency_hz: float = 440) -> FloatArray:
    at = np.arange(int(seconds * rate_hz)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * frequency_hz * at)).astype(np.float32)


def file(
    samples: FloatArray, kind: str = "WAV", subtype: str = "PCM_16", rate_hz: int = 48000
) -> bytes:
    target = io.BytesIO()
    soundfile.write(target, samples, rate_hz, format=kind, subtype=subtype)
    return target.getvalue()


def riff(
    channels: int = 1,
    rate_hz: int = 16000,
    bits: int = 16,
    size: int | None = None,
    data: bytes = b"\0\x10" * 1600,
) -> bytes:
    """A WAV file that says what it is told to say."""
    size = len(data) if size is None else size
    block = channels * bits // 8 & 0xFFFF
    head = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * block & 0xFFFFFFFF, block, bits)
    return (
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + head + b"data" + struct.pack("<I", size) + data
    )


def peak_hz(sound: decode.Sound) -> float:
    spectrum = np.abs(np.fft.rfft(sound.samples * np.hanning(sound.samples.size)))
    return float(np.argmax(spectrum)) * sound.rate_hz / sound.samples.size


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "FLOAT"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
        ("AIFF", "PCM_16"),
    ],
)
def test_a_440_hz_tone_stays_one_in_every_format_and_rate(kind: str, subtype: str) -> None:
    stereo = np.stack([tone(), tone()], axis=1)
    sound = decode.decode(file(stereo, kind, subtype), rate_hz=16000, name="song.txt")
    assert sound.rate_hz == 16000
    assert sound.duration_s == pytest.approx(1.0, abs=0.06)
    assert peak_hz(sound) == pytest.approx(440, abs=2)
    assert level_dbfs(sound.samples) == pytest.approx(-9.03, abs=0.5)
    inner = frame_levels_dbfs(sound.samples[1600:-1600], 320, 160)
    assert inner.max() - inner.min() < 1.5  # no holes where pieces meet


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.parametrize(("ending", "codec"), [("m4a", "aac"), ("webm", "libopus"), ("aac", "aac")])
def test_m4a_webm_and_aac_are_read_through_ffmpeg(tmp_path: Path, ending: str, codec: str) -> None:
    path = tmp_path / f"ünï code.{ending}"
    command = ["ffmpeg", "-v", "error", "-i", "pipe:0", "-c:a", codec, str(path)]
    subprocess.run(command, input=file(tone()), check=True)
    for source in (path, path.read_bytes()):
        sound = decode.decode(source, rate_hz=16000)
        assert peak_hz(sound) == pytest.approx(440, abs=3)
        assert sound.duration_s == pytest.approx(1.0, abs=0.12)
    with pytest.raises(AudioTooLargeError, match=r"longer than 0\.5 s"):
        decode.decode(path, max_s=0.5)


def test_without_ffmpeg_m4a_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(AudioError, match="install ffmpeg"):
        decode.decode(b"\0\0\0\x20ftypM4A " + bytes(100))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"hello " * 100, "no sound file"),
        (b"<html></html>", "no sound file"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "no sound file"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "no sound file"),
        (riff(channels=0), "no sound file"),
        (riff(channels=65535), "no sound file|channels"),
        (riff(channels=40), "40 channels"),
        (riff(rate_hz=0), "no sound file"),
        (riff(rate_hz=1), "1 samples a second"),
        (riff(rate_hz=2**31 - 1), "2,147,483,647 samples a second"),
        (riff()[:30], "no sound file"),
        (riff(data=b""), "holds no sound|no sound file"),
        (file(np.full(4800, np.nan, np.float32), subtype="FLOAT"), "not numbers"),
        (b"\0\0\0\x20ftypM4A " + b"x" * 1000, "cannot be read|install ffmpeg"),
        (b"\x1a\x45\xdf\xa3" + b"x" * 1000, "cannot be read|install ffmpeg"),
    ],
)
def test_what_is_no_sound_is_refused_in_words(data: bytes, words: str) -> None:
    with pytest.raises(AudioError, match=words) as caught:
        decode.decode(data, name="upload.wav")
    assert "upload.wav" in str(caught.value)
    assert "/tmp" not in str(caught.value)


def test_sizes_in_headers_are_not_believed() -> None:
    assert decode.decode(riff(size=0xFFFFFFF0)).duration_s == pytest.approx(0.1)
    assert decode.decode(riff(size=0xFFFFFFFF)).duration_s == pytest.approx(0.1)


def test_a_file_that_breaks_off_gives_what_is_there() -> None:
    whole = file(tone(2.0), "FLAC")
    assert 0.2 < decode.decode(whole[: len(whole) // 2]).duration_s < 2.0
    assert decode.decode(file(tone(2.0))[:-96000]).duration_s == pytest.approx(1.0, abs=0.01)


def test_single_samples_that_are_not_numbers_become_silence() -> None:
    samples = tone()
    samples[::7] = np.inf
    samples[::11] = np.nan
    sound = decode.decode(file(samples, subtype="FLOAT"))
    assert np.isfinite(sound.samples).all()
    assert float(np.abs(sound.samples).max()) <= 1.0


def test_a_bomb_is_refused_before_it_fills_the_memory() -> None:
    hour = file(np.zeros(48000 * 900, np.float32), "FLAC", rate_hz=48000)
    assert len(hour) < 1_000_000
    with pytest.raises(AudioTooLargeError, match="longer than 10 minutes"):
        decode.decode(hour)


def test_high_rates_come_down_while_reading() -> None:
    sound = decode.decode(file(tone(1.0, 192000), rate_hz=192000))
    assert sound.rate_hz == decode.KEPT_HZ
    assert peak_hz(sound) == pytest.approx(440, abs=2)


@given(st.binary(max_size=400), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_any_damage_ends_in_sound_or_in_a_refusal(damage: bytes, at: int) -> None:
    whole = bytearray(riff())
    whole[at : at + len(damage)] = damage
    try:
        sound = decode.decode(bytes(whole))
    except AudioError:
        return
    assert 0 < sound.duration_s <= 600


# --- in the backend, it happens elsewhere ---


@pytest_asyncio.fixture
async def host() -> AsyncIterator[EngineHost]:
    host = EngineHost()
    yield host
    await host.stop()


async def test_the_backend_decodes_in_another_process_and_gets_plain_errors(
    host: EngineHost,
) -> None:
    audio = await decode_audio(host, file(tone()), rate_hz=16000, name="a.wav", timeout_s=20)
    assert (audio.rate_hz, round(audio.duration_s, 2)) == (16000, 1.0)
    assert wav.level_dbfs(audio.pcm) == pytest.approx(-9.03, abs=0.1)
    with pytest.raises(InvalidInputError, match=r"b\.wav is no sound file"):
        await decode_audio(host, b"junk" * 20, name="b.wav")
    with pytest.raises(TooLargeError, match=r"longer than 0\.5 s"):
        await decode_audio(host, file(tone()), max_s=0.5)
