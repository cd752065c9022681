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
