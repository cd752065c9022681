"""WAV and meters without numpy."""

from __future__ import annotations

import io
import math
import struct
import subprocess
import sys
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.audio import wav
from backend.audio.errors import AudioError
from backend.core.workers import ROOT


def sine(amplitude: int, count: int = 8000) -> bytes:
    step = 2 * math.pi * 200 / 8000
    return struct.pack(f"<{count}h", *(round(amplitude * math.sin(step * n)) for n in range(count)))


@given(st.binary(max_size=2000).map(lambda b: b[: len(b) // 2 * 2]), st.integers(1, 192000))
def test_what_is_written_is_read(pcm: bytes, rate_hz: int) -> None:
    assert wav.read_wav(wav.to_wav(pcm, rate_hz)) == (pcm, rate_hz)


def test_other_programs_read_it() -> None:
    with wave.open(io.BytesIO(wav.to_wav(sine(1000) * 2, 8000, channels=2))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 8000)
        assert file.getnframes() == 8000


def test_chunks_that_are_not_known_are_passed_over() -> None:
    whole = wav.to_wav(b"\1\0\2\0", 8000)
    odd = whole[:36] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + whole[36:]
    assert wav.read_wav(odd) == (b"\1\0\2\0", 8000)


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"x" * 100, wav.to_wav(b"", 8000)[:30], wav.to_wav(b"\0\0\0\0", 8000, 2)]
)
def test_what_is_no_mono_wav_is_refused(data: bytes) -> None:
    with pytest.raises(AudioError, match="WAV"):
        wav.read_wav(data)


@given(st.binary(max_size=300))
def test_damaged_files_raise_nothing_else(damage: bytes) -> None:
    whole = wav.to_wav(sine(1000, 50), 8000)
    try:
        wav.read_wav(whole[:12] + damage + whole[12 + len(damage) :])
    except AudioError:
        pass


def linear(frames: list[tuple[float, ...]], width: int, rate_hz: int = 22_050) -> bytes:
    """A WAV file of samples in -1 to 1, by another program."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(len(frames[0]))
        out.setsampwidth(width)
        out.setframerate(rate_hz)
        full = 1 << (8 * width - 1)
        for value in (value for frame in frames for value in frame):
            number = round(value * (full - 1))
            raw = number + 128 if width == 1 else number
            out.writeframesraw(raw.to_bytes(width, "little", signed=width > 1))
    return file.getvalue()


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_linear_wav_of_any_width_becomes_mono_pcm16(
    width: int, channels: int, rate_hz: int
) -> None:
    values = [math.sin(n / 7) for n in range(200)]
    pcm, found_hz = wav.read_linear_wav(linear([(v,) * channels for v in values], width, rate_hz))
    assert found_hz == rate_hz
    found = struct.unpack(f"<{len(pcm) // 2}h", pcm)
    assert found == pytest.approx([v * 32767 for v in values], abs=400 if width == 1 else 2)


def test_two_channels_are_mixed_and_not_one_of_them_kept() -> None:
    pcm, _ = wav.read_linear_wav(linear([(1.0, 0.0), (-1.0, -1.0)], 2))
    assert struct.unpack("<2h", pcm) == (16383, -32767)


@pytest.mark.parametrize(
    ("kind", "sub_kind", "is_read"), [(0xFFFE, 1, True), (0xFFFE, 3, False), (3, 3, False)]
)
def test_the_extensible_header_is_believed_for_linear_sound_alone(
    kind: int, sub_kind: int, is_read: bool
) -> None:
    form = struct.pack("<HHIIHH", kind, 1, 8000, 16000, 2, 16)
    form += struct.pack("<HHIH14s", 22, 16, 4, sub_kind, bytes(14))
    data = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", len(form)) + form
    data += b"data" + struct.pack("<I", 4) + b"\1\0\2\0"
    if is_read:
        assert wav.read_linear_wav(data) == (b"\1\0\2\0", 8000)
    else:
        with pytest.raises(AudioError, match="linear PCM"):
            wav.read_linear_wav(data)


@given(st.binary(max_size=80), st.integers(8, 44))
def test_a_damaged_linear_wav_raises_nothing_else(damage: bytes, at: int) -> None:
    whole = linear([(0.1, 0.2)] * 20, 3)
    try:
        pcm, rate_hz = wav.read_linear_wav(whole[:at] + damage + whole[at + len(damage) :])
    except AudioError:
        return
    assert pcm
    assert len(pcm) % 2 == 0
    assert rate_hz > 0


@pytest.mark.parametrize(
    ("pcm", "level"),
    [(sine(32767), -3.01), (sine(3277), -23.01), (b"\xff\x7f" * 100, 0.0), (b"\0\x80" * 100, 0.0)],
)
def test_levels_are_in_dbfs(pcm: bytes, level: float) -> None:
    assert wav.level_dbfs(pcm) == pytest.approx(level, abs=0.01)


def test_silence_and_nothing_have_the_lowest_level() -> None:
    assert wav.level_dbfs(b"") == wav.level_dbfs(bytes(100)) == wav.SILENCE_DBFS
    assert wav.levels_dbfs(b"", 8000) == []
    assert wav.volumes(bytes(640), 8000) == [0.0, 0.0]


def test_slices_follow_the_sound() -> None:
    pcm = bytes(1600) + sine(20000, 800) + sine(2000, 800)
    levels = wav.levels_dbfs(pcm, 8000, 0.1)
    assert levels[0] == wav.SILENCE_DBFS
    assert levels[1] - levels[2] == pytest.approx(20, abs=0.1)
    assert wav.volumes(pcm, 8000, 0.1) == pytest.approx([0, 1, 0.1], abs=0.001)


def test_neither_meter_nor_wav_loads_numpy() -> None:
    code = (
        "import sys; from backend.audio import wav, espeak; wav.level_dbfs(bytes(100)); "
        "espeak.synthesize('hi'); sys.exit('numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
